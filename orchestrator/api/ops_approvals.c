/* ops_approvals.c: GET /v1/ops/approvals, POST /v1/ops/approvals/{id}: the second person's part. */
#include <string.h>

#include "api/ops_call.h"
#include "api/ops_list.h"
#include "api/rows.h"
#include "common/codec.h"
#include "common/log.h"
#include "dispatch/dispatch.h"
#include "journal/approvals.h"

#define APPROVE_SCOPE "ops:approve"

/* One whose time is up has expired, though nobody came to write it down. */
static json_t *approval_json(const struct tg_row_approval *row)
{
    const enum tg_approval_state state =
        row->state == TG_APPROVAL_PENDING && row->expires_ms <= tg_dispatch_now_ms()
            ? TG_APPROVAL_EXPIRED
            : row->state;

    return json_pack("{s:I, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "id",
                     (json_int_t)row->id, "verb", row->verb, "subject", row->subject, "state",
                     tg_approval_state_name(state), "asked_by", row->asked_by, "asked_at",
                     tg_json_time(row->asked_ms), "expires_at", tg_json_time(row->expires_ms),
                     "reason", tg_json_text(row->reason), "decided_by",
                     tg_json_text(row->decided_by), "decided_at", tg_json_time(row->decided_ms),
                     "said", tg_json_text(row->said));
}

/* ---- the list ---- */

struct page {
    struct tg_ops_list *list;
    int64_t last;
    bool full;
};

static bool on_row(void *arg, const struct tg_row_approval *row)
{
    struct page *p = arg;

    p->last = row->id;
    p->full = !tg_ops_list_add(p->list, approval_json(row));
    return !p->full;
}

void tg_api_ops_approvals(struct tg_api_context *ctx, const struct tg_api_request *rq,
                          struct tg_reply *out)
{
    enum { STATE = TG_OPS_FILTERS };
    static const char *const names[] = {"cursor", "limit", "state", NULL};
    static const char *const words[] = {"pending", "all"};
    struct tg_error err = {""};
    struct tg_ops_list l;
    struct page p = {.list = &l};
    struct tg_walk w;
    int which = 0, rc;

    if (!tg_ops_list_begin(&l, ctx, rq, "approvals", names, out) || !tg_ops_walk_from(&l, &w)) {
        return;
    }
    if (tg_param_word("state", l.values[STATE], words, 2, &which, &err) != 0) {
        tg_ops_refuse(&l, TG_PROBLEM_QUERY_INVALID, err.text);
        return;
    }
    rc =
        tg_reader_approvals(l.reader, l.tenant->id, which == 1, w.at[0], l.limit, on_row, &p, &err);
    w.at[0] = p.last;
    w.over = !p.full;
    tg_ops_walk_end(&l, rc, &err, &w);
}

/* ---- deciding ---- */

static bool read_body(const struct tg_api_request *rq, struct tg_control *c, struct tg_reply *out)
{
    const json_t *reason;
    const char *decision;

    c->body = json_loadb((const char *)rq->body.data, rq->body.len, JSON_REJECT_DUPLICATES, NULL);
    decision = json_string_value(json_object_get(c->body, "decision"));
    reason = json_object_get(c->body, "reason");
    if (decision == NULL || (strcmp(decision, "approve") != 0 && strcmp(decision, "refuse") != 0) ||
        json_object_size(c->body) != (reason != NULL ? 2 : 1) ||
        !tg_ops_is_text(reason, TG_REASON_MAX_BYTES)) {
        tg_reply_problem(out, TG_PROBLEM_BODY_INVALID, rq->correlation_id,
                         "send {\"decision\": \"approve\" or \"refuse\", \"reason\": \"...\"}; the "
                         "reason is one line of at most %d bytes that is not blank, and may be "
                         "left out",
                         TG_REASON_MAX_BYTES);
        return false;
    }
    (void)tg_str_copy(tg_str_of(json_string_value(reason)), c->reason, sizeof(c->reason));
    return true;
}

static bool on_one(void *arg, const struct tg_row_approval *row)
{
    *(json_t **)arg = approval_json(row);
    return false;
}

static json_t *outcome_json(struct tg_api_context *ctx, const struct tg_control *c)
{
    struct tg_error err = {""};
    struct tg_reader *r = tg_api_context_reader(ctx, &err);
    json_t *json = NULL;

    if (r == NULL || tg_reader_approval(r, c->id, on_one, &json, &err) != 0) {
        tg_log(TG_LOG_ERROR, "api", "approval: %s", err.text);
        tg_api_context_drop_reader(ctx);
        return NULL;
    }
    if (json_object_set(json, "changed", json_object_get(c->result, "changed")) != 0) {
        json_decref(json);
        return NULL;
    }
    return json;
}

void tg_api_ops_approve(struct tg_api_context *ctx, const struct tg_api_request *rq,
                        struct tg_reply *out)
{
    struct tg_control *c =
        tg_api_may(rq, APPROVE_SCOPE, out) ? tg_ops_control(rq, TG_CONTROL_APPROVE, out) : NULL;

    if (c == NULL) {
        return;
    }
    if (!tg_str_to_i64(rq->rest, &c->id) || c->id <= 0) {
        tg_reply_problem(out, TG_PROBLEM_NOT_FOUND, rq->correlation_id,
                         "this tenant has no approval of that number");
    } else if (read_body(rq, c, out) && tg_ops_call(ctx, rq, c, out)) {
        tg_reply_json(out, 200, outcome_json(ctx, c), rq->correlation_id);
    }
    tg_control_drop(c);
}
