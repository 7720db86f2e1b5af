/* What must hold: at every mark, at every send, and of every posting once all is quiet. */
#include <string.h>

#include "sim.h"

static struct sim_row *find(struct sim *s, int64_t id)
{
    for (size_t i = 0; i < s->row_count; i++) {
        if (s->rows[i].id == id) {
            return &s->rows[i];
        }
    }
    return NULL;
}

static bool is_edge(enum tg_posting_state from, enum tg_posting_state to)
{
    for (int e = 0; e < TG_PE_COUNT; e++) {
        enum tg_posting_state next;

        if (tg_posting_next(from, (enum tg_posting_event)e, &next) == 0 && next == to) {
            return true;
        }
    }
    return false;
}

bool sim_is_at_work(const struct sim *s, const struct sim_row *r)
{
    const struct tg_engine_destination *is = &s->places[r->place].truth;

    return is->dedupe == TG_DEDUPE_LOOKUP_ONLY && r->send_ms != 0 &&
           sim_wall_ms(s) < r->send_ms + is->max_execution_ms;
}

void sim_judge_mark(struct sim *s, const struct tg_action *a)
{
    const struct sim_row *r = find(s, a->id);

    if (r == NULL) {
        return;
    }
    if (a->from != r->told || !is_edge(a->from, a->state)) {
        sim_fault(s, "posting %lld: a mark %s -> %s, and it was told %s", (long long)a->id,
                  tg_posting_state_name(a->from), tg_posting_state_name(a->state),
                  tg_posting_state_name(r->told));
    }
    if ((a->state == TG_POSTING_EXCEPTION) != (a->exception != NULL)) {
        sim_fault(s, "posting %lld: an exception without a code, or a code without one",
                  (long long)a->id);
    }
    if (a->exception != NULL && strcmp(a->exception, "outcome_unknown") == 0) {
        sim_see(s, SIM_SEEN_UNKNOWN);
        if (s->docs[r->doc].absent_last && a->from == TG_POSTING_IN_DOUBT && sim_is_at_work(s, r)) {
            sim_fault(s, "posting %lld is given up as absent while a request may be at work",
                      (long long)r->id);
        }
        if (s->places[r->place].truth.dedupe == TG_DEDUPE_IDEMPOTENCY && r->first_sent_ms > 0 &&
            sim_wall_ms(s) - r->first_sent_ms >= s->places[r->place].truth.idempotency_ttl_ms) {
            sim_see(s, SIM_SEEN_TTL_PASSED);
        }
    } else if (a->exception != NULL && strcmp(a->exception, "attempts_used_up") == 0) {
        sim_see(s, SIM_SEEN_USED_UP);
    }
}

void sim_judge_cancel(struct sim *s, uint32_t row)
{
    const struct sim_row *r = &s->rows[row];

    if (!is_edge(r->told, TG_POSTING_CANCELLED) ||
        (r->told == TG_POSTING_READY && r->first_sent_ms != 0)) {
        sim_fault(s, "posting %lld is cancelled while %s", (long long)r->id,
                  tg_posting_state_name(r->told));
    }
}

/* What an account has asked for holds for whoever uses it, from the moment it was heard. */
static void judge_wait(struct sim *s, const struct sim_row *r, const char *what)
{
    const struct sim_place *a = sim_account(s, r->place);

    if (sim_wall_ms(s) < a->not_before_ms) {
        sim_fault(s, "destination %u hears a %s of posting %lld %lld ms before its Retry-After",
                  r->place, what, (long long)r->id, (long long)(a->not_before_ms - sim_wall_ms(s)));
    }
}

void sim_judge_lookup(struct sim *s, uint32_t row)
{
    judge_wait(s, &s->rows[row], "look-up");
}

void sim_judge_send(struct sim *s, uint32_t row, const struct tg_action *a)
{
    const struct sim_row *r = &s->rows[row];

    sim_trace(s, "row %u send", row);
    if (s->stopping) {
        sim_fault(s, "posting %lld is sent while stopping", (long long)r->id);
    }
    if (r->state != TG_POSTING_SENT || r->attempt != a->attempt) {
        sim_fault(s, "posting %lld is sent while the journal has %s, attempt %u", (long long)r->id,
                  tg_posting_state_name(r->state), r->attempt);
    }
    if (r->out) {
        sim_fault(s, "posting %lld is sent while a send of it is out", (long long)r->id);
    }
    if (r->send_marked_ms < r->not_before_ms) {
        sim_fault(s, "posting %lld comes %lld ms before its Retry-After", (long long)r->id,
                  (long long)(r->not_before_ms - r->send_marked_ms));
    }
    judge_wait(s, r, "send");
    sim_story_send(s, row);
    if (a->attempt > TG_RETRY_ATTEMPTS_MAX) {
        sim_fault(s, "posting %lld has attempt %u", (long long)r->id, a->attempt);
    }
}

void sim_judge_clock_back(struct sim *s, int64_t by_ms)
{
    bool open = false;

    for (size_t i = 0; i < s->row_count; i++) {
        struct sim_row *r = &s->rows[i];

        r->not_before_ms -= r->not_before_ms != 0 ? by_ms : 0;
        r->send_ms -= r->send_ms != 0 ? by_ms : 0;
        open = open || (r->held && (r->told == TG_POSTING_RETRY || r->told == TG_POSTING_IN_DOUBT));
    }
    for (size_t i = 0; i < s->place_count; i++) {
        struct sim_place *p = &s->places[i];

        p->not_before_ms -= p->not_before_ms != 0 ? by_ms : 0;
        p->durable_not_before_ms -= p->durable_not_before_ms != 0 ? by_ms : 0;
    }
    for (size_t i = 0; i < s->mark_count; i++) {
        s->marks[i].not_before_ms -= s->marks[i].not_before_ms != 0 ? by_ms : 0;
    }
    for (size_t i = 0; s->backup.taken && i < s->backup.row_count; i++) {
        s->backup.rows[i].not_before_ms -= s->backup.rows[i].not_before_ms != 0 ? by_ms : 0;
    }
    for (size_t i = 0; s->backup.taken && i < s->place_count; i++) {
        s->backup.waits[i].durable_not_before_ms -=
            s->backup.waits[i].durable_not_before_ms != 0 ? by_ms : 0;
    }
    if (open && s->alive && by_ms > 3600000) {
        sim_see(s, SIM_SEEN_JUMP_BACK_DAYS);
    }
}

static void judge_row(struct sim *s, const struct sim_row *r)
{
    const struct sim_doc *d = &s->docs[r->doc];
    const bool exception = r->state == TG_POSTING_EXCEPTION;
    /* after a restore another life may have sent what this one has not */
    const bool unknown = exception && (r->was_unknown || r->restored);
    const bool stands = r->state == TG_POSTING_POSTED || r->state == TG_POSTING_REVERSED;

    if (!tg_posting_is_final(r->state) && !exception) {
        sim_fault(s, "posting %lld is lost: %s at the end", (long long)r->id,
                  tg_posting_state_name(r->state));
    }
    if (d->effects > 1) {
        sim_fault(s, "posting %lld has %u effects", (long long)r->id, d->effects);
    }
    if (stands && d->effects != 1) {
        sim_fault(s, "posting %lld is called %s and is not in the book", (long long)r->id,
                  tg_posting_state_name(r->state));
    }
    if (!stands && !unknown && d->effects != 0) {
        sim_fault(s, "posting %lld is in the book and called %s %s", (long long)r->id,
                  tg_posting_state_name(r->state), exception ? r->exception : "");
    }
    if (s->calm_run && !d->poisoned && r->version == 0 && r->state != TG_POSTING_POSTED) {
        sim_fault(s, "posting %lld is %s though nothing went wrong", (long long)r->id,
                  tg_posting_state_name(r->state));
    }
}

/* A hold's time is the clock's, and one behind another in exception waits anew. */
static int64_t settle_max_ms(const struct sim *s)
{
    const int64_t holds_ms = SIM_VERSIONS_MAX * 2 * SIM_HOLD_MAX_MS + s->back_ms;

    return SIM_SETTLE_MAX_MS + (s->object_count > 0 ? holds_ms : 0);
}

void sim_judge_end(struct sim *s)
{
    struct tg_decimal owed[SIM_PLACES_MAX] = {{0}, {0}, {0}};

    for (size_t i = 0; i < s->row_count && !s->failed; i++) {
        const struct sim_row *r = &s->rows[i];
        struct tg_decimal *sum = &owed[r->place];

        judge_row(s, r);
        if ((r->state == TG_POSTING_POSTED || r->state == TG_POSTING_REVERSED ||
             (r->state == TG_POSTING_EXCEPTION && s->docs[r->doc].effects > 0)) &&
            tg_decimal_add(*sum, r->amount, sum) != 0) {
            sim_fault(s, "the sum overflows");
        }
    }
    for (size_t i = 0; i < s->doc_count && !s->failed; i++) {
        const struct sim_doc *d = &s->docs[i];

        if (d->effects > 0 && sim_story_may_be_unknown(s, d) &&
            tg_decimal_add(owed[d->place], d->amount, &owed[d->place]) != 0) {
            sim_fault(s, "the sum overflows");
        }
    }
    for (size_t i = 0; i < s->place_count && !s->failed; i++) {
        if (tg_decimal_cmp(owed[i], s->places[i].book) != 0) {
            sim_fault(s, "destination %zu: the book and the journal differ by %lld", i,
                      (long long)(s->places[i].book.micros - owed[i].micros));
        }
    }
    if (!s->failed && !s->calm_run && s->now_ms - s->calm_ms > settle_max_ms(s)) {
        sim_fault(s, "something waited: all is done only %lld ms after the last fault",
                  (long long)(s->now_ms - s->calm_ms));
    }
    if (!s->failed && (s->engine == NULL || !s->alive)) {
        sim_fault(s, "the process is not there at the end");
    }
    for (uint32_t i = 0; i < s->place_count && !s->failed; i++) {
        struct tg_engine_stats stats;

        tg_engine_destination_stats(s->engine, i, &stats);
        if (stats.open != 0) {
            sim_fault(s, "destination %u still holds %zu postings", i, stats.open);
        }
    }
    if (!s->failed) {
        sim_story_end(s);
    }
}
