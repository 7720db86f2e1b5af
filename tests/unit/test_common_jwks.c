/* Key sets: which keys are taken, which are passed over, when the whole set is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/err.h>

#include "common/jwks.h"
#include "jwt_maker.h"

static struct jwt_maker_key *rsa, *ec, *ed;

static int make_keys(void **state)
{
    (void)state;
    rsa = jwt_maker_rsa("r", 2048);
    ec = jwt_maker_ec("e", "P-256");
    ed = jwt_maker_ed25519("d");
    return 0;
}

static int end_keys(void **state)
{
    (void)state;
    jwt_maker_key_free(rsa);
    jwt_maker_key_free(ec);
    jwt_maker_key_free(ed);
    return 0;
}

/* A set of the Ed25519 key and `jwk`: returns how many keys were taken. jwk is freed. */
static size_t taken_beside_good(char *jwk)
{
    char *good = jwt_maker_jwk(ed, NULL);
    char *json = jwt_maker_text("{\"keys\":[%s,%s]}", jwk, good);
    struct tg_jwks *set = tg_jwks_parse(tg_str_of(json), NULL);
    size_t count;

    assert_non_null(set);
    assert_int_equal(set->count + set->skipped, 2);
    assert_int_equal(ERR_peek_error(), 0);
    count = set->count;
    tg_jwks_free(set);
    free(json);
    free(good);
    free(jwk);
    return count;
}

static bool is_taken(char *jwk)
{
    return taken_beside_good(jwk) == 2;
}

static void test_three_kinds(void **state)
{
    struct jwt_maker_key *all[] = {rsa, ec, ed};
    char *json = jwt_maker_jwks(all, 3);
    struct tg_jwks *set = tg_jwks_parse(tg_str_of(json), NULL);

    (void)state;
    assert_non_null(set);
    assert_int_equal(set->count, 3);
    assert_int_equal(set->skipped, 0);
    assert_string_equal(set->keys[0].kid, "r");
    assert_int_equal(set->keys[0].alg, TG_ALG_RS256);
    assert_int_equal(set->keys[1].alg, TG_ALG_ES256);
    assert_int_equal(set->keys[2].alg, TG_ALG_EDDSA);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(EVP_PKEY_eq(set->keys[i].pkey, all[i]->pkey), 1);
        assert_non_null(set->keys[i].ready);
    }
    tg_jwks_free(set);
    tg_jwks_free(NULL);
    free(json);
}

static void test_use_ops_alg_kid(void **state)
{
    (void)state;
    assert_true(is_taken(jwt_maker_jwk(rsa, "\"use\":\"sig\",\"alg\":\"RS256\"")));
    assert_true(is_taken(jwt_maker_jwk(rsa, "\"key_ops\":[\"verify\"]")));
    assert_true(is_taken(jwt_maker_jwk(rsa, "\"x5c\":[\"AAAA\"],\"x5t\":\"A\"")));
    assert_false(is_taken(jwt_maker_jwk(rsa, "\"use\":\"enc\"")));
    assert_false(is_taken(jwt_maker_jwk(rsa, "\"use\":5")));
    assert_false(is_taken(jwt_maker_jwk(rsa, "\"key_ops\":[\"encrypt\",1]")));
    assert_false(is_taken(jwt_maker_jwk(rsa, "\"key_ops\":\"verify\"")));
    assert_false(is_taken(jwt_maker_jwk(rsa, "\"alg\":\"RS512\"")));
    assert_false(is_taken(jwt_maker_jwk(rsa, "\"alg\":\"ES256\"")));
    assert_false(is_taken(jwt_maker_jwk(rsa, "\"alg\":null")));
    assert_false(is_taken(jwt_maker_jwk(ec, "\"alg\":\"RS256\"")));
}

static void test_kid_forms(void **state)
{
    char kid[TG_KID_MAX_BYTES + 2];
    struct jwt_maker_key named = *ec;

    (void)state;
    named.kid = NULL;
    assert_true(is_taken(jwt_maker_jwk(&named, NULL)));
    assert_false(is_taken(jwt_maker_jwk(&named, "\"kid\":7")));
    memset(kid, 'k', sizeof(kid));
    kid[TG_KID_MAX_BYTES] = '\0';
    named.kid = kid;
    assert_true(is_taken(jwt_maker_jwk(&named, NULL)));
    kid[TG_KID_MAX_BYTES] = 'k';
    kid[TG_KID_MAX_BYTES + 1] = '\0';
    assert_false(is_taken(jwt_maker_jwk(&named, NULL)));
}

static void test_sizes_and_curves(void **state)
{
    struct jwt_maker_key *small = jwt_maker_rsa("s", 1024);
    struct jwt_maker_key *p384 = jwt_maker_ec("p", "P-384");
    struct jwt_maker_key *just_under = jwt_maker_rsa("s", 2040);

    (void)state;
    assert_false(is_taken(jwt_maker_jwk(small, NULL)));
    assert_false(is_taken(jwt_maker_jwk(just_under, NULL)));
    assert_false(is_taken(jwt_maker_jwk(p384, NULL)));
    jwt_maker_key_free(small);
    jwt_maker_key_free(just_under);
    jwt_maker_key_free(p384);
}

static void test_other_kinds_are_passed_over(void **state)
{
    static const char *const jwks[] = {
        "{\"kty\":\"oct\",\"k\":\"c2VjcmV0\",\"alg\":\"HS256\"}",
        ("{\"kty\":\"OKP\",\"crv\":\"X25519\","
         "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}"),
        "{\"kty\":\"OKP\",\"crv\":\"Ed448\",\"x\":\"AAAA\"}",
        "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AAAA\"}",
        "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":5}",
        "{\"kty\":\"OKP\",\"crv\":\"Ed25519\"}",
        "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AAAA\",\"y\":\"AAAA\"}",
        "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AAAA\"}",
        "{\"kty\":\"EC\",\"crv\":\"secp256k1\",\"x\":\"AAAA\",\"y\":\"AAAA\"}",
        "{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}",
        "{\"kty\":\"RSA\",\"n\":\"\",\"e\":\"\"}",
        "{\"kty\":\"RSA\",\"n\":\"!!\",\"e\":\"AQAB\"}",
        "{\"kty\":\"RSA\"}",
        "{\"kty\":5}",
        "{\"kid\":\"x\"}",
        "{}",
        "[]",
        "5",
        "null",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(jwks) / sizeof(jwks[0]); i++) {
        assert_false(is_taken(strdup(jwks[i])));
    }
}

static void test_point_off_the_curve(void **state)
{
    char *jwk = jwt_maker_jwk(ec, NULL);
    char *y = strstr(jwk, "\"y\":\"") + 5;

    (void)state;
    y[3] = y[3] == 'A' ? 'B' : 'A';
    assert_false(is_taken(jwk));
}

static void test_even_exponent(void **state)
{
    char *jwk = jwt_maker_jwk(rsa, NULL);
    char *e = strstr(jwk, "\"AQAB\"");

    (void)state;
    assert_non_null(e);
    e[4] = 'A'; /* 65536 */
    assert_false(is_taken(jwk));
}

static void test_duplicate_members(void **state)
{
    char *good = jwt_maker_jwk(ed, NULL);
    char *json = jwt_maker_text("{\"keys\":[],\"keys\":[%s]}", good);

    (void)state;
    assert_null(tg_jwks_parse(tg_str_of(json), NULL));
    free(json);
    free(good);
    good = jwt_maker_jwk(ed, "\"kid\":\"other\"");
    json = jwt_maker_text("{\"keys\":[%s]}", good);
    assert_null(tg_jwks_parse(tg_str_of(json), NULL));
    free(json);
    free(good);
}

static void test_private_members_are_not_imported(void **state)
{
    char *jwk = jwt_maker_jwk(rsa, "\"d\":\"AQAB\",\"p\":\"AQAB\",\"q\":\"AQAB\"");
    char *json = jwt_maker_text("{\"keys\":[%s]}", jwk);
    struct tg_jwks *set = tg_jwks_parse(tg_str_of(json), NULL);
    BIGNUM *d = NULL;

    (void)state;
    assert_non_null(set);
    assert_int_equal(EVP_PKEY_get_bn_param(set->keys[0].pkey, "d", &d), 0);
    assert_null(d);
    ERR_clear_error();
    tg_jwks_free(set);
    free(json);
    free(jwk);
}

static void test_sets_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "{",
        "[]",
        "5",
        "null",
        "{}",
        "{\"keys\":{}}",
        "{\"keys\":[]}",
        "{\"keys\":[{\"kty\":\"oct\",\"k\":\"c2VjcmV0\"}]}",
        "{\"keys\":[],\"keys\":[]}",
        "{\"keys\":[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]}",
    };
    struct tg_error err;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        err.text[0] = '\0';
        assert_null(tg_jwks_parse(tg_str_of(bad[i]), &err));
        assert_true(strlen(err.text) > 10);
        assert_null(strstr(err.text, "c2VjcmV0"));
    }
}

static void test_file_limit(void **state)
{
    char *good = jwt_maker_jwk(ed, NULL);
    char *json = jwt_maker_text("{\"keys\":[%s]}%*s", good, TG_JWKS_FILE_MAX_BYTES, "");
    struct tg_str text = {(const unsigned char *)json, TG_JWKS_FILE_MAX_BYTES};
    struct tg_jwks *set = tg_jwks_parse(text, NULL);

    (void)state;
    assert_non_null(set);
    tg_jwks_free(set);
    text.len++;
    assert_null(tg_jwks_parse(text, NULL));
    free(json);
    free(good);
}

static void test_count_limit(void **state)
{
    struct jwt_maker_key *all[TG_JWKS_KEYS_MAX + 2];
    struct tg_jwks *set;
    char *json;

    (void)state;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        all[i] = ed;
    }
    json = jwt_maker_jwks(all, sizeof(all) / sizeof(all[0]));
    set = tg_jwks_parse(tg_str_of(json), NULL);
    assert_non_null(set);
    assert_int_equal(set->count, TG_JWKS_KEYS_MAX);
    assert_int_equal(set->skipped, 2);
    tg_jwks_free(set);
    free(json);
}

static void test_names(void **state)
{
    (void)state;
    assert_int_equal(tg_alg_of(tg_str_of("RS256")), TG_ALG_RS256);
    assert_int_equal(tg_alg_of(tg_str_of("ES256")), TG_ALG_ES256);
    assert_int_equal(tg_alg_of(tg_str_of("EdDSA")), TG_ALG_EDDSA);
    assert_int_equal(tg_alg_of(tg_str_of("EDDSA")), TG_ALG_NONE);
    assert_int_equal(tg_alg_of(tg_str_of("none")), TG_ALG_NONE);
    assert_int_equal(tg_alg_of(tg_str_of("HS256")), TG_ALG_NONE);
    assert_int_equal(tg_alg_of(tg_str_of(NULL)), TG_ALG_NONE);
    assert_string_equal(tg_alg_name(TG_ALG_RS256), "RS256");
    assert_string_equal(tg_alg_name(TG_ALG_NONE), "none");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_three_kinds),
        cmocka_unit_test(test_use_ops_alg_kid),
        cmocka_unit_test(test_kid_forms),
        cmocka_unit_test(test_sizes_and_curves),
        cmocka_unit_test(test_other_kinds_are_passed_over),
        cmocka_unit_test(test_point_off_the_curve),
        cmocka_unit_test(test_even_exponent),
        cmocka_unit_test(test_duplicate_members),
        cmocka_unit_test(test_private_members_are_not_imported),
        cmocka_unit_test(test_sets_refused),
        cmocka_unit_test(test_file_limit),
        cmocka_unit_test(test_count_limit),
        cmocka_unit_test(test_names),
    };

    return cmocka_run_group_tests(tests, make_keys, end_keys);
}
