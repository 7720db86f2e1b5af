/* CloudEvents: the attributes the edge reads, and the depth of JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/cloudevent.h"
#include "jwt_maker.h"

#define NEEDED                                                                                     \
    "\"specversion\":\"1.0\",\"id\":\"e-1\",\"source\":\"/psa\",\"type\":\"time.approved\""

static void expect_ok(const char *body)
{
    struct tg_cloudevent ce;
    struct tg_error err = {""};

    if (tg_cloudevent_parse(tg_str_of(body), &ce, &err) != 0) {
        fail_msg("%s: %s", body, err.text);
    }
    assert_non_null(ce.json);
    tg_cloudevent_clear(&ce);
    assert_null(ce.json);
}

/* Refused, the error names `says`, and the struct is left empty. */
static void expect_refused(const char *body, const char *says)
{
    struct tg_cloudevent ce;
    struct tg_error err = {""};

    assert_int_equal(tg_cloudevent_parse(tg_str_of(body), &ce, &err), -1);
    assert_null(ce.json);
    assert_int_equal(ce.id.len, 0);
    if (strstr(err.text, says) == NULL) {
        fail_msg("%s: \"%s\" does not say \"%s\"", body, err.text, says);
    }
    assert_int_equal(tg_cloudevent_parse(tg_str_of(body), &ce, NULL), -1);
}

static void test_all_attributes(void **state)
{
    struct tg_cloudevent ce;

    (void)state;
    assert_int_equal(
        tg_cloudevent_parse(
            tg_str_of("{" NEEDED ",\"subject\":\"te/1\",\"time\":\"2026-11-21T00:43:24Z\","
                      "\"dataschema\":\"urn:x\",\"datacontenttype\":\"application/json\","
                      "\"myext\":5,\"data\":{\"hours\":\"7.50\"}}"),
            &ce, NULL),
        0);
    assert_true(tg_str_equal_c(ce.id, "e-1"));
    assert_true(tg_str_equal_c(ce.source, "/psa"));
    assert_true(tg_str_equal_c(ce.type, "time.approved"));
    assert_true(tg_str_equal_c(ce.subject, "te/1"));
    assert_true(tg_str_equal_c(ce.time, "2026-11-21T00:43:24Z"));
    assert_true(tg_str_equal_c(ce.dataschema, "urn:x"));
    assert_true(tg_str_equal_c(ce.datacontenttype, "application/json"));
    assert_int_equal(json_integer_value(json_object_get(ce.json, "myext")), 5);
    tg_cloudevent_clear(&ce);
    assert_int_equal(tg_cloudevent_parse(tg_str_of("{" NEEDED ",\"time\":null}"), &ce, NULL), 0);
    assert_int_equal(ce.time.len, 0);
    assert_int_equal(ce.subject.len, 0);
    tg_cloudevent_clear(&ce);
}

static void test_accepted_forms(void **state)
{
    (void)state;
    expect_ok(" \n{" NEEDED "}\n ");
    expect_ok("{" NEEDED ",\"data\":null}");
    expect_ok("{" NEEDED ",\"data_base64\":\"AAAA\"}");
    expect_ok("{" NEEDED ",\"subject\":\"\xc3\xa9t\xc3\xa9 \xe2\x82\xac\"}");
}

static void test_missing_and_wrong(void **state)
{
    (void)state;
    expect_refused("{\"id\":\"1\",\"source\":\"s\",\"type\":\"t\"}", "specversion");
    expect_refused("{\"specversion\":\"1.0\",\"source\":\"s\",\"type\":\"t\"}", "id");
    expect_refused("{\"specversion\":\"1.0\",\"id\":\"1\",\"type\":\"t\"}", "source");
    expect_refused("{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s\"}", "type");
    expect_refused("{\"specversion\":\"1.0\",\"id\":null,\"source\":\"s\",\"type\":\"t\"}", "id");
    expect_refused("{\"specversion\":\"1.0\",\"id\":\"\",\"source\":\"s\",\"type\":\"t\"}",
                   "id is empty");
    expect_refused("{\"specversion\":\"1.0\",\"id\":5,\"source\":\"s\",\"type\":\"t\"}",
                   "id is not a string");
    expect_refused("{\"specversion\":\"0.3\",\"id\":\"1\",\"source\":\"s\",\"type\":\"t\"}",
                   "specversion");
    expect_refused("{\"specversion\":1.0,\"id\":\"1\",\"source\":\"s\",\"type\":\"t\"}",
                   "specversion");
    expect_refused("{" NEEDED ",\"subject\":[]}", "subject");
    expect_refused("{" NEEDED ",\"subject\":\"\"}", "subject");
    expect_refused("{" NEEDED ",\"subject\":\"a\\nb\"}", "subject holds a control");
    expect_refused("{" NEEDED ",\"subject\":\"a\\u007f\"}", "subject holds a control");
    expect_refused("{" NEEDED ",\"subject\":\"a\\u0085\"}", "subject holds a control");
    expect_refused("{" NEEDED ",\"time\":\"yesterday\"}", "time is not");
    expect_refused("{" NEEDED ",\"time\":\"2026-02-30T00:00:00Z\"}", "time is not");
    expect_refused("{" NEEDED ",\"time\":1}", "time is not a string");
    expect_refused("{" NEEDED ",\"data\":1,\"data_base64\":\"AAAA\"}", "data_base64");
    expect_refused("{" NEEDED ",\"data\":null,\"data_base64\":\"AAAA\"}", "data_base64");
    expect_refused("{" NEEDED ",\"data_base64\":{}}", "data_base64");
}

static void test_not_json(void **state)
{
    (void)state;
    expect_refused("", "empty");
    expect_refused("   ", "not JSON");
    expect_refused("{" NEEDED "", "not JSON");
    expect_refused("{" NEEDED "} x", "not JSON");
    expect_refused("{" NEEDED "}{}", "not JSON");
    expect_refused("[{" NEEDED "}]", "not a JSON object");
    expect_refused("\"x\"", "not JSON");
    expect_refused("{" NEEDED ",\"id\":\"2\"}", "twice");
    expect_refused("{" NEEDED ",\"data\":{\"a\":1,\"a\":2}}", "twice");
    expect_refused("{" NEEDED ",\"data\":\"\\u0000\"}", "not JSON");
    expect_refused("{" NEEDED ",\"data\":\"\xff\"}", "not JSON");
    expect_refused("{" NEEDED ",\"data\":NaN}", "not JSON");
}

static void test_error_holds_no_payload(void **state)
{
    struct tg_cloudevent ce;
    struct tg_error err;

    (void)state;
    assert_int_equal(tg_cloudevent_parse(tg_str_of("{\"iban\":SECRETVALUE}"), &ce, &err), -1);
    assert_null(strstr(err.text, "SECRETVALUE"));
    assert_int_equal(
        tg_cloudevent_parse(tg_str_of("{\"SECRETVALUE\":1,\"SECRETVALUE\":2}"), &ce, &err), -1);
    assert_null(strstr(err.text, "SECRETVALUE"));
}

static void test_attribute_limit(void **state)
{
    char name[TG_CE_ATTRIBUTE_MAX_BYTES + 2];
    char *body;

    (void)state;
    memset(name, 'n', sizeof(name));
    name[TG_CE_ATTRIBUTE_MAX_BYTES] = '\0';
    body = jwt_maker_text("{" NEEDED ",\"subject\":\"%s\"}", name);
    expect_ok(body);
    free(body);
    name[TG_CE_ATTRIBUTE_MAX_BYTES] = 'n';
    name[TG_CE_ATTRIBUTE_MAX_BYTES + 1] = '\0';
    body = jwt_maker_text("{" NEEDED ",\"subject\":\"%s\"}", name);
    expect_refused(body, "subject is longer");
    free(body);
}

static void test_size_and_depth_limits(void **state)
{
    char *body = jwt_maker_text("{" NEEDED "}%*s", TG_BODY_MAX_BYTES + 1, "");
    char open[TG_EVENT_JSON_DEPTH_MAX + 1];
    char close[TG_EVENT_JSON_DEPTH_MAX + 1];
    struct tg_str view = {(const unsigned char *)body, TG_BODY_MAX_BYTES};
    struct tg_cloudevent ce;

    (void)state;
    assert_int_equal(tg_cloudevent_parse(view, &ce, NULL), 0);
    tg_cloudevent_clear(&ce);
    view.len++;
    assert_int_equal(tg_cloudevent_parse(view, &ce, NULL), -1);
    free(body);
    memset(open, '[', sizeof(open));
    memset(close, ']', sizeof(close));
    open[TG_EVENT_JSON_DEPTH_MAX] = '\0';
    close[TG_EVENT_JSON_DEPTH_MAX] = '\0';
    body = jwt_maker_text("{" NEEDED ",\"data\":%s%s}", open + 1, close + 1);
    expect_ok(body);
    free(body);
    body = jwt_maker_text("{" NEEDED ",\"data\":%s%s}", open, close);
    expect_refused(body, "nested");
    free(body);
}

static void test_depth(void **state)
{
    (void)state;
    assert_int_equal(tg_json_depth(tg_str_of(""), 3), 0);
    assert_int_equal(tg_json_depth(tg_str_of("5"), 3), 0);
    assert_int_equal(tg_json_depth(tg_str_of("{\"a\":[1],\"b\":[[2]]}"), 3), 3);
    assert_int_equal(tg_json_depth(tg_str_of("{\"a\":[[[2]]]}"), 3), -1);
    assert_int_equal(tg_json_depth(tg_str_of("[\"[[[[\\\"[[[[\"]"), 1), 1);
    assert_int_equal(tg_json_depth(tg_str_of("[\"\\\\\",[]]"), 2), 2);
    assert_int_equal(tg_json_depth(tg_str_of("]]]][[[["), 3), -1);
    assert_int_equal(tg_json_depth(tg_str_of("]]]][["), 3), 2);
    assert_int_equal(tg_json_depth(tg_str_of("\"\\"), 3), 0);
    assert_int_equal(tg_json_depth(tg_str_of("[]"), 0), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_attributes),         cmocka_unit_test(test_accepted_forms),
        cmocka_unit_test(test_missing_and_wrong),      cmocka_unit_test(test_not_json),
        cmocka_unit_test(test_error_holds_no_payload), cmocka_unit_test(test_attribute_limit),
        cmocka_unit_test(test_size_and_depth_limits),  cmocka_unit_test(test_depth),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
