/*
 * token.h: keys and signed tokens for demos and tests. The verifier is common/jwt.h; this is its
 * other side, and lives here because no service of ours signs tokens.
 *
 * Ownership: keys are OpenSSL's (EVP_PKEY_free); texts are malloc'ed and the caller's.
 */
#ifndef TG_CMD_TOKEN_H
#define TG_CMD_TOKEN_H

#include <jansson.h>
#include <openssl/evp.h>

#include "common/jwks.h"
#include "common/str.h"

/* RSA of 2048 bits, P-256 or Ed25519. NULL with err. */
EVP_PKEY *tg_key_make(enum tg_alg alg, struct tg_error *err);

/* The private key as PKCS#8 PEM. NULL with err. */
char *tg_key_private_pem(EVP_PKEY *key, struct tg_error *err);
char *tg_key_public_pem(EVP_PKEY *key, struct tg_error *err);
/* From PEM text. NULL with err: never asks for a passphrase. */
EVP_PKEY *tg_key_from_pem(const char *pem, struct tg_error *err);

/* The public half of a private key's file: enough where the key itself is at hand. */
char *tg_key_public_of_file(const char *path, struct tg_error *err);

/* The algorithm this key is for; TG_ALG_NONE for other kinds. */
enum tg_alg tg_key_alg(const EVP_PKEY *key);

/* {"keys":[{...}]} with the public half (RFC 7517, 7518, 8037). NULL with err. */
json_t *tg_key_jwks(EVP_PKEY *key, const char *kid, struct tg_error *err);

/* Compact serialization (RFC 7515 section 7.1) of header and claims. NULL with err. */
char *tg_token_sign(EVP_PKEY *key, const json_t *header, const json_t *claims,
                    struct tg_error *err);

#endif
