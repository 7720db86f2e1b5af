/* What a person may do: every case against every verb, by rules written down here once more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "core/person.h"

/* Every case that can be told apart. */
#define EACH_CASE(c)                                                                               \
    for (unsigned n_ = 0; n_ < 4U * 128U * TG_POSTING_STATE_COUNT; n_++)                           \
        for (struct tg_person_case c = case_of(n_), *once_ = &c; once_ != NULL; once_ = NULL)

static struct tg_person_case case_of(unsigned n)
{
    const unsigned bits = n / 4 % 128;

    return (struct tg_person_case){.state = TG_POSTING_EXCEPTION,
                                   .cause = (enum tg_person_cause)(n % 4),
                                   .was_unknown = (bits & 1) != 0,
                                   .sent = (bits & 2) != 0,
                                   .restored = (bits & 4) != 0,
                                   .since_restore = (bits & 8) != 0,
                                   .superseded = (bits & 16) != 0,
                                   .is_reversal = (bits & 32) != 0,
                                   .behind = (bits & 64) != 0,
                                   .original = (enum tg_posting_state)(n / 512)};
}

/* It may be at the destination, and nobody has said that it is not. */
static bool may_have_landed(const struct tg_person_case *c)
{
    if (c->cause == TG_CAUSE_UNKNOWN) {
        return true;
    }
    if (c->cause == TG_CAUSE_HOLD) {
        return c->sent || c->restored;
    }
    return c->restored && !c->since_restore;
}

static void every_answer_is_an_edge(void **state)
{
    (void)state;
    EACH_CASE(c)
    {
        for (int v = 0; v < TG_PERSON_VERB_COUNT; v++) {
            const struct tg_person_verdict is = tg_person_decide((enum tg_person_verb)v, &c);
            enum tg_posting_state next = TG_POSTING_STATE_COUNT;

            if (is.refusal != NULL) {
                assert_true(strlen(is.refusal) > 20);
                continue;
            }
            assert_int_equal(tg_posting_next(c.state, is.event, &next), 0);
            assert_int_equal(next, is.to);
            assert_int_equal(is.as, tg_person_ends_as((enum tg_person_verb)v));
            assert_non_null(is.outcome);
            if (v != TG_PERSON_EDIT) {
                assert_int_equal(is.hold != TG_PERSON_GOES, is.to == TG_POSTING_HELD);
            }
        }
    }
}

/* The heart of it: nothing that may have landed goes out again unasked, is given up, or gets a
 * second posting beside it. */
static void what_may_have_landed_is_never_doubled_nor_lost(void **state)
{
    (void)state;
    EACH_CASE(c)
    {
        struct tg_person_verdict is = tg_person_decide(TG_PERSON_REPLAY, &c);

        if (may_have_landed(&c) || c.was_unknown) {
            assert_true(is.refusal != NULL || is.to == TG_POSTING_IN_DOUBT ||
                        is.to == TG_POSTING_HELD);
            is = tg_person_decide(TG_PERSON_EDIT, &c);
            assert_non_null(is.refusal);
        }
        if (may_have_landed(&c)) {
            is = tg_person_decide(TG_PERSON_DISCARD, &c);
            assert_non_null(is.refusal);
        } else {
            is = tg_person_decide(TG_PERSON_RESOLVE_POSTED, &c);
            assert_non_null(is.refusal);
            is = tg_person_decide(TG_PERSON_RESOLVE_ABSENT, &c);
            assert_non_null(is.refusal);
        }
    }
}

/* A held one is looked up when it is let go only if it has a time of sending. */
static void a_doubt_outlives_a_hold(void **state)
{
    (void)state;
    EACH_CASE(c)
    {
        const struct tg_person_verdict is = tg_person_decide(TG_PERSON_REPLAY, &c);

        if (is.refusal == NULL && is.to == TG_POSTING_HELD && is.hold == TG_PERSON_HELD_ORDER &&
            tg_person_is_in_doubt(&c)) {
            assert_true(c.sent);
        }
    }
}

static void order_is_kept(void **state)
{
    (void)state;
    EACH_CASE(c)
    {
        struct tg_person_verdict is;

        if (!c.behind) {
            continue;
        }
        is = tg_person_decide(TG_PERSON_REPLAY, &c);
        assert_true(is.refusal != NULL || is.to == TG_POSTING_HELD);
        is = tg_person_decide(TG_PERSON_RESOLVE_ABSENT, &c);
        assert_true(is.refusal != NULL || is.to == TG_POSTING_HELD ||
                    is.to == TG_POSTING_CANCELLED);
        is = tg_person_decide(TG_PERSON_EDIT, &c);
        assert_true(is.refusal != NULL || is.hold == TG_PERSON_HELD_ORDER);
    }
}

static void a_reversal_goes_only_while_its_original_stands(void **state)
{
    (void)state;
    EACH_CASE(c)
    {
        if (!c.is_reversal || c.original == TG_POSTING_POSTED) {
            continue;
        }
        for (int v = 0; v < TG_PERSON_VERB_COUNT; v++) {
            const struct tg_person_verdict is = tg_person_decide((enum tg_person_verb)v, &c);

            assert_true(is.refusal != NULL || v == TG_PERSON_DISCARD ||
                        (is.to == TG_POSTING_HELD && is.hold == TG_PERSON_HELD_REVERSAL));
        }
    }
}

/* Whatever the case, somebody can do something about it. */
static void there_is_always_a_way_out(void **state)
{
    (void)state;
    EACH_CASE(c)
    {
        bool any = false;

        if (c.is_reversal && c.original != TG_POSTING_POSTED) {
            continue; /* it ends with its original */
        }
        for (int v = 0; v < TG_PERSON_VERB_COUNT; v++) {
            const struct tg_person_verdict is = tg_person_decide((enum tg_person_verb)v, &c);

            any = any || is.refusal == NULL;
        }
        assert_true(any);
    }
}

static void only_an_exception_waits_for_a_person(void **state)
{
    (void)state;
    for (int s = 0; s <= TG_POSTING_STATE_COUNT; s++) {
        for (int v = 0; v < TG_PERSON_VERB_COUNT; v++) {
            const struct tg_person_case c = {.state = (enum tg_posting_state)s};
            const struct tg_person_verdict is = tg_person_decide((enum tg_person_verb)v, &c);

            if (s != TG_POSTING_EXCEPTION) {
                assert_non_null(is.refusal);
            }
        }
    }
}

static void plain_cases(void **state)
{
    const struct tg_person_case rejected = {.state = TG_POSTING_EXCEPTION, .sent = true};
    struct tg_person_case c = rejected;

    (void)state;
    assert_int_equal(tg_person_decide(TG_PERSON_REPLAY, &c).to, TG_POSTING_READY);
    assert_int_equal(tg_person_decide(TG_PERSON_EDIT, &c).to, TG_POSTING_CANCELLED);
    assert_int_equal(tg_person_decide(TG_PERSON_DISCARD, &c).to, TG_POSTING_CANCELLED);
    c.cause = TG_CAUSE_ATTEMPTS;
    assert_int_equal(tg_person_decide(TG_PERSON_REPLAY, &c).to, TG_POSTING_READY);
    assert_non_null(tg_person_decide(TG_PERSON_EDIT, &c).refusal);
    c.cause = TG_CAUSE_UNKNOWN;
    assert_int_equal(tg_person_decide(TG_PERSON_REPLAY, &c).to, TG_POSTING_IN_DOUBT);
    assert_int_equal(tg_person_decide(TG_PERSON_RESOLVE_POSTED, &c).to, TG_POSTING_POSTED);
    assert_int_equal(tg_person_decide(TG_PERSON_RESOLVE_ABSENT, &c).to, TG_POSTING_READY);
    c.superseded = true; /* it is not there: then it never shall be */
    assert_int_equal(tg_person_decide(TG_PERSON_RESOLVE_ABSENT, &c).to, TG_POSTING_CANCELLED);
    c = rejected;
    c.restored = true; /* the other life may have replayed it */
    assert_int_equal(tg_person_decide(TG_PERSON_REPLAY, &c).to, TG_POSTING_IN_DOUBT);
    assert_non_null(tg_person_decide(TG_PERSON_DISCARD, &c).refusal);
    c.since_restore = true;
    assert_null(tg_person_decide(TG_PERSON_DISCARD, &c).refusal);
}

static void codes(void **state)
{
    (void)state;
    assert_int_equal(tg_person_cause_of("outcome_unknown"), TG_CAUSE_UNKNOWN);
    assert_int_equal(tg_person_cause_of("hold_expired"), TG_CAUSE_HOLD);
    assert_int_equal(tg_person_cause_of("attempts_used_up"), TG_CAUSE_ATTEMPTS);
    assert_int_equal(tg_person_cause_of("destination_rejected"), TG_CAUSE_REJECTED);
    assert_int_equal(tg_person_cause_of("destination_locked"), TG_CAUSE_REJECTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_answer_is_an_edge),
        cmocka_unit_test(what_may_have_landed_is_never_doubled_nor_lost),
        cmocka_unit_test(a_doubt_outlives_a_hold),
        cmocka_unit_test(order_is_kept),
        cmocka_unit_test(a_reversal_goes_only_while_its_original_stands),
        cmocka_unit_test(there_is_always_a_way_out),
        cmocka_unit_test(only_an_exception_waits_for_a_person),
        cmocka_unit_test(plain_cases),
        cmocka_unit_test(codes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
