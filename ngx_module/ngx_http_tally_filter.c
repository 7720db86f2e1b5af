
/*
 * Two things on the way out of a tally location:
 *
 *   headers   X-Correlation-ID and RateLimit* on every answer, also on one
 *             that an upstream or NGINX itself has made
 *   bodies    NGINX's own pages for what is a refusal of the contract (413,
 *             400 while the body is read, 401 and 403 under "satisfy any")
 *             become problem documents; a page of error_page is left alone
 */


#include "ngx_http_tally.h"


static ngx_int_t ngx_http_tally_header_filter(ngx_http_request_t *r);
static ngx_int_t ngx_http_tally_body_filter(ngx_http_request_t *r,
    ngx_chain_t *in);
static ngx_uint_t ngx_http_tally_is_own_page(ngx_http_request_t *r);
static ngx_uint_t ngx_http_tally_page_code(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx, enum tg_problem_code *code,
    ngx_str_t *detail);
static void ngx_http_tally_page_limit(ngx_http_request_t *r,
    ngx_str_t *detail);
static ngx_int_t ngx_http_tally_replace(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx, enum tg_problem_code code, ngx_str_t *detail);


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;
static ngx_http_output_body_filter_pt    ngx_http_next_body_filter;


ngx_int_t
ngx_http_tally_filter_init(ngx_conf_t *cf)
{
    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_tally_header_filter;

    ngx_http_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = ngx_http_tally_body_filter;

    return NGX_OK;
}


static ngx_int_t
ngx_http_tally_header_filter(ngx_http_request_t *r)
{
    ngx_str_t                   detail;
    enum tg_problem_code        code;
    ngx_http_tally_ctx_t       *ctx;
    ngx_http_tally_loc_conf_t  *lcf;

    if (r != r->main) {
        return ngx_http_next_header_filter(r);
    }

    lcf = ngx_http_get_module_loc_conf(r, ngx_http_tally_module);

    if (!lcf->auth && !lcf->signature && lcf->rates == NULL) {
        return ngx_http_next_header_filter(r);
    }

    /* NGINX refuses a large body before any phase of ours */

    ctx = ngx_http_tally_get_ctx(r);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    if (!ctx->answered
        && ngx_http_tally_is_own_page(r)
        && ngx_http_tally_page_code(r, ctx, &code, &detail))
    {
        return ngx_http_tally_replace(r, ctx, code, &detail);
    }

    if (ngx_http_tally_add_headers(r, ctx) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_next_header_filter(r);
}


static ngx_uint_t
ngx_http_tally_is_own_page(ngx_http_request_t *r)
{
    if (r->upstream && r->upstream->headers_in.status_n) {
        return 0;
    }

    /* error_page has led here */

    return !(r->internal && r->error_page);
}


static ngx_uint_t
ngx_http_tally_page_code(ngx_http_request_t *r, ngx_http_tally_ctx_t *ctx,
    enum tg_problem_code *code, ngx_str_t *detail)
{
    switch (r->headers_out.status) {

    case NGX_HTTP_REQUEST_ENTITY_TOO_LARGE:
        *code = TG_PROBLEM_BODY_TOO_LARGE;
        ngx_http_tally_page_limit(r, detail);
        return 1;

    case NGX_HTTP_BAD_REQUEST:
        *code = TG_PROBLEM_BODY_INVALID;
        ngx_str_set(detail, "the body could not be read");
        return ctx->state == NGX_HTTP_TALLY_BODY;

    case NGX_HTTP_UNAUTHORIZED:
    case NGX_HTTP_FORBIDDEN:
        *code = ctx->denied_code;
        *detail = ctx->denied_detail;
        return ctx->denied
               && tg_problem_of(*code)->status == r->headers_out.status;

    default:
        return 0;
    }
}


static void
ngx_http_tally_page_limit(ngx_http_request_t *r, ngx_str_t *detail)
{
    u_char                    *p;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    p = ngx_pnalloc(r->pool, NGX_HTTP_TALLY_DETAIL_MAX);
    if (p == NULL) {
        ngx_str_set(detail, "the body is larger than this location takes");
        return;
    }

    detail->data = p;
    detail->len = ngx_snprintf(p, NGX_HTTP_TALLY_DETAIL_MAX,
                               "the body is larger than this location "
                               "takes: at most %O bytes",
                               clcf->client_max_body_size)
                  - p;
}


static ngx_int_t
ngx_http_tally_replace(ngx_http_request_t *r, ngx_http_tally_ctx_t *ctx,
    enum tg_problem_code code, ngx_str_t *detail)
{
    ngx_int_t     rc;
    ngx_str_t     body, no_store;
    ngx_buf_t    *b;
    ngx_chain_t   out;

    if (!ctx->counted) {
        ctx->counted = 1;
        ngx_http_tally_count(NGX_HTTP_TALLY_METRIC_REQUESTS);
    }

    ctx->state = NGX_HTTP_TALLY_ANSWERED;
    ctx->answered = 1;

    ngx_http_tally_note_refusal(r, ctx, code, r->headers_out.status, detail);

    ngx_str_set(&no_store, "no-store");

    b = ngx_calloc_buf(r->pool);

    if (b == NULL
        || ngx_http_tally_problem(r, ctx, code, detail, &body) != NGX_OK
        || ngx_http_tally_push_header(r, "Cache-Control", &no_store)
           != NGX_OK
        || ngx_http_tally_add_headers(r, ctx) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_http_clear_content_length(r);

    r->headers_out.content_length_n = (off_t) body.len;
    ngx_str_set(&r->headers_out.content_type, "application/problem+json");
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;
    r->headers_out.charset.len = 0;

    rc = ngx_http_next_header_filter(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    ctx->replaced = 1;

    b->pos = body.data;
    b->last = body.data + body.len;
    b->memory = 1;
    b->last_buf = 1;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    return ngx_http_next_body_filter(r, &out);
}


static ngx_int_t
ngx_http_tally_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_http_tally_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_tally_module);

    if (ctx == NULL || !ctx->replaced || r != r->main) {
        return ngx_http_next_body_filter(r, in);
    }

    /* the page that was replaced */

    for ( /* void */ ; in; in = in->next) {
        in->buf->pos = in->buf->last;
        in->buf->file_pos = in->buf->file_last;
    }

    return ngx_http_next_body_filter(r, NULL);
}
