#include "common/jwks.h"

#include <jansson.h>
#include <jose/openssl.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

#include "common/cloudevent.h"
#include "common/codec.h"

#define ED25519_BYTES 32

static const struct {
    const char *name;
    enum tg_alg alg;
} algs[] = {{"RS256", TG_ALG_RS256}, {"ES256", TG_ALG_ES256}, {"EdDSA", TG_ALG_EDDSA}};

enum tg_alg tg_alg_of(struct tg_str name)
{
    for (size_t i = 0; i < sizeof(algs) / sizeof(algs[0]); i++) {
        if (tg_str_equal_c(name, algs[i].name)) {
            return algs[i].alg;
        }
    }
    return TG_ALG_NONE;
}

const char *tg_alg_name(enum tg_alg alg)
{
    for (size_t i = 0; i < sizeof(algs) / sizeof(algs[0]); i++) {
        if (alg == algs[i].alg) {
            return algs[i].name;
        }
    }
    return "none";
}

static bool member_is(const json_t *jwk, const char *member, const char *value)
{
    const char *text = json_string_value(json_object_get(jwk, member));

    return text != NULL && strcmp(text, value) == 0;
}

/* use and key_ops, when there, must allow verification (RFC 7517 sections 4.2 and 4.3). */
static bool may_verify(const json_t *jwk)
{
    const json_t *ops = json_object_get(jwk, "key_ops");
    const json_t *op;
    size_t i;

    if (json_object_get(jwk, "use") != NULL && !member_is(jwk, "use", "sig")) {
        return false;
    }
    if (ops == NULL) {
        return true;
    }
    json_array_foreach(ops, i, op)
    {
        const char *text = json_string_value(op);

        if (text != NULL && strcmp(text, "verify") == 0) {
            return true;
        }
    }
    return false;
}

/* Only the public members reach libjose: a private key in the file by mistake stays out of use. */
static EVP_PKEY *import_public(const json_t *jwk, const char *const *members, size_t n)
{
    json_t *public_jwk = json_object();
    EVP_PKEY *pkey = NULL;
    bool complete = public_jwk != NULL;

    for (size_t i = 0; complete && i < n; i++) {
        json_t *value = json_object_get(jwk, members[i]);

        complete = json_is_string(value) && json_object_set(public_jwk, members[i], value) == 0;
    }
    if (complete) {
        pkey = jose_openssl_jwk_to_EVP_PKEY(NULL, public_jwk);
    }
    json_decref(public_jwk);
    return pkey;
}

static EVP_PKEY *import_ed25519(const json_t *jwk)
{
    const struct tg_str x = tg_str_of(json_string_value(json_object_get(jwk, "x")));
    unsigned char raw[ED25519_BYTES];

    if (tg_base64url_decode(x, raw, sizeof(raw)) != ED25519_BYTES) {
        return NULL;
    }
    return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, raw, sizeof(raw));
}

/* RSA of a fair size, a point that is on its curve. */
static bool is_sound(EVP_PKEY *pkey, enum tg_alg alg)
{
    EVP_PKEY_CTX *ctx;
    int bits = EVP_PKEY_get_bits(pkey);
    bool sound;

    if (alg == TG_ALG_RS256 && (bits < TG_RSA_MIN_BITS || bits > TG_RSA_MAX_BITS)) {
        return false;
    }
    ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
    sound = ctx != NULL && EVP_PKEY_public_check(ctx) == 1;
    EVP_PKEY_CTX_free(ctx);
    return sound;
}

/* Fills alg and pkey by kty and curve; false when the key is not usable here. */
static bool import_key(const json_t *jwk, struct tg_jwk *out)
{
    static const char *const rsa[] = {"kty", "n", "e"};
    static const char *const ec[] = {"kty", "crv", "x", "y"};

    if (member_is(jwk, "kty", "RSA")) {
        out->alg = TG_ALG_RS256;
        out->pkey = import_public(jwk, rsa, sizeof(rsa) / sizeof(rsa[0]));
    } else if (member_is(jwk, "kty", "EC") && member_is(jwk, "crv", "P-256")) {
        out->alg = TG_ALG_ES256;
        out->pkey = import_public(jwk, ec, sizeof(ec) / sizeof(ec[0]));
    } else if (member_is(jwk, "kty", "OKP") && member_is(jwk, "crv", "Ed25519")) {
        out->alg = TG_ALG_EDDSA;
        out->pkey = import_ed25519(jwk);
    }
    if (out->pkey == NULL) {
        return false;
    }
    if (json_object_get(jwk, "alg") != NULL && !member_is(jwk, "alg", tg_alg_name(out->alg))) {
        return false;
    }
    return is_sound(out->pkey, out->alg);
}

static bool make_ready(struct tg_jwk *key)
{
    /* Ed25519 brings its own hash. */
    const char *md = key->alg == TG_ALG_EDDSA ? NULL : "SHA256";

    key->ready = EVP_MD_CTX_new();
    return key->ready != NULL &&
           EVP_DigestVerifyInit_ex(key->ready, NULL, md, NULL, NULL, key->pkey, NULL) == 1;
}

static void key_clear(struct tg_jwk *key)
{
    EVP_MD_CTX_free(key->ready);
    EVP_PKEY_free(key->pkey);
    free(key->kid);
    memset(key, 0, sizeof(*key));
}

static bool read_key(const json_t *jwk, struct tg_jwk *out)
{
    const json_t *kid = json_object_get(jwk, "kid");

    memset(out, 0, sizeof(*out));
    if (kid != NULL && (!json_is_string(kid) || json_string_length(kid) > TG_KID_MAX_BYTES)) {
        return false;
    }
    if (!may_verify(jwk) || !import_key(jwk, out) || !make_ready(out)) {
        key_clear(out);
        return false;
    }
    out->kid = strdup(kid != NULL ? json_string_value(kid) : "");
    if (out->kid == NULL) {
        key_clear(out);
        return false;
    }
    return true;
}

static json_t *load(struct tg_str text, struct tg_error *err)
{
    json_error_t where;
    json_t *root;

    if (text.len == 0 || text.len > TG_JWKS_FILE_MAX_BYTES) {
        (void)tg_error_set(err, "the key set is empty or larger than %d bytes",
                           TG_JWKS_FILE_MAX_BYTES);
        return NULL;
    }
    if (tg_json_depth(text, TG_TOKEN_JSON_DEPTH_MAX) < 0) {
        (void)tg_error_set(err, "the key set is nested deeper than %d levels",
                           TG_TOKEN_JSON_DEPTH_MAX);
        return NULL;
    }
    root = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, &where);
    if (root == NULL) {
        (void)tg_error_set(err, "the key set is not JSON, line %d column %d", where.line,
                           where.column);
        return NULL;
    }
    if (!json_is_array(json_object_get(root, "keys"))) {
        (void)tg_error_set(err, "the key set has no array \"keys\" (RFC 7517)");
        json_decref(root);
        return NULL;
    }
    return root;
}

struct tg_jwks *tg_jwks_parse(struct tg_str json, struct tg_error *err)
{
    json_t *root = load(json, err);
    struct tg_jwks *set;
    const json_t *jwk;
    size_t i;

    if (root == NULL) {
        return NULL;
    }
    set = calloc(1, sizeof(*set));
    if (set == NULL) {
        (void)tg_error_set(err, "out of memory");
        json_decref(root);
        return NULL;
    }
    /* Errors of keys passed over must not stay in OpenSSL's queue, where NGINX would report them.
     */
    (void)ERR_set_mark();
    json_array_foreach(json_object_get(root, "keys"), i, jwk)
    {
        if (set->count < TG_JWKS_KEYS_MAX && read_key(jwk, &set->keys[set->count])) {
            set->count++;
        } else {
            set->skipped++;
        }
    }
    (void)ERR_pop_to_mark();
    json_decref(root);
    if (set->count == 0) {
        (void)tg_error_set(err,
                           "the key set holds no usable key (%zu passed over); RSA of %d to %d "
                           "bits, EC P-256 and OKP Ed25519 for signatures are",
                           set->skipped, TG_RSA_MIN_BITS, TG_RSA_MAX_BITS);
        tg_jwks_free(set);
        return NULL;
    }
    return set;
}

void tg_jwks_free(struct tg_jwks *set)
{
    if (set == NULL) {
        return;
    }
    for (size_t i = 0; i < set->count; i++) {
        key_clear(&set->keys[i]);
    }
    free(set);
}
