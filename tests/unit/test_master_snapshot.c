#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/codec.h"
#include "master/catalogue.h"
#include "master/master.h"

static char dir[] = "/tmp/tg_master_XXXXXX";
static char master_path[64], calendar_path[64], catalogue_path[64];

static const char good[] =
    "{\"version\":\"2026-11-16\","
    "\"workers\":[{\"id\":\"W-1\",\"name\":\"Ann\",\"legal_entity\":\"DE\",\"cost_center\":\"CC\","
    "\"labor_category\":\"senior\",\"pay_code\":\"REG\",\"employment\":[{\"from\":\"2024-01-01\","
    "\"to\":\"2026-10-31\"}],\"aliases\":{\"psa\":\"u-17\"}},"
    "{\"id\":\"u-17\",\"name\":\"Bob\",\"legal_entity\":\"FR\",\"cost_center\":\"CC\","
    "\"labor_category\":\"senior\",\"pay_code\":\"REG\",\"employment\":[{\"from\":\"2024-01-01\"}]}"
    "],\"projects\":[{\"id\":\"P-1\",\"name\":\"One\",\"legal_entity\":\"DE\","
    "\"states\":[{\"from\":\"2026-01-01\",\"state\":\"open\"},{\"from\":\"2026-11-01\","
    "\"state\":\"closed\"}],\"tasks\":[{\"id\":\"T-1\",\"name\":\"Build\",\"states\":[]}]}],"
    "\"assignments\":[{\"worker\":\"W-1\",\"project\":\"P-1\",\"from\":\"2026-01-01\","
    "\"to\":\"2026-02-28\"},{\"worker\":\"W-1\",\"project\":\"P-1\",\"from\":\"2026-04-01\","
    "\"to\":null}],\"labor_categories\":[{\"id\":\"senior\",\"name\":\"Senior\","
    "\"billable\":true,\"cost_rate\":\"85.00\",\"currency\":\"EUR\"}],"
    "\"cost_centers\":[{\"id\":\"CC\",\"legal_entity\":\"DE\"}],"
    "\"legal_entities\":[{\"id\":\"DE\",\"currency\":\"EUR\"}]}";

static const char calendar[] =
    "periods:\n"
    "  - {id: \"2026-11\", from: 2026-11-01, to: 2026-11-30, state: open}\n"
    "  - {id: \"2026-10\", from: 2026-10-01, to: 2026-10-31, state: closed}\n"
    "  - {id: \"FR-11\", from: 2026-11-01, to: 2026-11-30, state: closed, legal_entity: FR}\n"
    "pay_cycles:\n"
    "  - {id: \"2026-W47\", from: 2026-11-16, to: 2026-11-22, cutoff: \"2026-11-24T12:00:00Z\"}\n";

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
}

static struct tg_master *load_files(const char *master, const char *cal, struct tg_error *err)
{
    return tg_master_load(&(struct tg_master_files){.master = master, .calendar = cal}, err);
}

static struct tg_master *load(const char *master, const char *cal, struct tg_error *err)
{
    write_text(master_path, master);
    write_text(calendar_path, cal);
    return load_files(master_path, calendar_path, err);
}

/* The good file with the first `from` replaced by `to`. Static: one at a time. */
static const char *changed(const char *from, const char *to)
{
    static char text[sizeof(good) + 512];
    const char *at = strstr(good, from);

    assert_non_null(at);
    (void)snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - good), good, to, at + strlen(from));
    return text;
}

static void refused(const char *from, const char *to, const char *expected)
{
    struct tg_error err = {""};
    struct tg_master *m = load(changed(from, to), calendar, &err);

    tg_master_unref(m);
    if (m != NULL || strstr(err.text, expected) == NULL ||
        strncmp(err.text, master_path, strlen(master_path)) != 0) {
        fail_msg("`%s` -> `%s`: got `%s`", from, to, err.text);
    }
}

static void calendar_refused(const char *text, const char *expected)
{
    struct tg_error err = {""};
    struct tg_master *m = load(good, text, &err);

    tg_master_unref(m);
    if (m != NULL || strstr(err.text, expected) == NULL) {
        fail_msg("`%s`: got `%s`", text, err.text);
    }
}

static const char *id_of(const json_t *row)
{
    return row != NULL ? json_string_value(json_object_get(row, "id")) : "(none)";
}

static const json_t *find(const struct tg_master *m, const char *kind, const char *key,
                          const char *source)
{
    return tg_master_find(m, tg_str_of(kind), tg_str_of(key), tg_str_of(source));
}

static int32_t day(const char *text)
{
    int32_t d;

    assert_int_equal(tg_date_parse(tg_str_of(text), &d), 0);
    return d;
}

static void test_find(void **state)
{
    struct tg_error err = {""};
    struct tg_master *m = load(good, calendar, &err);
    char long_key[2000];

    (void)state;
    assert_non_null(m);
    assert_string_equal(id_of(find(m, "worker", "W-1", NULL)), "W-1");
    assert_string_equal(id_of(find(m, "worker", "u-17", "psa")), "W-1"); /* the alias */
    assert_string_equal(id_of(find(m, "worker", "u-17", "")), "u-17");   /* the id */
    assert_null(find(m, "worker", "W-1", "psa"));
    assert_null(find(m, "worker", "u-17", "jira"));
    assert_null(find(m, "project", "W-1", NULL));
    assert_null(find(m, "nothing", "W-1", NULL));
    assert_null(find(m, "assignment", "P-1", "W-1"));
    assert_string_equal(id_of(find(m, "labor_category", "senior", NULL)), "senior");
    assert_string_equal(id_of(find(m, "cost_center", "CC", NULL)), "CC");
    assert_string_equal(id_of(find(m, "legal_entity", "DE", NULL)), "DE");
    memset(long_key, 'x', sizeof(long_key) - 1);
    long_key[sizeof(long_key) - 1] = '\0';
    assert_null(find(m, "worker", long_key, NULL));
    tg_master_unref(m);
}

static void test_dates(void **state)
{
    struct tg_error err = {""};
    struct tg_master *m = load(good, calendar, &err);
    struct tg_str w = tg_str_of("W-1"), p = tg_str_of("P-1");
    const json_t *list;

    (void)state;
    assert_non_null(m);
    assert_non_null(tg_master_assignment(m, w, p, day("2026-02-28")));
    assert_null(tg_master_assignment(m, w, p, day("2026-03-01")));
    assert_non_null(tg_master_assignment(m, w, p, day("2026-04-01")));
    assert_non_null(tg_master_assignment(m, w, p, day("2099-04-01")));
    assert_null(tg_master_assignment(m, p, w, day("2026-04-01")));

    list = json_object_get(find(m, "worker", "W-1", NULL), "employment");
    assert_true(tg_master_in_force(list, day("2024-01-01"), NULL));
    assert_true(tg_master_in_force(list, day("2026-10-31"), NULL));
    assert_false(tg_master_in_force(list, day("2026-11-01"), NULL));
    assert_false(tg_master_in_force(list, day("2023-12-31"), NULL));
    list = json_object_get(find(m, "project", "P-1", NULL), "states");
    assert_true(tg_master_in_force(list, day("2026-10-31"), "open"));
    assert_false(tg_master_in_force(list, day("2026-11-01"), "open"));
    assert_true(tg_master_in_force(list, day("2026-11-01"), "closed"));
    assert_false(tg_master_in_force(list, day("2025-12-31"), "open"));
    assert_false(tg_master_in_force(NULL, day("2025-12-31"), NULL));
    tg_master_unref(m);
}

static void test_calendar(void **state)
{
    struct tg_error err = {""};
    struct tg_master *m = load(good, calendar, &err);
    struct tg_str de = tg_str_of("DE"), fr = tg_str_of("FR");

    (void)state;
    assert_non_null(m);
    assert_string_equal(id_of(tg_master_period(m, de, day("2026-10-31"))), "2026-10");
    assert_string_equal(id_of(tg_master_period(m, de, day("2026-11-01"))), "2026-11");
    assert_string_equal(id_of(tg_master_period(m, fr, day("2026-11-30"))), "FR-11");
    assert_null(tg_master_period(m, fr, day("2026-12-01")));
    assert_string_equal(id_of(tg_master_pay_cycle(m, de, day("2026-11-22"))), "2026-W47");
    assert_null(tg_master_pay_cycle(m, de, day("2026-11-15")));
    tg_master_unref(m);
}

static void test_closed_periods(void **state)
{
    static const char later[] =
        "closed_periods: next_open\n"
        "periods:\n"
        "  - {id: \"2026-10\", from: 2026-10-01, to: 2026-10-31, state: closed}\n"
        "  - {id: \"2026-11\", from: 2026-11-01, to: 2026-11-30, state: open}\n"
        "  - {id: \"2026-12\", from: 2026-12-01, to: 2026-12-31, state: open}\n"
        "  - {id: \"FR-11\", from: 2026-11-01, to: 2026-11-30, state: closed, legal_entity: FR}\n";
    struct tg_error err = {""};
    struct tg_master *m = load(good, calendar, &err);
    struct tg_str de = tg_str_of("DE"), fr = tg_str_of("FR");

    (void)state;
    assert_non_null(m);
    assert_string_equal(tg_master_closed_periods(m), "exception");
    tg_master_unref(m);
    m = load(good, later, &err);
    assert_non_null(m);
    assert_string_equal(tg_master_closed_periods(m), "next_open");
    assert_string_equal(id_of(tg_master_next_open_period(m, de, day("2026-10-30"))), "2026-11");
    assert_string_equal(id_of(tg_master_next_open_period(m, de, day("2026-11-01"))), "2026-12");
    assert_null(tg_master_next_open_period(m, de, day("2026-12-01")));
    /* the entity's own closed November overrules the general open one */
    assert_string_equal(id_of(tg_master_next_open_period(m, fr, day("2026-10-30"))), "2026-12");
    assert_string_equal(id_of(tg_master_next_open_period(m, tg_str_of(NULL), day("2026-10-30"))),
                        "2026-11");
    tg_master_unref(m);
    m = load(good, "closed_periods: hold\n", &err);
    assert_non_null(m);
    assert_string_equal(tg_master_closed_periods(m), "hold");
    assert_null(tg_master_next_open_period(m, de, day("2026-10-30")));
    tg_master_unref(m);
}

static void test_version_and_references(void **state)
{
    struct tg_error err = {""};
    struct tg_master *m = load(good, calendar, &err);
    struct tg_master *other;
    char version[TG_MASTER_VERSION_MAX_BYTES];

    (void)state;
    assert_non_null(m);
    assert_true(tg_str_copy(tg_str_of(tg_master_version(m)), version, sizeof(version)));
    assert_int_equal(strncmp(version, "2026-11-16+", 11), 0);
    assert_int_equal(strlen(version), 19);
    assert_ptr_equal(tg_master_ref(m), m);
    tg_master_unref(m);
    assert_non_null(find(m, "worker", "W-1", NULL));

    other = load(good, "periods: []\n", &err);
    assert_non_null(other);
    assert_string_not_equal(tg_master_version(other), version);
    tg_master_unref(other);
    other = load_files(master_path, NULL, &err);
    assert_non_null(other);
    assert_null(tg_master_period(other, tg_str_of("DE"), day("2026-11-01")));
    tg_master_unref(other);
    tg_master_unref(m);
    tg_master_unref(NULL);
}

static void test_file_refused(void **state)
{
    struct tg_error err = {""};

    (void)state;
    refused("\"Ann\"", "7", "/workers/0/name: must be a text");
    refused("\"name\":\"Ann\",", "", "/workers/0: `name` is missing");
    refused("\"name\":\"Ann\"", "\"name\":\"Ann\",\"rank\":1", "/workers/0/rank: unknown key");
    refused("2024-01-01", "2023-02-29", "/workers/0/employment/0/from: must be a calendar day");
    refused("2024-01-01", "2027-01-01", "/workers/0/employment/0: `from` is after `to`");
    refused("\"to\":null", "\"to\":7", "/assignments/1/to: must be a calendar day");
    refused("\"85.00\"", "85.0", "/labor_categories/0/cost_rate: must be a decimal string");
    refused("\"85.00\"", "\"-1\"", "/labor_categories/0/cost_rate: must be a decimal string");
    refused("\"EUR\"", "\"eur\"", "/labor_categories/0/currency: must be a currency");
    refused("\"billable\":true", "\"billable\":\"yes\"", "billable: must be true or false");
    refused("\"open\"", "\"ajar\"", "/projects/0/states/0/state: must be \"open\" or");
    refused("{\"psa\":\"u-17\"}", "[]", "/workers/0/aliases: must be an object");
    refused("{\"psa\":\"u-17\"}", "{\"p s\":\"x\"}", "/workers/0/aliases/p s: a source name");
    refused("{\"psa\":\"u-17\"}", "{\"psa\":\"\"}", "/workers/0/aliases/psa: must be 1 to 255");
    refused("\"id\":\"u-17\"", "\"id\":\"W-1\"", "/workers/1: `W-1` is already the id");
    refused("[{\"from\":\"2024-01-01\"}]}",
            "[{\"from\":\"2024-01-01\"}],\"aliases\":{\"psa\":\"u-17\"}}",
            "/workers/1: `u-17` is already the alias");
    refused("\"states\":[]}]", "\"states\":[]},{\"id\":\"T-1\",\"name\":\"x\",\"states\":[]}]",
            "/projects/0/tasks/1: `T-1` is already");
    refused("\"workers\":[", "\"workers\":{", "expected");
    refused("\"version\":\"2026-11-16\",", "", "`version` is missing");
    refused("\"assignments\":[{", "\"assignments\":[7,{", "/assignments/0: must be an object");
    refused("\"version\"", "\"version\":\"1\",\"version\"", "duplicate object key");
    assert_null(load_files("/nonexistent/m.json", NULL, &err));
    assert_non_null(strstr(err.text, "/nonexistent/m.json: cannot be opened"));
    assert_null(load_files("/tmp", NULL, &err));
    assert_non_null(strstr(err.text, "not a regular file"));
    assert_null(load("[]", calendar, &err));
    assert_non_null(strstr(err.text, "must be an object"));
    assert_null(load("", calendar, &err));
}

static void test_calendar_refused(void **state)
{
    (void)state;
    calendar_refused("period: []\n",
                     ":1: unknown key `period`; accepted: periods, pay_cycles, closed_periods, "
                     "maintenance");
    calendar_refused("closed_periods: maybe\n",
                     ":1: `closed_periods` must be exception, hold or next_open");
    calendar_refused("periods:\n  - {id: a, from: 2026-11-01, to: 2026-11-30}\n",
                     ":2: `state` is missing");
    calendar_refused("periods:\n  - {id: a, from: 2026-11-01, to: 2026-11-31, state: open}\n",
                     ":2: `to` must be a calendar day");
    calendar_refused("periods:\n  - {id: a, from: 2026-11-02, to: 2026-11-01, state: open}\n",
                     ":2: `from` is after `to`");
    calendar_refused("periods:\n  - {id: a, from: 2026-11-02, to: 2026-11-03, state: shut}\n",
                     ":2: `state` must be open or closed");
    calendar_refused("periods:\n  - {id: a, from: 2026-11-01, to: 2026-11-30, state: open}\n"
                     "  - {id: b, from: 2026-11-30, to: 2026-12-30, state: open}\n",
                     "periods `a` and `b` overlap");
    calendar_refused("pay_cycles:\n  - {id: a, from: 2026-11-02, to: 2026-11-03, cutoff: noon}\n",
                     ":2: `cutoff` must be a time");
    calendar_refused("pay_cycles: 7\n", "`pay_cycles` must be a list");
    calendar_refused("pay_cycles: [7]\n", "expected `key: value` lines");
}

#define WINDOW(text) "maintenance:\n  - {" text "}\n"
#define ONCE "from: \"2026-11-28T22:00:00+01:00\", to: \"2026-11-29T04:00:00+01:00\""
#define WEEKLY "days: [sat, sun], from: \"22:00\", to: \"02:00\", timezone: "

static void test_maintenance(void **state)
{
    struct tg_error err = {""};
    struct tg_master *m = load(
        good,
        WINDOW("destinations: [erp], " ONCE
               ", reason: new release") "  - {destinations: [erp, payroll], " WEEKLY "\"-03:30\"}\n"
                                        "  - {destinations: [erp], days: [mon], from: \"00:00\", "
                                        "to: \"24:00\", "
                                        "timezone: Z}\n",
        &err);
    const struct tg_maintenance *list;
    size_t n;

    (void)state;
    assert_string_equal(err.text, "");
    list = tg_master_maintenance(m, &n);
    assert_int_equal(n, 3);
    assert_false(list[0].window.weekly);
    assert_int_equal(list[0].window.to_ms - list[0].window.from_ms, 6 * 3600000);
    assert_string_equal(list[0].reason, "new release");
    assert_string_equal(list[0].destinations[0], "erp");
    assert_int_equal(list[0].line, 2);
    assert_true(list[1].window.weekly);
    assert_int_equal(list[1].window.days, 0x60);
    assert_int_equal(list[1].window.from_minute, 22 * 60);
    assert_int_equal(list[1].window.minutes, 4 * 60);
    assert_int_equal(list[1].window.offset_minutes, -210);
    assert_int_equal(list[1].destination_count, 2);
    assert_null(list[1].reason);
    assert_int_equal(list[2].window.minutes, 1440);
    tg_master_unref(m);
}

static void test_maintenance_refused(void **state)
{
    (void)state;
    calendar_refused("maintenance: 7\n",
                     ":1: `maintenance` is not accepted; accepted: a list of at most 256 items");
    calendar_refused("maintenance: [7]\n", ":1: `maintenance`: `maintenance` is not accepted");
    calendar_refused(WINDOW(ONCE),
                     ":2: `maintenance`: `destinations` is missing; accepted: a list");
    calendar_refused(WINDOW("destinations: [], " ONCE), ":2: `maintenance`: `destinations` is not");
    calendar_refused(WINDOW("destinations: ['a/b'], " ONCE), "`destinations` is not accepted");
    calendar_refused(WINDOW("destinations: erp, " ONCE), "`destinations` is not accepted");
    calendar_refused(WINDOW("destinations: [erp], from: \"22:00\", to: \"23:00\""),
                     "`from` is not accepted; accepted: a time like");
    calendar_refused(WINDOW("destinations: [erp], from: \"2026-11-28T22:00:00\", to: x"),
                     "`from` is not accepted"); /* no offset */
    calendar_refused(WINDOW("destinations: [erp], " ONCE ", timezone: Z"),
                     "unknown key `timezone`");
    calendar_refused(WINDOW("destinations: [erp], " ONCE ", reason: \"a\\tb\""),
                     "`reason` is not accepted");
    calendar_refused(WINDOW("destinations: [erp], days: [sat, sat], from: \"1\", to: \"2\""),
                     "`days` is not accepted; accepted: a list of mon, tue");
    calendar_refused(WINDOW("destinations: [erp], days: [], from: \"1\", to: \"2\""),
                     "`days` is not accepted");
    calendar_refused(WINDOW("destinations: [erp], days: sat, from: \"1\", to: \"2\""),
                     "`days` is not accepted");
    calendar_refused(WINDOW("destinations: [erp], days: [sat], from: \"24:01\", to: \"2:00\""),
                     "`from` is not accepted; accepted: a time of the day");
    calendar_refused(WINDOW("destinations: [erp], days: [sat], from: \"10:60\", to: \"12:00\""),
                     "`from` is not accepted");
    calendar_refused(WINDOW("destinations: [erp], days: [sat], from: \"24:00\", to: \"12:00\", "
                            "timezone: Z"),
                     "`from` is not accepted; accepted: \"00:00\"");
    calendar_refused(WINDOW("destinations: [erp], days: [sat], from: \"12:00\", to: \"12:00\", "
                            "timezone: Z"),
                     "`to` is not accepted; accepted: another time");
    calendar_refused(WINDOW("destinations: [erp], days: [sat], from: \"12:00\", to: \"13:00\""),
                     "`timezone` is missing");
    calendar_refused(WINDOW("destinations: [erp], " WEEKLY "Europe/Berlin"),
                     "`timezone` is not accepted; accepted: what clocks there are ahead of UTC");
    calendar_refused(WINDOW("destinations: [erp], " WEEKLY "\"+25:00\""),
                     "`timezone` is not accepted");
}

static void catalogue_refused(const char *text, const char *expected)
{
    struct tg_error err = {""};

    write_text(catalogue_path, text);
    assert_null(tg_catalogue_load(catalogue_path, &err));
    if (strstr(err.text, expected) == NULL) {
        fail_msg("got `%s`", err.text);
    }
}

#define HELD(code, owner)                                                                          \
    "  - {code: " code ", title: t, owner: " owner ", runbook: x, hold: true}\n"
#define CODE(code, owner)                                                                          \
    "  - {code: " code ", title: T, owner: " owner ", runbook: docs/runbooks/x.md}\n"

static void test_catalogue(void **state)
{
    struct tg_error err = {""};
    struct tg_catalogue *c;
    struct tg_str cut = {(const unsigned char *)"b_codeX", 6};

    (void)state;
    write_text(catalogue_path, "codes:\n" CODE("b_code", "finance") HELD("a_code", "integration"));
    c = tg_catalogue_load(catalogue_path, &err);
    assert_non_null(c);
    assert_int_equal(tg_catalogue_count(c), 2);
    assert_string_equal(tg_catalogue_at(c, 0)->code, "a_code");
    assert_true(tg_catalogue_at(c, 0)->hold);
    assert_false(tg_catalogue_at(c, 1)->hold);
    assert_null(tg_catalogue_at(c, 2));
    assert_string_equal(tg_catalogue_find(c, cut)->owner, "finance");
    assert_null(tg_catalogue_find(c, tg_str_of("c_code")));
    assert_null(tg_catalogue_find(c, tg_str_of(NULL)));
    assert_null(tg_catalogue_find(c, (struct tg_str){(const unsigned char *)"b_code\0x", 8}));
    tg_catalogue_free(c);
    tg_catalogue_free(NULL);
    catalogue_refused("codes: []\n", ":1: `codes` must be a list");
    catalogue_refused("codes:\n" CODE("a", "finance") CODE("a", "finance"), "`a` is given twice");
    catalogue_refused("codes:\n" CODE("A-b", "finance"), ":2: code `A-b`");
    catalogue_refused("codes:\n  - {code: a, title: t, owner: finance, runbook: x, hold: some}\n",
                      "`hold` must be true or false");
    catalogue_refused("codes:\n" CODE("a", "nobody"), ":2: owner `nobody` is not known");
    catalogue_refused("codes:\n  - {code: a, owner: finance}\n", ":2: `title` is missing");
    catalogue_refused("codes:\n  - {code: a, titel: b}\n", ":2: unknown key `titel`");
    catalogue_refused("codes:\n  - {code: a, title: [], owner: finance, runbook: x}\n",
                      ":2: `title` must be a text");
}

static int make_dir(void **state)
{
    (void)state;
    if (mkdtemp(dir) == NULL) {
        return -1;
    }
    (void)snprintf(master_path, sizeof(master_path), "%s/master.json", dir);
    (void)snprintf(calendar_path, sizeof(calendar_path), "%s/calendar.yaml", dir);
    (void)snprintf(catalogue_path, sizeof(catalogue_path), "%s/catalogue.yaml", dir);
    return 0;
}

static int drop_dir(void **state)
{
    (void)state;
    (void)unlink(master_path);
    (void)unlink(calendar_path);
    (void)unlink(catalogue_path);
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_dates),
        cmocka_unit_test(test_closed_periods),
        cmocka_unit_test(test_calendar),
        cmocka_unit_test(test_version_and_references),
        cmocka_unit_test(test_file_refused),
        cmocka_unit_test(test_calendar_refused),
        cmocka_unit_test(test_maintenance),
        cmocka_unit_test(test_maintenance_refused),
        cmocka_unit_test(test_catalogue),
    };

    return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
