/*
 * Reading events and objects. A reader sees what was committed; each function is one statement,
 * hence one snapshot. postings.c reads postings, exceptions.c exceptions.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "journal/internal.h"
#include "journal/trail.h"

/* ---- opening ---- */

static int pragma_int(sqlite3 *db, const char *sql, int *out)
{
    sqlite3_stmt *s = NULL;
    int result = sqlite3_prepare_v2(db, sql, -1, &s, NULL);

    if (result == SQLITE_OK) {
        result = sqlite3_step(s);
        if (result == SQLITE_ROW) {
            *out = sqlite3_column_int(s, 0);
        }
    }
    sqlite3_finalize(s);
    return result == SQLITE_ROW ? 0 : -1;
}

static int schema_check(sqlite3 *db, const char *path, bool older_too, struct tg_error *err)
{
    int application = 0;
    int version = 0;

    if (pragma_int(db, "PRAGMA application_id", &application) != 0 ||
        pragma_int(db, "PRAGMA user_version", &version) != 0) {
        return tg_error_set(err, "journal %s cannot be read: %s", path, sqlite3_errmsg(db));
    }
    if (application != TG_JOURNAL_APPLICATION_ID) {
        return tg_error_set(err, "%s is not a journal; give the path of journal.path", path);
    }
    if (version > tg_migrate_version()) {
        return tg_error_set(err,
                            "journal %s has schema %d, this program knows up to %d; "
                            "run the newer tallygate that wrote it",
                            path, version, tg_migrate_version());
    }
    if (version < tg_migrate_version() && !older_too) {
        return tg_error_set(err,
                            "journal %s has schema %d, this program reads %d; run tallygate "
                            "migrate, or start tallygate serve once, to bring it up to date",
                            path, version, tg_migrate_version());
    }
    return 0;
}

static struct tg_reader *reader_open(const char *path, bool older_too, struct tg_error *err)
{
    struct tg_reader *r;

    if (access(path, R_OK) != 0) {
        (void)tg_error_set(err, "journal %s cannot be read: %s", path, strerror(errno));
        return NULL;
    }
    r = calloc(1, sizeof(*r));
    if (r == NULL) {
        (void)tg_error_set(err, "journal: out of memory");
        return NULL;
    }
    if (sqlite3_open_v2(path, &r->db,
                        SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
                        NULL) != SQLITE_OK ||
        sqlite3_busy_timeout(r->db, TG_JOURNAL_BUSY_MS) != SQLITE_OK) {
        (void)tg_error_set(err, "journal %s cannot be read: %s", path,
                           r->db == NULL ? "out of memory" : sqlite3_errmsg(r->db));
        tg_reader_close(r);
        return NULL;
    }
    if (schema_check(r->db, path, older_too, err) != 0) {
        tg_reader_close(r);
        return NULL;
    }
    return r;
}

struct tg_reader *tg_reader_open(const char *path, struct tg_error *err)
{
    return reader_open(path, false, err);
}

struct tg_reader *tg_reader_open_older(const char *path, struct tg_error *err)
{
    return reader_open(path, true, err);
}

void tg_reader_close(struct tg_reader *r)
{
    if (r == NULL) {
        return;
    }
    for (int i = 0; i < TG_READ_COUNT; i++) {
        sqlite3_finalize(r->statements[i]);
    }
    (void)sqlite3_close(r->db); /* nothing is left open in it */
    free(r);
}

/* ---- what all readers use ---- */

int tg_reader_failed(struct tg_reader *r, const char *what, struct tg_error *err)
{
    return tg_error_set(err, "journal: cannot read %s: %s", what, sqlite3_errmsg(r->db));
}

sqlite3_stmt *tg_reader_statement(struct tg_reader *r, enum tg_reader_statement which,
                                  const char *sql, struct tg_error *err)
{
    sqlite3_stmt **s = &r->statements[which];

    if (*s == NULL) {
        if (sqlite3_prepare_v3(r->db, sql, -1, SQLITE_PREPARE_PERSISTENT, s, NULL) != SQLITE_OK) {
            (void)tg_error_set(err, "journal: %s", sqlite3_errmsg(r->db));
            return NULL;
        }
    } else if (sqlite3_stmt_busy(*s) != 0) {
        (void)tg_error_set(err, "journal: a list is being read already; use a second reader");
        return NULL;
    }
    return *s;
}

int tg_reader_journal_id(struct tg_reader *r, char out[TG_JOURNAL_ID_BYTES + 1],
                         struct tg_error *err)
{
    sqlite3_stmt *s = tg_reader_statement(r, TG_READ_IDENTITY_OF_JOURNAL,
                                          "SELECT id FROM identity WHERE one = 1", err);
    int rc;

    if (s == NULL) {
        return -1;
    }
    rc = sqlite3_step(s) == SQLITE_ROW &&
                 tg_str_copy(tg_str_of(tg_column_text(s, 0)), out, TG_JOURNAL_ID_BYTES + 1)
             ? 0
             : tg_reader_failed(r, "the id of the journal", err);
    (void)sqlite3_reset(s);
    return rc;
}

const char *tg_column_text(sqlite3_stmt *s, int column)
{
    const unsigned char *text = sqlite3_column_text(s, column);

    return text == NULL ? "" : (const char *)text;
}

void tg_column_key(sqlite3_stmt *s, int column, unsigned char out[TG_POSTING_KEY_BYTES])
{
    const void *blob = sqlite3_column_blob(s, column);

    memset(out, 0, TG_POSTING_KEY_BYTES);
    if (blob != NULL && sqlite3_column_bytes(s, column) == TG_POSTING_KEY_BYTES) {
        memcpy(out, blob, TG_POSTING_KEY_BYTES);
    }
}

int tg_reader_finish(struct tg_reader *r, sqlite3_stmt *s, int result, size_t rows, bool single,
                     const char *what, struct tg_error *err)
{
    int answer = single && rows == 0 ? 1 : 0;

    if (result != SQLITE_ROW && result != SQLITE_DONE) {
        answer = tg_reader_failed(r, what, err);
    }
    (void)sqlite3_reset(s);
    return answer;
}

int tg_reader_rows(struct tg_reader *r, const struct tg_bind *b, tg_row_fn fn, void *arg,
                   const char *what, struct tg_error *err)
{
    int result = b->result == SQLITE_OK ? sqlite3_step(b->statement) : b->result;

    while (result == SQLITE_ROW && fn(arg, b->statement)) {
        result = sqlite3_step(b->statement);
    }
    return tg_reader_finish(r, b->statement, result, 1, false, what, err);
}

/* ---- events ---- */

#define EVENT_COLUMNS                                                                              \
    "id, event_id, tenant, client, source, ce_id, type, subject, time, dataschema, idem_key, "     \
    "correlation_id, traceparent, body_sha256, content_type, body, received_ms, journalled_ms, "   \
    "state, coalesce(duplicate_of, 0), identity"

static void event_row(sqlite3_stmt *s, struct tg_row_event *e)
{
    memset(e, 0, sizeof(*e));
    e->id = sqlite3_column_int64(s, 0);
    e->event_id = tg_column_text(s, 1);
    e->tenant = tg_column_text(s, 2);
    e->client = tg_column_text(s, 3);
    e->source = tg_column_text(s, 4);
    e->ce_id = tg_column_text(s, 5);
    e->type = tg_column_text(s, 6);
    e->subject = tg_column_text(s, 7);
    e->time = tg_column_text(s, 8);
    e->dataschema = tg_column_text(s, 9);
    e->idem_key = tg_column_text(s, 10);
    e->correlation_id = tg_column_text(s, 11);
    e->traceparent = tg_column_text(s, 12);
    e->body_sha256 = tg_column_text(s, 13);
    e->content_type = tg_column_text(s, 14);
    e->body.data = sqlite3_column_blob(s, 15);
    e->body.len = (size_t)sqlite3_column_bytes(s, 15);
    e->received_ms = sqlite3_column_int64(s, 16);
    e->state = (enum tg_event_state)sqlite3_column_int(s, 18);
    e->duplicate_of = sqlite3_column_int64(s, 19);
    tg_column_key(s, 20, e->identity);
}

/* The event that a statement with bound values finds. */
static int one_event(struct tg_reader *r, struct tg_bind *b, tg_event_fn fn, void *arg,
                     struct tg_error *err)
{
    sqlite3_stmt *s = b->statement;
    struct tg_row_event row;
    int result = b->result == SQLITE_OK ? sqlite3_step(s) : b->result;

    if (result == SQLITE_ROW) {
        event_row(s, &row);
        (void)fn(arg, &row, sqlite3_column_int64(s, 17));
    }
    return tg_reader_finish(r, s, result, result == SQLITE_ROW, true, "an event", err);
}

int tg_reader_event(struct tg_reader *r, const char *event_id, tg_event_fn fn, void *arg,
                    struct tg_error *err)
{
    sqlite3_stmt *s = tg_reader_statement(
        r, TG_READ_EVENT, "SELECT " EVENT_COLUMNS " FROM events WHERE event_id = ?1", err);
    struct tg_bind b;

    if (s == NULL) {
        return -1;
    }
    b = tg_bind_begin(s);
    tg_bind_text(&b, event_id);
    return one_event(r, &b, fn, arg, err);
}

int tg_reader_event_row(struct tg_reader *r, int64_t event, tg_event_fn fn, void *arg,
                        struct tg_error *err)
{
    sqlite3_stmt *s = tg_reader_statement(
        r, TG_READ_EVENT_ROW, "SELECT " EVENT_COLUMNS " FROM events WHERE id = ?1", err);
    struct tg_bind b;

    if (s == NULL) {
        return -1;
    }
    b = tg_bind_begin(s);
    tg_bind_i64(&b, event);
    return one_event(r, &b, fn, arg, err);
}

int tg_reader_identity(struct tg_reader *r, const unsigned char identity[TG_POSTING_KEY_BYTES],
                       int64_t *event_row_id, struct tg_error *err)
{
    /* state <> 2 is the condition of the index: without it SQLite would walk the table. */
    sqlite3_stmt *s = tg_reader_statement(r, TG_READ_IDENTITY,
                                          "SELECT id FROM events INDEXED BY events_identity "
                                          "WHERE identity = ?1 AND state <> 2",
                                          err);
    struct tg_bind b;
    int result;

    if (s == NULL) {
        return -1;
    }
    b = tg_bind_begin(s);
    tg_bind_blob(&b, identity, TG_POSTING_KEY_BYTES);
    result = b.result == SQLITE_OK ? sqlite3_step(s) : b.result;
    if (result == SQLITE_ROW) {
        *event_row_id = sqlite3_column_int64(s, 0);
    }
    return tg_reader_finish(r, s, result, result == SQLITE_ROW, true, "an identity", err);
}

int tg_reader_has_event(struct tg_reader *r, const char *event_id, struct tg_error *err)
{
    sqlite3_stmt *s =
        tg_reader_statement(r, TG_READ_HAS_EVENT, "SELECT 1 FROM events WHERE event_id = ?1", err);
    struct tg_bind b;
    int result;

    if (s == NULL) {
        return -1;
    }
    b = tg_bind_begin(s);
    tg_bind_text(&b, event_id);
    result = b.result == SQLITE_OK ? sqlite3_step(s) : b.result;
    return tg_reader_finish(r, s, result, result == SQLITE_ROW, true, "an event", err);
}

/* ---- objects ---- */

#define OBJECT_COLUMNS                                                                             \
    "id, event, tenant, kind, source, object_id, key, version, state, json, rules_sha256, "        \
    "master_version, waits_for, due_ms"

static void object_row(sqlite3_stmt *s, struct tg_row_object *o)
{
    memset(o, 0, sizeof(*o));
    o->id = sqlite3_column_int64(s, 0);
    o->event = sqlite3_column_int64(s, 1);
    o->tenant = tg_column_text(s, 2);
    o->kind = tg_column_text(s, 3);
    o->source = tg_column_text(s, 4);
    o->object_id = tg_column_text(s, 5);
    tg_column_key(s, 6, o->key);
    o->version = sqlite3_column_int64(s, 7);
    o->state = (enum tg_version_state)sqlite3_column_int(s, 8);
    o->json = tg_column_text(s, 9);
    o->rules_sha256 = tg_column_text(s, 10);
    o->master_version = tg_column_text(s, 11);
    o->waits_for = tg_column_text(s, 12);
    o->due_ms = sqlite3_column_int64(s, 13);
}

static int objects_walk(struct tg_reader *r, struct tg_bind *b, bool single, tg_object_fn fn,
                        void *arg, struct tg_error *err)
{
    sqlite3_stmt *s = b->statement;
    struct tg_row_object row;
    size_t rows = 0;
    int result = b->result == SQLITE_OK ? sqlite3_step(s) : b->result;

    while (result == SQLITE_ROW) {
        rows++;
        object_row(s, &row);
        if (!fn(arg, &row)) {
            break;
        }
        result = sqlite3_step(s);
    }
    return tg_reader_finish(r, s, result, rows, single, "objects", err);
}

int tg_reader_object_latest(struct tg_reader *r, const unsigned char key[TG_POSTING_KEY_BYTES],
                            tg_object_fn fn, void *arg, struct tg_error *err)
{
    sqlite3_stmt *s = tg_reader_statement(r, TG_READ_OBJECT_LATEST,
                                          "SELECT " OBJECT_COLUMNS " FROM objects "
                                          "INDEXED BY objects_key WHERE key = ?1 "
                                          "ORDER BY version DESC, id DESC LIMIT 1",
                                          err);
    struct tg_bind b;

    if (s == NULL) {
        return -1;
    }
    b = tg_bind_begin(s);
    tg_bind_blob(&b, key, TG_POSTING_KEY_BYTES);
    return objects_walk(r, &b, true, fn, arg, err);
}

int tg_reader_object_versions(struct tg_reader *r, const unsigned char key[TG_POSTING_KEY_BYTES],
                              tg_object_fn fn, void *arg, struct tg_error *err)
{
    sqlite3_stmt *s = tg_reader_statement(r, TG_READ_OBJECT_VERSIONS,
                                          "SELECT " OBJECT_COLUMNS " FROM objects "
                                          "INDEXED BY objects_key WHERE key = ?1 "
                                          "ORDER BY version DESC, id DESC LIMIT ?2",
                                          err);
    struct tg_bind b;

    if (s == NULL) {
        return -1;
    }
    b = tg_bind_begin(s);
    tg_bind_blob(&b, key, TG_POSTING_KEY_BYTES);
    tg_bind_i64(&b, TG_JOURNAL_PAGE_MAX);
    return objects_walk(r, &b, false, fn, arg, err);
}

int tg_reader_object(struct tg_reader *r, int64_t object, tg_object_fn fn, void *arg,
                     struct tg_error *err)
{
    sqlite3_stmt *s = tg_reader_statement(
        r, TG_READ_OBJECT, "SELECT " OBJECT_COLUMNS " FROM objects WHERE id = ?1", err);
    struct tg_bind b;

    if (s == NULL) {
        return -1;
    }
    b = tg_bind_begin(s);
    tg_bind_i64(&b, object);
    return objects_walk(r, &b, true, fn, arg, err);
}

int tg_reader_objects_of_event(struct tg_reader *r, int64_t event, tg_object_fn fn, void *arg,
                               struct tg_error *err)
{
    sqlite3_stmt *s = tg_reader_statement(r, TG_READ_OBJECTS_OF_EVENT,
                                          "SELECT " OBJECT_COLUMNS " FROM objects "
                                          "INDEXED BY objects_event WHERE event = ?1 ORDER BY id",
                                          err);
    struct tg_bind b;

    if (s == NULL) {
        return -1;
    }
    b = tg_bind_begin(s);
    tg_bind_i64(&b, event);
    return objects_walk(r, &b, false, fn, arg, err);
}

int tg_reader_objects_held(struct tg_reader *r, const char *tenant, const char *name, int64_t after,
                           size_t limit, tg_object_fn fn, void *arg, struct tg_error *err)
{
    sqlite3_stmt *s =
        name != NULL
            ? tg_reader_statement(r, TG_READ_OBJECTS_HELD_NAME,
                                  "SELECT " OBJECT_COLUMNS " FROM objects "
                                  "INDEXED BY objects_held_name WHERE state = 0 AND id > ?1 "
                                  "AND (?3 IS NULL OR tenant = ?3) AND waits_for = ?4 "
                                  "ORDER BY id LIMIT ?2",
                                  err)
            : tg_reader_statement(r, TG_READ_OBJECTS_HELD,
                                  "SELECT " OBJECT_COLUMNS " FROM objects INDEXED BY objects_held "
                                  "WHERE state = 0 AND id > ?1 AND (?3 IS NULL OR tenant = ?3) "
                                  "ORDER BY id LIMIT ?2",
                                  err);
    struct tg_bind b;

    if (s == NULL) {
        return -1;
    }
    b = tg_bind_begin(s);
    tg_bind_i64(&b, after);
    tg_bind_i64(&b, limit > TG_JOURNAL_PAGE_MAX ? TG_JOURNAL_PAGE_MAX : (int64_t)limit);
    tg_bind_text(&b, tenant);
    if (name != NULL) {
        tg_bind_text(&b, name);
    }
    return objects_walk(r, &b, false, fn, arg, err);
}

int tg_reader_objects_due(struct tg_reader *r, int64_t now_ms, size_t limit, tg_object_fn fn,
                          void *arg, struct tg_error *err)
{
    sqlite3_stmt *s = tg_reader_statement(r, TG_READ_OBJECTS_DUE,
                                          "SELECT " OBJECT_COLUMNS " FROM objects "
                                          "INDEXED BY objects_held_due WHERE state = 0 "
                                          "AND due_ms <= ?1 ORDER BY due_ms, id LIMIT ?2",
                                          err);
    struct tg_bind b;

    if (s == NULL) {
        return -1;
    }
    b = tg_bind_begin(s);
    tg_bind_i64(&b, now_ms);
    tg_bind_i64(&b, limit > TG_JOURNAL_PAGE_MAX ? TG_JOURNAL_PAGE_MAX : (int64_t)limit);
    return objects_walk(r, &b, false, fn, arg, err);
}

/* ---- edits ---- */

#define EDIT_SELECT(of)                                                                            \
    "SELECT coalesce(event, 0), coalesce(posting, 0), actor, at_ms, body FROM edits "              \
    "INDEXED BY edits_" of " WHERE " of " = ?1 ORDER BY id DESC LIMIT 1"

/* s may be NULL: then err says why. */
static int edit_of(struct tg_reader *r, sqlite3_stmt *s, int64_t id, tg_edit_fn fn, void *arg,
                   struct tg_error *err)
{
    struct tg_row_edit row = {0};
    struct tg_bind b;
    int result;

    if (s == NULL) {
        return -1;
    }
    b = tg_bind_begin(s);
    tg_bind_i64(&b, id);
    result = b.result == SQLITE_OK ? sqlite3_step(s) : b.result;
    if (result == SQLITE_ROW) {
        row.event = sqlite3_column_int64(s, 0);
        row.posting = sqlite3_column_int64(s, 1);
        row.actor = tg_column_text(s, 2);
        row.at_ms = sqlite3_column_int64(s, 3);
        row.body.data = sqlite3_column_blob(s, 4);
        row.body.len = (size_t)sqlite3_column_bytes(s, 4);
        fn(arg, &row);
    }
    return tg_reader_finish(r, s, result, result == SQLITE_ROW, true, "an edit", err);
}

int tg_reader_edit(struct tg_reader *r, int64_t event, tg_edit_fn fn, void *arg,
                   struct tg_error *err)
{
    return edit_of(r, tg_reader_statement(r, TG_READ_EDIT, EDIT_SELECT("event"), err), event, fn,
                   arg, err);
}

int tg_reader_edit_of_posting(struct tg_reader *r, int64_t posting, tg_edit_fn fn, void *arg,
                              struct tg_error *err)
{
    return edit_of(r, tg_reader_statement(r, TG_READ_EDIT_OF_POSTING, EDIT_SELECT("posting"), err),
                   posting, fn, arg, err);
}
