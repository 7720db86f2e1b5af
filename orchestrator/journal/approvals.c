#include "journal/approvals.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/codec.h"
#include "journal/internal.h"

#define SUBJECT_MAX_BYTES 64

const char *tg_approval_state_name(enum tg_approval_state s)
{
    static const char *const names[] = {"pending", "approved", "refused", "done", "expired"};

    return (int)s >= 0 && (size_t)s < sizeof(names) / sizeof(names[0]) ? names[s] : "unknown";
}

/* ---- writing ---- */

static enum tg_applied note(struct tg_store *s, const char *actor, const char *action, int64_t id,
                            const char *detail, struct tg_error *err)
{
    char subject[SUBJECT_MAX_BYTES];
    enum tg_applied a;

    (void)snprintf(subject, sizeof(subject), "approval %" PRId64, id);
    a = tg_store_audit(s, actor, action, subject, detail);
    if (a != TG_APPLIED) {
        (void)tg_error_set(err, "journal: audit row of %s cannot be written: %s", subject,
                           sqlite3_errmsg(s->db));
    }
    return a;
}

static const char *escaped(const char *text, char *out, size_t out_size)
{
    int n = tg_json_escape(tg_str_of(text), out, out_size - 1);

    out[n < 0 ? 0 : n] = '\0';
    return out;
}

static enum tg_applied failed(struct tg_store *s, int result, struct tg_error *err)
{
    enum tg_applied a = tg_store_class(result);

    if (a != TG_APPLIED) {
        (void)tg_error_set(err, "journal: an approval cannot be written: %s",
                           sqlite3_errmsg(s->db));
    }
    return a;
}

enum tg_applied tg_apply_approval(struct tg_store *s, const struct tg_row_approval *r,
                                  struct tg_error *err)
{
    struct tg_bind b = tg_bind_begin(s->statements[TG_STORE_APPROVAL]);
    char verb[TG_CODE_MAX_BYTES * 6 + 1], subject[SUBJECT_MAX_BYTES * 6 + 1];
    char reason[TG_REASON_MAX_BYTES * 6 + 1];
    char detail[sizeof(verb) + sizeof(subject) + sizeof(reason) + 64];
    enum tg_applied a;

    tg_bind_text(&b, r->tenant);
    tg_bind_text(&b, r->verb);
    tg_bind_text(&b, r->subject);
    tg_bind_text(&b, r->asked_by);
    tg_bind_i64(&b, s->now_ms);
    tg_bind_i64(&b, r->expires_ms);
    tg_bind_text(&b, r->reason);
    tg_bind_text(&b, r->what);
    a = failed(s, tg_bind_run(&b), err);
    if (a != TG_APPLIED || sqlite3_changes(s->db) == 0) {
        return a; /* it waits already */
    }
    (void)snprintf(detail, sizeof(detail), "{\"verb\":\"%s\",\"subject\":\"%s\",\"reason\":\"%s\"}",
                   escaped(r->verb, verb, sizeof(verb)),
                   escaped(r->subject, subject, sizeof(subject)),
                   escaped(r->reason, reason, sizeof(reason)));
    return note(s, r->asked_by, "approval.asked", sqlite3_last_insert_rowid(s->db), detail, err);
}

enum tg_applied tg_apply_approval_end(struct tg_store *s, const struct tg_op *op,
                                      struct tg_error *err)
{
    const enum tg_approval_state to = (enum tg_approval_state)op->u.approval_end.to;
    const int64_t id = op->u.approval_end.id;
    struct tg_bind b = tg_bind_begin(s->statements[TG_STORE_APPROVAL_END]);
    char said[TG_REASON_MAX_BYTES * 6 + 1], detail[sizeof(said) + 32], action[SUBJECT_MAX_BYTES];
    enum tg_applied a;

    tg_bind_i64(&b, id);
    tg_bind_i64(&b, to);
    tg_bind_text(&b, op->u.approval_end.actor);
    tg_bind_i64(&b, s->now_ms);
    tg_bind_text(&b, op->u.approval_end.said);
    a = failed(s, tg_bind_run(&b), err);
    if (a == TG_APPLIED && sqlite3_changes(s->db) != 1) {
        (void)tg_error_set(err, "journal: approval %" PRId64 " has ended, or is not there", id);
        return TG_REFUSED;
    }
    if (a != TG_APPLIED) {
        return a;
    }
    (void)snprintf(action, sizeof(action), "approval.%s", tg_approval_state_name(to));
    (void)snprintf(detail, sizeof(detail), "{\"reason\":\"%s\"}",
                   escaped(op->u.approval_end.said, said, sizeof(said)));
    return note(s, op->u.approval_end.actor, action, id, detail, err);
}

/* ---- reading ---- */

#define COLUMNS                                                                                    \
    "SELECT id, tenant, verb, subject, what, reason, asked_by, asked_ms, expires_ms, state, "      \
    "decided_by, said, decided_ms FROM approvals "

static int walk(struct tg_reader *r, struct tg_bind *b, bool single, tg_approval_fn fn, void *arg,
                struct tg_error *err)
{
    sqlite3_stmt *s = b->statement;
    size_t rows = 0;
    int result = b->result == SQLITE_OK ? sqlite3_step(s) : b->result;

    while (result == SQLITE_ROW) {
        const struct tg_row_approval row = {
            .id = sqlite3_column_int64(s, 0),
            .tenant = tg_column_text(s, 1),
            .verb = tg_column_text(s, 2),
            .subject = tg_column_text(s, 3),
            .what = tg_column_text(s, 4),
            .reason = tg_column_text(s, 5),
            .asked_by = tg_column_text(s, 6),
            .asked_ms = sqlite3_column_int64(s, 7),
            .expires_ms = sqlite3_column_int64(s, 8),
            .state = (enum tg_approval_state)sqlite3_column_int(s, 9),
            .decided_by = tg_column_text(s, 10),
            .said = tg_column_text(s, 11),
            .decided_ms = sqlite3_column_int64(s, 12),
        };

        rows++;
        if (!fn(arg, &row)) {
            break;
        }
        result = sqlite3_step(s);
    }
    return tg_reader_finish(r, s, result, rows, single, "approvals", err);
}

int tg_reader_approval(struct tg_reader *r, int64_t id, tg_approval_fn fn, void *arg,
                       struct tg_error *err)
{
    sqlite3_stmt *s = tg_reader_statement(r, TG_READ_APPROVAL, COLUMNS "WHERE id = ?1", err);
    struct tg_bind b;

    if (s == NULL) {
        return -1;
    }
    b = tg_bind_begin(s);
    tg_bind_i64(&b, id);
    return walk(r, &b, true, fn, arg, err);
}

int tg_reader_approval_waits(struct tg_reader *r, const char *tenant, const char *verb,
                             const char *subject, tg_approval_fn fn, void *arg,
                             struct tg_error *err)
{
    sqlite3_stmt *s = tg_reader_statement(
        r, TG_READ_APPROVAL_WAITS,
        COLUMNS "WHERE tenant = ?1 AND verb = ?2 AND subject = ?3 AND state IN (0, 1)", err);
    struct tg_bind b;

    if (s == NULL) {
        return -1;
    }
    b = tg_bind_begin(s);
    tg_bind_text(&b, tenant);
    tg_bind_text(&b, verb);
    tg_bind_text(&b, subject);
    return walk(r, &b, true, fn, arg, err);
}

int tg_reader_approvals(struct tg_reader *r, const char *tenant, bool all, int64_t after,
                        size_t limit, tg_approval_fn fn, void *arg, struct tg_error *err)
{
    sqlite3_stmt *s =
        all ? tg_reader_statement(r, TG_READ_APPROVALS_ALL,
                                  COLUMNS "WHERE tenant = ?1 AND id > ?2 ORDER BY id LIMIT ?3", err)
            : tg_reader_statement(r, TG_READ_APPROVALS,
                                  COLUMNS "INDEXED BY approvals_open WHERE tenant = ?1 AND id > ?2 "
                                          "AND state IN (0, 1) ORDER BY id LIMIT ?3",
                                  err);
    struct tg_bind b;

    if (s == NULL) {
        return -1;
    }
    b = tg_bind_begin(s);
    tg_bind_text(&b, tenant);
    tg_bind_i64(&b, after);
    tg_bind_i64(&b, limit > TG_JOURNAL_PAGE_MAX ? TG_JOURNAL_PAGE_MAX : (int64_t)limit);
    return walk(r, &b, false, fn, arg, err);
}
