/* Event ids: what is accepted is written back byte for byte. */
#include "fuzz.h"

#include "common/event_id.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct tg_str text = {data, size};
    struct tg_event_id id;
    char out[TG_EVENT_ID_MAX_BYTES];

    if (tg_event_id_parse(text, &id) == 0) {
        const size_t n = tg_event_id_format(&id, out);

        FUZZ_CHECK(n == size && memcmp(out, data, n) == 0);
        FUZZ_CHECK(id.shard < TG_SHARD_COUNT_MAX);
    }
    (void)tg_event_id_from_stream(0, text, &id);
    return 0;
}
