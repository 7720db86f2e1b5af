#include "common/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct tg_str tg_str_of(const char *s)
{
    struct tg_str view = {NULL, 0};

    if (s != NULL) {
        view.data = (const unsigned char *)s;
        view.len = strlen(s);
    }
    return view;
}

bool tg_str_equal(struct tg_str a, struct tg_str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

bool tg_str_equal_c(struct tg_str a, const char *b)
{
    return tg_str_equal(a, tg_str_of(b));
}

static bool is_name_byte(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

bool tg_str_is_name(struct tg_str s, size_t max)
{
    if (s.len < 1 || s.len > max) {
        return false;
    }
    for (size_t i = 0; i < s.len; i++) {
        if (!is_name_byte(s.data[i])) {
            return false;
        }
    }
    return true;
}

bool tg_str_is_printable(struct tg_str s, size_t max)
{
    if (s.len < 1 || s.len > max || s.data[0] == ' ' || s.data[s.len - 1] == ' ') {
        return false;
    }
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] < 0x20 || s.data[i] > 0x7e) {
            return false;
        }
    }
    return true;
}

bool tg_str_is_line(struct tg_str s, size_t max)
{
    if (s.len == 0 || s.len > max) {
        return false;
    }
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] < 0x20 || s.data[i] == 0x7f) {
            return false;
        }
    }
    return true;
}

bool tg_str_copy(struct tg_str s, char *out, size_t out_size)
{
    if (s.len >= out_size) {
        return false;
    }
    if (s.len > 0) {
        memcpy(out, s.data, s.len);
    }
    out[s.len] = '\0';
    return true;
}

bool tg_str_to_i64(struct tg_str s, int64_t *out)
{
    int64_t value = 0;

    if (s.len == 0) {
        return false;
    }
    for (size_t i = 0; i < s.len; i++) {
        int digit;

        if (s.data[i] < '0' || s.data[i] > '9') {
            return false;
        }
        digit = s.data[i] - '0';
        if (value > (INT64_MAX - digit) / 10) {
            return false;
        }
        value = value * 10 + digit;
    }
    *out = value;
    return true;
}

int tg_error_set(struct tg_error *err, const char *fmt, ...)
{
    va_list args;

    if (err == NULL) {
        return -1;
    }
    va_start(args, fmt);
    if (vsnprintf(err->text, sizeof(err->text), fmt, args) < 0) {
        err->text[0] = '\0';
    }
    va_end(args);
    return -1;
}
