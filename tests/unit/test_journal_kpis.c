/* Figures of a span, from the audit chain: counted once, of one tenant, within the span. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "journal/kpis.h"
#include "journal_rows.h"

#define DAY INT64_C(86400000)
#define AT INT64_C(1795000000000)

static struct tg_kpis kpis_of(struct jt *t, const char *tenant, int64_t since_ms, int64_t until_ms,
                              size_t rows_max)
{
    const struct tg_kpi_query q = {
        .tenant = tenant, .span = {since_ms, until_ms}, .rows_max = rows_max};
    struct tg_reader *r = jt_reader(t);
    struct tg_error err = {""};
    struct tg_kpis k;

    if (tg_reader_kpis(r, &q, &k, &err) != 0) {
        fail_msg("%s", err.text);
    }
    tg_reader_close(r);
    return k;
}

static void mark(struct jt *t, int64_t posting, enum tg_posting_state from,
                 enum tg_posting_state to)
{
    struct tg_batch *b = tg_batch_new();
    const struct tg_row_mark m = jt_mark(posting, from, to);

    assert_int_equal(tg_batch_mark(b, &m), 0);
    jt_commit(t, b);
}

static void post(struct jt *t, int64_t posting)
{
    mark(t, posting, TG_POSTING_READY, TG_POSTING_SENT);
    mark(t, posting, TG_POSTING_SENT, TG_POSTING_POSTED);
}

/* 20 postings; what the audit says of number n is n seconds after its approval. */
static void posted_20(struct jt *t)
{
    struct tg_batch *b = tg_batch_new();

    for (unsigned n = 1; n <= 20; n++) {
        assert_int_equal(jt_add_ready(t, b, n), n);
    }
    jt_commit(t, b);
    for (int64_t id = 1; id <= 20; id++) {
        post(t, id);
    }
    jt_sql(t, "UPDATE events SET received_ms = 1795000000000, journalled_ms = 1795000000000");
    jt_sql(t, "UPDATE audit SET at_ms = 1795000000000 + seq * 1000");
    assert_int_equal(jt_sql_int(t, "SELECT count(*) FROM audit WHERE action = 'posting.posted'"),
                     20);
    assert_int_equal(jt_sql_int(t, "SELECT max(seq) FROM audit"), 20);
}

static void times_are_nearest_ranks(void **state)
{
    struct jt *t = *state;
    struct tg_kpis k;

    posted_20(t);
    k = kpis_of(t, "acme", AT, AT + DAY, 1000);
    assert_int_equal(k.covered_ms, AT);
    assert_int_equal(k.posted, 20);
    assert_int_equal(k.events, 20);
    assert_int_equal(k.latency.count, 20);
    assert_int_equal(k.from_approval, 0);
    assert_int_equal(k.latency.p50_ms, 10000);
    assert_int_equal(k.latency.p95_ms, 19000);
    assert_int_equal(k.latency.max_ms, 20000);
    assert_int_equal(k.destination_count, 1);
    assert_string_equal(k.destinations[0].id, "acme/erp");
    assert_int_equal(k.destinations[0].latency.p95_ms, 19000);
    assert_int_equal(k.destinations[0].unposted, 0);
    assert_true(k.reconciled);
    assert_int_equal(k.groups, 1);
    assert_int_equal(k.different, 0);
    tg_kpis_free(&k);
    /* half an approval, and one that says nothing of use */
    jt_sql(t,
           "UPDATE objects SET json = '{\"approved_at\":\"2026-11-18T11:06:40Z\"}' WHERE id <= 10");
    jt_sql(t, "UPDATE objects SET json = '{\"approved_at\":17}' WHERE id = 11");
    jt_sql(t, "UPDATE objects SET json = 'broken' WHERE id = 12");
    k = kpis_of(t, "acme", AT, AT + DAY, 1000);
    assert_int_equal(k.from_approval, 10);
    assert_int_equal(k.latency.count, 20);
    tg_kpis_free(&k);
    /* one alone is every rank */
    k = kpis_of(t, "acme", AT + 20000, AT + DAY, 1000);
    assert_int_equal(k.latency.count, 1);
    assert_int_equal(k.latency.p50_ms, k.latency.max_ms);
    assert_int_equal(k.latency.p95_ms, 20000);
    tg_kpis_free(&k);
}

static void a_span_has_ends(void **state)
{
    struct jt *t = *state;
    struct tg_kpis k;

    posted_20(t);
    k = kpis_of(t, "acme", AT + 5000, AT + 8000, 1000);
    assert_int_equal(k.posted, 3); /* 5, 6 and 7 s: the end is not included */
    tg_kpis_free(&k);
    k = kpis_of(t, "acme", AT + DAY, AT + 2 * DAY, 1000);
    assert_int_equal(k.posted + k.events + k.latency.count + k.groups, 0);
    assert_int_equal(k.covered_ms, AT + DAY);
    tg_kpis_free(&k);
    k = kpis_of(t, "other", AT, AT + DAY, 1000);
    assert_int_equal(k.posted + k.events + k.destination_count, 0);
    tg_kpis_free(&k);
}

static void what_is_left_out_is_left_out_whole(void **state)
{
    struct jt *t = *state;
    struct tg_kpis k;

    posted_20(t);
    for (size_t max = 1; max < 20; max++) {
        k = kpis_of(t, "acme", AT, AT + DAY, max);
        assert_int_equal(k.covered_ms, AT + (int64_t)(21 - max) * 1000 + 1);
        assert_int_equal(k.posted, max - 1);
        assert_int_equal(k.events, 0); /* they are older than what is covered */
        tg_kpis_free(&k);
    }
    k = kpis_of(t, "acme", AT, AT + DAY, 20);
    assert_int_equal(k.covered_ms, AT);
    assert_int_equal(k.posted, 20);
    tg_kpis_free(&k);
}

static void an_end_counts_once(void **state)
{
    struct jt *t = *state;
    struct tg_batch *b = tg_batch_new();
    struct tg_kpis k;

    for (unsigned n = 1; n <= 3; n++) {
        assert_int_equal(jt_add_ready(t, b, n), n);
    }
    jt_commit(t, b);
    /* 1: exception and it stays; 2: twice; 3: then posted */
    for (int64_t id = 1; id <= 3; id++) {
        mark(t, id, TG_POSTING_READY, TG_POSTING_SENT);
        mark(t, id, TG_POSTING_SENT, TG_POSTING_REJECTED);
        mark(t, id, TG_POSTING_REJECTED, TG_POSTING_EXCEPTION);
    }
    mark(t, 2, TG_POSTING_EXCEPTION, TG_POSTING_READY);
    mark(t, 2, TG_POSTING_READY, TG_POSTING_SENT);
    mark(t, 2, TG_POSTING_SENT, TG_POSTING_REJECTED);
    mark(t, 2, TG_POSTING_REJECTED, TG_POSTING_EXCEPTION);
    mark(t, 3, TG_POSTING_EXCEPTION, TG_POSTING_READY);
    post(t, 3);
    jt_sql(t, "UPDATE audit SET at_ms = 1795000000000 + seq * 1000");
    k = kpis_of(t, "acme", AT, AT + DAY, 1000);
    assert_int_equal(k.posted, 1);
    assert_int_equal(k.exceptions, 2);
    assert_int_equal(k.destinations[0].unposted, 2);
    tg_kpis_free(&k);
    /* before number 3 was posted, it was one too */
    k = kpis_of(t, "acme", AT,
                jt_sql_int(t, "SELECT at_ms FROM audit WHERE action = 'posting.posted'"), 1000);
    assert_int_equal(k.posted, 0);
    assert_int_equal(k.exceptions, 3);
    tg_kpis_free(&k);
}

/* The newest two have one code and are ended; the oldest codes share a place. */
static void exceptions_by_code(void **state)
{
    struct jt *t = *state;
    struct tg_batch *b = tg_batch_new();
    char code[32];
    struct tg_kpis k;

    for (unsigned n = 1; n <= TG_KPI_CODES_MAX + 10; n++) {
        struct tg_row_event e = jt_event(n, n, TG_EVENT_EXCEPTION);
        struct tg_row_exception x;

        (void)snprintf(code, sizeof(code), "code_%04u", n > TG_KPI_CODES_MAX + 8 ? 1 : n + 1);
        x = jt_exception(n, n, code);
        assert_int_equal(tg_batch_event(b, &e), 0);
        assert_int_equal(tg_batch_exception(b, &x), 0);
    }
    for (int64_t id = TG_KPI_CODES_MAX + 9; id <= TG_KPI_CODES_MAX + 10; id++) {
        const struct tg_row_act act = {.exception = id,
                                       .state = id == TG_KPI_CODES_MAX + 9 ? TG_EXCEPTION_DISCARDED
                                                                           : TG_EXCEPTION_REPLAYED,
                                       .actor = "ops-anna",
                                       .assignee = "",
                                       .outcome = "",
                                       .reason = "no",
                                       .approved_by = ""};

        assert_int_equal(tg_batch_act(b, &act), 0);
    }
    jt_commit(t, b);
    jt_sql(t, "UPDATE exceptions SET opened_ms = 1000, closed_ms = 1000 + (id - 264) * 500 "
              "WHERE id > 264");
    jt_sql(t, "UPDATE audit SET at_ms = 1795000000000 + seq");
    k = kpis_of(t, "acme", AT, AT + DAY, 10000);
    assert_int_equal(k.opened, TG_KPI_CODES_MAX + 10);
    assert_int_equal(k.closed, 2);
    assert_int_equal(k.replayed, 1);
    assert_int_equal(k.code_count, TG_KPI_CODES_MAX);
    assert_string_equal(k.codes[0].code, TG_KPI_OTHER_CODES); /* sorts before letters */
    for (size_t i = 0; i < k.code_count; i++) {
        if (strcmp(k.codes[i].code, "code_0001") == 0) {
            assert_int_equal(k.codes[i].closed.count, 2);
            assert_int_equal(k.codes[i].closed.p50_ms, 500);
            assert_int_equal(k.codes[i].closed.p95_ms, 1000);
        }
    }
    tg_kpis_free(&k);
    k = kpis_of(t, "zeta", AT, AT + DAY, 10000);
    assert_int_equal(k.opened + k.closed + k.code_count, 0);
    tg_kpis_free(&k);
}

static void what_the_totals_are_off(void **state)
{
    struct jt *t = *state;
    struct tg_kpis k;

    posted_20(t);
    jt_sql(t, "UPDATE control_totals SET count = count - 2, "
              "quantity_micros = quantity_micros + 1500000");
    k = kpis_of(t, "acme", AT, AT + DAY, 1000);
    assert_int_equal(k.groups, 1);
    assert_int_equal(k.different, 1);
    assert_int_equal(k.off_count, 2);
    assert_int_equal(k.off_micros, 1500000);
    tg_kpis_free(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(times_are_nearest_ranks, jt_setup, jt_teardown),
        cmocka_unit_test_setup_teardown(a_span_has_ends, jt_setup, jt_teardown),
        cmocka_unit_test_setup_teardown(what_is_left_out_is_left_out_whole, jt_setup, jt_teardown),
        cmocka_unit_test_setup_teardown(an_end_counts_once, jt_setup, jt_teardown),
        cmocka_unit_test_setup_teardown(exceptions_by_code, jt_setup, jt_teardown),
        cmocka_unit_test_setup_teardown(what_the_totals_are_off, jt_setup, jt_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
