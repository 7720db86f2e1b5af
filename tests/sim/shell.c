/* What orchestrator/dispatch does, over a journal that is slow and a process that dies. */
#include <string.h>

#include "sim.h"

uint32_t sim_row_of(struct sim *s, int64_t id)
{
    for (uint32_t i = 0; i < s->row_count; i++) {
        if (s->rows[i].id == id) {
            return i;
        }
    }
    sim_fault(s, "posting %lld does not exist and is spoken of", (long long)id);
    return 0;
}

struct sim_version *sim_version_of(struct sim *s, int64_t id)
{
    for (size_t i = 0; i < s->version_count; i++) {
        if (s->versions[i].id == id) {
            return &s->versions[i];
        }
    }
    sim_fault(s, "version row %lld does not exist and is spoken of", (long long)id);
    return &s->versions[0];
}

/* What the journal's reader says of it. */
bool sim_row_superseded(struct sim *s, const struct sim_row *r)
{
    const struct sim_version *v;

    if (r->version == 0 || r->reverses != 0) {
        return false;
    }
    v = sim_version_of(s, r->version);
    return v->state == TG_VERSION_SUPERSEDED || v->state == TG_VERSION_WITHDRAWN;
}

/* ---- journal: one group commits at a time ---- */

static void journal_begin(struct sim *s)
{
    int64_t took_ms = sim_between(s, 1, 20);
    bool any = false;

    if (s->journal_busy) {
        return;
    }
    for (size_t i = 0; i < s->mark_count; i++) {
        if (s->marks[i].group == 0) {
            s->marks[i].group = s->group_last + 1;
            any = true;
            if (s->mutation == SIM_MUTATION_SPLIT_COMMIT) {
                break;
            }
        }
    }
    if (!any) {
        return;
    }
    if (sim_chance(s, 3)) { /* a disk that is full, and then is not */
        took_ms = sim_between(s, 1000, 600000);
    }
    s->group_last++;
    s->journal_busy = true;
    sim_at(s, s->now_ms + took_ms, SIM_EV_DURABLE, s->group_last, 0, 0);
}

static void write_wait(struct sim *s, const struct sim_mark *m)
{
    struct sim_place *p = &s->places[m->place];
    struct sim_place *a = sim_account(s, m->place);

    if (a->durable_not_before_ms < m->not_before_ms) {
        a->durable_not_before_ms = m->not_before_ms;
    }
    if (s->mutation != SIM_MUTATION_UNWRITTEN_WAIT) {
        p->wait_until_ms = m->due_ms;
        p->wait_said_ms = m->at_ms;
    }
}

static void write_row(struct sim *s, const struct sim_mark *m)
{
    struct sim_row *r = &s->rows[m->row];

    /* A shell that loads a wrong state is to be caught by what it does, not by this check. */
    const bool lies =
        s->mutation == SIM_MUTATION_SENT_AS_READY || s->mutation == SIM_MUTATION_DOUBT_AS_READY;

    if (r->state != m->from && !lies) {
        sim_fault(s, "posting %lld: a mark goes from %s, the journal has %s", (long long)r->id,
                  tg_posting_state_name(m->from), tg_posting_state_name(r->state));
    }
    r->state = m->to;
    r->exception = m->exception;
    r->exception_restored = false;
    r->was_unknown =
        r->was_unknown || (m->exception != NULL && strcmp(m->exception, "outcome_unknown") == 0);
    if (m->from == TG_POSTING_HELD || m->from == TG_POSTING_EXCEPTION) {
        r->hold = m->to == TG_POSTING_EXCEPTION ? r->hold : NULL;
        r->hold_on = m->to == TG_POSTING_EXCEPTION ? r->hold_on : 0;
    }
    if (!r->held) {
        r->told = m->to;
    }
    if (m->kind == SIM_MARK_SILENT) {
        r->due_ms = m->due_ms;
        r->attempt = m->by == SIM_BY_PEOPLE ? 0 : r->attempt;
        return;
    }
    r->attempt = m->attempt;
    r->due_ms = m->due_ms;
    if (m->to == TG_POSTING_SENT && r->first_sent_ms == 0) {
        r->first_sent_ms = m->at_ms;
    }
}

static void write_mark(struct sim *s, const struct sim_mark *m)
{
    switch (m->kind) {
    case SIM_MARK_WAIT:
        write_wait(s, m);
        return;
    case SIM_MARK_ROW:
        s->rows[m->row].planned = true;
        return;
    case SIM_MARK_HOLD:
        s->rows[m->row].hold = m->hold != NULL ? m->hold : s->rows[m->row].hold;
        s->rows[m->row].hold_on = m->hold_on;
        s->rows[m->row].due_ms = m->due_ms;
        return;
    case SIM_MARK_VERSION:
        s->versions[m->row].written = true;
        return;
    case SIM_MARK_ENDED:
        s->versions[m->row].state = TG_VERSION_SUPERSEDED;
        s->versions[m->row].exception = NULL;
        return;
    case SIM_MARK_ENTRY:
        s->entries[m->row].done = true;
        return;
    case SIM_MARK_TOLD:
    case SIM_MARK_SILENT:
        break;
    }
    if (!m->lost) {
        write_row(s, m);
        sim_trace(s, "row %u durable %s", m->row, tg_posting_state_name(m->to));
    }
}

void sim_shell_durable(struct sim *s, uint32_t group)
{
    for (size_t i = 0; i < s->mark_count; i++) {
        if (s->marks[i].group == group) {
            write_mark(s, &s->marks[i]);
        }
    }
    s->journal_busy = false;
    sim_at(s, s->now_ms + sim_between(s, 0, 5), SIM_EV_NOTICE, group, 0, 0);
    journal_begin(s);
}

/* A clean stop ends when nothing is out and the journal has written everything. */
static void finish_stop(struct sim *s)
{
    if (!s->stopping || !s->alive || !tg_engine_is_quiet(s->engine) || s->mark_count > 0) {
        return;
    }
    sim_see(s, SIM_SEEN_DRAINED);
    for (uint32_t i = 0; i < s->row_count; i++) {
        if (s->rows[i].state == TG_POSTING_SENT) {
            sim_fault(s, "posting %lld is left sent by a clean stop", (long long)s->rows[i].id);
        }
    }
    sim_trace(s, "stopped");
    s->alive = false;
    s->epoch++;
    sim_at(s, s->now_ms + sim_between(s, 1, 60000), SIM_EV_START, 0, 0, 0);
}

static void feed_marked(struct sim *s, uint32_t row)
{
    struct sim_row *r = &s->rows[row];
    const struct tg_engine_event ev = {.kind = TG_EV_MARKED, .id = r->id};

    r->marks_out--;
    if (r->marks_out == 0 && tg_posting_is_final(r->told)) {
        r->ended = true;
    }
    sim_shell_feed(s, &ev);
    if (s->mutation == SIM_MUTATION_MARKED_TWICE && sim_below(s, 20) == 0) {
        sim_shell_feed(s, &ev);
    }
}

/* A batch of intake's is in the journal, cancels included. */
static void intake_committed(struct sim *s)
{
    for (size_t i = 0; i < s->row_count; i++) {
        s->rows[i].cancelling = s->rows[i].judged = false;
    }
    s->intake_busy = false;
    sim_shell_load(s);
}

void sim_shell_notice(struct sim *s, uint32_t group)
{
    struct sim_mark done[SIM_MARKS_MAX];
    size_t done_count = 0;
    size_t kept = 0;
    bool intake = false;
    bool people = false;

    for (size_t i = 0; i < s->mark_count; i++) {
        if (s->marks[i].group == group) {
            done[done_count++] = s->marks[i];
        } else {
            s->marks[kept++] = s->marks[i];
        }
    }
    s->mark_count = kept;
    for (size_t i = 0; i < done_count && !s->failed && s->alive; i++) {
        if (done[i].kind == SIM_MARK_TOLD && s->mutation != SIM_MUTATION_SEND_EARLY) {
            feed_marked(s, done[i].row);
        } else if (done[i].by == SIM_BY_HOLDS) {
            sim_holds_done(s, &done[i]);
        } else if (done[i].by == SIM_BY_PEOPLE) {
            sim_person_done(s, &done[i]);
            people = true;
        }
        intake = intake || done[i].by == SIM_BY_INTAKE;
    }
    if (s->failed || !s->alive) {
        return;
    }
    if (intake) {
        intake_committed(s);
    }
    if (people && s->mutation != SIM_MUTATION_ACT_UNTOLD) {
        sim_shell_load(s);
    }
    sim_holds_turn(s);
    sim_intake_turn(s);
    finish_stop(s);
}

static void add_mark(struct sim *s, const struct sim_mark *m)
{
    if (s->mark_count == SIM_MARKS_MAX) {
        sim_fault(s, "the journal has more than %d marks to write", SIM_MARKS_MAX);
        return;
    }
    s->marks[s->mark_count++] = *m;
    sim_story_mark(s, m);
}

void sim_shell_submit(struct sim *s, const struct sim_mark *marks, size_t n)
{
    for (size_t i = 0; i < n && !s->failed; i++) {
        add_mark(s, &marks[i]);
    }
    journal_begin(s);
}

/* In the commit that says a reversal is posted, its original is reversed. */
static void do_reverse(struct sim *s, const struct sim_row *r)
{
    const struct sim_mark m = {.kind = SIM_MARK_SILENT,
                               .row = sim_row_of(s, r->reverses),
                               .lost = s->mutation == SIM_MUTATION_REVERSED_APART &&
                                       sim_below(s, 10) == 0,
                               .from = TG_POSTING_POSTED,
                               .to = TG_POSTING_REVERSED,
                               .at_ms = sim_wall_ms(s)};

    sim_see(s, SIM_SEEN_REVERSED);
    add_mark(s, &m);
}

/* ---- actions ---- */

static void do_mark(struct sim *s, const struct tg_action *a)
{
    const uint32_t row = sim_row_of(s, a->id);
    struct sim_row *r = &s->rows[row];
    const struct sim_mark m = {.row = row,
                               .lost =
                                   s->mutation == SIM_MUTATION_LOST_MARK && sim_below(s, 50) == 0,
                               .from = a->from,
                               .to = a->state,
                               .attempt = a->attempt,
                               .due_ms = a->due_ms,
                               .at_ms = sim_wall_ms(s),
                               .exception = a->exception};

    sim_trace(s, "row %u mark %s attempt %u due %lld", row, tg_posting_state_name(a->state),
              a->attempt, (long long)a->due_ms);
    sim_judge_mark(s, a);
    if (a->state == TG_POSTING_SENT) {
        r->went = false;
        r->send_marked_ms = sim_wall_ms(s);
        if (a->from == TG_POSTING_READY && r->told == TG_POSTING_READY &&
            s->docs[r->doc].absent_said) {
            sim_see(s, SIM_SEEN_RESENT);
        }
    }
    if (a->from == TG_POSTING_SENT && a->state != TG_POSTING_POSTED && !r->out &&
        r->told == TG_POSTING_SENT && s->stopping) {
        sim_see(s, SIM_SEEN_TAKEN_BACK);
    }
    if (a->from == TG_POSTING_SENT && !r->went &&
        sim_wall_ms(s) < sim_account(s, r->place)->not_before_ms) {
        sim_see(s, SIM_SEEN_HELD_BACK);
    }
    r->told = a->state;
    r->marks_out++;
    add_mark(s, &m);
    if (a->state == TG_POSTING_POSTED && r->reverses != 0) {
        do_reverse(s, r);
    }
}

static void do_forget(struct sim *s, const struct tg_action *a)
{
    struct sim_row *r = &s->rows[sim_row_of(s, a->id)];

    sim_trace(s, "row %u forgotten", sim_row_of(s, a->id));
    if (!r->held) {
        sim_fault(s, "posting %lld is forgotten and was not held", (long long)r->id);
    }
    if (!r->cancel_told && (r->state != r->told ||
                            (r->state != TG_POSTING_EXCEPTION && !tg_posting_is_final(r->state)))) {
        sim_fault(s, "posting %lld is forgotten, but the journal has %s", (long long)r->id,
                  tg_posting_state_name(r->state));
    }
    r->held = false;
}

static void do_block(struct sim *s, const struct tg_action *a)
{
    const struct sim_mark m = {.kind = SIM_MARK_WAIT,
                               .place = a->destination,
                               .due_ms = a->due_ms,
                               .at_ms = sim_wall_ms(s),
                               .not_before_ms = sim_account(s, a->destination)->not_before_ms};

    sim_trace(s, "place %u waits until %lld", a->destination, (long long)a->due_ms);
    add_mark(s, &m);
}

static void do_action(struct sim *s, const struct tg_action *a)
{
    uint32_t row;

    if (a->kind == TG_ACT_BLOCK) {
        do_block(s, a);
        return;
    }
    row = sim_row_of(s, a->id);
    switch (a->kind) {
    case TG_ACT_MARK:
        do_mark(s, a);
        if (s->mutation == SIM_MUTATION_SEND_EARLY) {
            feed_marked(s, row);
        }
        break;
    case TG_ACT_SEND:
        sim_judge_send(s, row, a);
        s->rows[row].went = true;
        s->rows[row].send_ms = sim_wall_ms(s);
        sim_place_send(s, row);
        break;
    case TG_ACT_LOOKUP:
        sim_judge_lookup(s, row);
        sim_place_lookup(s, row);
        break;
    case TG_ACT_FORGET:
        do_forget(s, a);
        break;
    case TG_ACT_BLOCK:
        break;
    }
}

static void note_breakers(struct sim *s)
{
    for (uint32_t i = 0; i < s->place_count; i++) {
        struct tg_engine_stats stats;
        bool open;

        tg_engine_destination_stats(s->engine, i, &stats);
        open = stats.breaker == TG_BREAKER_OPEN;
        if (s->places[i].account < i && open != s->places[s->places[i].account].breaker_was_open &&
            s->mutation != SIM_MUTATION_OWN_ACCOUNTS) {
            sim_fault(s, "destination %u and another of its account have two breakers", i);
        }
        if (open && !s->places[i].breaker_was_open) {
            sim_see(s, SIM_SEEN_BREAKER_OPEN);
        }
        s->places[i].breaker_was_open = open;
    }
}

void sim_shell_feed(struct sim *s, const struct tg_engine_event *ev)
{
    struct tg_action todo[SIM_MARKS_MAX];
    struct tg_error err;
    size_t begin = 0;
    size_t n;

    if (s->failed || !s->alive) {
        return;
    }
    s->order++;
    if (ev->kind != TG_EV_CANCEL && sim_below(s, 20) == 0) { /* somebody else filled it */
        begin = TG_ACTIONS_MAX - (size_t)sim_below(s, 4);
        sim_see(s, SIM_SEEN_NO_ROOM);
    }
    s->actions.count = begin;
    if (s->mutation != SIM_MUTATION_CLOCK_HELD || sim_wall_ms(s) > s->shown_ms) {
        s->shown_ms = sim_wall_ms(s);
    }
    if (tg_engine_step(s->engine, ev, s->shown_ms, &s->actions) != 0) {
        sim_fault(s, "the engine refuses event %d of posting %lld", (int)ev->kind,
                  (long long)ev->id);
        return;
    }
    if (tg_engine_check(s->engine, s->shown_ms, &err) != 0) {
        sim_fault(s, "invariant: %s", err.text);
        return;
    }
    note_breakers(s);
    n = s->actions.count - begin;
    if (n > SIM_MARKS_MAX) {
        sim_fault(s, "%zu actions at once", n);
        return;
    }
    memcpy(todo, s->actions.items + begin, n * sizeof(todo[0]));
    for (size_t i = 0; i < n && !s->failed; i++) {
        do_action(s, &todo[i]);
    }
    journal_begin(s);
    finish_stop(s);
}

/* ---- life of the process ---- */

static enum tg_posting_state state_to_load(const struct sim *s, const struct sim_row *r)
{
    if ((s->mutation == SIM_MUTATION_SENT_AS_READY && r->state == TG_POSTING_SENT) ||
        (s->mutation == SIM_MUTATION_DOUBT_AS_READY && r->state == TG_POSTING_IN_DOUBT)) {
        return TG_POSTING_READY;
    }
    return r->state;
}

static bool is_open(enum tg_posting_state state)
{
    return state == TG_POSTING_READY || state == TG_POSTING_SENT || state == TG_POSTING_RETRY ||
           state == TG_POSTING_IN_DOUBT;
}

static void load_one(struct sim *s, struct sim_row *r)
{
    const struct tg_engine_event ev = {
        .kind = TG_EV_LOADED,
        .posting = {.id = r->id,
                    .destination = r->place,
                    .state = state_to_load(s, r),
                    .attempt = r->attempt,
                    .due_ms = s->mutation == SIM_MUTATION_LOST_DUE ? 0 : r->due_ms,
                    .first_sent_ms = r->first_sent_ms,
                    .superseded =
                        s->mutation != SIM_MUTATION_NOT_SUPERSEDED && sim_row_superseded(s, r)}};

    if (r->state == TG_POSTING_SENT) {
        sim_see(s, SIM_SEEN_LOADED_SENT);
    }
    sim_trace(s, "row %u loaded %s", (unsigned)(r - s->rows), tg_posting_state_name(r->state));
    if (r->state == TG_POSTING_SENT) {
        r->not_before_ms = 0; /* a Retry-After that was not yet durable died with the process */
    }
    r->held = true;
    r->told = ev.posting.state;
    r->went = true;
    sim_shell_feed(s, &ev);
}

void sim_shell_load(struct sim *s)
{
    if (!s->alive || s->stopping) {
        return;
    }
    for (uint32_t i = 0; i < s->row_count; i++) {
        struct sim_row *r = &s->rows[i];
        struct sim_place *p = &s->places[r->place];

        if (!r->planned || (r->id <= p->after && !r->behind) ||
            tg_engine_room(s->engine, r->place) == 0) {
            continue;
        }
        p->after = p->after < r->id ? r->id : p->after;
        r->behind = false;
        if (!is_open(r->state) || r->held || r->cancelling ||
            (s->mutation == SIM_MUTATION_SKIPPED_LOAD && sim_below(s, 30) == 0)) {
            continue;
        }
        load_one(s, r);
    }
}

static void tell_waits(struct sim *s)
{
    for (uint32_t i = 0; i < s->place_count; i++) {
        const struct sim_place *p = &s->places[i];
        const struct tg_engine_event ev = {.kind = TG_EV_BLOCK,
                                           .destination = i,
                                           .until_ms = p->wait_until_ms,
                                           .said_ms = p->wait_said_ms};

        if (p->wait_until_ms != 0 && s->mutation != SIM_MUTATION_FORGOTTEN_WAIT) {
            sim_shell_feed(s, &ev);
        }
        if (p->not_before_ms > sim_wall_ms(s)) {
            sim_see(s, SIM_SEEN_WAIT_KEPT);
        }
    }
}

void sim_shell_start(struct sim *s)
{
    struct tg_engine_destination places[SIM_PLACES_MAX];

    if (s->alive) {
        return;
    }
    sim_trace(s, "start");
    tg_engine_free(s->engine);
    for (size_t i = 0; i < s->place_count; i++) {
        struct sim_place *p = &s->places[i];

        places[i] = p->declared;
        p->after = 0;
        p->out = 0;
        p->not_before_ms = p->durable_not_before_ms; /* what was not on disk died with it */
        p->breaker_was_open = false;
    }
    for (size_t i = 0; i < s->row_count; i++) {
        struct sim_row *r = &s->rows[i];

        r->held = r->out = r->cancel_told = r->cancelling = r->hold_marking = false;
        r->behind = r->ended = r->person_marking = r->judged = false;
        r->marks_out = 0;
        r->told = r->state;
    }
    for (size_t i = 0; i < s->doc_count; i++) {
        s->docs[i].absent_said = false;
    }
    s->engine = tg_engine_new(places, s->place_count, tg_random_next(&s->random));
    if (s->engine == NULL) {
        sim_fault(s, "no memory for an engine");
        return;
    }
    s->alive = true;
    s->stopping = false;
    s->mark_count = 0;
    s->journal_busy = s->intake_busy = s->holds_busy = false;
    s->holds_walk = s->mutation != SIM_MUTATION_RELEASE_LOST;
    tell_waits(s);
    for (uint32_t i = 0; i < s->place_count; i++) {
        const struct tg_engine_event ev = {.kind = TG_EV_PAUSE, .destination = i};

        if (s->places[i].paused) {
            sim_shell_feed(s, &ev);
        }
    }
    sim_shell_load(s);
    sim_holds_turn(s);
    sim_intake_turn(s);
}

/* What was never written is not there. It is always the last ones: ids go by commit. */
static void drop_unwritten(struct sim *s)
{
    while (s->row_count > 0 && !s->rows[s->row_count - 1].planned) {
        s->row_count--;
    }
    while (s->version_count > 0 && !s->versions[s->version_count - 1].written) {
        s->version_count--;
    }
}

/* Nothing in memory survives. Marks whose group was not durable are lost; those that were durable
 * and not yet noticed are found again in the rows. */
void sim_shell_crash(struct sim *s)
{
    bool lost = false;
    bool unnoticed = false;

    for (size_t i = 0; i < s->mark_count; i++) {
        const struct sim_mark *m = &s->marks[i];

        if (m->group == 0 || (s->journal_busy && m->group == s->group_last)) {
            lost = true;
        } else {
            unnoticed = true;
        }
    }
    sim_see(s, SIM_SEEN_CRASH);
    if (lost) {
        sim_see(s, SIM_SEEN_CRASH_LOST_MARKS);
    }
    if (unnoticed) {
        sim_see(s, SIM_SEEN_CRASH_AFTER_COMMIT);
    }
    sim_trace(s, "crash");
    drop_unwritten(s);
    s->alive = false;
    s->epoch++;
    sim_at(s, s->now_ms + sim_between(s, 1, 60000), SIM_EV_START, 0, 0, 0);
}

void sim_shell_stop(struct sim *s)
{
    const struct tg_engine_event tick = {.kind = TG_EV_TICK};

    if (!s->alive || s->stopping) {
        return;
    }
    sim_trace(s, "stopping");
    s->stopping = true;
    tg_engine_drain(s->engine);
    sim_shell_feed(s, &tick);
}

/* ---- from outside ---- */

void sim_shell_supersede(struct sim *s, uint32_t row)
{
    struct sim_row *r = &s->rows[row];
    const struct tg_engine_event ev = {.kind = TG_EV_CANCEL, .id = r->id};

    if (!r->held) {
        return;
    }
    /* The shell knows whether it was granted by the FORGET it gets, see engine.h. */
    r->cancel_told = true;
    sim_shell_feed(s, &ev);
    r->cancel_told = false;
}

/* A plain one, by hand. */
void sim_shell_cancel(struct sim *s, uint32_t entry)
{
    struct sim_mark m = {.kind = SIM_MARK_SILENT, .to = TG_POSTING_CANCELLED};
    struct sim_row *r = NULL;

    for (uint32_t i = 0; i < s->row_count; i++) {
        if (s->rows[i].version == 0 && s->rows[i].entry == entry) {
            r = &s->rows[i];
            m.row = i;
        }
    }
    if (!s->alive || s->stopping || r == NULL || !r->held || s->calm) {
        return;
    }
    sim_shell_supersede(s, m.row);
    if (r->held && s->mutation != SIM_MUTATION_CANCEL_ANYWAY) {
        sim_see(s, SIM_SEEN_CANCEL_REFUSED);
        return;
    }
    sim_trace(s, "row %u cancelled", m.row);
    if (!r->held) {
        sim_judge_cancel(s, m.row);
    }
    sim_see(s, SIM_SEEN_CANCELLED);
    r->held = false;
    m.from = r->told;
    r->told = TG_POSTING_CANCELLED;
    sim_shell_submit(s, &m, 1);
}

/* The whole account is to be left alone from now on. */
static void note_pause(struct sim *s, struct sim_place *account, int64_t retry_after_ms)
{
    const int64_t until_ms = sim_wall_ms(s) + retry_after_ms;

    if (account->not_before_ms < until_ms) {
        account->not_before_ms = until_ms;
    }
}

void sim_shell_answer(struct sim *s, uint32_t request, int result, int64_t retry_after_ms)
{
    struct sim_request *q = &s->requests[request];
    struct sim_row *r = &s->rows[q->row];
    struct sim_place *account = sim_account(s, r->place);
    struct tg_engine_event ev = {.id = r->id};

    if (q->answered) { /* the time-out came first */
        return;
    }
    q->answered = true;
    account->out--;
    if (s->mutation == SIM_MUTATION_LOST_ANSWER && sim_below(s, 50) == 0) {
        return;
    }
    sim_trace(s, "row %u %s answer %d", q->row, q->is_lookup ? "look-up" : "send", result);
    if (q->is_lookup) {
        ev.kind = TG_EV_LOOKUP;
        ev.lookup = (enum tg_lookup)result;
        s->docs[r->doc].absent_last = ev.lookup == TG_LOOKUP_ABSENT;
        if (ev.lookup == TG_LOOKUP_ABSENT) {
            if (sim_is_at_work(s, r)) {
                sim_see(s, SIM_SEEN_EARLY_ABSENT);
            }
            s->docs[r->doc].absent_said = true;
            s->docs[r->doc].absent_ms = s->now_ms;
        }
        if (ev.lookup == TG_LOOKUP_FOUND && r->restored) {
            sim_see(s, SIM_SEEN_FOUND_AGAIN);
        }
        if (ev.lookup == TG_LOOKUP_THROTTLED && retry_after_ms > 0) {
            ev.retry_after_ms = retry_after_ms;
            note_pause(s, account, retry_after_ms);
        }
        sim_shell_feed(s, &ev);
        return;
    }
    r->out = false;
    ev.kind = TG_EV_OUTCOME;
    ev.outcome = (enum tg_outcome)result;
    ev.retry_after_ms = retry_after_ms;
    if ((ev.outcome == TG_OUTCOME_THROTTLED || ev.outcome == TG_OUTCOME_RETRY) &&
        retry_after_ms > 0) {
        r->not_before_ms = sim_wall_ms(s) + retry_after_ms;
    }
    if (ev.outcome == TG_OUTCOME_THROTTLED && retry_after_ms > 0) {
        note_pause(s, account, retry_after_ms);
    }
    if (s->mutation == SIM_MUTATION_NO_RETRY_AFTER) {
        ev.retry_after_ms = 0;
    }
    if (s->mutation == SIM_MUTATION_UNCLEAR_AS_RETRY && ev.outcome == TG_OUTCOME_IN_DOUBT) {
        ev.outcome = TG_OUTCOME_RETRY;
    }
    sim_shell_feed(s, &ev);
}
