/* The signature of GitHub and Jira, and secrets that are text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/codec.h"
#include "common/digest.h"
#include "common/secrets.h"
#include "common/signature.h"
#include "jwt_maker.h"

/* The example of GitHub's documentation: secret, payload and what the header says. */
#define DOC_SECRET "whsec_SXQncyBhIFNlY3JldCB0byBFdmVyeWJvZHk=" /* It's a Secret to Everybody */
#define DOC_BODY "Hello, World!"
#define DOC_HEX "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
#define SHA1_HEX "757107ea0eb2509fc211221cce984b8a37570b6d"

static struct tg_secrets *table_of(const char *text, const char *only)
{
    struct tg_error err = {""};
    struct tg_secrets *table = tg_secrets_parse(tg_str_of(text), tg_str_of(only), &err);

    assert_string_equal(err.text, "");
    assert_non_null(table);
    return table;
}

static enum tg_signature_result verify(const struct tg_secrets *table, const char *name,
                                       const char *sha256, const char *any, const char *body)
{
    const struct tg_signature_github h = {tg_str_of(sha256), tg_str_of(any)};
    const struct tg_str whole = tg_str_of(body);
    const struct tg_secret_list secrets = tg_secrets_find(table, tg_str_of(name));
    const enum tg_signature_result before = tg_signature_github_precheck(&h);
    const enum tg_signature_result after = tg_signature_github_verify(&h, &whole, 1, secrets);

    /* the headers alone say the same as with the body, but for the match */
    assert_int_equal(before, after == TG_SIGNATURE_WRONG ? TG_SIGNATURE_OK : after);
    return after;
}

static void test_documented_example(void **state)
{
    struct tg_secrets *table = table_of(DOC_SECRET, "n");

    (void)state;
    assert_int_equal(verify(table, "n", "sha256=" DOC_HEX, NULL, DOC_BODY), TG_SIGNATURE_OK);
    assert_int_equal(verify(table, "n", NULL, "sha256=" DOC_HEX, DOC_BODY), TG_SIGNATURE_OK);
    assert_int_equal(verify(table, "n", "sha256=" DOC_HEX, NULL, "Hello, World"),
                     TG_SIGNATURE_WRONG);
    assert_int_equal(verify(table, "n", "sha256=" DOC_HEX, NULL, "Hello, World! "),
                     TG_SIGNATURE_WRONG);
    assert_int_equal(verify(table, "n", "sha256=" DOC_HEX, NULL, ""), TG_SIGNATURE_WRONG);
    tg_secrets_free(table);
}

static void test_which_header_counts(void **state)
{
    static const char *const upper =
        "sha256=757107EA0EB2509FC211221CCE984B8A37570B6D7586C22C46F4379C8B043E17";
    struct tg_secrets *table = table_of(DOC_SECRET, "n");
    const char *good = "sha256=" DOC_HEX;

    (void)state;
    /* GitHub sends both */
    assert_int_equal(verify(table, "n", good, "sha1=" SHA1_HEX, DOC_BODY), TG_SIGNATURE_OK);
    /* a wrong one is never made up for by the other */
    assert_int_equal(verify(table, "n", "sha256=" DOC_HEX "00", good, DOC_BODY),
                     TG_SIGNATURE_MALFORMED);
    assert_int_equal(verify(table, "n",
                            "sha256="
                            "0000000000000000000000000000000000000000000000000000000000000000",
                            good, DOC_BODY),
                     TG_SIGNATURE_WRONG);
    assert_int_equal(verify(table, "n", NULL, "sha1=" SHA1_HEX, DOC_BODY), TG_SIGNATURE_MALFORMED);
    assert_int_equal(verify(table, "n", upper, NULL, DOC_BODY), TG_SIGNATURE_OK);
    tg_secrets_free(table);
}

static void test_forms(void **state)
{
    static const char *const bad[] = {
        "sha256=",         "sha256",           DOC_HEX,
        "SHA256=" DOC_HEX, "sha256= " DOC_HEX, "sha256=" DOC_HEX " ",
        "sha512=" DOC_HEX, "sha256 " DOC_HEX,  "sha256=" DOC_HEX ",sha256=" DOC_HEX,
        "sha1=" SHA1_HEX,  "sha256:" DOC_HEX,  " sha256=" DOC_HEX,
    };
    struct tg_secrets *table = table_of(DOC_SECRET, "n");
    char *odd = jwt_maker_text("sha256=%s", DOC_HEX);

    (void)state;
    assert_int_equal(verify(table, "n", NULL, NULL, DOC_BODY), TG_SIGNATURE_MISSING);
    assert_int_equal(verify(table, "n", "", "", DOC_BODY), TG_SIGNATURE_MISSING);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(verify(table, "n", bad[i], NULL, DOC_BODY), TG_SIGNATURE_MALFORMED);
        assert_int_equal(verify(table, "n", NULL, bad[i], DOC_BODY), TG_SIGNATURE_MALFORMED);
    }
    odd[20] = 'g';
    assert_int_equal(verify(table, "n", odd, NULL, DOC_BODY), TG_SIGNATURE_MALFORMED);
    free(odd);
    tg_secrets_free(table);
}

static void test_rotation_and_strangers(void **state)
{
    struct tg_secrets *table = table_of("acme jira text:an-old-secret-of-jira\n"
                                        "acme jira " DOC_SECRET "\n"
                                        "other jira text:somebody-elses-secret\n",
                                        "");

    (void)state;
    assert_int_equal(verify(table, "acme/jira", "sha256=" DOC_HEX, NULL, DOC_BODY),
                     TG_SIGNATURE_OK);
    assert_int_equal(verify(table, "other/jira", "sha256=" DOC_HEX, NULL, DOC_BODY),
                     TG_SIGNATURE_WRONG);
    assert_int_equal(verify(table, "nobody/jira", "sha256=" DOC_HEX, NULL, DOC_BODY),
                     TG_SIGNATURE_WRONG);
    assert_int_equal(verify(table, "", "sha256=" DOC_HEX, NULL, DOC_BODY), TG_SIGNATURE_WRONG);
    tg_secrets_free(table);
}

/* A decoy that happens to match is still nobody: here the list is told to be of an unknown name. */
static void test_a_decoy_never_matches(void **state)
{
    struct tg_secrets *table = table_of(DOC_SECRET, "n");
    const struct tg_secret_list own = tg_secrets_find(table, tg_str_of("n"));
    const struct tg_secret_list decoy = {NULL, 0, own.items, own.count, false};
    const struct tg_signature_github h = {tg_str_of("sha256=" DOC_HEX), tg_str_of(NULL)};
    const struct tg_str body = tg_str_of(DOC_BODY);

    (void)state;
    assert_int_equal(tg_signature_github_verify(&h, &body, 1, decoy), TG_SIGNATURE_WRONG);
    tg_secrets_free(table);
}

static void test_body_in_pieces(void **state)
{
    struct tg_secrets *table = table_of(DOC_SECRET, "n");
    const struct tg_secret_list secrets = tg_secrets_find(table, tg_str_of("n"));
    const struct tg_signature_github h = {tg_str_of("sha256=" DOC_HEX), tg_str_of(NULL)};
    const struct tg_str pieces[] = {tg_str_of("Hello,"), tg_str_of(NULL), tg_str_of(" World!")};

    (void)state;
    assert_int_equal(tg_signature_github_verify(&h, pieces, 3, secrets), TG_SIGNATURE_OK);
    assert_int_equal(tg_signature_github_verify(&h, pieces, 2, secrets), TG_SIGNATURE_WRONG);
    tg_secrets_free(table);
}

static void test_text_secrets(void **state)
{
    struct tg_secrets *table =
        table_of("text:sixteen-letters!\n  text:whsec_looks-like-base64=  \r\n", "n");
    const struct tg_secret_list list = tg_secrets_find(table, tg_str_of("n"));

    (void)state;
    assert_int_equal(list.count, 2);
    assert_int_equal(list.items[0].len, 16);
    assert_memory_equal(list.items[0].data, "sixteen-letters!", 16);
    assert_memory_equal(list.items[1].data, "whsec_looks-like-base64=", 24);
    tg_secrets_free(table);
}

static void test_text_secrets_refused(void **state)
{
    static const char *const bad[] = {
        "text:",
        "text:fifteen-letters",
        "text:sixteen-l\xc3\xa9tters!",
        "text:0123456789012345678901234567890123456789012345678901234567890123x",
        "Text:sixteen-letters!",
        "text sixteen-letters!",
    };
    struct tg_error err;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_null(tg_secrets_parse(tg_str_of(bad[i]), tg_str_of("n"), &err));
        assert_non_null(strstr(err.text, "line 1"));
        assert_null(strstr(err.text, "tters")); /* never the secret */
    }
}

static void test_reasons(void **state)
{
    (void)state;
    assert_non_null(strstr(tg_signature_reason(TG_SIGNATURE_GITHUB, TG_SIGNATURE_MISSING),
                           "X-Hub-Signature-256"));
    assert_non_null(
        strstr(tg_signature_reason(TG_SIGNATURE_GITHUB, TG_SIGNATURE_MALFORMED), "sha256="));
    assert_null(strstr(tg_signature_reason(TG_SIGNATURE_STANDARD, TG_SIGNATURE_MISSING), "Hub"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_documented_example),
        cmocka_unit_test(test_which_header_counts),
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_rotation_and_strangers),
        cmocka_unit_test(test_a_decoy_never_matches),
        cmocka_unit_test(test_body_in_pieces),
        cmocka_unit_test(test_text_secrets),
        cmocka_unit_test(test_text_secrets_refused),
        cmocka_unit_test(test_reasons),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
