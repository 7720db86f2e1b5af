/* How much work a signature's check is: the same for every name of a table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/digest.h"
#include "jwt_maker.h"

static size_t hmacs;

static int counted_hmac(struct tg_str key, const struct tg_str *head, size_t heads,
                        const struct tg_str *body, size_t pieces,
                        unsigned char out[TG_SHA256_BYTES])
{
    hmacs++;
    return tg_hmac_sha256vv(key, head, heads, body, pieces, out);
}

/* The unit once more under other names, with the counter in place of the HMAC. */
#define tg_hmac_sha256vv counted_hmac
#define tg_signature_standard_precheck counted_precheck
#define tg_signature_standard_verify counted_verify
#define tg_signature_github_precheck counted_github_precheck
#define tg_signature_github_verify counted_github_verify
#define tg_signature_reason counted_reason
#define tg_signature_standard_make counted_make
#include "common/signature.c" /* NOLINT(bugprone-suspicious-include) */

#define NOW INT64_C(1800000000)
#define SECRET "whsec_QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB"
#define FORGED "v1,QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="

#define FORGED_HUB "sha256=4141414141414141414141414141414141414141414141414141414141414141"

static size_t work_of(const char *file, const char *only, const char *name)
{
    struct tg_error err = {""};
    struct tg_secrets *table = tg_secrets_parse(tg_str_of(file), tg_str_of(only), &err);
    const struct tg_signature_standard h = {tg_str_of("m"), tg_str_of("1800000000"),
                                            tg_str_of(FORGED)};
    const struct tg_signature_github hub = {tg_str_of(FORGED_HUB), tg_str_of(NULL)};
    const struct tg_str body = tg_str_of("b");
    size_t work;

    assert_string_equal(err.text, "");
    assert_non_null(table);
    hmacs = 0;
    assert_int_equal(
        counted_verify(&h, &body, 1, tg_secrets_find(table, tg_str_of(name)), NOW, 300),
        TG_SIGNATURE_WRONG);
    work = hmacs;
    hmacs = 0;
    assert_int_equal(counted_github_verify(&hub, &body, 1, tg_secrets_find(table, tg_str_of(name))),
                     TG_SIGNATURE_WRONG);
    assert_int_equal(hmacs, work); /* either scheme */
    tg_secrets_free(table);
    return work;
}

static void test_rotation_shows_no_name(void **state)
{
    static const char file[] = "acme psa " SECRET "\nacme hr " SECRET "\nacme psa " SECRET
                               "\nzeta psa " SECRET "\nacme psa " SECRET "\n";

    (void)state;
    assert_int_equal(work_of(file, "", "acme/psa"), 3);
    assert_int_equal(work_of(file, "", "acme/hr"), 3);
    assert_int_equal(work_of(file, "", "zeta/psa"), 3);
    assert_int_equal(work_of(file, "", "nobody/psa"), 3);
    assert_int_equal(work_of(file, "", ""), 3);
}

static void test_one_secret_each(void **state)
{
    (void)state;
    assert_int_equal(work_of("acme psa " SECRET "\n", "", "acme/psa"), 1);
    assert_int_equal(work_of("acme psa " SECRET "\n", "", "nobody/psa"), 1);
    assert_int_equal(work_of(SECRET "\n" SECRET, "hook", "hook"), 2);
    assert_int_equal(work_of(SECRET "\n" SECRET, "hook", "other"), 2);
}

static void test_most_secrets(void **state)
{
    char file[1024] = "zeta psa " SECRET "\n";

    (void)state;
    for (int i = 0; i < TG_SECRETS_PER_NAME_MAX; i++) {
        const size_t at = strlen(file);
        const int n = snprintf(file + at, sizeof(file) - at, "acme psa %s\n", SECRET);

        assert_true(n > 0 && (size_t)n < sizeof(file) - at);
    }
    assert_int_equal(work_of(file, "", "acme/psa"), TG_SECRETS_PER_NAME_MAX);
    assert_int_equal(work_of(file, "", "zeta/psa"), TG_SECRETS_PER_NAME_MAX);
    assert_int_equal(work_of(file, "", "nobody/psa"), TG_SECRETS_PER_NAME_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rotation_shows_no_name),
        cmocka_unit_test(test_one_secret_each),
        cmocka_unit_test(test_most_secrets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
