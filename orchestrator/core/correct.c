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
