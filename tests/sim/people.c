/* People and exceptions: what orchestrator/dispatch/people.c does; the decision is the product's
 * (core/person.h). They tell the truth: who says that a posting is there, or is not, has looked. */
#include <stdio.h>
#include <string.h>

#include "core/person.h"
#include "sim.h"

#define ACT_MARKS_MAX 4

/* Something of it is on its way; see people.c there. */
static bool is_for_later(const struct sim *s, const struct sim_row *r)
{
    if (s->mutation == SIM_MUTATION_ACTS_AT_ONCE) {
        return r->held || r->person_marking;
    }
    return r->held || r->person_marking || r->hold_marking || r->cancelling || r->judged;
}

/* A request of it is on its way, or worked on. */
static bool may_land(const struct sim *s, uint32_t doc)
{
    for (size_t i = 0; i < s->heap_count; i++) {
        const struct sim_event *ev = &s->heap[i];

        if (ev->kind == SIM_EV_LAND && s->requests[ev->a].doc == doc) {
            return true;
        }
        if (ev->kind == SIM_EV_ARRIVE && s->requests[ev->a].doc == doc &&
            !s->requests[ev->a].is_lookup) {
            return true;
        }
    }
    return false;
}

static struct tg_person_case case_of(struct sim *s, uint32_t row)
{
    const struct sim_row *r = &s->rows[row];
    struct tg_person_case c = {.state = r->state,
                               .cause = tg_person_cause_of(r->exception),
                               .was_unknown = r->was_unknown,
                               .sent = r->first_sent_ms > 0,
                               .restored = r->id <= s->restored_row,
                               .since_restore = !r->exception_restored,
                               .superseded = sim_row_superseded(s, r),
                               .is_reversal = r->reverses != 0,
                               .behind = sim_before(s, row) != 0};

    if (c.is_reversal) {
        c.original = s->rows[sim_row_of(s, r->reverses)].state;
    }
    if (s->mutation == SIM_MUTATION_UNKNOWN_IGNORED) {
        c.cause = TG_CAUSE_REJECTED;
        c.was_unknown = c.restored = false;
    }
    return c;
}

/* What somebody who looks at the destination would choose. */
static enum tg_person_verb choose(struct sim *s, const struct sim_row *r)
{
    const enum tg_person_verb verb = (enum tg_person_verb)sim_below(s, TG_PERSON_VERB_COUNT);

    switch (verb) {
    case TG_PERSON_RESOLVE_POSTED:
    case TG_PERSON_RESOLVE_ABSENT:
        if (s->docs[r->doc].effects > 0) {
            return TG_PERSON_RESOLVE_POSTED;
        }
        return may_land(s, r->doc) ? TG_PERSON_REPLAY : TG_PERSON_RESOLVE_ABSENT;
    case TG_PERSON_EDIT: /* an edit that a restore forgets stands beside what it replaced */
        return s->restores_due > 0 ? TG_PERSON_REPLAY : TG_PERSON_EDIT;
    default:
        return verb;
    }
}

struct act {
    struct sim_mark marks[ACT_MARKS_MAX];
    size_t count;
};

static struct sim_mark *put(struct sim *s, struct act *a, enum sim_mark_kind kind, uint32_t row)
{
    a->marks[a->count] =
        (struct sim_mark){.kind = kind, .by = SIM_BY_PEOPLE, .row = row, .at_ms = sim_wall_ms(s)};
    return &a->marks[a->count++];
}

static void put_hold(struct sim *s, struct act *a, uint32_t row, enum tg_person_hold hold)
{
    struct sim_mark *m = put(s, a, SIM_MARK_HOLD, row);

    m->hold = hold == TG_PERSON_HELD_ORDER ? TG_HOLD_ORDER : TG_HOLD_REVERSAL;
    m->hold_on = hold == TG_PERSON_HELD_ORDER ? sim_before(s, row) : s->rows[row].reverses;
    m->due_ms = sim_wall_ms(s) + s->hold_timeout_ms;
}

/* The next generation, under its own key. */
static void put_edit(struct sim *s, struct act *a, uint32_t row, const struct tg_person_verdict *v)
{
    const struct sim_row old = s->rows[row];
    struct sim_doc doc = {.place = old.place,
                          .original = s->docs[old.doc].original,
                          .object = s->docs[old.doc].object,
                          .version = s->docs[old.doc].version,
                          .leg = s->docs[old.doc].leg,
                          .amount = old.amount};
    const unsigned generation =
        s->mutation == SIM_MUTATION_EDIT_KEEPS_KEY ? old.generation : old.generation + 1;
    struct sim_row *r;

    if (old.version == 0) {
        sim_key_of_plain(old.entry, generation, doc.key);
    } else if (old.reverses != 0) {
        (void)tg_reversal_key(tg_str_of(s->places[old.place].id),
                              s->docs[s->rows[sim_row_of(s, old.reverses)].doc].key,
                              tg_str_of("labor"), tg_str_of("l"), generation, doc.key);
    } else {
        sim_key_of(s, doc.object, doc.version, doc.leg, generation, doc.key);
    }
    (void)put(s, a, SIM_MARK_ROW, (uint32_t)s->row_count);
    r = sim_new_row(s, &doc);
    if (s->failed) {
        return;
    }
    r->version = old.version;
    r->entry = old.entry;
    r->reverses = old.reverses;
    r->generation = generation;
    r->state = tg_posting_begins(v->hold != TG_PERSON_GOES, 0);
    r->told = r->state;
    if (v->hold != TG_PERSON_GOES) {
        r->hold = TG_HOLD_ORDER;
        r->hold_on = sim_before(s, row);
        r->due_ms = sim_wall_ms(s) + s->hold_timeout_ms;
    }
}

static void put_mark(struct sim *s, struct act *a, uint32_t row, const struct tg_person_verdict *v)
{
    struct sim_mark *m = put(s, a, SIM_MARK_SILENT, row);

    m->from = s->rows[row].state;
    m->to = v->to;
    m->due_ms = v->to == TG_POSTING_IN_DOUBT ? sim_wall_ms(s) : 0;
    m->person_goes = v->hold == TG_PERSON_GOES;
    m->look_at = s->rows[row].hold_on; /* it may have ended while holds left this one alone */
}

static void put_reversed(struct sim *s, struct act *a, uint32_t row)
{
    struct sim_mark *m = put(s, a, SIM_MARK_SILENT, sim_row_of(s, s->rows[row].reverses));

    m->from = TG_POSTING_POSTED;
    m->to = TG_POSTING_REVERSED;
}

static void note(struct sim *s, uint32_t row, enum tg_person_verb verb)
{
    static const enum sim_seen seen[TG_PERSON_VERB_COUNT] = {
        SIM_SEEN_REPLAYED, SIM_SEEN_RESOLVED_POSTED, SIM_SEEN_RESOLVED_ABSENT, SIM_SEEN_DISCARDED,
        SIM_SEEN_EDITED};
    struct sim_row *r = &s->rows[row];
    struct sim_doc *d = &s->docs[r->doc];

    sim_trace(s, "row %u: a person's verb %d", row, (int)verb);
    sim_see(s, seen[verb]);
    if (verb == TG_PERSON_DISCARD && r->version != 0) {
        s->objects[d->object].given_up = true;
    }
    if (verb == TG_PERSON_REPLAY && sim_below(s, 2) == 0) {
        d->poisoned = false; /* whatever it was is mended there */
    }
    if (s->calm && s->now_ms > s->calm_ms) {
        s->calm_ms = s->now_ms;
    }
}

static void act(struct sim *s, uint32_t row)
{
    const struct tg_person_case c = case_of(s, row);
    const enum tg_person_verb verb = choose(s, &s->rows[row]);
    const struct tg_person_verdict v = tg_person_decide(verb, &c);
    enum tg_posting_state next;
    struct act a = {.count = 0};

    if (v.refusal != NULL) {
        sim_see(s, SIM_SEEN_PERSON_REFUSED);
        return;
    }
    if (tg_posting_next(c.state, v.event, &next) != 0 || next != v.to) {
        sim_fault(s, "a person moves posting %lld along no edge", (long long)s->rows[row].id);
        return;
    }
    note(s, row, verb);
    put_mark(s, &a, row, &v);
    if (v.to == TG_POSTING_HELD) {
        put_hold(s, &a, row, v.hold);
        a.marks[0].look_at = a.marks[1].hold_on;
    }
    if (v.to == TG_POSTING_POSTED && c.is_reversal) {
        put_reversed(s, &a, row);
    }
    if (verb == TG_PERSON_EDIT) {
        put_edit(s, &a, row, &v);
    }
    s->rows[row].ended_by_person = verb == TG_PERSON_DISCARD || verb == TG_PERSON_EDIT;
    s->rows[row].person_marking = true;
    s->rows[row].told = v.to;
    sim_shell_submit(s, a.marks, a.count);
}

/* Somebody takes the next exception in hand. */
void sim_person(struct sim *s)
{
    const size_t first = s->row_count > 0 ? (size_t)sim_below(s, s->row_count) : 0;

    for (size_t i = 0; i < s->row_count && s->alive && !s->stopping; i++) {
        const uint32_t row = (uint32_t)((first + i) % s->row_count);
        const struct sim_row *r = &s->rows[row];

        if (r->planned && r->state == TG_POSTING_EXCEPTION && !is_for_later(s, r)) {
            act(s, row);
            return;
        }
    }
}

void sim_person_done(struct sim *s, const struct sim_mark *m)
{
    struct sim_row *r = &s->rows[m->row];

    if (m->kind == SIM_MARK_ROW || m->kind == SIM_MARK_HOLD) {
        r->behind = m->kind == SIM_MARK_ROW && r->state == TG_POSTING_READY;
        r->ended = false;
        if (r->hold_on != 0) {
            s->rows[sim_row_of(s, r->hold_on)].ended = true; /* it may have meanwhile */
        }
        return;
    }
    if (!r->person_marking) {
        return; /* the original of a reversal: it was final before */
    }
    r->person_marking = false;
    r->ended = tg_posting_is_final(m->to);
    if (m->look_at != 0) {
        s->rows[sim_row_of(s, m->look_at)].ended = true;
    }
    r->behind = !tg_posting_is_final(m->to) && m->person_goes;
}
