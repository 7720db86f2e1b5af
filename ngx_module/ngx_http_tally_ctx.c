
/*
 * A request's state.  One ctx a main request; subrequests see their main's.
 * It is the data of a pool cleanup, so that it lives until the pool dies and
 * can be found after an internal redirect has zeroed r->ctx[].
 */


#include "ngx_http_tally.h"

#include <openssl/rand.h>


static void ngx_http_tally_ctx_restart(ngx_http_tally_ctx_t *ctx);
static void ngx_http_tally_ctx_cleanup(void *data);
static ngx_int_t ngx_http_tally_set_correlation_id(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx);
static void ngx_http_tally_set_traceparent(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx);
static ngx_uint_t ngx_http_tally_is_lower_hex(u_char *p, size_t len,
    ngx_uint_t *zero);


ngx_http_tally_ctx_t *
ngx_http_tally_find_ctx(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t    *cln;
    ngx_http_tally_ctx_t  *ctx;

    r = r->main;

    ctx = ngx_http_get_module_ctx(r, ngx_http_tally_module);

    if (ctx == NULL && (r->internal || r->filter_finalize)) {

        for (cln = r->pool->cleanup; cln; cln = cln->next) {
            if (cln->handler == ngx_http_tally_ctx_cleanup) {
                ctx = cln->data;
                ngx_http_set_ctx(r, ctx, ngx_http_tally_module);

                ngx_http_tally_ctx_restart(ctx);
                break;
            }
        }
    }

    return ctx;
}


/*
 * The phases begin again, maybe in another location: a body half read or a
 * decision made is of the old one, and says nothing about this one.  What
 * was paid (ctx->paid) stays.  An op that is out keeps its state, for its
 * reply is still to come.
 */

static void
ngx_http_tally_ctx_restart(ngx_http_tally_ctx_t *ctx)
{
    if (ctx->state != NGX_HTTP_TALLY_WAITING) {
        ctx->state = NGX_HTTP_TALLY_START;
    }
}


ngx_http_tally_ctx_t *
ngx_http_tally_get_ctx(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t    *cln;
    ngx_http_tally_ctx_t  *ctx;

    ctx = ngx_http_tally_find_ctx(r);

    if (ctx) {
        return ctx;
    }

    r = r->main;

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_tally_ctx_t));
    if (cln == NULL) {
        return NULL;
    }

    ctx = cln->data;
    ngx_memzero(ctx, sizeof(ngx_http_tally_ctx_t));

    ctx->request = r;
    cln->handler = ngx_http_tally_ctx_cleanup;

    if (ngx_http_tally_set_correlation_id(r, ctx) != NGX_OK) {
        return NULL;
    }

    ngx_http_tally_set_traceparent(r, ctx);

    ngx_http_set_ctx(r, ctx, ngx_http_tally_module);

    return ctx;
}


static void
ngx_http_tally_ctx_cleanup(void *data)
{
    ngx_http_tally_ctx_t  *ctx = data;

    tg_jwt_clear(&ctx->jwt);
    tg_cloudevent_clear(&ctx->event);
}


ngx_table_elt_t *
ngx_http_tally_header(ngx_http_request_t *r, const char *name,
    ngx_uint_t *count)
{
    size_t            len;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h, *found;

    len = ngx_strlen(name);
    found = NULL;
    *count = 0;

    part = &r->headers_in.headers.part;
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

        if (h[i].key.len != len
            || ngx_strncasecmp(h[i].key.data, (u_char *) name, len) != 0)
        {
            continue;
        }

        if (found == NULL) {
            found = &h[i];
        }

        (*count)++;
    }

    return found;
}


/* The sender's, if it is one name; otherwise 32 hex digits of our own. */

static ngx_int_t
ngx_http_tally_set_correlation_id(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx)
{
    ngx_uint_t        n;
    ngx_table_elt_t  *h;
    u_char            bytes[16];

    h = ngx_http_tally_header(r, "x-correlation-id", &n);

    if (n == 1 && tg_str_is_name(ngx_http_tally_tg(&h->value),
                                 TG_CORRELATION_ID_MAX_BYTES))
    {
        ctx->correlation_id = h->value;
        return NGX_OK;
    }

    if (RAND_bytes(bytes, sizeof(bytes)) != 1) {
        for (n = 0; n < sizeof(bytes); n++) {
            bytes[n] = (u_char) ngx_random();
        }
    }

    ctx->correlation_id.data = ngx_pnalloc(r->pool, 2 * sizeof(bytes));
    if (ctx->correlation_id.data == NULL) {
        return NGX_ERROR;
    }

    ctx->correlation_id.len = 2 * sizeof(bytes);
    (void) ngx_hex_dump(ctx->correlation_id.data, bytes, sizeof(bytes));

    return NGX_OK;
}


/* W3C Trace Context: 00-<32 hex>-<16 hex>-<2 hex>, the ids not all zero */

static void
ngx_http_tally_set_traceparent(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx)
{
    u_char           *p;
    ngx_uint_t        n, zero;
    ngx_table_elt_t  *h;

    h = ngx_http_tally_header(r, "traceparent", &n);

    if (n != 1 || h->value.len != TG_TRACEPARENT_BYTES) {
        return;
    }

    p = h->value.data;

    if (p[0] != '0' || p[1] != '0'
        || p[2] != '-' || p[35] != '-' || p[52] != '-')
    {
        return;
    }

    if (!ngx_http_tally_is_lower_hex(p + 3, 32, &zero) || zero
        || !ngx_http_tally_is_lower_hex(p + 36, 16, &zero) || zero
        || !ngx_http_tally_is_lower_hex(p + 53, 2, &zero))
    {
        return;
    }

    ctx->traceparent = h->value;
}


static ngx_uint_t
ngx_http_tally_is_lower_hex(u_char *p, size_t len, ngx_uint_t *zero)
{
    size_t  i;

    *zero = 1;

    for (i = 0; i < len; i++) {

        if (!((p[i] >= '0' && p[i] <= '9') || (p[i] >= 'a' && p[i] <= 'f'))) {
            return 0;
        }

        if (p[i] != '0') {
            *zero = 0;
        }
    }

    return 1;
}
