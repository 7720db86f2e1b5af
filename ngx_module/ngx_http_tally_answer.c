
/*
 * Answers of the edge: problem documents (RFC 9457) with the headers that
 * belong to them, and the 202.  They do not pass through error_page.
 */


#include "ngx_http_tally.h"


static void ngx_http_tally_problem_status(ngx_str_t *body,
    ngx_uint_t status);
static ngx_int_t ngx_http_tally_violated(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx, ngx_str_t *extra);
static ngx_int_t ngx_http_tally_send(ngx_http_request_t *r,
    ngx_uint_t status, ngx_str_t *type, ngx_str_t *body);


ngx_int_t
ngx_http_tally_refuse(ngx_http_request_t *r, ngx_http_tally_ctx_t *ctx,
    enum tg_problem_code code, ngx_uint_t status, ngx_str_t *detail)
{
    ngx_str_t  body, none;

    static ngx_str_t  type = ngx_string("application/problem+json");

    ngx_str_null(&none);

    if (status == 0) {
        status = tg_problem_of(code)->status;
    }

    if (detail == NULL) {
        detail = &none;
    }

    ctx->state = NGX_HTTP_TALLY_ANSWERED;
    ctx->answered = 1;

    ngx_http_tally_note_refusal(r, ctx, code, status, detail);

    if (ngx_http_tally_problem(r, ctx, code, detail, &body) != NGX_OK
        || ngx_http_tally_challenge(r, ctx, code, detail) != NGX_OK
        || ngx_http_tally_refusal_headers(r, ctx, code, status) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_http_tally_problem_status(&body, status);

    return ngx_http_tally_send(r, status, &type, &body);
}


ngx_int_t
ngx_http_tally_accept(ngx_http_request_t *r, ngx_http_tally_ctx_t *ctx)
{
    u_char      *p;
    size_t       len;
    ngx_str_t    body, location, yes, no_store;
    ngx_uint_t   replay;

    static ngx_str_t  type = ngx_string("application/json");

    ctx->state = NGX_HTTP_TALLY_ANSWERED;
    ctx->answered = 1;
    replay = (ctx->reply.verdict == TG_VERDICT_REPLAY);

    ngx_str_set(&ctx->decision, "accepted");

    if (replay) {
        ngx_str_set(&ctx->reason, "replay");
        ngx_http_tally_count(NGX_HTTP_TALLY_METRIC_REPLAYED);

    } else {
        ngx_str_set(&ctx->reason, "accepted");
        ngx_http_tally_count(NGX_HTTP_TALLY_METRIC_ACCEPTED);
    }

    len = sizeof("/v1/events/")
          + sizeof("{\"id\":\"\",\"status\":\"accepted\"}")
          + 2 * ctx->reply.event_id_len;

    p = ngx_pnalloc(r->pool, len);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    location.data = p;
    p = ngx_sprintf(p, "/v1/events/%*s", ctx->reply.event_id_len,
                    ctx->reply.event_id);
    location.len = (size_t) (p - location.data);

    body.data = p;
    p = ngx_sprintf(p, "{\"id\":\"%*s\",\"status\":\"accepted\"}",
                    ctx->reply.event_id_len, ctx->reply.event_id);
    body.len = (size_t) (p - body.data);

    ngx_str_set(&yes, "true");
    ngx_str_set(&no_store, "no-store");

    /* not r->headers_out.location: NGINX would make it absolute */

    if (ngx_http_tally_push_header(r, "Location", &location) != NGX_OK
        || ngx_http_tally_push_header(r, "Cache-Control", &no_store)
           != NGX_OK
        || (replay
            && ngx_http_tally_push_header(r, "Idempotent-Replayed", &yes)
               != NGX_OK)
        || ngx_http_tally_add_headers(r, ctx) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_tally_send(r, NGX_HTTP_ACCEPTED, &type, &body);
}


void
ngx_http_tally_note_refusal(ngx_http_request_t *r, ngx_http_tally_ctx_t *ctx,
    enum tg_problem_code code, ngx_uint_t status, ngx_str_t *detail)
{
    const struct tg_problem  *problem;

    problem = tg_problem_of(code);

    if (status < NGX_HTTP_INTERNAL_SERVER_ERROR) {
        ngx_str_set(&ctx->decision, "refused");

    } else {
        ngx_str_set(&ctx->decision, "error");
    }

    ctx->reason.data = (u_char *) problem->code;
    ctx->reason.len = ngx_strlen(problem->code);

    ngx_http_tally_count_refused(code);

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "tally refused: %ui %V, tenant \"%V\", client \"%V\", "
                  "correlation \"%V\": %V",
                  status, &ctx->reason, &ctx->tenant, &ctx->client,
                  &ctx->correlation_id, detail);
}


ngx_int_t
ngx_http_tally_problem(ngx_http_request_t *r, ngx_http_tally_ctx_t *ctx,
    enum tg_problem_code code, ngx_str_t *detail, ngx_str_t *body)
{
    ngx_str_t      extra;
    struct tg_str  none;

    ngx_str_null(&extra);

    if (code == TG_PROBLEM_RATE_LIMITED
        && ngx_http_tally_violated(r, ctx, &extra) != NGX_OK)
    {
        return NGX_ERROR;
    }

    body->data = ngx_pnalloc(r->pool, NGX_HTTP_TALLY_PROBLEM_MAX);
    if (body->data == NULL) {
        return NGX_ERROR;
    }

    body->len = tg_problem_write(code, ngx_http_tally_tg(detail),
                                 ngx_http_tally_tg(&ctx->correlation_id),
                                 ngx_http_tally_tg(&extra),
                                 (char *) body->data,
                                 NGX_HTTP_TALLY_PROBLEM_MAX);

    if (body->len) {
        return NGX_OK;
    }

    /* a detail that grew over the limit when it was escaped */

    none = tg_str_of(NULL);

    body->len = tg_problem_write(code, none,
                                 ngx_http_tally_tg(&ctx->correlation_id),
                                 none, (char *) body->data,
                                 NGX_HTTP_TALLY_PROBLEM_MAX);

    return body->len ? NGX_OK : NGX_ERROR;
}


/*
 * tally_signature failure= may choose another status than the table's, and
 * the document says the same (RFC 9457, section 3.1.2).
 */

static void
ngx_http_tally_problem_status(ngx_str_t *body, ngx_uint_t status)
{
    u_char  *p;

    p = ngx_strnstr(body->data, "\"status\":", body->len);

    if (p == NULL || status < 100 || status > 999) {
        return;
    }

    p += sizeof("\"status\":") - 1;

    (void) ngx_sprintf(p, "%3ui", status);
}


/* "violated-policies":["minute","day"] */

static ngx_int_t
ngx_http_tally_violated(ngx_http_request_t *r, ngx_http_tally_ctx_t *ctx,
    ngx_str_t *extra)
{
    u_char                     *p;
    size_t                      len;
    ngx_uint_t                  i;
    ngx_http_tally_rate_t      *rate;
    ngx_http_tally_loc_conf_t  *lcf;

    lcf = ngx_http_get_module_loc_conf(r, ngx_http_tally_module);

    if (lcf->rates == NULL) {
        return NGX_OK;
    }

    rate = lcf->rates->elts;
    len = sizeof("\"violated-policies\":[]");

    for (i = 0; i < lcf->rates->nelts; i++) {
        len += rate[i].name.len + sizeof("\"\",") - 1;
    }

    p = ngx_pnalloc(r->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    extra->data = p;
    p = ngx_sprintf(p, "\"violated-policies\":[");

    for (i = 0; i < lcf->rates->nelts; i++) {
        if (ctx->reply.violated & (1U << i)) {
            p = ngx_sprintf(p, "\"%V\",", &rate[i].name);
        }
    }

    if (p[-1] == ',') {
        p--;
    }

    *p++ = ']';
    extra->len = (size_t) (p - extra->data);

    return NGX_OK;
}


static ngx_int_t
ngx_http_tally_send(ngx_http_request_t *r, ngx_uint_t status,
    ngx_str_t *type, ngx_str_t *body)
{
    ngx_http_complex_value_t  cv;

    ngx_memzero(&cv, sizeof(ngx_http_complex_value_t));
    cv.value = *body;

    /* what an upstream or an earlier handler left behind */

    r->headers_out.status_line.len = 0;
    r->headers_out.content_type_lowcase = NULL;
    ngx_http_clear_content_length(r);
    ngx_http_clear_last_modified(r);
    ngx_http_clear_etag(r);
    ngx_http_clear_accept_ranges(r);

    return ngx_http_send_response(r, status, type, &cv);
}
