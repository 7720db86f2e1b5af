/* Windows against a slow and simple reading of the same words, by the thousand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "common/codec.h"
#include "core/retry.h"
#include "core/window.h"

#define MINUTE INT64_C(60000)
#define DAY (1440 * MINUTE)
#define WEEK (7 * DAY)
#define WORLDS 4000
#define WINDOWS_MAX 5

static int64_t at(const char *text)
{
    int64_t ms;

    assert_int_equal(tg_rfc3339_parse(tg_str_of(text), &ms), 0);
    return ms;
}

static struct tg_window once(const char *from, const char *to)
{
    return (struct tg_window){.from_ms = at(from), .to_ms = at(to)};
}

static struct tg_window every(unsigned days, int from, int minutes, int offset)
{
    return (struct tg_window){.weekly = true,
                              .days = days,
                              .from_minute = from,
                              .minutes = minutes,
                              .offset_minutes = offset};
}

static void expect(const struct tg_window *w, size_t n, const char *now, bool inside,
                   const char *change)
{
    const struct tg_window_state s = tg_window_state(w, n, at(now));

    assert_int_equal(s.inside, inside);
    assert_int_equal(s.change_ms, change != NULL ? at(change) : INT64_MAX);
}

static void none(void **state)
{
    (void)state;
    expect(NULL, 0, "2026-11-25T00:00:00Z", false, NULL);
    assert_int_equal(tg_window_state(NULL, 0, 0).which, 0);
}

static void from_an_instant_to_another(void **state)
{
    const struct tg_window w = once("2026-11-28T22:00:00+01:00", "2026-11-29T04:00:00+01:00");

    (void)state;
    expect(&w, 1, "2026-11-28T20:59:59.999Z", false, "2026-11-28T21:00:00Z");
    expect(&w, 1, "2026-11-28T21:00:00Z", true, "2026-11-29T03:00:00Z");
    expect(&w, 1, "2026-11-29T02:59:59.999Z", true, "2026-11-29T03:00:00Z");
    expect(&w, 1, "2026-11-29T03:00:00Z", false, NULL);
}

/* Saturday and Sunday night, 22:00 to 02:00 at +01:00. */
static void every_week_over_midnight(void **state)
{
    const struct tg_window w = every(0x60, 22 * 60, 4 * 60, 60);

    (void)state;
    expect(&w, 1, "2026-11-27T21:30:00Z", false, "2026-11-28T21:00:00Z"); /* Friday */
    expect(&w, 1, "2026-11-28T21:00:00Z", true, "2026-11-29T01:00:00Z");
    expect(&w, 1, "2026-11-29T00:59:59.999Z", true, "2026-11-29T01:00:00Z");
    expect(&w, 1, "2026-11-29T01:00:00Z", false, "2026-11-29T21:00:00Z");
    expect(&w, 1, "2026-11-30T00:30:00Z", true, "2026-11-30T01:00:00Z"); /* Monday: Sunday's */
    expect(&w, 1, "2026-11-30T01:00:00Z", false, "2026-12-05T21:00:00Z");
}

static void year_end_and_leap_day(void **state)
{
    const struct tg_window thursday = every(1u << 3, 23 * 60, 120, 0);
    const struct tg_window tuesday = every(1u << 1, 0, 1440, -300);

    (void)state;
    expect(&thursday, 1, "2026-12-31T22:59:00Z", false, "2026-12-31T23:00:00Z");
    expect(&thursday, 1, "2026-12-31T23:59:59Z", true, "2027-01-01T01:00:00Z");
    expect(&thursday, 1, "2027-01-01T00:59:59Z", true, "2027-01-01T01:00:00Z");
    expect(&tuesday, 1, "2028-02-29T04:59:59Z", false, "2028-02-29T05:00:00Z");
    expect(&tuesday, 1, "2028-02-29T05:00:00Z", true, "2028-03-01T05:00:00Z");
}

static void overlapping_and_touching_are_one(void **state)
{
    const struct tg_window w[] = {once("2026-11-28T10:00:00Z", "2026-11-28T12:00:00Z"),
                                  once("2026-11-28T11:00:00Z", "2026-11-28T13:00:00Z"),
                                  once("2026-11-28T10:30:00Z", "2026-11-28T11:30:00Z"),
                                  every(1u << 5, 13 * 60, 60, 0),
                                  once("2026-11-28T14:00:00Z", "2026-11-28T14:00:01Z")};

    (void)state;
    expect(w, 5, "2026-11-28T09:00:00Z", false, "2026-11-28T10:00:00Z");
    expect(w, 5, "2026-11-28T10:00:00Z", true, "2026-11-28T14:00:01Z");
    expect(w, 5, "2026-11-28T14:00:00.999Z", true, "2026-11-28T14:00:01Z");
    expect(w, 5, "2026-11-28T14:00:01Z", false, "2026-12-05T13:00:00Z");
    assert_int_equal(tg_window_state(w, 5, at("2026-11-28T13:30:00Z")).which, 3);
    assert_int_equal(tg_window_state(w, 5, at("2026-11-28T09:00:00Z")).which, 0);
}

static void for_ever(void **state)
{
    const struct tg_window w[] = {every(0x7f, 0, 720, 0), every(0x7f, 720, 720, 0)};
    const struct tg_window all_but[] = {every(0x7f, 0, 1440, 0), every(0x7f, 1, 1439, 0)};

    (void)state;
    expect(w, 2, "2026-11-28T09:00:00Z", true, NULL);
    expect(w, 1, "2026-11-28T09:00:00Z", true, "2026-11-28T12:00:00Z");
    expect(all_but, 1, "2026-11-28T09:00:00Z", true, NULL);
    expect(all_but + 1, 1, "2026-11-28T09:00:00Z", true, "2026-11-29T00:00:00Z");
}

/* A clock that jumps is only asked again: the answer is of the instant alone. */
static void the_clock_may_jump(void **state)
{
    const struct tg_window w = every(0x1f, 60, 60, 0);
    const struct tg_window_state before = tg_window_state(&w, 1, at("2026-11-25T01:30:00Z"));

    (void)state;
    (void)tg_window_state(&w, 1, at("2031-01-01T00:00:00Z"));
    (void)tg_window_state(&w, 1, at("1969-06-01T00:00:00Z"));
    assert_int_equal(tg_window_state(&w, 1, at("2026-11-25T01:30:00Z")).change_ms,
                     before.change_ms);
    expect(&w, 1, "1969-12-31T01:30:00Z", true, "1969-12-31T02:00:00Z"); /* a Wednesday */
    expect(&w, 1, "1969-12-31T02:30:00Z", false, "1970-01-01T01:00:00Z");
}

/* ---- the slow reading: is this minute in that window, by the calendar of the C library ---- */

static bool slowly_inside(const struct tg_window *w, int64_t ms)
{
    if (!w->weekly) {
        return ms >= w->from_ms && ms < w->to_ms;
    }
    for (int back = 0; back <= 1; back++) {
        const time_t local = (time_t)(ms / 1000 + w->offset_minutes * 60 - back * 86400);
        struct tm tm;
        int64_t since;

        assert_non_null(gmtime_r(&local, &tm));
        since = (tm.tm_hour * 60 + tm.tm_min) - w->from_minute + back * 1440;
        if ((w->days >> ((tm.tm_wday + 6) % 7) & 1) != 0 && since >= 0 && since < w->minutes) {
            return true;
        }
    }
    return false;
}

static bool any_inside(const struct tg_window *w, size_t n, int64_t ms)
{
    for (size_t i = 0; i < n; i++) {
        if (slowly_inside(&w[i], ms)) {
            return true;
        }
    }
    return false;
}

static int64_t below(uint64_t *random, int64_t n)
{
    return (int64_t)(tg_random_next(random) % (uint64_t)n);
}

static struct tg_window any_window(uint64_t *random, int64_t around_ms)
{
    struct tg_window w = {0};

    if (below(random, 2) == 0) {
        w.from_ms = around_ms + (below(random, 4 * 1440) - 2 * 1440) * MINUTE;
        w.to_ms = w.from_ms + (1 + below(random, 2 * 1440)) * MINUTE;
        return w;
    }
    return every(1 + (unsigned)below(random, 127), (int)below(random, 1440),
                 1 + (int)below(random, 1440), (int)(below(random, 105) - 48) * 15);
}

static void as_the_slow_reading_says(void **state)
{
    size_t inside = 0, never = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= WORLDS; seed++) {
        uint64_t random = seed;
        /* years 1971 to 2069, and often round a new year */
        int64_t now = below(&random, 3) == 0
                          ? at("2026-12-31T00:00:00Z") + below(&random, 2880) * MINUTE
                          : (525600 + below(&random, INT64_C(52000000))) * MINUTE;
        struct tg_window w[WINDOWS_MAX];
        const size_t n = (size_t)below(&random, WINDOWS_MAX + 1);
        struct tg_window_state s;
        int64_t end;

        for (size_t i = 0; i < n; i++) {
            w[i] = any_window(&random, now);
        }
        s = tg_window_state(w, n, now);
        assert_int_equal(s.inside, any_inside(w, n, now));
        inside += s.inside ? 1 : 0;
        never += s.change_ms == INT64_MAX ? 1 : 0;
        assert_true(s.change_ms > now);
        assert_true(s.which <= n && (s.which < n) == (s.inside || s.change_ms != INT64_MAX));
        end = s.change_ms < now + 2 * WEEK ? s.change_ms : now + 2 * WEEK;
        for (int64_t ms = now; ms < end; ms += 7 * MINUTE) {
            if (any_inside(w, n, ms) != s.inside) {
                fail_msg("seed %llu: it changes earlier", (unsigned long long)seed);
            }
        }
        if (s.change_ms < now + 2 * WEEK) {
            assert_int_equal(any_inside(w, n, s.change_ms - MINUTE), s.inside);
            assert_int_equal(any_inside(w, n, s.change_ms), !s.inside);
            assert_int_equal(tg_window_state(w, n, s.change_ms - 1).change_ms, s.change_ms);
            assert_int_equal(tg_window_state(w, n, s.change_ms).inside, !s.inside);
        }
    }
    assert_true(inside > WORLDS / 10 && never > WORLDS / 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(none),
        cmocka_unit_test(from_an_instant_to_another),
        cmocka_unit_test(every_week_over_midnight),
        cmocka_unit_test(year_end_and_leap_day),
        cmocka_unit_test(overlapping_and_touching_are_one),
        cmocka_unit_test(for_ever),
        cmocka_unit_test(the_clock_may_jump),
        cmocka_unit_test(as_the_slow_reading_says),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
