#include "api/params.h"

#include <stdio.h>
#include <string.h>

#include "common/codec.h"

#define LIST_BYTES 320
#define DAY_MS INT64_C(86400000)

/* "a, b, c"; cut where it does not fit. */
static const char *list_of(const char *const *names, size_t count, char out[LIST_BYTES])
{
    size_t used = 0;

    out[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        int n = names[i] != NULL ? snprintf(out + used, LIST_BYTES - used, "%s%s",
                                            used > 0 ? ", " : "", names[i])
                                 : 0;

        if (n < 0 || (size_t)n >= LIST_BYTES - used) {
            break;
        }
        used += (size_t)n;
    }
    return out;
}

static size_t count_of(const char *const *names)
{
    size_t n = 0;

    while (names[n] != NULL) {
        n++;
    }
    return n;
}

/* What a person may see of a text that came from outside. */
static int shown(struct tg_str s)
{
    size_t n = 0;

    while (n < s.len && n < 40 && s.data[n] >= 0x20 && s.data[n] < 0x7f) {
        n++;
    }
    return (int)n;
}

#define SHOWN(s) shown(s), (const char *)(s).data

int tg_params_read(const struct tg_api_arg *args, size_t count, bool cut, const char *const *names,
                   struct tg_str *values, struct tg_error *err)
{
    const size_t known = count_of(names);
    char list[LIST_BYTES];

    memset(values, 0, known * sizeof(*values));
    for (size_t i = 0; i < count; i++) {
        size_t at = 0;

        while (at < known && !tg_str_equal_c(args[i].name, names[at])) {
            at++;
        }
        if (at == known) {
            return tg_error_set(err, "there is no parameter `%.*s` here; accepted: %s",
                                SHOWN(args[i].name), list_of(names, known, list));
        }
        if (values[at].data != NULL) {
            return tg_error_set(err, "`%s` is given twice", names[at]);
        }
        if (args[i].value.data == NULL || args[i].value.len == 0) {
            return tg_error_set(err, "`%s` has no value; leave it out to ask for all", names[at]);
        }
        values[at] = args[i].value;
    }
    return cut ? tg_error_set(err, "there are more than %d parameters; accepted: %s",
                              TG_API_ARGS_MAX, list_of(names, known, list))
               : 0;
}

int tg_param_time(const char *name, struct tg_str value, int64_t *out, struct tg_error *err)
{
    if (value.data == NULL || tg_rfc3339_parse(value, out) == 0) {
        return 0;
    }
    return tg_error_set(err,
                        "`%s` is `%.*s`; accepted: a time as 2026-11-21T00:00:00Z (RFC 3339; a + "
                        "in a query is written %%2B)",
                        name, SHOWN(value));
}

int tg_param_moment(const char *name, struct tg_str value, int64_t *out, struct tg_error *err)
{
    int32_t day;

    if (value.data == NULL || tg_rfc3339_parse(value, out) == 0) {
        return 0;
    }
    if (tg_date_parse(value, &day) == 0) {
        *out = (int64_t)day * DAY_MS;
        return 0;
    }
    return tg_error_set(err,
                        "`%s` is `%.*s`; accepted: a day as 2026-11-21 (its first moment in UTC), "
                        "or a time as 2026-11-21T00:00:00Z (RFC 3339; a + in a query is written "
                        "%%2B)",
                        name, SHOWN(value));
}

int tg_param_limit(const char *name, struct tg_str value, size_t *out, struct tg_error *err)
{
    int64_t n;

    if (value.data == NULL) {
        return 0;
    }
    if (!tg_str_to_i64(value, &n) || n < 1 || n > TG_OPS_PAGE_MAX) {
        return tg_error_set(err, "`%s` is `%.*s`; accepted: 1 to %d", name, SHOWN(value),
                            TG_OPS_PAGE_MAX);
    }
    *out = (size_t)n;
    return 0;
}

int tg_param_text(const char *name, struct tg_str value, size_t max, struct tg_error *err)
{
    if (value.data == NULL || tg_str_is_line(value, max)) {
        return 0;
    }
    return tg_error_set(err, "`%s` is no text of 1 to %zu bytes without control characters", name,
                        max);
}

int tg_param_word(const char *name, struct tg_str value, const char *const *words, size_t count,
                  int *out, struct tg_error *err)
{
    char list[LIST_BYTES];

    if (value.data == NULL) {
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        if (words[i] != NULL && tg_str_equal_c(value, words[i])) {
            *out = (int)i;
            return 0;
        }
    }
    return tg_error_set(err, "`%s` is `%.*s`; accepted: %s", name, SHOWN(value),
                        list_of(words, count, list));
}
