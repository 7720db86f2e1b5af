/* A stream entry is read field by field; nothing that can stand in a stream breaks it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "intake/entry.h"
#include "intake/seen.h"
#include "intake/stream.h"

#define BODY                                                                                       \
    "{\"specversion\":\"1.0\",\"id\":\"e1\",\"source\":\"urn:acme:psa\",\"type\":\"t\","           \
    "\"data\":{\"id\":\"TE-1\"}}"

static char *psa_clients[] = {(char *)"hook:psa", (char *)"svc"};
static struct tg_config_source sources[] = {{.name = (char *)"psa",
                                             .decoder = (char *)"canonical",
                                             .uri = (char *)"urn:acme:psa",
                                             .clients = psa_clients,
                                             .client_count = 2}};
static struct tg_config_tenant tenants[] = {
    {.id = (char *)"acme", .sources = sources, .source_count = 1}};
static const struct tg_config config = {.tenants = tenants, .tenant_count = 1};

static struct tg_entry entry(void)
{
    static const char *const values[TG_STREAM_FIELD_COUNT] = {
        [TG_STREAM_ID] = "e1",
        [TG_STREAM_TYPE] = "t",
        [TG_STREAM_SOURCE] = "urn:acme:psa",
        [TG_STREAM_TENANT] = "acme",
        [TG_STREAM_CLIENT] = "hook:psa",
        [TG_STREAM_RECEIVED_AT] = "1700000000000",
        [TG_STREAM_CONTENT_TYPE] = "application/cloudevents+json; charset=utf-8",
        [TG_STREAM_BODY] = BODY,
    };
    struct tg_entry e = {.event_id = "s07-17-0", .stream_ms = 17};

    for (unsigned f = 0; f < TG_STREAM_FIELD_COUNT; f++) {
        e.present[f] = true;
        e.field[f] = tg_str_of(values[f]);
    }
    return e;
}

static void expect_code(const struct tg_entry *e, const char *code)
{
    struct tg_reading r;

    assert_int_equal(tg_reading_make(e, &config, &r), 0);
    if (code == NULL) {
        assert_null(r.code);
    } else {
        assert_non_null(r.code);
        assert_string_equal(r.code, code);
        assert_true(r.message[0] != '\0');
    }
    assert_non_null(r.event.ce_id);
    assert_non_null(r.event.body_sha256);
    tg_reading_clear(&r);
}

static void a_good_entry(void **state)
{
    struct tg_entry e = entry();
    struct tg_reading r;

    (void)state;
    assert_int_equal(tg_reading_make(&e, &config, &r), 0);
    assert_null(r.code);
    assert_string_equal(r.event.event_id, "s07-17-0");
    assert_string_equal(r.event.tenant, "acme");
    assert_string_equal(r.event.subject, "");
    assert_int_equal(r.event.received_ms, 1700000000000);
    assert_ptr_equal(r.source, &sources[0]);
    assert_string_equal(json_string_value(json_object_get(r.data, "id")), "TE-1");
    assert_int_equal(strlen(r.event.body_sha256), 64); /* made, since none came */
    assert_string_equal(json_string_value(json_object_get(r.headers, "ce-id")), "e1");
    tg_reading_clear(&r);
}

static void every_missing_field_is_an_exception(void **state)
{
    (void)state;
    for (unsigned f = 0; f < TG_STREAM_FIELD_COUNT; f++) {
        struct tg_entry e = entry();

        e.present[f] = false;
        e.field[f] = (struct tg_str){0};
        expect_code(&e, "event_undecodable");
    }
}

static void every_field_at_its_limit(void **state)
{
    char *text = malloc(TG_BODY_MAX_BYTES + 2);

    (void)state;
    assert_non_null(text);
    for (unsigned f = 0; f < TG_STREAM_BODY; f++) {
        size_t max = tg_stream_field_max_bytes((enum tg_stream_field)f);
        struct tg_entry e = entry();

        memset(text, '1', TG_BODY_MAX_BYTES + 2);
        if (f == TG_STREAM_SUBJECT || f == TG_STREAM_KEY || f == TG_STREAM_TIME) {
            e.field[f] = (struct tg_str){(unsigned char *)text, max};
            expect_code(&e, NULL);
        }
        e.field[f] = (struct tg_str){(unsigned char *)text, max + 1};
        expect_code(&e, "event_undecodable");
    }
    free(text);
}

static void a_body_over_the_limit_is_cut_and_kept(void **state)
{
    unsigned char *body = calloc(1, TG_BODY_MAX_BYTES + 10);
    struct tg_entry e = entry();
    struct tg_reading r;

    (void)state;
    assert_non_null(body);
    e.field[TG_STREAM_BODY] = (struct tg_str){body, TG_BODY_MAX_BYTES + 10};
    assert_int_equal(tg_reading_make(&e, &config, &r), 0);
    assert_string_equal(r.code, "event_undecodable");
    assert_int_equal(r.event.body.len, TG_BODY_MAX_BYTES);
    tg_reading_clear(&r);
    free(body);
}

static void bytes_that_are_not_text_are_replaced(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        const char *clean;
    } cases[] = {
        {"a\0b", 3, "a?b"},
        {"\xff\xfe", 2, "??"},
        {"\xc3\xa4", 2, "\xc3\xa4"},
        {"\xc3", 1, "?"},
        {"\xc0\xaf", 2, "??"},
        {"\xed\xa0\x80", 3, "???"},
        {"a\nb", 3, "a?b"},
        {"\xf4\x90\x80\x80", 4, "????"},
        {"\xf0\x9f\x98\x80", 4, "\xf0\x9f\x98\x80"},
    };
    char out[16];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tg_str s = {(const unsigned char *)cases[i].bytes, cases[i].len};
        bool same = strlen(cases[i].clean) == s.len && memcmp(cases[i].clean, s.data, s.len) == 0;

        assert_int_equal(tg_reading_clean(s, 15, out), same);
        assert_string_equal(out, cases[i].clean);
    }
    /* a character is never cut in half */
    assert_false(tg_reading_clean(tg_str_of("ab\xc3\xa4"), 3, out));
    assert_string_equal(out, "ab");
    {
        struct tg_entry e = entry();

        e.field[TG_STREAM_SUBJECT] = (struct tg_str){(const unsigned char *)"x\0y", 3};
        expect_code(&e, "event_undecodable");
    }
}

static void who_may_send_what(void **state)
{
    struct tg_entry e = entry();

    (void)state;
    e.field[TG_STREAM_TENANT] = tg_str_of("other");
    expect_code(&e, "tenant_unknown");
    e = entry();
    e.field[TG_STREAM_CLIENT] = tg_str_of("thief");
    expect_code(&e, "source_not_own");
    e = entry();
    e.field[TG_STREAM_SOURCE] = tg_str_of("urn:acme:hr");
    expect_code(&e, "source_not_own");
    e = entry();
    e.field[TG_STREAM_CLIENT] = tg_str_of("svc");
    expect_code(&e, NULL);
    e.field[TG_STREAM_ID] = (struct tg_str){0};
    expect_code(&e, "event_undecodable");
    e = entry();
    e.field[TG_STREAM_RECEIVED_AT] = tg_str_of("-1");
    expect_code(&e, "event_undecodable");
    e = entry();
    e.broken = true;
    expect_code(&e, "event_undecodable");
}

static void bodies(void **state)
{
    static const struct {
        const char *type, *body, *code;
    } cases[] = {
        {"application/cloudevents+json", "", "event_undecodable"},
        {"application/cloudevents+json", "not json", "event_undecodable"},
        {"application/cloudevents+json", "{\"id\":\"a\",\"id\":\"b\"}", "event_undecodable"},
        {"application/cloudevents+json", "{\"id\":\"e1\"}", "event_undecodable"},
        {"application/cloudevents+json", "{\"data\":null}", "event_undecodable"},
        {"application/cloudevents+json", "{\"data\":\"\\u0000\"}", "event_undecodable"},
        {"Application/CloudEvents+JSON", "{\"data\":{}}", NULL},
        {"application/json", BODY, NULL},
        {"application/json", "{\"entries\":[]}", NULL},
        {"application/json",
         "{\"specversion\":\"1.0\",\"id\":\"1\",\"type\":\"t\","
         "\"source\":\"s\"}",
         "event_undecodable"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tg_entry e = entry();

        e.field[TG_STREAM_CONTENT_TYPE] = tg_str_of(cases[i].type);
        e.field[TG_STREAM_BODY] = tg_str_of(cases[i].body);
        expect_code(&e, cases[i].code);
    }
}

static void nesting_is_counted_outside_strings(void **state)
{
    char deep[2 * TG_EVENT_JSON_DEPTH_MAX + 4] = "";

    (void)state;
    memset(deep, '[', TG_EVENT_JSON_DEPTH_MAX);
    assert_true(tg_reading_depth_ok(tg_str_of(deep)));
    deep[TG_EVENT_JSON_DEPTH_MAX] = '{';
    assert_false(tg_reading_depth_ok(tg_str_of(deep)));
    deep[0] = '"';
    assert_true(tg_reading_depth_ok(tg_str_of(deep)));
    assert_true(
        tg_reading_depth_ok(tg_str_of("\"\\\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"")));
    assert_true(tg_reading_depth_ok(tg_str_of("]]]]]\\")));
}

static void identities(void **state)
{
    struct tg_entry a = entry(), b = entry();
    struct tg_reading ra, rb;

    (void)state;
    (void)snprintf(b.event_id, sizeof(b.event_id), "s07-18-0");
    assert_int_equal(tg_reading_make(&a, &config, &ra), 0);
    assert_int_equal(tg_reading_make(&b, &config, &rb), 0);
    assert_memory_equal(ra.event.identity, rb.event.identity, TG_POSTING_KEY_BYTES);
    tg_reading_clear(&rb);
    b.field[TG_STREAM_CLIENT] = tg_str_of("svc");
    assert_int_equal(tg_reading_make(&b, &config, &rb), 0);
    assert_memory_not_equal(ra.event.identity, rb.event.identity, TG_POSTING_KEY_BYTES);
    tg_reading_clear(&ra);
    tg_reading_clear(&rb);
    /* two entries without an id are two events */
    a.field[TG_STREAM_ID] = b.field[TG_STREAM_ID] = (struct tg_str){0};
    b.field[TG_STREAM_CLIENT] = a.field[TG_STREAM_CLIENT];
    assert_int_equal(tg_reading_make(&a, &config, &ra), 0);
    assert_int_equal(tg_reading_make(&b, &config, &rb), 0);
    assert_memory_not_equal(ra.event.identity, rb.event.identity, TG_POSTING_KEY_BYTES);
    tg_reading_clear(&ra);
    tg_reading_clear(&rb);
}

/* ---- replies ---- */

/* Parses RESP text; the caller frees it. */
static redisReply *reply(const char *resp)
{
    redisReader *reader = redisReaderCreate();
    void *out = NULL;

    assert_non_null(reader);
    assert_int_equal(redisReaderFeed(reader, resp, strlen(resp)), REDIS_OK);
    assert_int_equal(redisReaderGetReply(reader, &out), REDIS_OK);
    assert_non_null(out);
    redisReaderFree(reader);
    return out;
}

static struct tg_held *held(const char *resp, bool *bad)
{
    redisReply *r = reply(resp);
    struct tg_held *h = tg_held_from_reply(r, 7, bad);

    freeReplyObject(r);
    return h;
}

static void entries_are_copied_out_of_replies(void **state)
{
    bool bad;
    struct tg_held *h = held("*2\r\n$4\r\n17-3\r\n*4\r\n$2\r\nid\r\n$2\r\ne1\r\n"
                             "$6\r\ntenant\r\n$4\r\nacme\r\n",
                             &bad);

    (void)state;
    assert_non_null(h);
    assert_false(bad);
    assert_string_equal(h->entry.event_id, "s07-17-3");
    assert_string_equal(h->stream_id, "17-3");
    assert_true(tg_str_equal_c(h->entry.field[TG_STREAM_ID], "e1"));
    assert_true(tg_str_equal_c(h->entry.field[TG_STREAM_TENANT], "acme"));
    assert_false(h->entry.present[TG_STREAM_BODY]);
    assert_false(h->entry.broken);
    tg_held_free(h);

    h = held("*2\r\n$4\r\n17-3\r\n*-1\r\n", &bad); /* pending, body gone */
    assert_non_null(h);
    assert_true(h->lost);
    tg_held_free(h);
}

static void odd_entries_are_kept_as_broken(void **state)
{
    static const char *const odd[] = {
        "*2\r\n$4\r\n17-3\r\n*3\r\n$2\r\nid\r\n$2\r\ne1\r\n$1\r\nx\r\n",
        "*2\r\n$4\r\n17-3\r\n*2\r\n$1\r\nx\r\n$1\r\ny\r\n",
        "*2\r\n$4\r\n17-3\r\n*4\r\n$2\r\nid\r\n$2\r\ne1\r\n$2\r\nid\r\n$2\r\ne2\r\n",
    };
    static const char *const no_entry[] = {":1\r\n", "*1\r\n$4\r\n17-3\r\n", "*2\r\n:1\r\n:2\r\n",
                                           "*2\r\n$2\r\nxx\r\n*0\r\n"};
    bool bad;

    (void)state;
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        struct tg_held *h = held(odd[i], &bad);

        assert_non_null(h);
        assert_true(h->entry.broken);
        tg_held_free(h);
    }
    for (size_t i = 0; i < sizeof(no_entry) / sizeof(no_entry[0]); i++) {
        assert_null(held(no_entry[i], &bad));
        assert_true(bad);
    }
}

static void the_backlog_of_a_stream(void **state)
{
    redisReply *r = reply("*1\r\n*8\r\n$4\r\nname\r\n$12\r\norchestrator\r\n$7\r\npending\r\n:3\r\n"
                          "$12\r\nentries-read\r\n:9\r\n$3\r\nlag\r\n:4\r\n");

    (void)state;
    assert_int_equal(tg_stream_backlog(r), 7);
    freeReplyObject(r);
    r = reply("*1\r\n*4\r\n$7\r\npending\r\n:3\r\n$3\r\nlag\r\n$-1\r\n");
    assert_int_equal(tg_stream_backlog(r), 3);
    freeReplyObject(r);
    r = reply("-ERR no such key\r\n");
    assert_int_equal(tg_stream_backlog(r), 0);
    assert_true(tg_stream_is_error(r, "ERR"));
    assert_false(tg_stream_is_error(r, "NOGROUP"));
    freeReplyObject(r);
    assert_int_equal(tg_stream_backlog(NULL), 0);
}

static void keys_seen_in_a_batch(void **state)
{
    static struct tg_seen seen;
    unsigned char key[TG_POSTING_KEY_BYTES] = {0};

    (void)state;
    tg_seen_clear(&seen);
    for (unsigned i = 0; i < 2 * TG_INTAKE_BATCH_MAX; i++) { /* all with one home slot */
        memcpy(key + 8, &i, sizeof(i));
        assert_false(tg_seen_has(&seen, key));
        tg_seen_add(&seen, key);
        assert_true(tg_seen_has(&seen, key));
    }
    tg_seen_clear(&seen);
    assert_false(tg_seen_has(&seen, key));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_entry),
        cmocka_unit_test(every_missing_field_is_an_exception),
        cmocka_unit_test(every_field_at_its_limit),
        cmocka_unit_test(a_body_over_the_limit_is_cut_and_kept),
        cmocka_unit_test(bytes_that_are_not_text_are_replaced),
        cmocka_unit_test(who_may_send_what),
        cmocka_unit_test(bodies),
        cmocka_unit_test(nesting_is_counted_outside_strings),
        cmocka_unit_test(identities),
        cmocka_unit_test(entries_are_copied_out_of_replies),
        cmocka_unit_test(odd_entries_are_kept_as_broken),
        cmocka_unit_test(the_backlog_of_a_stream),
        cmocka_unit_test(keys_seen_in_a_batch),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
