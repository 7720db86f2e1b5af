#include "jwt_maker.h"

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/codec.h"
#include "common/digest.h"

#define SIGNATURE_ROOM 2048

static void need(bool ok, const char *what)
{
    if (!ok) {
        (void)fprintf(stderr, "jwt_maker: %s failed\n", what);
        exit(1);
    }
}

static struct jwt_maker_key *key_of(enum tg_alg alg, const char *kid, EVP_PKEY *pkey)
{
    struct jwt_maker_key *key = calloc(1, sizeof(*key));

    need(key != NULL && pkey != NULL, "making a key");
    key->alg = alg;
    key->kid = kid;
    key->pkey = pkey;
    return key;
}

struct jwt_maker_key *jwt_maker_rsa(const char *kid, unsigned bits)
{
    return key_of(TG_ALG_RS256, kid, EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)bits));
}

struct jwt_maker_key *jwt_maker_ec(const char *kid, const char *group)
{
    return key_of(TG_ALG_ES256, kid, EVP_PKEY_Q_keygen(NULL, NULL, "EC", group));
}

struct jwt_maker_key *jwt_maker_ed25519(const char *kid)
{
    return key_of(TG_ALG_EDDSA, kid, EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"));
}

void jwt_maker_key_free(struct jwt_maker_key *key)
{
    if (key != NULL) {
        EVP_PKEY_free(key->pkey);
        free(key);
    }
}

char *jwt_maker_text(const char *fmt, ...)
{
    va_list args;
    char *out = NULL;
    int n;

    va_start(args, fmt);
    n = vasprintf(&out, fmt, args);
    va_end(args);
    need(n >= 0, "printing");
    return out;
}

char *jwt_maker_base64url(const unsigned char *data, size_t len)
{
    const size_t room = 4 * ((len + 2) / 3) + 1;
    char *out = malloc(room);

    need(out != NULL, "memory");
    out[0] = '\0';
    need(tg_base64url_encode(data, len, out, room) > 0 || len == 0, "base64url");
    return out;
}

/* A big number of the key as base64url, left-padded to width (0: as short as it is). */
static char *number_of(const struct jwt_maker_key *key, const char *name, int width)
{
    unsigned char bytes[SIGNATURE_ROOM];
    BIGNUM *number = NULL;
    char *text;
    int n;

    need(EVP_PKEY_get_bn_param(key->pkey, name, &number) == 1, name);
    n = BN_bn2binpad(number, bytes, width > 0 ? width : BN_num_bytes(number));
    need(n > 0, "a number of the key");
    text = jwt_maker_base64url(bytes, (size_t)n);
    BN_free(number);
    return text;
}

static char *members_of(const struct jwt_maker_key *key)
{
    unsigned char raw[32];
    char group[32];
    size_t len = sizeof(raw);
    char *first;
    char *second;
    char *text;

    if (key->alg == TG_ALG_RS256) {
        first = number_of(key, OSSL_PKEY_PARAM_RSA_N, 0);
        second = number_of(key, OSSL_PKEY_PARAM_RSA_E, 0);
        text = jwt_maker_text("\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"%s\"", first, second);
    } else if (key->alg == TG_ALG_ES256) {
        const int width = (EVP_PKEY_get_bits(key->pkey) + 7) / 8;

        need(EVP_PKEY_get_group_name(key->pkey, group, sizeof(group), &len) == 1, "group");
        first = number_of(key, OSSL_PKEY_PARAM_EC_PUB_X, width);
        second = number_of(key, OSSL_PKEY_PARAM_EC_PUB_Y, width);
        text = jwt_maker_text("\"kty\":\"EC\",\"crv\":\"%s\",\"x\":\"%s\",\"y\":\"%s\"",
                              strcmp(group, "secp384r1") == 0 ? "P-384" : "P-256", first, second);
    } else {
        need(EVP_PKEY_get_raw_public_key(key->pkey, raw, &len) == 1, "raw key");
        first = jwt_maker_base64url(raw, len);
        second = NULL;
        text = jwt_maker_text("\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"%s\"", first);
    }
    free(first);
    free(second);
    return text;
}

char *jwt_maker_jwk(const struct jwt_maker_key *key, const char *extra)
{
    char *members = members_of(key);
    char *kid =
        key->kid != NULL ? jwt_maker_text(",\"kid\":\"%s\"", key->kid) : jwt_maker_text("%s", "");
    char *text = jwt_maker_text("{%s%s%s%s}", members, kid, extra != NULL ? "," : "",
                                extra != NULL ? extra : "");

    free(members);
    free(kid);
    return text;
}

char *jwt_maker_jwks(struct jwt_maker_key *const *keys, size_t n)
{
    char *list = jwt_maker_text("%s", "");
    char *text;

    for (size_t i = 0; i < n; i++) {
        char *jwk = jwt_maker_jwk(keys[i], NULL);
        char *longer = jwt_maker_text("%s%s%s", list, i > 0 ? "," : "", jwk);

        free(jwk);
        free(list);
        list = longer;
    }
    text = jwt_maker_text("{\"keys\":[%s]}", list);
    free(list);
    return text;
}

char *jwt_maker_join(const char *header, const char *payload, const char *third)
{
    char *h = jwt_maker_base64url((const unsigned char *)header, strlen(header));
    char *p = jwt_maker_base64url((const unsigned char *)payload, strlen(payload));
    char *text = jwt_maker_text("%s.%s.%s", h, p, third);

    free(h);
    free(p);
    return text;
}

/* DER of an ECDSA signature as r || s. */
static size_t der_to_raw(unsigned char *sig, size_t len)
{
    const unsigned char *at = sig;
    ECDSA_SIG *parsed = d2i_ECDSA_SIG(NULL, &at, (long)len);

    need(parsed != NULL, "reading an ECDSA signature");
    need(BN_bn2binpad(ECDSA_SIG_get0_r(parsed), sig, 32) == 32, "r");
    need(BN_bn2binpad(ECDSA_SIG_get0_s(parsed), sig + 32, 32) == 32, "s");
    ECDSA_SIG_free(parsed);
    return 64;
}

char *jwt_maker_sign(const struct jwt_maker_key *key, const char *header, const char *payload)
{
    unsigned char sig[SIGNATURE_ROOM];
    size_t len = sizeof(sig);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    char *head = jwt_maker_join(header, payload, "");
    const char *md = key->alg == TG_ALG_EDDSA ? NULL : "SHA256";
    char *encoded;
    char *token;

    need(ctx != NULL && EVP_DigestSignInit_ex(ctx, NULL, md, NULL, NULL, key->pkey, NULL) == 1 &&
             EVP_DigestSign(ctx, sig, &len, (const unsigned char *)head, strlen(head) - 1) == 1,
         "signing");
    EVP_MD_CTX_free(ctx);
    if (key->alg == TG_ALG_ES256) {
        len = der_to_raw(sig, len);
    }
    encoded = jwt_maker_base64url(sig, len);
    token = jwt_maker_text("%s%s", head, encoded);
    free(encoded);
    free(head);
    return token;
}

char *jwt_maker_hs256(struct tg_str secret, const char *header, const char *payload)
{
    unsigned char mac[TG_SHA256_BYTES];
    char *head = jwt_maker_join(header, payload, "");
    const struct tg_str signed_text = {(const unsigned char *)head, strlen(head) - 1};
    char *encoded;
    char *token;

    need(tg_hmac_sha256v(secret, &signed_text, 1, mac) == 0, "HMAC");
    encoded = jwt_maker_base64url(mac, sizeof(mac));
    token = jwt_maker_text("%s%s", head, encoded);
    free(encoded);
    free(head);
    return token;
}

char *jwt_maker_pem(const struct jwt_maker_key *key)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *data = NULL;
    char *text;
    long len;

    need(bio != NULL && PEM_write_bio_PUBKEY(bio, key->pkey) == 1, "PEM");
    len = BIO_get_mem_data(bio, &data);
    text = jwt_maker_text("%.*s", (int)len, data);
    BIO_free(bio);
    return text;
}
