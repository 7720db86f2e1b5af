/* ops_postings.c: GET /v1/ops/postings and /v1/ops/postings/{key}. */
#include <string.h>

#include "api/ops_list.h"
#include "api/rows.h"
#include "common/codec.h"

#define KIND_OF_WORK "time_entry"                   /* where a subject names no kind */
#define CHOICES_MAX (TG_SOURCES_PER_TENANT_MAX * 4) /* see add_choices */

/* ---- the list ---- */

struct choices {
    struct tg_object_choice items[CHOICES_MAX];
    size_t count;
};

static int add_choice(struct choices *c, const struct tg_config_tenant *t, struct tg_str kind,
                      struct tg_str id, int64_t version)
{
    for (size_t i = 0; i < t->source_count && c->count < CHOICES_MAX; i++) {
        struct tg_object_choice *choice = &c->items[c->count++];

        choice->version = version;
        if (tg_object_key(tg_str_of(t->id), kind, tg_str_of(t->sources[i].name), id, choice->key) !=
            0) {
            return -1;
        }
    }
    return 0;
}

/* "TE-1", and "TE-1@2" as version 2 of TE-1 or as an id with an @ of its own. */
static int add_id(struct choices *c, const struct tg_config_tenant *t, struct tg_str kind,
                  struct tg_str id)
{
    size_t at = id.len;
    int64_t version;

    while (at > 0 && id.data[at - 1] != '@') {
        at--;
    }
    if (at > 1 && tg_str_to_i64((struct tg_str){id.data + at, id.len - at}, &version) &&
        add_choice(c, t, kind, (struct tg_str){id.data, at - 1}, version) != 0) {
        return -1;
    }
    return add_choice(c, t, kind, id, -1);
}

/* A subject is an id of an entry, or KIND/ID; an id may hold a slash too. */
static int add_choices(struct choices *c, const struct tg_config_tenant *t, struct tg_str subject)
{
    const unsigned char *slash = memchr(subject.data, '/', subject.len);
    const size_t before = slash != NULL ? (size_t)(slash - subject.data) : 0;

    if (before > 0 && before + 1 < subject.len &&
        add_id(c, t, (struct tg_str){subject.data, before},
               (struct tg_str){slash + 1, subject.len - before - 1}) != 0) {
        return -1;
    }
    return add_id(c, t, tg_str_of(KIND_OF_WORK), subject);
}

static bool on_posting(void *arg, const struct tg_row_posting *row)
{
    struct tg_ops_list *l = arg;

    return tg_ops_list_add(l, tg_posting_json(row, l->rq->tenant));
}

/* `open`, or a state's name; not given: any. */
static bool posting_state(struct tg_ops_list *l, struct tg_str value, int *out)
{
    const char *words[TG_POSTING_STATE_COUNT + 1];
    struct tg_error err = {""};

    for (int i = 0; i < (int)TG_POSTING_STATE_COUNT; i++) {
        words[i] = tg_posting_state_name((enum tg_posting_state)i);
    }
    words[TG_POSTING_STATE_COUNT] = "open";
    *out = TG_QUERY_ANY_STATE;
    if (tg_param_word("state", value, words, TG_POSTING_STATE_COUNT + 1, out, &err) != 0) {
        tg_ops_refuse(l, TG_PROBLEM_QUERY_INVALID, err.text);
        return false;
    }
    *out = *out == (int)TG_POSTING_STATE_COUNT ? TG_QUERY_OPEN : *out;
    return true;
}

void tg_api_ops_postings(struct tg_api_context *ctx, const struct tg_api_request *rq,
                         struct tg_reply *out)
{
    enum { STATE = TG_OPS_FILTERS, DESTINATION, SUBJECT, PERIOD, SINCE, UNTIL, FILTERS_END };
    static const char *const names[FILTERS_END + 1] = {
        [TG_OPS_CURSOR] = "cursor", [TG_OPS_LIMIT] = "limit",
        [STATE] = "state",          [DESTINATION] = "destination",
        [SUBJECT] = "subject",      [PERIOD] = "period",
        [SINCE] = "since",          [UNTIL] = "until"};
    struct choices choices = {.count = 0};
    struct tg_posting_query q = {0};
    struct tg_error err = {""};
    struct tg_ops_list l;
    struct tg_walk w;
    int rc = 0;

    if (!tg_ops_list_begin(&l, ctx, rq, "postings", names, out) || !tg_ops_walk_from(&l, &w) ||
        !posting_state(&l, l.values[STATE], &q.state) || !tg_ops_texts(&l, DESTINATION, PERIOD) ||
        !tg_ops_span(&l, SINCE, UNTIL, &q.span)) {
        return;
    }
    q.tenant = l.tenant->id;
    q.destination = l.values[DESTINATION];
    q.period = l.values[PERIOD];
    if (l.values[SUBJECT].data != NULL) {
        rc = add_choices(&choices, l.tenant, l.values[SUBJECT]);
        l.failed = l.failed || rc != 0;
        q.objects = choices.items;
        q.object_count = choices.count;
    }
    if (rc == 0) {
        rc = tg_reader_list_postings(l.reader, &q, &w, on_posting, &l, &err);
    }
    tg_ops_walk_end(&l, rc, &err, &w);
}

/* ---- one posting ---- */

struct shown {
    struct tg_ops_list *list;
    struct tg_reader *r;
    json_t *json;                        /* owned */
    json_t *into, *generations, *undone; /* json owns them */
    int64_t id, object, event;
    struct {
        char destination[TG_TENANT_MAX_BYTES + 1 + TG_SOURCE_NAME_MAX_BYTES + 1];
        char kind[TG_SOURCE_NAME_MAX_BYTES + 1], leg[TG_SOURCE_NAME_MAX_BYTES + 1];
    } same; /* what generations of one posting share */
    bool is_reversal;
};

static bool append(struct shown *s, json_t *list, json_t *item)
{
    if (item == NULL || json_array_append_new(list, item) != 0) {
        s->list->failed = true;
    }
    return !s->list->failed && json_array_size(list) < TG_TRAIL_ROWS_MAX;
}

static void set(struct shown *s, const char *name, json_t *value)
{
    if (value == NULL || json_object_set_new(s->json, name, value) != 0) {
        s->list->failed = true;
    }
}

static bool on_found(void *arg, const struct tg_row_posting *row)
{
    struct shown *s = arg;

    if (!tg_query_is_of(row->destination_id, s->list->tenant->id)) {
        return false;
    }
    s->id = row->id;
    s->object = row->object;
    s->is_reversal = row->reverses != 0;
    s->json = tg_posting_json(row, s->list->rq->tenant);
    if (s->json == NULL ||
        !tg_str_copy(tg_str_of(row->destination_id), s->same.destination,
                     sizeof(s->same.destination)) ||
        !tg_str_copy(tg_str_of(row->kind), s->same.kind, sizeof(s->same.kind)) ||
        !tg_str_copy(tg_str_of(row->leg), s->same.leg, sizeof(s->same.leg))) {
        s->list->failed = true;
        return false;
    }
    set(s, "correlation_id", tg_json_text(row->correlation_id));
    return false;
}

static json_t *link_json(const struct tg_row_posting *row)
{
    return json_pack("{s:o, s:i, s:s, s:o}", "key", tg_json_key(row->key), "generation",
                     (int)row->generation, "state", tg_posting_state_name(row->state), "ref",
                     tg_json_text(row->ref));
}

/* The other postings of its version: generations of itself, and what takes it back. */
static bool on_relative(void *arg, const struct tg_row_posting *row)
{
    struct shown *s = arg;

    if (row->reverses == s->id) {
        return append(s, s->undone, link_json(row));
    }
    if ((row->reverses != 0) == s->is_reversal &&
        strcmp(row->destination_id, s->same.destination) == 0 &&
        strcmp(row->kind, s->same.kind) == 0 && strcmp(row->leg, s->same.leg) == 0) {
        return append(s, s->generations, link_json(row));
    }
    return true;
}

static bool on_attempt(void *arg, const struct tg_row_attempt *row)
{
    struct shown *s = arg;

    return append(s, s->into, tg_attempt_json(row));
}

static bool on_exception(void *arg, const struct tg_row_exception *row)
{
    struct shown *s = arg;

    return append(s, s->into, tg_exception_json(s->list->ctx->options->catalogue, row));
}

static bool on_object(void *arg, const struct tg_row_object *row)
{
    struct shown *s = arg;

    s->event = row->event;
    return false;
}

static bool on_event(void *arg, const struct tg_row_event *row, int64_t journalled_ms)
{
    struct shown *s = arg;

    (void)journalled_ms;
    set(s, "event", tg_json_text(row->event_id));
    return false;
}

static int read_parts(struct shown *s, struct tg_error *err)
{
    set(s, "generations", s->generations = json_array());
    set(s, "reversed_by", s->undone = json_array());
    set(s, "attempts", s->into = json_array());
    if (s->list->failed || tg_reader_postings_of_object(s->r, s->object, on_relative, s, err) < 0 ||
        tg_reader_attempts(s->r, s->id, on_attempt, s, err) != 0) {
        return -1;
    }
    set(s, "exceptions", s->into = json_array());
    if (s->list->failed || tg_reader_exceptions_of_posting(s->r, s->id, on_exception, s, err) < 0 ||
        tg_reader_object(s->r, s->object, on_object, s, err) < 0) {
        return -1;
    }
    return tg_reader_event_row(s->r, s->event, on_event, s, err) < 0 ? -1 : 0;
}

void tg_api_ops_posting(struct tg_api_context *ctx, const struct tg_api_request *rq,
                        struct tg_reply *out)
{
    static const char *const names[] = {NULL};
    unsigned char key[TG_POSTING_KEY_BYTES];
    struct tg_error err = {""};
    struct tg_ops_list l;
    struct shown s = {.list = &l};
    int rc = 1;

    if (!tg_ops_list_begin(&l, ctx, rq, NULL, names, out)) {
        return;
    }
    s.r = l.reader;
    if (tg_hex_decode(rq->rest, key, sizeof(key)) == (int)sizeof(key)) {
        rc = tg_reader_posting_by_key(l.reader, key, on_found, &s, &err);
    }
    if (rc == 0 && s.json != NULL && !l.failed) {
        rc = read_parts(&s, &err);
    }
    tg_ops_show_end(&l, rc, &err, s.json);
}
