/*
 * engine.h: the heart of sending. step(state, event, now) -> actions; no I/O, no clock, no threads.
 *
 * The shell (orchestrator/dispatch) feeds what happened and carries out what comes back; so does
 * the simulator (tests/sim), which is why both can be trusted alike. Rules it keeps:
 *   - `sent` is durable before the first byte: SEND comes only after MARKED of the sent mark.
 *   - an outcome is durable before the posting is forgotten.
 *   - after a crash, a posting found `sent` is in doubt, and is looked up before any resend.
 *   - absent after a look-up is re-sent only if the destination's dedupe class makes that safe.
 *   - what may have landed is never called retry, rejected or cancelled, even when a later request
 *     of it did nothing: it stays in doubt until it is found, or a person decides.
 *   - breaker, limiter and concurrency waits use up no attempt, and make no exception. Nor does
 * what is out of use there and concerns some postings only: these wait, the others go.
 *   - every open posting has a timer, is in flight, waits for a mark, or waits for its
 *     destination's turn: tg_engine_check proves it.
 *
 * Within a destination turns go by id, look-ups before sends. Destinations of one account share its
 * limiter, its breaker and its slots, and take turns: one send or look-up each, round and round.
 * After a pause a destination's slots come back one by one, after an outage the account's.
 * Destinations share the memory in equal windows, so none starves another.
 *
 * A pause that a destination asks for (429 with Retry-After) is the whole account's. Once it is
 * heard nothing is sent or looked up there before it is over: what was marked sent and has not gone
 * is taken back. It is told to the shell (TG_ACT_BLOCK), which keeps it, and after a restart feeds
 * it back (TG_EV_BLOCK) before it loads.
 *
 * The wall clock may jump. Forward: everything due comes at once. Back: all that waits moves back
 * with it, so nobody waits for the length of the jump. The engine sees a jump against the time of
 * its last step, so the shell steps it often, and at once when the clock went back.
 *
 * Ownership: the engine owns its postings; actions are written into the caller's array and hold
 * ids, never pointers.
 */
#ifndef TG_CORE_ENGINE_H
#define TG_CORE_ENGINE_H

#include "common/rate.h"
#include "core/breaker.h"
#include "core/life.h"
#include "core/limiter.h"

struct tg_engine;

enum tg_dedupe { TG_DEDUPE_UNIQUE, TG_DEDUPE_IDEMPOTENCY, TG_DEDUPE_LOOKUP_ONLY, TG_DEDUPE_NONE };

struct tg_engine_destination {
    enum tg_dedupe dedupe;
    /* With TG_DEDUPE_IDEMPOTENCY: how long after the first send the key is surely still known.
     * Shorter than the destination's own by the clock's error, the longest a send takes, and the
     * longest time between two steps: a clock set back loses that much. */
    int64_t idempotency_ttl_ms;
    /* How long a request may go on there after it was sent: until then `absent` proves nothing. */
    int64_t max_execution_ms;
    unsigned concurrency; /* of its account, 1..TG_DEST_CONCURRENCY_MAX */
    struct tg_rate rate;  /* of its account; capacity 0: none */
    /* 0: an account of its own. Destinations with the same number share one; concurrency and rate
     * are then those of the first of them. */
    uint32_t account;
};

/* A posting as the journal holds it. */
struct tg_engine_posting {
    int64_t id;
    uint32_t destination;        /* index */
    enum tg_posting_state state; /* READY, SENT, RETRY or IN_DOUBT */
    unsigned attempt;            /* see struct tg_action */
    int64_t due_ms;              /* RETRY: the next send; IN_DOUBT: the next look-up */
    int64_t first_sent_ms;       /* when it was first marked sent; 0: never */
    bool superseded;             /* as after CANCEL */
};

enum tg_outcome {
    TG_OUTCOME_POSTED,    /* it says it has it */
    TG_OUTCOME_REJECTED,  /* it says no, for good */
    TG_OUTCOME_RETRY,     /* nothing happened there; later */
    TG_OUTCOME_THROTTLED, /* nothing happened there; it asks for a pause of retry_after_ms */
    TG_OUTCOME_DOWN,      /* nothing was sent: it could not be reached. Counts for the breaker */
    TG_OUTCOME_STUCK,     /* nothing was sent: what this one needs there is out of use; others go */
    TG_OUTCOME_IN_DOUBT   /* sent, no clear answer */
};

enum tg_lookup {
    TG_LOOKUP_FOUND,
    TG_LOOKUP_ABSENT,
    TG_LOOKUP_UNKNOWN,  /* asked, no clear answer */
    TG_LOOKUP_DOWN,     /* it could not be reached. Counts for the breaker */
    TG_LOOKUP_STUCK,    /* what this one needs there is out of use; others can be looked up */
    TG_LOOKUP_THROTTLED /* it asks for a pause of retry_after_ms */
};

enum tg_engine_event_kind {
    TG_EV_LOADED,  /* .posting: read from the journal; -1: no room, or held already */
    TG_EV_MARKED,  /* .id: one mark is on disk; once for each MARK action */
    TG_EV_OUTCOME, /* .id .outcome .retry_after_ms */
    TG_EV_LOOKUP,  /* .id .lookup .retry_after_ms */
    TG_EV_CANCEL,  /* .id: superseded by a later version; see below */
    TG_EV_PAUSE,   /* .destination: holds, drops nothing; what is marked sent still goes */
    TG_EV_RESUME,  /* .destination */
    TG_EV_BLOCK,   /* .destination .until_ms .said_ms: a pause it asked for, found at a start */
    TG_EV_MENDED,  /* .destination: what was STUCK there may go now */
    TG_EV_TICK     /* time passed */
};

/*
 * CANCEL. A posting that waits and can have had no effect (never sent, or in retry) is forgotten:
 * the first action of this step is then its FORGET, without a MARK, since whoever supersedes it
 * writes `cancelled` in the same commit as the version that does so. In any other state (0, no
 * FORGET) it goes its way, but for one thing: when it turns out that nothing happened, it is not
 * tried again nor given to a person, but marked cancelled. What may have landed is found out as
 * ever. -1: not held.
 *
 * It takes no time: what became due since the last step begins in the next one. So several that
 * tg_engine_grip said WAITS of can be cancelled one after the other.
 */
struct tg_engine_event {
    enum tg_engine_event_kind kind;
    int64_t id;
    uint32_t destination;
    struct tg_engine_posting posting;
    enum tg_outcome outcome;
    enum tg_lookup lookup;
    int64_t retry_after_ms;
    int64_t until_ms, said_ms;
};

enum tg_action_kind {
    TG_ACT_MARK,   /* make durable: .id goes .from -> .state, .attempt, .due_ms; then feed MARKED */
    TG_ACT_SEND,   /* .id: first byte may go */
    TG_ACT_LOOKUP, /* .id: ask the destination for its key */
    TG_ACT_BLOCK,  /* .destination asked for a pause until .due_ms: make durable; no MARKED. No .id
                    */
    TG_ACT_FORGET  /* .id: the engine no longer holds it (final, handed to a person, or parked) */
};

/*
 * Every MARK is one edge of tg_posting_next. Two edges taken at once are two MARKs, next to each
 * other: (rejected, exception), (retry, exception), (in_doubt, exception), (ready, sent), and of a
 * superseded one (rejected, cancelled), (retry, cancelled). They must go into one commit, in this
 * order; each is answered by its own MARKED. So `rejected` never stands alone in the journal, and a
 * posting is told `ready` again only together with `sent`.
 *
 * attempt: how many sends of this posting were begun and used up, this one included. A send that
 * ended DOWN, THROTTLED or STUCK, or was taken back before its first byte, is taken off again.
 *
 * Parked: a STUCK posting beyond half of its destination's window is forgotten in RETRY or
 * IN_DOUBT, so that those which can go have room. After the destination's MENDED the shell loads
 * it again.
 */
struct tg_action {
    enum tg_action_kind kind;
    int64_t id;
    uint32_t destination;
    enum tg_posting_state from;  /* MARK */
    enum tg_posting_state state; /* MARK: to */
    unsigned attempt;
    int64_t due_ms;        /* MARK to RETRY or IN_DOUBT, BLOCK; else 0 */
    const char *exception; /* MARK to EXCEPTION: code of conf/catalogue.yaml, static */
};

struct tg_actions {
    struct tg_action items[TG_ACTIONS_MAX];
    size_t count;
};

/* What each answer leads to.
 *
 *   POSTED     posted
 *   REJECTED   rejected, exception destination_rejected (in doubt before: looked up, not re-sent)
 *   RETRY      retry with backoff, or after a retry_after_ms, which is for this posting alone;
 *              after TG_RETRY_ATTEMPTS_MAX exception attempts_used_up
 *   THROTTLED  retry after retry_after_ms, the whole account waits; no attempt used up
 *   DOWN       retry soon, counts for the breaker; no attempt used up, so it may go on for ever
 *   STUCK    retry after MENDED, or with a long backoff; no attempt used up, the others go on
 *   IN_DOUBT   in_doubt, looked up after a while (dedupe NONE: exception outcome_unknown at once)
 *
 *   FOUND      posted
 *   ABSENT     re-sent if UNIQUE, or IDEMPOTENCY within its ttl (checked again when its turn comes)
 *              and attempts are left; else, when max_execution_ms since its last send are not over,
 *              looked up again when they are, and nothing is used up; otherwise as UNKNOWN
 *   UNKNOWN    looked up again with backoff; after TG_LOOKUP_ATTEMPTS_MAX exception outcome_unknown
 *   DOWN       looked up again with backoff, counts for the breaker, uses up no look-up
 *   STUCK    looked up again after MENDED, or with a long backoff; uses up no look-up
 *   THROTTLED  looked up again after retry_after_ms, the whole account waits; likewise
 */

/* seed: for jitter. n (at most TG_ENGINE_DESTINATIONS_MAX) destinations, copied. NULL: out of
 * memory. All memory is taken here. */
struct tg_engine *tg_engine_new(const struct tg_engine_destination *destinations, size_t n,
                                uint64_t seed);
void tg_engine_free(struct tg_engine *e);

/*
 * One step. Appends to out. When out is nearly full the engine stops early and has more to do:
 * tg_engine_wake_ms then returns now. 0, or -1: the event does not fit the state (a bug of the
 * shell, or an answer for a posting no longer held); nothing changed.
 */
int tg_engine_step(struct tg_engine *e, const struct tg_engine_event *ev, int64_t now_ms,
                   struct tg_actions *out);

enum tg_engine_grip {
    TG_GRIP_NONE,    /* not held */
    TG_GRIP_WAITS,   /* CANCEL would forget it now */
    TG_GRIP_TELLING, /* marks of it are on their way to the journal */
    TG_GRIP_BEGUN    /* it may have had an effect */
};
enum tg_engine_grip tg_engine_grip(const struct tg_engine *e, int64_t id);

/* How many more postings of this destination may be loaded now: an equal share of
 * TG_OPEN_POSTINGS_MAX, at most TG_DEST_WINDOW_MAX. 0 while draining. */
size_t tg_engine_room(const struct tg_engine *e, uint32_t destination);

/* When to call with TICK next; INT64_MAX: not before something happens. */
int64_t tg_engine_wake_ms(const struct tg_engine *e);

struct tg_engine_stats {
    size_t open;
    size_t in_flight;              /* sends and look-ups that are out */
    size_t retry, in_doubt;        /* by state */
    size_t marking;                /* wait for the journal */
    size_t stuck;                  /* the last answer was STUCK */
    enum tg_breaker_state breaker; /* its account's */
    bool paused;
    int64_t blocked_until_ms; /* its account was asked to wait; 0: it was not, or that is over */
};
void tg_engine_destination_stats(const struct tg_engine *e, uint32_t destination,
                                 struct tg_engine_stats *out);

/* True when nothing is in flight, being looked up, or waiting for a mark: safe to stop. */
bool tg_engine_is_quiet(const struct tg_engine *e);
/* From now on nothing is loaded and nothing new is sent or looked up; what is out is finished. A
 * sent mark that comes back now is taken back (retry, due at once), as no byte has gone. */
void tg_engine_drain(struct tg_engine *e);

/* Invariants of this file. 0, or -1 with the first one broken. */
int tg_engine_check(const struct tg_engine *e, int64_t now_ms, struct tg_error *err);

#endif
