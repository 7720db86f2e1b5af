
/*
 * The PRECONTENT phase, for locations that proxy: signature and rates.
 *
 *   start    -> (body -> signature ->) op_start -> suspended
 *   resumed  -> passed, or refused here
 *
 * A request pays a bucket once.  An internal redirect (error_page,
 * try_files, X-Accel-Redirect) starts the phases again, with r->ctx zeroed;
 * ctx->paid survives and says what is paid.  It is not enough that the
 * request is internal: a redirect into a location with other rates pays
 * those, and one into a location with a signature is verified there.
 */


#include "ngx_http_tally_link.h"


static ngx_int_t ngx_http_tally_precontent_read(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx);
static void ngx_http_tally_precontent_body(ngx_http_request_t *r);
static ngx_int_t ngx_http_tally_precontent_signature(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx);
static ngx_int_t ngx_http_tally_precontent_call(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx);
static void ngx_http_tally_precontent_resume(ngx_http_request_t *r);
static ngx_int_t ngx_http_tally_precontent_decide(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx);
static ngx_int_t ngx_http_tally_precontent_away(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx);
static ngx_int_t ngx_http_tally_precontent_pass(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx, ngx_uint_t checked);
static void ngx_http_tally_precontent_nothing(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx, ngx_http_tally_call_t *call);
static ngx_int_t ngx_http_tally_precontent_pay(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx, ngx_uint_t checked);
static ngx_int_t ngx_http_tally_precontent_fault(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx);
static ngx_int_t ngx_http_tally_precontent_refuse(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx, enum tg_problem_code code, ngx_uint_t status,
    ngx_str_t *detail);


ngx_int_t
ngx_http_tally_precontent_handler(ngx_http_request_t *r)
{
    ngx_http_tally_ctx_t       *ctx;
    ngx_http_tally_loc_conf_t  *conf;

    conf = ngx_http_get_module_loc_conf(r, ngx_http_tally_module);

    if (r != r->main
        || conf->publish != NGX_HTTP_TALLY_PUBLISH_OFF
        || (conf->rates == NULL && !conf->signature))
    {
        return NGX_DECLINED;
    }

    ctx = ngx_http_tally_get_ctx(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    switch (ctx->state) {

    case NGX_HTTP_TALLY_BODY:
        return ngx_http_tally_precontent_signature(r, ctx);

    case NGX_HTTP_TALLY_WAITING:
        return NGX_AGAIN;

    case NGX_HTTP_TALLY_DECIDED:
        return ngx_http_tally_precontent_decide(r, ctx);

    default: /* START, ADMITTED */
        break;
    }

    if ((conf->auth || conf->signature)
        && ctx->state == NGX_HTTP_TALLY_START && !ctx->denied)
    {
        ngx_log_error(NGX_LOG_ALERT, r->connection->log, 0,
                      "tally: content was reached without an access check");

        return ngx_http_tally_precontent_fault(r, ctx);
    }

    /* whom another module has let in ("satisfy any") needs no signature */

    if (conf->signature && !ctx->denied) {
        return ngx_http_tally_precontent_read(r, ctx);
    }

    return ngx_http_tally_precontent_call(r, ctx);
}


static ngx_int_t
ngx_http_tally_precontent_read(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx)
{
    ngx_int_t  rc;

    ctx->state = NGX_HTTP_TALLY_BODY;

    r->request_body_in_single_buf = 1;

    rc = ngx_http_read_client_request_body(r, ngx_http_tally_precontent_body);

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        return rc;
    }

    /* gives back the count that reading took */

    ngx_http_finalize_request(r, NGX_DONE);

    return NGX_DONE;
}


static void
ngx_http_tally_precontent_body(ngx_http_request_t *r)
{
    r->preserve_body = 1;

    r->write_event_handler = ngx_http_core_run_phases;
    ngx_http_core_run_phases(r);
}


static ngx_int_t
ngx_http_tally_precontent_signature(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx)
{
    ngx_int_t                   rc;
    ngx_str_t                   detail;
    ngx_http_tally_loc_conf_t  *conf;

    conf = ngx_http_get_module_loc_conf(r, ngx_http_tally_module);

    ngx_str_null(&detail);

    rc = ngx_http_tally_body_take(r, ctx, &detail);

    if (rc == NGX_DECLINED) {
        return ngx_http_tally_precontent_refuse(r, ctx,
                                                TG_PROBLEM_BODY_TOO_LARGE, 0,
                                                &detail);
    }

    if (rc == NGX_OK) {
        rc = ngx_http_tally_signature_verify(r, ctx, &detail);
    }

    if (rc == NGX_DECLINED) {
        return ngx_http_tally_precontent_refuse(r, ctx,
                                                TG_PROBLEM_SIGNATURE_INVALID,
                                                conf->signature_failure,
                                                &detail);
    }

    if (rc != NGX_OK) {
        return ngx_http_tally_precontent_fault(r, ctx);
    }

    return ngx_http_tally_precontent_call(r, ctx);
}


static ngx_int_t
ngx_http_tally_precontent_call(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx)
{
    ngx_int_t                   rc;
    ngx_str_t                   detail;
    enum tg_problem_code        code;
    ngx_http_tally_call_t      *call;
    ngx_http_tally_loc_conf_t  *conf;

    conf = ngx_http_get_module_loc_conf(r, ngx_http_tally_module);

    ctx->call = NULL;

    if (conf->rates == NULL || conf->redis == NULL) {
        return ngx_http_tally_precontent_pass(r, ctx, 1);
    }

    ngx_str_null(&detail);

    code = TG_PROBLEM_INTERNAL;
    call = ngx_pcalloc(r->pool, sizeof(ngx_http_tally_call_t));

    rc = call ? ngx_http_tally_admit_build(r, ctx, call, &code, &detail)
              : NGX_ERROR;

    if (rc == NGX_OK && call->nrates == 0) {

        ngx_http_tally_precontent_nothing(r, ctx, call);

        return ngx_http_tally_precontent_pass(r, ctx, 1);
    }

    if (rc == NGX_OK) {
        ctx->call = call;
        rc = ngx_http_tally_op_start(r, ctx, call);
    }

    switch (rc) {

    case NGX_OK:
        return ngx_http_tally_precontent_decide(r, ctx);

    case NGX_AGAIN:
        ngx_http_tally_wait(r, ngx_http_tally_precontent_resume);
        return NGX_AGAIN;

    case NGX_DECLINED:
        return ngx_http_tally_precontent_refuse(r, ctx, code, 0, &detail);

    default:
        return ngx_http_tally_precontent_fault(r, ctx);
    }
}


static void
ngx_http_tally_precontent_resume(ngx_http_request_t *r)
{
    ngx_http_tally_ctx_t  *ctx;

    ctx = ngx_http_tally_find_ctx(r);

    if (ctx == NULL || ctx->state != NGX_HTTP_TALLY_DECIDED) {

        if (ngx_handle_write_event(r->connection->write, 0) != NGX_OK) {
            ngx_http_finalize_request(r, NGX_ERROR);
        }

        return;
    }

    r->read_event_handler = ngx_http_block_reading;
    r->write_event_handler = ngx_http_core_run_phases;

    ngx_http_core_run_phases(r);
}


static ngx_int_t
ngx_http_tally_precontent_decide(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx)
{
    switch (ctx->outcome) {

    case NGX_HTTP_TALLY_OP_REPLY:

        switch (ctx->reply.verdict) {

        case TG_VERDICT_ACCEPTED:
            return ngx_http_tally_precontent_pass(r, ctx, 1);

        case TG_VERDICT_LIMITED:
            ngx_http_finalize_request(r, ngx_http_tally_limited(r, ctx));
            return NGX_DONE;

        default: /* a call with rates alone has no other verdict */
            break;
        }

        break;

    case NGX_HTTP_TALLY_OP_NOT_SENT:
    case NGX_HTTP_TALLY_OP_BUSY:
    case NGX_HTTP_TALLY_OP_FULL:
    case NGX_HTTP_TALLY_OP_UNKNOWN:
        return ngx_http_tally_precontent_away(r, ctx);

    default: /* NGX_HTTP_TALLY_OP_FAULT */
        break;
    }

    return ngx_http_tally_precontent_fault(r, ctx);
}


/* no answer of Redis: tally_failure decides */

static ngx_int_t
ngx_http_tally_precontent_away(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx)
{
    ngx_str_t                   detail;
    ngx_http_tally_loc_conf_t  *conf;

    conf = ngx_http_get_module_loc_conf(r, ngx_http_tally_module);

    if (conf->failure_allow & NGX_HTTP_TALLY_CHECK_RATE) {
        ngx_http_tally_count(NGX_HTTP_TALLY_METRIC_RATE_UNCHECKED);

        return ngx_http_tally_precontent_pass(r, ctx, 0);
    }

    if (ctx->outcome == NGX_HTTP_TALLY_OP_UNKNOWN) {
        ngx_str_set(&detail, "Redis did not answer in time, so that the rate "
                             "could not be checked. The request was not "
                             "passed on. Try again later.");

    } else {
        ngx_http_tally_op_detail(r, ctx, &detail);
    }

    return ngx_http_tally_precontent_refuse(r, ctx,
                                            ctx->outcome
                                            == NGX_HTTP_TALLY_OP_FULL
                                            ? TG_PROBLEM_BACKLOG
                                            : TG_PROBLEM_REDIS_UNAVAILABLE,
                                            0, &detail);
}


static ngx_int_t
ngx_http_tally_precontent_pass(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx, ngx_uint_t checked)
{
    if (ngx_http_tally_precontent_pay(r, ctx, checked) != NGX_OK) {
        return ngx_http_tally_precontent_fault(r, ctx);
    }

    ctx->state = NGX_HTTP_TALLY_ANSWERED;

    ngx_str_set(&ctx->decision, "passed");

    if (checked) {
        ngx_str_set(&ctx->reason, "accepted");

    } else {
        ngx_str_set(&ctx->reason, "rate_unchecked");
    }

    ngx_http_tally_count(NGX_HTTP_TALLY_METRIC_PASSED);

    return NGX_DECLINED;
}


/*
 * The keys of all rates are empty, or the buckets are paid: no call.  The
 * answer shows these rates, and not those of an earlier location.
 */

static void
ngx_http_tally_precontent_nothing(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx, ngx_http_tally_call_t *call)
{
    struct tg_admit_reply  reply;

    if (ctx->outcome != NGX_HTTP_TALLY_OP_REPLY) {
        return;
    }

    if (call->paid == 0) {
        ctx->outcome = NGX_HTTP_TALLY_OP_PENDING;
        return;
    }

    ngx_memzero(&reply, sizeof(struct tg_admit_reply));
    reply.verdict = TG_VERDICT_ACCEPTED;

    ngx_http_tally_op_spread(r, ctx, call, &reply);
}


/* what the call asked for is not asked for again, whoever answered */

static ngx_int_t
ngx_http_tally_precontent_pay(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx, ngx_uint_t checked)
{
    ngx_uint_t                  i;
    ngx_http_tally_rate_t      *rate;
    ngx_http_tally_paid_t      *paid;
    ngx_http_tally_loc_conf_t  *conf;

    if (ctx->call == NULL) {
        return NGX_OK;
    }

    conf = ngx_http_get_module_loc_conf(r, ngx_http_tally_module);
    rate = conf->rates->elts;

    if (ctx->paid == NULL) {
        ctx->paid = ngx_array_create(r->pool, conf->rates->nelts,
                                     sizeof(ngx_http_tally_paid_t));
        if (ctx->paid == NULL) {
            return NGX_ERROR;
        }
    }

    for (i = 0; i < conf->rates->nelts; i++) {

        if (ctx->call->skipped & (1U << i)) {
            continue;
        }

        paid = ngx_array_push(ctx->paid);
        if (paid == NULL) {
            return NGX_ERROR;
        }

        paid->redis = conf->redis;
        ngx_memcpy(paid->digest, ctx->call->digest[i], TG_IDEM_DIGEST_BYTES);

        if (checked) {
            paid->state = ctx->reply.rates[i];

        } else {
            ngx_memzero(&paid->state, sizeof(struct tg_rate_state));
            paid->state.remaining = rate[i].rate.capacity;
        }
    }

    ctx->call = NULL;

    return NGX_OK;
}


static ngx_int_t
ngx_http_tally_precontent_fault(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx)
{
    ngx_http_finalize_request(r, ngx_http_tally_fault(r, ctx));

    return NGX_DONE;
}


/* a phase handler must not return what sending the answer returned */

static ngx_int_t
ngx_http_tally_precontent_refuse(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx, enum tg_problem_code code, ngx_uint_t status,
    ngx_str_t *detail)
{
    ngx_http_finalize_request(r, ngx_http_tally_refuse(r, ctx, code, status,
                                                       detail));

    return NGX_DONE;
}
