
/*
 * Answers of the edge: problem documents (RFC 9457) with the headers that
 * belong to them, and the 202.  They do not pass through error_page.
 */


#include "ngx_http_tally.h"


static void ngx_http_tally_problem_status(ngx_str_t *body,
    ngx_uint_t status);
static ngx_int_t ngx_http_tally_violated(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx, ngx_str_t *extra);
static ngx_int_t ngx_http_tally_scope_list(ngx_http_request_t *r,
    ngx_str_t *list);
static ngx_int_t ngx_http_tally_refusal_headers(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx, enum tg_problem_code code, ngx_uint_t status);
static int64_t ngx_http_tally_retry_after(ngx_http_tally_ctx_t *ctx,
    enum tg_problem_code code, ngx_uint_t status);
static ngx_int_t ngx_http_tally_rate_headers(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx, ngx_http_tally_rate_t *rate, ngx_uint_t n);
static ngx_uint_t ngx_http_tally_out_header(ngx_http_request_t *r,
    const char *key, u_char *keep);
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

    len = sizeof("/v1/events/") + sizeof("{\"id\":\"\",\"status\":\"accepted\"}")
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


ngx_int_t
ngx_http_tally_challenge(ngx_http_request_t *r, ngx_http_tally_ctx_t *ctx,
    enum tg_problem_code code, ngx_str_t *detail)
{
    u_char           *p, *text;
    size_t            i;
    ngx_str_t         scope;
    const char       *error;
    ngx_table_elt_t  *h;

    ngx_str_null(&scope);

    switch (code) {

    case TG_PROBLEM_TOKEN_MISSING:
    case TG_PROBLEM_SIGNATURE_INVALID:
        error = NULL;
        break;

    case TG_PROBLEM_TOKEN_INVALID:
        error = "invalid_token";
        break;

    case TG_PROBLEM_TOKEN_MALFORMED:
        error = "invalid_request";
        break;

    case TG_PROBLEM_SCOPE_INSUFFICIENT:
        error = "insufficient_scope";

        if (ngx_http_tally_scope_list(r, &scope) != NGX_OK) {
            return NGX_ERROR;
        }

        break;

    default:
        return NGX_OK;
    }

    text = ngx_pnalloc(r->pool, 128 + detail->len + scope.len);
    h = ngx_list_push(&r->headers_out.headers);

    if (text == NULL || h == NULL) {
        return NGX_ERROR;
    }

    p = text;

    if (code == TG_PROBLEM_SIGNATURE_INVALID) {
        p = ngx_sprintf(p, "Webhook-Signature");

    } else {
        p = ngx_sprintf(p, "Bearer");
    }

    if (error) {
        p = ngx_sprintf(p, " error=\"%s\", error_description=\"", error);

        for (i = 0; i < detail->len; i++) {
            /* what RFC 6750 section 3 allows in it */
            *p++ = (detail->data[i] == '"' || detail->data[i] == '\\'
                    || detail->data[i] < 0x20 || detail->data[i] > 0x7e)
                   ? '\'' : detail->data[i];
        }

        *p++ = '"';
    }

    if (scope.len) {
        p = ngx_sprintf(p, ", scope=\"%V\"", &scope);
    }

    ngx_memzero(h, sizeof(ngx_table_elt_t));

    h->hash = 1;
    ngx_str_set(&h->key, "WWW-Authenticate");
    h->lowcase_key = (u_char *) "www-authenticate";
    h->value.data = text;
    h->value.len = (size_t) (p - text);
#if (nginx_version >= 1023000)
    h->next = NULL;
#endif

    r->headers_out.www_authenticate = h;

    return NGX_OK;
}


/* the scopes of the rules for this method, in the order they stand */

static ngx_int_t
ngx_http_tally_scope_list(ngx_http_request_t *r, ngx_str_t *list)
{
    u_char                       *p;
    size_t                        len, j;
    ngx_uint_t                    i;
    ngx_http_tally_loc_conf_t    *lcf;
    ngx_http_tally_scope_rule_t  *rule;

    lcf = ngx_http_get_module_loc_conf(r, ngx_http_tally_module);

    if (lcf->scopes == NULL) {
        return NGX_OK;
    }

    rule = lcf->scopes->elts;
    len = 0;

    for (i = 0; i < lcf->scopes->nelts; i++) {
        for (j = 0; j < rule[i].count; j++) {
            len += rule[i].scopes[j].len + 1;
        }
    }

    p = ngx_pnalloc(r->pool, len + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    list->data = p;

    for (i = 0; i < lcf->scopes->nelts; i++) {

        if (!ngx_http_tally_scope_applies(r, &rule[i])) {
            continue;
        }

        for (j = 0; j < rule[i].count; j++) {
            p = ngx_cpymem(p, rule[i].scopes[j].data, rule[i].scopes[j].len);
            *p++ = ' ';
        }
    }

    list->len = (size_t) (p - list->data);

    if (list->len) {
        list->len--;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_tally_refusal_headers(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx, enum tg_problem_code code, ngx_uint_t status)
{
    int64_t     seconds;
    ngx_str_t   value;

    ngx_str_set(&value, "no-store");

    if (ngx_http_tally_push_header(r, "Cache-Control", &value) != NGX_OK) {
        return NGX_ERROR;
    }

    if (code == TG_PROBLEM_METHOD_NOT_ALLOWED) {

        if (r->content_handler == ngx_http_tally_metrics_handler) {
            ngx_str_set(&value, "GET, HEAD");

        } else {
            ngx_str_set(&value, "POST");
        }

        if (ngx_http_tally_push_header(r, "Allow", &value) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    seconds = ngx_http_tally_retry_after(ctx, code, status);

    if (seconds) {
        value.data = ngx_pnalloc(r->pool, NGX_INT64_LEN);
        if (value.data == NULL) {
            return NGX_ERROR;
        }

        value.len = (size_t) (ngx_sprintf(value.data, "%L", seconds)
                              - value.data);

        if (ngx_http_tally_push_header(r, "Retry-After", &value) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return ngx_http_tally_add_headers(r, ctx);
}


/* seconds, never early; 0: none, also when waiting would not help */

static int64_t
ngx_http_tally_retry_after(ngx_http_tally_ctx_t *ctx,
    enum tg_problem_code code, ngx_uint_t status)
{
    size_t   i;
    int64_t  us;

    if (code != TG_PROBLEM_RATE_LIMITED) {
        return (status == NGX_HTTP_SERVICE_UNAVAILABLE
                || code == TG_PROBLEM_IDEMPOTENCY_IN_FLIGHT)
               ? NGX_HTTP_TALLY_RETRY_AFTER_S : 0;
    }

    us = 1;

    for (i = 0; i < ctx->reply.rate_count; i++) {

        if (!(ctx->reply.violated & (1U << i))) {
            continue;
        }

        if (ctx->reply.rates[i].retry_after_us < 0) {
            /* the cost is over the capacity: it never passes */
            return 0;
        }

        us = ngx_max(us, ctx->reply.rates[i].retry_after_us);
    }

    return tg_rate_seconds_up(us);
}


ngx_int_t
ngx_http_tally_add_headers(ngx_http_request_t *r, ngx_http_tally_ctx_t *ctx)
{
    ngx_http_tally_loc_conf_t  *lcf;

    /* an upstream's own goes: one request has one id */

    if (!ngx_http_tally_out_header(r, "X-Correlation-ID",
                                   ctx->correlation_id.data)
        && ngx_http_tally_push_header(r, "X-Correlation-ID",
                                      &ctx->correlation_id)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    lcf = ngx_http_get_module_loc_conf(r, ngx_http_tally_module);

    if (ctx->outcome != NGX_HTTP_TALLY_OP_REPLY
        || lcf->rates == NULL
        || ctx->reply.rate_count == 0
        || ctx->reply.rate_count != lcf->rates->nelts
        || ngx_http_tally_out_header(r, "RateLimit-Policy", NULL))
    {
        return NGX_OK;
    }

    return ngx_http_tally_rate_headers(r, ctx, lcf->rates->elts,
                                       lcf->rates->nelts);
}


/* draft-ietf-httpapi-ratelimit-headers-10: lists of items with parameters */

static ngx_int_t
ngx_http_tally_rate_headers(ngx_http_request_t *r, ngx_http_tally_ctx_t *ctx,
    ngx_http_tally_rate_t *rate, ngx_uint_t n)
{
    u_char                *p, *q;
    size_t                 len;
    int64_t                left, reset;
    ngx_str_t              policy, limit;
    ngx_uint_t             i;
    struct tg_rate_state  *state;

    len = 0;

    for (i = 0; i < n; i++) {
        len += rate[i].name.len + sizeof("\"\";q=;w=, ") + 2 * NGX_INT64_LEN;
    }

    policy.data = ngx_pnalloc(r->pool, 2 * len);
    if (policy.data == NULL) {
        return NGX_ERROR;
    }

    limit.data = policy.data + len;
    p = policy.data;
    q = limit.data;

    for (i = 0; i < n; i++) {
        state = &ctx->reply.rates[i];

        left = ngx_max(state->remaining, 0);
        reset = (state->reset_us > 0) ? tg_rate_seconds_up(state->reset_us)
                                      : 0;

        p = ngx_sprintf(p, "%s\"%V\";q=%L;w=%L", i ? ", " : "",
                        &rate[i].name, rate[i].rate.capacity,
                        tg_rate_window_s(&rate[i].rate));

        q = ngx_sprintf(q, "%s\"%V\";r=%L;t=%L", i ? ", " : "",
                        &rate[i].name, left, reset);
    }

    policy.len = (size_t) (p - policy.data);
    limit.len = (size_t) (q - limit.data);

    if (ngx_http_tally_push_header(r, "RateLimit-Policy", &policy) != NGX_OK
        || ngx_http_tally_push_header(r, "RateLimit", &limit) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/*
 * Is there such a response header?  With keep, only the one whose value is at
 * keep counts, and the others are taken off.
 */

static ngx_uint_t
ngx_http_tally_out_header(ngx_http_request_t *r, const char *key,
    u_char *keep)
{
    size_t            len;
    ngx_uint_t        i, found;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    len = ngx_strlen(key);
    found = 0;

    part = &r->headers_out.headers.part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                break;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (h[i].hash == 0 || h[i].key.len != len
            || ngx_strncasecmp(h[i].key.data, (u_char *) key, len) != 0)
        {
            continue;
        }

        if (keep && h[i].value.data != keep) {
            h[i].hash = 0;
            continue;
        }

        found = 1;
    }

    return found;
}


ngx_int_t
ngx_http_tally_push_header(ngx_http_request_t *r, const char *key,
    ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(h, sizeof(ngx_table_elt_t));

    h->hash = 1;
    h->key.data = (u_char *) key;
    h->key.len = ngx_strlen(key);
    h->value = *value;
#if (nginx_version >= 1023000)
    h->next = NULL;
#endif

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
