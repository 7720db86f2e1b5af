
/*
 * Variables.  Each handler takes a request without a ctx; none is cached,
 * because the phases fill the ctx one after the other.  The values are in
 * r->pool or static, never in memory that a second ACCESS phase frees.
 */


#include "ngx_http_tally.h"


typedef ngx_int_t (*ngx_http_tally_var_pt)(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx, ngx_str_t *out);


static ngx_int_t ngx_http_tally_var_str(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_tally_var_correlation_id(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_tally_var_claim(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_tally_var_event_id(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_tally_var_idempotency(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_tally_var_rate_remaining(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_tally_var_redis_time(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_tally_var_set(ngx_http_variable_value_t *v,
    u_char *data, size_t len);
static ngx_int_t ngx_http_tally_var_none(ngx_http_variable_value_t *v);
static ngx_int_t ngx_http_tally_claim_text(ngx_pool_t *pool,
    const json_t *claim, ngx_str_t *out);
static ngx_int_t ngx_http_tally_claim_list(ngx_pool_t *pool,
    const json_t *claim, ngx_str_t *out);


static ngx_http_variable_t  ngx_http_tally_vars[] = {

    { ngx_string("tally_tenant"), NULL, ngx_http_tally_var_str,
      offsetof(ngx_http_tally_ctx_t, tenant), NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("tally_client"), NULL, ngx_http_tally_var_str,
      offsetof(ngx_http_tally_ctx_t, client), NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("tally_subject"), NULL, ngx_http_tally_var_str,
      offsetof(ngx_http_tally_ctx_t, subject), NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("tally_scope"), NULL, ngx_http_tally_var_str,
      offsetof(ngx_http_tally_ctx_t, scope), NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("tally_claim_"), NULL, ngx_http_tally_var_claim,
      0, NGX_HTTP_VAR_NOCACHEABLE|NGX_HTTP_VAR_PREFIX, 0 },

    { ngx_string("tally_decision"), NULL, ngx_http_tally_var_str,
      offsetof(ngx_http_tally_ctx_t, decision), NGX_HTTP_VAR_NOCACHEABLE,
      0 },

    { ngx_string("tally_reason"), NULL, ngx_http_tally_var_str,
      offsetof(ngx_http_tally_ctx_t, reason), NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("tally_event_id"), NULL, ngx_http_tally_var_event_id,
      0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("tally_correlation_id"), NULL,
      ngx_http_tally_var_correlation_id,
      0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("tally_idempotency"), NULL, ngx_http_tally_var_idempotency,
      0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("tally_rate_remaining"), NULL,
      ngx_http_tally_var_rate_remaining,
      0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("tally_redis_time"), NULL, ngx_http_tally_var_redis_time,
      0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


ngx_int_t
ngx_http_tally_add_variables(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_http_tally_vars; v->name.len; v++) {
        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_tally_var_set(ngx_http_variable_value_t *v, u_char *data, size_t len)
{
    v->valid = 1;
    v->no_cacheable = 1;
    v->not_found = 0;
    v->len = (unsigned) len & 0x0fffffff;   /* a bit field of 28 */
    v->data = data;

    return NGX_OK;
}


static ngx_int_t
ngx_http_tally_var_none(ngx_http_variable_value_t *v)
{
    v->not_found = 1;

    return NGX_OK;
}


static ngx_int_t
ngx_http_tally_var_str(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    ngx_str_t             *s;
    ngx_http_tally_ctx_t  *ctx;

    ctx = ngx_http_tally_find_ctx(r);

    if (ctx == NULL) {
        return ngx_http_tally_var_none(v);
    }

    s = (ngx_str_t *) ((char *) ctx + data);

    if (s->len == 0) {
        return ngx_http_tally_var_none(v);
    }

    return ngx_http_tally_var_set(v, s->data, s->len);
}


/* the only one that makes a ctx: it is for the logs of every location */

static ngx_int_t
ngx_http_tally_var_correlation_id(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_tally_ctx_t  *ctx;

    ctx = ngx_http_tally_get_ctx(r);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    return ngx_http_tally_var_set(v, ctx->correlation_id.data,
                                  ctx->correlation_id.len);
}


/* $tally_claim_NAME of a verified token */

static ngx_int_t
ngx_http_tally_var_claim(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    ngx_str_t  *var = (ngx_str_t *) data;

    size_t                 len;
    ngx_int_t              rc;
    ngx_str_t              text;
    const json_t          *claim;
    ngx_http_tally_ctx_t  *ctx;
    char                   name[TG_SCOPE_MAX_BYTES];

    ctx = ngx_http_tally_find_ctx(r);

    len = var->len - (sizeof("tally_claim_") - 1);

    if (ctx == NULL || !ctx->has_token || len == 0 || len >= sizeof(name)) {
        return ngx_http_tally_var_none(v);
    }

    ngx_memcpy(name, var->data + sizeof("tally_claim_") - 1, len);
    name[len] = '\0';

    claim = json_object_get(ctx->jwt.claims, name);

    if (claim == NULL) {
        return ngx_http_tally_var_none(v);
    }

    rc = ngx_http_tally_claim_text(r->pool, claim, &text);

    if (rc == NGX_DECLINED) {
        return ngx_http_tally_var_none(v);
    }

    if (rc != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_tally_var_set(v, text.data, text.len);
}


/* a string, an integer, a boolean, or strings joined by spaces */

static ngx_int_t
ngx_http_tally_claim_text(ngx_pool_t *pool, const json_t *claim,
    ngx_str_t *out)
{
    switch (json_typeof(claim)) {

    case JSON_STRING:
        out->len = json_string_length(claim);

        if (out->len > NGX_HTTP_TALLY_CLAIM_MAX) {
            return NGX_DECLINED;
        }

        out->data = ngx_pnalloc(pool, out->len + 1);
        if (out->data == NULL) {
            return NGX_ERROR;
        }

        ngx_memcpy(out->data, json_string_value(claim), out->len);
        return NGX_OK;

    case JSON_INTEGER:
        out->data = ngx_pnalloc(pool, NGX_INT64_LEN);
        if (out->data == NULL) {
            return NGX_ERROR;
        }

        out->len = (size_t) (ngx_sprintf(out->data, "%L",
                                         (int64_t) json_integer_value(claim))
                             - out->data);
        return NGX_OK;

    case JSON_TRUE:
        ngx_str_set(out, "true");
        return NGX_OK;

    case JSON_FALSE:
        ngx_str_set(out, "false");
        return NGX_OK;

    case JSON_ARRAY:
        return ngx_http_tally_claim_list(pool, claim, out);

    default:
        return NGX_DECLINED;
    }
}


static ngx_int_t
ngx_http_tally_claim_list(ngx_pool_t *pool, const json_t *claim,
    ngx_str_t *out)
{
    u_char        *p;
    size_t         i, len;
    const json_t  *item;

    len = 0;

    for (i = 0; i < json_array_size(claim); i++) {
        item = json_array_get(claim, i);

        if (!json_is_string(item)) {
            return NGX_DECLINED;
        }

        len += json_string_length(item) + 1;
    }

    if (len == 0 || len > NGX_HTTP_TALLY_CLAIM_MAX) {
        return NGX_DECLINED;
    }

    p = ngx_pnalloc(pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    out->data = p;
    out->len = len - 1;

    for (i = 0; i < json_array_size(claim); i++) {
        item = json_array_get(claim, i);
        p = ngx_cpymem(p, json_string_value(item), json_string_length(item));
        *p++ = ' ';
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_tally_var_event_id(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_tally_ctx_t  *ctx;

    ctx = ngx_http_tally_find_ctx(r);

    if (ctx == NULL || ctx->outcome != NGX_HTTP_TALLY_OP_REPLY
        || ctx->reply.event_id_len == 0)
    {
        return ngx_http_tally_var_none(v);
    }

    return ngx_http_tally_var_set(v, (u_char *) ctx->reply.event_id,
                                  ctx->reply.event_id_len);
}


static ngx_int_t
ngx_http_tally_var_idempotency(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_tally_ctx_t  *ctx;

    static ngx_str_t  words[] = {
        ngx_string("new"), ngx_string("replay"), ngx_string("mismatch"),
        ngx_string("conflict")
    };

    ctx = ngx_http_tally_find_ctx(r);

    if (ctx == NULL || ctx->idem_key.len == 0
        || ctx->outcome != NGX_HTTP_TALLY_OP_REPLY
        || ctx->reply.verdict > TG_VERDICT_IN_FLIGHT)
    {
        return ngx_http_tally_var_none(v);
    }

    return ngx_http_tally_var_set(v, words[ctx->reply.verdict].data,
                                  words[ctx->reply.verdict].len);
}


/* of the rate that is nearest to its limit */

static ngx_int_t
ngx_http_tally_var_rate_remaining(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    u_char                *p;
    size_t                 i;
    int64_t                left;
    ngx_http_tally_ctx_t  *ctx;

    ctx = ngx_http_tally_find_ctx(r);

    if (ctx == NULL || ctx->outcome != NGX_HTTP_TALLY_OP_REPLY
        || ctx->reply.rate_count == 0)
    {
        return ngx_http_tally_var_none(v);
    }

    left = ctx->reply.rates[0].remaining;

    for (i = 1; i < ctx->reply.rate_count; i++) {
        left = ngx_min(left, ctx->reply.rates[i].remaining);
    }

    p = ngx_pnalloc(r->pool, NGX_INT64_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    return ngx_http_tally_var_set(v, p,
                                  (size_t) (ngx_sprintf(p, "%L", left) - p));
}


/* seconds with milliseconds, like $upstream_response_time */

static ngx_int_t
ngx_http_tally_var_redis_time(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    u_char                *p;
    ngx_http_tally_ctx_t  *ctx;

    ctx = ngx_http_tally_find_ctx(r);

    if (ctx == NULL || !ctx->redis_timed) {
        return ngx_http_tally_var_none(v);
    }

    p = ngx_pnalloc(r->pool, NGX_TIME_T_LEN + 4);
    if (p == NULL) {
        return NGX_ERROR;
    }

    return ngx_http_tally_var_set(v, p,
                                  (size_t) (ngx_sprintf(p, "%M.%03M",
                                                        ctx->redis_ms / 1000,
                                                        ctx->redis_ms % 1000)
                                            - p));
}
