/*
 * idset.h: a set of posting ids; grows, up to a maximum. For what is on its way to the journal and
 * must be left alone until then.
 *
 * Ownership: a plain struct of the caller, zeros when empty; tg_idset_free ends its memory.
 */
#ifndef TG_DISPATCH_IDSET_H
#define TG_DISPATCH_IDSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tg_idset {
    int64_t *slots; /* 0: empty; ids are from 1 */
    size_t size;    /* a power of two, or 0 */
    size_t count;
};

bool tg_idset_has(const struct tg_idset *s, int64_t id);
/* 0: it is in the set; -1: no memory, or TG_IDSET_MAX are. */
int tg_idset_add(struct tg_idset *s, int64_t id);
void tg_idset_remove(struct tg_idset *s, int64_t id);
void tg_idset_clear(struct tg_idset *s); /* keeps the memory */
void tg_idset_free(struct tg_idset *s);

#endif
