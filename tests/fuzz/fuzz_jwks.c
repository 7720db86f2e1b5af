/* A key set as it comes from a file. */
#include "fuzz.h"

#include "common/jwks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct tg_str json = {data, size};
    struct tg_error err;
    struct tg_jwks *set = tg_jwks_parse(json, &err);

    if (set == NULL) {
        FUZZ_CHECK(memchr(err.text, 0, sizeof(err.text)) != NULL);
        return 0;
    }
    FUZZ_CHECK(set->count >= 1 && set->count <= TG_JWKS_KEYS_MAX);
    for (size_t i = 0; i < set->count; i++) {
        FUZZ_CHECK(set->keys[i].kid != NULL && set->keys[i].pkey != NULL);
        FUZZ_CHECK((set->keys[i].alg & TG_ALG_ALL) != 0);
    }
    tg_jwks_free(set);
    return 0;
}
