/*
 * ops_exceptions.c: POST /v1/ops/exceptions/{id}/{assign,replay,resolve,discard,edit}. The bodies
 * are checked here; what may be done is decided on the loop (dispatch/people.h, intake/again.h).
 * The answer is the exception as it is on disk afterwards.
 */
#include <string.h>

#include "api/ops_call.h"
#include "api/rows.h"
#include "common/codec.h"
#include "common/log.h"
#include "journal/query.h"

#define MEMBERS_MAX 4

/* What the body of one verb may hold; the first `required` of the members must be there. */
struct shape {
    enum tg_control_kind kind;
    size_t required;
    const char *members[MEMBERS_MAX];
    const char *example;
};

static const struct shape assign_shape = {
    TG_CONTROL_ASSIGN, 1, {"assignee", "reason"}, "{\"assignee\": \"...\"}"};
static const struct shape replay_shape = {
    TG_CONTROL_REPLAY, 0, {"reason"}, "{\"reason\": \"...\"}, or nothing"};
static const struct shape discard_shape = {
    TG_CONTROL_DISCARD, 1, {"reason"}, "{\"reason\": \"...\"}"};
static const struct shape resolve_shape = {
    TG_CONTROL_RESOLVE,
    1,
    {"outcome", "reference", "reason"},
    "{\"outcome\": \"posted\", \"reference\": \"...\"} or {\"outcome\": \"absent\"}"};
static const struct shape edit_shape = {
    TG_CONTROL_EDIT, 1, {"content", "period", "reason"}, "{\"content\": {...}}"};

static bool refuse(struct tg_reply *out, const struct tg_api_request *rq, const char *what,
                   const struct shape *s)
{
    tg_reply_problem(out, TG_PROBLEM_BODY_INVALID, rq->correlation_id, "%s; send %s", what,
                     s->example);
    return false;
}

static bool is_member(const struct shape *s, const char *name)
{
    for (size_t i = 0; i < MEMBERS_MAX && s->members[i] != NULL; i++) {
        if (strcmp(s->members[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static const char *text_of(const json_t *body, const char *name)
{
    return json_string_value(json_object_get(body, name));
}

static bool is_text(const json_t *body, const char *name, size_t max)
{
    return tg_ops_is_text(json_object_get(body, name), max);
}

static const char *fault_of_resolve(const json_t *body)
{
    const char *outcome = text_of(body, "outcome");
    const bool posted = outcome != NULL && strcmp(outcome, "posted") == 0;

    if (!posted && (outcome == NULL || strcmp(outcome, "absent") != 0)) {
        return "`outcome` is `posted` or `absent`";
    }
    if (posted != (json_object_get(body, "reference") != NULL)) {
        return "`reference` is the destination's own, of what is posted there, and of nothing else";
    }
    return NULL;
}

/* What is wrong with the body, static or in text; NULL: nothing. */
static const char *fault_of(const struct shape *s, const json_t *body, struct tg_error *text)
{
    const json_t *period = json_object_get(body, "period");
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)body, name, value)
    {
        if (!is_member(s, name)) {
            return "the body has a member that is not taken";
        }
    }
    for (size_t i = 0; i < s->required; i++) {
        if (json_object_get(body, s->members[i]) == NULL) {
            (void)tg_error_set(text, "the member `%s` is missing", s->members[i]);
            return text->text;
        }
    }
    if (!is_text(body, "reason", TG_REASON_MAX_BYTES) ||
        !is_text(body, "assignee", TG_CLIENT_MAX_BYTES) ||
        !is_text(body, "reference", TG_CONNECT_REF_MAX_BYTES)) {
        return "`reason`, `assignee` and `reference` are one line each, not blank, and not too "
               "long";
    }
    if (period != NULL &&
        (!json_is_string(period) ||
         !tg_str_is_name(tg_str_of(text_of(body, "period")), TG_SOURCE_NAME_MAX_BYTES))) {
        return "`period` is the name of a period";
    }
    if (s->kind == TG_CONTROL_EDIT && !json_is_object(json_object_get(body, "content"))) {
        return "`content` is one JSON object: the posting's payload, or the whole event";
    }
    return s->kind == TG_CONTROL_RESOLVE ? fault_of_resolve(body) : NULL;
}

/* False: the reply says what is wrong. */
static bool read_body(const struct tg_api_request *rq, const struct shape *s, struct tg_control *c,
                      struct tg_reply *out)
{
    struct tg_error text;
    const char *fault;

    c->body = rq->body.len == 0 ? json_object()
                                : json_loadb((const char *)rq->body.data, rq->body.len,
                                             JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(c->body)) {
        return refuse(out, rq, "the body is not one JSON object", s);
    }
    fault = fault_of(s, c->body, &text);
    if (fault != NULL) {
        return refuse(out, rq, fault, s);
    }
    if (text_of(c->body, "reason") != NULL) {
        (void)tg_str_copy(tg_str_of(text_of(c->body, "reason")), c->reason, sizeof(c->reason));
    }
    return true;
}

/* ---- the answer ---- */

struct shown {
    const struct tg_catalogue *catalogue;
    json_t *json;
};

static bool on_exception(void *arg, const struct tg_row_exception *row)
{
    struct shown *s = arg;

    s->json = tg_exception_json(s->catalogue, row);
    return false;
}

static bool on_made(void *arg, const struct tg_row_posting *row)
{
    *(json_t **)arg = tg_json_key(row->key);
    return false;
}

/* The row, `changed`, `message`, and of an edit the key of the posting that was made. */
static json_t *outcome_json(struct tg_api_context *ctx, const struct tg_control *c,
                            struct tg_error *err)
{
    struct tg_reader *r = tg_api_context_reader(ctx, err);
    struct shown s = {.catalogue = ctx->options->catalogue};
    const json_int_t made = json_integer_value(json_object_get(c->result, "made"));
    json_t *key = NULL;

    if (r == NULL || tg_reader_exception(r, c->id, on_exception, &s, err) != 0 ||
        (made != 0 && tg_reader_posting(r, made, on_made, &key, err) != 0)) {
        json_decref(s.json);
        tg_api_context_drop_reader(ctx);
        return NULL;
    }
    if (s.json == NULL ||
        json_object_set(s.json, "changed", json_object_get(c->result, "changed")) != 0 ||
        json_object_set(s.json, "message", json_object_get(c->result, "message")) != 0 ||
        json_object_set_new(s.json, "made", key != NULL ? key : json_null()) != 0) {
        json_decref(s.json);
        return NULL;
    }
    return s.json;
}

static void do_verb(struct tg_api_context *ctx, const struct tg_api_request *rq,
                    const struct shape *s, struct tg_reply *out)
{
    struct tg_control *c =
        tg_api_may(rq, TG_API_WRITE_SCOPE, out) ? tg_ops_control(rq, s->kind, out) : NULL;
    struct tg_error err = {""};
    json_t *json;

    if (c == NULL) {
        return;
    }
    if (!tg_str_to_i64(rq->rest, &c->id) || c->id <= 0) {
        tg_reply_problem(out, TG_PROBLEM_NOT_FOUND, rq->correlation_id,
                         "this tenant has no exception of that number");
    } else if (read_body(rq, s, c, out) && tg_ops_call(ctx, rq, c, out)) {
        if (json_object_get(c->result, "approval") != NULL) { /* nothing was done yet */
            tg_reply_json(out, 202, json_incref(c->result), rq->correlation_id);
            tg_control_drop(c);
            return;
        }
        json = outcome_json(ctx, c, &err);
        if (json == NULL) {
            tg_log(TG_LOG_ERROR, "api", "exception: %s", err.text);
        }
        tg_reply_json(out, 200, json, rq->correlation_id);
    }
    tg_control_drop(c);
}

void tg_api_ops_assign(struct tg_api_context *ctx, const struct tg_api_request *rq,
                       struct tg_reply *out)
{
    do_verb(ctx, rq, &assign_shape, out);
}

void tg_api_ops_replay(struct tg_api_context *ctx, const struct tg_api_request *rq,
                       struct tg_reply *out)
{
    do_verb(ctx, rq, &replay_shape, out);
}

void tg_api_ops_resolve(struct tg_api_context *ctx, const struct tg_api_request *rq,
                        struct tg_reply *out)
{
    do_verb(ctx, rq, &resolve_shape, out);
}

void tg_api_ops_discard(struct tg_api_context *ctx, const struct tg_api_request *rq,
                        struct tg_reply *out)
{
    do_verb(ctx, rq, &discard_shape, out);
}

void tg_api_ops_edit(struct tg_api_context *ctx, const struct tg_api_request *rq,
                     struct tg_reply *out)
{
    do_verb(ctx, rq, &edit_shape, out);
}
