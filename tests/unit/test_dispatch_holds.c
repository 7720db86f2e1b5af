/* Corrections at dispatch, on a real loop, journal and directory: reversals, what waits for them,
 * and what a crash at each step leaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/codec.h"
#include "dispatch/idset.h"
#include "dispatch_rig.h"

/* Version 1 posted; then version 2 with the reversal of version 1 before it. */
static void correct_after_posting(struct dt_rig *g)
{
    struct tg_row_posting p1 = dt_posting(g, P1, 1, TG_POSTING_READY);

    dt_add_version(g, 1, TG_VERSION_VALIDATED);
    dt_put(g, &p1);
    dt_start(g);
    dt_run_until(g, P1, TG_POSTING_POSTED);
    jt_sql(g->journal, "UPDATE objects SET state = 2 WHERE id = 1");
    dt_add_version(g, 2, TG_VERSION_VALIDATED);
}

/* ---- stories ---- */

static void after_posting_it_is_reversed_and_then_the_new_one_goes(void **state)
{
    struct dt_rig *g = *state;

    correct_after_posting(g);
    dt_put_reversal(g, NULL);
    dt_put_held(g, dt_posting(g, P2, 2, TG_POSTING_HELD), "order", R1);
    tg_dispatch_kick(g->dispatch);
    dt_run_until(g, P2, TG_POSTING_POSTED);
    assert_int_equal(dt_state_of(g, R1), TG_POSTING_POSTED);
    assert_int_equal(dt_state_of(g, P1), TG_POSTING_REVERSED);
    assert_int_equal(dt_count_in_csv(",-1.00,"), 1);
    assert_int_equal(dt_count_in_csv(",1.00,"), 2);
    assert_int_equal(jt_sql_int(g->journal, "SELECT count(*) FROM audit WHERE subject = "
                                            "'posting 1' AND action = 'posting.reversed'"),
                     1);
    assert_int_equal(jt_sql_int(g->journal, "SELECT quantity_micros FROM control_totals"), 1000000);
    assert_true(g->heard > 0);
    dt_stop(g);
    dt_check(g);
}

static void a_waiting_posting_waits(void **state)
{
    struct dt_rig *g = *state;

    dt_add_version(g, 1, TG_VERSION_VALIDATED);
    dt_add_version(g, 2, TG_VERSION_VALIDATED);
    {
        struct tg_row_posting p1 = dt_posting(g, P1, 1, TG_POSTING_READY);

        p1.state = TG_POSTING_RETRY; /* for a long time */
        p1.attempt = 1;
        p1.first_sent_ms = 1000;
        p1.due_ms = 9000000000000;
        dt_put(g, &p1);
    }
    dt_put_held(g, dt_posting(g, P2, 2, TG_POSTING_HELD), "order", P1);
    dt_start(g);
    dt_turns(g, 200);
    assert_int_equal(dt_state_of(g, P2), TG_POSTING_HELD);
    dt_stop(g);
    assert_int_equal(dt_count_in_csv("TE-1"), 0);
}

/* H1: as if the process had died between the end of the one and the release of the other. */
static void what_waited_at_a_crash_is_released_at_the_start(void **state)
{
    struct dt_rig *g = *state;

    correct_after_posting(g);
    dt_stop(g);
    dt_put_reversal(g, "reversal");
    dt_put_held(g, dt_posting(g, P2, 2, TG_POSTING_HELD), "order", R1);
    dt_start(g);
    dt_run_until(g, P2, TG_POSTING_POSTED);
    assert_int_equal(dt_state_of(g, P1), TG_POSTING_REVERSED);
    dt_stop(g);
    dt_check(g);
}

/* Reversed, and the process died before what waits for it was released. */
static void a_crash_after_the_reversal(void **state)
{
    struct dt_rig *g = *state;

    correct_after_posting(g);
    dt_put_reversal(g, NULL);
    tg_dispatch_kick(g->dispatch);
    dt_run_until(g, P1, TG_POSTING_REVERSED);
    dt_stop(g);
    dt_put_held(g, dt_posting(g, P2, 2, TG_POSTING_HELD), "order", R1);
    dt_start(g);
    dt_run_until(g, P2, TG_POSTING_POSTED);
    dt_stop(g);
    assert_int_equal(dt_count_in_csv(",-1.00,"), 1);
    dt_check(g);
}

/* The original never was: its reversal is not either, and what waited for it goes. */
static void a_cancelled_original_takes_its_reversal_with_it(void **state)
{
    struct dt_rig *g = *state;
    struct tg_row_posting p1 = dt_posting(g, P1, 1, TG_POSTING_SENT);

    dt_add_version(g, 1, TG_VERSION_SUPERSEDED);
    dt_add_version(g, 2, TG_VERSION_VALIDATED);
    p1.state = TG_POSTING_RETRY; /* of a version that ended: cancelled when it is loaded */
    p1.attempt = 1;
    p1.first_sent_ms = 1000;
    p1.due_ms = 9000000000000;
    dt_put(g, &p1);
    dt_put_reversal(g, "reversal");
    dt_put_held(g, dt_posting(g, P2, 2, TG_POSTING_HELD), "order", R1);
    dt_start(g);
    dt_run_until(g, P2, TG_POSTING_POSTED);
    assert_int_equal(dt_state_of(g, P1), TG_POSTING_CANCELLED);
    assert_int_equal(dt_state_of(g, R1), TG_POSTING_CANCELLED);
    dt_stop(g);
    assert_int_equal(dt_count_in_csv("TE-1"), 1);
    dt_check(g);
}

/* In doubt when the correction came: looked up, found, then reversed. */
static void an_original_in_doubt_is_found_and_then_reversed(void **state)
{
    struct dt_rig *g = *state;

    correct_after_posting(g);
    dt_stop(g);
    jt_sql(g->journal, "UPDATE postings SET state = 3, ref = NULL WHERE id = 1");
    jt_sql(g->journal, "DELETE FROM control_totals");
    dt_put_reversal(g, "reversal");
    dt_put_held(g, dt_posting(g, P2, 2, TG_POSTING_HELD), "order", R1);
    dt_start(g);
    dt_run_until(g, P2, TG_POSTING_POSTED);
    assert_int_equal(dt_state_of(g, P1), TG_POSTING_REVERSED);
    assert_int_equal(dt_count_in_csv("TE-1"), 3);
    dt_stop(g);
}

/* One behind the other: each waits for the newest posting of an older version that is not over. */
static void versions_go_one_after_the_other(void **state)
{
    struct dt_rig *g = *state;

    correct_after_posting(g);
    jt_sql(g->journal, "UPDATE objects SET state = 1 WHERE id = 1");
    dt_add_version(g, 3, TG_VERSION_VALIDATED);
    /* P3 names P1, which is over: P2 is found to be before it, and is waited for */
    dt_put_held(g, dt_posting(g, P2, 2, TG_POSTING_HELD), "order", P1);
    dt_put_held(g, dt_posting(g, P3, 3, TG_POSTING_HELD), "order", P1);
    dt_stop(g);
    dt_start(g);
    dt_run_until(g, P3, TG_POSTING_POSTED);
    assert_int_equal(dt_state_of(g, P2), TG_POSTING_POSTED);
    {
        FILE *f = fopen(dt_csv, "r");
        char line[3][512];

        assert_non_null(f);
        assert_non_null(fgets(line[0], sizeof(line[0]), f));
        for (int i = 0; i < 3; i++) {
            assert_non_null(fgets(line[i], sizeof(line[i]), f));
        }
        (void)fclose(f);
        for (unsigned i = 0; i < 3; i++) { /* line i carries the key of posting 1, 3, 4 */
            const struct tg_row_posting p = dt_posting(g,
                                                       i == 0   ? P1
                                                       : i == 1 ? P2
                                                                : P3,
                                                       1, TG_POSTING_READY);
            char hex[2 * TG_POSTING_KEY_BYTES + 1] = {0};

            tg_hex_encode(p.key, sizeof(p.key), hex);
            assert_non_null(strstr(line[i], hex));
        }
    }
    dt_stop(g);
}

/* ---- time ---- */

static void overdue(struct dt_rig *g, int64_t id)
{
    char sql[96];

    (void)snprintf(sql, sizeof(sql), "UPDATE postings SET due_ms = 1000 WHERE id = %d", (int)id);
    jt_sql(g->journal, sql);
}

static void a_hold_behind_an_outage_goes_on(void **state)
{
    struct dt_rig *g = *state;
    struct tg_row_posting p1 = dt_posting(g, P1, 1, TG_POSTING_RETRY);

    dt_add_version(g, 1, TG_VERSION_VALIDATED);
    dt_add_version(g, 2, TG_VERSION_VALIDATED);
    p1.attempt = 1;
    p1.first_sent_ms = 1000;
    p1.due_ms = 9000000000000;
    dt_put(g, &p1);
    dt_put_held(g, dt_posting(g, P2, 2, TG_POSTING_HELD), "order", P1);
    overdue(g, P2);
    dt_start(g);
    for (int i = 0; i < DT_ROUNDS_MAX && jt_sql_int(g->journal, "SELECT due_ms FROM postings WHERE "
                                                                "id = 3") == 1000;
         i++) {
        (void)uv_run(&g->loop, UV_RUN_ONCE);
    }
    assert_int_equal(dt_state_of(g, P2), TG_POSTING_HELD);
    assert_true(jt_sql_int(g->journal, "SELECT due_ms FROM postings WHERE id = 3") > 1000);
    assert_int_equal(jt_sql_int(g->journal, "SELECT hold_on FROM postings WHERE id = 3"), P1);
    assert_int_equal(jt_sql_int(g->journal, "SELECT count(*) FROM exceptions"), 0);
    dt_stop(g);
}

/* Behind what waits for a person, its own time counts; and when that is settled, it goes by itself.
 */
static void a_hold_behind_a_person_runs_out_and_still_ends(void **state)
{
    struct dt_rig *g = *state;
    struct tg_row_posting p1 = dt_posting(g, P1, 1, TG_POSTING_SENT);
    struct tg_row_exception x = jt_exception(0, 0, "outcome_unknown");
    struct tg_batch *b = tg_batch_new();

    dt_add_version(g, 1, TG_VERSION_VALIDATED);
    dt_add_version(g, 2, TG_VERSION_VALIDATED);
    p1.attempt = 1;
    p1.first_sent_ms = 1000;
    p1.state = TG_POSTING_EXCEPTION;
    x.id = tg_journal_next_id(g->journal->journal, TG_TABLE_EXCEPTIONS);
    x.posting = P1;
    dt_put(g, &p1);
    assert_int_equal(tg_batch_exception(b, &x), 0);
    jt_commit(g->journal, b);
    dt_put_held(g, dt_posting(g, P2, 2, TG_POSTING_HELD), "order", P1);
    overdue(g, P2);
    dt_start(g);
    dt_run_until(g, P2, TG_POSTING_EXCEPTION);
    assert_int_equal(jt_sql_int(g->journal,
                                "SELECT count(*) FROM exceptions WHERE posting = 3 AND state = 0 "
                                "AND code = 'hold_expired' AND owner = 'finance' "
                                "AND tenant = 'acme' AND json_extract(detail, "
                                "'$.waits_for_posting') = 1"),
                     1);
    dt_stop(g);
    jt_sql(g->journal, "UPDATE postings SET state = 8 WHERE id = 1");
    dt_start(g);
    dt_run_until(g, P2, TG_POSTING_POSTED);
    assert_int_equal(jt_sql_int(g->journal, "SELECT count(*) FROM exceptions WHERE posting = 3 "
                                            "AND state = 5 AND closed_ms > 0"),
                     1);
    dt_stop(g);
    dt_check(g);
}

/* ---- many ---- */

/* More than fit into a turn, a list of ends and a page, all at once. */
static void many_are_released(void **state)
{
    enum { N = 700 };
    struct dt_rig *g = *state;
    struct tg_batch *b = tg_batch_new();

    for (unsigned i = 1; i <= N; i++) {
        struct tg_row_event e = jt_event(i, i, TG_EVENT_ACCEPTED);
        struct tg_row_event f = jt_event(N + i, N + i, TG_EVENT_ACCEPTED);
        struct tg_row_object o = jt_object(i, i, i, 1, TG_VERSION_VALIDATED);
        struct tg_row_object q = jt_object(N + i, N + i, i, 2, TG_VERSION_VALIDATED);
        struct tg_row_posting p = dt_posting(g, i, i, TG_POSTING_READY);
        struct tg_row_posting w = dt_posting(g, N + i, N + i, TG_POSTING_HELD);

        w.hold = "order";
        w.hold_on = i;
        w.due_ms = 9000000000000;
        assert_int_equal(tg_batch_event(b, &e), 0);
        assert_int_equal(tg_batch_event(b, &f), 0);
        assert_int_equal(tg_batch_object(b, &o), 0);
        assert_int_equal(tg_batch_object(b, &q), 0);
        assert_int_equal(tg_batch_posting(b, &p), 0);
        assert_int_equal(tg_batch_posting(b, &w), 0);
    }
    jt_commit(g->journal, b);
    dt_start(g);
    for (int i = 0;
         i < DT_ROUNDS_MAX && jt_sql_int(g->journal, "SELECT count(*) FROM postings WHERE "
                                                     "state = 6") != 2 * N;
         i++) {
        (void)uv_run(&g->loop, UV_RUN_ONCE);
    }
    assert_int_equal(dt_count_in_csv("TE-1"), 2 * N);
    dt_stop(g);
    dt_check(g);
}

static void a_set_of_ids(void **state)
{
    struct tg_idset s = {0};

    (void)state;
    assert_false(tg_idset_has(&s, 7));
    tg_idset_remove(&s, 7);
    for (int64_t i = 1; i <= 5000; i++) {
        assert_int_equal(tg_idset_add(&s, i << 32), 0);
        assert_int_equal(tg_idset_add(&s, i << 32), 0);
    }
    assert_int_equal(s.count, 5000);
    for (int64_t i = 1; i <= 5000; i += 2) {
        tg_idset_remove(&s, i << 32);
    }
    for (int64_t i = 1; i <= 5000; i++) {
        assert_int_equal(tg_idset_has(&s, i << 32), i % 2 == 0);
    }
    tg_idset_clear(&s);
    assert_false(tg_idset_has(&s, INT64_C(2) << 32));
    for (int64_t i = 1; i <= TG_IDSET_MAX; i++) {
        assert_int_equal(tg_idset_add(&s, i), 0);
    }
    assert_int_equal(tg_idset_add(&s, TG_IDSET_MAX + 1), -1);
    assert_int_equal(tg_idset_add(&s, TG_IDSET_MAX), 0); /* it is there */
    tg_idset_free(&s);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, dt_setup, dt_teardown)
    const struct CMUnitTest tests[] = {
        T(after_posting_it_is_reversed_and_then_the_new_one_goes),
        T(a_waiting_posting_waits),
        T(what_waited_at_a_crash_is_released_at_the_start),
        T(a_crash_after_the_reversal),
        T(a_cancelled_original_takes_its_reversal_with_it),
        T(an_original_in_doubt_is_found_and_then_reversed),
        T(versions_go_one_after_the_other),
        T(a_hold_behind_an_outage_goes_on),
        T(a_hold_behind_a_person_runs_out_and_still_ends),
        T(many_are_released),
        cmocka_unit_test(a_set_of_ids),
    };

    return cmocka_run_group_tests(tests, dt_load_catalogue, dt_free_catalogue);
}
