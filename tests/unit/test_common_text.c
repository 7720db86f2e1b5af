/* Views on bytes, error texts, hex and base64, JSON escape. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/codec.h"
#include "common/str.h"

static struct tg_str bytes(const char *s, size_t len)
{
    return (struct tg_str){(const unsigned char *)s, len};
}

static void test_views(void **state)
{
    (void)state;
    assert_int_equal(tg_str_of(NULL).len, 0);
    assert_int_equal(tg_str_of("abc").len, 3);
    assert_true(tg_str_equal(tg_str_of(NULL), tg_str_of("")));
    assert_true(tg_str_equal(bytes("a\0b", 3), bytes("a\0b", 3)));
    assert_false(tg_str_equal(bytes("a\0b", 3), bytes("a\0c", 3)));
    assert_false(tg_str_equal(tg_str_of("a"), tg_str_of("ab")));
    assert_true(tg_str_equal_c(tg_str_of("ab"), "ab"));
    assert_false(tg_str_equal_c(bytes("ab\0", 3), "ab"));
}

static void test_names(void **state)
{
    (void)state;
    assert_true(tg_str_is_name(tg_str_of("Acme-1_x.y"), 10));
    assert_false(tg_str_is_name(tg_str_of("Acme-1_x.yz"), 10));
    assert_false(tg_str_is_name(tg_str_of(""), 10));
    for (int c = 0; c < 256; c++) {
        const unsigned char byte = (unsigned char)c;
        const bool good = c != 0 && strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                           "0123456789._-",
                                           c) != NULL;

        assert_int_equal(tg_str_is_name((struct tg_str){&byte, 1}, 1), good);
        assert_int_equal(tg_str_is_printable((struct tg_str){&byte, 1}, 1), c > 0x20 && c < 0x7f);
    }
    assert_true(tg_str_is_printable(tg_str_of("a b"), 3));
    assert_false(tg_str_is_printable(tg_str_of("a b"), 2));
    assert_false(tg_str_is_printable(tg_str_of(" a"), 3));
    assert_false(tg_str_is_printable(tg_str_of("a "), 3));
    assert_false(tg_str_is_printable(tg_str_of("a\tb"), 3));
    assert_false(tg_str_is_printable(tg_str_of(""), 3));
}

static void test_copy(void **state)
{
    char out[4] = "zzz";

    (void)state;
    assert_false(tg_str_copy(tg_str_of("abcd"), out, sizeof(out)));
    assert_string_equal(out, "zzz");
    assert_true(tg_str_copy(tg_str_of("abc"), out, sizeof(out)));
    assert_string_equal(out, "abc");
    assert_true(tg_str_copy(tg_str_of(NULL), out, 1));
    assert_string_equal(out, "");
    assert_false(tg_str_copy(tg_str_of(NULL), out, 0));
}

static void test_numbers(void **state)
{
    static const char *const bad[] = {
        "", "-1", "+1", " 1", "1 ", "1a", "0x1", "9223372036854775808", "99999999999999999999"};
    int64_t n = 42;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(tg_str_to_i64(tg_str_of(bad[i]), &n));
        assert_int_equal(n, 42);
    }
    assert_true(tg_str_to_i64(tg_str_of("9223372036854775807"), &n));
    assert_true(n == INT64_MAX);
    assert_true(tg_str_to_i64(tg_str_of("007"), &n));
    assert_int_equal(n, 7);
}

static void test_error_text(void **state)
{
    char much[2 * TG_ERROR_MAX_BYTES];
    struct tg_error err;

    (void)state;
    memset(much, 'm', sizeof(much) - 1);
    much[sizeof(much) - 1] = '\0';
    assert_int_equal(tg_error_set(NULL, "%s", "x"), -1);
    assert_int_equal(tg_error_set(&err, "line %d", 5), -1);
    assert_string_equal(err.text, "line 5");
    assert_int_equal(tg_error_set(&err, "%s", much), -1);
    assert_int_equal(strlen(err.text), TG_ERROR_MAX_BYTES - 1);
}

static void test_hex(void **state)
{
    const unsigned char data[] = {0x00, 0x0f, 0xa5, 0xff};
    unsigned char back[4];
    char text[8];

    (void)state;
    tg_hex_encode(data, sizeof(data), text);
    assert_memory_equal(text, "000fa5ff", 8);
    assert_int_equal(tg_hex_decode(bytes(text, 8), back, sizeof(back)), 4);
    assert_memory_equal(back, data, 4);
    assert_int_equal(tg_hex_decode(tg_str_of("A5fF"), back, sizeof(back)), 2);
    assert_int_equal(tg_hex_decode(tg_str_of(""), back, sizeof(back)), 0);
    assert_int_equal(tg_hex_decode(tg_str_of("abc"), back, sizeof(back)), -1);
    assert_int_equal(tg_hex_decode(tg_str_of("ag"), back, sizeof(back)), -1);
    assert_int_equal(tg_hex_decode(tg_str_of("0011223344"), back, sizeof(back)), -1);
}

struct base64_case {
    const char *plain, *base64, *base64url;
};

/* RFC 4648 section 10, and bytes that show the two alphabets apart. */
static const struct base64_case base64_cases[] = {
    {"", "", ""},
    {"f", "Zg==", "Zg"},
    {"fo", "Zm8=", "Zm8"},
    {"foo", "Zm9v", "Zm9v"},
    {"foob", "Zm9vYg==", "Zm9vYg"},
    {"fooba", "Zm9vYmE=", "Zm9vYmE"},
    {"foobar", "Zm9vYmFy", "Zm9vYmFy"},
    {"\xfb\xff\xbf", "+/+/", "-_-_"},
};

static void test_base64_vectors(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(base64_cases) / sizeof(base64_cases[0]); i++) {
        const struct base64_case *c = &base64_cases[i];
        const size_t len = strlen(c->plain);
        unsigned char out[8];
        char text[16];

        assert_int_equal(tg_base64_decode(tg_str_of(c->base64), out, sizeof(out)), (int)len);
        assert_memory_equal(out, c->plain, len);
        assert_int_equal(tg_base64url_decode(tg_str_of(c->base64url), out, sizeof(out)), (int)len);
        assert_memory_equal(out, c->plain, len);
        assert_int_equal(tg_base64_encode((const unsigned char *)c->plain, len, text, sizeof(text)),
                         strlen(c->base64));
        assert_string_equal(text, c->base64);
        assert_int_equal(
            tg_base64url_encode((const unsigned char *)c->plain, len, text, sizeof(text)),
            strlen(c->base64url));
        assert_string_equal(text, c->base64url);
    }
}

static void test_base64_refusals(void **state)
{
    static const char *const bad_url[] = {
        "A",   "AAAAA", "Z",    "Zg==",   "Zg=",   "Zm9v=",     "Zh",
        "Zm9", "+/+/",  "Zm 9", "Zm9v\n", "Zm9vY", "Z\xc3\xa9g"};
    static const char *const bad[] = {"Zg",   "Zg=",      "Zh==",   "Zm9=",  "Z===", "====", "=",
                                      "-_-_", "Zg==Zg==", "Zm9v\n", "Zg= =", "Zg=a", "A=AA"};
    unsigned char out[16];

    (void)state;
    for (size_t i = 0; i < sizeof(bad_url) / sizeof(bad_url[0]); i++) {
        assert_int_equal(tg_base64url_decode(tg_str_of(bad_url[i]), out, sizeof(out)), -1);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(tg_base64_decode(tg_str_of(bad[i]), out, sizeof(out)), -1);
    }
    assert_int_equal(tg_base64url_decode(bytes("Zm9\0", 4), out, sizeof(out)), -1);
    /* Room is checked before anything is written. */
    memset(out, 0x55, sizeof(out));
    assert_int_equal(tg_base64url_decode(tg_str_of("Zm9vYmFy"), out, 5), -1);
    assert_int_equal(out[0], 0x55);
    assert_int_equal(tg_base64url_decode(tg_str_of("Zm9vYmFy"), out, 6), 6);
}

static void test_base64_room(void **state)
{
    char text[5];

    (void)state;
    assert_int_equal(tg_base64_encode((const unsigned char *)"abc", 3, text, 4), 0);
    assert_int_equal(tg_base64_encode((const unsigned char *)"abc", 3, text, 5), 4);
    assert_int_equal(tg_base64_encode((const unsigned char *)"abcd", 4, text, 5), 0);
    assert_int_equal(tg_base64url_encode((const unsigned char *)"a", 1, text, 4), 0);
}

static void test_base64_round_trip(void **state)
{
    unsigned char data[67];
    unsigned char back[67];
    char text[93];
    unsigned seed = 7;

    (void)state;
    for (size_t len = 0; len <= sizeof(data); len++) {
        size_t n;

        for (size_t i = 0; i < len; i++) {
            seed = seed * 1664525U + 1013904223U;
            data[i] = (unsigned char)(seed >> 24);
        }
        n = tg_base64_encode(data, len, text, sizeof(text));
        assert_int_equal(tg_base64_decode(bytes(text, n), back, sizeof(back)), (int)len);
        assert_memory_equal(back, data, len);
        n = tg_base64url_encode(data, len, text, sizeof(text));
        assert_int_equal(tg_base64url_decode(bytes(text, n), back, sizeof(back)), (int)len);
        assert_memory_equal(back, data, len);
    }
}

static void expect_escape(struct tg_str in, const char *want)
{
    char out[64];
    const int n = tg_json_escape(in, out, sizeof(out));
    const size_t len = strlen(want);

    assert_int_equal(n, (int)len);
    assert_memory_equal(out, want, len);
    assert_int_equal(tg_json_escape(in, out, len), (int)len);
    if (len > 0) {
        assert_int_equal(tg_json_escape(in, out, len - 1), -1);
    }
}

static void test_json_escape(void **state)
{
    (void)state;
    expect_escape(tg_str_of(NULL), "");
    expect_escape(tg_str_of("plain / text"), "plain / text");
    expect_escape(tg_str_of("\"\\\b\f\n\r\t"), "\\\"\\\\\\b\\f\\n\\r\\t");
    expect_escape(bytes("\0\x1f\x7f", 3), "\\u0000\\u001f\\u007f");
    expect_escape(tg_str_of("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"),
                  "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
    /* Lone continuation, overlong, surrogate, beyond U+10FFFF, cut short: one U+FFFD a byte. */
    expect_escape(tg_str_of("\x80"), "\xef\xbf\xbd");
    expect_escape(tg_str_of("\xc0\xaf"), "\xef\xbf\xbd\xef\xbf\xbd");
    expect_escape(tg_str_of("\xe0\x80\xaf"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
    expect_escape(tg_str_of("\xed\xa0\x80"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
    expect_escape(tg_str_of("\xf4\x90\x80\x80"),
                  "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
    expect_escape(tg_str_of("\xf0\x9f\x98"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
    expect_escape(tg_str_of("a\xe2\x82"), "a\xef\xbf\xbd\xef\xbf\xbd");
    expect_escape(tg_str_of("\xff\x41"), "\xef\xbf\xbd\x41");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_views),          cmocka_unit_test(test_names),
        cmocka_unit_test(test_copy),           cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_error_text),     cmocka_unit_test(test_hex),
        cmocka_unit_test(test_base64_vectors), cmocka_unit_test(test_base64_refusals),
        cmocka_unit_test(test_base64_room),    cmocka_unit_test(test_base64_round_trip),
        cmocka_unit_test(test_json_escape),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
