/* What readers ask about destinations: who is there, who is held, what waits longest. */
#include "journal/internal.h"

int tg_reader_destinations(struct tg_reader *r, tg_destination_fn fn, void *arg,
                           struct tg_error *err)
{
    sqlite3_stmt *s = tg_reader_statement(
        r, TG_READ_DESTINATIONS,
        "SELECT d.name, (SELECT count(*) FROM postings p INDEXED BY postings_open "
        "WHERE p.destination = d.id AND " TG_STATE_OPEN("p.") ") FROM destinations d ORDER BY d.id",
        err);
    int result;

    if (s == NULL) {
        return -1;
    }
    while ((result = sqlite3_step(s)) == SQLITE_ROW) {
        fn(arg, tg_column_text(s, 0), (uint64_t)sqlite3_column_int64(s, 1));
    }
    (void)sqlite3_reset(s);
    return result == SQLITE_DONE ? 0 : tg_reader_failed(r, "the destinations", err);
}

int tg_reader_pauses(struct tg_reader *r, tg_pause_fn fn, void *arg, struct tg_error *err)
{
    sqlite3_stmt *s = tg_reader_statement(
        r, TG_READ_PAUSES, "SELECT destination, actor, reason, at_ms FROM pauses", err);
    int result;

    if (s == NULL) {
        return -1;
    }
    while ((result = sqlite3_step(s)) == SQLITE_ROW) {
        const struct tg_row_pause row = {.destination = (uint32_t)sqlite3_column_int64(s, 0),
                                         .actor = tg_column_text(s, 1),
                                         .reason = tg_column_text(s, 2),
                                         .at_ms = sqlite3_column_int64(s, 3)};

        fn(arg, &row);
    }
    (void)sqlite3_reset(s);
    return result == SQLITE_DONE ? 0 : tg_reader_failed(r, "the pauses", err);
}

int tg_reader_throttles(struct tg_reader *r, tg_throttle_fn fn, void *arg, struct tg_error *err)
{
    sqlite3_stmt *s = tg_reader_statement(
        r, TG_READ_THROTTLES, "SELECT destination, until_ms, said_ms FROM throttles", err);
    int result;

    if (s == NULL) {
        return -1;
    }
    while ((result = sqlite3_step(s)) == SQLITE_ROW) {
        fn(arg, (uint32_t)sqlite3_column_int64(s, 0), sqlite3_column_int64(s, 1),
           sqlite3_column_int64(s, 2));
    }
    (void)sqlite3_reset(s);
    return result == SQLITE_DONE ? 0 : tg_reader_failed(r, "the waits", err);
}

int tg_reader_open_count(struct tg_reader *r, uint32_t destination, uint64_t *count,
                         struct tg_error *err)
{
    sqlite3_stmt *s = tg_reader_statement(r, TG_READ_OPEN_COUNT,
                                          "SELECT count(*) FROM postings INDEXED BY postings_open "
                                          "WHERE destination = ?1 AND " TG_STATE_OPEN(""),
                                          err);
    struct tg_bind b;
    int result;

    if (s == NULL) {
        return -1;
    }
    b = tg_bind_begin(s);
    tg_bind_i64(&b, destination);
    result = b.result == SQLITE_OK ? sqlite3_step(s) : b.result;
    *count = result == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(s, 0) : 0;
    (void)sqlite3_reset(s);
    return result == SQLITE_ROW ? 0 : tg_reader_failed(r, "how many postings are open", err);
}

int tg_reader_oldest_open(struct tg_reader *r, uint32_t destination, int64_t *journalled_ms,
                          struct tg_error *err)
{
    sqlite3_stmt *s =
        tg_reader_statement(r, TG_READ_OLDEST_OPEN,
                            "SELECT e.journalled_ms FROM postings p INDEXED BY postings_open "
                            "CROSS JOIN objects o ON o.id = p.object "
                            "CROSS JOIN events e ON e.id = o.event WHERE p.destination = ?1 "
                            "AND " TG_STATE_OPEN("p.") " ORDER BY p.id LIMIT 1",
                            err);
    struct tg_bind b;
    int result;

    if (s == NULL) {
        return -1;
    }
    b = tg_bind_begin(s);
    tg_bind_i64(&b, destination);
    result = b.result == SQLITE_OK ? sqlite3_step(s) : b.result;
    *journalled_ms = result == SQLITE_ROW ? sqlite3_column_int64(s, 0) : 0;
    (void)sqlite3_reset(s);
    return result == SQLITE_ROW || result == SQLITE_DONE
               ? 0
               : tg_reader_failed(r, "the oldest open posting", err);
}
