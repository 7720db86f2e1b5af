/* What a script may give, and what is refused: a mistake is an error, never half a request. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "connect/answer.h"
#include "connect/known.h"
#include "connect/script.h"

static struct tg_error err;

static json_t *doc(const char *text)
{
    json_error_t e;
    json_t *v = json_loads(text, JSON_DECODE_ANY, &e);

    if (v == NULL) {
        fail_msg("%s: %s", text, e.text);
    }
    return v;
}

/* ---- requests ---- */

static int request(const char *text, const char *password, struct tg_message *out)
{
    json_t *v = doc(text);
    int rc = tg_script_read_request(v, password, out, &err);

    json_decref(v);
    return rc;
}

static bool has_line(const struct tg_message *m, const char *line)
{
    for (size_t i = 0; i < m->headers.count; i++) {
        if (strcmp(m->headers.items[i], line) == 0) {
            return true;
        }
    }
    return false;
}

static void good_requests(void **state)
{
    struct tg_message m;

    (void)state;
    assert_int_equal(request("{\"method\":\"GET\"}", NULL, &m), 0);
    assert_string_equal(m.method, "GET");
    assert_string_equal(m.target, "");
    assert_null(m.body);
    tg_message_clear(&m);

    assert_int_equal(request("{\"method\":\"POST\",\"path\":\"/a\",\"query\":{\"q\":\"a b\"},"
                             "\"headers\":{\"X-A\":\"1\",\"X-B\":\"\"},\"json\":{\"n\":[1,null]}}",
                             NULL, &m),
                     0);
    assert_string_equal(m.target, "/a?q=a%20b");
    assert_string_equal(m.body, "{\"n\":[1,null]}");
    assert_true(has_line(&m, "X-A: 1"));
    assert_true(has_line(&m, "X-B;")); /* libcurl's way to send an empty one */
    assert_true(has_line(&m, "Content-Type: application/json"));
    tg_message_clear(&m);

    assert_int_equal(request("{\"method\":\"PUT\",\"body\":\"<a/>\",\"headers\":{\"content-type\":"
                             "\"text/xml\"}}",
                             NULL, &m),
                     0);
    assert_string_equal(m.body, "<a/>");
    assert_int_equal(m.headers.count, 1);
    tg_message_clear(&m);

    assert_int_equal(
        request("{\"method\":\"POST\",\"form\":{\"a\":\"1&2\",\"b\":\"x\"}}", NULL, &m), 0);
    assert_string_equal(m.body, "a=1%262&b=x");
    assert_int_equal(m.body_len, 11);
    assert_true(has_line(&m, "Content-Type: application/x-www-form-urlencoded"));
    tg_message_clear(&m);
}

static void the_password_goes_where_it_is_asked_for(void **state)
{
    static const char text[] = "{\"method\":\"POST\",\"json\":[\"u\",{\"p\":\"{{password}}\"},"
                               "\"x{{password}}\"]}";
    struct tg_message m;

    (void)state;
    assert_int_equal(request(text, "a\"b\\", &m), 0);
    assert_string_equal(m.body, "[\"u\",{\"p\":\"a\\\"b\\\\\"},\"x{{password}}\"]");
    tg_message_clear(&m);
    /* not a log-in: a text like any other */
    assert_int_equal(request(text, NULL, &m), 0);
    assert_string_equal(m.body, "[\"u\",{\"p\":\"{{password}}\"},\"x{{password}}\"]");
    tg_message_clear(&m);
    assert_int_equal(request("{\"method\":\"POST\",\"form\":{\"p\":\"{{password}}\"}}", "a&b", &m),
                     0);
    assert_string_equal(m.body, "p=a%26b");
    tg_message_clear(&m);
}

static void bad_requests(void **state)
{
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"[]", "table with names"},
        {"\"GET /\"", "table with names"},
        {"{}", "`method` is missing"},
        {"{\"method\":\"TRACE\"}", "`method` is TRACE"},
        {"{\"method\":\"get\"}", "`method` is get"},
        {"{\"method\":\"GET\",\"url\":\"http://evil/\"}", "`url`, which means nothing"},
        {"{\"method\":\"GET\",\"path\":5}", "`path` is not a text"},
        {"{\"method\":\"GET\",\"path\":\"@evil/\"}", "does not begin with /"},
        {"{\"method\":\"GET\",\"path\":\"/a/../b\"}", "part . or .."},
        {"{\"method\":\"GET\",\"path\":\"/a b\"}", "a space"},
        {"{\"method\":\"GET\",\"query\":[1]}", "`query` is not a table"},
        {"{\"method\":\"GET\",\"query\":{\"a\":1}}", "`a` of `query` is not a text"},
        {"{\"method\":\"GET\",\"headers\":\"a\"}", "`headers` is not a table"},
        {"{\"method\":\"GET\",\"headers\":{\"Host\":\"evil\"}}", "`Host` cannot be set"},
        {"{\"method\":\"GET\",\"headers\":{\"content-length\":\"0\"}}", "cannot be set"},
        {"{\"method\":\"GET\",\"headers\":{\"a b\":\"0\"}}", "cannot be set"},
        {"{\"method\":\"GET\",\"headers\":{\"X\":\"a\\r\\nY: b\"}}", "visible ASCII"},
        {"{\"method\":\"GET\",\"headers\":{\"X\":\"\\u00e4\"}}", "visible ASCII"},
        {"{\"method\":\"GET\",\"headers\":{\"X\":1}}", "visible ASCII"},
        {"{\"method\":\"POST\",\"json\":{},\"body\":\"\"}", "more than one"},
        {"{\"method\":\"POST\",\"body\":\"x\"}", "needs a header Content-Type"},
        {"{\"method\":\"POST\",\"body\":{}}", "`body` is not a text"},
        {"{\"method\":\"POST\",\"form\":{\"a\":{}}}", "`a` of `form`"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct tg_message m;

        if (request(bad[i].text, NULL, &m) == 0 || strstr(err.text, bad[i].says) == NULL) {
            fail_msg("%s: wanted `%s`, got: %s", bad[i].text, bad[i].says, err.text);
        }
        assert_null(m.target);
        assert_null(m.body);
    }
}

static void prepared_requests(void **state)
{
    json_t *list = doc("{\"prepare\":[{\"name\":\"a\",\"method\":\"GET\"}]}");
    json_t *no_list = doc("{\"prepare\":{\"name\":\"a\"}}");
    json_t *both = doc("{\"prepare\":[],\"method\":\"GET\"}");
    json_t *nameless = doc("{\"method\":\"GET\",\"name\":\"\"}");

    (void)state;
    assert_int_equal(json_array_size(tg_script_prepare_list(list)), 1);
    assert_string_equal(
        tg_script_prepare_name(json_array_get(tg_script_prepare_list(list), 0), &err), "a");
    assert_null(tg_script_prepare_list(no_list));
    assert_null(tg_script_prepare_list(both));
    assert_null(tg_script_prepare_name(nameless, &err));
    json_decref(list);
    json_decref(no_list);
    json_decref(both);
    json_decref(nameless);
}

/* ---- answers of a script ---- */

static int verdict(const char *text, struct tg_script_verdict *v)
{
    json_t *d = doc(text);
    int rc = tg_script_read_verdict(d, v, &err);

    json_decref(d);
    return rc;
}

static void verdicts(void **state)
{
    static const char *const bad[] = {
        "null",
        "{}",
        "\"posted\"",
        "{\"outcome\":\"down\"}",
        "{\"outcome\":\"Posted\"}",
        "{\"outcome\":\"posted\",\"reff\":\"1\"}",
        "{\"outcome\":\"posted\",\"ref\":1}",
        "{\"outcome\":\"rejected\",\"ref\":\"1\"}",
        "{\"outcome\":\"posted\",\"code\":\"x\"}",
        "{\"outcome\":\"posted\",\"retry_after_s\":1}",
        "{\"outcome\":\"retry\",\"retry_after_s\":-1}",
        "{\"outcome\":\"retry\",\"retry_after_s\":\"1\"}",
        "{\"outcome\":\"retry\",\"retry_after_s\":99999999999}",
        "{\"outcome\":\"retry\",\"forget\":1}",
    };
    struct tg_script_verdict v;
    char text[700];
    size_t used;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (verdict(bad[i], &v) == 0) {
            fail_msg("%s is taken", bad[i]);
        }
        assert_true(v.outcome != TG_OUTCOME_POSTED || i > 0);
    }
    assert_int_equal(verdict("{\"outcome\":\"posted\",\"ref\":\"INV-1\"}", &v), 0);
    assert_int_equal(v.outcome, TG_OUTCOME_POSTED);
    assert_string_equal(v.ref, "INV-1");
    assert_int_equal(verdict("{\"outcome\":\"throttled\",\"retry_after_s\":7,\"forget\":true}", &v),
                     0);
    assert_true(v.retry_after_ms == 7000);
    assert_true(v.forget);
    assert_int_equal(
        verdict("{\"outcome\":\"rejected\",\"code\":\"worker_unknown\",\"detail\":\"no\"}", &v), 0);
    assert_string_equal(v.code, "worker_unknown");
    /* a long text is cut at a whole character */
    used = (size_t)snprintf(text, sizeof(text), "{\"outcome\":\"retry\",\"detail\":\"");
    for (int i = 0; i < 200; i++) {
        used += (size_t)snprintf(text + used, sizeof(text) - used, "\xc3\xa4");
    }
    (void)snprintf(text + used, sizeof(text) - used, "\"}");
    assert_int_equal(verdict(text, &v), 0);
    assert_int_equal(strlen(v.detail), 254);
}

static void founds(void **state)
{
    struct tg_script_found f;
    json_t *good = doc("{\"lookup\":\"found\",\"ref\":\"9\"}");
    json_t *absent = doc("{\"lookup\":\"absent\",\"ref\":\"9\"}");
    json_t *word = doc("{\"lookup\":\"maybe\"}");

    (void)state;
    assert_int_equal(tg_script_read_found(good, &f, &err), 0);
    assert_int_equal(f.lookup, TG_LOOKUP_FOUND);
    assert_string_equal(f.ref, "9");
    assert_int_equal(tg_script_read_found(absent, &f, &err), -1);
    assert_int_equal(tg_script_read_found(word, &f, &err), -1);
    assert_int_equal(f.lookup, TG_LOOKUP_UNKNOWN);
    json_decref(good);
    json_decref(absent);
    json_decref(word);
}

static int about(const char *text, struct tg_script_about *a)
{
    json_t *d = doc(text);
    int rc = tg_script_read_about(d, a, &err);

    json_decref(d);
    return rc;
}

static void abouts(void **state)
{
    struct tg_script_about a;

    (void)state;
    assert_int_equal(
        about("{\"dedupe\":\"unique\",\"reversible\":true,\"max_execution_s\":60}", &a), 0);
    assert_int_equal(a.dedupe, TG_DEDUPE_UNIQUE);
    assert_true(a.reversible);
    assert_true(a.max_execution_ms == 60000);
    assert_int_equal(about("{\"dedupe\":\"idempotency\",\"ttl_s\":86400}", &a), 0);
    assert_true(a.ttl_ms == 86400000);
    assert_int_equal(about("{\"dedupe\":\"idempotency\"}", &a), -1);
    assert_int_equal(about("{\"dedupe\":\"unique\",\"ttl_s\":5}", &a), -1);
    assert_int_equal(about("{\"dedupe\":\"exactly_once\"}", &a), -1);
    assert_int_equal(about("{}", &a), -1);
}

static void learned_and_sessions(void **state)
{
    const json_t *value;
    struct tg_script_verdict v;
    struct tg_grant g;
    json_t *number = doc("{\"value\":5}");
    json_t *no = doc("{\"outcome\":\"rejected\",\"code\":\"x\"}");
    json_t *posted = doc("{\"outcome\":\"posted\"}");
    json_t *session = doc("{\"headers\":{\"Authorization\":\"Session x\"},\"ttl_s\":60}");
    json_t *refused = doc("{\"refused\":\"wrong password\"}");
    json_t *neither = doc("{\"ttl_s\":60}");

    (void)state;
    assert_int_equal(tg_script_read_learned(number, &value, &v, &err), 0);
    assert_int_equal(json_integer_value(value), 5);
    assert_int_equal(tg_script_read_learned(no, &value, &v, &err), 0);
    assert_null(value);
    assert_int_equal(v.outcome, TG_OUTCOME_REJECTED);
    assert_int_equal(tg_script_read_learned(posted, &value, &v, &err), -1);
    assert_int_equal(tg_script_read_session(session, &g, &err), TG_GRANT_OK);
    assert_string_equal(g.headers.items[0], "Authorization: Session x");
    assert_true(g.life_ms == 60000);
    tg_grant_clear(&g);
    assert_int_equal(tg_script_read_session(refused, &g, &err), TG_GRANT_REFUSED);
    assert_string_equal(err.text, "wrong password");
    assert_int_equal(tg_script_read_session(neither, &g, &err), TG_GRANT_FAILED);
    json_decref(number);
    json_decref(no);
    json_decref(posted);
    json_decref(session);
    json_decref(refused);
    json_decref(neither);
}

/* ---- HTTP answers as documents ---- */

static json_t *answer(const char *body)
{
    static const struct tg_http_header headers[] = {
        {"content-type", "application/json"}, {"link", "a"}, {"link", "b"}};
    const struct tg_http_answer a = {.end = TG_HTTP_WHOLE,
                                     .status = 200,
                                     .headers = headers,
                                     .header_count = 3,
                                     .body = tg_str_of(body),
                                     .retry_after_ms = 1500};

    return tg_answer_document(&a);
}

static void is(const char *body, const char *member, const char *want)
{
    json_t *d = answer(body);
    char *got = json_dumps(json_object_get(d, member), JSON_COMPACT | JSON_ENCODE_ANY);

    assert_string_equal(got != NULL ? got : "absent", want);
    free(got);
    json_decref(d);
}

static void answers(void **state)
{
    json_t *d = answer("{}");
    char *deep = calloc(1, 3000), *many = calloc(1, 60000);

    (void)state;
    assert_int_equal(json_integer_value(json_object_get(d, "status")), 200);
    assert_int_equal(json_integer_value(json_object_get(d, "retry_after_s")), 2);
    assert_string_equal(json_string_value(json_object_get(json_object_get(d, "headers"), "link")),
                        "a, b");
    json_decref(d);
    is("{\"a\":[1,2.5,null]}", "json", "{\"a\":[1,2.5,null]}");
    is("{\"a\":[0.1234567,1e30,{\"b\":3.00000001}]}", "json",
       "{\"a\":[\"0.1234567\",\"1e+30\",{\"b\":\"3.0000000099999999\"}]}");
    is("0.12345678", "json", "\"0.12345678\"");
    is("\"text\"", "json", "\"text\"");
    is("", "json", "absent");
    is("", "body", "\"\"");
    is("<p>\xc3\xa4\x01</p>\n", "body",
       "\"<p>?"
       "?"
       "?</p>\\n\"");
    is("{\"a\":1} trailing", "json", "absent");
    assert_non_null(deep);
    assert_non_null(many);
    memset(deep, '[', 40);
    memset(deep + 40, ']', 40);
    is(deep, "json", "absent");
    many[0] = '[';
    for (size_t i = 0; i < 15000; i++) {
        many[1 + 2 * i] = '1';
        many[2 + 2 * i] = i == 14999 ? ']' : ',';
    }
    is(many, "json", "absent");
    free(deep);
    free(many);
}

/* ---- what was learned ---- */

static void known_values(void **state)
{
    struct tg_known_values *k = tg_known_new();
    json_t *one = json_integer(1), *two = json_integer(2);
    char name[32];

    (void)state;
    assert_non_null(k);
    assert_null(tg_known_get(k, "a", 0));
    tg_known_put(k, "a", one, 1000);
    assert_ptr_equal(tg_known_get(k, "a", 1000), one);
    assert_ptr_equal(tg_known_get(k, "a", 1000 + TG_SCRIPT_KNOWN_MS - 1), one);
    assert_null(tg_known_get(k, "a", 1000 + TG_SCRIPT_KNOWN_MS));
    tg_known_put(k, "a", two, 5000); /* again: the newer counts, the older slot is stale */
    assert_ptr_equal(tg_known_get(k, "a", 5000 + TG_SCRIPT_KNOWN_MS - 1), two);
    tg_known_drop(k, "a");
    assert_null(tg_known_get(k, "a", 5000));
    tg_known_drop(k, "a");
    for (int i = 0; i < TG_SCRIPT_KNOWN_MAX + 10; i++) {
        (void)snprintf(name, sizeof(name), "n%d", i);
        tg_known_put(k, name, one, 6000);
    }
    assert_null(tg_known_get(k, "n0", 6000));
    assert_null(tg_known_get(k, "n9", 6000));
    assert_ptr_equal(tg_known_get(k, "n10", 6000), one);
    assert_ptr_equal(tg_known_get(k, name, 6000), one);
    tg_known_free(k);
    tg_known_free(NULL);
    json_decref(one);
    json_decref(two);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_requests), cmocka_unit_test(the_password_goes_where_it_is_asked_for),
        cmocka_unit_test(bad_requests),  cmocka_unit_test(prepared_requests),
        cmocka_unit_test(verdicts),      cmocka_unit_test(founds),
        cmocka_unit_test(abouts),        cmocka_unit_test(learned_and_sessions),
        cmocka_unit_test(answers),       cmocka_unit_test(known_values),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
