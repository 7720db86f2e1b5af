/*
 * The schema, as numbered steps; step n takes a journal from version n-1 to n. A step that was
 * released never changes: write the next one. States are the numbers of core/life.h.
 *
 * What keeps the cost of an event flat as the journal grows: rows are only appended, lists run
 * over partial indexes that hold open rows alone, and nothing on the way counts a table. The long
 * column of a table is its last: a walk over states does not read the pages it spills to.
 */
#include <stdio.h>

#include "journal/internal.h"

#define EVENTS                                                                                     \
    "CREATE TABLE events("                                                                         \
    "id INTEGER PRIMARY KEY, event_id TEXT NOT NULL UNIQUE, tenant TEXT NOT NULL, "                \
    "client TEXT NOT NULL, source TEXT NOT NULL, ce_id TEXT NOT NULL, type TEXT NOT NULL, "        \
    "subject TEXT NOT NULL, time TEXT NOT NULL, dataschema TEXT NOT NULL, "                        \
    "idem_key TEXT NOT NULL, correlation_id TEXT NOT NULL, traceparent TEXT NOT NULL, "            \
    "body_sha256 TEXT NOT NULL, content_type TEXT NOT NULL, "                                      \
    "received_ms INTEGER NOT NULL, journalled_ms INTEGER NOT NULL, "                               \
    "state INTEGER NOT NULL CHECK(state BETWEEN 1 AND 3), "                                        \
    "duplicate_of INTEGER REFERENCES events(id), "                                                 \
    "identity BLOB NOT NULL CHECK(length(identity) = 16), body BLOB NOT NULL);"                    \
    "CREATE UNIQUE INDEX events_identity ON events(identity) WHERE state <> 2;"

#define OBJECTS                                                                                    \
    "CREATE TABLE objects("                                                                        \
    "id INTEGER PRIMARY KEY, event INTEGER NOT NULL REFERENCES events(id), "                       \
    "tenant TEXT NOT NULL, kind TEXT NOT NULL, source TEXT NOT NULL, object_id TEXT NOT NULL, "    \
    "key BLOB NOT NULL CHECK(length(key) = 16), version INTEGER NOT NULL, "                        \
    "state INTEGER NOT NULL CHECK(state BETWEEN 0 AND 4), "                                        \
    "rules_sha256 TEXT NOT NULL, master_version TEXT NOT NULL, json TEXT NOT NULL);"               \
    "CREATE INDEX objects_event ON objects(event);"                                                \
    "CREATE INDEX objects_key ON objects(key, version);"

#define DESTINATIONS "CREATE TABLE destinations(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);"

/* postings_open carries its rowid, so (destination, id > n) is one walk along it. */
#define POSTINGS                                                                                   \
    "CREATE TABLE postings("                                                                       \
    "id INTEGER PRIMARY KEY, object INTEGER NOT NULL REFERENCES objects(id), "                     \
    "destination INTEGER NOT NULL REFERENCES destinations(id), "                                   \
    "kind TEXT NOT NULL, leg TEXT NOT NULL, generation INTEGER NOT NULL, "                         \
    "key BLOB NOT NULL UNIQUE CHECK(length(key) = 16), "                                           \
    "period TEXT NOT NULL, quantity_micros INTEGER NOT NULL, "                                     \
    "state INTEGER NOT NULL CHECK(state BETWEEN 0 AND 10), attempt INTEGER NOT NULL, "             \
    "due_ms INTEGER NOT NULL, first_sent_ms INTEGER NOT NULL, ref TEXT, payload TEXT NOT NULL);"   \
    "CREATE INDEX postings_object ON postings(object);"                                            \
    "CREATE INDEX postings_open ON postings(destination) WHERE state IN (2, 3, 4, 5);"             \
    "CREATE TABLE attempts("                                                                       \
    "id INTEGER PRIMARY KEY, posting INTEGER NOT NULL REFERENCES postings(id), "                   \
    "attempt INTEGER NOT NULL, outcome TEXT NOT NULL, detail TEXT NOT NULL, "                      \
    "at_ms INTEGER NOT NULL);"                                                                     \
    "CREATE INDEX attempts_posting ON attempts(posting);"

/* A sum past 64 bits would turn into a double: the check refuses it instead. */
#define TOTALS                                                                                     \
    "CREATE TABLE control_totals("                                                                 \
    "destination INTEGER NOT NULL REFERENCES destinations(id), kind TEXT NOT NULL, "               \
    "period TEXT NOT NULL, count INTEGER NOT NULL CHECK(count >= 0), "                             \
    "quantity_micros INTEGER NOT NULL CHECK(typeof(quantity_micros) = 'integer'), "                \
    "PRIMARY KEY(destination, kind, period)) WITHOUT ROWID;"

#define EXCEPTIONS                                                                                 \
    "CREATE TABLE exceptions("                                                                     \
    "id INTEGER PRIMARY KEY, event INTEGER REFERENCES events(id), "                                \
    "object INTEGER REFERENCES objects(id), posting INTEGER REFERENCES postings(id), "             \
    "tenant TEXT NOT NULL, code TEXT NOT NULL CHECK(code <> ''), owner TEXT NOT NULL, "            \
    "state INTEGER NOT NULL CHECK(state BETWEEN 0 AND 5), "                                        \
    "opened_ms INTEGER NOT NULL, closed_ms INTEGER NOT NULL, detail TEXT NOT NULL, "               \
    "CHECK(coalesce(event, object, posting) IS NOT NULL));"                                        \
    "CREATE INDEX exceptions_event ON exceptions(event) WHERE event IS NOT NULL;"                  \
    "CREATE INDEX exceptions_object ON exceptions(object) WHERE object IS NOT NULL;"               \
    "CREATE INDEX exceptions_posting ON exceptions(posting) WHERE posting IS NOT NULL;"            \
    "CREATE INDEX exceptions_open ON exceptions(id) WHERE state IN (0, 1);"                        \
    "CREATE INDEX exceptions_open_tenant ON exceptions(tenant) WHERE state IN (0, 1);"

/* The triggers stop an accident, not an attacker: that is what the chain is for. */
#define AUDIT                                                                                      \
    "CREATE TABLE audit("                                                                          \
    "seq INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, actor TEXT NOT NULL, "                       \
    "action TEXT NOT NULL, subject TEXT NOT NULL, detail TEXT NOT NULL, "                          \
    "prev BLOB NOT NULL CHECK(length(prev) = 32), hash BLOB NOT NULL CHECK(length(hash) = 32));"   \
    "CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit "                                       \
    "BEGIN SELECT raise(ABORT, 'audit rows never change'); END;"                                   \
    "CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit "                                       \
    "BEGIN SELECT raise(ABORT, 'audit rows are never deleted'); END;"

/* A row while a person holds the destination. */
#define PAUSES                                                                                     \
    "CREATE TABLE pauses("                                                                         \
    "destination INTEGER PRIMARY KEY REFERENCES destinations(id), actor TEXT NOT NULL, "           \
    "reason TEXT NOT NULL, at_ms INTEGER NOT NULL);"

/* All three indexes are small: reversals, and what is held now. */
#define CORRECTIONS                                                                                \
    "ALTER TABLE postings ADD COLUMN reverses INTEGER REFERENCES postings(id);"                    \
    "ALTER TABLE postings ADD COLUMN hold TEXT NOT NULL DEFAULT '';"                               \
    "ALTER TABLE postings ADD COLUMN hold_on INTEGER REFERENCES postings(id);"                     \
    "CREATE INDEX postings_reverses ON postings(reverses) WHERE reverses IS NOT NULL;"             \
    "CREATE INDEX postings_hold_on ON postings(hold_on) WHERE hold_on IS NOT NULL;"                \
    "CREATE INDEX postings_held ON postings(due_ms) WHERE state = 1;"

/* Which journal this is: Redis remembers it (common/contract.h). A copy and a restored backup are
 * the same journal. */
#define IDENTITY                                                                                   \
    "CREATE TABLE identity(one INTEGER PRIMARY KEY CHECK(one = 1), "                               \
    "id TEXT NOT NULL CHECK(length(id) = 32));"                                                    \
    "INSERT INTO identity VALUES(1, lower(hex(randomblob(16))));"

/* The newest pause a destination asked for; when it is over the row says nothing more. */
#define THROTTLES                                                                                  \
    "CREATE TABLE throttles("                                                                      \
    "destination INTEGER PRIMARY KEY REFERENCES destinations(id), "                                \
    "until_ms INTEGER NOT NULL, said_ms INTEGER NOT NULL);"

/* Held versions, and what people put in the place of a body or a payload. */
#define HELD_VERSIONS                                                                              \
    "ALTER TABLE objects ADD COLUMN waits_for TEXT NOT NULL DEFAULT '';"                           \
    "ALTER TABLE objects ADD COLUMN due_ms INTEGER NOT NULL DEFAULT 0;"                            \
    "CREATE INDEX objects_held ON objects(id) WHERE state = 0;"                                    \
    "CREATE INDEX objects_held_name ON objects(waits_for) WHERE state = 0;"                        \
    "CREATE INDEX objects_held_due ON objects(due_ms) WHERE state = 0;"                            \
    "CREATE TABLE edits("                                                                          \
    "id INTEGER PRIMARY KEY, event INTEGER REFERENCES events(id), "                                \
    "posting INTEGER REFERENCES postings(id), at_ms INTEGER NOT NULL, actor TEXT NOT NULL, "       \
    "body BLOB NOT NULL, CHECK((event IS NULL) <> (posting IS NULL)));"                            \
    "CREATE INDEX edits_event ON edits(event) WHERE event IS NOT NULL;"                            \
    "CREATE INDEX edits_posting ON edits(posting) WHERE posting IS NOT NULL;"

/* backups: of the file itself, written into the copy. restores: see restored.h. */
#define COPIES                                                                                     \
    "CREATE TABLE backups("                                                                        \
    "made_ms INTEGER PRIMARY KEY, audit_rows INTEGER NOT NULL, audit_head BLOB NOT NULL);"         \
    "CREATE TABLE restores("                                                                       \
    "id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, backup_ms INTEGER NOT NULL, "                 \
    "state INTEGER NOT NULL CHECK(state BETWEEN 0 AND 2), doubt_all INTEGER NOT NULL, "            \
    "events INTEGER NOT NULL, objects INTEGER NOT NULL, postings INTEGER NOT NULL, "               \
    "exceptions INTEGER NOT NULL);"                                                                \
    "CREATE TABLE restore_positions("                                                              \
    "restore INTEGER NOT NULL REFERENCES restores(id), shard INTEGER NOT NULL, "                   \
    "upto TEXT NOT NULL, PRIMARY KEY(restore, shard)) WITHOUT ROWID;"

/* Whom alerting told what, and how far it looked (alerts.h). */
#define ALERTS                                                                                     \
    "CREATE TABLE alerts("                                                                         \
    "kind TEXT NOT NULL, thing TEXT NOT NULL, told INTEGER NOT NULL, since_ms INTEGER NOT NULL, "  \
    "clear_ms INTEGER NOT NULL, told_ms INTEGER NOT NULL, fresh INTEGER NOT NULL, "                \
    "PRIMARY KEY(kind, thing)) WITHOUT ROWID;"                                                     \
    "CREATE TABLE alert_marks(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"

/* What events said of master data; read whole at each start. */
#define MASTER                                                                                     \
    "CREATE TABLE master("                                                                         \
    "id INTEGER PRIMARY KEY, object INTEGER NOT NULL REFERENCES objects(id), "                     \
    "tenant TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL CHECK(name <> ''), "             \
    "source TEXT NOT NULL, version INTEGER NOT NULL, "                                             \
    "from_day TEXT NOT NULL CHECK(length(from_day) = 10), "                                        \
    "refused TEXT NOT NULL, attributes TEXT NOT NULL);"                                            \
    "CREATE UNIQUE INDEX master_object ON master(object);"                                         \
    "CREATE INDEX master_name ON master(tenant, kind, name);"

/* What people do about them: a state more (its CHECK makes the table anew), who has it, who ended
 * it, what came of it and why. */
#define EXCEPTIONS_OF_PEOPLE                                                                       \
    "CREATE TABLE exceptions_2("                                                                   \
    "id INTEGER PRIMARY KEY, event INTEGER REFERENCES events(id), "                                \
    "object INTEGER REFERENCES objects(id), posting INTEGER REFERENCES postings(id), "             \
    "tenant TEXT NOT NULL, code TEXT NOT NULL CHECK(code <> ''), owner TEXT NOT NULL, "            \
    "state INTEGER NOT NULL CHECK(state BETWEEN 0 AND 6), "                                        \
    "opened_ms INTEGER NOT NULL, closed_ms INTEGER NOT NULL, "                                     \
    "assignee TEXT NOT NULL DEFAULT '', closed_by TEXT NOT NULL DEFAULT '', "                      \
    "outcome TEXT NOT NULL DEFAULT '', reason TEXT NOT NULL DEFAULT '', detail TEXT NOT NULL, "    \
    "CHECK(coalesce(event, object, posting) IS NOT NULL));"                                        \
    "INSERT INTO exceptions_2(id, event, object, posting, tenant, code, owner, state, opened_ms, " \
    "closed_ms, detail) SELECT id, event, object, posting, tenant, code, owner, state, "           \
    "opened_ms, closed_ms, detail FROM exceptions;"                                                \
    "DROP TABLE exceptions;"                                                                       \
    "ALTER TABLE exceptions_2 RENAME TO exceptions;"                                               \
    "CREATE INDEX exceptions_event ON exceptions(event) WHERE event IS NOT NULL;"                  \
    "CREATE INDEX exceptions_object ON exceptions(object) WHERE object IS NOT NULL;"               \
    "CREATE INDEX exceptions_posting ON exceptions(posting) WHERE posting IS NOT NULL;"            \
    "CREATE INDEX exceptions_open ON exceptions(id) WHERE state IN (0, 1);"                        \
    "CREATE INDEX exceptions_open_tenant ON exceptions(tenant) WHERE state IN (0, 1);"

/*
 * For lists that people ask for; each holds few rows, or grows at its end. postings_aside: what is
 * neither open nor over. postings_posted: what the control totals add up. postings_open once more,
 * in the form that costs nothing (internal.h).
 */
#define LISTS                                                                                      \
    "DROP INDEX postings_open;"                                                                    \
    "CREATE INDEX postings_open ON postings(destination) WHERE state BETWEEN 2 AND 5;"             \
    "CREATE INDEX postings_aside ON postings(destination) "                                        \
    "WHERE (state < 2 OR state IN (7, 9));"                                                        \
    "CREATE INDEX postings_posted ON postings(destination, kind, period) WHERE state IN (6, 10);"  \
    "CREATE INDEX audit_acts ON audit(actor) WHERE actor <> 'orchestrator';"                       \
    "CREATE INDEX audit_alarms ON audit(action) WHERE action IN "                                  \
    "('journal.restored', 'stream.entry_lost', 'stream.entries_missing');"

/* Exceptions that are replayed together: which (items, their ids as JSON), and how far it came. */
#define REPLAYS                                                                                    \
    "CREATE TABLE replays("                                                                        \
    "id INTEGER PRIMARY KEY, tenant TEXT NOT NULL, actor TEXT NOT NULL, reason TEXT NOT NULL, "    \
    "token TEXT NOT NULL, at_ms INTEGER NOT NULL, ended_ms INTEGER NOT NULL, "                     \
    "total INTEGER NOT NULL, position INTEGER NOT NULL, done INTEGER NOT NULL, "                   \
    "unchanged INTEGER NOT NULL, refused INTEGER NOT NULL, filter TEXT NOT NULL, "                 \
    "refusals TEXT NOT NULL, items TEXT NOT NULL, "                                                \
    "CHECK(position BETWEEN 0 AND total AND position = done + unchanged + refused));"              \
    "CREATE UNIQUE INDEX replays_token ON replays(token);"                                         \
    "CREATE INDEX replays_running ON replays(id) WHERE ended_ms = 0;"

/* What a second person has to approve; the same thing waits once. */
#define APPROVALS                                                                                  \
    "CREATE TABLE approvals("                                                                      \
    "id INTEGER PRIMARY KEY, tenant TEXT NOT NULL, verb TEXT NOT NULL CHECK(verb <> ''), "         \
    "subject TEXT NOT NULL, asked_by TEXT NOT NULL CHECK(asked_by <> ''), "                        \
    "asked_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL, "                                     \
    "state INTEGER NOT NULL CHECK(state BETWEEN 0 AND 4), "                                        \
    "decided_by TEXT NOT NULL DEFAULT '', decided_ms INTEGER NOT NULL DEFAULT 0, "                 \
    "said TEXT NOT NULL DEFAULT '', reason TEXT NOT NULL, what TEXT NOT NULL, "                    \
    "CHECK(decided_by <> asked_by));"                                                              \
    "CREATE UNIQUE INDEX approvals_one ON approvals(tenant, verb, subject) "                       \
    "WHERE state IN (0, 1);"                                                                       \
    "CREATE INDEX approvals_open ON approvals(tenant, id) WHERE state IN (0, 1);"

static const char *const migrations[] = {
    EVENTS OBJECTS DESTINATIONS POSTINGS TOTALS EXCEPTIONS AUDIT, /* 1 */
    PAUSES,                                                       /* 2 */
    CORRECTIONS,                                                  /* 3 */
    IDENTITY,                                                     /* 4 */
    THROTTLES,                                                    /* 5 */
    HELD_VERSIONS,                                                /* 6 */
    COPIES,                                                       /* 7 */
    "CREATE INDEX audit_subject ON audit(subject);",              /* 8 */
    ALERTS,                                                       /* 9 */
    MASTER,                                                       /* 10 */
    EXCEPTIONS_OF_PEOPLE,                                         /* 11 */
    LISTS,                                                        /* 12 */
    REPLAYS,                                                      /* 13 */
    APPROVALS,                                                    /* 14 */
};

int tg_migrate_version(void)
{
    return (int)(sizeof(migrations) / sizeof(migrations[0]));
}

static int read_int(sqlite3 *db, const char *sql, int *out)
{
    sqlite3_stmt *s = NULL;
    int result = sqlite3_prepare_v2(db, sql, -1, &s, NULL);

    if (result == SQLITE_OK) {
        result = sqlite3_step(s);
        if (result == SQLITE_ROW) {
            *out = sqlite3_column_int(s, 0);
            result = SQLITE_OK;
        }
    }
    sqlite3_finalize(s);
    return result;
}

static int cannot(sqlite3 *db, const char *path, const char *what, struct tg_error *err)
{
    int code = sqlite3_errcode(db) & 0xff;

    if (code == SQLITE_NOTADB) {
        return tg_error_set(err,
                            "journal %s is not a journal (not a SQLite file); "
                            "give another path, or restore a backup",
                            path);
    }
    if (code == SQLITE_CORRUPT) {
        return tg_error_set(err, "journal %s is damaged (%s); restore a backup", path,
                            sqlite3_errmsg(db));
    }
    return tg_error_set(err, "journal %s: cannot %s: %s", path, what, sqlite3_errmsg(db));
}

static int migrate_one(sqlite3 *db, const char *path, int version, struct tg_error *err)
{
    char sql[96];
    char what[48];

    (void)snprintf(what, sizeof(what), "migrate to schema %d", version);
    (void)snprintf(sql, sizeof(sql), "PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT",
                   TG_JOURNAL_APPLICATION_ID, version);
    if (sqlite3_exec(db, "BEGIN EXCLUSIVE", NULL, NULL, NULL) == SQLITE_OK &&
        sqlite3_exec(db, migrations[version - 1], NULL, NULL, NULL) == SQLITE_OK &&
        sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK) {
        return 0;
    }
    (void)cannot(db, path, what, err);
    if (sqlite3_get_autocommit(db) == 0 &&
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL) != SQLITE_OK) {
        return tg_error_set(err, "journal %s: cannot %s, nor go back: %s", path, what,
                            sqlite3_errmsg(db));
    }
    return -1;
}

int tg_migrate(sqlite3 *db, const char *path, struct tg_error *err)
{
    int version = 0;
    int application = 0;
    int tables = 0;

    if (read_int(db, "PRAGMA user_version", &version) != SQLITE_OK ||
        read_int(db, "PRAGMA application_id", &application) != SQLITE_OK ||
        read_int(db, "SELECT count(*) FROM sqlite_schema", &tables) != SQLITE_OK) {
        return cannot(db, path, "read its schema", err);
    }
    if (application != TG_JOURNAL_APPLICATION_ID && (tables > 0 || version != 0)) {
        return tg_error_set(err, "journal %s is another program's SQLite file; give another path",
                            path);
    }
    if (version > tg_migrate_version()) {
        return tg_error_set(err,
                            "journal %s has schema %d, this program knows up to %d; "
                            "run the newer tallygate that wrote it",
                            path, version, tg_migrate_version());
    }
    while (version < tg_migrate_version()) {
        version++;
        if (migrate_one(db, path, version, err) != 0) {
            return -1;
        }
    }
    return 0;
}
