
/*
 * The ACCESS phase: who is it, and may he come in.
 *
 *   Authorization -> issuer -> (cache | verify) -> scope -> tenant
 *   webhook-* headers: form and time window; the MAC needs the body
 *
 * Nothing here costs a round trip or changes anything outside the request,
 * so the handler simply runs again after an internal redirect, under the
 * policy of the new location.
 *
 * Refusals are problem documents sent from here.  Under "satisfy any" a 401
 * or 403 is returned to NGINX instead, because another access module may
 * still let the request in; _filter.c puts the document into NGINX's page
 * when none does.  auth_delay holds only in that case.
 */


#include "ngx_http_tally.h"

#include "common/bearer.h"
#include "common/digest.h"


typedef struct {
    enum tg_problem_code         code;
    ngx_uint_t                   status;        /* 0: the code's own */
    ngx_str_t                    detail;
} ngx_http_tally_refusal_t;


static void ngx_http_tally_forget(ngx_http_tally_ctx_t *ctx);
static ngx_int_t ngx_http_tally_no(ngx_http_tally_refusal_t *no,
    enum tg_problem_code code, const char *detail);
static ngx_int_t ngx_http_tally_check_token(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx, ngx_http_tally_loc_conf_t *lcf,
    ngx_http_tally_refusal_t *no);
static ngx_int_t ngx_http_tally_read_token(ngx_http_request_t *r,
    struct tg_str *token, ngx_http_tally_refusal_t *no);
static ngx_http_tally_issuer_t *ngx_http_tally_choose_issuer(
    ngx_http_tally_loc_conf_t *lcf, struct tg_str token,
    ngx_http_tally_refusal_t *no);
static ngx_int_t ngx_http_tally_verify(ngx_http_request_t *r,
    ngx_http_tally_issuer_t *issuer, struct tg_str token, struct tg_jwt *jwt,
    ngx_http_tally_refusal_t *no);
static void ngx_http_tally_unknown_kid(ngx_http_request_t *r,
    ngx_http_tally_issuer_t *issuer);
static ngx_int_t ngx_http_tally_take_claims(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx);
static ngx_int_t ngx_http_tally_copy(ngx_pool_t *pool, struct tg_str from,
    ngx_str_t *to);
static ngx_int_t ngx_http_tally_check_scope(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx, ngx_http_tally_loc_conf_t *lcf,
    ngx_http_tally_refusal_t *no);
static ngx_int_t ngx_http_tally_check_tenant(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx, ngx_http_tally_loc_conf_t *lcf,
    ngx_http_tally_refusal_t *no);
static ngx_int_t ngx_http_tally_check_signature_headers(
    ngx_http_request_t *r, ngx_http_tally_ctx_t *ctx,
    ngx_http_tally_loc_conf_t *lcf, ngx_http_tally_refusal_t *no);
static ngx_int_t ngx_http_tally_deny(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx, ngx_http_tally_refusal_t *no);


ngx_int_t
ngx_http_tally_access_handler(ngx_http_request_t *r)
{
    ngx_int_t                   rc;
    ngx_http_tally_ctx_t       *ctx;
    ngx_http_tally_refusal_t    no;
    ngx_http_tally_loc_conf_t  *lcf;

    lcf = ngx_http_get_module_loc_conf(r, ngx_http_tally_module);

    if (!lcf->auth && !lcf->signature && lcf->rates == NULL) {
        return NGX_DECLINED;
    }

    ctx = ngx_http_tally_get_ctx(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (!ctx->counted) {
        ctx->counted = 1;
        ngx_http_tally_count(NGX_HTTP_TALLY_METRIC_REQUESTS);
    }

    ngx_memzero(&no, sizeof(ngx_http_tally_refusal_t));
    ctx->denied = 0;
    rc = NGX_OK;

    /* what an earlier location's policy found out is void under this one */

    ngx_http_tally_forget(ctx);

    if (lcf->auth) {
        rc = ngx_http_tally_check_token(r, ctx, lcf, &no);
    }

    if (rc == NGX_OK) {
        rc = ngx_http_tally_check_tenant(r, ctx, lcf, &no);
    }

    if (rc == NGX_OK && lcf->signature) {
        rc = ngx_http_tally_check_signature_headers(r, ctx, lcf, &no);
    }

    if (rc == NGX_OK && lcf->publish && ctx->tenant.len == 0) {
        rc = ngx_http_tally_no(&no, TG_PROBLEM_TENANT_MISSING,
                               "neither the token nor the location names a "
                               "tenant");
    }

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (rc == NGX_DECLINED) {
        return ngx_http_tally_deny(r, ctx, &no);
    }

    if (ctx->state == NGX_HTTP_TALLY_START) {
        ctx->state = NGX_HTTP_TALLY_ADMITTED;
    }

    /* rates alone let nobody in whom "satisfy any" would keep out */

    return (lcf->auth || lcf->signature) ? NGX_OK : NGX_DECLINED;
}


static void
ngx_http_tally_forget(ngx_http_tally_ctx_t *ctx)
{
    tg_jwt_clear(&ctx->jwt);
    ctx->has_token = 0;

    ngx_str_null(&ctx->client);
    ngx_str_null(&ctx->tenant);
    ngx_str_null(&ctx->subject);
    ngx_str_null(&ctx->scope);
    ngx_str_null(&ctx->secret_name);
}


static ngx_int_t
ngx_http_tally_no(ngx_http_tally_refusal_t *no, enum tg_problem_code code,
    const char *detail)
{
    no->code = code;
    no->detail.data = (u_char *) detail;
    no->detail.len = ngx_strlen(detail);

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_tally_check_token(ngx_http_request_t *r, ngx_http_tally_ctx_t *ctx,
    ngx_http_tally_loc_conf_t *lcf, ngx_http_tally_refusal_t *no)
{
    ngx_int_t                 rc;
    struct tg_jwt             jwt;
    struct tg_str             token;
    ngx_http_tally_issuer_t  *issuer;

    rc = ngx_http_tally_read_token(r, &token, no);

    if (rc != NGX_OK) {
        return rc;
    }

    issuer = ngx_http_tally_choose_issuer(lcf, token, no);

    if (issuer == NULL) {
        return NGX_DECLINED;
    }

    if (issuer->keys == NULL) {
        return ngx_http_tally_no(no, TG_PROBLEM_UNAVAILABLE,
                                 "the issuer's keys are not loaded yet");
    }

    rc = ngx_http_tally_verify(r, issuer, token, &jwt, no);

    if (rc != NGX_OK) {
        return rc;
    }

    ctx->jwt = jwt;
    ctx->has_token = 1;

    if (ngx_http_tally_take_claims(r, ctx) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_tally_check_scope(r, ctx, lcf, no);
}


/* RFC 6750, sections 2 and 3.1: one method, one header */

static ngx_int_t
ngx_http_tally_read_token(ngx_http_request_t *r, struct tg_str *token,
    ngx_http_tally_refusal_t *no)
{
    ngx_str_t         arg;
    ngx_uint_t        n;
    ngx_table_elt_t  *h;

    h = ngx_http_tally_header(r, "authorization", &n);

    if (n == 0) {
        return ngx_http_tally_no(no, TG_PROBLEM_TOKEN_MISSING,
                                 "send a token: \"Authorization: Bearer "
                                 "TOKEN\"");
    }

    if (n > 1) {
        return ngx_http_tally_no(no, TG_PROBLEM_TOKEN_MALFORMED,
                                 "there is more than one Authorization "
                                 "header");
    }

    switch (tg_bearer_parse(ngx_http_tally_tg(&h->value), token)) {

    case TG_BEARER_OK:
        break;

    case TG_BEARER_MISSING:
        return ngx_http_tally_no(no, TG_PROBLEM_TOKEN_MISSING,
                                 "the Authorization scheme is not Bearer");

    case TG_BEARER_TOO_LARGE:
        return ngx_http_tally_no(no, TG_PROBLEM_TOKEN_INVALID,
                                 "the token is too large");

    default: /* TG_BEARER_MALFORMED */
        return ngx_http_tally_no(no, TG_PROBLEM_TOKEN_MALFORMED,
                                 "the Authorization header is not \"Bearer "
                                 "TOKEN\"");
    }

    if (ngx_http_arg(r, (u_char *) "access_token",
                     sizeof("access_token") - 1, &arg)
        == NGX_OK)
    {
        return ngx_http_tally_no(no, TG_PROBLEM_TOKEN_MALFORMED,
                                 "there is a token in the query, too");
    }

    return NGX_OK;
}


static ngx_http_tally_issuer_t *
ngx_http_tally_choose_issuer(ngx_http_tally_loc_conf_t *lcf,
    struct tg_str token, ngx_http_tally_refusal_t *no)
{
    ngx_uint_t                 i;
    struct tg_str              iss;
    ngx_http_tally_issuer_t  **issuer;
    char                       buf[NGX_HTTP_TALLY_ISS_MAX];

    if (tg_jwt_peek_issuer(token, buf, sizeof(buf)) != 0) {
        (void) ngx_http_tally_no(no, TG_PROBLEM_TOKEN_INVALID,
                                 tg_jwt_reason(TG_JWT_MALFORMED));
        return NULL;
    }

    iss = tg_str_of(buf);
    issuer = lcf->auth_issuers->elts;

    for (i = 0; i < lcf->auth_issuers->nelts; i++) {
        if (tg_str_equal(issuer[i]->policy.iss, iss)) {
            return issuer[i];
        }
    }

    (void) ngx_http_tally_no(no, TG_PROBLEM_TOKEN_INVALID,
                             tg_jwt_reason(TG_JWT_ISSUER));

    return NULL;
}


static ngx_int_t
ngx_http_tally_verify(ngx_http_request_t *r, ngx_http_tally_issuer_t *issuer,
    struct tg_str token, struct tg_jwt *jwt, ngx_http_tally_refusal_t *no)
{
    enum tg_jwt_result  result;
    u_char              digest[TG_SHA256_BYTES];

    if (tg_sha256(token, digest) != 0) {
        return NGX_ERROR;
    }

    if (ngx_http_tally_cache_get(digest, issuer, jwt) == NGX_OK) {

        result = tg_jwt_recheck(jwt, &issuer->policy, ngx_time());

        if (result == TG_JWT_OK) {
            return NGX_OK;
        }

        tg_jwt_clear(jwt);

        return ngx_http_tally_no(no, TG_PROBLEM_TOKEN_INVALID,
                                 tg_jwt_reason(result));
    }

    result = tg_jwt_verify(token, issuer->keys, &issuer->policy, ngx_time(),
                           jwt);

    if (result == TG_JWT_OK) {
        ngx_http_tally_cache_put(digest, issuer, jwt);
        return NGX_OK;
    }

    if (result == TG_JWT_INTERNAL) {
        return NGX_ERROR;
    }

    if (result == TG_JWT_KEY_UNKNOWN) {
        ngx_http_tally_unknown_kid(r, issuer);
    }

    return ngx_http_tally_no(no, TG_PROBLEM_TOKEN_INVALID,
                             tg_jwt_reason(result));
}


/* Anyone can send such a token: the log gets one line an interval. */

static void
ngx_http_tally_unknown_kid(ngx_http_request_t *r,
    ngx_http_tally_issuer_t *issuer)
{
    ngx_http_tally_count(NGX_HTTP_TALLY_METRIC_UNKNOWN_KID);

    if (issuer->kid_seen
        && ngx_current_msec - issuer->kid_warned
           < NGX_HTTP_TALLY_WATCH_MS * 10)
    {
        return;
    }

    issuer->kid_seen = 1;
    issuer->kid_warned = ngx_current_msec;

    ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                  "tally issuer \"%V\": a token names a key that is not in "
                  "\"%V\"; if this goes on, the file is behind the issuer",
                  &issuer->name, &issuer->file.path);
}


static ngx_int_t
ngx_http_tally_take_claims(ngx_http_request_t *r, ngx_http_tally_ctx_t *ctx)
{
    u_char         *p;
    size_t          i, len;
    struct tg_jwt  *jwt;

    jwt = &ctx->jwt;

    /* copies: variables that were evaluated outlive a second ACCESS phase */

    if (ngx_http_tally_copy(r->pool, jwt->client, &ctx->client) != NGX_OK
        || ngx_http_tally_copy(r->pool, jwt->sub, &ctx->subject) != NGX_OK)
    {
        return NGX_ERROR;
    }

    len = 0;

    for (i = 0; i < jwt->scope_count; i++) {
        len += jwt->scopes[i].len + 1;
    }

    if (len == 0) {
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ctx->scope.data = p;

    for (i = 0; i < jwt->scope_count; i++) {
        p = ngx_cpymem(p, jwt->scopes[i].data, jwt->scopes[i].len);
        *p++ = ' ';
    }

    ctx->scope.len = len - 1;

    return NGX_OK;
}


static ngx_int_t
ngx_http_tally_copy(ngx_pool_t *pool, struct tg_str from, ngx_str_t *to)
{
    ngx_str_null(to);

    if (from.len == 0) {
        return NGX_OK;
    }

    to->data = ngx_pnalloc(pool, from.len);
    if (to->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(to->data, from.data, from.len);
    to->len = from.len;

    return NGX_OK;
}


/* Every rule for the method holds; a method NGINX does not know meets all. */

static ngx_int_t
ngx_http_tally_check_scope(ngx_http_request_t *r, ngx_http_tally_ctx_t *ctx,
    ngx_http_tally_loc_conf_t *lcf, ngx_http_tally_refusal_t *no)
{
    ngx_uint_t                    i;
    ngx_http_tally_scope_rule_t  *rule;

    if (lcf->scopes == NULL) {
        return NGX_OK;
    }

    rule = lcf->scopes->elts;

    for (i = 0; i < lcf->scopes->nelts; i++) {

        if (!ngx_http_tally_scope_applies(r, &rule[i])) {
            continue;
        }

        if (!tg_scope_satisfies(ctx->jwt.scopes, ctx->jwt.scope_count,
                                rule[i].mode, rule[i].scopes, rule[i].count))
        {
            return ngx_http_tally_no(no, TG_PROBLEM_SCOPE_INSUFFICIENT,
                                     "the token's scope is not enough for "
                                     "this method here");
        }
    }

    return NGX_OK;
}


ngx_uint_t
ngx_http_tally_scope_applies(ngx_http_request_t *r,
    ngx_http_tally_scope_rule_t *rule)
{
    return rule->methods == 0
           || (rule->methods & r->method)
           || r->method == NGX_HTTP_UNKNOWN;
}


/*
 * tally_tenant, else the token's claim; a webhook's may come from its secret
 * later.  A token of one tenant never acts for another.
 */

static ngx_int_t
ngx_http_tally_check_tenant(ngx_http_request_t *r, ngx_http_tally_ctx_t *ctx,
    ngx_http_tally_loc_conf_t *lcf, ngx_http_tally_refusal_t *no)
{
    ngx_str_t  claim;

    ngx_str_null(&claim);

    if (ctx->has_token
        && ngx_http_tally_copy(r->pool, ctx->jwt.tenant, &claim) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (lcf->tenant == NULL) {
        ctx->tenant = claim;

        if (claim.len == 0) {
            return NGX_OK;
        }

    } else if (ngx_http_complex_value(r, lcf->tenant, &ctx->tenant)
               != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (!tg_str_is_name(ngx_http_tally_tg(&ctx->tenant),
                        TG_TENANT_MAX_BYTES))
    {
        ngx_str_null(&ctx->tenant);

        return ngx_http_tally_no(no, TG_PROBLEM_TENANT_MISSING,
                                 "a tenant is 1 to 64 of A-Z a-z 0-9 . _ -");
    }

    /*
     * A tenant that the request chooses needs a proof: the token's claim or
     * the signature.  A constant is the word of who wrote the configuration.
     */

    if (ctx->has_token && claim.len == 0 && lcf->tenant->lengths
        && !lcf->signature)
    {
        return ngx_http_tally_no(no, TG_PROBLEM_TENANT_MISSING,
                                 "the token names no tenant");
    }

    if (claim.len
        && !tg_str_equal(ngx_http_tally_tg(&claim),
                         ngx_http_tally_tg(&ctx->tenant)))
    {
        return ngx_http_tally_no(no, TG_PROBLEM_TENANT_MISSING,
                                 "the token is for another tenant");
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_tally_check_signature_headers(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx, ngx_http_tally_loc_conf_t *lcf,
    ngx_http_tally_refusal_t *no)
{
    ngx_int_t  rc;

    rc = ngx_http_tally_signature_precheck(r, ctx, &no->detail);

    if (rc == NGX_BUSY) {
        return ngx_http_tally_no(no, TG_PROBLEM_UNAVAILABLE,
                                 "the webhook secrets are not loaded yet");
    }

    if (rc == NGX_DECLINED) {
        no->code = TG_PROBLEM_SIGNATURE_INVALID;
        no->status = lcf->signature_failure;
    }

    return rc;
}


static ngx_int_t
ngx_http_tally_deny(ngx_http_request_t *r, ngx_http_tally_ctx_t *ctx,
    ngx_http_tally_refusal_t *no)
{
    ngx_uint_t                 status;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    status = no->status ? no->status : tg_problem_of(no->code)->status;

    if (clcf->satisfy == NGX_HTTP_SATISFY_ANY
        && (status == NGX_HTTP_UNAUTHORIZED || status == NGX_HTTP_FORBIDDEN))
    {
        ctx->denied = 1;
        ctx->denied_code = no->code;
        ctx->denied_detail = no->detail;

        if (ngx_http_tally_challenge(r, ctx, no->code, &no->detail)
            != NGX_OK)
        {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        /* whoever lets it in now does so without a name of ours */
        ngx_http_tally_forget(ctx);

        return (ngx_int_t) status;
    }

    ngx_http_finalize_request(r, ngx_http_tally_refuse(r, ctx, no->code,
                                                       no->status,
                                                       &no->detail));

    return NGX_DONE;
}
