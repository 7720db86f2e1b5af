#include "core/decimal.h"

#define DIGITS_MAX 19 /* of the largest 64-bit number */

static const int64_t POWERS[TG_DECIMAL_SCALE + 1] = {1, 10, 100, 1000, 10000, 100000, 1000000};

static int narrow(__int128 wide, struct tg_decimal *out)
{
    if (wide > INT64_MAX || wide < INT64_MIN) {
        return -1;
    }
    out->micros = (int64_t)wide;
    return 0;
}

/* n / d, d > 0, rounded. The rules look at the magnitude, so that -x rounds to -(x rounded). */
static __int128 divide_rounded(__int128 n, __int128 d, enum tg_round r)
{
    const bool negative = n < 0;
    const __int128 size = negative ? -n : n;
    __int128 q = size / d;
    const __int128 rest = size % d;

    switch (r) {
    case TG_ROUND_HALF_UP:
        q += rest >= d - rest ? 1 : 0;
        break;
    case TG_ROUND_HALF_EVEN:
        if (rest > d - rest || (rest == d - rest && q % 2 != 0)) {
            q += 1;
        }
        break;
    case TG_ROUND_DOWN:
        break;
    }
    return negative ? -q : q;
}

static bool is_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}

/* value * 10 + digit for as long as it can still be a result; false: too large. */
static bool take_digit(__int128 *value, unsigned char c)
{
    *value = *value * 10 + (c - '0');
    return *value <= (__int128)INT64_MAX + 1;
}

int tg_decimal_parse(struct tg_str text, struct tg_decimal *out)
{
    bool negative = false;
    size_t at = 0;
    size_t whole;
    size_t fraction = 0;
    __int128 value = 0;

    if (text.len > 0 && (text.data[0] == '-' || text.data[0] == '+')) {
        negative = text.data[0] == '-';
        at = 1;
    }
    for (whole = 0; at < text.len && is_digit(text.data[at]); at++, whole++) {
        if (!take_digit(&value, text.data[at])) {
            return -1;
        }
    }
    if (whole == 0) {
        return -1;
    }
    if (at < text.len && text.data[at] == '.') {
        at++;
        for (; at < text.len && is_digit(text.data[at]); at++, fraction++) {
            if (fraction == TG_DECIMAL_SCALE || !take_digit(&value, text.data[at])) {
                return -1;
            }
        }
        if (fraction == 0) {
            return -1;
        }
    }
    if (at != text.len) {
        return -1;
    }
    value *= POWERS[TG_DECIMAL_SCALE - fraction];
    return narrow(negative ? -value : value, out);
}

size_t tg_decimal_format(struct tg_decimal d, unsigned min_digits, char out[TG_DECIMAL_TEXT_BYTES])
{
    /* The magnitude as unsigned, since INT64_MIN has no positive twin. */
    const uint64_t size = d.micros < 0 ? 0 - (uint64_t)d.micros : (uint64_t)d.micros;
    uint64_t whole = size / (uint64_t)TG_DECIMAL_ONE;
    uint64_t fraction = size % (uint64_t)TG_DECIMAL_ONE;
    unsigned digits = TG_DECIMAL_SCALE;
    char reversed[DIGITS_MAX + 1];
    size_t count = 0;
    size_t at = 0;

    if (min_digits > TG_DECIMAL_SCALE) {
        min_digits = TG_DECIMAL_SCALE;
    }
    while (digits > min_digits && fraction % 10 == 0) {
        fraction /= 10;
        digits--;
    }
    if (d.micros < 0) {
        out[at++] = '-';
    }
    do {
        reversed[count++] = (char)('0' + whole % 10);
        whole /= 10;
    } while (whole != 0);
    while (count > 0) {
        out[at++] = reversed[--count];
    }
    if (digits > 0) {
        out[at++] = '.';
        for (unsigned i = digits; i > 0; i--) {
            out[at + i - 1] = (char)('0' + fraction % 10);
            fraction /= 10;
        }
        at += digits;
    }
    out[at] = '\0';
    return at;
}

int tg_decimal_add(struct tg_decimal a, struct tg_decimal b, struct tg_decimal *out)
{
    return narrow((__int128)a.micros + b.micros, out);
}

int tg_decimal_sub(struct tg_decimal a, struct tg_decimal b, struct tg_decimal *out)
{
    return narrow((__int128)a.micros - b.micros, out);
}

int tg_decimal_mul(struct tg_decimal a, struct tg_decimal b, enum tg_round r,
                   struct tg_decimal *out)
{
    return narrow(divide_rounded((__int128)a.micros * b.micros, TG_DECIMAL_ONE, r), out);
}

int tg_decimal_div(struct tg_decimal a, struct tg_decimal b, enum tg_round r,
                   struct tg_decimal *out)
{
    __int128 n = (__int128)a.micros * TG_DECIMAL_ONE;
    __int128 d = b.micros;

    if (d == 0) {
        return -1;
    }
    if (d < 0) {
        n = -n;
        d = -d;
    }
    return narrow(divide_rounded(n, d, r), out);
}

int tg_decimal_round(struct tg_decimal a, unsigned digits, enum tg_round r, struct tg_decimal *out)
{
    int64_t unit;

    if (digits > TG_DECIMAL_SCALE) {
        return -1;
    }
    unit = POWERS[TG_DECIMAL_SCALE - digits];
    return narrow(divide_rounded(a.micros, unit, r) * unit, out);
}

int tg_decimal_cmp(struct tg_decimal a, struct tg_decimal b)
{
    return (a.micros > b.micros) - (a.micros < b.micros);
}
