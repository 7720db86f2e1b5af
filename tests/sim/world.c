/* Time, chance and what goes wrong. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "sim.h"

int64_t sim_wall_ms(const struct sim *s)
{
    return s->now_ms + s->skew_ms;
}

uint64_t sim_below(struct sim *s, uint64_t n)
{
    return tg_random_next(&s->random) % n;
}

int64_t sim_between(struct sim *s, int64_t low, int64_t high)
{
    return low + (int64_t)sim_below(s, (uint64_t)(high - low + 1));
}

bool sim_chance(struct sim *s, unsigned percent)
{
    return sim_below(s, 100) < percent && !s->calm;
}

void sim_see(struct sim *s, enum sim_seen what)
{
    s->seen[what]++;
}

void sim_fault(struct sim *s, const char *fmt, ...)
{
    va_list args;

    if (s->failed) {
        return;
    }
    s->failed = true;
    va_start(args, fmt);
    (void)vsnprintf(s->fault.text, sizeof(s->fault.text), fmt, args);
    va_end(args);
}

void sim_trace(const struct sim *s, const char *fmt, ...)
{
    va_list args;

    if (!s->trace) {
        return;
    }
    printf("%10lld %+6lld e%u ", (long long)(s->now_ms - SIM_START_MS), (long long)s->skew_ms,
           s->epoch);
    va_start(args, fmt);
    (void)vprintf(fmt, args);
    va_end(args);
    printf("\n");
}

/* ---- events, by time and then by order of making ---- */

static bool sooner(const struct sim_event *a, const struct sim_event *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->order < b->order;
}

void sim_at(struct sim *s, int64_t at_ms, enum sim_event_kind kind, uint32_t a, int b, int64_t c)
{
    struct sim_event ev = {at_ms, s->event_order++, kind, s->epoch, a, b, c};
    size_t at = s->heap_count;

    if (s->heap_count == SIM_EVENTS_MAX) {
        sim_fault(s, "the world has more than %d events", SIM_EVENTS_MAX);
        return;
    }
    s->heap_count++;
    while (at > 0 && sooner(&ev, &s->heap[(at - 1) / 2])) {
        s->heap[at] = s->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    s->heap[at] = ev;
}

static struct sim_event pop(struct sim *s)
{
    const struct sim_event top = s->heap[0];
    const struct sim_event last = s->heap[--s->heap_count];
    size_t at = 0;

    for (;;) {
        size_t child = 2 * at + 1;

        if (child >= s->heap_count) {
            break;
        }
        if (child + 1 < s->heap_count && sooner(&s->heap[child + 1], &s->heap[child])) {
            child++;
        }
        if (!sooner(&s->heap[child], &last)) {
            break;
        }
        s->heap[at] = s->heap[child];
        at = child;
    }
    if (s->heap_count > 0) {
        s->heap[at] = last;
    }
    return top;
}

struct sim_place *sim_account(struct sim *s, uint32_t place)
{
    return &s->places[s->places[place].account];
}

/* ---- making a world ---- */

/* One system that serves several: what it can take is one number, whoever sends. */
static void share_account(struct sim *s, uint32_t place)
{
    struct sim_place *p = &s->places[place];

    p->account = place;
    if (place > 0 && sim_below(s, 2) == 0) {
        const struct sim_place *first = sim_account(s, (uint32_t)sim_below(s, place));

        p->account = first->account;
        p->truth.concurrency = first->truth.concurrency;
        p->truth.rate = first->truth.rate;
        sim_see(s, SIM_SEEN_SHARED);
    }
    p->truth.account = s->mutation == SIM_MUTATION_OWN_ACCOUNTS ? 0 : p->account + 1;
}

static void make_place(struct sim *s, uint32_t place)
{
    struct sim_place *p = &s->places[place];

    static const int64_t ttls_ms[] = {120000, 600000, 3600000, 86400000};

    p->truth.dedupe = (enum tg_dedupe)sim_below(s, 4);
    p->truth.idempotency_ttl_ms = ttls_ms[sim_below(s, 4)];
    p->truth.max_execution_ms = SIM_NET_LATE_MAX_MS + SIM_EXEC_LATE_MAX_MS;
    p->truth.concurrency = (unsigned)sim_between(s, 1, 6);
    p->truth.rate.emission_us = 1;
    p->truth.rate.capacity = 0;
    if (sim_below(s, 3) == 0) {
        p->truth.rate.emission_us = sim_between(s, 1000, 2000000);
        p->truth.rate.capacity = sim_between(s, 1, 10);
    }
    p->timeout_ms = sim_between(s, 2000, 30000);
    p->reversible = sim_below(s, 5) != 0;
    (void)snprintf(p->name, sizeof(p->name), "d%u", place);
    (void)snprintf(p->id, sizeof(p->id), "acme/d%u", place);
    share_account(s, place);
    p->declared = p->truth;
    switch (s->mutation) {
    case SIM_MUTATION_CLAIMS_UNIQUE:
        p->declared.dedupe = TG_DEDUPE_UNIQUE;
        break;
    case SIM_MUTATION_TTL_TOO_LONG:
        p->declared.idempotency_ttl_ms = INT64_MAX / 4;
        break;
    case SIM_MUTATION_NO_EXECUTION:
        p->declared.max_execution_ms = 0;
        break;
    case SIM_MUTATION_TOO_MANY:
        p->declared.concurrency += 2;
        break;
    default:
        break;
    }
}

static void plan_pair(struct sim *s, int64_t until_ms, enum sim_event_kind on,
                      enum sim_event_kind off, uint32_t place)
{
    const int64_t at_ms = sim_between(s, s->now_ms, until_ms);

    sim_at(s, at_ms, on, place, 0, 0);
    sim_at(s, at_ms + sim_between(s, 100, 300000), off, place, 0, 0);
}

static void make_faults(struct sim *s)
{
    const int64_t until_ms = s->now_ms + sim_between(s, 60000, 1800000);

    s->crashes = (size_t)sim_below(s, SIM_CRASHES_MAX + 1);
    for (size_t i = 0; i < s->crashes; i++) {
        s->crash_at[i] = (unsigned)sim_below(s, 60 * (i + 1));
    }
    for (uint32_t i = 0; i < s->place_count; i++) {
        for (uint64_t k = sim_below(s, 3); k > 0; k--) {
            plan_pair(s, until_ms, SIM_EV_DOWN, SIM_EV_UP, i);
        }
        if (sim_below(s, 3) == 0) {
            plan_pair(s, until_ms, SIM_EV_PAUSE, SIM_EV_RESUME, i);
        }
        if (sim_below(s, 2) == 0) {
            plan_pair(s, until_ms, SIM_EV_DAMAGE, SIM_EV_MEND, i);
        }
    }
    for (uint64_t k = sim_below(s, 3); k > 0; k--) {
        sim_at(s, sim_between(s, s->now_ms, until_ms), SIM_EV_JUMP, 0, 0,
               sim_between(s, 1, 3600000));
    }
    for (uint64_t k = sim_below(s, 3); k > 0; k--) {
        sim_at(s, sim_between(s, s->now_ms, until_ms), SIM_EV_JUMP, 0, 0, -sim_between(s, 1, 2000));
    }
    /* After a restart the age of a key is only as good as the clock: days are for one process. */
    if (sim_below(s, 4) == 0) {
        s->crashes = 0;
        for (uint64_t k = sim_between(s, 1, 3) > 2 ? 2 : 1; k > 0; k--) {
            sim_at(s, sim_between(s, s->now_ms, s->now_ms + 600000), SIM_EV_JUMP, 0, 0,
                   -sim_between(s, 2001, SIM_JUMP_BACK_MAX_MS));
        }
    } else if (sim_below(s, 2) == 0) {
        sim_at(s, s->now_ms + sim_between(s, 0, 60000), SIM_EV_STOP, 0, 0, 0);
    }
    if (s->crashes > 0 && sim_below(s, 3) == 0) {
        const int64_t backup_ms = sim_between(s, s->now_ms, until_ms);

        sim_at(s, backup_ms, SIM_EV_BACKUP, 0, 0, 0);
        s->restores_due = 1;
        sim_at(s, sim_between(s, backup_ms, until_ms), SIM_EV_RESTORE, 0, 0, 0);
        if (sim_below(s, 3) == 0) {
            s->restores_due++;
            sim_at(s, sim_between(s, backup_ms, until_ms), SIM_EV_RESTORE, 0, 0, 0);
        }
    }
    if (sim_below(s, 3) != 0) {
        for (uint64_t k = sim_below(s, 12); k > 0; k--) {
            sim_at(s, sim_between(s, s->now_ms, until_ms + 7200000), SIM_EV_PERSON, 0, 0, 0);
        }
    }
    sim_at(s, until_ms, SIM_EV_CALM, 0, 0, 0);
}

static void make_world(struct sim *s)
{
    s->now_ms = SIM_START_MS;
    s->calm_run = sim_below(s, 10) == 0;
    s->calm = s->calm_run;
    if (s->calm_run) {
        sim_see(s, SIM_SEEN_CALM);
    }
    s->place_count = (size_t)sim_between(s, 1, SIM_PLACES_MAX);
    for (uint32_t i = 0; i < s->place_count; i++) {
        make_place(s, i);
    }
    sim_make_objects(s);
    if (!s->calm_run) {
        make_faults(s);
    }
    sim_at(s, s->now_ms, SIM_EV_START, 0, 0, 0);
}

/* ---- running it ---- */

static void pause_place(struct sim *s, uint32_t place, bool paused)
{
    struct tg_engine_event ev = {.kind = paused ? TG_EV_PAUSE : TG_EV_RESUME, .destination = place};

    s->places[place].paused = paused;
    sim_trace(s, "place %u %s", place, paused ? "paused" : "resumed");
    if (paused) {
        sim_see(s, SIM_SEEN_PAUSED);
    }
    if (s->alive) {
        sim_shell_feed(s, &ev);
    }
}

/* A damaged file, or the connector's word that it is good again. */
static void damage_place(struct sim *s, uint32_t place, bool damaged)
{
    const struct tg_engine_event ev = {.kind = TG_EV_MENDED, .destination = place};
    struct tg_engine_stats stats;

    s->places[place].damaged = damaged;
    sim_trace(s, "place %u %s", place, damaged ? "damaged" : "mended");
    if (damaged || !s->alive) {
        return;
    }
    tg_engine_destination_stats(s->engine, place, &stats);
    if (stats.stuck > 0) {
        sim_see(s, SIM_SEEN_MENDED);
    }
    sim_shell_feed(s, &ev);
}

static void calm_down(struct sim *s)
{
    sim_trace(s, "calm");
    s->calm = true;
    s->calm_ms = s->now_ms;
    s->crashes = 0;
    for (uint32_t i = 0; i < s->place_count; i++) {
        s->places[i].down = false;
        damage_place(s, i, false);
        if (s->places[i].paused) {
            pause_place(s, i, false);
        }
    }
}

static void jump(struct sim *s, int64_t by_ms)
{
    const struct tg_engine_event tick = {.kind = TG_EV_TICK};
    const bool days =
        by_ms < -2000; /* the loop turns before and after it, as it does each second */

    if (days && s->alive) {
        sim_shell_feed(s, &tick);
    }
    sim_trace(s, "clock jumps by %lld", (long long)by_ms);
    sim_see(s, by_ms > 0 ? SIM_SEEN_JUMP_FORWARD : SIM_SEEN_JUMP_BACK);
    s->skew_ms += by_ms;
    s->back_ms += by_ms < 0 ? -by_ms : 0;
    if (by_ms < 0) {
        sim_judge_clock_back(s, -by_ms);
    }
    if (days && s->alive) {
        sim_shell_feed(s, &tick);
    }
}

static void happen(struct sim *s, const struct sim_event *ev)
{
    const bool ours = s->alive && ev->epoch == s->epoch;

    switch (ev->kind) {
    case SIM_EV_ENTRY:
        s->entries[ev->a].arrived = true;
        s->stream[s->stream_count++] = ev->a;
        sim_trace(s, "entry %u arrives", ev->a);
        sim_intake_turn(s);
        break;
    case SIM_EV_PERSON:
        sim_person(s);
        break;
    case SIM_EV_BACKUP:
        sim_backup(s);
        break;
    case SIM_EV_RESTORE:
        sim_restore(s);
        break;
    case SIM_EV_CANCEL:
        sim_shell_cancel(s, ev->a);
        break;
    case SIM_EV_ARRIVE:
        sim_place_arrive(s, ev->a);
        break;
    case SIM_EV_LAND:
        sim_place_land(s, ev->a);
        break;
    case SIM_EV_ANSWER:
        if (ours) {
            sim_shell_answer(s, ev->a, ev->b, ev->c);
        }
        break;
    case SIM_EV_DURABLE:
        if (ours) {
            sim_shell_durable(s, ev->a);
        }
        break;
    case SIM_EV_NOTICE:
        if (ours) {
            sim_shell_notice(s, ev->a);
        }
        break;
    case SIM_EV_JUMP:
        jump(s, ev->c);
        break;
    case SIM_EV_PAUSE:
    case SIM_EV_RESUME:
        if (!s->calm) {
            pause_place(s, ev->a, ev->kind == SIM_EV_PAUSE);
        }
        break;
    case SIM_EV_DOWN:
    case SIM_EV_UP:
        sim_account(s, ev->a)->down = ev->kind == SIM_EV_DOWN && !s->calm;
        sim_trace(s, "place %u %s", ev->a, sim_account(s, ev->a)->down ? "down" : "up");
        break;
    case SIM_EV_DAMAGE:
    case SIM_EV_MEND:
        damage_place(s, ev->a, ev->kind == SIM_EV_DAMAGE && !s->calm);
        break;
    case SIM_EV_STOP:
        sim_shell_stop(s);
        break;
    case SIM_EV_START:
        sim_shell_start(s);
        break;
    case SIM_EV_CALM:
        calm_down(s);
        break;
    }
}

static bool crash_is_due(struct sim *s)
{
    for (size_t i = 0; i < s->crashes; i++) {
        if (s->crash_at[i] == s->steps) {
            return true;
        }
    }
    return false;
}

/* The next thing in time: a world event, or the engine's own timer, or a hold's. False: all is
 * quiet. */
static bool advance(struct sim *s)
{
    const struct tg_engine_event tick = {.kind = TG_EV_TICK};
    int64_t wake_ms = INT64_MAX;
    int64_t hold_ms = INT64_MAX;

    if (s->alive) {
        wake_ms = tg_engine_wake_ms(s->engine);
        hold_ms = sim_holds_wake_ms(s);
        wake_ms = hold_ms < wake_ms ? hold_ms : wake_ms;
        wake_ms = wake_ms == INT64_MAX ? INT64_MAX : wake_ms - s->skew_ms;
    }
    if (s->heap_count > 0 && s->heap[0].at_ms <= wake_ms) {
        const struct sim_event ev = pop(s);

        s->now_ms = ev.at_ms > s->now_ms ? ev.at_ms : s->now_ms;
        happen(s, &ev);
        return true;
    }
    if (wake_ms == INT64_MAX) {
        return false;
    }
    s->now_ms = wake_ms > s->now_ms ? wake_ms : s->now_ms;
    sim_shell_feed(s, &tick);
    if (hold_ms <= sim_wall_ms(s)) {
        sim_holds_turn(s);
    }
    return true;
}

int sim_run(struct sim *s, uint64_t seed, enum sim_mutation mutation, bool trace, uint64_t *seen)
{
    memset(s, 0, offsetof(struct sim, requests));
    s->request_count = s->mark_count = s->heap_count = 0;
    s->backup.taken = false;
    s->journal_busy = s->failed = false;
    s->group_last = 0;
    s->event_order = 0;
    s->seed = seed;
    s->random = seed;
    s->mutation = mutation;
    s->trace = trace;
    s->seen = seen;
    make_world(s);
    while (!s->failed && advance(s)) {
        s->steps++;
        sim_story_look(s);
        if (s->steps > SIM_STEPS_MAX) {
            sim_fault(s, "not settled after %d steps", SIM_STEPS_MAX);
        }
        if (s->alive && crash_is_due(s)) {
            sim_shell_crash(s);
        }
    }
    sim_judge_end(s);
    tg_engine_free(s->engine);
    s->engine = NULL;
    return s->failed ? -1 : 0;
}
