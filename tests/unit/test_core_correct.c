/* What a later version does to each state of an older effect; when a hold ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/correct.h"

static enum tg_correction of(enum tg_posting_state state)
{
    const struct tg_effect e = {.state = state};

    return tg_correct(&e);
}

static void every_state_of_an_effect(void **state)
{
    (void)state;
    /* surely nothing happened */
    assert_int_equal(of(TG_POSTING_PLANNED), TG_CORRECT_CANCEL);
    assert_int_equal(of(TG_POSTING_HELD), TG_CORRECT_CANCEL);
    assert_int_equal(of(TG_POSTING_EXCEPTION), TG_CORRECT_CANCEL);
    /* it stands */
    assert_int_equal(of(TG_POSTING_POSTED), TG_CORRECT_REVERSE);
    /* it may */
    assert_int_equal(of(TG_POSTING_READY), TG_CORRECT_REVERSE_WHEN_POSTED);
    assert_int_equal(of(TG_POSTING_RETRY), TG_CORRECT_REVERSE_WHEN_POSTED);
    assert_int_equal(of(TG_POSTING_SENT), TG_CORRECT_REVERSE_WHEN_POSTED);
    assert_int_equal(of(TG_POSTING_IN_DOUBT), TG_CORRECT_REVERSE_WHEN_POSTED);
    assert_int_equal(of(TG_POSTING_REJECTED), TG_CORRECT_REVERSE_WHEN_POSTED);
    assert_int_equal(of((enum tg_posting_state)99), TG_CORRECT_REVERSE_WHEN_POSTED);
    /* it is over */
    assert_int_equal(of(TG_POSTING_CANCELLED), TG_CORRECT_NOTHING);
    assert_int_equal(of(TG_POSTING_REVERSED), TG_CORRECT_NOTHING);
}

static void what_dispatch_lets_go_of_is_cancelled(void **state)
{
    (void)state;
    for (int s = 0; s < TG_POSTING_STATE_COUNT; s++) {
        const struct tg_effect e = {.state = (enum tg_posting_state)s, .released = true};
        const bool lets_go = s == TG_POSTING_READY || s == TG_POSTING_RETRY;

        assert_int_equal(tg_correct(&e), lets_go ? TG_CORRECT_CANCEL : of(e.state));
    }
}

static void an_unknown_outcome_is_not_cancelled(void **state)
{
    const struct tg_effect e = {.state = TG_POSTING_EXCEPTION, .unknown = true};

    (void)state;
    assert_int_equal(tg_correct(&e), TG_CORRECT_REVERSE_WHEN_POSTED);
}

static void nothing_is_reversed_twice(void **state)
{
    (void)state;
    for (int s = 0; s < TG_POSTING_STATE_COUNT; s++) {
        const struct tg_effect reversal = {.state = (enum tg_posting_state)s, .is_reversal = true};
        const struct tg_effect reversed = {.state = (enum tg_posting_state)s, .is_reversed = true};

        assert_int_equal(tg_correct(&reversal), TG_CORRECT_NOTHING);
        assert_int_equal(tg_correct(&reversed), TG_CORRECT_NOTHING);
    }
}

static void holds_end_with_what_they_wait_for(void **state)
{
    (void)state;
    for (int s = 0; s < TG_POSTING_STATE_COUNT; s++) {
        const enum tg_posting_state is = (enum tg_posting_state)s;
        const bool final = tg_posting_is_final(is);

        assert_int_equal(tg_hold_verdict(false, is), final ? TG_HOLD_ENDS : TG_HOLD_WAITS);
        assert_int_equal(tg_hold_verdict(true, is), !final                    ? TG_HOLD_WAITS
                                                    : is == TG_POSTING_POSTED ? TG_HOLD_ENDS
                                                                              : TG_HOLD_CANCELS);
    }
}

static void only_what_waits_for_a_person_expires(void **state)
{
    (void)state;
    for (int s = 0; s < TG_POSTING_STATE_COUNT; s++) {
        const bool person = s == TG_POSTING_EXCEPTION || s == TG_POSTING_REJECTED;

        assert_int_equal(tg_hold_expires((enum tg_posting_state)s), person);
    }
}

static void what_another_life_may_have_sent_is_unknown(void **state)
{
    struct tg_effect_told t = {.state = TG_POSTING_HELD};

    (void)state;
    assert_false(tg_effect_is_unknown(&t));
    t.first_sent_ms = 1;
    assert_true(tg_effect_is_unknown(&t));
    t.state = TG_POSTING_EXCEPTION; /* rejected: the time is its own */
    assert_false(tg_effect_is_unknown(&t));
    t.ran_out = true; /* held in the backup, and then its time was up */
    assert_true(tg_effect_is_unknown(&t));
    t.first_sent_ms = 0;
    assert_false(tg_effect_is_unknown(&t));
    t.restored = true; /* a person may have replayed it since */
    assert_true(tg_effect_is_unknown(&t));
    t = (struct tg_effect_told){.state = TG_POSTING_EXCEPTION, .was_unknown = true};
    assert_true(tg_effect_is_unknown(&t));
}

static void a_posting_begins_as_what_may_have_been_sent(void **state)
{
    (void)state;
    assert_int_equal(tg_posting_begins(false, 0), TG_POSTING_READY);
    assert_int_equal(tg_posting_begins(false, 1), TG_POSTING_IN_DOUBT);
    assert_int_equal(tg_posting_begins(true, 0), TG_POSTING_HELD);
    assert_int_equal(tg_posting_begins(true, 1), TG_POSTING_HELD);
}

static void what_is_being_written_is_left_alone(void **state)
{
    (void)state;
    for (int s = 0; s < TG_POSTING_STATE_COUNT; s++) {
        const enum tg_posting_state is = (enum tg_posting_state)s;

        assert_int_equal(tg_let_go(true, TG_GRIP_WAITS, is, 0), TG_LET_GO_LATER);
        assert_int_equal(tg_let_go(false, TG_GRIP_TELLING, is, 0), TG_LET_GO_LATER);
        assert_int_equal(tg_let_go(false, TG_GRIP_BEGUN, is, 0), TG_LET_GO_NO);
        assert_int_equal(tg_let_go(false, TG_GRIP_WAITS, is, 1), TG_LET_GO_YES);
    }
    assert_int_equal(tg_let_go(false, TG_GRIP_NONE, TG_POSTING_READY, 0), TG_LET_GO_YES);
    assert_int_equal(tg_let_go(false, TG_GRIP_NONE, TG_POSTING_READY, 1), TG_LET_GO_NO);
    assert_int_equal(tg_let_go(false, TG_GRIP_NONE, TG_POSTING_SENT, 1), TG_LET_GO_NO);
    assert_int_equal(tg_let_go(false, TG_GRIP_NONE, TG_POSTING_EXCEPTION, 1), TG_LET_GO_YES);
}

static void steps_of_a_hold(void **state)
{
    struct tg_hold_case c = {.waits_for = TG_POSTING_SENT};

    (void)state;
    assert_int_equal(tg_hold_decide(&c), TG_HOLD_STEP_NONE);
    assert_false(tg_hold_asks(&c));
    c.is_due = true;
    assert_int_equal(tg_hold_decide(&c), TG_HOLD_STEP_WAIT);
    c.waits_for = TG_POSTING_EXCEPTION;
    assert_int_equal(tg_hold_decide(&c), TG_HOLD_STEP_EXPIRE);
    c.waits_for = TG_POSTING_CANCELLED;
    assert_true(tg_hold_asks(&c));
    assert_int_equal(tg_hold_decide(&c), TG_HOLD_STEP_RELEASE);
    c.is_behind = true;
    assert_int_equal(tg_hold_decide(&c), TG_HOLD_STEP_NEXT);
    c.is_reversal = true;
    assert_false(tg_hold_asks(&c));
    assert_int_equal(tg_hold_decide(&c), TG_HOLD_STEP_CANCEL);
    c.waits_for = TG_POSTING_POSTED;
    assert_int_equal(tg_hold_decide(&c), TG_HOLD_STEP_RELEASE);
    assert_int_equal(tg_hold_event(TG_HOLD_STEP_RELEASE, false), TG_PE_RELEASE);
    assert_int_equal(tg_hold_event(TG_HOLD_STEP_RELEASE, true), TG_PE_RELEASE_DOUBT);
    assert_int_equal(tg_hold_event(TG_HOLD_STEP_CANCEL, true), TG_PE_SUPERSEDED);
    assert_int_equal(tg_hold_event(TG_HOLD_STEP_EXPIRE, true), TG_PE_HOLD_EXPIRED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_state_of_an_effect),
        cmocka_unit_test(what_dispatch_lets_go_of_is_cancelled),
        cmocka_unit_test(an_unknown_outcome_is_not_cancelled),
        cmocka_unit_test(nothing_is_reversed_twice),
        cmocka_unit_test(holds_end_with_what_they_wait_for),
        cmocka_unit_test(only_what_waits_for_a_person_expires),
        cmocka_unit_test(what_another_life_may_have_sent_is_unknown),
        cmocka_unit_test(a_posting_begins_as_what_may_have_been_sent),
        cmocka_unit_test(what_is_being_written_is_left_alone),
        cmocka_unit_test(steps_of_a_hold),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
