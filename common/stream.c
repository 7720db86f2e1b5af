#include "common/stream.h"

struct field {
    const char *name;
    size_t max_bytes;
};

#define FIELD_ROW(name, text, max) {text, max},
static const struct field fields[TG_STREAM_FIELD_COUNT] = {TG_STREAM_FIELD_TABLE(FIELD_ROW)};
#undef FIELD_ROW

_Static_assert((int)TG_STREAM_FIELD_COUNT == TG_STREAM_FIELDS, "limits.h counts other fields");

const char *tg_stream_field_name(enum tg_stream_field f)
{
    return (unsigned)f < TG_STREAM_FIELD_COUNT ? fields[f].name : "";
}

size_t tg_stream_field_max_bytes(enum tg_stream_field f)
{
    return (unsigned)f < TG_STREAM_FIELD_COUNT ? fields[f].max_bytes : 0;
}

enum tg_stream_field tg_stream_field_of(struct tg_str name)
{
    unsigned f = 0;

    while (f < TG_STREAM_FIELD_COUNT && !tg_str_equal_c(name, fields[f].name)) {
        f++;
    }
    return (enum tg_stream_field)f;
}
