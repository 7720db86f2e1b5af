#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/log.h"
#include "core/metrics.h"
#include "intake/inner.h"

#define FIRST_ID "0-0"

void tg_intake_start_over(struct tg_intake *i)
{
    i->phase = TG_READ_OWN;
    for (unsigned s = 0; s < i->streams.shards; s++) {
        memcpy(i->own[s], FIRST_ID, sizeof(FIRST_ID));
    }
}

static void start_claim(struct tg_intake *i)
{
    i->phase = TG_CLAIM;
    i->claim_shard = 0;
    memcpy(i->claim_cursor, FIRST_ID, sizeof(FIRST_ID));
}

/* The link went down (what was delivered is pending: own first), or Redis said no. */
static bool not_usable(struct tg_intake *i, const redisReply *reply, const char *what)
{
    if (reply == NULL) {
        if (i->phase != TG_MAKE_GROUPS && i->phase != TG_RESTORING) {
            tg_intake_start_over(i);
        }
        return true;
    }
    if (reply->type != REDIS_REPLY_ERROR) {
        return false;
    }
    if (tg_stream_is_error(reply, "NOGROUP")) {
        tg_log(TG_LOG_ERROR, "intake",
               "the consumer group is gone: Redis lost data or was emptied; made again from 0");
        i->phase = TG_MAKE_GROUPS;
    } else {
        tg_log(TG_LOG_ERROR, "intake", "%s refused: %s", what, reply->str);
    }
    i->wait_until_ms = tg_intake_now(i) + TG_INTAKE_ERROR_WAIT_MS;
    return true;
}

/* ---- groups ---- */

/* Short of memory Redis refuses before it looks whether the group is there. If it is not, reading
 * says NOGROUP; and to read is what makes room. */
static void on_group(void *arg, const redisReply *reply)
{
    struct tg_intake *i = arg;

    if (reply == NULL) {
        i->groups_failed = true;
    } else if (reply->type == REDIS_REPLY_ERROR && !tg_stream_is_error(reply, "BUSYGROUP") &&
               !tg_stream_is_error(reply, "OOM")) {
        tg_log(TG_LOG_ERROR, "intake", "XGROUP CREATE refused: %s", reply->str);
        i->groups_failed = true;
        i->wait_until_ms = tg_intake_now(i) + TG_INTAKE_ERROR_WAIT_MS;
    }
    i->groups_left--;
    if (i->groups_left != 0) {
        return;
    }
    i->busy = false;
    if (!i->groups_failed && tg_restoring_is_due(i)) {
        i->phase = TG_RESTORING;
    } else if (!i->groups_failed) {
        tg_intake_start_over(i);
    }
    tg_intake_advance(i);
}

static void make_groups(struct tg_intake *i)
{
    i->groups_failed = false;
    i->groups_left = 0;
    for (unsigned s = 0; s < i->streams.shards; s++) {
        if (tg_stream_group(i->command_link, &i->streams, s, on_group, i) == 0) {
            i->groups_left++;
        } else {
            i->groups_failed = true;
        }
    }
    i->busy = i->groups_left != 0;
}

/* ---- lists of entries ---- */

static struct tg_str text_of(const redisReply *r)
{
    if (r->type != REDIS_REPLY_STRING && r->type != REDIS_REPLY_STATUS) {
        return (struct tg_str){0};
    }
    return (struct tg_str){(const unsigned char *)r->str, (size_t)r->len};
}

long tg_intake_take_list(struct tg_intake *i, const redisReply *list, unsigned shard, char *last_id)
{
    long taken = 0;

    for (size_t k = 0; list->type == REDIS_REPLY_ARRAY && k < list->elements; k++) {
        bool bad = false;
        struct tg_held *h;

        if (list->element[k]->type == REDIS_REPLY_NIL) {
            continue; /* Redis 6 put nil for a deleted entry; its id is not known */
        }
        h = tg_held_from_reply(list->element[k], shard, &bad);
        if (bad) {
            tg_log(TG_LOG_ERROR, "intake", "an element of a stream's reply is no entry, skipped");
            continue;
        }
        if (h == NULL || tg_intake_hold(i, h) != 0) {
            tg_intake_fail_text(i, "no memory for entries");
            return -1;
        }
        memcpy(last_id, h->stream_id, TG_STREAM_ID_BYTES);
        taken++;
    }
    tg_metric_add(TG_METRIC_INTAKE_READ, (uint64_t)taken);
    return taken;
}

/* ---- reading ---- */

/* The newest n that are held. */
static bool are_small(const struct tg_intake *i, size_t n)
{
    for (size_t k = i->held_count - n; k < i->held_count; k++) {
        if (i->held[k]->entry.field[TG_STREAM_BODY].len > TG_INTAKE_SMALL_BYTES) {
            return false;
        }
    }
    return true;
}

/* [[key, [entry, ...]], ...] or nil. Number held, or -1. */
static long take_streams(struct tg_intake *i, const redisReply *reply)
{
    long total = 0;
    unsigned active = 0;

    for (size_t k = 0; reply->type == REDIS_REPLY_ARRAY && k < reply->elements; k++) {
        const redisReply *one = reply->element[k];
        unsigned shard = i->streams.shards;
        long n = 0;

        if (one->type == REDIS_REPLY_ARRAY && one->elements >= 2) {
            shard = tg_streams_shard(&i->streams, text_of(one->element[0]));
        }
        if (shard < i->streams.shards) {
            n = tg_intake_take_list(i, one->element[1], shard, i->own[shard]);
        }
        if (n < 0) {
            return -1;
        }
        total += n;
        active += n > 0;
    }
    i->active_shards = active;
    i->small_entries = total > 0 && are_small(i, (size_t)total);
    return total;
}

static void on_read(void *arg, const redisReply *reply)
{
    struct tg_intake *i = arg;

    i->busy = false;
    if (!not_usable(i, reply, "XREADGROUP") && take_streams(i, reply) == 0 &&
        i->phase == TG_READ_OWN) {
        start_claim(i);
    }
    tg_intake_advance(i);
}

/* COUNT is per stream: few active streams may give more each. One commit takes all that one read
 * gave, so on a slow disk the size of a read is the pace of a backlog. */
static unsigned read_count(const struct tg_intake *i)
{
    const unsigned among = i->active_shards != 0 ? i->active_shards : i->streams.shards;
    const unsigned most =
        i->small_entries ? TG_INTAKE_READ_COUNT_SMALL_MAX : TG_INTAKE_READ_COUNT_MAX;
    const unsigned n = TG_INTAKE_BATCH_MAX / among;

    return n == 0 ? 1 : n > most ? most : n;
}

static void read_entries(struct tg_intake *i)
{
    const char(*ids)[TG_STREAM_ID_BYTES] = i->phase == TG_READ_OWN ? i->own : NULL;

    i->busy = tg_stream_read(i->read_link, &i->streams, read_count(i), ids, on_read, i) == 0;
}

/* ---- claiming ---- */

/* Ids of pending entries whose bodies are gone. */
static int take_deleted(struct tg_intake *i, const redisReply *list, unsigned shard)
{
    for (size_t k = 0; list->type == REDIS_REPLY_ARRAY && k < list->elements; k++) {
        struct tg_held *h = tg_held_lost(text_of(list->element[k]), shard);

        if (h == NULL || tg_intake_hold(i, h) != 0) {
            tg_intake_fail_text(i, "no memory for entries");
            return -1;
        }
    }
    return 0;
}

/* [next cursor, [entry, ...], [deleted id, ...]]; the third since Redis 7. */
static void take_claim(struct tg_intake *i, const redisReply *reply)
{
    unsigned shard = i->claim_shard;
    char last_id[TG_STREAM_ID_BYTES];
    long n;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 2 ||
        !tg_str_copy(text_of(reply->element[0]), i->claim_cursor, sizeof(i->claim_cursor))) {
        tg_log(TG_LOG_ERROR, "intake", "XAUTOCLAIM gave an unknown reply");
        memcpy(i->claim_cursor, FIRST_ID, sizeof(FIRST_ID));
        i->claim_shard++;
        return;
    }
    n = tg_intake_take_list(i, reply->element[1], shard, last_id);
    if (n < 0 || (reply->elements > 2 && take_deleted(i, reply->element[2], shard) != 0)) {
        return;
    }
    tg_metric_add(TG_METRIC_INTAKE_CLAIMED, (uint64_t)n);
    if (strcmp(i->claim_cursor, FIRST_ID) == 0) {
        i->claim_shard++;
    }
}

static void on_claim(void *arg, const redisReply *reply)
{
    struct tg_intake *i = arg;

    i->busy = false;
    if (!not_usable(i, reply, "XAUTOCLAIM")) {
        take_claim(i, reply);
    }
    tg_intake_advance(i);
}

static void claim(struct tg_intake *i)
{
    if (i->claim_shard >= i->streams.shards) {
        i->phase = TG_READ_NEW;
        i->claim_at_ms = tg_intake_now(i) + TG_INTAKE_CLAIM_IDLE_MS;
        read_entries(i);
        return;
    }
    i->busy = tg_stream_claim(i->command_link, &i->streams, i->claim_shard, i->claim_cursor,
                              TG_INTAKE_READ_COUNT_MAX, on_claim, i) == 0;
}

void tg_intake_ask(struct tg_intake *i)
{
    if (i->phase == TG_READ_NEW && tg_intake_now(i) >= i->claim_at_ms) {
        start_claim(i);
    }
    switch (i->phase) {
    case TG_MAKE_GROUPS:
        make_groups(i);
        break;
    case TG_RESTORING:
        tg_restoring_ask(i);
        break;
    case TG_CLAIM:
        claim(i);
        break;
    case TG_READ_OWN:
    case TG_READ_NEW:
        read_entries(i);
        break;
    }
}

/* ---- housekeeping: never waited for ---- */

static void on_trimmed(void *arg, const redisReply *reply)
{
    (void)arg;
    if (reply != NULL && reply->type == REDIS_REPLY_ERROR) {
        tg_log(TG_LOG_WARN, "intake", "trimming refused: %s", reply->str);
    }
}

/* What may go of a shard: what the journal has, and, with redis.keep, only when it is that old. */
static const char *trim_bound(const struct tg_intake *i, unsigned shard,
                              char old[TG_STREAM_ID_BYTES])
{
    const int64_t keep_ms = i->o.config->redis.keep_ms;
    const char *journalled = i->journalled[shard];
    struct tg_event_id have;
    struct timespec now;
    int64_t old_ms;

    if (keep_ms == 0 || clock_gettime(CLOCK_REALTIME, &now) != 0 ||
        tg_event_id_from_stream(shard, tg_str_of(journalled), &have) != 0) {
        return journalled;
    }
    old_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000 - keep_ms;
    if (old_ms < 0 || have.ms < (uint64_t)old_ms) {
        return journalled;
    }
    (void)snprintf(old, TG_STREAM_ID_BYTES, "%" PRId64 "-0", old_ms);
    return old;
}

static void trim(struct tg_intake *i)
{
    char old[TG_STREAM_ID_BYTES];

    i->acks_since_trim = 0;
    i->trim_at_ms = tg_intake_now(i) +
                    (i->o.config->redis.keep_ms > 0 ? TG_INTAKE_KEEP_TRIM_MS : TG_INTAKE_TRIM_MS);
    for (unsigned s = 0; s < i->streams.shards; s++) {
        if (i->journalled[s][0] != '\0') {
            (void)tg_stream_trim(i->command_link, &i->streams, s, trim_bound(i, s, old), on_trimmed,
                                 i);
        }
    }
}

static bool trim_is_due(const struct tg_intake *i)
{
    if (i->o.config->redis.keep_ms > 0) {
        return tg_intake_now(i) >= i->trim_at_ms;
    }
    return i->acks_since_trim >= TG_INTAKE_TRIM_ACKS ||
           (i->acks_since_trim != 0 && tg_intake_now(i) >= i->trim_at_ms);
}

static void on_info(void *arg, const redisReply *reply)
{
    struct tg_intake *i = arg;

    i->backlog += tg_stream_backlog(reply);
    i->gauge_left--;
    if (i->gauge_left == 0) {
        tg_metric_set(TG_METRIC_STREAM_BACKLOG, i->backlog);
    }
}

static void gauge(struct tg_intake *i)
{
    i->gauge_at_ms = tg_intake_now(i) + TG_INTAKE_GAUGE_MS;
    i->backlog = 0;
    for (unsigned s = 0; s < i->streams.shards; s++) {
        i->gauge_left += tg_stream_info(i->command_link, &i->streams, s, on_info, i) == 0;
    }
}

void tg_intake_housekeeping(struct tg_intake *i)
{
    if (i->stopping || i->phase <= TG_RESTORING || !tg_redis_link_is_up(i->command_link)) {
        return;
    }
    if (trim_is_due(i)) {
        trim(i);
    }
    if (i->gauge_left == 0 && tg_intake_now(i) >= i->gauge_at_ms) {
        gauge(i);
    }
}
