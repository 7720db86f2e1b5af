/* Retry, breaker and limiter: how long destinations are left alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/breaker.h"
#include "core/limiter.h"
#include "core/retry.h"

#define T0 INT64_C(1790000000000)

static void delays_are_bounded(void **state)
{
    uint64_t random = 7;

    (void)state;
    for (unsigned attempt = 0; attempt < 200; attempt++) {
        int64_t full = TG_RETRY_BASE_MS;

        for (unsigned i = 1; i < attempt && full < TG_RETRY_CAP_MS; i++) {
            full = full * 2 < TG_RETRY_CAP_MS ? full * 2 : TG_RETRY_CAP_MS;
        }
        assert_int_equal(tg_retry_delay_ms(attempt, 0, 0), full / 2);
        for (int k = 0; k < 50; k++) {
            const int64_t d = tg_retry_delay_ms(attempt, 0, tg_random_next(&random));

            assert_in_range(d, full / 2, full);
        }
    }
    assert_int_equal(tg_retry_delay_ms(UINT32_MAX, 0, 0), TG_RETRY_CAP_MS / 2);
}

static void jitter_spreads(void **state)
{
    uint64_t random = 7;
    int low = 0;

    (void)state;
    for (int i = 0; i < 1000; i++) {
        low += tg_retry_delay_ms(1, 0, tg_random_next(&random)) < TG_RETRY_BASE_MS * 3 / 4;
    }
    assert_in_range(low, 400, 600);
}

static void retry_after_is_obeyed(void **state)
{
    (void)state;
    assert_int_equal(tg_retry_delay_ms(1, 30000, 99), 30000);
    assert_int_equal(tg_retry_delay_ms(12, 3600000, 99), 3600000);
    assert_int_equal(tg_retry_delay_ms(12, 1000, 99), 1000);
    assert_int_equal(tg_retry_delay_ms(1, 1, 99), TG_RETRY_BASE_MS / 2);
    assert_int_equal(tg_retry_delay_ms(1, INT64_MAX, 99), TG_RETRY_AFTER_MAX_MS);
    assert_in_range(tg_retry_delay_ms(1, -5, 99), TG_RETRY_BASE_MS / 2, TG_RETRY_BASE_MS);
}

/* Published values of splitmix64 with seed 1234567. */
static void generator_is_splitmix64(void **state)
{
    uint64_t random = 1234567;

    (void)state;
    assert_true(tg_random_next(&random) == UINT64_C(6457827717110365317));
    assert_true(tg_random_next(&random) == UINT64_C(3203168211198807973));
    assert_true(tg_random_next(&random) == UINT64_C(9817491932198370423));
}

static void breaker_opens_and_probes(void **state)
{
    struct tg_breaker b;
    int64_t now = T0;

    (void)state;
    tg_breaker_init(&b);
    for (int i = 0; i < TG_BREAKER_FAILURES - 1; i++) {
        tg_breaker_failure(&b, now);
    }
    assert_true(tg_breaker_allows(&b, now));
    tg_breaker_success(&b); /* in a row only */
    for (int i = 0; i < TG_BREAKER_FAILURES; i++) {
        assert_true(tg_breaker_allows(&b, now));
        tg_breaker_failure(&b, now);
    }
    assert_int_equal(b.state, TG_BREAKER_OPEN);
    assert_false(tg_breaker_allows(&b, now + TG_BREAKER_OPEN_MS - 1));
    assert_int_equal(tg_breaker_wake_ms(&b), now + TG_BREAKER_OPEN_MS);
    now += TG_BREAKER_OPEN_MS;
    assert_true(tg_breaker_allows(&b, now));
    assert_true(tg_breaker_allows(&b, now)); /* asking is not starting */
    tg_breaker_started(&b);
    assert_false(tg_breaker_allows(&b, now + 1000000));
    tg_breaker_failure(&b, now);
    assert_int_equal(b.state, TG_BREAKER_OPEN);
    now += TG_BREAKER_OPEN_MS;
    assert_true(tg_breaker_allows(&b, now));
    tg_breaker_started(&b);
    tg_breaker_success(&b);
    assert_true(tg_breaker_allows(&b, now));
    assert_int_equal(tg_breaker_wake_ms(&b), INT64_MAX);
}

static void breaker_unclear_and_withdrawn(void **state)
{
    struct tg_breaker b;

    (void)state;
    tg_breaker_init(&b);
    for (int i = 0; i < 100; i++) {
        tg_breaker_unclear(&b, T0); /* a time-out proves nothing against it */
    }
    assert_true(tg_breaker_allows(&b, T0));
    for (int i = 0; i < TG_BREAKER_FAILURES; i++) {
        tg_breaker_failure(&b, T0);
    }
    assert_true(tg_breaker_allows(&b, T0 + TG_BREAKER_OPEN_MS));
    tg_breaker_started(&b);
    tg_breaker_withdrawn(&b);
    assert_true(tg_breaker_allows(&b, T0 + TG_BREAKER_OPEN_MS));
    tg_breaker_started(&b);
    tg_breaker_unclear(&b, T0 + TG_BREAKER_OPEN_MS);
    assert_int_equal(b.state, TG_BREAKER_OPEN);
    assert_false(tg_breaker_allows(&b, T0 + TG_BREAKER_OPEN_MS + 1));
}

static void breaker_straggler_does_not_extend(void **state)
{
    struct tg_breaker b;

    (void)state;
    tg_breaker_init(&b);
    for (int i = 0; i < TG_BREAKER_FAILURES; i++) {
        tg_breaker_failure(&b, T0);
    }
    tg_breaker_failure(&b, T0 + 5000);
    assert_int_equal(tg_breaker_wake_ms(&b), T0 + TG_BREAKER_OPEN_MS);
    /* the clock is set back a day: from now it waits no longer than ever */
    assert_false(tg_breaker_allows(&b, T0 - 86400000));
    assert_int_equal(tg_breaker_wake_ms(&b), T0 - 86400000 + TG_BREAKER_OPEN_MS);
}

static void limiter_without_rate(void **state)
{
    struct tg_limiter l;
    int64_t wake = 0;

    (void)state;
    tg_limiter_init(&l, NULL);
    for (int i = 0; i < 10000; i++) {
        assert_true(tg_limiter_take(&l, T0, &wake));
    }
}

static void limiter_keeps_the_rate(void **state)
{
    const struct tg_rate rate = {.emission_us = 100000, .capacity = 3}; /* 10r/s burst=2 */
    struct tg_limiter l;
    int64_t now = T0;
    int64_t wake = 0;
    int taken = 0;

    (void)state;
    tg_limiter_init(&l, &rate);
    assert_true(tg_limiter_take(&l, now, &wake));
    assert_true(tg_limiter_take(&l, now, &wake));
    assert_true(tg_limiter_take(&l, now, &wake));
    assert_false(tg_limiter_take(&l, now, &wake));
    assert_int_equal(wake, T0 + 100);
    assert_false(tg_limiter_take(&l, wake - 1, &wake));
    assert_true(tg_limiter_take(&l, wake, &wake)); /* when it says so, it is true */
    for (now = T0 + 1000; now < T0 + 11000; now++) {
        taken += tg_limiter_take(&l, now, &wake) ? 1 : 0;
    }
    assert_in_range(taken, 100, 103);
}

static void limiter_wakes_when_it_says(void **state)
{
    uint64_t random = 3;

    (void)state;
    for (int i = 0; i < 2000; i++) {
        const struct tg_rate rate = {.emission_us =
                                         1 + (int64_t)(tg_random_next(&random) % 5000000),
                                     .capacity = 1 + (int64_t)(tg_random_next(&random) % 5)};
        struct tg_limiter l;
        int64_t now = T0;

        tg_limiter_init(&l, &rate);
        for (int k = 0; k < 20; k++) {
            int64_t wake = now;

            if (!tg_limiter_take(&l, now, &wake)) {
                assert_true(wake > now);
                now = wake;
                assert_true(tg_limiter_take(&l, now, &wake));
            }
        }
    }
}

static void limiter_block(void **state)
{
    struct tg_limiter l;
    int64_t wake = 0;

    (void)state;
    tg_limiter_init(&l, NULL);
    tg_limiter_block(&l, T0 + 30000);
    tg_limiter_block(&l, T0 + 10000); /* a shorter one does not shorten */
    assert_false(tg_limiter_take(&l, T0 + 29999, &wake));
    assert_int_equal(wake, T0 + 30000);
    assert_true(tg_limiter_take(&l, T0 + 30000, &wake));
}

static void limiter_clock_back(void **state)
{
    const struct tg_rate rate = {.emission_us = 1000000, .capacity = 2};
    struct tg_limiter l;
    int64_t wake = 0;

    (void)state;
    tg_limiter_init(&l, &rate);
    assert_true(tg_limiter_take(&l, T0, &wake));
    assert_true(tg_limiter_take(&l, T0, &wake));
    assert_false(tg_limiter_take(&l, T0 - 3600000, &wake));
    assert_true(wake - (T0 - 3600000) <= 1000);
    tg_limiter_block(&l, T0);
    assert_false(tg_limiter_take(&l, T0 - 2 * TG_RETRY_AFTER_MAX_MS, &wake));
    assert_int_equal(wake, T0 - TG_RETRY_AFTER_MAX_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(delays_are_bounded),
        cmocka_unit_test(jitter_spreads),
        cmocka_unit_test(retry_after_is_obeyed),
        cmocka_unit_test(generator_is_splitmix64),
        cmocka_unit_test(breaker_opens_and_probes),
        cmocka_unit_test(breaker_unclear_and_withdrawn),
        cmocka_unit_test(breaker_straggler_does_not_extend),
        cmocka_unit_test(limiter_without_rate),
        cmocka_unit_test(limiter_keeps_the_rate),
        cmocka_unit_test(limiter_wakes_when_it_says),
        cmocka_unit_test(limiter_block),
        cmocka_unit_test(limiter_clock_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
