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

#include "core/engine.h"
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

enum tg_let_go {
    TG_LET_GO_YES,  /* it did nothing, and whoever cancels it now sees that it never does */
    TG_LET_GO_NO,   /* it may have had an effect, or be about to */
    TG_LET_GO_LATER /* a mark of it is on its way to the journal: ask again after its commit */
};

/* What may become of a posting. telling: something besides the engine is writing about it. state
 * and first_sent_ms are the journal's. */
enum tg_let_go tg_let_go(bool telling, enum tg_engine_grip grip, enum tg_posting_state state,
                         int64_t first_sent_ms);

/* What is told of a posting that is HELD or in EXCEPTION. */
struct tg_effect_told {
    enum tg_posting_state state;
    int64_t first_sent_ms;
    bool was_unknown; /* an exception of it said so, open or closed: someone may have erred */
    bool ran_out;     /* EXCEPTION: its hold ran out of time, and nothing else happened */
    bool restored;    /* EXCEPTION: the backup of a restored journal had it, exception and all */
};

/*
 * Can nobody say whether it landed? A send time on what is held, or was until its time ran out, is
 * that of another life of this journal, between backup and restore. And what was in exception
 * already in the backup may have been sent again in that life, by a person.
 */
bool tg_effect_is_unknown(const struct tg_effect_told *t);

/* In which state a planned posting begins. sent_ms: it may have been sent by another life of this
 * journal since then (0: it was not); a held one is then looked up when it is let go. */
enum tg_posting_state tg_posting_begins(bool is_held, int64_t sent_ms);

enum tg_hold_verdict { TG_HOLD_WAITS, TG_HOLD_ENDS, TG_HOLD_CANCELS };

/* What the state of the posting that a held one waits for means for the held one. */
enum tg_hold_verdict tg_hold_verdict(bool is_reversal, enum tg_posting_state waits_for);

/*
 * Its time is up. A hold behind a posting that waits for its destination, or is itself held, goes
 * on: an outage or a pause makes no exceptions. Only what waits for a person is told to a person.
 */
bool tg_hold_expires(enum tg_posting_state waits_for);

struct tg_hold_case {
    enum tg_posting_state waits_for; /* state of what it waits for; EXCEPTION if it names nothing */
    bool is_reversal;                /* held `reversal`, not `order` */
    bool is_due;                     /* its time is up */
    bool is_behind; /* an older version's posting is not final there; see tg_hold_asks */
};

enum tg_hold_step {
    TG_HOLD_STEP_NONE,
    TG_HOLD_STEP_RELEASE,
    TG_HOLD_STEP_CANCEL,
    TG_HOLD_STEP_EXPIRE, /* to a person */
    TG_HOLD_STEP_WAIT,   /* for the same one, until another time */
    TG_HOLD_STEP_NEXT    /* for the one it is behind */
};

/* Does the decision depend on is_behind? Finding out costs a query. */
bool tg_hold_asks(const struct tg_hold_case *c);
enum tg_hold_step tg_hold_decide(const struct tg_hold_case *c);
/* The event of a step that is one: RELEASE, CANCEL, EXPIRE. doubt: it has a send time, so it may
 * have been sent before a restore. */
enum tg_posting_event tg_hold_event(enum tg_hold_step step, bool doubt);

#endif
