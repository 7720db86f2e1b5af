/*
 * params.h: what a query string asks for. A name that is not taken, one given twice, and a value
 * that cannot be are refused with those that are accepted, rather than passed over: a filter that
 * was mistyped must not show everything.
 *
 * Ownership: values are views of the request.
 */
#ifndef TG_API_PARAMS_H
#define TG_API_PARAMS_H

#include "common/str.h"

/* One name=value of a query; value.data NULL: `?name` without =. */
struct tg_api_arg {
    struct tg_str name, value;
};

/*
 * Sorts args by names (NULL behind the last): values[i] is that of names[i], data NULL when it was
 * not given. An empty value is refused. cut: the request had more args than fit. 0, or -1.
 */
int tg_params_read(const struct tg_api_arg *args, size_t count, bool cut, const char *const *names,
                   struct tg_str *values, struct tg_error *err);

/* Each: a value not given leaves *out as it is. 0, or -1. */
int tg_param_time(const char *name, struct tg_str value, int64_t *out, struct tg_error *err);
/* The same, or a day, 2026-11-21: its first moment in UTC. */
int tg_param_moment(const char *name, struct tg_str value, int64_t *out, struct tg_error *err);
/* 1 to TG_OPS_PAGE_MAX. */
int tg_param_limit(const char *name, struct tg_str value, size_t *out, struct tg_error *err);
/* One line of at most max bytes. */
int tg_param_text(const char *name, struct tg_str value, size_t max, struct tg_error *err);
/* One of words (the number is its place); NULLs in the list are passed over. */
int tg_param_word(const char *name, struct tg_str value, const char *const *words, size_t count,
                  int *out, struct tg_error *err);

#endif
