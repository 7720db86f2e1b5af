#include "common/scope.h"

static bool has_scope(const struct tg_str *have, size_t have_count, struct tg_str wanted)
{
    for (size_t i = 0; i < have_count; i++) {
        if (tg_str_equal(have[i], wanted)) {
            return true;
        }
    }
    return false;
}

bool tg_scope_satisfies(const struct tg_str *have, size_t have_count, enum tg_scope_mode mode,
                        const struct tg_str *required, size_t required_count)
{
    for (size_t i = 0; i < required_count; i++) {
        const bool found = has_scope(have, have_count, required[i]);

        if (mode == TG_SCOPE_ANY && found) {
            return true;
        }
        if (mode != TG_SCOPE_ANY && !found) {
            return false;
        }
    }
    return mode != TG_SCOPE_ANY || required_count == 0;
}

int tg_scope_split(struct tg_str text, struct tg_str *out, size_t max)
{
    size_t count = 0;
    size_t i = 0;

    while (i < text.len) {
        size_t start = i;

        while (i < text.len && text.data[i] != ' ') {
            i++;
        }
        if (i > start) {
            if (count == max || i - start > TG_SCOPE_MAX_BYTES) {
                return -1;
            }
            out[count].data = text.data + start;
            out[count].len = i - start;
            count++;
        }
        i += i < text.len ? 1 : 0;
    }
    return (int)count;
}

bool tg_scope_is_valid(struct tg_str scope)
{
    if (scope.len < 1 || scope.len > TG_SCOPE_MAX_BYTES) {
        return false;
    }
    for (size_t i = 0; i < scope.len; i++) {
        unsigned char c = scope.data[i];

        if (c < 0x21 || c > 0x7e || c == '"' || c == '\\') {
            return false;
        }
    }
    return true;
}
