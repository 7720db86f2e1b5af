/* What both halves must agree on: digests, shards, keys, ids, fields, the handshake, problems. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <jansson.h>

#include "common/codec.h"
#include "common/contract.h"
#include "common/digest.h"
#include "common/event_id.h"
#include "common/keys.h"
#include "common/problem.h"
#include "common/shard.h"
#include "common/stream.h"

static void expect_hex(const unsigned char *data, size_t len, const char *want)
{
    char text[2 * TG_SHA256_BYTES + 1] = "";

    tg_hex_encode(data, len, text);
    assert_string_equal(text, want);
}

static void test_sha256(void **state)
{
    const struct tg_str parts[] = {tg_str_of("a"), tg_str_of(NULL), tg_str_of("bc")};
    unsigned char out[TG_SHA256_BYTES];

    (void)state;
    assert_int_equal(tg_sha256(tg_str_of(""), out), 0);
    expect_hex(out, sizeof(out),
               "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_int_equal(tg_sha256(tg_str_of("abc"), out), 0);
    expect_hex(out, sizeof(out),
               "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    memset(out, 0, sizeof(out));
    assert_int_equal(tg_sha256v(parts, 3, out), 0);
    expect_hex(out, sizeof(out),
               "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(tg_sha256v(NULL, 0, out), 0);
    expect_hex(out, sizeof(out),
               "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

/* RFC 4231, test cases 1, 2 and 6; then the empty key. */
static void test_hmac(void **state)
{
    unsigned char key[131];
    unsigned char out[TG_SHA256_BYTES];
    const struct tg_str long_key = {key, 131};
    const struct tg_str short_key = {key, 20};
    const struct tg_str parts[] = {tg_str_of("what do ya "), tg_str_of("want "),
                                   tg_str_of("for nothing?")};
    struct tg_str text = tg_str_of("Hi There");

    (void)state;
    memset(key, 0x0b, sizeof(key));
    assert_int_equal(tg_hmac_sha256v(short_key, &text, 1, out), 0);
    expect_hex(out, sizeof(out),
               "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    assert_int_equal(tg_hmac_sha256v(tg_str_of("Jefe"), parts, 3, out), 0);
    expect_hex(out, sizeof(out),
               "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    assert_int_equal(tg_hmac_sha256vv(tg_str_of("Jefe"), parts, 1, parts + 1, 2, out), 0);
    expect_hex(out, sizeof(out),
               "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof(key));
    text = tg_str_of("Test Using Larger Than Block-Size Key - Hash Key First");
    assert_int_equal(tg_hmac_sha256v(long_key, &text, 1, out), 0);
    expect_hex(out, sizeof(out),
               "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    assert_int_equal(tg_hmac_sha256v(tg_str_of(NULL), NULL, 0, out), 0);
    expect_hex(out, sizeof(out),
               "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

static void test_equal(void **state)
{
    const unsigned char a[] = {1, 2, 3};
    const unsigned char b[] = {1, 2, 4};

    (void)state;
    assert_true(tg_equal_ct(a, b, 2));
    assert_false(tg_equal_ct(a, b, 3));
    assert_true(tg_equal_ct(a, b, 0));
}

static void test_shard(void **state)
{
    char name[16];
    unsigned seen[16] = {0};

    (void)state;
    /* FNV-1a's published values for "", "a" and "foobar". */
    assert_int_equal(tg_shard_of(tg_str_of(""), 97), UINT64_C(0xcbf29ce484222325) % 97);
    assert_int_equal(tg_shard_of(tg_str_of("a"), 100), UINT64_C(0xaf63dc4c8601ec8c) % 100);
    assert_int_equal(tg_shard_of(tg_str_of("foobar"), 16), UINT64_C(0x85944171f73967e8) % 16);
    assert_int_equal(tg_shard_of(tg_str_of("foobar"), 1), 0);
    assert_int_equal(tg_shard_of(tg_str_of("foobar"), 0), 0);
    for (int i = 0; i < 1600; i++) {
        assert_true(snprintf(name, sizeof(name), "tenant-%d", i) > 0);
        seen[tg_shard_of(tg_str_of(name), 16)]++;
    }
    for (size_t i = 0; i < 16; i++) {
        assert_in_range(seen[i], 50, 150);
    }
}

static void expect_key(const struct tg_key *key, const char *text, size_t len)
{
    assert_int_equal(key->len, len);
    assert_memory_equal(key->data, text, len);
}

static void test_keys(void **state)
{
    static const unsigned char digest[TG_IDEM_DIGEST_BYTES] = "\0\r\n 456789abcde";
    char prefix[TG_PREFIX_MAX_BYTES + 2];
    struct tg_key key;

    (void)state;
    assert_int_equal(tg_key_events(&key, tg_str_of("tg"), 7), 0);
    expect_key(&key, "tg:{s07}:events", 15);
    assert_int_equal(tg_key_meta(&key, tg_str_of("tg"), 99), 0);
    expect_key(&key, "tg:{s99}:meta", 13);
    assert_int_equal(tg_key_idem(&key, tg_str_of("x"), 10, digest), 0);
    expect_key(&key, "x:{s10}:idem:\0\r\n 456789abcde", 29);
    assert_int_equal(tg_key_rate(&key, tg_str_of("x"), 0, digest), 0);
    expect_key(&key, "x:{s00}:rate:\0\r\n 456789abcde", 29);
    assert_int_equal(tg_key_events(&key, tg_str_of("tg"), TG_SHARD_COUNT_MAX), -1);
    assert_int_equal(tg_key_events(&key, tg_str_of(""), 0), -1);
    memset(prefix, 'p', sizeof(prefix));
    prefix[TG_PREFIX_MAX_BYTES + 1] = '\0';
    assert_int_equal(tg_key_idem(&key, tg_str_of(prefix), 0, digest), -1);
    prefix[TG_PREFIX_MAX_BYTES] = '\0';
    assert_int_equal(tg_key_idem(&key, tg_str_of(prefix), 0, digest), 0);
    assert_true(key.len <= TG_KEY_MAX_BYTES);
}

static void test_scoped_digests(void **state)
{
    static const char text[] = "\0\0\0\4acme\0\0\0\3svc\0\0\0\4POST\0\0\0\2ev\0\0\0\1k";
    const struct tg_str whole = {(const unsigned char *)text, sizeof(text) - 1};
    unsigned char want[TG_SHA256_BYTES];
    unsigned char a[TG_IDEM_DIGEST_BYTES];
    unsigned char b[TG_IDEM_DIGEST_BYTES];

    (void)state;
    assert_int_equal(tg_sha256(whole, want), 0);
    assert_int_equal(tg_idem_digest(tg_str_of("acme"), tg_str_of("svc"), tg_str_of("POST"),
                                    tg_str_of("ev"), tg_str_of("k"), a),
                     0);
    assert_memory_equal(a, want, sizeof(a));
    assert_int_equal(tg_rate_digest(tg_str_of("ab"), tg_str_of("c"), tg_str_of(""), a), 0);
    assert_int_equal(tg_rate_digest(tg_str_of("a"), tg_str_of("bc"), tg_str_of(""), b), 0);
    assert_memory_not_equal(a, b, sizeof(a));
    assert_int_equal(tg_rate_digest(tg_str_of("ab"), tg_str_of("c"), tg_str_of(NULL), b), 0);
    assert_memory_equal(a, b, sizeof(a));
}

static void test_event_id(void **state)
{
    const struct tg_event_id most = {99, UINT64_MAX, UINT64_MAX};
    const struct tg_event_id least = {0, 0, 0};
    char out[TG_EVENT_ID_MAX_BYTES];
    struct tg_event_id id;

    (void)state;
    assert_int_equal(tg_event_id_parse(tg_str_of("s07-1763685804123-0"), &id), 0);
    assert_int_equal(id.shard, 7);
    assert_true(id.ms == UINT64_C(1763685804123));
    assert_true(id.seq == 0);
    assert_int_equal(tg_event_id_format(&id, out), 19);
    assert_string_equal(out, "s07-1763685804123-0");
    assert_int_equal(tg_event_id_format(&most, out), 45);
    assert_string_equal(out, "s99-18446744073709551615-18446744073709551615");
    assert_int_equal(tg_event_id_parse(tg_str_of(out), &id), 0);
    assert_true(id.shard == most.shard && id.ms == most.ms && id.seq == most.seq);
    assert_true(tg_event_id_compare(&least, &most) < 0);
    assert_true(tg_event_id_compare(&most, &least) > 0);
    assert_int_equal(tg_event_id_compare(&most, &most), 0);
    assert_int_equal(tg_event_id_format(&least, out), 7);
    assert_string_equal(out, "s00-0-0");
    assert_int_equal(tg_event_id_from_stream(3, tg_str_of("5-6"), &id), 0);
    assert_true(id.shard == 3 && id.ms == 5 && id.seq == 6);
    assert_int_equal(tg_event_id_from_stream(TG_SHARD_COUNT_MAX, tg_str_of("5-6"), &id), -1);
}

static void test_event_id_refuses(void **state)
{
    static const char *const bad[] = {"",
                                      "s",
                                      "s07",
                                      "s07-",
                                      "s07-1",
                                      "s07-1-",
                                      "s07-1-2-",
                                      "s07-1-2 ",
                                      " s07-1-2",
                                      "s7-1-2",
                                      "s007-1-2",
                                      "S07-1-2",
                                      "s0a-1-2",
                                      "s07-01-2",
                                      "s07-1-02",
                                      "s07-+1-2",
                                      "s07--1-2",
                                      "s07-1--2",
                                      "s07-18446744073709551616-0",
                                      "s07-0-18446744073709551616",
                                      "s07-1-2a",
                                      "s07-a-2",
                                      "s07:1-2",
                                      "07-1-2",
                                      "s07-1-0x1",
                                      "s07- 1-2",
                                      "s07-1-*"};
    struct tg_event_id id = {1, 2, 3};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(tg_event_id_parse(tg_str_of(bad[i]), &id), -1);
    }
    assert_int_equal(tg_event_id_parse((struct tg_str){(const unsigned char *)"s07-1-2\0", 8}, &id),
                     -1);
    assert_true(id.shard == 1 && id.ms == 2 && id.seq == 3);
}

static void test_stream_fields(void **state)
{
    (void)state;
    for (int f = 0; f < (int)TG_STREAM_FIELD_COUNT; f++) {
        const char *name = tg_stream_field_name((enum tg_stream_field)f);

        assert_int_equal(tg_stream_field_of(tg_str_of(name)), f);
        assert_true(tg_stream_field_max_bytes((enum tg_stream_field)f) > 0);
    }
    assert_string_equal(tg_stream_field_name(TG_STREAM_RECEIVED_AT), "received_at");
    assert_int_equal(tg_stream_field_max_bytes(TG_STREAM_BODY), TG_BODY_MAX_BYTES);
    assert_int_equal(tg_stream_field_of(tg_str_of("bodyx")), TG_STREAM_FIELD_COUNT);
    assert_int_equal(tg_stream_field_of(tg_str_of("BODY")), TG_STREAM_FIELD_COUNT);
    assert_int_equal(tg_stream_field_of(tg_str_of("")), TG_STREAM_FIELD_COUNT);
    assert_string_equal(tg_stream_field_name(TG_STREAM_FIELD_COUNT), "");
    assert_int_equal(tg_stream_field_max_bytes(TG_STREAM_FIELD_COUNT), 0);
}

static void test_contract(void **state)
{
    static const struct {
        const char *contract, *shards, *hash, *says;
    } bad[] = {
        {"", "16", "fnv1a64", "contract"},
        {"1", "", "fnv1a64", "shards"},
        {"1", "16", "", "hash"},
        {"2", "16", "fnv1a64", "version 2"},
        {"x", "16", "fnv1a64", "not a number"},
        {"1", "8", "fnv1a64", "8 shards"},
        {"1", "-16", "fnv1a64", "not a number"},
        {"1", "16", "crc16", "fnv1a64"},
        {"1", "16", "FNV1A64", "fnv1a64"},
    };
    struct tg_error err;

    (void)state;
    assert_int_equal(
        tg_contract_check(tg_str_of("1"), tg_str_of("16"), tg_str_of("fnv1a64"), 16, &err), 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(tg_contract_check(tg_str_of(bad[i].contract), tg_str_of(bad[i].shards),
                                           tg_str_of(bad[i].hash), 16, &err),
                         -1);
        assert_non_null(strstr(err.text, bad[i].says));
    }
}

static void test_contract_of_the_journal(void **state)
{
    static const char own[] = "0123456789abcdef0123456789abcdef";
    static const char other[] = "fedcba9876543210fedcba9876543210";
    struct tg_error err;

    (void)state;
    assert_int_equal(tg_contract_check_journal(tg_str_of(own), own, &err), 0);
    assert_int_equal(tg_contract_check_journal(tg_str_of(other), own, &err), -1);
    assert_non_null(strstr(err.text, own));
    assert_non_null(strstr(err.text, other));
    assert_non_null(strstr(err.text, "\"One journal\"")); /* all of it fits */
    assert_int_equal(tg_contract_check_journal(tg_str_of(""), own, &err), -1);
    assert_int_equal(tg_contract_check_journal(tg_str_of("a\nb"), own, &err), -1);
    assert_null(strchr(err.text, '\n'));
}

static void test_problem_table(void **state)
{
    (void)state;
    for (int c = 0; c < (int)TG_PROBLEM_COUNT; c++) {
        const struct tg_problem *p = tg_problem_of((enum tg_problem_code)c);

        assert_in_range(p->status, 400, 599);
        assert_true(strlen(p->title) > 5);
        assert_true(c == TG_PROBLEM_RATE_LIMITED ||
                    strcmp(strrchr(p->type, ':') + 1, p->code) == 0);
        for (int d = 0; d < c; d++) {
            assert_string_not_equal(p->code, tg_problem_of((enum tg_problem_code)d)->code);
        }
    }
    assert_string_equal(tg_problem_of(TG_PROBLEM_RATE_LIMITED)->code, "rate_limited");
    assert_int_equal(tg_problem_of(TG_PROBLEM_RATE_LIMITED)->status, 429);
    assert_non_null(strstr(tg_problem_of(TG_PROBLEM_RATE_LIMITED)->type, "quota-exceeded"));
    assert_string_equal(tg_problem_of(TG_PROBLEM_COUNT)->code, "internal");
}

static void test_problem_document(void **state)
{
    char out[512];
    size_t n =
        tg_problem_write(TG_PROBLEM_RATE_LIMITED, tg_str_of("a \"minute\"\xff"), tg_str_of("c-1"),
                         tg_str_of("\"violated-policies\":[\"minute\"]"), out, sizeof(out));
    json_t *doc = json_loadb(out, n, JSON_REJECT_DUPLICATES, NULL);

    (void)state;
    assert_non_null(doc);
    assert_int_equal(json_object_size(doc), 7);
    assert_int_equal(json_integer_value(json_object_get(doc, "status")), 429);
    assert_string_equal(json_string_value(json_object_get(doc, "detail")),
                        "a \"minute\"\xef\xbf\xbd");
    assert_string_equal(json_string_value(json_object_get(doc, "code")), "rate_limited");
    assert_string_equal(json_string_value(json_object_get(doc, "correlation_id")), "c-1");
    assert_int_equal(json_array_size(json_object_get(doc, "violated-policies")), 1);
    json_decref(doc);
    n = tg_problem_write(TG_PROBLEM_TOKEN_MISSING, tg_str_of(""), tg_str_of(""), tg_str_of(""), out,
                         sizeof(out));
    doc = json_loadb(out, n, JSON_REJECT_DUPLICATES, NULL);
    assert_int_equal(json_object_size(doc), 4);
    json_decref(doc);
}

static void test_problem_room(void **state)
{
    char out[512];
    const size_t n = tg_problem_write(TG_PROBLEM_BACKLOG, tg_str_of("\n\n"), tg_str_of("id"),
                                      tg_str_of("\"a\":1"), out, sizeof(out));

    (void)state;
    assert_in_range(n, 100, sizeof(out));
    for (size_t room = 0; room <= n; room++) {
        char *exact = malloc(room + 1);

        assert_non_null(exact);
        assert_int_equal(tg_problem_write(TG_PROBLEM_BACKLOG, tg_str_of("\n\n"), tg_str_of("id"),
                                          tg_str_of("\"a\":1"), exact, room),
                         room == n ? n : 0);
        free(exact);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sha256),
        cmocka_unit_test(test_hmac),
        cmocka_unit_test(test_equal),
        cmocka_unit_test(test_shard),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_scoped_digests),
        cmocka_unit_test(test_event_id),
        cmocka_unit_test(test_event_id_refuses),
        cmocka_unit_test(test_stream_fields),
        cmocka_unit_test(test_contract),
        cmocka_unit_test(test_contract_of_the_journal),
        cmocka_unit_test(test_problem_table),
        cmocka_unit_test(test_problem_document),
        cmocka_unit_test(test_problem_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
