/* What the journal says of an object's older versions, and what that leads to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "intake/known.h"
#include "journal_rows.h"

static struct tg_row_posting posting(const struct jt *t, int64_t id, enum tg_posting_state state)
{
    struct tg_row_posting p = jt_posting(id, 1, t->erp, (unsigned)id, state);

    p.quantity_micros = 1000000;
    return p;
}

static void put(struct jt *t, const struct tg_row_posting *rows, size_t n)
{
    struct tg_batch *b = tg_batch_new();
    struct tg_row_event e = jt_event(1, 1, TG_EVENT_ACCEPTED);
    struct tg_row_object o = jt_object(1, 1, 1, 1, TG_VERSION_VALIDATED);

    assert_int_equal(tg_batch_event(b, &e), 0);
    assert_int_equal(tg_batch_object(b, &o), 0);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(tg_batch_posting(b, &rows[i]), 0);
    }
    jt_commit(t, b);
}

static void put_exception(struct jt *t, int64_t id, const char *code)
{
    struct tg_batch *b = tg_batch_new();
    const struct tg_row_exception x = {
        .id = id, .posting = id, .code = code, .owner = "finance", .opened_ms = 1795000000000};

    assert_int_equal(tg_batch_exception(b, &x), 0);
    jt_commit(t, b);
}

static void know(struct jt *t, struct tg_known *k)
{
    const struct tg_row_object o = jt_object(1, 1, 1, 1, TG_VERSION_VALIDATED);
    struct tg_reader *r = jt_reader(t);
    struct tg_error err;

    assert_int_equal(tg_known_object(r, NULL, o.key, 2, k, &err), 0);
    tg_reader_close(r);
}

/* Held since a restore, and then out of time: it may have been sent by the life before. */
static void what_may_have_been_sent_is_not_cancelled_after_its_time(void **state)
{
    struct jt *t = *state;
    struct tg_row_posting p[] = {posting(t, 1, TG_POSTING_EXCEPTION),
                                 posting(t, 2, TG_POSTING_EXCEPTION),
                                 posting(t, 3, TG_POSTING_EXCEPTION)};
    struct tg_known k = {0};

    p[0].hold = p[1].hold = "order";
    p[0].hold_on = p[1].hold_on = 1;
    p[0].first_sent_ms = 1795000000000;
    p[2].first_sent_ms = 1795000000000; /* the destination refused it */
    put(t, p, 3);
    put_exception(t, 1, "hold_expired");
    put_exception(t, 2, "hold_expired");
    put_exception(t, 3, "destination_rejected");
    know(t, &k);
    assert_int_equal(k.posting_count, 3);
    assert_int_equal(tg_known_correction(&k.postings[0]), TG_CORRECT_REVERSE_WHEN_POSTED);
    assert_int_equal(tg_known_correction(&k.postings[1]), TG_CORRECT_CANCEL);
    assert_int_equal(tg_known_correction(&k.postings[2]), TG_CORRECT_CANCEL);
    tg_known_clear(&k);
}

/* A person gave the reversal up: what it would have taken back stays, whatever comes. */
static void a_reversal_that_was_given_up_is_decided(void **state)
{
    struct jt *t = *state;
    struct tg_row_posting p[] = {
        posting(t, 1, TG_POSTING_SENT), posting(t, 2, TG_POSTING_CANCELLED),
        posting(t, 3, TG_POSTING_SENT), posting(t, 4, TG_POSTING_CANCELLED)};
    struct tg_known k = {0};

    p[1].reverses = 1;
    put(t, p, 4); /* 4 is no reversal: it is over */
    jt_sql(t, "UPDATE postings SET state = 6 WHERE id IN (1, 3)");
    know(t, &k);
    assert_int_equal(k.posting_count, 3);
    assert_int_equal(k.postings[0].id, 1);
    assert_int_equal(tg_known_correction(&k.postings[0]), TG_CORRECT_NOTHING);
    assert_int_equal(tg_known_correction(&k.postings[1]), TG_CORRECT_NOTHING);
    assert_int_equal(k.postings[2].id, 3);
    assert_int_equal(tg_known_correction(&k.postings[2]), TG_CORRECT_REVERSE);
    tg_known_clear(&k);
    jt_sql(t, "UPDATE postings SET state = 10 WHERE id = 1"); /* a later one took it back */
    know(t, &k);
    assert_int_equal(k.posting_count, 1);
    tg_known_clear(&k);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, jt_setup, jt_teardown)
    const struct CMUnitTest tests[] = {
        T(what_may_have_been_sent_is_not_cancelled_after_its_time),
        T(a_reversal_that_was_given_up_is_decided),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
