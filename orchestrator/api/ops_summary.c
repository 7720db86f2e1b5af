/* ops_summary.c: GET /v1/ops/summary: how things stand, by partial indexes alone. */
#include <stdlib.h>

#include "api/ops_list.h"
#include "api/rows.h"
#include "core/metrics.h"
#include "dispatch/dispatch.h"
#include "journal/restored.h"
#include "journal/summary.h"

struct summary {
    struct tg_ops_list list;
    struct tg_error err;
    json_t *into;      /* what is being filled; borrowed */
    uint64_t count;    /* of exceptions */
    int64_t oldest_ms; /* of exceptions; 0: none */
    int64_t found_ms;  /* of one posting or event */
    struct {
        uint32_t number;
        char name[TG_SOURCE_NAME_MAX_BYTES + 1];
    } destinations[TG_JOURNAL_PAGE_MAX];
    size_t destination_count;
    struct tg_state_count states[TG_POSTING_STATE_COUNT];
    size_t state_count;
};

static void set(struct summary *s, json_t *object, const char *name, json_t *value)
{
    if (value == NULL || json_object_set_new(object, name, value) != 0) {
        s->list.failed = true;
    }
}

static void append(struct summary *s, json_t *list, json_t *value)
{
    if (value == NULL || json_array_append_new(list, value) != 0) {
        s->list.failed = true;
    }
}

/* ---- exceptions ---- */

static void on_group(void *arg, const struct tg_open_exceptions *row)
{
    struct summary *s = arg;
    const struct tg_catalogue_entry *e =
        tg_catalogue_find(s->list.ctx->options->catalogue, tg_str_of(row->code));

    s->count += row->count;
    s->oldest_ms =
        s->oldest_ms == 0 || row->oldest_ms < s->oldest_ms ? row->oldest_ms : s->oldest_ms;
    append(s, s->into,
           json_pack("{s:s, s:o, s:s, s:s, s:I, s:o}", "code", row->code, "title",
                     tg_json_text(e != NULL ? e->title : NULL), "owner", row->owner, "state",
                     tg_exception_state_name(row->state), "count", (json_int_t)row->count,
                     "oldest_at", tg_json_time(row->oldest_ms)));
}

static int add_exceptions(struct summary *s, json_t *root)
{
    json_t *groups = json_array();
    json_t *part = json_pack("{s:o}", "groups", groups);
    bool more = false;

    set(s, root, "exceptions", part);
    s->into = groups;
    if (s->list.failed || tg_reader_open_exceptions(s->list.reader, s->list.tenant->id, on_group, s,
                                                    &more, &s->err) != 0) {
        return -1;
    }
    set(s, part, "open", json_integer((json_int_t)s->count));
    set(s, part, "oldest_at", tg_json_time(s->oldest_ms));
    set(s, part, "more", json_boolean(more));
    return 0;
}

/* ---- destinations ---- */

static void on_number(void *arg, uint32_t number, const char *destination_id)
{
    struct summary *s = arg;
    const char *name = tg_short_destination(destination_id, s->list.rq->tenant);
    size_t at = s->destination_count;

    if (tg_str_copy(tg_str_of(name), s->destinations[at].name, sizeof(s->destinations[at].name))) {
        s->destinations[at].number = number;
        s->destination_count++;
    }
}

static void on_state(void *arg, const struct tg_state_count *row)
{
    struct summary *s = arg;

    if (s->state_count < TG_POSTING_STATE_COUNT) {
        s->states[s->state_count++] = *row;
    }
}

static bool on_oldest(void *arg, const struct tg_row_posting *row)
{
    struct summary *s = arg;

    s->found_ms = row->journalled_ms;
    return false;
}

static int add_destination(struct summary *s, json_t *list, size_t at)
{
    json_t *states = json_object();
    json_t *part = json_pack("{s:s, s:n, s:o}", "destination", s->destinations[at].name, "paused",
                             "states", states);
    bool more = false;

    append(s, list, part);
    s->state_count = 0;
    if (s->list.failed || tg_reader_open_states(s->list.reader, s->destinations[at].number,
                                                on_state, s, &more, &s->err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < s->state_count; i++) {
        s->found_ms = 0;
        if (tg_reader_posting(s->list.reader, s->states[i].oldest, on_oldest, s, &s->err) < 0) {
            return -1;
        }
        set(s, states, tg_posting_state_name(s->states[i].state),
            json_pack("{s:I, s:o}", "count", (json_int_t)s->states[i].count, "oldest_at",
                      tg_json_time(s->found_ms)));
    }
    set(s, part, "more", json_boolean(more));
    return 0;
}

static void on_pause(void *arg, const struct tg_row_pause *row)
{
    struct summary *s = arg;

    for (size_t i = 0; i < s->destination_count; i++) {
        if (s->destinations[i].number == row->destination) {
            set(s, json_array_get(s->into, i), "paused",
                json_pack("{s:s, s:o, s:s}", "by", row->actor, "at", tg_json_time(row->at_ms),
                          "reason", row->reason));
        }
    }
}

static int add_destinations(struct summary *s, json_t *root)
{
    json_t *list = json_array();

    set(s, root, "destinations", list);
    if (s->list.failed ||
        tg_reader_destinations_of(s->list.reader, s->list.tenant->id, on_number, s, &s->err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < s->destination_count; i++) {
        if (add_destination(s, list, i) != 0) {
            return -1;
        }
    }
    s->into = list;
    return tg_reader_pauses(s->list.reader, on_pause, s, &s->err);
}

/* ---- the rest ---- */

static bool on_held(void *arg, const struct tg_row_object *row)
{
    *(int64_t *)arg = row->event;
    return false;
}

static bool on_event(void *arg, const struct tg_row_event *row, int64_t journalled_ms)
{
    struct summary *s = arg;

    (void)row;
    s->found_ms = journalled_ms;
    return false;
}

static int add_held(struct summary *s, json_t *root)
{
    uint64_t count = 0;
    int64_t oldest = 0, event = 0;
    bool more = false;

    s->found_ms = 0;
    if (tg_reader_held_count(s->list.reader, s->list.tenant->id, &count, &oldest, &more, &s->err) !=
            0 ||
        (oldest != 0 && (tg_reader_object(s->list.reader, oldest, on_held, &event, &s->err) < 0 ||
                         tg_reader_event_row(s->list.reader, event, on_event, s, &s->err) < 0))) {
        return -1;
    }
    set(s, root, "held_versions",
        json_pack("{s:I, s:o, s:b}", "count", (json_int_t)count, "oldest_at",
                  tg_json_time(s->found_ms), "more", (int)more));
    return 0;
}

static bool on_alarm(void *arg, const struct tg_audit_row *row)
{
    struct summary *s = arg;

    append(s, s->into,
           json_pack("{s:s, s:I, s:o}", "action", row->action, "seq", (json_int_t)row->seq, "at",
                     tg_json_time(row->at_ms)));
    return false;
}

/* Of the whole process, not of one tenant: no row of another tenant's is named. */
static int add_process(struct summary *s, json_t *root)
{
    static const char *const alarms[] = {"journal.restored", "stream.entry_lost",
                                         "stream.entries_missing"};
    json_t *list = json_array();
    struct tg_restored restored;
    int rc = tg_reader_restored(s->list.reader, &restored, &s->err);

    set(s, root, "alarms", list);
    set(s, root, "stream",
        json_pack("{s:b, s:I}", "connected", tg_metric_get(TG_METRIC_REDIS_CONNECTED) != 0,
                  "backlog", (json_int_t)tg_metric_get(TG_METRIC_STREAM_BACKLOG)));
    set(s, root, "restored",
        rc == 0 ? json_pack("{s:o, s:o, s:b}", "at", tg_json_time(restored.at_ms), "backup_of",
                            tg_json_time(restored.backup_ms), "done",
                            restored.state == TG_RESTORED_DONE)
                : json_null());
    s->into = list;
    for (size_t i = 0; rc >= 0 && i < sizeof(alarms) / sizeof(alarms[0]); i++) {
        rc = tg_reader_alarm(s->list.reader, alarms[i], on_alarm, s, &s->err);
    }
    return rc < 0 ? -1 : 0;
}

void tg_api_ops_summary(struct tg_api_context *ctx, const struct tg_api_request *rq,
                        struct tg_reply *out)
{
    static const char *const names[] = {NULL};
    struct summary *s = calloc(1, sizeof(*s));
    json_t *root;
    int rc = -1;

    if (s == NULL) {
        tg_reply_problem(out, TG_PROBLEM_INTERNAL, rq->correlation_id, "out of memory");
        return;
    }
    if (tg_ops_list_begin(&s->list, ctx, rq, NULL, names, out)) {
        root = json_pack("{s:o}", "at", tg_json_time(tg_dispatch_now_ms()));
        s->list.failed = root == NULL;
        if (!s->list.failed && add_exceptions(s, root) == 0 && add_destinations(s, root) == 0 &&
            add_held(s, root) == 0 && add_process(s, root) == 0) {
            rc = 0;
        }
        tg_ops_show_end(&s->list, rc, &s->err, root);
    }
    free(s);
}
