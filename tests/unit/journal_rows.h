/*
 * journal_rows.h: what the journal's tests share: a scratch journal and rows to put in it.
 *
 * Ownership: jt_setup allocates, jt_teardown frees and removes the directory. Rows point to string
 * constants.
 */
#ifndef TG_TEST_JOURNAL_ROWS_H
#define TG_TEST_JOURNAL_ROWS_H

#include <semaphore.h>

#include "journal/journal.h"

#define JT_DEADLINE_S 60

struct jt {
    char dir[64];
    char path[96];
    struct tg_journal *journal; /* NULL while closed */
    sem_t woken;                /* posted by notify */
    size_t submitted, ok, refused;
    struct tg_error last; /* of the newest refusal */
    uint32_t erp;         /* number of destination acme/erp */
};

/* cmocka fixtures; *state is a struct jt. */
int jt_setup(void **state);
int jt_teardown(void **state);

void jt_open(struct jt *t);
void jt_close(struct jt *t);

/* Submits and counts what comes back; jt_settle waits for all of it. */
void jt_submit(struct jt *t, struct tg_batch *b);
void jt_settle(struct jt *t);
/* Submits, settles; the batch must be taken (or refused). */
void jt_commit(struct jt *t, struct tg_batch *b);
void jt_commit_refused(struct jt *t, struct tg_batch *b);
/* Ends a wait in jt_wait_woken; false when nothing came in time. */
bool jt_wait_woken(struct jt *t);

struct tg_reader *jt_reader(const struct jt *t);
/* Statements on a connection of their own, against triggers and checks: a hand in the file. */
void jt_sql(const struct jt *t, const char *sql);
int64_t jt_sql_int(const struct jt *t, const char *sql);

/* Rows whose keys and texts follow from n. */
struct tg_row_event jt_event(int64_t id, unsigned n, enum tg_event_state state);
struct tg_row_object jt_object(int64_t id, int64_t event, unsigned n, int64_t version,
                               enum tg_version_state state);
struct tg_row_posting jt_posting(int64_t id, int64_t object, uint32_t destination, unsigned n,
                                 enum tg_posting_state state);
struct tg_row_mark jt_mark(int64_t posting, enum tg_posting_state from, enum tg_posting_state to);
struct tg_row_exception jt_exception(int64_t id, int64_t event, const char *code);

/* One accepted event with its object and one ready posting; the posting's id. */
int64_t jt_add_ready(struct jt *t, struct tg_batch *b, unsigned n);

#endif
