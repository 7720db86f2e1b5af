#include "intake/write.h"

#include <string.h>

#include "core/metrics.h"

static int no_memory(struct tg_error *err)
{
    return tg_error_set(err, "intake: no memory for a batch, or it is too long");
}

static int write_event(const struct tg_write *w, struct tg_reading *r, const struct tg_plan *p,
                       struct tg_error *err)
{
    if (w->event != 0) {
        r->event.id = w->event;
        return !w->event_accepted || tg_batch_event_accepted(w->batch, w->event) == 0
                   ? 0
                   : no_memory(err);
    }
    r->event.id = tg_journal_next_id(w->journal, TG_TABLE_EVENTS);
    r->event.state = p->event_state;
    r->event.duplicate_of = p->duplicate_of;
    if (tg_batch_event(w->batch, &r->event) != 0) {
        return no_memory(err);
    }
    switch (p->event_state) {
    case TG_EVENT_ACCEPTED:
        tg_metric_add(TG_METRIC_EVENTS_ACCEPTED, 1);
        break;
    case TG_EVENT_DUPLICATE:
        tg_metric_add(TG_METRIC_EVENTS_DUPLICATE, 1);
        break;
    default:
        tg_metric_add(TG_METRIC_EVENTS_EXCEPTION, 1);
        break;
    }
    return 0;
}

static int write_object(const struct tg_write *w, const struct tg_reading *r,
                        const struct tg_plan *p, int64_t *id, struct tg_error *err)
{
    struct tg_row_object row = {.event = r->event.id,
                                .tenant = r->event.tenant,
                                .kind = p->kind,
                                .source = r->source->name,
                                .object_id = p->object_id,
                                .version = p->version,
                                .state = p->object_state,
                                .json = p->json,
                                .rules_sha256 = w->rules_sha256,
                                .master_version = w->master_version,
                                .waits_for = p->waits_for};

    if (p->object_state == TG_VERSION_HELD) {
        row.due_ms = w->now_ms + w->hold_timeout_ms;
    }
    row.id = tg_journal_next_id(w->journal, TG_TABLE_OBJECTS);
    memcpy(row.key, p->object_key, sizeof(row.key));
    *id = row.id;
    return tg_batch_object(w->batch, &row) == 0 ? 0 : no_memory(err);
}

/* When it may first have been sent, by another life of this journal; 0: it was not. */
static int64_t sent_before_ms(const struct tg_write *w, const struct tg_plan_posting *from)
{
    if (w->sent_ms == 0 && from->reverses != NULL && from->reverses->id <= w->restored_postings) {
        return w->restored_ms;
    }
    return w->sent_ms;
}

/* ids: given to the plan's postings so far, in its order. */
static int write_posting(const struct tg_write *w, const struct tg_plan_posting *from,
                         int64_t object, const int64_t *ids, int64_t *id, struct tg_error *err)
{
    struct tg_row_posting row = {.object = object,
                                 .destination = from->destination,
                                 .kind = from->kind,
                                 .leg = from->leg,
                                 .generation = 1,
                                 .payload = from->payload,
                                 .period = from->period,
                                 .quantity_micros = from->quantity_micros};

    if (from->reverses != NULL) { /* it belongs to the version it takes back */
        row.object = from->reverses->object;
        row.reverses = from->reverses->id;
    }
    if (from->hold != NULL) {
        row.hold = from->hold;
        row.hold_on = from->hold_on != 0 ? from->hold_on : ids[from->hold_on_planned];
        row.due_ms = w->now_ms + (w->hold_timeout_ms > 0 ? w->hold_timeout_ms : TG_HOLD_TIMEOUT_MS);
    }
    row.first_sent_ms = sent_before_ms(w, from);
    row.state = tg_posting_begins(from->hold != NULL, row.first_sent_ms);
    row.due_ms = row.state == TG_POSTING_IN_DOUBT ? w->now_ms : row.due_ms;
    row.id = tg_journal_next_id(w->journal, TG_TABLE_POSTINGS);
    *id = row.id;
    memcpy(row.key, from->key, sizeof(row.key));
    return tg_batch_posting(w->batch, &row) == 0 ? 0 : no_memory(err);
}

static int write_postings(const struct tg_write *w, const struct tg_plan *p, int64_t object,
                          struct tg_error *err)
{
    int64_t ids[TG_EFFECTS_MAX + TG_POSTINGS_PER_OBJECT_MAX] = {0};

    for (size_t i = 0; i < p->posting_count; i++) {
        if (write_posting(w, &p->postings[i], object, ids, &ids[i], err) != 0) {
            return -1;
        }
    }
    return 0;
}

static int write_exception(const struct tg_write *w, const struct tg_reading *r,
                           const struct tg_plan *p, int64_t object, struct tg_error *err)
{
    struct tg_row_exception row = {.event = r->event.id,
                                   .object = object,
                                   .tenant = r->event.tenant,
                                   .code = p->code,
                                   .owner = p->owner,
                                   .detail = p->detail,
                                   .state = TG_EXCEPTION_OPEN,
                                   .opened_ms = w->now_ms};

    row.id = tg_journal_next_id(w->journal, TG_TABLE_EXCEPTIONS);
    tg_metric_add(TG_METRIC_EXCEPTIONS_OPENED, 1);
    return tg_batch_exception(w->batch, &row) == 0 ? 0 : no_memory(err);
}

/* The row of master data; from here on this process judges by it. */
static int write_change(const struct tg_write *w, const struct tg_reading *r,
                        const struct tg_plan *p, int64_t object, struct tg_error *err)
{
    const struct tg_row_master row = {.id = tg_journal_next_id(w->journal, TG_TABLE_MASTER),
                                      .object = object,
                                      .tenant = r->event.tenant,
                                      .kind = p->kind,
                                      .name = p->change.name,
                                      .source = r->source->name,
                                      .version = p->version,
                                      .from_day = p->change.from,
                                      .attributes = p->change.attributes_text,
                                      .refused = p->change.refused_text};
    const struct tg_master_change change = {.id = row.id,
                                            .kind = row.kind,
                                            .name = row.name,
                                            .source = row.source,
                                            .version = row.version,
                                            .from = row.from_day,
                                            .attributes = p->change.attributes};

    tg_metric_add(TG_METRIC_MASTER_CHANGES, 1);
    tg_metric_add(TG_METRIC_MASTER_REFUSED, p->change.refused);
    if (tg_batch_master(w->batch, &row) != 0) {
        return no_memory(err);
    }
    return tg_live_apply(w->live, &change, err);
}

/* ---- what ends ---- */

static int cancel_posting(const struct tg_write *w, const struct tg_known_posting *from,
                          struct tg_error *err)
{
    struct tg_row_mark mark = {
        .posting = from->id, .from = from->state, .attempt = from->attempt, .at_ms = w->now_ms};

    if (tg_posting_next(from->state, TG_PE_SUPERSEDED, &mark.to) != 0 ||
        !tg_dispatch_cancel(w->dispatch, from->id)) {
        return tg_error_set(err, "intake: posting %lld cannot be cancelled any more",
                            (long long)from->id);
    }
    return tg_batch_mark(w->batch, &mark) == 0 ? 0 : no_memory(err);
}

static int correct(const struct tg_write *w, const struct tg_known *k, struct tg_error *err)
{
    for (size_t i = 0; i < k->posting_count; i++) {
        const struct tg_known_posting *e = &k->postings[i];

        switch (tg_known_correction(e)) {
        case TG_CORRECT_CANCEL:
            if (cancel_posting(w, e, err) != 0) {
                return -1;
            }
            break;
        case TG_CORRECT_REVERSE_WHEN_POSTED:
            tg_dispatch_supersede(w->dispatch, e->id);
            break;
        case TG_CORRECT_NOTHING:
        case TG_CORRECT_REVERSE:
            tg_dispatch_leave(w->dispatch, e->id);
            break;
        }
    }
    return 0;
}

/* Is the posting an exception is about cancelled by this plan? */
static bool is_cancelled(const struct tg_plan *p, const struct tg_known *k, int64_t posting)
{
    for (size_t i = 0; p->correct && i < k->posting_count; i++) {
        if (k->postings[i].id == posting) {
            return tg_known_correction(&k->postings[i]) == TG_CORRECT_CANCEL;
        }
    }
    return false;
}

static bool ends(const struct tg_plan *p, int64_t object)
{
    for (size_t i = 0; i < p->supersede_count; i++) {
        if (p->supersede[i] == object) {
            return true;
        }
    }
    return false;
}

/* A person ended it. */
static int close_by_person(const struct tg_write *w, const struct tg_known_exception *x,
                           enum tg_exception_state state, struct tg_error *err)
{
    const struct tg_row_act act = {.exception = x->id,
                                   .state = state,
                                   .actor = w->actor,
                                   .reason = w->reason,
                                   .outcome = w->outcome};

    return tg_batch_act(w->batch, &act) == 0 ? 0 : no_memory(err);
}

int tg_write_close(const struct tg_write *w, const struct tg_known_exception *x,
                   enum tg_exception_state state, struct tg_error *err)
{
    const struct tg_row_exception row = {.id = x->id,
                                         .event = x->event,
                                         .object = x->object,
                                         .posting = x->posting,
                                         .tenant = x->tenant,
                                         .code = x->code,
                                         .owner = x->owner,
                                         .state = state,
                                         .opened_ms = x->opened_ms,
                                         .closed_ms = w->now_ms};

    if (state == TG_EXCEPTION_REPLAYED || state == TG_EXCEPTION_EDITED) {
        return close_by_person(w, x, state, err);
    }
    return tg_batch_exception(w->batch, &row) == 0 ? 0 : no_memory(err);
}

static int write_ends(const struct tg_write *w, const struct tg_plan *p, const struct tg_known *k,
                      struct tg_error *err)
{
    if (p->correct && correct(w, k, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < p->supersede_count; i++) {
        if (tg_batch_object_state(w->batch, p->supersede[i], TG_VERSION_SUPERSEDED) != 0) {
            return no_memory(err);
        }
    }
    for (size_t i = 0; i < k->exception_count; i++) {
        const struct tg_known_exception *x = &k->exceptions[i];
        bool over = x->posting != 0 ? is_cancelled(p, k, x->posting) : ends(p, x->object);
        bool judged = w->judged_object != 0 && x->object == w->judged_object && x->posting == 0;

        if (over &&
            tg_write_close(w, x, judged ? w->close_as : TG_EXCEPTION_AUTO_CLOSED, err) != 0) {
            return -1;
        }
    }
    return 0;
}

int tg_write_plan(const struct tg_write *w, struct tg_reading *r, const struct tg_plan *p,
                  const struct tg_known *k, struct tg_error *err)
{
    int64_t object = 0;

    if (write_event(w, r, p, err) != 0 || write_ends(w, p, k, err) != 0 ||
        (p->has_object && write_object(w, r, p, &object, err) != 0) ||
        write_postings(w, p, object, err) != 0 ||
        (p->change.attributes_text != NULL && write_change(w, r, p, object, err) != 0) ||
        (p->code != NULL && write_exception(w, r, p, object, err) != 0)) {
        return -1;
    }
    if (w->object_out != NULL) {
        *w->object_out = object;
    }
    if (p->conflict && tg_batch_audit(w->batch, "orchestrator", "event.conflict", r->event.event_id,
                                      p->detail) != 0) {
        return no_memory(err);
    }
    return 0;
}

int tg_write_lost(const struct tg_write *w, const char *event_id, struct tg_error *err)
{
    tg_metric_add(TG_METRIC_INTAKE_DATA_LOSS, 1);
    return tg_batch_audit(w->batch, "orchestrator", "stream.entry_lost", event_id, NULL) == 0
               ? 0
               : no_memory(err);
}
