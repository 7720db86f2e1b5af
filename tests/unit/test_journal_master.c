/* Master data in the journal: written with its object, read in order, vouched for by the audit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "journal_rows.h"

static struct tg_row_master master_row(int64_t id, int64_t object)
{
    return (struct tg_row_master){.id = id,
                                  .object = object,
                                  .tenant = "acme",
                                  .kind = "worker",
                                  .name = "W-041",
                                  .source = "hr",
                                  .version = 7,
                                  .from_day = "2026-11-18",
                                  .attributes = "{\"cost_center\":\"CC-200\"}",
                                  .refused = "[\"pay_code\"]"};
}

/* An accepted event n with its validated worker and the row of master data. */
static void add(struct jt *t, struct tg_batch *b, unsigned n)
{
    const int64_t event = tg_journal_next_id(t->journal, TG_TABLE_EVENTS);
    const int64_t object = tg_journal_next_id(t->journal, TG_TABLE_OBJECTS);
    struct tg_row_event e = jt_event(event, n, TG_EVENT_ACCEPTED);
    struct tg_row_object o = jt_object(object, event, n, 7, TG_VERSION_VALIDATED);
    struct tg_row_master m = master_row(tg_journal_next_id(t->journal, TG_TABLE_MASTER), object);

    o.kind = "worker";
    assert_int_equal(tg_batch_event(b, &e), 0);
    assert_int_equal(tg_batch_object(b, &o), 0);
    assert_int_equal(tg_batch_master(b, &m), 0);
}

struct seen {
    size_t rows;
    int64_t last;
};

static bool on_row(void *arg, const struct tg_row_master *row)
{
    const struct tg_row_master want = master_row(row->id, row->object);
    struct seen *s = arg;

    s->rows++;
    assert_true(row->id > s->last);
    s->last = row->id;
    assert_string_equal(row->tenant, want.tenant);
    assert_string_equal(row->kind, want.kind);
    assert_string_equal(row->name, want.name);
    assert_string_equal(row->source, want.source);
    assert_int_equal(row->version, want.version);
    assert_string_equal(row->from_day, want.from_day);
    assert_string_equal(row->attributes, want.attributes);
    assert_string_equal(row->refused, want.refused);
    return true;
}

static void on_finding(void *arg, const char *what)
{
    (void)snprintf(arg, 256, "%s", what);
}

/* The last finding of the check; "" when it has none. */
static const char *finding(const struct jt *t)
{
    static char text[256];
    struct tg_reader *r = jt_reader(t);
    struct tg_error err = {""};

    text[0] = '\0';
    assert_true(tg_journal_check(r, on_finding, text, &err) >= 0);
    tg_reader_close(r);
    return text;
}

static void test_rows(void **state)
{
    struct jt *t = *state;
    struct tg_batch *b = tg_batch_new();
    struct seen seen = {0};
    struct tg_error err = {""};
    struct tg_reader *r;

    for (unsigned n = 1; n <= 5; n++) {
        add(t, b, n);
    }
    jt_commit(t, b);
    r = jt_reader(t);
    assert_int_equal(tg_reader_master(r, 0, 2, on_row, &seen, &err), 0);
    assert_int_equal(seen.rows, 2);
    assert_int_equal(tg_reader_master(r, seen.last, 1000, on_row, &seen, &err), 0);
    assert_int_equal(seen.rows, 5);
    assert_int_equal(tg_reader_master(r, seen.last, 1000, on_row, &seen, &err), 0);
    assert_int_equal(seen.rows, 5);
    tg_reader_close(r);
    assert_string_equal(finding(t), "");
    assert_int_equal(jt_sql_int(t, "SELECT count(*) FROM audit WHERE action = 'master.changed' AND "
                                   "json_extract(detail, '$.refused[0]') = 'pay_code'"),
                     5);
    /* ids go on after a restart */
    jt_close(t);
    jt_open(t);
    assert_int_equal(tg_journal_next_id(t->journal, TG_TABLE_MASTER), 6);
}

static void test_refused(void **state)
{
    static const char *const days[] = {"", "2026", "18 November 2026"};
    struct jt *t = *state;

    for (size_t i = 0; i < sizeof(days) / sizeof(days[0]); i++) {
        struct tg_row_event e = jt_event(1, 1, TG_EVENT_ACCEPTED);
        struct tg_row_object o = jt_object(1, 1, 1, 7, TG_VERSION_VALIDATED);
        struct tg_row_master m = master_row(1, 1);
        struct tg_batch *b = tg_batch_new();

        o.kind = "worker";
        m.from_day = days[i];
        assert_int_equal(tg_batch_event(b, &e), 0);
        assert_int_equal(tg_batch_object(b, &o), 0);
        assert_int_equal(tg_batch_master(b, &m), 0);
        jt_commit_refused(t, b);
    }
    assert_int_equal(jt_sql_int(t, "SELECT count(*) FROM events"), 0);
}

static void test_a_row_without_its_object(void **state)
{
    struct jt *t = *state;
    struct tg_batch *b = tg_batch_new();
    struct tg_row_master m = master_row(1, 99);

    assert_int_equal(tg_batch_master(b, &m), 0);
    jt_commit_refused(t, b);
}

static void test_check_finds_what_was_altered(void **state)
{
    static const struct {
        const char *sql, *says;
    } cases[] = {
        {"UPDATE master SET attributes = '{\"cost_center\":\"CC-999\"}'",
         "master 1 is not what audit"},
        {"UPDATE master SET from_day = '2020-01-01'", "master 1 is not what audit"},
        {"UPDATE master SET name = 'W-001'", "master 1 is not what audit"},
        {"DELETE FROM master", "master 1 is not what audit"},
        {"INSERT INTO master SELECT 2, 1000 + id, tenant, kind, name, source, version, from_day, "
         "refused, attributes FROM master",
         "the audit has no row of it"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct jt *t = *state;
        struct tg_batch *b = tg_batch_new();

        add(t, b, 1);
        jt_commit(t, b);
        jt_close(t);
        jt_sql(t, cases[i].sql);
        jt_open(t);
        if (strstr(finding(t), cases[i].says) == NULL) {
            fail_msg("after %s: \"%s\"", cases[i].sql, finding(t));
        }
        assert_int_equal(jt_teardown(state), 0);
        assert_int_equal(jt_setup(state), 0);
    }
}

/* A worker owes no postings; what is said to be taken must be there. */
static void test_check_of_a_worker_without_its_row(void **state)
{
    struct jt *t = *state;
    struct tg_batch *b = tg_batch_new();
    struct tg_row_event e = jt_event(1, 1, TG_EVENT_ACCEPTED);
    struct tg_row_object o = jt_object(1, 1, 1, 7, TG_VERSION_VALIDATED);

    o.kind = "worker";
    assert_int_equal(tg_batch_event(b, &e), 0);
    assert_int_equal(tg_batch_object(b, &o), 0);
    jt_commit(t, b);
    assert_string_equal(finding(t), "object 1 is validated master data and has no row of it");
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, jt_setup, jt_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_rows),
        CASE(test_refused),
        CASE(test_a_row_without_its_object),
        CASE(test_check_finds_what_was_altered),
        CASE(test_check_of_a_worker_without_its_row),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
