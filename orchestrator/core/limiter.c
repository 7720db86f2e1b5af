#include "core/limiter.h"

#define US_PER_MS 1000

void tg_limiter_init(struct tg_limiter *l, const struct tg_rate *rate_or_null)
{
    l->rate.emission_us = 1;
    l->rate.capacity = 0;
    if (rate_or_null != NULL) {
        l->rate = *rate_or_null;
    }
    l->tat_us = 0;
    l->blocked_until_ms = 0;
}

bool tg_limiter_take(struct tg_limiter *l, int64_t now_ms, int64_t *wake_ms)
{
    const int64_t now_us = now_ms * US_PER_MS;
    struct tg_rate_state state;
    int64_t window_us;

    if (now_ms < l->blocked_until_ms) {
        l->blocked_until_ms = tg_limiter_blocked_until_ms(l, now_ms);
        *wake_ms = l->blocked_until_ms;
        return false;
    }
    if (l->rate.capacity <= 0) {
        return true;
    }
    /* On a clock that never runs back the arrival time is at most one window ahead. */
    window_us = l->rate.capacity * l->rate.emission_us;
    if (l->tat_us > now_us + window_us) {
        l->tat_us = now_us + window_us;
    }
    if (tg_rate_gcra(&l->rate, 1, now_us, true, &l->tat_us, &state)) {
        return true;
    }
    *wake_ms = now_ms + (state.retry_after_us + US_PER_MS - 1) / US_PER_MS;
    return false;
}

bool tg_limiter_block(struct tg_limiter *l, int64_t until_ms)
{
    if (until_ms <= l->blocked_until_ms) {
        return false;
    }
    l->blocked_until_ms = until_ms;
    return true;
}

int64_t tg_limiter_blocked_until_ms(const struct tg_limiter *l, int64_t now_ms)
{
    const int64_t longest_ms = now_ms + TG_RETRY_AFTER_MAX_MS;

    if (now_ms >= l->blocked_until_ms) {
        return 0;
    }
    /* A clock that was set back must not lengthen a pause beyond the longest there is. */
    return l->blocked_until_ms < longest_ms ? l->blocked_until_ms : longest_ms;
}

void tg_limiter_shift(struct tg_limiter *l, int64_t by_ms)
{
    l->tat_us -= by_ms * US_PER_MS;
    l->blocked_until_ms -= by_ms;
}
