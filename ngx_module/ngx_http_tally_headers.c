
/*
 * Headers of answers: WWW-Authenticate (RFC 6750), RateLimit and
 * RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-10), Retry-After,
 * Allow, X-Correlation-ID.
 */


#include "ngx_http_tally.h"


static ngx_int_t ngx_http_tally_bearer_error(ngx_http_request_t *r,
    const char *error, ngx_str_t *detail, ngx_str_t *scope,
    ngx_str_t *value);
static ngx_int_t ngx_http_tally_scope_list(ngx_http_request_t *r,
    ngx_str_t *list);
static int64_t ngx_http_tally_retry_after(ngx_http_tally_ctx_t *ctx,
    enum tg_problem_code code, ngx_uint_t status);
static ngx_int_t ngx_http_tally_rate_headers(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx, ngx_http_tally_rate_t *rate, ngx_uint_t n);
static ngx_uint_t ngx_http_tally_out_header(ngx_http_request_t *r,
    const char *key, u_char *keep);


ngx_int_t
ngx_http_tally_challenge(ngx_http_request_t *r, ngx_http_tally_ctx_t *ctx,
    enum tg_problem_code code, ngx_str_t *detail)
{
    ngx_str_t         scope, value;
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

    if (code == TG_PROBLEM_SIGNATURE_INVALID) {
        ngx_str_set(&value, "Webhook-Signature");

    } else if (error == NULL) {
        ngx_str_set(&value, "Bearer");

    } else if (ngx_http_tally_bearer_error(r, error, detail, &scope, &value)
               != NGX_OK)
    {
        return NGX_ERROR;
    }

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(h, sizeof(ngx_table_elt_t));

    h->hash = 1;
    ngx_str_set(&h->key, "WWW-Authenticate");
    h->lowcase_key = (u_char *) "www-authenticate";
    h->value = value;
#if (nginx_version >= 1023000)
    h->next = NULL;
#endif

    r->headers_out.www_authenticate = h;

    return NGX_OK;
}


/* RFC 6750, section 3 */

static ngx_int_t
ngx_http_tally_bearer_error(ngx_http_request_t *r, const char *error,
    ngx_str_t *detail, ngx_str_t *scope, ngx_str_t *value)
{
    u_char  *p;
    size_t   i, len;

    len = sizeof("Bearer error=\"\", error_description=\"\", scope=\"\"")
          + ngx_strlen(error) + detail->len + scope->len;

    p = ngx_pnalloc(r->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    value->data = p;
    p = ngx_sprintf(p, "Bearer error=\"%s\", error_description=\"", error);

    for (i = 0; i < detail->len; i++) {
        /* only what may stand in it */
        *p++ = (detail->data[i] == '"' || detail->data[i] == '\\'
                || detail->data[i] < 0x20 || detail->data[i] > 0x7e)
               ? '\'' : detail->data[i];
    }

    *p++ = '"';

    if (scope->len) {
        p = ngx_sprintf(p, ", scope=\"%V\"", scope);
    }

    value->len = (size_t) (p - value->data);

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


ngx_int_t
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
