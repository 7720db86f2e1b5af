#include "core/retry.h"

#include "common/limits.h"

uint64_t tg_random_next(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

int64_t tg_retry_delay_ms(unsigned attempt, int64_t retry_after_ms, uint64_t random)
{
    int64_t full_ms = TG_RETRY_BASE_MS;
    int64_t half_ms;

    if (retry_after_ms > 0) {
        if (retry_after_ms > TG_RETRY_AFTER_MAX_MS) {
            return TG_RETRY_AFTER_MAX_MS;
        }
        return retry_after_ms > TG_RETRY_BASE_MS / 2 ? retry_after_ms : TG_RETRY_BASE_MS / 2;
    }
    for (unsigned i = 1; i < attempt && full_ms < TG_RETRY_CAP_MS; i++) {
        full_ms *= 2;
    }
    if (full_ms > TG_RETRY_CAP_MS) {
        full_ms = TG_RETRY_CAP_MS;
    }
    half_ms = full_ms / 2;
    return half_ms + (int64_t)(random % (uint64_t)(full_ms - half_ms + 1));
}
