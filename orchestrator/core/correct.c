#include "core/correct.h"

#include <string.h>

#include "common/codec.h"

#define REVERSAL ":reversal"

enum tg_correction tg_correct(const struct tg_effect *e)
{
    if (e->is_reversal || e->is_reversed) {
        return TG_CORRECT_NOTHING; /* decided by an earlier correction */
    }
    switch (e->state) {
    case TG_POSTING_READY:
    case TG_POSTING_RETRY:
        return e->released ? TG_CORRECT_CANCEL : TG_CORRECT_REVERSE_WHEN_POSTED;
    case TG_POSTING_PLANNED:
    case TG_POSTING_HELD: /* unknown after a restore */
    case TG_POSTING_EXCEPTION:
        return e->unknown ? TG_CORRECT_REVERSE_WHEN_POSTED : TG_CORRECT_CANCEL;
    case TG_POSTING_POSTED:
        return TG_CORRECT_REVERSE;
    case TG_POSTING_CANCELLED:
    case TG_POSTING_REVERSED:
        return TG_CORRECT_NOTHING;
    default: /* sent, in doubt, and any state there may ever be besides */
        return TG_CORRECT_REVERSE_WHEN_POSTED;
    }
}

int tg_reversal_key(struct tg_str destination, const unsigned char original[TG_POSTING_KEY_BYTES],
                    struct tg_str kind, struct tg_str leg, unsigned generation,
                    unsigned char out[TG_POSTING_KEY_BYTES])
{
    char subject[2 * TG_POSTING_KEY_BYTES + sizeof(REVERSAL)];

    tg_hex_encode(original, TG_POSTING_KEY_BYTES, subject);
    memcpy(subject + 2 * TG_POSTING_KEY_BYTES, REVERSAL, sizeof(REVERSAL));
    return tg_posting_key(destination, tg_str_of(subject), kind, leg, generation, out);
}

enum tg_hold_verdict tg_hold_verdict(bool is_reversal, enum tg_posting_state waits_for)
{
    if (!tg_posting_is_final(waits_for)) {
        return TG_HOLD_WAITS;
    }
    return is_reversal && waits_for != TG_POSTING_POSTED ? TG_HOLD_CANCELS : TG_HOLD_ENDS;
}

bool tg_hold_expires(enum tg_posting_state waits_for)
{
    return waits_for == TG_POSTING_EXCEPTION || waits_for == TG_POSTING_REJECTED;
}

/* Nothing in memory knows of it. Ready after a send is a replay, by someone who may err. */
static bool is_untouched(enum tg_posting_state state, int64_t first_sent_ms)
{
    switch (state) {
    case TG_POSTING_READY:
        return first_sent_ms == 0;
    case TG_POSTING_PLANNED:
    case TG_POSTING_HELD:
    case TG_POSTING_RETRY:
    case TG_POSTING_EXCEPTION:
        return true;
    default:
        return false;
    }
}

enum tg_let_go tg_let_go(bool telling, enum tg_engine_grip grip, enum tg_posting_state state,
                         int64_t first_sent_ms)
{
    if (telling) {
        return TG_LET_GO_LATER;
    }
    switch (grip) {
    case TG_GRIP_WAITS:
        return TG_LET_GO_YES;
    case TG_GRIP_TELLING:
        return TG_LET_GO_LATER;
    case TG_GRIP_BEGUN:
        return TG_LET_GO_NO;
    case TG_GRIP_NONE:
        break;
    }
    return is_untouched(state, first_sent_ms) ? TG_LET_GO_YES : TG_LET_GO_NO;
}

bool tg_effect_is_unknown(const struct tg_effect_told *t)
{
    switch (t->state) {
    case TG_POSTING_HELD:
        return t->first_sent_ms > 0;
    case TG_POSTING_EXCEPTION:
        return t->was_unknown || t->restored || (t->ran_out && t->first_sent_ms > 0);
    default:
        return false;
    }
}

enum tg_posting_state tg_posting_begins(bool is_held, int64_t sent_ms)
{
    if (is_held) {
        return TG_POSTING_HELD;
    }
    return sent_ms > 0 ? TG_POSTING_IN_DOUBT : TG_POSTING_READY;
}

bool tg_hold_asks(const struct tg_hold_case *c)
{
    return !c->is_reversal && tg_hold_verdict(false, c->waits_for) == TG_HOLD_ENDS;
}

enum tg_hold_step tg_hold_decide(const struct tg_hold_case *c)
{
    switch (tg_hold_verdict(c->is_reversal, c->waits_for)) {
    case TG_HOLD_CANCELS:
        return TG_HOLD_STEP_CANCEL;
    case TG_HOLD_ENDS:
        return c->is_reversal || !c->is_behind ? TG_HOLD_STEP_RELEASE : TG_HOLD_STEP_NEXT;
    case TG_HOLD_WAITS:
        break;
    }
    if (!c->is_due) {
        return TG_HOLD_STEP_NONE;
    }
    return tg_hold_expires(c->waits_for) ? TG_HOLD_STEP_EXPIRE : TG_HOLD_STEP_WAIT;
}

enum tg_posting_event tg_hold_event(enum tg_hold_step step, bool doubt)
{
    switch (step) {
    case TG_HOLD_STEP_CANCEL:
        return TG_PE_SUPERSEDED;
    case TG_HOLD_STEP_EXPIRE:
        return TG_PE_HOLD_EXPIRED;
    default:
        return doubt ? TG_PE_RELEASE_DOUBT : TG_PE_RELEASE;
    }
}
