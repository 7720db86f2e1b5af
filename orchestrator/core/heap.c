#include "core/heap.h"

#include <stddef.h>

static bool before(const struct tg_heap_node *a, const struct tg_heap_node *b)
{
    return a->key != b->key ? a->key < b->key : a->tie < b->tie;
}

static void place(struct tg_heap *h, uint32_t pos, struct tg_heap_node *n)
{
    h->items[pos] = n;
    n->pos = pos;
}

static void sift_up(struct tg_heap *h, struct tg_heap_node *n)
{
    uint32_t pos = n->pos;

    while (pos > 0) {
        const uint32_t up = (pos - 1) / 2;

        if (!before(n, h->items[up])) {
            break;
        }
        place(h, pos, h->items[up]);
        pos = up;
    }
    place(h, pos, n);
}

static void sift_down(struct tg_heap *h, struct tg_heap_node *n)
{
    uint32_t pos = n->pos;

    for (;;) {
        uint32_t child = 2 * pos + 1;

        if (child >= h->count) {
            break;
        }
        if (child + 1 < h->count && before(h->items[child + 1], h->items[child])) {
            child++;
        }
        if (!before(h->items[child], n)) {
            break;
        }
        place(h, pos, h->items[child]);
        pos = child;
    }
    place(h, pos, n);
}

void tg_heap_node_init(struct tg_heap_node *n, void *owner)
{
    n->key = 0;
    n->tie = 0;
    n->owner = owner;
    n->pos = TG_HEAP_NONE;
}

void tg_heap_push(struct tg_heap *h, struct tg_heap_node *n, int64_t key, int64_t tie)
{
    n->key = key;
    n->tie = tie;
    n->pos = h->count++;
    sift_up(h, n);
}

struct tg_heap_node *tg_heap_top(const struct tg_heap *h)
{
    return h->count > 0 ? h->items[0] : NULL;
}

void tg_heap_remove(struct tg_heap *h, struct tg_heap_node *n)
{
    struct tg_heap_node *last = h->items[--h->count];

    if (last != n) {
        place(h, n->pos, last);
        sift_up(h, last);
        sift_down(h, last);
    }
    n->pos = TG_HEAP_NONE;
}

void tg_heap_shift(struct tg_heap *h, int64_t by)
{
    for (uint32_t i = 0; i < h->count; i++) {
        h->items[i]->key -= by;
    }
}

bool tg_heap_is_sound(const struct tg_heap *h)
{
    for (uint32_t i = 0; i < h->count; i++) {
        if (h->items[i]->pos != i || (i > 0 && before(h->items[i], h->items[(i - 1) / 2]))) {
            return false;
        }
    }
    return true;
}
