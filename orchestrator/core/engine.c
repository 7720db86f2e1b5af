/* The events of the engine: what each means for the posting it is about. */
#include "core/engine.h"

#include "core/engine_parts.h"
#include "core/retry.h"

static const char OUTCOME_UNKNOWN[] = "outcome_unknown";

static int64_t delay_ms(struct tg_engine *e, unsigned attempt, int64_t retry_after_ms)
{
    return tg_retry_delay_ms(attempt, retry_after_ms, tg_random_next(&e->random));
}

/* ---- where a posting goes ---- */

static void exception_from_doubt(struct tg_engine *e, struct tg_posting *p,
                                 enum tg_posting_event event)
{
    tg_engine_tell(e, p, event, OUTCOME_UNKNOWN);
    tg_engine_emit(e, p, TG_ACT_MARK);
}

/* From sent. It may have landed; the next look-up is in wait_ms. */
static void into_doubt(struct tg_engine *e, struct tg_posting *p, int64_t wait_ms)
{
    p->doubt = true;
    p->lookups = 0;
    p->due_ms = e->now_ms + wait_ms;
    tg_engine_tell(e, p, TG_PE_ANSWER_UNCLEAR, NULL);
    if (e->destinations[p->destination].is.dedupe == TG_DEDUPE_NONE) {
        exception_from_doubt(e, p, TG_PE_LOOKUP_GAVE_UP);
        return;
    }
    tg_engine_emit(e, p, TG_ACT_MARK);
}

/* Ready after a send is a replay, by someone who may err about what happened. */
static bool did_nothing(const struct tg_posting *p)
{
    return p->state == TG_POSTING_RETRY || (p->state == TG_POSTING_READY && p->first_sent_ms == 0);
}

/* Nothing happened, and nothing shall. */
static void cancel(struct tg_engine *e, struct tg_posting *p)
{
    tg_engine_tell(e, p, TG_PE_SUPERSEDED, NULL);
    tg_engine_emit(e, p, TG_ACT_MARK);
}

/* From sent. This request did nothing; whether an earlier one did is another matter. */
static void try_later(struct tg_engine *e, struct tg_posting *p, int64_t wait_ms)
{
    if (p->doubt) {
        into_doubt(e, p, wait_ms);
        return;
    }
    p->due_ms = e->now_ms + wait_ms;
    tg_engine_tell(e, p, TG_PE_ANSWER_RETRY, NULL);
    if (p->superseded) {
        cancel(e, p);
        return;
    }
    tg_engine_emit(e, p, TG_ACT_MARK);
}

static void uncount_attempt(struct tg_posting *p)
{
    if (p->attempt > 0) {
        p->attempt--;
    }
}

void tg_engine_take_back(struct tg_engine *e, struct tg_posting *p)
{
    struct tg_account *a = tg_engine_account(e, p->destination);
    const int64_t until_ms = tg_limiter_blocked_until_ms(&a->limiter, e->now_ms);

    tg_breaker_withdrawn(&a->breaker);
    tg_engine_release_slot(e, p);
    uncount_attempt(p);
    try_later(e, p, until_ms != 0 ? until_ms - e->now_ms : 0);
}

/* Waits for its time: in memory, or parked when too many there are stuck, see engine.h. */
static void wait_or_park(struct tg_engine *e, struct tg_posting *p)
{
    if (p->stuck && e->destinations[p->destination].stuck > e->window / 2) {
        tg_engine_emit(e, p, TG_ACT_FORGET);
    } else {
        tg_engine_wait(e, p);
    }
}

/* All its marks are on disk. */
static void settled(struct tg_engine *e, struct tg_posting *p)
{
    switch (p->state) {
    case TG_POSTING_SENT:
        /* A commit so late that the destination may have forgotten the key; or a later version
         * came before the first byte. A pause that was asked for meanwhile is seen where SEND is
         * written (hold_back). */
        if (p->doubt ? !tg_engine_resend_is_safe(e, p) : p->superseded) {
            tg_engine_take_back(e, p);
        } else {
            tg_engine_emit(e, p, TG_ACT_SEND);
        }
        break;
    case TG_POSTING_RETRY:
        if (p->superseded) {
            cancel(e, p);
        } else {
            wait_or_park(e, p);
        }
        break;
    case TG_POSTING_IN_DOUBT:
        wait_or_park(e, p);
        break;
    default:
        tg_engine_emit(e, p, TG_ACT_FORGET);
        break;
    }
}

/* ---- events ---- */

static bool is_loadable(enum tg_posting_state s)
{
    return s == TG_POSTING_READY || s == TG_POSTING_SENT || s == TG_POSTING_RETRY ||
           s == TG_POSTING_IN_DOUBT;
}

/* First sent in the future: the clock was set back by at least that much since. */
static int64_t due_on_this_clock(const struct tg_engine *e, const struct tg_engine_posting *from)
{
    const int64_t ahead_ms = from->first_sent_ms - e->now_ms;

    return ahead_ms > 0 ? from->due_ms - ahead_ms : from->due_ms;
}

/* A due time from a wrong clock must not hold it for years. */
static void wait_bounded(struct tg_engine *e, struct tg_posting *p)
{
    if (p->due_ms > e->now_ms + TG_RETRY_AFTER_MAX_MS) {
        p->due_ms = e->now_ms + TG_RETRY_AFTER_MAX_MS;
    }
    tg_engine_wait(e, p);
}

static int on_loaded(struct tg_engine *e, const struct tg_engine_posting *from)
{
    struct tg_posting *p;
    int64_t soonest_ms;

    if (!is_loadable(from->state) || tg_engine_room(e, from->destination) == 0 ||
        tg_engine_find(e, from->id) != NULL) {
        return -1;
    }
    soonest_ms = e->now_ms + delay_ms(e, from->attempt, 0);
    p = tg_engine_take(e, from->id, from->destination, from->state);
    p->attempt = from->attempt;
    p->first_sent_ms = from->first_sent_ms;
    p->sent_ms = e->now_ms; /* it may have been sent up to now */
    p->superseded = from->superseded;
    if (p->superseded && did_nothing(p)) {
        cancel(e, p);
        return 0;
    }
    switch (from->state) {
    case TG_POSTING_SENT: /* the process died between the mark and the answer */
        into_doubt(e, p, soonest_ms - e->now_ms);
        break;
    case TG_POSTING_IN_DOUBT:
        p->doubt = true;
        if (e->destinations[p->destination].is.dedupe == TG_DEDUPE_NONE) {
            exception_from_doubt(e, p, TG_PE_LOOKUP_GAVE_UP);
            break;
        }
        p->due_ms = due_on_this_clock(e, from);
        p->due_ms = p->due_ms > soonest_ms ? p->due_ms : soonest_ms;
        wait_bounded(e, p);
        break;
    case TG_POSTING_RETRY:
        p->due_ms = due_on_this_clock(e, from);
        wait_bounded(e, p);
        break;
    default:
        tg_engine_enqueue(e, p);
        break;
    }
    return 0;
}

/* What an answer says about the destination's health, whatever it says about the posting. */
static void note_health(struct tg_engine *e, struct tg_destination *d, enum tg_outcome outcome)
{
    struct tg_account *a = &e->accounts[d->account];

    switch (outcome) {
    case TG_OUTCOME_DOWN:
        tg_breaker_failure(&a->breaker, e->now_ms);
        return;
    case TG_OUTCOME_IN_DOUBT:
        tg_breaker_unclear(&a->breaker, e->now_ms);
        return;
    case TG_OUTCOME_POSTED:
    case TG_OUTCOME_REJECTED:
    case TG_OUTCOME_RETRY:
    case TG_OUTCOME_THROTTLED:
    case TG_OUTCOME_STUCK:
        break;
    }
    if (a->breaker.state != TG_BREAKER_CLOSED) {
        a->ramp = 1; /* back after an outage: not all at once */
    }
    tg_breaker_success(&a->breaker);
    if (a->ramp < a->concurrency) {
        a->ramp++;
    }
    if (d->ramp < a->concurrency) {
        d->ramp++;
    }
    tg_engine_touch(e, d);
}

static void on_rejected(struct tg_engine *e, struct tg_posting *p)
{
    if (p->doubt) { /* an earlier request may still land, so it is no definite rejection */
        p->refused = true;
        into_doubt(e, p, delay_ms(e, p->attempt, 0));
        return;
    }
    tg_engine_tell(e, p, TG_PE_ANSWER_REJECTED, NULL);
    if (p->superseded) {
        cancel(e, p);
        return;
    }
    tg_engine_tell(e, p, TG_PE_OPEN_EXCEPTION, "destination_rejected");
    tg_engine_emit(e, p, TG_ACT_MARK);
}

static void on_retry(struct tg_engine *e, struct tg_posting *p, int64_t retry_after_ms)
{
    const int64_t wait_ms = delay_ms(e, p->attempt, retry_after_ms);

    if (p->attempt < TG_RETRY_ATTEMPTS_MAX || p->doubt || p->superseded) {
        try_later(e, p, wait_ms);
        return;
    }
    p->due_ms = e->now_ms;
    tg_engine_tell(e, p, TG_PE_ANSWER_RETRY, NULL);
    tg_engine_tell(e, p, TG_PE_ATTEMPTS_USED_UP, "attempts_used_up");
    tg_engine_emit(e, p, TG_ACT_MARK);
}

/* The backoff of answers that use up nothing. */
static int64_t wait_delay_ms(struct tg_engine *e, struct tg_posting *p, int64_t retry_after_ms)
{
    const unsigned most = p->stuck ? TG_STUCK_BACKOFF_MAX : TG_DOWN_BACKOFF_MAX;

    p->waits = p->waits < most ? p->waits + 1 : most;
    return delay_ms(e, p->waits, retry_after_ms);
}

/* The destination could not or would not take it now: waits, and uses up no attempt. */
static void on_not_now(struct tg_engine *e, struct tg_posting *p, const struct tg_engine_event *ev)
{
    const int64_t wait_ms = wait_delay_ms(e, p, ev->retry_after_ms);

    if (ev->outcome == TG_OUTCOME_THROTTLED) {
        tg_engine_block(e, p->destination, e->now_ms + wait_ms, ev->retry_after_ms > 0);
    }
    uncount_attempt(p);
    try_later(e, p, wait_ms);
}

static int on_outcome(struct tg_engine *e, struct tg_posting *p, const struct tg_engine_event *ev)
{
    if (p->phase != TG_PHASE_FLIGHT) {
        return -1;
    }
    tg_engine_release_slot(e, p);
    note_health(e, &e->destinations[p->destination], ev->outcome);
    tg_engine_set_stuck(e, p, ev->outcome == TG_OUTCOME_STUCK);
    if (ev->outcome == TG_OUTCOME_THROTTLED || ev->outcome == TG_OUTCOME_DOWN || p->stuck) {
        on_not_now(e, p, ev);
        return 0;
    }
    p->waits = 0;
    switch (ev->outcome) {
    case TG_OUTCOME_POSTED:
        tg_engine_tell(e, p, TG_PE_ANSWER_POSTED, NULL);
        tg_engine_emit(e, p, TG_ACT_MARK);
        break;
    case TG_OUTCOME_REJECTED:
        on_rejected(e, p);
        break;
    case TG_OUTCOME_RETRY:
        on_retry(e, p, ev->retry_after_ms);
        break;
    default: /* in doubt, and what the shell should not have said */
        into_doubt(e, p, delay_ms(e, p->attempt, 0));
        break;
    }
    return 0;
}

static enum tg_outcome health_of(enum tg_lookup lookup)
{
    switch (lookup) {
    case TG_LOOKUP_FOUND:
    case TG_LOOKUP_ABSENT:
    case TG_LOOKUP_STUCK:
        return TG_OUTCOME_POSTED;
    case TG_LOOKUP_DOWN:
        return TG_OUTCOME_DOWN;
    case TG_LOOKUP_THROTTLED:
        return TG_OUTCOME_THROTTLED;
    case TG_LOOKUP_UNKNOWN:
        break;
    }
    return TG_OUTCOME_IN_DOUBT;
}

/*
 * Absent, and a request of it may still be at work there: that proves nothing. Looked up again when
 * none can be any more. False: what it says counts.
 */
static bool is_too_early(struct tg_engine *e, struct tg_posting *p)
{
    const int64_t over_ms = p->sent_ms + e->destinations[p->destination].is.max_execution_ms;
    const int64_t soonest_ms = e->now_ms + delay_ms(e, p->attempt, 0);

    if (e->now_ms >= over_ms) {
        return false;
    }
    p->due_ms = over_ms > soonest_ms ? over_ms : soonest_ms;
    tg_engine_wait(e, p);
    return true;
}

static int on_lookup(struct tg_engine *e, struct tg_posting *p, const struct tg_engine_event *ev)
{
    const enum tg_lookup lookup = ev->lookup;

    if (p->phase != TG_PHASE_LOOKING) {
        return -1;
    }
    tg_engine_release_slot(e, p);
    note_health(e, &e->destinations[p->destination], health_of(lookup));
    tg_engine_set_stuck(e, p, lookup == TG_LOOKUP_STUCK);
    if (lookup == TG_LOOKUP_DOWN || lookup == TG_LOOKUP_THROTTLED || p->stuck) {
        const bool throttled = lookup == TG_LOOKUP_THROTTLED;

        p->due_ms = e->now_ms + wait_delay_ms(e, p, throttled ? ev->retry_after_ms : 0);
        if (throttled) {
            tg_engine_block(e, p->destination, p->due_ms, ev->retry_after_ms > 0);
        }
        wait_or_park(e, p);
        return 0;
    }
    p->waits = 0;
    if (lookup == TG_LOOKUP_FOUND) {
        tg_engine_tell(e, p, TG_PE_FOUND, NULL);
        tg_engine_emit(e, p, TG_ACT_MARK);
        return 0;
    }
    if (lookup == TG_LOOKUP_ABSENT && tg_engine_resend_is_safe(e, p)) {
        if (p->attempt >= TG_RETRY_ATTEMPTS_MAX) {
            exception_from_doubt(e, p, TG_PE_LOOKUP_GAVE_UP);
        } else {
            tg_engine_enqueue(e, p);
        }
        return 0;
    }
    if (lookup == TG_LOOKUP_ABSENT && is_too_early(e, p)) {
        return 0;
    }
    p->lookups++;
    if (p->lookups >= TG_LOOKUP_ATTEMPTS_MAX) {
        exception_from_doubt(
            e, p, lookup == TG_LOOKUP_ABSENT ? TG_PE_ABSENT_UNSAFE : TG_PE_LOOKUP_GAVE_UP);
        return 0;
    }
    p->due_ms = e->now_ms + delay_ms(e, p->attempt + p->lookups, 0);
    tg_engine_wait(e, p);
    return 0;
}

static int on_marked(struct tg_engine *e, struct tg_posting *p)
{
    if (p->phase != TG_PHASE_MARKING) {
        return -1;
    }
    p->marks_out--;
    if (p->marks_out == 0) {
        settled(e, p);
    }
    return 0;
}

static bool may_forget(const struct tg_posting *p)
{
    return did_nothing(p) && (p->phase == TG_PHASE_QUEUED || p->phase == TG_PHASE_TIMER);
}

static void on_cancel(struct tg_engine *e, struct tg_posting *p)
{
    if (!may_forget(p)) {
        p->superseded = true;
        return;
    }
    tg_heap_remove(p->phase == TG_PHASE_TIMER ? &e->timers : &e->destinations[p->destination].turns,
                   &p->node);
    tg_engine_emit_first(e, p, TG_ACT_FORGET);
}

static int on_pause(struct tg_engine *e, uint32_t destination, bool paused)
{
    struct tg_destination *d;

    if (destination >= e->destination_count) {
        return -1;
    }
    d = &e->destinations[destination];
    if (d->paused && !paused) {
        d->ramp = 1; /* released in order, and not all at once */
    }
    d->paused = paused;
    tg_engine_touch(e, d);
    return 0;
}

/* What it asked for before the restart, on this clock: one that said so in the future was set back
 * by at least that much since. */
static int on_block(struct tg_engine *e, const struct tg_engine_event *ev)
{
    const int64_t ahead_ms = ev->said_ms > e->now_ms ? ev->said_ms - e->now_ms : 0;
    const int64_t longest_ms = e->now_ms + TG_RETRY_AFTER_MAX_MS;
    const int64_t until_ms = ev->until_ms - ahead_ms;

    if (ev->destination >= e->destination_count) {
        return -1;
    }
    if (until_ms > e->now_ms) {
        tg_engine_block(e, ev->destination, until_ms < longest_ms ? until_ms : longest_ms, false);
    }
    return 0;
}

static int apply(struct tg_engine *e, const struct tg_engine_event *ev)
{
    struct tg_posting *p;

    switch (ev->kind) {
    case TG_EV_LOADED:
        return on_loaded(e, &ev->posting);
    case TG_EV_PAUSE:
        return on_pause(e, ev->destination, true);
    case TG_EV_RESUME:
        return on_pause(e, ev->destination, false);
    case TG_EV_BLOCK:
        return on_block(e, ev);
    case TG_EV_MENDED:
        tg_engine_mended(e, ev->destination);
        return 0;
    case TG_EV_TICK:
        return 0;
    case TG_EV_MARKED:
    case TG_EV_OUTCOME:
    case TG_EV_LOOKUP:
    case TG_EV_CANCEL:
        break;
    default:
        return -1;
    }
    p = tg_engine_find(e, ev->id);
    if (p == NULL) {
        return -1;
    }
    switch (ev->kind) {
    case TG_EV_MARKED:
        return on_marked(e, p);
    case TG_EV_OUTCOME:
        return on_outcome(e, p, ev);
    case TG_EV_LOOKUP:
        return on_lookup(e, p, ev);
    default:
        on_cancel(e, p);
        return 0;
    }
}

int tg_engine_step(struct tg_engine *e, const struct tg_engine_event *ev, int64_t now_ms,
                   struct tg_actions *out)
{
    const int64_t before_ms = e->now_ms;

    if (ev->kind == TG_EV_CANCEL && now_ms > before_ms) {
        now_ms = before_ms;
    }
    e->now_ms = now_ms;
    if (now_ms < before_ms) {
        tg_engine_shift(e, before_ms - now_ms);
    }
    if (apply(e, ev) != 0) {
        if (now_ms < before_ms) {
            tg_engine_shift(e, now_ms - before_ms);
        }
        e->now_ms = before_ms;
        return -1;
    }
    tg_engine_run(e, out);
    return 0;
}

/* ---- questions ---- */

enum tg_engine_grip tg_engine_grip(const struct tg_engine *e, int64_t id)
{
    const struct tg_posting *p = tg_engine_find(e, id);

    if (p == NULL) {
        return TG_GRIP_NONE;
    }
    if (may_forget(p)) {
        return TG_GRIP_WAITS;
    }
    if (p->phase == TG_PHASE_MARKING || (p->phase == TG_PHASE_EMIT && p->emit == TG_ACT_MARK)) {
        return TG_GRIP_TELLING;
    }
    return TG_GRIP_BEGUN;
}

size_t tg_engine_room(const struct tg_engine *e, uint32_t destination)
{
    if (destination >= e->destination_count || e->draining) {
        return 0;
    }
    return e->window - e->destinations[destination].open;
}

int64_t tg_engine_wake_ms(const struct tg_engine *e)
{
    const struct tg_heap_node *posting = tg_heap_top(&e->timers);
    const struct tg_heap_node *account = tg_heap_top(&e->account_timers);
    int64_t wake_ms = INT64_MAX;

    if (e->emit_first != TG_NO_POSTING || e->block_first != TG_NO_POSTING) {
        return e->now_ms;
    }
    if (posting != NULL) {
        wake_ms = posting->key;
    }
    if (account != NULL && account->key < wake_ms) {
        wake_ms = account->key;
    }
    return wake_ms;
}

void tg_engine_destination_stats(const struct tg_engine *e, uint32_t destination,
                                 struct tg_engine_stats *out)
{
    const struct tg_destination *d;

    *out = (struct tg_engine_stats){.breaker = TG_BREAKER_CLOSED};
    if (destination >= e->destination_count) {
        return;
    }
    d = &e->destinations[destination];
    out->open = d->open;
    out->in_flight = d->in_phase[TG_PHASE_FLIGHT] + d->in_phase[TG_PHASE_LOOKING];
    out->retry = d->in_state[TG_POSTING_RETRY];
    out->in_doubt = d->in_state[TG_POSTING_IN_DOUBT];
    out->stuck = d->stuck;
    out->marking = d->in_phase[TG_PHASE_MARKING] + d->in_phase[TG_PHASE_EMIT];
    out->breaker = e->accounts[d->account].breaker.state;
    out->paused = d->paused;
    out->blocked_until_ms =
        tg_limiter_blocked_until_ms(&e->accounts[d->account].limiter, e->now_ms);
}

bool tg_engine_is_quiet(const struct tg_engine *e)
{
    return e->block_first == TG_NO_POSTING && e->in_phase[TG_PHASE_EMIT] == 0 &&
           e->in_phase[TG_PHASE_MARKING] == 0 && e->in_phase[TG_PHASE_FLIGHT] == 0 &&
           e->in_phase[TG_PHASE_LOOKING] == 0;
}

void tg_engine_drain(struct tg_engine *e)
{
    e->draining = true;
}
