/*
 * life.h: the life cycles of design section 5 as tables; nothing outside them is possible.
 *
 * The numbers are stored in the journal and never change meaning. docs/INVARIANTS.md draws them;
 * a test compares the drawing with these tables.
 */
#ifndef TG_CORE_LIFE_H
#define TG_CORE_LIFE_H

#include "common/str.h"

enum tg_event_state {
    TG_EVENT_IN_STREAM = 0, /* never in the journal: answered from the stream */
    TG_EVENT_ACCEPTED = 1,
    TG_EVENT_DUPLICATE = 2,
    TG_EVENT_EXCEPTION = 3
};

enum tg_version_state {
    TG_VERSION_HELD = 0,
    TG_VERSION_VALIDATED = 1,
    TG_VERSION_SUPERSEDED = 2,
    TG_VERSION_WITHDRAWN = 3,
    TG_VERSION_EXCEPTION = 4
};

/* Derived from an object's postings; never stored. */
enum tg_business_state {
    TG_BUSINESS_RECEIVED,
    TG_BUSINESS_VALIDATED,
    TG_BUSINESS_POSTED,
    TG_BUSINESS_BILLED,
    TG_BUSINESS_PAID,
    TG_BUSINESS_REVERSED,
    TG_BUSINESS_EXCEPTION
};

/* X(enumerator, value, name, final) */
#define TG_POSTING_STATE_TABLE(X)                                                                  \
    X(PLANNED, 0, "planned", false)                                                                \
    X(HELD, 1, "held", false)                                                                      \
    X(READY, 2, "ready", false)                                                                    \
    X(SENT, 3, "sent", false)                                                                      \
    X(RETRY, 4, "retry", false)                                                                    \
    X(IN_DOUBT, 5, "in_doubt", false)                                                              \
    X(POSTED, 6, "posted", true)                                                                   \
    X(REJECTED, 7, "rejected", false)                                                              \
    X(CANCELLED, 8, "cancelled", true)                                                             \
    X(EXCEPTION, 9, "exception", false)                                                            \
    X(REVERSED, 10, "reversed", true)

#define TG_POSTING_ENUM(name, value, text, final) TG_POSTING_##name = (value),
enum tg_posting_state { TG_POSTING_STATE_TABLE(TG_POSTING_ENUM) TG_POSTING_STATE_COUNT = 11 };
#undef TG_POSTING_ENUM

/* What moves a posting. */
#define TG_POSTING_EVENT_TABLE(X)                                                                  \
    X(PLAN_READY, "plan_ready") /* nothing to wait for */                                          \
    X(HOLD, "hold")             /* order, period, maintenance, master data; a person: again */     \
    X(RELEASE, "release")       /* the named thing came */                                         \
    X(HOLD_EXPIRED, "hold_expired")                                                                \
    X(SUPERSEDED, "superseded") /* a later version, and nothing happened there */                  \
    X(SEND, "send")             /* limits and breaker allow */                                     \
    X(ANSWER_POSTED, "answer_posted")                                                              \
    X(ANSWER_REJECTED, "answer_rejected")                                                          \
    X(ANSWER_RETRY, "answer_retry") /* nothing happened there, try again */                        \
    X(ANSWER_UNCLEAR, "answer_unclear")                                                            \
    X(DUE, "due") /* the retry timer */                                                            \
    X(ATTEMPTS_USED_UP, "attempts_used_up")                                                        \
    X(FOUND, "found")                 /* look-up */                                                \
    X(ABSENT_SAFE, "absent_safe")     /* look-up says absent, and a resend is safe */              \
    X(ABSENT_UNSAFE, "absent_unsafe") /* absent, but a late first request may still land */        \
    X(LOOKUP_GAVE_UP, "lookup_gave_up")                                                            \
    X(OPEN_EXCEPTION, "open_exception") /* rejected: hand to its owner */                          \
    X(REPLAY, "replay")                 /* a person: same key again */                             \
    X(REVERSAL_POSTED, "reversal_posted")                                                          \
    X(RESTORED, "restored") /* the journal came from a backup: may have been sent since */         \
    X(RELEASE_DOUBT, "release_doubt")     /* the named thing came, and it may have been sent */    \
    X(REPLAY_DOUBT, "replay_doubt")       /* a person: again, and it may have landed */            \
    X(RESOLVED_POSTED, "resolved_posted") /* a person: it is there */                              \
    X(DISCARD, "discard")                 /* a person: it shall not be */                          \
    X(EDITED, "edited")                   /* a person: another payload, as another posting */

#define TG_POSTING_EVENT_ENUM(name, text) TG_PE_##name,
enum tg_posting_event { TG_POSTING_EVENT_TABLE(TG_POSTING_EVENT_ENUM) TG_PE_COUNT };
#undef TG_POSTING_EVENT_ENUM

enum tg_exception_state {
    TG_EXCEPTION_OPEN = 0,
    TG_EXCEPTION_ASSIGNED = 1,
    TG_EXCEPTION_REPLAYED = 2,
    TG_EXCEPTION_EDITED = 3,
    TG_EXCEPTION_DISCARDED = 4,
    TG_EXCEPTION_AUTO_CLOSED = 5,
    TG_EXCEPTION_RESOLVED = 6 /* a person said what became of it */
};
#define TG_EXCEPTION_STATES 7 /* how many there are */

/* The one transition function. 0 and *next, or -1: not an edge; *next is then untouched. */
int tg_posting_next(enum tg_posting_state s, enum tg_posting_event e, enum tg_posting_state *next);

bool tg_posting_is_final(enum tg_posting_state s);
/* Names are static; a number that is none of ours gives "unknown". */
const char *tg_posting_state_name(enum tg_posting_state s);
const char *tg_posting_event_name(enum tg_posting_event e);
const char *tg_event_state_name(enum tg_event_state s);
const char *tg_version_state_name(enum tg_version_state s);
const char *tg_business_state_name(enum tg_business_state s);
const char *tg_exception_state_name(enum tg_exception_state s);

/*
 * Business state of an object from its version state and the states of its live postings: any
 * exception or rejection wins; then open work (validated, or received while the version is held);
 * posted when none is open and one stands; reversed when every effect is reversed. Cancelled ones
 * count for nothing. postings: those the version planned; of their reversals only the ones in
 * exception. Billed and paid come from feedback, not from here.
 */
enum tg_business_state tg_business_state_of(enum tg_version_state v,
                                            const enum tg_posting_state *postings, size_t n);

/*
 * Key of a posting (design section 5): SHA-256 over destination, subject (object@version), kind,
 * leg and generation (4 bytes big endian), each preceded by its length as 4 bytes big endian; the
 * first 16 bytes, 32 hex digits on the wire. destination is the id over all tenants, "acme/erp".
 * 0, or -1 when OpenSSL fails or a part is over 4 GiB; likewise the two below.
 */
int tg_posting_key(struct tg_str destination, struct tg_str subject, struct tg_str kind,
                   struct tg_str leg, unsigned generation, unsigned char out[TG_POSTING_KEY_BYTES]);

/* The same of a posting of an object's version: the subject is the object's key (below) in hex, @,
 * and the version. */
int tg_version_posting_key(struct tg_str destination,
                           const unsigned char object[TG_POSTING_KEY_BYTES], int64_t version,
                           const char *kind, const char *leg, unsigned generation,
                           unsigned char out[TG_POSTING_KEY_BYTES]);

/* Identity of an event at intake: tenant, client, source, id; same construction. */
int tg_event_identity(struct tg_str tenant, struct tg_str client, struct tg_str source,
                      struct tg_str id, unsigned char out[TG_POSTING_KEY_BYTES]);

/* Key of an object over its versions: tenant, kind, source name, the source's object id. */
int tg_object_key(struct tg_str tenant, struct tg_str kind, struct tg_str source, struct tg_str id,
                  unsigned char out[TG_POSTING_KEY_BYTES]);

#endif
