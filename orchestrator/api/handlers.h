/*
 * handlers.h: what api.c (HTTP) and the handlers (answers) share. Handlers know no HTTP library: a
 * request comes in as views, a reply goes out as a status and text, so tests can call them alone.
 *
 * Ownership: a request's views belong to the caller and live as long as the call. A reply's body
 * is malloc'ed text that the caller takes; tg_reply_clear frees one that nobody took.
 */
#ifndef TG_API_HANDLERS_H
#define TG_API_HANDLERS_H

#include <jansson.h>

#include "api/api.h"
#include "api/context.h"
#include "api/params.h"
#include "common/problem.h"

struct tg_api_request {
    struct tg_str rest;           /* of the path: between the route's prefix and its suffix */
    struct tg_str tenant;         /* X-Tally-Tenant; empty when not sent */
    struct tg_str client;         /* X-Tally-Client; empty when not sent */
    struct tg_str scope;          /* X-Tally-Scope: names between blanks */
    struct tg_str correlation_id; /* X-Correlation-ID; empty when not sent or not printable */
    struct tg_str content_type;
    struct tg_str source;                    /* ?source= */
    struct tg_api_arg args[TG_API_ARGS_MAX]; /* of the query, percent-decoded */
    size_t arg_count;
    bool args_cut; /* there were more */
    struct tg_str body;
};

struct tg_reply {
    unsigned status;
    const char *content_type; /* static */
    char *body;               /* malloc'ed, len bytes */
    size_t len;
};

typedef void (*tg_api_handler)(struct tg_api_context *ctx, const struct tg_api_request *rq,
                               struct tg_reply *out);

void tg_api_validate_time_entries(struct tg_api_context *ctx, const struct tg_api_request *rq,
                                  struct tg_reply *out);
void tg_api_event_status(struct tg_api_context *ctx, const struct tg_api_request *rq,
                         struct tg_reply *out);
void tg_api_ops_destinations(struct tg_api_context *ctx, const struct tg_api_request *rq,
                             struct tg_reply *out);
void tg_api_ops_pause(struct tg_api_context *ctx, const struct tg_api_request *rq,
                      struct tg_reply *out);
void tg_api_ops_resume(struct tg_api_context *ctx, const struct tg_api_request *rq,
                       struct tg_reply *out);
void tg_api_ops_summary(struct tg_api_context *ctx, const struct tg_api_request *rq,
                        struct tg_reply *out);
void tg_api_ops_kpis(struct tg_api_context *ctx, const struct tg_api_request *rq,
                     struct tg_reply *out);
void tg_api_ops_exceptions(struct tg_api_context *ctx, const struct tg_api_request *rq,
                           struct tg_reply *out);
void tg_api_ops_exception(struct tg_api_context *ctx, const struct tg_api_request *rq,
                          struct tg_reply *out);
void tg_api_ops_assign(struct tg_api_context *ctx, const struct tg_api_request *rq,
                       struct tg_reply *out);
void tg_api_ops_replay(struct tg_api_context *ctx, const struct tg_api_request *rq,
                       struct tg_reply *out);
void tg_api_ops_resolve(struct tg_api_context *ctx, const struct tg_api_request *rq,
                        struct tg_reply *out);
void tg_api_ops_discard(struct tg_api_context *ctx, const struct tg_api_request *rq,
                        struct tg_reply *out);
void tg_api_ops_edit(struct tg_api_context *ctx, const struct tg_api_request *rq,
                     struct tg_reply *out);
void tg_api_ops_approvals(struct tg_api_context *ctx, const struct tg_api_request *rq,
                          struct tg_reply *out);
void tg_api_ops_approve(struct tg_api_context *ctx, const struct tg_api_request *rq,
                        struct tg_reply *out);
void tg_api_ops_postings(struct tg_api_context *ctx, const struct tg_api_request *rq,
                         struct tg_reply *out);
void tg_api_ops_posting(struct tg_api_context *ctx, const struct tg_api_request *rq,
                        struct tg_reply *out);
void tg_api_ops_audit(struct tg_api_context *ctx, const struct tg_api_request *rq,
                      struct tg_reply *out);
void tg_api_ops_reconciliation(struct tg_api_context *ctx, const struct tg_api_request *rq,
                               struct tg_reply *out);
void tg_api_ops_replays(struct tg_api_context *ctx, const struct tg_api_request *rq,
                        struct tg_reply *out);
void tg_api_ops_replay_status(struct tg_api_context *ctx, const struct tg_api_request *rq,
                              struct tg_reply *out);
void tg_api_healthz(struct tg_api_context *ctx, const struct tg_api_request *rq,
                    struct tg_reply *out);
void tg_api_readyz(struct tg_api_context *ctx, const struct tg_api_request *rq,
                   struct tg_reply *out);
void tg_api_metrics(struct tg_api_context *ctx, const struct tg_api_request *rq,
                    struct tg_reply *out);

/* Does the token have the scope? NGINX asks too; a location that forgot to is caught here. False:
 * the reply is made. */
#define TG_API_READ_SCOPE "ops:read"
#define TG_API_WRITE_SCOPE "ops:write"
bool tg_api_may(const struct tg_api_request *rq, const char *scope, struct tg_reply *out);

/* application/problem+json (common/problem.h). detail "" when there is none. */
void tg_reply_problem(struct tg_reply *out, enum tg_problem_code code, struct tg_str correlation_id,
                      const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* Takes the reference. NULL, or JSON that cannot be written, becomes problem `internal`. */
void tg_reply_json(struct tg_reply *out, unsigned status, json_t *json,
                   struct tg_str correlation_id);
void tg_reply_clear(struct tg_reply *out);

#endif
