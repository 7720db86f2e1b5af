#include "intake/reading.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/codec.h"
#include "common/digest.h"

/* Length of the valid UTF-8 sequence at s[i], or 0. */
static size_t utf8_length(struct tg_str s, size_t i)
{
    unsigned char c = s.data[i];
    size_t n = c < 0x80                ? 1
               : c >= 0xc2 && c < 0xe0 ? 2
               : c >= 0xe0 && c < 0xf0 ? 3
               : c >= 0xf0 && c < 0xf5 ? 4
                                       : 0;

    if (n == 0 || n > s.len - i) {
        return 0;
    }
    for (size_t k = 1; k < n; k++) {
        if ((s.data[i + k] & 0xc0) != 0x80) {
            return 0;
        }
    }
    if ((c == 0xe0 && s.data[i + 1] < 0xa0) || (c == 0xed && s.data[i + 1] > 0x9f) ||
        (c == 0xf0 && s.data[i + 1] < 0x90) || (c == 0xf4 && s.data[i + 1] > 0x8f)) {
        return 0;
    }
    return n;
}

bool tg_reading_clean(struct tg_str s, size_t max, char *out)
{
    size_t used = 0;
    size_t i = 0;
    bool clean = true;

    while (i < s.len) {
        size_t n = utf8_length(s, i);

        if (used + (n != 0 ? n : 1) > max) {
            clean = false;
            break;
        }
        if (n == 0 || (n == 1 && (s.data[i] < 0x20 || s.data[i] == 0x7f))) {
            out[used++] = '?';
            i++;
            clean = false;
            continue;
        }
        memcpy(out + used, s.data + i, n);
        used += n;
        i += n;
    }
    out[used] = '\0';
    return clean;
}

bool tg_reading_depth_ok(struct tg_str json)
{
    unsigned depth = 0;
    bool in_string = false;

    for (size_t i = 0; i < json.len; i++) {
        unsigned char c = json.data[i];

        if (in_string) {
            i += c == '\\';
            in_string = c != '"';
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            depth++;
            if (depth > TG_EVENT_JSON_DEPTH_MAX) {
                return false;
            }
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return true;
}

static void refuse(struct tg_reading *r, const char *code, const char *message)
{
    if (r->code == NULL) {
        r->code = code;
        (void)snprintf(r->message, sizeof(r->message), "%s", message);
    }
}

/* Which text of the row a field becomes; NULL: none (received_at, body). */
static const char **row_text(struct tg_row_event *e, enum tg_stream_field f)
{
    switch (f) {
    case TG_STREAM_ID:
        return &e->ce_id;
    case TG_STREAM_TYPE:
        return &e->type;
    case TG_STREAM_SOURCE:
        return &e->source;
    case TG_STREAM_SUBJECT:
        return &e->subject;
    case TG_STREAM_TENANT:
        return &e->tenant;
    case TG_STREAM_CLIENT:
        return &e->client;
    case TG_STREAM_TIME:
        return &e->time;
    case TG_STREAM_DATASCHEMA:
        return &e->dataschema;
    case TG_STREAM_KEY:
        return &e->idem_key;
    case TG_STREAM_CORRELATION_ID:
        return &e->correlation_id;
    case TG_STREAM_TRACEPARENT:
        return &e->traceparent;
    case TG_STREAM_BODY_SHA256:
        return &e->body_sha256;
    case TG_STREAM_CONTENT_TYPE:
        return &e->content_type;
    default:
        return NULL;
    }
}

/* Clean copies of all text fields. 0 or -1. */
static int copy_texts(const struct tg_entry *e, struct tg_reading *r)
{
    size_t total = 0;
    char *at;

    for (unsigned f = 0; f < TG_STREAM_FIELD_COUNT; f++) {
        total += tg_stream_field_max_bytes((enum tg_stream_field)f) + 1;
    }
    total -= TG_BODY_MAX_BYTES;
    r->text = malloc(total);
    if (r->text == NULL) {
        return -1;
    }
    at = r->text;
    for (unsigned f = 0; f < TG_STREAM_FIELD_COUNT; f++) {
        enum tg_stream_field field = (enum tg_stream_field)f;
        const char **to = row_text(&r->event, field);
        char why[TG_ERROR_MAX_BYTES];

        if (!e->present[f]) {
            (void)snprintf(why, sizeof(why), "the stream entry lacks the field %s",
                           tg_stream_field_name(field));
            refuse(r, "event_undecodable", why);
        }
        if (to == NULL) {
            continue;
        }
        if (!tg_reading_clean(e->field[f], tg_stream_field_max_bytes(field), at)) {
            (void)snprintf(why, sizeof(why), "the field %s is too long or not text",
                           tg_stream_field_name(field));
            refuse(r, "event_undecodable", why);
        }
        *to = at;
        at += strlen(at) + 1;
    }
    return 0;
}

static void check_required(struct tg_reading *r)
{
    if (r->event.ce_id[0] == '\0' || r->event.type[0] == '\0' || r->event.source[0] == '\0' ||
        r->event.tenant[0] == '\0') {
        refuse(r, "event_undecodable", "id, type, source or tenant of the event is empty");
    }
}

static int set_body(const struct tg_entry *e, struct tg_reading *r)
{
    struct tg_str body = e->field[TG_STREAM_BODY];
    unsigned char digest[TG_SHA256_BYTES];
    unsigned char given[TG_SHA256_BYTES];

    if (body.len > TG_BODY_MAX_BYTES) {
        refuse(r, "event_undecodable", "the body is longer than the edge lets through; it is cut");
        body.len = TG_BODY_MAX_BYTES;
    }
    r->event.body = body;
    if (strlen(r->event.body_sha256) == 2 * TG_SHA256_BYTES &&
        tg_hex_decode(tg_str_of(r->event.body_sha256), given, sizeof(given)) == TG_SHA256_BYTES) {
        return 0;
    }
    if (tg_sha256(body, digest) != 0) {
        return -1;
    }
    tg_hex_encode(digest, sizeof(digest), r->sha256);
    r->sha256[2 * TG_SHA256_BYTES] = '\0';
    r->event.body_sha256 = r->sha256;
    return 0;
}

/* Tenant, client, source and id; without an id the entry stands for itself. */
static int set_identity(struct tg_reading *r)
{
    const struct tg_row_event *e = &r->event;
    const char *id = e->ce_id[0] != '\0' ? e->ce_id : e->event_id;

    return tg_event_identity(tg_str_of(e->tenant), tg_str_of(e->client), tg_str_of(e->source),
                             tg_str_of(id), r->event.identity);
}

static bool is_media(const char *content_type, const char *media)
{
    size_t len = strlen(media);

    return strncasecmp(content_type, media, len) == 0 &&
           (content_type[len] == '\0' || content_type[len] == ';' || content_type[len] == ' ');
}

/* A structured CloudEvent's data, or the whole body of another webhook. */
static void find_data(struct tg_reading *r)
{
    json_t *doc = r->document;
    bool structured = is_media(r->event.content_type, "application/cloudevents+json") ||
                      (json_is_string(json_object_get(doc, "specversion")) &&
                       json_is_string(json_object_get(doc, "id")) &&
                       json_is_string(json_object_get(doc, "source")) &&
                       json_is_string(json_object_get(doc, "type")));

    if (!structured) {
        r->data = doc;
        return;
    }
    r->data = json_object_get(doc, "data");
    if (r->data == NULL || json_is_null(r->data)) {
        refuse(r, "event_undecodable",
               "the CloudEvent carries no data: the member `data` is missing");
    }
}

static void decode(struct tg_reading *r)
{
    struct tg_str body = r->event.body;
    json_error_t at;
    char why[TG_ERROR_MAX_BYTES];

    if (!tg_reading_depth_ok(body)) {
        refuse(r, "event_undecodable", "the body is nested too deeply");
        return;
    }
    r->document = json_loadb((const char *)body.data, body.len, JSON_REJECT_DUPLICATES, &at);
    if (r->document == NULL) {
        (void)snprintf(why, sizeof(why), "the body is not JSON: line %d, column %d", at.line,
                       at.column);
        refuse(r, "event_undecodable", why);
        return;
    }
    find_data(r);
}

static int make_headers(struct tg_reading *r)
{
    const struct tg_row_event *e = &r->event;

    r->headers =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "content-type", e->content_type, "ce-id",
                  e->ce_id, "ce-source", e->source, "ce-type", e->type, "ce-subject", e->subject,
                  "ce-time", e->time, "ce-dataschema", e->dataschema);
    return r->headers != NULL ? 0 : -1;
}

int tg_reading_make(const struct tg_entry *e, const struct tg_config *c, struct tg_reading *out)
{
    int64_t received;

    *out = (struct tg_reading){.event = {.event_id = e->event_id}};
    if (e->broken) {
        refuse(out, "event_undecodable", "the stream entry is not one the edge writes");
    }
    if (copy_texts(e, out) != 0 || set_body(e, out) != 0 || set_identity(out) != 0 ||
        make_headers(out) != 0) {
        tg_reading_clear(out);
        return -1;
    }
    check_required(out);
    out->event.received_ms = e->stream_ms;
    if (!tg_str_to_i64(e->field[TG_STREAM_RECEIVED_AT], &received)) {
        refuse(out, "event_undecodable", "received_at is not a time in milliseconds");
    } else {
        out->event.received_ms = received;
    }
    out->tenant = tg_config_tenant(c, tg_str_of(out->event.tenant));
    if (out->tenant == NULL) {
        refuse(out, "tenant_unknown", "no tenant of that name is configured");
        return 0;
    }
    out->source =
        tg_config_source(out->tenant, tg_str_of(out->event.source), tg_str_of(out->event.client));
    if (out->source == NULL) {
        refuse(out, "source_not_own", "this client may not send for this source");
    }
    if (out->code == NULL) {
        decode(out);
    }
    return 0;
}

void tg_reading_clear(struct tg_reading *r)
{
    json_decref(r->document);
    json_decref(r->headers);
    free(r->text);
    *r = (struct tg_reading){.code = NULL};
}
