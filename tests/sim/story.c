/* What must hold of objects in versions: at each send, each effect and each mark, at rest, and at
 * the end, against the truth (what the sources said) and the destinations' own books. */
#include <string.h>

#include "sim.h"

static bool is(const char *code, const char *name)
{
    return code != NULL && strcmp(code, name) == 0;
}

void sim_story_send(struct sim *s, uint32_t row)
{
    const struct sim_row *r = &s->rows[row];
    const int64_t before = sim_before(s, row);

    if (before != 0 && r->reverses == 0) { /* a reversal follows its original alone */
        sim_fault(s, "posting %lld is sent while %lld of an older version is not final",
                  (long long)r->id, (long long)before);
    }
    if (r->reverses != 0 && s->rows[sim_row_of(s, r->reverses)].state != TG_POSTING_POSTED) {
        sim_fault(s, "reversal %lld is sent while its original is %s", (long long)r->id,
                  tg_posting_state_name(s->rows[sim_row_of(s, r->reverses)].state));
    }
}

void sim_story_land(struct sim *s, const struct sim_doc *d)
{
    if (d->original >= 0 && s->docs[d->original].effects == 0) {
        sim_fault(s, "a reversal took effect before its original");
    }
}

/* ---- marks ---- */

static void story_exception(struct sim *s, const struct sim_row *r, const struct sim_mark *m)
{
    const bool nothing =
        is(m->exception, "destination_rejected") || is(m->exception, "attempts_used_up");

    if (!nothing && !is(m->exception, "outcome_unknown") && !is(m->exception, "hold_expired")) {
        sim_fault(s, "posting %lld is given to a person without a reason", (long long)r->id);
    }
    if (nothing && sim_row_superseded(s, r)) {
        sim_fault(s, "posting %lld did nothing, a later version came, and a person is asked",
                  (long long)r->id);
    }
    if (is(m->exception, "hold_expired") &&
        s->rows[sim_row_of(s, r->hold_on)].state != TG_POSTING_EXCEPTION) {
        sim_fault(s, "the hold of posting %lld ends, and what it waits for needs no person",
                  (long long)r->id);
    }
}

void sim_story_mark(struct sim *s, const struct sim_mark *m)
{
    const struct sim_row *r;

    if (m->kind != SIM_MARK_TOLD && m->kind != SIM_MARK_SILENT) {
        return;
    }
    r = &s->rows[m->row];
    if (m->to == TG_POSTING_EXCEPTION) {
        story_exception(s, r, m);
    }
    if (m->to == TG_POSTING_CANCELLED && s->docs[r->doc].effects > 0) {
        sim_fault(s, "posting %lld is cancelled from %s and is in the book", (long long)r->id,
                  tg_posting_state_name(m->from));
    }
}

/* ---- at rest: each has exactly one timer, or a named thing it waits for ---- */

static void look_held(struct sim *s, const struct sim_row *r)
{
    const struct sim_row *w;

    if (r->hold == NULL || r->hold_on == 0 || r->due_ms <= 0) {
        sim_fault(s, "posting %lld is held and names nothing, or no time", (long long)r->id);
        return;
    }
    w = &s->rows[sim_row_of(s, r->hold_on)];
    if (tg_posting_is_final(w->state) && !w->ended && w->marks_out == 0 && !w->cancelling &&
        !w->hold_marking && !w->person_marking && !s->holds_walk && !s->holds_busy) {
        sim_fault(s, "posting %lld waits for %lld, which is %s, and nobody looks", (long long)r->id,
                  (long long)w->id, tg_posting_state_name(w->state));
    }
}

void sim_story_look(struct sim *s)
{
    for (size_t i = 0; i < s->row_count && s->alive && !s->stopping && !s->failed; i++) {
        const struct sim_row *r = &s->rows[i];

        if (!r->planned || tg_posting_is_final(r->state) || r->marks_out > 0 || r->cancelling ||
            r->hold_marking || r->person_marking || r->told != r->state) {
            continue;
        }
        switch (r->state) {
        case TG_POSTING_HELD:
            look_held(s, r);
            break;
        case TG_POSTING_EXCEPTION:
            if (r->exception == NULL) {
                sim_fault(s, "posting %lld is in exception without a code", (long long)r->id);
            }
            break;
        default:
            if (!r->held && !r->behind && r->id <= s->places[r->place].after) {
                sim_fault(s, "posting %lld is %s and nobody has it", (long long)r->id,
                          tg_posting_state_name(r->state));
            }
            break;
        }
    }
}

/* ---- at the end ---- */

static bool has_exception(struct sim *s, uint32_t object)
{
    for (size_t i = 0; i < s->row_count; i++) {
        const struct sim_row *r = &s->rows[i];

        if (r->version != 0 && r->state == TG_POSTING_EXCEPTION &&
            sim_version_of(s, r->version)->object == object) {
            return true;
        }
    }
    for (size_t i = 0; i < s->version_count; i++) {
        if (s->versions[i].object == object && s->versions[i].state == TG_VERSION_EXCEPTION) {
            return true;
        }
    }
    return false;
}

/*
 * Another life of the journal, between backup and restore, may have corrected what this one cannot:
 * there the older version had surely not been sent, here it may have been, and its destination
 * takes no reversals. Then this life does not plan what that one did, and asks a person about the
 * object. Nothing else may be in a book that the journal does not have.
 */
bool sim_story_may_be_unknown(struct sim *s, const struct sim_doc *d)
{
    for (size_t i = 0; i < s->row_count; i++) {
        if (s->rows[i].doc == (uint32_t)(d - s->docs)) {
            return false;
        }
    }
    if (s->restored_ms == 0 || d->version == 0 || !has_exception(s, d->object)) {
        return false;
    }
    sim_see(s, SIM_SEEN_OTHER_LIFE);
    return true;
}

static unsigned effects_of_reversal(const struct sim *s, int doc)
{
    unsigned n = 0;

    for (size_t i = 0; i < s->doc_count; i++) {
        n += s->docs[i].original == doc ? s->docs[i].effects : 0;
    }
    return n;
}

/* What stands of one leg of a version, over its generations: 0 or 1, or there is a fault. */
static unsigned net_of(struct sim *s, uint32_t object, unsigned version, unsigned leg)
{
    unsigned effects = 0, reversals = 0;

    for (size_t i = 0; i < s->doc_count; i++) {
        const struct sim_doc *d = &s->docs[i];

        if (d->original < 0 && d->object == object && d->version == version && d->leg == leg) {
            effects += d->effects;
            reversals += effects_of_reversal(s, (int)i);
        }
    }
    if (effects > 1 || reversals > effects) {
        sim_fault(s, "object %u version %u leg %u: %u effects and %u reversals", object, version,
                  leg, effects, reversals);
    }
    return effects - reversals;
}

static void end_object(struct sim *s, uint32_t object)
{
    const struct sim_object *o = &s->objects[object];
    const bool person = o->given_up || has_exception(s, object);

    for (unsigned v = 1; v <= o->version_count && !s->failed; v++) {
        const struct sim_says *says = &o->versions[v - 1];

        for (unsigned leg = 0; leg < says->leg_count; leg++) {
            const unsigned net = net_of(s, object, v, leg);
            const unsigned owed = v == o->version_count ? 1 : 0;

            if (!person && net != owed) {
                sim_fault(s, "object %u version %u of %u leg %u: %u stands and nobody is asked",
                          object, v, o->version_count, leg, net);
            }
        }
    }
    if (o->versions[o->version_count - 1].refused && !person) {
        sim_fault(s, "object %u: the rules refuse its newest version and nobody is asked", object);
    }
}

static void end_version(struct sim *s, const struct sim_version *v)
{
    if ((v->state == TG_VERSION_EXCEPTION) != (v->exception != NULL)) {
        sim_fault(s, "version row %lld: an exception without a code, or a code without one",
                  (long long)v->id);
    }
    if (v->state == TG_VERSION_EXCEPTION && !is(v->exception, "worker_unknown") &&
        !is(v->exception, "correction_after_posting")) {
        sim_fault(s, "version row %lld is in exception for no known reason", (long long)v->id);
    }
    if (v->state == TG_VERSION_HELD) {
        sim_fault(s, "version row %lld is held", (long long)v->id);
    }
}

static void end_reversal(struct sim *s, const struct sim_row *r)
{
    const struct sim_row *o = &s->rows[sim_row_of(s, r->reverses)];

    if (r->ended_by_person) {
        return; /* what it takes back stands, or another generation takes it back */
    }
    if (r->state == TG_POSTING_CANCELLED && o->state == TG_POSTING_REVERSED) {
        return; /* by another generation */
    }
    if ((r->state == TG_POSTING_POSTED) != (o->state == TG_POSTING_REVERSED)) {
        sim_fault(s, "reversal %lld is %s and its original %s", (long long)r->id,
                  tg_posting_state_name(r->state), tg_posting_state_name(o->state));
    }
    if (r->state == TG_POSTING_CANCELLED && o->state != TG_POSTING_CANCELLED) {
        sim_fault(s, "reversal %lld is cancelled and its original is %s", (long long)r->id,
                  tg_posting_state_name(o->state));
    }
}

void sim_story_end(struct sim *s)
{
    for (size_t i = 0; i < s->entry_count && !s->failed; i++) {
        if (!s->entries[i].done) {
            sim_fault(s, "entry %zu of the stream is not in the journal", i);
        }
    }
    for (size_t i = 0; i < s->row_count && !s->failed; i++) {
        if (s->rows[i].reverses != 0) {
            end_reversal(s, &s->rows[i]);
        }
    }
    for (size_t i = 0; i < s->version_count && !s->failed; i++) {
        end_version(s, &s->versions[i]);
    }
    for (uint32_t i = 0; i < s->object_count && !s->failed; i++) {
        end_object(s, i);
    }
}
