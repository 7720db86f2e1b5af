/* What is out of use at a destination and concerns some of its postings only: a damaged file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine_rig.h"

static struct rig rig;

static void open_one(enum tg_dedupe dedupe, unsigned concurrency)
{
    const struct tg_engine_destination place = rig_place(dedupe, concurrency);

    rig_open(&rig, &place, 1);
}

static void mended(void)
{
    const struct tg_engine_event ev = {.kind = TG_EV_MENDED};

    assert_int_equal(rig_step(&rig, &ev), 0);
}

/* Time passes until something is to be done. */
static void wait_for_action(void)
{
    do {
        rig_wake(&rig);
    } while (rig_count(&rig) == 0);
}

/* A file is damaged over a weekend: nothing is used up, the breaker stays closed, and the tries get
 * rare. */
static void stuck_waits_and_uses_up_nothing(void **state)
{
    const int64_t end = RIG_T0 + INT64_C(2) * 86400000;
    int sends = 0;

    (void)state;
    open_one(TG_DEDUPE_NONE, 1);
    rig_send(&rig, 7);
    while (rig.now_ms < end) {
        sends++;
        rig_outcome(&rig, 7, TG_OUTCOME_STUCK);
        rig_expect_mark(&rig, 0, 7, TG_POSTING_SENT, TG_POSTING_RETRY, 0);
        assert_int_equal(rig.stats.breaker, TG_BREAKER_CLOSED);
        assert_int_equal(rig.stats.stuck, 1);
        rig_marked(&rig, 7);
        wait_for_action();
        rig_expect_mark(&rig, 1, 7, TG_POSTING_READY, TG_POSTING_SENT, 1);
        rig_marked(&rig, 7);
        rig_marked(&rig, 7);
        rig_expect(&rig, 0, TG_ACT_SEND, 7);
    }
    assert_in_range(sends, 2 * 86400 / 520, 2 * 86400 / 250);
    rig_outcome(&rig, 7, TG_OUTCOME_POSTED);
    assert_int_equal(rig.stats.stuck, 0);
    rig_close(&rig);
}

/* After MENDED it does not sit out its backoff, wherever it is. */
static void mended_ends_the_wait(void **state)
{
    (void)state;
    open_one(TG_DEDUPE_NONE, 2);
    rig_send(&rig, 7);
    for (int i = 0; i < 12; i++) {
        rig_outcome(&rig, 7, TG_OUTCOME_STUCK);
        rig_marked(&rig, 7);
        if (i < 11) {
            wait_for_action();
            rig_marked(&rig, 7);
            rig_marked(&rig, 7);
        }
    }
    mended();
    rig_expect_mark(&rig, 0, 7, TG_POSTING_RETRY, TG_POSTING_READY, 0);
    rig_expect_mark(&rig, 1, 7, TG_POSTING_READY, TG_POSTING_SENT, 1);
    rig_marked(&rig, 7);
    rig_marked(&rig, 7);
    rig_outcome(&rig, 7, TG_OUTCOME_STUCK);
    rig_expect_mark(&rig, 0, 7, TG_POSTING_SENT, TG_POSTING_RETRY, 0);
    mended(); /* the mark is not on disk yet */
    rig_expect_none(&rig);
    rig_marked(&rig, 7);
    rig_expect_mark(&rig, 1, 7, TG_POSTING_READY, TG_POSTING_SENT, 1);
    rig_close(&rig);
}

static void mended_is_of_one_destination(void **state)
{
    const struct tg_engine_destination places[] = {rig_place(TG_DEDUPE_NONE, 1),
                                                   rig_place(TG_DEDUPE_NONE, 1)};
    const struct tg_engine_event other = {.kind = TG_EV_MENDED, .destination = 1};
    const struct tg_engine_event nobody = {.kind = TG_EV_MENDED, .destination = 9};

    (void)state;
    rig_open(&rig, places, 2);
    rig_send(&rig, 7);
    rig_outcome(&rig, 7, TG_OUTCOME_STUCK);
    rig_marked(&rig, 7);
    assert_int_equal(rig_step(&rig, &other), 0);
    rig_expect_none(&rig);
    assert_int_equal(rig_step(&rig, &nobody), 0);
    rig_expect_none(&rig);
    rig_close(&rig);
}

/* Only what did nothing may be forgotten; a stuck one that is superseded did nothing. */
static void stuck_may_be_cancelled(void **state)
{
    (void)state;
    open_one(TG_DEDUPE_NONE, 1);
    rig_send(&rig, 7);
    rig_outcome(&rig, 7, TG_OUTCOME_STUCK);
    rig_marked(&rig, 7);
    rig_cancel(&rig, 7);
    rig_expect(&rig, 0, TG_ACT_FORGET, 7);
    rig_close(&rig);
}

/* In doubt, and the file that would tell is damaged: no look-up is used up. */
static void lookup_stuck_uses_up_nothing(void **state)
{
    (void)state;
    open_one(TG_DEDUPE_UNIQUE, 1);
    rig_send(&rig, 7);
    rig_outcome(&rig, 7, TG_OUTCOME_IN_DOUBT);
    rig_marked(&rig, 7);
    for (int i = 0; i < 100; i++) {
        wait_for_action();
        rig_expect(&rig, 0, TG_ACT_LOOKUP, 7);
        rig_lookup(&rig, 7, TG_LOOKUP_STUCK);
        rig_expect_none(&rig);
        assert_int_equal(rig.stats.breaker, TG_BREAKER_CLOSED);
        assert_int_equal(rig.stats.stuck, 1);
    }
    mended();
    rig_expect(&rig, 0, TG_ACT_LOOKUP, 7);
    rig_lookup(&rig, 7, TG_LOOKUP_FOUND);
    rig_expect_mark(&rig, 0, 7, TG_POSTING_IN_DOUBT, TG_POSTING_POSTED, 1);
    rig_close(&rig);
}

/* One stuck send. Returns whether it was parked. */
static bool block(int64_t id)
{
    const struct tg_engine_event ev = {.kind = TG_EV_MARKED, .id = id};

    rig_outcome(&rig, id, TG_OUTCOME_STUCK);
    rig.out.count = 0;
    assert_int_equal(tg_engine_step(rig.engine, &ev, rig.now_ms, &rig.out), 0);
    return rig.out.count > 0 && rig.out.items[0].kind == TG_ACT_FORGET && rig.out.items[0].id == id;
}

/* More are stuck than there is room for: those which can go still get in. */
static void half_of_the_window_stays_free(void **state)
{
    size_t parked = 0;

    (void)state;
    open_one(TG_DEDUPE_UNIQUE, 1);
    for (int64_t id = 1; id <= 2 * TG_DEST_WINDOW_MAX; id++) {
        assert_true(tg_engine_room(rig.engine, 0) >= TG_DEST_WINDOW_MAX / 2);
        rig_send(&rig, id);
        parked += block(id) ? 1 : 0;
    }
    assert_int_equal(parked, 2 * TG_DEST_WINDOW_MAX - TG_DEST_WINDOW_MAX / 2);
    rig_send(&rig, 1000000);
    assert_int_equal(rig.stats.stuck, TG_DEST_WINDOW_MAX / 2);
    rig_outcome(&rig, 1000000, TG_OUTCOME_POSTED);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stuck_waits_and_uses_up_nothing),
        cmocka_unit_test(mended_ends_the_wait),
        cmocka_unit_test(mended_is_of_one_destination),
        cmocka_unit_test(stuck_may_be_cancelled),
        cmocka_unit_test(lookup_stuck_uses_up_nothing),
        cmocka_unit_test(half_of_the_window_stays_free),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
