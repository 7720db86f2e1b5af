#include "connect/keyset.h"

#include <stdlib.h>
#include <string.h>

void tg_keyset_init(struct tg_keyset *s)
{
    *s = (struct tg_keyset){0};
}

void tg_keyset_free(struct tg_keyset *s)
{
    free(s->slots);
    *s = (struct tg_keyset){0};
}

static size_t home(const struct tg_keyset *s, const unsigned char *key)
{
    uint64_t h;

    memcpy(&h, key, sizeof(h));
    return (size_t)h & (s->cap - 1);
}

uint32_t tg_keyset_find(const struct tg_keyset *s, const unsigned char key[TG_POSTING_KEY_BYTES])
{
    if (s->count == 0) {
        return 0;
    }
    for (size_t i = home(s, key);; i = (i + 1) & (s->cap - 1)) {
        const struct tg_keyset_slot *slot = &s->slots[i];

        if (slot->line == 0 || memcmp(slot->key, key, TG_POSTING_KEY_BYTES) == 0) {
            return slot->line;
        }
    }
}

void tg_keyset_add(struct tg_keyset *s, const unsigned char key[TG_POSTING_KEY_BYTES],
                   uint32_t line)
{
    size_t i = home(s, key);

    while (s->slots[i].line != 0) {
        i = (i + 1) & (s->cap - 1);
    }
    memcpy(s->slots[i].key, key, TG_POSTING_KEY_BYTES);
    s->slots[i].line = line;
    s->count++;
}

int tg_keyset_reserve(struct tg_keyset *s, size_t n)
{
    struct tg_keyset wider = {0};

    if (n > TG_FILE_LINES_MAX || s->count > TG_FILE_LINES_MAX - n) {
        return -1;
    }
    if (s->cap != 0 && s->count + n <= s->cap / 4 * 3) {
        return 0;
    }
    wider.cap = s->cap != 0 ? s->cap : 1024;
    while (s->count + n > wider.cap / 4 * 3) {
        wider.cap *= 2;
    }
    wider.slots = calloc(wider.cap, sizeof(*wider.slots));
    if (wider.slots == NULL) {
        return -1;
    }
    for (size_t i = 0; i < s->cap; i++) {
        if (s->slots[i].line != 0) {
            tg_keyset_add(&wider, s->slots[i].key, s->slots[i].line);
        }
    }
    free(s->slots);
    *s = wider;
    return 0;
}
