/* Records: CSV that reads back exactly and does no harm in a spreadsheet, ledger entries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "connect/keyset.h"
#include "connect/sheet.h"

#define KEY "00112233445566778899aabbccddeeff"
#define LABOR                                                                                      \
    "{\"entry\":\"TE-1\",\"version\":1,\"date\":\"2026-11-16\",\"period\":\"2026-11\","            \
    "\"worker\":\"W-001\",\"project\":\"P-100\",\"task\":\"T-1\",\"legal_entity\":\"ACME-DE\","    \
    "\"cost_center\":\"CC-100\",\"labor_category\":\"senior\",\"hours\":\"7.5\","                  \
    "\"cost_rate\":\"85.00\",\"amount\":\"637.50\",\"currency\":\"EUR\"}"

static json_t *payload(const char *text)
{
    json_t *p = json_loads(text, JSON_ALLOW_NUL, NULL);

    assert_non_null(p);
    return p;
}

static int line_of(const struct tg_sheet *s, json_t *p, char *out, size_t size,
                   struct tg_error *err)
{
    struct tg_buf b;
    int rc;

    tg_buf_init(&b, size - 1);
    rc = tg_sheet_line(s, p, KEY, NULL, &b, err);
    if (b.len != 0) {
        memcpy(out, b.data, b.len);
    }
    out[b.len] = '\0';
    tg_buf_free(&b);
    return rc;
}

static void a_labor_line(void **state)
{
    json_t *p = payload(LABOR);
    char line[4096], file[64];
    struct tg_error err;

    (void)state;
    assert_int_equal(line_of(&tg_sheet_labor, p, line, sizeof(line), &err), 0);
    assert_string_equal(line, "TE-1,1,2026-11-16,2026-11,W-001,P-100,T-1,ACME-DE,CC-100,senior,"
                              "7.50,85.00,637.50,EUR,,," KEY "\n");
    assert_int_equal(tg_sheet_file(&tg_sheet_labor, p, file, sizeof(file), &err), 0);
    assert_string_equal(file, "labor-2026-11.csv");
    assert_ptr_equal(tg_sheet_of_file(file), &tg_sheet_labor);
    assert_ptr_equal(tg_sheet_of_file("payroll-2026-W47.csv"), &tg_sheet_hours);
    assert_null(tg_sheet_of_file("payroll-2026-W47.totals.json"));
    assert_null(tg_sheet_of_file("labor-.csv"));
    assert_null(tg_sheet_find("reversal"));
    json_decref(p);
}

/* Each payload that must be refused, and the field the message must name. */
static void bad_payloads_are_refused_by_field(void **state)
{
    static const struct {
        const char *field, *value;
    } bad[] = {
        {"entry", "null"},
        {"entry", "\"\""},
        {"entry", "7"},
        {"worker", "\"a\\nb\""},
        {"worker", "\"a\\u0000b\""},
        {"worker", "\"a\\u007f\""},
        {"worker", "\"a\\u0085b\""},
        {"version", "\"1\""},
        {"version", "1.5"},
        {"date", "\"2026-02-30\""},
        {"date", "\"2026-11-16T00:00:00Z\""},
        {"hours", "\"7,5\""},
        {"hours", "7.5"},
        {"hours", "\"\""},
        {"amount", "\"1e3\""},
        {"cost_rate", "\"x\""},
        {"currency", "\"eur\""},
        {"currency", "\"EURO\""},
        {"cost_center", "null"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        json_t *p = payload(LABOR);
        json_t *v = json_loads(bad[i].value, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        char line[4096];
        struct tg_error err = {""};

        assert_non_null(v);
        assert_int_equal(json_object_set_new(p, bad[i].field, v), 0);
        assert_int_equal(line_of(&tg_sheet_labor, p, line, sizeof(line), &err), -1);
        assert_non_null(strstr(err.text, bad[i].field));
        assert_string_equal(line, "");
        json_decref(p);
    }
}

static void a_period_cannot_leave_the_directory(void **state)
{
    static const char *const bad[] = {"\"../x\"", "\"a/b\"", "\"\"", "null", "7", "\"a b\""};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        json_t *p = payload(LABOR);
        char file[64];
        struct tg_error err = {""};

        assert_int_equal(
            json_object_set_new(p, "period", json_loads(bad[i], JSON_DECODE_ANY, NULL)), 0);
        assert_int_equal(tg_sheet_file(&tg_sheet_labor, p, file, sizeof(file), &err), -1);
        assert_non_null(strstr(err.text, "period"));
        json_decref(p);
    }
}

static void text_fields_read_back_and_never_start_a_formula(void **state)
{
    static const char *const texts[] = {"=1+1", "+1",    "-1",    "@x",   "'=1",    "''x", "a,b",
                                        "a\"b", " lead", "tail ", "\"\"", "Müller", "'",   "a;b"};

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        json_t *p = payload(LABOR);
        char line[4096];
        struct tg_csv_record r;
        struct tg_error err;

        assert_int_equal(json_object_set_new(p, "worker", json_string(texts[i])), 0);
        assert_int_equal(line_of(&tg_sheet_labor, p, line, sizeof(line), &err), 0);
        assert_int_equal(tg_csv_split((struct tg_str){(unsigned char *)line, strlen(line) - 1}, &r),
                         0);
        assert_int_equal(r.count, tg_sheet_labor.column_count + 1);
        assert_true(tg_str_equal_c(r.field[tg_sheet_labor.worker], texts[i]));
        assert_null(strstr(line, ",=") != NULL ? line : NULL);
        assert_null(strstr(line, ",\"=") != NULL ? line : NULL);
        assert_null(strstr(line, ",@") != NULL ? line : NULL);
        assert_true(tg_str_equal_c(r.field[r.count - 1], KEY));
        json_decref(p);
    }
}

static void broken_records_do_not_split(void **state)
{
    static const char *const bad[] = {
        "a,\"b",   "a,b\"c", "\"a\"b,c",
        "\"a\"\"", "\"",     "a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u,v,w,x,y"};
    struct tg_csv_record r;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(tg_csv_split(tg_str_of(bad[i]), &r), -1);
    }
    assert_int_equal(tg_csv_split(tg_str_of("a,,\"\",b"), &r), 0);
    assert_int_equal(r.count, 4);
    assert_int_equal(r.field[1].len, 0);
    assert_int_equal(r.field[2].len, 0);
}

static void a_line_over_the_limit_is_refused(void **state)
{
    json_t *p = payload(LABOR);
    char long_text[TG_CE_ATTRIBUTE_MAX_BYTES + 2];
    static const char *const fields[] = {"entry",        "worker",      "project",       "task",
                                         "legal_entity", "cost_center", "labor_category"};
    char line[TG_FILE_LINE_MAX_BYTES * 2];
    struct tg_error err;

    (void)state;
    memset(long_text, '"', sizeof(long_text));
    long_text[sizeof(long_text) - 2] = '\0';
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        assert_int_equal(json_object_set_new(p, fields[i], json_string(long_text)), 0);
    }
    assert_int_equal(line_of(&tg_sheet_labor, p, line, sizeof(line), &err), -1);
    assert_non_null(strstr(err.text, "longer"));
    long_text[sizeof(long_text) - 2] = 'x';
    long_text[sizeof(long_text) - 1] = '\0';
    json_decref(p);
    p = payload(LABOR);
    assert_int_equal(json_object_set_new(p, "worker", json_string(long_text)), 0);
    assert_int_equal(line_of(&tg_sheet_labor, p, line, sizeof(line), &err), -1);
    assert_non_null(strstr(err.text, "worker"));
    json_decref(p);
}

static void optional_fields_may_be_missing(void **state)
{
    json_t *p = payload(LABOR);
    char line[4096];
    struct tg_error err;

    (void)state;
    assert_int_equal(json_object_del(p, "labor_category"), 0);
    assert_int_equal(json_object_set_new(p, "legal_entity", json_null()), 0);
    assert_int_equal(json_object_del(p, "cost_rate"), 0);
    assert_int_equal(line_of(&tg_sheet_labor, p, line, sizeof(line), &err), 0);
    assert_non_null(strstr(line, ",T-1,,CC-100,,7.50,,637.50,EUR,"));
    json_decref(p);
}

static void entry_of(const char *line, char *out, size_t size)
{
    struct tg_csv_record r;
    struct tg_buf b;

    assert_int_equal(tg_csv_split(tg_str_of(line), &r), 0);
    tg_buf_init(&b, size - 1);
    assert_int_equal(tg_sheet_ledger_entry(&r, &b), 0);
    memcpy(out, b.data, b.len);
    out[b.len] = '\0';
    tg_buf_free(&b);
}

static void a_ledger_entry_balances_and_its_names_are_safe(void **state)
{
    char out[4096];

    (void)state;
    entry_of("TE-1,2,2026-11-16,2026-11,W-1,P-1,T-1,,CC-1,,7.50,,637.50,EUR,,," KEY, out,
             sizeof(out));
    assert_string_equal(out, "2026-11-16 * (TE-1@2) labor  ; key:" KEY "\n"
                             "    wip:P-1:T-1  7.50 h\n"
                             "    labor:W-1  -7.50 h\n"
                             "    cost:P-1  637.50 EUR\n"
                             "    absorbed:CC-1  -637.50 EUR\n\n");
    entry_of("TE-1,2,2026-11-16,2026-11,W  1;x,P:1,(T),,[C],,-7.50,,-637.50,EUR,,," KEY, out,
             sizeof(out));
    assert_non_null(strstr(out, "    wip:P%3A1:%28T%29  -7.50 h\n"));
    assert_non_null(strstr(out, "    labor:W%20%201%3Bx  7.50 h\n"));
    assert_non_null(strstr(out, "    cost:P%3A1  -637.50 EUR\n"));
    assert_non_null(strstr(out, "    absorbed:%5BC%5D  637.50 EUR\n"));
}

/* The day of the work and the day of posting are two things; a reversal names what it takes back.
 */
static void a_reversal_in_a_later_period(void **state)
{
    json_t *p = payload(LABOR);
    struct tg_error err;
    struct tg_buf b;
    char line[1024], out[4096];

    (void)state;
    assert_int_equal(json_object_set_new(p, "posting_date", json_string("2026-12-01")), 0);
    assert_int_equal(json_object_set_new(p, "period", json_string("2026-12")), 0);
    tg_buf_init(&b, sizeof(line) - 1);
    assert_int_equal(tg_sheet_line(&tg_sheet_labor, p, KEY, &KEY[2], &b, &err), 0);
    memcpy(line, b.data, b.len - 1);
    line[b.len - 1] = '\0';
    tg_buf_free(&b);
    assert_string_equal(line,
                        "TE-1,1,2026-11-16,2026-12,W-001,P-100,T-1,ACME-DE,CC-100,senior,"
                        "-7.50,85.00,-637.50,EUR,2026-12-01,112233445566778899aabbccddeeff," KEY);
    entry_of(line, out, sizeof(out));
    assert_non_null(strstr(out, "2026-12-01 * (TE-1@1) labor reversed  ; key:" KEY
                                ", reverses:112233445566778899aabbccddeeff, worked:2026-11-16\n"));
    assert_non_null(strstr(out, "    wip:P-100:T-1  -7.50 h\n"));
    assert_non_null(strstr(out, "    absorbed:CC-100  637.50 EUR\n"));
    assert_int_equal(json_object_set_new(p, "posting_date", json_string("soon")), 0);
    tg_buf_init(&b, sizeof(line) - 1);
    assert_int_equal(tg_sheet_line(&tg_sheet_labor, p, KEY, NULL, &b, &err), -1);
    assert_non_null(strstr(err.text, "posting_date"));
    tg_buf_free(&b);
    json_decref(p);
}

static void a_keyset_finds_what_was_added(void **state)
{
    struct tg_keyset s;
    unsigned char key[TG_POSTING_KEY_BYTES];

    (void)state;
    tg_keyset_init(&s);
    memset(key, 7, sizeof(key)); /* one home slot for all: the worst case */
    for (uint32_t i = 1; i <= 3000; i++) {
        memcpy(key + 8, &i, sizeof(i));
        assert_int_equal(tg_keyset_find(&s, key), 0);
        assert_int_equal(tg_keyset_reserve(&s, 1), 0);
        tg_keyset_add(&s, key, i);
    }
    for (uint32_t i = 1; i <= 3000; i++) {
        memcpy(key + 8, &i, sizeof(i));
        assert_int_equal(tg_keyset_find(&s, key), i);
    }
    assert_int_equal(tg_keyset_reserve(&s, TG_FILE_LINES_MAX), -1);
    assert_int_equal(tg_keyset_reserve(&s, SIZE_MAX), -1);
    tg_keyset_free(&s);
}

static void a_buffer_keeps_its_maximum(void **state)
{
    struct tg_buf b;

    (void)state;
    tg_buf_init(&b, 5);
    assert_int_equal(tg_buf_append_c(&b, "abc"), 0);
    assert_int_equal(tg_buf_append_c(&b, "def"), -1);
    assert_int_equal(b.len, 3);
    assert_int_equal(tg_buf_append_c(&b, "de"), 0);
    assert_int_equal(tg_buf_append_char(&b, 'f'), -1);
    assert_true(tg_str_equal_c(tg_buf_view(&b), "abcde"));
    tg_buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_labor_line),
        cmocka_unit_test(bad_payloads_are_refused_by_field),
        cmocka_unit_test(a_period_cannot_leave_the_directory),
        cmocka_unit_test(text_fields_read_back_and_never_start_a_formula),
        cmocka_unit_test(broken_records_do_not_split),
        cmocka_unit_test(a_line_over_the_limit_is_refused),
        cmocka_unit_test(optional_fields_may_be_missing),
        cmocka_unit_test(a_ledger_entry_balances_and_its_names_are_safe),
        cmocka_unit_test(a_reversal_in_a_later_period),
        cmocka_unit_test(a_keyset_finds_what_was_added),
        cmocka_unit_test(a_buffer_keeps_its_maximum),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
