/* A rate as configured, then GCRA on whatever it says. */
#include "fuzz.h"

#include "common/rate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tg_str rest = {data, size};
    const struct tg_str text = fuzz_cut(&rest);
    struct tg_rate_state state;
    struct tg_error err;
    struct tg_rate rate;
    int64_t numbers[4] = {0};

    memcpy(numbers, rest.data, rest.len < sizeof(numbers) ? rest.len : sizeof(numbers));
    if (tg_rate_parse(text, numbers[0], &rate, &err) != 0) {
        FUZZ_CHECK(memchr(err.text, 0, sizeof(err.text)) != NULL);
        return 0;
    }
    FUZZ_CHECK(rate.emission_us >= 1 && rate.capacity >= 1);
    FUZZ_CHECK(tg_rate_window_s(&rate) <= TG_RATE_WINDOW_MAX_S);
    /* The clock is after 1970 and before the year 10000; cost and stored time are anything. */
    numbers[1] &= INT64_C(0x3ffffffffffff);
    numbers[2] &= INT64_MAX;
    if (tg_rate_gcra(&rate, numbers[3], numbers[1], true, &numbers[2], &state)) {
        FUZZ_CHECK(numbers[3] <= rate.capacity && state.retry_after_us == 0);
    }
    FUZZ_CHECK(state.remaining >= 0 && state.remaining <= rate.capacity);
    FUZZ_CHECK(state.reset_us >= 0 && state.retry_after_us >= -1);
    return 0;
}
