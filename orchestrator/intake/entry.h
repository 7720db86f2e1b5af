/*
 * entry.h: stream entries as Redis gives them, copied out of a reply.
 *
 * Ownership: an entry owns its bytes; tg_held_free ends it.
 */
#ifndef TG_INTAKE_ENTRY_H
#define TG_INTAKE_ENTRY_H

#include <hiredis/hiredis.h>

#include "intake/reading.h"

#define TG_STREAM_ID_BYTES 48

struct tg_held {
    struct tg_entry entry;
    unsigned shard;
    char stream_id[TG_STREAM_ID_BYTES];
    bool lost; /* pending in the group, but Redis no longer has its body: data loss */
};

/* From an element of XREADGROUP's or XAUTOCLAIM's list: [id, [field, value, ...] or nil]. NULL: no
 * memory, or it is not such an element (*bad). */
struct tg_held *tg_held_from_reply(const redisReply *r, unsigned shard, bool *bad);

/* An entry of which only the id is left. NULL: no memory or not an id. */
struct tg_held *tg_held_lost(struct tg_str stream_id, unsigned shard);

void tg_held_free(struct tg_held *h);

#endif
