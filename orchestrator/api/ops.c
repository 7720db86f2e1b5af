/*
 * ops.c: /v1/ops: what people ask and tell the running process. The loop does it (control.h); here
 * a request becomes a control and its answer a reply.
 */
#include <string.h>

#include "api/ops_call.h"
#include "common/codec.h"
#include "common/log.h"
#include "common/scope.h"

bool tg_api_may(const struct tg_api_request *rq, const char *scope, struct tg_reply *out)
{
    const struct tg_str needed = tg_str_of(scope);
    struct tg_str have[TG_SCOPES_MAX];
    int n = tg_scope_split(rq->scope, have, TG_SCOPES_MAX);

    if (n > 0 && tg_scope_satisfies(have, (size_t)n, TG_SCOPE_ALL, &needed, 1)) {
        return true;
    }
    tg_reply_problem(out, TG_PROBLEM_SCOPE_INSUFFICIENT, rq->correlation_id,
                     "this call needs the scope %s", scope);
    return false;
}

struct tg_control *tg_ops_control(const struct tg_api_request *rq, enum tg_control_kind kind,
                                  struct tg_reply *out)
{
    struct tg_control *c = tg_control_new(kind);

    if (c == NULL) {
        tg_reply_problem(out, TG_PROBLEM_INTERNAL, rq->correlation_id, "out of memory");
        return NULL;
    }
    if (!tg_str_copy(rq->tenant, c->tenant, sizeof(c->tenant)) ||
        !tg_str_is_line(rq->client, TG_CLIENT_MAX_BYTES) ||
        !tg_str_copy(rq->client, c->actor, sizeof(c->actor))) {
        tg_control_drop(c);
        tg_reply_problem(out, TG_PROBLEM_TENANT_MISSING, rq->correlation_id,
                         "the edge sent no sound X-Tally-Tenant and X-Tally-Client");
        return NULL;
    }
    return c;
}

bool tg_ops_call(struct tg_api_context *ctx, const struct tg_api_request *rq, struct tg_control *c,
                 struct tg_reply *out)
{
    switch (tg_control_call(ctx->options->controls, c, TG_CONTROL_WAIT_MS)) {
    case TG_CONTROL_ANSWERED:
        if (!c->refused) {
            return true;
        }
        tg_reply_problem(out, c->problem, rq->correlation_id, "%s", c->detail);
        break;
    case TG_CONTROL_BUSY:
        tg_reply_problem(
            out, TG_PROBLEM_UNAVAILABLE, rq->correlation_id,
            "too many commands wait, or the process stops; nothing was done, try again");
        break;
    case TG_CONTROL_LATE:
        tg_reply_problem(out, TG_PROBLEM_UNAVAILABLE, rq->correlation_id,
                         "not on disk within %d s: whether it was done is unknown; look again, or "
                         "send the same command once more, which does no harm",
                         TG_CONTROL_WAIT_MS / 1000);
        break;
    }
    return false;
}

/* ---- destinations ---- */

struct waiting {
    uint64_t open;
    int64_t oldest_ms; /* 0: none is open */
};

/* 0, or -1 with err. */
static int read_waiting(struct tg_api_context *ctx, uint32_t destination, struct waiting *out,
                        struct tg_error *err)
{
    struct tg_reader *reader = tg_api_context_reader(ctx, err);

    if (reader == NULL) {
        return -1;
    }
    if (tg_reader_open_count(reader, destination, &out->open, err) != 0 ||
        tg_reader_oldest_open(reader, destination, &out->oldest_ms, err) != 0) {
        tg_api_context_drop_reader(ctx);
        return -1;
    }
    return 0;
}

/* The journal's part, which the loop does not read for us: the rows are in the configuration's
 * order. 0, or -1: it cannot be read. */
static int add_waiting(struct tg_api_context *ctx, const struct tg_api_request *rq, json_t *result)
{
    const struct tg_config_tenant *t = tg_config_tenant(ctx->options->config, rq->tenant);
    json_t *rows = json_object_get(result, "destinations");

    for (size_t i = 0; t != NULL && i < t->destination_count; i++) {
        json_t *row = json_array_get(rows, i);
        struct tg_error err = {""};
        struct waiting w = {0};
        char at[TG_RFC3339_BYTES];
        bool known;

        if (read_waiting(ctx, t->destinations[i].index, &w, &err) != 0) {
            tg_log(TG_LOG_ERROR, "api", "destination %s: %s", t->destinations[i].id, err.text);
            return -1;
        }
        known = w.oldest_ms > 0 && tg_rfc3339_format(w.oldest_ms, at, sizeof(at)) == 0;
        if (json_object_set_new(row, "open", json_integer((json_int_t)w.open)) != 0 ||
            json_object_set_new(row, "oldest_open_since", known ? json_string(at) : json_null()) !=
                0) {
            return -1;
        }
    }
    return 0;
}

/* This call takes none. False: the reply says so. */
static bool takes_no_parameters(const struct tg_api_request *rq, struct tg_reply *out)
{
    static const char *const names[] = {NULL};
    struct tg_str values[1];
    struct tg_error err = {""};

    if (tg_params_read(rq->args, rq->arg_count, rq->args_cut, names, values, &err) == 0) {
        return true;
    }
    tg_reply_problem(out, TG_PROBLEM_QUERY_INVALID, rq->correlation_id, "%s", err.text);
    return false;
}

void tg_api_ops_destinations(struct tg_api_context *ctx, const struct tg_api_request *rq,
                             struct tg_reply *out)
{
    struct tg_control *c = tg_api_may(rq, TG_API_READ_SCOPE, out) && takes_no_parameters(rq, out)
                               ? tg_ops_control(rq, TG_CONTROL_DESTINATIONS, out)
                               : NULL;

    if (c == NULL) {
        return;
    }
    if (tg_control_call(ctx->options->controls, c, TG_CONTROL_WAIT_MS) != TG_CONTROL_ANSWERED) {
        tg_reply_problem(out, TG_PROBLEM_UNAVAILABLE, rq->correlation_id,
                         "the process is busy or stops; try again");
    } else if (c->refused) {
        tg_reply_problem(out, c->problem, rq->correlation_id, "%s", c->detail);
    } else if (add_waiting(ctx, rq, c->result) != 0) {
        tg_reply_problem(out, TG_PROBLEM_UNAVAILABLE, rq->correlation_id,
                         "the journal does not answer now; try again later");
    } else {
        tg_reply_json(out, 200, json_incref(c->result), rq->correlation_id);
    }
    tg_control_drop(c);
}

bool tg_ops_is_text(const json_t *value, size_t max)
{
    const struct tg_str text = {(const unsigned char *)json_string_value(value),
                                json_string_length(value)};
    size_t blanks = 0;

    while (blanks < text.len && text.data[blanks] == ' ') {
        blanks++;
    }
    return value == NULL || (tg_str_is_line(text, max) && blanks < text.len);
}

/* {"reason": "..."} or nothing. False: the reply says what is wrong. */
static bool read_reason(const struct tg_api_request *rq, struct tg_control *c, struct tg_reply *out)
{
    json_error_t why;
    const json_t *reason;

    if (rq->body.len == 0) {
        return true;
    }
    c->body = json_loadb((const char *)rq->body.data, rq->body.len, JSON_REJECT_DUPLICATES, &why);
    if (!json_is_object(c->body)) {
        tg_reply_problem(out, TG_PROBLEM_BODY_INVALID, rq->correlation_id,
                         "the body is not one JSON object: send {\"reason\": \"...\"}, or nothing");
        return false;
    }
    reason = json_object_get(c->body, "reason");
    if (json_object_size(c->body) != (reason != NULL ? 1 : 0) ||
        !tg_ops_is_text(reason, TG_REASON_MAX_BYTES)) {
        tg_reply_problem(out, TG_PROBLEM_BODY_INVALID, rq->correlation_id,
                         "the only member taken is `reason`, one line of 1 to %d bytes that is "
                         "not blank",
                         TG_REASON_MAX_BYTES);
        return false;
    }
    (void)tg_str_copy(tg_str_of(json_string_value(reason)), c->reason, sizeof(c->reason));
    return true;
}

static void change_destination(struct tg_api_context *ctx, const struct tg_api_request *rq,
                               enum tg_control_kind kind, struct tg_reply *out)
{
    struct tg_control *c =
        tg_api_may(rq, TG_API_WRITE_SCOPE, out) ? tg_ops_control(rq, kind, out) : NULL;

    if (c == NULL) {
        return;
    }
    if (!tg_str_copy(rq->rest, c->name, sizeof(c->name))) {
        tg_reply_problem(out, TG_PROBLEM_NOT_FOUND, rq->correlation_id,
                         "this tenant has no destination of that name");
        tg_control_drop(c);
        return;
    }
    if (read_reason(rq, c, out) && tg_ops_call(ctx, rq, c, out)) {
        tg_reply_json(out, 200, json_incref(c->result), rq->correlation_id);
    }
    tg_control_drop(c);
}

void tg_api_ops_pause(struct tg_api_context *ctx, const struct tg_api_request *rq,
                      struct tg_reply *out)
{
    change_destination(ctx, rq, TG_CONTROL_PAUSE, out);
}

void tg_api_ops_resume(struct tg_api_context *ctx, const struct tg_api_request *rq,
                       struct tg_reply *out)
{
    change_destination(ctx, rq, TG_CONTROL_RESUME, out);
}
