/*
 * keyset.h: posting keys of one file, each with the line it stands on. Keys are SHA-256 output, so
 * their own first bytes are the hash.
 *
 * Ownership: whoever initialised it calls tg_keyset_free.
 */
#ifndef TG_CONNECT_KEYSET_H
#define TG_CONNECT_KEYSET_H

#include "common/str.h"

struct tg_keyset_slot {
    unsigned char key[TG_POSTING_KEY_BYTES];
    uint32_t line; /* 0: empty */
};

struct tg_keyset {
    struct tg_keyset_slot *slots;
    size_t cap, count; /* cap is a power of two */
};

void tg_keyset_init(struct tg_keyset *s);
void tg_keyset_free(struct tg_keyset *s);

/* 0: not in it. */
uint32_t tg_keyset_find(const struct tg_keyset *s, const unsigned char key[TG_POSTING_KEY_BYTES]);

/* Room for n more, so that adding them cannot fail. 0, or -1: no memory or TG_FILE_LINES_MAX. */
int tg_keyset_reserve(struct tg_keyset *s, size_t n);

/* The key must not be in it and room must be reserved. line is not 0. */
void tg_keyset_add(struct tg_keyset *s, const unsigned char key[TG_POSTING_KEY_BYTES],
                   uint32_t line);

#endif
