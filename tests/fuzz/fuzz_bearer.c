/* The Authorization header. */
#include "fuzz.h"

#include "common/bearer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct tg_str header = {data, size};
    struct tg_str token = {NULL, 0};

    if (tg_bearer_parse(header, &token) == TG_BEARER_OK) {
        FUZZ_CHECK(token.len > 0 && token.len <= TG_TOKEN_MAX_BYTES);
        FUZZ_CHECK(fuzz_within(header, token));
        FUZZ_CHECK(memchr(token.data, ' ', token.len) == NULL);
    } else {
        FUZZ_CHECK(token.data == NULL);
    }
    return 0;
}
