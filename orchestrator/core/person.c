#include "core/person.h"

#include <string.h>

enum tg_person_cause tg_person_cause_of(const char *code)
{
    if (strcmp(code, "outcome_unknown") == 0) {
        return TG_CAUSE_UNKNOWN;
    }
    if (strcmp(code, "hold_expired") == 0) {
        return TG_CAUSE_HOLD;
    }
    return strcmp(code, "attempts_used_up") == 0 ? TG_CAUSE_ATTEMPTS : TG_CAUSE_REJECTED;
}

enum tg_exception_state tg_person_ends_as(enum tg_person_verb verb)
{
    switch (verb) {
    case TG_PERSON_REPLAY:
        return TG_EXCEPTION_REPLAYED;
    case TG_PERSON_DISCARD:
        return TG_EXCEPTION_DISCARDED;
    case TG_PERSON_EDIT:
        return TG_EXCEPTION_EDITED;
    default:
        return TG_EXCEPTION_RESOLVED;
    }
}

bool tg_person_is_in_doubt(const struct tg_person_case *c)
{
    return c->cause == TG_CAUSE_UNKNOWN || c->was_unknown || c->restored ||
           (c->cause == TG_CAUSE_HOLD && c->sent);
}

/* A person has to say what became of it, or let it be looked up, before anything else. A rejection
 * that is newer than the restore came after somebody said so. */
static bool is_unsettled(const struct tg_person_case *c)
{
    if (c->cause == TG_CAUSE_UNKNOWN || (c->cause == TG_CAUSE_HOLD && c->sent)) {
        return true;
    }
    return c->restored && !(c->since_restore && c->cause != TG_CAUSE_HOLD);
}

static struct tg_person_verdict refused(const char *why)
{
    return (struct tg_person_verdict){.refusal = why};
}

static struct tg_person_verdict goes(enum tg_person_verb verb, enum tg_posting_event event,
                                     enum tg_posting_state to, const char *outcome)
{
    return (struct tg_person_verdict){
        .event = event, .to = to, .as = tg_person_ends_as(verb), .outcome = outcome};
}

static struct tg_person_verdict held(enum tg_person_verb verb, enum tg_person_hold hold)
{
    struct tg_person_verdict v = goes(verb, TG_PE_HOLD, TG_POSTING_HELD, "held");

    v.hold = hold;
    return v;
}

static const char NEVER_WAS[] =
    "what this reversal takes back was never posted, or is taken back already: there is nothing to "
    "do, discard it";

static struct tg_person_verdict replay(const struct tg_person_case *c)
{
    const bool doubt = tg_person_is_in_doubt(c);

    if (c->superseded && !doubt) {
        return refused("a later version took its place, so it is not sent any more: discard it");
    }
    if (c->is_reversal && c->original != TG_POSTING_POSTED) {
        return tg_posting_is_final(c->original) ? refused(NEVER_WAS)
                                                : held(TG_PERSON_REPLAY, TG_PERSON_HELD_REVERSAL);
    }
    if (c->behind && doubt && !c->sent) { /* a hold would not remember the doubt */
        return refused("an older version is not final at this destination, and this one may have "
                       "been sent before the restore: end the older one's exception first");
    }
    if (c->behind) {
        return held(TG_PERSON_REPLAY, TG_PERSON_HELD_ORDER);
    }
    return doubt ? goes(TG_PERSON_REPLAY, TG_PE_REPLAY_DOUBT, TG_POSTING_IN_DOUBT, "in_doubt")
                 : goes(TG_PERSON_REPLAY, TG_PE_REPLAY, TG_POSTING_READY, "ready");
}

static struct tg_person_verdict resolve(enum tg_person_verb verb, const struct tg_person_case *c)
{
    if (!is_unsettled(c)) {
        return refused("its outcome is known: nothing was posted. Use replay, edit or discard");
    }
    if (c->is_reversal && c->original != TG_POSTING_POSTED) {
        return refused("what this reversal takes back is not posted: end that one's exception "
                       "first");
    }
    if (verb == TG_PERSON_RESOLVE_POSTED) {
        return goes(verb, TG_PE_RESOLVED_POSTED, TG_POSTING_POSTED, "posted");
    }
    if (c->superseded) { /* it is not there, and shall not be */
        return goes(verb, TG_PE_SUPERSEDED, TG_POSTING_CANCELLED, "absent");
    }
    if (c->behind) {
        struct tg_person_verdict v = held(verb, TG_PERSON_HELD_ORDER);

        v.outcome = "absent";
        return v;
    }
    return goes(verb, TG_PE_REPLAY, TG_POSTING_READY, "absent");
}

static struct tg_person_verdict discard(const struct tg_person_case *c)
{
    if (is_unsettled(c)) {
        return refused("nobody knows whether it was posted, so it cannot be given up: look at the "
                       "destination, then use resolve; or replay it, which looks it up first");
    }
    return goes(TG_PERSON_DISCARD, TG_PE_DISCARD, TG_POSTING_CANCELLED, "cancelled");
}

static struct tg_person_verdict edit(const struct tg_person_case *c)
{
    struct tg_person_verdict v;

    if (is_unsettled(c)) {
        return refused("nobody knows whether it was posted, so nothing else may be sent in its "
                       "place: look at the destination, then use resolve; or replay it, which "
                       "looks it up first");
    }
    if (c->was_unknown || c->restored) {
        return refused("its outcome was unknown once, so a second posting beside it is not safe: "
                       "replay it, or discard it and have the source send a new version");
    }
    if (c->cause != TG_CAUSE_REJECTED) {
        return refused("only what the destination refused for good can be edited: use replay");
    }
    if (c->superseded) {
        return refused("a later version took its place, so it is not sent any more: discard it");
    }
    if (c->is_reversal && c->original != TG_POSTING_POSTED) {
        return refused(NEVER_WAS);
    }
    v = goes(TG_PERSON_EDIT, TG_PE_EDITED, TG_POSTING_CANCELLED, "ready");
    if (c->behind) {
        v.hold = TG_PERSON_HELD_ORDER;
        v.outcome = "held";
    }
    return v;
}

struct tg_person_verdict tg_person_decide(enum tg_person_verb verb, const struct tg_person_case *c)
{
    if (c->state != TG_POSTING_EXCEPTION) {
        return refused("its posting does not wait for a person any more: look again");
    }
    switch (verb) {
    case TG_PERSON_REPLAY:
        return replay(c);
    case TG_PERSON_RESOLVE_POSTED:
    case TG_PERSON_RESOLVE_ABSENT:
        return resolve(verb, c);
    case TG_PERSON_DISCARD:
        return discard(c);
    case TG_PERSON_EDIT:
        return edit(c);
    case TG_PERSON_VERB_COUNT:
        break;
    }
    return refused("this is not known");
}
