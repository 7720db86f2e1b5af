/*
 * stream_peek.h: is this event still in the stream? One XRANGE of one id on a synchronous link of
 * its own, with TG_API_REDIS_TIMEOUT_MS for connect and for each answer. Any error drops the link;
 * the next look connects anew.
 *
 * Ownership: the link belongs to one context; tg_stream_peek_close ends it.
 */
#ifndef TG_API_STREAM_PEEK_H
#define TG_API_STREAM_PEEK_H

#include "common/event_id.h"
#include "core/config.h"

struct redisContext;

struct tg_stream_peek {
    struct redisContext *link; /* NULL: not connected */
};

enum tg_peek_result {
    TG_PEEK_FOUND,  /* it is there, and it is this tenant's */
    TG_PEEK_ABSENT, /* it is not there, or another tenant's: the caller cannot tell */
    TG_PEEK_UNAVAILABLE
};

/* What an entry in the stream tells; texts that do not fit are cut to "". */
struct tg_peek_entry {
    char type[TG_CE_ATTRIBUTE_MAX_BYTES + 1];
    char source[TG_CE_ATTRIBUTE_MAX_BYTES + 1];
    char correlation_id[TG_CORRELATION_ID_MAX_BYTES + 1];
    int64_t received_ms; /* 0: unknown */
};

enum tg_peek_result tg_stream_peek(struct tg_stream_peek *p, const struct tg_config *c,
                                   const struct tg_event_id *id, struct tg_str tenant,
                                   struct tg_peek_entry *out, struct tg_error *err);
void tg_stream_peek_close(struct tg_stream_peek *p);

#endif
