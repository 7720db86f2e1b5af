#include "common/codec.h"

#include <string.h>

static const char hex_digits[] = "0123456789abcdef";
static const char base64_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char base64url_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void tg_hex_encode(const unsigned char *data, size_t len, char *out)
{
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = hex_digits[data[i] >> 4];
        out[2 * i + 1] = hex_digits[data[i] & 0x0f];
    }
}

static int hex_value(unsigned char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

int tg_hex_decode(struct tg_str text, unsigned char *out, size_t out_size)
{
    if (text.len % 2 != 0 || text.len / 2 > out_size || text.len / 2 > INT32_MAX) {
        return -1;
    }
    for (size_t i = 0; i < text.len / 2; i++) {
        int high = hex_value(text.data[2 * i]);
        int low = hex_value(text.data[2 * i + 1]);

        if (high < 0 || low < 0) {
            return -1;
        }
        out[i] = (unsigned char)(high << 4 | low);
    }
    return (int)(text.len / 2);
}

/* c62 and c63: the two characters in which the alphabets differ. */
static int sextet_of(unsigned char c, char c62, char c63)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    if (c == (unsigned char)c62) {
        return 62;
    }
    return c == (unsigned char)c63 ? 63 : -1;
}

/* text without padding; refuses 1 mod 4 and bits that belong to no byte. */
static int sextets_decode(struct tg_str text, char c62, char c63, unsigned char *out,
                          size_t out_size)
{
    const size_t bytes = text.len / 4 * 3 + (text.len % 4 > 0 ? text.len % 4 - 1 : 0);
    uint32_t bits = 0;
    unsigned held = 0; /* bits not yet written */
    size_t at = 0;

    if (text.len % 4 == 1 || bytes > out_size || bytes > INT32_MAX) {
        return -1;
    }
    for (size_t i = 0; i < text.len; i++) {
        int value = sextet_of(text.data[i], c62, c63);

        if (value < 0) {
            return -1;
        }
        bits = bits << 6 | (uint32_t)value;
        held += 6;
        if (held >= 8) {
            held -= 8;
            out[at++] = (unsigned char)(bits >> held);
            bits &= (UINT32_C(1) << held) - 1;
        }
    }
    return bits == 0 ? (int)at : -1;
}

int tg_base64url_decode(struct tg_str text, unsigned char *out, size_t out_size)
{
    return sextets_decode(text, '-', '_', out, out_size);
}

int tg_base64_decode(struct tg_str text, unsigned char *out, size_t out_size)
{
    if (text.len % 4 != 0) {
        return -1;
    }
    for (int i = 0; i < 2 && text.len > 0 && text.data[text.len - 1] == '='; i++) {
        text.len--;
    }
    return sextets_decode(text, '+', '/', out, out_size);
}

static size_t sextets_encode(const unsigned char *data, size_t len, const char *alphabet, bool pad,
                             char *out, size_t out_size)
{
    size_t at = 0;

    if (len > (SIZE_MAX - 1) / 4 * 3 - 3 || out_size < 4 * ((len + 2) / 3) + 1) {
        return 0;
    }
    for (size_t i = 0; i < len; i += 3) {
        const size_t left = len - i;
        uint32_t bits = (uint32_t)data[i] << 16;

        bits |= left > 1 ? (uint32_t)data[i + 1] << 8 : 0;
        bits |= left > 2 ? data[i + 2] : 0;
        out[at++] = alphabet[bits >> 18];
        out[at++] = alphabet[bits >> 12 & 0x3f];
        if (left > 1) {
            out[at++] = alphabet[bits >> 6 & 0x3f];
        } else if (pad) {
            out[at++] = '=';
        }
        if (left > 2) {
            out[at++] = alphabet[bits & 0x3f];
        } else if (pad) {
            out[at++] = '=';
        }
    }
    out[at] = '\0';
    return at;
}

size_t tg_base64_encode(const unsigned char *data, size_t len, char *out, size_t out_size)
{
    return sextets_encode(data, len, base64_alphabet, true, out, out_size);
}

size_t tg_base64url_encode(const unsigned char *data, size_t len, char *out, size_t out_size)
{
    return sextets_encode(data, len, base64url_alphabet, false, out, out_size);
}

/* Length of the well-formed UTF-8 sequence at p (Unicode table 3-7), 0 when there is none. */
static size_t utf8_length(const unsigned char *p, size_t left)
{
    unsigned char low = 0x80;
    unsigned char high = 0xbf;
    size_t len;

    if (p[0] < 0x80) {
        return 1;
    }
    if (p[0] >= 0xc2 && p[0] <= 0xdf) {
        len = 2;
    } else if (p[0] >= 0xe0 && p[0] <= 0xef) {
        len = 3;
        low = p[0] == 0xe0 ? 0xa0 : low;
        high = p[0] == 0xed ? 0x9f : high;
    } else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
        len = 4;
        low = p[0] == 0xf0 ? 0x90 : low;
        high = p[0] == 0xf4 ? 0x8f : high;
    } else {
        return 0;
    }
    if (left < len || p[1] < low || p[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < len; i++) {
        if (p[i] < 0x80 || p[i] > 0xbf) {
            return 0;
        }
    }
    return len;
}

/* The escape of one ASCII byte into buf; its length, or 0 when the byte stands for itself. */
static size_t ascii_escape(unsigned char c, char buf[6])
{
    static const char shorts[] = "\"\"\\\\\bb\ff\nn\rr\tt";

    for (size_t i = 0; shorts[i] != '\0'; i += 2) {
        if (c == (unsigned char)shorts[i]) {
            buf[0] = '\\';
            buf[1] = shorts[i + 1];
            return 2;
        }
    }
    if (c >= 0x20 && c != 0x7f) {
        return 0;
    }
    buf[0] = '\\';
    buf[1] = 'u';
    buf[2] = '0';
    buf[3] = '0';
    buf[4] = hex_digits[c >> 4];
    buf[5] = hex_digits[c & 0x0f];
    return 6;
}

int tg_json_escape(struct tg_str s, char *out, size_t out_size)
{
    size_t at = 0;
    size_t i = 0;

    while (i < s.len) {
        char escaped[6];
        const char *piece = (const char *)s.data + i;
        const size_t taken = utf8_length(s.data + i, s.len - i);
        size_t n = taken;

        if (taken == 0) {
            piece = "\xef\xbf\xbd"; /* U+FFFD */
            n = 3;
        } else if (taken == 1) {
            n = ascii_escape(s.data[i], escaped);
            piece = n > 0 ? escaped : piece;
            n = n > 0 ? n : 1;
        }
        if (n > out_size - at || at + n > INT32_MAX) {
            return -1;
        }
        memcpy(out + at, piece, n);
        at += n;
        i += taken > 0 ? taken : 1;
    }
    return (int)at;
}

/* --- times --- */

#define MS_PER_S INT64_C(1000)
#define MS_PER_DAY (86400 * MS_PER_S)
#define RFC3339_MAX_MS INT64_C(253402300799999) /* 9999-12-31T23:59:59.999Z */

/*
 * Days since 1970-01-01 of a proleptic Gregorian date. The year is counted from March, so that the
 * leap day is its last; 400 years are 146097 days; 719468 lie between 0000-03-01 and 1970-01-01.
 */
static int32_t days_of(int year, int month, int day)
{
    const int32_t y = year + 400 - (month <= 2 ? 1 : 0); /* never negative */
    const int32_t era = y / 400;
    const int32_t year_of_era = y % 400;
    const int32_t day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;

    return (era - 1) * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 +
           day_of_year - 719468;
}

/* The other way; days >= 0. */
static void date_of(int32_t days, int *year, int *month, int *day)
{
    const int32_t z = days + 719468;
    const int32_t day_of_era = z % 146097;
    const int32_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    const int32_t day_of_year =
        day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    const int32_t from_march = (5 * day_of_year + 2) / 153;

    *day = day_of_year - (153 * from_march + 2) / 5 + 1;
    *month = from_march < 10 ? from_march + 3 : from_march - 9;
    *year = z / 146097 * 400 + year_of_era + (*month <= 2 ? 1 : 0);
}

static void put_digits(char *out, size_t n, int value)
{
    for (size_t i = n; i > 0; i--) {
        out[i - 1] = (char)('0' + value % 10);
        value /= 10;
    }
}

int tg_rfc3339_format(int64_t epoch_ms, char *out, size_t out_size)
{
    static const char pattern[TG_RFC3339_BYTES] = "0000-00-00T00:00:00.000Z";
    int year;
    int month;
    int day;
    int ms;

    if (epoch_ms < 0 || epoch_ms > RFC3339_MAX_MS || out_size < TG_RFC3339_BYTES) {
        return -1;
    }
    date_of((int32_t)(epoch_ms / MS_PER_DAY), &year, &month, &day);
    ms = (int)(epoch_ms % MS_PER_DAY);
    memcpy(out, pattern, sizeof(pattern));
    put_digits(out, 4, year);
    put_digits(out + 5, 2, month);
    put_digits(out + 8, 2, day);
    put_digits(out + 11, 2, ms / 3600000);
    put_digits(out + 14, 2, ms / 60000 % 60);
    put_digits(out + 17, 2, ms / 1000 % 60);
    put_digits(out + 20, 3, ms % 1000);
    return 0;
}

/* n digits at `at` as a number, -1 when they are not there. */
static int take_digits(struct tg_str text, size_t at, size_t n)
{
    int value = 0;

    if (at + n > text.len) {
        return -1;
    }
    for (size_t i = at; i < at + n; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return -1;
        }
        value = value * 10 + (text.data[i] - '0');
    }
    return value;
}

static int days_in_month(int year, int month)
{
    static const int days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return month == 2 && leap ? 29 : days[month - 1];
}

int tg_date_parse(struct tg_str text, int32_t *epoch_days)
{
    const int year = take_digits(text, 0, 4);
    const int month = take_digits(text, 5, 2);
    const int day = take_digits(text, 8, 2);

    if (text.len != 10 || text.data[4] != '-' || text.data[7] != '-' || year < 0 || month < 1 ||
        month > 12 || day < 1 || day > days_in_month(year, month)) {
        return -1;
    }
    *epoch_days = days_of(year, month, day);
    return 0;
}

/* ".123456" at *at, if any, cut to milliseconds; *at ends behind it. */
static int take_fraction(struct tg_str text, size_t *at, int *ms)
{
    int scale = 100;
    size_t i = *at;

    *ms = 0;
    if (i >= text.len || text.data[i] != '.') {
        return 0;
    }
    for (i++; i < text.len && text.data[i] >= '0' && text.data[i] <= '9'; i++) {
        *ms += (text.data[i] - '0') * scale;
        scale /= 10;
    }
    if (i == *at + 1) {
        return -1;
    }
    *at = i;
    return 0;
}

/* "Z" or "+hh:mm" from `at` to the end, in minutes east of UTC. */
static int take_offset(struct tg_str text, size_t at, int *minutes)
{
    int hour;
    int minute;

    if (at + 1 == text.len && (text.data[at] == 'Z' || text.data[at] == 'z')) {
        *minutes = 0;
        return 0;
    }
    hour = take_digits(text, at + 1, 2);
    minute = take_digits(text, at + 4, 2);
    if (at + 6 != text.len || (text.data[at] != '+' && text.data[at] != '-') ||
        text.data[at + 3] != ':' || hour < 0 || hour > 23 || minute < 0 || minute > 59) {
        return -1;
    }
    *minutes = (hour * 60 + minute) * (text.data[at] == '-' ? -1 : 1);
    return 0;
}

int tg_rfc3339_parse(struct tg_str text, int64_t *epoch_ms)
{
    const struct tg_str date = {text.data, 10};
    const int hour = take_digits(text, 11, 2);
    const int minute = take_digits(text, 14, 2);
    const int second = take_digits(text, 17, 2);
    size_t at = 19;
    int32_t days;
    int offset;
    int ms;
    int64_t day_s;

    if (text.len < 20 || tg_date_parse(date, &days) != 0 ||
        (text.data[10] != 'T' && text.data[10] != 't') || text.data[13] != ':' ||
        text.data[16] != ':' || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 ||
        second > 60 || take_fraction(text, &at, &ms) != 0 || take_offset(text, at, &offset) != 0) {
        return -1;
    }
    day_s = hour * 3600 + (minute - offset) * 60;
    /* A leap second is the last of a UTC day; it is told as the first of the next. */
    if (second == 60 && (day_s + 2 * 86400) % 86400 != 86340) {
        return -1;
    }
    *epoch_ms = days * MS_PER_DAY + (day_s + second) * MS_PER_S + ms;
    return 0;
}
