/*
 * totals.h: payroll-PERIOD.totals.json, the control totals a payroll clerk checks a file against:
 * lines, hours, hours by worker, and the SHA-256 of the CSV file. Made from the CSV file alone.
 *
 * Ownership: the maker frees. One thread at a time.
 */
#ifndef TG_CONNECT_TOTALS_H
#define TG_CONNECT_TOTALS_H

#include "connect/sheet.h"

struct tg_totals;

struct tg_totals *tg_totals_new(const struct tg_sheet *sheet, const char *csv_name);
void tg_totals_free(struct tg_totals *t);

/* One line that is on disk, in file order. 0, or -1: no memory or a sum over 9 million million. */
int tg_totals_add(struct tg_totals *t, struct tg_str line, const struct tg_csv_record *record);

/* Writes the file if it says something else than what was added. 0, or -1 with err. */
int tg_totals_write(struct tg_totals *t, int dirfd, struct tg_error *err);

#endif
