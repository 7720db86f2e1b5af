/*
 * A token. First byte even: the rest is a whole token from a stranger, which must never verify.
 * Odd: the rest is header, zero byte, payload, which are signed here, so that the fuzzer gets past
 * the signature to the claims.
 */
#include "fuzz.h"

#include <openssl/evp.h>
#include <stdio.h>

#include "common/codec.h"
#include "common/jwt.h"

#define NOW INT64_C(1800000000)
#define SIGNATURE_BYTES 64

static EVP_PKEY *pkey;
static struct tg_jwks *keys;
static struct tg_jwt_policy policy;

static void set_up(void)
{
    unsigned char raw[32];
    size_t len = sizeof(raw);
    char x[64];
    char json[256];

    pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    FUZZ_CHECK(pkey != NULL && EVP_PKEY_get_raw_public_key(pkey, raw, &len) == 1);
    FUZZ_CHECK(tg_base64url_encode(raw, len, x, sizeof(x)) > 0);
    FUZZ_CHECK(snprintf(json, sizeof(json),
                        "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"%s\"}]}", x) > 0);
    keys = tg_jwks_parse(tg_str_of(json), NULL);
    FUZZ_CHECK(keys != NULL);
    policy.algs = TG_ALG_ALL;
    policy.iss = tg_str_of("i");
    policy.leeway_s = 30;
    policy.tenant_claim = tg_str_of("tenant");
    policy.scope_claim = tg_str_of("scope");
}

/* header.payload.signature in fresh memory, its length in *len. */
static char *signed_token(struct tg_str header, struct tg_str payload, size_t *len)
{
    const size_t room = 2 * (header.len + payload.len) + 256;
    char *token = malloc(room);
    unsigned char signature[SIGNATURE_BYTES];
    size_t signature_len = sizeof(signature);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t n;

    FUZZ_CHECK(token != NULL && ctx != NULL);
    n = tg_base64url_encode(header.data, header.len, token, room);
    token[n++] = '.';
    n += tg_base64url_encode(payload.data, payload.len, token + n, room - n);
    FUZZ_CHECK(EVP_DigestSignInit(ctx, NULL, NULL, NULL, pkey) == 1);
    FUZZ_CHECK(EVP_DigestSign(ctx, signature, &signature_len, (unsigned char *)token, n) == 1);
    EVP_MD_CTX_free(ctx);
    token[n++] = '.';
    n += tg_base64url_encode(signature, signature_len, token + n, room - n);
    *len = n;
    return token;
}

static enum tg_jwt_result verify(struct tg_str token)
{
    struct tg_jwt jwt;
    const enum tg_jwt_result r = tg_jwt_verify(token, keys, &policy, NOW, &jwt);
    char issuer[256];

    (void)tg_jwt_peek_issuer(token, issuer, sizeof(issuer));
    if (r == TG_JWT_OK) {
        FUZZ_CHECK(jwt.claims != NULL && jwt.client.len > 0 && jwt.scope_count <= TG_SCOPES_MAX);
        FUZZ_CHECK(jwt.tenant.len == 0 || tg_str_is_name(jwt.tenant, TG_TENANT_MAX_BYTES));
        FUZZ_CHECK(tg_jwt_recheck(&jwt, &policy, NOW) == TG_JWT_OK);
        tg_jwt_clear(&jwt);
    } else {
        FUZZ_CHECK(jwt.claims == NULL);
    }
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tg_str rest = {data, size};
    struct tg_str header;
    char *token;
    size_t len;

    if (keys == NULL) {
        set_up();
    }
    if (size == 0) {
        return 0;
    }
    rest.data++;
    rest.len--;
    if (data[0] % 2 == 0) {
        FUZZ_CHECK(verify(rest) != TG_JWT_OK);
        return 0;
    }
    header = fuzz_cut(&rest);
    token = signed_token(header, rest, &len);
    (void)verify((struct tg_str){(unsigned char *)token, len});
    free(token);
    return 0;
}
