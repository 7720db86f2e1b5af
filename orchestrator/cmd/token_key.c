#include <stdlib.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/pem.h>

#include "cmd/files.h"
#include "cmd/token.h"
#include "common/codec.h"

#define RSA_BITS 2048
#define P256_BYTES 32
#define ED25519_BYTES 32
#define NUMBER_MAX_BYTES (TG_RSA_MAX_BITS / 8)
#define NUMBER_TEXT_BYTES (NUMBER_MAX_BYTES * 2)

EVP_PKEY *tg_key_make(enum tg_alg alg, struct tg_error *err)
{
    EVP_PKEY *key = NULL;

    switch (alg) {
    case TG_ALG_RS256:
        key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)RSA_BITS);
        break;
    case TG_ALG_ES256:
        key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
        break;
    case TG_ALG_EDDSA:
        key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
        break;
    default:
        break;
    }
    if (key == NULL) {
        tg_error_set(err, "OpenSSL made no key");
    }
    return key;
}

/* The text of a memory BIO, malloc'ed. */
static char *take_text(BIO *bio, struct tg_error *err)
{
    char *data;
    long len = BIO_get_mem_data(bio, &data);
    char *out = len > 0 ? malloc((size_t)len + 1) : NULL;

    if (out == NULL) {
        tg_error_set(err, "out of memory");
        return NULL;
    }
    memcpy(out, data, (size_t)len);
    out[len] = '\0';
    return out;
}

static char *to_pem(EVP_PKEY *key, bool is_private, struct tg_error *err)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *out = NULL;
    int ok = 0;

    if (bio != NULL) {
        ok = is_private ? PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL)
                        : PEM_write_bio_PUBKEY(bio, key);
    }
    if (ok == 1) {
        out = take_text(bio, err);
    } else {
        tg_error_set(err, "OpenSSL could not write the key");
    }
    BIO_free(bio);
    return out;
}

char *tg_key_private_pem(EVP_PKEY *key, struct tg_error *err)
{
    return to_pem(key, true, err);
}

char *tg_key_public_pem(EVP_PKEY *key, struct tg_error *err)
{
    return to_pem(key, false, err);
}

/* An encrypted key is refused: nobody is there to answer a question. */
static int no_passphrase(char *buf, int size, int rwflag, void *arg)
{
    (void)buf;
    (void)size;
    (void)rwflag;
    (void)arg;
    return -1;
}

EVP_PKEY *tg_key_from_pem(const char *pem, struct tg_error *err)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    EVP_PKEY *key = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;

    BIO_free(bio);
    if (key == NULL) {
        tg_error_set(err, "not a private key in PEM without a passphrase");
    }
    return key;
}

char *tg_key_public_of_file(const char *path, struct tg_error *err)
{
    char *pem = tg_file_read(path, err);
    EVP_PKEY *key = pem != NULL ? tg_key_from_pem(pem, err) : NULL;
    char *out = key != NULL ? tg_key_public_pem(key, err) : NULL;

    EVP_PKEY_free(key);
    tg_file_free(pem);
    return out;
}

enum tg_alg tg_key_alg(const EVP_PKEY *key)
{
    char group[32];
    size_t len = 0;

    switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_RSA:
        return EVP_PKEY_get_bits(key) >= TG_RSA_MIN_BITS &&
                       EVP_PKEY_get_bits(key) <= TG_RSA_MAX_BITS
                   ? TG_ALG_RS256
                   : TG_ALG_NONE;
    case EVP_PKEY_EC:
        return EVP_PKEY_get_group_name(key, group, sizeof(group), &len) == 1 &&
                       strcmp(group, "prime256v1") == 0
                   ? TG_ALG_ES256
                   : TG_ALG_NONE;
    case EVP_PKEY_ED25519:
        return TG_ALG_EDDSA;
    default:
        return TG_ALG_NONE;
    }
}

/* ---- the public half as JWK ---- */

static int set_bytes(json_t *jwk, const char *name, const unsigned char *data, size_t len)
{
    char text[NUMBER_TEXT_BYTES];
    size_t n = tg_base64url_encode(data, len, text, sizeof(text));

    return n > 0 ? json_object_set_new(jwk, name, json_stringn(text, n)) : -1;
}

/* width 0: as short as it is (RSA); else padded on the left (coordinates, RFC 7518 6.2.1.2). */
static int set_number(json_t *jwk, const char *name, const EVP_PKEY *key, const char *param,
                      int width)
{
    unsigned char bytes[NUMBER_MAX_BYTES];
    BIGNUM *n = NULL;
    int len = -1;

    if (EVP_PKEY_get_bn_param(key, param, &n) == 1 && BN_num_bytes(n) <= NUMBER_MAX_BYTES) {
        len = BN_bn2binpad(n, bytes, width > 0 ? width : BN_num_bytes(n));
    }
    BN_free(n);
    return len > 0 ? set_bytes(jwk, name, bytes, (size_t)len) : -1;
}

static int set_ed25519(json_t *jwk, const EVP_PKEY *key)
{
    unsigned char bytes[ED25519_BYTES];
    size_t len = sizeof(bytes);

    return EVP_PKEY_get_raw_public_key(key, bytes, &len) == 1 ? set_bytes(jwk, "x", bytes, len)
                                                              : -1;
}

static int set_members(json_t *jwk, const EVP_PKEY *key, enum tg_alg alg)
{
    switch (alg) {
    case TG_ALG_RS256:
        return json_object_set_new(jwk, "kty", json_string("RSA")) == 0 &&
                       set_number(jwk, "n", key, OSSL_PKEY_PARAM_RSA_N, 0) == 0 &&
                       set_number(jwk, "e", key, OSSL_PKEY_PARAM_RSA_E, 0) == 0
                   ? 0
                   : -1;
    case TG_ALG_ES256:
        return json_object_set_new(jwk, "kty", json_string("EC")) == 0 &&
                       json_object_set_new(jwk, "crv", json_string("P-256")) == 0 &&
                       set_number(jwk, "x", key, OSSL_PKEY_PARAM_EC_PUB_X, P256_BYTES) == 0 &&
                       set_number(jwk, "y", key, OSSL_PKEY_PARAM_EC_PUB_Y, P256_BYTES) == 0
                   ? 0
                   : -1;
    case TG_ALG_EDDSA:
        return json_object_set_new(jwk, "kty", json_string("OKP")) == 0 &&
                       json_object_set_new(jwk, "crv", json_string("Ed25519")) == 0 &&
                       set_ed25519(jwk, key) == 0
                   ? 0
                   : -1;
    default:
        return -1;
    }
}

json_t *tg_key_jwks(EVP_PKEY *key, const char *kid, struct tg_error *err)
{
    enum tg_alg alg = tg_key_alg(key);
    json_t *jwk = NULL;

    if (alg != TG_ALG_NONE) {
        jwk = json_pack("{s:s, s:s, s:s}", "kid", kid, "use", "sig", "alg", tg_alg_name(alg));
    }
    if (jwk == NULL || set_members(jwk, key, alg) != 0) {
        json_decref(jwk);
        tg_error_set(err, "the key cannot be written as a JWK");
        return NULL;
    }
    return json_pack("{s:[o]}", "keys", jwk);
}

/* ---- signing ---- */

/* What OpenSSL gives for ECDSA is DER; JWS wants R and S side by side (RFC 7518 section 3.4). */
static int to_raw_ecdsa(const unsigned char *der, size_t len, unsigned char out[2 * P256_BYTES])
{
    const unsigned char *p = der;
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &p, (long)len);
    int rc = -1;

    if (sig != NULL && BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, P256_BYTES) == P256_BYTES &&
        BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + P256_BYTES, P256_BYTES) == P256_BYTES) {
        rc = 0;
    }
    ECDSA_SIG_free(sig);
    return rc;
}

/* Signature bytes of text; length, or 0. */
static size_t sign_bytes(EVP_PKEY *key, struct tg_str text, unsigned char out[NUMBER_MAX_BYTES])
{
    unsigned char raw[NUMBER_MAX_BYTES];
    size_t len = sizeof(raw);
    enum tg_alg alg = tg_key_alg(key);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    int ok = 0;

    if (ctx != NULL) {
        ok = EVP_DigestSignInit(ctx, NULL, alg == TG_ALG_EDDSA ? NULL : EVP_sha256(), NULL, key) ==
                 1 &&
             EVP_DigestSign(ctx, raw, &len, text.data, text.len) == 1;
    }
    EVP_MD_CTX_free(ctx);
    if (!ok) {
        return 0;
    }
    if (alg == TG_ALG_ES256) {
        return to_raw_ecdsa(raw, len, out) == 0 ? 2 * P256_BYTES : 0;
    }
    memcpy(out, raw, len);
    return len;
}

/* Appends base64url of data to text; false when it does not fit. */
static bool append(char *text, size_t *len, const unsigned char *data, size_t data_len)
{
    size_t n = tg_base64url_encode(data, data_len, text + *len, TG_TOKEN_MAX_BYTES + 1 - *len);

    *len += n;
    return n > 0;
}

static bool append_json(char *text, size_t *len, const json_t *json)
{
    char *plain = json_dumps(json, JSON_COMPACT);
    bool ok = plain != NULL && append(text, len, (const unsigned char *)plain, strlen(plain));

    free(plain);
    return ok;
}

char *tg_token_sign(EVP_PKEY *key, const json_t *header, const json_t *claims, struct tg_error *err)
{
    unsigned char signature[NUMBER_MAX_BYTES];
    char *text = calloc(1, TG_TOKEN_MAX_BYTES + 1);
    size_t len = 0, signature_len = 0;
    bool ok = text != NULL && append_json(text, &len, header) && len < TG_TOKEN_MAX_BYTES;

    if (ok) {
        text[len++] = '.';
        ok = append_json(text, &len, claims);
    }
    if (ok) {
        struct tg_str signed_part = {(const unsigned char *)text, len};

        signature_len = sign_bytes(key, signed_part, signature);
        ok = signature_len > 0 && len < TG_TOKEN_MAX_BYTES;
    }
    if (ok) {
        text[len++] = '.';
        ok = append(text, &len, signature, signature_len);
    }
    if (!ok) {
        free(text);
        tg_error_set(err, "cannot sign: the token would be over %d bytes, or OpenSSL refused",
                     TG_TOKEN_MAX_BYTES);
        return NULL;
    }
    return text;
}
