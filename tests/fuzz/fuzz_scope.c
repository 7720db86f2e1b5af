/* A token's scope text. */
#include "fuzz.h"

#include "common/scope.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct tg_str text = {data, size};
    struct tg_str scopes[TG_SCOPES_MAX];
    const int n = tg_scope_split(text, scopes, TG_SCOPES_MAX);

    for (int i = 0; i < n; i++) {
        FUZZ_CHECK(scopes[i].len > 0 && scopes[i].len <= TG_SCOPE_MAX_BYTES);
        FUZZ_CHECK(fuzz_within(text, scopes[i]));
        FUZZ_CHECK(tg_scope_satisfies(scopes, (size_t)n, TG_SCOPE_ALL, &scopes[i], 1));
    }
    (void)tg_scope_is_valid(text);
    return 0;
}
