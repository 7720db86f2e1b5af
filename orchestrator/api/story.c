/*
 * story.c: reads rows first, asks for their children after: a reader is not asked anew inside its
 * own callback.
 */
#include "api/story.h"

#include <string.h>

#include "api/rows.h"
#include "common/codec.h"
#include "core/decimal.h"

#define POSTINGS_OF_OBJECT_MAX 256 /* all generations of TG_POSTINGS_PER_OBJECT_MAX */
#define KEY_TEXT_BYTES (2 * TG_POSTING_KEY_BYTES + 1)

struct story {
    const struct tg_catalogue *catalogue;
    struct tg_str tenant;
    bool found, is_own, failed;
    int64_t row, duplicate_of;
    enum tg_event_state state;
    char original[TG_EVENT_ID_MAX_BYTES]; /* event id of duplicate_of */
    json_t *event, *objects, *exceptions; /* owned */
    int64_t object_ids[TG_API_OBJECTS_MAX];
    enum tg_version_state versions[TG_API_OBJECTS_MAX];
    int64_t numbers[TG_API_OBJECTS_MAX];
    unsigned char keys[TG_API_OBJECTS_MAX][TG_POSTING_KEY_BYTES];
    size_t object_count;
    enum tg_business_state stage; /* of the objects seen so far */
    bool has_stage;
};

/* Appends and takes item; false: out of memory. */
static bool append(struct story *s, json_t *list, json_t *item)
{
    if (item == NULL || json_array_append_new(list, item) != 0) {
        s->failed = true;
        return false;
    }
    return true;
}

/* The journal keeps "nothing" as the empty text. */
static const char *or_null(const char *text)
{
    return text != NULL && text[0] != '\0' ? text : NULL;
}

static bool on_event(void *arg, const struct tg_row_event *row, int64_t journalled_ms)
{
    struct story *s = arg;
    char received[TG_RFC3339_BYTES];

    (void)journalled_ms;
    s->found = true;
    s->is_own = tg_str_equal_c(s->tenant, row->tenant);
    if (!s->is_own) {
        return false;
    }
    s->row = row->id;
    s->duplicate_of = row->duplicate_of;
    s->state = row->state;
    if (tg_rfc3339_format(row->received_ms, received, sizeof(received)) != 0) {
        received[0] = '\0';
    }
    s->event = json_pack("{s:s, s:s, s:s?, s:s?, s:s, s:s?}", "id", row->event_id, "status",
                         tg_event_state_name(row->state), "type", row->type, "source", row->source,
                         "received_at", received, "correlation_id", or_null(row->correlation_id));
    s->failed = s->event == NULL;
    return false;
}

/* Of the original: what a duplicate's answer needs. */
static bool on_original(void *arg, const struct tg_row_event *row, int64_t journalled_ms)
{
    struct story *s = arg;

    (void)journalled_ms;
    s->state = row->state;
    if (!tg_str_copy(tg_str_of(row->event_id), s->original, sizeof(s->original))) {
        s->original[0] = '\0';
    }
    return false;
}

/* The row of the same version that this one took the place of; object_count: none. */
static size_t earlier_row(const struct story *s, const struct tg_row_object *row)
{
    size_t i = 0;

    while (i < s->object_count && (s->numbers[i] != row->version ||
                                   memcmp(s->keys[i], row->key, sizeof(s->keys[i])) != 0)) {
        i++;
    }
    return i;
}

/* In order of id: of a version that was judged again the last row is shown. */
static bool on_object(void *arg, const struct tg_row_object *row)
{
    struct story *s = arg;
    size_t at = earlier_row(s, row);
    json_t *object;

    if (at == TG_API_OBJECTS_MAX) {
        return false;
    }
    object =
        json_pack("{s:s, s:s, s:I, s:s, s:s?}", "kind", row->kind, "id", row->object_id, "version",
                  (json_int_t)row->version, "state", tg_version_state_name(row->state), "waits_for",
                  row->state == TG_VERSION_HELD ? row->waits_for : NULL);
    s->object_ids[at] = row->id;
    s->versions[at] = row->state;
    s->numbers[at] = row->version;
    memcpy(s->keys[at], row->key, sizeof(s->keys[at]));
    if (at == s->object_count) {
        s->object_count++;
        return append(s, s->objects, object);
    }
    s->failed = object == NULL || json_array_set_new(s->objects, at, object) != 0;
    return !s->failed;
}

struct postings {
    struct story *story;
    json_t *list; /* owned by the object it belongs to */
    enum tg_posting_state states[POSTINGS_OF_OBJECT_MAX];
    size_t count;
};

static void key_text(const unsigned char key[TG_POSTING_KEY_BYTES], char out[KEY_TEXT_BYTES])
{
    tg_hex_encode(key, TG_POSTING_KEY_BYTES, out);
    out[KEY_TEXT_BYTES - 1] = '\0';
}

static bool on_posting(void *arg, const struct tg_row_posting *row)
{
    struct postings *p = arg;
    struct tg_decimal quantity = {row->quantity_micros};
    char amount[TG_DECIMAL_TEXT_BYTES];
    char key[KEY_TEXT_BYTES];
    char reverses[KEY_TEXT_BYTES];

    if (p->count == POSTINGS_OF_OBJECT_MAX) {
        return false;
    }
    if (row->reverses == 0 || row->state == TG_POSTING_EXCEPTION) {
        p->states[p->count++] = row->state; /* see tg_business_state_of */
    }
    key_text(row->key, key);
    key_text(row->reverses_key, reverses);
    if (tg_decimal_format(quantity, 0, amount) == 0) {
        amount[0] = '\0';
    }
    return append(p->story, p->list,
                  json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:s?, s:s?, s:s, s:s?, s:s?}",
                            "destination",
                            tg_short_destination(row->destination_id, p->story->tenant), "kind",
                            row->kind, "leg", row->leg, "state", tg_posting_state_name(row->state),
                            "key", key, "attempt", (int)row->attempt, "ref", or_null(row->ref),
                            "period", or_null(row->period), "quantity", amount, "hold",
                            or_null(row->hold), "reverses", row->reverses != 0 ? reverses : NULL));
}

/* {"code", "field", "message"} of each violation in an exception's detail; never NULL but for lack
 * of memory. Its owner is the exception's. */
static json_t *violations_of(const json_t *detail)
{
    json_t *out = json_array();
    size_t i;
    json_t *v;

    json_array_foreach(json_object_get(detail, "violations"), i, v)
    {
        json_t *item =
            json_pack("{s:O*, s:O*, s:O*}", "code", json_object_get(v, "code"), "field",
                      json_object_get(v, "field"), "message", json_object_get(v, "message"));

        if (out == NULL || item == NULL || json_array_append_new(out, item) != 0) {
            json_decref(out);
            return NULL;
        }
    }
    return out;
}

/* What a person reads: intake and dispatch write {"message", ...}; plain words are the message. */
static int add_detail(json_t *exception, const char *detail)
{
    json_t *parsed = detail != NULL ? json_loads(detail, 0, NULL) : NULL;
    json_t *message = json_object_get(parsed, "message");
    json_t *violations = violations_of(parsed);
    int rc = -1;

    if (violations != NULL) {
        message = json_is_string(message)   ? json_incref(message)
                  : or_null(detail) != NULL ? json_string(detail)
                                            : json_null();
        rc = json_object_set_new(exception, "message", message);
        rc = rc == 0 ? json_object_set(exception, "violations", violations) : -1;
    }
    json_decref(violations);
    json_decref(parsed);
    return rc;
}

static bool on_exception(void *arg, const struct tg_row_exception *row)
{
    struct story *s = arg;
    const struct tg_catalogue_entry *entry = tg_catalogue_find(s->catalogue, tg_str_of(row->code));
    json_t *item;

    if (json_array_size(s->exceptions) == TG_API_OBJECTS_MAX) {
        return false;
    }
    item = json_pack("{s:I, s:s, s:s, s:s?, s:s}", "id", (json_int_t)row->id, "code", row->code,
                     "owner", row->owner, "title", entry != NULL ? entry->title : NULL, "state",
                     tg_exception_state_name(row->state));
    if (item != NULL && add_detail(item, row->detail) != 0) {
        json_decref(item);
        item = NULL;
    }
    return append(s, s->exceptions, item);
}

/* Several objects: an exception anywhere, else the one that is least far. */
static void add_stage(struct story *s, enum tg_business_state stage)
{
    if (!s->has_stage || stage == TG_BUSINESS_EXCEPTION ||
        (s->stage != TG_BUSINESS_EXCEPTION && stage < s->stage)) {
        s->stage = stage;
    }
    s->has_stage = true;
}

static int read_postings(struct story *s, struct tg_reader *r, struct tg_error *err)
{
    for (size_t i = 0; i < s->object_count; i++) {
        struct postings p = {.story = s, .list = json_array()};
        json_t *object = json_array_get(s->objects, i);
        enum tg_business_state stage;

        if (p.list == NULL || json_object_set_new(object, "postings", p.list) != 0) {
            return tg_error_set(err, "out of memory");
        }
        if (tg_reader_postings_of_object(r, s->object_ids[i], on_posting, &p, err) != 0) {
            return -1;
        }
        stage = tg_business_state_of(s->versions[i], p.states, p.count);
        if (json_object_set_new(object, "business_state",
                                json_string(tg_business_state_name(stage))) != 0) {
            return tg_error_set(err, "out of memory");
        }
        add_stage(s, stage);
    }
    return 0;
}

/* A duplicate has nothing of its own: it is as far as the event it repeats. */
static int read_parts(struct story *s, struct tg_reader *r, struct tg_error *err)
{
    int64_t row = s->row;

    if (s->duplicate_of != 0) {
        row = s->duplicate_of;
        if (tg_reader_event_row(r, row, on_original, s, err) < 0) {
            return -1;
        }
    }
    if (tg_reader_objects_of_event(r, row, on_object, s, err) < 0 || s->failed ||
        read_postings(s, r, err) != 0 ||
        tg_reader_exceptions_of_event(r, row, on_exception, s, err) < 0) {
        return -1;
    }
    if (s->state == TG_EVENT_EXCEPTION) {
        add_stage(s, TG_BUSINESS_EXCEPTION);
    }
    return s->failed ? tg_error_set(err, "out of memory") : 0;
}

static json_t *compose(struct story *s)
{
    enum tg_business_state stage = s->has_stage ? s->stage : TG_BUSINESS_RECEIVED;
    int rc = json_object_set_new(s->event, "stage", json_string(tg_business_state_name(stage)));

    if (rc == 0 && s->original[0] != '\0') {
        rc = json_object_set_new(s->event, "duplicate_of", json_string(s->original));
    }
    if (rc == 0) {
        rc = json_object_set(s->event, "objects", s->objects);
    }
    if (rc == 0) {
        rc = json_object_set(s->event, "exceptions", s->exceptions);
    }
    return rc == 0 ? json_incref(s->event) : NULL;
}

static enum tg_story_result read_all(struct story *s, struct tg_reader *r, const char *event_id,
                                     json_t **out, struct tg_error *err)
{
    int rc;

    if (s->objects == NULL || s->exceptions == NULL) {
        tg_error_set(err, "out of memory");
        return TG_STORY_FAILED;
    }
    rc = tg_reader_event(r, event_id, on_event, s, err);
    if (rc < 0) {
        return TG_STORY_FAILED;
    }
    if (rc == 1 || !s->found) {
        return TG_STORY_ABSENT;
    }
    if (!s->is_own) {
        return TG_STORY_OTHER;
    }
    if (s->failed) {
        tg_error_set(err, "out of memory");
        return TG_STORY_FAILED;
    }
    if (read_parts(s, r, err) != 0) {
        return TG_STORY_FAILED;
    }
    *out = compose(s);
    if (*out == NULL) {
        tg_error_set(err, "out of memory");
        return TG_STORY_FAILED;
    }
    return TG_STORY_FOUND;
}

enum tg_story_result tg_story_read(struct tg_reader *r, const struct tg_catalogue *catalogue,
                                   const char *event_id, struct tg_str tenant, json_t **out,
                                   struct tg_error *err)
{
    struct story s = {.catalogue = catalogue, .tenant = tenant};
    enum tg_story_result result;

    s.objects = json_array();
    s.exceptions = json_array();
    result = read_all(&s, r, event_id, out, err);
    json_decref(s.event);
    json_decref(s.objects);
    json_decref(s.exceptions);
    return result;
}
