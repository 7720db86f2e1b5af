/*
 * One operation at a time, inside the writer's transaction. Audit rows written here carry numbers,
 * codes and references only: never a payload, and nothing about a person.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/codec.h"
#include "common/digest.h"
#include "journal/internal.h"

#define ACTOR "orchestrator"
#define SUBJECT_MAX_BYTES 64
#define MASTER_DETAIL_BYTES 512 /* of the row about master data, without the name */

static enum tg_applied applied(struct tg_store *s, int result, struct tg_error *err,
                               const char *what, int64_t id)
{
    enum tg_applied a = tg_store_class(result);

    if (a != TG_APPLIED) {
        (void)tg_error_set(err, "journal: %s %" PRId64 " cannot be written: %s", what, id,
                           sqlite3_errmsg(s->db));
    }
    return a;
}

/* An automatic audit row about one thing: "posting 17". */
static enum tg_applied note(struct tg_store *s, const char *action, const char *what, int64_t id,
                            const char *detail, struct tg_error *err)
{
    char subject[SUBJECT_MAX_BYTES];
    enum tg_applied a;

    (void)snprintf(subject, sizeof(subject), "%s %" PRId64, what, id);
    a = tg_store_audit(s, ACTOR, action, subject, detail);
    if (a != TG_APPLIED) {
        (void)tg_error_set(err, "journal: audit row %s of %s cannot be written: %s", action,
                           subject, sqlite3_errmsg(s->db));
    }
    return a;
}

/* The inside of a JSON string, NUL added; "" when it does not fit. */
static const char *escaped(const char *text, char *out, size_t out_size)
{
    int n = tg_json_escape(tg_str_of(text), out, out_size - 1);

    out[n < 0 ? 0 : n] = '\0';
    return out;
}

static enum tg_applied apply_event(struct tg_store *s, const struct tg_row_event *e,
                                   struct tg_error *err)
{
    struct tg_bind b = tg_bind_begin(s->statements[TG_STORE_EVENT]);
    char detail[64];
    enum tg_applied a;

    tg_bind_i64(&b, e->id);
    tg_bind_text(&b, e->event_id);
    tg_bind_text(&b, e->tenant);
    tg_bind_text(&b, e->client);
    tg_bind_text(&b, e->source);
    tg_bind_text(&b, e->ce_id);
    tg_bind_text(&b, e->type);
    tg_bind_text(&b, e->subject);
    tg_bind_text(&b, e->time);
    tg_bind_text(&b, e->dataschema);
    tg_bind_text(&b, e->idem_key);
    tg_bind_text(&b, e->correlation_id);
    tg_bind_text(&b, e->traceparent);
    tg_bind_text(&b, e->body_sha256);
    tg_bind_text(&b, e->content_type);
    tg_bind_blob(&b, e->body.data, e->body.len);
    tg_bind_i64(&b, e->received_ms);
    tg_bind_i64(&b, s->now_ms);
    tg_bind_i64(&b, e->state);
    tg_bind_id(&b, e->duplicate_of);
    tg_bind_blob(&b, e->identity, sizeof(e->identity));
    a = applied(s, tg_bind_run(&b), err, "event", e->id);
    if (a != TG_APPLIED || e->state == TG_EVENT_ACCEPTED) {
        return a;
    }
    if (e->state == TG_EVENT_DUPLICATE) {
        (void)snprintf(detail, sizeof(detail), "{\"of\":%" PRId64 "}", e->duplicate_of);
        return note(s, "event.duplicate", "event", e->id, detail, err);
    }
    return note(s, "event.refused", "event", e->id, "", err);
}

static enum tg_applied note_object(struct tg_store *s, int64_t id, enum tg_version_state state,
                                   struct tg_error *err)
{
    switch (state) {
    case TG_VERSION_SUPERSEDED:
        return note(s, "object.superseded", "object", id, "", err);
    case TG_VERSION_WITHDRAWN:
        return note(s, "object.withdrawn", "object", id, "", err);
    default:
        return TG_APPLIED;
    }
}

static enum tg_applied apply_object(struct tg_store *s, const struct tg_row_object *o,
                                    struct tg_error *err)
{
    struct tg_bind b = tg_bind_begin(s->statements[TG_STORE_OBJECT]);
    enum tg_applied a;

    tg_bind_i64(&b, o->id);
    tg_bind_i64(&b, o->event);
    tg_bind_text(&b, o->tenant);
    tg_bind_text(&b, o->kind);
    tg_bind_text(&b, o->source);
    tg_bind_text(&b, o->object_id);
    tg_bind_blob(&b, o->key, sizeof(o->key));
    tg_bind_i64(&b, o->version);
    tg_bind_i64(&b, o->state);
    tg_bind_text(&b, o->json);
    tg_bind_text(&b, o->rules_sha256);
    tg_bind_text(&b, o->master_version);
    tg_bind_text(&b, o->waits_for);
    tg_bind_i64(&b, o->due_ms);
    a = applied(s, tg_bind_run(&b), err, "object", o->id);
    return a == TG_APPLIED ? note_object(s, o->id, o->state, err) : a;
}

static enum tg_applied apply_object_state(struct tg_store *s, int64_t id, enum tg_version_state to,
                                          struct tg_error *err)
{
    struct tg_bind b = tg_bind_begin(s->statements[TG_STORE_OBJECT_STATE]);
    enum tg_applied a;

    tg_bind_i64(&b, id);
    tg_bind_i64(&b, to);
    a = applied(s, tg_bind_run(&b), err, "state of object", id);
    if (a == TG_APPLIED && sqlite3_changes(s->db) != 1) {
        (void)tg_error_set(err, "journal: object %" PRId64 " does not exist", id);
        return TG_REFUSED;
    }
    return a == TG_APPLIED ? note_object(s, id, to, err) : a;
}

static enum tg_applied apply_object_hold(struct tg_store *s, const struct tg_op *op,
                                         struct tg_error *err)
{
    struct tg_bind b = tg_bind_begin(s->statements[TG_STORE_OBJECT_HOLD]);
    enum tg_applied a;

    tg_bind_i64(&b, op->u.object_hold.id);
    tg_bind_text(&b, op->u.object_hold.waits_for);
    a = applied(s, tg_bind_run(&b), err, "hold of object", op->u.object_hold.id);
    if (a == TG_APPLIED && sqlite3_changes(s->db) != 1) {
        (void)tg_error_set(err, "journal: object %" PRId64 " is not held", op->u.object_hold.id);
        return TG_REFUSED;
    }
    return a;
}

static enum tg_applied apply_event_accepted(struct tg_store *s, int64_t event, struct tg_error *err)
{
    struct tg_bind b = tg_bind_begin(s->statements[TG_STORE_EVENT_ACCEPTED]);
    enum tg_applied a;

    tg_bind_i64(&b, event);
    a = applied(s, tg_bind_run(&b), err, "state of event", event);
    if (a == TG_APPLIED && sqlite3_changes(s->db) != 1) {
        (void)tg_error_set(err, "journal: event %" PRId64 " is not in exception", event);
        return TG_REFUSED;
    }
    return a;
}

static enum tg_applied apply_edit(struct tg_store *s, const struct tg_row_edit *e,
                                  struct tg_error *err)
{
    struct tg_bind b = tg_bind_begin(s->statements[TG_STORE_EDIT]);

    tg_bind_id(&b, e->event);
    tg_bind_id(&b, e->posting);
    tg_bind_i64(&b, e->at_ms);
    tg_bind_text(&b, e->actor);
    tg_bind_blob(&b, e->body.data, e->body.len);
    return applied(s, tg_bind_run(&b), err, "edit of", e->event != 0 ? e->event : e->posting);
}

static enum tg_applied apply_posting(struct tg_store *s, const struct tg_row_posting *p,
                                     struct tg_error *err)
{
    struct tg_bind b = tg_bind_begin(s->statements[TG_STORE_POSTING]);

    /* Control totals count what was marked: a posting is not born posted. */
    if (p->state == TG_POSTING_POSTED || p->state == TG_POSTING_REVERSED) {
        (void)tg_error_set(err, "journal: posting %" PRId64 " cannot begin as %s", p->id,
                           tg_posting_state_name(p->state));
        return TG_REFUSED;
    }
    tg_bind_i64(&b, p->id);
    tg_bind_i64(&b, p->object);
    tg_bind_i64(&b, p->destination);
    tg_bind_text(&b, p->kind);
    tg_bind_text(&b, p->leg);
    tg_bind_i64(&b, p->generation);
    tg_bind_blob(&b, p->key, sizeof(p->key));
    tg_bind_text(&b, p->payload);
    tg_bind_text(&b, p->period);
    tg_bind_i64(&b, p->quantity_micros);
    tg_bind_i64(&b, p->state);
    tg_bind_i64(&b, p->attempt);
    tg_bind_i64(&b, p->due_ms);
    tg_bind_i64(&b, p->first_sent_ms);
    tg_bind_text(&b, p->ref);
    tg_bind_text(&b, p->hold);
    tg_bind_id(&b, p->hold_on);
    tg_bind_id(&b, p->reverses);
    return applied(s, tg_bind_run(&b), err, "posting", p->id);
}

/* ---- marks ---- */

static const char *mark_action(enum tg_posting_state to)
{
    switch (to) {
    case TG_POSTING_POSTED:
        return "posting.posted";
    case TG_POSTING_REJECTED:
        return "posting.rejected";
    case TG_POSTING_EXCEPTION:
        return "posting.exception";
    case TG_POSTING_CANCELLED:
        return "posting.cancelled";
    case TG_POSTING_IN_DOUBT:
        return "posting.in_doubt";
    case TG_POSTING_REVERSED:
        return "posting.reversed";
    default:
        return NULL; /* ready, sent, retry, held: the attempts tell */
    }
}

/* The posting was not in the state the mark starts from: say in which it is. */
static enum tg_applied mark_refused(struct tg_store *s, const struct tg_row_mark *m,
                                    struct tg_error *err)
{
    sqlite3_stmt *q = s->statements[TG_STORE_POSTING_STATE];
    int result = sqlite3_bind_int64(q, 1, m->posting);

    if (result == SQLITE_OK) {
        result = sqlite3_step(q);
    }
    if (result == SQLITE_ROW) {
        int is = sqlite3_column_int(q, 0);

        (void)tg_error_set(err,
                           "journal: posting %" PRId64 " is %s, not %s; it cannot be marked %s",
                           m->posting, tg_posting_state_name((enum tg_posting_state)is),
                           tg_posting_state_name(m->from), tg_posting_state_name(m->to));
    } else {
        (void)tg_error_set(err, "journal: posting %" PRId64 " does not exist", m->posting);
    }
    (void)sqlite3_reset(q);
    return result == SQLITE_ROW || result == SQLITE_DONE ? TG_REFUSED : tg_store_class(result);
}

int tg_payload_digest(struct tg_str payload, char out[TG_PAYLOAD_DIGEST_BYTES])
{
    unsigned char sum[TG_SHA256_BYTES];

    if (tg_sha256(payload, sum) != 0) {
        return -1;
    }
    tg_hex_encode(sum, (TG_PAYLOAD_DIGEST_BYTES - 1) / 2, out);
    out[TG_PAYLOAD_DIGEST_BYTES - 1] = '\0';
    return 0;
}

/* What the audit row of a mark says of its posting. */
struct marked {
    char key[2 * TG_POSTING_KEY_BYTES + 1];
    char payload[TG_PAYLOAD_DIGEST_BYTES];
    int64_t quantity_micros;
};

/* False: not a posting of ours. */
static bool marked_from(sqlite3_stmt *row, struct marked *out)
{
    const void *key = sqlite3_column_blob(row, 0);
    struct tg_str payload = {sqlite3_column_text(row, 1), (size_t)sqlite3_column_bytes(row, 1)};

    if (key == NULL || sqlite3_column_bytes(row, 0) != TG_POSTING_KEY_BYTES) {
        return false;
    }
    tg_hex_encode(key, TG_POSTING_KEY_BYTES, out->key);
    out->key[sizeof(out->key) - 1] = '\0';
    out->quantity_micros = sqlite3_column_int64(row, 2);
    return tg_payload_digest(payload, out->payload) == 0;
}

/* A look-up of its own: RETURNING would fill a temporary table at each mark, and most marks are
 * not audited. */
static enum tg_applied read_marked(struct tg_store *s, const struct tg_row_mark *m,
                                   struct marked *out, struct tg_error *err)
{
    sqlite3_stmt *q = s->statements[TG_STORE_MARKED];
    int result = sqlite3_bind_int64(q, 1, m->posting);

    if (result == SQLITE_OK) {
        result = sqlite3_step(q);
    }
    if (result == SQLITE_ROW || result == SQLITE_DONE) {
        result = result == SQLITE_ROW && marked_from(q, out) ? SQLITE_OK : SQLITE_ERROR;
    }
    (void)sqlite3_reset(q);
    return applied(s, result, err, "what is audited of posting", m->posting);
}

static enum tg_applied mark_state(struct tg_store *s, const struct tg_row_mark *m,
                                  struct tg_error *err)
{
    struct tg_bind b = tg_bind_begin(s->statements[TG_STORE_MARK]);
    enum tg_applied a;

    tg_bind_i64(&b, m->posting);
    tg_bind_i64(&b, m->from);
    tg_bind_i64(&b, m->to);
    tg_bind_i64(&b, m->attempt);
    tg_bind_i64(&b, m->due_ms);
    tg_bind_text(&b, m->ref);
    tg_bind_i64(&b, m->at_ms);
    a = applied(s, tg_bind_run(&b), err, "mark of posting", m->posting);
    return a == TG_APPLIED && sqlite3_changes(s->db) != 1 ? mark_refused(s, m, err) : a;
}

/* What was posted stays in the totals: a reversal is posted beside it. */
static enum tg_applied mark_total(struct tg_store *s, const struct tg_row_mark *m,
                                  struct tg_error *err)
{
    struct tg_bind b = tg_bind_begin(s->statements[TG_STORE_TOTAL_ADD]);

    if (m->to != TG_POSTING_POSTED) {
        return TG_APPLIED;
    }
    tg_bind_i64(&b, m->posting);
    return applied(s, tg_bind_run(&b), err, "control total for posting", m->posting);
}

/* A hold ends unless it only ran out of time: then it still waits for the same thing. */
static enum tg_applied mark_hold(struct tg_store *s, const struct tg_row_mark *m,
                                 struct tg_error *err)
{
    struct tg_bind b = tg_bind_begin(s->statements[TG_STORE_HOLD_END]);

    if ((m->from != TG_POSTING_HELD && m->from != TG_POSTING_EXCEPTION) ||
        m->to == TG_POSTING_EXCEPTION) {
        return TG_APPLIED;
    }
    tg_bind_i64(&b, m->posting);
    return applied(s, tg_bind_run(&b), err, "hold of posting", m->posting);
}

static enum tg_applied mark_attempt(struct tg_store *s, const struct tg_row_mark *m,
                                    struct tg_error *err)
{
    struct tg_bind b = tg_bind_begin(s->statements[TG_STORE_ATTEMPT]);

    if (m->outcome == NULL) {
        return TG_APPLIED;
    }
    tg_bind_i64(&b, m->posting);
    tg_bind_i64(&b, m->attempt);
    tg_bind_text(&b, m->outcome);
    tg_bind_text(&b, m->detail);
    tg_bind_i64(&b, m->at_ms);
    return applied(s, tg_bind_run(&b), err, "attempt of posting", m->posting);
}

static enum tg_applied apply_mark(struct tg_store *s, const struct tg_row_mark *m,
                                  struct tg_error *err)
{
    struct marked marked = {.quantity_micros = 0};
    char ref[TG_CONNECT_REF_MAX_BYTES * 6 + 1];
    char detail[sizeof(marked) + sizeof(ref) + 128];
    const char *action = mark_action(m->to);
    enum tg_applied a = mark_state(s, m, err);

    if (a == TG_APPLIED) {
        a = mark_total(s, m, err);
    }
    if (a == TG_APPLIED) {
        a = mark_hold(s, m, err);
    }
    if (a == TG_APPLIED) {
        a = mark_attempt(s, m, err);
    }
    if (a == TG_APPLIED && action != NULL) {
        a = read_marked(s, m, &marked, err);
    }
    if (a != TG_APPLIED || action == NULL) {
        return a;
    }
    (void)snprintf(detail, sizeof(detail),
                   "{\"key\":\"%s\",\"attempt\":%u,\"ref\":\"%s\",\"payload\":\"%s\","
                   "\"quantity\":%" PRId64 "}",
                   marked.key, m->attempt, escaped(m->ref, ref, sizeof(ref)), marked.payload,
                   marked.quantity_micros);
    return note(s, action, "posting", m->posting, detail, err);
}

static enum tg_applied apply_hold(struct tg_store *s, const struct tg_op *op, struct tg_error *err)
{
    struct tg_bind b = tg_bind_begin(s->statements[TG_STORE_HOLD]);
    enum tg_applied a;

    tg_bind_i64(&b, op->u.hold.posting);
    tg_bind_text(&b, op->u.hold.why);
    tg_bind_id(&b, op->u.hold.on);
    tg_bind_i64(&b, op->u.hold.due_ms);
    a = applied(s, tg_bind_run(&b), err, "hold of posting", op->u.hold.posting);
    if (a == TG_APPLIED && sqlite3_changes(s->db) != 1) {
        (void)tg_error_set(err, "journal: posting %" PRId64 " is not held", op->u.hold.posting);
        return TG_REFUSED;
    }
    return a;
}

/* ---- exceptions ---- */

static const char *exception_action(enum tg_exception_state state)
{
    switch (state) {
    case TG_EXCEPTION_OPEN:
        return "exception.opened";
    case TG_EXCEPTION_ASSIGNED:
        return "exception.assigned";
    default:
        return "exception.closed";
    }
}

static enum tg_applied apply_exception(struct tg_store *s, const struct tg_row_exception *e,
                                       struct tg_error *err)
{
    struct tg_bind b = tg_bind_begin(s->statements[TG_STORE_EXCEPTION]);
    char code[256];
    char detail[sizeof(code) + 192];
    enum tg_applied a;

    tg_bind_i64(&b, e->id);
    tg_bind_id(&b, e->event);
    tg_bind_id(&b, e->object);
    tg_bind_id(&b, e->posting);
    tg_bind_text(&b, e->tenant);
    tg_bind_text(&b, e->code);
    tg_bind_text(&b, e->owner);
    tg_bind_text(&b, e->detail);
    tg_bind_i64(&b, e->state);
    tg_bind_i64(&b, e->opened_ms);
    tg_bind_i64(&b, e->closed_ms);
    a = applied(s, tg_bind_run(&b), err, "exception", e->id);
    if (a != TG_APPLIED) {
        return a;
    }
    if (sqlite3_changes(s->db) != 1) {
        (void)tg_error_set(err,
                           "journal: exception %" PRId64 " exists and cannot change: it is closed, "
                           "or has another tenant or code",
                           e->id);
        return TG_REFUSED;
    }
    (void)snprintf(detail, sizeof(detail),
                   "{\"code\":\"%s\",\"state\":\"%s\",\"event\":%" PRId64 ",\"object\":%" PRId64
                   ",\"posting\":%" PRId64 "}",
                   escaped(e->code, code, sizeof(code)), tg_exception_state_name(e->state),
                   e->event, e->object, e->posting);
    return note(s, exception_action(e->state), "exception", e->id, detail, err);
}

static const char *act_action(enum tg_exception_state state)
{
    switch (state) {
    case TG_EXCEPTION_ASSIGNED:
        return "exception.assigned";
    case TG_EXCEPTION_REPLAYED:
        return "exception.replayed";
    case TG_EXCEPTION_EDITED:
        return "exception.edited";
    case TG_EXCEPTION_DISCARDED:
        return "exception.discarded";
    case TG_EXCEPTION_RESOLVED:
        return "exception.resolved";
    default:
        return NULL; /* nothing a person does */
    }
}

/* What the audit row says of the exception that changed. */
struct acted {
    char code[TG_CODE_MAX_BYTES * 6 + 1];
    int64_t posting;
    bool found;
};

static int run_act(struct tg_store *s, const struct tg_row_act *act, struct acted *out)
{
    struct tg_bind b = tg_bind_begin(s->statements[TG_STORE_ACT]);
    int result;

    tg_bind_i64(&b, act->exception);
    tg_bind_i64(&b, act->state);
    tg_bind_i64(&b, s->now_ms);
    tg_bind_text(&b, act->actor);
    tg_bind_text(&b, act->assignee);
    tg_bind_text(&b, act->outcome);
    tg_bind_text(&b, act->reason);
    result = b.result == SQLITE_OK ? sqlite3_step(b.statement) : b.result;
    if (result == SQLITE_ROW) {
        out->found = true;
        (void)escaped(tg_column_text(b.statement, 0), out->code, sizeof(out->code));
        out->posting = sqlite3_column_int64(b.statement, 1);
        result = sqlite3_step(b.statement);
    }
    (void)sqlite3_reset(b.statement);
    return result == SQLITE_DONE ? SQLITE_OK : result;
}

static enum tg_applied apply_act(struct tg_store *s, const struct tg_row_act *act,
                                 struct tg_error *err)
{
    struct acted is = {.found = false};
    char reason[TG_REASON_MAX_BYTES * 6 + 1], assignee[TG_CLIENT_MAX_BYTES * 6 + 1];
    char outcome[TG_CODE_MAX_BYTES * 6 + 1], subject[SUBJECT_MAX_BYTES];
    char second[TG_CLIENT_MAX_BYTES * 6 + 1] = "";
    char detail[sizeof(is) + sizeof(reason) + sizeof(assignee) + sizeof(outcome) + sizeof(second) +
                128];
    const char *action = act_action(act->state);
    enum tg_applied a = applied(s, run_act(s, act, &is), err, "act on exception", act->exception);

    if (a != TG_APPLIED) {
        return a;
    }
    if (!is.found || action == NULL) {
        (void)tg_error_set(err, "journal: exception %" PRId64 " is closed, or not there",
                           act->exception);
        return TG_REFUSED;
    }
    (void)snprintf(detail, sizeof(detail),
                   "{\"code\":\"%s\",\"posting\":%" PRId64 ",\"made\":%" PRId64
                   ",\"outcome\":\"%s\",\"assignee\":\"%s\",\"reason\":\"%s\","
                   "\"approved_by\":\"%s\"}",
                   is.code, is.posting, act->made, escaped(act->outcome, outcome, sizeof(outcome)),
                   escaped(act->assignee, assignee, sizeof(assignee)),
                   escaped(act->reason, reason, sizeof(reason)),
                   escaped(act->approved_by, second, sizeof(second)));
    (void)snprintf(subject, sizeof(subject), "exception %" PRId64, act->exception);
    a = tg_store_audit(s, act->actor, action, subject, detail);
    if (a != TG_APPLIED) {
        (void)tg_error_set(err, "journal: audit row of %s cannot be written: %s", subject,
                           sqlite3_errmsg(s->db));
    }
    return a;
}

/* ---- master data ---- */

static enum tg_applied apply_master(struct tg_store *s, const struct tg_row_master *m,
                                    struct tg_error *err)
{
    struct tg_bind b = tg_bind_begin(s->statements[TG_STORE_MASTER]);
    char digest[TG_PAYLOAD_DIGEST_BYTES];
    char name[TG_CE_ATTRIBUTE_MAX_BYTES * 6 + 1];
    char detail[sizeof(name) + MASTER_DETAIL_BYTES];
    enum tg_applied a;

    if (tg_payload_digest(tg_str_of(m->attributes), digest) != 0) {
        (void)tg_error_set(err, "journal: no memory for the digest of master row %" PRId64, m->id);
        return TG_FAILED;
    }
    tg_bind_i64(&b, m->id);
    tg_bind_i64(&b, m->object);
    tg_bind_text(&b, m->tenant);
    tg_bind_text(&b, m->kind);
    tg_bind_text(&b, m->name);
    tg_bind_text(&b, m->source);
    tg_bind_i64(&b, m->version);
    tg_bind_text(&b, m->from_day);
    tg_bind_text(&b, m->attributes);
    tg_bind_text(&b, m->refused);
    a = applied(s, tg_bind_run(&b), err, "master row", m->id);
    if (a != TG_APPLIED) {
        return a;
    }
    (void)snprintf(detail, sizeof(detail),
                   "{\"object\":%" PRId64 ",\"name\":\"%s\",\"from\":\"%.10s\","
                   "\"attributes\":\"%s\",\"refused\":%.256s}",
                   m->object, escaped(m->name, name, sizeof(name)), m->from_day, digest,
                   m->refused);
    return note(s, "master.changed", "master", m->id, detail, err);
}

/* ---- the rest ---- */

static enum tg_applied apply_destination(struct tg_store *s, uint32_t index, const char *name,
                                         struct tg_error *err)
{
    struct tg_bind b = tg_bind_begin(s->statements[TG_STORE_DESTINATION]);

    tg_bind_i64(&b, index);
    tg_bind_text(&b, name);
    return applied(s, tg_bind_run(&b), err, "destination", index);
}

/* What is so already stays as it was, and is not told again. */
static enum tg_applied apply_pause(struct tg_store *s, const struct tg_op *op, struct tg_error *err)
{
    const bool paused = op->u.pause.paused;
    struct tg_bind b = tg_bind_begin(s->statements[paused ? TG_STORE_PAUSE : TG_STORE_RESUME]);
    char reason[TG_REASON_MAX_BYTES * 6 + 1];
    char detail[sizeof(reason) + 32], subject[SUBJECT_MAX_BYTES];
    enum tg_applied a;

    tg_bind_i64(&b, op->u.pause.destination);
    if (paused) {
        tg_bind_text(&b, op->u.pause.actor);
        tg_bind_text(&b, op->u.pause.reason);
        tg_bind_i64(&b, s->now_ms);
    }
    a = applied(s, tg_bind_run(&b), err, "pause of destination", op->u.pause.destination);
    if (a != TG_APPLIED || sqlite3_changes(s->db) == 0) {
        return a;
    }
    (void)snprintf(detail, sizeof(detail), "{\"reason\":\"%s\"}",
                   escaped(op->u.pause.reason, reason, sizeof(reason)));
    (void)snprintf(subject, sizeof(subject), "destination %" PRIu32, op->u.pause.destination);
    a = tg_store_audit(s, op->u.pause.actor, paused ? "destination.paused" : "destination.resumed",
                       subject, detail);
    if (a != TG_APPLIED) {
        (void)tg_error_set(err, "journal: audit row of %s cannot be written: %s", subject,
                           sqlite3_errmsg(s->db));
    }
    return a;
}

static enum tg_applied apply_throttle(struct tg_store *s, const struct tg_op *op,
                                      struct tg_error *err)
{
    struct tg_bind b = tg_bind_begin(s->statements[TG_STORE_THROTTLE]);

    tg_bind_i64(&b, op->u.throttle.destination);
    tg_bind_i64(&b, op->u.throttle.until_ms);
    tg_bind_i64(&b, op->u.throttle.said_ms);
    return applied(s, tg_bind_run(&b), err, "wait of destination", op->u.throttle.destination);
}

static enum tg_applied apply_restored(struct tg_store *s, const struct tg_op *op,
                                      struct tg_error *err)
{
    bool position = op->kind == TG_OP_RESTORED_POSITION;
    int64_t id = position ? op->u.restored_position.restore : op->u.restored_state.restore;
    struct tg_bind b = tg_bind_begin(
        s->statements[position ? TG_STORE_RESTORED_POSITION : TG_STORE_RESTORED_STATE]);

    tg_bind_i64(&b, id);
    tg_bind_i64(&b, position ? (int64_t)op->u.restored_position.shard : op->u.restored_state.to);
    if (position) {
        tg_bind_text(&b, op->u.restored_position.upto);
    }
    return applied(s, tg_bind_run(&b), err, "restore", id);
}

static enum tg_applied apply_alert(struct tg_store *s, const struct tg_op *op, struct tg_error *err)
{
    const struct tg_alert_state *state = &op->u.alert.state;
    struct tg_bind b =
        tg_bind_begin(s->statements[op->u.alert.idle ? TG_STORE_ALERT_IDLE : TG_STORE_ALERT]);

    tg_bind_text(&b, op->u.alert.kind);
    tg_bind_text(&b, op->u.alert.thing);
    if (!op->u.alert.idle) {
        tg_bind_i64(&b, state->told);
        tg_bind_i64(&b, state->since_ms);
        tg_bind_i64(&b, state->clear_ms);
        tg_bind_i64(&b, state->told_ms);
        tg_bind_i64(&b, (int64_t)state->fresh);
    }
    return applied(s, tg_bind_run(&b), err, "alert", 0);
}

static enum tg_applied apply_alert_mark(struct tg_store *s, const struct tg_op *op,
                                        struct tg_error *err)
{
    struct tg_bind b = tg_bind_begin(s->statements[TG_STORE_ALERT_MARK]);

    tg_bind_text(&b, op->u.alert_mark.name);
    tg_bind_i64(&b, op->u.alert_mark.value);
    return applied(s, tg_bind_run(&b), err, "mark of the alerts", op->u.alert_mark.value);
}

static enum tg_applied apply_audit(struct tg_store *s, const struct tg_op *op, struct tg_error *err)
{
    enum tg_applied a = tg_store_audit(s, op->u.audit.actor, op->u.audit.action,
                                       op->u.audit.subject, op->u.audit.detail);

    if (a != TG_APPLIED) {
        (void)tg_error_set(err, "journal: audit row %s cannot be written: %s", op->u.audit.action,
                           sqlite3_errmsg(s->db));
    }
    return a;
}

static enum tg_applied apply_one(struct tg_store *s, const struct tg_op *op, struct tg_error *err)
{
    switch (op->kind) {
    case TG_OP_EVENT:
        return apply_event(s, &op->u.event, err);
    case TG_OP_OBJECT:
        return apply_object(s, &op->u.object, err);
    case TG_OP_OBJECT_STATE:
        return apply_object_state(s, op->u.object_state.id, op->u.object_state.to, err);
    case TG_OP_OBJECT_HOLD:
        return apply_object_hold(s, op, err);
    case TG_OP_EVENT_ACCEPTED:
        return apply_event_accepted(s, op->u.event_accepted, err);
    case TG_OP_EDIT:
        return apply_edit(s, &op->u.edit, err);
    case TG_OP_POSTING:
        return apply_posting(s, &op->u.posting, err);
    case TG_OP_MARK:
        return apply_mark(s, &op->u.mark, err);
    case TG_OP_HOLD:
        return apply_hold(s, op, err);
    case TG_OP_EXCEPTION:
        return apply_exception(s, &op->u.exception, err);
    case TG_OP_ACT:
        return apply_act(s, &op->u.act, err);
    case TG_OP_APPROVAL:
        return tg_apply_approval(s, &op->u.approval, err);
    case TG_OP_APPROVAL_END:
        return tg_apply_approval_end(s, op, err);
    case TG_OP_MASTER:
        return apply_master(s, &op->u.master, err);
    case TG_OP_AUDIT:
        return apply_audit(s, op, err);
    case TG_OP_DESTINATION:
        return apply_destination(s, op->u.destination.index, op->u.destination.name, err);
    case TG_OP_PAUSE:
        return apply_pause(s, op, err);
    case TG_OP_THROTTLE:
        return apply_throttle(s, op, err);
    case TG_OP_RESTORED_POSITION:
    case TG_OP_RESTORED_STATE:
        return apply_restored(s, op, err);
    case TG_OP_ALERT:
        return apply_alert(s, op, err);
    case TG_OP_ALERT_MARK:
        return apply_alert_mark(s, op, err);
    case TG_OP_REPLAY:
    case TG_OP_REPLAY_STEP:
        return tg_store_replay(s, op, err);
    }
    (void)tg_error_set(err, "journal: unknown operation %d", (int)op->kind);
    return TG_REFUSED;
}

enum tg_applied tg_store_apply(struct tg_store *s, const struct tg_batch *b, struct tg_error *err)
{
    for (size_t i = 0; i < b->count; i++) {
        enum tg_applied a = apply_one(s, &b->ops[i], err);

        if (a != TG_APPLIED) {
            return a;
        }
    }
    return TG_APPLIED;
}
