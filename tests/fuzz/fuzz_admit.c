/* The reply of admit.lua: the first byte says how many rates, zero bytes part the elements. */
#include "fuzz.h"

#include "common/admit.h"

#define PARTS_ROOM 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tg_str rest = {data, size};
    struct tg_str parts[PARTS_ROOM];
    struct tg_admit_reply reply;
    size_t rates;
    size_t n = 0;

    if (size == 0) {
        return 0;
    }
    (void)tg_redis_error_of(rest);
    rates = data[0] % (TG_RATES_MAX + 2);
    rest.data++;
    rest.len--;
    while (rest.len > 0 && n < PARTS_ROOM) {
        parts[n++] = fuzz_cut(&rest);
    }
    if (tg_admit_decode(parts, n, rates, &reply) == 0) {
        FUZZ_CHECK(reply.event_id_len == strlen(reply.event_id));
        FUZZ_CHECK(reply.rate_count <= TG_RATES_MAX);
        FUZZ_CHECK((reply.violated >> reply.rate_count) == 0);
        for (size_t i = 0; i < reply.rate_count; i++) {
            FUZZ_CHECK(reply.rates[i].remaining >= 0 && reply.rates[i].reset_us >= 0);
            FUZZ_CHECK(reply.rates[i].retry_after_us >= -1);
        }
    }
    return 0;
}
