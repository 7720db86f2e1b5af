#include "connect/answer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cloudevent.h"

#define REAL_TEXT_BYTES 40
#define REAL_MAX                                                                                   \
    1e9 /* as in rules/json_lua.c: above it a double has no six digits after the point */

/* Would a rule take it as a decimal? */
static bool is_exact(double v)
{
    char text[REAL_TEXT_BYTES];

    if (!(v > -REAL_MAX && v < REAL_MAX)) {
        return false;
    }
    (void)snprintf(text, sizeof(text), "%.6f", v);
    return strtod(text, NULL) == v;
}

static json_t *real_text(const json_t *v)
{
    char text[REAL_TEXT_BYTES];

    (void)snprintf(text, sizeof(text), "%.17g", json_real_value(v));
    return json_string(text);
}

struct fixing {
    size_t nodes;
    bool failed;
};

/* As deep as TG_EVENT_JSON_DEPTH_MAX, which the caller checked. NULL: it may stay; otherwise what
 * goes in its place. */
static json_t *fix(json_t *v, struct fixing *f)
{
    const char *name;
    json_t *item, *other;
    void *next;
    size_t i;

    f->nodes++;
    if (json_is_real(v) && !is_exact(json_real_value(v))) {
        other = real_text(v);
        f->failed = f->failed || other == NULL;
        return other;
    }
    json_array_foreach(v, i, item)
    {
        other = fix(item, f);
        f->failed = f->failed || (other != NULL && json_array_set_new(v, i, other) != 0);
    }
    json_object_foreach_safe(v, next, name, item)
    {
        other = fix(item, f);
        f->failed = f->failed || (other != NULL && json_object_set_new(v, name, other) != 0);
    }
    return NULL;
}

/* NULL: it is no JSON, or too deep or too large for a rule. */
static json_t *read_json(struct tg_str body)
{
    struct fixing f = {0};
    json_t *doc, *other;

    if (body.len == 0 || tg_json_depth(body, TG_EVENT_JSON_DEPTH_MAX - 2) < 0) {
        return NULL;
    }
    doc = json_loadb((const char *)body.data, body.len, JSON_DECODE_ANY, NULL);
    if (doc == NULL) {
        return NULL;
    }
    other = fix(doc, &f);
    if (f.failed || f.nodes > TG_LUA_JSON_NODES_MAX / 2) {
        json_decref(doc);
        json_decref(other);
        return NULL;
    }
    if (other != NULL) {
        json_decref(doc);
        return other;
    }
    return doc;
}

static json_t *read_text(struct tg_str body)
{
    char text[TG_SCRIPT_BODY_TEXT_MAX_BYTES];
    const size_t len = body.len < sizeof(text) ? body.len : sizeof(text);

    for (size_t i = 0; i < len; i++) {
        const unsigned char c = body.data[i];
        const bool fits = (c >= 0x20 && c < 0x7f) || c == '\n' || c == '\r' || c == '\t';

        text[i] = (char)(fits ? c : '?');
    }
    return json_stringn(text, len);
}

static int add_header(json_t *headers, const struct tg_http_header *h)
{
    const char *before = json_string_value(json_object_get(headers, h->name));

    if (before == NULL) {
        return json_object_set_new(headers, h->name, json_string(h->value));
    }
    return json_object_set_new(headers, h->name, json_sprintf("%s, %s", before, h->value));
}

json_t *tg_answer_document(const struct tg_http_answer *a)
{
    json_t *headers = json_object();
    json_t *doc = json_pack("{s:i, s:o}", "status", a->status, "headers", headers);
    json_t *body = read_json(a->body);
    const char *name = body != NULL ? "json" : "body";
    bool ok = doc != NULL;

    for (size_t i = 0; ok && i < a->header_count; i++) {
        ok = add_header(headers, &a->headers[i]) == 0;
    }
    if (ok && a->retry_after_ms >= 0) {
        ok = json_object_set_new(doc, "retry_after_s",
                                 json_integer((a->retry_after_ms + 999) / 1000)) == 0;
    }
    if (ok) {
        ok = json_object_set_new(doc, name, body != NULL ? body : read_text(a->body)) == 0;
    } else {
        json_decref(body);
    }
    if (!ok) {
        json_decref(doc);
        return NULL;
    }
    return doc;
}
