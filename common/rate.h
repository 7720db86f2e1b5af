/*
 * rate.h: a rate as GCRA sees it (generic cell rate algorithm; ITU-T I.371 annex A).
 *
 * `100r/s burst=20`: one request each emission interval of 10 000 us, and up to burst further ones
 * at once: capacity = burst + 1. Units: r/s, r/m, r/h, r/d. The interval is cut to whole
 * microseconds. capacity * emission_us is at most TG_RATE_WINDOW_MAX_S.
 */
#ifndef TG_COMMON_RATE_H
#define TG_COMMON_RATE_H

#include "common/str.h"

struct tg_rate {
    int64_t emission_us; /* >= 1 */
    int64_t capacity;    /* burst + 1 */
};

/* What admit.lua says of one rate after a decision. */
struct tg_rate_state {
    int64_t remaining;      /* whole requests of cost 1 left now */
    int64_t reset_us;       /* until the full capacity is back */
    int64_t retry_after_us; /* 0 when this rate allowed; -1 when cost > capacity: never */
};

/* "100r/s"; err says what is accepted. 0 or -1. */
int tg_rate_parse(struct tg_str text, int64_t burst, struct tg_rate *out, struct tg_error *err);

/* Seconds, rounded up, at least 1: for Retry-After and t=. */
int64_t tg_rate_seconds_up(int64_t us);

/* The window that w= states: capacity * emission, in seconds, rounded up. */
int64_t tg_rate_window_s(const struct tg_rate *rate);

/*
 * Reference model of what admit.lua computes, in C: tests compare the two, and the local fallback
 * uses it. *tat_us is the stored theoretical arrival time (0: none). One that is further ahead than
 * the window counts as none: the clock was set back, or the limit lowered. Returns whether allowed;
 * tat changes only when `commit` and allowed. *out says what is left after the decision: without
 * commit, what was left before it.
 */
bool tg_rate_gcra(const struct tg_rate *rate, int64_t cost, int64_t now_us, bool commit,
                  int64_t *tat_us, struct tg_rate_state *out);

#endif
