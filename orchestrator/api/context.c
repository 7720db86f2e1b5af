#include "api/context.h"

#include <stdlib.h>
#include <string.h>

#include "common/log.h"

int tg_api_pool_init(struct tg_api_pool *pool, size_t count, const struct tg_api_options *options,
                     struct tg_error *err)
{
    memset(pool, 0, sizeof(*pool));
    if (pthread_mutex_init(&pool->lock, NULL) != 0) {
        return tg_error_set(err, "api: cannot make a lock");
    }
    pool->all = calloc(count, sizeof(*pool->all));
    if (pool->all == NULL) {
        pthread_mutex_destroy(&pool->lock);
        return tg_error_set(err, "api: out of memory");
    }
    pool->count = count;
    for (size_t i = 0; i < count; i++) {
        struct tg_api_context *ctx = &pool->all[i];

        ctx->options = options;
        ctx->masters = calloc(options->config->tenant_count, sizeof(struct tg_master *));
        if (ctx->masters == NULL) {
            tg_api_pool_clear(pool);
            return tg_error_set(err, "api: out of memory");
        }
        ctx->next = pool->free;
        pool->free = ctx;
    }
    return 0;
}

static void context_clear(struct tg_api_context *ctx)
{
    for (size_t i = 0; ctx->masters != NULL && i < ctx->options->config->tenant_count; i++) {
        tg_master_unref(ctx->masters[i]);
    }
    free(ctx->masters);
    if (ctx->rules != NULL) {
        tg_rules_free(ctx->rules);
    }
    tg_api_context_drop_reader(ctx);
    tg_stream_peek_close(&ctx->peek);
}

void tg_api_pool_clear(struct tg_api_pool *pool)
{
    for (size_t i = 0; i < pool->count; i++) {
        context_clear(&pool->all[i]);
    }
    free(pool->all);
    pthread_mutex_destroy(&pool->lock);
    memset(pool, 0, sizeof(*pool));
}

struct tg_api_context *tg_api_pool_take(struct tg_api_pool *pool)
{
    struct tg_api_context *ctx;

    pthread_mutex_lock(&pool->lock);
    ctx = pool->free;
    if (ctx != NULL) {
        pool->free = ctx->next;
        ctx->next = NULL;
    }
    pthread_mutex_unlock(&pool->lock);
    return ctx;
}

void tg_api_pool_give(struct tg_api_pool *pool, struct tg_api_context *ctx)
{
    pthread_mutex_lock(&pool->lock);
    ctx->next = pool->free;
    pool->free = ctx;
    pthread_mutex_unlock(&pool->lock);
}

static void take_masters(struct tg_api_context *ctx, const struct tg_api_shared *shared)
{
    for (size_t i = 0; i < ctx->options->config->tenant_count; i++) {
        struct tg_master *newest = shared->masters[i];

        if (newest != ctx->masters[i]) {
            tg_master_unref(ctx->masters[i]);
            ctx->masters[i] = newest != NULL ? tg_master_ref(newest) : NULL;
        }
    }
    ctx->masters_generation = shared->masters_generation;
}

/* Under the shared lock: references only. The Lua state is made outside it. */
static struct tg_bundle *take_newest(struct tg_api_context *ctx, bool *changed)
{
    struct tg_api_shared *shared = ctx->options->shared;
    struct tg_bundle *bundle = NULL;

    pthread_mutex_lock(&shared->lock);
    *changed = !ctx->is_current || ctx->generation != shared->generation;
    if (shared->bundle != NULL && shared->masters != NULL) {
        if (*changed || ctx->masters_generation != shared->masters_generation) {
            take_masters(ctx, shared);
        }
        if (*changed) {
            bundle = tg_bundle_ref(shared->bundle);
            ctx->generation = shared->generation;
        }
    }
    pthread_mutex_unlock(&shared->lock);
    return bundle;
}

int tg_api_context_refresh(struct tg_api_context *ctx, struct tg_error *err)
{
    bool changed;
    struct tg_bundle *bundle = take_newest(ctx, &changed);
    struct tg_rules *rules;

    if (!changed) {
        return 0;
    }
    if (bundle == NULL) {
        return tg_error_set(err, "the rules are not loaded yet");
    }
    rules = tg_rules_new(bundle, err);
    tg_bundle_unref(bundle);
    if (rules == NULL) {
        ctx->is_current = false; /* tried again at the next request */
        return -1;
    }
    if (ctx->rules != NULL) {
        tg_rules_free(ctx->rules);
    }
    ctx->rules = rules;
    ctx->is_current = true;
    return 0;
}

struct tg_reader *tg_api_context_reader(struct tg_api_context *ctx, struct tg_error *err)
{
    if (ctx->reader == NULL) {
        ctx->reader = tg_reader_open(ctx->options->config->journal.path, err);
    }
    return ctx->reader;
}

void tg_api_context_drop_reader(struct tg_api_context *ctx)
{
    if (ctx->reader != NULL) {
        tg_reader_close(ctx->reader);
        ctx->reader = NULL;
    }
}
