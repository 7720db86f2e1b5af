#include "journal/replays.h"

#include <inttypes.h>
#include <string.h>

#include "journal/internal.h"

enum tg_applied tg_store_replay(struct tg_store *s, const struct tg_op *op, struct tg_error *err)
{
    const struct tg_row_replay *r = &op->u.replay;
    const bool is_new = op->kind == TG_OP_REPLAY;
    struct tg_bind b =
        tg_bind_begin(s->statements[is_new ? TG_STORE_REPLAY : TG_STORE_REPLAY_STEP]);
    enum tg_applied a;

    tg_bind_i64(&b, r->id);
    if (is_new) {
        tg_bind_text(&b, r->tenant);
        tg_bind_text(&b, r->actor);
        tg_bind_text(&b, r->reason);
        tg_bind_text(&b, r->token);
        tg_bind_i64(&b, r->at_ms);
        tg_bind_i64(&b, r->total);
        tg_bind_text(&b, r->filter);
        tg_bind_text(&b, r->items);
    } else {
        tg_bind_i64(&b, r->position);
        tg_bind_i64(&b, r->done);
        tg_bind_i64(&b, r->unchanged);
        tg_bind_i64(&b, r->refused);
        tg_bind_text(&b, r->refusals);
        tg_bind_i64(&b, r->ended_ms);
    }
    a = tg_store_class(tg_bind_run(&b));
    if (a != TG_APPLIED) {
        (void)tg_error_set(err, "journal: replay %" PRId64 " cannot be written: %s", r->id,
                           sqlite3_errmsg(s->db));
    }
    return a;
}

#define COLUMNS                                                                                    \
    "SELECT id, tenant, actor, reason, token, at_ms, ended_ms, total, position, done, unchanged, " \
    "refused, filter, refusals, items FROM replays "

static int replays_walk(struct tg_reader *r, struct tg_bind *b, bool single, tg_replay_fn fn,
                        void *arg, struct tg_error *err)
{
    sqlite3_stmt *s = b->statement;
    int result = b->result == SQLITE_OK ? sqlite3_step(s) : b->result;
    size_t rows = 0;
    bool more = true;

    while (result == SQLITE_ROW && more) {
        const struct tg_row_replay row = {.id = sqlite3_column_int64(s, 0),
                                          .tenant = tg_column_text(s, 1),
                                          .actor = tg_column_text(s, 2),
                                          .reason = tg_column_text(s, 3),
                                          .token = tg_column_text(s, 4),
                                          .at_ms = sqlite3_column_int64(s, 5),
                                          .ended_ms = sqlite3_column_int64(s, 6),
                                          .total = sqlite3_column_int64(s, 7),
                                          .position = sqlite3_column_int64(s, 8),
                                          .done = sqlite3_column_int64(s, 9),
                                          .unchanged = sqlite3_column_int64(s, 10),
                                          .refused = sqlite3_column_int64(s, 11),
                                          .filter = tg_column_text(s, 12),
                                          .refusals = tg_column_text(s, 13),
                                          .items = tg_column_text(s, 14)};

        rows++;
        more = fn(arg, &row);
        result = more ? sqlite3_step(s) : result;
    }
    return tg_reader_finish(r, s, result, rows, single, "replays", err);
}

int tg_reader_replay(struct tg_reader *r, int64_t id, tg_replay_fn fn, void *arg,
                     struct tg_error *err)
{
    sqlite3_stmt *s = tg_reader_statement(r, TG_READ_REPLAY, COLUMNS "WHERE id = ?1", err);
    struct tg_bind b;

    if (s == NULL) {
        return -1;
    }
    b = tg_bind_begin(s);
    tg_bind_i64(&b, id);
    return replays_walk(r, &b, true, fn, arg, err);
}

int tg_reader_replay_of(struct tg_reader *r, const char *token, tg_replay_fn fn, void *arg,
                        struct tg_error *err)
{
    sqlite3_stmt *s = tg_reader_statement(r, TG_READ_REPLAY_OF,
                                          COLUMNS "INDEXED BY replays_token WHERE token = ?1", err);
    struct tg_bind b;

    if (s == NULL) {
        return -1;
    }
    b = tg_bind_begin(s);
    tg_bind_text(&b, token);
    return replays_walk(r, &b, true, fn, arg, err);
}

int tg_reader_replays_running(struct tg_reader *r, tg_replay_fn fn, void *arg, struct tg_error *err)
{
    sqlite3_stmt *s = tg_reader_statement(r, TG_READ_REPLAYS_RUNNING,
                                          COLUMNS "INDEXED BY replays_running WHERE ended_ms = 0 "
                                                  "ORDER BY id LIMIT ?1",
                                          err);
    struct tg_bind b;

    if (s == NULL) {
        return -1;
    }
    b = tg_bind_begin(s);
    tg_bind_i64(&b, TG_REPLAYS_MAX);
    return replays_walk(r, &b, false, fn, arg, err);
}
