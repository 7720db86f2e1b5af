#include "common/rate.h"

#define US_PER_S INT64_C(1000000)

static int64_t period_us_of(unsigned char unit)
{
    switch (unit) {
    case 's':
        return US_PER_S;
    case 'm':
        return 60 * US_PER_S;
    case 'h':
        return 3600 * US_PER_S;
    case 'd':
        return 86400 * US_PER_S;
    default:
        return 0;
    }
}

int tg_rate_parse(struct tg_str text, int64_t burst, struct tg_rate *out, struct tg_error *err)
{
    struct tg_rate rate;
    struct tg_str digits = {text.data, text.len >= 3 ? text.len - 3 : 0};
    int64_t number;
    int64_t period_us;

    if (digits.len == 0 || text.data[digits.len] != 'r' || text.data[digits.len + 1] != '/' ||
        (period_us = period_us_of(text.data[digits.len + 2])) == 0 ||
        !tg_str_to_i64(digits, &number) || number < 1 || number > TG_RATE_PER_SECOND_MAX) {
        return tg_error_set(err,
                            "a rate is a whole number from 1 to %d and a unit: 100r/s, 100r/m, "
                            "100r/h or 100r/d",
                            TG_RATE_PER_SECOND_MAX);
    }
    if (burst < 0 || burst > TG_RATE_BURST_MAX) {
        return tg_error_set(err, "burst is a whole number from 0 to %d", TG_RATE_BURST_MAX);
    }
    rate.emission_us = period_us / number;
    rate.capacity = burst + 1;
    if (rate.capacity > TG_RATE_WINDOW_MAX_S * US_PER_S / rate.emission_us) {
        return tg_error_set(err,
                            "this burst takes more than %lld days to come back at this rate; give "
                            "a lower burst or a higher rate",
                            (long long)(TG_RATE_WINDOW_MAX_S / 86400));
    }
    *out = rate;
    return 0;
}

int64_t tg_rate_seconds_up(int64_t us)
{
    if (us <= US_PER_S) {
        return 1;
    }
    return us / US_PER_S + (us % US_PER_S != 0 ? 1 : 0);
}

int64_t tg_rate_window_s(const struct tg_rate *rate)
{
    return tg_rate_seconds_up(rate->capacity * rate->emission_us);
}

bool tg_rate_gcra(const struct tg_rate *rate, int64_t cost, int64_t now_us, bool commit,
                  int64_t *tat_us, struct tg_rate_state *out)
{
    const int64_t window_us = rate->capacity * rate->emission_us;
    const int64_t start_us = *tat_us > now_us ? *tat_us : now_us;
    int64_t ahead_us = start_us - now_us; /* how much of the window is used up */
    bool allowed = false;

    /* Nothing this rate grants is further ahead than its window: the clock was set back since, or
     * the limit lowered. It counts as none: cut to the window, it would refuse until then. */
    ahead_us = ahead_us <= window_us ? ahead_us : 0;

    out->retry_after_us = -1;
    if (cost >= 0 && cost <= rate->capacity) {
        int64_t room_us = window_us - cost * rate->emission_us;

        allowed = ahead_us <= room_us;
        out->retry_after_us = allowed ? 0 : ahead_us - room_us;
        if (allowed && commit) {
            ahead_us += cost * rate->emission_us;
            *tat_us = now_us + ahead_us;
        }
    }
    out->remaining = (window_us - ahead_us) / rate->emission_us;
    out->reset_us = ahead_us;
    return allowed;
}
