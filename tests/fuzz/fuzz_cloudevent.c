/* A structured CloudEvent. */
#include "fuzz.h"

#include "common/cloudevent.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct tg_str body = {data, size};
    struct tg_cloudevent ce;
    struct tg_error err;

    if (tg_cloudevent_parse(body, &ce, &err) != 0) {
        FUZZ_CHECK(ce.json == NULL && memchr(err.text, 0, sizeof(err.text)) != NULL);
        return 0;
    }
    FUZZ_CHECK(ce.id.len > 0 && ce.source.len > 0 && ce.type.len > 0);
    FUZZ_CHECK(ce.subject.len <= TG_CE_ATTRIBUTE_MAX_BYTES);
    FUZZ_CHECK(memchr(ce.id.data, '\n', ce.id.len) == NULL);
    tg_cloudevent_clear(&ce);
    return 0;
}
