/*
 * journal.h: the book of record (SQLite, WAL, synchronous=FULL), behind one face.
 *
 * How the folder works. One writer: the journal thread. The loop thread fills a batch (rows with
 * ids it took from tg_journal_next_id), submits it, and gets it back through tg_journal_poll once
 * it is on disk; many batches share one commit, so one fsync carries many marks. Batches commit in
 * the order they were submitted, each wholly or not at all. Readers are connections of their own,
 * one a thread, and see committed rows only. A failed commit (full disk) is tried again until it
 * works or the journal is closed: nothing is acknowledged meanwhile.
 *
 * Audit rows appended in the same commit by themselves, actor "orchestrator": event.refused,
 * event.duplicate, object.superseded, object.withdrawn, posting.posted, .rejected, .exception,
 * .cancelled, .in_doubt, .reversed, exception.opened, .closed, master.changed. Not:
 * accepted events, new objects and postings, marks to ready, sent, retry or held (the rows and
 * attempts tell). They hold ids, keys, codes and the destination's reference, never a payload.
 * audit.c chains them by SHA-256.
 *
 * Ownership: a batch is the caller's until submitted, the journal's until its callback ran, then
 * gone. Strings given to tg_batch_* are copied; a NULL one is stored and read back as "", but for
 * ref, which stays NULL. Readers' rows are valid inside the callback only.
 */
#ifndef TG_JOURNAL_JOURNAL_H
#define TG_JOURNAL_JOURNAL_H

#include "common/str.h"
#include "core/life.h"

struct tg_journal;
struct tg_batch;
struct tg_reader;

struct tg_journal_options {
    const char *path;
    /* Called on the journal thread when results wait for tg_journal_poll (e.g. uv_async_send). */
    void (*notify)(void *arg);
    void *notify_arg;
    int64_t (*now_ms)(void); /* wall clock for audit rows; NULL: the system's */
};

/*
 * Opens or creates, migrates (numbered, in one transaction each), takes the lock file PATH.lock
 * (a second process is refused with a clear message), starts the journal thread.
 */
struct tg_journal *tg_journal_open(const struct tg_journal_options *o, struct tg_error *err);

/*
 * Commits what was submitted, runs remaining callbacks, copies the WAL into the file, ends the
 * thread. A commit that fails is tried once more; then all that is left gets ok = false.
 */
void tg_journal_close(struct tg_journal *j);

enum tg_table {
    TG_TABLE_EVENTS,
    TG_TABLE_OBJECTS,
    TG_TABLE_POSTINGS,
    TG_TABLE_EXCEPTIONS,
    TG_TABLE_MASTER,
    TG_TABLE_REPLAYS,
    TG_TABLE_COUNT
};

/* Ids are dense, given in order, from 1; one that was on disk is never reused. Loop thread only. */
int64_t tg_journal_next_id(struct tg_journal *j, enum tg_table t);

struct tg_row_event {
    int64_t id;
    const char *event_id; /* s07-... ; unique */
    const char *tenant, *client, *source, *ce_id, *type, *subject, *time, *dataschema;
    const char *idem_key, *correlation_id, *traceparent, *body_sha256, *content_type;
    struct tg_str body;
    int64_t received_ms;
    enum tg_event_state state;
    int64_t duplicate_of;                         /* events.id, 0: none */
    unsigned char identity[TG_POSTING_KEY_BYTES]; /* unique over non-duplicates */
};

struct tg_row_object {
    int64_t id;
    int64_t event; /* events.id */
    const char *tenant, *kind, *source, *object_id;
    unsigned char key[TG_POSTING_KEY_BYTES]; /* tg_object_key */
    int64_t version;
    enum tg_version_state state;
    const char *json; /* canonical, compact */
    const char *rules_sha256, *master_version;
    const char *waits_for; /* HELD: the name of what would cure it; "" otherwise */
    int64_t due_ms;        /* HELD: until when; 0 otherwise */
};

/* What a person put in the place of an event's body or a posting's payload, which stay as they are.
 */
struct tg_row_edit {
    int64_t event, posting; /* one of them; 0: not that one */
    const char *actor;
    struct tg_str body;
    int64_t at_ms;
};

struct tg_row_posting {
    int64_t id;
    int64_t object;             /* objects.id */
    uint32_t destination;       /* the journal's number: tg_journal_destination */
    const char *destination_id; /* read only: "acme/erp" */
    const char *kind, *leg;
    unsigned generation;
    unsigned char key[TG_POSTING_KEY_BYTES]; /* unique */
    const char *payload;                     /* JSON */
    const char *period;                      /* control totals */
    int64_t quantity_micros;
    enum tg_posting_state state;
    unsigned attempt;
    int64_t due_ms, first_sent_ms;
    const char *ref; /* the destination's; NULL: none */
    /* HELD, and EXCEPTION after its time: why, and the posting it waits for. "", 0 otherwise. */
    const char *hold;
    int64_t hold_on;
    int64_t reverses;           /* the posting this one takes back; 0: none */
    const char *correlation_id; /* read only, like all below: from its event */
    const char *subject;        /* object_id@version */
    bool superseded;            /* its version ended; a reversal lives on */
    unsigned char reverses_key[TG_POSTING_KEY_BYTES];
    const char *reverses_ref; /* NULL: none */
    int64_t journalled_ms;    /* its event */
};

/*
 * A batch whose mark does not find the posting in state `from` is refused whole. The first mark to
 * SENT (IN_DOUBT, POSTED: a person's, after a restore) sets first_sent_ms to at_ms; POSTED adds to
 * the control totals, and REVERSED takes nothing away: its reversal, with the negated quantity, is
 * posted in a period of its own. A mark that ends a hold clears `hold` and `hold_on`.
 */
struct tg_row_mark {
    int64_t posting;
    enum tg_posting_state from, to; /* checked against tg_posting_next's table by the caller */
    unsigned attempt;
    int64_t due_ms;
    const char *ref; /* NULL: keep */
    const char
        *outcome;       /* short word for attempts: posted, rejected, retry ...; NULL: no attempt */
    const char *detail; /* for the attempts table; NULL: none */
    int64_t at_ms;
};

/*
 * A new id opens one. An id on disk changes state, owner and closed_ms of that one: tenant and code
 * must be the same and it must not be closed, else the batch is refused. What is 0 or NULL and
 * follows from the rest is filled in: object from posting, event from object, tenant from event.
 */
struct tg_row_exception {
    int64_t id;
    int64_t event, object, posting; /* 0: none; at least one is set */
    const char *tenant, *code, *owner;
    const char *detail; /* JSON: all violations, or the destination's words */
    enum tg_exception_state state;
    int64_t opened_ms, closed_ms;
    const char *subject; /* read only: what it is about, "TE-000123@1" or the event id */
    /* read only, as tg_batch_act wrote them: who has it; who ended it, what came of it, and why */
    const char *assignee, *closed_by, *outcome, *reason;
    const char *event_id;                            /* read only; "": none */
    unsigned char posting_key[TG_POSTING_KEY_BYTES]; /* read only; zeros when posting is 0 */
    const char *destination_id;                      /* read only: of the posting; "": none */
};

/* What a person does about an exception that is open or assigned. */
struct tg_row_act {
    int64_t exception;
    enum tg_exception_state state; /* ASSIGNED; REPLAYED, EDITED, DISCARDED, RESOLVED end it */
    const char *actor;             /* a token's client, or cli:USER */
    const char *reason;            /* NULL: none */
    const char *assignee;          /* ASSIGNED: who has it from now on */
    const char *outcome;           /* ends it: what came of it, a word for people and tools */
    int64_t made;                  /* EDITED: the posting in place of the old one; 0: none */
    const char *approved_by;       /* the second person; NULL: nobody was asked */
};

/* What an event said of a worker: attributes from a day on. Rows are never changed. */
struct tg_row_master {
    int64_t id;
    int64_t object; /* objects.id: the version that said it */
    const char *tenant, *kind, *name, *source;
    int64_t version;        /* of that object */
    const char *from_day;   /* YYYY-MM-DD */
    const char *attributes; /* JSON object: what the source owns of what it said */
    const char *refused;    /* JSON list: names of the rest */
};

/* NULL: out of memory. */
struct tg_batch *tg_batch_new(void);
void tg_batch_free(struct tg_batch *b); /* only if never submitted */

/* Each: 0, or -1 (out of memory, TG_JOURNAL_BATCH_OPS_MAX); the batch is then to be freed. */
int tg_batch_event(struct tg_batch *b, const struct tg_row_event *r);
int tg_batch_object(struct tg_batch *b, const struct tg_row_object *r);
int tg_batch_object_state(struct tg_batch *b, int64_t object, enum tg_version_state to);
/* A HELD one waits for something else now; any other state refuses the batch. */
int tg_batch_object_hold(struct tg_batch *b, int64_t object, const char *waits_for);
/* An event in EXCEPTION became an object after all: ACCEPTED. Any other state refuses the batch. */
int tg_batch_event_accepted(struct tg_batch *b, int64_t event);
int tg_batch_edit(struct tg_batch *b, const struct tg_row_edit *r);
int tg_batch_posting(struct tg_batch *b, const struct tg_row_posting *r);
int tg_batch_mark(struct tg_batch *b, const struct tg_row_mark *r);
int tg_batch_exception(struct tg_batch *b, const struct tg_row_exception *r);
/*
 * With its audit row: exception.assigned, .replayed, .edited, .discarded or .resolved, by the
 * actor. One that is closed or not there refuses the batch: whoever reads and then acts loses to
 * whoever was first, and nothing is done twice.
 */
int tg_batch_act(struct tg_batch *b, const struct tg_row_act *a);
/* What a HELD posting waits for now, and until when; any other state refuses the batch. */
int tg_batch_hold(struct tg_batch *b, int64_t posting, const char *hold, int64_t hold_on,
                  int64_t due_ms);
int tg_batch_master(struct tg_batch *b, const struct tg_row_master *r);
/*
 * action: dotted word (rules.loaded); subject: what it touched; detail: JSON or NULL, at most
 * TG_AUDIT_DETAIL_MAX_BYTES (else -1), no personal data.
 */
int tg_batch_audit(struct tg_batch *b, const char *actor, const char *action, const char *subject,
                   const char *detail);
/*
 * A person holds a destination, or lets it go. Twice is once: who paused first, and why, stays; the
 * audit row (destination.paused, .resumed, with the actor) is written only for a change. reason: at
 * most TG_REASON_MAX_BYTES.
 */
int tg_batch_pause(struct tg_batch *b, uint32_t destination, bool paused, const char *actor,
                   const char *reason);
/* The destination asked at said_ms to be left alone until until_ms; the newest word counts. */
int tg_batch_throttle(struct tg_batch *b, uint32_t destination, int64_t until_ms, int64_t said_ms);
size_t tg_batch_ops(const struct tg_batch *b);

/*
 * ok false: the batch can never commit (a constraint: a bug, or two writers); it changed nothing.
 * The caller stops the process rather than go on with a wrong picture.
 */
typedef void (*tg_batch_done)(void *arg, bool ok, const struct tg_error *err);

/*
 * Takes the batch; done may be NULL. -1: TG_JOURNAL_QUEUE_MAX are not yet on disk, or the journal
 * closes; the batch stays the caller's.
 */
int tg_journal_submit(struct tg_journal *j, struct tg_batch *b, tg_batch_done done, void *arg);

/* Runs the callbacks of finished batches, on the calling (loop) thread. Returns how many. */
size_t tg_journal_poll(struct tg_journal *j);

struct tg_journal_stats {
    uint64_t commits, batches, failures; /* failures: commits that did not work, each try */
    size_t queued;                       /* submitted and not yet on disk */
    bool stuck;                          /* the last commit failed and is being tried again */
};
void tg_journal_stats(struct tg_journal *j, struct tg_journal_stats *out);

/* ---- readers ---- */

/* Read-only; works beside a running writer, and from another process. */
struct tg_reader *tg_reader_open(const char *path, struct tg_error *err);
void tg_reader_close(struct tg_reader *r);

/* Which journal this is: 32 hex digits, made by chance with it; a copy is the same journal. */
int tg_reader_journal_id(struct tg_reader *r, char out[TG_JOURNAL_ID_BYTES + 1],
                         struct tg_error *err);

/*
 * fn returns false to stop early. Functions return 0, 1: not found (single rows), -1 with err. A
 * callback may call other functions of its reader, not the one it was called from. Lists give
 * TG_JOURNAL_PAGE_MAX rows at most.
 */
typedef bool (*tg_event_fn)(void *arg, const struct tg_row_event *row, int64_t journalled_ms);
typedef bool (*tg_object_fn)(void *arg, const struct tg_row_object *row);
typedef bool (*tg_posting_fn)(void *arg, const struct tg_row_posting *row);
typedef bool (*tg_exception_fn)(void *arg, const struct tg_row_exception *row);

int tg_reader_event(struct tg_reader *r, const char *event_id, tg_event_fn fn, void *arg,
                    struct tg_error *err);
/* The same by row id: what duplicate_of and an object's event point to. */
int tg_reader_event_row(struct tg_reader *r, int64_t event, tg_event_fn fn, void *arg,
                        struct tg_error *err);
/* The event that owns an identity, duplicates aside: *event_row is its row id. */
int tg_reader_identity(struct tg_reader *r, const unsigned char identity[TG_POSTING_KEY_BYTES],
                       int64_t *event_row, struct tg_error *err);
/* Is this stream entry journalled already? 0 yes, 1 no. */
int tg_reader_has_event(struct tg_reader *r, const char *event_id, struct tg_error *err);
/* Highest version of an object in any state; of the same version the row that came last. */
int tg_reader_object_latest(struct tg_reader *r, const unsigned char key[TG_POSTING_KEY_BYTES],
                            tg_object_fn fn, void *arg, struct tg_error *err);
/* All of them, newest first. */
int tg_reader_object_versions(struct tg_reader *r, const unsigned char key[TG_POSTING_KEY_BYTES],
                              tg_object_fn fn, void *arg, struct tg_error *err);
int tg_reader_objects_of_event(struct tg_reader *r, int64_t event, tg_object_fn fn, void *arg,
                               struct tg_error *err);
/* HELD ones with id > after, in order of id. tenant, name NULL: all. */
int tg_reader_objects_held(struct tg_reader *r, const char *tenant, const char *name, int64_t after,
                           size_t limit, tg_object_fn fn, void *arg, struct tg_error *err);
/* HELD ones whose time is up, the longest overdue first. */
int tg_reader_objects_due(struct tg_reader *r, int64_t now_ms, size_t limit, tg_object_fn fn,
                          void *arg, struct tg_error *err);
/* The newest edit of an event's body, or of a posting's payload. 0, 1: there is none, or -1. */
typedef void (*tg_edit_fn)(void *arg, const struct tg_row_edit *row);
int tg_reader_edit_of_posting(struct tg_reader *r, int64_t posting, tg_edit_fn fn, void *arg,
                              struct tg_error *err);
int tg_reader_edit(struct tg_reader *r, int64_t event, tg_edit_fn fn, void *arg,
                   struct tg_error *err);
int tg_reader_postings_of_object(struct tg_reader *r, int64_t object, tg_posting_fn fn, void *arg,
                                 struct tg_error *err);
int tg_reader_posting(struct tg_reader *r, int64_t id, tg_posting_fn fn, void *arg,
                      struct tg_error *err);
/* READY, SENT, RETRY and IN_DOUBT of one destination with id > after, in order of id. */
int tg_reader_open_postings(struct tg_reader *r, uint32_t destination, int64_t after, size_t limit,
                            tg_posting_fn fn, void *arg, struct tg_error *err);
/* The same of what is neither open nor over: PLANNED, HELD, REJECTED, EXCEPTION. */
int tg_reader_aside_postings(struct tg_reader *r, uint32_t destination, int64_t after, size_t limit,
                             tg_posting_fn fn, void *arg, struct tg_error *err);
/*
 * What a later version of an object meets: over all versions, the postings that stand or may come
 * to stand (neither CANCELLED nor REVERSED), and the reversals that are not posted yet; of a posted
 * one also those that were given up, since a person decided that it stays.
 */
int tg_reader_effects(struct tg_reader *r, const unsigned char key[TG_POSTING_KEY_BYTES],
                      tg_posting_fn fn, void *arg, struct tg_error *err);
/* Postings whose hold_on is this one: HELD, or EXCEPTION after their time. */
int tg_reader_waiting(struct tg_reader *r, int64_t hold_on, tg_posting_fn fn, void *arg,
                      struct tg_error *err);
/* All that wait for a posting, in order of (hold_on, id), after that pair; each as the waiting
 * posting itself. */
int tg_reader_held(struct tg_reader *r, int64_t after_hold_on, int64_t after_id, size_t limit,
                   tg_posting_fn fn, void *arg, struct tg_error *err);
/* HELD ones whose time is up, the longest overdue first. */
int tg_reader_hold_due(struct tg_reader *r, int64_t now_ms, size_t limit, tg_posting_fn fn,
                       void *arg, struct tg_error *err);
/*
 * What must be final before this posting may go: a posting of an older version of its object at its
 * destination that is not final. *before: its id, the newest one; 0: none.
 */
int tg_reader_before(struct tg_reader *r, int64_t posting, int64_t *before, struct tg_error *err);
/* state -1: open and assigned. tenant NULL: all. */
int tg_reader_exceptions(struct tg_reader *r, const char *tenant, int state, int64_t after,
                         size_t limit, tg_exception_fn fn, void *arg, struct tg_error *err);
/* In any state, of all tenants, with id > after, in order of id. */
int tg_reader_exceptions_all(struct tg_reader *r, int64_t after, size_t limit, tg_exception_fn fn,
                             void *arg, struct tg_error *err);
int tg_reader_exception(struct tg_reader *r, int64_t id, tg_exception_fn fn, void *arg,
                        struct tg_error *err);
int tg_reader_exceptions_of_event(struct tg_reader *r, int64_t event, tg_exception_fn fn, void *arg,
                                  struct tg_error *err);
/* In any state, the oldest first. */
int tg_reader_exceptions_of_posting(struct tg_reader *r, int64_t posting, tg_exception_fn fn,
                                    void *arg, struct tg_error *err);

/* Rows of all tenants with id > after, in order of id. */
typedef bool (*tg_master_fn)(void *arg, const struct tg_row_master *row);
int tg_reader_master(struct tg_reader *r, int64_t after, size_t limit, tg_master_fn fn, void *arg,
                     struct tg_error *err);

/* How many are open or assigned, of all tenants. 0 or -1. */
int tg_reader_exceptions_count(struct tg_reader *r, uint64_t *count, struct tg_error *err);
/* Every destination the journal knows, by number, with its READY, SENT, RETRY and IN_DOUBT. 0, -1.
 */
typedef void (*tg_destination_fn)(void *arg, const char *destination_id, uint64_t open);
int tg_reader_destinations(struct tg_reader *r, tg_destination_fn fn, void *arg,
                           struct tg_error *err);

/* Destinations that a person holds. 0, -1. */
struct tg_row_pause {
    uint32_t destination;
    const char *actor, *reason;
    int64_t at_ms;
};
typedef void (*tg_pause_fn)(void *arg, const struct tg_row_pause *row);
int tg_reader_pauses(struct tg_reader *r, tg_pause_fn fn, void *arg, struct tg_error *err);
/* What destinations asked for, also what is over by now. 0 or -1. */
typedef void (*tg_throttle_fn)(void *arg, uint32_t destination, int64_t until_ms, int64_t said_ms);
int tg_reader_throttles(struct tg_reader *r, tg_throttle_fn fn, void *arg, struct tg_error *err);
/* READY, SENT, RETRY and IN_DOUBT of one destination. 0, -1. */
int tg_reader_open_count(struct tg_reader *r, uint32_t destination, uint64_t *count,
                         struct tg_error *err);
/* When the event of the oldest open posting of a destination was journalled; 0: none is open. 0,
 * -1.
 */
int tg_reader_oldest_open(struct tg_reader *r, uint32_t destination, int64_t *journalled_ms,
                          struct tg_error *err);

/*
 * The stable number of a destination, found or given: dense from 0, kept for ever, the
 * `destination` of every row above. The configuration's running index is another number: the loop
 * maps. A new one is on disk before any batch submitted after it. Loop thread only.
 */
int tg_journal_destination(struct tg_journal *j, const char *destination_id, uint32_t *index,
                           struct tg_error *err);

/* ---- checks (for `tallygate check` and tests) ---- */

typedef void (*tg_check_finding)(void *arg, const char *what);
/*
 * Conservation and life cycle over the whole journal, in one snapshot: every event is accepted,
 * duplicate or exception; every accepted event has an object; every validated object has postings,
 * or is master data and has its row;
 * every posting key is unique and every posted one was sent; every exception state (and rejected)
 * has an exception row; every RETRY has a due time; every HELD one waits for a posting that is not
 * final, or has a time; every HELD object names what it waits for and has a time; every REVERSED
 * one has one posted reversal, of the negated quantity, and the other way round; nothing of a
 * version that ended is still to be sent or stands unreversed; nothing is on its way while an older
 * version's posting is not final; control totals equal the sum of posted and reversed postings; the
 * file is sound. fn gets the first TG_CHECK_FINDINGS_MAX findings, then one line with how many
 * more. Returns the number of findings, -1 when it cannot read.
 */
int tg_journal_check(struct tg_reader *r, tg_check_finding fn, void *arg, struct tg_error *err);

#endif
