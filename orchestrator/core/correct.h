/*
 * correct.h: corrections and holds as pure decisions (design section 5).
 *
 * A later version of an object, or its withdrawal, meets the effects of older ones: postings that
 * are not over. What surely did nothing is cancelled; what stands is reversed by a posting of its
 * own; what may stand is reversed once it is known to. Nothing that was sent is ever edited.
 *
 * Order is per object and destination, by version: a posting is held (`order`) while one of an
 * older version is not final there. The postings of one version go side by side. A reversal belongs
 * to the version it reverses, so it comes before the version that caused it; it is held
 * (`reversal`) until its original is posted, and ends with it when the original never was.
 */
#ifndef TG_CORE_CORRECT_H
#define TG_CORE_CORRECT_H

#include "core/life.h"

/* Why a posting is held, as the journal names it. */
#define TG_HOLD_ORDER "order"
#define TG_HOLD_REVERSAL "reversal"

struct tg_effect {
    enum tg_posting_state state;
    bool is_reversal; /* of another posting */
    bool is_reversed; /* a reversal of it is on its way already */
    bool unknown;     /* EXCEPTION, HELD: nobody can say whether it landed */
    bool released;    /* READY, RETRY: dispatch lets go of it, so it is surely not sent */
};

enum tg_correction {
    TG_CORRECT_NOTHING,
    TG_CORRECT_CANCEL,
    TG_CORRECT_REVERSE,            /* it stands: the reversal may go */
    TG_CORRECT_REVERSE_WHEN_POSTED /* it may stand: the reversal is held on it */
};

/* What a later version does to one effect of an older one. */
enum tg_correction tg_correct(const struct tg_effect *e);

/* Key of the reversal of a posting: as tg_posting_key, with the subject "KEY:reversal", KEY being
 * the original's in hex; so no posting of a version can have it. 0, or -1 when OpenSSL fails. */
int tg_reversal_key(struct tg_str destination, const unsigned char original[TG_POSTING_KEY_BYTES],
                    struct tg_str kind, struct tg_str leg, unsigned generation,
                    unsigned char out[TG_POSTING_KEY_BYTES]);

enum tg_hold_verdict { TG_HOLD_WAITS, TG_HOLD_ENDS, TG_HOLD_CANCELS };

/* What the state of the posting that a held one waits for means for the held one. */
enum tg_hold_verdict tg_hold_verdict(bool is_reversal, enum tg_posting_state waits_for);

/*
 * Its time is up. A hold behind a posting that waits for its destination, or is itself held, goes
 * on: an outage or a pause makes no exceptions. Only what waits for a person is told to a person.
 */
bool tg_hold_expires(enum tg_posting_state waits_for);

#endif
