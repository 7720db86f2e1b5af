/*
 * person.h: what a person may do about a posting that waits for one, as pure decisions.
 *
 * The rule behind all of them: the same key may go out again as often as somebody wants, after a
 * look-up whenever an earlier request may have landed; another key may only go out, and a posting
 * may only be given up, when it is certain that nothing landed. Whether something landed is
 * uncertain when the outcome is unknown, and for what a restored journal already had in exception:
 * the life between backup and restore may have sent it. A person who says what became of it settles
 * it.
 */
#ifndef TG_CORE_PERSON_H
#define TG_CORE_PERSON_H

#include "core/life.h"

enum tg_person_verb {
    TG_PERSON_REPLAY,         /* the same key and payload once more */
    TG_PERSON_RESOLVE_POSTED, /* it is there */
    TG_PERSON_RESOLVE_ABSENT, /* it is not there, and nothing is on its way */
    TG_PERSON_DISCARD,        /* it shall not be */
    TG_PERSON_EDIT,           /* another payload, under a new key */
    TG_PERSON_VERB_COUNT
};

/* Why it is in exception, from the exception's code. */
enum tg_person_cause {
    TG_CAUSE_REJECTED, /* the destination said no, for good */
    TG_CAUSE_ATTEMPTS, /* nothing happened, again and again */
    TG_CAUSE_HOLD,     /* what it waits for did not come in time */
    TG_CAUSE_UNKNOWN   /* nobody knows whether it landed */
};

struct tg_person_case {
    enum tg_posting_state state;
    enum tg_person_cause cause;
    bool was_unknown;   /* an exception of it, open or closed, said so */
    bool sent;          /* it was sent, or may have been before a restore: first_sent_ms is set */
    bool restored;      /* the backup of a restored journal had it */
    bool since_restore; /* and its exception is newer than that */
    bool superseded;    /* its version ended; never of a reversal */
    bool is_reversal;
    enum tg_posting_state original; /* of a reversal: the posting it takes back */
    bool behind;                    /* one of an older version is not final at its destination */
};

enum tg_person_hold { TG_PERSON_GOES, TG_PERSON_HELD_ORDER, TG_PERSON_HELD_REVERSAL };

struct tg_person_verdict {
    const char *refusal; /* why not, for a person; static. NULL: it may be done */
    enum tg_posting_event event;
    enum tg_posting_state to;   /* of the posting; EDIT: of the old one */
    enum tg_person_hold hold;   /* `to` is HELD: why. EDIT: of the new one */
    enum tg_exception_state as; /* how the exception ends */
    const char *outcome;        /* for tg_row_act; static */
};

enum tg_person_cause tg_person_cause_of(const char *code);

struct tg_person_verdict tg_person_decide(enum tg_person_verb verb, const struct tg_person_case *c);

/* May it have landed, as far as anybody was told? Then it is looked up before it is sent. */
bool tg_person_is_in_doubt(const struct tg_person_case *c);

/* How a verb ends an exception. */
enum tg_exception_state tg_person_ends_as(enum tg_person_verb verb);

#endif
