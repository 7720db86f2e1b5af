/*
 * internal.h: what the files of this folder share; nothing outside includes it.
 *
 * batch.c builds a list of operations; writer.c groups batches into commits on the journal thread;
 * apply.c turns an operation into SQL; store.c is the writer's connection with its cached
 * statements and the head of the audit chain; lock.c keeps a second process out.
 *
 * Ownership: see journal.h for batches. The store belongs to the journal thread from its start to
 * its join, to the opener before and after.
 */
#ifndef TG_JOURNAL_INTERNAL_H
#define TG_JOURNAL_INTERNAL_H

#include <pthread.h>
#include <sqlite3.h>
#include <time.h>

#include "core/alert.h"
#include "journal/approvals.h"
#include "journal/audit.h"
#include "journal/journal.h"
#include "journal/replays.h"

/* "TGJ1" in the file's header: tells a journal from another program's SQLite file. */
#define TG_JOURNAL_APPLICATION_ID 0x54474a31

/* ---- batch ---- */

enum tg_op_kind {
    TG_OP_EVENT,
    TG_OP_OBJECT,
    TG_OP_OBJECT_STATE,
    TG_OP_OBJECT_HOLD,
    TG_OP_EVENT_ACCEPTED,
    TG_OP_EDIT,
    TG_OP_POSTING,
    TG_OP_MARK,
    TG_OP_HOLD,
    TG_OP_EXCEPTION,
    TG_OP_ACT,
    TG_OP_APPROVAL,
    TG_OP_APPROVAL_END,
    TG_OP_MASTER,
    TG_OP_AUDIT,
    TG_OP_DESTINATION,
    TG_OP_PAUSE,
    TG_OP_THROTTLE,
    TG_OP_RESTORED_POSITION,
    TG_OP_RESTORED_STATE,
    TG_OP_ALERT,
    TG_OP_ALERT_MARK,
    TG_OP_REPLAY,
    TG_OP_REPLAY_STEP
};

struct tg_op {
    enum tg_op_kind kind;
    union {
        struct tg_row_event event;
        struct tg_row_object object;
        struct {
            int64_t id;
            enum tg_version_state to;
        } object_state;
        struct {
            int64_t id;
            const char *waits_for;
        } object_hold;
        int64_t event_accepted;
        struct tg_row_edit edit;
        struct tg_row_posting posting;
        struct tg_row_mark mark;
        struct {
            int64_t posting, on, due_ms;
            const char *why;
        } hold;
        struct tg_row_exception exception;
        struct tg_row_act act;
        struct tg_row_approval approval;
        struct {
            int64_t id;
            int to;
            const char *actor, *said;
        } approval_end;
        struct tg_row_master master;
        struct {
            const char *actor, *action, *subject, *detail;
        } audit;
        struct {
            uint32_t index;
            const char *name;
        } destination;
        struct {
            uint32_t destination;
            bool paused;
            const char *actor, *reason;
        } pause;
        struct {
            uint32_t destination;
            int64_t until_ms, said_ms;
        } throttle;
        struct {
            int64_t restore;
            unsigned shard;
            const char *upto;
        } restored_position;
        struct {
            int64_t restore;
            int to;
        } restored_state;
        struct {
            const char *kind, *thing;
            struct tg_alert_state state;
            bool idle;
        } alert;
        struct {
            const char *name; /* static */
            int64_t value;
        } alert_mark;
        struct tg_row_replay replay; /* both kinds */
    } u;
};

struct tg_chunk; /* memory of a batch's strings */

struct tg_batch {
    struct tg_batch *next; /* in the queue, the group or the finished list */
    struct tg_op *ops;
    size_t count, capacity;
    struct tg_chunk *chunks;
    bool out_of_memory;
    tg_batch_done done; /* NULL: nobody waits for it */
    void *arg;
    bool ok;
    struct tg_error err;
};

struct tg_batch_list {
    struct tg_batch *head, *tail;
    size_t count;
};

void tg_batch_list_push(struct tg_batch_list *l, struct tg_batch *b);
struct tg_batch *tg_batch_list_pop(struct tg_batch_list *l); /* NULL: empty */

int tg_batch_destination(struct tg_batch *b, uint32_t index, const char *name);
/* Frees operations and strings; the result stays. */
void tg_batch_shed(struct tg_batch *b);

/*
 * The states of the partial indexes postings_open and postings_aside, as migrate.c has them; p: ""
 * or the table's name and a dot. Written without a list of more than two values: SQLite would fill
 * a temporary table with it at each change of a row.
 */
#define TG_STATE_OPEN(p) p "state BETWEEN 2 AND 5"
#define TG_STATE_ASIDE(p) "(" p "state < 2 OR " p "state IN (7, 9))"

/* ---- store: the writer's connection ---- */

#define TG_STORE_STATEMENTS(X)                                                                     \
    X(BEGIN, "BEGIN IMMEDIATE")                                                                    \
    X(COMMIT, "COMMIT")                                                                            \
    X(ROLLBACK, "ROLLBACK")                                                                        \
    X(SAVEPOINT, "SAVEPOINT one_batch")                                                            \
    X(ROLLBACK_TO, "ROLLBACK TO one_batch")                                                        \
    X(RELEASE, "RELEASE one_batch")                                                                \
    X(EVENT, "INSERT INTO events(id, event_id, tenant, client, source, ce_id, type, subject, "     \
             "time, dataschema, idem_key, correlation_id, traceparent, body_sha256, "              \
             "content_type, body, received_ms, journalled_ms, state, duplicate_of, identity) "     \
             "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, "      \
             "?17, ?18, ?19, ?20, ?21)")                                                           \
    X(OBJECT, "INSERT INTO objects(id, event, tenant, kind, source, object_id, key, version, "     \
              "state, json, rules_sha256, master_version, waits_for, due_ms) "                     \
              "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)")               \
    X(OBJECT_STATE, "UPDATE objects SET state = ?2 WHERE id = ?1")                                 \
    X(OBJECT_HOLD, "UPDATE objects SET waits_for = ?2 WHERE id = ?1 AND state = 0")                \
    X(EVENT_ACCEPTED, "UPDATE events SET state = 1 WHERE id = ?1 AND state = 3")                   \
    X(EDIT, "INSERT INTO edits(event, posting, at_ms, actor, body) VALUES(?1, ?2, ?3, ?4, ?5)")    \
    X(POSTING, "INSERT INTO postings(id, object, destination, kind, leg, generation, key, "        \
               "payload, period, quantity_micros, state, attempt, due_ms, first_sent_ms, ref, "    \
               "hold, hold_on, reverses) "                                                         \
               "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, "    \
               "?17, ?18)")                                                                        \
    X(MARK, "UPDATE postings SET state = ?3, attempt = ?4, due_ms = ?5, ref = coalesce(?6, ref), " \
            "first_sent_ms = CASE WHEN ?3 IN (3, 5, 6) AND first_sent_ms = 0 THEN ?7 "             \
            "ELSE first_sent_ms END WHERE id = ?1 AND state = ?2")                                 \
    X(MARKED, "SELECT key, payload, quantity_micros FROM postings WHERE id = ?1")                  \
    X(POSTING_STATE, "SELECT state FROM postings WHERE id = ?1")                                   \
    X(HOLD, "UPDATE postings SET hold = ?2, hold_on = ?3, due_ms = ?4 WHERE id = ?1 "              \
            "AND state = 1")                                                                       \
    X(HOLD_END, "UPDATE postings SET hold = '', hold_on = NULL WHERE id = ?1 "                     \
                "AND (hold <> '' OR hold_on IS NOT NULL)")                                         \
    X(TOTAL_ADD,                                                                                   \
      "INSERT INTO control_totals(destination, kind, period, count, quantity_micros) "             \
      "SELECT destination, kind, period, 1, quantity_micros FROM postings WHERE id = ?1 "          \
      "ON CONFLICT(destination, kind, period) DO UPDATE SET count = count + 1, "                   \
      "quantity_micros = quantity_micros + excluded.quantity_micros")                              \
    X(ATTEMPT, "INSERT INTO attempts(posting, attempt, outcome, detail, at_ms) "                   \
               "VALUES(?1, ?2, ?3, ?4, ?5)")                                                       \
    X(EXCEPTION,                                                                                   \
      "WITH o(object) AS (SELECT coalesce(?3, (SELECT object FROM postings WHERE id = ?4))), "     \
      "e(event) AS (SELECT coalesce(?2, (SELECT event FROM objects WHERE id = "                    \
      "(SELECT object FROM o)))) "                                                                 \
      "INSERT INTO exceptions(id, event, object, posting, tenant, code, owner, detail, state, "    \
      "opened_ms, closed_ms) SELECT ?1, e.event, o.object, ?4, "                                   \
      "coalesce(?5, (SELECT tenant FROM events WHERE id = e.event)), "                             \
      "?6, ?7, ?8, ?9, ?10, ?11 FROM o, e WHERE true "                                             \
      "ON CONFLICT(id) DO UPDATE SET state = excluded.state, closed_ms = excluded.closed_ms, "     \
      "owner = excluded.owner WHERE exceptions.tenant = excluded.tenant "                          \
      "AND exceptions.code = excluded.code AND exceptions.state IN (0, 1) "                        \
      "AND NOT (exceptions.state = 0 AND excluded.state = 0)")                                     \
    X(ACT, "UPDATE exceptions SET state = ?2, "                                                    \
           "closed_ms = CASE ?2 WHEN 1 THEN 0 ELSE ?3 END, "                                       \
           "closed_by = CASE ?2 WHEN 1 THEN closed_by ELSE ?4 END, "                               \
           "assignee = CASE ?2 WHEN 1 THEN ?5 ELSE assignee END, outcome = ?6, reason = ?7 "       \
           "WHERE id = ?1 AND state IN (0, 1) RETURNING code, coalesce(posting, 0)")               \
    X(APPROVAL,                                                                                    \
      "INSERT INTO approvals(tenant, verb, subject, asked_by, asked_ms, expires_ms, state, "       \
      "reason, what) VALUES(?1, ?2, ?3, ?4, ?5, ?6, 0, ?7, ?8) "                                   \
      "ON CONFLICT(tenant, verb, subject) WHERE state IN (0, 1) DO NOTHING")                       \
    X(APPROVAL_END, "UPDATE approvals SET state = ?2, decided_by = ?3, decided_ms = ?4, "          \
                    "said = ?5 WHERE id = ?1 AND state IN (0, 1) AND state < ?2")                  \
    X(MASTER, "INSERT INTO master(id, object, tenant, kind, name, source, version, from_day, "     \
              "attributes, refused) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")              \
    X(AUDIT, "INSERT INTO audit(seq, at_ms, actor, action, subject, detail, prev, hash) "          \
             "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")                                             \
    X(DESTINATION, "INSERT INTO destinations(id, name) VALUES(?1, ?2)")                            \
    X(PAUSE, "INSERT INTO pauses(destination, actor, reason, at_ms) VALUES(?1, ?2, ?3, ?4) "       \
             "ON CONFLICT(destination) DO NOTHING")                                                \
    X(RESUME, "DELETE FROM pauses WHERE destination = ?1")                                         \
    X(THROTTLE, "INSERT INTO throttles(destination, until_ms, said_ms) VALUES(?1, ?2, ?3) "        \
                "ON CONFLICT(destination) DO UPDATE SET until_ms = excluded.until_ms, "            \
                "said_ms = excluded.said_ms")                                                      \
    X(RESTORED_POSITION, "INSERT INTO restore_positions(restore, shard, upto) VALUES(?1, ?2, ?3) " \
                         "ON CONFLICT(restore, shard) DO UPDATE SET upto = excluded.upto")         \
    X(RESTORED_STATE, "UPDATE restores SET state = ?2 WHERE id = ?1")                              \
    X(ALERT, "INSERT OR REPLACE INTO alerts(kind, thing, told, since_ms, clear_ms, told_ms, "      \
             "fresh) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)")                                          \
    X(ALERT_IDLE, "DELETE FROM alerts WHERE kind = ?1 AND thing = ?2")                             \
    X(REPLAY, "INSERT INTO replays(id, tenant, actor, reason, token, at_ms, ended_ms, total, "     \
              "position, done, unchanged, refused, filter, refusals, items) "                      \
              "VALUES(?1, ?2, ?3, ?4, ?5, ?6, 0, ?7, 0, 0, 0, 0, ?8, '[]', ?9)")                   \
    X(REPLAY_STEP, "UPDATE replays SET position = ?2, done = ?3, unchanged = ?4, refused = ?5, "   \
                   "refusals = ?6, ended_ms = ?7 WHERE id = ?1 AND ended_ms = 0")                  \
    X(ALERT_MARK, "INSERT OR REPLACE INTO alert_marks(name, value) VALUES(?1, ?2)")

#define TG_STORE_ENUM(name, sql) TG_STORE_##name,
enum tg_store_statement { TG_STORE_STATEMENTS(TG_STORE_ENUM) TG_STORE_COUNT };
#undef TG_STORE_ENUM

struct tg_chain {
    int64_t seq; /* of the newest audit row; 0: none */
    unsigned char hash[TG_SHA256_BYTES];
};

struct tg_store {
    sqlite3 *db;
    sqlite3_stmt *statements[TG_STORE_COUNT];
    struct tg_chain chain;
    int64_t now_ms; /* of the group in hand */
    int wal_pages, wal_checkpoint_at;
};

/* What came of an operation. REFUSED: its batch can never commit. FAILED: the disk; try again. */
enum tg_applied { TG_APPLIED, TG_REFUSED, TG_FAILED };

int tg_store_open(struct tg_store *s, const char *path, struct tg_error *err);
void tg_store_close(struct tg_store *s);
/* Runs a statement without parameters. SQLite's result. */
int tg_store_run(struct tg_store *s, enum tg_store_statement which);
enum tg_applied tg_store_class(int sqlite_result);
/* Appends to the chain inside the open transaction. */
enum tg_applied tg_store_audit(struct tg_store *s, const char *actor, const char *action,
                               const char *subject, const char *detail);
/* Copies the WAL into the file when it has grown enough. Never fails the caller: it is retried. */
void tg_store_checkpoint(struct tg_store *s);

/* TG_OP_REPLAY and TG_OP_REPLAY_STEP. */
enum tg_applied tg_store_replay(struct tg_store *s, const struct tg_op *op, struct tg_error *err);

/* All operations of a batch, inside the open transaction. */
enum tg_applied tg_store_apply(struct tg_store *s, const struct tg_batch *b, struct tg_error *err);

/* approvals.c: two of these operations. */
enum tg_applied tg_apply_approval(struct tg_store *s, const struct tg_row_approval *r,
                                  struct tg_error *err);
enum tg_applied tg_apply_approval_end(struct tg_store *s, const struct tg_op *op,
                                      struct tg_error *err);

/* Brings the schema up to date; -1 for a newer one or another program's file. */
int tg_migrate(sqlite3 *db, const char *path, struct tg_error *err);
int tg_migrate_version(void); /* what this program writes */

/* ---- binding parameters: index counts up, the first failure sticks ---- */

struct tg_bind {
    sqlite3_stmt *statement;
    int index, result;
};

struct tg_bind tg_bind_begin(sqlite3_stmt *statement);
void tg_bind_i64(struct tg_bind *b, int64_t value);
void tg_bind_id(struct tg_bind *b, int64_t id);          /* 0 becomes NULL */
void tg_bind_text(struct tg_bind *b, const char *value); /* NULL stays NULL; not copied */
void tg_bind_blob(struct tg_bind *b, const unsigned char *data, size_t len); /* not copied */
/* Steps once and resets: for statements without rows. SQLite's result, SQLITE_OK for done. */
int tg_bind_run(struct tg_bind *b);

/* ---- lock ---- */

/* Takes PATH.lock; its descriptor, or -1 with the holder's pid in err. */
int tg_lock_take(const char *path, struct tg_error *err);
void tg_lock_release(int fd);

/* PATH and this: a journal that tg_restore_run has not finished. */
#define TG_RESTORING_TAIL ".restoring"

/* ---- journal ---- */

struct tg_journal {
    struct tg_store store;
    int lock_fd;
    void (*notify)(void *arg);
    void *notify_arg;
    int64_t (*now_ms)(void);

    /* the loop thread's */
    int64_t next_id[TG_TABLE_COUNT];
    void *destinations; /* tree of struct tg_known_destination, by name */
    uint32_t destination_count;

    pthread_t thread;
    pthread_mutex_t lock; /* over all below */
    pthread_cond_t work;  /* something was queued, or the journal closes */
    pthread_cond_t room;  /* something left the queue, or the journal got stuck */
    struct tg_batch_list queue, finished;
    size_t unfinished; /* queued or in the group in hand */
    bool closing;
    struct tg_journal_stats stats;
};

/* The journal thread. */
void *tg_writer_main(void *journal);
/* Waits on cond, the lock held; false when the time is up. */
bool tg_journal_wait(struct tg_journal *j, pthread_cond_t *cond, const struct timespec *until);
struct timespec tg_journal_deadline(int64_t ms); /* so long from now */

/* ---- readers ---- */

enum tg_reader_statement {
    TG_READ_EVENT,
    TG_READ_EVENT_ROW,
    TG_READ_IDENTITY,
    TG_READ_HAS_EVENT,
    TG_READ_OBJECT_LATEST,
    TG_READ_OBJECT_VERSIONS,
    TG_READ_OBJECTS_OF_EVENT,
    TG_READ_OBJECTS_HELD,
    TG_READ_OBJECTS_HELD_NAME,
    TG_READ_OBJECTS_DUE,
    TG_READ_EDIT,
    TG_READ_EDIT_OF_POSTING,
    TG_READ_POSTINGS_OF_OBJECT,
    TG_READ_POSTING,
    TG_READ_OPEN_POSTINGS,
    TG_READ_EFFECTS,
    TG_READ_WAITING,
    TG_READ_HELD,
    TG_READ_HOLD_DUE,
    TG_READ_BEFORE,
    TG_READ_EXCEPTIONS_OPEN,
    TG_READ_EXCEPTIONS_OPEN_TENANT,
    TG_READ_EXCEPTIONS_STATE,
    TG_READ_EXCEPTIONS_STATE_TENANT,
    TG_READ_EXCEPTION,
    TG_READ_EXCEPTIONS_OF_EVENT,
    TG_READ_EXCEPTIONS_OF_POSTING,
    TG_READ_EXCEPTIONS_COUNT,
    TG_READ_APPROVAL,
    TG_READ_APPROVAL_WAITS,
    TG_READ_APPROVALS,
    TG_READ_APPROVALS_ALL,
    TG_READ_MASTER,
    TG_READ_DESTINATIONS,
    TG_READ_PAUSES,
    TG_READ_THROTTLES,
    TG_READ_OPEN_COUNT,
    TG_READ_OLDEST_OPEN,
    TG_READ_IDENTITY_OF_JOURNAL,
    TG_READ_RESTORED,
    TG_READ_RESTORED_POSITIONS,
    TG_READ_ATTEMPTS,
    TG_READ_AUDIT_OF,
    TG_READ_POSTING_KEY,
    TG_READ_OBJECT,
    TG_READ_ALERT_ENDS,
    TG_READ_ALERT_MARKS,
    TG_READ_ALERTS,
    TG_READ_OPEN_GROUPS,
    TG_READ_OLDEST_OF_EACH,
    TG_READ_AUDIT_AFTER,
    TG_READ_ASIDE_POSTINGS,
    TG_READ_EXCEPTIONS_ALL,
    TG_READ_DESTINATIONS_OF,
    TG_READ_OBJECTS_DOWN,
    TG_READ_EVENT_TIME,
    TG_READ_AUDIT_TIME,
    TG_READ_AUDIT_DOWN,
    TG_READ_AUDIT_ACTS,
    TG_READ_AUDIT_ABOUT,
    TG_READ_GROUPS_OF,
    TG_READ_STATES_OPEN,
    TG_READ_STATES_ASIDE,
    TG_READ_HELD_OF,
    TG_READ_ALARMS,
    TG_READ_TOTAL_NEXT,
    TG_READ_TOTAL_SUM,
    TG_READ_REPLAY,
    TG_READ_REPLAY_OF,
    TG_READ_REPLAYS_RUNNING,
    TG_READ_KPI_AUDIT,
    TG_READ_KPI_EVENTS,
    TG_READ_KPI_POSTING,
    TG_READ_KPI_LATER,
    TG_READ_KPI_EXCEPTION,
    TG_READ_KPI_OBJECT,
    TG_READ_KPI_REPLAY,
    TG_READ_KPI_ENDS,
    TG_READ_COUNT
};

struct tg_reader {
    sqlite3 *db;
    sqlite3_stmt *statements[TG_READ_COUNT];
};

/* As tg_reader_open; an older schema is taken too. For copying and for what never changed. */
struct tg_reader *tg_reader_open_older(const char *path, struct tg_error *err);
/*
 * The cached statement, prepared on first use, bound from its start; NULL with err. It is NULL too
 * when the statement is being stepped: a callback asked for the very list it is in.
 */
sqlite3_stmt *tg_reader_statement(struct tg_reader *r, enum tg_reader_statement which,
                                  const char *sql, struct tg_error *err);
/* -1 with what SQLite says about it. */
int tg_reader_failed(struct tg_reader *r, const char *what, struct tg_error *err);
/* Ends a walk: 0, 1 when a single row was wanted and none came, or -1. */
int tg_reader_finish(struct tg_reader *r, sqlite3_stmt *s, int result, size_t rows, bool single,
                     const char *what, struct tg_error *err);
/* The walk: steps a bound statement and gives each row to fn until it returns false. 0 or -1. */
typedef bool (*tg_row_fn)(void *arg, sqlite3_stmt *row);
int tg_reader_rows(struct tg_reader *r, const struct tg_bind *b, tg_row_fn fn, void *arg,
                   const char *what, struct tg_error *err);
/* A column that holds a key; zeros when it does not. */
void tg_column_key(sqlite3_stmt *s, int column, unsigned char out[TG_POSTING_KEY_BYTES]);
void tg_column_hash(sqlite3_stmt *s, int column, unsigned char out[TG_SHA256_BYTES]);
/* A column of text; "" for NULL. */
const char *tg_column_text(sqlite3_stmt *s, int column);

/* First 8 bytes of a payload's SHA-256 in hex: what the audit chain vouches for. 0 or -1. */
#define TG_PAYLOAD_DIGEST_BYTES 17
int tg_payload_digest(struct tg_str payload, char out[TG_PAYLOAD_DIGEST_BYTES]);

#endif
