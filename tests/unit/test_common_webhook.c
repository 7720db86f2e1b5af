/* Webhook secrets and Standard Webhooks signatures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/codec.h"
#include "common/digest.h"
#include "common/secrets.h"
#include "common/signature.h"
#include "jwt_maker.h"

#define NOW INT64_C(1800000000)
#define TOLERANCE INT64_C(300)

/* whsec_ and base64 of n bytes `fill`; the caller frees. */
static char *secret_text(unsigned char fill, size_t n)
{
    unsigned char data[TG_SECRET_MAX_BYTES + 1];
    char text[4 * ((TG_SECRET_MAX_BYTES + 3) / 3) + 1];

    memset(data, fill, sizeof(data));
    assert_true(tg_base64_encode(data, n, text, sizeof(text)) > 0);
    return jwt_maker_text("whsec_%s", text);
}

/* v1,BASE64 over id.timestamp.body with a secret of n bytes `fill`; the caller frees. */
static char *sign(unsigned char fill, size_t n, const char *id, const char *timestamp,
                  const char *body)
{
    unsigned char key[TG_SECRET_MAX_BYTES];
    unsigned char mac[TG_SHA256_BYTES];
    char text[4 * ((TG_SHA256_BYTES + 2) / 3) + 1];
    char *content = jwt_maker_text("%s.%s.%s", id, timestamp, body);
    const struct tg_str whole = tg_str_of(content);

    memset(key, fill, sizeof(key));
    assert_int_equal(tg_hmac_sha256v((struct tg_str){key, n}, &whole, 1, mac), 0);
    assert_true(tg_base64_encode(mac, sizeof(mac), text, sizeof(text)) > 0);
    free(content);
    return jwt_maker_text("v1,%s", text);
}

static struct tg_secrets *parse(const char *text, const char *only, struct tg_error *err)
{
    return tg_secrets_parse(tg_str_of(text), tg_str_of(only), err);
}

static void test_one_name(void **state)
{
    char *a = secret_text('a', 24);
    char *b = secret_text('b', 64);
    char *file = jwt_maker_text("# rotation\n\n  %s  \r\n\t\n%s", a, b);
    struct tg_secrets *table = parse(file, "hook", NULL);
    struct tg_secret_list list;

    (void)state;
    assert_non_null(table);
    free(file);
    assert_int_equal(tg_secrets_count(table), 1);
    list = tg_secrets_find(table, tg_str_of("hook"));
    assert_true(list.known);
    assert_int_equal(list.count, 2);
    assert_int_equal(list.items[0].len, 24);
    assert_int_equal(list.items[0].data[23], 'a');
    assert_int_equal(list.items[1].len, 64);
    assert_int_equal(list.items[1].data[63], 'b');
    tg_secrets_free(table);
    tg_secrets_free(NULL);
    free(a);
    free(b);
}

static void test_many_names(void **state)
{
    char *a = secret_text('a', 32);
    char *b = secret_text('b', 32);
    char *c = secret_text('c', 32);
    char *file =
        jwt_maker_text("zeta psa %s\nacme psa %s\n# x\nacme hr\t%s\nacme psa %s\n", a, b, c, a);
    struct tg_secrets *table = parse(file, "", NULL);
    struct tg_secret_list list;

    (void)state;
    assert_non_null(table);
    free(file);
    assert_int_equal(tg_secrets_count(table), 3);
    list = tg_secrets_find(table, tg_str_of("acme/psa"));
    assert_true(list.known);
    assert_int_equal(list.count, 2);
    assert_int_equal(list.items[0].data[0], 'b');
    assert_int_equal(list.items[1].data[0], 'a');
    list = tg_secrets_find(table, tg_str_of("acme/hr"));
    assert_true(list.known && list.count == 1 && list.items[0].data[0] == 'c');
    list = tg_secrets_find(table, tg_str_of("zeta/psa"));
    assert_true(list.known && list.count == 1 && list.items[0].data[0] == 'a');
    tg_secrets_free(table);
    free(a);
    free(b);
    free(c);
}

static void test_decoy(void **state)
{
    static const char *const unknown[] = {"",          "acme", "acme/", "acme/ps",
                                          "acme/psaa", "/psa", "zzzz",  "Acme/psa"};
    char *a = secret_text('a', 32);
    char *file = jwt_maker_text("acme psa %s", a);
    struct tg_secrets *table = parse(file, "", NULL);
    struct tg_secrets *other = parse(file, "", NULL);
    struct tg_secret_list list;

    (void)state;
    assert_non_null(table);
    assert_non_null(other);
    for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
        list = tg_secrets_find(table, tg_str_of(unknown[i]));
        assert_false(list.known);
        assert_int_equal(list.count, 0);
        assert_int_equal(list.decoy_count, 1);
        assert_int_equal(list.decoys[0].len, 32);
    }
    assert_memory_not_equal(list.decoys[0].data,
                            tg_secrets_find(other, tg_str_of("x")).decoys[0].data, 32);
    tg_secrets_free(table);
    tg_secrets_free(other);
    free(file);
    free(a);
}

static void expect_table_refused(const char *file, const char *only, const char *says)
{
    struct tg_error err = {""};

    assert_null(parse(file, only, &err));
    if (strstr(err.text, says) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", err.text, says);
    }
    assert_null(strstr(err.text, "QUFB"));
}

static void test_files_refused(void **state)
{
    char *short_one = secret_text('A', 23);
    char *long_one = secret_text('A', 65);
    char *good = secret_text('A', 24);
    char *file;

    (void)state;
    expect_table_refused("", "n", "no secret");
    expect_table_refused("# only\n\n", "", "no secret");
    expect_table_refused(short_one, "n", "line 1");
    expect_table_refused(long_one, "n", "line 1");
    expect_table_refused("\nQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB", "n", "line 2: a secret is whsec_");
    expect_table_refused("whsec_", "n", "line 1");
    expect_table_refused("whsec_QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUF", "n", "line 1");
    expect_table_refused("whsec_QUFBQUFBQUFB-UFBQUFBQUFBQUFBQUFB", "n", "line 1");
    file = jwt_maker_text("%s %s", good, good);
    expect_table_refused(file, "n", "line 1: a line is one secret");
    free(file);
    file = jwt_maker_text("acme psa %s\nacme %s\n", good, good);
    expect_table_refused(file, "", "line 2: a line is TENANT");
    free(file);
    file = jwt_maker_text("acme psa %s more", good);
    expect_table_refused(file, "", "line 1");
    free(file);
    file = jwt_maker_text("ac/me psa %s", good);
    expect_table_refused(file, "", "line 1");
    free(file);
    file = jwt_maker_text("acme p\xc3\xa9 %s", good);
    expect_table_refused(file, "", "line 1");
    free(file);
    file = jwt_maker_text("acme psa \xc3%s", good);
    expect_table_refused(file, "", "line 1");
    free(file);
    free(good);
    free(short_one);
    free(long_one);
}

static void test_secrets_of_a_name_are_limited(void **state)
{
    char *good = secret_text('A', 24);
    char *file = jwt_maker_text("%s", "");

    (void)state;
    for (int i = 1; i <= TG_SECRETS_PER_NAME_MAX + 1; i++) {
        char *longer = jwt_maker_text("%s%s\n", file, good);
        struct tg_secrets *table;

        free(file);
        file = longer;
        if (i > TG_SECRETS_PER_NAME_MAX) {
            expect_table_refused(file, "n", "line 9");
            break;
        }
        table = parse(file, "n", NULL);
        assert_non_null(table);
        assert_int_equal(tg_secrets_find(table, tg_str_of("n")).count, i);
        tg_secrets_free(table);
    }
    free(file);
    free(good);
}

static void test_large_table(void **state)
{
    enum { NAMES = 5000 };
    const size_t room = (size_t)NAMES * 80;
    char *file = malloc(room);
    char *good = secret_text('A', 24);
    size_t at = 0;
    struct tg_secrets *table;
    struct tg_str text;

    (void)state;
    assert_non_null(file);
    for (unsigned i = 0; i < NAMES; i++) {
        /* 7919 is prime to 5000: every name once, in no order. */
        const int n = snprintf(file + at, room - at, "t%u s %s\n", i * 7919U % NAMES, good);

        assert_true(n > 0 && (size_t)n < room - at);
        at += (size_t)n;
    }
    text = (struct tg_str){(const unsigned char *)file, at};
    table = tg_secrets_parse(text, tg_str_of(""), NULL);
    assert_non_null(table);
    assert_int_equal(tg_secrets_count(table), NAMES);
    for (unsigned i = 0; i < NAMES; i++) {
        char name[16];

        assert_true(snprintf(name, sizeof(name), "t%u/s", i) > 0);
        assert_true(tg_secrets_find(table, tg_str_of(name)).known);
    }
    tg_secrets_free(table);
    free(file);
    free(good);
}

static void test_file_size_limit(void **state)
{
    struct tg_str text = {(const unsigned char *)"", TG_SECRETS_FILE_MAX_BYTES + 1};
    struct tg_error err;
    char *lines = malloc(TG_SECRET_LINES_MAX + 1);

    (void)state;
    assert_null(tg_secrets_parse(text, tg_str_of("n"), &err));
    assert_non_null(strstr(err.text, "larger"));
    assert_non_null(lines);
    memset(lines, '\n', TG_SECRET_LINES_MAX + 1);
    text = (struct tg_str){(const unsigned char *)lines, TG_SECRET_LINES_MAX + 1};
    assert_null(tg_secrets_parse(text, tg_str_of("n"), &err));
    assert_non_null(strstr(err.text, "lines"));
    free(lines);
}

/* One secret of 32 bytes 's' under the name "n". */
static struct tg_secrets *one_secret(void)
{
    char *text = secret_text('s', 32);
    struct tg_secrets *table = parse(text, "n", NULL);

    assert_non_null(table);
    free(text);
    return table;
}

static enum tg_signature_result verify(const char *id, const char *timestamp, const char *signature,
                                       const char *body, struct tg_secret_list secrets)
{
    const struct tg_signature_standard h = {tg_str_of(id), tg_str_of(timestamp),
                                            tg_str_of(signature)};
    const struct tg_str whole = tg_str_of(body);

    return tg_signature_standard_verify(&h, &whole, 1, secrets, NOW, TOLERANCE);
}

static void test_signature(void **state)
{
    struct tg_secrets *table = one_secret();
    const struct tg_secret_list known = tg_secrets_find(table, tg_str_of("n"));
    char *sig = sign('s', 32, "msg_1", "1800000000", "{\"a\":1}");
    char *v1a = jwt_maker_text("v1a,%s", sig + 3);
    char *v2 = jwt_maker_text("v2,%s", sig + 3);

    (void)state;
    assert_int_equal(verify("msg_1", "1800000000", sig, "{\"a\":1}", known), TG_SIGNATURE_OK);
    assert_int_equal(verify("msg_1", "1800000000", sig, "{\"a\":2}", known), TG_SIGNATURE_WRONG);
    assert_int_equal(verify("msg_1", "1800000000", sig, "{\"a\":1} ", known), TG_SIGNATURE_WRONG);
    assert_int_equal(verify("msg_1", "1800000000", sig, "", known), TG_SIGNATURE_WRONG);
    assert_int_equal(verify("msg_2", "1800000000", sig, "{\"a\":1}", known), TG_SIGNATURE_WRONG);
    assert_int_equal(verify("msg_1", "1800000001", sig, "{\"a\":1}", known), TG_SIGNATURE_WRONG);
    assert_int_equal(verify("msg_1", "01800000000", sig, "{\"a\":1}", known), TG_SIGNATURE_WRONG);
    assert_int_equal(verify("msg_1", "1800000000", v1a, "{\"a\":1}", known),
                     TG_SIGNATURE_MALFORMED);
    assert_int_equal(verify("msg_1", "1800000000", v2, "{\"a\":1}", known), TG_SIGNATURE_MALFORMED);
    assert_int_equal(verify("msg_1", "1800000000", sig + 3, "{\"a\":1}", known),
                     TG_SIGNATURE_MALFORMED);
    free(sig);
    free(v1a);
    free(v2);
    tg_secrets_free(table);
}

static void test_body_in_pieces(void **state)
{
    struct tg_secrets *table = one_secret();
    char *sig = sign('s', 32, "m", "1800000000", "abcdef");
    const struct tg_signature_standard h = {tg_str_of("m"), tg_str_of("1800000000"),
                                            tg_str_of(sig)};
    struct tg_str pieces[40];
    size_t n = 0;

    (void)state;
    pieces[n++] = tg_str_of("ab");
    while (n < 38) {
        pieces[n++] = tg_str_of(NULL);
    }
    pieces[n++] = tg_str_of("c");
    pieces[n++] = tg_str_of("def");
    assert_int_equal(tg_signature_standard_verify(
                         &h, pieces, n, tg_secrets_find(table, tg_str_of("n")), NOW, TOLERANCE),
                     TG_SIGNATURE_OK);
    assert_int_equal(tg_signature_standard_verify(
                         &h, pieces, n - 1, tg_secrets_find(table, tg_str_of("n")), NOW, TOLERANCE),
                     TG_SIGNATURE_WRONG);
    free(sig);
    /* A signature over no body at all. */
    sig = sign('s', 32, "m", "1800000000", "");
    {
        const struct tg_signature_standard empty = {tg_str_of("m"), tg_str_of("1800000000"),
                                                    tg_str_of(sig)};

        assert_int_equal(tg_signature_standard_verify(&empty, NULL, 0,
                                                      tg_secrets_find(table, tg_str_of("n")), NOW,
                                                      TOLERANCE),
                         TG_SIGNATURE_OK);
    }
    free(sig);
    tg_secrets_free(table);
}

static void test_rotation(void **state)
{
    char *old = secret_text('o', 24);
    char *fresh = secret_text('f', 64);
    char *file = jwt_maker_text("%s\n%s\n", old, fresh);
    struct tg_secrets *table = parse(file, "n", NULL);
    const struct tg_secret_list known = tg_secrets_find(table, tg_str_of("n"));
    char *by_old = sign('o', 24, "m", "1800000000", "b");
    char *by_fresh = sign('f', 64, "m", "1800000000", "b");
    char *by_thief = sign('t', 24, "m", "1800000000", "b");
    char *list = jwt_maker_text("v1a,xyz %s  v1,AAAA %s", by_thief, by_fresh);

    (void)state;
    assert_int_equal(verify("m", "1800000000", by_old, "b", known), TG_SIGNATURE_OK);
    assert_int_equal(verify("m", "1800000000", by_fresh, "b", known), TG_SIGNATURE_OK);
    assert_int_equal(verify("m", "1800000000", by_thief, "b", known), TG_SIGNATURE_WRONG);
    assert_int_equal(verify("m", "1800000000", list, "b", known), TG_SIGNATURE_OK);
    free(list);
    free(by_old);
    free(by_fresh);
    free(by_thief);
    free(file);
    free(old);
    free(fresh);
    tg_secrets_free(table);
}

static void test_unknown_name_never_passes(void **state)
{
    struct tg_secrets *table = one_secret();
    struct tg_secret_list list = tg_secrets_find(table, tg_str_of("n"));
    char *sig = sign('s', 32, "m", "1800000000", "b");

    (void)state;
    assert_int_equal(
        verify("m", "1800000000", sig, "b", tg_secrets_find(table, tg_str_of("other"))),
        TG_SIGNATURE_WRONG);
    list.known = false;
    assert_int_equal(verify("m", "1800000000", sig, "b", list), TG_SIGNATURE_WRONG);
    /* Even if the decoy's bytes were guessed. */
    list = (struct tg_secret_list){NULL, 0, list.items, 1, true};
    assert_int_equal(verify("m", "1800000000", sig, "b", list), TG_SIGNATURE_WRONG);
    list = tg_secrets_find(table, tg_str_of("n"));
    list.known = true;
    list.count = 0;
    assert_int_equal(verify("m", "1800000000", sig, "b", list), TG_SIGNATURE_WRONG);
    free(sig);
    tg_secrets_free(table);
}

static enum tg_signature_result precheck(const char *id, const char *timestamp,
                                         const char *signature)
{
    const struct tg_signature_standard h = {tg_str_of(id), tg_str_of(timestamp),
                                            tg_str_of(signature)};

    return tg_signature_standard_precheck(&h, NOW, TOLERANCE);
}

static void test_precheck(void **state)
{
    char *sig = sign('s', 32, "m", "1800000000", "b");
    char id[TG_WEBHOOK_ID_MAX_BYTES + 2];

    (void)state;
    assert_int_equal(precheck("m", "1800000000", sig), TG_SIGNATURE_OK);
    assert_int_equal(precheck("", "1800000000", sig), TG_SIGNATURE_MISSING);
    assert_int_equal(precheck("m", NULL, sig), TG_SIGNATURE_MISSING);
    assert_int_equal(precheck("m", "1800000000", ""), TG_SIGNATURE_MISSING);
    assert_int_equal(precheck("m.1", "1800000000", sig), TG_SIGNATURE_MALFORMED);
    assert_int_equal(precheck("m\n1", "1800000000", sig), TG_SIGNATURE_MALFORMED);
    assert_int_equal(precheck("m\xc3\xa9", "1800000000", sig), TG_SIGNATURE_MALFORMED);
    assert_int_equal(precheck("m", "1800000000.5", sig), TG_SIGNATURE_MALFORMED);
    assert_int_equal(precheck("m", "-1800000000", sig), TG_SIGNATURE_MALFORMED);
    assert_int_equal(precheck("m", "1.8e9", sig), TG_SIGNATURE_MALFORMED);
    assert_int_equal(precheck("m", "99999999999999999999", sig), TG_SIGNATURE_MALFORMED);
    assert_int_equal(precheck("m", "1800000000", "v1,"), TG_SIGNATURE_MALFORMED);
    assert_int_equal(precheck("m", "1800000000", "v1,AAAA"), TG_SIGNATURE_MALFORMED);
    assert_int_equal(precheck("m", "1800000000", "v1"), TG_SIGNATURE_MALFORMED);
    assert_int_equal(precheck("m", "1800000000", "   "), TG_SIGNATURE_MALFORMED);
    memset(id, 'i', sizeof(id));
    id[TG_WEBHOOK_ID_MAX_BYTES] = '\0';
    assert_int_equal(precheck(id, "1800000000", sig), TG_SIGNATURE_OK);
    id[TG_WEBHOOK_ID_MAX_BYTES] = 'i';
    id[TG_WEBHOOK_ID_MAX_BYTES + 1] = '\0';
    assert_int_equal(precheck(id, "1800000000", sig), TG_SIGNATURE_MALFORMED);
    free(sig);
}

static void test_window(void **state)
{
    char *sig = sign('s', 32, "m", "1800000000", "b");

    (void)state;
    assert_int_equal(precheck("m", "1799999700", sig), TG_SIGNATURE_OK);
    assert_int_equal(precheck("m", "1799999699", sig), TG_SIGNATURE_WINDOW);
    assert_int_equal(precheck("m", "1800000300", sig), TG_SIGNATURE_OK);
    assert_int_equal(precheck("m", "1800000301", sig), TG_SIGNATURE_WINDOW);
    assert_int_equal(precheck("m", "0", sig), TG_SIGNATURE_WINDOW);
    assert_int_equal(precheck("m", "9223372036854775807", sig), TG_SIGNATURE_WINDOW);
    free(sig);
}

static void test_signature_counts(void **state)
{
    struct tg_secrets *table = one_secret();
    const struct tg_secret_list known = tg_secrets_find(table, tg_str_of("n"));
    char *good = sign('s', 32, "m", "1800000000", "b");
    char *bad = sign('x', 32, "m", "1800000000", "b");
    char *list = jwt_maker_text("%s", "");
    char *much;

    (void)state;
    for (int i = 1; i < TG_SIGNATURES_PER_HEADER_MAX; i++) {
        char *longer = jwt_maker_text("%s%s ", list, bad);

        free(list);
        list = longer;
    }
    much = jwt_maker_text("%s%s", list, good);
    assert_int_equal(verify("m", "1800000000", much, "b", known), TG_SIGNATURE_OK);
    free(much);
    much = jwt_maker_text("%s%s %s", list, bad, good);
    assert_int_equal(verify("m", "1800000000", much, "b", known), TG_SIGNATURE_MALFORMED);
    free(much);
    much = jwt_maker_text("%s %*s", good, TG_SIGNATURE_HEADER_MAX_BYTES, "");
    assert_int_equal(verify("m", "1800000000", much, "b", known), TG_SIGNATURE_MALFORMED);
    free(much);
    free(list);
    free(good);
    free(bad);
    tg_secrets_free(table);
}

static void test_reasons(void **state)
{
    (void)state;
    for (int r = TG_SIGNATURE_OK; r <= TG_SIGNATURE_INTERNAL; r++) {
        const enum tg_signature_result result = (enum tg_signature_result)r;

        assert_true(strlen(tg_signature_reason(TG_SIGNATURE_STANDARD, result)) > 10);
        assert_true(strlen(tg_signature_reason(TG_SIGNATURE_GITHUB, result)) > 10);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_name),
        cmocka_unit_test(test_many_names),
        cmocka_unit_test(test_decoy),
        cmocka_unit_test(test_files_refused),
        cmocka_unit_test(test_secrets_of_a_name_are_limited),
        cmocka_unit_test(test_large_table),
        cmocka_unit_test(test_file_size_limit),
        cmocka_unit_test(test_signature),
        cmocka_unit_test(test_body_in_pieces),
        cmocka_unit_test(test_rotation),
        cmocka_unit_test(test_unknown_name_never_passes),
        cmocka_unit_test(test_precheck),
        cmocka_unit_test(test_window),
        cmocka_unit_test(test_signature_counts),
        cmocka_unit_test(test_reasons),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
