#include "journal/restored.h"

#include <string.h>

#include "journal/internal.h"

int tg_reader_restored(struct tg_reader *r, struct tg_restored *out, struct tg_error *err)
{
    sqlite3_stmt *s = tg_reader_statement(
        r, TG_READ_RESTORED,
        "SELECT id, at_ms, backup_ms, state, doubt_all, events, objects, postings, exceptions "
        "FROM restores ORDER BY id DESC LIMIT 1",
        err);
    int result;

    memset(out, 0, sizeof(*out));
    if (s == NULL) {
        return -1;
    }
    result = sqlite3_step(s);
    if (result == SQLITE_ROW) {
        out->id = sqlite3_column_int64(s, 0);
        out->at_ms = sqlite3_column_int64(s, 1);
        out->backup_ms = sqlite3_column_int64(s, 2);
        out->state = (enum tg_restored_state)sqlite3_column_int(s, 3);
        out->doubt_all = sqlite3_column_int(s, 4) != 0;
        out->events = sqlite3_column_int64(s, 5);
        out->objects = sqlite3_column_int64(s, 6);
        out->postings = sqlite3_column_int64(s, 7);
        out->exceptions = sqlite3_column_int64(s, 8);
    }
    (void)sqlite3_reset(s);
    if (result == SQLITE_ROW) {
        return 0;
    }
    return result == SQLITE_DONE ? 1 : tg_reader_failed(r, "its restores", err);
}

int tg_reader_restored_positions(struct tg_reader *r, int64_t restore, tg_restored_fn fn, void *arg,
                                 struct tg_error *err)
{
    sqlite3_stmt *s = tg_reader_statement(
        r, TG_READ_RESTORED_POSITIONS,
        "SELECT shard, upto FROM restore_positions WHERE restore = ?1 ORDER BY shard", err);
    struct tg_bind b;
    int result;

    if (s == NULL) {
        return -1;
    }
    b = tg_bind_begin(s);
    tg_bind_i64(&b, restore);
    result = b.result == SQLITE_OK ? sqlite3_step(s) : b.result;
    while (result == SQLITE_ROW) {
        fn(arg, (unsigned)sqlite3_column_int(s, 0), tg_column_text(s, 1));
        result = sqlite3_step(s);
    }
    (void)sqlite3_reset(s);
    return result == SQLITE_DONE ? 0 : tg_reader_failed(r, "the positions of a restore", err);
}

int tg_reader_event_ids(struct tg_reader *r, tg_event_id_fn fn, void *arg, struct tg_error *err)
{
    sqlite3_stmt *q = NULL;
    int result = sqlite3_prepare_v2(r->db, "SELECT event_id FROM events", -1, &q, NULL);

    if (result == SQLITE_OK) {
        result = sqlite3_step(q);
    }
    while (result == SQLITE_ROW) {
        fn(arg, tg_column_text(q, 0));
        result = sqlite3_step(q);
    }
    if (result != SQLITE_DONE) {
        (void)tg_reader_failed(r, "the event ids", err);
    }
    sqlite3_finalize(q);
    return result == SQLITE_DONE ? 0 : -1;
}
