/*
 * folder.h: what the file connector does with a batch of jobs, synchronously: books, ledger and
 * totals of one directory. file.c runs it on a thread of libuv's pool, tests call it directly.
 *
 *   labor-PERIOD.csv, payroll-PERIOD.csv   the truth: a line there means posted
 *   ledger.journal, payroll-PERIOD.totals.json   made from them, after them
 *
 * Order inside a batch: lines appended to each CSV, fsync, then ledger and totals. A crash between
 * leaves those two behind; opening makes them anew. A failure of those two is logged once and made
 * good by tg_folder_mend; it does not change what is posted.
 *
 * Whose fault, and so which answer:
 *   one book (a stray line, a wrong header, a key twice, a link; also changed just now)
 *       STUCK, look-up STUCK, for its jobs alone; the detail names file and line. It is read
 *       again by tg_folder_mend, and by a batch that needs it when it changed since, so a repair is
 *       taken without a restart; tg_folder_take_repaired tells of it. Opening notes it and goes on.
 *   the directory or the disk (gone, not writable, ENOSPC, EIO)
 *       DOWN for the batch, look-up DOWN.
 *
 * Before each batch the path is compared with the directory in hand. When it is gone or another
 * one, that batch is answered DOWN and everything is closed; the next batch makes, locks and
 * recovers what the path leads to then. Keys that stand in a directory moved away are forgotten:
 * the journal knows their postings as posted and does not send them again. One that was in doubt
 * is looked up in the new directory, is absent there, and is written there.
 *
 * Ownership: jobs belong to the caller; the opener closes. One thread at a time.
 */
#ifndef TG_CONNECT_FOLDER_H
#define TG_CONNECT_FOLDER_H

#include "connect/sheet.h"
#include "core/engine.h"

struct tg_folder;

struct tg_folder_job {
    /* in */
    bool is_lookup;
    const char *key_hex;  /* 32 digits */
    const char *reverses; /* the key this one takes back; NULL: none */
    const char *kind, *payload;
    /* out */
    enum tg_outcome outcome;            /* of a send */
    enum tg_lookup lookup;              /* of a look-up */
    const char *exception;              /* REJECTED: static code; NULL: destination_rejected */
    char ref[TG_CONNECT_REF_MAX_BYTES]; /* "" none */
    char detail[TG_CONNECT_DETAIL_MAX_BYTES]; /* "" none */
    /* the folder's own */
    const struct tg_sheet *sheet;
    char file[TG_CONNECT_REF_MAX_BYTES];
    unsigned char key[TG_POSTING_KEY_BYTES];
    size_t line_at, line_len;
    uint32_t line;
    bool done, fresh;
};

/*
 * Makes the directory (and its parents) when it is missing, locks it against a second user,
 * recovers every file in it that is not damaged. NULL with err, which names the directory.
 */
struct tg_folder *tg_folder_open(const char *path, struct tg_error *err);
void tg_folder_close(struct tg_folder *s);

/* Fills the out part of every job. n <= TG_FILE_BATCH_MAX. */
void tg_folder_run(struct tg_folder *s, struct tg_folder_job *jobs, size_t n);

/* Do ledger or totals say less than the CSV files, or is one of these damaged? */
bool tg_folder_is_stale(const struct tg_folder *s);

/* Tries to write them anew, and reads damaged files again; tg_folder_is_stale says whether it
 * worked. */
void tg_folder_mend(struct tg_folder *s);

/* Since the last call, has something that jobs were STUCK by become usable? */
bool tg_folder_take_repaired(struct tg_folder *s);

#endif
