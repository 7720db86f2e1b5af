#include "common/problem.h"

#include <stdio.h>
#include <string.h>

#include "common/codec.h"

#define PROBLEM_ROW(name, code, status, title) {code, status, title, "urn:tallygate:problem:" code},
static const struct tg_problem problems[TG_PROBLEM_COUNT] = {TG_PROBLEM_TABLE(PROBLEM_ROW)};
#undef PROBLEM_ROW

/* The RateLimit draft registers this type and its member violated-policies. */
static const struct tg_problem rate_limited = {
    "rate_limited", 429, "A rate limit is exhausted",
    "https://iana.org/assignments/http-problem-types#quota-exceeded"};

const struct tg_problem *tg_problem_of(enum tg_problem_code code)
{
    if ((unsigned)code >= TG_PROBLEM_COUNT) {
        return &problems[TG_PROBLEM_INTERNAL];
    }
    return code == TG_PROBLEM_RATE_LIMITED ? &rate_limited : &problems[code];
}

struct writer {
    char *out;
    size_t size;
    size_t at;
    bool full;
};

static void put(struct writer *w, const char *text, size_t len)
{
    if (w->full || len > w->size - w->at) {
        w->full = true;
        return;
    }
    memcpy(w->out + w->at, text, len);
    w->at += len;
}

static void put_c(struct writer *w, const char *text)
{
    put(w, text, strlen(text));
}

/* ,"name":"value" with the value escaped; nothing when it is empty. */
static void put_member(struct writer *w, const char *name, struct tg_str value)
{
    int n;

    if (value.len == 0) {
        return;
    }
    put_c(w, ",\"");
    put_c(w, name);
    put_c(w, "\":\"");
    if (w->full) {
        return;
    }
    n = tg_json_escape(value, w->out + w->at, w->size - w->at);
    if (n < 0) {
        w->full = true;
        return;
    }
    w->at += (size_t)n;
    put_c(w, "\"");
}

size_t tg_problem_write(enum tg_problem_code code, struct tg_str detail,
                        struct tg_str correlation_id, struct tg_str extra, char *out,
                        size_t out_size)
{
    const struct tg_problem *p = tg_problem_of(code);
    struct writer w = {out, out_size, 0, false};
    char status[16];
    int n = snprintf(status, sizeof(status), "%u", p->status);

    if (n < 0) {
        return 0;
    }
    put_c(&w, "{\"type\":\"");
    put_c(&w, p->type);
    put_c(&w, "\"");
    put_member(&w, "title", tg_str_of(p->title));
    put_c(&w, ",\"status\":");
    put(&w, status, (size_t)n);
    put_member(&w, "detail", detail);
    put_member(&w, "code", tg_str_of(p->code));
    put_member(&w, "correlation_id", correlation_id);
    if (extra.len > 0) {
        put_c(&w, ",");
        put(&w, (const char *)extra.data, extra.len);
    }
    put_c(&w, "}");
    return w.full ? 0 : w.at;
}
