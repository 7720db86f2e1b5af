/*
 * The writer's connection. Invariants:
 *   1. chain is the newest audit row of the connection's view: of the open transaction while one is
 *      open, of the file otherwise. Whoever rolls back restores it.
 *   2. The WAL is synced before a commit returns (synchronous = FULL); copying it into the file
 *      happens between commits, so that no commit waits for it.
 */
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "journal/internal.h"

#define STORE_SQL(name, sql) sql,
static const char *const statement_sql[TG_STORE_COUNT] = {TG_STORE_STATEMENTS(STORE_SQL)};
#undef STORE_SQL

/* ---- binding ---- */

struct tg_bind tg_bind_begin(sqlite3_stmt *statement)
{
    struct tg_bind b = {statement, 0, SQLITE_OK};

    return b;
}

static void bind_note(struct tg_bind *b, int result)
{
    if (b->result == SQLITE_OK) {
        b->result = result;
    }
}

void tg_bind_i64(struct tg_bind *b, int64_t value)
{
    b->index++;
    bind_note(b, sqlite3_bind_int64(b->statement, b->index, value));
}

void tg_bind_id(struct tg_bind *b, int64_t id)
{
    b->index++;
    bind_note(b, id == 0 ? sqlite3_bind_null(b->statement, b->index)
                         : sqlite3_bind_int64(b->statement, b->index, id));
}

void tg_bind_text(struct tg_bind *b, const char *value)
{
    b->index++;
    bind_note(b, sqlite3_bind_text(b->statement, b->index, value, -1, SQLITE_STATIC));
}

void tg_bind_blob(struct tg_bind *b, const unsigned char *data, size_t len)
{
    b->index++;
    /* A NULL pointer would bind NULL, not the empty blob. */
    bind_note(b, len == 0 ? sqlite3_bind_zeroblob(b->statement, b->index, 0)
                          : sqlite3_bind_blob64(b->statement, b->index, data, len, SQLITE_STATIC));
}

int tg_bind_run(struct tg_bind *b)
{
    int result = b->result;

    if (result == SQLITE_OK) {
        result = sqlite3_step(b->statement);
    }
    (void)sqlite3_reset(b->statement); /* repeats the step's result */
    return result == SQLITE_DONE || result == SQLITE_ROW ? SQLITE_OK : result;
}

/* ---- the store ---- */

enum tg_applied tg_store_class(int sqlite_result)
{
    switch (sqlite_result & 0xff) {
    case SQLITE_OK:
    case SQLITE_DONE:
    case SQLITE_ROW:
        return TG_APPLIED;
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
    case SQLITE_TOOBIG:
    case SQLITE_RANGE:
    case SQLITE_MISUSE:
    case SQLITE_ERROR:
        return TG_REFUSED;
    default:
        return TG_FAILED;
    }
}

int tg_store_run(struct tg_store *s, enum tg_store_statement which)
{
    struct tg_bind b = tg_bind_begin(s->statements[which]);

    return tg_bind_run(&b);
}

/* In place of SQLite's own, which would copy inside the commit. */
static int wal_grew(void *arg, sqlite3 *db, const char *schema, int pages)
{
    struct tg_store *s = arg;

    (void)db;
    (void)schema;
    s->wal_pages = pages;
    return SQLITE_OK;
}

void tg_store_checkpoint(struct tg_store *s)
{
    int total = 0;
    int copied = 0;
    int result;

    if (s->wal_pages < TG_JOURNAL_WAL_PAGES) {
        s->wal_checkpoint_at = TG_JOURNAL_WAL_PAGES; /* the WAL began anew */
    }
    if (s->wal_pages < s->wal_checkpoint_at) {
        return;
    }
    result = sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_PASSIVE, &total, &copied);
    if (result != SQLITE_OK && result != SQLITE_BUSY) {
        tg_log(TG_LOG_WARN, "journal", "copy of the WAL into the journal failed, tried again: %s",
               sqlite3_errmsg(s->db));
    }
    /* A slow reader may hold it back: not tried again at every commit. */
    s->wal_checkpoint_at = s->wal_pages + TG_JOURNAL_WAL_PAGES;
}

static int store_chain_load(struct tg_store *s)
{
    sqlite3_stmt *q = NULL;
    int result = sqlite3_prepare_v2(s->db, "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1",
                                    -1, &q, NULL);

    if (result == SQLITE_OK) {
        result = sqlite3_step(q);
    }
    if (result == SQLITE_ROW) {
        const void *hash = sqlite3_column_blob(q, 1);

        s->chain.seq = sqlite3_column_int64(q, 0);
        result = SQLITE_CORRUPT;
        if (hash != NULL && sqlite3_column_bytes(q, 1) == TG_SHA256_BYTES) {
            memcpy(s->chain.hash, hash, TG_SHA256_BYTES);
            result = SQLITE_DONE;
        }
    }
    sqlite3_finalize(q);
    return result == SQLITE_DONE ? 0 : -1;
}

static int store_pragmas(struct tg_store *s, const char *path, struct tg_error *err)
{
    char sql[512];
    sqlite3_stmt *q = NULL;
    bool wal = false;

    (void)snprintf(sql, sizeof(sql),
                   "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;"
                   "PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF;"
                   "PRAGMA cache_size = -%d; PRAGMA journal_size_limit = %d",
                   TG_JOURNAL_CACHE_KIB, TG_JOURNAL_WAL_KEEP_BYTES);
    if (sqlite3_exec(s->db, sql, NULL, NULL, NULL) != SQLITE_OK) {
        return tg_error_set(err, "journal %s: %s", path, sqlite3_errmsg(s->db));
    }
    if (sqlite3_prepare_v2(s->db, "PRAGMA journal_mode = WAL", -1, &q, NULL) == SQLITE_OK &&
        sqlite3_step(q) == SQLITE_ROW) {
        const unsigned char *mode = sqlite3_column_text(q, 0);

        wal = mode != NULL && strcmp((const char *)mode, "wal") == 0;
    }
    sqlite3_finalize(q);
    if (!wal) {
        return tg_error_set(err, "journal %s cannot use a write-ahead log (%s); use a local disk",
                            path, sqlite3_errmsg(s->db));
    }
    (void)sqlite3_wal_hook(s->db, wal_grew, s);
    return 0;
}

int tg_store_open(struct tg_store *s, const char *path, struct tg_error *err)
{
    memset(s, 0, sizeof(*s));
    if (sqlite3_open_v2(path, &s->db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX |
                            SQLITE_OPEN_EXRESCODE,
                        NULL) != SQLITE_OK) {
        return tg_error_set(err, "cannot open journal %s: %s", path,
                            s->db == NULL ? "out of memory" : sqlite3_errmsg(s->db));
    }
    if (sqlite3_busy_timeout(s->db, TG_JOURNAL_WRITER_BUSY_MS) != SQLITE_OK) {
        return tg_error_set(err, "journal %s: %s", path, sqlite3_errmsg(s->db));
    }
    if (tg_migrate(s->db, path, err) != 0 || store_pragmas(s, path, err) != 0) {
        return -1;
    }
    for (int i = 0; i < TG_STORE_COUNT; i++) {
        if (sqlite3_prepare_v3(s->db, statement_sql[i], -1, SQLITE_PREPARE_PERSISTENT,
                               &s->statements[i], NULL) != SQLITE_OK) {
            return tg_error_set(err, "journal %s does not fit its schema number: %s", path,
                                sqlite3_errmsg(s->db));
        }
    }
    if (store_chain_load(s) != 0) {
        return tg_error_set(err, "journal %s: cannot read the end of the audit chain: %s", path,
                            sqlite3_errmsg(s->db));
    }
    return 0;
}

void tg_store_close(struct tg_store *s)
{
    for (int i = 0; i < TG_STORE_COUNT; i++) {
        sqlite3_finalize(s->statements[i]);
        s->statements[i] = NULL;
    }
    if (s->db != NULL && sqlite3_close(s->db) != SQLITE_OK) {
        tg_log(TG_LOG_WARN, "journal", "close: %s", sqlite3_errmsg(s->db));
    }
    s->db = NULL;
}

enum tg_applied tg_store_audit(struct tg_store *s, const char *actor, const char *action,
                               const char *subject, const char *detail)
{
    struct tg_audit_row row = {.seq = s->chain.seq + 1,
                               .at_ms = s->now_ms,
                               .actor = actor,
                               .action = action,
                               .subject = subject,
                               .detail = detail};
    struct tg_bind b = tg_bind_begin(s->statements[TG_STORE_AUDIT]);
    int result;

    if (tg_audit_hash(s->chain.hash, &row, row.hash) != 0) {
        return TG_FAILED;
    }
    tg_bind_i64(&b, row.seq);
    tg_bind_i64(&b, row.at_ms);
    tg_bind_text(&b, row.actor);
    tg_bind_text(&b, row.action);
    tg_bind_text(&b, row.subject);
    tg_bind_text(&b, row.detail);
    tg_bind_blob(&b, s->chain.hash, TG_SHA256_BYTES);
    tg_bind_blob(&b, row.hash, TG_SHA256_BYTES);
    result = tg_bind_run(&b);
    if (result == SQLITE_OK) {
        s->chain.seq = row.seq;
        memcpy(s->chain.hash, row.hash, TG_SHA256_BYTES);
    }
    return tg_store_class(result);
}
