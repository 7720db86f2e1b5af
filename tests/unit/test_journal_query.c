/* Lists for people: each row once, whatever is added meanwhile; one tenant's; at a bounded cost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "journal/query.h"
#include "journal/reconcile.h"
#include "journal/summary.h"
#include "journal_rows.h"

#define MANY 3000
#define OTHERS (TG_QUERY_ROWS_MAX + 500) /* of another tenant, in between */

static struct tg_row_event event_of(const char *tenant, int64_t id, unsigned n,
                                    enum tg_event_state state)
{
    struct tg_row_event e = jt_event(id, n, state);

    e.tenant = tenant;
    return e;
}

/* n events of a tenant, each with an exception of its own. */
static void add_exceptions(struct jt *t, const char *tenant, unsigned from, unsigned n,
                           const char *code)
{
    struct tg_batch *b = tg_batch_new();

    for (unsigned i = from; i < from + n; i++) {
        int64_t id = tg_journal_next_id(t->journal, TG_TABLE_EVENTS);
        struct tg_row_event e = event_of(tenant, id, i, TG_EVENT_EXCEPTION);
        struct tg_row_exception x =
            jt_exception(tg_journal_next_id(t->journal, TG_TABLE_EXCEPTIONS), id, code);

        x.tenant = tenant;
        x.opened_ms = 10000 + i;
        assert_int_equal(tg_batch_event(b, &e), 0);
        assert_int_equal(tg_batch_exception(b, &x), 0);
    }
    jt_commit(t, b);
}

static uint32_t destination(struct jt *t, const char *id)
{
    struct tg_error err = {""};
    uint32_t number = 0;

    assert_int_equal(tg_journal_destination(t->journal, id, &number, &err), 0);
    return number;
}

/* n entries of a tenant with one posting each. */
static void add_postings(struct jt *t, const char *tenant, uint32_t to, unsigned from, unsigned n,
                         enum tg_posting_state state)
{
    struct tg_batch *b = tg_batch_new();

    for (unsigned i = from; i < from + n; i++) {
        int64_t event = tg_journal_next_id(t->journal, TG_TABLE_EVENTS);
        int64_t object = tg_journal_next_id(t->journal, TG_TABLE_OBJECTS);
        struct tg_row_event e = event_of(tenant, event, i, TG_EVENT_ACCEPTED);
        struct tg_row_object o = jt_object(object, event, i, 1, TG_VERSION_VALIDATED);
        struct tg_row_posting p =
            jt_posting(tg_journal_next_id(t->journal, TG_TABLE_POSTINGS), object, to, i, state);

        o.tenant = tenant;
        p.period = i % 2 == 0 ? "2026-11" : "2026-12";
        p.hold = state == TG_POSTING_HELD ? "order" : NULL;
        p.due_ms = state == TG_POSTING_HELD ? 99 : 0;
        assert_int_equal(tg_batch_event(b, &e), 0);
        assert_int_equal(tg_batch_object(b, &o), 0);
        assert_int_equal(tg_batch_posting(b, &p), 0);
    }
    jt_commit(t, b);
}

/* ---- a page ---- */

struct seen {
    size_t limit, page, count, pages;
    int64_t *ids;
    int64_t last;
};

#define SEEN_MAX 100000

static void seen_init(struct seen *s, size_t limit)
{
    *s = (struct seen){.limit = limit, .ids = calloc(SEEN_MAX, sizeof(int64_t))};
    assert_non_null(s->ids);
}

static bool note(struct seen *s, int64_t id)
{
    assert_true(s->count < SEEN_MAX);
    s->ids[s->count++] = id;
    return ++s->page < s->limit;
}

static int by_id(const void *a, const void *b)
{
    const int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;

    return (left > right) - (left < right);
}

static void each_once(struct seen *s, size_t count)
{
    assert_int_equal(s->count, count);
    qsort(s->ids, s->count, sizeof(int64_t), by_id);
    for (size_t i = 1; i < s->count; i++) {
        assert_int_not_equal(s->ids[i - 1], s->ids[i]);
    }
    free(s->ids);
}

static bool on_exception(void *arg, const struct tg_row_exception *row)
{
    return note(arg, row->id);
}

static bool on_posting(void *arg, const struct tg_row_posting *row)
{
    return note(arg, row->id);
}

static bool on_audit(void *arg, const struct tg_audit_row *row)
{
    struct seen *s = arg;

    assert_true(s->last == 0 || row->seq < s->last);
    s->last = row->seq;
    return note(arg, row->seq);
}

static const struct tg_span always = {0, INT64_MAX};

/* What a caller does; between two pages `between` may change the journal. */
static void all_exceptions(struct jt *t, const struct tg_exception_query *q, struct seen *s,
                           void (*between)(struct jt *t, size_t page))
{
    struct tg_reader *r = jt_reader(t);
    struct tg_error err = {""};
    struct tg_walk w = {{0}, false};

    while (!w.over) {
        s->page = 0;
        assert_int_equal(tg_reader_list_exceptions(r, q, &w, on_exception, s, &err), 0);
        s->pages++;
        if (between != NULL) {
            between(t, s->pages);
        }
    }
    tg_reader_close(r);
}

static void all_postings(struct jt *t, const struct tg_posting_query *q, struct seen *s,
                         void (*between)(struct jt *t, size_t page))
{
    struct tg_reader *r = jt_reader(t);
    struct tg_error err = {""};
    struct tg_walk w = {{0}, false};

    while (!w.over) {
        s->page = 0;
        if (tg_reader_list_postings(r, q, &w, on_posting, s, &err) != 0) {
            fail_msg("%s", err.text);
        }
        s->pages++;
        if (between != NULL) {
            between(t, s->pages);
        }
    }
    tg_reader_close(r);
}

static void all_audit(struct jt *t, const struct tg_audit_query *q, struct seen *s)
{
    struct tg_reader *r = jt_reader(t);
    struct tg_error err = {""};
    struct tg_walk w = {{0}, false};

    while (!w.over) {
        s->page = 0;
        if (tg_reader_list_audit(r, q, &w, on_audit, s, &err) != 0) {
            fail_msg("%s", err.text);
        }
        s->pages++;
    }
    tg_reader_close(r);
}

/* ---- exceptions ---- */

static void more_exceptions(struct jt *t, size_t page)
{
    if (page <= 5) {
        add_exceptions(t, "acme", (unsigned)(50000 + page * 10), 10, "late_one");
        jt_sql(t, page == 3 ? "UPDATE exceptions SET state = 4, closed_ms = 1 WHERE id = 1" : "");
    }
}

static void exceptions_come_once_each(void **state)
{
    struct jt *t = *state;
    struct tg_exception_query q = {.tenant = "acme", .state = TG_QUERY_OPEN, .span = always};
    struct seen s;

    add_exceptions(t, "acme", 0, MANY, "period_closed");
    seen_init(&s, 97);
    all_exceptions(t, &q, &s, more_exceptions);
    each_once(&s, MANY + 50); /* what came meanwhile is at the end */
    q.state = TG_EXCEPTION_DISCARDED;
    seen_init(&s, 97);
    all_exceptions(t, &q, &s, NULL);
    each_once(&s, 1);
    q.state = TG_QUERY_ANY_STATE;
    seen_init(&s, 1);
    all_exceptions(t, &q, &s, NULL);
    each_once(&s, MANY + 50);
}

static void exceptions_are_filtered(void **state)
{
    struct jt *t = *state;
    struct tg_exception_query q = {.tenant = "acme", .state = TG_QUERY_OPEN, .span = always};
    struct seen s;

    add_exceptions(t, "acme", 0, 30, "period_closed");
    add_exceptions(t, "acme", 30, 10, "worker_unknown");
    q.code = tg_str_of("worker_unknown");
    seen_init(&s, 7);
    all_exceptions(t, &q, &s, NULL);
    each_once(&s, 10);
    q.owner = tg_str_of("nobody' OR '1'='1");
    seen_init(&s, 7);
    all_exceptions(t, &q, &s, NULL);
    each_once(&s, 0);
    q = (struct tg_exception_query){
        .tenant = "acme", .state = TG_QUERY_OPEN, .span = {10010, 10020}};
    seen_init(&s, 500);
    all_exceptions(t, &q, &s, NULL);
    each_once(&s, 10);
    q.span = always;
    q.subject = tg_str_of("s07-1-12");
    seen_init(&s, 500);
    all_exceptions(t, &q, &s, NULL);
    each_once(&s, 1);
    q.tenant = "acm";
    seen_init(&s, 500);
    all_exceptions(t, &q, &s, NULL);
    each_once(&s, 0);
}

/* Another tenant's rows are walked over, page by page, and none is shown. */
static void a_page_looks_at_so_many_rows(void **state)
{
    struct jt *t = *state;
    struct tg_exception_query q = {.tenant = "acme", .state = TG_QUERY_ANY_STATE, .span = always};
    struct seen s;

    add_exceptions(t, "acme", 0, 3, "period_closed");
    add_exceptions(t, "zeta", 10, OTHERS, "period_closed");
    add_exceptions(t, "acme", 20000, 3, "period_closed");
    seen_init(&s, 500);
    all_exceptions(t, &q, &s, NULL);
    assert_int_equal(s.pages, 2);
    each_once(&s, 6);
    q.state = TG_QUERY_OPEN; /* has an index of its own */
    seen_init(&s, 500);
    all_exceptions(t, &q, &s, NULL);
    assert_int_equal(s.pages, 1);
    each_once(&s, 6);
}

/* ---- postings ---- */

static void more_postings(struct jt *t, size_t page)
{
    if (page <= 5) {
        add_postings(t, "acme", t->erp, (unsigned)(50000 + page * 10), 10, TG_POSTING_READY);
    }
}

static void postings_come_once_each(void **state)
{
    struct jt *t = *state;
    struct tg_posting_query q = {.tenant = "acme", .state = TG_QUERY_ANY_STATE, .span = always};
    uint32_t payroll = destination(t, "acme/payroll");
    struct seen s;

    add_postings(t, "acme", t->erp, 0, MANY, TG_POSTING_READY);
    add_postings(t, "acme", payroll, 10000, 50, TG_POSTING_HELD);
    add_postings(t, "acme2", destination(t, "acme2/erp"), 20000, 50, TG_POSTING_READY);
    seen_init(&s, 97);
    all_postings(t, &q, &s, more_postings);
    each_once(&s, MANY + 50); /* the newest first: what came meanwhile is before the first page */
    q.state = TG_QUERY_OPEN;
    seen_init(&s, 97);
    all_postings(t, &q, &s, NULL);
    each_once(&s, MANY + 50);
    q.state = TG_POSTING_HELD;
    seen_init(&s, 7);
    all_postings(t, &q, &s, NULL);
    each_once(&s, 50);
    q.state = TG_QUERY_ANY_STATE;
    q.destination = tg_str_of("payroll");
    seen_init(&s, 7);
    all_postings(t, &q, &s, NULL);
    each_once(&s, 50);
    q.period = tg_str_of("2026-12");
    seen_init(&s, 7);
    all_postings(t, &q, &s, NULL);
    each_once(&s, 25);
    q.tenant = "acme2";
    seen_init(&s, 7);
    all_postings(t, &q, &s, NULL);
    each_once(&s, 0);
    q = (struct tg_posting_query){.tenant = "acme", .state = TG_POSTING_POSTED, .span = always};
    seen_init(&s, 7);
    all_postings(t, &q, &s, NULL);
    each_once(&s, 0);
}

/* Several postings and rows of one object, in pages that end inside it. */
static void postings_of_one_object(void **state)
{
    struct jt *t = *state;
    struct tg_object_choice choices[2] = {{.version = 2}, {.version = -1}};
    struct tg_posting_query q = {.tenant = "acme",
                                 .state = TG_QUERY_ANY_STATE,
                                 .objects = choices,
                                 .object_count = 2,
                                 .span = always};
    struct tg_batch *b = tg_batch_new();
    struct seen s;

    for (unsigned v = 1; v <= 3; v++) {
        int64_t event = tg_journal_next_id(t->journal, TG_TABLE_EVENTS);
        int64_t object = tg_journal_next_id(t->journal, TG_TABLE_OBJECTS);
        struct tg_row_event e = jt_event(event, v, TG_EVENT_ACCEPTED);
        struct tg_row_object o = jt_object(object, event, 1, v, TG_VERSION_VALIDATED);

        assert_int_equal(tg_batch_event(b, &e), 0);
        assert_int_equal(tg_batch_object(b, &o), 0);
        for (unsigned i = 0; i < 5; i++) {
            struct tg_row_posting p = jt_posting(tg_journal_next_id(t->journal, TG_TABLE_POSTINGS),
                                                 object, t->erp, 10 * v + i, TG_POSTING_READY);

            assert_int_equal(tg_batch_posting(b, &p), 0);
        }
        memcpy(choices[1].key, o.key, sizeof(o.key));
    }
    jt_commit(t, b);
    for (size_t limit = 1; limit < 20; limit++) {
        seen_init(&s, limit); /* the first choice has another key: nothing there */
        all_postings(t, &q, &s, NULL);
        each_once(&s, 15);
    }
    memcpy(choices[0].key, choices[1].key, sizeof(choices[0].key));
    q.object_count = 1;
    for (size_t limit = 1; limit < 7; limit++) {
        seen_init(&s, limit);
        all_postings(t, &q, &s, NULL);
        each_once(&s, 5);
    }
    q.objects = NULL;
    for (size_t limit = 1; limit < 20; limit++) {
        seen_init(&s, limit);
        all_postings(t, &q, &s, NULL);
        each_once(&s, 15);
    }
}

/* Events were journalled one second after the other. */
static void postings_of_a_time(void **state)
{
    struct jt *t = *state;
    const int64_t hour = TG_QUERY_SLACK_MS;
    struct tg_posting_query q = {.tenant = "acme", .state = TG_QUERY_ANY_STATE};
    struct seen s;

    add_postings(t, "acme", t->erp, 0, 1000, TG_POSTING_READY);
    jt_sql(t, "UPDATE events SET journalled_ms = id * 3600000");
    q.span = (struct tg_span){100 * hour, 110 * hour};
    seen_init(&s, 500);
    all_postings(t, &q, &s, NULL);
    assert_int_equal(s.pages, 1);
    each_once(&s, 10);
    q.span = (struct tg_span){0, 3 * hour};
    seen_init(&s, 500);
    all_postings(t, &q, &s, NULL);
    each_once(&s, 2);
    q.span = (struct tg_span){999 * hour, INT64_MAX};
    seen_init(&s, 500);
    all_postings(t, &q, &s, NULL);
    each_once(&s, 2);
    q.span = (struct tg_span){20 * hour, 10 * hour};
    seen_init(&s, 500);
    all_postings(t, &q, &s, NULL);
    each_once(&s, 0);
    /* a clock that was set back by half an hour hides nothing */
    jt_sql(t, "UPDATE events SET journalled_ms = journalled_ms - 1800000 WHERE id > 500");
    q.span = (struct tg_span){499 * hour, 502 * hour};
    seen_init(&s, 500);
    all_postings(t, &q, &s, NULL);
    each_once(&s, 4);
}

/* ---- audit ---- */

static void add_act(struct jt *t, const char *actor, const char *action, const char *subject)
{
    struct tg_batch *b = tg_batch_new();

    assert_int_equal(tg_batch_audit(b, actor, action, subject, NULL), 0);
    jt_commit(t, b);
}

static void audit_rows_of_a_tenant(void **state)
{
    struct jt *t = *state;
    struct tg_audit_query q = {.tenant = "acme", .span = always};
    struct seen s;

    add_exceptions(t, "acme", 0, 400, "period_closed"); /* event.refused, exception.opened */
    add_exceptions(t, "zeta", 1000, 300, "period_closed");
    add_act(t, "orchestrator", "rules.loaded", "rules");
    add_act(t, "anna", "event.replayed", "s07-1-7");
    add_act(t, "anna", "event.replayed", "s07-1-1000");
    add_act(t, "anna", "exception.noted", "exception 1x; DROP TABLE audit");
    seen_init(&s, 31);
    all_audit(t, &q, &s);
    each_once(&s, 802);
    q.action = tg_str_of("exception");
    seen_init(&s, 500);
    all_audit(t, &q, &s);
    each_once(&s, 401);
    q.action = tg_str_of("exception.open");
    seen_init(&s, 500);
    all_audit(t, &q, &s);
    each_once(&s, 0);
    q = (struct tg_audit_query){.tenant = "acme", .actor = tg_str_of("anna"), .span = always};
    seen_init(&s, 1);
    all_audit(t, &q, &s);
    each_once(&s, 2);
    q = (struct tg_audit_query){.tenant = "acme", .subject = tg_str_of("s07-1-7"), .span = always};
    seen_init(&s, 1);
    all_audit(t, &q, &s);
    each_once(&s, 2); /* also what is about "event ROW" */
    q.subject = tg_str_of("s07-1-1000");
    seen_init(&s, 1);
    all_audit(t, &q, &s);
    each_once(&s, 0);
    q = (struct tg_audit_query){.tenant = "zeta", .span = always};
    seen_init(&s, 500);
    all_audit(t, &q, &s);
    each_once(&s, 601);
}

/* ---- the summary ---- */

struct counted {
    uint64_t all;
    size_t rows;
};

static void on_group(void *arg, const struct tg_open_exceptions *row)
{
    struct counted *c = arg;

    c->all += row->count;
    c->rows++;
}

static void on_state(void *arg, const struct tg_state_count *row)
{
    struct counted *c = arg;

    c->all += row->count;
    c->rows++;
    assert_true(row->oldest > 0);
}

static void counting_has_an_end(void **state)
{
    struct jt *t = *state;
    struct tg_error err = {""};
    struct tg_reader *r;
    struct counted c = {0};
    bool more = true;
    uint64_t count = 1;
    int64_t oldest = 1;

    add_exceptions(t, "acme", 0, 20, "period_closed");
    add_exceptions(t, "acme", 20, 20, "worker_unknown");
    for (unsigned i = 0; i < 3; i++) {
        add_exceptions(t, "zeta", 1000 + i * 4000, 4000, "period_closed");
    }
    add_postings(t, "acme", t->erp, 50000, 12, TG_POSTING_READY);
    add_postings(t, "acme", t->erp, 60000, 5, TG_POSTING_HELD);
    r = jt_reader(t);
    assert_int_equal(tg_reader_open_exceptions(r, "acme", on_group, &c, &more, &err), 0);
    assert_int_equal(c.all, 40);
    assert_int_equal(c.rows, 2);
    assert_false(more);
    c = (struct counted){0};
    assert_int_equal(tg_reader_open_exceptions(r, "zeta", on_group, &c, &more, &err), 0);
    assert_int_equal(c.all, TG_OPS_COUNT_MAX + 1);
    assert_true(more);
    c = (struct counted){0};
    assert_int_equal(tg_reader_open_states(r, t->erp, on_state, &c, &more, &err), 0);
    assert_int_equal(c.all, 17);
    assert_int_equal(c.rows, 2);
    assert_false(more);
    assert_int_equal(tg_reader_held_count(r, "acme", &count, &oldest, &more, &err), 0);
    assert_int_equal(count, 0);
    assert_int_equal(oldest, 0);
    assert_int_equal(tg_reader_alarm(r, "journal.restored", NULL, NULL, &err), 1);
    tg_reader_close(r);
}

/* ---- reconciliation ---- */

struct groups {
    size_t count, equal, limit;
    int64_t posted;
};

static bool on_group_of_totals(void *arg, const struct tg_reconciled *row)
{
    struct groups *g = arg;

    assert_true(row->summed);
    g->count++;
    g->equal += row->equal ? 1 : 0;
    g->posted += row->posted_count;
    return g->count % g->limit != 0;
}

static struct groups all_groups(struct jt *t, const struct tg_reconcile_query *q, size_t limit)
{
    struct tg_reader *r = jt_reader(t);
    struct tg_reconcile_place place = {0};
    struct groups g = {.limit = limit};
    struct tg_error err = {""};
    bool over = false;

    while (!over) {
        if (tg_reader_reconcile(r, q, &place, on_group_of_totals, &g, &over, &err) != 0) {
            fail_msg("%s", err.text);
        }
    }
    tg_reader_close(r);
    return g;
}

static void totals_against_their_postings(void **state)
{
    struct jt *t = *state;
    struct tg_reconcile_query q = {.tenant = "acme"};
    uint32_t payroll = destination(t, "acme/payroll"), other = destination(t, "acme-2/erp");
    struct tg_batch *b;
    struct groups g;

    add_postings(t, "acme", t->erp, 0, 20, TG_POSTING_READY);
    add_postings(t, "acme", payroll, 100, 20, TG_POSTING_READY);
    add_postings(t, "acme-2", other, 200, 20, TG_POSTING_READY);
    b = tg_batch_new();
    for (int64_t id = 1; id <= 60; id++) {
        struct tg_row_mark m = jt_mark(id, TG_POSTING_READY, TG_POSTING_SENT);

        assert_int_equal(tg_batch_mark(b, &m), 0);
        m = jt_mark(id, TG_POSTING_SENT, TG_POSTING_POSTED);
        assert_int_equal(tg_batch_mark(b, &m), 0);
    }
    jt_commit(t, b);
    for (size_t limit = 1; limit < 6; limit++) {
        g = all_groups(t, &q, limit);
        assert_int_equal(g.count, 4);
        assert_int_equal(g.equal, 4);
        assert_int_equal(g.posted, 40);
    }
    q.period = tg_str_of("2026-12");
    assert_int_equal(all_groups(t, &q, 9).count, 2);
    q.destination = tg_str_of("payroll");
    assert_int_equal(all_groups(t, &q, 9).count, 1);
    /* a hand in the file: a total altered, one gone, one of nothing */
    q = (struct tg_reconcile_query){.tenant = "acme"};
    jt_sql(t, "UPDATE control_totals SET quantity_micros = quantity_micros + 1 "
              "WHERE destination = 0 AND period = '2026-11'");
    assert_int_equal(all_groups(t, &q, 9).equal, 3);
    jt_sql(t, "DELETE FROM control_totals WHERE destination = 0 AND period = '2026-11'");
    g = all_groups(t, &q, 1);
    assert_int_equal(g.count, 4);
    assert_int_equal(g.equal, 3);
    jt_sql(t, "INSERT INTO control_totals VALUES(0, 'labor', '1999-01', 1, 1000000)");
    g = all_groups(t, &q, 1);
    assert_int_equal(g.count, 5);
    assert_int_equal(g.equal, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(exceptions_come_once_each, jt_setup, jt_teardown),
        cmocka_unit_test_setup_teardown(exceptions_are_filtered, jt_setup, jt_teardown),
        cmocka_unit_test_setup_teardown(a_page_looks_at_so_many_rows, jt_setup, jt_teardown),
        cmocka_unit_test_setup_teardown(postings_come_once_each, jt_setup, jt_teardown),
        cmocka_unit_test_setup_teardown(postings_of_one_object, jt_setup, jt_teardown),
        cmocka_unit_test_setup_teardown(postings_of_a_time, jt_setup, jt_teardown),
        cmocka_unit_test_setup_teardown(audit_rows_of_a_tenant, jt_setup, jt_teardown),
        cmocka_unit_test_setup_teardown(counting_has_an_end, jt_setup, jt_teardown),
        cmocka_unit_test_setup_teardown(totals_against_their_postings, jt_setup, jt_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
