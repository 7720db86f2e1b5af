#include "dispatch/idset.h"

#include <stdlib.h>
#include <string.h>

#include "common/limits.h"

#define FIRST_SIZE 64

static size_t home(const struct tg_idset *s, int64_t id)
{
    return (size_t)(((uint64_t)id * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & (s->size - 1);
}

/* Slot of the id, or the empty one where it would go. The set is never more than half full. */
static size_t slot_of(const struct tg_idset *s, int64_t id)
{
    size_t i = home(s, id);

    while (s->slots[i] != 0 && s->slots[i] != id) {
        i = (i + 1) & (s->size - 1);
    }
    return i;
}

bool tg_idset_has(const struct tg_idset *s, int64_t id)
{
    return s->count != 0 && s->slots[slot_of(s, id)] == id;
}

static int grow(struct tg_idset *s)
{
    struct tg_idset bigger = {.size = s->size != 0 ? s->size * 2 : FIRST_SIZE, .count = s->count};

    bigger.slots = calloc(bigger.size, sizeof(*bigger.slots));
    if (bigger.slots == NULL) {
        return -1;
    }
    for (size_t i = 0; i < s->size; i++) {
        if (s->slots[i] != 0) {
            bigger.slots[slot_of(&bigger, s->slots[i])] = s->slots[i];
        }
    }
    free(s->slots);
    *s = bigger;
    return 0;
}

int tg_idset_add(struct tg_idset *s, int64_t id)
{
    size_t slot;

    if (s->count >= TG_IDSET_MAX || (2 * (s->count + 1) > s->size && grow(s) != 0)) {
        return tg_idset_has(s, id) ? 0 : -1;
    }
    slot = slot_of(s, id);
    s->count += s->slots[slot] == 0;
    s->slots[slot] = id;
    return 0;
}

/* Closes the gap, so that look-ups need no marks of deleted slots. */
void tg_idset_remove(struct tg_idset *s, int64_t id)
{
    size_t gap;

    if (!tg_idset_has(s, id)) {
        return;
    }
    gap = slot_of(s, id);
    s->slots[gap] = 0;
    s->count--;
    for (size_t i = (gap + 1) & (s->size - 1); s->slots[i] != 0; i = (i + 1) & (s->size - 1)) {
        size_t want = home(s, s->slots[i]);

        if (((i - want) & (s->size - 1)) >= ((i - gap) & (s->size - 1))) {
            s->slots[gap] = s->slots[i];
            s->slots[i] = 0;
            gap = i;
        }
    }
}

void tg_idset_clear(struct tg_idset *s)
{
    if (s->count != 0) {
        memset(s->slots, 0, s->size * sizeof(*s->slots));
        s->count = 0;
    }
}

void tg_idset_free(struct tg_idset *s)
{
    free(s->slots);
    *s = (struct tg_idset){0};
}
