/* What may have landed: look-ups, safe and unsafe resends, cancellations. */
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

/* Sent once, no clear answer, the mark durable. */
static void into_doubt(int64_t id)
{
    int64_t due_ms;

    rig_send(&rig, id);
    rig_outcome(&rig, id, TG_OUTCOME_IN_DOUBT);
    rig_expect_mark(&rig, 0, id, TG_POSTING_SENT, TG_POSTING_IN_DOUBT, 1);
    due_ms = rig_action(&rig, 0)->due_ms;
    rig_marked(&rig, id);
    rig_expect_none(&rig); /* looked up after a while, not at once */
    assert_int_equal(tg_engine_wake_ms(rig.engine), due_ms);
    assert_true(due_ms > rig.now_ms);
    assert_int_equal(rig.stats.in_doubt, 1);
}

static void expect_exception(size_t i, int64_t id, const char *code)
{
    rig_expect(&rig, i, TG_ACT_MARK, id);
    assert_int_equal(rig_action(&rig, i)->state, TG_POSTING_EXCEPTION);
    assert_string_equal(rig_action(&rig, i)->exception, code);
}

static void found(void **state)
{
    (void)state;
    open_one(TG_DEDUPE_LOOKUP_ONLY, 1);
    into_doubt(7);
    rig_wake_lookup(&rig, 7);
    assert_int_equal(rig.stats.in_flight, 1);
    rig_lookup(&rig, 7, TG_LOOKUP_FOUND);
    rig_expect_mark(&rig, 0, 7, TG_POSTING_IN_DOUBT, TG_POSTING_POSTED, 1);
    rig_marked(&rig, 7);
    rig_expect(&rig, 0, TG_ACT_FORGET, 7);
    rig_close(&rig);
}

static void unique_is_sent_again(void **state)
{
    (void)state;
    open_one(TG_DEDUPE_UNIQUE, 1);
    into_doubt(7);
    rig_wake_lookup(&rig, 7);
    rig_lookup(&rig, 7, TG_LOOKUP_ABSENT);
    assert_int_equal(rig_count(&rig), 2);
    rig_expect_mark(&rig, 0, 7, TG_POSTING_IN_DOUBT, TG_POSTING_READY, 1);
    rig_expect_mark(&rig, 1, 7, TG_POSTING_READY, TG_POSTING_SENT, 2);
    rig_marked(&rig, 7);
    rig_expect_none(&rig);
    rig_marked(&rig, 7);
    rig_expect(&rig, 0, TG_ACT_SEND, 7);
    rig_close(&rig);
}

static void sent_found_after_a_crash(void **state)
{
    (void)state;
    open_one(TG_DEDUPE_UNIQUE, 1);
    rig_load(&rig, 7, TG_POSTING_SENT, 3);
    assert_int_equal(rig_count(&rig), 1); /* never a send */
    rig_expect_mark(&rig, 0, 7, TG_POSTING_SENT, TG_POSTING_IN_DOUBT, 3);
    rig_tick(&rig, 3600000);
    rig_expect_none(&rig); /* nor a look-up before the mark is durable */
    rig_marked(&rig, 7);
    rig_expect(&rig, 0, TG_ACT_LOOKUP, 7);
    rig_close(&rig);
}

static void none_goes_to_a_person(void **state)
{
    (void)state;
    open_one(TG_DEDUPE_NONE, 1);
    rig_send(&rig, 7);
    rig_outcome(&rig, 7, TG_OUTCOME_IN_DOUBT);
    assert_int_equal(rig_count(&rig), 2);
    rig_expect_mark(&rig, 0, 7, TG_POSTING_SENT, TG_POSTING_IN_DOUBT, 1);
    expect_exception(1, 7, "outcome_unknown");
    rig_load(&rig, 8, TG_POSTING_SENT, 1);
    expect_exception(1, 8, "outcome_unknown");
    rig_load(&rig, 9, TG_POSTING_IN_DOUBT, 1);
    assert_int_equal(rig_count(&rig), 1);
    expect_exception(0, 9, "outcome_unknown");
    rig_close(&rig);
}

/* Looked up until the limit, always with this answer; then a person. */
static void gives_up_after(enum tg_dedupe dedupe, enum tg_lookup lookup)
{
    open_one(dedupe, 1);
    into_doubt(7);
    for (int i = 1; i < TG_LOOKUP_ATTEMPTS_MAX; i++) {
        rig_wake_lookup(&rig, 7);
        rig_lookup(&rig, 7, lookup);
        rig_expect_none(&rig);
        assert_true(tg_engine_wake_ms(rig.engine) > rig.now_ms);
    }
    rig_wake_lookup(&rig, 7);
    rig_lookup(&rig, 7, lookup);
    assert_int_equal(rig_count(&rig), 1);
    expect_exception(0, 7, "outcome_unknown");
    rig_marked(&rig, 7);
    rig_expect(&rig, 0, TG_ACT_FORGET, 7);
    rig_close(&rig);
}

static void gives_up(void **state)
{
    (void)state;
    gives_up_after(TG_DEDUPE_UNIQUE, TG_LOOKUP_UNKNOWN);
    gives_up_after(TG_DEDUPE_IDEMPOTENCY, TG_LOOKUP_UNKNOWN);
    gives_up_after(TG_DEDUPE_LOOKUP_ONLY, TG_LOOKUP_UNKNOWN);
    gives_up_after(TG_DEDUPE_LOOKUP_ONLY, TG_LOOKUP_ABSENT);
}

/* Both wait, and become due before the first is cancelled: the second waits still. */
static void cancelled_one_after_the_other(void **state)
{
    (void)state;
    open_one(TG_DEDUPE_UNIQUE, 2);
    for (int64_t id = 7; id <= 8; id++) {
        rig_send(&rig, id);
        rig_outcome(&rig, id, TG_OUTCOME_RETRY);
        rig_marked(&rig, id);
    }
    rig.now_ms += 3600000;
    for (int64_t id = 7; id <= 8; id++) {
        assert_int_equal(tg_engine_grip(rig.engine, id), TG_GRIP_WAITS);
        rig_cancel(&rig, id);
        rig_expect(&rig, 0, TG_ACT_FORGET, id);
        assert_int_equal(rig_count(&rig), 1);
    }
    rig_close(&rig);
}

/* Absent while the request may be at work there: one timer, and nothing is used up. */
static void absent_too_early_proves_nothing(void **state)
{
    struct tg_engine_destination place = rig_place(TG_DEDUPE_LOOKUP_ONLY, 1);
    int64_t sent_ms;

    (void)state;
    place.max_execution_ms = 120000;
    rig_open(&rig, &place, 1);
    sent_ms = rig.now_ms;
    into_doubt(7);
    rig_wake_lookup(&rig, 7);
    rig_lookup(&rig, 7, TG_LOOKUP_ABSENT);
    rig_expect_none(&rig);
    assert_int_equal(tg_engine_wake_ms(rig.engine), sent_ms + 120000);
    for (int i = 1; i < TG_LOOKUP_ATTEMPTS_MAX; i++) {
        rig_wake_lookup(&rig, 7);
        rig_lookup(&rig, 7, TG_LOOKUP_ABSENT);
        rig_expect_none(&rig);
    }
    rig_wake_lookup(&rig, 7);
    rig_lookup(&rig, 7, TG_LOOKUP_ABSENT);
    expect_exception(0, 7, "outcome_unknown");
    rig_close(&rig);
    /* loaded: nobody knows when it was sent last, so from then on */
    rig_open(&rig, &place, 1);
    rig_load(&rig, 8, TG_POSTING_IN_DOUBT, 1);
    rig_wake_lookup(&rig, 8);
    rig_lookup(&rig, 8, TG_LOOKUP_ABSENT);
    assert_int_equal(tg_engine_wake_ms(rig.engine), RIG_T0 + 120000);
    /* the clock is set back: it moves along */
    rig.now_ms -= 3600000;
    rig_tick(&rig, 0);
    assert_int_equal(tg_engine_wake_ms(rig.engine), RIG_T0 + 120000 - 3600000);
    rig_wake_lookup(&rig, 8);
    rig_lookup(&rig, 8, TG_LOOKUP_FOUND);
    rig_expect_mark(&rig, 0, 8, TG_POSTING_IN_DOUBT, TG_POSTING_POSTED, 1);
    rig_close(&rig);
    /* a destination that drops repeats itself is asked again at once: the late one does no harm */
    place.dedupe = TG_DEDUPE_UNIQUE;
    rig_open(&rig, &place, 1);
    into_doubt(7);
    rig_wake_lookup(&rig, 7);
    rig_lookup(&rig, 7, TG_LOOKUP_ABSENT);
    rig_expect_mark(&rig, 0, 7, TG_POSTING_IN_DOUBT, TG_POSTING_READY, 1);
    rig_close(&rig);
}

/* An outage never makes an exception, however long. */
static void lookup_down_uses_up_nothing(void **state)
{
    bool opened = false;

    (void)state;
    open_one(TG_DEDUPE_UNIQUE, 1);
    into_doubt(7);
    for (int i = 0; i < 100; i++) {
        do {
            rig_wake(&rig);
        } while (rig_count(&rig) == 0);
        rig_expect(&rig, 0, TG_ACT_LOOKUP, 7);
        rig_lookup(&rig, 7, TG_LOOKUP_DOWN);
        rig_expect_none(&rig);
        opened = opened || rig.stats.breaker == TG_BREAKER_OPEN;
    }
    assert_true(opened);
    rig_close(&rig);
}

/* A 429 on a look-up: all of the destination waits for as long as it says, and nothing is used up.
 */
static void lookup_throttled_stops_the_destination(void **state)
{
    const struct tg_engine_event ev = {
        .kind = TG_EV_LOOKUP, .id = 7, .lookup = TG_LOOKUP_THROTTLED, .retry_after_ms = 600000};

    (void)state;
    open_one(TG_DEDUPE_UNIQUE, 4);
    into_doubt(7);
    for (int i = 0; i < 2 * TG_LOOKUP_ATTEMPTS_MAX; i++) {
        rig_wake_lookup(&rig, 7);
        assert_int_equal(rig_step(&rig, &ev), 0);
        rig_expect_none(&rig);
        assert_int_equal(tg_engine_wake_ms(rig.engine), rig.now_ms + 600000);
    }
    rig_load(&rig, 8, TG_POSTING_READY, 0);
    rig_expect_none(&rig);
    assert_int_equal(rig.stats.breaker, TG_BREAKER_CLOSED);
    rig_tick(&rig, 599999);
    rig_expect_none(&rig);
    rig_tick(&rig, 1);
    rig_expect(&rig, 0, TG_ACT_LOOKUP, 7);
    rig_close(&rig);
}

/* Look-ups that never work must not keep the breaker from a send that would close it. */
static void sends_get_a_probe_too(void **state)
{
    bool sent = false;

    (void)state;
    open_one(TG_DEDUPE_UNIQUE, 1);
    into_doubt(7);
    do {
        rig_wake(&rig);
        if (rig_count(&rig) > 0) {
            rig_lookup(&rig, 7, TG_LOOKUP_DOWN);
        }
    } while (rig.stats.breaker != TG_BREAKER_OPEN);
    rig_load(&rig, 8, TG_POSTING_READY, 0);
    for (int i = 0; i < 20 && !sent; i++) {
        rig_wake(&rig);
        if (rig_count(&rig) == 0) {
            continue;
        }
        sent = rig_action(&rig, 0)->id == 8;
        if (!sent) {
            rig_lookup(&rig, 7, TG_LOOKUP_DOWN);
        }
    }
    assert_true(sent);
    rig_close(&rig);
}

static void idempotency_within_its_ttl(void **state)
{
    (void)state;
    open_one(TG_DEDUPE_IDEMPOTENCY, 1); /* ttl 10 minutes */
    into_doubt(7);
    rig_wake_lookup(&rig, 7);
    rig_lookup(&rig, 7, TG_LOOKUP_ABSENT);
    rig_expect_mark(&rig, 1, 7, TG_POSTING_READY, TG_POSTING_SENT, 2);
    rig_close(&rig);

    open_one(TG_DEDUPE_IDEMPOTENCY, 1);
    into_doubt(7);
    rig_wake_lookup(&rig, 7);
    rig.now_ms = RIG_T0 + 600000; /* first sent ten minutes ago: forgotten there */
    rig_lookup(&rig, 7, TG_LOOKUP_ABSENT);
    rig_expect_none(&rig);
    rig_close(&rig);
}

static void idempotency_that_passed_while_waiting(void **state)
{
    (void)state;
    open_one(TG_DEDUPE_IDEMPOTENCY, 1);
    into_doubt(7);
    rig_wake_lookup(&rig, 7);
    rig_pause(&rig, 0, true);
    rig_lookup(&rig, 7, TG_LOOKUP_ABSENT);
    rig_expect_none(&rig); /* in the journal still in doubt */
    rig_tick(&rig, 600000);
    rig_pause(&rig, 0, false);
    assert_int_equal(rig_count(&rig), 1);
    rig_expect_mark(&rig, 0, 7, TG_POSTING_IN_DOUBT, TG_POSTING_EXCEPTION, 1);
    expect_exception(0, 7, "outcome_unknown");
    rig_close(&rig);
}

static void idempotency_that_passed_in_the_journal(void **state)
{
    (void)state;
    open_one(TG_DEDUPE_IDEMPOTENCY, 1);
    into_doubt(7);
    rig_wake_lookup(&rig, 7);
    rig_lookup(&rig, 7, TG_LOOKUP_ABSENT);
    rig_expect_mark(&rig, 1, 7, TG_POSTING_READY, TG_POSTING_SENT, 2);
    rig_tick(&rig, 600000); /* a full disk */
    rig_marked(&rig, 7);
    rig_marked(&rig, 7);
    assert_int_equal(rig_count(&rig), 1);
    rig_expect_mark(&rig, 0, 7, TG_POSTING_SENT, TG_POSTING_IN_DOUBT, 1);
    rig_close(&rig);
}

static void idempotency_on_a_clock_set_back(void **state)
{
    (void)state;
    open_one(TG_DEDUPE_IDEMPOTENCY, 1);
    into_doubt(7);
    rig_wake_lookup(&rig, 7);
    rig.now_ms = RIG_T0 - 1; /* it saw the clock go back, so it still knows the age */
    rig_lookup(&rig, 7, TG_LOOKUP_ABSENT);
    rig_expect_mark(&rig, 1, 7, TG_POSTING_READY, TG_POSTING_SENT, 2);
    rig_close(&rig);
}

static void idempotency_on_a_clock_set_back_before_the_start(void **state)
{
    struct tg_engine_event ev = {.kind = TG_EV_LOADED,
                                 .posting = {.id = 7, .state = TG_POSTING_IN_DOUBT, .attempt = 1}};

    (void)state;
    open_one(TG_DEDUPE_IDEMPOTENCY, 1);
    ev.posting.first_sent_ms = RIG_T0 + 86400000; /* the age is not known */
    assert_int_equal(rig_step(&rig, &ev), 0);
    rig_wake_lookup(&rig, 7);
    rig_lookup(&rig, 7, TG_LOOKUP_ABSENT);
    rig_expect_none(&rig);
    rig_close(&rig);
}

/* In doubt, absent, sent again: in flight with an earlier request that may still land. */
static void second_flight(int64_t id)
{
    into_doubt(id);
    rig_wake_lookup(&rig, id);
    rig_lookup(&rig, id, TG_LOOKUP_ABSENT);
    rig_marked(&rig, id);
    rig_marked(&rig, id);
    rig_expect(&rig, 0, TG_ACT_SEND, id);
}

static void doubt_outlives_a_later_answer(void **state)
{
    static const enum tg_outcome nothing_happened[] = {TG_OUTCOME_RETRY, TG_OUTCOME_THROTTLED,
                                                       TG_OUTCOME_DOWN};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        open_one(TG_DEDUPE_UNIQUE, 1);
        second_flight(7);
        assert_int_equal(rig_try_outcome(&rig, 7, nothing_happened[i], 45000), 0);
        assert_int_equal(rig_count(&rig), 1);
        rig_expect_mark(&rig, 0, 7, TG_POSTING_SENT, TG_POSTING_IN_DOUBT,
                        nothing_happened[i] == TG_OUTCOME_RETRY ? 2 : 1);
        assert_int_equal(rig_action(&rig, 0)->due_ms, rig.now_ms + 45000);
        rig_close(&rig);
    }
}

static void rejection_in_doubt_is_not_definite(void **state)
{
    (void)state;
    open_one(TG_DEDUPE_UNIQUE, 1);
    second_flight(7);
    rig_outcome(&rig, 7, TG_OUTCOME_REJECTED);
    assert_int_equal(rig_count(&rig), 1);
    rig_expect_mark(&rig, 0, 7, TG_POSTING_SENT, TG_POSTING_IN_DOUBT, 2);
    rig_marked(&rig, 7);
    for (int i = 1; i < TG_LOOKUP_ATTEMPTS_MAX; i++) {
        rig_wake_lookup(&rig, 7);
        rig_lookup(&rig, 7, TG_LOOKUP_ABSENT);
        rig_expect_none(&rig); /* not sent a third time */
    }
    rig_wake_lookup(&rig, 7);
    rig_lookup(&rig, 7, TG_LOOKUP_ABSENT);
    expect_exception(0, 7, "outcome_unknown");
    rig_close(&rig);
}

static void resends_are_counted(void **state)
{
    (void)state;
    open_one(TG_DEDUPE_UNIQUE, 1);
    rig_load(&rig, 7, TG_POSTING_IN_DOUBT, TG_RETRY_ATTEMPTS_MAX);
    rig_wake_lookup(&rig, 7);
    rig_lookup(&rig, 7, TG_LOOKUP_ABSENT);
    assert_int_equal(rig_count(&rig), 1);
    expect_exception(0, 7, "outcome_unknown");
    rig_close(&rig);
}

static void lookups_come_before_sends(void **state)
{
    (void)state;
    open_one(TG_DEDUPE_UNIQUE, 1);
    into_doubt(7);
    rig_load(&rig, 3, TG_POSTING_READY, 0); /* takes the one slot */
    rig_load(&rig, 4, TG_POSTING_READY, 0);
    rig_tick(&rig, 60000);
    rig_expect_none(&rig); /* look-ups take slots like sends */
    rig_marked(&rig, 3);
    rig_outcome(&rig, 3, TG_OUTCOME_POSTED);
    assert_int_equal(rig_count(&rig), 2);
    rig_expect_mark(&rig, 0, 3, TG_POSTING_SENT, TG_POSTING_POSTED, 1);
    rig_expect(&rig, 1, TG_ACT_LOOKUP, 7);
    rig_close(&rig);
}

static void pause_and_drain_hold_lookups(void **state)
{
    (void)state;
    open_one(TG_DEDUPE_UNIQUE, 1);
    into_doubt(7);
    rig_pause(&rig, 0, true);
    rig_tick(&rig, 3600000);
    rig_expect_none(&rig);
    rig_pause(&rig, 0, false);
    rig_expect(&rig, 0, TG_ACT_LOOKUP, 7);
    tg_engine_drain(rig.engine);
    rig_lookup(&rig, 7, TG_LOOKUP_ABSENT);
    rig_expect_none(&rig);
    assert_true(tg_engine_is_quiet(rig.engine));
    rig_close(&rig);
}

static bool cancelled(int64_t id)
{
    rig_cancel(&rig, id);
    if (rig_count(&rig) == 0) {
        return false;
    }
    rig_expect(&rig, 0, TG_ACT_FORGET, id);
    assert_int_equal(rig_try_marked(&rig, id), -1);
    return true;
}

static void cancel_only_what_did_nothing(void **state)
{
    (void)state;
    open_one(TG_DEDUPE_UNIQUE, 1);
    rig_send(&rig, 1);
    rig_load(&rig, 2, TG_POSTING_READY, 0);
    assert_true(cancelled(2));
    rig_load(&rig, 3, TG_POSTING_READY, 2); /* sent before: a replay */
    assert_false(cancelled(3));
    rig_outcome(&rig, 1, TG_OUTCOME_RETRY);
    rig_marked(&rig, 1);
    assert_true(cancelled(1)); /* in retry nothing happened there */
    rig_load(&rig, 4, TG_POSTING_IN_DOUBT, 1);
    assert_false(cancelled(4));
    rig_load(&rig, 5, TG_POSTING_SENT, 1);
    assert_false(cancelled(5));
    rig_close(&rig);
}

/* Superseded while it could not be let go of: no second try, no person, but no guess either. */
static void superseded_on_its_way(void **state)
{
    (void)state;
    open_one(TG_DEDUPE_UNIQUE, 1);
    rig_send(&rig, 1);
    assert_false(cancelled(1));
    rig_outcome(&rig, 1, TG_OUTCOME_RETRY);
    assert_int_equal(rig_count(&rig), 2);
    rig_expect_mark(&rig, 0, 1, TG_POSTING_SENT, TG_POSTING_RETRY, 1);
    rig_expect_mark(&rig, 1, 1, TG_POSTING_RETRY, TG_POSTING_CANCELLED, 1);
    rig_marked(&rig, 1);
    rig_marked(&rig, 1);
    rig_expect(&rig, 0, TG_ACT_FORGET, 1);
    rig_send(&rig, 5);
    rig_outcome(&rig, 5, TG_OUTCOME_RETRY);
    assert_false(cancelled(5)); /* its mark is on the way */
    rig_marked(&rig, 5);
    rig_expect_mark(&rig, 0, 5, TG_POSTING_RETRY, TG_POSTING_CANCELLED, 1);
    rig_marked(&rig, 5);
    rig_send(&rig, 2);
    assert_false(cancelled(2));
    rig_outcome(&rig, 2, TG_OUTCOME_REJECTED);
    rig_expect_mark(&rig, 0, 2, TG_POSTING_SENT, TG_POSTING_REJECTED, 1);
    rig_expect_mark(&rig, 1, 2, TG_POSTING_REJECTED, TG_POSTING_CANCELLED, 1);
    rig_marked(&rig, 2);
    rig_marked(&rig, 2);
    rig_send(&rig, 3);
    assert_false(cancelled(3));
    rig_outcome(&rig, 3, TG_OUTCOME_POSTED); /* it stands: somebody else reverses it */
    rig_expect_mark(&rig, 0, 3, TG_POSTING_SENT, TG_POSTING_POSTED, 1);
    rig_marked(&rig, 3);
    rig_load(&rig, 4, TG_POSTING_READY, 0);
    rig_expect_mark(&rig, 0, 4, TG_POSTING_READY, TG_POSTING_SENT, 1);
    assert_false(cancelled(4)); /* between the mark and the first byte */
    rig_marked(&rig, 4);
    rig_expect_mark(&rig, 0, 4, TG_POSTING_SENT, TG_POSTING_RETRY, 0);
    rig_expect_mark(&rig, 1, 4, TG_POSTING_RETRY, TG_POSTING_CANCELLED, 0);
    rig_close(&rig);
}

static void superseded_in_doubt(void **state)
{
    (void)state;
    open_one(TG_DEDUPE_UNIQUE, 1);
    into_doubt(7);
    assert_false(cancelled(7));
    rig_wake_lookup(&rig, 7);
    rig_lookup(&rig, 7, TG_LOOKUP_ABSENT); /* an earlier request may still land */
    rig_expect_mark(&rig, 0, 7, TG_POSTING_IN_DOUBT, TG_POSTING_READY, 1);
    rig_expect_mark(&rig, 1, 7, TG_POSTING_READY, TG_POSTING_SENT, 2);
    rig_marked(&rig, 7);
    rig_marked(&rig, 7);
    rig_outcome(&rig, 7, TG_OUTCOME_RETRY);
    rig_expect_mark(&rig, 0, 7, TG_POSTING_SENT, TG_POSTING_IN_DOUBT, 2);
    rig_close(&rig);
}

static int load_superseded(int64_t id, enum tg_posting_state state, unsigned attempt)
{
    const struct tg_engine_event ev = {.kind = TG_EV_LOADED,
                                       .posting = {.id = id,
                                                   .state = state,
                                                   .attempt = attempt,
                                                   .first_sent_ms = attempt > 0 ? rig.now_ms : 0,
                                                   .superseded = true}};

    return rig_step(&rig, &ev);
}

static void superseded_in_the_journal(void **state)
{
    (void)state;
    open_one(TG_DEDUPE_UNIQUE, 2);
    assert_int_equal(load_superseded(1, TG_POSTING_READY, 0), 0);
    rig_expect_mark(&rig, 0, 1, TG_POSTING_READY, TG_POSTING_CANCELLED, 0);
    assert_int_equal(load_superseded(2, TG_POSTING_RETRY, 1), 0);
    rig_expect_mark(&rig, 0, 2, TG_POSTING_RETRY, TG_POSTING_CANCELLED, 1);
    assert_int_equal(load_superseded(3, TG_POSTING_READY, 1), 0); /* a replay */
    rig_expect_mark(&rig, 0, 3, TG_POSTING_READY, TG_POSTING_SENT, 2);
    assert_int_equal(load_superseded(4, TG_POSTING_SENT, 1), 0);
    rig_expect_mark(&rig, 0, 4, TG_POSTING_SENT, TG_POSTING_IN_DOUBT, 1);
    rig_close(&rig);
}

static void what_may_be_asked_of_a_posting(void **state)
{
    (void)state;
    open_one(TG_DEDUPE_UNIQUE, 1);
    assert_int_equal(tg_engine_grip(rig.engine, 1), TG_GRIP_NONE);
    rig_load(&rig, 1, TG_POSTING_READY, 0);
    assert_int_equal(tg_engine_grip(rig.engine, 1), TG_GRIP_TELLING);
    rig_load(&rig, 2, TG_POSTING_READY, 0);
    assert_int_equal(tg_engine_grip(rig.engine, 2), TG_GRIP_WAITS); /* for its turn */
    rig_load(&rig, 3, TG_POSTING_READY, 1);
    assert_int_equal(tg_engine_grip(rig.engine, 3), TG_GRIP_BEGUN); /* a replay */
    rig_load(&rig, 4, TG_POSTING_IN_DOUBT, 1);
    assert_int_equal(tg_engine_grip(rig.engine, 4), TG_GRIP_BEGUN);
    rig_marked(&rig, 1);
    assert_int_equal(tg_engine_grip(rig.engine, 1), TG_GRIP_BEGUN); /* in flight */
    rig_outcome(&rig, 1, TG_OUTCOME_RETRY);
    assert_int_equal(tg_engine_grip(rig.engine, 1), TG_GRIP_TELLING);
    rig_marked(&rig, 1);
    assert_int_equal(tg_engine_grip(rig.engine, 1), TG_GRIP_WAITS); /* for its time */
    rig_close(&rig);
}

static void cancel_of_what_waits_for_its_turn(void **state)
{
    (void)state;
    open_one(TG_DEDUPE_UNIQUE, 1);
    into_doubt(7);
    rig_wake_lookup(&rig, 7);
    rig_pause(&rig, 0, true);
    rig_lookup(&rig, 7, TG_LOOKUP_ABSENT); /* waits to be sent again */
    assert_false(cancelled(7));
    rig_load(&rig, 8, TG_POSTING_RETRY, 1); /* due at once, waits for its turn */
    rig_tick(&rig, 0);
    assert_true(cancelled(8));
    rig_pause(&rig, 0, false);
    rig_expect_mark(&rig, 1, 7, TG_POSTING_READY, TG_POSTING_SENT, 2);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(found),
        cmocka_unit_test(unique_is_sent_again),
        cmocka_unit_test(sent_found_after_a_crash),
        cmocka_unit_test(none_goes_to_a_person),
        cmocka_unit_test(gives_up),
        cmocka_unit_test(cancelled_one_after_the_other),
        cmocka_unit_test(absent_too_early_proves_nothing),
        cmocka_unit_test(lookup_down_uses_up_nothing),
        cmocka_unit_test(lookup_throttled_stops_the_destination),
        cmocka_unit_test(sends_get_a_probe_too),
        cmocka_unit_test(idempotency_within_its_ttl),
        cmocka_unit_test(idempotency_that_passed_while_waiting),
        cmocka_unit_test(idempotency_that_passed_in_the_journal),
        cmocka_unit_test(idempotency_on_a_clock_set_back),
        cmocka_unit_test(idempotency_on_a_clock_set_back_before_the_start),
        cmocka_unit_test(doubt_outlives_a_later_answer),
        cmocka_unit_test(rejection_in_doubt_is_not_definite),
        cmocka_unit_test(resends_are_counted),
        cmocka_unit_test(lookups_come_before_sends),
        cmocka_unit_test(pause_and_drain_hold_lookups),
        cmocka_unit_test(cancel_only_what_did_nothing),
        cmocka_unit_test(superseded_on_its_way),
        cmocka_unit_test(superseded_in_doubt),
        cmocka_unit_test(superseded_in_the_journal),
        cmocka_unit_test(what_may_be_asked_of_a_posting),
        cmocka_unit_test(cancel_of_what_waits_for_its_turn),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
