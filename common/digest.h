/*
 * digest.h: SHA-256, HMAC-SHA-256 and comparison in constant time (OpenSSL underneath).
 * Functions return 0, or -1 when OpenSSL fails (out of memory); out is then unspecified.
 */
#ifndef TG_COMMON_DIGEST_H
#define TG_COMMON_DIGEST_H

#include "common/str.h"

int tg_sha256(struct tg_str data, unsigned char out[TG_SHA256_BYTES]);

/* Digest over several pieces in order. */
int tg_sha256v(const struct tg_str *parts, size_t n, unsigned char out[TG_SHA256_BYTES]);

int tg_hmac_sha256v(struct tg_str key, const struct tg_str *parts, size_t n,
                    unsigned char out[TG_SHA256_BYTES]);

/* The same over head and then body, for callers whose body is already in pieces. */
int tg_hmac_sha256vv(struct tg_str key, const struct tg_str *head, size_t heads,
                     const struct tg_str *body, size_t pieces, unsigned char out[TG_SHA256_BYTES]);

/* Gives back what the first call fetched; for the end of a process. Later calls return -1. */
void tg_digest_done(void);

/* Same time whatever the content; a different length is unequal. */
bool tg_equal_ct(const unsigned char *a, const unsigned char *b, size_t len);

#endif
