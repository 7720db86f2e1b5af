/*
 * The shell round the engine. Between two durable actions the process may die; what then happens:
 *
 *   D1  posting READY in the journal, not loaded     -> loaded at the next start, sent once
 *   D2  SENT mark in a batch, not on disk            -> still READY: nothing was sent, D1
 *   D3  SENT on disk, first byte not yet out         -> loaded SENT, in doubt, looked up: absent
 *   D4  sent, the destination has it, no answer yet  -> as D3, looked up: found, POSTED
 *   D5  answered, outcome mark not on disk           -> as D4
 *   D6  outcome on disk, posting not forgotten       -> final in the journal, not loaded again
 *   D7  exception: its row and the mark to EXCEPTION -> one commit: neither is without the other
 *   D8  cancelled here, CANCELLED not on disk        -> intake's batch did not commit either; its
 *                                                       entry is unacknowledged, decided again
 *   D9  superseded here, noted in memory only        -> its version has ended in the journal: it is
 *                                                       loaded as superseded
 *
 * Kept by: SEND is carried out only after tg_engine_step got MARKED for the SENT mark, MARKED is
 * fed only from the batch's commit; the marks of one posting in one step share one batch.
 */
#include "dispatch/dispatch.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/log.h"
#include "core/metrics.h"
#include "dispatch/inner.h"
#include "dispatch/words.h"

/* The wall clock may be set, and the time of a hold may be up: look again at least so often. */
#define TIMER_MAX_MS TG_HOLDS_DUE_MS

int64_t tg_dispatch_now_ms(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void tg_dispatch_fail(struct tg_dispatch *d, const struct tg_error *err)
{
    if (!d->failed) {
        d->failed = true;
        d->o.fatal(d->o.fatal_arg, err);
    }
}

void tg_dispatch_fail_text(struct tg_dispatch *d, const char *text)
{
    struct tg_error err;

    (void)tg_error_set(&err, "%s", text);
    tg_dispatch_fail(d, &err);
}

/* ---- stopping ---- */

static void on_handle_closed(uv_handle_t *h)
{
    struct tg_dispatch *d = h->data;

    d->open_handles--;
    if (d->open_handles == 0) {
        d->stopped(d->stopped_arg);
    }
}

static void close_handles(struct tg_dispatch *d)
{
    d->open_handles = 2;
    uv_close((uv_handle_t *)&d->turn, on_handle_closed);
    uv_close((uv_handle_t *)&d->timer, on_handle_closed);
}

static void on_http_closed(void *arg)
{
    struct tg_dispatch *d = arg;

    d->env.http = NULL;
    close_handles(d);
}

/* After the last connector: their calls are gone. */
static void close_http(struct tg_dispatch *d)
{
    if (d->env.http != NULL) {
        tg_http_close(d->env.http, on_http_closed, d);
    } else {
        close_handles(d);
    }
}

static void on_connector_closed(void *arg)
{
    struct tg_target *t = arg;

    t->connector = NULL;
    t->owner->open_connectors--;
    if (t->owner->open_connectors == 0) {
        close_http(t->owner);
    }
}

static void close_connectors(struct tg_dispatch *d)
{
    d->closing = true;
    if (d->open_connectors == 0) {
        close_http(d);
        return;
    }
    for (uint32_t i = 0; i < d->target_count; i++) {
        struct tg_target *t = &d->targets[i];

        if (t->connector != NULL) {
            t->ops->close(t->connector, on_connector_closed, t);
        }
    }
}

/* ---- the loop ---- */

static void set_timer(struct tg_dispatch *d);

static void on_timer(uv_timer_t *timer)
{
    struct tg_dispatch *d = timer->data;
    const struct tg_engine_event tick = {.kind = TG_EV_TICK};

    tg_dispatch_feed(d, &tick);
}

static void set_timer(struct tg_dispatch *d)
{
    int64_t wake = tg_engine_wake_ms(d->engine);
    int64_t delay;

    if (d->windows != NULL && d->window_ms < wake) {
        wake = d->window_ms;
    }
    delay = wake == INT64_MAX ? TIMER_MAX_MS : wake - tg_dispatch_now_ms();
    delay = delay < 0 ? 0 : delay > TIMER_MAX_MS ? TIMER_MAX_MS : delay;
    for (uint32_t i = 0; i < d->target_count; i++) {
        const struct tg_target *t = &d->targets[i];

        if (t->ops != NULL && t->more && !d->stopping &&
            tg_engine_room(d->engine, t->config->index) != 0) {
            delay = 0; /* a further page, in the next turn */
        }
    }
    (void)uv_timer_start(&d->timer, on_timer, (uint64_t)delay, 0);
}

/* What /metrics shows of destinations; the API's threads never touch the engine. */
static void publish(const struct tg_dispatch *d)
{
    for (uint32_t i = 0; i < d->target_count && i < TG_METRICS_DESTINATIONS_MAX; i++) {
        struct tg_engine_stats is;

        if (d->targets[i].ops == NULL) {
            continue;
        }
        tg_engine_destination_stats(d->engine, i, &is);
        tg_metrics_destination(
            i, d->targets[i].config->id,
            &(struct tg_destination_gauges){.open = is.open,
                                            .in_flight = is.in_flight,
                                            .retry = is.retry,
                                            .in_doubt = is.in_doubt,
                                            .stuck = is.stuck,
                                            .breaker = tg_dispatch_breaker_number(is.breaker),
                                            .paused = d->targets[i].pause.paused,
                                            .maintenance = d->targets[i].away,
                                            .asked_to_wait = is.blocked_until_ms != 0});
    }
}

/* Once a loop turn, before it may sleep: everything that gathered goes out in one batch. */
static void on_turn(uv_prepare_t *prepare)
{
    struct tg_dispatch *d = prepare->data;

    if (d->failed || d->closing) {
        return;
    }
    tg_dispatch_windows_turn(d);
    tg_dispatch_load(d);
    tg_dispatch_pump(d);
    tg_marks_flush(d->marks);
    tg_holds_turn(d->holds);
    tg_people_turn(d->people);
    publish(d);
    if (d->stopping && tg_engine_is_quiet(d->engine) && tg_marks_is_empty(d->marks) &&
        tg_holds_is_quiet(d->holds) && tg_people_is_quiet(d->people) && d->changes_out == 0) {
        close_connectors(d);
        return;
    }
    set_timer(d);
}

/* ---- start ---- */

static int open_target(struct tg_dispatch *d, const struct tg_config_tenant *tenant,
                       const struct tg_config_destination *c, struct tg_error *err)
{
    struct tg_target *t = &d->targets[c->index];
    struct tg_error inner = {""};

    t->config = c;
    t->tenant = tenant;
    t->owner = d;
    t->more = true;
    t->ops = tg_connector_choose(c->connector, &d->env.scripts, &inner);
    if (t->ops == NULL) {
        return tg_error_set(err, "destination %.130s: %.370s", c->id, inner.text);
    }
    t->connector = t->ops->open(&d->env, c, tenant->id, tg_dispatch_on_result, t, err);
    if (t->connector == NULL) {
        t->ops = NULL;
        return -1;
    }
    t->ops->about(t->connector, &t->about);
    if (t->ops->watch != NULL) {
        t->ops->watch(t->connector, tg_dispatch_on_usable);
    }
    d->open_connectors++;
    return 0;
}

static int open_targets(struct tg_dispatch *d, struct tg_error *err)
{
    const struct tg_config *config = d->o.config;

    d->env.loop = d->o.loop;
    d->env.http = tg_http_new(d->o.loop, err);
    if (d->env.http == NULL) {
        return -1;
    }
    if (d->o.scripts.ops != NULL) {
        d->env.scripts = d->o.scripts;
        d->env.scripts.version = d->o.scripts.ops->ref(d->o.scripts.version);
    }

    for (size_t i = 0; i < config->tenant_count; i++) {
        const struct tg_config_tenant *t = &config->tenants[i];

        for (size_t k = 0; k < t->destination_count; k++) {
            if (open_target(d, t, &t->destinations[k], err) != 0) {
                return -1;
            }
        }
    }
    return 0;
}

static uint32_t count_indexes(const struct tg_config *config)
{
    uint32_t n = 0;

    for (size_t i = 0; i < config->tenant_count; i++) {
        for (size_t k = 0; k < config->tenants[i].destination_count; k++) {
            uint32_t index = config->tenants[i].destinations[k].index;

            n = index >= n ? index + 1 : n;
        }
    }
    return n;
}

static int make_engine(struct tg_dispatch *d, struct tg_error *err)
{
    struct tg_engine_destination *list = calloc((size_t)d->target_count + 1, sizeof(*list));

    if (list == NULL) {
        return tg_error_set(err, "dispatch: no memory");
    }
    for (uint32_t i = 0; i < d->target_count; i++) {
        const struct tg_target *t = &d->targets[i];

        if (t->ops != NULL) {
            list[i] =
                (struct tg_engine_destination){.dedupe = t->about.dedupe,
                                               .idempotency_ttl_ms = t->about.idempotency_ttl_ms,
                                               .max_execution_ms = t->about.max_execution_ms,
                                               .concurrency = t->config->concurrency,
                                               .rate = t->config->rate,
                                               .account = t->config->account_number};
        }
    }
    d->engine = tg_engine_new(list, d->target_count, d->o.seed);
    free(list);
    return d->engine != NULL ? 0 : tg_error_set(err, "dispatch: no memory for the engine");
}

/* Postings whose destination left the configuration: nobody sends them. */
static void warn_stranded(void *arg, const char *destination_id, uint64_t open)
{
    const struct tg_dispatch *d = arg;

    for (uint32_t i = 0; i < d->target_count; i++) {
        if (d->targets[i].config != NULL && strcmp(d->targets[i].config->id, destination_id) == 0) {
            return;
        }
    }
    if (open != 0) {
        tg_log(TG_LOG_WARN, "dispatch",
               "%" PRIu64 " open postings are for destination %s, which is not configured: they "
               "wait until it is configured again",
               open, destination_id);
    }
}

static int start_parts(struct tg_dispatch *d, struct tg_error *err)
{
    struct tg_marks_options marks = {.journal = d->o.journal,
                                     .marked = tg_dispatch_on_marked,
                                     .settled = tg_dispatch_on_settled,
                                     .fatal = tg_dispatch_on_marks_fatal,
                                     .arg = d};

    d->target_count = count_indexes(d->o.config);
    d->targets = calloc((size_t)d->target_count + 1, sizeof(*d->targets));
    d->holds = tg_holds_new(d);
    d->people = tg_people_new(d);
    d->rows = tg_rows_new();
    d->marks = tg_marks_new(&marks);
    if (d->targets == NULL || d->holds == NULL || d->people == NULL || d->rows == NULL ||
        d->marks == NULL) {
        return tg_error_set(err, "dispatch: no memory");
    }
    d->reader = tg_reader_open(d->o.config->journal.path, err);
    if (d->reader == NULL || open_targets(d, err) != 0 || make_engine(d, err) != 0) {
        return -1;
    }
    if (tg_metrics_destinations(d->target_count) != 0) {
        return tg_error_set(err, "dispatch: no memory");
    }
    if (tg_dispatch_load_pauses(d, err) != 0) {
        return -1;
    }
    if (d->o.windows != NULL) {
        tg_dispatch_take_windows(d, d->o.windows);
        d->o.windows = NULL; /* taken */
    }
    return tg_reader_destinations(d->reader, warn_stranded, d, err);
}

static void free_parts(struct tg_dispatch *d)
{
    (void)tg_metrics_destinations(0); /* their ids are the configuration's */
    tg_engine_free(d->engine);
    tg_marks_free(d->marks);
    tg_rows_free(d->rows);
    tg_reader_close(d->reader);
    tg_holds_free(d->holds);
    tg_people_free(d->people);
    tg_idset_free(&d->cancelled);
    tg_idset_free(&d->judged);
    tg_windows_free(d->o.windows);
    tg_windows_free(d->windows);
    if (d->env.scripts.ops != NULL) {
        d->env.scripts.ops->unref(d->env.scripts.version);
    }
    free(d->targets);
    free(d);
}

static void on_unused_http_closed(void *arg)
{
    (void)arg;
}

struct tg_dispatch *tg_dispatch_start(const struct tg_dispatch_options *o, struct tg_error *err)
{
    struct tg_dispatch *d = calloc(1, sizeof(*d));

    if (d == NULL) {
        tg_windows_free(o->windows);
        (void)tg_error_set(err, "dispatch: no memory");
        return NULL;
    }
    d->o = *o;
    if (start_parts(d, err) != 0) {
        /* The process ends on this; a connector that is open holds nothing in memory. */
        if (d->env.http != NULL && d->open_connectors == 0) {
            tg_http_close(d->env.http, on_unused_http_closed, NULL);
        }
        free_parts(d);
        return NULL;
    }
    (void)uv_prepare_init(o->loop, &d->turn);
    (void)uv_timer_init(o->loop, &d->timer);
    d->turn.data = d;
    d->timer.data = d;
    (void)uv_prepare_start(&d->turn, on_turn);
    (void)uv_timer_start(&d->timer, on_timer, 0, 0);
    return d;
}

/* ---- other scripts ---- */

int tg_dispatch_take_scripts(struct tg_dispatch *d, const struct tg_scripts *scripts,
                             struct tg_error *err)
{
    struct tg_script_version *old = d->env.scripts.version;

    for (uint32_t i = 0; i < d->target_count; i++) {
        const struct tg_target *t = &d->targets[i];

        if (t->connector != NULL && t->ops->check != NULL &&
            t->ops->check(t->connector, scripts, err) != 0) {
            return -1;
        }
    }
    for (uint32_t i = 0; i < d->target_count; i++) {
        const struct tg_target *t = &d->targets[i];

        if (t->connector != NULL && t->ops->take != NULL) {
            t->ops->take(t->connector, scripts);
        }
    }
    d->env.scripts = *scripts;
    d->env.scripts.version = scripts->ops->ref(scripts->version);
    if (old != NULL) {
        scripts->ops->unref(old);
    }
    return 0;
}

/* ---- the face ---- */

void tg_dispatch_kick(struct tg_dispatch *d)
{
    tg_idset_clear(&d->cancelled);
    tg_idset_clear(&d->judged);
    for (uint32_t i = 0; i < d->target_count; i++) {
        d->targets[i].more = true;
    }
}

void tg_dispatch_listen(struct tg_dispatch *d, void (*fn)(void *arg), void *arg)
{
    d->listener = fn;
    d->listener_arg = arg;
}

enum tg_let_go tg_dispatch_may_cancel(struct tg_dispatch *d, const struct tg_row_posting *row)
{
    const bool telling = tg_holds_has(d->holds, row->id) || tg_people_has(d->people, row->id) ||
                         tg_idset_has(&d->cancelled, row->id) ||
                         d->cancelled.count >= TG_IDSET_MAX - TG_EFFECTS_MAX ||
                         d->judged.count >= TG_IDSET_MAX - TG_EFFECTS_MAX;

    return tg_let_go(telling, tg_engine_grip(d->engine, row->id), row->state, row->first_sent_ms);
}

bool tg_dispatch_cancel(struct tg_dispatch *d, int64_t posting)
{
    tg_dispatch_supersede(d, posting);
    return tg_rows_find(d->rows, posting) == NULL && tg_idset_add(&d->cancelled, posting) == 0;
}

void tg_dispatch_leave(struct tg_dispatch *d, int64_t posting)
{
    if (tg_idset_add(&d->judged, posting) != 0) {
        tg_dispatch_fail_text(d, "dispatch: no memory to remember what a correction looked at");
    }
}

void tg_dispatch_supersede(struct tg_dispatch *d, int64_t posting)
{
    const struct tg_engine_event ev = {.kind = TG_EV_CANCEL, .id = posting};

    tg_dispatch_leave(d, posting);
    if (tg_rows_find(d->rows, posting) != NULL) {
        tg_dispatch_feed(d, &ev);
    }
}

bool tg_dispatch_is_reversible(const struct tg_dispatch *d, uint32_t destination)
{
    return destination < d->target_count && d->targets[destination].ops != NULL &&
           d->targets[destination].about.reversible;
}

void tg_dispatch_stop(struct tg_dispatch *d, void (*stopped)(void *arg), void *arg)
{
    d->stopping = true;
    d->stopped = stopped;
    d->stopped_arg = arg;
    tg_engine_drain(d->engine);
    (void)uv_timer_start(&d->timer, on_timer, 0, 0);
}

void tg_dispatch_free(struct tg_dispatch *d)
{
    if (d != NULL) {
        free_parts(d);
    }
}

void tg_dispatch_stats(const struct tg_dispatch *d, uint32_t destination,
                       struct tg_engine_stats *out)
{
    tg_engine_destination_stats(d->engine, destination, out);
}
