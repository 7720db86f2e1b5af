/* The engine's ordinary ways: marks before sends, turns, waits, pauses, clean stops, limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/retry.h"
#include "engine_rig.h"

static struct rig rig;

static void open_one(enum tg_dedupe dedupe, unsigned concurrency)
{
    const struct tg_engine_destination place = rig_place(dedupe, concurrency);

    rig_open(&rig, &place, 1);
}

static void posted(void **state)
{
    (void)state;
    open_one(TG_DEDUPE_UNIQUE, 4);
    rig_load(&rig, 7, TG_POSTING_READY, 0);
    assert_int_equal(rig_count(&rig), 1); /* the mark, and no SEND before it is durable */
    rig_expect_mark(&rig, 0, 7, TG_POSTING_READY, TG_POSTING_SENT, 1);
    rig_tick(&rig, 3600000);
    rig_expect_none(&rig);
    assert_int_equal(rig.stats.marking, 1);
    rig_marked(&rig, 7);
    assert_int_equal(rig_count(&rig), 1);
    rig_expect(&rig, 0, TG_ACT_SEND, 7);
    assert_int_equal(rig.stats.in_flight, 1);
    rig_outcome(&rig, 7, TG_OUTCOME_POSTED);
    assert_int_equal(rig_count(&rig), 1); /* not forgotten before the outcome is durable */
    rig_expect_mark(&rig, 0, 7, TG_POSTING_SENT, TG_POSTING_POSTED, 1);
    assert_false(tg_engine_is_quiet(rig.engine));
    rig_marked(&rig, 7);
    assert_int_equal(rig_count(&rig), 1);
    rig_expect(&rig, 0, TG_ACT_FORGET, 7);
    assert_int_equal(rig.stats.open, 0);
    assert_true(tg_engine_is_quiet(rig.engine));
    assert_int_equal(tg_engine_wake_ms(rig.engine), INT64_MAX);
    rig_close(&rig);
}

static void rejected_is_two_marks(void **state)
{
    (void)state;
    open_one(TG_DEDUPE_UNIQUE, 4);
    rig_send(&rig, 7);
    rig_outcome(&rig, 7, TG_OUTCOME_REJECTED);
    assert_int_equal(rig_count(&rig), 2);
    rig_expect_mark(&rig, 0, 7, TG_POSTING_SENT, TG_POSTING_REJECTED, 1);
    rig_expect_mark(&rig, 1, 7, TG_POSTING_REJECTED, TG_POSTING_EXCEPTION, 1);
    assert_null(rig_action(&rig, 0)->exception);
    assert_string_equal(rig_action(&rig, 1)->exception, "destination_rejected");
    rig_marked(&rig, 7);
    rig_expect_none(&rig);
    rig_marked(&rig, 7);
    rig_expect(&rig, 0, TG_ACT_FORGET, 7);
    rig_close(&rig);
}

static void refuses_what_does_not_fit(void **state)
{
    const struct tg_engine_event strange = {.kind = (enum tg_engine_event_kind)99, .id = 7};
    const struct tg_engine_event nowhere = {.kind = TG_EV_PAUSE, .destination = 1};
    const struct tg_engine_event nobody = {.kind = TG_EV_CANCEL, .id = 8};
    struct tg_engine_event far = {
        .kind = TG_EV_LOADED, .posting = {.id = 9, .destination = 1, .state = TG_POSTING_READY}};

    (void)state;
    open_one(TG_DEDUPE_UNIQUE, 4);
    rig_load(&rig, 7, TG_POSTING_READY, 0);
    assert_int_equal(rig_try_outcome(&rig, 7, TG_OUTCOME_POSTED, 0), -1);
    assert_int_equal(rig_try_lookup(&rig, 7, TG_LOOKUP_FOUND), -1);
    assert_int_equal(rig_try_load(&rig, 7, TG_POSTING_READY, 0), -1);
    assert_int_equal(rig_try_marked(&rig, 8), -1);
    assert_int_equal(rig_step(&rig, &strange), -1);
    assert_int_equal(rig_step(&rig, &nowhere), -1);
    assert_int_equal(rig_step(&rig, &nobody), -1);
    assert_int_equal(rig_step(&rig, &far), -1);
    for (int s = 0; s < TG_POSTING_STATE_COUNT + 2; s++) {
        if (s != TG_POSTING_READY && s != TG_POSTING_SENT && s != TG_POSTING_RETRY &&
            s != TG_POSTING_IN_DOUBT) {
            assert_int_equal(rig_try_load(&rig, 100 + s, (enum tg_posting_state)s, 0), -1);
        }
    }
    rig_expect_none(&rig);
    assert_int_equal(rig.stats.open, 1);
    rig_marked(&rig, 7);
    assert_int_equal(rig_try_marked(&rig, 7), -1);
    assert_int_equal(rig.stats.in_flight, 1);
    rig_close(&rig);
}

static void turns_go_by_id_and_ramp_up(void **state)
{
    static const int64_t ids[] = {50, 20, 40, 10, 30, 60};
    int64_t want = 10;
    size_t out = 0;

    (void)state;
    open_one(TG_DEDUPE_UNIQUE, 3);
    rig_pause(&rig, 0, true);
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        rig_load(&rig, ids[i], TG_POSTING_READY, 0);
        rig_expect_none(&rig); /* held, not dropped */
    }
    assert_true(rig.stats.paused);
    rig_tick(&rig, 86400000);
    rig_expect_none(&rig);
    rig_pause(&rig, 0, false);
    assert_int_equal(rig_count(&rig), 1); /* not all at once */
    rig_expect(&rig, 0, TG_ACT_MARK, want);
    rig_marked(&rig, want);
    rig_outcome(&rig, want, TG_OUTCOME_POSTED);
    /* one slot back and one more, besides the mark of the outcome */
    for (size_t i = 0; i < rig_count(&rig); i++) {
        if (rig_action(&rig, i)->state == TG_POSTING_SENT) {
            want += 10;
            assert_int_equal(rig_action(&rig, i)->id, want);
            out++;
        }
    }
    assert_int_equal(out, 2);
    rig_close(&rig);
}

static void concurrency_is_never_exceeded(void **state)
{
    (void)state;
    open_one(TG_DEDUPE_UNIQUE, 2);
    for (int64_t id = 1; id <= 10; id++) {
        rig_load(&rig, id, TG_POSTING_READY, 0);
        assert_int_equal(rig_count(&rig), id <= 2 ? 1 : 0);
    }
    rig_marked(&rig, 1); /* a slot is taken with the mark, not with the send */
    rig_marked(&rig, 2);
    assert_int_equal(rig.stats.in_flight, 2);
    rig_outcome(&rig, 2, TG_OUTCOME_POSTED);
    assert_int_equal(rig_count(&rig), 2);
    rig_expect_mark(&rig, 0, 2, TG_POSTING_SENT, TG_POSTING_POSTED, 1);
    rig_expect_mark(&rig, 1, 3, TG_POSTING_READY, TG_POSTING_SENT, 1);
    rig_close(&rig);
}

static void retry_until_used_up(void **state)
{
    unsigned attempt;

    (void)state;
    open_one(TG_DEDUPE_UNIQUE, 1);
    rig_send(&rig, 7);
    for (attempt = 1; attempt < TG_RETRY_ATTEMPTS_MAX; attempt++) {
        int64_t due;

        rig_outcome(&rig, 7, TG_OUTCOME_RETRY);
        assert_int_equal(rig_count(&rig), 1);
        rig_expect_mark(&rig, 0, 7, TG_POSTING_SENT, TG_POSTING_RETRY, attempt);
        due = rig_action(&rig, 0)->due_ms;
        assert_true(due > rig.now_ms);
        rig_marked(&rig, 7);
        rig_expect_none(&rig);
        assert_int_equal(rig.stats.retry, 1);
        assert_int_equal(tg_engine_wake_ms(rig.engine), due);
        rig_tick(&rig, due - rig.now_ms - 1);
        rig_expect_none(&rig);
        rig_tick(&rig, 1);
        assert_int_equal(rig_count(&rig), 2); /* ready and sent: one commit */
        rig_expect_mark(&rig, 0, 7, TG_POSTING_RETRY, TG_POSTING_READY, attempt);
        rig_expect_mark(&rig, 1, 7, TG_POSTING_READY, TG_POSTING_SENT, attempt + 1);
        rig_marked(&rig, 7);
        rig_expect_none(&rig);
        rig_marked(&rig, 7);
        rig_expect(&rig, 0, TG_ACT_SEND, 7);
    }
    rig_outcome(&rig, 7, TG_OUTCOME_RETRY);
    assert_int_equal(rig_count(&rig), 2);
    rig_expect_mark(&rig, 0, 7, TG_POSTING_SENT, TG_POSTING_RETRY, TG_RETRY_ATTEMPTS_MAX);
    rig_expect_mark(&rig, 1, 7, TG_POSTING_RETRY, TG_POSTING_EXCEPTION, TG_RETRY_ATTEMPTS_MAX);
    assert_string_equal(rig_action(&rig, 1)->exception, "attempts_used_up");
    rig_close(&rig);
}

static void retry_after_survives_a_restart(void **state)
{
    struct tg_engine_event ev = {.kind = TG_EV_LOADED,
                                 .posting = {.id = 7, .state = TG_POSTING_RETRY, .attempt = 3}};

    (void)state;
    open_one(TG_DEDUPE_UNIQUE, 1);
    rig_send(&rig, 7);
    assert_int_equal(rig_try_outcome(&rig, 7, TG_OUTCOME_RETRY, 7200000), 0);
    assert_int_equal(rig_action(&rig, 0)->due_ms, rig.now_ms + 7200000);
    rig_close(&rig);

    open_one(TG_DEDUPE_UNIQUE, 1);
    ev.posting.due_ms = rig.now_ms + 7200000;
    assert_int_equal(rig_step(&rig, &ev), 0);
    rig_tick(&rig, 7199999);
    rig_expect_none(&rig);
    rig_tick(&rig, 1);
    rig_expect_mark(&rig, 1, 7, TG_POSTING_READY, TG_POSTING_SENT, 4);
    ev.posting.id = 8; /* from a clock that was years ahead */
    ev.posting.due_ms = INT64_MAX;
    assert_int_equal(rig_step(&rig, &ev), 0);
    assert_int_equal(tg_engine_wake_ms(rig.engine), rig.now_ms + TG_RETRY_AFTER_MAX_MS);
    rig_close(&rig);
}

static void throttled_stops_the_destination(void **state)
{
    (void)state;
    open_one(TG_DEDUPE_UNIQUE, 4);
    rig_send(&rig, 7);
    assert_int_equal(rig_try_outcome(&rig, 7, TG_OUTCOME_THROTTLED, 60000), 0);
    rig_expect_mark(&rig, 0, 7, TG_POSTING_SENT, TG_POSTING_RETRY, 0); /* used up nothing */
    rig_marked(&rig, 7);
    rig_load(&rig, 8, TG_POSTING_READY, 0);
    rig_expect_none(&rig);
    assert_int_equal(rig.stats.breaker, TG_BREAKER_CLOSED);
    rig_tick(&rig, 59999);
    rig_expect_none(&rig);
    rig_tick(&rig, 1);
    assert_int_equal(rig_count(&rig), 3);
    rig_expect_mark(&rig, 0, 7, TG_POSTING_RETRY, TG_POSTING_READY, 0);
    rig_expect_mark(&rig, 1, 7, TG_POSTING_READY, TG_POSTING_SENT, 1);
    rig_expect_mark(&rig, 2, 8, TG_POSTING_READY, TG_POSTING_SENT, 1);
    rig_close(&rig);
}

/* One posting against a destination that is down for a day: attempts stay unused. */
static void down_waits_and_uses_up_nothing(void **state)
{
    const int64_t end = RIG_T0 + 86400000;
    bool opened = false;
    int sends = 0;

    (void)state;
    open_one(TG_DEDUPE_NONE, 1);
    rig_send(&rig, 7);
    while (rig.now_ms < end) {
        sends++;
        rig_outcome(&rig, 7, TG_OUTCOME_DOWN);
        rig_expect_mark(&rig, 0, 7, TG_POSTING_SENT, TG_POSTING_RETRY, 0);
        opened = opened || rig.stats.breaker == TG_BREAKER_OPEN;
        rig_marked(&rig, 7);
        do {
            rig_wake(&rig);
        } while (rig_count(&rig) == 0);
        rig_expect_mark(&rig, 1, 7, TG_POSTING_READY, TG_POSTING_SENT, 1);
        rig_marked(&rig, 7);
        rig_marked(&rig, 7);
        rig_expect(&rig, 0, TG_ACT_SEND, 7);
    }
    assert_true(opened);
    assert_in_range(sends, 86400 / 40, 86400 / 10); /* gentle, and not asleep */
    rig_outcome(&rig, 7, TG_OUTCOME_POSTED);
    assert_int_equal(rig.stats.breaker, TG_BREAKER_CLOSED);
    rig_close(&rig);
}

static void breaker_lets_one_probe_through(void **state)
{
    (void)state;
    open_one(TG_DEDUPE_UNIQUE, 8);
    for (int64_t id = 1; id <= TG_BREAKER_FAILURES; id++) {
        rig_send(&rig, id);
    }
    for (int64_t id = 1; id <= TG_BREAKER_FAILURES; id++) {
        rig_outcome(&rig, id, TG_OUTCOME_DOWN);
        rig_marked(&rig, id);
    }
    assert_int_equal(rig.stats.breaker, TG_BREAKER_OPEN);
    rig_load(&rig, 20, TG_POSTING_READY, 0);
    rig_expect_none(&rig);
    rig_tick(&rig, TG_BREAKER_OPEN_MS);
    assert_int_equal(rig_count(&rig), 2); /* one posting: ready, sent */
    rig_expect(&rig, 1, TG_ACT_MARK, 1);
    assert_int_equal(rig.stats.breaker, TG_BREAKER_HALF_OPEN);
    rig_tick(&rig, 3600000);
    rig_expect_none(&rig);
    rig_marked(&rig, 1);
    rig_marked(&rig, 1);
    rig_outcome(&rig, 1, TG_OUTCOME_REJECTED); /* it answers, so it is well */
    assert_int_equal(rig.stats.breaker, TG_BREAKER_CLOSED);
    assert_true(rig_count(&rig) > 2);
    rig_close(&rig);
}

static void rate_is_kept(void **state)
{
    struct tg_engine_destination place = rig_place(TG_DEDUPE_UNIQUE, 100);

    (void)state;
    place.rate = (struct tg_rate){.emission_us = 1000000, .capacity = 2};
    rig_open(&rig, &place, 1);
    for (int64_t id = 1; id <= 5; id++) {
        rig_load(&rig, id, TG_POSTING_READY, 0);
        assert_int_equal(rig_count(&rig), id <= 2 ? 1 : 0);
    }
    for (int64_t id = 3; id <= 5; id++) {
        assert_int_equal(tg_engine_wake_ms(rig.engine), RIG_T0 + 1000 * (id - 2));
        rig_wake(&rig);
        assert_int_equal(rig_count(&rig), 1);
        rig_expect_mark(&rig, 0, id, TG_POSTING_READY, TG_POSTING_SENT, 1);
    }
    assert_int_equal(tg_engine_wake_ms(rig.engine), INT64_MAX);
    rig_close(&rig);
}

static void drain_leaves_nothing_in_doubt(void **state)
{
    (void)state;
    open_one(TG_DEDUPE_UNIQUE, 2);
    rig_send(&rig, 1);
    rig_load(&rig, 2, TG_POSTING_READY, 0); /* marked, not durable */
    rig_load(&rig, 3, TG_POSTING_READY, 0); /* waits */
    tg_engine_drain(rig.engine);
    assert_int_equal(tg_engine_room(rig.engine, 0), 0);
    assert_int_equal(rig_try_load(&rig, 4, TG_POSTING_READY, 0), -1);
    assert_false(tg_engine_is_quiet(rig.engine));
    rig_marked(&rig, 2);
    assert_int_equal(rig_count(&rig), 1); /* no byte went, so nothing is in doubt */
    rig_expect_mark(&rig, 0, 2, TG_POSTING_SENT, TG_POSTING_RETRY, 0);
    assert_int_equal(rig_action(&rig, 0)->due_ms, rig.now_ms);
    rig_marked(&rig, 2);
    rig_outcome(&rig, 1, TG_OUTCOME_POSTED);
    rig_expect_mark(&rig, 0, 1, TG_POSTING_SENT, TG_POSTING_POSTED, 1);
    assert_false(tg_engine_is_quiet(rig.engine));
    rig_marked(&rig, 1);
    assert_true(tg_engine_is_quiet(rig.engine));
    rig_tick(&rig, 86400000);
    rig_expect_none(&rig);
    rig_close(&rig);
}

static void goes_on_when_actions_were_full(void **state)
{
    (void)state;
    open_one(TG_DEDUPE_UNIQUE, 2);
    rig.filled = TG_ACTIONS_MAX;
    rig_load(&rig, 7, TG_POSTING_READY, 0);
    rig_expect_none(&rig);
    assert_int_equal(tg_engine_wake_ms(rig.engine), rig.now_ms);
    assert_false(tg_engine_is_quiet(rig.engine));
    rig.filled = 0;
    rig_tick(&rig, 0);
    rig_expect_mark(&rig, 0, 7, TG_POSTING_READY, TG_POSTING_SENT, 1);
    rig_marked(&rig, 7);
    rig.filled = TG_ACTIONS_MAX - 1;
    rig_outcome(&rig, 7, TG_OUTCOME_REJECTED);
    rig_expect_none(&rig); /* two marks that belong together do not go one by one */
    rig.filled = 0;
    rig_tick(&rig, 0);
    assert_int_equal(rig_count(&rig), 2);
    rig_close(&rig);
}

static void windows_are_shared(void **state)
{
    struct tg_engine_destination places[40];
    size_t total = 0;

    (void)state;
    for (size_t i = 0; i < 40; i++) {
        places[i] = rig_place(TG_DEDUPE_UNIQUE, 4);
    }
    rig_open(&rig, places, 1);
    assert_int_equal(tg_engine_room(rig.engine, 0), TG_DEST_WINDOW_MAX);
    assert_int_equal(tg_engine_room(rig.engine, 1), 0);
    rig_close(&rig);
    rig_open(&rig, places, 40);
    for (uint32_t i = 0; i < 40; i++) {
        total += tg_engine_room(rig.engine, i);
    }
    assert_in_range(total, TG_OPEN_POSTINGS_MAX - 40, TG_OPEN_POSTINGS_MAX);
    rig_pause(&rig, 0, true);
    for (int64_t id = 1; tg_engine_room(rig.engine, 0) > 0; id++) {
        assert_int_equal(rig_try_load(&rig, id, TG_POSTING_READY, 0), 0);
    }
    assert_int_equal(rig_try_load(&rig, 100000, TG_POSTING_READY, 0), -1);
    assert_int_equal(tg_engine_room(rig.engine, 39), TG_OPEN_POSTINGS_MAX / 40);
    rig_close(&rig);
}

/* Full window, then holes at random: whoever is left must still be found. */
static void finds_everyone_in_a_full_window(void **state)
{
    static bool gone[TG_DEST_WINDOW_MAX + 1];
    uint64_t random = 5;
    size_t left = TG_DEST_WINDOW_MAX;
    struct tg_engine_event ev = {.kind = TG_EV_CANCEL};

    (void)state;
    memset(gone, 0, sizeof(gone));
    open_one(TG_DEDUPE_UNIQUE, 1);
    rig_pause(&rig, 0, true);
    for (int64_t id = 1; id <= TG_DEST_WINDOW_MAX; id++) {
        struct tg_engine_event load = {.kind = TG_EV_LOADED,
                                       .posting = {.id = id * 4096, .state = TG_POSTING_READY}};

        rig.out.count = 0;
        assert_int_equal(tg_engine_step(rig.engine, &load, rig.now_ms, &rig.out), 0);
    }
    assert_int_equal(tg_engine_room(rig.engine, 0), 0);
    for (int i = 0; i < 5000; i++) {
        const size_t k = 1 + (size_t)(tg_random_next(&random) % TG_DEST_WINDOW_MAX);

        ev.id = (int64_t)k * 4096;
        rig.out.count = 0;
        assert_int_equal(tg_engine_step(rig.engine, &ev, rig.now_ms, &rig.out), gone[k] ? -1 : 0);
        left -= gone[k] ? 0 : 1;
        gone[k] = true;
    }
    assert_int_equal(tg_engine_room(rig.engine, 0), TG_DEST_WINDOW_MAX - left);
    rig_tick(&rig, 0);
    rig_close(&rig);
}

static void clock_back_keeps_no_one_waiting(void **state)
{
    struct tg_engine_destination place = rig_place(TG_DEDUPE_UNIQUE, 4);

    (void)state;
    place.rate = (struct tg_rate){.emission_us = 1000000, .capacity = 1};
    rig_open(&rig, &place, 1);
    rig_load(&rig, 1, TG_POSTING_READY, 0);
    rig_load(&rig, 2, TG_POSTING_READY, 0);
    rig_expect_none(&rig);
    rig_tick(&rig, -3600000);
    assert_true(tg_engine_wake_ms(rig.engine) <= rig.now_ms + 1000);
    rig_wake(&rig);
    rig_expect(&rig, 0, TG_ACT_MARK, 2);
    rig_close(&rig);
}

#define DAY_MS INT64_C(86400000)

/* A retry, a look-up, a breaker and a Retry-After: each waits as long as it would have. */
static void clock_back_moves_what_waits(void **state)
{
    int64_t wait_ms;

    (void)state;
    open_one(TG_DEDUPE_UNIQUE, 4);
    rig_send(&rig, 1);
    rig_outcome(&rig, 1, TG_OUTCOME_DOWN);
    rig_marked(&rig, 1);
    wait_ms = tg_engine_wake_ms(rig.engine) - rig.now_ms;
    assert_in_range(wait_ms, 1, TG_RETRY_BASE_MS);
    rig_tick(&rig, -DAY_MS);
    assert_int_equal(tg_engine_wake_ms(rig.engine) - rig.now_ms, wait_ms);
    rig_wake(&rig);
    rig_expect_mark(&rig, 0, 1, TG_POSTING_RETRY, TG_POSTING_READY, 0);
    rig_expect_mark(&rig, 1, 1, TG_POSTING_READY, TG_POSTING_SENT, 1);
    rig_marked(&rig, 1);
    rig_marked(&rig, 1);
    rig_outcome(&rig, 1, TG_OUTCOME_IN_DOUBT);
    rig_marked(&rig, 1);
    wait_ms = tg_engine_wake_ms(rig.engine) - rig.now_ms;
    rig_tick(&rig, -3 * DAY_MS);
    assert_int_equal(tg_engine_wake_ms(rig.engine) - rig.now_ms, wait_ms);
    rig_wake_lookup(&rig, 1);
    rig_close(&rig);
}

static void clock_back_moves_a_mark_not_yet_given_out(void **state)
{
    (void)state;
    open_one(TG_DEDUPE_UNIQUE, 4);
    rig_send(&rig, 1);
    rig.filled = TG_ACTIONS_MAX; /* no room: the mark to retry waits inside */
    assert_int_equal(rig_try_outcome(&rig, 1, TG_OUTCOME_THROTTLED, 60000), 0);
    rig.filled = 0;
    rig_tick(&rig, -DAY_MS);
    rig_expect_mark(&rig, 0, 1, TG_POSTING_SENT, TG_POSTING_RETRY, 0);
    assert_int_equal(rig_action(&rig, 0)->due_ms, rig.now_ms + 60000);
    rig_marked(&rig, 1);
    assert_int_equal(tg_engine_wake_ms(rig.engine), rig.now_ms + 60000);
    rig_close(&rig);
}

/* An event that does not fit changes nothing, also when it comes with an earlier time. */
static void clock_back_with_a_wrong_event(void **state)
{
    int64_t wake_ms;

    (void)state;
    open_one(TG_DEDUPE_UNIQUE, 4);
    rig_send(&rig, 1);
    rig_outcome(&rig, 1, TG_OUTCOME_DOWN);
    rig_marked(&rig, 1);
    wake_ms = tg_engine_wake_ms(rig.engine);
    rig.now_ms -= DAY_MS;
    assert_int_equal(rig_try_marked(&rig, 99), -1);
    rig.now_ms += DAY_MS;
    assert_int_equal(tg_engine_wake_ms(rig.engine), wake_ms);
    rig_close(&rig);
}

/* Set back while the process was down: the journal's times are ahead of the clock. */
static void clock_back_before_the_start(void **state)
{
    struct tg_engine_event ev = {.kind = TG_EV_LOADED,
                                 .posting = {.id = 1, .state = TG_POSTING_RETRY, .attempt = 2}};

    (void)state;
    open_one(TG_DEDUPE_UNIQUE, 4);
    ev.posting.first_sent_ms = rig.now_ms + 2 * DAY_MS;
    ev.posting.due_ms = ev.posting.first_sent_ms + 30000;
    assert_int_equal(rig_step(&rig, &ev), 0);
    assert_int_equal(tg_engine_wake_ms(rig.engine), rig.now_ms + 30000);
    rig_close(&rig);
}

/* The key's age does not shrink with the clock, else what was forgotten were sent again. */
static void clock_back_keeps_the_age_of_a_key(void **state)
{
    (void)state;
    open_one(TG_DEDUPE_IDEMPOTENCY, 4);
    rig_send(&rig, 1);
    rig_outcome(&rig, 1, TG_OUTCOME_IN_DOUBT);
    rig_marked(&rig, 1);
    rig_tick(&rig, 700000); /* older than its ttl */
    rig_expect(&rig, 0, TG_ACT_LOOKUP, 1);
    rig_tick(&rig, -650000);
    rig_lookup(&rig, 1, TG_LOOKUP_ABSENT);
    assert_int_equal(rig_count(&rig), 0);
    assert_int_equal(rig.stats.in_doubt, 1);
    assert_true(tg_engine_wake_ms(rig.engine) > rig.now_ms);
    rig_close(&rig);
}

/* The same seed and the same events give the same actions, to the last bit. */
static void is_deterministic(void **state)
{
    static struct tg_action story[2][4096];
    size_t told[2] = {0, 0};

    (void)state;
    memset(story, 0, sizeof(story));
    for (int run = 0; run < 2; run++) {
        uint64_t random = 11;

        open_one(TG_DEDUPE_UNIQUE, 3);
        for (int i = 0; i < 12000; i++) {
            const int64_t id = 1 + (int64_t)(tg_random_next(&random) % 6);
            const uint64_t what = tg_random_next(&random);

            switch (what % 5) {
            case 0:
                (void)rig_try_load(&rig, id, TG_POSTING_READY, 0);
                break;
            case 1:
                (void)rig_try_outcome(&rig, id, (enum tg_outcome)(what / 5 % 6), 0);
                break;
            case 2:
                (void)rig_try_lookup(&rig, id, (enum tg_lookup)(what / 5 % 4));
                break;
            case 3:
                (void)rig_try_marked(&rig, id);
                break;
            default:
                rig_tick(&rig, (int64_t)(what / 5 % 5000));
                break;
            }
            for (size_t k = 0; k < rig_count(&rig) && told[run] < 4096; k++) {
                story[run][told[run]++] = *rig_action(&rig, k);
            }
        }
        rig_close(&rig);
    }
    assert_true(told[0] > 500);
    assert_int_equal(told[0], told[1]);
    for (size_t i = 0; i < told[0]; i++) {
        assert_int_equal(story[0][i].kind, story[1][i].kind);
        assert_int_equal(story[0][i].id, story[1][i].id);
        assert_int_equal(story[0][i].due_ms, story[1][i].due_ms);
        assert_int_equal(story[0][i].state, story[1][i].state);
    }
}

static void no_destinations(void **state)
{
    (void)state;
    rig_open(&rig, NULL, 0);
    assert_int_equal(tg_engine_room(rig.engine, 0), 0);
    assert_int_equal(rig_try_load(&rig, 1, TG_POSTING_READY, 0), -1);
    rig_tick(&rig, 1);
    assert_true(tg_engine_is_quiet(rig.engine));
    rig_close(&rig);
    tg_engine_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(posted),
        cmocka_unit_test(rejected_is_two_marks),
        cmocka_unit_test(refuses_what_does_not_fit),
        cmocka_unit_test(turns_go_by_id_and_ramp_up),
        cmocka_unit_test(concurrency_is_never_exceeded),
        cmocka_unit_test(retry_until_used_up),
        cmocka_unit_test(retry_after_survives_a_restart),
        cmocka_unit_test(throttled_stops_the_destination),
        cmocka_unit_test(down_waits_and_uses_up_nothing),
        cmocka_unit_test(breaker_lets_one_probe_through),
        cmocka_unit_test(rate_is_kept),
        cmocka_unit_test(drain_leaves_nothing_in_doubt),
        cmocka_unit_test(goes_on_when_actions_were_full),
        cmocka_unit_test(windows_are_shared),
        cmocka_unit_test(finds_everyone_in_a_full_window),
        cmocka_unit_test(clock_back_keeps_no_one_waiting),
        cmocka_unit_test(clock_back_moves_what_waits),
        cmocka_unit_test(clock_back_moves_a_mark_not_yet_given_out),
        cmocka_unit_test(clock_back_with_a_wrong_event),
        cmocka_unit_test(clock_back_before_the_start),
        cmocka_unit_test(clock_back_keeps_the_age_of_a_key),
        cmocka_unit_test(is_deterministic),
        cmocka_unit_test(no_destinations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
