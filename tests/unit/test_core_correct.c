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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_state_of_an_effect),
        cmocka_unit_test(what_dispatch_lets_go_of_is_cancelled),
        cmocka_unit_test(an_unknown_outcome_is_not_cancelled),
        cmocka_unit_test(nothing_is_reversed_twice),
        cmocka_unit_test(holds_end_with_what_they_wait_for),
        cmocka_unit_test(only_what_waits_for_a_person_expires),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
