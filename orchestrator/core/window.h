/*
 * window.h: maintenance windows as spans of time. Pure: `now` comes in, what holds then and when
 * that changes goes out, so a clock that jumps is asked again and that is all.
 *
 * A window is from an instant to another, or comes every week at a fixed offset from UTC (no
 * daylight saving: the offset is the one written down). Windows may overlap and touch: together
 * they are one stretch.
 */
#ifndef TG_CORE_WINDOW_H
#define TG_CORE_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TG_MINUTES_PER_DAY 1440

struct tg_window {
    bool weekly;
    int64_t from_ms, to_ms; /* not weekly: from_ms belongs to it, to_ms does not; from < to */
    /* weekly: */
    unsigned days;          /* on which it begins: bit 0 Monday ... bit 6 Sunday; not 0 */
    int32_t from_minute;    /* after midnight there, 0..1439 */
    int32_t minutes;        /* its length, 1..1440: it may end on the next day */
    int32_t offset_minutes; /* what the clocks there are ahead of UTC, within one day */
};

struct tg_window_state {
    bool inside;       /* of at least one */
    int64_t change_ms; /* when that changes next; INT64_MAX: never */
    size_t which;      /* inside: of these the first; else the one that begins next; n: none */
};

struct tg_window_state tg_window_state(const struct tg_window *windows, size_t n, int64_t now_ms);

#endif
