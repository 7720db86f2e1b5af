/*
 * sim.h: the engine in a simulated world.
 *
 * One run = one seed. world.c owns time: a heap of events, true time apart from the wall clock the
 * engine is shown, crashes, jumps, pauses. shell.c does what orchestrator/dispatch does, with a
 * simulated journal: marks become durable in groups, later, or never when the process dies first.
 * place.c is the destinations: each has an authoritative book of what it really did, and answers
 * truly, late, wrongly or not at all. judge.c compares rows with books once all is quiet, and
 * looks over every step. The engine is the product's own; nothing of it is replaced.
 *
 * Ownership: one struct sim owns everything of a run; sim_run ends it.
 */
#ifndef TG_SIM_SIM_H
#define TG_SIM_SIM_H

#include "core/decimal.h"
#include "core/engine.h"
#include "core/retry.h"

#define SIM_POSTINGS_MAX 48
#define SIM_PLACES_MAX 3
#define SIM_EVENTS_MAX 8192
#define SIM_REQUESTS_MAX 8192
#define SIM_MARKS_MAX 1024
#define SIM_STEPS_MAX 100000
#define SIM_CRASHES_MAX 6
#define SIM_START_MS INT64_C(1790000000000)
#define SIM_NET_LATE_MAX_MS 120000  /* a request may be this late */
#define SIM_EXEC_LATE_MAX_MS 180000 /* and be worked on this long */
#define SIM_JUMP_BACK_MAX_MS (INT64_C(5) * 24 * 3600 * 1000)
#define SIM_SETTLE_MAX_MS 10800000 /* once calm, all is done within this */
#define SIM_TTL_MARGIN_MS 300000   /* a true ttl is longer than the declared one by this */

/* X(enumerator, what the shell or a connector does wrong) */
#define SIM_MUTATION_TABLE(X)                                                                      \
    X(NONE, "nothing")                                                                             \
    X(SEND_EARLY, "says a mark is durable before it is")                                           \
    X(SENT_AS_READY, "loads sent as ready after a crash")                                          \
    X(DOUBT_AS_READY, "loads in_doubt as ready after a crash")                                     \
    X(UNCLEAR_AS_RETRY, "calls a dropped connection `nothing happened`")                           \
    X(SPLIT_COMMIT, "commits two marks of one step apart")                                         \
    X(LOST_ANSWER, "sometimes never reports an answer")                                            \
    X(SKIPPED_LOAD, "sometimes skips a posting while loading")                                     \
    X(CANCEL_ANYWAY, "cancels although the engine refused")                                        \
    X(NO_RETRY_AFTER, "drops Retry-After")                                                         \
    X(LOST_DUE, "loads retry without its due time")                                                \
    X(LOST_MARK, "sometimes says a mark is durable and never writes it")                           \
    X(CLAIMS_UNIQUE, "declares unique for a destination that does not dedupe")                     \
    X(TTL_TOO_LONG, "declares an idempotency ttl that never ends")                                 \
    X(TOO_MANY, "configures more concurrency than there is")                                       \
    X(OWN_ACCOUNTS, "gives each destination of an account limits of its own")                      \
    X(UNWRITTEN_WAIT, "does not write down what a destination asked for")                          \
    X(FORGOTTEN_WAIT, "does not say after a crash what a destination had asked for")               \
    X(MARKED_TWICE, "reports a mark twice")                                                        \
    X(CLOCK_HELD, "holds the clock it shows until a jump back is made up")

#define SIM_MUTATION_ENUM(name, what) SIM_MUTATION_##name,
enum sim_mutation { SIM_MUTATION_TABLE(SIM_MUTATION_ENUM) SIM_MUTATION_COUNT };
#undef SIM_MUTATION_ENUM

/* Situations that a set of runs must have met, else it proved less than it seems. */
#define SIM_SEEN_TABLE(X)                                                                          \
    X(CRASH, "crashes")                                                                            \
    X(CRASH_LOST_MARKS, "crashes that lost marks")                                                 \
    X(CRASH_AFTER_COMMIT, "crashes between commit and its notice")                                 \
    X(LOADED_SENT, "postings found sent after a crash")                                            \
    X(LATE_LANDING, "requests that landed after a look-up said absent")                            \
    X(RESENT, "sends after a look-up said absent")                                                 \
    X(ALREADY, "answers `have it already`")                                                        \
    X(STALE_READ, "look-ups that missed what had landed")                                          \
    X(FOUND, "look-ups that found")                                                                \
    X(THROTTLED, "429 answers")                                                                    \
    X(WAIT_KEPT, "restarts while a destination had asked for a pause")                             \
    X(HELD_BACK, "sends taken back because a destination asked for a pause")                       \
    X(SHARED, "destinations that share an account")                                                \
    X(DOWN, "refused connections")                                                                 \
    X(STUCK, "sends that met a damaged file")                                                      \
    X(STUCK_IN_DOUBT, "look-ups that met a damaged file")                                          \
    X(MENDED, "files mended with postings waiting")                                                \
    X(REJECTED, "rejections")                                                                      \
    X(REJECTED_IN_DOUBT, "rejections of postings in doubt")                                        \
    X(BREAKER_OPEN, "breakers opened")                                                             \
    X(PAUSED, "pauses")                                                                            \
    X(CANCELLED, "cancellations")                                                                  \
    X(CANCEL_REFUSED, "cancellations refused")                                                     \
    X(DRAINED, "clean stops")                                                                      \
    X(TAKEN_BACK, "sent marks taken back before the first byte")                                   \
    X(JUMP_FORWARD, "clock jumps forward")                                                         \
    X(JUMP_BACK, "clock jumps back")                                                               \
    X(JUMP_BACK_DAYS, "clock jumps back by up to days, with postings open")                        \
    X(NO_ROOM, "steps with hardly any room for actions")                                           \
    X(USED_UP, "exceptions attempts_used_up")                                                      \
    X(UNKNOWN, "exceptions outcome_unknown")                                                       \
    X(TTL_PASSED, "postings whose key was forgotten meanwhile")                                    \
    X(CALM, "runs without faults")

#define SIM_SEEN_ENUM(name, what) SIM_SEEN_##name,
enum sim_seen { SIM_SEEN_TABLE(SIM_SEEN_ENUM) SIM_SEEN_COUNT };
#undef SIM_SEEN_ENUM

enum sim_event_kind {
    SIM_EV_PLAN,    /* .a posting */
    SIM_EV_CANCEL,  /* .a posting */
    SIM_EV_ARRIVE,  /* .a request: reaches the destination */
    SIM_EV_LAND,    /* .a request: its effect happens */
    SIM_EV_ANSWER,  /* .a request: the shell hears .b, an outcome or look-up; .c retry_after_ms */
    SIM_EV_DURABLE, /* .a group */
    SIM_EV_NOTICE,  /* .a group */
    SIM_EV_JUMP,    /* .c ms */
    SIM_EV_PAUSE,   /* .a place */
    SIM_EV_RESUME,
    SIM_EV_DOWN,
    SIM_EV_UP,
    SIM_EV_DAMAGE, /* .a place: one of its files */
    SIM_EV_MEND,
    SIM_EV_STOP,
    SIM_EV_START,
    SIM_EV_CALM /* no more faults */
};

struct sim_event {
    int64_t at_ms;
    uint64_t order;
    enum sim_event_kind kind;
    unsigned epoch;
    uint32_t a;
    int b;
    int64_t c;
};

/* A posting: its durable row, what the shell told since, and what is true of it. */
struct sim_row {
    int64_t id;
    uint32_t place;
    bool planned;
    enum tg_posting_state state; /* durable from here */
    unsigned attempt;
    int64_t due_ms;
    int64_t first_sent_ms;
    const char *exception;      /* to here */
    enum tg_posting_state told; /* with marks not durable yet */
    bool held;                  /* by the engine */
    bool out;                   /* a send is out, in this epoch */
    bool cancel_told;
    bool went; /* since its last sent mark, or it was found sent */
    int64_t send_marked_ms;
    int64_t not_before_ms; /* its own Retry-After */
    struct tg_decimal amount;
    unsigned effects; /* in the book */
    int64_t landed_ms;
    int64_t key_known_ms; /* idempotency: when the destination first saw the key */
    bool key_known, working;
    bool key_rejected;
    bool poisoned; /* rejected for good, from poisoned_ms on */
    int64_t poisoned_ms;
    bool absent_said;  /* by a look-up, to this process */
    int64_t absent_ms; /* when it was last said, to any */
};

struct sim_place {
    struct tg_engine_destination truth;    /* what it really is */
    struct tg_engine_destination declared; /* what the engine was told */
    uint32_t account; /* the first place of its account; itself when it is alone */
    bool paused;
    int64_t timeout_ms;
    int64_t after;                       /* the loader's cursor */
    int64_t wait_until_ms, wait_said_ms; /* durable: what it asked for */
    /* of its account, kept at the first place of it: */
    bool down;
    bool damaged;                  /* what every third posting needs there */
    unsigned out;                  /* sends and look-ups, this epoch */
    int64_t not_before_ms;         /* nothing may go out before */
    int64_t durable_not_before_ms; /* the part of it that is on disk */
    bool breaker_was_open;
    struct tg_decimal book;
};

struct sim_request {
    uint32_t row;
    unsigned epoch;
    bool is_lookup;
    bool answered;
    int64_t sent_ms;
};

struct sim_mark {
    uint32_t row;
    bool is_cancel; /* intake's own: no MARKED */
    bool is_wait;   /* of a place (.place .due_ms .at_ms): no MARKED either */
    uint32_t place;
    int64_t not_before_ms; /* is_wait: what the judge holds it to */
    bool lost;
    enum tg_posting_state from, to;
    unsigned attempt;
    int64_t due_ms;
    int64_t at_ms;
    const char *exception;
    uint32_t group; /* 0: not yet taken by the journal */
};

struct sim {
    uint64_t seed;
    uint64_t random;
    enum sim_mutation mutation;
    bool trace;
    bool calm_run;  /* no faults at all */
    bool calm;      /* no more faults */
    int64_t now_ms; /* true */
    int64_t skew_ms;
    int64_t shown_ms; /* the clock at the last step; used by a mutation */
    int64_t calm_ms;  /* true time from which nothing goes wrong */
    unsigned epoch;
    unsigned steps;
    unsigned order;
    bool alive, stopping;
    unsigned crash_at[SIM_CRASHES_MAX];
    size_t crashes;
    struct tg_engine *engine;
    struct sim_place places[SIM_PLACES_MAX];
    size_t place_count;
    struct sim_row rows[SIM_POSTINGS_MAX];
    size_t row_count;
    struct sim_request requests[SIM_REQUESTS_MAX];
    size_t request_count;
    struct sim_mark marks[SIM_MARKS_MAX];
    size_t mark_count;
    bool journal_busy;
    uint32_t group_last;
    struct sim_event heap[SIM_EVENTS_MAX];
    size_t heap_count;
    uint64_t event_order;
    struct tg_actions actions;
    uint64_t *seen; /* SIM_SEEN_COUNT counters, over all runs */
    bool failed;
    struct tg_error fault;
};

/* ---- world.c ---- */
/* One whole run. 0, or -1 with s->fault. */
int sim_run(struct sim *s, uint64_t seed, enum sim_mutation mutation, bool trace, uint64_t *seen);
int64_t sim_wall_ms(const struct sim *s);
uint64_t sim_below(struct sim *s, uint64_t n);                 /* 0..n-1 */
int64_t sim_between(struct sim *s, int64_t low, int64_t high); /* both included */
bool sim_chance(struct sim *s, unsigned percent);              /* false once calm */
void sim_at(struct sim *s, int64_t at_ms, enum sim_event_kind kind, uint32_t a, int b, int64_t c);
void sim_see(struct sim *s, enum sim_seen what);
struct sim_place *sim_account(struct sim *s, uint32_t place);
/* The first fault is kept. */
void sim_fault(struct sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void sim_trace(const struct sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- shell.c ---- */
void sim_shell_start(struct sim *s);
void sim_shell_crash(struct sim *s);
void sim_shell_stop(struct sim *s);
void sim_shell_load(struct sim *s);
void sim_shell_feed(struct sim *s, const struct tg_engine_event *ev);
void sim_shell_cancel(struct sim *s, uint32_t row);
void sim_shell_durable(struct sim *s, uint32_t group);
void sim_shell_notice(struct sim *s, uint32_t group);
void sim_shell_answer(struct sim *s, uint32_t request, int result, int64_t retry_after_ms);

/* ---- place.c ---- */
void sim_place_send(struct sim *s, uint32_t row);
void sim_place_lookup(struct sim *s, uint32_t row);
void sim_place_arrive(struct sim *s, uint32_t request);
void sim_place_land(struct sim *s, uint32_t request);

/* ---- judge.c ---- */
void sim_judge_mark(struct sim *s, const struct tg_action *a);
void sim_judge_send(struct sim *s, uint32_t row, const struct tg_action *a);
void sim_judge_lookup(struct sim *s, uint32_t row);
void sim_judge_cancel(struct sim *s, uint32_t row); /* it was granted */
/* What must not come before its hour: the hour moves with the clock. */
void sim_judge_clock_back(struct sim *s, int64_t by_ms);
void sim_judge_end(struct sim *s);

#endif
