/* The engine's actions carried out; what comes back of the journal and the connectors. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "core/metrics.h"
#include "dispatch/inner.h"
#include "dispatch/words.h"

#define PUMP_MAX 64 /* rounds of one destination's left-over actions in one go */

/* ---- actions ---- */

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

/* A reversal is posted: in the same commit its original is reversed. It was posted before: the
 * reversal was held until then. */
static void do_reverse(struct tg_dispatch *d, const struct tg_open_row *row)
{
    const struct tg_row_mark mark = {.posting = row->reverses,
                                     .from = TG_POSTING_POSTED,
                                     .to = TG_POSTING_REVERSED,
                                     .at_ms = tg_dispatch_now_ms()};

    if (tg_marks_add_silent(d->marks, &mark) != 0) {
        tg_dispatch_fail_text(d, "dispatch: no memory to record a reversal");
    }
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
                               .at_ms = tg_dispatch_now_ms()};
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
            .tenant = d->targets[row->destination].tenant->id,
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
        tg_dispatch_fail_text(d, "dispatch: no memory to record a posting's state");
    }
    free(detail);
    if (a->state == TG_POSTING_POSTED && row->reverses != 0) {
        do_reverse(d, row);
    }
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
    if (row->reverses != 0) {
        job->reverses_key = row->reverses_hex;
        job->reverses_ref = row->reverses_ref[0] != '\0' ? row->reverses_ref : NULL;
    }
    memcpy(job->key, row->key_hex, sizeof(job->key));
}

static void do_send(struct tg_dispatch *d, struct tg_open_row *row, bool is_lookup)
{
    struct tg_target *t = &d->targets[row->destination];
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
        tg_dispatch_feed(d, &ev);
    }
}

static void do_block(struct tg_dispatch *d, const struct tg_action *a)
{
    if (tg_marks_throttle(d->marks, a->destination, a->due_ms, tg_dispatch_now_ms()) != 0) {
        tg_dispatch_fail_text(d, "dispatch: no memory to record what a destination asked for");
    }
}

static void carry_out(struct tg_dispatch *d, const struct tg_action *a)
{
    struct tg_open_row *row;

    if (a->kind == TG_ACT_BLOCK) {
        do_block(d, a);
        return;
    }
    row = tg_rows_find(d->rows, a->id);
    if (row == NULL) {
        tg_dispatch_fail_text(d, "dispatch: the engine speaks of a posting that is not held");
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
        if (row->state == TG_POSTING_RETRY || row->state == TG_POSTING_IN_DOUBT) {
            d->targets[row->destination].parked = true;
        }
        tg_rows_remove(d->rows, a->id);
        break;
    case TG_ACT_BLOCK:
        break;
    }
}

void tg_dispatch_feed(struct tg_dispatch *d, const struct tg_engine_event *ev)
{
    if (d->failed) {
        return;
    }
    d->fed_ms = tg_dispatch_now_ms();
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

void tg_dispatch_pump(struct tg_dispatch *d)
{
    const struct tg_engine_event tick = {.kind = TG_EV_TICK};

    if (tg_dispatch_now_ms() < d->fed_ms) {
        tg_dispatch_feed(d, &tick);
    }
    for (int i = 0; i < PUMP_MAX && tg_engine_wake_ms(d->engine) <= tg_dispatch_now_ms(); i++) {
        tg_dispatch_feed(d, &tick);
    }
}

/* ---- what comes back ---- */

void tg_dispatch_on_marked(void *arg, int64_t posting)
{
    struct tg_dispatch *d = arg;
    struct tg_open_row *row = tg_rows_find(d->rows, posting);
    const struct tg_engine_event ev = {.kind = TG_EV_MARKED, .id = posting};

    if (row != NULL) {
        row->marks_out--;
        if (row->marks_out == 0 && tg_posting_is_final(row->state)) {
            tg_holds_ended(d->holds, posting);
        }
    }
    tg_dispatch_feed(d, &ev);
}

void tg_dispatch_on_settled(void *arg)
{
    struct tg_dispatch *d = arg;

    if (d->listener != NULL) {
        d->listener(d->listener_arg);
    }
}

void tg_dispatch_on_marks_fatal(void *arg, const struct tg_error *err)
{
    tg_dispatch_fail(arg, err);
}

static void keep_text(char *out, size_t size, const char *text)
{
    (void)snprintf(out, size, "%s", text != NULL ? text : "");
}

/* What is said again and again until a file is mended is recorded once, not as an attempt each. */
static void note_stuck(struct tg_open_row *row, const struct tg_connect_result *result)
{
    const bool stuck =
        result->is_lookup ? result->lookup == TG_LOOKUP_STUCK : result->outcome == TG_OUTCOME_STUCK;

    if (stuck && row->stuck) {
        row->outcome = NULL;
    }
    row->stuck = stuck;
}

void tg_dispatch_on_result(void *arg, const struct tg_connect_result *result)
{
    struct tg_target *t = arg;
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
    note_stuck(row, result);
    tg_dispatch_feed(d, &ev);
}

void tg_dispatch_on_usable(void *arg)
{
    struct tg_target *t = arg;
    const struct tg_engine_event ev = {.kind = TG_EV_MENDED, .destination = t->config->index};

    tg_dispatch_feed(t->owner, &ev);
    if (t->parked) { /* from the first one on; those in memory are passed over */
        t->parked = false;
        t->after = 0;
        t->more = true;
    }
}
