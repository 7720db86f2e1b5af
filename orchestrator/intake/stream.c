#include "intake/stream.h"

#include <stdio.h>
#include <string.h>

#include "trim_lua.h"

#define NUMBER_BYTES 24
#define READ_FIXED_ARGS 9

int tg_streams_init(struct tg_streams *s, const char *prefix, unsigned shards)
{
    s->shards = shards;
    for (unsigned i = 0; i < shards; i++) {
        if (tg_key_events(&s->keys[i], tg_str_of(prefix), i) != 0) {
            return -1;
        }
    }
    return 0;
}

struct tg_str tg_streams_key(const struct tg_streams *s, unsigned shard)
{
    return (struct tg_str){s->keys[shard].data, s->keys[shard].len};
}

unsigned tg_streams_shard(const struct tg_streams *s, struct tg_str key)
{
    unsigned i = 0;

    while (i < s->shards && !tg_str_equal(key, tg_streams_key(s, i))) {
        i++;
    }
    return i;
}

int tg_stream_group(struct tg_redis_link *l, const struct tg_streams *s, unsigned shard,
                    tg_redis_reply_fn fn, void *arg)
{
    const struct tg_str args[] = {tg_str_of("XGROUP"),      tg_str_of("CREATE"),
                                  tg_streams_key(s, shard), tg_str_of(TG_STREAM_GROUP),
                                  tg_str_of("0"),           tg_str_of("MKSTREAM")};

    return tg_redis_link_command(l, args, 6, fn, arg);
}

int tg_stream_read(struct tg_redis_link *l, const struct tg_streams *s, unsigned count,
                   const char (*ids)[TG_STREAM_ID_BYTES], tg_redis_reply_fn fn, void *arg)
{
    struct tg_str args[READ_FIXED_ARGS + 2 * TG_SHARD_COUNT_MAX];
    char count_text[NUMBER_BYTES], block_text[NUMBER_BYTES];
    size_t n = 0;

    (void)snprintf(count_text, sizeof(count_text), "%u", count);
    (void)snprintf(block_text, sizeof(block_text), "%d", TG_INTAKE_BLOCK_MS);
    args[n++] = tg_str_of("XREADGROUP");
    args[n++] = tg_str_of("GROUP");
    args[n++] = tg_str_of(TG_STREAM_GROUP);
    args[n++] = tg_str_of(TG_INTAKE_CONSUMER);
    args[n++] = tg_str_of("COUNT");
    args[n++] = tg_str_of(count_text);
    if (ids == NULL) {
        args[n++] = tg_str_of("BLOCK");
        args[n++] = tg_str_of(block_text);
    }
    args[n++] = tg_str_of("STREAMS");
    for (unsigned i = 0; i < s->shards; i++) {
        args[n++] = tg_streams_key(s, i);
    }
    for (unsigned i = 0; i < s->shards; i++) {
        args[n++] = tg_str_of(ids == NULL ? ">" : ids[i]);
    }
    return tg_redis_link_command(l, args, n, fn, arg);
}

int tg_stream_claim(struct tg_redis_link *l, const struct tg_streams *s, unsigned shard,
                    const char *cursor, unsigned count, tg_redis_reply_fn fn, void *arg)
{
    char count_text[NUMBER_BYTES], idle_text[NUMBER_BYTES];

    (void)snprintf(count_text, sizeof(count_text), "%u", count);
    (void)snprintf(idle_text, sizeof(idle_text), "%d", TG_INTAKE_CLAIM_IDLE_MS);
    return tg_redis_link_command(
        l,
        (struct tg_str[]){tg_str_of("XAUTOCLAIM"), tg_streams_key(s, shard),
                          tg_str_of(TG_STREAM_GROUP), tg_str_of(TG_INTAKE_CONSUMER),
                          tg_str_of(idle_text), tg_str_of(cursor), tg_str_of("COUNT"),
                          tg_str_of(count_text)},
        8, fn, arg);
}

int tg_stream_ack(struct tg_redis_link *l, const struct tg_streams *s, unsigned shard,
                  struct tg_held *const *entries, size_t n, tg_redis_reply_fn fn, void *arg)
{
    struct tg_str args[3 + TG_INTAKE_BATCH_MAX];

    args[0] = tg_str_of("XACK");
    args[1] = tg_streams_key(s, shard);
    args[2] = tg_str_of(TG_STREAM_GROUP);
    for (size_t i = 0; i < n; i++) {
        args[3 + i] = tg_str_of(entries[i]->stream_id);
    }
    return tg_redis_link_command(l, args, 3 + n, fn, arg);
}

int tg_stream_trim(struct tg_redis_link *l, const struct tg_streams *s, unsigned shard,
                   const char *journalled, tg_redis_reply_fn fn, void *arg)
{
    const struct tg_str args[] = {tg_str_of("EVAL"),
                                  {(const unsigned char *)tg_trim_lua, (size_t)tg_trim_lua_len},
                                  tg_str_of("1"),
                                  tg_streams_key(s, shard),
                                  tg_str_of(journalled)};

    return tg_redis_link_command(l, args, 5, fn, arg);
}

int tg_stream_info(struct tg_redis_link *l, const struct tg_streams *s, unsigned shard,
                   tg_redis_reply_fn fn, void *arg)
{
    const struct tg_str args[] = {tg_str_of("XINFO"), tg_str_of("GROUPS"),
                                  tg_streams_key(s, shard)};

    return tg_redis_link_command(l, args, 3, fn, arg);
}

int tg_stream_info_stream(struct tg_redis_link *l, const struct tg_streams *s, unsigned shard,
                          tg_redis_reply_fn fn, void *arg)
{
    const struct tg_str args[] = {tg_str_of("XINFO"), tg_str_of("STREAM"),
                                  tg_streams_key(s, shard)};

    return tg_redis_link_command(l, args, 3, fn, arg);
}

int tg_stream_range(struct tg_redis_link *l, const struct tg_streams *s, unsigned shard,
                    const char *after, const char *upto, unsigned count, tg_redis_reply_fn fn,
                    void *arg)
{
    char from[TG_STREAM_ID_BYTES + 1], count_text[NUMBER_BYTES];

    (void)snprintf(from, sizeof(from), "(%s", after);
    (void)snprintf(count_text, sizeof(count_text), "%u", count);
    return tg_redis_link_command(l,
                                 (struct tg_str[]){tg_str_of("XRANGE"), tg_streams_key(s, shard),
                                                   tg_str_of(from), tg_str_of(upto),
                                                   tg_str_of("COUNT"), tg_str_of(count_text)},
                                 6, fn, arg);
}

/* The value of a field in [field, value, ...]; NULL: not there. */
static const redisReply *field_of(const redisReply *list, const char *name)
{
    for (size_t i = 0; list->type == REDIS_REPLY_ARRAY && i + 1 < list->elements; i += 2) {
        if (list->element[i]->type == REDIS_REPLY_STRING &&
            strcmp(list->element[i]->str, name) == 0) {
            return list->element[i + 1];
        }
    }
    return NULL;
}

static int number_of(const redisReply *list, const char *name, uint64_t *out)
{
    const redisReply *v = field_of(list, name);

    if (v == NULL || v->type != REDIS_REPLY_INTEGER || v->integer < 0) {
        return -1;
    }
    *out = (uint64_t)v->integer;
    return 0;
}

static int id_of(const redisReply *v, unsigned shard, struct tg_event_id *out)
{
    if (v == NULL || v->type != REDIS_REPLY_STRING) {
        return -1;
    }
    return tg_event_id_from_stream(
        shard, (struct tg_str){(const unsigned char *)v->str, (size_t)v->len}, out);
}

int tg_stream_facts(const redisReply *info, unsigned shard, struct tg_reread_facts *out)
{
    const redisReply *first = field_of(info, "first-entry");

    if (number_of(info, "length", &out->length) != 0 ||
        number_of(info, "entries-added", &out->added) != 0 ||
        id_of(field_of(info, "last-generated-id"), shard, &out->generated) != 0) {
        return -1;
    }
    if (first != NULL && first->type == REDIS_REPLY_ARRAY && first->elements > 0) {
        return id_of(first->element[0], shard, &out->first);
    }
    return out->length == 0 ? 0 : -1;
}

int tg_stream_delivered(const redisReply *groups, unsigned shard, struct tg_event_id *out)
{
    for (size_t i = 0; groups->type == REDIS_REPLY_ARRAY && i < groups->elements; i++) {
        const redisReply *name = field_of(groups->element[i], "name");

        if (name != NULL && name->type == REDIS_REPLY_STRING &&
            strcmp(name->str, TG_STREAM_GROUP) == 0) {
            return id_of(field_of(groups->element[i], "last-delivered-id"), shard, out);
        }
    }
    return -1;
}

/* One group: field, value, field, value ...; lag may be nil, then what is pending is what is known.
 */
static uint64_t group_backlog(const redisReply *group)
{
    uint64_t sum = 0;

    for (size_t i = 0; i + 1 < group->elements; i += 2) {
        const redisReply *name = group->element[i];
        const redisReply *value = group->element[i + 1];

        if (name->type == REDIS_REPLY_STRING && value->type == REDIS_REPLY_INTEGER &&
            value->integer > 0 &&
            (strcmp(name->str, "pending") == 0 || strcmp(name->str, "lag") == 0)) {
            sum += (uint64_t)value->integer;
        }
    }
    return sum;
}

uint64_t tg_stream_backlog(const redisReply *info)
{
    uint64_t most = 0;

    if (info == NULL || info->type != REDIS_REPLY_ARRAY) {
        return 0;
    }
    for (size_t i = 0; i < info->elements; i++) {
        uint64_t n =
            info->element[i]->type == REDIS_REPLY_ARRAY ? group_backlog(info->element[i]) : 0;

        most = n > most ? n : most;
    }
    return most;
}

bool tg_stream_is_error(const redisReply *r, const char *prefix)
{
    return r != NULL && r->type == REDIS_REPLY_ERROR &&
           strncmp(r->str, prefix, strlen(prefix)) == 0;
}
