/*
 * Between two durable actions the process may die; what then happens:
 *
 *   B1  asked for, not on disk               -> nothing; nobody was told
 *   B2  items asked for, the place not noted -> asked for again; what is closed changes nothing
 *   B3  the place noted                      -> goes on there
 */
#include "api/replays.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "dispatch/people.h"
#include "intake/again.h"
#include "journal/approvals.h"
#include "journal/replays.h"

#define TOKEN_BYTES 65
#define SUBJECT_BYTES 40

/* One that goes on. */
struct run {
    struct run *next;
    struct tg_replays *owner;
    struct tg_row_replay row; /* its texts are below */
    char tenant[TG_TENANT_MAX_BYTES + 1], actor[TG_CLIENT_MAX_BYTES + 1];
    char reason[TG_REASON_MAX_BYTES + 1], token[TOKEN_BYTES];
    json_t *refusals;                                     /* owned */
    int64_t *items;                                       /* owned */
    bool is_noted;                                        /* its row is on disk */
    void (*done)(void *arg, int64_t id, const char *why); /* until then */
    void *done_arg;
};

/* One item that is asked for. */
struct item {
    struct tg_replays *owner;
    int64_t exception, event; /* event: to be judged again, and not asked for yet; 0: no */
};

struct tg_replays {
    struct tg_replays_parts with;
    uv_timer_t timer;
    struct run *head;
    size_t count;
    struct item slice[TG_REPLAY_SLICE];
    size_t asked, answered; /* of the slice; all are answered: its place is to be noted */
    bool noting, stopped;
};

static void on_timer(uv_timer_t *timer);

static void later(struct tg_replays *r, uint64_t ms)
{
    if (!r->stopped) {
        (void)uv_timer_start(&r->timer, on_timer, ms, 0);
    }
}

/* ---- a run ---- */

static void run_free(struct run *u)
{
    json_decref(u->refusals);
    free(u->items);
    free(u);
}

static int take_items(struct run *u, const json_t *items)
{
    const size_t n = json_array_size(items);

    u->items = n <= TG_REPLAY_ITEMS_MAX ? calloc(n + 1, sizeof(*u->items)) : NULL;
    for (size_t i = 0; u->items != NULL && i < n; i++) {
        u->items[i] = json_integer_value(json_array_get(items, i));
    }
    u->row.total = (int64_t)n;
    return u->items != NULL ? 0 : -1;
}

static struct run *run_new(const char *tenant, const char *actor, const char *reason,
                           const char *token, const json_t *items)
{
    struct run *u = calloc(1, sizeof(*u));

    if (u == NULL) {
        return NULL;
    }
    u->refusals = json_array();
    if (u->refusals == NULL || take_items(u, items) != 0 ||
        !tg_str_copy(tg_str_of(tenant), u->tenant, sizeof(u->tenant)) ||
        !tg_str_copy(tg_str_of(actor), u->actor, sizeof(u->actor)) ||
        !tg_str_copy(tg_str_of(reason), u->reason, sizeof(u->reason)) ||
        !tg_str_copy(tg_str_of(token), u->token, sizeof(u->token))) {
        run_free(u);
        return NULL;
    }
    return u;
}

static void append(struct tg_replays *r, struct run *u)
{
    struct run **at = &r->head;

    while (*at != NULL) {
        at = &(*at)->next;
    }
    *at = u;
    r->count++;
}

static void take_out(struct tg_replays *r, struct run *u)
{
    struct run **at = &r->head;

    while (*at != u) {
        at = &(*at)->next;
    }
    *at = u->next;
    r->count--;
    run_free(u);
}

/* ---- the place ---- */

static void on_noted(void *arg, bool ok, const struct tg_error *err)
{
    struct tg_replays *r = arg;
    struct run *u = r->head;

    r->noting = false;
    if (!ok) { /* it goes on at the next start, from the place that is on disk */
        tg_log(TG_LOG_ERROR, "api", "replay %" PRId64 ": its place cannot be noted: %s", u->row.id,
               err->text);
        r->stopped = true;
        return;
    }
    r->asked = r->answered = 0;
    if (u->row.ended_ms != 0) {
        tg_log(TG_LOG_INFO, "api",
               "replay %" PRId64 " of %s is over: %" PRId64 " replayed, %" PRId64
               " as before, %" PRId64 " refused",
               u->row.id, u->tenant, u->row.done, u->row.unchanged, u->row.refused);
        take_out(r, u);
    }
    later(r, 0);
}

/* The audit row of its beginning or its end. */
static int put_audit(struct tg_batch *b, const struct run *u, const char *action)
{
    char subject[SUBJECT_BYTES], detail[256];

    (void)snprintf(subject, sizeof(subject), "replay %" PRId64, u->row.id);
    (void)snprintf(detail, sizeof(detail),
                   "{\"total\":%" PRId64 ",\"done\":%" PRId64 ",\"unchanged\":%" PRId64
                   ",\"refused\":%" PRId64 "}",
                   u->row.total, u->row.done, u->row.unchanged, u->row.refused);
    return tg_batch_audit(b, u->actor, action, subject, detail);
}

static int64_t wall_ms(void)
{
    uv_timeval64_t t;

    return uv_gettimeofday(&t) == 0 ? t.tv_sec * 1000 + t.tv_usec / 1000 : 1;
}

static void note_place(struct tg_replays *r)
{
    struct run *u = r->head;
    struct tg_row_replay row = u->row;
    struct tg_batch *b = tg_batch_new();
    char *refusals = json_dumps(u->refusals, JSON_COMPACT);
    int rc = -1;

    row.position = row.done + row.unchanged + row.refused;
    row.ended_ms = row.position == row.total ? wall_ms() : 0;
    row.refusals = refusals;
    u->row.position = row.position;
    u->row.ended_ms = row.ended_ms;
    if (b != NULL && refusals != NULL && tg_batch_replay_step(b, &row) == 0 &&
        (row.ended_ms == 0 || put_audit(b, u, "replay.ended") == 0)) {
        rc = tg_journal_submit(r->with.journal, b, on_noted, r);
    }
    if (rc != 0) {
        tg_batch_free(b);
        later(r, TG_REPLAY_WAIT_MS);
    }
    r->noting = rc == 0;
    free(refusals);
}

/* ---- items ---- */

static void answered(struct item *i, int64_t *counter, const char *refusal)
{
    struct tg_replays *r = i->owner;
    struct run *u = r->head;

    if (r->stopped) { /* what the end of the process says is no answer */
        return;
    }
    (*counter)++;
    if (refusal != NULL && json_array_size(u->refusals) < TG_REPLAY_REFUSALS_MAX) {
        json_t *row =
            json_pack("{s:I, s:s}", "exception", (json_int_t)i->exception, "message", refusal);

        if (row == NULL || json_array_append_new(u->refusals, row) != 0) {
            tg_log(TG_LOG_WARN, "api", "replay %" PRId64 ": no memory to say why one was refused",
                   u->row.id);
        }
    }
    r->answered++;
    if (r->answered == r->asked) {
        later(r, 0);
    }
}

static void on_again(void *arg, const struct tg_again_answer *a)
{
    struct item *i = arg;
    struct run *u = i->owner->head;

    if (a->result == TG_AGAIN_REFUSED) {
        answered(i, &u->row.refused, a->message);
    } else if (a->result != TG_AGAIN_STOPPING) { /* asked for again after the start */
        answered(i, a->result == TG_AGAIN_DONE ? &u->row.done : &u->row.unchanged, NULL);
    }
}

static void judge_again(struct item *i)
{
    struct run *u = i->owner->head;
    const int64_t event = i->event;
    const struct tg_again_request q = {.event = event,
                                       .why = TG_AGAIN_REPLAY,
                                       .exception = i->exception,
                                       .actor = u->actor,
                                       .reason = u->reason,
                                       .done = on_again,
                                       .arg = i};

    i->event = 0; /* the answer may come before the call returns */
    if (tg_again_submit(i->owner->with.intake, &q) != 0) {
        i->event = event;
        later(i->owner, TG_REPLAY_WAIT_MS);
    }
}

static void on_people(void *arg, const struct tg_people_answer *a)
{
    struct item *i = arg;
    struct run *u = i->owner->head;

    switch (a->result) {
    case TG_PEOPLE_DONE:
        answered(i, &u->row.done, NULL);
        break;
    case TG_PEOPLE_UNCHANGED:
        answered(i, &u->row.unchanged, NULL);
        break;
    case TG_PEOPLE_OF_EVENT:
        i->event = a->event;
        if (!i->owner->stopped) {
            judge_again(i);
        }
        break;
    case TG_PEOPLE_NOT_FOUND:
        answered(i, &u->row.refused, "it is no longer there");
        break;
    case TG_PEOPLE_STOPPING:
        break;
    case TG_PEOPLE_REFUSED:
    case TG_PEOPLE_INVALID:
        answered(i, &u->row.refused, a->message);
        break;
    }
}

/* Asks for one; false: the queue is full, later. */
static bool ask_for(struct tg_replays *r, int64_t exception)
{
    struct run *u = r->head;
    struct item *i = &r->slice[r->asked];
    const struct tg_people_request q = {.verb = TG_PEOPLE_REPLAY,
                                        .exception = exception,
                                        .tenant = u->tenant,
                                        .actor = u->actor,
                                        .reason = u->reason,
                                        .done = on_people,
                                        .arg = i};

    *i = (struct item){.owner = r, .exception = exception};
    if (tg_people_submit(r->with.dispatch, &q) != 0) {
        return false;
    }
    r->asked++;
    return true;
}

static void begin_slice(struct tg_replays *r)
{
    struct run *u = r->head;
    int64_t at = u->row.position;
    bool goes = true;

    while (goes && at < u->row.total && r->asked < TG_REPLAY_SLICE) {
        goes = ask_for(r, u->items[at]);
        at += goes ? 1 : 0;
    }
    if (r->asked == 0 && u->row.position < u->row.total) {
        later(r, TG_REPLAY_WAIT_MS);
    } else if (r->asked == 0) {
        note_place(r); /* there was nothing left */
    }
}

static void turn(struct tg_replays *r)
{
    if (r->stopped || r->noting || r->head == NULL || !r->head->is_noted) {
        return;
    }
    if (r->asked == 0) {
        begin_slice(r);
        return;
    }
    for (size_t i = 0; i < r->asked; i++) {
        if (r->slice[i].event != 0) {
            judge_again(&r->slice[i]);
        }
    }
    if (r->answered == r->asked) {
        note_place(r);
    }
}

static void on_timer(uv_timer_t *timer)
{
    turn(timer->data);
}

/* ---- beginning ---- */

static void on_begun(void *arg, bool ok, const struct tg_error *err)
{
    struct run *u = arg;
    struct tg_replays *r = u->owner;
    void (*done)(void *arg, int64_t id, const char *why) = u->done;
    void *done_arg = u->done_arg;

    if (!ok) {
        tg_log(TG_LOG_ERROR, "api", "replay %" PRId64 " cannot be noted: %s", u->row.id, err->text);
        take_out(r, u);
        done(done_arg, 0,
             "it changed meanwhile, or the process stops; nothing was done, look again");
        return;
    }
    u->is_noted = true;
    done(done_arg, u->row.id, NULL);
    later(r, 0);
}

static int note_beginning(struct tg_replays *r, struct run *u, const struct tg_replays_wish *wish)
{
    struct tg_row_replay row = u->row;
    struct tg_batch *b = tg_batch_new();
    char *filter = json_dumps(wish->filter, JSON_COMPACT);
    char *items = json_dumps(wish->items, JSON_COMPACT);
    int rc = -1;

    row.tenant = u->tenant;
    row.actor = u->actor;
    row.reason = u->reason;
    row.token = u->token;
    row.filter = filter;
    row.items = items;
    if (b != NULL && filter != NULL && items != NULL && tg_batch_replay(b, &row) == 0 &&
        put_audit(b, u, "replay.begun") == 0 &&
        (wish->approval == 0 || tg_batch_approval_end(b, wish->approval, TG_APPROVAL_DONE,
                                                      wish->second, wish->said) == 0)) {
        rc = tg_journal_submit(r->with.journal, b, on_begun, u);
    }
    if (rc != 0) {
        tg_batch_free(b);
    }
    free(filter);
    free(items);
    return rc;
}

/* The same wish is on its way already: who sent it twice is told the same. */
static const struct run *find(const struct tg_replays *r, const char *tenant, const char *token)
{
    const struct run *u = r->head;

    while (u != NULL && (strcmp(u->token, token) != 0 || strcmp(u->tenant, tenant) != 0)) {
        u = u->next;
    }
    return u;
}

void tg_replays_begin(struct tg_replays *r, const struct tg_replays_wish *wish)
{
    const struct run *same = find(r, wish->tenant, wish->token);
    struct run *u;

    if (same != NULL && same->is_noted) {
        wish->done(wish->arg, same->row.id, NULL);
        return;
    }
    if (r->stopped || r->count == TG_REPLAYS_MAX || same != NULL) {
        wish->done(
            wish->arg, 0,
            "too many replays go on, or the process stops; nothing was done, try again later");
        return;
    }
    u = run_new(wish->tenant, wish->actor, wish->reason, wish->token, wish->items);
    if (u == NULL) {
        wish->done(wish->arg, 0, "no memory for a replay; nothing was done");
        return;
    }
    u->owner = r;
    u->done = wish->done;
    u->done_arg = wish->arg;
    u->row.id = tg_journal_next_id(r->with.journal, TG_TABLE_REPLAYS);
    u->row.at_ms = wall_ms();
    append(r, u);
    if (note_beginning(r, u, wish) != 0) {
        take_out(r, u);
        wish->done(wish->arg, 0,
                   "the journal takes nothing now; nothing was done, try again later");
    }
}

static void tell_control(void *arg, int64_t id, const char *why)
{
    struct tg_control *c = arg;

    if (id == 0) {
        tg_control_refuse(c, TG_PROBLEM_UNAVAILABLE, "%s", why);
    } else {
        tg_control_answer(c, json_pack("{s:I}", "id", (json_int_t)id));
    }
}

void tg_replays_start(struct tg_replays *r, struct tg_control *c)
{
    const char *token = json_string_value(json_object_get(c->body, "token"));
    const struct tg_replays_wish wish = {.tenant = c->tenant,
                                         .actor = c->actor,
                                         .reason = c->reason,
                                         .token = token != NULL ? token : "",
                                         .filter = json_object_get(c->body, "filter"),
                                         .items = json_object_get(c->body, "items"),
                                         .done = tell_control,
                                         .arg = c};

    tg_replays_begin(r, &wish);
}

/* One of before the start. */
static bool on_running(void *arg, const struct tg_row_replay *row)
{
    struct tg_replays *r = arg;
    json_t *items = json_loads(row->items, 0, NULL);
    json_t *refusals = json_loads(row->refusals, 0, NULL);
    struct run *u = json_is_array(items) && json_is_array(refusals)
                        ? run_new(row->tenant, row->actor, row->reason, row->token, items)
                        : NULL;

    json_decref(items);
    if (u == NULL || u->row.total != row->total) {
        tg_log(TG_LOG_ERROR, "api", "replay %" PRId64 " cannot go on: its row is not sound",
               row->id);
        json_decref(refusals);
        if (u != NULL) {
            run_free(u);
        }
        return true;
    }
    json_decref(u->refusals);
    u->refusals = refusals;
    u->owner = r;
    u->is_noted = true;
    u->row.id = row->id;
    u->row.at_ms = row->at_ms;
    u->row.position = row->position;
    u->row.done = row->done;
    u->row.unchanged = row->unchanged;
    u->row.refused = row->refused;
    append(r, u);
    tg_log(TG_LOG_INFO, "api", "replay %" PRId64 " of %s goes on: %" PRId64 " of %" PRId64 " left",
           row->id, row->tenant, row->total - row->position, row->total);
    return true;
}

struct tg_replays *tg_replays_new(const struct tg_replays_parts *parts, struct tg_reader *reader,
                                  struct tg_error *err)
{
    struct tg_replays *r = calloc(1, sizeof(*r));

    if (r == NULL) {
        (void)tg_error_set(err, "api: no memory for replays");
        return NULL;
    }
    r->with = *parts;
    r->timer.data = r;
    if (tg_reader_replays_running(reader, on_running, r, err) != 0 ||
        uv_timer_init(parts->loop, &r->timer) != 0) {
        tg_replays_free(r);
        return NULL;
    }
    later(r, 0);
    return r;
}

void tg_replays_stop(struct tg_replays *r)
{
    r->stopped = true;
    uv_close((uv_handle_t *)&r->timer, NULL);
}

void tg_replays_free(struct tg_replays *r)
{
    while (r != NULL && r->head != NULL) {
        take_out(r, r->head);
    }
    free(r);
}
