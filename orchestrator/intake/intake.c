/*
 * One thing at a time: a read, or the batch in hand. Between two durable actions the process may
 * die; what then happens:
 *
 *   I1  delivered by Redis, not decided         -> pending; read again from 0 at the next start
 *   I2  batch submitted, not on disk            -> nothing of it is in the journal: as I1
 *   I3  batch on disk, XACK not sent            -> as I1, then: the event id is known, ack only
 *   I4  XACK done, its reply lost               -> asked again; a second XACK does nothing
 *   I5  acknowledged, not trimmed               -> trimmed later; trimming decides nothing
 *   I6  Redis lost the acknowledgement          -> as I3
 *   I7  Redis lost the group                    -> made again at 0: every entry as I3
 *   I8  the same event published twice          -> two event ids, one identity: DUPLICATE
 *   I9  a correction in a batch, not on disk    -> version, cancels and reversals are one commit:
 *                                                  as I2; what dispatch forgot is loaded again
 *
 * Kept by: XACK is sent only after the batch's commit, or for entries the journal already has; no
 * read goes out while entries are held; two entries of one identity or one object are never decided
 * in the same batch (seen.h), so each decision sees the commit of the one before it; an object is
 * not decided about while a mark of one of its postings is on its way to the journal.
 */
#include "intake/intake.h"

#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "core/metrics.h"
#include "intake/inner.h"

#define TICK_MS 200

int64_t tg_intake_now(const struct tg_intake *i)
{
    return (int64_t)uv_now(i->o.loop);
}

void tg_intake_fail(struct tg_intake *i, const struct tg_error *err)
{
    if (!i->failed) {
        i->failed = true;
        i->o.fatal(i->o.fatal_arg, err);
    }
}

void tg_intake_fail_text(struct tg_intake *i, const char *text)
{
    struct tg_error err;

    (void)tg_error_set(&err, "intake: %s", text);
    tg_intake_fail(i, &err);
}

/* ---- stopping ---- */

static void part_closed(struct tg_intake *i)
{
    i->open_parts--;
    if (i->open_parts == 0) {
        i->stopped(i->stopped_arg);
    }
}

static void on_link_closed(void *arg)
{
    part_closed(arg);
}

static void on_tick_closed(uv_handle_t *h)
{
    part_closed(h->data);
}

/* Nothing is in hand any more. An unread reply leaves its entries pending, for the next start. */
static void close_parts(struct tg_intake *i)
{
    if (i->closing) {
        return;
    }
    i->closing = true;
    tg_again_stop(i);
    tg_intake_drop_held(i);
    tg_metric_set(TG_METRIC_REDIS_CONNECTED, 0);
    i->open_parts = 3;
    tg_redis_link_close(i->read_link, on_link_closed, i);
    tg_redis_link_close(i->command_link, on_link_closed, i);
    uv_close((uv_handle_t *)&i->tick, on_tick_closed);
}

/* While stopping, what is committed is acknowledged once, if Redis is there to hear it. */
static bool may_close(const struct tg_intake *i)
{
    if (i->committing || i->acking || i->batch != NULL) {
        return false;
    }
    return i->held_next == 0 || !tg_redis_link_is_up(i->command_link) || i->ack_lost;
}

/* ---- the loop ---- */

void tg_intake_advance(struct tg_intake *i)
{
    if (i->failed || i->closing) {
        return;
    }
    if (i->held_count != 0 || i->batch != NULL || tg_again_has_work(i)) {
        tg_intake_work(i);
    }
    if (i->failed || i->closing) {
        return;
    }
    if (i->stopping) {
        if (may_close(i)) {
            close_parts(i);
        }
        return;
    }
    if (i->held_count == 0 && !i->busy && tg_redis_link_is_up(i->read_link) &&
        tg_redis_link_is_up(i->command_link) && tg_intake_now(i) >= i->wait_until_ms) {
        tg_intake_ask(i);
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct tg_intake *i = timer->data;

    tg_intake_housekeeping(i);
    tg_again_tick(i);
    tg_intake_advance(i);
}

void tg_intake_soon(struct tg_intake *i)
{
    (void)uv_timer_start(&i->tick, on_tick, 1, TICK_MS);
}

static void on_up(void *arg, struct tg_redis_link *l)
{
    struct tg_intake *i = arg;

    (void)l;
    tg_metric_set(TG_METRIC_REDIS_CONNECTED, tg_intake_is_connected(i) ? 1 : 0);
    tg_intake_advance(i);
}

static void on_down(void *arg, struct tg_redis_link *l)
{
    struct tg_intake *i = arg;

    (void)l;
    tg_metric_set(TG_METRIC_REDIS_CONNECTED, 0);
    if (i->stopping) {
        tg_intake_advance(i);
    }
}

/* ---- start ---- */

static struct tg_redis_link *open_link(struct tg_intake *i, const char *name, int64_t timeout_ms,
                                       struct tg_error *err)
{
    const struct tg_config *c = i->o.config;
    struct tg_redis_options o = {.loop = i->o.loop,
                                 .url = c->redis.url,
                                 .user = c->redis.user,
                                 .password_file = c->redis.password_file,
                                 .prefix = c->redis.prefix,
                                 .shards = c->redis.shards,
                                 .journal = i->journal_id,
                                 .name = name,
                                 .reply_timeout_ms = timeout_ms,
                                 .up = on_up,
                                 .down = on_down,
                                 .arg = i};

    return tg_redis_link_new(&o, err);
}

/* Something came to be on disk: what waited for it may be decided. */
static void on_settled(void *arg)
{
    struct tg_intake *i = arg;

    if (i->held_count != 0 || tg_again_has_work(i)) {
        tg_intake_advance(i);
    }
}

static void on_refused_link_closed(void *arg)
{
    (void)arg;
}

struct tg_intake *tg_intake_start(const struct tg_intake_options *o, struct tg_error *err)
{
    struct tg_intake *i = calloc(1, sizeof(*i));

    if (i == NULL) {
        (void)tg_error_set(err, "intake: no memory");
        return NULL;
    }
    i->o = *o;
    i->phase = TG_MAKE_GROUPS;
    i->again = tg_again_new();
    if (i->again == NULL) {
        (void)tg_error_set(err, "intake: no memory");
        free(i);
        return NULL;
    }
    if (tg_streams_init(&i->streams, o->config->redis.prefix, o->config->redis.shards) != 0) {
        (void)tg_error_set(err, "redis.prefix %s is longer than %d bytes", o->config->redis.prefix,
                           TG_PREFIX_MAX_BYTES);
        tg_again_free(i->again);
        free(i);
        return NULL;
    }
    i->reader = tg_reader_open(o->config->journal.path, err);
    if (i->reader == NULL || tg_reader_journal_id(i->reader, i->journal_id, err) != 0) {
        tg_reader_close(i->reader);
        tg_again_free(i->again);
        free(i);
        return NULL;
    }
    if (tg_restoring_load(i, err) != 0) {
        tg_restoring_free(i);
        tg_reader_close(i->reader);
        free(i);
        return NULL;
    }
    i->read_link =
        open_link(i, "tallygate-intake-read", TG_INTAKE_BLOCK_MS + TG_REDIS_REPLY_MS, err);
    i->command_link = i->read_link != NULL
                          ? open_link(i, "tallygate-intake-command", TG_REDIS_REPLY_MS, err)
                          : NULL;
    if (i->command_link == NULL) {
        if (i->read_link != NULL) {
            tg_redis_link_close(i->read_link, on_refused_link_closed, NULL);
        }
        tg_restoring_free(i);
        tg_reader_close(i->reader);
        tg_again_free(i->again);
        free(i);
        return NULL;
    }
    (void)uv_timer_init(o->loop, &i->tick);
    i->tick.data = i;
    (void)uv_timer_start(&i->tick, on_tick, TICK_MS, TICK_MS);
    tg_dispatch_listen(o->dispatch, on_settled, i);
    return i;
}

void tg_intake_stop(struct tg_intake *i, void (*stopped)(void *arg), void *arg)
{
    i->stopping = true;
    i->stopped = stopped;
    i->stopped_arg = arg;
    tg_intake_advance(i);
}

void tg_intake_free(struct tg_intake *i)
{
    if (i == NULL) {
        return;
    }
    tg_intake_drop_held(i);
    free(i->held);
    tg_again_free(i->again);
    tg_restoring_free(i);
    tg_reader_close(i->reader);
    free(i);
}

bool tg_intake_is_connected(const struct tg_intake *i)
{
    return tg_redis_link_is_up(i->read_link) && tg_redis_link_is_up(i->command_link);
}
