/* Corrections and holds in the journal: what is read of them, what a mark does to them, and what
 * the checker says when a hand has been in them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "journal_rows.h"

/*
 * Object `o`: version 1 (object 1) with posting 1 posted, version 2 (object 2) with posting 3; the
 * reversal of 1 is posting 2, of version 1 too. Version 2 waits for it.
 */
enum { P1 = 1, R1 = 2, P2 = 3 };

static void put_object(struct tg_batch *b, int64_t id, int64_t version,
                       enum tg_version_state version_state)
{
    struct tg_row_event e = jt_event(id, (unsigned)id, TG_EVENT_ACCEPTED);
    struct tg_row_object o = jt_object(id, id, 1, version, version_state);

    assert_int_equal(tg_batch_event(b, &e), 0);
    assert_int_equal(tg_batch_object(b, &o), 0);
}

static void put_marks(struct tg_batch *b, int64_t posting, const enum tg_posting_state *path,
                      size_t n)
{
    for (size_t i = 1; i < n; i++) {
        const struct tg_row_mark m = jt_mark(posting, path[i - 1], path[i]);

        assert_int_equal(tg_batch_mark(b, &m), 0);
    }
}

#define MARKS(b, id, ...)                                                                          \
    put_marks((b), (id), (const enum tg_posting_state[]){__VA_ARGS__},                             \
              sizeof((const enum tg_posting_state[]){__VA_ARGS__}) /                               \
                  sizeof(enum tg_posting_state))

static void fill(struct jt *t)
{
    struct tg_batch *b = tg_batch_new();
    struct tg_row_posting p1 = jt_posting(P1, 1, t->erp, 1, TG_POSTING_READY);
    struct tg_row_posting r1 = jt_posting(R1, 1, t->erp, 2, TG_POSTING_READY);
    struct tg_row_posting p2 = jt_posting(P2, 2, t->erp, 3, TG_POSTING_HELD);

    r1.reverses = P1;
    r1.quantity_micros = -p1.quantity_micros;
    p2.hold = "order";
    p2.hold_on = R1;
    p2.due_ms = 9000;
    put_object(b, 1, 1, TG_VERSION_SUPERSEDED);
    put_object(b, 2, 2, TG_VERSION_VALIDATED);
    assert_int_equal(tg_batch_posting(b, &p1), 0);
    MARKS(b, P1, TG_POSTING_READY, TG_POSTING_SENT, TG_POSTING_POSTED);
    assert_int_equal(tg_batch_posting(b, &r1), 0);
    assert_int_equal(tg_batch_posting(b, &p2), 0);
    jt_commit(t, b);
}

struct seen {
    int64_t ids[16];
    size_t count;
    struct tg_row_posting last;
    char hold[32];
};

static bool see(void *arg, const struct tg_row_posting *row)
{
    struct seen *s = arg;

    assert_true(s->count < 16);
    s->ids[s->count++] = row->id;
    s->last = *row;
    (void)snprintf(s->hold, sizeof(s->hold), "%s", row->hold);
    return true;
}

static void expect(struct seen *s, size_t n, const int64_t *ids)
{
    assert_int_equal(s->count, n);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(s->ids[i], ids[i]);
    }
    s->count = 0;
}

#define EXPECT(s, ...)                                                                             \
    expect((s), sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t),                          \
           (const int64_t[]){__VA_ARGS__})

static void what_a_later_version_meets(void **state)
{
    struct jt *t = *state;
    struct tg_row_object o = jt_object(1, 1, 1, 1, TG_VERSION_VALIDATED);
    struct seen s = {.count = 0};
    struct tg_reader *r;
    struct tg_error err;
    struct tg_batch *b;

    fill(t);
    r = jt_reader(t);
    assert_int_equal(tg_reader_effects(r, o.key, see, &s, &err), 0);
    EXPECT(&s, P1, R1, P2);
    b = tg_batch_new();
    MARKS(b, R1, TG_POSTING_READY, TG_POSTING_SENT, TG_POSTING_POSTED);
    MARKS(b, P1, TG_POSTING_POSTED, TG_POSTING_REVERSED);
    jt_commit(t, b);
    assert_int_equal(tg_reader_effects(r, o.key, see, &s, &err), 0);
    EXPECT(&s, P2); /* the rest is over */
    b = tg_batch_new();
    MARKS(b, P2, TG_POSTING_HELD, TG_POSTING_CANCELLED);
    jt_commit(t, b);
    assert_int_equal(tg_reader_effects(r, o.key, see, &s, &err), 0);
    assert_int_equal(s.count, 0);
    memset(o.key, 0, sizeof(o.key));
    assert_int_equal(tg_reader_effects(r, o.key, see, &s, &err), 0);
    assert_int_equal(s.count, 0);
    tg_reader_close(r);
}

static void rows_say_what_they_reverse_and_wait_for(void **state)
{
    struct jt *t = *state;
    const struct tg_row_posting p1 = jt_posting(P1, 1, t->erp, 1, TG_POSTING_POSTED);
    struct seen s = {.count = 0};
    struct tg_reader *r;
    struct tg_error err;

    fill(t);
    jt_sql(t, "UPDATE postings SET ref = 'DOC-1' WHERE id = 1");
    r = jt_reader(t);
    assert_int_equal(tg_reader_posting(r, R1, see, &s, &err), 0);
    assert_int_equal(s.last.reverses, P1);
    assert_memory_equal(s.last.reverses_key, p1.key, sizeof(p1.key));
    assert_non_null(s.last.reverses_ref);
    assert_false(s.last.superseded); /* a reversal outlives its version */
    assert_int_equal(tg_reader_posting(r, P2, see, &s, &err), 0);
    assert_int_equal(s.last.hold_on, R1);
    assert_string_equal(s.hold, "order");
    assert_int_equal(s.last.reverses, 0);
    assert_null(s.last.reverses_ref);
    assert_false(s.last.superseded);
    assert_int_equal(tg_reader_posting(r, P1, see, &s, &err), 0);
    assert_true(s.last.superseded);
    assert_string_equal(s.hold, "");
    tg_reader_close(r);
}

static void who_waits_and_until_when(void **state)
{
    struct jt *t = *state;
    struct seen s = {.count = 0};
    struct tg_reader *r;
    struct tg_error err;
    struct tg_batch *b;
    int64_t before = -1;

    fill(t);
    r = jt_reader(t);
    assert_int_equal(tg_reader_waiting(r, R1, see, &s, &err), 0);
    EXPECT(&s, P2);
    assert_int_equal(tg_reader_waiting(r, P1, see, &s, &err), 0);
    assert_int_equal(s.count, 0);
    assert_int_equal(tg_reader_held(r, 0, 0, 10, see, &s, &err), 0);
    EXPECT(&s, P2);
    assert_int_equal(tg_reader_held(r, R1, P2, 10, see, &s, &err), 0);
    assert_int_equal(s.count, 0);
    assert_int_equal(tg_reader_hold_due(r, 8999, 10, see, &s, &err), 0);
    assert_int_equal(s.count, 0);
    assert_int_equal(tg_reader_hold_due(r, 9000, 10, see, &s, &err), 0);
    EXPECT(&s, P2);
    assert_int_equal(tg_reader_before(r, P2, &before, &err), 0);
    assert_int_equal(before, R1); /* not P1: it is posted */
    assert_int_equal(tg_reader_before(r, R1, &before, &err), 0);
    assert_int_equal(before, 0); /* its own version does not come before it */
    b = tg_batch_new();
    assert_int_equal(tg_batch_hold(b, P2, "order", P1, 9999), 0);
    jt_commit(t, b);
    assert_int_equal(tg_reader_waiting(r, R1, see, &s, &err), 0);
    assert_int_equal(s.count, 0);
    assert_int_equal(tg_reader_waiting(r, P1, see, &s, &err), 0);
    EXPECT(&s, P2);
    assert_int_equal(tg_reader_hold_due(r, 9000, 10, see, &s, &err), 0);
    assert_int_equal(s.count, 0);
    tg_reader_close(r);
}

static void a_mark_ends_a_hold_but_its_time_does_not(void **state)
{
    struct jt *t = *state;
    struct tg_row_exception x = jt_exception(1, 0, "hold_expired");
    struct tg_batch *b = tg_batch_new();

    fill(t);
    x.posting = P2;
    MARKS(b, P2, TG_POSTING_HELD, TG_POSTING_EXCEPTION);
    assert_int_equal(tg_batch_exception(b, &x), 0);
    jt_commit(t, b);
    assert_int_equal(jt_sql_int(t, "SELECT hold_on FROM postings WHERE id = 3 AND hold = 'order' "
                                   "AND due_ms = 0"),
                     R1);
    b = tg_batch_new();
    MARKS(b, P2, TG_POSTING_EXCEPTION, TG_POSTING_READY);
    jt_commit(t, b);
    assert_int_equal(
        jt_sql_int(t, "SELECT count(*) FROM postings WHERE hold <> '' OR hold_on IS NOT NULL"), 0);
    b = tg_batch_new();
    assert_int_equal(tg_batch_hold(b, P2, "order", R1, 1), 0);
    jt_commit_refused(t, b);
    assert_non_null(strstr(t->last.text, "posting 3 is not held"));
}

/* ---- the checker ---- */

struct findings {
    size_t count;
    char first[256];
};

static void found(void *arg, const char *what)
{
    struct findings *f = arg;

    if (f->count == 0) {
        (void)snprintf(f->first, sizeof(f->first), "%s", what);
    }
    f->count++;
}

static void check(const struct jt *t, struct findings *f)
{
    struct tg_reader *r = jt_reader(t);
    struct tg_error err = {{0}};

    *f = (struct findings){0};
    if (tg_journal_check(r, found, f, &err) < 0) {
        fail_msg("%s", err.text);
    }
    tg_reader_close(r);
}

struct breakage {
    const char *break_it, *mend_it, *finding;
};

/* On the journal of fill(): version 2 waits for the reversal. */
static const struct breakage while_it_waits[] = {
    {"UPDATE postings SET hold = '' WHERE id = 3",
     "UPDATE postings SET hold = 'order' WHERE id = 3", "posting 3 is held and does not say why"},
    {"UPDATE postings SET hold_on = NULL, due_ms = 0 WHERE id = 3",
     "UPDATE postings SET hold_on = 2, due_ms = 9000 WHERE id = 3",
     "posting 3 is held, waits for no open posting and has no time"},
    {"UPDATE postings SET hold_on = 1, due_ms = 0 WHERE id = 3",
     "UPDATE postings SET hold_on = 2, due_ms = 9000 WHERE id = 3",
     "posting 3 is held, waits for no open posting and has no time"},
    {"UPDATE postings SET hold_on = 3 WHERE id = 2",
     "UPDATE postings SET hold_on = NULL WHERE id = 2",
     "posting 2 is not held and still waits for posting 3"},
    {"UPDATE postings SET hold_on = 3 WHERE id = 3", "UPDATE postings SET hold_on = 2 WHERE id = 3",
     "posting 3 is held behind posting 3 of no older version"},
    {"UPDATE postings SET state = 2 WHERE id = 3; UPDATE postings SET hold = '', hold_on = NULL "
     "WHERE id = 3",
     "UPDATE postings SET state = 1, hold = 'order', hold_on = 2 WHERE id = 3",
     "posting 3 is on its way before posting 2 of an older version is final"},
    {"UPDATE postings SET state = 8 WHERE id = 2", "UPDATE postings SET state = 2 WHERE id = 2",
     "posting 1 stands or may stand, its version ended and nothing reverses it"},
    {"UPDATE postings SET quantity_micros = -1 WHERE id = 2",
     "UPDATE postings SET quantity_micros = -7500000 WHERE id = 2",
     "posting 2 does not take back the posting 1 it reverses"},
    {"UPDATE postings SET kind = 'hours' WHERE id = 2",
     "UPDATE postings SET kind = 'labor' WHERE id = 2",
     "posting 2 does not take back the posting 1 it reverses"},
    {"UPDATE objects SET state = 2 WHERE id = 2", "UPDATE objects SET state = 1 WHERE id = 2",
     "posting 3 is still to be sent and its version ended"},
    {"UPDATE postings SET state = 10 WHERE id = 1", "UPDATE postings SET state = 6 WHERE id = 1",
     "posting 1 is reversed and no reversal of it is posted"},
};

static void break_and_mend(const struct jt *t, const struct breakage *list, size_t n)
{
    struct findings f;

    check(t, &f);
    if (f.count != 0) {
        fail_msg("a sound journal: %s", f.first);
    }
    for (size_t i = 0; i < n; i++) {
        jt_sql(t, list[i].break_it);
        check(t, &f);
        if (f.count == 0 || strstr(f.first, list[i].finding) == NULL) {
            fail_msg("case %zu: %zu findings, first \"%s\"", i, f.count, f.first);
        }
        jt_sql(t, list[i].mend_it);
        check(t, &f);
        if (f.count != 0) {
            fail_msg("case %zu mended: %s", i, f.first);
        }
    }
}

static void a_hand_in_a_correction_is_noticed(void **state)
{
    struct jt *t = *state;

    fill(t);
    break_and_mend(t, while_it_waits, sizeof(while_it_waits) / sizeof(while_it_waits[0]));
}

/* Once the reversal is posted and version 2 is on its way. */
static const struct breakage once_reversed[] = {
    {"UPDATE postings SET state = 6 WHERE id = 1", "UPDATE postings SET state = 10 WHERE id = 1",
     "posting 2 is posted and the posting 1 it reverses is not reversed"},
    {"INSERT INTO postings SELECT 9, object, destination, kind, leg, 9, randomblob(16), period, "
     "quantity_micros, 0, 0, 0, 0, NULL, payload, 1, '', NULL FROM postings WHERE id = 2",
     "DELETE FROM postings WHERE id = 9", "posting 1 has 2 reversals"},
    {"UPDATE control_totals SET count = 1 WHERE period = '2026-11'",
     "UPDATE control_totals SET count = 2 WHERE period = '2026-11'",
     "control total of acme/erp labor 2026-11 says 1 postings, 0 micros; posted are 2, 0"},
};

static void a_reversal_stands_beside_its_original(void **state)
{
    struct jt *t = *state;
    struct tg_batch *b = tg_batch_new();

    fill(t);
    MARKS(b, R1, TG_POSTING_READY, TG_POSTING_SENT, TG_POSTING_POSTED);
    MARKS(b, P1, TG_POSTING_POSTED, TG_POSTING_REVERSED);
    MARKS(b, P2, TG_POSTING_HELD, TG_POSTING_READY, TG_POSTING_SENT);
    jt_commit(t, b);
    assert_int_equal(jt_sql_int(t, "SELECT count FROM control_totals WHERE quantity_micros = 0"),
                     2);
    break_and_mend(t, once_reversed, sizeof(once_reversed) / sizeof(once_reversed[0]));
}

static void a_reversal_on_its_way_needs_a_posted_original(void **state)
{
    struct jt *t = *state;
    struct findings f;

    fill(t);
    jt_sql(t, "UPDATE postings SET state = 5 WHERE id = 1; DELETE FROM control_totals; "
              "UPDATE audit SET action = 'x' WHERE action = 'posting.posted'");
    check(t, &f);
    assert_non_null(
        strstr(f.first, "posting 2 is on its way and the posting 1 it reverses is not"));
}

/* A person decided that an effect stays: that is no finding. */
static void a_discarded_reversal_is_a_decision(void **state)
{
    struct jt *t = *state;
    struct tg_row_exception x = jt_exception(1, 0, "destination_rejected");
    struct tg_batch *b = tg_batch_new();
    struct findings f;

    fill(t);
    x.posting = R1;
    MARKS(b, R1, TG_POSTING_READY, TG_POSTING_SENT, TG_POSTING_REJECTED, TG_POSTING_EXCEPTION);
    assert_int_equal(tg_batch_exception(b, &x), 0);
    x.state = TG_EXCEPTION_DISCARDED;
    x.closed_ms = 6000;
    assert_int_equal(tg_batch_exception(b, &x), 0);
    MARKS(b, R1, TG_POSTING_EXCEPTION, TG_POSTING_CANCELLED);
    jt_commit(t, b);
    check(t, &f);
    if (f.count != 0) {
        fail_msg("%s", f.first);
    }
}

/* A later version must know of a reversal that a person gave up, or it would plan it once more
 * under the same key: also while its original is not known to be posted. */
static void a_discarded_reversal_is_met_while_its_original_may_stand(void **state)
{
    struct jt *t = *state;
    struct tg_row_object o = jt_object(1, 1, 1, 1, TG_VERSION_VALIDATED);
    struct seen s = {.count = 0};
    struct tg_reader *r;
    struct tg_error err;

    fill(t);
    r = jt_reader(t);
    jt_sql(t, "UPDATE postings SET state = 8 WHERE id = 2; UPDATE postings SET state = 9 WHERE id "
              "= 1");
    assert_int_equal(tg_reader_effects(r, o.key, see, &s, &err), 0);
    EXPECT(&s, P1, R1, P2);
    jt_sql(t, "UPDATE postings SET state = 8 WHERE id = 1"); /* it never was: both are over */
    assert_int_equal(tg_reader_effects(r, o.key, see, &s, &err), 0);
    EXPECT(&s, P2);
    tg_reader_close(r);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, jt_setup, jt_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(what_a_later_version_meets),
        CASE(rows_say_what_they_reverse_and_wait_for),
        CASE(who_waits_and_until_when),
        CASE(a_mark_ends_a_hold_but_its_time_does_not),
        CASE(a_hand_in_a_correction_is_noticed),
        CASE(a_reversal_stands_beside_its_original),
        CASE(a_reversal_on_its_way_needs_a_posted_original),
        CASE(a_discarded_reversal_is_a_decision),
        CASE(a_discarded_reversal_is_met_while_its_original_may_stand),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
