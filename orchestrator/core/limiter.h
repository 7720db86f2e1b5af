/*
 * limiter.h: at most `rate` sends a second to one account (GCRA on common/rate.h). A wait never
 * uses up a retry. rate 0: no limit.
 */
#ifndef TG_CORE_LIMITER_H
#define TG_CORE_LIMITER_H

#include <stdbool.h>

#include "common/rate.h"

struct tg_limiter {
    struct tg_rate rate; /* capacity 0: no limit */
    int64_t tat_us;
    int64_t blocked_until_ms; /* a 429's Retry-After, for the whole account */
};

void tg_limiter_init(struct tg_limiter *l, const struct tg_rate *rate_or_null);
/* Takes one if allowed; else *wake_ms says when to ask again. */
bool tg_limiter_take(struct tg_limiter *l, int64_t now_ms, int64_t *wake_ms);
/* Nothing is allowed before that. False: it is blocked for longer already. */
bool tg_limiter_block(struct tg_limiter *l, int64_t until_ms);
/* Until when; 0: it is not blocked now. */
int64_t tg_limiter_blocked_until_ms(const struct tg_limiter *l, int64_t now_ms);
/* The clock was set back by so much. */
void tg_limiter_shift(struct tg_limiter *l, int64_t by_ms);

#endif
