/* Tokens that `tallygate token` makes, held against the verifier of the edge (common/jwt.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cmd/token.h"
#include "common/jwt.h"

#define NOW_S INT64_C(1795000000)

struct pair {
    EVP_PKEY *key;
    struct tg_jwks *set;
};

static struct pair make(enum tg_alg alg, const char *kid)
{
    struct tg_error err = {""};
    struct pair p = {tg_key_make(alg, &err), NULL};
    json_t *jwks;
    char *text;

    assert_non_null(p.key);
    assert_int_equal(tg_key_alg(p.key), alg);
    jwks = tg_key_jwks(p.key, kid, &err);
    assert_non_null(jwks);
    text = json_dumps(jwks, JSON_COMPACT);
    assert_non_null(text);
    /* nothing of the private half */
    assert_null(json_object_get(json_array_get(json_object_get(jwks, "keys"), 0), "d"));
    p.set = tg_jwks_parse(tg_str_of(text), &err);
    assert_string_equal(err.text, "");
    assert_non_null(p.set);
    assert_int_equal(p.set->count, 1);
    assert_string_equal(p.set->keys[0].kid, kid);
    free(text);
    json_decref(jwks);
    return p;
}

static void drop(struct pair p)
{
    tg_jwks_free(p.set);
    EVP_PKEY_free(p.key);
}

static char *sign(EVP_PKEY *key, const char *kid)
{
    struct tg_error err = {""};
    json_t *header = json_pack("{s:s, s:s, s:s}", "alg", tg_alg_name(tg_key_alg(key)), "typ",
                               "at+jwt", "kid", kid);
    json_t *claims = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I}", "iss",
                               "https://idp.example", "aud", "tallygate", "sub", "svc", "client_id",
                               "svc-psa", "tenant", "acme", "scope", "validate status:read", "iat",
                               (json_int_t)NOW_S, "exp", (json_int_t)(NOW_S + 60));
    char *token = tg_token_sign(key, header, claims, &err);

    assert_string_equal(err.text, "");
    assert_non_null(token);
    json_decref(header);
    json_decref(claims);
    return token;
}

static struct tg_jwt_policy policy(void)
{
    struct tg_jwt_policy p = {.algs = TG_ALG_ALL,
                              .iss = tg_str_of("https://idp.example"),
                              .audiences = {tg_str_of("tallygate")},
                              .audience_count = 1,
                              .typ = tg_str_of("at+jwt"),
                              .tenant_claim = tg_str_of("tenant"),
                              .scope_claim = tg_str_of("scope")};

    return p;
}

static void round_trip(enum tg_alg alg)
{
    struct pair p = make(alg, "k-1");
    struct tg_jwt_policy want = policy();

    /* ECDSA differs every time, and a short R or S must be padded: several tokens */
    for (int i = 0; i < (alg == TG_ALG_ES256 ? 64 : 1); i++) {
        char *token = sign(p.key, "k-1");
        struct tg_jwt jwt;

        assert_int_equal(tg_jwt_verify(tg_str_of(token), p.set, &want, NOW_S, &jwt), TG_JWT_OK);
        assert_true(tg_str_equal_c(jwt.client, "svc-psa"));
        assert_true(tg_str_equal_c(jwt.tenant, "acme"));
        assert_int_equal(jwt.scope_count, 2);
        assert_int_equal(jwt.exp_s, NOW_S + 60);
        tg_jwt_clear(&jwt);
        assert_int_equal(tg_jwt_verify(tg_str_of(token), p.set, &want, NOW_S + 61, &jwt),
                         TG_JWT_EXPIRED);
        free(token);
    }
    drop(p);
}

static void rs256(void **state)
{
    (void)state;
    round_trip(TG_ALG_RS256);
}

static void es256(void **state)
{
    (void)state;
    round_trip(TG_ALG_ES256);
}

static void eddsa(void **state)
{
    (void)state;
    round_trip(TG_ALG_EDDSA);
}

static void another_key_does_not_verify_it(void **state)
{
    struct pair a = make(TG_ALG_ES256, "k"), b = make(TG_ALG_ES256, "k");
    struct tg_jwt_policy want = policy();
    char *token = sign(a.key, "k");
    struct tg_jwt jwt;

    (void)state;
    assert_int_equal(tg_jwt_verify(tg_str_of(token), b.set, &want, NOW_S, &jwt), TG_JWT_SIGNATURE);
    free(token);
    drop(a);
    drop(b);
}

static void pem_round_trip(void **state)
{
    static const enum tg_alg algs[] = {TG_ALG_RS256, TG_ALG_ES256, TG_ALG_EDDSA};

    (void)state;
    for (size_t i = 0; i < sizeof(algs) / sizeof(algs[0]); i++) {
        struct tg_error err = {""};
        EVP_PKEY *key = tg_key_make(algs[i], &err);
        char *pem = tg_key_private_pem(key, &err);
        char *public_pem = tg_key_public_pem(key, &err);
        EVP_PKEY *again = tg_key_from_pem(pem, &err);

        assert_non_null(again);
        assert_int_equal(EVP_PKEY_eq(key, again), 1);
        assert_non_null(strstr(public_pem, "BEGIN PUBLIC KEY"));
        assert_null(tg_key_from_pem(public_pem, &err));
        assert_non_null(strstr(err.text, "not a private key"));
        EVP_PKEY_free(again);
        EVP_PKEY_free(key);
        free(pem);
        free(public_pem);
    }
}

static void keys_of_other_kinds_are_refused(void **state)
{
    struct tg_error err = {""};
    EVP_PKEY *p384 = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-384");

    (void)state;
    assert_non_null(p384);
    assert_int_equal(tg_key_alg(p384), TG_ALG_NONE);
    assert_null(tg_key_jwks(p384, "k", &err));
    assert_null(tg_key_make(TG_ALG_NONE, &err));
    assert_null(tg_key_from_pem("", &err));
    EVP_PKEY_free(p384);
}

static void a_token_over_the_limit_is_not_made(void **state)
{
    struct tg_error err = {""};
    EVP_PKEY *key = tg_key_make(TG_ALG_ES256, &err);
    char *long_text = malloc(TG_TOKEN_MAX_BYTES + 1);
    json_t *header = json_pack("{s:s}", "alg", "ES256");
    json_t *claims;

    (void)state;
    memset(long_text, 'a', TG_TOKEN_MAX_BYTES);
    long_text[TG_TOKEN_MAX_BYTES] = '\0';
    claims = json_pack("{s:s}", "sub", long_text);
    assert_null(tg_token_sign(key, header, claims, &err));
    assert_non_null(strstr(err.text, "over 8192 bytes"));
    json_decref(header);
    json_decref(claims);
    free(long_text);
    EVP_PKEY_free(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rs256),
        cmocka_unit_test(es256),
        cmocka_unit_test(eddsa),
        cmocka_unit_test(another_key_does_not_verify_it),
        cmocka_unit_test(pem_round_trip),
        cmocka_unit_test(keys_of_other_kinds_are_refused),
        cmocka_unit_test(a_token_over_the_limit_is_not_made),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
