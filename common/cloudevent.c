#include "common/cloudevent.h"

#include <string.h>

#include "common/codec.h"

int tg_json_depth(struct tg_str text, int max)
{
    int depth = 0;
    int deepest = 0;
    bool in_string = false;

    for (size_t i = 0; i < text.len; i++) {
        const unsigned char c = text.data[i];

        if (in_string) {
            if (c == '\\') {
                i++;
            } else if (c == '"') {
                in_string = false;
            }
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            depth++;
            if (depth > max) {
                return -1;
            }
            deepest = depth > deepest ? depth : deepest;
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return deepest;
}

/* CloudEvents 1.0.2 section "Type System": no C0 or C1 control characters in a String. */
static bool has_control(struct tg_str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] < 0x20 || s.data[i] == 0x7f ||
            (s.data[i] == 0xc2 && i + 1 < s.len && s.data[i + 1] < 0xa0)) {
            return true;
        }
    }
    return false;
}

/* A null attribute counts as absent (CloudEvents JSON format section 2.2). */
static int take_attribute(const json_t *event, const char *name, bool required, struct tg_str *out,
                          struct tg_error *err)
{
    const json_t *value = json_object_get(event, name);
    struct tg_str text;

    if (value == NULL || json_is_null(value)) {
        return required ? tg_error_set(err, "the event lacks the attribute %s", name) : 0;
    }
    if (!json_is_string(value)) {
        return tg_error_set(err, "the attribute %s is not a string", name);
    }
    text.data = (const unsigned char *)json_string_value(value);
    text.len = json_string_length(value);
    if (text.len == 0) {
        return tg_error_set(err, "the attribute %s is empty", name);
    }
    if (text.len > TG_CE_ATTRIBUTE_MAX_BYTES) {
        return tg_error_set(err, "the attribute %s is longer than %d bytes", name,
                            TG_CE_ATTRIBUTE_MAX_BYTES);
    }
    if (has_control(text)) {
        return tg_error_set(err, "the attribute %s holds a control character", name);
    }
    *out = text;
    return 0;
}

static json_t *load(struct tg_str body, struct tg_error *err)
{
    json_error_t where;
    json_t *event;

    if (body.len > TG_BODY_MAX_BYTES) {
        (void)tg_error_set(err, "the event is larger than %d bytes", TG_BODY_MAX_BYTES);
        return NULL;
    }
    if (tg_json_depth(body, TG_EVENT_JSON_DEPTH_MAX) < 0) {
        (void)tg_error_set(err, "the event is nested deeper than %d levels",
                           TG_EVENT_JSON_DEPTH_MAX);
        return NULL;
    }
    event = body.len > 0
                ? json_loadb((const char *)body.data, body.len, JSON_REJECT_DUPLICATES, &where)
                : NULL;
    if (event == NULL) {
        /* where.text may quote the payload: only the place is told. */
        if (body.len > 0 && json_error_code(&where) == json_error_duplicate_key) {
            (void)tg_error_set(err, "a member appears twice, line %d column %d", where.line,
                               where.column);
        } else if (body.len > 0) {
            (void)tg_error_set(err, "the body is not JSON, line %d column %d", where.line,
                               where.column);
        } else {
            (void)tg_error_set(err, "the body is empty; send one CloudEvent as JSON");
        }
        return NULL;
    }
    if (!json_is_object(event)) {
        (void)tg_error_set(err, "the body is not a JSON object; send one CloudEvent");
        json_decref(event);
        return NULL;
    }
    return event;
}

static int take_all(struct tg_cloudevent *ce, struct tg_error *err)
{
    struct tg_str version = {NULL, 0};
    const json_t *base64;
    int64_t time_ms;

    if (take_attribute(ce->json, "specversion", true, &version, err) != 0) {
        return -1;
    }
    if (!tg_str_equal_c(version, "1.0")) {
        return tg_error_set(err, "the attribute specversion is not \"1.0\"");
    }
    if (take_attribute(ce->json, "id", true, &ce->id, err) != 0 ||
        take_attribute(ce->json, "source", true, &ce->source, err) != 0 ||
        take_attribute(ce->json, "type", true, &ce->type, err) != 0 ||
        take_attribute(ce->json, "subject", false, &ce->subject, err) != 0 ||
        take_attribute(ce->json, "time", false, &ce->time, err) != 0 ||
        take_attribute(ce->json, "dataschema", false, &ce->dataschema, err) != 0 ||
        take_attribute(ce->json, "datacontenttype", false, &ce->datacontenttype, err) != 0) {
        return -1;
    }
    if (ce->time.len > 0 && tg_rfc3339_parse(ce->time, &time_ms) != 0) {
        return tg_error_set(err, "the attribute time is not an RFC 3339 date-time");
    }
    base64 = json_object_get(ce->json, "data_base64");
    if (base64 != NULL && json_object_get(ce->json, "data") != NULL) {
        return tg_error_set(err, "the event has both data and data_base64; send one of them");
    }
    if (base64 != NULL && !json_is_string(base64)) {
        return tg_error_set(err, "the member data_base64 is not a string");
    }
    return 0;
}

int tg_cloudevent_parse(struct tg_str body, struct tg_cloudevent *out, struct tg_error *err)
{
    memset(out, 0, sizeof(*out));
    out->json = load(body, err);
    if (out->json == NULL) {
        return -1;
    }
    if (take_all(out, err) != 0) {
        tg_cloudevent_clear(out);
        return -1;
    }
    return 0;
}

void tg_cloudevent_clear(struct tg_cloudevent *ce)
{
    json_decref(ce->json);
    memset(ce, 0, sizeof(*ce));
}
