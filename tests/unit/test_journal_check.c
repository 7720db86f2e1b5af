/* The checker: silent on a sound journal, and one finding for each way to break it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "journal_rows.h"

struct findings {
    size_t count;
    char first[256], last[256];
};

static void found(void *arg, const char *what)
{
    struct findings *f = arg;

    if (f->count == 0) {
        (void)snprintf(f->first, sizeof(f->first), "%s", what);
    }
    (void)snprintf(f->last, sizeof(f->last), "%s", what);
    f->count++;
}

static int check(const struct jt *t, struct findings *f)
{
    struct tg_reader *r = jt_reader(t);
    struct tg_error err = {{0}};
    int result;

    memset(f, 0, sizeof(*f));
    result = tg_journal_check(r, found, f, &err);
    if (result < 0) {
        fail_msg("%s", err.text);
    }
    tg_reader_close(r);
    return result;
}

static void put_mark(struct tg_batch *b, int64_t id, enum tg_posting_state from,
                     enum tg_posting_state to, int64_t due_ms)
{
    struct tg_row_mark m = jt_mark(id, from, to);

    m.due_ms = due_ms;
    assert_int_equal(tg_batch_mark(b, &m), 0);
}

/* Events 1..4 with postings posted, in retry, in exception, ready; 5 a duplicate; 6 refused. */
static void fill(struct jt *t)
{
    struct tg_batch *b = tg_batch_new();
    struct tg_row_event twin = jt_event(5, 5, TG_EVENT_DUPLICATE);
    struct tg_row_event refused = jt_event(6, 6, TG_EVENT_EXCEPTION);
    struct tg_row_event first = jt_event(1, 1, TG_EVENT_ACCEPTED);
    struct tg_row_exception x = jt_exception(1, 6, "schema_invalid");
    struct tg_row_exception y = jt_exception(2, 0, "destination_rejected");

    for (unsigned n = 1; n <= 4; n++) {
        assert_int_equal(jt_add_ready(t, b, n), n);
    }
    for (int64_t id = 1; id <= 3; id++) {
        put_mark(b, id, TG_POSTING_READY, TG_POSTING_SENT, 0);
    }
    put_mark(b, 1, TG_POSTING_SENT, TG_POSTING_POSTED, 0);
    put_mark(b, 2, TG_POSTING_SENT, TG_POSTING_RETRY, 7000);
    put_mark(b, 3, TG_POSTING_SENT, TG_POSTING_REJECTED, 0);
    put_mark(b, 3, TG_POSTING_REJECTED, TG_POSTING_EXCEPTION, 0);
    y.posting = 3;
    assert_int_equal(tg_batch_exception(b, &y), 0);
    twin.duplicate_of = 1;
    memcpy(twin.identity, first.identity, sizeof(first.identity));
    assert_int_equal(tg_batch_event(b, &twin), 0);
    assert_int_equal(tg_batch_event(b, &refused), 0);
    assert_int_equal(tg_batch_exception(b, &x), 0);
    jt_commit(t, b);
}

/* What a person with the file may do to money already posted. */
static void the_book_is_bound_to_the_chain(void **state)
{
    struct jt *t = *state;
    struct findings f;

    fill(t);
    jt_sql(t, "UPDATE postings SET payload = '{\"hours\":\"9.00\"}' WHERE id = 1");
    assert_true(check(t, &f) >= 1);
    assert_non_null(strstr(f.first, "posting 1 is not what audit row"));
}

static void a_posting_taken_out_with_its_total_is_noticed(void **state)
{
    struct jt *t = *state;
    struct findings f;

    fill(t);
    jt_sql(t, "DELETE FROM attempts WHERE posting = 1");
    jt_sql(t, "DELETE FROM postings WHERE id = 1");
    jt_sql(t, "DELETE FROM control_totals");
    jt_sql(t, "UPDATE objects SET state = 2 WHERE id = 1");
    assert_true(check(t, &f) >= 1);
    assert_non_null(strstr(f.first, "has posting 1 posted, which is not so"));
}

static void a_posted_one_without_an_audit_row_is_noticed(void **state)
{
    struct jt *t = *state;
    struct findings f;

    fill(t);
    jt_sql(t, "UPDATE audit SET subject = 'posting 99' WHERE action = 'posting.posted'");
    assert_true(check(t, &f) >= 1);
    assert_non_null(strstr(f.first, "posting 1 is posted and the audit has no row of it"));
}

struct breakage {
    const char *break_it, *mend_it, *finding;
};

static const struct breakage breakages[] = {
    {"UPDATE objects SET event = 2 WHERE id = 1", "UPDATE objects SET event = 1 WHERE id = 1",
     "event s07-1-1 is accepted and has no object"},
    {"UPDATE events SET duplicate_of = NULL WHERE id = 5",
     "UPDATE events SET duplicate_of = 1 WHERE id = 5", "event s07-1-5 is a duplicate of nothing"},
    {"UPDATE events SET duplicate_of = 2 WHERE id = 5",
     "UPDATE events SET duplicate_of = 1 WHERE id = 5", "event s07-1-5 is a duplicate of nothing"},
    {"UPDATE events SET duplicate_of = 1 WHERE id = 6",
     "UPDATE events SET duplicate_of = NULL WHERE id = 6", "event s07-1-6 names an original"},
    {"UPDATE exceptions SET event = 1 WHERE id = 1", "UPDATE exceptions SET event = 6 WHERE id = 1",
     "event s07-1-6 is refused and has no exception"},
    {"UPDATE postings SET object = 3 WHERE id = 4", "UPDATE postings SET object = 4 WHERE id = 4",
     "object 4 is validated and has no posting"},
    {"UPDATE objects SET state = 4 WHERE id = 1", "UPDATE objects SET state = 1 WHERE id = 1",
     "object 1 is in exception and has no exception"},
    {"UPDATE objects SET key = (SELECT key FROM objects WHERE id = 1) WHERE id = 2",
     "UPDATE objects SET key = x'6f020000000000000000000000000000' WHERE id = 2",
     "object 1 and object 2 are both validated"},
    {"UPDATE postings SET first_sent_ms = 0 WHERE id = 1",
     "UPDATE postings SET first_sent_ms = 5000 WHERE id = 1", "posting 1 is past its sending"},
    {"UPDATE postings SET due_ms = 0 WHERE id = 2",
     "UPDATE postings SET due_ms = 7000 WHERE id = 2", "posting 2 is to be retried"},
    {"UPDATE exceptions SET posting = 4 WHERE id = 2",
     "UPDATE exceptions SET posting = 3 WHERE id = 2", "posting 3 waits for a person"},
    {"UPDATE postings SET state = 7 WHERE id = 4", "UPDATE postings SET state = 2 WHERE id = 4",
     "posting 4 waits for a person"},
    {"UPDATE exceptions SET state = 4 WHERE id = 1", "UPDATE exceptions SET state = 0 WHERE id = 1",
     "exception 1 is closed"},
    {"UPDATE exceptions SET closed_ms = 9 WHERE id = 1",
     "UPDATE exceptions SET closed_ms = 0 WHERE id = 1", "exception 1 is open and has a time"},
    {"UPDATE control_totals SET quantity_micros = quantity_micros + 1",
     "UPDATE control_totals SET quantity_micros = quantity_micros - 1",
     "control total of acme/erp labor 2026-11 says 1 postings, 7500001 micros; posted are 1, "
     "7500000"},
    {"UPDATE control_totals SET period = '2026-12'", "UPDATE control_totals SET period = '2026-11'",
     "control total of acme/erp labor 2026-1"},
    {"UPDATE attempts SET posting = 99; INSERT INTO attempts VALUES(1, 99, 1, 'x', '', 1)",
     "DELETE FROM attempts", "row 1 of attempts names a row of postings"},
    {"UPDATE events SET state = 7 WHERE id = 6", "UPDATE events SET state = 3 WHERE id = 6",
     "event s07-1-6 has state 7"},
    {"UPDATE postings SET state = 11 WHERE id = 4", "UPDATE postings SET state = 2 WHERE id = 4",
     "posting 4 has state 11"},
};

static void each_breakage_is_found_and_named(void **state)
{
    struct jt *t = *state;
    struct findings f;

    assert_int_equal(check(t, &f), 0); /* empty */
    fill(t);
    if (check(t, &f) != 0) {
        fail_msg("a sound journal: %s", f.first);
    }
    for (size_t i = 0; i < sizeof(breakages) / sizeof(breakages[0]); i++) {
        jt_sql(t, breakages[i].break_it);
        if (check(t, &f) < 1 || strstr(f.first, breakages[i].finding) == NULL) {
            fail_msg("case %zu: %zu findings, first \"%s\"", i, f.count, f.first);
        }
        jt_sql(t, breakages[i].mend_it);
        if (check(t, &f) != 0) {
            fail_msg("case %zu mended: %s", i, f.first);
        }
    }
}

static void many_findings_are_counted_not_told(void **state)
{
    struct jt *t = *state;
    struct tg_batch *b = tg_batch_new();
    struct findings f;

    for (unsigned n = 0; n < TG_CHECK_FINDINGS_MAX + 50; n++) {
        (void)jt_add_ready(t, b, n);
    }
    jt_commit(t, b);
    jt_sql(t, "UPDATE postings SET state = 6");
    /* Never sent, each; not in the audit, each; and the total. */
    assert_int_equal(check(t, &f), 2 * (TG_CHECK_FINDINGS_MAX + 50) + 1);
    assert_int_equal(f.count, TG_CHECK_FINDINGS_MAX + 1);
    assert_non_null(strstr(f.last, " more"));
}

static void the_checker_runs_beside_the_writer(void **state)
{
    struct jt *t = *state;
    struct findings f;

    for (unsigned n = 1; n < 200; n++) {
        struct tg_batch *b = tg_batch_new();

        (void)jt_add_ready(t, b, n);
        jt_submit(t, b);
        if (n % 20 == 0) {
            assert_int_equal(check(t, &f), 0);
        }
    }
    jt_settle(t);
    assert_int_equal(t->refused, 0);
    assert_int_equal(check(t, &f), 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, jt_setup, jt_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(each_breakage_is_found_and_named),
        CASE(many_findings_are_counted_not_told),
        CASE(the_book_is_bound_to_the_chain),
        CASE(a_posting_taken_out_with_its_total_is_noticed),
        CASE(a_posted_one_without_an_audit_row_is_noticed),
        CASE(the_checker_runs_beside_the_writer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
