#include "intake/entry.h"

#include <stdlib.h>
#include <string.h>

static struct tg_str view(const redisReply *r)
{
    if (r == NULL || r->type != REDIS_REPLY_STRING) {
        return (struct tg_str){0};
    }
    return (struct tg_str){(const unsigned char *)r->str, (size_t)r->len};
}

static bool set_id(struct tg_held *h, struct tg_str id)
{
    struct tg_event_id parsed;

    if (!tg_str_copy(id, h->stream_id, sizeof(h->stream_id)) ||
        tg_event_id_from_stream(h->shard, id, &parsed) != 0) {
        return false;
    }
    (void)tg_event_id_format(&parsed, h->entry.event_id);
    h->entry.stream_ms = parsed.ms > INT64_MAX ? INT64_MAX : (int64_t)parsed.ms;
    return true;
}

/* Bytes behind the struct hold all values, one after the other. */
static void take_fields(struct tg_held *h, const redisReply *list, unsigned char *at)
{
    h->entry.broken = list->elements % 2 != 0;
    for (size_t i = 0; i + 1 < list->elements; i += 2) {
        enum tg_stream_field f = tg_stream_field_of(view(list->element[i]));
        struct tg_str value = view(list->element[i + 1]);

        if (f == TG_STREAM_FIELD_COUNT || h->entry.present[f]) {
            h->entry.broken = true;
            continue;
        }
        if (value.len != 0) {
            memcpy(at, value.data, value.len);
        }
        h->entry.present[f] = true;
        h->entry.field[f] = (struct tg_str){at, value.len};
        at += value.len;
    }
}

struct tg_held *tg_held_from_reply(const redisReply *r, unsigned shard, bool *bad)
{
    const redisReply *list;
    struct tg_held *h;
    size_t total = 0;

    *bad = r->type != REDIS_REPLY_ARRAY || r->elements < 2 ||
           (r->element[1]->type != REDIS_REPLY_ARRAY && r->element[1]->type != REDIS_REPLY_NIL);
    if (*bad) {
        return NULL;
    }
    list = r->element[1];
    if (list->type == REDIS_REPLY_NIL) {
        h = tg_held_lost(view(r->element[0]), shard);
        return h;
    }
    for (size_t i = 1; i < list->elements; i += 2) {
        total += view(list->element[i]).len;
    }
    h = calloc(1, sizeof(*h) + total + 1);
    if (h == NULL) {
        return NULL;
    }
    h->shard = shard;
    if (!set_id(h, view(r->element[0]))) {
        *bad = true;
        free(h);
        return NULL;
    }
    take_fields(h, list, (unsigned char *)(h + 1));
    return h;
}

struct tg_held *tg_held_lost(struct tg_str stream_id, unsigned shard)
{
    struct tg_held *h = calloc(1, sizeof(*h));

    if (h == NULL) {
        return NULL;
    }
    h->shard = shard;
    h->lost = true;
    if (!set_id(h, stream_id)) {
        free(h);
        return NULL;
    }
    return h;
}

void tg_held_free(struct tg_held *h)
{
    free(h);
}
