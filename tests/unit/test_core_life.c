/* Every pair of state and event against an explicit matrix, names, business states, keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/digest.h"
#include "core/life.h"

/*
 * One row a state, one column an event, in the order of the tables; the letter is the state it goes
 * to, '.' is no edge. Written from design section 5, not from life.c.
 *   p planned h held r ready s sent t retry d in_doubt P posted j rejected c cancelled x exception
 *   v reversed
 */
static const char LETTERS[TG_POSTING_STATE_COUNT + 1] = "phrstdPjcxv";
static const char *const COLUMNS[TG_PE_COUNT] = {"plan_ready",
                                                 "hold",
                                                 "release",
                                                 "hold_expired",
                                                 "superseded",
                                                 "send",
                                                 "answer_posted",
                                                 "answer_rejected",
                                                 "answer_retry",
                                                 "answer_unclear",
                                                 "due",
                                                 "attempts_used_up",
                                                 "found",
                                                 "absent_safe",
                                                 "absent_unsafe",
                                                 "lookup_gave_up",
                                                 "open_exception",
                                                 "replay",
                                                 "reversal_posted",
                                                 "restored",
                                                 "release_doubt",
                                                 "replay_doubt",
                                                 "resolved_posted",
                                                 "discard",
                                                 "edited"};
static const struct {
    const char *state;
    const char *to;
} MATRIX[TG_POSTING_STATE_COUNT] = {
    {"planned", "rh..c...................."},   {"held", "..rxc...............d...."},
    {"ready", "....cs.............d....."},     {"sent", "......Pjtd.........d....."},
    {"retry", "....c.....rx.......d....."},     {"in_doubt", "............Prxx........."},
    {"posted", "..................v......"},    {"rejected", "....c...........x........"},
    {"cancelled", "........................."}, {"exception", ".hr.c............r..ddPcc"},
    {"reversed", "........................."},
};

static void every_pair(void **state)
{
    (void)state;
    for (int s = 0; s < TG_POSTING_STATE_COUNT; s++) {
        assert_string_equal(tg_posting_state_name((enum tg_posting_state)s), MATRIX[s].state);
        assert_int_equal(strlen(MATRIX[s].to), TG_PE_COUNT);
        for (int e = 0; e < TG_PE_COUNT; e++) {
            enum tg_posting_state next = TG_POSTING_STATE_COUNT;
            const int rc =
                tg_posting_next((enum tg_posting_state)s, (enum tg_posting_event)e, &next);

            assert_string_equal(tg_posting_event_name((enum tg_posting_event)e), COLUMNS[e]);
            if (MATRIX[s].to[e] == '.') {
                assert_int_equal(rc, -1);
                assert_int_equal(next, TG_POSTING_STATE_COUNT);
            } else {
                assert_int_equal(rc, 0);
                assert_int_equal(LETTERS[next], MATRIX[s].to[e]);
            }
        }
    }
}

static void numbers_never_change(void **state)
{
    (void)state;
    assert_int_equal(TG_POSTING_PLANNED, 0);
    assert_int_equal(TG_POSTING_READY, 2);
    assert_int_equal(TG_POSTING_SENT, 3);
    assert_int_equal(TG_POSTING_IN_DOUBT, 5);
    assert_int_equal(TG_POSTING_POSTED, 6);
    assert_int_equal(TG_POSTING_EXCEPTION, 9);
    assert_int_equal(TG_POSTING_REVERSED, 10);
}

static void final_ones(void **state)
{
    (void)state;
    for (int s = 0; s < TG_POSTING_STATE_COUNT; s++) {
        const bool want =
            s == TG_POSTING_POSTED || s == TG_POSTING_CANCELLED || s == TG_POSTING_REVERSED;

        assert_int_equal(tg_posting_is_final((enum tg_posting_state)s), want);
    }
    assert_false(tg_posting_is_final((enum tg_posting_state)99));
}

static void wrong_numbers(void **state)
{
    enum tg_posting_state next = TG_POSTING_HELD;

    (void)state;
    assert_int_equal(tg_posting_next((enum tg_posting_state)99, TG_PE_SEND, &next), -1);
    assert_int_equal(tg_posting_next(TG_POSTING_READY, (enum tg_posting_event)99, &next), -1);
    assert_int_equal(next, TG_POSTING_HELD);
    assert_string_equal(tg_posting_state_name((enum tg_posting_state)99), "unknown");
    assert_string_equal(tg_posting_event_name((enum tg_posting_event)99), "unknown");
    assert_string_equal(tg_event_state_name((enum tg_event_state)4), "unknown");
    assert_string_equal(tg_version_state_name((enum tg_version_state)5), "unknown");
    assert_string_equal(tg_business_state_name((enum tg_business_state)7), "unknown");
    assert_string_equal(tg_exception_state_name((enum tg_exception_state)7), "unknown");
}

static void names(void **state)
{
    (void)state;
    assert_string_equal(tg_event_state_name(TG_EVENT_IN_STREAM), "in_stream");
    assert_string_equal(tg_event_state_name(TG_EVENT_EXCEPTION), "exception");
    assert_string_equal(tg_version_state_name(TG_VERSION_HELD), "held");
    assert_string_equal(tg_version_state_name(TG_VERSION_WITHDRAWN), "withdrawn");
    assert_string_equal(tg_business_state_name(TG_BUSINESS_RECEIVED), "received");
    assert_string_equal(tg_business_state_name(TG_BUSINESS_REVERSED), "reversed");
    assert_string_equal(tg_exception_state_name(TG_EXCEPTION_OPEN), "open");
    assert_string_equal(tg_exception_state_name(TG_EXCEPTION_AUTO_CLOSED), "auto_closed");
    assert_string_equal(tg_exception_state_name(TG_EXCEPTION_RESOLVED), "resolved");
}

#define BUSINESS(v, ...)                                                                           \
    tg_business_state_of(v, (const enum tg_posting_state[]){__VA_ARGS__},                          \
                         sizeof((const enum tg_posting_state[]){__VA_ARGS__}) /                    \
                             sizeof(enum tg_posting_state))

static void business_state(void **state)
{
    (void)state;
    assert_int_equal(tg_business_state_of(TG_VERSION_HELD, NULL, 0), TG_BUSINESS_RECEIVED);
    assert_int_equal(tg_business_state_of(TG_VERSION_VALIDATED, NULL, 0), TG_BUSINESS_VALIDATED);
    assert_int_equal(tg_business_state_of(TG_VERSION_EXCEPTION, NULL, 0), TG_BUSINESS_EXCEPTION);
    assert_int_equal(tg_business_state_of(TG_VERSION_SUPERSEDED, NULL, 0), TG_BUSINESS_RECEIVED);
    assert_int_equal(BUSINESS(TG_VERSION_VALIDATED, TG_POSTING_POSTED, TG_POSTING_SENT),
                     TG_BUSINESS_VALIDATED);
    assert_int_equal(BUSINESS(TG_VERSION_VALIDATED, TG_POSTING_POSTED, TG_POSTING_POSTED),
                     TG_BUSINESS_POSTED);
    assert_int_equal(BUSINESS(TG_VERSION_VALIDATED, TG_POSTING_POSTED, TG_POSTING_CANCELLED),
                     TG_BUSINESS_POSTED);
    assert_int_equal(BUSINESS(TG_VERSION_VALIDATED, TG_POSTING_POSTED, TG_POSTING_REJECTED),
                     TG_BUSINESS_EXCEPTION);
    assert_int_equal(BUSINESS(TG_VERSION_VALIDATED, TG_POSTING_SENT, TG_POSTING_EXCEPTION),
                     TG_BUSINESS_EXCEPTION);
    assert_int_equal(BUSINESS(TG_VERSION_SUPERSEDED, TG_POSTING_REVERSED, TG_POSTING_REVERSED),
                     TG_BUSINESS_REVERSED);
    assert_int_equal(BUSINESS(TG_VERSION_VALIDATED, TG_POSTING_REVERSED, TG_POSTING_POSTED),
                     TG_BUSINESS_POSTED);
    assert_int_equal(BUSINESS(TG_VERSION_VALIDATED, TG_POSTING_REVERSED, TG_POSTING_READY),
                     TG_BUSINESS_VALIDATED);
    assert_int_equal(BUSINESS(TG_VERSION_VALIDATED, TG_POSTING_CANCELLED), TG_BUSINESS_VALIDATED);
}

static void key(const char *a, const char *b, const char *c, const char *d, unsigned generation,
                unsigned char out[TG_POSTING_KEY_BYTES])
{
    assert_int_equal(
        tg_posting_key(tg_str_of(a), tg_str_of(b), tg_str_of(c), tg_str_of(d), generation, out), 0);
}

static void keys_do_not_run_together(void **state)
{
    unsigned char one[TG_POSTING_KEY_BYTES];
    unsigned char two[TG_POSTING_KEY_BYTES];

    (void)state;
    key("acme/erp", "TE-1@1", "labor", "cost", 1, one);
    key("acme/erp", "TE-1@1", "labor", "cost", 1, two);
    assert_memory_equal(one, two, sizeof(one));
    key("acme/erpT", "E-1@1", "labor", "cost", 1, two);
    assert_memory_not_equal(one, two, sizeof(one));
    key("acme/erp", "TE-1@1l", "abor", "cost", 1, two);
    assert_memory_not_equal(one, two, sizeof(one));
    key("acme/erp", "TE-1@1", "laborcost", "", 1, two);
    assert_memory_not_equal(one, two, sizeof(one));
    key("acme/erp", "TE-1@1", "labor", "cost", 2, two);
    assert_memory_not_equal(one, two, sizeof(one));
    key("acme/erp", "TE-1@1", "labor", "cost", 256, two);
    key("acme/erp", "TE-1@1", "labor", "cost", 1, one);
    assert_memory_not_equal(one, two, sizeof(one));
}

/* The construction is part of what destinations remember for ever: worked out here once more. */
static void key_construction(void **state)
{
    static const unsigned char message[] = "\0\0\0\x08"
                                           "acme/erp"
                                           "\0\0\0\x06"
                                           "TE-1@1"
                                           "\0\0\0\x05"
                                           "labor"
                                           "\0\0\0\x04"
                                           "cost"
                                           "\0\0\0\x04\0\0\0\x01";
    const struct tg_str text = {message, sizeof(message) - 1};
    unsigned char want[TG_SHA256_BYTES];
    unsigned char got[TG_POSTING_KEY_BYTES];

    (void)state;
    assert_int_equal(tg_sha256(text, want), 0);
    key("acme/erp", "TE-1@1", "labor", "cost", 1, got);
    assert_memory_equal(got, want, sizeof(got));
}

static void identities(void **state)
{
    unsigned char one[TG_POSTING_KEY_BYTES];
    unsigned char two[TG_POSTING_KEY_BYTES];

    (void)state;
    assert_int_equal(tg_event_identity(tg_str_of("acme"), tg_str_of("hook:psa"),
                                       tg_str_of("urn:psa"), tg_str_of("e1"), one),
                     0);
    assert_int_equal(tg_event_identity(tg_str_of("acme"), tg_str_of("hook:psa"),
                                       tg_str_of("urn:psae"), tg_str_of("1"), two),
                     0);
    assert_memory_not_equal(one, two, sizeof(one));
    assert_int_equal(tg_event_identity(tg_str_of("acm"), tg_str_of("ehook:psa"),
                                       tg_str_of("urn:psa"), tg_str_of("e1"), two),
                     0);
    assert_memory_not_equal(one, two, sizeof(one));
    assert_int_equal(tg_object_key(tg_str_of("acme"), tg_str_of("time_entry"), tg_str_of("psa"),
                                   tg_str_of("TE-1"), one),
                     0);
    assert_int_equal(tg_object_key(tg_str_of("acme"), tg_str_of("time_entry"), tg_str_of("psaT"),
                                   tg_str_of("E-1"), two),
                     0);
    assert_memory_not_equal(one, two, sizeof(one));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pair),
        cmocka_unit_test(numbers_never_change),
        cmocka_unit_test(final_ones),
        cmocka_unit_test(wrong_numbers),
        cmocka_unit_test(names),
        cmocka_unit_test(business_state),
        cmocka_unit_test(keys_do_not_run_together),
        cmocka_unit_test(key_construction),
        cmocka_unit_test(identities),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
