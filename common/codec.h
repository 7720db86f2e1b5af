/*
 * codec.h: hex, base64 and base64url (RFC 4648), JSON string escape, RFC 3339 times.
 * All write into the caller's buffer and never read past len.
 */
#ifndef TG_COMMON_CODEC_H
#define TG_COMMON_CODEC_H

#include "common/str.h"

/* Lower-case; out holds 2 * len bytes (no NUL added). */
void tg_hex_encode(const unsigned char *data, size_t len, char *out);

/* Even length, either case; returns bytes written or -1. */
int tg_hex_decode(struct tg_str text, unsigned char *out, size_t out_size);

/*
 * base64url without padding (RFC 7515 section 2): padding, whitespace, non-zero trailing bits and
 * lengths of 1 mod 4 are refused. Returns bytes written or -1.
 */
int tg_base64url_decode(struct tg_str text, unsigned char *out, size_t out_size);

/* base64 with padding required, strict. Returns bytes written or -1. */
int tg_base64_decode(struct tg_str text, unsigned char *out, size_t out_size);

/* out_size >= 4 * ((len + 2) / 3) + 1; returns length without NUL, 0 when too small. */
size_t tg_base64_encode(const unsigned char *data, size_t len, char *out, size_t out_size);
size_t tg_base64url_encode(const unsigned char *data, size_t len, char *out, size_t out_size);

/* Escapes s as the inside of a JSON string, no NUL; invalid UTF-8 becomes U+FFFD. Length, or -1. */
int tg_json_escape(struct tg_str s, char *out, size_t out_size);

/*
 * "2026-11-21T00:43:24.123Z" and NUL; out holds at least 25 bytes. epoch_ms is >= 0 and before year
 * 10000. 0 or -1.
 */
#define TG_RFC3339_BYTES 25
int tg_rfc3339_format(int64_t epoch_ms, char *out, size_t out_size);

/* RFC 3339 date-time with any offset, fraction cut to milliseconds. 0 or -1. */
int tg_rfc3339_parse(struct tg_str text, int64_t *epoch_ms);

/* "YYYY-MM-DD", a real calendar day, to days since 1970-01-01. 0 or -1. */
int tg_date_parse(struct tg_str text, int32_t *epoch_days);

#endif
