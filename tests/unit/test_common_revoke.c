/* How revocations are spelled, and which tokens they concern. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/keys.h"
#include "common/revoke.h"

static struct tg_revoke_member made(const char *tenant, enum tg_revoke_kind kind,
                                    const char *issuer, const char *value)
{
    struct tg_revoke_member m;

    assert_int_equal(
        tg_revoke_member(tg_str_of(tenant), kind, tg_str_of(issuer), tg_str_of(value), &m), 0);
    assert_int_equal(strlen(m.text), m.len);
    return m;
}

static void test_spelling(void **state)
{
    (void)state;
    assert_string_equal(made("acme", TG_REVOKE_JTI, "idp", "a-1").text, "acme|jti|idp|a-1");
    assert_string_equal(made("", TG_REVOKE_SUB, "idp", "ann").text, "|sub|idp|ann");
    assert_string_equal(made("acme", TG_REVOKE_CLIENT, "idp", "psa").text, "acme|client|idp|psa");
    assert_string_equal(made("a", TG_REVOKE_SUB, "i", "x|y%z \xc3\xa9\x7f").text,
                        "a|sub|i|x%7Cy%25z%20%C3%A9%7F");
}

/* Two different things never have one spelling. */
static void test_parts_do_not_run_into_each_other(void **state)
{
    (void)state;
    assert_string_not_equal(made("a|sub", TG_REVOKE_SUB, "i", "x").text,
                            made("a", TG_REVOKE_SUB, "sub|i", "x").text);
    assert_string_not_equal(made("a", TG_REVOKE_SUB, "i|x", "y").text,
                            made("a", TG_REVOKE_SUB, "i", "x|y").text);
    assert_string_not_equal(made("a", TG_REVOKE_SUB, "i", "%7C").text,
                            made("a", TG_REVOKE_SUB, "i", "|").text);
}

static void test_there_and_back(void **state)
{
    char value[TG_REVOKE_VALUE_MAX_BYTES + 1];
    struct tg_revoke_parts parts;

    (void)state;
    for (int c = 1; c < 256; c++) {
        struct tg_revoke_member m;

        snprintf(value, sizeof(value), "a%cb", c);
        m = made("t|%", TG_REVOKE_CLIENT, "i s", value);
        assert_int_equal(tg_revoke_parse(tg_str_of(m.text), &parts), 0);
        assert_string_equal(parts.tenant, "t|%");
        assert_int_equal(parts.kind, TG_REVOKE_CLIENT);
        assert_string_equal(parts.issuer, "i s");
        assert_string_equal(parts.value, value);
    }
    memset(value, '|', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    assert_int_equal(tg_revoke_parse(tg_str_of(made("", TG_REVOKE_JTI, "i", value).text), &parts),
                     0);
    assert_string_equal(parts.value, value);
    assert_string_equal(parts.tenant, "");
}

/* The longest of everything, with each byte escaped, fits. */
static void test_maxima(void **state)
{
    unsigned char big[512];
    struct tg_revoke_member m;
    const struct tg_str tenant = {big, TG_TENANT_MAX_BYTES}, issuer = {big, 64}, value = {big, 255};
    const struct tg_str empty = {big, 0};

    (void)state;
    memset(big, '|', sizeof(big));
    assert_int_equal(tg_revoke_member(tenant, TG_REVOKE_CLIENT, issuer, value, &m), 0);
    assert_int_equal(m.len, TG_REVOKE_MEMBER_MAX_BYTES);
    assert_int_equal(tg_revoke_member(empty, TG_REVOKE_JTI, issuer, empty, &m), -1);
    assert_int_equal(tg_revoke_member(empty, TG_REVOKE_JTI, empty, value, &m), -1);
    assert_int_equal(tg_revoke_member((struct tg_str){big, 65}, TG_REVOKE_JTI, issuer, value, &m),
                     -1);
    assert_int_equal(tg_revoke_member(tenant, TG_REVOKE_JTI, (struct tg_str){big, 65}, value, &m),
                     -1);
    assert_int_equal(tg_revoke_member(tenant, TG_REVOKE_JTI, issuer, (struct tg_str){big, 256}, &m),
                     -1);
}

static void test_what_is_no_member(void **state)
{
    static const char *const bad[] = {
        "",
        "a",
        "a|jti",
        "a|jti|i",
        "a|jti|i|",
        "a|jti||v",
        "a|kid|i|v",
        "a|JTI|i|v",
        "a|jti|i|v|w",
        "a|jti|i|%",
        "a|jti|i|%4",
        "a|jti|i|%41",
        "a|jti|i|%zz",
        "a|jti|i|%7c",
        "a|jti|i|%00",
        "a|jti|i|v w",
        "#",
    };
    char longest[600];
    struct tg_revoke_parts parts;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(tg_revoke_parse(tg_str_of(bad[i]), &parts), -1);
    }
    memset(longest, 'x', sizeof(longest));
    memcpy(longest, "a|jti|i|", 8);
    assert_int_equal(tg_revoke_parse((struct tg_str){(unsigned char *)longest, 8 + 255}, &parts),
                     0);
    assert_int_equal(tg_revoke_parse((struct tg_str){(unsigned char *)longest, 8 + 256}, &parts),
                     -1);
}

static void test_kinds(void **state)
{
    enum tg_revoke_kind kind;

    (void)state;
    for (int i = 0; i < TG_REVOKE_KINDS; i++) {
        assert_true(
            tg_revoke_kind_of(tg_str_of(tg_revoke_kind_name((enum tg_revoke_kind)i)), &kind));
        assert_int_equal(kind, i);
    }
    assert_false(tg_revoke_kind_of(tg_str_of("kid"), &kind));
}

static void test_whom_it_concerns(void **state)
{
    (void)state;
    /* until, revoked at, iat, now */
    assert_true(tg_revoke_concerns(TG_REVOKE_JTI, 200, 100, 150, 160));
    assert_false(tg_revoke_concerns(TG_REVOKE_JTI, 200, 100, 150, 200)); /* it is over */
    assert_true(tg_revoke_concerns(TG_REVOKE_SUB, 200, 100, 99, 160));
    assert_true(tg_revoke_concerns(TG_REVOKE_SUB, 200, 100, 100, 160));    /* the same second */
    assert_false(tg_revoke_concerns(TG_REVOKE_SUB, 200, 100, 101, 160));   /* a new log-in */
    assert_true(tg_revoke_concerns(TG_REVOKE_CLIENT, 200, 100, 0, 160));   /* no iat */
    assert_true(tg_revoke_concerns(TG_REVOKE_CLIENT, 200, 0, 150, 160));   /* no moment */
    assert_false(tg_revoke_concerns(TG_REVOKE_CLIENT, 200, 100, 50, 201)); /* it is over */
}

static void test_keys(void **state)
{
    struct tg_key key;

    (void)state;
    assert_int_equal(tg_key_revoked(&key, tg_str_of("tg"), 7), 0);
    assert_memory_equal(key.data, "tg:{s07}:revoked", key.len);
    assert_int_equal(tg_key_revoked_at(&key, tg_str_of("tg"), 7), 0);
    assert_memory_equal(key.data, "tg:{s07}:revoked_at", key.len);
    assert_int_equal(tg_key_unknown_kid(&key, tg_str_of("tg"), tg_str_of("idp")), 0);
    assert_memory_equal(key.data, "tg:{s00}:unknown_kid:idp", key.len);
    assert_int_equal(tg_key_unknown_kid(&key, tg_str_of("tg"), tg_str_of("i d")), -1);
    assert_int_equal(tg_key_unknown_kid(&key, tg_str_of("tg"), tg_str_of("")), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spelling),
        cmocka_unit_test(test_parts_do_not_run_into_each_other),
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_maxima),
        cmocka_unit_test(test_what_is_no_member),
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_whom_it_concerns),
        cmocka_unit_test(test_keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
