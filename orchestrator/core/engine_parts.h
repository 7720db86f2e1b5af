/*
 * engine_parts.h: the inside of the engine, shared by engine*.c and by nobody else.
 *
 * A posting has a state (what the journal holds, or is being told) and a phase (where in memory it
 * is). Each phase is one place, so a posting can neither be lost nor be in two:
 *
 *   phase     is in                         state                     leaves by
 *   EMIT      the list of actions to write  any                       room in the caller's actions
 *   MARKING   the journal's queue           any                       MARKED, once for each mark
 *   QUEUED    its destination's turns       READY, RETRY, IN_DOUBT    its turn: marks [ready,] sent
 *   FLIGHT    the destination               SENT                      OUTCOME
 *   TIMER     the timers                    RETRY, IN_DOUBT           time
 *   ASKING    its destination's look-ups    IN_DOUBT                  its turn: LOOKUP
 *   LOOKING   the destination               IN_DOUBT                  LOOKUP's answer
 *
 * QUEUED with RETRY is due, QUEUED with IN_DOUBT was found absent: both are told `ready` in the
 * same commit as `sent`, never earlier. So a crash, or a long pause, between finding it absent and
 * sending it again leaves it in doubt, and it is looked up anew.
 *
 * `doubt`: a request of it may still land. It never goes away while the posting lives: a later
 * "nothing happened" or "rejected" speaks for that later request only, so such a posting goes back
 * to in doubt, never to retry or rejected. On disk it is in doubt or sent, hence survives a crash.
 *
 * Ownership: struct tg_engine owns all of it, allocated once in tg_engine_new.
 */
#ifndef TG_CORE_ENGINE_PARTS_H
#define TG_CORE_ENGINE_PARTS_H

#include "core/engine.h"
#include "core/heap.h"

#define TG_PATH_MAX 2 /* marks of one posting in one step */
#define TG_NO_POSTING UINT32_MAX

enum tg_phase {
    TG_PHASE_FREE,
    TG_PHASE_EMIT,
    TG_PHASE_MARKING,
    TG_PHASE_QUEUED,
    TG_PHASE_FLIGHT,
    TG_PHASE_TIMER,
    TG_PHASE_ASKING,
    TG_PHASE_LOOKING,
    TG_PHASE_COUNT
};

struct tg_path_step {
    enum tg_posting_state from, to;
    unsigned attempt;
    int64_t due_ms;
    const char *exception;
};

struct tg_posting {
    struct tg_heap_node node; /* in turns, look-ups or timers */
    int64_t id;
    int64_t due_ms; /* of RETRY; of the next look-up */
    int64_t first_sent_ms;
    int64_t sent_ms; /* the last send; of one that was loaded with a send: when that was */
    uint32_t destination;
    uint32_t next; /* in the list of EMIT, or of free ones */
    enum tg_posting_state state;
    enum tg_phase phase;
    unsigned attempt;
    unsigned waits;     /* answers in a row that used up no attempt: their backoff */
    unsigned lookups;   /* look-ups of this doubt that settled nothing */
    unsigned marks_out; /* MARK actions given out and not yet MARKED */
    bool doubt;
    bool refused;    /* rejected while in doubt: not to be sent again */
    bool superseded; /* cancelled as soon as it is clear that nothing happened */
    bool stuck;      /* the last answer was STUCK; counted in its destination */
    bool slot;       /* holds one of its destination's slots */
    enum tg_action_kind emit;
    struct tg_path_step path[TG_PATH_MAX]; /* emit MARK */
    unsigned path_len;
};

/*
 * What destinations share: limits, and the queue of those that may go on. A destination joins the
 * queue when it is touched and may go (tg_destination_may_go); it is taken out at its turn: behind
 * the others after each send, for good when it may no longer.
 */
struct tg_account {
    unsigned concurrency;
    struct tg_breaker breaker;
    struct tg_limiter limiter;
    struct tg_heap_node timer; /* when breaker or limiter may change by time alone */
    uint32_t next_dirty;
    bool dirty;                       /* in the list of those to look at in this step */
    bool probe_was_lookup;            /* what went out last */
    unsigned slots;                   /* in use, over its destinations */
    unsigned ramp;                    /* after an outage: slots usable, one more each answer */
    uint32_t queue_first, queue_last; /* destinations */
    bool block_untold;                /* in the list of those whose BLOCK is to be written */
    uint32_t next_block;
    uint32_t block_destination; /* of that BLOCK */
    int64_t block_until_ms;
};

struct tg_destination {
    struct tg_engine_destination is;
    uint32_t account; /* index */
    uint32_t next_queued;
    bool queued;          /* in its account's queue */
    struct tg_heap turns; /* QUEUED, by id */
    struct tg_heap asks;  /* ASKING, by id; before turns */
    bool paused;
    unsigned slots; /* in use */
    unsigned ramp;  /* after a pause: slots usable, one more with each answer */
    size_t open;
    size_t stuck;
    size_t in_phase[TG_PHASE_COUNT];
    size_t in_state[TG_POSTING_STATE_COUNT];
};

struct tg_engine {
    struct tg_destination *destinations;
    size_t destination_count;
    struct tg_account *accounts;
    size_t account_count;
    size_t window; /* postings of one destination */
    struct tg_posting *pool;
    uint32_t pool_used; /* never touched beyond */
    uint32_t capacity;
    uint32_t free_first;
    uint32_t emit_first, emit_last;
    uint32_t dirty_first, dirty_last; /* accounts */
    uint32_t block_first;             /* accounts whose BLOCK is to be written */
    uint32_t *table;                  /* id -> pool index; open addressing */
    uint32_t table_mask;
    struct tg_heap timers;           /* of postings */
    struct tg_heap account_timers;   /* of accounts */
    struct tg_heap_node **heap_room; /* the arrays of all heaps */
    size_t open;
    size_t in_phase[TG_PHASE_COUNT];
    uint64_t random;
    int64_t now_ms; /* of the last step */
    bool draining;
};

/* ---- engine_store.c: pool and hash table ---- */

struct tg_posting *tg_engine_find(const struct tg_engine *e, int64_t id);
/* A fresh one, in the table, phase EMIT counted nowhere yet. The caller checked the room. */
struct tg_posting *tg_engine_take(struct tg_engine *e, int64_t id, uint32_t destination,
                                  enum tg_posting_state state);
void tg_engine_drop(struct tg_engine *e, struct tg_posting *p);
void tg_engine_set_phase(struct tg_engine *e, struct tg_posting *p, enum tg_phase phase);
void tg_engine_set_state(struct tg_engine *e, struct tg_posting *p, enum tg_posting_state state);
void tg_engine_set_stuck(struct tg_engine *e, struct tg_posting *p, bool stuck);

/* ---- engine_flow.c: from decisions to actions ---- */

/* Adds a mark: the edge of tg_posting_next. Then tg_engine_emit(MARK). */
void tg_engine_tell(struct tg_engine *e, struct tg_posting *p, enum tg_posting_event event,
                    const char *exception);
/* Queues the action of a posting that is in no other place. */
void tg_engine_emit(struct tg_engine *e, struct tg_posting *p, enum tg_action_kind kind);
/* The same, before all others. */
void tg_engine_emit_first(struct tg_engine *e, struct tg_posting *p, enum tg_action_kind kind);
struct tg_account *tg_engine_account(const struct tg_engine *e, uint32_t destination);
/* Somebody waits there, and nothing of its own is in the way: its account decides. */
bool tg_destination_may_go(const struct tg_destination *d);
unsigned tg_account_slots_usable(const struct tg_account *a);
/* Something changed: it, and its account, are looked at in this step. */
void tg_engine_touch(struct tg_engine *e, struct tg_destination *d);
/* It asked for a pause. told: the shell is to keep it. */
void tg_engine_block(struct tg_engine *e, uint32_t destination, int64_t until_ms, bool told);
void tg_engine_enqueue(struct tg_engine *e, struct tg_posting *p); /* waits for its turn */
void tg_engine_ask(struct tg_engine *e, struct tg_posting *p);     /* likewise, for a look-up */
void tg_engine_wait(struct tg_engine *e, struct tg_posting *p);    /* until due_ms */
void tg_engine_release_slot(struct tg_engine *e, struct tg_posting *p);
/* May the same key be sent again after a look-up said absent? */
bool tg_engine_resend_is_safe(const struct tg_engine *e, const struct tg_posting *p);
/* Marked sent, but no byte went (engine.c): due when the account may be asked again. */
void tg_engine_take_back(struct tg_engine *e, struct tg_posting *p);
/* All of this destination that are stuck and wait are due. */
void tg_engine_mended(struct tg_engine *e, uint32_t destination);
/* The clock was set back by so much (or, < 0, it was not after all): what waits moves with it. */
void tg_engine_shift(struct tg_engine *e, int64_t by_ms);
/* Due timers, destinations' turns, then actions as far as there is room. */
void tg_engine_run(struct tg_engine *e, struct tg_actions *out);

#endif
