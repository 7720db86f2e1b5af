/* Rates: their text, and what GCRA promises over many random requests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/rate.h"

#define US_PER_S INT64_C(1000000)

static void expect_rate(const char *text, int64_t burst, int64_t emission_us, int64_t capacity)
{
    struct tg_rate rate;

    assert_int_equal(tg_rate_parse(tg_str_of(text), burst, &rate, NULL), 0);
    assert_int_equal(rate.emission_us, emission_us);
    assert_int_equal(rate.capacity, capacity);
}

static void test_parse(void **state)
{
    (void)state;
    expect_rate("100r/s", 20, 10000, 21);
    expect_rate("1r/s", 0, US_PER_S, 1);
    expect_rate("60r/m", 0, US_PER_S, 1);
    expect_rate("3600r/h", 0, US_PER_S, 1);
    expect_rate("86400r/d", 0, US_PER_S, 1);
    expect_rate("1r/d", 0, 86400 * US_PER_S, 1);
    expect_rate("3r/s", 0, 333333, 1);
    expect_rate("1000000r/s", TG_RATE_BURST_MAX, 1, TG_RATE_BURST_MAX + 1);
}

static void test_parse_refuses(void **state)
{
    static const char *const bad[] = {
        "",       "r/s",  "0r/s", "-1r/s",      "1r/w",
        "1r/",    "1r",   "100",  "1 r/s",      "1r/s ",
        "1.5r/s", "1R/s", "1r/S", "1000001r/s", "99999999999999999999r/s",
        "1r\\s",  "1r/ms"};
    struct tg_rate rate = {5, 6};
    struct tg_error err;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(tg_rate_parse(tg_str_of(bad[i]), 0, &rate, &err), -1);
        assert_non_null(strstr(err.text, "100r/s"));
    }
    assert_int_equal(tg_rate_parse(tg_str_of("1r/s"), -1, &rate, &err), -1);
    assert_int_equal(tg_rate_parse(tg_str_of("1r/s"), TG_RATE_BURST_MAX + 1, &rate, &err), -1);
    assert_non_null(strstr(err.text, "burst"));
    /* 3650 days are ten years. */
    assert_int_equal(tg_rate_parse(tg_str_of("1r/d"), 3649, &rate, &err), 0);
    assert_int_equal(tg_rate_parse(tg_str_of("1r/d"), 3650, &rate, &err), -1);
}

static void test_seconds(void **state)
{
    const struct tg_rate minute = {600000, 100};
    const struct tg_rate odd = {333333, 2};

    (void)state;
    assert_int_equal(tg_rate_seconds_up(-5), 1);
    assert_int_equal(tg_rate_seconds_up(0), 1);
    assert_int_equal(tg_rate_seconds_up(US_PER_S), 1);
    assert_int_equal(tg_rate_seconds_up(US_PER_S + 1), 2);
    assert_int_equal(tg_rate_seconds_up(2 * US_PER_S), 2);
    assert_int_equal(tg_rate_seconds_up(INT64_MAX), INT64_MAX / US_PER_S + 1);
    assert_int_equal(tg_rate_window_s(&minute), 60);
    assert_int_equal(tg_rate_window_s(&odd), 1);
}

static void test_burst_then_wait(void **state)
{
    const struct tg_rate rate = {10000, 3};
    const int64_t now = 5000000;
    struct tg_rate_state s;
    int64_t tat = 0;

    (void)state;
    for (int64_t left = 2; left >= 0; left--) {
        assert_true(tg_rate_gcra(&rate, 1, now, true, &tat, &s));
        assert_int_equal(s.remaining, left);
        assert_int_equal(s.retry_after_us, 0);
        assert_int_equal(s.reset_us, (3 - left) * 10000);
    }
    assert_false(tg_rate_gcra(&rate, 1, now, true, &tat, &s));
    assert_int_equal(s.remaining, 0);
    assert_int_equal(s.retry_after_us, 10000);
    assert_int_equal(s.reset_us, 30000);
    assert_false(tg_rate_gcra(&rate, 1, now + 9999, true, &tat, &s));
    assert_int_equal(s.retry_after_us, 1);
    assert_true(tg_rate_gcra(&rate, 1, now + 10000, true, &tat, &s));
}

static void test_cost(void **state)
{
    const struct tg_rate rate = {1000, 5};
    struct tg_rate_state s;
    int64_t tat = 0;

    (void)state;
    assert_false(tg_rate_gcra(&rate, 6, 1, true, &tat, &s));
    assert_int_equal(s.retry_after_us, -1);
    assert_int_equal(s.remaining, 5);
    assert_false(tg_rate_gcra(&rate, -1, 1, true, &tat, &s));
    assert_int_equal(s.retry_after_us, -1);
    assert_int_equal(tat, 0);
    assert_true(tg_rate_gcra(&rate, 5, 1, true, &tat, &s));
    assert_int_equal(s.remaining, 0);
    assert_true(tg_rate_gcra(&rate, 0, 1, true, &tat, &s));
    assert_int_equal(s.reset_us, 5000);
    assert_false(tg_rate_gcra(&rate, 3, 1, true, &tat, &s));
    assert_int_equal(s.retry_after_us, 3000);
}

static void test_without_commit(void **state)
{
    const struct tg_rate rate = {1000, 5};
    struct tg_rate_state s;
    int64_t tat = 0;

    (void)state;
    assert_true(tg_rate_gcra(&rate, 5, 100, false, &tat, &s));
    assert_int_equal(tat, 0);
    assert_int_equal(s.remaining, 5);
    assert_int_equal(s.reset_us, 0);
}

static void test_strange_stored_times(void **state)
{
    const struct tg_rate rate = {1000, 5};
    struct tg_rate_state s;
    int64_t tat = INT64_MAX;

    (void)state;
    /* Further ahead than the window: the clock was set back. It counts as none. */
    assert_true(tg_rate_gcra(&rate, 1, 0, false, &tat, &s));
    assert_int_equal(s.remaining, 5);
    assert_int_equal(s.reset_us, 0);
    assert_true(tat == INT64_MAX);
    assert_true(tg_rate_gcra(&rate, 1, 0, true, &tat, &s));
    assert_int_equal(tat, 1000);
    tat = 9000;
    assert_true(tg_rate_gcra(&rate, 1, 5000, true, &tat, &s));
    assert_int_equal(tat, 10000);
    tat = 10000; /* the window to its end */
    assert_false(tg_rate_gcra(&rate, 1, 5000, true, &tat, &s));
    assert_int_equal(tat, 10000);
    assert_int_equal(s.retry_after_us, 1000);
}

/* Numerical Recipes' 64-bit step, the upper half. */
static uint32_t next_random(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*seed >> 33);
}

/*
 * Over any prefix of a random run: admitted cost never exceeds capacity + elapsed / emission; a
 * refusal leaves tat as it was and its retry_after is exact; what `remaining` says is what goes.
 */
static void check_run(uint64_t seed)
{
    const struct tg_rate rate = {1 + next_random(&seed) % 5000, 1 + next_random(&seed) % 50};
    const int64_t start = INT64_C(1700000000000000);
    int64_t now = start;
    int64_t admitted = 0;
    int64_t tat = 0;

    for (int i = 0; i < 400; i++) {
        const int64_t cost = next_random(&seed) % 8;
        const int64_t before = tat;
        struct tg_rate_state s;
        struct tg_rate_state probe;

        now += next_random(&seed) % 3 == 0 ? next_random(&seed) % 20000 : 0;
        if (tg_rate_gcra(&rate, cost, now, true, &tat, &s)) {
            admitted += cost;
            assert_true(admitted <= rate.capacity + (now - start) / rate.emission_us);
            assert_int_equal(s.retry_after_us, 0);
        } else {
            assert_true(tat == before);
            if (cost <= rate.capacity) {
                assert_true(s.retry_after_us > 0);
                assert_false(
                    tg_rate_gcra(&rate, cost, now + s.retry_after_us - 1, false, &tat, &probe));
                assert_true(tg_rate_gcra(&rate, cost, now + s.retry_after_us, false, &tat, &probe));
            } else {
                assert_int_equal(s.retry_after_us, -1);
            }
        }
        assert_in_range(s.remaining, 0, rate.capacity);
        assert_true(tg_rate_gcra(&rate, s.remaining, now, false, &tat, &probe));
        assert_false(tg_rate_gcra(&rate, s.remaining + 1, now, false, &tat, &probe));
        assert_true(tg_rate_gcra(&rate, rate.capacity, now + s.reset_us, false, &tat, &probe));
    }
}

/* How many of those that come every microsecond of a time are let in. */
static int64_t let_in(const struct tg_rate *rate, int64_t from_us, int64_t for_us, int64_t *tat)
{
    struct tg_rate_state s;
    int64_t n = 0;

    for (int64_t now = from_us; now < from_us + for_us; now++) {
        n += tg_rate_gcra(rate, 1, now, true, tat, &s) ? 1 : 0;
    }
    return n;
}

/*
 * A client that always uses all it may, and a clock that steps. Whatever the step, it gets at once
 * what any client gets: no less than the rate over a window, no more than one window on top.
 */
static void test_clock_steps(void **state)
{
    const struct tg_rate rate = {10, 5};
    const int64_t window = 50;
    const int64_t noon = INT64_C(1700000000000000);
    const int64_t steps[] = {1,
                             9,
                             window,
                             window + 1,
                             7 * window,
                             INT64_C(40) * US_PER_S,
                             INT64_C(86400) * US_PER_S,
                             INT64_C(400) * 86400 * US_PER_S};

    (void)state;
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        int64_t tat = 0;
        int64_t n;

        assert_int_equal(let_in(&rate, noon - window, window, &tat), 5 + 4);
        n = let_in(&rate, noon - steps[i], 10 * window, &tat);
        assert_in_range(n, 50 - 5, 50 + 5);

        /* Forward for a while, and back: the way a wrong clock is set right. */
        (void)let_in(&rate, noon, window, &tat);
        n = let_in(&rate, noon + steps[i], window, &tat);
        assert_in_range(n, 5 - 1, 5 + 5);
        n = let_in(&rate, noon + window, 10 * window, &tat);
        assert_in_range(n, 50 - 5, 50 + 5);
    }
}

static void test_properties(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 500; seed++) {
        check_run(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_parse_refuses),
        cmocka_unit_test(test_seconds),
        cmocka_unit_test(test_burst_then_wait),
        cmocka_unit_test(test_cost),
        cmocka_unit_test(test_without_commit),
        cmocka_unit_test(test_strange_stored_times),
        cmocka_unit_test(test_clock_steps),
        cmocka_unit_test(test_properties),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
