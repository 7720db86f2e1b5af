#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/handlers.h"

#define PROBLEM_BYTES 4096

static const char plain_type[] = "application/json";
static const char problem_type[] = "application/problem+json";

void tg_reply_problem(struct tg_reply *out, enum tg_problem_code code, struct tg_str correlation_id,
                      const char *fmt, ...)
{
    char detail[TG_ERROR_MAX_BYTES];
    char text[PROBLEM_BYTES];
    struct tg_str none = {NULL, 0};
    va_list args;
    size_t len;

    va_start(args, fmt);
    if (vsnprintf(detail, sizeof(detail), fmt, args) < 0) {
        detail[0] = '\0';
    }
    va_end(args);
    len = tg_problem_write(code, tg_str_of(detail), correlation_id, none, text, sizeof(text));
    tg_reply_clear(out);
    out->status = tg_problem_of(code)->status;
    out->content_type = problem_type;
    out->body = len > 0 ? malloc(len) : NULL;
    if (out->body != NULL) {
        memcpy(out->body, text, len);
        out->len = len;
    }
}

void tg_reply_json(struct tg_reply *out, unsigned status, json_t *json,
                   struct tg_str correlation_id)
{
    char *text = json != NULL ? json_dumps(json, JSON_COMPACT) : NULL;

    json_decref(json);
    if (text == NULL) {
        tg_reply_problem(out, TG_PROBLEM_INTERNAL, correlation_id,
                         "the answer could not be written; send the request again");
        return;
    }
    tg_reply_clear(out);
    out->status = status;
    out->content_type = plain_type;
    out->body = text;
    out->len = strlen(text);
}

void tg_reply_clear(struct tg_reply *out)
{
    free(out->body);
    memset(out, 0, sizeof(*out));
}
