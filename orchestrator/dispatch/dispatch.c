/*
 * The shell round the engine. Between two durable actions the process may die; what then happens:
 *
 *   D1  posting READY in the journal, not loaded     -> loaded at the next start, sent once
 *   D2  SENT mark in a batch, not on disk            -> still READY: nothing was sent, D1
 *   D3  SENT on disk, first byte not yet out         -> loaded SENT, in doubt, looked up: absent
 *   D4  sent, the destination has it, no answer yet  -> as D3, looked up: found, POSTED
 *   D5  answered, outcome mark not on disk           -> as D4
 *   D6  outcome on disk, posting not forgotten       -> final in the journal, not loaded again
 *   D7  exception: its row and the mark to EXCEPTION are one commit, so neither is without the
 * other D8  cancelled here, CANCELLED not on disk        -> intake's batch did not commit either;
 * its entry is unacknowledged and decided again
 *
 * Kept by: SEND is carried out only after tg_engine_step got MARKED for the SENT mark, MARKED is
 * fed only from the batch's commit; the marks of one posting in one step share one batch.
 */
#include "dispatch/dispatch.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/log.h"
#include "core/metrics.h"
#include "dispatch/marks.h"
#include "dispatch/rows.h"
#include "dispatch/words.h"

#define LOAD_PAGE 256      /* postings of one destination read in one loop turn */
#define TIMER_MAX_MS 60000 /* the wall clock may be set: look again at least so often */
#define PUMP_MAX 64        /* rounds of one destination's left-over actions in one go */
#define SKIP_MAX 65536     /* cancels between two commits of intake */

/* One destination of the engine; ops NULL: known to the journal, not in the configuration. */
struct target {
    const struct tg_config_destination *config;
    const char *tenant;
    const struct tg_connector_ops *ops;
    struct tg_connector *connector;
    struct tg_dispatch *owner;
    int64_t after; /* postings up to this id were loaded */
    bool more;     /* there may be postings behind it */
};

struct tg_dispatch {
    struct tg_dispatch_options o;
    struct tg_reader *reader;
    struct tg_engine *engine;
    struct tg_rows *rows;
    struct tg_marks *marks;
    struct target *targets;
    uint32_t target_count;
    int64_t fed_ms; /* the clock at the engine's last step */
    struct tg_actions actions;
    size_t action_next;
    bool carrying; /* actions are being carried out: nested steps append */
    struct tg_open_row *page[LOAD_PAGE];
    size_t page_count;
    int64_t *skip; /* cancelled before they were loaded, not yet committed */
    size_t skip_count;
    uv_prepare_t turn;
    uv_timer_t timer;
    bool stopping, closing, failed;
    size_t open_connectors, open_handles;
    void (*stopped)(void *arg);
    void *stopped_arg;
};

static int64_t now_ms(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void fail(struct tg_dispatch *d, const struct tg_error *err)
{
    if (!d->failed) {
        d->failed = true;
        d->o.fatal(d->o.fatal_arg, err);
    }
}

static void fail_text(struct tg_dispatch *d, const char *text)
{
    struct tg_error err;

    (void)tg_error_set(&err, "%s", text);
    fail(d, &err);
}

/* ---- actions ---- */

static void feed(struct tg_dispatch *d, const struct tg_engine_event *ev);

/* What a person reads about an exception: {"destination","message"}; the caller frees. */
static char *exception_detail(const struct tg_dispatch *d, const struct tg_open_row *row,
                              const char *code)
{
    const char *message = row->detail[0] != '\0' ? row->detail : code;
    json_t *doc =
        json_pack("{s:s, s:s, s:i}", "destination", d->targets[row->destination].config->id,
                  "message", message, "attempt", (int)row->attempt);
    char *text = doc != NULL ? json_dumps(doc, JSON_COMPACT) : NULL;

    json_decref(doc);
    return text;
}

static const char *exception_code(const struct tg_dispatch *d, const struct tg_open_row *row,
                                  const struct tg_action *a)
{
    bool rejected = a->from == TG_POSTING_REJECTED && row->exception[0] != '\0';

    if (rejected && tg_catalogue_find(d->o.catalogue, tg_str_of(row->exception)) != NULL) {
        return row->exception;
    }
    return a->exception != NULL ? a->exception : "outcome_unknown";
}

static void do_mark(struct tg_dispatch *d, struct tg_open_row *row, const struct tg_action *a)
{
    struct tg_row_mark mark = {.posting = row->id,
                               .from = a->from,
                               .to = a->state,
                               .attempt = a->attempt,
                               .due_ms = a->due_ms,
                               .ref = row->ref[0] != '\0' ? row->ref : NULL,
                               .outcome = row->outcome,
                               .detail = row->outcome != NULL ? row->detail : NULL,
                               .at_ms = now_ms()};
    struct tg_row_exception exception = {0};
    char *detail = NULL;
    bool opens = a->state == TG_POSTING_EXCEPTION;

    row->attempt = a->attempt;
    if (opens) {
        const char *code = exception_code(d, row, a);
        const struct tg_catalogue_entry *entry = tg_catalogue_find(d->o.catalogue, tg_str_of(code));

        detail = exception_detail(d, row, code);
        exception = (struct tg_row_exception){
            .id = tg_journal_next_id(d->o.journal, TG_TABLE_EXCEPTIONS),
            .object = row->object,
            .posting = row->id,
            .tenant = d->targets[row->destination].tenant,
            .code = code,
            .owner = entry != NULL ? entry->owner : "integration",
            .detail = detail,
            .state = TG_EXCEPTION_OPEN,
            .opened_ms = mark.at_ms,
        };
        tg_metric_add(TG_METRIC_EXCEPTIONS_OPENED, 1);
    }
    if ((opens && detail == NULL) ||
        tg_marks_add(d->marks, &mark, opens ? &exception : NULL) != 0) {
        fail_text(d, "dispatch: no memory to record a posting's state");
    }
    free(detail);
    row->state = a->state;
    row->outcome = NULL;
    row->marks_out++;
}

static void fill_job(const struct tg_open_row *row, struct tg_connect_job *job)
{
    *job = (struct tg_connect_job){.posting = row->id,
                                   .kind = row->kind,
                                   .leg = row->leg,
                                   .payload = row->payload,
                                   .subject = row->subject,
                                   .correlation_id = row->correlation_id,
                                   .attempt = row->attempt};
    memcpy(job->key, row->key_hex, sizeof(job->key));
}

static void do_send(struct tg_dispatch *d, struct tg_open_row *row, bool is_lookup)
{
    struct target *t = &d->targets[row->destination];
    struct tg_connect_job job;
    int rc;

    fill_job(row, &job);
    row->outcome = NULL;
    row->detail[0] = '\0';
    row->exception[0] = '\0';
    row->out = true;
    rc = is_lookup ? t->ops->lookup(t->connector, &job) : t->ops->send(t->connector, &job);
    if (!is_lookup) {
        tg_metric_add(TG_METRIC_POSTINGS_SENT, 1);
    }
    if (rc != 0) { /* surely not sent */
        struct tg_engine_event ev = {.kind = is_lookup ? TG_EV_LOOKUP : TG_EV_OUTCOME,
                                     .id = row->id,
                                     .outcome = TG_OUTCOME_DOWN,
                                     .lookup = TG_LOOKUP_UNKNOWN};

        row->out = false;
        row->outcome = is_lookup ? NULL : "down";
        feed(d, &ev);
    }
}

static void carry_out(struct tg_dispatch *d, const struct tg_action *a)
{
    struct tg_open_row *row = tg_rows_find(d->rows, a->id);

    if (row == NULL) {
        fail_text(d, "dispatch: the engine speaks of a posting that is not held");
        return;
    }
    switch (a->kind) {
    case TG_ACT_MARK:
        if (row->marks_out == 0) {
            tg_marks_begin(d->marks);
        }
        do_mark(d, row, a);
        break;
    case TG_ACT_SEND:
        do_send(d, row, false);
        break;
    case TG_ACT_LOOKUP:
        do_send(d, row, true);
        break;
    case TG_ACT_FORGET:
        tg_rows_remove(d->rows, a->id);
        break;
    }
}

static void feed(struct tg_dispatch *d, const struct tg_engine_event *ev)
{
    if (d->failed) {
        return;
    }
    d->fed_ms = now_ms();
    if (tg_engine_step(d->engine, ev, d->fed_ms, &d->actions) != 0) {
        tg_log(TG_LOG_WARN, "dispatch", "event %d for posting %" PRId64 " does not fit, ignored",
               (int)ev->kind, ev->id);
        return;
    }
    if (d->carrying) {
        return; /* the loop below, further up the stack, goes on with what was appended */
    }
    d->carrying = true;
    while (d->action_next < d->actions.count && !d->failed) {
        struct tg_action a = d->actions.items[d->action_next++];

        carry_out(d, &a);
    }
    d->action_next = 0;
    d->actions.count = 0;
    d->carrying = false;
}

/* Actions the engine kept back because the array was full, and timers that are due. A clock that
 * was set back is told at once: the engine moves its timers with it. */
static void pump(struct tg_dispatch *d)
{
    const struct tg_engine_event tick = {.kind = TG_EV_TICK};

    if (now_ms() < d->fed_ms) {
        feed(d, &tick);
    }
    for (int i = 0; i < PUMP_MAX && tg_engine_wake_ms(d->engine) <= now_ms(); i++) {
        feed(d, &tick);
    }
}

/* ---- what comes back ---- */

static void on_marked(void *arg, int64_t posting)
{
    struct tg_dispatch *d = arg;
    struct tg_open_row *row = tg_rows_find(d->rows, posting);
    const struct tg_engine_event ev = {.kind = TG_EV_MARKED, .id = posting};

    if (row != NULL) {
        row->marks_out--;
    }
    feed(d, &ev);
}

static void on_marks_fatal(void *arg, const struct tg_error *err)
{
    fail(arg, err);
}

static void keep_text(char *out, size_t size, const char *text)
{
    (void)snprintf(out, size, "%s", text != NULL ? text : "");
}

static void on_result(void *arg, const struct tg_connect_result *result)
{
    struct target *t = arg;
    struct tg_dispatch *d = t->owner;
    struct tg_open_row *row = tg_rows_find(d->rows, result->posting);
    struct tg_engine_event ev = {.kind = result->is_lookup ? TG_EV_LOOKUP : TG_EV_OUTCOME,
                                 .id = result->posting,
                                 .outcome = result->outcome,
                                 .lookup = result->lookup,
                                 .retry_after_ms = result->retry_after_ms};

    if (row == NULL || !row->out) {
        tg_log(TG_LOG_ERROR, "dispatch", "answer for posting %" PRId64 ", which was not sent",
               result->posting);
        return;
    }
    row->out = false;
    keep_text(row->detail, sizeof(row->detail), result->detail);
    keep_text(row->exception, sizeof(row->exception), result->exception);
    if (result->ref != NULL) {
        keep_text(row->ref, sizeof(row->ref), result->ref);
    }
    if (result->is_lookup) {
        row->outcome = tg_dispatch_lookup_word(result->lookup);
    } else {
        row->outcome = tg_dispatch_outcome_word(result->outcome);
        tg_dispatch_count_outcome(result->outcome);
    }
    feed(d, &ev);
}

/* ---- loading ---- */

static bool is_skipped(const struct tg_dispatch *d, int64_t posting)
{
    for (size_t i = 0; i < d->skip_count; i++) {
        if (d->skip[i] == posting) {
            return true;
        }
    }
    return false;
}

struct load {
    struct tg_dispatch *d;
    struct target *target;
    size_t seen;
    bool no_memory;
};

static bool on_open_posting(void *arg, const struct tg_row_posting *from)
{
    struct load *l = arg;
    struct tg_open_row *row;

    l->seen++;
    if (is_skipped(l->d, from->id)) {
        l->target->after = from->id;
        return true;
    }
    row = tg_rows_add(l->d->rows, from);
    if (row == NULL) {
        l->no_memory = true;
        return false;
    }
    l->target->after = from->id;
    l->d->page[l->d->page_count++] = row;
    return true;
}

static void feed_page(struct tg_dispatch *d)
{
    for (size_t i = 0; i < d->page_count; i++) {
        const struct tg_open_row *row = d->page[i];
        struct tg_engine_event ev = {
            .kind = TG_EV_LOADED, .id = row->id, .destination = row->destination};

        ev.posting = (struct tg_engine_posting){.id = row->id,
                                                .destination = row->destination,
                                                .state = row->state,
                                                .attempt = row->attempt,
                                                .due_ms = row->due_ms,
                                                .first_sent_ms = row->first_sent_ms};
        feed(d, &ev);
    }
    d->page_count = 0;
}

static void load(struct tg_dispatch *d, struct target *t)
{
    struct load l = {.d = d, .target = t};
    size_t limit = tg_engine_room(d->engine, t->config->index);
    struct tg_error err;

    if (limit > LOAD_PAGE) {
        limit = LOAD_PAGE;
    }
    if (limit == 0 || d->failed) {
        return;
    }
    if (tg_reader_open_postings(d->reader, t->config->index, t->after, limit, on_open_posting, &l,
                                &err) < 0) {
        fail(d, &err);
        return;
    }
    t->more = l.seen == limit || l.no_memory;
    feed_page(d);
}

static void load_all(struct tg_dispatch *d)
{
    for (uint32_t i = 0; i < d->target_count && !d->stopping; i++) {
        if (d->targets[i].ops != NULL && d->targets[i].more) {
            load(d, &d->targets[i]);
        }
    }
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

static void on_connector_closed(void *arg)
{
    struct target *t = arg;

    t->connector = NULL;
    t->owner->open_connectors--;
    if (t->owner->open_connectors == 0) {
        close_handles(t->owner);
    }
}

static void close_connectors(struct tg_dispatch *d)
{
    d->closing = true;
    if (d->open_connectors == 0) {
        close_handles(d);
        return;
    }
    for (uint32_t i = 0; i < d->target_count; i++) {
        struct target *t = &d->targets[i];

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

    feed(d, &tick);
}

static void set_timer(struct tg_dispatch *d)
{
    int64_t wake = tg_engine_wake_ms(d->engine);
    int64_t delay = wake == INT64_MAX ? TIMER_MAX_MS : wake - now_ms();

    delay = delay < 0 ? 0 : delay > TIMER_MAX_MS ? TIMER_MAX_MS : delay;
    for (uint32_t i = 0; i < d->target_count; i++) {
        const struct target *t = &d->targets[i];

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
                                            .breaker = tg_dispatch_breaker_number(is.breaker)});
    }
}

/* Once a loop turn, before it may sleep: everything that gathered goes out in one batch. */
static void on_turn(uv_prepare_t *prepare)
{
    struct tg_dispatch *d = prepare->data;

    if (d->failed || d->closing) {
        return;
    }
    load_all(d);
    pump(d);
    tg_marks_flush(d->marks);
    publish(d);
    if (d->stopping && tg_engine_is_quiet(d->engine) && tg_marks_is_empty(d->marks)) {
        close_connectors(d);
        return;
    }
    set_timer(d);
}

/* ---- start ---- */

static int open_target(struct tg_dispatch *d, const struct tg_config_tenant *tenant,
                       const struct tg_config_destination *c, struct tg_error *err)
{
    struct target *t = &d->targets[c->index];

    t->config = c;
    t->tenant = tenant->id;
    t->owner = d;
    t->more = true;
    t->ops = tg_connector_find(c->connector);
    if (t->ops == NULL) {
        return tg_error_set(err, "destination %s: unknown connector %s; accepted: %s", c->id,
                            c->connector, tg_connector_names());
    }
    t->connector = t->ops->open(d->o.loop, c, on_result, t, err);
    if (t->connector == NULL) {
        t->ops = NULL;
        return -1;
    }
    d->open_connectors++;
    return 0;
}

static int open_targets(struct tg_dispatch *d, struct tg_error *err)
{
    const struct tg_config *config = d->o.config;

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
        const struct target *t = &d->targets[i];

        if (t->ops != NULL) {
            list[i] =
                (struct tg_engine_destination){.dedupe = t->ops->dedupe,
                                               .idempotency_ttl_ms = t->ops->idempotency_ttl_ms,
                                               .concurrency = t->config->concurrency,
                                               .rate = t->config->rate};
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
    struct tg_marks_options marks = {
        .journal = d->o.journal, .marked = on_marked, .fatal = on_marks_fatal, .arg = d};

    d->target_count = count_indexes(d->o.config);
    d->targets = calloc((size_t)d->target_count + 1, sizeof(*d->targets));
    d->skip = calloc(SKIP_MAX, sizeof(*d->skip));
    d->rows = tg_rows_new();
    d->marks = tg_marks_new(&marks);
    if (d->targets == NULL || d->skip == NULL || d->rows == NULL || d->marks == NULL) {
        return tg_error_set(err, "dispatch: no memory");
    }
    d->reader = tg_reader_open(d->o.config->journal.path, err);
    if (d->reader == NULL || open_targets(d, err) != 0 || make_engine(d, err) != 0) {
        return -1;
    }
    if (tg_metrics_destinations(d->target_count) != 0) {
        return tg_error_set(err, "dispatch: no memory");
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
    free(d->skip);
    free(d->targets);
    free(d);
}

struct tg_dispatch *tg_dispatch_start(const struct tg_dispatch_options *o, struct tg_error *err)
{
    struct tg_dispatch *d = calloc(1, sizeof(*d));

    if (d == NULL) {
        (void)tg_error_set(err, "dispatch: no memory");
        return NULL;
    }
    d->o = *o;
    if (start_parts(d, err) != 0) {
        /* The process ends on this; a connector that is open holds nothing in memory. */
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

/* ---- the face ---- */

void tg_dispatch_kick(struct tg_dispatch *d)
{
    d->skip_count = 0;
    for (uint32_t i = 0; i < d->target_count; i++) {
        d->targets[i].more = true;
    }
}

static bool is_unloaded(const struct tg_dispatch *d, int64_t posting, uint32_t destination)
{
    return destination < d->target_count && posting > d->targets[destination].after &&
           d->skip_count < SKIP_MAX;
}

bool tg_dispatch_may_cancel(struct tg_dispatch *d, int64_t posting, uint32_t destination)
{
    const struct tg_open_row *row = tg_rows_find(d->rows, posting);

    if (row == NULL) {
        return is_unloaded(d, posting, destination);
    }
    if (row->marks_out != 0 || row->out) {
        return false;
    }
    return row->state == TG_POSTING_RETRY ||
           (row->state == TG_POSTING_READY && row->first_sent_ms == 0);
}

bool tg_dispatch_cancel(struct tg_dispatch *d, int64_t posting, uint32_t destination)
{
    const struct tg_engine_event ev = {
        .kind = TG_EV_CANCEL, .id = posting, .destination = destination};

    if (tg_rows_find(d->rows, posting) != NULL) {
        feed(d, &ev);
        return tg_rows_find(d->rows, posting) == NULL;
    }
    if (!is_unloaded(d, posting, destination)) {
        return false;
    }
    d->skip[d->skip_count++] = posting;
    return true;
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
