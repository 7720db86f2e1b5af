/* Proves the invariants of engine.h and engine_parts.h on a live engine; for tests and debugging:
 * O(postings * destinations). */
#include "core/engine_parts.h"

struct tally {
    size_t open, slots, stuck; /* of a destination */
    size_t in_phase[TG_PHASE_COUNT];
    size_t in_state[TG_POSTING_STATE_COUNT];
};

static int broken(struct tg_error *err, const struct tg_posting *p, const char *what)
{
    return tg_error_set(err, "posting %lld (%s, attempt %u): %s", (long long)p->id,
                        tg_posting_state_name(p->state), p->attempt, what);
}

static bool is_in(const struct tg_heap *h, const struct tg_heap_node *n)
{
    return n->pos < h->count && h->items[n->pos] == n;
}

/* The phase is true: the posting is in the one place its phase says, in a state that may be. */
static const char *phase_fault(const struct tg_engine *e, const struct tg_posting *p)
{
    const struct tg_destination *d = &e->destinations[p->destination];
    const bool waits =
        p->phase == TG_PHASE_QUEUED || p->phase == TG_PHASE_TIMER || p->phase == TG_PHASE_ASKING;

    if (!waits && p->node.pos != TG_HEAP_NONE) {
        return "is in a heap and elsewhere";
    }
    if ((p->phase == TG_PHASE_MARKING) != (p->marks_out > 0)) {
        return "waits for a mark nobody was asked for, or does not wait for one";
    }
    switch (p->phase) {
    case TG_PHASE_QUEUED:
        if (!is_in(&d->turns, &p->node)) {
            return "is not among its destination's turns";
        }
        return p->state == TG_POSTING_READY || p->state == TG_POSTING_RETRY ||
                       p->state == TG_POSTING_IN_DOUBT
                   ? NULL
                   : "waits for a turn in a wrong state";
    case TG_PHASE_TIMER:
        if (!is_in(&e->timers, &p->node)) {
            return "has no timer";
        }
        return p->state == TG_POSTING_RETRY || p->state == TG_POSTING_IN_DOUBT
                   ? NULL
                   : "waits for time in a wrong state";
    case TG_PHASE_ASKING:
        if (!is_in(&d->asks, &p->node)) {
            return "is not among its destination's look-ups";
        }
        return p->state == TG_POSTING_IN_DOUBT ? NULL : "is to be looked up but not in doubt";
    case TG_PHASE_FLIGHT:
        return p->state == TG_POSTING_SENT ? NULL : "is in flight but not durably sent";
    case TG_PHASE_LOOKING:
        return p->state == TG_POSTING_IN_DOUBT ? NULL : "is looked up but not in doubt";
    default:
        return NULL;
    }
}

static const char *doubt_fault(const struct tg_engine *e, const struct tg_posting *p)
{
    const bool begun = p->state == TG_POSTING_SENT || p->state == TG_POSTING_IN_DOUBT;

    if (p->state == TG_POSTING_IN_DOUBT && !p->doubt) {
        return "is in doubt without doubt";
    }
    if (p->doubt && !begun && p->state != TG_POSTING_POSTED && p->state != TG_POSTING_EXCEPTION) {
        return "may have landed, yet is told to have not";
    }
    if (p->phase == TG_PHASE_QUEUED && p->doubt &&
        e->destinations[p->destination].is.dedupe != TG_DEDUPE_UNIQUE &&
        e->destinations[p->destination].is.dedupe != TG_DEDUPE_IDEMPOTENCY) {
        return "may have landed and is to be sent again where that is not safe";
    }
    return NULL;
}

static int check_posting(const struct tg_engine *e, const struct tg_posting *p,
                         struct tg_error *err)
{
    const bool may_hold = p->phase == TG_PHASE_EMIT || p->phase == TG_PHASE_MARKING ||
                          p->phase == TG_PHASE_FLIGHT || p->phase == TG_PHASE_LOOKING;
    const char *fault;

    if (p->destination >= e->destination_count) {
        return broken(err, p, "has no destination");
    }
    if (tg_engine_find(e, p->id) != p) {
        return broken(err, p, "is not found by its id");
    }
    fault = phase_fault(e, p);
    if (fault == NULL) {
        fault = doubt_fault(e, p);
    }
    if (fault != NULL) {
        return broken(err, p, fault);
    }
    if (p->slot && !may_hold) {
        return broken(err, p, "waits and holds a slot");
    }
    if (!p->slot && (p->phase == TG_PHASE_FLIGHT || p->phase == TG_PHASE_LOOKING)) {
        return broken(err, p, "is out without a slot");
    }
    return 0;
}

static int check_destination(const struct tg_engine *e, const struct tg_destination *d,
                             const struct tally *t, struct tg_error *err)
{
    const size_t index = (size_t)(d - e->destinations);

    if (t->open != d->open || t->slots != d->slots) {
        return tg_error_set(err, "destination %zu counts %zu open and %u slots, there are %zu, %zu",
                            index, d->open, d->slots, t->open, t->slots);
    }
    if (t->stuck != d->stuck) {
        return tg_error_set(err, "destination %zu counts %zu stuck, there are %zu", index, d->stuck,
                            t->stuck);
    }
    if (d->account >= e->account_count || d->open > e->window) {
        return tg_error_set(err, "destination %zu has no account, or is over its window", index);
    }
    for (size_t i = 0; i < TG_PHASE_COUNT; i++) {
        if (t->in_phase[i] != d->in_phase[i]) {
            return tg_error_set(err, "destination %zu counts phase %zu wrongly", index, i);
        }
    }
    for (size_t i = 0; i < TG_POSTING_STATE_COUNT; i++) {
        if (t->in_state[i] != d->in_state[i]) {
            return tg_error_set(err, "destination %zu counts state %zu wrongly", index, i);
        }
    }
    if (!tg_heap_is_sound(&d->turns) || !tg_heap_is_sound(&d->asks)) {
        return tg_error_set(err, "destination %zu has its turns out of order", index);
    }
    /* Whatever else keeps it from going on is a pause, or an answer of its own that is to come. */
    if (tg_destination_may_go(d) && !d->queued) {
        return tg_error_set(err, "destination %zu may go on and is not in its account's queue",
                            index);
    }
    return 0;
}

/* The queue is one list, and holds who says so. */
static int check_queue(const struct tg_engine *e, const struct tg_account *a, size_t queued,
                       struct tg_error *err)
{
    const size_t index = (size_t)(a - e->accounts);
    uint32_t last = TG_NO_POSTING;
    size_t n = 0;

    for (uint32_t i = a->queue_first; i != TG_NO_POSTING && n <= e->destination_count;
         i = e->destinations[i].next_queued) {
        if (!e->destinations[i].queued || e->destinations[i].account != index) {
            return tg_error_set(err, "account %zu has destination %u in its queue", index, i);
        }
        last = i;
        n++;
    }
    if (n != queued || last != a->queue_last) {
        return tg_error_set(err, "account %zu has %zu destinations queued, %zu are in the list",
                            index, queued, n);
    }
    return 0;
}

static int check_account(const struct tg_engine *e, const struct tg_account *a,
                         struct tg_error *err)
{
    const uint32_t index = (uint32_t)(a - e->accounts);
    const bool probing = a->breaker.state == TG_BREAKER_HALF_OPEN && a->breaker.probe_out;
    const bool full = a->slots >= tg_account_slots_usable(a);
    size_t slots = 0, queued = 0;
    bool waiting = false;

    for (size_t i = 0; i < e->destination_count; i++) {
        const struct tg_destination *d = &e->destinations[i];

        if (d->account == index) {
            slots += d->slots;
            queued += d->queued ? 1 : 0;
            waiting = waiting || tg_destination_may_go(d);
        }
    }
    if (slots != a->slots || a->slots > a->concurrency) {
        return tg_error_set(err, "account %u counts %u slots of %u, there are %zu", index, a->slots,
                            a->concurrency, slots);
    }
    if (check_queue(e, a, queued, err) != 0) {
        return -1;
    }
    if (a->timer.pos != TG_HEAP_NONE && !is_in(&e->account_timers, &a->timer)) {
        return tg_error_set(err, "account %u has a timer that is not set", index);
    }
    /* Somebody waits for this account: then something must bring it back. */
    if (waiting && !e->draining && !a->dirty && a->timer.pos == TG_HEAP_NONE &&
        !(a->slots > 0 && (full || probing))) {
        return tg_error_set(err, "account %u has postings waiting that nothing will wake", index);
    }
    return 0;
}

static int check_lists(const struct tg_engine *e, struct tg_error *err)
{
    size_t emits = 0;

    for (uint32_t i = e->emit_first; i != TG_NO_POSTING && emits <= e->capacity;
         i = e->pool[i].next) {
        if (e->pool[i].phase != TG_PHASE_EMIT) {
            return broken(err, &e->pool[i], "is to be written and is elsewhere");
        }
        emits++;
    }
    if (emits != e->in_phase[TG_PHASE_EMIT]) {
        return tg_error_set(err, "%zu postings are to be written, %zu are in the list",
                            e->in_phase[TG_PHASE_EMIT], emits);
    }
    if (!tg_heap_is_sound(&e->timers) || !tg_heap_is_sound(&e->account_timers)) {
        return tg_error_set(err, "the timers are out of order");
    }
    return 0;
}

int tg_engine_check(const struct tg_engine *e, int64_t now_ms, struct tg_error *err)
{
    const struct tg_heap_node *top = tg_heap_top(&e->timers);
    size_t open = 0;

    for (uint32_t i = 0; i < e->pool_used; i++) {
        if (e->pool[i].phase == TG_PHASE_FREE) {
            continue;
        }
        open++;
        if (check_posting(e, &e->pool[i], err) != 0) {
            return -1;
        }
    }
    if (open != e->open) {
        return tg_error_set(err, "%zu postings are open, %zu are counted", open, e->open);
    }
    for (size_t k = 0; k < e->destination_count; k++) {
        struct tally t = {0};

        for (uint32_t i = 0; i < e->pool_used; i++) {
            const struct tg_posting *p = &e->pool[i];

            if (p->phase == TG_PHASE_FREE || p->destination != k) {
                continue;
            }
            t.open++;
            t.slots += p->slot ? 1 : 0;
            t.stuck += p->stuck ? 1 : 0;
            t.in_phase[p->phase]++;
            t.in_state[p->state]++;
        }
        if (check_destination(e, &e->destinations[k], &t, err) != 0) {
            return -1;
        }
    }
    for (size_t k = 0; k < e->account_count; k++) {
        if (check_account(e, &e->accounts[k], err) != 0) {
            return -1;
        }
    }
    if (top != NULL && top->key <= e->now_ms && now_ms >= e->now_ms) {
        return tg_error_set(err, "a timer is %lld ms late", (long long)(e->now_ms - top->key));
    }
    return check_lists(e, err);
}
