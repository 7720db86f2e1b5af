/*
 * stream.h: the commands intake sends, each built here and nowhere else, for all shards.
 *
 * Ownership: tg_streams holds the keys; replies go to the caller's function.
 */
#ifndef TG_INTAKE_STREAM_H
#define TG_INTAKE_STREAM_H

#include "common/keys.h"
#include "intake/entry.h"
#include "intake/redis_uv.h"
#include "intake/restored.h"

#define TG_INTAKE_CONSUMER "orchestrator-1" /* stable: its pending entries are found again */

struct tg_streams {
    unsigned shards;
    struct tg_key keys[TG_SHARD_COUNT_MAX];
};

/* 0, or -1: the prefix is too long. */
int tg_streams_init(struct tg_streams *s, const char *prefix, unsigned shards);
struct tg_str tg_streams_key(const struct tg_streams *s, unsigned shard);
/* Shard of a key in a reply; s->shards: none of ours. */
unsigned tg_streams_shard(const struct tg_streams *s, struct tg_str key);

/* Each: 0, or -1: the link is not up. */
int tg_stream_group(struct tg_redis_link *l, const struct tg_streams *s, unsigned shard,
                    tg_redis_reply_fn fn, void *arg);
/* ids NULL: new entries, waiting up to TG_INTAKE_BLOCK_MS; else own pending ones after ids[shard].
 */
int tg_stream_read(struct tg_redis_link *l, const struct tg_streams *s, unsigned count,
                   const char (*ids)[TG_STREAM_ID_BYTES], tg_redis_reply_fn fn, void *arg);
int tg_stream_claim(struct tg_redis_link *l, const struct tg_streams *s, unsigned shard,
                    const char *cursor, unsigned count, tg_redis_reply_fn fn, void *arg);
/* n <= TG_INTAKE_BATCH_MAX entries of one shard. */
int tg_stream_ack(struct tg_redis_link *l, const struct tg_streams *s, unsigned shard,
                  struct tg_held *const *entries, size_t n, tg_redis_reply_fn fn, void *arg);
/* journalled: the newest stream id of the shard that the journal has; nothing newer goes. */
int tg_stream_trim(struct tg_redis_link *l, const struct tg_streams *s, unsigned shard,
                   const char *journalled, tg_redis_reply_fn fn, void *arg);
int tg_stream_info(struct tg_redis_link *l, const struct tg_streams *s, unsigned shard,
                   tg_redis_reply_fn fn, void *arg);

/* Facts of the stream itself (XINFO STREAM). */
int tg_stream_info_stream(struct tg_redis_link *l, const struct tg_streams *s, unsigned shard,
                          tg_redis_reply_fn fn, void *arg);
/* Entries behind `after` up to `upto` (stream ids), whatever the group is doing. */
int tg_stream_range(struct tg_redis_link *l, const struct tg_streams *s, unsigned shard,
                    const char *after, const char *upto, unsigned count, tg_redis_reply_fn fn,
                    void *arg);
/* From a reply of tg_stream_info_stream: length, added, first, generated. 0, or -1: not one. */
int tg_stream_facts(const redisReply *info, unsigned shard, struct tg_reread_facts *out);
/* From a reply of tg_stream_info: how far our group is. 0, or -1: not one, or no such group. */
int tg_stream_delivered(const redisReply *groups, unsigned shard, struct tg_event_id *out);

/* Entries not yet acknowledged, from a reply of tg_stream_info: pending plus not delivered. */
uint64_t tg_stream_backlog(const redisReply *info);

bool tg_stream_is_error(const redisReply *r, const char *prefix); /* "NOGROUP" */

#endif
