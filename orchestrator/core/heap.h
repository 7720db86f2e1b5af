/*
 * heap.h: a binary heap of nodes that live inside other things, smallest (key, tie) first. O(log n)
 * for push, pop and removal from the middle; allocates nothing.
 *
 * Ownership: the heap borrows its array and the nodes; both belong to the caller.
 */
#ifndef TG_CORE_HEAP_H
#define TG_CORE_HEAP_H

#include <stdbool.h>
#include <stdint.h>

#define TG_HEAP_NONE UINT32_MAX

struct tg_heap_node {
    int64_t key;
    int64_t tie;
    void *owner;  /* the thing it lives in */
    uint32_t pos; /* TG_HEAP_NONE: in no heap */
};

struct tg_heap {
    struct tg_heap_node **items; /* room for as many as may ever be pushed */
    uint32_t count;
};

void tg_heap_node_init(struct tg_heap_node *n, void *owner);
void tg_heap_push(struct tg_heap *h, struct tg_heap_node *n, int64_t key, int64_t tie);
/* NULL: empty. */
struct tg_heap_node *tg_heap_top(const struct tg_heap *h);
/* The node must be in this heap. */
void tg_heap_remove(struct tg_heap *h, struct tg_heap_node *n);
/* Makes every key smaller by so much; the order stays. */
void tg_heap_shift(struct tg_heap *h, int64_t by);
/* Order and positions hold; for checks. */
bool tg_heap_is_sound(const struct tg_heap *h);

#endif
