/* The Idempotency-Key header. */
#include "fuzz.h"

#include "common/idem_key.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct tg_str header = {data, size};
    char out[TG_IDEM_KEY_MAX_BYTES];
    size_t len = 0;

    if (tg_idem_key_parse(header, out, &len) == 0) {
        FUZZ_CHECK(len >= 1 && len <= sizeof(out) && len <= size);
        for (size_t i = 0; i < len; i++) {
            FUZZ_CHECK(out[i] >= 0x20 && out[i] <= 0x7e);
        }
    }
    return 0;
}
