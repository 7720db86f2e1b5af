/*
 * context.h: what one API thread works with: its own Lua state of the current bundle, references to
 * the current master data, a journal reader and a Redis link, both opened when first needed.
 *
 * Ownership: the pool owns its contexts. Between _take and _give a context belongs to one thread;
 * nothing in it is shared.
 */
#ifndef TG_API_CONTEXT_H
#define TG_API_CONTEXT_H

#include "api/api.h"
#include "api/stream_peek.h"
#include "journal/journal.h"

struct tg_api_context {
    struct tg_api_context *next; /* in the pool's free list */
    const struct tg_api_options *options;
    struct tg_rules *rules;     /* NULL: no bundle seen yet */
    struct tg_master **masters; /* references, one a tenant */
    uint64_t generation;        /* of rules and masters */
    uint64_t masters_generation;
    bool is_current;          /* generation was loaded at least once */
    struct tg_reader *reader; /* NULL: not open */
    struct tg_stream_peek peek;
};

struct tg_api_pool {
    pthread_mutex_t lock;
    struct tg_api_context *free; /* under lock */
    struct tg_api_context *all;  /* array of count */
    size_t count;
};

int tg_api_pool_init(struct tg_api_pool *pool, size_t count, const struct tg_api_options *options,
                     struct tg_error *err);
void tg_api_pool_clear(struct tg_api_pool *pool); /* all contexts are back */

/* NULL: more threads than contexts. */
struct tg_api_context *tg_api_pool_take(struct tg_api_pool *pool);
void tg_api_pool_give(struct tg_api_pool *pool, struct tg_api_context *ctx);

/* Follows a reload: rules and masters of the newest generation. 0, or -1: there are none. */
int tg_api_context_refresh(struct tg_api_context *ctx, struct tg_error *err);

/* The journal reader, opened if need be; NULL with err. */
struct tg_reader *tg_api_context_reader(struct tg_api_context *ctx, struct tg_error *err);
/* After a failed read: the next call opens it anew. */
void tg_api_context_drop_reader(struct tg_api_context *ctx);

#endif
