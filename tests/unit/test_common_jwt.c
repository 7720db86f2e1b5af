/* Tokens: what is accepted, and every forgery we know of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/err.h>

#include "common/jwt.h"
#include "jwt_maker.h"

#define NOW INT64_C(1800000000)
#define ISS "https://id.example"
#define CLAIMS_HEAD "{\"iss\":\"" ISS "\",\"aud\":\"gate\",\"sub\":\"svc\""
#define GOOD_CLAIMS                                                                                \
    CLAIMS_HEAD ",\"exp\":1800000300,\"tenant\":\"acme\",\"scope\":\"events:write status:read\"}"

struct world {
    struct jwt_maker_key *rsa, *ec, *ed;
    struct tg_jwks *keys;
    struct tg_jwt_policy policy;
};

static struct world w;

static struct tg_jwt_policy fresh_policy(void)
{
    struct tg_jwt_policy p = {
        .algs = TG_ALG_ALL,
        .iss = tg_str_of(ISS),
        .audience_count = 2,
        .leeway_s = 30,
        .tenant_claim = tg_str_of("tenant"),
        .scope_claim = tg_str_of("scope"),
    };

    p.audiences[0] = tg_str_of("other");
    p.audiences[1] = tg_str_of("gate");
    return p;
}

static int make_world(void **state)
{
    struct jwt_maker_key *all[3];
    char *json;

    (void)state;
    w.rsa = jwt_maker_rsa("r1", 2048);
    w.ec = jwt_maker_ec("e1", "P-256");
    w.ed = jwt_maker_ed25519("d1");
    all[0] = w.rsa;
    all[1] = w.ec;
    all[2] = w.ed;
    json = jwt_maker_jwks(all, 3);
    w.keys = tg_jwks_parse(tg_str_of(json), NULL);
    free(json);
    return w.keys != NULL && w.keys->count == 3 ? 0 : -1;
}

static int end_world(void **state)
{
    (void)state;
    tg_jwks_free(w.keys);
    jwt_maker_key_free(w.rsa);
    jwt_maker_key_free(w.ec);
    jwt_maker_key_free(w.ed);
    return 0;
}

static int reset_policy(void **state)
{
    (void)state;
    w.policy = fresh_policy();
    return 0;
}

/* Verifies and frees the token text; a refusal must leave an empty struct and no OpenSSL error. */
static enum tg_jwt_result verify_n(char *token, size_t len, struct tg_jwt *jwt)
{
    const struct tg_str text = {(const unsigned char *)token, len};
    const enum tg_jwt_result r = tg_jwt_verify(text, w.keys, &w.policy, NOW, jwt);

    if (r != TG_JWT_OK) {
        assert_null(jwt->claims);
        assert_int_equal(jwt->scope_count, 0);
    }
    assert_int_equal(ERR_peek_error(), 0);
    free(token);
    return r;
}

static enum tg_jwt_result result_of(char *token)
{
    struct tg_jwt jwt;
    const enum tg_jwt_result r = verify_n(token, strlen(token), &jwt);

    tg_jwt_clear(&jwt);
    return r;
}

static enum tg_jwt_result claims_result(const char *claims)
{
    return result_of(jwt_maker_sign(w.ed, "{\"alg\":\"EdDSA\",\"kid\":\"d1\"}", claims));
}

static enum tg_jwt_result header_result(const char *header)
{
    return result_of(jwt_maker_sign(w.rsa, header, GOOD_CLAIMS));
}

static void test_accepts_each_algorithm(void **state)
{
    struct tg_jwt jwt;
    char *token;

    (void)state;
    token = jwt_maker_sign(w.rsa, "{\"alg\":\"RS256\",\"kid\":\"r1\"}", GOOD_CLAIMS);
    assert_int_equal(verify_n(token, strlen(token), &jwt), TG_JWT_OK);
    assert_true(tg_str_equal_c(jwt.sub, "svc"));
    assert_true(tg_str_equal_c(jwt.client, "svc"));
    assert_true(tg_str_equal_c(jwt.tenant, "acme"));
    assert_int_equal(jwt.scope_count, 2);
    assert_true(tg_str_equal_c(jwt.scopes[0], "events:write"));
    assert_true(tg_str_equal_c(jwt.scopes[1], "status:read"));
    assert_int_equal(jwt.exp_s, 1800000300);
    tg_jwt_clear(&jwt);
    assert_null(jwt.claims);
    assert_int_equal(
        result_of(jwt_maker_sign(w.ec, "{\"alg\":\"ES256\",\"kid\":\"e1\"}", GOOD_CLAIMS)),
        TG_JWT_OK);
    assert_int_equal(claims_result(GOOD_CLAIMS), TG_JWT_OK);
}

static void test_every_es256_signature_form(void **state)
{
    (void)state;
    /* r and s now and then begin with a zero or a set top bit; both change the DER. */
    for (int i = 0; i < 64; i++) {
        assert_int_equal(
            result_of(jwt_maker_sign(w.ec, "{\"alg\":\"ES256\",\"kid\":\"e1\"}", GOOD_CLAIMS)),
            TG_JWT_OK);
    }
}

static void test_without_kid(void **state)
{
    (void)state;
    assert_int_equal(header_result("{\"alg\":\"RS256\"}"), TG_JWT_OK);
    assert_int_equal(result_of(jwt_maker_sign(w.ec, "{\"alg\":\"ES256\"}", GOOD_CLAIMS)),
                     TG_JWT_OK);
}

static void test_kid(void **state)
{
    (void)state;
    assert_int_equal(header_result("{\"alg\":\"RS256\",\"kid\":\"r2\"}"), TG_JWT_KEY_UNKNOWN);
    assert_int_equal(header_result("{\"alg\":\"RS256\",\"kid\":\"\"}"), TG_JWT_KEY_UNKNOWN);
    assert_int_equal(header_result("{\"alg\":\"RS256\",\"kid\":\"R1\"}"), TG_JWT_KEY_UNKNOWN);
    assert_int_equal(header_result("{\"alg\":\"RS256\",\"kid\":1}"), TG_JWT_MALFORMED);
    assert_int_equal(header_result("{\"alg\":\"RS256\",\"kid\":null}"), TG_JWT_MALFORMED);
    assert_int_equal(header_result("{\"alg\":\"RS256\",\"kid\":\"r1\\u0000\"}"), TG_JWT_MALFORMED);
}

static void test_alg_none(void **state)
{
    static const char *const names[] = {"none", "None", "NONE", "nOnE", ""};

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char *header = jwt_maker_text("{\"alg\":\"%s\"}", names[i]);

        assert_int_equal(result_of(jwt_maker_join(header, GOOD_CLAIMS, "")), TG_JWT_ALG);
        assert_int_equal(result_of(jwt_maker_join(header, GOOD_CLAIMS, "AAAA")), TG_JWT_ALG);
        free(header);
    }
    assert_int_equal(result_of(jwt_maker_join("{}", GOOD_CLAIMS, "AAAA")), TG_JWT_ALG);
    assert_int_equal(result_of(jwt_maker_join("{\"alg\":null}", GOOD_CLAIMS, "")), TG_JWT_ALG);
    assert_int_equal(result_of(jwt_maker_join("{\"alg\":[\"RS256\"]}", GOOD_CLAIMS, "AAAA")),
                     TG_JWT_ALG);
}

static void test_public_key_as_hmac_secret(void **state)
{
    char *pem = jwt_maker_pem(w.rsa);

    (void)state;
    assert_int_equal(result_of(jwt_maker_hs256(tg_str_of(pem), "{\"alg\":\"HS256\",\"kid\":\"r1\"}",
                                               GOOD_CLAIMS)),
                     TG_JWT_ALG);
    assert_int_equal(result_of(jwt_maker_hs256(tg_str_of(pem), "{\"alg\":\"RS256\",\"kid\":\"r1\"}",
                                               GOOD_CLAIMS)),
                     TG_JWT_SIGNATURE);
    free(pem);
}

static void test_alg_must_be_the_keys(void **state)
{
    (void)state;
    assert_int_equal(header_result("{\"alg\":\"ES256\",\"kid\":\"r1\"}"), TG_JWT_ALG);
    assert_int_equal(header_result("{\"alg\":\"EdDSA\",\"kid\":\"r1\"}"), TG_JWT_ALG);
    assert_int_equal(header_result("{\"alg\":\"PS256\",\"kid\":\"r1\"}"), TG_JWT_ALG);
    assert_int_equal(header_result("{\"alg\":\"RS512\",\"kid\":\"r1\"}"), TG_JWT_ALG);
    assert_int_equal(header_result("{\"alg\":\"rs256\",\"kid\":\"r1\"}"), TG_JWT_ALG);
    assert_int_equal(
        result_of(jwt_maker_sign(w.ec, "{\"alg\":\"RS256\",\"kid\":\"e1\"}", GOOD_CLAIMS)),
        TG_JWT_ALG);
}

static void test_policy_limits_algorithms(void **state)
{
    (void)state;
    w.policy.algs = TG_ALG_ES256 | TG_ALG_EDDSA;
    assert_int_equal(header_result("{\"alg\":\"RS256\",\"kid\":\"r1\"}"), TG_JWT_ALG);
    assert_int_equal(claims_result(GOOD_CLAIMS), TG_JWT_OK);
    w.policy.algs = 0;
    assert_int_equal(claims_result(GOOD_CLAIMS), TG_JWT_ALG);
}

static void test_foreign_key(void **state)
{
    struct jwt_maker_key *thief = jwt_maker_rsa("r1", 2048);
    struct jwt_maker_key *ec_thief = jwt_maker_ec("e1", "P-256");
    char *jwk = jwt_maker_jwk(thief, NULL);
    char *header = jwt_maker_text("{\"alg\":\"RS256\",\"kid\":\"r1\",\"jwk\":%s,\"jku\":\"http://"
                                  "127.0.0.1/\",\"x5u\":\"http://127.0.0.1/\"}",
                                  jwk);

    (void)state;
    assert_int_equal(result_of(jwt_maker_sign(thief, header, GOOD_CLAIMS)), TG_JWT_SIGNATURE);
    assert_int_equal(
        result_of(jwt_maker_sign(ec_thief, "{\"alg\":\"ES256\",\"kid\":\"e1\"}", GOOD_CLAIMS)),
        TG_JWT_SIGNATURE);
    free(header);
    free(jwk);
    jwt_maker_key_free(thief);
    jwt_maker_key_free(ec_thief);
}

static void test_foreign_key_members_are_ignored(void **state)
{
    (void)state;
    assert_int_equal(header_result("{\"alg\":\"RS256\",\"kid\":\"r1\",\"jku\":\"x\",\"jwk\":{}}"),
                     TG_JWT_OK);
}

static void test_crit_and_typ(void **state)
{
    (void)state;
    assert_int_equal(header_result("{\"alg\":\"RS256\",\"crit\":[\"b64\"],\"b64\":false}"),
                     TG_JWT_TYP);
    assert_int_equal(header_result("{\"alg\":\"RS256\",\"crit\":[]}"), TG_JWT_TYP);
    assert_int_equal(header_result("{\"alg\":\"RS256\",\"crit\":null}"), TG_JWT_TYP);
    w.policy.typ = tg_str_of("at+jwt");
    assert_int_equal(header_result("{\"alg\":\"RS256\"}"), TG_JWT_TYP);
    assert_int_equal(header_result("{\"alg\":\"RS256\",\"typ\":\"JWT\"}"), TG_JWT_TYP);
    assert_int_equal(header_result("{\"alg\":\"RS256\",\"typ\":7}"), TG_JWT_TYP);
    assert_int_equal(header_result("{\"alg\":\"RS256\",\"typ\":\"application/\"}"), TG_JWT_TYP);
    assert_int_equal(header_result("{\"alg\":\"RS256\",\"typ\":\"AT+JWT\"}"), TG_JWT_OK);
    assert_int_equal(header_result("{\"alg\":\"RS256\",\"typ\":\"application/at+jwt\"}"),
                     TG_JWT_OK);
}

static void test_tampering(void **state)
{
    char *token = jwt_maker_sign(w.ec, "{\"alg\":\"ES256\",\"kid\":\"e1\"}", GOOD_CLAIMS);
    char *third = strrchr(token, '.') + 1;
    char *payload = strchr(token, '.') + 1;
    char *zeros;

    (void)state;
    /* One bit in the signature, then one in the payload. */
    third[5] = third[5] == 'A' ? 'B' : 'A';
    assert_int_equal(result_of(strdup(token)), TG_JWT_SIGNATURE);
    payload[10] = payload[10] == 'A' ? 'B' : 'A';
    assert_int_equal(result_of(strdup(token)), TG_JWT_SIGNATURE);
    free(token);
    /* r = s = 0: the "psychic signature". 86 letters A are 64 zero bytes. */
    zeros = jwt_maker_text("%086d", 0);
    memset(zeros, 'A', 86);
    assert_int_equal(
        result_of(jwt_maker_join("{\"alg\":\"ES256\",\"kid\":\"e1\"}", GOOD_CLAIMS, zeros)),
        TG_JWT_SIGNATURE);
    free(zeros);
    /* Signatures of another length than the algorithm's. */
    assert_int_equal(
        result_of(jwt_maker_join("{\"alg\":\"ES256\",\"kid\":\"e1\"}", GOOD_CLAIMS, "AAAA")),
        TG_JWT_SIGNATURE);
    assert_int_equal(
        result_of(jwt_maker_join("{\"alg\":\"RS256\",\"kid\":\"r1\"}", GOOD_CLAIMS, "AAAA")),
        TG_JWT_SIGNATURE);
    assert_int_equal(
        result_of(jwt_maker_join("{\"alg\":\"EdDSA\",\"kid\":\"d1\"}", GOOD_CLAIMS, "AAAA")),
        TG_JWT_SIGNATURE);
}

static void test_form(void **state)
{
    static const char *const bad[] = {"",         ".",         "..",        "...",
                                      "a",        "a.b",       "a.b.c.d",   "a b.c.d",
                                      "e30.e30.", ".e30.AAAA", "e30..AAAA", "e30.e30.A"};
    char *token;
    size_t len;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const enum tg_jwt_result r = result_of(strdup(bad[i]));

        assert_true(r == TG_JWT_MALFORMED || r == TG_JWT_ALG);
    }
    token = jwt_maker_sign(w.rsa, "{\"alg\":\"RS256\"}", GOOD_CLAIMS);
    len = strlen(token);
    assert_int_equal(result_of(jwt_maker_text("%s.", token)), TG_JWT_MALFORMED);
    assert_int_equal(result_of(jwt_maker_text("%s==", token)), TG_JWT_MALFORMED);
    assert_int_equal(result_of(jwt_maker_text("%s\n", token)), TG_JWT_MALFORMED);
    assert_int_equal(result_of(jwt_maker_text("%s x", token)), TG_JWT_MALFORMED);
    assert_int_equal(result_of(jwt_maker_text(" %s", token)), TG_JWT_MALFORMED);
    token[len - 1] = '+';
    assert_int_equal(result_of(strdup(token)), TG_JWT_MALFORMED);
    free(token);
}

static void test_padding_inside(void **state)
{
    /* {"alg":"RS256"} is 15 bytes: a multiple of three; a blank more needs padding. */
    char *good = jwt_maker_sign(w.rsa, "{\"alg\":\"RS256\"} ", GOOD_CLAIMS);
    char *dot = strchr(good, '.');
    char *padded = jwt_maker_text("%.*s==%s", (int)(dot - good), good, dot);

    (void)state;
    assert_int_equal(result_of(good), TG_JWT_OK);
    assert_int_equal(result_of(padded), TG_JWT_MALFORMED);
}

static void test_embedded_nul(void **state)
{
    struct tg_jwt jwt;
    char *token = jwt_maker_sign(w.rsa, "{\"alg\":\"RS256\"}", GOOD_CLAIMS);
    size_t len = strlen(token);
    char *longer = calloc(1, len + 5);

    (void)state;
    assert_non_null(longer);
    memcpy(longer, token, len);
    free(token);
    assert_int_equal(verify_n(longer, len + 4, &jwt), TG_JWT_MALFORMED);
    assert_int_equal(claims_result(CLAIMS_HEAD ",\"exp\":1800000300,\"x\":\"a\\u0000b\"}"),
                     TG_JWT_MALFORMED);
}

static void test_header_json(void **state)
{
    (void)state;
    assert_int_equal(header_result("{\"alg\":\"RS256\",\"alg\":\"RS256\"}"), TG_JWT_MALFORMED);
    assert_int_equal(header_result("{\"alg\":\"none\",\"alg\":\"RS256\"}"), TG_JWT_MALFORMED);
    assert_int_equal(header_result("{\"alg\":\"RS256\"} x"), TG_JWT_MALFORMED);
    assert_int_equal(header_result("{\"alg\":\"RS256\"}{}"), TG_JWT_MALFORMED);
    assert_int_equal(header_result("[\"RS256\"]"), TG_JWT_MALFORMED);
    assert_int_equal(header_result("\"RS256\""), TG_JWT_MALFORMED);
    assert_int_equal(header_result("{\"alg\":\"RS256\",\"x\":\"\xff\"}"), TG_JWT_MALFORMED);
    /* 16 levels in all are fine, 17 are not. */
    assert_int_equal(header_result("{\"alg\":\"RS256\",\"x\":[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]}"),
                     TG_JWT_OK);
    assert_int_equal(header_result("{\"alg\":\"RS256\",\"x\":[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]}"),
                     TG_JWT_MALFORMED);
}

static void test_claims_json(void **state)
{
    (void)state;
    assert_int_equal(claims_result(CLAIMS_HEAD ",\"exp\":1,\"exp\":1800000300}"), TG_JWT_MALFORMED);
    assert_int_equal(claims_result(CLAIMS_HEAD ",\"exp\":1800000300} junk"), TG_JWT_MALFORMED);
    assert_int_equal(claims_result(CLAIMS_HEAD ",\"exp\":1800000300"), TG_JWT_MALFORMED);
    assert_int_equal(claims_result("[]"), TG_JWT_MALFORMED);
    assert_int_equal(claims_result("null"), TG_JWT_MALFORMED);
    assert_int_equal(claims_result(CLAIMS_HEAD ",\"exp\":1800000300,\"a\":{\"b\":1,\"b\":2}}"),
                     TG_JWT_MALFORMED);
}

/* A good token of exactly len bytes, NULL when blanks in header and claims do not give it. */
static char *token_of_length(size_t len)
{
    for (int blanks = 0; blanks < 12; blanks++) {
        for (int filler = 5700; filler < 6200; filler++) {
            /* What base64url makes of both parts, the two dots and the 86 of the signature. */
            const size_t header = strlen("{\"alg\":\"EdDSA\"}") + (size_t)blanks;
            const size_t claims = strlen(GOOD_CLAIMS) + (size_t)filler;
            char *h;
            char *c;
            char *token;

            if ((header * 4 + 2) / 3 + (claims * 4 + 2) / 3 + 88 != len) {
                continue;
            }
            h = jwt_maker_text("{\"alg\":\"EdDSA\"}%*s", blanks, "");
            c = jwt_maker_text("%s%*s", GOOD_CLAIMS, filler, "");
            token = jwt_maker_sign(w.ed, h, c);
            free(h);
            free(c);
            return token;
        }
    }
    return NULL;
}

static void test_size_limit(void **state)
{
    (void)state;
    for (size_t len = TG_TOKEN_MAX_BYTES - 2; len <= TG_TOKEN_MAX_BYTES + 2; len++) {
        char *token = token_of_length(len);

        assert_non_null(token);
        assert_int_equal(strlen(token), len);
        assert_int_equal(result_of(token),
                         len <= TG_TOKEN_MAX_BYTES ? TG_JWT_OK : TG_JWT_MALFORMED);
    }
}

static void test_issuer(void **state)
{
    (void)state;
    assert_int_equal(
        claims_result("{\"iss\":\"https://evil\",\"aud\":\"gate\",\"exp\":1800000300}"),
        TG_JWT_ISSUER);
    assert_int_equal(claims_result("{\"iss\":\"" ISS "/\",\"aud\":\"gate\",\"exp\":1800000300}"),
                     TG_JWT_ISSUER);
    assert_int_equal(claims_result("{\"aud\":\"gate\",\"exp\":1800000300}"), TG_JWT_ISSUER);
    assert_int_equal(claims_result("{\"iss\":[\"" ISS "\"],\"aud\":\"gate\",\"exp\":1800000300}"),
                     TG_JWT_ISSUER);
    w.policy.iss = tg_str_of("");
    assert_int_equal(claims_result("{\"iss\":\"\",\"exp\":1800000300,\"sub\":\"s\"}"),
                     TG_JWT_ISSUER);
}

static enum tg_jwt_result audience_result(const char *aud)
{
    char *claims = jwt_maker_text("{\"iss\":\"" ISS "\",\"sub\":\"s\",\"exp\":1800000300%s}", aud);
    const enum tg_jwt_result r = claims_result(claims);

    free(claims);
    return r;
}

static void test_audience(void **state)
{
    (void)state;
    assert_int_equal(audience_result(",\"aud\":\"gate\""), TG_JWT_OK);
    assert_int_equal(audience_result(",\"aud\":[\"x\",\"gate\"]"), TG_JWT_OK);
    assert_int_equal(audience_result(",\"aud\":\"gat\""), TG_JWT_AUDIENCE);
    assert_int_equal(audience_result(",\"aud\":\"gate2\""), TG_JWT_AUDIENCE);
    assert_int_equal(audience_result(",\"aud\":[]"), TG_JWT_AUDIENCE);
    assert_int_equal(audience_result(""), TG_JWT_AUDIENCE);
    assert_int_equal(audience_result(",\"aud\":[\"gate\",1]"), TG_JWT_CLAIM);
    assert_int_equal(audience_result(",\"aud\":{\"gate\":1}"), TG_JWT_CLAIM);
    w.policy.audience_count = 0;
    assert_int_equal(audience_result(""), TG_JWT_OK);
    assert_int_equal(audience_result(",\"aud\":\"any\""), TG_JWT_OK);
    assert_int_equal(audience_result(",\"aud\":5"), TG_JWT_CLAIM);
}

static enum tg_jwt_result time_result(const char *times)
{
    char *claims = jwt_maker_text(CLAIMS_HEAD "%s}", times);
    const enum tg_jwt_result r = claims_result(claims);

    free(claims);
    return r;
}

static void test_times(void **state)
{
    static const char *const wrong[] = {
        "\"1800000300\"",      "true",  "null", "[]", "1e308", "-1", "-0.5", "253402300800",
        "9223372036854775807", "2.6e11"};

    (void)state;
    /* Leeway 30: a token that ended at NOW - 29 still passes, one of NOW - 30 does not. */
    assert_int_equal(time_result(",\"exp\":1799999971"), TG_JWT_OK);
    assert_int_equal(time_result(",\"exp\":1799999970"), TG_JWT_EXPIRED);
    assert_int_equal(time_result(",\"exp\":1799999970.9"), TG_JWT_EXPIRED);
    assert_int_equal(time_result(",\"exp\":0"), TG_JWT_EXPIRED);
    assert_int_equal(time_result(""), TG_JWT_EXPIRED);
    assert_int_equal(time_result(",\"exp\":253402300799"), TG_JWT_OK);
    assert_int_equal(time_result(",\"exp\":1.8000003e9"), TG_JWT_OK);
    assert_int_equal(time_result(",\"exp\":1800000300,\"nbf\":1800000030"), TG_JWT_OK);
    assert_int_equal(time_result(",\"exp\":1800000300,\"nbf\":1800000031"), TG_JWT_NOT_YET);
    assert_int_equal(time_result(",\"exp\":1800000300,\"iat\":1800000000.25"), TG_JWT_OK);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        static const char *const before[] = {
            ",\"exp\":", ",\"exp\":1800000300,\"nbf\":", ",\"exp\":1800000300,\"iat\":"};

        for (size_t f = 0; f < sizeof(before) / sizeof(before[0]); f++) {
            char *times = jwt_maker_text("%s%s", before[f], wrong[i]);

            assert_int_equal(time_result(times), TG_JWT_CLAIM);
            free(times);
        }
    }
    /* What no JSON parser may turn into a number is not well-formed. */
    assert_int_equal(time_result(",\"exp\":1e400"), TG_JWT_MALFORMED);
    assert_int_equal(time_result(",\"exp\":99999999999999999999"), TG_JWT_MALFORMED);
    assert_int_equal(time_result(",\"exp\":NaN"), TG_JWT_MALFORMED);
}

static void test_recheck(void **state)
{
    struct tg_jwt jwt;
    char *token = jwt_maker_sign(w.ed, "{\"alg\":\"EdDSA\"}",
                                 CLAIMS_HEAD ",\"exp\":1800000300,\"nbf\":1800000000}");

    (void)state;
    assert_int_equal(verify_n(token, strlen(token), &jwt), TG_JWT_OK);
    assert_int_equal(tg_jwt_recheck(&jwt, &w.policy, NOW), TG_JWT_OK);
    assert_int_equal(tg_jwt_recheck(&jwt, &w.policy, NOW + 329), TG_JWT_OK);
    assert_int_equal(tg_jwt_recheck(&jwt, &w.policy, NOW + 330), TG_JWT_EXPIRED);
    assert_int_equal(tg_jwt_recheck(&jwt, &w.policy, NOW - 31), TG_JWT_NOT_YET);
    tg_jwt_clear(&jwt);
    assert_int_equal(tg_jwt_recheck(&jwt, &w.policy, NOW), TG_JWT_EXPIRED);
}

static enum tg_jwt_result identity(const char *members, struct tg_jwt *jwt)
{
    char *claims =
        jwt_maker_text("{\"iss\":\"" ISS "\",\"aud\":\"gate\",\"exp\":1800000300%s}", members);
    char *token = jwt_maker_sign(w.ed, "{\"alg\":\"EdDSA\"}", claims);

    free(claims);
    return verify_n(token, strlen(token), jwt);
}

static void expect_client(const char *members, const char *client)
{
    struct tg_jwt jwt;

    assert_int_equal(identity(members, &jwt), TG_JWT_OK);
    assert_true(tg_str_equal_c(jwt.client, client));
    tg_jwt_clear(&jwt);
}

static void test_identity(void **state)
{
    static const char *const wrong[] = {"",
                                        ",\"sub\":5",
                                        ",\"sub\":\"\"",
                                        ",\"sub\":null",
                                        ",\"sub\":\"a\\nb\"",
                                        ",\"sub\":\"s\",\"client_id\":[]",
                                        ",\"sub\":\"s\",\"azp\":1",
                                        ",\"sub\":\"s\",\"tenant\":5",
                                        ",\"sub\":\"s\",\"tenant\":\"\"",
                                        ",\"sub\":\"s\",\"tenant\":\"a/b\"",
                                        ",\"sub\":\"s\",\"tenant\":\"a b\"",
                                        ",\"sub\":\"s\",\"tenant\":\"{a}\"",
                                        ",\"sub\":\"s\",\"tenant\":null",
                                        ",\"sub\":\"hook:psa\"",
                                        ",\"sub\":\"s\",\"azp\":\"hook:psa\"",
                                        ",\"sub\":\"s\",\"azp\":\"a\",\"client_id\":\"hook:\"",
                                        ",\"sub\":\"cli:root\""};
    char name[TG_CLIENT_MAX_BYTES + 2];
    struct tg_jwt jwt;
    char *members;

    (void)state;
    expect_client(",\"sub\":\"s\",\"azp\":\"a\",\"client_id\":\"c\"", "c");
    expect_client(",\"sub\":\"s\",\"azp\":\"a\"", "a");
    expect_client(",\"sub\":\"s\"", "s");
    expect_client(",\"client_id\":\"c\"", "c");
    expect_client(",\"sub\":\"hook:psa\",\"client_id\":\"c\"", "c"); /* sub is not the client */
    expect_client(",\"sub\":\"hook\"", "hook");
    expect_client(",\"sub\":\"client:1\"", "client:1");
    expect_client(",\"sub\":\"my-hook:psa\"", "my-hook:psa");
    expect_client(",\"sub\":\"auth0|5 \xc3\xa9\"", "auth0|5 \xc3\xa9");
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_int_equal(identity(wrong[i], &jwt), TG_JWT_CLAIM);
    }
    memset(name, 'n', sizeof(name));
    members = jwt_maker_text(",\"sub\":\"%.*s\"", TG_CLIENT_MAX_BYTES, name);
    assert_int_equal(identity(members, &jwt), TG_JWT_OK);
    tg_jwt_clear(&jwt);
    free(members);
    members = jwt_maker_text(",\"sub\":\"%.*s\"", TG_CLIENT_MAX_BYTES + 1, name);
    assert_int_equal(identity(members, &jwt), TG_JWT_CLAIM);
    free(members);
    assert_int_equal(identity(",\"sub\":\"s\"", &jwt), TG_JWT_OK);
    assert_int_equal(jwt.tenant.len, 0);
    tg_jwt_clear(&jwt);
    w.policy.tenant_claim = tg_str_of("");
    assert_int_equal(identity(",\"sub\":\"s\",\"tenant\":5", &jwt), TG_JWT_OK);
    tg_jwt_clear(&jwt);
}

static void test_scopes(void **state)
{
    char many[2 * TG_SCOPES_MAX + 4] = "";
    struct tg_jwt jwt;
    char *members;

    (void)state;
    assert_int_equal(identity(",\"sub\":\"s\",\"scope\":\"\"", &jwt), TG_JWT_OK);
    assert_int_equal(jwt.scope_count, 0);
    tg_jwt_clear(&jwt);
    assert_int_equal(identity(",\"sub\":\"s\",\"scope\":[\"a\",\"b:c\"]", &jwt), TG_JWT_OK);
    assert_int_equal(jwt.scope_count, 2);
    assert_true(tg_str_equal_c(jwt.scopes[1], "b:c"));
    tg_jwt_clear(&jwt);
    assert_int_equal(identity(",\"sub\":\"s\",\"scope\":[\"a b\"]", &jwt), TG_JWT_CLAIM);
    assert_int_equal(identity(",\"sub\":\"s\",\"scope\":[1]", &jwt), TG_JWT_CLAIM);
    assert_int_equal(identity(",\"sub\":\"s\",\"scope\":{}", &jwt), TG_JWT_CLAIM);
    for (size_t i = 0; i < TG_SCOPES_MAX; i++) {
        memcpy(many + 2 * i, "s ", 2);
    }
    members = jwt_maker_text(",\"sub\":\"s\",\"scope\":\"%s\"", many);
    assert_int_equal(identity(members, &jwt), TG_JWT_OK);
    assert_int_equal(jwt.scope_count, TG_SCOPES_MAX);
    tg_jwt_clear(&jwt);
    free(members);
    members = jwt_maker_text(",\"sub\":\"s\",\"scope\":\"%sx\"", many);
    assert_int_equal(identity(members, &jwt), TG_JWT_CLAIM);
    free(members);
}

static void test_keys_tried_are_limited(void **state)
{
    struct jwt_maker_key *all[TG_JWT_KEY_TRIES_MAX + 1];
    struct tg_jwks *keep = w.keys;
    char *json;

    (void)state;
    for (size_t i = 0; i <= TG_JWT_KEY_TRIES_MAX; i++) {
        all[i] = jwt_maker_ed25519(NULL);
    }
    json = jwt_maker_jwks(all, TG_JWT_KEY_TRIES_MAX + 1);
    w.keys = tg_jwks_parse(tg_str_of(json), NULL);
    free(json);
    assert_non_null(w.keys);
    for (size_t i = 0; i <= TG_JWT_KEY_TRIES_MAX; i++) {
        assert_int_equal(result_of(jwt_maker_sign(all[i], "{\"alg\":\"EdDSA\"}", GOOD_CLAIMS)),
                         i < TG_JWT_KEY_TRIES_MAX ? TG_JWT_OK : TG_JWT_SIGNATURE);
        jwt_maker_key_free(all[i]);
    }
    assert_int_equal(header_result("{\"alg\":\"RS256\"}"), TG_JWT_KEY_UNKNOWN);
    /* A key without kid is not named by the empty kid. */
    assert_int_equal(header_result("{\"alg\":\"EdDSA\",\"kid\":\"\"}"), TG_JWT_KEY_UNKNOWN);
    tg_jwks_free(w.keys);
    w.keys = keep;
}

static void test_peek_issuer(void **state)
{
    char out[sizeof(ISS)];
    char small[sizeof(ISS) - 1] = "kept";
    char *token = jwt_maker_join("{}", GOOD_CLAIMS, "AAAA");

    (void)state;
    assert_int_equal(tg_jwt_peek_issuer(tg_str_of(token), out, sizeof(out)), 0);
    assert_string_equal(out, ISS);
    assert_int_equal(tg_jwt_peek_issuer(tg_str_of(token), small, sizeof(small)), -1);
    assert_string_equal(small, "kept");
    free(token);
    token = jwt_maker_join("{}", "{\"sub\":\"s\"}", "AAAA");
    assert_int_equal(tg_jwt_peek_issuer(tg_str_of(token), out, sizeof(out)), -1);
    free(token);
    assert_int_equal(tg_jwt_peek_issuer(tg_str_of("opaque"), out, sizeof(out)), -1);
    assert_int_equal(tg_jwt_peek_issuer(tg_str_of(""), out, sizeof(out)), -1);
}

static void test_reasons(void **state)
{
    (void)state;
    for (int r = TG_JWT_OK; r <= TG_JWT_INTERNAL; r++) {
        assert_true(strlen(tg_jwt_reason((enum tg_jwt_result)r)) > 10);
        for (int q = TG_JWT_OK; q < r; q++) {
            assert_string_not_equal(tg_jwt_reason((enum tg_jwt_result)r),
                                    tg_jwt_reason((enum tg_jwt_result)q));
        }
    }
}

#define CASE(f) cmocka_unit_test_setup(f, reset_policy)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_accepts_each_algorithm),
        CASE(test_every_es256_signature_form),
        CASE(test_without_kid),
        CASE(test_kid),
        CASE(test_alg_none),
        CASE(test_public_key_as_hmac_secret),
        CASE(test_alg_must_be_the_keys),
        CASE(test_policy_limits_algorithms),
        CASE(test_foreign_key),
        CASE(test_foreign_key_members_are_ignored),
        CASE(test_crit_and_typ),
        CASE(test_tampering),
        CASE(test_form),
        CASE(test_padding_inside),
        CASE(test_embedded_nul),
        CASE(test_header_json),
        CASE(test_claims_json),
        CASE(test_size_limit),
        CASE(test_issuer),
        CASE(test_audience),
        CASE(test_times),
        CASE(test_recheck),
        CASE(test_identity),
        CASE(test_scopes),
        CASE(test_keys_tried_are_limited),
        CASE(test_peek_issuer),
        CASE(test_reasons),
    };

    return cmocka_run_group_tests(tests, make_world, end_world);
}
