
/*
 * The arguments of admit.lua for one request.  common/admit.h says their
 * order; this file says where each comes from.
 *
 * A rate whose key= is empty for a request does not count it, as limit_req
 * does not.  The reply is spread over all rates of the location again.
 */


#include "ngx_http_tally_link.h"

#include "common/codec.h"
#include "common/keys.h"
#include "common/shard.h"


#define NGX_HTTP_TALLY_ADMIT_HEAD  6    /* arguments before the rates */


typedef struct {
    ngx_http_request_t          *r;
    ngx_http_tally_ctx_t        *ctx;
    ngx_http_tally_loc_conf_t   *conf;
    ngx_http_tally_call_t       *call;
    enum tg_problem_code        *code;
    ngx_str_t                   *detail;

    unsigned                     shard;
    ngx_uint_t                   idempotent;
    ngx_str_t                    id;            /* of the event, see _key.c */
    ngx_uint_t                   publish;
    ngx_http_tally_rate_t       *rate;          /* of the location, all */
    ngx_uint_t                   nrates;
    ngx_str_t                    rate_key[TG_RATES_MAX];
} ngx_http_tally_admit_t;


static ngx_int_t ngx_http_tally_admit_no(ngx_http_tally_admit_t *a,
    enum tg_problem_code code, const char *detail);
static ngx_int_t ngx_http_tally_admit_tenant(ngx_http_tally_admit_t *a);
static ngx_int_t ngx_http_tally_admit_rate_keys(ngx_http_tally_admit_t *a);
static ngx_int_t ngx_http_tally_admit_alloc(ngx_http_tally_admit_t *a);
static void ngx_http_tally_admit_arg(ngx_http_tally_admit_t *a,
    const void *data, size_t len);
static ngx_int_t ngx_http_tally_admit_number(ngx_http_tally_admit_t *a,
    int64_t n);
static ngx_int_t ngx_http_tally_admit_key(ngx_http_tally_admit_t *a,
    struct tg_key *key);
static ngx_int_t ngx_http_tally_admit_keys(ngx_http_tally_admit_t *a);
static ngx_int_t ngx_http_tally_admit_rate_key(ngx_http_tally_admit_t *a,
    ngx_uint_t i);
static ngx_int_t ngx_http_tally_admit_head(ngx_http_tally_admit_t *a);
static ngx_int_t ngx_http_tally_admit_rates(ngx_http_tally_admit_t *a);
static ngx_int_t ngx_http_tally_admit_cost(ngx_http_tally_admit_t *a,
    ngx_http_tally_rate_t *rate, int64_t *cost);
static ngx_int_t ngx_http_tally_admit_fields(ngx_http_tally_admit_t *a);
static struct tg_str ngx_http_tally_admit_field(ngx_http_tally_admit_t *a,
    enum tg_stream_field field, char *hex);


ngx_int_t
ngx_http_tally_admit_build(ngx_http_request_t *r, ngx_http_tally_ctx_t *ctx,
    ngx_http_tally_call_t *call, enum tg_problem_code *code,
    ngx_str_t *detail)
{
    ngx_int_t                rc;
    ngx_http_tally_admit_t   a;

    ngx_memzero(&a, sizeof(ngx_http_tally_admit_t));

    a.r = r;
    a.ctx = ctx;
    a.conf = ngx_http_get_module_loc_conf(r, ngx_http_tally_module);
    a.call = call;
    a.code = code;
    a.detail = detail;

    a.publish = (a.conf->publish != NGX_HTTP_TALLY_PUBLISH_OFF);

    if (a.conf->rates && a.conf->rates->nelts <= TG_RATES_MAX) {
        a.rate = a.conf->rates->elts;
        a.nrates = a.conf->rates->nelts;
    }

    rc = ngx_http_tally_admit_tenant(&a);

    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_tally_idem_key(r, ctx, code, detail);

    if (rc != NGX_OK) {
        return rc;
    }

    a.idempotent = (ctx->idem_key.len != 0);

    if (ngx_http_tally_admit_rate_keys(&a) != NGX_OK
        || ngx_http_tally_admit_alloc(&a) != NGX_OK
        || ngx_http_tally_admit_keys(&a) != NGX_OK
        || ngx_http_tally_admit_head(&a) != NGX_OK)
    {
        return NGX_ERROR;
    }

    rc = ngx_http_tally_admit_rates(&a);

    if (rc != NGX_OK) {
        return rc;
    }

    if (a.publish) {
        return ngx_http_tally_admit_fields(&a);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_tally_admit_no(ngx_http_tally_admit_t *a, enum tg_problem_code code,
    const char *detail)
{
    *a->code = code;

    a->detail->data = (u_char *) detail;
    a->detail->len = ngx_strlen(detail);

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_tally_admit_tenant(ngx_http_tally_admit_t *a)
{
    ngx_str_t  *tenant;

    tenant = &a->ctx->tenant;

    /* rates of a location without auth know no tenant */

    if (tenant->len == 0 && !a->publish) {
        a->shard = tg_shard_of(ngx_http_tally_tg(tenant),
                               (unsigned) a->conf->redis->shards);
        return NGX_OK;
    }

    if (!tg_str_is_name(ngx_http_tally_tg(tenant), TG_TENANT_MAX_BYTES)) {
        return ngx_http_tally_admit_no(a, TG_PROBLEM_TENANT_MISSING,
                                       "the request names no tenant of "
                                       "1 to 64 of A-Z a-z 0-9 . _ -");
    }

    a->shard = tg_shard_of(ngx_http_tally_tg(tenant),
                           (unsigned) a->conf->redis->shards);

    return NGX_OK;
}


static ngx_int_t
ngx_http_tally_admit_rate_keys(ngx_http_tally_admit_t *a)
{
    ngx_uint_t  i;

    a->call->nrates = 0;
    a->call->skipped = 0;
    a->call->paid = 0;

    for (i = 0; i < a->nrates; i++) {

        a->rate_key[i] = a->ctx->client;

        if (a->rate[i].key) {

            if (ngx_http_complex_value(a->r, a->rate[i].key, &a->rate_key[i])
                != NGX_OK)
            {
                return NGX_ERROR;
            }

            if (a->rate_key[i].len == 0) {
                a->call->skipped |= 1U << i;
                continue;
            }
        }

        if (tg_rate_digest(ngx_http_tally_tg(&a->rate[i].name),
                           ngx_http_tally_tg(&a->ctx->tenant),
                           ngx_http_tally_tg(&a->rate_key[i]),
                           a->call->digest[i])
            != 0)
        {
            return NGX_ERROR;
        }

        if (ngx_http_tally_find_paid(a->ctx, a->conf->redis, a->call, i)) {
            a->call->skipped |= 1U << i;
            a->call->paid |= 1U << i;
            continue;
        }

        a->call->nrates++;
    }

    return NGX_OK;
}


ngx_http_tally_paid_t *
ngx_http_tally_find_paid(ngx_http_tally_ctx_t *ctx,
    ngx_http_tally_redis_t *redis, ngx_http_tally_call_t *call, ngx_uint_t i)
{
    ngx_uint_t              n;
    ngx_http_tally_paid_t  *paid;

    if (ctx->paid == NULL) {
        return NULL;
    }

    paid = ctx->paid->elts;

    for (n = 0; n < ctx->paid->nelts; n++) {
        if (paid[n].redis == redis
            && ngx_memcmp(paid[n].digest, call->digest[i],
                          TG_IDEM_DIGEST_BYTES)
               == 0)
        {
            return &paid[n];
        }
    }

    return NULL;
}


static ngx_int_t
ngx_http_tally_admit_alloc(ngx_http_tally_admit_t *a)
{
    size_t  n;

    /* command, script, number of keys; keys; head; rates; fields */

    n = 3 + 2 + a->call->nrates
        + NGX_HTTP_TALLY_ADMIT_HEAD + 3 * a->call->nrates
        + (a->publish ? 2 * TG_STREAM_FIELD_COUNT : 0);

    a->call->argv = ngx_palloc(a->r->pool, n * sizeof(char *));
    a->call->argvlen = ngx_palloc(a->r->pool, n * sizeof(size_t));

    if (a->call->argv == NULL || a->call->argvlen == NULL) {
        return NGX_ERROR;
    }

    a->call->argc = 0;

    ngx_http_tally_admit_arg(a, "", 0);        /* op_start fills in */
    ngx_http_tally_admit_arg(a, "", 0);        /* these two */

    return NGX_OK;
}


static void
ngx_http_tally_admit_arg(ngx_http_tally_admit_t *a, const void *data,
    size_t len)
{
    /* hiredis copies from argv even when there is nothing */

    a->call->argv[a->call->argc] = len ? data : "";
    a->call->argvlen[a->call->argc] = len;
    a->call->argc++;
}


static ngx_int_t
ngx_http_tally_admit_number(ngx_http_tally_admit_t *a, int64_t n)
{
    u_char  *p;

    p = ngx_pnalloc(a->r->pool, NGX_INT64_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_http_tally_admit_arg(a, p, ngx_sprintf(p, "%L", n) - p);

    return NGX_OK;
}


static ngx_int_t
ngx_http_tally_admit_key(ngx_http_tally_admit_t *a, struct tg_key *key)
{
    u_char  *p;

    p = ngx_pnalloc(a->r->pool, key->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(p, key->data, key->len);
    ngx_http_tally_admit_arg(a, p, key->len);

    return NGX_OK;
}


static ngx_int_t
ngx_http_tally_admit_keys(ngx_http_tally_admit_t *a)
{
    ngx_uint_t                 i;
    struct tg_key              key;
    struct tg_str              prefix;
    unsigned char              digest[TG_IDEM_DIGEST_BYTES];
    ngx_http_tally_ctx_t      *ctx;
    ngx_http_core_loc_conf_t  *clcf;

    ctx = a->ctx;
    prefix = ngx_http_tally_tg(&a->conf->redis->prefix);

    if (ngx_http_tally_admit_number(a, (int64_t) (2 + a->call->nrates))
            != NGX_OK
        || tg_key_events(&key, prefix, a->shard) != 0
        || ngx_http_tally_admit_key(a, &key) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (a->idempotent) {
        clcf = ngx_http_get_module_loc_conf(a->r, ngx_http_core_module);

        if (tg_idem_digest(ngx_http_tally_tg(&ctx->tenant),
                           ngx_http_tally_tg(&ctx->client),
                           ngx_http_tally_tg(&a->r->method_name),
                           ngx_http_tally_tg(&clcf->name),
                           ngx_http_tally_tg(&ctx->idem_key), digest)
            != 0
            || tg_key_idem(&key, prefix, a->shard, digest) != 0)
        {
            return NGX_ERROR;
        }
    }

    /* without a key the script does not look here: the stream again */

    if (ngx_http_tally_admit_key(a, &key) != NGX_OK) {
        return NGX_ERROR;
    }

    for (i = 0; i < a->nrates; i++) {
        if (a->call->skipped & (1U << i)) {
            continue;
        }

        if (ngx_http_tally_admit_rate_key(a, i) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_tally_admit_rate_key(ngx_http_tally_admit_t *a, ngx_uint_t i)
{
    struct tg_key  key;

    if (tg_key_rate(&key, ngx_http_tally_tg(&a->conf->redis->prefix),
                    a->shard, a->call->digest[i])
        != 0)
    {
        return NGX_ERROR;
    }

    return ngx_http_tally_admit_key(a, &key);
}


static ngx_int_t
ngx_http_tally_admit_head(ngx_http_tally_admit_t *a)
{
    u_char     *tag;
    ngx_str_t   what;

    static ngx_str_t  whats[] = {
        ngx_string(""), ngx_string("i"), ngx_string("p"), ngx_string("ip")
    };

    what = whats[(a->publish ? 2 : 0) + (a->idempotent ? 1 : 0)];

    tag = ngx_pnalloc(a->r->pool, sizeof("s00") - 1);
    if (tag == NULL) {
        return NGX_ERROR;
    }

    tag[0] = 's';
    tag[1] = (u_char) ('0' + a->shard / 10);
    tag[2] = (u_char) ('0' + a->shard % 10);

    if (ngx_http_tally_admit_number(a, TG_CONTRACT_VERSION) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_http_tally_admit_arg(a, what.data, what.len);
    ngx_http_tally_admit_arg(a, a->ctx->body_sha256, TG_SHA256_BYTES);

    if (ngx_http_tally_admit_number(a, a->conf->idem_ttl) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_http_tally_admit_arg(a, tag, sizeof("s00") - 1);

    return ngx_http_tally_admit_number(a, (int64_t) a->call->nrates);
}


static ngx_int_t
ngx_http_tally_admit_rates(ngx_http_tally_admit_t *a)
{
    int64_t     cost;
    ngx_int_t   rc;
    ngx_uint_t  i;

    for (i = 0; i < a->nrates; i++) {

        if (a->call->skipped & (1U << i)) {
            continue;
        }

        rc = ngx_http_tally_admit_cost(a, &a->rate[i], &cost);

        if (rc != NGX_OK) {
            return rc;
        }

        if (ngx_http_tally_admit_number(a, a->rate[i].rate.emission_us)
                != NGX_OK
            || ngx_http_tally_admit_number(a, a->rate[i].rate.capacity)
                   != NGX_OK
            || ngx_http_tally_admit_number(a, cost) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_tally_admit_cost(ngx_http_tally_admit_t *a,
    ngx_http_tally_rate_t *rate, int64_t *cost)
{
    ngx_str_t  value;

    *cost = 1;

    if (rate->cost == NULL) {
        return NGX_OK;
    }

    if (ngx_http_complex_value(a->r, rate->cost, &value) != NGX_OK) {
        return NGX_ERROR;
    }

    if (!tg_str_to_i64(ngx_http_tally_tg(&value), cost)
        || *cost < 1 || *cost > TG_RATE_COST_MAX)
    {
        ngx_log_error(NGX_LOG_ERR, a->r->connection->log, 0,
                      "tally rate \"%V\": cost= gave no whole number from 1 "
                      "to %d", &rate->name, TG_RATE_COST_MAX);

        return ngx_http_tally_admit_no(a, TG_PROBLEM_INTERNAL,
                                       "the cost of the request is not a "
                                       "number");
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_tally_admit_fields(ngx_http_tally_admit_t *a)
{
    char                 *hex;
    u_char               *p;
    const char           *name;
    struct tg_str         value;
    enum tg_stream_field  f;

    hex = ngx_pnalloc(a->r->pool, 2 * TG_SHA256_BYTES);

    if (hex == NULL
        || ngx_http_tally_event_id(a->r, a->ctx, &a->id) != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (f = 0; f < TG_STREAM_FIELD_COUNT; f++) {

        name = tg_stream_field_name(f);
        value = ngx_http_tally_admit_field(a, f, hex);

        if (value.len > tg_stream_field_max_bytes(f)) {

            p = ngx_pnalloc(a->r->pool, NGX_HTTP_TALLY_DETAIL_MAX);
            if (p == NULL) {
                return NGX_ERROR;
            }

            *a->code = TG_PROBLEM_BODY_INVALID;

            a->detail->data = p;
            a->detail->len = ngx_snprintf(p, NGX_HTTP_TALLY_DETAIL_MAX,
                                          "the event's %s is longer than %uz "
                                          "bytes", name,
                                          tg_stream_field_max_bytes(f))
                             - p;

            return NGX_DECLINED;
        }

        ngx_http_tally_admit_arg(a, name, ngx_strlen(name));
        ngx_http_tally_admit_arg(a, value.data, value.len);
    }

    return NGX_OK;
}


static struct tg_str
ngx_http_tally_admit_field(ngx_http_tally_admit_t *a,
    enum tg_stream_field field, char *hex)
{
    struct tg_str          value;
    ngx_http_request_t    *r;
    ngx_http_tally_ctx_t  *ctx;

    r = a->r;
    ctx = a->ctx;

    switch (field) {

    case TG_STREAM_ID:
        return ngx_http_tally_tg(&a->id);

    case TG_STREAM_TYPE:
        return ngx_http_tally_tg(&ctx->event_type);

    case TG_STREAM_SOURCE:
        return ngx_http_tally_tg(&ctx->event_source);

    case TG_STREAM_SUBJECT:
        return ngx_http_tally_tg(&ctx->event_subject);

    case TG_STREAM_TENANT:
        return ngx_http_tally_tg(&ctx->tenant);

    case TG_STREAM_CLIENT:
        return ngx_http_tally_tg(&ctx->client);

    case TG_STREAM_TIME:
        return ctx->event.time;

    case TG_STREAM_DATASCHEMA:
        return ctx->event.dataschema;

    case TG_STREAM_KEY:
        return ngx_http_tally_tg(&ctx->idem_key);

    case TG_STREAM_CORRELATION_ID:
        return ngx_http_tally_tg(&ctx->correlation_id);

    case TG_STREAM_TRACEPARENT:
        return ngx_http_tally_tg(&ctx->traceparent);

    case TG_STREAM_BODY_SHA256:
        tg_hex_encode(ctx->body_sha256, TG_SHA256_BYTES, hex);
        value.data = (unsigned char *) hex;
        value.len = 2 * TG_SHA256_BYTES;
        return value;

    case TG_STREAM_CONTENT_TYPE:

        if (r->headers_in.content_type) {
            return ngx_http_tally_tg(&r->headers_in.content_type->value);
        }

        return tg_str_of(NULL);

    case TG_STREAM_BODY:
        return ngx_http_tally_tg(&ctx->body);

    default: /* TG_STREAM_RECEIVED_AT: the script fills it in */
        return tg_str_of(NULL);
    }
}
