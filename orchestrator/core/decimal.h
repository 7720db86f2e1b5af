/*
 * decimal.h: money and hours as fixed-point numbers; never a double.
 *
 * A value is a 64-bit count of millionths (TG_DECIMAL_SCALE digits). Every operation says when the
 * result does not fit; intermediate products use 128 bits. Values are plain, nobody owns them.
 */
#ifndef TG_CORE_DECIMAL_H
#define TG_CORE_DECIMAL_H

#include "common/str.h"

#define TG_DECIMAL_SCALE 6
#define TG_DECIMAL_ONE INT64_C(1000000)
#define TG_DECIMAL_TEXT_BYTES 24 /* "-9223372036854.775807" and NUL */

struct tg_decimal {
    int64_t micros;
};

/* Of the magnitude: -2.5 rounds as 2.5 does. HALF_UP: away from zero; DOWN: towards zero. */
enum tg_round { TG_ROUND_HALF_UP, TG_ROUND_HALF_EVEN, TG_ROUND_DOWN };

/* "-12.50": optional sign, digits, optional point with 1..6 digits; no exponent, no spaces. 0/-1 */
int tg_decimal_parse(struct tg_str text, struct tg_decimal *out);

/* At least min_digits (0..6) after the point, further zeros cut; returns length without NUL. */
size_t tg_decimal_format(struct tg_decimal d, unsigned min_digits, char out[TG_DECIMAL_TEXT_BYTES]);

int tg_decimal_add(struct tg_decimal a, struct tg_decimal b, struct tg_decimal *out); /* 0/-1 */
int tg_decimal_sub(struct tg_decimal a, struct tg_decimal b, struct tg_decimal *out);
int tg_decimal_mul(struct tg_decimal a, struct tg_decimal b, enum tg_round r,
                   struct tg_decimal *out);
int tg_decimal_div(struct tg_decimal a, struct tg_decimal b, enum tg_round r,
                   struct tg_decimal *out); /* -1 also when b is zero */
/* To `digits` (0..6) after the point. */
int tg_decimal_round(struct tg_decimal a, unsigned digits, enum tg_round r, struct tg_decimal *out);
int tg_decimal_cmp(struct tg_decimal a, struct tg_decimal b); /* <0, 0, >0 */

#endif
