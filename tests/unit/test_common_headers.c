/* Request headers: bearer tokens, scopes, idempotency keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/bearer.h"
#include "common/idem_key.h"
#include "common/scope.h"

static void expect_bearer(const char *header, enum tg_bearer_result want, const char *token)
{
    struct tg_str got = {NULL, 0};

    assert_int_equal(tg_bearer_parse(tg_str_of(header), &got), want);
    if (want == TG_BEARER_OK) {
        assert_true(tg_str_equal_c(got, token));
    } else {
        assert_null(got.data);
    }
}

static void test_bearer(void **state)
{
    (void)state;
    expect_bearer("Bearer abc", TG_BEARER_OK, "abc");
    expect_bearer("bearer   a.b-c_d~e+f/g==", TG_BEARER_OK, "a.b-c_d~e+f/g==");
    expect_bearer("BEARER A", TG_BEARER_OK, "A");
    expect_bearer("", TG_BEARER_MISSING, NULL);
    expect_bearer(NULL, TG_BEARER_MISSING, NULL);
    expect_bearer("Basic YTpi", TG_BEARER_MISSING, NULL);
    expect_bearer("Beare abc", TG_BEARER_MISSING, NULL);
    expect_bearer("Bearerabc", TG_BEARER_MISSING, NULL);
    expect_bearer("Bearer-x abc", TG_BEARER_MISSING, NULL);
    expect_bearer(" Bearer abc", TG_BEARER_MISSING, NULL);
    expect_bearer("Bearer", TG_BEARER_MALFORMED, NULL);
    expect_bearer("Bearer ", TG_BEARER_MALFORMED, NULL);
    expect_bearer("Bearer\tabc", TG_BEARER_MALFORMED, NULL);
    expect_bearer("Bearer a b", TG_BEARER_MALFORMED, NULL);
    expect_bearer("Bearer abc ", TG_BEARER_MALFORMED, NULL);
    expect_bearer("Bearer a=b", TG_BEARER_MALFORMED, NULL);
    expect_bearer("Bearer ==", TG_BEARER_MALFORMED, NULL);
    expect_bearer("Bearer a,b", TG_BEARER_MALFORMED, NULL);
    expect_bearer("Bearer \"a\"", TG_BEARER_MALFORMED, NULL);
    expect_bearer("Bearer a\xc3\xa9", TG_BEARER_MALFORMED, NULL);
}

static void test_bearer_nul_and_size(void **state)
{
    char header[7 + TG_TOKEN_MAX_BYTES + 1];
    struct tg_str view = {(const unsigned char *)header, sizeof(header) - 1};
    struct tg_str token;

    (void)state;
    memset(header, 'a', sizeof(header));
    memcpy(header, "Bearer ", 7);
    assert_int_equal(tg_bearer_parse(view, &token), TG_BEARER_OK);
    assert_int_equal(token.len, TG_TOKEN_MAX_BYTES);
    view.len++;
    assert_int_equal(tg_bearer_parse(view, &token), TG_BEARER_TOO_LARGE);
    view.len = 10;
    header[8] = '\0';
    assert_int_equal(tg_bearer_parse(view, &token), TG_BEARER_MALFORMED);
}

static void test_scope_split(void **state)
{
    char longest[TG_SCOPE_MAX_BYTES + 2];
    struct tg_str out[3];

    (void)state;
    assert_int_equal(tg_scope_split(tg_str_of("a bb ccc"), out, 3), 3);
    assert_true(tg_str_equal_c(out[0], "a"));
    assert_true(tg_str_equal_c(out[1], "bb"));
    assert_true(tg_str_equal_c(out[2], "ccc"));
    assert_int_equal(tg_scope_split(tg_str_of("  a  b  "), out, 3), 2);
    assert_int_equal(tg_scope_split(tg_str_of(""), out, 3), 0);
    assert_int_equal(tg_scope_split(tg_str_of("   "), out, 3), 0);
    assert_int_equal(tg_scope_split(tg_str_of(NULL), out, 3), 0);
    assert_int_equal(tg_scope_split(tg_str_of("a b c d"), out, 3), -1);
    memset(longest, 's', sizeof(longest));
    longest[TG_SCOPE_MAX_BYTES] = '\0';
    assert_int_equal(tg_scope_split(tg_str_of(longest), out, 3), 1);
    assert_true(tg_scope_is_valid(tg_str_of(longest)));
    longest[TG_SCOPE_MAX_BYTES] = 's';
    longest[TG_SCOPE_MAX_BYTES + 1] = '\0';
    assert_int_equal(tg_scope_split(tg_str_of(longest), out, 3), -1);
    assert_false(tg_scope_is_valid(tg_str_of(longest)));
}

static void test_scope_valid(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        const unsigned char byte = (unsigned char)c;

        assert_int_equal(tg_scope_is_valid((struct tg_str){&byte, 1}),
                         c > 0x20 && c < 0x7f && c != '"' && c != '\\');
    }
    assert_false(tg_scope_is_valid(tg_str_of("")));
}

static void test_scope_satisfies(void **state)
{
    const struct tg_str have[] = {tg_str_of("events:write"), tg_str_of("status:read")};
    const struct tg_str both[] = {tg_str_of("status:read"), tg_str_of("events:write")};
    const struct tg_str half[] = {tg_str_of("events:write"), tg_str_of("ops:read")};
    const struct tg_str none[] = {tg_str_of("Events:write"), tg_str_of("events:writ")};

    (void)state;
    assert_true(tg_scope_satisfies(have, 2, TG_SCOPE_ALL, both, 2));
    assert_true(tg_scope_satisfies(have, 2, TG_SCOPE_ANY, both, 2));
    assert_false(tg_scope_satisfies(have, 2, TG_SCOPE_ALL, half, 2));
    assert_true(tg_scope_satisfies(have, 2, TG_SCOPE_ANY, half, 2));
    assert_false(tg_scope_satisfies(have, 2, TG_SCOPE_ALL, none, 2));
    assert_false(tg_scope_satisfies(have, 2, TG_SCOPE_ANY, none, 2));
    assert_false(tg_scope_satisfies(NULL, 0, TG_SCOPE_ANY, both, 2));
    assert_false(tg_scope_satisfies(NULL, 0, TG_SCOPE_ALL, both, 1));
    assert_true(tg_scope_satisfies(NULL, 0, TG_SCOPE_ALL, NULL, 0));
    assert_true(tg_scope_satisfies(NULL, 0, TG_SCOPE_ANY, NULL, 0));
}

static void expect_key(const char *header, const char *want)
{
    char out[TG_IDEM_KEY_MAX_BYTES];
    size_t len = 0;

    if (want == NULL) {
        assert_int_equal(tg_idem_key_parse(tg_str_of(header), out, &len), -1);
        return;
    }
    assert_int_equal(tg_idem_key_parse(tg_str_of(header), out, &len), 0);
    assert_int_equal(len, strlen(want));
    assert_memory_equal(out, want, len);
}

static void test_idem_key(void **state)
{
    (void)state;
    expect_key("8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324");
    expect_key("\"8e03978e\"", "8e03978e");
    expect_key("a b", "a b");
    expect_key("a\"b", "a\"b");
    expect_key("\"a\\\"b\\\\c\"", "a\"b\\c");
    expect_key("\" a \"", " a ");
    expect_key("", NULL);
    expect_key("\"", NULL);
    expect_key("\"\"", NULL);
    expect_key("\"a", NULL);
    expect_key("\"a\\", NULL);
    expect_key("\"a\\\"", NULL);
    expect_key("\"a\\b\"", NULL);
    expect_key("\"a\"b", NULL);
    expect_key("\"a\";p=1", NULL);
    expect_key("\"a\", \"b\"", NULL);
    expect_key("\"a\tb\"", NULL);
    expect_key("a\tb", NULL);
    expect_key("a\xc3\xa9", NULL);
    expect_key("\"\xc3\xa9\"", NULL);
}

static void test_idem_key_limits(void **state)
{
    char header[2 * TG_IDEM_KEY_MAX_BYTES + 4];
    char out[TG_IDEM_KEY_MAX_BYTES];
    struct tg_str view = {(const unsigned char *)header, TG_IDEM_KEY_MAX_BYTES};
    size_t len = 0;

    (void)state;
    memset(header, 'k', sizeof(header));
    assert_int_equal(tg_idem_key_parse(view, out, &len), 0);
    assert_int_equal(len, TG_IDEM_KEY_MAX_BYTES);
    view.len++;
    assert_int_equal(tg_idem_key_parse(view, out, &len), -1);
    /* Quoted: the limit is on what is inside, however it is escaped. */
    memset(header, '\\', sizeof(header));
    header[0] = '"';
    header[1 + 2 * TG_IDEM_KEY_MAX_BYTES] = '"';
    view.len = 2 + 2 * TG_IDEM_KEY_MAX_BYTES;
    assert_int_equal(tg_idem_key_parse(view, out, &len), 0);
    assert_int_equal(len, TG_IDEM_KEY_MAX_BYTES);
    header[1 + 2 * TG_IDEM_KEY_MAX_BYTES] = 'x';
    header[2 + 2 * TG_IDEM_KEY_MAX_BYTES] = '"';
    view.len++;
    assert_int_equal(tg_idem_key_parse(view, out, &len), -1);
    view.data = (const unsigned char *)"a\0b";
    view.len = 3;
    assert_int_equal(tg_idem_key_parse(view, out, &len), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bearer),          cmocka_unit_test(test_bearer_nul_and_size),
        cmocka_unit_test(test_scope_split),     cmocka_unit_test(test_scope_valid),
        cmocka_unit_test(test_scope_satisfies), cmocka_unit_test(test_idem_key),
        cmocka_unit_test(test_idem_key_limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
