/*
 * health.c: is it alive, is it ready, what does it count. No tenant's data, so no tenant needed.
 */
#include <stdlib.h>

#include "api/handlers.h"
#include "core/metrics.h"

#define METRICS_FIRST_BYTES (32 * 1024)

void tg_api_healthz(struct tg_api_context *ctx, const struct tg_api_request *rq,
                    struct tg_reply *out)
{
    (void)ctx;
    tg_reply_json(out, 200, json_pack("{s:s}", "status", "ok"), rq->correlation_id);
}

static const char *word(bool ready)
{
    return ready ? "ok" : "not ready";
}

void tg_api_readyz(struct tg_api_context *ctx, const struct tg_api_request *rq,
                   struct tg_reply *out)
{
    struct tg_api_shared *shared = ctx->options->shared;
    bool journal = atomic_load(&shared->journal_ready);
    bool redis = atomic_load(&shared->redis_ready);
    bool stopping = atomic_load(&shared->stopping);
    bool rules, ready;

    pthread_mutex_lock(&shared->lock);
    rules = shared->bundle != NULL && shared->masters != NULL;
    pthread_mutex_unlock(&shared->lock);
    ready = journal && redis && rules && !stopping;
    tg_reply_json(out, ready ? 200 : 503,
                  json_pack("{s:b, s:{s:s, s:s, s:s}, s:b}", "ready", ready, "parts", "journal",
                            word(journal), "redis", word(redis), "rules", word(rules), "stopping",
                            stopping),
                  rq->correlation_id);
}

/* A journal that cannot be read leaves the last count. */
static void count_exceptions(struct tg_api_context *ctx)
{
    struct tg_error err;
    struct tg_reader *reader = tg_api_context_reader(ctx, &err);
    uint64_t count = 0;

    if (reader == NULL) {
        return;
    }
    if (tg_reader_exceptions_count(reader, &count, &err) != 0) {
        tg_api_context_drop_reader(ctx);
        return;
    }
    tg_metric_set(TG_METRIC_EXCEPTIONS_OPEN, count);
}

void tg_api_metrics(struct tg_api_context *ctx, const struct tg_api_request *rq,
                    struct tg_reply *out)
{
    count_exceptions(ctx);
    for (size_t size = METRICS_FIRST_BYTES; size <= TG_API_METRICS_MAX_BYTES; size *= 2) {
        char *text = malloc(size);
        size_t len = text != NULL ? tg_metrics_write(text, size) : 0;

        if (len > 0) {
            out->status = 200;
            out->content_type = "text/plain; version=0.0.4; charset=utf-8";
            out->body = text;
            out->len = len;
            return;
        }
        free(text);
    }
    tg_reply_problem(out, TG_PROBLEM_INTERNAL, rq->correlation_id,
                     "the metrics do not fit %d bytes", TG_API_METRICS_MAX_BYTES);
}
