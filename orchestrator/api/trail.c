#include "api/trail.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/rows.h"

#define SUBJECT_BYTES 80

struct trail {
    struct tg_reader *r;
    const struct tg_catalogue *catalogue;
    json_t *root, *objects, *exceptions, *audit; /* root owns the others */
    json_t *into;                                /* the list that is being filled */
    int64_t rows[TG_API_OBJECTS_MAX];            /* object rows to read */
    size_t row_count;
    unsigned char key[TG_POSTING_KEY_BYTES]; /* of the object read last */
    int64_t event;                           /* row of the event in hand */
    char event_id[TG_EVENT_ID_STORED_MAX_BYTES];
    enum tg_posting_state states[TG_JOURNAL_PAGE_MAX];
    size_t state_count;
    bool truncated, failed; /* failed: out of memory */
    struct tg_error *err;
};

/* ---- small things ---- */

static bool append(struct trail *t, json_t *list, json_t *item)
{
    if (item == NULL || json_array_append_new(list, item) != 0) {
        t->failed = true;
    }
    return !t->failed;
}

/* Takes value. */
static void set(struct trail *t, json_t *object, const char *name, json_t *value)
{
    if (value == NULL || json_object_set_new(object, name, value) != 0) {
        t->failed = true;
    }
}

static bool is_full(struct trail *t, const json_t *list)
{
    if (json_array_size(list) < TG_TRAIL_ROWS_MAX) {
        return false;
    }
    t->truncated = true;
    return true;
}

/* ---- audit ---- */

static bool on_audit(void *arg, const struct tg_audit_row *row)
{
    struct trail *t = arg;

    return !is_full(t, t->audit) && append(t, t->audit, tg_audit_json(row));
}

static int audit_of(struct trail *t, const char *what, int64_t id)
{
    char subject[SUBJECT_BYTES];

    (void)snprintf(subject, sizeof(subject), "%s %" PRId64, what, id);
    return tg_reader_audit_of(t->r, subject, on_audit, t, t->err);
}

static int by_seq(const void *a, const void *b)
{
    const json_int_t left = json_integer_value(json_object_get(*(json_t *const *)a, "seq"));
    const json_int_t right = json_integer_value(json_object_get(*(json_t *const *)b, "seq"));

    return (left > right) - (left < right);
}

/* They were read thing by thing. */
static void sort_audit(struct trail *t)
{
    size_t n = json_array_size(t->audit);
    json_t **rows = calloc(n + 1, sizeof(json_t *));
    json_t *sorted = json_array();

    if (rows == NULL || sorted == NULL) {
        t->failed = true;
        json_decref(sorted);
        free(rows);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        rows[i] = json_array_get(t->audit, i);
    }
    qsort(rows, n, sizeof(json_t *), by_seq);
    for (size_t i = 0; i < n; i++) {
        t->failed = json_array_append(sorted, rows[i]) != 0 || t->failed;
    }
    free(rows);
    set(t, t->root, "audit", sorted);
    t->audit = sorted;
}

/* ---- postings ---- */

static bool on_attempt(void *arg, const struct tg_row_attempt *row)
{
    struct trail *t = arg;

    return !is_full(t, t->into) && append(t, t->into, tg_attempt_json(row));
}

static json_t *posting_json(const struct tg_row_posting *p)
{
    return json_pack(
        "{s:I, s:s, s:s, s:s, s:i, s:o, s:o, s:s, s:o, s:o, s:i, s:o, s:o, s:o, "
        "s:o, s:o, s:o}",
        "posting", (json_int_t)p->id, "destination", p->destination_id, "kind", p->kind, "leg",
        p->leg, "generation", (int)p->generation, "period", tg_json_text(p->period), "quantity",
        tg_json_micros(p->quantity_micros), "state", tg_posting_state_name(p->state), "key",
        tg_json_key(p->key), "ref", tg_json_text(p->ref), "attempt", (int)p->attempt,
        "first_sent_at", tg_json_time(p->first_sent_ms), "due_at", tg_json_time(p->due_ms),
        "reverses", p->reverses != 0 ? json_integer(p->reverses) : json_null(), "held_for",
        tg_json_text(p->hold), "held_on", p->hold_on != 0 ? json_integer(p->hold_on) : json_null(),
        "payload", tg_json_any(p->payload));
}

static bool on_posting(void *arg, const struct tg_row_posting *row)
{
    struct trail *t = arg;
    json_t *postings = t->into;
    json_t *posting, *attempts = json_array();

    if (is_full(t, postings)) {
        json_decref(attempts);
        return false;
    }
    posting = posting_json(row);
    if (!append(t, postings, posting) || attempts == NULL) {
        t->failed = true;
        json_decref(attempts);
        return false;
    }
    set(t, posting, "attempts", attempts);
    /* a reversal counts for the stage only when somebody must look at it */
    if (t->state_count < TG_JOURNAL_PAGE_MAX &&
        (row->reverses == 0 || row->state == TG_POSTING_EXCEPTION)) {
        t->states[t->state_count++] = row->state;
    }
    t->into = attempts;
    if (t->failed || tg_reader_attempts(t->r, row->id, on_attempt, t, t->err) != 0 ||
        audit_of(t, "posting", row->id) != 0) {
        t->failed = true;
    }
    t->into = postings;
    return !t->failed;
}

/* ---- objects ---- */

static json_t *version_json(const struct tg_row_object *o)
{
    return json_pack("{s:I, s:s, s:s, s:I, s:s, s:s}", "object", (json_int_t)o->id, "kind", o->kind,
                     "id", o->object_id, "version", (json_int_t)o->version, "state",
                     tg_version_state_name(o->state), "source", o->source);
}

static bool on_row_id(void *arg, const struct tg_row_object *row)
{
    struct trail *t = arg;

    if (t->row_count == TG_API_OBJECTS_MAX) {
        t->truncated = true;
        return false;
    }
    t->rows[t->row_count++] = row->id;
    return true;
}

static bool on_event_of(void *arg, const struct tg_row_event *row, int64_t journalled_ms)
{
    struct trail *t = arg;

    (void)journalled_ms;
    (void)tg_str_copy(tg_str_of(row->event_id), t->event_id, sizeof(t->event_id));
    return false;
}

/* The event id of an event row; NULL with a failure noted. */
static json_t *event_id_json(struct trail *t, int64_t event)
{
    t->event_id[0] = '\0';
    if (tg_reader_event_row(t->r, event, on_event_of, t, t->err) < 0) {
        t->failed = true;
    }
    return tg_json_text(t->event_id);
}

static bool on_object(void *arg, const struct tg_row_object *row)
{
    struct trail *t = arg;
    json_t *object = version_json(row);
    json_t *postings = json_array();

    if (!append(t, t->objects, object) || postings == NULL) {
        t->failed = true;
        json_decref(postings);
        return false;
    }
    memcpy(t->key, row->key, sizeof(t->key));
    t->event = row->event;
    set(t, object, "rules", tg_json_text(row->rules_sha256));
    set(t, object, "master", tg_json_text(row->master_version));
    set(t, object, "fields", tg_json_any(row->json));
    set(t, object, "postings", postings);
    t->state_count = 0;
    t->into = postings;
    if (t->failed || tg_reader_postings_of_object(t->r, row->id, on_posting, t, t->err) != 0 ||
        audit_of(t, "object", row->id) != 0) {
        t->failed = true;
        return false;
    }
    set(t, object, "stage",
        json_string(
            tg_business_state_name(tg_business_state_of(row->state, t->states, t->state_count))));
    return false;
}

struct others {
    struct trail *trail;
    json_t *list;
    int64_t self;
};

static bool on_other(void *arg, const struct tg_row_object *row)
{
    struct others *o = arg;
    json_t *version;

    if (row->id == o->self) {
        return true;
    }
    version = version_json(row);
    if (append(o->trail, o->list, version)) {
        set(o->trail, version, "event", event_id_json(o->trail, row->event));
    }
    return !o->trail->failed;
}

/* One version in full. others: name the other versions too. */
static int add_object(struct trail *t, int64_t row, bool others)
{
    struct others o = {.trail = t, .self = row};
    json_t *object;

    if (tg_reader_object(t->r, row, on_object, t, t->err) < 0 || t->failed) {
        return -1;
    }
    object = json_array_get(t->objects, json_array_size(t->objects) - 1);
    set(t, object, "event", event_id_json(t, t->event));
    if (others && !t->failed) {
        o.list = json_array();
        set(t, object, "other_versions", o.list);
        if (!t->failed && tg_reader_object_versions(t->r, t->key, on_other, &o, t->err) != 0) {
            return -1;
        }
    }
    return t->failed ? -1 : 0;
}

/* ---- exceptions ---- */

static bool on_exception(void *arg, const struct tg_row_exception *row)
{
    struct trail *t = arg;
    const struct tg_catalogue_entry *entry = tg_catalogue_find(t->catalogue, tg_str_of(row->code));

    if (is_full(t, t->exceptions)) {
        return false;
    }
    if (!append(t, t->exceptions,
                json_pack("{s:I, s:s, s:o, s:s, s:s, s:o, s:o, s:o, s:o, s:s, s:o}", "id",
                          (json_int_t)row->id, "code", row->code, "title",
                          tg_json_text(entry != NULL ? entry->title : NULL), "owner", row->owner,
                          "state", tg_exception_state_name(row->state), "opened_at",
                          tg_json_time(row->opened_ms), "closed_at", tg_json_time(row->closed_ms),
                          "runbook", tg_json_text(entry != NULL ? entry->runbook : NULL), "posting",
                          row->posting != 0 ? json_integer(row->posting) : json_null(), "about",
                          row->subject, "detail", tg_json_any(row->detail)))) {
        return false;
    }
    if (audit_of(t, "exception", row->id) != 0) {
        t->failed = true;
    }
    return !t->failed;
}

/* ---- events ---- */

struct event {
    struct trail *trail;
    json_t *json;
    int64_t row, duplicate_of;
};

static json_t *event_json(const struct tg_row_event *e, int64_t journalled_ms)
{
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:o, s:o, "
        "s:o}",
        "id", e->event_id, "status", tg_event_state_name(e->state), "type", e->type, "tenant",
        e->tenant, "client", e->client, "source", e->source, "source_id", e->ce_id, "subject",
        tg_json_text(e->subject), "time", tg_json_text(e->time), "dataschema",
        tg_json_text(e->dataschema), "key", tg_json_text(e->idem_key), "correlation_id",
        tg_json_text(e->correlation_id), "traceparent", tg_json_text(e->traceparent),
        "content_type", tg_json_text(e->content_type), "body_bytes", (json_int_t)e->body.len,
        "body_sha256", tg_json_text(e->body_sha256), "received_at", tg_json_time(e->received_ms),
        "journalled_at", tg_json_time(journalled_ms));
}

static bool on_event(void *arg, const struct tg_row_event *row, int64_t journalled_ms)
{
    struct event *e = arg;

    e->row = row->id;
    e->duplicate_of = row->duplicate_of;
    e->json = event_json(row, journalled_ms);
    e->trail->failed = e->json == NULL;
    return false;
}

static int event_parts(struct trail *t, const struct event *e, const char *event_id)
{
    if (audit_of(t, "event", e->row) != 0 ||
        tg_reader_audit_of(t->r, event_id, on_audit, t, t->err) != 0 ||
        tg_reader_objects_of_event(t->r, e->row, on_row_id, t, t->err) < 0) {
        return -1;
    }
    for (size_t i = 0; i < t->row_count; i++) {
        if (add_object(t, t->rows[i], true) != 0) {
            return -1;
        }
    }
    return tg_reader_exceptions_of_event(t->r, e->row, on_exception, t, t->err);
}

static int read_event(struct trail *t, const char *event_id)
{
    struct event e = {.trail = t};
    int rc = tg_reader_event(t->r, event_id, on_event, &e, t->err);

    if (rc != 0 || t->failed) {
        json_decref(e.json);
        return rc == 1 ? 1 : -1;
    }
    set(t, e.json, "duplicate_of",
        e.duplicate_of != 0 ? event_id_json(t, e.duplicate_of) : json_null());
    set(t, t->root, "event", e.json);
    return t->failed ? -1 : event_parts(t, &e, event_id);
}

static int add_event_of(struct trail *t, json_t *events, int64_t row)
{
    struct event e = {.trail = t};

    if (tg_reader_event_row(t->r, row, on_event, &e, t->err) < 0 || e.json == NULL ||
        !append(t, events, e.json)) {
        return -1;
    }
    return audit_of(t, "event", row) != 0 ||
                   tg_reader_exceptions_of_event(t->r, row, on_exception, t, t->err) < 0
               ? -1
               : 0;
}

static int read_object(struct trail *t, const unsigned char key[TG_POSTING_KEY_BYTES])
{
    json_t *events = json_array();

    set(t, t->root, "events", events);
    if (t->failed || tg_reader_object_versions(t->r, key, on_row_id, t, t->err) != 0) {
        return -1;
    }
    /* newest first there, oldest first here */
    for (size_t i = t->row_count; i > 0; i--) {
        if (add_object(t, t->rows[i - 1], false) != 0 || add_event_of(t, events, t->event) != 0) {
            return -1;
        }
    }
    return t->row_count > 0 ? 0 : 1;
}

/* ---- the three ways in ---- */

static struct trail *trail_new(struct tg_reader *r, const struct tg_catalogue *catalogue,
                               struct tg_error *err)
{
    struct trail *t = calloc(1, sizeof(*t));

    if (t == NULL) {
        tg_error_set(err, "out of memory");
        return NULL;
    }
    t->r = r;
    t->catalogue = catalogue;
    t->err = err;
    t->objects = json_array();
    t->exceptions = json_array();
    t->audit = json_array();
    t->root = json_pack("{s:o, s:o, s:o}", "objects", t->objects, "exceptions", t->exceptions,
                        "audit", t->audit);
    t->failed = t->root == NULL;
    return t;
}

/* Ends it; the JSON when rc is 0. */
static int trail_end(struct trail *t, int rc, json_t **out)
{
    if (rc == 0) {
        sort_audit(t);
        set(t, t->root, "truncated", json_boolean(t->truncated));
    }
    if (rc == 0 && !t->failed) {
        *out = json_incref(t->root);
    } else if (rc != 1 && t->err->text[0] == '\0') {
        tg_error_set(t->err, "out of memory");
    }
    rc = t->failed ? -1 : rc;
    json_decref(t->root);
    free(t);
    return rc;
}

int tg_trail_event(struct tg_reader *r, const struct tg_catalogue *catalogue, const char *event_id,
                   json_t **out, struct tg_error *err)
{
    struct trail *t = trail_new(r, catalogue, err);

    return t == NULL ? -1 : trail_end(t, t->failed ? -1 : read_event(t, event_id), out);
}

int tg_trail_object(struct tg_reader *r, const struct tg_catalogue *catalogue,
                    const unsigned char key[TG_POSTING_KEY_BYTES], json_t **out,
                    struct tg_error *err)
{
    struct trail *t = trail_new(r, catalogue, err);

    return t == NULL ? -1 : trail_end(t, t->failed ? -1 : read_object(t, key), out);
}

static bool on_posting_object(void *arg, const struct tg_row_posting *row)
{
    struct trail *t = arg;

    t->rows[0] = row->object;
    return false;
}

static bool on_object_event(void *arg, const struct tg_row_object *row)
{
    struct trail *t = arg;

    t->event = row->event;
    return false;
}

int tg_trail_posting(struct tg_reader *r, const struct tg_catalogue *catalogue,
                     const unsigned char key[TG_POSTING_KEY_BYTES], json_t **out,
                     struct tg_error *err)
{
    struct trail *t = trail_new(r, catalogue, err);
    int rc;

    if (t == NULL) {
        return -1;
    }
    rc = t->failed ? -1 : tg_reader_posting_by_key(r, key, on_posting_object, t, err);
    if (rc == 0) {
        rc = tg_reader_object(r, t->rows[0], on_object_event, t, err);
    }
    if (rc == 0) {
        json_decref(event_id_json(t, t->event));
        rc = t->failed ? -1 : read_event(t, t->event_id);
    }
    return trail_end(t, rc, out);
}
