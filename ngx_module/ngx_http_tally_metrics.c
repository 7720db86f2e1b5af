
/*
 * Counters in shared memory, and their page: Prometheus text format 0.0.4.
 * The zone holds numbers only, never a pointer into the configuration, so
 * that it outlives a reload.  Counters are added to without a lock.
 */


#include "ngx_http_tally.h"


#define NGX_HTTP_TALLY_LINE_MAX  256


typedef struct {
    ngx_uint_t                   count;         /* of counters: the layout */
    ngx_atomic_t                 counters[NGX_HTTP_TALLY_METRIC_COUNT];
} ngx_http_tally_shared_t;


typedef struct {
    const char                  *name;
    const char                  *label;         /* "" or name="value" */
    const char                  *help;
} ngx_http_tally_metric_t;


static ngx_int_t ngx_http_tally_metrics_body(ngx_http_request_t *r,
    ngx_http_tally_shared_t *shared, ngx_str_t *body);
static u_char *ngx_http_tally_metrics_head(u_char *p, u_char *last,
    const char *name, const char *help);


#define NGX_HTTP_TALLY_METRIC_ROW(name, text, label, help)                    \
    { text, label, help },

static const ngx_http_tally_metric_t  ngx_http_tally_metrics_table[] = {
    NGX_HTTP_TALLY_METRIC_TABLE(NGX_HTTP_TALLY_METRIC_ROW)
};


static ngx_http_tally_shared_t  *ngx_http_tally_shared;  /* of this process */


ngx_int_t
ngx_http_tally_init_zone(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_slab_pool_t          *pool;
    ngx_http_tally_shared_t  *shared;

    if (data) {
        shared = data;

    } else {
        pool = (ngx_slab_pool_t *) shm_zone->shm.addr;

        if (shm_zone->shm.exists) {
            shared = pool->data;

        } else {
            shared = ngx_slab_calloc(pool, sizeof(ngx_http_tally_shared_t));
            if (shared == NULL) {
                return NGX_ERROR;
            }

            shared->count = NGX_HTTP_TALLY_METRIC_COUNT;
            pool->data = shared;
        }
    }

    if (shared->count != NGX_HTTP_TALLY_METRIC_COUNT) {
        ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                      "tally_zone \"%V\" holds the counters of another "
                      "version of the module, restart nginx instead of "
                      "reloading it", &shm_zone->shm.name);
        return NGX_ERROR;
    }

    shm_zone->data = shared;

    return NGX_OK;
}


void
ngx_http_tally_count_init(ngx_shm_zone_t *zone)
{
    ngx_http_tally_shared = zone ? zone->data : NULL;
}


void
ngx_http_tally_count(ngx_uint_t metric)
{
    if (ngx_http_tally_shared && metric < NGX_HTTP_TALLY_METRIC_COUNT) {
        (void) ngx_atomic_fetch_add(&ngx_http_tally_shared->counters[metric],
                                    1);
    }
}


void
ngx_http_tally_count_refused(enum tg_problem_code code)
{
    if ((unsigned) code < TG_PROBLEM_COUNT) {
        ngx_http_tally_count(NGX_HTTP_TALLY_METRIC_REFUSED_FIRST
                             + (ngx_uint_t) code);
    }
}


ngx_int_t
ngx_http_tally_metrics_handler(ngx_http_request_t *r)
{
    ngx_int_t                     rc;
    ngx_str_t                     body;
    ngx_http_tally_ctx_t         *ctx;
    ngx_http_complex_value_t      cv;
    ngx_http_tally_main_conf_t   *mcf;

    static ngx_str_t  type = ngx_string("text/plain; version=0.0.4; "
                                        "charset=utf-8");

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        ctx = ngx_http_tally_get_ctx(r);
        if (ctx == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return ngx_http_tally_refuse(r, ctx, TG_PROBLEM_METHOD_NOT_ALLOWED, 0,
                                     NULL);
    }

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    mcf = ngx_http_get_module_main_conf(r, ngx_http_tally_module);

    /* nginx -t has seen to it that there is a zone */

    if (ngx_http_tally_metrics_body(r, mcf->zone->data, &body) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_memzero(&cv, sizeof(ngx_http_complex_value_t));
    cv.value = body;

    return ngx_http_send_response(r, NGX_HTTP_OK, &type, &cv);
}


static ngx_int_t
ngx_http_tally_metrics_body(ngx_http_request_t *r,
    ngx_http_tally_shared_t *shared, ngx_str_t *body)
{
    u_char                         *p, *last;
    size_t                          size;
    ngx_uint_t                      i, n;
    const char                     *name;
    const ngx_http_tally_metric_t  *m;

    /* at most HELP, TYPE and a value for each counter */

    size = 3 * NGX_HTTP_TALLY_METRIC_COUNT * NGX_HTTP_TALLY_LINE_MAX;

    p = ngx_pnalloc(r->pool, size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    body->data = p;
    last = p + size;

    n = sizeof(ngx_http_tally_metrics_table)
        / sizeof(ngx_http_tally_metrics_table[0]);
    name = "";

    for (i = 0; i < n; i++) {
        m = &ngx_http_tally_metrics_table[i];

        if (ngx_strcmp(m->name, name) != 0) {
            p = ngx_http_tally_metrics_head(p, last, m->name, m->help);
            name = m->name;
        }

        p = ngx_slprintf(p, last, "%s%s%s%s %uA\n", m->name,
                         *m->label ? "{" : "", m->label,
                         *m->label ? "}" : "", shared->counters[i]);
    }

    name = "tallygate_edge_refused_total";
    p = ngx_http_tally_metrics_head(p, last, name,
                                    "Requests refused, by problem code");

    for (i = 0; i < TG_PROBLEM_COUNT; i++) {
        p = ngx_slprintf(p, last, "%s{code=\"%s\"} %uA\n", name,
                         tg_problem_of((enum tg_problem_code) i)->code,
                         shared->counters[NGX_HTTP_TALLY_METRIC_REFUSED_FIRST
                                          + i]);
    }

    body->len = (size_t) (p - body->data);

    return NGX_OK;
}


static u_char *
ngx_http_tally_metrics_head(u_char *p, u_char *last, const char *name,
    const char *help)
{
    return ngx_slprintf(p, last, "# HELP %s %s\n# TYPE %s counter\n", name,
                        help, name);
}
