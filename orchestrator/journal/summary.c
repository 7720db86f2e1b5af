/* One more than TG_OPS_COUNT_MAX is counted, to know that there is more. */
#include "journal/summary.h"

#include "journal/internal.h"

int tg_reader_open_exceptions(struct tg_reader *r, const char *tenant, tg_open_exceptions_fn fn,
                              void *arg, bool *more, struct tg_error *err)
{
    sqlite3_stmt *s = tg_reader_statement(
        r, TG_READ_GROUPS_OF,
        "SELECT code, owner, state, count(*), min(opened_ms) FROM (SELECT code, owner, state, "
        "opened_ms FROM exceptions INDEXED BY exceptions_open_tenant WHERE tenant = ?1 "
        "AND state IN (0, 1) ORDER BY id LIMIT ?2) GROUP BY code, owner, state "
        "ORDER BY code, owner, state",
        err);
    uint64_t all = 0;
    struct tg_bind b;
    int result;

    if (s == NULL) {
        return -1;
    }
    b = tg_bind_begin(s);
    tg_bind_text(&b, tenant);
    tg_bind_i64(&b, TG_OPS_COUNT_MAX + 1);
    result = b.result == SQLITE_OK ? sqlite3_step(s) : b.result;
    while (result == SQLITE_ROW) {
        const struct tg_open_exceptions row = {
            .code = tg_column_text(s, 0),
            .owner = tg_column_text(s, 1),
            .state = (enum tg_exception_state)sqlite3_column_int(s, 2),
            .count = (uint64_t)sqlite3_column_int64(s, 3),
            .oldest_ms = sqlite3_column_int64(s, 4)};

        all += row.count;
        fn(arg, &row);
        result = sqlite3_step(s);
    }
    *more = all > TG_OPS_COUNT_MAX;
    return tg_reader_finish(r, s, result, 1, false, "the open exceptions", err);
}

static int states_of(struct tg_reader *r, sqlite3_stmt *s, uint32_t destination,
                     tg_state_count_fn fn, void *arg, bool *more, struct tg_error *err)
{
    struct tg_bind b;
    uint64_t all = 0;
    int result;

    if (s == NULL) {
        return -1;
    }
    b = tg_bind_begin(s);
    tg_bind_i64(&b, destination);
    tg_bind_i64(&b, TG_OPS_COUNT_MAX + 1);
    result = b.result == SQLITE_OK ? sqlite3_step(s) : b.result;
    while (result == SQLITE_ROW) {
        const struct tg_state_count row = {.state = (enum tg_posting_state)sqlite3_column_int(s, 0),
                                           .count = (uint64_t)sqlite3_column_int64(s, 1),
                                           .oldest = sqlite3_column_int64(s, 2)};

        all += row.count;
        fn(arg, &row);
        result = sqlite3_step(s);
    }
    *more = *more || all > TG_OPS_COUNT_MAX;
    return tg_reader_finish(r, s, result, 1, false, "how many postings are open", err);
}

#define STATES(index, states)                                                                      \
    "SELECT state, count(*), min(id) FROM (SELECT state, id FROM postings INDEXED BY " index       \
    " WHERE destination = ?1 AND " states " ORDER BY id LIMIT ?2) GROUP BY state"

int tg_reader_open_states(struct tg_reader *r, uint32_t destination, tg_state_count_fn fn,
                          void *arg, bool *more, struct tg_error *err)
{
    *more = false;
    if (states_of(r,
                  tg_reader_statement(r, TG_READ_STATES_OPEN,
                                      STATES("postings_open", TG_STATE_OPEN("")), err),
                  destination, fn, arg, more, err) != 0) {
        return -1;
    }
    return states_of(r,
                     tg_reader_statement(r, TG_READ_STATES_ASIDE,
                                         STATES("postings_aside", TG_STATE_ASIDE("")), err),
                     destination, fn, arg, more, err);
}

int tg_reader_held_count(struct tg_reader *r, const char *tenant, uint64_t *count, int64_t *oldest,
                         bool *more, struct tg_error *err)
{
    sqlite3_stmt *s = tg_reader_statement(
        r, TG_READ_HELD_OF,
        "SELECT coalesce(sum(tenant = ?1), 0), coalesce(min(CASE WHEN tenant = ?1 THEN id END), "
        "0), count(*) FROM (SELECT id, tenant FROM objects INDEXED BY objects_held "
        "WHERE state = 0 ORDER BY id LIMIT ?2)",
        err);
    struct tg_bind b;
    int result;

    if (s == NULL) {
        return -1;
    }
    b = tg_bind_begin(s);
    tg_bind_text(&b, tenant);
    tg_bind_i64(&b, TG_OPS_COUNT_MAX + 1);
    result = b.result == SQLITE_OK ? sqlite3_step(s) : b.result;
    if (result == SQLITE_ROW) {
        *count = (uint64_t)sqlite3_column_int64(s, 0);
        *oldest = sqlite3_column_int64(s, 1);
        *more = sqlite3_column_int64(s, 2) > TG_OPS_COUNT_MAX;
    }
    return tg_reader_finish(r, s, result, 1, false, "what is held", err);
}

int tg_reader_alarm(struct tg_reader *r, const char *action, tg_audit_fn fn, void *arg,
                    struct tg_error *err)
{
    /* the list is the condition of the index */
    sqlite3_stmt *s = tg_reader_statement(
        r, TG_READ_ALARMS,
        "SELECT seq, at_ms, actor, action, subject, detail FROM audit INDEXED BY audit_alarms "
        "WHERE action = ?1 AND action IN ('journal.restored', 'stream.entry_lost', "
        "'stream.entries_missing') ORDER BY seq DESC LIMIT 1",
        err);
    struct tg_bind b;
    int result;

    if (s == NULL) {
        return -1;
    }
    b = tg_bind_begin(s);
    tg_bind_text(&b, action);
    result = b.result == SQLITE_OK ? sqlite3_step(s) : b.result;
    if (result == SQLITE_ROW) {
        const struct tg_audit_row row = {.seq = sqlite3_column_int64(s, 0),
                                         .at_ms = sqlite3_column_int64(s, 1),
                                         .actor = tg_column_text(s, 2),
                                         .action = tg_column_text(s, 3),
                                         .subject = tg_column_text(s, 4),
                                         .detail = tg_column_text(s, 5)};

        (void)fn(arg, &row);
    }
    return tg_reader_finish(r, s, result, result == SQLITE_ROW, true, "alarms", err);
}
