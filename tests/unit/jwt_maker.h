/*
 * jwt_maker.h: makes keys, key sets and tokens for tests, at run time. Good ones and forged ones:
 * header and payload are taken as text, so that a test can write any nonsense into them.
 *
 * Ownership: everything returned is the caller's; keys by jwt_maker_key_free, texts by free.
 * A failure of OpenSSL or memory ends the test program: there is nothing to test then.
 */
#ifndef TG_TESTS_JWT_MAKER_H
#define TG_TESTS_JWT_MAKER_H

#include <openssl/evp.h>

#include "common/jwks.h"
#include "common/str.h"

struct jwt_maker_key {
    enum tg_alg alg;
    const char *kid; /* NULL: the key set names none */
    EVP_PKEY *pkey;
};

struct jwt_maker_key *jwt_maker_rsa(const char *kid, unsigned bits);
struct jwt_maker_key *jwt_maker_ec(const char *kid, const char *group); /* "P-256" */
struct jwt_maker_key *jwt_maker_ed25519(const char *kid);
void jwt_maker_key_free(struct jwt_maker_key *key);

/* One public key as a JWK; extra, when not NULL, is further members: "\"use\":\"enc\"". */
char *jwt_maker_jwk(const struct jwt_maker_key *key, const char *extra);

/* {"keys":[...]} of the keys. */
char *jwt_maker_jwks(struct jwt_maker_key *const *keys, size_t n);

/* header.payload.signature with the key's own algorithm, whatever the header says. */
char *jwt_maker_sign(const struct jwt_maker_key *key, const char *header, const char *payload);

/* The same with HMAC-SHA-256 over any secret. */
char *jwt_maker_hs256(struct tg_str secret, const char *header, const char *payload);

/* header.payload. and the third part as given. */
char *jwt_maker_join(const char *header, const char *payload, const char *third);

/* The public key as PEM, for the attack that uses it as an HMAC secret. */
char *jwt_maker_pem(const struct jwt_maker_key *key);

/* Bytes as base64url text. */
char *jwt_maker_base64url(const unsigned char *data, size_t len);

/* printf into fresh memory. */
char *jwt_maker_text(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
