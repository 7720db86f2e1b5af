#include "core/window.h"

#define MS_PER_MINUTE INT64_C(60000)
#define MS_PER_DAY (TG_MINUTES_PER_DAY * MS_PER_MINUTE)
#define DAYS_PER_WEEK 7
#define MS_PER_WEEK (DAYS_PER_WEEK * MS_PER_DAY)
#define EPOCH_WEEKDAY 3 /* 1970-01-01 was a Thursday; Monday is 0 */
#define NEVER INT64_MAX

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0 ? 1 : 0);
}

/* The day it is there. */
static int64_t day_of(const struct tg_window *w, int64_t ms)
{
    return floor_div(ms + w->offset_minutes * MS_PER_MINUTE, MS_PER_DAY);
}

static bool begins_on(const struct tg_window *w, int64_t day)
{
    const int64_t weekday = day + EPOCH_WEEKDAY - floor_div(day + EPOCH_WEEKDAY, 7) * 7;

    return (w->days >> weekday & 1) != 0;
}

static int64_t begin_ms(const struct tg_window *w, int64_t day)
{
    return day * MS_PER_DAY + (w->from_minute - w->offset_minutes) * MS_PER_MINUTE;
}

/* When the occurrence that holds this instant ends; at_ms itself: none holds it. */
static int64_t end_of(const struct tg_window *w, int64_t at_ms)
{
    int64_t day, end_ms = at_ms;

    if (!w->weekly) {
        return w->from_ms <= at_ms && at_ms < w->to_ms ? w->to_ms : at_ms;
    }
    day = day_of(w, at_ms);
    for (int64_t d = day - 1; d <= day; d++) {
        const int64_t from_ms = begin_ms(w, d);
        const int64_t to_ms = from_ms + w->minutes * MS_PER_MINUTE;

        if (begins_on(w, d) && from_ms <= at_ms && at_ms < to_ms && to_ms > end_ms) {
            end_ms = to_ms;
        }
    }
    return end_ms;
}

/* When it begins next, later than this instant. */
static int64_t next_begin(const struct tg_window *w, int64_t at_ms)
{
    int64_t day;

    if (!w->weekly) {
        return w->from_ms > at_ms ? w->from_ms : NEVER;
    }
    day = day_of(w, at_ms);
    for (int64_t d = day; d <= day + DAYS_PER_WEEK; d++) {
        if (begins_on(w, d) && begin_ms(w, d) > at_ms) {
            return begin_ms(w, d);
        }
    }
    return NEVER;
}

/* How far the windows that hold this instant reach at once; at_ms itself: none holds it. */
static int64_t reach(const struct tg_window *windows, size_t n, int64_t at_ms, bool weekly_only)
{
    int64_t end_ms = at_ms;

    for (size_t i = 0; i < n; i++) {
        const int64_t this_ms =
            weekly_only && !windows[i].weekly ? at_ms : end_of(&windows[i], at_ms);

        end_ms = this_ms > end_ms ? this_ms : end_ms;
    }
    return end_ms;
}

/*
 * Where the stretch ends that this instant is in. Each step goes to the end of one occurrence, so
 * a stretch of weekly ones alone that is a week long never ends, and any other is finite.
 */
static int64_t stretch_end(const struct tg_window *windows, size_t n, int64_t at_ms,
                           bool weekly_only, int64_t until_ms)
{
    int64_t end_ms = reach(windows, n, at_ms, weekly_only);

    while (end_ms > at_ms && end_ms < until_ms) {
        at_ms = end_ms;
        end_ms = reach(windows, n, at_ms, weekly_only);
    }
    return end_ms;
}

static size_t first_inside(const struct tg_window *windows, size_t n, int64_t at_ms)
{
    size_t i = 0;

    while (i < n && end_of(&windows[i], at_ms) == at_ms) {
        i++;
    }
    return i;
}

struct tg_window_state tg_window_state(const struct tg_window *windows, size_t n, int64_t now_ms)
{
    struct tg_window_state s = {.change_ms = NEVER, .which = first_inside(windows, n, now_ms)};

    if (s.which < n) {
        s.inside = true;
        if (stretch_end(windows, n, now_ms, true, now_ms + MS_PER_WEEK) < now_ms + MS_PER_WEEK) {
            s.change_ms = stretch_end(windows, n, now_ms, false, NEVER);
        }
        return s;
    }
    for (size_t i = 0; i < n; i++) {
        const int64_t begin = next_begin(&windows[i], now_ms);

        if (begin < s.change_ms) {
            s.change_ms = begin;
            s.which = i;
        }
    }
    return s;
}
