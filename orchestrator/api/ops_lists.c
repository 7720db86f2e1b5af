/* ops_lists.c: GET /v1/ops/exceptions, /v1/ops/exceptions/{id}, /v1/ops/audit and
 * /v1/ops/reconciliation. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "api/ops_list.h"
#include "api/rows.h"
#include "journal/reconcile.h"

/* ---- exceptions ---- */

static bool on_exception(void *arg, const struct tg_row_exception *row)
{
    struct tg_ops_list *l = arg;

    return tg_ops_list_add(l, tg_exception_json(l->ctx->options->catalogue, row));
}

/* `all`, or a state's name; not given: what is open or assigned. */
static bool exception_state(struct tg_ops_list *l, struct tg_str value, int *out)
{
    const char *words[TG_EXCEPTION_STATES + 1];
    struct tg_error err = {""};

    for (int i = 0; i < TG_EXCEPTION_STATES; i++) {
        words[i] = tg_exception_state_name((enum tg_exception_state)i);
    }
    words[TG_EXCEPTION_STATES] = "all";
    *out = TG_QUERY_OPEN;
    if (tg_param_word("state", value, words, TG_EXCEPTION_STATES + 1, out, &err) != 0) {
        tg_ops_refuse(l, TG_PROBLEM_QUERY_INVALID, err.text);
        return false;
    }
    *out = *out == TG_EXCEPTION_STATES ? TG_QUERY_ANY_STATE : *out;
    return true;
}

void tg_api_ops_exceptions(struct tg_api_context *ctx, const struct tg_api_request *rq,
                           struct tg_reply *out)
{
    enum {
        STATE = TG_OPS_FILTERS,
        CODE,
        OWNER,
        ASSIGNEE,
        DESTINATION,
        SUBJECT,
        SINCE,
        UNTIL,
        FILTERS_END
    };
    static const char *const names[FILTERS_END + 1] = {[TG_OPS_CURSOR] = "cursor",
                                                       [TG_OPS_LIMIT] = "limit",
                                                       [STATE] = "state",
                                                       [CODE] = "code",
                                                       [OWNER] = "owner",
                                                       [ASSIGNEE] = "assignee",
                                                       [DESTINATION] = "destination",
                                                       [SUBJECT] = "subject",
                                                       [SINCE] = "since",
                                                       [UNTIL] = "until"};
    struct tg_exception_query q = {0};
    struct tg_error err = {""};
    struct tg_ops_list l;
    struct tg_walk w;
    int rc;

    if (!tg_ops_list_begin(&l, ctx, rq, "exceptions", names, out) || !tg_ops_walk_from(&l, &w) ||
        !exception_state(&l, l.values[STATE], &q.state) || !tg_ops_texts(&l, CODE, SUBJECT) ||
        !tg_ops_span(&l, SINCE, UNTIL, &q.span)) {
        return;
    }
    q.tenant = l.tenant->id;
    q.code = l.values[CODE];
    q.owner = l.values[OWNER];
    q.assignee = l.values[ASSIGNEE];
    q.destination = l.values[DESTINATION];
    q.subject = l.values[SUBJECT];
    rc = tg_reader_list_exceptions(l.reader, &q, &w, on_exception, &l, &err);
    tg_ops_walk_end(&l, rc, &err, &w);
}

struct one {
    struct tg_ops_list *list;
    json_t *json;
};

static bool on_one(void *arg, const struct tg_row_exception *row)
{
    struct one *o = arg;

    if (strcmp(row->tenant, o->list->tenant->id) == 0) {
        o->json = tg_exception_json(o->list->ctx->options->catalogue, row);
        o->list->failed = o->json == NULL;
    }
    return false;
}

void tg_api_ops_exception(struct tg_api_context *ctx, const struct tg_api_request *rq,
                          struct tg_reply *out)
{
    static const char *const names[] = {NULL};
    struct tg_error err = {""};
    struct tg_ops_list l;
    struct one o = {.list = &l};
    int64_t id;
    int rc = 1;

    if (!tg_ops_list_begin(&l, ctx, rq, NULL, names, out)) {
        return;
    }
    if (tg_str_to_i64(rq->rest, &id)) {
        rc = tg_reader_exception(l.reader, id, on_one, &o, &err);
    }
    tg_ops_show_end(&l, rc, &err, o.json);
}

/* ---- audit ---- */

static bool on_audit(void *arg, const struct tg_audit_row *row)
{
    return tg_ops_list_add(arg, tg_audit_json(row));
}

void tg_api_ops_audit(struct tg_api_context *ctx, const struct tg_api_request *rq,
                      struct tg_reply *out)
{
    enum { SUBJECT = TG_OPS_FILTERS, ACTION, ACTOR, SINCE, UNTIL, FILTERS_END };
    static const char *const names[FILTERS_END + 1] = {
        [TG_OPS_CURSOR] = "cursor", [TG_OPS_LIMIT] = "limit", [SUBJECT] = "subject",
        [ACTION] = "action",        [ACTOR] = "actor",        [SINCE] = "since",
        [UNTIL] = "until"};
    struct tg_audit_query q = {0};
    struct tg_error err = {""};
    struct tg_ops_list l;
    struct tg_walk w;
    int rc;

    if (!tg_ops_list_begin(&l, ctx, rq, "audit", names, out) || !tg_ops_walk_from(&l, &w) ||
        !tg_ops_texts(&l, SUBJECT, ACTOR) || !tg_ops_span(&l, SINCE, UNTIL, &q.span)) {
        return;
    }
    q.tenant = l.tenant->id;
    q.subject = l.values[SUBJECT];
    q.action = l.values[ACTION];
    q.actor = l.values[ACTOR];
    rc = tg_reader_list_audit(l.reader, &q, &w, on_audit, &l, &err);
    tg_ops_walk_end(&l, rc, &err, &w);
}

/* ---- reconciliation ---- */

static bool on_reconciled(void *arg, const struct tg_reconciled *row)
{
    struct tg_ops_list *l = arg;

    return tg_ops_list_add(l, tg_reconciled_json(row, l->rq->tenant));
}

/* "12 labor 2026-11": kinds have no blanks. */
static bool read_place(struct tg_ops_list *l, struct tg_reconcile_place *out)
{
    const char *kind = strchr(l->place, ' ');
    const char *period = kind != NULL ? strchr(kind + 1, ' ') : NULL;

    memset(out, 0, sizeof(*out));
    if (l->place[0] == '\0') {
        return true;
    }
    if (period != NULL &&
        tg_str_to_i64((struct tg_str){(const unsigned char *)l->place, (size_t)(kind - l->place)},
                      &out->destination) &&
        tg_str_copy((struct tg_str){(const unsigned char *)kind + 1, (size_t)(period - kind - 1)},
                    out->kind, sizeof(out->kind)) &&
        tg_str_copy(tg_str_of(period + 1), out->period, sizeof(out->period))) {
        return true;
    }
    tg_ops_refuse(
        l, TG_PROBLEM_CURSOR_INVALID,
        "this cursor is of another version of this program; begin again without `cursor`");
    return false;
}

void tg_api_ops_reconciliation(struct tg_api_context *ctx, const struct tg_api_request *rq,
                               struct tg_reply *out)
{
    enum { PERIOD = TG_OPS_FILTERS, DESTINATION, FILTERS_END };
    static const char *const names[FILTERS_END + 1] = {[TG_OPS_CURSOR] = "cursor",
                                                       [TG_OPS_LIMIT] = "limit",
                                                       [PERIOD] = "period",
                                                       [DESTINATION] = "destination"};
    struct tg_reconcile_query q = {0};
    struct tg_reconcile_place place;
    char next[TG_CURSOR_PLACE_MAX_BYTES + 1];
    struct tg_error err = {""};
    struct tg_ops_list l;
    bool over = false;
    int rc;

    if (!tg_ops_list_begin(&l, ctx, rq, "reconciliation", names, out) || !read_place(&l, &place) ||
        !tg_ops_texts(&l, PERIOD, DESTINATION)) {
        return;
    }
    q.tenant = l.tenant->id;
    q.period = l.values[PERIOD];
    q.destination = l.values[DESTINATION];
    rc = tg_reader_reconcile(l.reader, &q, &place, on_reconciled, &l, &over, &err);
    (void)snprintf(next, sizeof(next), "%" PRId64 " %s %s", place.destination, place.kind,
                   place.period);
    tg_ops_list_end(&l, rc, &err, over ? NULL : next);
}
