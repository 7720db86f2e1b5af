/*
 * dispatch_rig.h: what the tests of dispatch share: a loop, a scratch journal, a directory as the
 * one destination, and the postings of one object.
 *
 * Ownership: dt_setup allocates, dt_teardown frees, cmocka fixtures both; *state is a struct
 * dt_rig.
 */
#ifndef TG_TEST_DISPATCH_RIG_H
#define TG_TEST_DISPATCH_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dispatch/dispatch.h"
#include "journal_rows.h"

#define DT_ROUNDS_MAX 20000
#define DT_PAYLOAD                                                                                 \
    "{\"entry\":\"TE-1\",\"version\":1,\"date\":\"2026-11-16\",\"pay_period\":\"2026-W47\","       \
    "\"worker\":\"W-1\",\"pay_code\":\"REG\",\"hours\":\"1.00\"}"

/* Postings of one object: of version 1, its reversal, of version 2, of version 3. */
enum { P1 = 1, R1 = 2, P2 = 3, P3 = 4 };

struct dt_rig {
    struct jt *journal;
    uv_loop_t loop;
    uv_timer_t poll;
    struct tg_dispatch *dispatch;
    bool stopped;
    unsigned heard; /* calls of the listener */
};

extern char dt_csv[160]; /* where it is delivered */

int dt_load_catalogue(void **state); /* group fixtures */
int dt_free_catalogue(void **state);
int dt_setup(void **state);
int dt_teardown(void **state);
void dt_start(struct dt_rig *g);
void dt_stop(struct dt_rig *g);

/* Into the journal. */
void dt_add_version(struct dt_rig *g, int64_t version, enum tg_version_state version_state);
struct tg_row_posting dt_posting(const struct dt_rig *g, int64_t id, int64_t object,
                                 enum tg_posting_state state);
void dt_put(struct dt_rig *g, const struct tg_row_posting *p);
void dt_put_held(struct dt_rig *g, struct tg_row_posting p, const char *hold, int64_t on);
void dt_put_reversal(struct dt_rig *g, const char *hold); /* R1 of P1; hold NULL: it is ready */

enum tg_posting_state dt_state_of(const struct dt_rig *g, int64_t id);
void dt_run_until(struct dt_rig *g, int64_t id, enum tg_posting_state s);
void dt_turns(struct dt_rig *g, int n);
size_t dt_count_in_csv(const char *needle); /* lines of the delivered file */
void dt_check(const struct dt_rig *g);      /* `tallygate check` finds nothing */

#endif
