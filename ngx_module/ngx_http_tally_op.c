
/*
 * One script call: sent on a ready link at once or not at all, answered by
 * its reply, by its deadline, or by the end of the link, whichever is first.
 *
 *   sent queue   every op hiredis still holds, in the order of the wire
 *   live queue   those whose request still waits, in order of the deadline
 *
 * A call that is late leaves the live queue (the client hears that the
 * outcome is unknown) and stays in the sent queue as a tombstone until its
 * reply comes.  Queuing behind a tombstone that is older than two time-outs
 * is refused: nothing new could be answered in time, and a call that was
 * never sent is one whose outcome is known.
 *
 * Time-outs of one link are equal, so that one timer, for the heads of both
 * queues, serves all.  It is moved only to an earlier time; else it fires
 * early and finds the next.
 */


#include "ngx_http_tally_link.h"

#include "admit_lua.h"


#define NGX_HTTP_TALLY_REPLY_PARTS  (4 + 3 * TG_RATES_MAX)


static ngx_http_tally_link_t *ngx_http_tally_op_link(ngx_http_request_t *r);
static ngx_uint_t ngx_http_tally_op_stalled(ngx_http_tally_link_t *link);
static ngx_int_t ngx_http_tally_op_send(ngx_http_tally_op_t *op);
static void ngx_http_tally_op_cleanup(void *data);
static void ngx_http_tally_op_detach(ngx_http_tally_op_t *op);
static void ngx_http_tally_op_finish(ngx_http_tally_op_t *op,
    ngx_http_tally_outcome_e outcome);
static void ngx_http_tally_op_reply(redisAsyncContext *ac, void *reply,
    void *data);
static ngx_http_tally_outcome_e ngx_http_tally_op_decode(
    ngx_http_tally_op_t *op, redisReply *reply);
static void ngx_http_tally_op_tell(ngx_http_tally_link_t *link,
    const char *reason, ngx_str_t *text);
static ngx_http_tally_outcome_e ngx_http_tally_op_error(
    ngx_http_tally_op_t *op, redisReply *reply);
static void ngx_http_tally_op_arm(ngx_http_tally_link_t *link);


static const char  ngx_http_tally_op_contract_reason[] =
    "Redis runs a script of another contract";

static const char  ngx_http_tally_op_rights_reason[] =
    "the edge's Redis user lacks rights";

static const char  ngx_http_tally_op_busy_reason[] =
    "Redis refuses calls";

static const char  ngx_http_tally_op_full_reason[] =
    "Redis is short of memory";

static const char  ngx_http_tally_op_silent_reason[] =
    "Redis does not answer";


ngx_int_t
ngx_http_tally_op_start(ngx_http_request_t *r, ngx_http_tally_ctx_t *ctx,
    ngx_http_tally_call_t *call)
{
    ngx_http_cleanup_t     *cln;
    ngx_http_tally_op_t    *op;
    ngx_http_tally_link_t  *link;

    ctx->outcome = NGX_HTTP_TALLY_OP_NOT_SENT;
    ctx->state = NGX_HTTP_TALLY_DECIDED;

    link = ngx_http_tally_op_link(r);

    if (link == NULL) {
        return NGX_OK;
    }

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_http_tally_op_cleanup;
    cln->data = ctx;

    op = ngx_calloc(sizeof(ngx_http_tally_op_t), r->connection->log);
    if (op == NULL) {
        return NGX_ERROR;
    }

    op->link = link;
    op->request = r;
    op->ctx = ctx;
    op->call = call;
    op->deadline = ngx_current_msec + link->redis->timeout;

    call->argv[0] = "EVALSHA";
    call->argvlen[0] = sizeof("EVALSHA") - 1;
    call->argv[1] = (const char *) link->sha;
    call->argvlen[1] = NGX_HTTP_TALLY_SHA1_HEX;

    if (ngx_http_tally_op_send(op) != NGX_OK) {
        ngx_free(op);
        return NGX_OK;
    }

    ngx_queue_insert_tail(&link->live, &op->live);

    ctx->op = op;
    ctx->redis_sent_at = op->sent_at;
    ctx->outcome = NGX_HTTP_TALLY_OP_PENDING;
    ctx->state = NGX_HTTP_TALLY_WAITING;

    ngx_http_tally_count(NGX_HTTP_TALLY_METRIC_REDIS_CALLS);

    ngx_http_tally_op_arm(link);

    return NGX_AGAIN;
}


/* the link, if a call sent on it now could be answered in time */

static ngx_http_tally_link_t *
ngx_http_tally_op_link(ngx_http_request_t *r)
{
    ngx_http_tally_link_t      *link;
    ngx_http_tally_loc_conf_t  *conf;

    conf = ngx_http_get_module_loc_conf(r, ngx_http_tally_module);

    link = ngx_http_tally_link_of(conf->redis);

    if (link == NULL) {
        return NULL;
    }

    ngx_http_tally_link_want(link);

    if (link->state != NGX_HTTP_TALLY_LINK_READY
        || link->pending >= NGX_HTTP_TALLY_PENDING_MAX
        || ngx_http_tally_link_unsent(link) >= NGX_HTTP_TALLY_OBUF_MAX
        || ngx_http_tally_op_stalled(link))
    {
        ngx_log_debug3(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                       "tally redis \"%V\" takes no call, state:%d "
                       "pending:%ui", &link->redis->name, (int) link->state,
                       link->pending);
        return NULL;
    }

    return link;
}


static ngx_uint_t
ngx_http_tally_op_stalled(ngx_http_tally_link_t *link)
{
    ngx_msec_t            age;
    ngx_http_tally_op_t  *head;

    if (ngx_queue_empty(&link->sent)) {
        return 0;
    }

    head = ngx_queue_data(ngx_queue_head(&link->sent), ngx_http_tally_op_t,
                          sent);

    age = ngx_current_msec - head->sent_at;

    return age > 2 * link->redis->timeout;
}


static ngx_int_t
ngx_http_tally_op_send(ngx_http_tally_op_t *op)
{
    ngx_http_tally_link_t  *link;

    link = op->link;

    if (ngx_http_tally_link_send(link, ngx_http_tally_op_reply, op,
                                 op->call->argc, op->call->argv,
                                 op->call->argvlen)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    op->sent_at = ngx_current_msec;
    op->end = link->appended;

    ngx_queue_insert_tail(&link->sent, &op->sent);
    link->pending++;

    return NGX_OK;
}


/* the request goes before its reply has come */

static void
ngx_http_tally_op_cleanup(void *data)
{
    ngx_http_tally_ctx_t *ctx = data;

    ngx_http_tally_link_t  *link;

    if (ctx->op == NULL) {
        return;
    }

    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, ctx->op->link->log, 0,
                   "tally request gone before its reply");

    link = ctx->op->link;

    ngx_http_tally_op_detach(ctx->op);
    ngx_http_tally_op_arm(link);
}


static void
ngx_http_tally_op_detach(ngx_http_tally_op_t *op)
{
    if (op->request == NULL) {
        return;
    }

    ngx_queue_remove(&op->live);

    op->ctx->op = NULL;

    op->request = NULL;
    op->ctx = NULL;
    op->call = NULL;
}


/*
 * The request goes on from its own write event: here hiredis, a timer or
 * another request may be on the stack.
 */

static void
ngx_http_tally_op_finish(ngx_http_tally_op_t *op,
    ngx_http_tally_outcome_e outcome)
{
    ngx_event_t           *wev;
    ngx_http_request_t    *r;
    ngx_http_tally_ctx_t  *ctx;

    r = op->request;
    ctx = op->ctx;

    if (r == NULL) {
        return;
    }

    ngx_http_tally_op_detach(op);

    ctx->redis_ms = ngx_current_msec - ctx->redis_sent_at;
    ctx->redis_timed = 1;
    ctx->outcome = outcome;
    ctx->state = NGX_HTTP_TALLY_DECIDED;

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "tally redis outcome:%d", (int) outcome);

    wev = r->connection->write;

    ngx_post_event(wev, &ngx_posted_events);
}


static void
ngx_http_tally_op_reply(redisAsyncContext *ac, void *reply, void *data)
{
    ngx_http_tally_op_t *op = data;

    redisReply                *rep;
    ngx_http_tally_link_t     *link;
    ngx_http_tally_outcome_e   outcome;

    rep = reply;
    link = op->link;

    ngx_queue_remove(&op->sent);
    link->pending--;

    if (rep == NULL) {

        /*
         * The link ends.  Redis runs whole commands only: when the last
         * byte of this one was still here, nothing has happened there.
         */

        outcome = op->end > ngx_http_tally_link_written(link)
                  ? NGX_HTTP_TALLY_OP_NOT_SENT : NGX_HTTP_TALLY_OP_UNKNOWN;

    } else if (rep->type == REDIS_REPLY_ERROR) {
        outcome = ngx_http_tally_op_error(op, rep);

    } else {
        outcome = ngx_http_tally_op_decode(op, rep);
    }

    if (outcome == NGX_HTTP_TALLY_OP_PENDING) {

        /* sent again, as EVAL */

        ngx_http_tally_op_arm(link);
        return;
    }

    ngx_http_tally_op_finish(op, outcome);

    ngx_free(op);

    ngx_http_tally_op_arm(link);
}


static ngx_http_tally_outcome_e
ngx_http_tally_op_decode(ngx_http_tally_op_t *op, redisReply *reply)
{
    size_t                 i;
    struct tg_str          parts[NGX_HTTP_TALLY_REPLY_PARTS];
    struct tg_admit_reply  decoded;

    if (op->request == NULL) {
        return NGX_HTTP_TALLY_OP_UNKNOWN;
    }

    if (reply->type != REDIS_REPLY_ARRAY
        || reply->elements > NGX_HTTP_TALLY_REPLY_PARTS)
    {
        goto odd;
    }

    for (i = 0; i < reply->elements; i++) {

        if (reply->element[i] == NULL
            || reply->element[i]->type != REDIS_REPLY_STRING)
        {
            goto odd;
        }

        parts[i].data = (u_char *) reply->element[i]->str;
        parts[i].len = reply->element[i]->len;
    }

    if (tg_admit_decode(parts, reply->elements, op->call->nrates, &decoded)
        != 0)
    {
        goto odd;
    }

    if (decoded.verdict == TG_VERDICT_CONTRACT) {
        ngx_log_error(NGX_LOG_ALERT, op->link->log, 0,
                      "tally redis \"%V\": %s",
                      &op->link->redis->name,
                      ngx_http_tally_op_contract_reason);

        ngx_http_tally_link_fail(op->link, ngx_http_tally_op_contract_reason,
                                 1);

        return NGX_HTTP_TALLY_OP_BUSY;
    }

    ngx_http_tally_op_spread(op->request, op->ctx, op->call, &decoded);
    op->link->told = NULL;

    return NGX_HTTP_TALLY_OP_REPLY;

odd:

    ngx_log_error(NGX_LOG_ALERT, op->link->log, 0,
                  "tally redis \"%V\": the script gave a reply of an unknown "
                  "form", &op->link->redis->name);

    return NGX_HTTP_TALLY_OP_FAULT;
}


void
ngx_http_tally_op_spread(ngx_http_request_t *r, ngx_http_tally_ctx_t *ctx,
    ngx_http_tally_call_t *call, struct tg_admit_reply *reply)
{
    ngx_uint_t                  i, n;
    ngx_http_tally_paid_t      *paid;
    ngx_http_tally_rate_t      *rate;
    struct tg_admit_reply      *out;
    ngx_http_tally_loc_conf_t  *conf;

    out = &ctx->reply;
    *out = *reply;

    if (call->skipped == 0) {
        return;
    }

    conf = ngx_http_get_module_loc_conf(r, ngx_http_tally_module);

    rate = conf->rates->elts;

    out->violated = 0;
    out->rate_count = conf->rates->nelts;

    for (i = 0, n = 0; i < conf->rates->nelts; i++) {

        paid = (call->paid & (1U << i))
               ? ngx_http_tally_find_paid(ctx, conf->redis, call, i) : NULL;

        if (paid) {
            out->rates[i] = paid->state;
            continue;
        }

        if (call->skipped & (1U << i)) {
            out->rates[i].remaining = rate[i].rate.capacity;
            out->rates[i].reset_us = 0;
            out->rates[i].retry_after_us = 0;
            continue;
        }

        if (reply->violated & (1U << n)) {
            out->violated |= 1U << i;
        }

        out->rates[i] = reply->rates[n++];
    }
}


/* a state that lasts is a warning once (link_level) */

static void
ngx_http_tally_op_tell(ngx_http_tally_link_t *link, const char *reason,
    ngx_str_t *text)
{
    ngx_uint_t  level;

    level = ngx_http_tally_link_level(link, reason, NGX_LOG_WARN);

    ngx_log_error(level, link->log, 0, "tally redis \"%V\": %s: %V",
                  &link->redis->name, reason, text);
}


static ngx_http_tally_outcome_e
ngx_http_tally_op_error(ngx_http_tally_op_t *op, redisReply *reply)
{
    ngx_str_t               text;
    ngx_http_tally_link_t  *link;

    link = op->link;

    ngx_http_tally_redis_text(reply->str, reply->len, &text);

    switch (tg_redis_error_of(ngx_http_tally_tg(&text))) {

    case TG_REDIS_NOSCRIPT:

        if (op->request == NULL || op->retried
            || link->state != NGX_HTTP_TALLY_LINK_READY)
        {
            /* it was not run, and nobody can run it now */

            return NGX_HTTP_TALLY_OP_BUSY;
        }

        ngx_log_error(NGX_LOG_INFO, link->log, 0,
                      "tally redis \"%V\": the script is gone, sent again",
                      &link->redis->name);

        op->retried = 1;

        op->call->argv[0] = "EVAL";
        op->call->argvlen[0] = sizeof("EVAL") - 1;
        op->call->argv[1] = (const char *) tg_admit_lua;
        op->call->argvlen[1] = tg_admit_lua_len;

        if (ngx_http_tally_op_send(op) != NGX_OK) {
            return NGX_HTTP_TALLY_OP_BUSY;
        }

        return NGX_HTTP_TALLY_OP_PENDING;

    case TG_REDIS_BUSY:

        ngx_http_tally_op_tell(link, ngx_http_tally_op_busy_reason, &text);

        return NGX_HTTP_TALLY_OP_BUSY;

    case TG_REDIS_FULL:

        ngx_http_tally_op_tell(link, ngx_http_tally_op_full_reason, &text);

        return NGX_HTTP_TALLY_OP_FULL;

    case TG_REDIS_AUTH:

        ngx_log_error(NGX_LOG_ALERT, link->log, 0,
                      "tally redis \"%V\": call refused: %V; compare the "
                      "user and its rights with conf/redis.acl.in",
                      &link->redis->name, &text);

        ngx_http_tally_link_fail(link, ngx_http_tally_op_rights_reason, 1);

        return NGX_HTTP_TALLY_OP_BUSY;

    default: /* TG_REDIS_OTHER */

        ngx_log_error(NGX_LOG_ALERT, link->log, 0,
                      "tally redis \"%V\": call failed: %V",
                      &link->redis->name, &text);

        return NGX_HTTP_TALLY_OP_FAULT;
    }
}


/* one timer: the first deadline, or the time to give the link up */

static void
ngx_http_tally_op_arm(ngx_http_tally_link_t *link)
{
    ngx_msec_t            at, drop;
    ngx_msec_int_t        left;
    ngx_http_tally_op_t  *op;

    /* with a request waiting, a worker that is leaving must stay */

    link->deadline.cancelable = ngx_queue_empty(&link->live);

    if (ngx_queue_empty(&link->sent)) {
        return;
    }

    op = ngx_queue_data(ngx_queue_head(&link->sent), ngx_http_tally_op_t,
                        sent);

    at = op->sent_at + 2 * link->redis->timeout + NGX_HTTP_TALLY_DROP_FLOOR_MS;

    if (!ngx_queue_empty(&link->live)) {
        op = ngx_queue_data(ngx_queue_head(&link->live), ngx_http_tally_op_t,
                            live);
        drop = at;
        at = op->deadline;

        if ((ngx_msec_int_t) (drop - at) < 0) {
            at = drop;
        }
    }

    if (link->deadline.timer_set) {

        if ((ngx_msec_int_t) (at - link->deadline.timer.key) >= 0) {
            return;
        }

        /* ngx_add_timer() alone would keep a timer that is 300ms near */

        ngx_del_timer(&link->deadline);
    }

    left = (ngx_msec_int_t) (at - ngx_current_msec);

    ngx_add_timer(&link->deadline, left > 0 ? (ngx_msec_t) left : 0);
}


void
ngx_http_tally_op_deadline(ngx_event_t *ev)
{
    ngx_msec_t              age;
    ngx_queue_t            *q;
    ngx_http_tally_op_t    *op;
    ngx_http_tally_link_t  *link;

    link = ev->data;

    while (!ngx_queue_empty(&link->live)) {

        q = ngx_queue_head(&link->live);
        op = ngx_queue_data(q, ngx_http_tally_op_t, live);

        if ((ngx_msec_int_t) (op->deadline - ngx_current_msec) > 0) {
            break;
        }

        ngx_http_tally_count(NGX_HTTP_TALLY_METRIC_REDIS_TIMEOUTS);

        ngx_log_error(NGX_LOG_INFO, link->log, 0,
                      "tally redis \"%V\": no answer in %M ms",
                      &link->redis->name, link->redis->timeout);

        ngx_http_tally_op_finish(op, NGX_HTTP_TALLY_OP_UNKNOWN);
    }

    if (!ngx_queue_empty(&link->sent)) {

        q = ngx_queue_head(&link->sent);
        op = ngx_queue_data(q, ngx_http_tally_op_t, sent);

        age = ngx_current_msec - op->sent_at;

        if (age >= 2 * link->redis->timeout + NGX_HTTP_TALLY_DROP_FLOOR_MS) {
            ngx_http_tally_link_fail(link, ngx_http_tally_op_silent_reason, 0);
            return;
        }
    }

    ngx_http_tally_op_arm(link);
}


void
ngx_http_tally_op_detail(ngx_http_request_t *r, ngx_http_tally_ctx_t *ctx,
    ngx_str_t *detail)
{
    ngx_http_tally_link_t      *link;
    ngx_http_tally_loc_conf_t  *conf;

    ngx_str_null(detail);

    switch (ctx->outcome) {

    case NGX_HTTP_TALLY_OP_NOT_SENT:

        conf = ngx_http_get_module_loc_conf(r, ngx_http_tally_module);
        link = ngx_http_tally_link_of(conf->redis);

        if (link == NULL || link->reason.len == 0) {
            ngx_str_set(detail, "Redis does not answer in time; nothing was "
                                "sent to it. Try again later.");
            return;
        }

        detail->data = ngx_pnalloc(r->pool, NGX_HTTP_TALLY_DETAIL_MAX);
        if (detail->data == NULL) {
            return;
        }

        detail->len = ngx_snprintf(detail->data, NGX_HTTP_TALLY_DETAIL_MAX,
                                   "Nothing was sent to Redis: %V. Try again "
                                   "later.", &link->reason)
                      - detail->data;
        return;

    case NGX_HTTP_TALLY_OP_BUSY:
        ngx_str_set(detail, "Redis refused the call, so nothing has happened. "
                            "Try again later.");
        return;

    case NGX_HTTP_TALLY_OP_FULL:
        ngx_str_set(detail, "Redis is short of memory until what waits in it "
                            "has been worked off, so nothing has happened. "
                            "Try again later.");
        return;

    case NGX_HTTP_TALLY_OP_UNKNOWN:

        if (ctx->idem_key.len) {
            ngx_str_set(detail, "Redis did not answer in time, so the outcome "
                                "is unknown. Send the same request again "
                                "with the same idempotency key; it is taken "
                                "once.");
        } else {
            ngx_str_set(detail, "Redis did not answer in time, so the outcome "
                                "is unknown. The request had no idempotency "
                                "key: sent again, it may be taken twice.");
        }

        return;

    default:
        return;
    }
}
