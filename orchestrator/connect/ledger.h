/*
 * ledger.h: ledger.journal, the labor of one directory as a double-entry ledger for hledger.
 *
 * It is a projection: the labor-*.csv files are the truth, every entry is made from one of their
 * lines. Opening compares both sides by a sum over the SHA-256 of every entry (order does not
 * matter; a missing, doubled, torn or changed entry does) and, when they differ, writes the ledger
 * anew from the CSV files and renames it into place. What fails (append, or writing anew) leaves it
 * stale; the next append or mend writes it anew. A damaged CSV file gives the lines that can be
 * read.
 *
 * Ownership: the opener closes; the directory descriptor outlives it. One thread at a time.
 */
#ifndef TG_CONNECT_LEDGER_H
#define TG_CONNECT_LEDGER_H

#include "connect/sheet.h"

#define TG_LEDGER_FILE "ledger.journal"

struct tg_ledger;

/* Does not create the file while there is no labor line. A ledger that cannot be read or written is
 * logged and stale. NULL with err: no memory. */
struct tg_ledger *tg_ledger_open(int dirfd, struct tg_error *err);
void tg_ledger_close(struct tg_ledger *l);

/* Entries (tg_sheet_ledger_entry) of lines that are on disk in a CSV file. 0, or -1 with err. */
int tg_ledger_append(struct tg_ledger *l, struct tg_str entries, struct tg_error *err);

/* Writes it anew if it is stale. 0: it is not any more; -1 with err. */
int tg_ledger_mend(struct tg_ledger *l, struct tg_error *err);
bool tg_ledger_is_stale(const struct tg_ledger *l);

/* The CSV file on disk went back or was repaired: write it anew. */
void tg_ledger_mark_stale(struct tg_ledger *l);

/* Names of a directory's files that belong to a sheet, sorted; the caller frees each and the list.
 * Count, or -1 with err. */
int tg_ledger_list(int dirfd, const struct tg_sheet *sheet, char ***names, struct tg_error *err);
void tg_ledger_list_free(char **names, int count);

#endif
