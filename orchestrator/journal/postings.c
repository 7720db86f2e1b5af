/* Reading postings: one by one, what is open, what is held, and what a later version meets. */
#include <string.h>

#include "journal/internal.h"

/* CROSS JOIN keeps SQLite from starting at another table than the one that comes first. */
#define COLUMNS                                                                                    \
    "SELECT p.id, p.object, p.destination, d.name, p.kind, p.leg, p.generation, p.key, "           \
    "p.payload, p.period, p.quantity_micros, p.state, p.attempt, p.due_ms, p.first_sent_ms, "      \
    "p.ref, e.correlation_id, o.object_id || '@' || o.version, p.hold, "                           \
    "coalesce(p.hold_on, 0), coalesce(p.reverses, 0), o.state, q.key, q.ref, e.journalled_ms "
#define JOINS                                                                                      \
    "CROSS JOIN destinations d ON d.id = p.destination "                                           \
    "CROSS JOIN events e ON e.id = o.event LEFT JOIN postings q ON q.id = p.reverses "
#define SELECT(index)                                                                              \
    COLUMNS "FROM postings p " index " CROSS JOIN objects o ON o.id = p.object " JOINS

static void posting_row(sqlite3_stmt *s, struct tg_row_posting *p)
{
    int version_state;

    memset(p, 0, sizeof(*p));
    p->id = sqlite3_column_int64(s, 0);
    p->object = sqlite3_column_int64(s, 1);
    p->destination = (uint32_t)sqlite3_column_int64(s, 2);
    p->destination_id = tg_column_text(s, 3);
    p->kind = tg_column_text(s, 4);
    p->leg = tg_column_text(s, 5);
    p->generation = (unsigned)sqlite3_column_int64(s, 6);
    tg_column_key(s, 7, p->key);
    p->payload = tg_column_text(s, 8);
    p->period = tg_column_text(s, 9);
    p->quantity_micros = sqlite3_column_int64(s, 10);
    p->state = (enum tg_posting_state)sqlite3_column_int(s, 11);
    p->attempt = (unsigned)sqlite3_column_int64(s, 12);
    p->due_ms = sqlite3_column_int64(s, 13);
    p->first_sent_ms = sqlite3_column_int64(s, 14);
    p->ref = (const char *)sqlite3_column_text(s, 15);
    p->correlation_id = tg_column_text(s, 16);
    p->subject = tg_column_text(s, 17);
    p->hold = tg_column_text(s, 18);
    p->hold_on = sqlite3_column_int64(s, 19);
    p->reverses = sqlite3_column_int64(s, 20);
    version_state = sqlite3_column_int(s, 21);
    p->superseded = p->reverses == 0 && (version_state == TG_VERSION_SUPERSEDED ||
                                         version_state == TG_VERSION_WITHDRAWN);
    tg_column_key(s, 22, p->reverses_key);
    p->reverses_ref = (const char *)sqlite3_column_text(s, 23);
    p->journalled_ms = sqlite3_column_int64(s, 24);
}

static int postings_walk(struct tg_reader *r, struct tg_bind *b, bool single, tg_posting_fn fn,
                         void *arg, struct tg_error *err)
{
    sqlite3_stmt *s = b->statement;
    struct tg_row_posting row;
    size_t rows = 0;
    int result = b->result == SQLITE_OK ? sqlite3_step(s) : b->result;

    while (result == SQLITE_ROW) {
        rows++;
        posting_row(s, &row);
        if (!fn(arg, &row)) {
            break;
        }
        result = sqlite3_step(s);
    }
    return tg_reader_finish(r, s, result, rows, single, "postings", err);
}

static int64_t page_limit(size_t limit)
{
    return limit > TG_JOURNAL_PAGE_MAX ? TG_JOURNAL_PAGE_MAX : (int64_t)limit;
}

int tg_reader_postings_of_object(struct tg_reader *r, int64_t object, tg_posting_fn fn, void *arg,
                                 struct tg_error *err)
{
    sqlite3_stmt *s = tg_reader_statement(
        r, TG_READ_POSTINGS_OF_OBJECT,
        SELECT("INDEXED BY postings_object") "WHERE p.object = ?1 ORDER BY p.id", err);
    struct tg_bind b;

    if (s == NULL) {
        return -1;
    }
    b = tg_bind_begin(s);
    tg_bind_i64(&b, object);
    return postings_walk(r, &b, false, fn, arg, err);
}

int tg_reader_posting(struct tg_reader *r, int64_t id, tg_posting_fn fn, void *arg,
                      struct tg_error *err)
{
    sqlite3_stmt *s = tg_reader_statement(r, TG_READ_POSTING, SELECT("") "WHERE p.id = ?1", err);
    struct tg_bind b;

    if (s == NULL) {
        return -1;
    }
    b = tg_bind_begin(s);
    tg_bind_i64(&b, id);
    return postings_walk(r, &b, true, fn, arg, err);
}

/* ?1 destination, ?2 after, ?3 limit. s may be NULL: then err says why. */
static int postings_page(struct tg_reader *r, sqlite3_stmt *s, uint32_t destination, int64_t after,
                         size_t limit, tg_posting_fn fn, void *arg, struct tg_error *err)
{
    struct tg_bind b;

    if (s == NULL) {
        return -1;
    }
    b = tg_bind_begin(s);
    tg_bind_i64(&b, destination);
    tg_bind_i64(&b, after);
    tg_bind_i64(&b, page_limit(limit));
    return postings_walk(r, &b, false, fn, arg, err);
}

#define PAGE_SELECT(index, states)                                                                 \
    SELECT("INDEXED BY " index)                                                                    \
    "WHERE p.destination = ?1 AND p.id > ?2 AND " states " ORDER BY p.id LIMIT ?3"

int tg_reader_open_postings(struct tg_reader *r, uint32_t destination, int64_t after, size_t limit,
                            tg_posting_fn fn, void *arg, struct tg_error *err)
{
    sqlite3_stmt *s = tg_reader_statement(r, TG_READ_OPEN_POSTINGS,
                                          PAGE_SELECT("postings_open", TG_STATE_OPEN("p.")), err);

    return postings_page(r, s, destination, after, limit, fn, arg, err);
}

int tg_reader_aside_postings(struct tg_reader *r, uint32_t destination, int64_t after, size_t limit,
                             tg_posting_fn fn, void *arg, struct tg_error *err)
{
    sqlite3_stmt *s = tg_reader_statement(r, TG_READ_ASIDE_POSTINGS,
                                          PAGE_SELECT("postings_aside", TG_STATE_ASIDE("p.")), err);

    return postings_page(r, s, destination, after, limit, fn, arg, err);
}

/* ---- corrections and holds ---- */

int tg_reader_effects(struct tg_reader *r, const unsigned char key[TG_POSTING_KEY_BYTES],
                      tg_posting_fn fn, void *arg, struct tg_error *err)
{
    sqlite3_stmt *s = tg_reader_statement(
        r, TG_READ_EFFECTS,
        COLUMNS
        "FROM objects o INDEXED BY objects_key CROSS JOIN postings p "
        "INDEXED BY postings_object ON p.object = o.id " JOINS
        "WHERE o.key = ?1 AND (p.state NOT IN (8, 10) OR (p.state = 8 AND q.state NOT IN (8, 10))) "
        "AND NOT (p.state = 6 AND p.reverses IS NOT NULL) ORDER BY p.id LIMIT ?2",
        err);
    struct tg_bind b;

    if (s == NULL) {
        return -1;
    }
    b = tg_bind_begin(s);
    tg_bind_blob(&b, key, TG_POSTING_KEY_BYTES);
    tg_bind_i64(&b, TG_JOURNAL_PAGE_MAX);
    return postings_walk(r, &b, false, fn, arg, err);
}

int tg_reader_waiting(struct tg_reader *r, int64_t hold_on, tg_posting_fn fn, void *arg,
                      struct tg_error *err)
{
    sqlite3_stmt *s = tg_reader_statement(
        r, TG_READ_WAITING,
        SELECT("INDEXED BY postings_hold_on") "WHERE p.hold_on = ?1 ORDER BY p.id LIMIT ?2", err);
    struct tg_bind b;

    if (s == NULL) {
        return -1;
    }
    b = tg_bind_begin(s);
    tg_bind_i64(&b, hold_on);
    tg_bind_i64(&b, TG_JOURNAL_PAGE_MAX);
    return postings_walk(r, &b, false, fn, arg, err);
}

int tg_reader_held(struct tg_reader *r, int64_t after_hold_on, int64_t after_id, size_t limit,
                   tg_posting_fn fn, void *arg, struct tg_error *err)
{
    sqlite3_stmt *s = tg_reader_statement(
        r, TG_READ_HELD,
        SELECT("INDEXED BY postings_hold_on") "WHERE p.hold_on >= ?1 "
                                              "AND (p.hold_on > ?1 OR p.id > ?2) "
                                              "ORDER BY p.hold_on, p.id LIMIT ?3",
        err);
    struct tg_bind b;

    if (s == NULL) {
        return -1;
    }
    b = tg_bind_begin(s);
    tg_bind_i64(&b, after_hold_on);
    tg_bind_i64(&b, after_id);
    tg_bind_i64(&b, page_limit(limit));
    return postings_walk(r, &b, false, fn, arg, err);
}

int tg_reader_hold_due(struct tg_reader *r, int64_t now_ms, size_t limit, tg_posting_fn fn,
                       void *arg, struct tg_error *err)
{
    sqlite3_stmt *s = tg_reader_statement(
        r, TG_READ_HOLD_DUE,
        SELECT("INDEXED BY postings_held") "WHERE p.state = 1 AND p.due_ms > 0 "
                                           "AND p.due_ms <= ?1 ORDER BY p.due_ms, p.id LIMIT ?2",
        err);
    struct tg_bind b;

    if (s == NULL) {
        return -1;
    }
    b = tg_bind_begin(s);
    tg_bind_i64(&b, now_ms);
    tg_bind_i64(&b, page_limit(limit));
    return postings_walk(r, &b, false, fn, arg, err);
}

int tg_reader_before(struct tg_reader *r, int64_t posting, int64_t *before, struct tg_error *err)
{
    sqlite3_stmt *s = tg_reader_statement(
        r, TG_READ_BEFORE,
        "SELECT p.id FROM postings m CROSS JOIN objects mo ON mo.id = m.object "
        "CROSS JOIN objects o INDEXED BY objects_key ON o.key = mo.key "
        "AND (o.version < mo.version OR (o.version = mo.version AND o.id < mo.id)) "
        "CROSS JOIN postings p INDEXED BY postings_object ON p.object = o.id "
        "WHERE m.id = ?1 AND p.destination = m.destination AND p.state NOT IN (6, 8, 10) "
        "ORDER BY p.id DESC LIMIT 1",
        err);
    struct tg_bind b;
    int result;

    *before = 0;
    if (s == NULL) {
        return -1;
    }
    b = tg_bind_begin(s);
    tg_bind_i64(&b, posting);
    result = b.result == SQLITE_OK ? sqlite3_step(s) : b.result;
    if (result == SQLITE_ROW) {
        *before = sqlite3_column_int64(s, 0);
    }
    return tg_reader_finish(r, s, result, 1, true, "what comes before a posting", err);
}
