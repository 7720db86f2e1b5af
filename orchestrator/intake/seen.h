/*
 * seen.h: identities and object keys of the batch in hand, so that twins never share a batch.
 * Keys are SHA-256 output: their own bytes are the hash.
 *
 * Ownership: a plain struct of the caller.
 */
#ifndef TG_INTAKE_SEEN_H
#define TG_INTAKE_SEEN_H

#include "common/str.h"

#define TG_SEEN_SLOTS 2048 /* a power of two, at least six times TG_INTAKE_BATCH_MAX */

struct tg_seen {
    unsigned char keys[TG_SEEN_SLOTS][TG_POSTING_KEY_BYTES];
    bool used[TG_SEEN_SLOTS];
};

void tg_seen_clear(struct tg_seen *s);
bool tg_seen_has(const struct tg_seen *s, const unsigned char key[TG_POSTING_KEY_BYTES]);
/* At most two for each entry of a batch; it never fills up. */
void tg_seen_add(struct tg_seen *s, const unsigned char key[TG_POSTING_KEY_BYTES]);

#endif
