/* Postings that wait for another one: what orchestrator/dispatch/holds.c does; the decision is the
 * product's (core/correct.h). */
#include <string.h>

#include "sim.h"

int64_t sim_before(struct sim *s, uint32_t row)
{
    const struct sim_row *r = &s->rows[row];
    const struct sim_version *mine = r->version != 0 ? sim_version_of(s, r->version) : NULL;
    int64_t before = 0;

    for (size_t i = 0; mine != NULL && i < s->row_count; i++) {
        const struct sim_row *q = &s->rows[i];
        const struct sim_version *v;

        if (!q->planned || q->version == 0 || q->place != r->place || q->id == r->id ||
            tg_posting_is_final(q->state)) {
            continue;
        }
        v = sim_version_of(s, q->version);
        if (v->object == mine->object &&
            (v->version < mine->version || (v->version == mine->version && v->id < mine->id))) {
            before = q->id;
        }
    }
    return before;
}

static bool is_due(const struct sim *s, const struct sim_row *r)
{
    return r->state == TG_POSTING_HELD && r->due_ms > 0 && r->due_ms <= sim_wall_ms(s) &&
           s->mutation != SIM_MUTATION_NO_TIME_OUT;
}

int64_t sim_holds_wake_ms(const struct sim *s)
{
    int64_t wake_ms = INT64_MAX;

    for (size_t i = 0; i < s->row_count; i++) {
        const struct sim_row *r = &s->rows[i];

        if (r->planned && r->state == TG_POSTING_HELD && !r->hold_marking && !r->cancelling &&
            !r->person_marking && r->due_ms > 0 && r->due_ms < wake_ms) {
            wake_ms = r->due_ms;
        }
    }
    return s->mutation == SIM_MUTATION_NO_TIME_OUT || s->stopping || s->holds_busy ? INT64_MAX
                                                                                   : wake_ms;
}

static enum tg_posting_state state_of_wait(struct sim *s, const struct sim_row *r)
{
    enum tg_posting_state state = s->rows[sim_row_of(s, r->hold_on)].state;

    if (s->mutation == SIM_MUTATION_RELEASED_UNKNOWN && state == TG_POSTING_EXCEPTION) {
        return TG_POSTING_POSTED;
    }
    return state;
}

static void see_step(struct sim *s, enum tg_hold_step step)
{
    switch (step) {
    case TG_HOLD_STEP_RELEASE:
        sim_see(s, SIM_SEEN_RELEASED);
        break;
    case TG_HOLD_STEP_CANCEL:
        sim_see(s, SIM_SEEN_NEVER_WAS);
        break;
    case TG_HOLD_STEP_EXPIRE:
        sim_see(s, SIM_SEEN_HOLD_EXPIRED);
        break;
    case TG_HOLD_STEP_NEXT:
        sim_see(s, SIM_SEEN_NEXT_IN_ORDER);
        break;
    case TG_HOLD_STEP_NONE:
    case TG_HOLD_STEP_WAIT:
        break;
    }
}

static enum tg_hold_step step_of(struct sim *s, uint32_t row, int64_t *before)
{
    const struct sim_row *r = &s->rows[row];
    struct tg_hold_case c = {.waits_for = state_of_wait(s, r),
                             .is_reversal = strcmp(r->hold, TG_HOLD_REVERSAL) == 0,
                             .is_due = is_due(s, r)};
    const struct sim_row *w = &s->rows[sim_row_of(s, r->hold_on)];
    enum tg_hold_step step;

    *before = tg_hold_asks(&c) ? sim_before(s, row) : 0;
    c.is_behind = *before != 0;
    step = tg_hold_decide(&c);
    if (c.is_due && !s->holds_walk && tg_posting_is_final(c.waits_for) && !w->ended &&
        w->marks_out == 0) {
        sim_fault(s, "posting %lld waited for one that is over until its time was up",
                  (long long)r->id);
    }
    return step;
}

/* False: nothing is written about it. */
static bool examine(struct sim *s, uint32_t row, struct sim_mark *m)
{
    struct sim_row *r = &s->rows[row];
    const bool doubt = r->first_sent_ms > 0 && s->mutation != SIM_MUTATION_RELEASED_BLINDLY;
    int64_t before;
    const enum tg_hold_step step = step_of(s, row, &before);

    *m = (struct sim_mark){.kind = SIM_MARK_SILENT,
                           .by = SIM_BY_HOLDS,
                           .row = row,
                           .step = step,
                           .from = r->state,
                           .attempt = r->attempt,
                           .at_ms = sim_wall_ms(s)};
    see_step(s, step);
    if (s->holds_walk && step != TG_HOLD_STEP_NONE && step != TG_HOLD_STEP_WAIT) {
        sim_see(s, SIM_SEEN_FOUND_AT_START);
    }
    if (step == TG_HOLD_STEP_NONE) {
        return false;
    }
    if (step == TG_HOLD_STEP_WAIT || step == TG_HOLD_STEP_NEXT) {
        m->kind = SIM_MARK_HOLD;
        m->hold_on = step == TG_HOLD_STEP_NEXT ? before : r->hold_on;
        m->due_ms = sim_wall_ms(s) + s->hold_timeout_ms;
        return true;
    }
    if (tg_posting_next(r->state, tg_hold_event(step, doubt), &m->to) != 0) {
        sim_fault(s, "posting %lld has no way on from %s", (long long)r->id,
                  tg_posting_state_name(r->state));
        return false;
    }
    if (step == TG_HOLD_STEP_RELEASE && doubt) {
        sim_see(s, SIM_SEEN_RELEASED_DOUBT);
    }
    m->due_ms = m->to == TG_POSTING_IN_DOUBT ? m->at_ms : 0;
    m->exception = step == TG_HOLD_STEP_EXPIRE ? "hold_expired" : NULL;
    return true;
}

static bool is_candidate(struct sim *s, const struct sim_row *r)
{
    if (!r->planned || r->hold_on == 0 || r->hold_marking || r->cancelling || r->person_marking ||
        (r->state != TG_POSTING_HELD && r->state != TG_POSTING_EXCEPTION)) {
        return false;
    }
    return s->holds_walk || is_due(s, r) || s->rows[sim_row_of(s, r->hold_on)].ended;
}

void sim_holds_turn(struct sim *s)
{
    struct sim_mark marks[SIM_ROWS_MAX];
    size_t n = 0;

    if (!s->alive || s->stopping || s->holds_busy || s->failed) {
        return;
    }
    for (uint32_t i = 0; i < s->row_count && !s->failed; i++) {
        if (is_candidate(s, &s->rows[i]) && examine(s, i, &marks[n])) {
            s->rows[i].hold_marking = true;
            n++;
        }
    }
    for (size_t i = 0; i < s->row_count; i++) {
        s->rows[i].ended = false;
    }
    s->holds_walk = false;
    if (n > 0) {
        s->holds_busy = true;
        sim_shell_submit(s, marks, n);
    }
}

void sim_holds_done(struct sim *s, const struct sim_mark *m)
{
    struct sim_row *r = &s->rows[m->row];

    r->hold_marking = false;
    s->holds_busy = false;
    switch (m->step) {
    case TG_HOLD_STEP_RELEASE:
        r->behind = s->mutation != SIM_MUTATION_RELEASE_UNTOLD;
        sim_shell_load(s);
        break;
    case TG_HOLD_STEP_CANCEL:
        r->ended = true;
        break;
    case TG_HOLD_STEP_WAIT:
    case TG_HOLD_STEP_NEXT:
        s->rows[sim_row_of(s, m->hold_on)].ended = true; /* it may have ended meanwhile */
        break;
    case TG_HOLD_STEP_EXPIRE:
    case TG_HOLD_STEP_NONE:
        break;
    }
}
