#include "journal/trail.h"

#include <string.h>

#include "journal/internal.h"

int tg_reader_attempts(struct tg_reader *r, int64_t posting, tg_attempt_fn fn, void *arg,
                       struct tg_error *err)
{
    sqlite3_stmt *s =
        tg_reader_statement(r, TG_READ_ATTEMPTS,
                            "SELECT id, posting, attempt, outcome, detail, at_ms FROM attempts "
                            "INDEXED BY attempts_posting WHERE posting = ?1 ORDER BY id LIMIT ?2",
                            err);
    struct tg_bind b;
    int result;

    if (s == NULL) {
        return -1;
    }
    b = tg_bind_begin(s);
    tg_bind_i64(&b, posting);
    tg_bind_i64(&b, TG_JOURNAL_PAGE_MAX);
    result = b.result == SQLITE_OK ? sqlite3_step(s) : b.result;
    while (result == SQLITE_ROW) {
        const struct tg_row_attempt row = {.id = sqlite3_column_int64(s, 0),
                                           .posting = sqlite3_column_int64(s, 1),
                                           .attempt = (unsigned)sqlite3_column_int64(s, 2),
                                           .outcome = tg_column_text(s, 3),
                                           .detail = tg_column_text(s, 4),
                                           .at_ms = sqlite3_column_int64(s, 5)};

        if (!fn(arg, &row)) {
            break;
        }
        result = sqlite3_step(s);
    }
    (void)sqlite3_reset(s);
    return result == SQLITE_ROW || result == SQLITE_DONE ? 0 : tg_reader_failed(r, "attempts", err);
}

void tg_column_hash(sqlite3_stmt *s, int column, unsigned char out[TG_SHA256_BYTES])
{
    const void *blob = sqlite3_column_blob(s, column);

    memset(out, 0, TG_SHA256_BYTES);
    if (blob != NULL && sqlite3_column_bytes(s, column) == TG_SHA256_BYTES) {
        memcpy(out, blob, TG_SHA256_BYTES);
    }
}

int tg_reader_audit_of(struct tg_reader *r, const char *subject, tg_audit_fn fn, void *arg,
                       struct tg_error *err)
{
    sqlite3_stmt *s = tg_reader_statement(
        r, TG_READ_AUDIT_OF,
        "SELECT seq, at_ms, actor, action, subject, detail, prev, hash FROM audit "
        "INDEXED BY audit_subject WHERE subject = ?1 ORDER BY seq LIMIT ?2",
        err);
    struct tg_bind b;
    int result;

    if (s == NULL) {
        return -1;
    }
    b = tg_bind_begin(s);
    tg_bind_text(&b, subject);
    tg_bind_i64(&b, TG_JOURNAL_PAGE_MAX);
    result = b.result == SQLITE_OK ? sqlite3_step(s) : b.result;
    while (result == SQLITE_ROW) {
        struct tg_audit_row row = {.seq = sqlite3_column_int64(s, 0),
                                   .at_ms = sqlite3_column_int64(s, 1),
                                   .actor = tg_column_text(s, 2),
                                   .action = tg_column_text(s, 3),
                                   .subject = tg_column_text(s, 4),
                                   .detail = tg_column_text(s, 5)};

        tg_column_hash(s, 6, row.prev);
        tg_column_hash(s, 7, row.hash);
        if (!fn(arg, &row)) {
            break;
        }
        result = sqlite3_step(s);
    }
    (void)sqlite3_reset(s);
    return result == SQLITE_ROW || result == SQLITE_DONE
               ? 0
               : tg_reader_failed(r, "the audit rows", err);
}

/* The row id first, then the row as everybody reads it. */
int tg_reader_posting_by_key(struct tg_reader *r, const unsigned char key[TG_POSTING_KEY_BYTES],
                             tg_posting_fn fn, void *arg, struct tg_error *err)
{
    sqlite3_stmt *s =
        tg_reader_statement(r, TG_READ_POSTING_KEY, "SELECT id FROM postings WHERE key = ?1", err);
    struct tg_bind b;
    int64_t id = 0;
    int result;

    if (s == NULL) {
        return -1;
    }
    b = tg_bind_begin(s);
    tg_bind_blob(&b, key, TG_POSTING_KEY_BYTES);
    result = b.result == SQLITE_OK ? sqlite3_step(s) : b.result;
    if (result == SQLITE_ROW) {
        id = sqlite3_column_int64(s, 0);
    }
    (void)sqlite3_reset(s);
    if (result != SQLITE_ROW) {
        return result == SQLITE_DONE ? 1 : tg_reader_failed(r, "a posting", err);
    }
    return tg_reader_posting(r, id, fn, arg, err);
}
