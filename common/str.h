/*
 * str.h: a view on bytes, and an error text.
 *
 * Ownership: a view owns nothing; it is valid as long as the buffer it was cut from.
 * Parsers of this folder take (data, len), never expect a NUL, and hand views back.
 */
#ifndef TG_COMMON_STR_H
#define TG_COMMON_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/limits.h"

struct tg_str {
    const unsigned char *data;
    size_t len;
};

/* A message for a person: what happened, to which thing, what to do. Never a secret or a payload.
 */
struct tg_error {
    char text[TG_ERROR_MAX_BYTES];
};

/* View of a C string (NULL gives the empty view). */
struct tg_str tg_str_of(const char *s);

bool tg_str_equal(struct tg_str a, struct tg_str b);
bool tg_str_equal_c(struct tg_str a, const char *b);

/* Every byte is in [A-Za-z0-9._-] and 1 <= len <= max. Tenants, sources, names. */
bool tg_str_is_name(struct tg_str s, size_t max);

/* Every byte is printable ASCII (0x21..0x7e, plus 0x20 inside) and 1 <= len <= max. */
bool tg_str_is_printable(struct tg_str s, size_t max);

/* No control byte (0x00..0x1f, 0x7f) and 1 <= len <= max: one line of text in any encoding. */
bool tg_str_is_line(struct tg_str s, size_t max);

/* Copies into out and ends with NUL; false, out untouched, if it does not fit. */
bool tg_str_copy(struct tg_str s, char *out, size_t out_size);

/* Decimal digits only, no sign, no overflow of int64; false otherwise. */
bool tg_str_to_i64(struct tg_str s, int64_t *out);

/* printf into err (err may be NULL); always returns -1, so callers write `return
 * tg_error_set(...)`. */
int tg_error_set(struct tg_error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
