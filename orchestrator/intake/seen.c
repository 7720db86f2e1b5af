#include "intake/seen.h"

#include <string.h>

_Static_assert(TG_SEEN_SLOTS >= 6 * TG_INTAKE_BATCH_MAX, "three keys for each entry, half empty");

void tg_seen_clear(struct tg_seen *s)
{
    memset(s->used, 0, sizeof(s->used));
}

static size_t slot_of(const struct tg_seen *s, const unsigned char key[TG_POSTING_KEY_BYTES])
{
    uint64_t h;
    size_t i;

    memcpy(&h, key, sizeof(h));
    i = (size_t)h & (TG_SEEN_SLOTS - 1);
    while (s->used[i] && memcmp(s->keys[i], key, TG_POSTING_KEY_BYTES) != 0) {
        i = (i + 1) & (TG_SEEN_SLOTS - 1);
    }
    return i;
}

bool tg_seen_has(const struct tg_seen *s, const unsigned char key[TG_POSTING_KEY_BYTES])
{
    return s->used[slot_of(s, key)];
}

void tg_seen_add(struct tg_seen *s, const unsigned char key[TG_POSTING_KEY_BYTES])
{
    size_t i = slot_of(s, key);

    s->used[i] = true;
    memcpy(s->keys[i], key, TG_POSTING_KEY_BYTES);
}
