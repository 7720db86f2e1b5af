/*
 * Postings that wait for another one. Decisions are core/correct.h's; here is when they are made.
 *
 * A hold is looked at when the posting it waits for is final on disk, in a walk over all holds at
 * the start, and when its time is up. One batch of marks is on its way at a time. Between two
 * durable actions the process may die; what then happens:
 *
 *   H1  a posting final on disk, its waiters not released  -> found by the walk at the next start
 *   H2  release in a batch, not on disk                    -> still held: H1
 *   H3  released on disk, not loaded                       -> READY: loaded at the next start
 *   H4  reversal POSTED and its original REVERSED          -> one commit (carry.c): never one alone
 *   H5  original cancelled, its reversal still held        -> H1: cancelled then
 *   H6  time up: EXCEPTION and its exception row           -> one commit: both or none
 *
 * Kept by: intake decides about an object only while no mark of one of its postings is on its way
 * (tg_dispatch_may_cancel says LATER), so a hold that intake writes is on disk before the end of
 * what it waits for is; and tg_holds_ended is called after the commit, never before.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "core/correct.h"
#include "core/metrics.h"
#include "dispatch/inner.h"

#define WHY_BYTES 32

/* A posting that is held, or ran out of time; copied, since the reader's rows do not stay. */
struct held {
    int64_t id, object, hold_on;
    uint32_t destination;
    enum tg_posting_state state;
    unsigned attempt;
    bool is_due;
    bool doubt; /* a restored journal held it: it may have been sent since the backup */
    char why[WHY_BYTES];
};

/* What the batch on its way does to one of them. */
struct done {
    int64_t id, hold_on;
    uint32_t destination;
    enum tg_hold_step step;
};

struct tg_holds {
    struct tg_dispatch *d;
    int64_t ended[TG_HOLDS_ENDED_MAX];
    size_t ended_count;
    bool walking;
    int64_t walk_on, walk_id; /* the last pair looked at */
    uint64_t due_at;          /* loop time of the next look at what is due */
    struct held list[TG_HOLDS_TURN_MAX];
    size_t count;
    bool full; /* the list: there is more */
    struct tg_batch *batch;
    struct done done[TG_HOLDS_TURN_MAX];
    size_t done_count;
    struct tg_idset marked; /* ids of done */
    bool out;               /* the journal has the batch */
};

struct tg_holds *tg_holds_new(struct tg_dispatch *d)
{
    struct tg_holds *h = calloc(1, sizeof(*h));

    if (h != NULL) {
        h->d = d;
        h->walking = true; /* H1 */
    }
    return h;
}

void tg_holds_free(struct tg_holds *h)
{
    if (h == NULL) {
        return;
    }
    tg_batch_free(h->batch);
    tg_idset_free(&h->marked);
    free(h);
}

void tg_holds_ended(struct tg_holds *h, int64_t posting)
{
    if (h->ended_count < TG_HOLDS_ENDED_MAX) {
        h->ended[h->ended_count++] = posting;
        return;
    }
    h->walking = true; /* finds its waiters too */
    h->walk_on = 0;
    h->walk_id = 0;
}

bool tg_holds_is_quiet(const struct tg_holds *h)
{
    return h->batch == NULL && !h->out;
}

bool tg_holds_has(const struct tg_holds *h, int64_t posting)
{
    return tg_idset_has(&h->marked, posting);
}

/* ---- finding them ---- */

static bool note(struct tg_holds *h, const struct tg_row_posting *row, bool is_due)
{
    struct held *x;

    if (h->count == TG_HOLDS_TURN_MAX) {
        h->full = true;
        return false;
    }
    x = &h->list[h->count++];
    *x = (struct held){.id = row->id,
                       .object = row->object,
                       .hold_on = row->hold_on,
                       .destination = row->destination,
                       .state = row->state,
                       .attempt = row->attempt,
                       .is_due = is_due,
                       .doubt = row->first_sent_ms > 0};
    (void)snprintf(x->why, sizeof(x->why), "%s", row->hold);
    return true;
}

static bool on_waiting(void *arg, const struct tg_row_posting *row)
{
    return note(arg, row, false);
}

static bool on_due(void *arg, const struct tg_row_posting *row)
{
    return note(arg, row, true);
}

static bool on_walked(void *arg, const struct tg_row_posting *row)
{
    struct tg_holds *h = arg;

    if (!note(h, row, false)) {
        return false;
    }
    h->walk_on = row->hold_on;
    h->walk_id = row->id;
    return true;
}

/* One whose waiters did not all fit stays, for the next turn. */
static int find_ended(struct tg_holds *h, struct tg_error *err)
{
    while (h->ended_count != 0 && !h->full) {
        if (tg_reader_waiting(h->d->reader, h->ended[h->ended_count - 1], on_waiting, h, err) < 0) {
            return -1;
        }
        h->ended_count -= h->full ? 0 : 1;
    }
    return 0;
}

static int find_walked(struct tg_holds *h, struct tg_error *err)
{
    size_t before = h->count;

    if (!h->walking || h->full) {
        return 0;
    }
    if (tg_reader_held(h->d->reader, h->walk_on, h->walk_id, TG_HOLDS_TURN_MAX, on_walked, h, err) <
        0) {
        return -1;
    }
    h->walking = h->full || h->count - before == TG_HOLDS_TURN_MAX;
    return 0;
}

static int find_due(struct tg_holds *h, struct tg_error *err)
{
    uint64_t now = uv_now(h->d->o.loop);

    if (now < h->due_at || h->full) {
        return 0;
    }
    h->due_at = now + TG_HOLDS_DUE_MS;
    return tg_reader_hold_due(h->d->reader, tg_dispatch_now_ms(), TG_HOLDS_TURN_MAX, on_due, h,
                              err);
}

/* ---- what is written about one ---- */

static const struct tg_config_tenant *tenant_of(const struct tg_dispatch *d, uint32_t destination)
{
    return destination < d->target_count ? d->targets[destination].tenant : NULL;
}

static int64_t due_of(const struct tg_dispatch *d, uint32_t destination)
{
    const struct tg_config_tenant *t = tenant_of(d, destination);
    int64_t wait_ms = t != NULL && t->hold_timeout_ms > 0 ? t->hold_timeout_ms : TG_HOLD_TIMEOUT_MS;

    return tg_dispatch_now_ms() + wait_ms;
}

static int put_mark(struct tg_holds *h, const struct held *x, enum tg_posting_event event)
{
    struct tg_row_mark mark = {
        .posting = x->id, .from = x->state, .attempt = x->attempt, .at_ms = tg_dispatch_now_ms()};

    if (tg_posting_next(x->state, event, &mark.to) != 0) {
        return -1;
    }
    mark.due_ms = mark.to == TG_POSTING_IN_DOUBT ? mark.at_ms : 0;
    return tg_batch_mark(h->batch, &mark);
}

struct closing {
    struct tg_holds *h;
    bool failed;
};

static bool on_exception(void *arg, const struct tg_row_exception *row)
{
    struct closing *c = arg;
    struct tg_row_exception closed = *row;

    if (row->state != TG_EXCEPTION_OPEN && row->state != TG_EXCEPTION_ASSIGNED) {
        return true;
    }
    closed.state = TG_EXCEPTION_AUTO_CLOSED;
    closed.closed_ms = tg_dispatch_now_ms();
    c->failed = tg_batch_exception(c->h->batch, &closed) != 0;
    return !c->failed;
}

/* It ran out of time before: what was told to a person is over. */
static int close_exceptions(struct tg_holds *h, const struct held *x, struct tg_error *err)
{
    struct closing c = {.h = h};

    if (x->state != TG_POSTING_EXCEPTION) {
        return 0;
    }
    if (tg_reader_exceptions_of_posting(h->d->reader, x->id, on_exception, &c, err) < 0) {
        return -1;
    }
    return c.failed ? tg_error_set(err, "dispatch: no memory to close an exception") : 0;
}

static int put_exception(struct tg_holds *h, const struct held *x)
{
    const struct tg_catalogue_entry *entry =
        tg_catalogue_find(h->d->o.catalogue, tg_str_of("hold_expired"));
    char message[128];
    struct tg_row_exception row = {.id = tg_journal_next_id(h->d->o.journal, TG_TABLE_EXCEPTIONS),
                                   .object = x->object,
                                   .posting = x->id,
                                   .code = "hold_expired",
                                   .owner = entry != NULL ? entry->owner : "integration",
                                   .state = TG_EXCEPTION_OPEN,
                                   .opened_ms = tg_dispatch_now_ms()};
    json_t *doc;
    char *detail;
    int rc;

    (void)snprintf(message, sizeof(message),
                   "held (%s) behind posting %" PRId64 ", which waits for a person", x->why,
                   x->hold_on);
    doc = json_pack("{s:s, s:s, s:I}", "message", message, "hold", x->why, "waits_for_posting",
                    (json_int_t)x->hold_on);
    detail = doc != NULL ? json_dumps(doc, JSON_COMPACT) : NULL;
    row.detail = detail;
    rc = detail != NULL ? tg_batch_exception(h->batch, &row) : -1;
    free(detail);
    json_decref(doc);
    tg_metric_add(TG_METRIC_EXCEPTIONS_OPENED, 1);
    return rc;
}

static int put_step(struct tg_holds *h, const struct held *x, enum tg_hold_step step,
                    int64_t hold_on, struct tg_error *err)
{
    int rc = -1;

    switch (step) {
    case TG_HOLD_STEP_NONE:
        return 0;
    case TG_HOLD_STEP_RELEASE:
    case TG_HOLD_STEP_CANCEL:
        rc = put_mark(h, x, tg_hold_event(step, x->doubt));
        break;
    case TG_HOLD_STEP_EXPIRE:
        rc = put_mark(h, x, tg_hold_event(step, x->doubt));
        rc = rc == 0 ? put_exception(h, x) : -1;
        break;
    case TG_HOLD_STEP_WAIT:
    case TG_HOLD_STEP_NEXT:
        rc = tg_batch_hold(h->batch, x->id, x->why, hold_on, due_of(h->d, x->destination));
        break;
    }
    if (rc != 0 || tg_idset_add(&h->marked, x->id) != 0) {
        return tg_error_set(err, "dispatch: no memory to record a hold");
    }
    h->done[h->done_count++] = (struct done){x->id, hold_on, x->destination, step};
    if (step == TG_HOLD_STEP_RELEASE || step == TG_HOLD_STEP_CANCEL) {
        return close_exceptions(h, x, err);
    }
    return 0;
}

/* ---- deciding ---- */

static bool on_state(void *arg, const struct tg_row_posting *row)
{
    *(enum tg_posting_state *)arg = row->state;
    return false;
}

static int examine(struct tg_holds *h, const struct held *x, struct tg_error *err)
{
    /* one that waits for nothing waits until its time is up */
    struct tg_hold_case c = {.waits_for = TG_POSTING_EXCEPTION,
                             .is_reversal = strcmp(x->why, TG_HOLD_REVERSAL) == 0,
                             .is_due = x->is_due};
    int64_t before = 0;
    enum tg_hold_step step;

    if (tg_holds_has(h, x->id) || tg_idset_has(&h->d->cancelled, x->id) ||
        tg_people_has(h->d->people, x->id)) {
        return 0; /* twice in this turn; or intake ends it; or a person, and then it is looked at */
    }
    if (x->hold_on != 0 &&
        tg_reader_posting(h->d->reader, x->hold_on, on_state, &c.waits_for, err) < 0) {
        return -1;
    }
    if (tg_hold_asks(&c) && tg_reader_before(h->d->reader, x->id, &before, err) < 0) {
        return -1;
    }
    c.is_behind = before != 0;
    step = tg_hold_decide(&c);
    return put_step(h, x, step, step == TG_HOLD_STEP_NEXT ? before : x->hold_on, err);
}

/* ---- the turn ---- */

static void on_done(void *arg, bool ok, const struct tg_error *err)
{
    struct tg_holds *h = arg;

    h->out = false;
    if (!ok) {
        tg_dispatch_fail(h->d, err);
        return;
    }
    tg_idset_clear(&h->marked);
    for (size_t i = 0; i < h->done_count; i++) {
        const struct done *x = &h->done[i];

        switch (x->step) {
        case TG_HOLD_STEP_RELEASE:
            tg_dispatch_load_again(h->d, x->id, x->destination);
            break;
        case TG_HOLD_STEP_CANCEL:
            tg_holds_ended(h, x->id);
            break;
        case TG_HOLD_STEP_WAIT:
        case TG_HOLD_STEP_NEXT:
            tg_holds_ended(h, x->hold_on); /* it may have ended meanwhile */
            break;
        case TG_HOLD_STEP_EXPIRE:
        case TG_HOLD_STEP_NONE:
            break;
        }
    }
    h->done_count = 0;
    if (h->d->listener != NULL) {
        h->d->listener(h->d->listener_arg);
    }
}

/* A full queue leaves the batch here, for the next turn. */
static void submit(struct tg_holds *h)
{
    if (tg_journal_submit(h->d->o.journal, h->batch, on_done, h) == 0) {
        h->batch = NULL;
        h->out = true;
    }
}

static int gather(struct tg_holds *h, struct tg_error *err)
{
    h->count = 0;
    h->full = false;
    if (find_ended(h, err) != 0 || find_walked(h, err) != 0 || find_due(h, err) != 0) {
        return -1;
    }
    if (h->count == 0) {
        return 0;
    }
    h->batch = tg_batch_new();
    if (h->batch == NULL) {
        return tg_error_set(err, "dispatch: no memory for a batch");
    }
    for (size_t i = 0; i < h->count; i++) {
        if (examine(h, &h->list[i], err) != 0) {
            return -1;
        }
    }
    if (tg_batch_ops(h->batch) == 0) {
        tg_batch_free(h->batch);
        h->batch = NULL;
    }
    return 0;
}

void tg_holds_turn(struct tg_holds *h)
{
    struct tg_error err;

    if (h->out || h->d->failed) {
        return;
    }
    if (h->batch == NULL && !h->d->stopping && gather(h, &err) != 0) {
        tg_dispatch_fail(h->d, &err);
        return;
    }
    if (h->batch != NULL) {
        submit(h);
    }
}
