#include "intake/stored.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_BYTES 24

struct copy {
    struct tg_stored *out;
    struct tg_str body; /* len 0: the event's own */
    bool edited, no_memory;
    enum tg_event_state state;
};

/* Bytes of the newest edit, kept while the event is read. */
struct edit {
    unsigned char *data;
    size_t len;
    bool no_memory;
};

static void on_edit(void *arg, const struct tg_row_edit *row)
{
    struct edit *e = arg;

    e->data = malloc(row->body.len + 1);
    e->no_memory = e->data == NULL;
    if (e->data != NULL && row->body.len != 0) {
        memcpy(e->data, row->body.data, row->body.len);
    }
    e->len = row->body.len;
}

static void list_fields(const struct copy *c, const struct tg_row_event *row,
                        const char *received_at, struct tg_str field[TG_STREAM_FIELD_COUNT])
{
    field[TG_STREAM_ID] = tg_str_of(row->ce_id);
    field[TG_STREAM_TYPE] = tg_str_of(row->type);
    field[TG_STREAM_SOURCE] = tg_str_of(row->source);
    field[TG_STREAM_SUBJECT] = tg_str_of(row->subject);
    field[TG_STREAM_TENANT] = tg_str_of(row->tenant);
    field[TG_STREAM_CLIENT] = tg_str_of(row->client);
    field[TG_STREAM_TIME] = tg_str_of(row->time);
    field[TG_STREAM_RECEIVED_AT] = tg_str_of(received_at);
    field[TG_STREAM_DATASCHEMA] = tg_str_of(row->dataschema);
    field[TG_STREAM_KEY] = tg_str_of(row->idem_key);
    field[TG_STREAM_CORRELATION_ID] = tg_str_of(row->correlation_id);
    field[TG_STREAM_TRACEPARENT] = tg_str_of(row->traceparent);
    field[TG_STREAM_BODY_SHA256] = tg_str_of(c->edited ? "" : row->body_sha256);
    field[TG_STREAM_CONTENT_TYPE] = tg_str_of(row->content_type);
    field[TG_STREAM_BODY] = c->edited ? c->body : row->body;
}

static bool on_event(void *arg, const struct tg_row_event *row, int64_t journalled_ms)
{
    struct copy *c = arg;
    struct tg_str field[TG_STREAM_FIELD_COUNT];
    char received_at[NUMBER_BYTES];
    size_t total = 1;
    char *at;

    (void)journalled_ms;
    c->state = row->state;
    (void)snprintf(received_at, sizeof(received_at), "%" PRId64, row->received_ms);
    list_fields(c, row, received_at, field);
    for (unsigned f = 0; f < TG_STREAM_FIELD_COUNT; f++) {
        total += field[f].len;
    }
    c->out->memory = at = malloc(total);
    c->no_memory = at == NULL;
    if (at == NULL) {
        return false;
    }
    for (unsigned f = 0; f < TG_STREAM_FIELD_COUNT; f++) {
        if (field[f].len != 0) {
            memcpy(at, field[f].data, field[f].len);
        }
        c->out->entry.field[f] = (struct tg_str){(unsigned char *)at, field[f].len};
        c->out->entry.present[f] = true;
        at += field[f].len;
    }
    c->out->entry.stream_ms = row->received_ms;
    (void)snprintf(c->out->event_id, sizeof(c->out->event_id), "%s", row->event_id);
    return false;
}

static bool on_object(void *arg, const struct tg_row_object *row)
{
    struct tg_stored *s = arg;

    if (row->state == TG_VERSION_HELD || row->state == TG_VERSION_EXCEPTION) {
        s->object = row->id;
        s->version = row->version;
        s->object_state = row->state;
        memcpy(s->key, row->key, sizeof(s->key));
        (void)snprintf(s->waits_for, sizeof(s->waits_for), "%s", row->waits_for);
    }
    return true;
}

/* Open ones of the object, or of the event itself. */
static bool on_exception(void *arg, const struct tg_row_exception *row)
{
    struct tg_stored *s = arg;
    struct tg_known_exception *to;

    if ((row->state != TG_EXCEPTION_OPEN && row->state != TG_EXCEPTION_ASSIGNED) ||
        row->posting != 0 || row->object != s->object) {
        return true;
    }
    (void)snprintf(s->code, sizeof(s->code), "%s", row->code);
    if (s->object != 0 || s->exception_count == TG_API_OBJECTS_MAX) {
        return true;
    }
    to = &s->exceptions[s->exception_count++];
    *to = (struct tg_known_exception){
        .id = row->id, .event = row->event, .opened_ms = row->opened_ms};
    (void)snprintf(to->tenant, sizeof(to->tenant), "%s", row->tenant);
    (void)snprintf(to->code, sizeof(to->code), "%s", row->code);
    (void)snprintf(to->owner, sizeof(to->owner), "%s", row->owner);
    return true;
}

static int read_event(struct tg_reader *r, int64_t event, struct copy *c, struct tg_error *err)
{
    struct edit e = {NULL, 0, false};
    int rc = 0;

    if (c->body.len == 0) {
        rc = tg_reader_edit(r, event, on_edit, &e, err);
        c->body = (struct tg_str){e.data, e.len};
    }
    if (rc < 0 || e.no_memory) {
        return rc < 0 ? -1 : tg_error_set(err, "intake: no memory to read an edit");
    }
    c->edited = c->body.len != 0;
    rc = tg_reader_event_row(r, event, on_event, c, err);
    free(e.data);
    return c->no_memory ? tg_error_set(err, "intake: no memory to read an event") : rc;
}

int tg_stored_read(struct tg_reader *r, int64_t event, struct tg_str body, struct tg_stored *out,
                   struct tg_error *err)
{
    struct copy c = {.out = out, .body = body};
    int rc;

    *out = (struct tg_stored){.version = 0};
    rc = read_event(r, event, &c, err);
    if (rc != 0) {
        return rc;
    }
    if (tg_reader_objects_of_event(r, event, on_object, out, err) < 0 ||
        tg_reader_exceptions_of_event(r, event, on_exception, out, err) < 0) {
        return -1;
    }
    return out->object != 0 || c.state == TG_EVENT_EXCEPTION ? 0 : 1;
}

void tg_stored_clear(struct tg_stored *s)
{
    free(s->memory);
    s->memory = NULL;
}
