/*
 * jwks.h: a JSON Web Key Set (RFC 7517) as OpenSSL public keys.
 *
 * Ownership: tg_jwks_parse makes a set, tg_jwks_free ends it; keys belong to the set.
 * A key that is not usable here (use=enc, symmetric, unknown kty or curve, RSA below
 * TG_RSA_MIN_BITS) is skipped and counted; a set with no usable key is an error, so that a broken
 * file never replaces a good set. RSA and EC go through libjose, OKP through
 * EVP_PKEY_new_raw_public_key (libjose 11 does not know OKP).
 */
#ifndef TG_COMMON_JWKS_H
#define TG_COMMON_JWKS_H

#include <openssl/evp.h>

#include "common/str.h"

/* Bit flags, so that a policy is a mask. */
enum tg_alg {
    TG_ALG_NONE = 0,
    TG_ALG_RS256 = 1 << 0,
    TG_ALG_ES256 = 1 << 1,
    TG_ALG_EDDSA = 1 << 2 /* Ed25519, RFC 8037 */
};
#define TG_ALG_ALL (TG_ALG_RS256 | TG_ALG_ES256 | TG_ALG_EDDSA)

struct tg_jwk {
    char *kid;       /* NUL-terminated, "" when the key has none */
    enum tg_alg alg; /* the one algorithm this key type and curve allows */
    EVP_PKEY *pkey;
    EVP_MD_CTX *ready; /* set up to verify; only ever copied, which saves fetches per token */
};

struct tg_jwks {
    struct tg_jwk keys[TG_JWKS_KEYS_MAX];
    size_t count;
    size_t skipped;
};

/* NULL with err set when the text is not a key set or holds no usable key. */
struct tg_jwks *tg_jwks_parse(struct tg_str json, struct tg_error *err);
void tg_jwks_free(struct tg_jwks *set); /* NULL is fine */

/* "RS256" and so on; TG_ALG_NONE for anything else, "none" included. */
enum tg_alg tg_alg_of(struct tg_str name);
const char *tg_alg_name(enum tg_alg alg);

#endif
