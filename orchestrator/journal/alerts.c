#include "journal/alerts.h"

#include <string.h>

#include "journal/internal.h"

/* Ends a list: 0 or -1. */
static int list_end(struct tg_reader *r, sqlite3_stmt *s, int result, const char *what,
                    struct tg_error *err)
{
    (void)sqlite3_reset(s);
    return result == SQLITE_ROW || result == SQLITE_DONE ? 0 : tg_reader_failed(r, what, err);
}

int tg_reader_alert_ends(struct tg_reader *r, struct tg_alert_marks *out, struct tg_error *err)
{
    sqlite3_stmt *s = tg_reader_statement(r, TG_READ_ALERT_ENDS,
                                          "SELECT coalesce((SELECT max(id) FROM exceptions), 0), "
                                          "coalesce((SELECT max(seq) FROM audit), 0)",
                                          err);
    int result;

    if (s == NULL) {
        return -1;
    }
    result = sqlite3_step(s);
    if (result == SQLITE_ROW) {
        out->exceptions = sqlite3_column_int64(s, 0);
        out->audit = sqlite3_column_int64(s, 1);
    }
    return list_end(r, s, result, "the newest ids", err);
}

int tg_reader_alert_marks(struct tg_reader *r, struct tg_alert_marks *out, struct tg_error *err)
{
    sqlite3_stmt *s =
        tg_reader_statement(r, TG_READ_ALERT_MARKS,
                            "SELECT (SELECT value FROM alert_marks WHERE name = 'exceptions'), "
                            "(SELECT value FROM alert_marks WHERE name = 'audit')",
                            err);
    bool known = false;
    int result;

    if (s == NULL) {
        return -1;
    }
    result = sqlite3_step(s);
    if (result == SQLITE_ROW && sqlite3_column_type(s, 0) != SQLITE_NULL) {
        out->exceptions = sqlite3_column_int64(s, 0);
        out->audit = sqlite3_column_int64(s, 1);
        known = true;
    }
    if (list_end(r, s, result, "how far alerting looked", err) != 0) {
        return -1;
    }
    return known ? 0 : 1;
}

int tg_reader_alerts(struct tg_reader *r, tg_alert_fn fn, void *arg, struct tg_error *err)
{
    sqlite3_stmt *s = tg_reader_statement(
        r, TG_READ_ALERTS,
        "SELECT kind, thing, told, since_ms, clear_ms, told_ms, fresh FROM alerts", err);
    int result;

    if (s == NULL) {
        return -1;
    }
    while ((result = sqlite3_step(s)) == SQLITE_ROW) {
        const struct tg_alert_state state = {.told = sqlite3_column_int(s, 2) != 0,
                                             .since_ms = sqlite3_column_int64(s, 3),
                                             .clear_ms = sqlite3_column_int64(s, 4),
                                             .told_ms = sqlite3_column_int64(s, 5),
                                             .fresh = (uint64_t)sqlite3_column_int64(s, 6)};

        fn(arg, tg_column_text(s, 0), tg_column_text(s, 1), &state);
    }
    return list_end(r, s, result, "the alerts", err);
}

int tg_reader_open_groups(struct tg_reader *r, int64_t after, tg_open_group_fn fn, void *arg,
                          struct tg_error *err)
{
    sqlite3_stmt *s = tg_reader_statement(
        r, TG_READ_OPEN_GROUPS,
        "SELECT tenant, code, owner, count(*), sum(id > ?1), min(opened_ms), max(id) "
        "FROM exceptions INDEXED BY exceptions_open WHERE state IN (0, 1) "
        "GROUP BY tenant, code, owner",
        err);
    struct tg_bind b;
    int result;

    if (s == NULL) {
        return -1;
    }
    b = tg_bind_begin(s);
    tg_bind_i64(&b, after);
    result = b.result == SQLITE_OK ? sqlite3_step(s) : b.result;
    while (result == SQLITE_ROW) {
        const struct tg_open_group g = {.tenant = tg_column_text(s, 0),
                                        .code = tg_column_text(s, 1),
                                        .owner = tg_column_text(s, 2),
                                        .count = (uint64_t)sqlite3_column_int64(s, 3),
                                        .fresh = (uint64_t)sqlite3_column_int64(s, 4),
                                        .oldest_ms = sqlite3_column_int64(s, 5),
                                        .newest = sqlite3_column_int64(s, 6)};

        fn(arg, &g);
        result = sqlite3_step(s);
    }
    return list_end(r, s, result, "the open exceptions", err);
}

int tg_reader_oldest_of_each(struct tg_reader *r, tg_oldest_fn fn, void *arg, struct tg_error *err)
{
    sqlite3_stmt *s = tg_reader_statement(
        r, TG_READ_OLDEST_OF_EACH,
        "SELECT d.name, p.id, e.journalled_ms FROM destinations d "
        "CROSS JOIN postings p ON p.id = (SELECT min(q.id) FROM postings q INDEXED BY "
        "postings_open WHERE q.destination = d.id AND " TG_STATE_OPEN(
            "q.") ") "
                  "CROSS JOIN objects o ON o.id = p.object CROSS JOIN events e ON e.id = o.event",
        err);
    int result;

    if (s == NULL) {
        return -1;
    }
    while ((result = sqlite3_step(s)) == SQLITE_ROW) {
        fn(arg, tg_column_text(s, 0), sqlite3_column_int64(s, 1), sqlite3_column_int64(s, 2));
    }
    return list_end(r, s, result, "the oldest postings", err);
}

int tg_reader_audit_after(struct tg_reader *r, int64_t seq, size_t limit, tg_audit_fn fn, void *arg,
                          struct tg_error *err)
{
    sqlite3_stmt *s =
        tg_reader_statement(r, TG_READ_AUDIT_AFTER,
                            "SELECT seq, at_ms, actor, action, subject, detail FROM audit "
                            "WHERE seq > ?1 ORDER BY seq LIMIT ?2",
                            err);
    struct tg_bind b;
    int result;

    if (s == NULL) {
        return -1;
    }
    b = tg_bind_begin(s);
    tg_bind_i64(&b, seq);
    tg_bind_i64(&b, (int64_t)limit);
    result = b.result == SQLITE_OK ? sqlite3_step(s) : b.result;
    while (result == SQLITE_ROW) {
        const struct tg_audit_row row = {.seq = sqlite3_column_int64(s, 0),
                                         .at_ms = sqlite3_column_int64(s, 1),
                                         .actor = tg_column_text(s, 2),
                                         .action = tg_column_text(s, 3),
                                         .subject = tg_column_text(s, 4),
                                         .detail = tg_column_text(s, 5)};

        if (!fn(arg, &row)) {
            break;
        }
        result = sqlite3_step(s);
    }
    return list_end(r, s, result, "the audit rows", err);
}
