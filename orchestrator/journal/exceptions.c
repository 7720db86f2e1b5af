/* Reading exceptions: the open ones through indexes that hold nothing else. */
#include <string.h>

#include "journal/internal.h"

#define EXCEPTION_SELECT(index)                                                                    \
    "SELECT x.id, coalesce(x.event, 0), coalesce(x.object, 0), coalesce(x.posting, 0), x.tenant, " \
    "x.code, x.owner, x.detail, x.state, x.opened_ms, x.closed_ms, "                               \
    "coalesce(o.object_id || '@' || o.version, e.event_id, ''), "                                  \
    "x.assignee, x.closed_by, x.outcome, x.reason, e.event_id, p.key, d.name "                     \
    "FROM exceptions x " index                                                                     \
    " LEFT JOIN objects o ON o.id = x.object LEFT JOIN events e ON e.id = x.event "                \
    "LEFT JOIN postings p ON p.id = x.posting LEFT JOIN destinations d ON d.id = p.destination "

/* ?1 state or -1, ?2 after, ?3 limit, ?4 tenant */
#define OPEN "WHERE x.state IN (0, 1) AND (?1 < 0 OR x.state = ?1) AND x.id > ?2 "
#define ONE_STATE "WHERE x.state = ?1 AND x.id > ?2 "
#define TENANT "AND x.tenant = ?4 "
#define PAGE "ORDER BY x.id LIMIT ?3"

static void exception_row(sqlite3_stmt *s, struct tg_row_exception *e)
{
    memset(e, 0, sizeof(*e));
    e->id = sqlite3_column_int64(s, 0);
    e->event = sqlite3_column_int64(s, 1);
    e->object = sqlite3_column_int64(s, 2);
    e->posting = sqlite3_column_int64(s, 3);
    e->tenant = tg_column_text(s, 4);
    e->code = tg_column_text(s, 5);
    e->owner = tg_column_text(s, 6);
    e->detail = tg_column_text(s, 7);
    e->state = (enum tg_exception_state)sqlite3_column_int(s, 8);
    e->opened_ms = sqlite3_column_int64(s, 9);
    e->closed_ms = sqlite3_column_int64(s, 10);
    e->subject = tg_column_text(s, 11);
    e->assignee = tg_column_text(s, 12);
    e->closed_by = tg_column_text(s, 13);
    e->outcome = tg_column_text(s, 14);
    e->reason = tg_column_text(s, 15);
    e->event_id = tg_column_text(s, 16);
    tg_column_key(s, 17, e->posting_key);
    e->destination_id = tg_column_text(s, 18);
}

static int exceptions_walk(struct tg_reader *r, struct tg_bind *b, bool single, tg_exception_fn fn,
                           void *arg, struct tg_error *err)
{
    sqlite3_stmt *s = b->statement;
    struct tg_row_exception row;
    size_t rows = 0;
    int result = b->result == SQLITE_OK ? sqlite3_step(s) : b->result;
    int answer;

    while (result == SQLITE_ROW) {
        rows++;
        exception_row(s, &row);
        if (!fn(arg, &row)) {
            break;
        }
        result = sqlite3_step(s);
    }
    answer = single && rows == 0 ? 1 : 0;
    if (result != SQLITE_ROW && result != SQLITE_DONE) {
        answer = tg_reader_failed(r, "exceptions", err);
    }
    (void)sqlite3_reset(s);
    return answer;
}

/* Closed ones are read along the primary key: a list for a person, not on the way of an event. */
static sqlite3_stmt *list_statement(struct tg_reader *r, bool tenant, bool open,
                                    struct tg_error *err)
{
    if (open && tenant) {
        return tg_reader_statement(
            r, TG_READ_EXCEPTIONS_OPEN_TENANT,
            EXCEPTION_SELECT("INDEXED BY exceptions_open_tenant") OPEN TENANT PAGE, err);
    }
    if (open) {
        return tg_reader_statement(r, TG_READ_EXCEPTIONS_OPEN,
                                   EXCEPTION_SELECT("INDEXED BY exceptions_open") OPEN PAGE, err);
    }
    if (tenant) {
        return tg_reader_statement(r, TG_READ_EXCEPTIONS_STATE_TENANT,
                                   EXCEPTION_SELECT("") ONE_STATE TENANT PAGE, err);
    }
    return tg_reader_statement(r, TG_READ_EXCEPTIONS_STATE, EXCEPTION_SELECT("") ONE_STATE PAGE,
                               err);
}

int tg_reader_exceptions(struct tg_reader *r, const char *tenant, int state, int64_t after,
                         size_t limit, tg_exception_fn fn, void *arg, struct tg_error *err)
{
    sqlite3_stmt *s = list_statement(r, tenant != NULL, state <= (int)TG_EXCEPTION_ASSIGNED, err);
    struct tg_bind b;

    if (s == NULL) {
        return -1;
    }
    b = tg_bind_begin(s);
    tg_bind_i64(&b, state);
    tg_bind_i64(&b, after);
    tg_bind_i64(&b, limit > TG_JOURNAL_PAGE_MAX ? TG_JOURNAL_PAGE_MAX : (int64_t)limit);
    if (tenant != NULL) {
        tg_bind_text(&b, tenant);
    }
    return exceptions_walk(r, &b, false, fn, arg, err);
}

int tg_reader_exceptions_all(struct tg_reader *r, int64_t after, size_t limit, tg_exception_fn fn,
                             void *arg, struct tg_error *err)
{
    sqlite3_stmt *s =
        tg_reader_statement(r, TG_READ_EXCEPTIONS_ALL,
                            EXCEPTION_SELECT("") "WHERE x.id > ?1 ORDER BY x.id LIMIT ?2", err);
    struct tg_bind b;

    if (s == NULL) {
        return -1;
    }
    b = tg_bind_begin(s);
    tg_bind_i64(&b, after);
    tg_bind_i64(&b, (int64_t)limit);
    return exceptions_walk(r, &b, false, fn, arg, err);
}

int tg_reader_exception(struct tg_reader *r, int64_t id, tg_exception_fn fn, void *arg,
                        struct tg_error *err)
{
    sqlite3_stmt *s =
        tg_reader_statement(r, TG_READ_EXCEPTION, EXCEPTION_SELECT("") "WHERE x.id = ?1", err);
    struct tg_bind b;

    if (s == NULL) {
        return -1;
    }
    b = tg_bind_begin(s);
    tg_bind_i64(&b, id);
    return exceptions_walk(r, &b, true, fn, arg, err);
}

int tg_reader_exceptions_of_event(struct tg_reader *r, int64_t event, tg_exception_fn fn, void *arg,
                                  struct tg_error *err)
{
    sqlite3_stmt *s = tg_reader_statement(
        r, TG_READ_EXCEPTIONS_OF_EVENT,
        EXCEPTION_SELECT("INDEXED BY exceptions_event") "WHERE x.event = ?1 ORDER BY x.id", err);
    struct tg_bind b;

    if (s == NULL) {
        return -1;
    }
    b = tg_bind_begin(s);
    tg_bind_i64(&b, event);
    return exceptions_walk(r, &b, false, fn, arg, err);
}

int tg_reader_exceptions_of_posting(struct tg_reader *r, int64_t posting, tg_exception_fn fn,
                                    void *arg, struct tg_error *err)
{
    sqlite3_stmt *s = tg_reader_statement(
        r, TG_READ_EXCEPTIONS_OF_POSTING,
        EXCEPTION_SELECT("INDEXED BY exceptions_posting") "WHERE x.posting = ?1 ORDER BY x.id",
        err);
    struct tg_bind b;

    if (s == NULL) {
        return -1;
    }
    b = tg_bind_begin(s);
    tg_bind_i64(&b, posting);
    return exceptions_walk(r, &b, false, fn, arg, err);
}

int tg_reader_exceptions_count(struct tg_reader *r, uint64_t *count, struct tg_error *err)
{
    sqlite3_stmt *s = tg_reader_statement(r, TG_READ_EXCEPTIONS_COUNT,
                                          "SELECT count(*) FROM exceptions INDEXED BY "
                                          "exceptions_open WHERE state IN (0, 1)",
                                          err);
    int result;

    if (s == NULL) {
        return -1;
    }
    result = sqlite3_step(s);
    if (result == SQLITE_ROW) {
        *count = (uint64_t)sqlite3_column_int64(s, 0);
    }
    (void)sqlite3_reset(s);
    return result == SQLITE_ROW ? 0 : tg_reader_failed(r, "the open exceptions", err);
}
