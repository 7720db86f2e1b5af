/* What destinations of one account share, and pauses that a destination asks for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/retry.h"
#include "engine_rig.h"

#define WORLDS 400
#define PLACES_MAX 5
#define IDS_MAX 64
#define STEPS 400

static struct rig rig;

/* n destinations of one account, and one that stands alone. */
static void open_shared(uint32_t n, unsigned concurrency, struct tg_rate rate)
{
    struct tg_engine_destination places[PLACES_MAX + 1];

    for (uint32_t i = 0; i <= n; i++) {
        places[i] = rig_place(TG_DEDUPE_UNIQUE, concurrency);
        places[i].rate = rate;
        places[i].account = i < n ? 7 : 0;
    }
    rig_open(&rig, places, n + 1);
}

static void load_at(uint32_t place, int64_t id)
{
    const struct tg_engine_event ev = {
        .kind = TG_EV_LOADED,
        .posting = {.id = id, .destination = place, .state = TG_POSTING_READY}};

    assert_int_equal(rig_step(&rig, &ev), 0);
}

static enum tg_breaker_state breaker_of(uint32_t place)
{
    struct tg_engine_stats stats;

    tg_engine_destination_stats(rig.engine, place, &stats);
    return stats.breaker;
}

static size_t in_flight_of(uint32_t place)
{
    struct tg_engine_stats stats;

    tg_engine_destination_stats(rig.engine, place, &stats);
    return stats.in_flight + stats.marking;
}

static const struct tg_rate no_rate = {.emission_us = 1, .capacity = 0};

static void slots_are_the_accounts(void **state)
{
    (void)state;
    open_shared(3, 2, no_rate);
    for (int64_t id = 1; id <= 9; id++) {
        load_at((uint32_t)(id % 3), id);
    }
    assert_int_equal(in_flight_of(0) + in_flight_of(1) + in_flight_of(2), 2);
    load_at(3, 20);
    load_at(3, 21);
    assert_int_equal(in_flight_of(3), 2); /* its own account */
    rig_close(&rig);
}

/* Lower ids elsewhere do not come first: each destination has its turn. */
static void turns_go_round(void **state)
{
    static const uint32_t want[] = {0, 1, 2, 0, 1, 2, 0, 0};
    int64_t next = 0;

    (void)state;
    open_shared(3, 1, no_rate);
    for (uint32_t i = 0; i < 3; i++) {
        rig_pause(&rig, i, true);
    }
    for (int64_t id = 1; id <= 4; id++) {
        load_at(0, id);
    }
    for (int64_t id = 101; id <= 102; id++) {
        load_at(1, id);
        load_at(2, id + 100);
    }
    for (uint32_t i = 0; i < 3; i++) {
        rig_pause(&rig, i, false);
        next = i == 0 ? rig_action(&rig, 0)->id : next;
    }
    for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
        assert_int_equal(next / 100, want[i]);
        rig_marked(&rig, next);
        rig_expect(&rig, 0, TG_ACT_SEND, next);
        rig_outcome(&rig, next, TG_OUTCOME_POSTED);
        if (i + 1 < sizeof(want) / sizeof(want[0])) {
            assert_int_equal(rig_count(&rig), 2);
            rig_expect(&rig, 0, TG_ACT_MARK, next); /* posted */
            next = rig_action(&rig, 1)->id;
        }
    }
    rig_close(&rig);
}

/* A tenant with a thousand waiting does not keep back another's one. */
static void a_crowd_starves_nobody(void **state)
{
    int64_t served = 0;
    bool seen = false;

    (void)state;
    open_shared(2, 1, (struct tg_rate){.emission_us = 1000000, .capacity = 1});
    for (int64_t id = 1; id <= 1000; id++) {
        load_at(0, id);
    }
    load_at(1, 5000);
    rig_marked(&rig, 1);
    rig_outcome(&rig, 1, TG_OUTCOME_POSTED);
    while (!seen && served < 3) {
        rig_wake(&rig);
        if (rig_count(&rig) > 0) {
            served++;
            seen = rig_action(&rig, 0)->id == 5000;
        }
    }
    assert_true(seen);
    assert_int_equal(served, 1);
    rig_close(&rig);
}

static void the_rate_is_the_accounts(void **state)
{
    size_t sent = 0;

    (void)state;
    open_shared(4, 100, (struct tg_rate){.emission_us = 1000000, .capacity = 2});
    for (int64_t id = 1; id <= 12; id++) {
        load_at((uint32_t)(id % 4), id);
        sent += rig_count(&rig);
    }
    assert_int_equal(sent, 2);
    for (int i = 0; i < 5; i++) {
        rig_tick(&rig, 1000);
        assert_int_equal(rig_count(&rig), 1);
    }
    rig_close(&rig);
}

static void the_breaker_is_the_accounts(void **state)
{
    (void)state;
    open_shared(2, 8, no_rate);
    for (int64_t id = 1; id <= TG_BREAKER_FAILURES; id++) {
        load_at(0, id);
        rig_marked(&rig, id);
    }
    for (int64_t id = 1; id <= TG_BREAKER_FAILURES; id++) {
        rig_outcome(&rig, id, TG_OUTCOME_DOWN);
        rig_marked(&rig, id);
    }
    assert_int_equal(breaker_of(0), TG_BREAKER_OPEN);
    assert_int_equal(breaker_of(1), TG_BREAKER_OPEN);
    assert_int_equal(breaker_of(2), TG_BREAKER_CLOSED);
    load_at(1, 50);
    load_at(1, 51);
    rig_expect_none(&rig);
    load_at(2, 60);
    assert_int_equal(rig_count(&rig), 1);
    rig_tick(&rig, TG_BREAKER_OPEN_MS); /* one probe, whoever's */
    assert_int_equal(breaker_of(1), TG_BREAKER_HALF_OPEN);
    assert_int_equal(in_flight_of(0) + in_flight_of(1), 1);
    rig_expect_mark(&rig, 0, 50, TG_POSTING_READY, TG_POSTING_SENT, 1);
    rig_marked(&rig, 50);
    rig_outcome(&rig, 50, TG_OUTCOME_REJECTED);
    assert_int_equal(breaker_of(0), TG_BREAKER_CLOSED);
    assert_true(in_flight_of(0) + in_flight_of(1) >= 2);
    rig_close(&rig);
}

/* A pause is one destination's; the others of its account go on, with all its slots. */
static void a_pause_is_the_destinations(void **state)
{
    (void)state;
    open_shared(2, 3, no_rate);
    rig_pause(&rig, 0, true);
    for (int64_t id = 1; id <= 5; id++) {
        load_at(0, id);
        load_at(1, id + 100);
    }
    assert_int_equal(in_flight_of(0), 0);
    assert_int_equal(in_flight_of(1), 3);
    rig_pause(&rig, 0, false);
    assert_int_equal(in_flight_of(0), 0);
    for (int64_t id = 101; id <= 103; id++) {
        rig_marked(&rig, id);
    }
    rig_outcome(&rig, 101, TG_OUTCOME_POSTED);
    rig_outcome(&rig, 102, TG_OUTCOME_POSTED);
    assert_int_equal(in_flight_of(0), 1); /* its turn, one slot to begin with */
    rig_close(&rig);
}

/* ---- Retry-After ---- */

static void throttle(int64_t id, int64_t retry_after_ms)
{
    assert_int_equal(rig_try_outcome(&rig, id, TG_OUTCOME_THROTTLED, retry_after_ms), 0);
}

static void a_wait_is_the_accounts_and_told(void **state)
{
    (void)state;
    open_shared(2, 8, no_rate);
    load_at(0, 1);
    rig_marked(&rig, 1);
    throttle(1, 60000);
    assert_int_equal(rig.blocks, 1);
    assert_int_equal(rig.block.destination, 0);
    assert_int_equal(rig.block.due_ms, RIG_T0 + 60000);
    assert_int_equal(rig.stats.blocked_until_ms, RIG_T0 + 60000);
    rig_marked(&rig, 1);
    load_at(1, 2);
    rig_expect_none(&rig);
    load_at(2, 3);
    assert_int_equal(rig_count(&rig), 1);
    rig_tick(&rig, 59999);
    rig_expect_none(&rig);
    rig_tick(&rig, 1);
    assert_int_equal(rig_count(&rig), 3); /* ready, sent; sent */
    assert_int_equal(rig.stats.blocked_until_ms, 0);
    rig_close(&rig);
}

/* Of three on their way two were not gone when the first was told to wait. */
static void what_has_not_gone_is_taken_back(void **state)
{
    (void)state;
    open_shared(1, 8, no_rate);
    for (int64_t id = 1; id <= 3; id++) {
        load_at(0, id);
    }
    rig_marked(&rig, 1);
    rig_expect(&rig, 0, TG_ACT_SEND, 1);
    throttle(1, 60000);
    for (int64_t id = 2; id <= 3; id++) {
        rig_marked(&rig, id);
        assert_int_equal(rig_count(&rig), 1);
        rig_expect_mark(&rig, 0, id, TG_POSTING_SENT, TG_POSTING_RETRY, 0);
        assert_int_equal(rig_action(&rig, 0)->due_ms, RIG_T0 + 60000);
    }
    for (int64_t id = 1; id <= 3; id++) {
        rig_marked(&rig, id);
    }
    rig_tick(&rig, 59999);
    rig_expect_none(&rig);
    rig_tick(&rig, 1);
    assert_int_equal(rig_count(&rig), 6);
    rig_expect_mark(&rig, 1, 1, TG_POSTING_READY, TG_POSTING_SENT, 1); /* in order */
    rig_expect_mark(&rig, 5, 3, TG_POSTING_READY, TG_POSTING_SENT, 1);
    rig_close(&rig);
}

/* The longer of two counts, and a wait of our own making is nobody's to keep. */
static void only_more_is_told(void **state)
{
    (void)state;
    open_shared(1, 8, no_rate);
    for (int64_t id = 1; id <= 4; id++) {
        load_at(0, id);
        rig_marked(&rig, id);
    }
    throttle(1, 0);
    assert_int_equal(rig.blocks, 0);
    assert_true(rig.stats.blocked_until_ms > RIG_T0);
    throttle(2, 60000);
    assert_int_equal(rig.blocks, 1);
    throttle(3, 30000);
    assert_int_equal(rig.blocks, 0);
    throttle(4, 90000);
    assert_int_equal(rig.block.due_ms, RIG_T0 + 90000);
    assert_int_equal(rig.stats.blocked_until_ms, RIG_T0 + 90000);
    rig_close(&rig);
}

static int block(uint32_t place, int64_t until_ms, int64_t said_ms)
{
    const struct tg_engine_event ev = {
        .kind = TG_EV_BLOCK, .destination = place, .until_ms = until_ms, .said_ms = said_ms};

    return rig_step(&rig, &ev);
}

static void a_wait_outlives_a_restart(void **state)
{
    (void)state;
    open_shared(2, 8, no_rate);
    assert_int_equal(block(9, RIG_T0 + 1, RIG_T0), -1);
    assert_int_equal(block(1, RIG_T0 - 1, RIG_T0 - 5), 0); /* over */
    assert_int_equal(rig.stats.blocked_until_ms, 0);
    assert_int_equal(block(1, RIG_T0 + 50000, RIG_T0 - 10000), 0);
    assert_int_equal(rig.blocks, 0); /* it is on disk already */
    load_at(0, 1);
    rig_expect_none(&rig);
    rig_tick(&rig, 49999);
    rig_expect_none(&rig);
    rig_tick(&rig, 1);
    assert_int_equal(rig_count(&rig), 1);
    rig_close(&rig);
    /* said an hour from now: the clock was set back by that much */
    open_shared(1, 8, no_rate);
    assert_int_equal(block(0, RIG_T0 + 3600000 + 60000, RIG_T0 + 3600000), 0);
    assert_int_equal(rig.stats.blocked_until_ms, RIG_T0 + 60000);
    rig_close(&rig);
    /* no clock holds it for longer than the longest there is */
    open_shared(1, 8, no_rate);
    assert_int_equal(block(0, RIG_T0 + 10 * TG_RETRY_AFTER_MAX_MS, 0), 0);
    assert_int_equal(rig.stats.blocked_until_ms, RIG_T0 + TG_RETRY_AFTER_MAX_MS);
    rig_close(&rig);
}

static void a_longer_wait_is_cut_to_the_longest(void **state)
{
    (void)state;
    open_shared(1, 8, no_rate);
    load_at(0, 1);
    rig_marked(&rig, 1);
    throttle(1, INT64_MAX / 2);
    assert_int_equal(rig.block.due_ms, RIG_T0 + TG_RETRY_AFTER_MAX_MS);
    assert_int_equal(rig_action(&rig, 0)->due_ms, RIG_T0 + TG_RETRY_AFTER_MAX_MS);
    rig_close(&rig);
}

/* Without room for it, it is told in the next step; a stop waits for that. */
static void told_when_there_is_room(void **state)
{
    (void)state;
    open_shared(1, 8, no_rate);
    load_at(0, 1);
    rig_marked(&rig, 1);
    rig.filled = TG_ACTIONS_MAX;
    throttle(1, 60000);
    assert_int_equal(rig.blocks, 0);
    assert_false(tg_engine_is_quiet(rig.engine));
    assert_int_equal(tg_engine_wake_ms(rig.engine), rig.now_ms);
    rig.filled = 0;
    rig_tick(&rig, 0);
    assert_int_equal(rig.blocks, 1);
    rig_close(&rig);
}

/* ---- property: whatever comes, nothing goes out before its hour ---- */

struct world {
    uint64_t random;
    uint32_t places;
    uint32_t account[PLACES_MAX];      /* first place of it */
    int64_t not_before_ms[PLACES_MAX]; /* of accounts */
    int64_t posting_not_before_ms[IDS_MAX];
    uint32_t place_of[IDS_MAX];
    bool out[IDS_MAX], looking[IDS_MAX];
    unsigned marks[IDS_MAX];
    int64_t next_id;
    size_t waits, went;
};

static uint64_t below(struct world *w, uint64_t n)
{
    return tg_random_next(&w->random) % n;
}

static void see(struct world *w)
{
    for (size_t i = 0; i < rig_count(&rig); i++) {
        const struct tg_action *a = rig_action(&rig, i);
        const uint32_t account = w->account[w->place_of[a->id]];

        w->marks[a->id] += a->kind == TG_ACT_MARK ? 1 : 0;
        if (a->kind != TG_ACT_SEND && a->kind != TG_ACT_LOOKUP) {
            continue;
        }
        w->went++;
        if (rig.now_ms < w->not_before_ms[account] ||
            rig.now_ms < w->posting_not_before_ms[a->id]) {
            fail_msg("posting %lld goes out too early", (long long)a->id);
        }
        w->out[a->id] = a->kind == TG_ACT_SEND;
        w->looking[a->id] = a->kind == TG_ACT_LOOKUP;
    }
}

static void answer_one(struct world *w, int64_t id)
{
    static const enum tg_outcome outcomes[] = {TG_OUTCOME_POSTED,    TG_OUTCOME_RETRY,
                                               TG_OUTCOME_THROTTLED, TG_OUTCOME_DOWN,
                                               TG_OUTCOME_IN_DOUBT,  TG_OUTCOME_REJECTED};
    static const enum tg_lookup lookups[] = {TG_LOOKUP_ABSENT, TG_LOOKUP_UNKNOWN,
                                             TG_LOOKUP_THROTTLED, TG_LOOKUP_DOWN, TG_LOOKUP_FOUND};
    const int64_t wait_ms = below(w, 3) == 0 ? 0 : (int64_t)below(w, 300000);
    struct tg_engine_event ev = {.id = id, .retry_after_ms = wait_ms};
    bool account_waits = false, posting_waits = false;

    if (w->out[id]) {
        ev.kind = TG_EV_OUTCOME;
        ev.outcome = outcomes[below(w, 6)];
        account_waits = ev.outcome == TG_OUTCOME_THROTTLED;
        posting_waits = account_waits || ev.outcome == TG_OUTCOME_RETRY;
    } else {
        ev.kind = TG_EV_LOOKUP;
        ev.lookup = lookups[below(w, 5)];
        account_waits = posting_waits = ev.lookup == TG_LOOKUP_THROTTLED;
    }
    w->out[id] = w->looking[id] = false;
    if (account_waits && wait_ms > 0) {
        int64_t *until = &w->not_before_ms[w->account[w->place_of[id]]];

        *until = rig.now_ms + wait_ms > *until ? rig.now_ms + wait_ms : *until;
        w->waits++;
    }
    w->posting_not_before_ms[id] = posting_waits ? rig.now_ms + wait_ms : 0;
    assert_int_equal(rig_step(&rig, &ev), 0);
    see(w);
}

static void load_one(struct world *w)
{
    const int64_t id = w->next_id++;

    w->place_of[id] = (uint32_t)below(w, w->places);
    load_at(w->place_of[id], id);
    see(w);
}

static void step_world(struct world *w)
{
    const int64_t id = (int64_t)below(w, (uint64_t)w->next_id);

    switch (below(w, 8)) {
    case 0:
        if (w->next_id < IDS_MAX) {
            load_one(w);
        }
        break;
    case 1:
        rig_pause(&rig, (uint32_t)below(w, w->places), below(w, 3) == 0);
        see(w);
        break;
    case 2: /* to the very millisecond something is to happen, and the one before */
        if (tg_engine_wake_ms(rig.engine) != INT64_MAX &&
            tg_engine_wake_ms(rig.engine) > rig.now_ms) {
            rig_tick(&rig, tg_engine_wake_ms(rig.engine) - rig.now_ms - 1);
            see(w);
            rig_tick(&rig, 1);
            see(w);
        }
        break;
    case 3:
        rig_tick(&rig, (int64_t)below(w, 20000));
        see(w);
        break;
    default:
        if (w->marks[id] > 0) {
            w->marks[id]--;
            rig_marked(&rig, id);
            see(w);
        } else if (w->out[id] || w->looking[id]) {
            answer_one(w, id);
        }
        break;
    }
}

static void nothing_goes_out_early(void **state)
{
    size_t waits = 0, went = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= WORLDS; seed++) {
        struct world w = {.random = seed};
        struct tg_engine_destination places[PLACES_MAX];

        w.places = 1 + (uint32_t)below(&w, PLACES_MAX);
        for (uint32_t i = 0; i < w.places; i++) {
            places[i] = rig_place((enum tg_dedupe)below(&w, 3), 1 + (unsigned)below(&w, 4));
            w.account[i] = i > 0 && below(&w, 2) == 0 ? w.account[below(&w, i)] : i;
            places[i].account = w.account[i] + 1;
        }
        rig_open(&rig, places, w.places);
        load_one(&w);
        for (int i = 0; i < STEPS; i++) {
            step_world(&w);
        }
        waits += w.waits;
        went += w.went;
        rig_close(&rig);
    }
    assert_true(waits > WORLDS);
    assert_true(went > 10 * WORLDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_are_the_accounts),
        cmocka_unit_test(turns_go_round),
        cmocka_unit_test(a_crowd_starves_nobody),
        cmocka_unit_test(the_rate_is_the_accounts),
        cmocka_unit_test(the_breaker_is_the_accounts),
        cmocka_unit_test(a_pause_is_the_destinations),
        cmocka_unit_test(a_wait_is_the_accounts_and_told),
        cmocka_unit_test(what_has_not_gone_is_taken_back),
        cmocka_unit_test(only_more_is_told),
        cmocka_unit_test(a_wait_outlives_a_restart),
        cmocka_unit_test(a_longer_wait_is_cut_to_the_longest),
        cmocka_unit_test(told_when_there_is_room),
        cmocka_unit_test(nothing_goes_out_early),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
