/* From decisions to actions: turns, timers, and the list of what is to be written. */
#include <assert.h>

#include "core/engine_parts.h"

void tg_engine_tell(struct tg_engine *e, struct tg_posting *p, enum tg_posting_event event,
                    const char *exception)
{
    struct tg_path_step *step = &p->path[p->path_len];
    enum tg_posting_state next = p->state;

    const int found = tg_posting_next(p->state, event, &next);

    /* Which edges are asked for is fixed by this folder's code alone, never by input. */
    assert(p->path_len < TG_PATH_MAX && found == 0);
    (void)found;
    step->from = p->state;
    step->to = next;
    step->attempt = p->attempt;
    step->due_ms = next == TG_POSTING_RETRY || next == TG_POSTING_IN_DOUBT ? p->due_ms : 0;
    step->exception = exception;
    p->path_len++;
    tg_engine_set_state(e, p, next);
}

void tg_engine_emit(struct tg_engine *e, struct tg_posting *p, enum tg_action_kind kind)
{
    const uint32_t index = (uint32_t)(p - e->pool);

    p->emit = kind;
    p->next = TG_NO_POSTING;
    tg_engine_set_phase(e, p, TG_PHASE_EMIT);
    if (e->emit_last == TG_NO_POSTING) {
        e->emit_first = index;
    } else {
        e->pool[e->emit_last].next = index;
    }
    e->emit_last = index;
}

void tg_engine_emit_first(struct tg_engine *e, struct tg_posting *p, enum tg_action_kind kind)
{
    const uint32_t index = (uint32_t)(p - e->pool);

    p->emit = kind;
    p->next = e->emit_first;
    tg_engine_set_phase(e, p, TG_PHASE_EMIT);
    if (e->emit_last == TG_NO_POSTING) {
        e->emit_last = index;
    }
    e->emit_first = index;
}

struct tg_account *tg_engine_account(const struct tg_engine *e, uint32_t destination)
{
    return &e->accounts[e->destinations[destination].account];
}

unsigned tg_account_slots_usable(const struct tg_account *a)
{
    return a->ramp < a->concurrency ? a->ramp : a->concurrency;
}

bool tg_destination_may_go(const struct tg_destination *d)
{
    return d->turns.count + d->asks.count > 0 && !d->paused && d->slots < d->ramp;
}

static void join_queue(struct tg_engine *e, struct tg_account *a, struct tg_destination *d)
{
    const uint32_t index = (uint32_t)(d - e->destinations);

    d->queued = true;
    d->next_queued = TG_NO_POSTING;
    if (a->queue_last == TG_NO_POSTING) {
        a->queue_first = index;
    } else {
        e->destinations[a->queue_last].next_queued = index;
    }
    a->queue_last = index;
}

/* The first of the queue. */
static void leave_queue(struct tg_engine *e, struct tg_account *a)
{
    struct tg_destination *d = &e->destinations[a->queue_first];

    a->queue_first = d->next_queued;
    if (a->queue_first == TG_NO_POSTING) {
        a->queue_last = TG_NO_POSTING;
    }
    d->queued = false;
}

static void touch_account(struct tg_engine *e, struct tg_account *a)
{
    const uint32_t index = (uint32_t)(a - e->accounts);

    if (a->dirty) {
        return;
    }
    a->dirty = true;
    a->next_dirty = TG_NO_POSTING;
    if (e->dirty_last == TG_NO_POSTING) {
        e->dirty_first = index;
    } else {
        e->accounts[e->dirty_last].next_dirty = index;
    }
    e->dirty_last = index;
}

void tg_engine_touch(struct tg_engine *e, struct tg_destination *d)
{
    struct tg_account *a = &e->accounts[d->account];

    if (!d->queued && tg_destination_may_go(d)) {
        join_queue(e, a, d);
    }
    touch_account(e, a);
}

void tg_engine_block(struct tg_engine *e, uint32_t destination, int64_t until_ms, bool told)
{
    struct tg_account *a = tg_engine_account(e, destination);

    if (!tg_limiter_block(&a->limiter, until_ms) || !told) {
        return;
    }
    if (!a->block_untold) {
        a->block_untold = true;
        a->next_block = e->block_first;
        e->block_first = (uint32_t)(a - e->accounts);
    }
    a->block_destination = destination;
    a->block_until_ms = until_ms;
}

void tg_engine_enqueue(struct tg_engine *e, struct tg_posting *p)
{
    struct tg_destination *d = &e->destinations[p->destination];

    tg_engine_set_phase(e, p, TG_PHASE_QUEUED);
    tg_heap_push(&d->turns, &p->node, p->id, 0);
    tg_engine_touch(e, d);
}

void tg_engine_ask(struct tg_engine *e, struct tg_posting *p)
{
    struct tg_destination *d = &e->destinations[p->destination];

    tg_engine_set_phase(e, p, TG_PHASE_ASKING);
    tg_heap_push(&d->asks, &p->node, p->id, 0);
    tg_engine_touch(e, d);
}

void tg_engine_wait(struct tg_engine *e, struct tg_posting *p)
{
    tg_engine_set_phase(e, p, TG_PHASE_TIMER);
    tg_heap_push(&e->timers, &p->node, p->due_ms, p->id);
}

void tg_engine_release_slot(struct tg_engine *e, struct tg_posting *p)
{
    struct tg_destination *d = &e->destinations[p->destination];

    p->slot = false;
    d->slots--;
    e->accounts[d->account].slots--;
    tg_engine_touch(e, d);
}

bool tg_engine_resend_is_safe(const struct tg_engine *e, const struct tg_posting *p)
{
    const struct tg_engine_destination *is = &e->destinations[p->destination].is;

    if (p->refused) {
        return false;
    }
    switch (is->dedupe) {
    case TG_DEDUPE_UNIQUE:
        return true;
    case TG_DEDUPE_IDEMPOTENCY:
        /* A clock before the first send was set back: its age is not known. */
        return p->first_sent_ms > 0 && e->now_ms >= p->first_sent_ms &&
               e->now_ms - p->first_sent_ms < is->idempotency_ttl_ms;
    case TG_DEDUPE_LOOKUP_ONLY:
    case TG_DEDUPE_NONE:
        break;
    }
    return false;
}

/* The marks [ready,] sent. */
static void begin_send(struct tg_engine *e, struct tg_posting *p)
{
    if (p->state == TG_POSTING_RETRY) {
        tg_engine_tell(e, p, TG_PE_DUE, NULL);
    } else if (p->state == TG_POSTING_IN_DOUBT) {
        tg_engine_tell(e, p, TG_PE_ABSENT_SAFE, NULL);
    }
    p->attempt++;
    if (p->first_sent_ms == 0) {
        p->first_sent_ms = e->now_ms;
    }
    tg_engine_tell(e, p, TG_PE_SEND, NULL);
    tg_engine_emit(e, p, TG_ACT_MARK);
}

/*
 * Who is next at a destination where somebody waits. Look-ups first. Only the probe of a breaker
 * takes turns: where sends work and look-ups do not, a send must be able to close it.
 */
static struct tg_posting *next_turn(const struct tg_account *a, const struct tg_destination *d,
                                    bool *is_lookup)
{
    struct tg_heap_node *ask = tg_heap_top(&d->asks);
    struct tg_heap_node *turn = tg_heap_top(&d->turns);
    const bool turn_first = a->breaker.state != TG_BREAKER_CLOSED && a->probe_was_lookup;

    *is_lookup = ask != NULL && (turn == NULL || !turn_first);
    return *is_lookup ? ask->owner : turn->owner;
}

/* The limits let the posting through. */
static void begin(struct tg_engine *e, struct tg_account *a, struct tg_destination *d,
                  struct tg_posting *p, bool is_lookup)
{
    tg_breaker_started(&a->breaker);
    tg_heap_remove(is_lookup ? &d->asks : &d->turns, &p->node);
    p->slot = true;
    d->slots++;
    a->slots++;
    a->probe_was_lookup = is_lookup;
    leave_queue(e, a);
    if (tg_destination_may_go(d)) {
        join_queue(e, a, d);
    }
    if (is_lookup) {
        tg_engine_emit(e, p, TG_ACT_LOOKUP);
    } else {
        begin_send(e, p);
    }
}

/*
 * Gives an account's slots to its destinations, one each in turn, for as long as slots, breaker and
 * limiter allow. Look-ups before sends: what may be owed twice matters more than what is owed once.
 * Where only time is in the way, the timer is set; a slot or a probe that comes back touches it.
 */
static void run_turns(struct tg_engine *e, struct tg_account *a)
{
    int64_t wake_ms = INT64_MAX;

    if (a->timer.pos != TG_HEAP_NONE) {
        tg_heap_remove(&e->account_timers, &a->timer);
    }
    while (!e->draining && a->queue_first != TG_NO_POSTING) {
        struct tg_destination *d = &e->destinations[a->queue_first];
        struct tg_posting *p;
        bool is_lookup;

        if (!tg_destination_may_go(d)) {
            leave_queue(e, a); /* whatever lets it go on touches it */
            continue;
        }
        p = next_turn(a, d, &is_lookup);
        if (!is_lookup && p->state == TG_POSTING_IN_DOUBT && !tg_engine_resend_is_safe(e, p)) {
            /* It waited so long that the destination forgot the key. */
            tg_heap_remove(&d->turns, &p->node);
            tg_engine_tell(e, p, TG_PE_ABSENT_UNSAFE, "outcome_unknown");
            tg_engine_emit(e, p, TG_ACT_MARK);
            continue;
        }
        if (a->slots >= tg_account_slots_usable(a)) {
            break;
        }
        if (!tg_breaker_allows(&a->breaker, e->now_ms)) {
            wake_ms = tg_breaker_wake_ms(&a->breaker);
            break;
        }
        if (!tg_limiter_take(&a->limiter, e->now_ms, &wake_ms)) {
            break;
        }
        begin(e, a, d, p, is_lookup);
    }
    if (wake_ms != INT64_MAX) {
        tg_heap_push(&e->account_timers, &a->timer, wake_ms, (int64_t)(a - e->accounts));
    }
}

/* One whose mark is on its way waits for that, and then no longer. */
static void mended(struct tg_engine *e, struct tg_posting *p)
{
    tg_engine_set_stuck(e, p, false);
    p->waits = 0;
    p->due_ms = e->now_ms;
    if (p->phase != TG_PHASE_TIMER) {
        return;
    }
    tg_heap_remove(&e->timers, &p->node);
    if (p->state == TG_POSTING_RETRY) {
        tg_engine_enqueue(e, p);
    } else {
        tg_engine_ask(e, p);
    }
}

void tg_engine_mended(struct tg_engine *e, uint32_t destination)
{
    for (uint32_t i = 0; i < e->pool_used; i++) { /* seldom, so a walk over all is fine */
        struct tg_posting *p = &e->pool[i];
        const bool waits = p->phase == TG_PHASE_TIMER || p->phase == TG_PHASE_MARKING ||
                           (p->phase == TG_PHASE_EMIT && p->emit == TG_ACT_MARK);

        if (p->phase != TG_PHASE_FREE && p->destination == destination && p->stuck && waits) {
            mended(e, p);
        }
    }
}

static void shift_posting(struct tg_posting *p, int64_t by_ms)
{
    p->due_ms -= by_ms;
    if (p->first_sent_ms > 0) { /* the age of its key stays what it is */
        p->first_sent_ms = p->first_sent_ms > by_ms ? p->first_sent_ms - by_ms : 1;
    }
    p->sent_ms -= by_ms;
    for (unsigned i = 0; i < p->path_len; i++) {
        if (p->path[i].due_ms != 0) {
            p->path[i].due_ms -= by_ms;
        }
    }
}

void tg_engine_shift(struct tg_engine *e, int64_t by_ms)
{
    for (uint32_t i = 0; i < e->pool_used; i++) {
        if (e->pool[i].phase != TG_PHASE_FREE) {
            shift_posting(&e->pool[i], by_ms);
        }
    }
    tg_heap_shift(&e->timers, by_ms);
    tg_heap_shift(&e->account_timers, by_ms);
    for (size_t i = 0; i < e->account_count; i++) {
        tg_breaker_shift(&e->accounts[i].breaker, by_ms);
        tg_limiter_shift(&e->accounts[i].limiter, by_ms);
        e->accounts[i].block_until_ms -= by_ms;
    }
}

static void fire_timers(struct tg_engine *e)
{
    struct tg_heap_node *top;

    while ((top = tg_heap_top(&e->timers)) != NULL && top->key <= e->now_ms) {
        struct tg_posting *p = top->owner;

        tg_heap_remove(&e->timers, top);
        if (p->state == TG_POSTING_RETRY) {
            tg_engine_enqueue(e, p);
        } else {
            tg_engine_ask(e, p);
        }
    }
    while ((top = tg_heap_top(&e->account_timers)) != NULL && top->key <= e->now_ms) {
        tg_heap_remove(&e->account_timers, top);
        touch_account(e, top->owner);
    }
}

static struct tg_action *append(struct tg_actions *out, enum tg_action_kind kind,
                                const struct tg_posting *p)
{
    struct tg_action *a = &out->items[out->count++];

    *a = (struct tg_action){.kind = kind,
                            .id = p->id,
                            .destination = p->destination,
                            .from = p->state,
                            .state = p->state,
                            .attempt = p->attempt};
    return a;
}

/*
 * What was about to go out when draining began, or the destination asked for a pause. False: it is
 * to be written after all.
 */
static bool hold_back(struct tg_engine *e, struct tg_posting *p)
{
    struct tg_account *a = tg_engine_account(e, p->destination);

    if (p->emit != TG_ACT_SEND && p->emit != TG_ACT_LOOKUP) {
        return false;
    }
    if (!e->draining && tg_limiter_blocked_until_ms(&a->limiter, e->now_ms) == 0) {
        return false;
    }
    if (p->emit == TG_ACT_SEND) {
        tg_engine_take_back(e, p);
        return true;
    }
    tg_breaker_withdrawn(&a->breaker);
    tg_engine_release_slot(e, p);
    tg_engine_ask(e, p);
    return true;
}

/* Writes one posting's action and moves it to the phase that follows. */
static void write_out(struct tg_engine *e, struct tg_posting *p, struct tg_actions *out)
{
    switch (p->emit) {
    case TG_ACT_MARK:
        for (unsigned i = 0; i < p->path_len; i++) {
            struct tg_action *a = append(out, TG_ACT_MARK, p);

            a->from = p->path[i].from;
            a->state = p->path[i].to;
            a->attempt = p->path[i].attempt;
            a->due_ms = p->path[i].due_ms;
            a->exception = p->path[i].exception;
        }
        p->marks_out = p->path_len;
        p->path_len = 0;
        tg_engine_set_phase(e, p, TG_PHASE_MARKING);
        break;
    case TG_ACT_SEND:
        (void)append(out, TG_ACT_SEND, p);
        p->sent_ms = e->now_ms;
        tg_engine_set_phase(e, p, TG_PHASE_FLIGHT);
        break;
    case TG_ACT_LOOKUP:
        (void)append(out, TG_ACT_LOOKUP, p);
        tg_engine_set_phase(e, p, TG_PHASE_LOOKING);
        break;
    case TG_ACT_FORGET:
        (void)append(out, TG_ACT_FORGET, p);
        tg_engine_drop(e, p);
        break;
    case TG_ACT_BLOCK: /* no posting's */
        break;
    }
}

static void tell_blocks(struct tg_engine *e, struct tg_actions *out)
{
    while (e->block_first != TG_NO_POSTING && out->count < TG_ACTIONS_MAX) {
        struct tg_account *a = &e->accounts[e->block_first];

        e->block_first = a->next_block;
        a->block_untold = false;
        out->items[out->count++] = (struct tg_action){
            .kind = TG_ACT_BLOCK, .destination = a->block_destination, .due_ms = a->block_until_ms};
    }
}

void tg_engine_run(struct tg_engine *e, struct tg_actions *out)
{
    fire_timers(e);
    while (e->dirty_first != TG_NO_POSTING) {
        struct tg_account *a = &e->accounts[e->dirty_first];

        e->dirty_first = a->next_dirty;
        if (e->dirty_first == TG_NO_POSTING) {
            e->dirty_last = TG_NO_POSTING;
        }
        a->dirty = false;
        run_turns(e, a);
    }
    tell_blocks(e, out);
    while (e->emit_first != TG_NO_POSTING) {
        struct tg_posting *p = &e->pool[e->emit_first];
        const size_t needs = p->emit == TG_ACT_MARK ? p->path_len : 1;

        /* All marks of a posting go out together: they belong in one commit. */
        if (needs > TG_ACTIONS_MAX - out->count) {
            break;
        }
        e->emit_first = p->next;
        if (e->emit_first == TG_NO_POSTING) {
            e->emit_last = TG_NO_POSTING;
        }
        if (!hold_back(e, p)) {
            write_out(e, p, out);
        }
    }
}
