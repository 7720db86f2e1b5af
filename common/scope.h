/*
 * scope.h: does a token's scope satisfy a rule (RFC 6749 section 3.3: case-sensitive names).
 */
#ifndef TG_COMMON_SCOPE_H
#define TG_COMMON_SCOPE_H

#include "common/str.h"

enum tg_scope_mode { TG_SCOPE_ALL, TG_SCOPE_ANY };

/* required_count 0 is satisfied. */
bool tg_scope_satisfies(const struct tg_str *have, size_t have_count, enum tg_scope_mode mode,
                        const struct tg_str *required, size_t required_count);

/* Splits at spaces. Returns the count, or -1 when over max or a scope is too long. */
int tg_scope_split(struct tg_str text, struct tg_str *out, size_t max);

/* scope-token of RFC 6749: 1*( %x21 / %x23-5B / %x5D-7E ) */
bool tg_scope_is_valid(struct tg_str scope);

#endif
