/*
 * event_id.h: the id a client gets with its 202: "s07-1763685804123-0".
 *
 * It carries the shard and the stream id, so that GET /v1/events/ID can find an event that is still
 * in the stream. It is public, unguessable it is not: look-ups are scoped to the token's tenant.
 */
#ifndef TG_COMMON_EVENT_ID_H
#define TG_COMMON_EVENT_ID_H

#include "common/str.h"

struct tg_event_id {
    unsigned shard;
    uint64_t ms;  /* first half of the stream id */
    uint64_t seq; /* second half */
};

/* Strict: no sign, no leading zero except "0", two-digit shard, nothing after. 0 or -1. */
int tg_event_id_parse(struct tg_str text, struct tg_event_id *out);

/* out holds TG_EVENT_ID_MAX_BYTES; returns the length without NUL. */
size_t tg_event_id_format(const struct tg_event_id *id, char *out);

/* From a Redis stream id "ms-seq" and a shard. 0 or -1. */
int tg_event_id_from_stream(unsigned shard, struct tg_str stream_id, struct tg_event_id *out);

/* Order of two ids of one stream: < 0, 0, > 0. The shard is not looked at. */
int tg_event_id_compare(const struct tg_event_id *a, const struct tg_event_id *b);

#endif
