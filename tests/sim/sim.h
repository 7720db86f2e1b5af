/*
 * sim.h: the engine in a simulated world.
 *
 * One run = one seed. world.c owns time: a heap of events, true time apart from the wall clock the
 * engine is shown, crashes, jumps, pauses. shell.c does what orchestrator/dispatch does, with a
 * simulated journal: marks become durable in groups, later, or never when the process dies first.
 * intake.c is the stream of objects in several versions, and what orchestrator/intake does with
 * them; holds.c what dispatch does with postings that wait for others; backup.c a restore. place.c
 * is the destinations: each has an authoritative book of what it really did by key, and answers
 * truly, late, wrongly or not at all. judge.c compares rows with books once all is quiet, and
 * looks over every step; story.c does so with objects. The decisions are the product's own
 * (core/engine, core/correct, core/life, intake/decide); nothing of them is replaced.
 *
 * Ownership: one struct sim owns everything of a run; sim_run ends it.
 */
#ifndef TG_SIM_SIM_H
#define TG_SIM_SIM_H

#include "core/correct.h"
#include "core/decimal.h"
#include "core/engine.h"
#include "core/retry.h"
#include "intake/decide.h"

#define SIM_PLAIN_MAX 48 /* postings that no other one has to do with */
#define SIM_OBJECTS_MAX 8
#define SIM_VERSIONS_MAX 4 /* of an object */
#define SIM_LEGS_MAX 3     /* postings of a version */
#define SIM_ENTRIES_MAX 128
#define SIM_VERSION_ROWS_MAX 128
#define SIM_ROWS_MAX 256
#define SIM_DOCS_MAX 320
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
#define SIM_HOLD_MAX_MS 1200000    /* a hold's time-out, and one behind another waits anew */
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
    X(NO_EXECUTION, "does not say how long a request may go on there")                             \
    X(TOO_MANY, "configures more concurrency than there is")                                       \
    X(OWN_ACCOUNTS, "gives each destination of an account limits of its own")                      \
    X(UNWRITTEN_WAIT, "does not write down what a destination asked for")                          \
    X(FORGOTTEN_WAIT, "does not say after a crash what a destination had asked for")               \
    X(MARKED_TWICE, "reports a mark twice")                                                        \
    X(CLOCK_HELD, "holds the clock it shows until a jump back is made up")                         \
    X(REVERSAL_AT_ONCE, "does not hold a reversal on what may not have landed")                    \
    X(ORDER_IGNORED, "does not hold a posting behind those of older versions")                     \
    X(RELEASED_UNKNOWN, "releases a reversal when nobody knows whether its original landed")       \
    X(REVERSED_TWICE, "forgets that a reversal is on its way")                                     \
    X(REVERSED_APART, "sometimes does not say that the original of a reversal is reversed")        \
    X(NO_TOMBSTONE, "does not keep a withdrawal of what it does not know")                         \
    X(BY_ARRIVAL, "takes whatever version comes last")                                             \
    X(RELEASE_LOST, "does not look at a start for holds that are over")                            \
    X(RELEASE_UNTOLD, "does not load again what it released")                                      \
    X(NO_TIME_OUT, "never looks at holds whose time is up")                                        \
    X(LATER_IS_YES, "cancels what the journal is just being told about")                           \
    X(NOT_SUPERSEDED, "does not tell the engine that a later version came")                        \
    X(RESTORED_BLINDLY, "restores a backup as if nothing had been sent since")                     \
    X(RELEASED_BLINDLY, "releases after a restore as if nothing had been sent since")              \
    X(REREAD_BLINDLY, "reads the stream again as if nothing had been sent since")                  \
    X(RAN_OUT_IS_KNOWN, "cancels after a restore what ran out of time while held")                 \
    X(UNKNOWN_IGNORED, "lets people act as if every outcome were known")                           \
    X(ACTS_AT_ONCE, "lets people act on what a hold or a correction has in hand")                  \
    X(EDIT_KEEPS_KEY, "sends an edited posting under the key of the old one")                      \
    X(DISCARD_FORGOTTEN, "forgets that a person discarded a reversal")                             \
    X(ACT_UNTOLD, "does not load again what a person let go on")

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
    X(EARLY_ABSENT, "look-ups that said absent while a request may have been at work")             \
    X(TTL_PASSED, "postings whose key was forgotten meanwhile")                                    \
    X(CALM, "runs without faults")                                                                 \
    X(CORRECTED_BEFORE, "corrections of what had not been sent")                                   \
    X(CORRECTED_DURING, "corrections of what was on its way")                                      \
    X(CORRECTED_AFTER, "corrections of what was posted")                                           \
    X(CORRECTED_UNKNOWN, "corrections of what nobody knows about")                                 \
    X(CORRECTED_HELD, "corrections of what was held")                                              \
    X(LATE_VERSION, "versions that came after a newer one")                                        \
    X(SAME_VERSION, "versions that came again")                                                    \
    X(CONFLICT, "versions that came again with other content")                                     \
    X(WITHDRAWN, "withdrawals")                                                                    \
    X(TOMBSTONE, "withdrawals of what was not known")                                              \
    X(REFUSED_VERSION, "versions the rules refused")                                               \
    X(NOT_REVERSIBLE, "corrections at a destination that takes no reversals")                      \
    X(REVERSED, "reversals posted")                                                                \
    X(NEVER_WAS, "reversals of what never was")                                                    \
    X(RELEASED, "holds that ended")                                                                \
    X(NEXT_IN_ORDER, "holds that went on behind another posting")                                  \
    X(HOLD_EXPIRED, "holds that ran out of time")                                                  \
    X(INTAKE_LATER, "corrections that waited for the journal")                                     \
    X(FOUND_AT_START, "holds found over at a start")                                               \
    X(RESTORED, "restores from a backup")                                                          \
    X(RESTORED_HELD, "restores with holds in the backup")                                          \
    X(REREAD, "entries of the stream that were read again after a restore")                        \
    X(RELEASED_DOUBT, "releases of what may have been sent before a restore")                      \
    X(REPLAYED, "exceptions replayed by a person")                                                 \
    X(RESOLVED_POSTED, "exceptions of which a person said that it is there")                       \
    X(RESOLVED_ABSENT, "exceptions of which a person said that it is not there")                   \
    X(DISCARDED, "exceptions discarded")                                                           \
    X(EDITED, "exceptions edited")                                                                 \
    X(PERSON_REFUSED, "things people asked for and were refused")                                  \
    X(OTHER_LIFE, "effects of another life of the journal that a person is asked about")           \
    X(FOUND_AGAIN, "postings of another life of the journal that were found")

#define SIM_SEEN_ENUM(name, what) SIM_SEEN_##name,
enum sim_seen { SIM_SEEN_TABLE(SIM_SEEN_ENUM) SIM_SEEN_COUNT };
#undef SIM_SEEN_ENUM

enum sim_event_kind {
    SIM_EV_ENTRY,  /* .a entry of the stream */
    SIM_EV_CANCEL, /* .a entry */
    SIM_EV_PERSON,
    SIM_EV_BACKUP,
    SIM_EV_RESTORE,
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

/* What a source says: the truth about an object. */
struct sim_says {
    bool withdrawn;
    bool refused; /* by the rules */
    unsigned leg_count;
    struct {
        uint32_t place;
        int64_t micros;
    } legs[SIM_LEGS_MAX];
};

struct sim_object {
    unsigned version_count;
    struct sim_says versions[SIM_VERSIONS_MAX]; /* version N at N - 1 */
    unsigned char key[TG_POSTING_KEY_BYTES];
    bool given_up; /* something of it was discarded, in whichever life of the journal */
};

/* An entry of the stream. */
struct sim_entry {
    bool is_plain;
    uint32_t object;  /* plain: its place */
    unsigned version; /* 1.. */
    int64_t micros;   /* plain */
    bool conflict;    /* other content under a version that is known */
    bool arrived;
    bool done; /* durable: the journal has it */
    /* durable: it was there before a restore, so what it led to may have been sent since then */
    int64_t sent_ms;
};

/* A row of the journal's objects. */
struct sim_version {
    int64_t id;
    uint32_t object;
    unsigned version;
    bool conflict; /* its content is not what the truth says */
    bool written;  /* durable */
    enum tg_version_state state;
    const char *exception;
};

/* What a destination knows of one key, whichever life of the journal sent it. */
struct sim_doc {
    unsigned char key[TG_POSTING_KEY_BYTES];
    uint32_t place;
    int original; /* it reverses that one; -1: not a reversal */
    uint32_t object;
    unsigned version; /* 0: plain */
    unsigned leg;
    struct tg_decimal amount;
    unsigned effects; /* in the book */
    int64_t landed_ms;
    int64_t key_known_ms; /* idempotency: when the destination first saw the key */
    bool key_known, working;
    bool key_rejected;
    bool poisoned; /* rejected for good, from poisoned_ms on */
    int64_t poisoned_ms;
    bool absent_last;  /* the last answer of a look-up was absent */
    bool absent_said;  /* by a look-up, to this process */
    int64_t absent_ms; /* when it was last said, to any */
};

/* A posting: its durable row, and what the shell told since. */
struct sim_row {
    int64_t id;
    uint32_t doc;
    uint32_t place;
    uint32_t entry;   /* plain: where it comes from */
    int64_t version;  /* id of the version's row; 0: plain */
    int64_t reverses; /* id */
    struct tg_decimal amount;
    bool planned; /* durable from here */
    enum tg_posting_state state;
    unsigned attempt;
    int64_t due_ms;
    int64_t first_sent_ms;
    const char *exception;
    bool was_unknown;        /* an exception of it said so */
    bool exception_restored; /* its exception was in the backup already */
    bool ended_by_person;
    unsigned generation;
    const char *hold;           /* NULL: none */
    int64_t hold_on;            /* id; to here */
    bool restored;              /* its row came from a backup, or from an entry read again */
    enum tg_posting_state told; /* with marks not durable yet */
    bool held;                  /* by the engine */
    bool out;                   /* a send is out, in this epoch */
    bool cancel_told;
    bool cancelling;   /* intake's mark is on its way: not to be loaded */
    bool hold_marking; /* a hold's is */
    bool person_marking;
    bool judged; /* intake decided about it, and has not committed */
    bool behind; /* to be loaded although the cursor is past it */
    bool ended;  /* final, and nobody has looked yet who waits for it */
    unsigned marks_out;
    bool went; /* since its last sent mark, or it was found sent */
    int64_t send_marked_ms;
    int64_t send_ms;       /* its last send, on the clock as it is now */
    int64_t not_before_ms; /* its own Retry-After */
};

struct sim_place {
    struct tg_engine_destination truth;    /* what it really is */
    struct tg_engine_destination declared; /* what the engine was told */
    uint32_t account; /* the first place of its account; itself when it is alone */
    bool paused;
    bool reversible;
    char name[8], id[16];
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
    uint32_t row; /* of this life of the journal; landing is the doc's */
    uint32_t doc;
    unsigned epoch;
    bool is_lookup;
    bool answered;
    int64_t sent_ms;
};

enum sim_mark_kind {
    SIM_MARK_TOLD,    /* by the engine, which hears of it: MARKED */
    SIM_MARK_SILENT,  /* of a row, by anybody else */
    SIM_MARK_ROW,     /* a new posting */
    SIM_MARK_HOLD,    /* .hold_on .due_ms: it goes on waiting */
    SIM_MARK_VERSION, /* .row: index of a new version's row */
    SIM_MARK_ENDED,   /* .row: index of a version's row, SUPERSEDED from now on */
    SIM_MARK_ENTRY,   /* .row: entry; the journal has it */
    SIM_MARK_WAIT     /* of a place (.place .due_ms .at_ms) */
};

enum sim_writer { SIM_BY_DISPATCH, SIM_BY_INTAKE, SIM_BY_HOLDS, SIM_BY_PEOPLE };

struct sim_mark {
    enum sim_mark_kind kind;
    enum sim_writer by;
    uint32_t row;
    uint32_t place;
    int64_t not_before_ms; /* WAIT: what the judge holds it to */
    bool lost;
    enum tg_posting_state from, to;
    enum tg_hold_step step; /* BY_HOLDS */
    const char *hold;       /* HOLD: another reason than before; NULL: the same */
    int64_t look_at;        /* BY_PEOPLE: a posting that may have ended meanwhile */
    bool person_goes;       /* BY_PEOPLE: to be loaded */
    int64_t hold_on;
    unsigned attempt;
    int64_t due_ms;
    int64_t at_ms;
    const char *exception;
    uint32_t group; /* 0: not yet taken by the journal */
};

/* What a backup has; only what is durable in it counts. */
struct sim_backup {
    bool taken;
    int64_t wall_ms;
    size_t row_count, version_count;
    struct sim_row rows[SIM_ROWS_MAX];
    struct sim_version versions[SIM_VERSION_ROWS_MAX];
    bool done[SIM_ENTRIES_MAX];
    int64_t sent_ms[SIM_ENTRIES_MAX];
    int64_t restored_ms, restored_row;
    struct {
        int64_t wait_until_ms, wait_said_ms, durable_not_before_ms;
    } waits[SIM_PLACES_MAX];
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
    int64_t back_ms;  /* by how much it was ever set back */
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
    struct sim_object objects[SIM_OBJECTS_MAX];
    size_t object_count;
    struct sim_entry entries[SIM_ENTRIES_MAX];
    size_t entry_count;
    uint32_t stream[SIM_ENTRIES_MAX]; /* entries as they arrived */
    size_t stream_count;
    struct sim_version versions[SIM_VERSION_ROWS_MAX];
    size_t version_count;
    struct sim_row rows[SIM_ROWS_MAX]; /* by id; those not yet durable are the last ones */
    size_t row_count;
    struct sim_doc docs[SIM_DOCS_MAX];
    size_t doc_count;
    int64_t first_id;
    int64_t hold_timeout_ms;
    int64_t restored_ms, restored_row; /* durable: the last restore; postings up to that id */
    unsigned restores_due;
    bool intake_busy, holds_busy, holds_walk;
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
    struct sim_backup backup;
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
void sim_shell_cancel(struct sim *s, uint32_t entry);
/* A later version came: the engine is told of one it holds. */
void sim_shell_supersede(struct sim *s, uint32_t row);
/* The marks of one batch, in order: all of them in one commit. */
void sim_shell_submit(struct sim *s, const struct sim_mark *marks, size_t n);
uint32_t sim_row_of(struct sim *s, int64_t id);
struct sim_version *sim_version_of(struct sim *s, int64_t id);
bool sim_row_superseded(struct sim *s, const struct sim_row *r);
void sim_shell_durable(struct sim *s, uint32_t group);
void sim_shell_notice(struct sim *s, uint32_t group);
void sim_shell_answer(struct sim *s, uint32_t request, int result, int64_t retry_after_ms);

/* ---- intake.c ---- */
void sim_make_objects(struct sim *s);
void sim_intake_turn(struct sim *s);
/* The key of what version owes as its leg; as the product's. */
void sim_key_of(struct sim *s, uint32_t object, unsigned version, unsigned leg, unsigned generation,
                unsigned char out[TG_POSTING_KEY_BYTES]);
void sim_key_of_plain(uint32_t entry, unsigned generation, unsigned char out[TG_POSTING_KEY_BYTES]);
/* A posting that is not yet durable, of that document. */
struct sim_row *sim_new_row(struct sim *s, const struct sim_doc *doc);
int sim_doc_of(struct sim *s, const unsigned char key[TG_POSTING_KEY_BYTES]); /* -1: none */
void sim_intake_end(void);                                                    /* of the process */
int sim_intake_begin(struct tg_error *err);

/* ---- holds.c ---- */
void sim_holds_turn(struct sim *s);
void sim_holds_done(struct sim *s, const struct sim_mark *m);
/* When the next hold runs out of time; INT64_MAX: none does. */
int64_t sim_holds_wake_ms(const struct sim *s);
/* Is it held behind, or is there, one of an older version that is not final? Its id, or 0. */
int64_t sim_before(struct sim *s, uint32_t row);

/* ---- people.c ---- */
void sim_person(struct sim *s);
void sim_person_done(struct sim *s, const struct sim_mark *m);

/* ---- backup.c ---- */
void sim_backup(struct sim *s);
void sim_restore(struct sim *s);

/* ---- place.c ---- */
void sim_place_send(struct sim *s, uint32_t row);
void sim_place_lookup(struct sim *s, uint32_t row);
void sim_place_arrive(struct sim *s, uint32_t request);
void sim_place_land(struct sim *s, uint32_t request);

/* ---- judge.c ---- */
void sim_judge_mark(struct sim *s, const struct tg_action *a);
void sim_judge_send(struct sim *s, uint32_t row, const struct tg_action *a);
void sim_judge_lookup(struct sim *s, uint32_t row);
/* A request of it may still be at work at a destination that tells nobody. */
bool sim_is_at_work(const struct sim *s, const struct sim_row *r);
void sim_judge_cancel(struct sim *s, uint32_t row); /* it was granted */
/* What must not come before its hour: the hour moves with the clock. */
void sim_judge_clock_back(struct sim *s, int64_t by_ms);
void sim_judge_end(struct sim *s);

/* ---- story.c: what must hold of objects ---- */
void sim_story_send(struct sim *s, uint32_t row);
void sim_story_land(struct sim *s, const struct sim_doc *d);
void sim_story_mark(struct sim *s, const struct sim_mark *m);
void sim_story_look(struct sim *s); /* at rest between two steps */
void sim_story_end(struct sim *s);
/* May it be in a book without a row in the journal? See story.c. */
bool sim_story_may_be_unknown(struct sim *s, const struct sim_doc *d);

#endif
