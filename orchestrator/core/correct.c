#include "core/correct.h"

enum tg_correction tg_correct(const struct tg_effect *e)
{
    if (e->is_reversal || e->is_reversed) {
        return TG_CORRECT_NOTHING; /* decided by an earlier correction */
    }
    switch (e->state) {
    case TG_POSTING_PLANNED:
    case TG_POSTING_HELD:
        return TG_CORRECT_CANCEL;
    case TG_POSTING_READY:
    case TG_POSTING_RETRY:
        return e->released ? TG_CORRECT_CANCEL : TG_CORRECT_REVERSE_WHEN_POSTED;
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
