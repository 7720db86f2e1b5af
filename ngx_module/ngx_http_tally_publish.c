
/*
 * The content handler of tally_publish:
 *
 *   handler   method, body
 *   body      digest -> signature -> event -> arguments -> op_start
 *   resume    the op is decided (posted write event) -> answer
 *
 * The answer is always ours; nothing here passes through error_page.
 */


#include "ngx_http_tally_link.h"

#include "common/digest.h"


static void ngx_http_tally_publish_body(ngx_http_request_t *r);
static ngx_int_t ngx_http_tally_publish_run(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx);
static ngx_int_t ngx_http_tally_publish_check(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx);
static ngx_int_t ngx_http_tally_body_join(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx, size_t len);
static void ngx_http_tally_publish_resume(ngx_http_request_t *r);
static ngx_int_t ngx_http_tally_publish_answer(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx);
static ngx_int_t ngx_http_tally_publish_verdict(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx);


ngx_int_t
ngx_http_tally_publish_handler(ngx_http_request_t *r)
{
    ngx_int_t              rc;
    ngx_http_tally_ctx_t  *ctx;

    if (r != r->main) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "tally_publish takes no subrequests");
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx = ngx_http_tally_get_ctx(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_tally_publish_check(r, ctx);

    if (rc != NGX_OK || ctx->answered) {
        return rc;
    }

    ctx->state = NGX_HTTP_TALLY_BODY;

    r->request_body_in_single_buf = 1;

    rc = ngx_http_read_client_request_body(r, ngx_http_tally_publish_body);

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        return rc;
    }

    return NGX_DONE;
}


/* NGX_OK, or what the handler returns */

static ngx_int_t
ngx_http_tally_publish_check(ngx_http_request_t *r, ngx_http_tally_ctx_t *ctx)
{
    ngx_int_t                   rc;
    ngx_str_t                   detail;
    ngx_http_tally_loc_conf_t  *conf;

    conf = ngx_http_get_module_loc_conf(r, ngx_http_tally_module);

    /* nobody publishes whom ACCESS has not let in under this policy */

    if (conf->redis == NULL
        || ctx->state == NGX_HTTP_TALLY_START
        || ctx->denied
        || (conf->auth && !ctx->has_token)
        || ctx->client.len == 0)
    {
        ngx_log_error(NGX_LOG_ALERT, r->connection->log, 0,
                      "tally_publish was reached without an access check");

        rc = ngx_http_discard_request_body(r);

        if (rc != NGX_OK) {
            return rc;
        }

        return ngx_http_tally_fault(r, ctx);
    }

    if (r->method != NGX_HTTP_POST) {

        rc = ngx_http_discard_request_body(r);

        if (rc != NGX_OK) {
            return rc;
        }

        ngx_str_set(&detail, "events are sent with POST");

        return ngx_http_tally_refuse(r, ctx, TG_PROBLEM_METHOD_NOT_ALLOWED, 0,
                                     &detail);
    }

    return NGX_OK;
}


static void
ngx_http_tally_publish_body(ngx_http_request_t *r)
{
    ngx_int_t              rc;
    ngx_http_tally_ctx_t  *ctx;

    ctx = ngx_http_tally_get_ctx(r);

    if (ctx == NULL) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    rc = ngx_http_tally_publish_run(r, ctx);

    if (rc == NGX_AGAIN) {
        ngx_http_tally_wait(r, ngx_http_tally_publish_resume);
        return;
    }

    ngx_http_finalize_request(r, rc);
}


/* NGX_AGAIN: the op is out; else what ngx_http_finalize_request wants */

static ngx_int_t
ngx_http_tally_publish_run(ngx_http_request_t *r, ngx_http_tally_ctx_t *ctx)
{
    ngx_int_t                   rc;
    ngx_str_t                   detail;
    enum tg_problem_code        code;
    ngx_http_tally_call_t      *call;
    ngx_http_tally_loc_conf_t  *conf;

    conf = ngx_http_get_module_loc_conf(r, ngx_http_tally_module);

    ngx_str_null(&detail);

    code = TG_PROBLEM_BODY_TOO_LARGE;
    rc = ngx_http_tally_body_take(r, ctx, &detail);

    if (rc == NGX_OK && conf->signature) {
        rc = ngx_http_tally_signature_verify(r, ctx, &detail);

        if (rc == NGX_DECLINED) {
            return ngx_http_tally_refuse(r, ctx, TG_PROBLEM_SIGNATURE_INVALID,
                                         conf->signature_failure, &detail);
        }
    }

    if (rc == NGX_OK) {
        rc = ngx_http_tally_event_read(r, ctx, &code, &detail);
    }

    call = NULL;

    if (rc == NGX_OK) {
        call = ngx_pcalloc(r->pool, sizeof(ngx_http_tally_call_t));

        rc = call ? ngx_http_tally_admit_build(r, ctx, call, &code, &detail)
                  : NGX_ERROR;
    }

    if (rc == NGX_OK) {
        rc = ngx_http_tally_op_start(r, ctx, call);
    }

    switch (rc) {

    case NGX_OK:
        return ngx_http_tally_publish_answer(r, ctx);

    case NGX_AGAIN:
        return NGX_AGAIN;

    case NGX_DECLINED:
        return ngx_http_tally_refuse(r, ctx, code, 0, &detail);

    default:
        return ngx_http_tally_fault(r, ctx);
    }
}


ngx_int_t
ngx_http_tally_body_take(ngx_http_request_t *r, ngx_http_tally_ctx_t *ctx,
    ngx_str_t *detail)
{
    size_t        len;
    ngx_chain_t  *cl;

    ngx_str_set(&ctx->body, "");

    if (r->request_body == NULL) {
        goto digest;
    }

    /* an error_page of the failed read has led here */

    if (!r->request_body->last_saved
        && (r->headers_in.chunked || r->headers_in.content_length_n > 0))
    {
        ngx_str_set(detail, "the body was not read to its end");
        return NGX_DECLINED;
    }

    len = 0;

    for (cl = r->request_body->bufs; cl; cl = cl->next) {

        /* a read from disk would stop the whole worker */

        if (cl->buf->in_file) {
            ngx_str_set(detail, "the body is larger than "
                                "client_body_buffer_size");
            return NGX_DECLINED;
        }

        len += (size_t) (cl->buf->last - cl->buf->pos);

        if (len > TG_BODY_MAX_BYTES) {
            ngx_str_set(detail, "the body is larger than an event may be");
            return NGX_DECLINED;
        }
    }

    if (len && ngx_http_tally_body_join(r, ctx, len) != NGX_OK) {
        return NGX_ERROR;
    }

digest:

    if (tg_sha256(ngx_http_tally_tg(&ctx->body), ctx->body_sha256) != 0) {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_tally_body_join(ngx_http_request_t *r, ngx_http_tally_ctx_t *ctx,
    size_t len)
{
    u_char       *p;
    ngx_chain_t  *cl;

    cl = r->request_body->bufs;

    ctx->body.len = len;

    if ((size_t) (cl->buf->last - cl->buf->pos) == len) {
        ctx->body.data = cl->buf->pos;
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ctx->body.data = p;

    for ( /* void */ ; cl; cl = cl->next) {

        /* the last buffer of a chunked body has no memory */

        if (cl->buf->last != cl->buf->pos) {
            p = ngx_cpymem(p, cl->buf->pos, cl->buf->last - cl->buf->pos);
        }
    }

    return NGX_OK;
}


void
ngx_http_tally_wait(ngx_http_request_t *r, ngx_http_event_handler_pt resume)
{
    ngx_event_t       *rev;
    ngx_connection_t  *c;

    c = r->connection;
    rev = c->read;

    c->log->action = "waiting for redis";

    r->read_event_handler = ngx_http_test_reading;
    r->write_event_handler = resume;

    /* it may have left already, or may leave */

    if (rev->ready) {
        ngx_post_event(rev, &ngx_posted_events);

    } else if (ngx_handle_read_event(rev, 0) != NGX_OK) {
        ngx_log_error(NGX_LOG_ALERT, c->log, 0,
                      "tally: the client's socket cannot be watched");
    }
}


static void
ngx_http_tally_publish_resume(ngx_http_request_t *r)
{
    ngx_http_tally_ctx_t  *ctx;

    ctx = ngx_http_tally_find_ctx(r);

    if (ctx == NULL || ctx->state != NGX_HTTP_TALLY_DECIDED) {

        /* there is room to write, but nothing yet to say */

        if (ngx_handle_write_event(r->connection->write, 0) != NGX_OK) {
            ngx_http_finalize_request(r, NGX_ERROR);
        }

        return;
    }

    r->read_event_handler = ngx_http_block_reading;
    r->write_event_handler = ngx_http_request_empty_handler;

    ngx_http_finalize_request(r, ngx_http_tally_publish_answer(r, ctx));
}


static ngx_int_t
ngx_http_tally_publish_answer(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx)
{
    ngx_str_t  detail;

    switch (ctx->outcome) {

    case NGX_HTTP_TALLY_OP_REPLY:
        return ngx_http_tally_publish_verdict(r, ctx);

    case NGX_HTTP_TALLY_OP_NOT_SENT:
    case NGX_HTTP_TALLY_OP_BUSY:
    case NGX_HTTP_TALLY_OP_UNKNOWN:
        ngx_http_tally_op_detail(r, ctx, &detail);
        return ngx_http_tally_refuse(r, ctx, TG_PROBLEM_REDIS_UNAVAILABLE, 0,
                                     &detail);

    case NGX_HTTP_TALLY_OP_FULL:
        ngx_http_tally_op_detail(r, ctx, &detail);
        return ngx_http_tally_refuse(r, ctx, TG_PROBLEM_BACKLOG, 0, &detail);

    default: /* NGX_HTTP_TALLY_OP_FAULT */
        return ngx_http_tally_fault(r, ctx);
    }
}


static ngx_int_t
ngx_http_tally_publish_verdict(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx)
{
    ngx_str_t  detail;

    switch (ctx->reply.verdict) {

    case TG_VERDICT_ACCEPTED:
    case TG_VERDICT_REPLAY:

        if (ctx->reply.event_id_len == 0) {
            ngx_log_error(NGX_LOG_ALERT, r->connection->log, 0,
                          "tally: Redis gave no event id");
            break;
        }

        return ngx_http_tally_accept(r, ctx);

    case TG_VERDICT_MISMATCH:
        ngx_str_set(&detail, "the idempotency key was used with another body; "
                             "a new request needs a new key");
        return ngx_http_tally_refuse(r, ctx, TG_PROBLEM_IDEMPOTENCY_MISMATCH,
                                     0, &detail);

    case TG_VERDICT_IN_FLIGHT:
        ngx_str_set(&detail, "the first request with this key has not ended");
        return ngx_http_tally_refuse(r, ctx, TG_PROBLEM_IDEMPOTENCY_IN_FLIGHT,
                                     0, &detail);

    case TG_VERDICT_LIMITED:
        return ngx_http_tally_limited(r, ctx);

    default: /* TG_VERDICT_CONTRACT does not come here */
        break;
    }

    return ngx_http_tally_fault(r, ctx);
}


ngx_int_t
ngx_http_tally_fault(ngx_http_request_t *r, ngx_http_tally_ctx_t *ctx)
{
    ngx_str_t  detail;

    ngx_str_set(&detail, "the edge's error log says more");

    return ngx_http_tally_refuse(r, ctx, TG_PROBLEM_INTERNAL, 0, &detail);
}


ngx_int_t
ngx_http_tally_limited(ngx_http_request_t *r, ngx_http_tally_ctx_t *ctx)
{
    ngx_str_t   detail;
    ngx_uint_t  i;

    ngx_str_set(&detail, "wait as long as Retry-After says; this request "
                         "was not counted");

    for (i = 0; i < ctx->reply.rate_count; i++) {

        if ((ctx->reply.violated & (1U << i))
            && ctx->reply.rates[i].retry_after_us < 0)
        {
            ngx_str_set(&detail, "the request costs more than the rate ever "
                                 "allows at once; make it smaller");
        }
    }

    return ngx_http_tally_refuse(r, ctx, TG_PROBLEM_RATE_LIMITED, 0, &detail);
}
