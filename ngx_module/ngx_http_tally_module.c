
/*
 * The module's tables: directives, phases, life cycle.  Start reading in
 * ngx_http_tally.h.
 */


#include "ngx_http_tally.h"

#include "common/digest.h"


static ngx_int_t ngx_http_tally_postconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_http_tally_push_handler(ngx_conf_t *cf,
    ngx_uint_t phase, ngx_http_handler_pt handler);
static ngx_int_t ngx_http_tally_init_process(ngx_cycle_t *cycle);
static void ngx_http_tally_exit_process(ngx_cycle_t *cycle);
static void ngx_http_tally_exit_master(ngx_cycle_t *cycle);
static ngx_uint_t ngx_http_tally_serves(void);


#define NGX_HTTP_TALLY_ANY                                                    \
    NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF


static ngx_command_t  ngx_http_tally_commands[] = {

    { ngx_string("tally_redis"),
      NGX_HTTP_TALLY_ANY|NGX_CONF_1MORE,
      ngx_http_tally_redis,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("tally_issuer"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_2MORE,
      ngx_http_tally_issuer,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("tally_auth"),
      NGX_HTTP_TALLY_ANY|NGX_CONF_1MORE,
      ngx_http_tally_auth,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("tally_scope"),
      NGX_HTTP_TALLY_ANY|NGX_CONF_1MORE,
      ngx_http_tally_scope,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("tally_tenant"),
      NGX_HTTP_TALLY_ANY|NGX_CONF_TAKE1,
      ngx_http_tally_tenant,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("tally_secret"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE2,
      ngx_http_tally_secret,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("tally_secrets"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_tally_secrets,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("tally_signature"),
      NGX_HTTP_TALLY_ANY|NGX_CONF_1MORE,
      ngx_http_tally_signature,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("tally_allow"),
      NGX_HTTP_TALLY_ANY|NGX_CONF_TAKE12,
      ngx_http_tally_allow,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("tally_rate"),
      NGX_HTTP_TALLY_ANY|NGX_CONF_1MORE,
      ngx_http_tally_rate,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("tally_idempotency"),
      NGX_HTTP_TALLY_ANY|NGX_CONF_TAKE123,
      ngx_http_tally_idempotency,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("tally_publish"),
      NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_tally_publish,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("tally_failure"),
      NGX_HTTP_TALLY_ANY|NGX_CONF_1MORE,
      ngx_http_tally_failure,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("tally_zone"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE2,
      ngx_http_tally_zone,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("tally_metrics"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_tally_metrics,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_tally_module_ctx = {
    ngx_http_tally_add_variables,          /* preconfiguration */
    ngx_http_tally_postconfiguration,      /* postconfiguration */

    ngx_http_tally_create_main_conf,       /* create main configuration */
    ngx_http_tally_init_main_conf,         /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_tally_create_loc_conf,        /* create location configuration */
    ngx_http_tally_merge_loc_conf          /* merge location configuration */
};


ngx_module_t  ngx_http_tally_module = {
    NGX_MODULE_V1,
    &ngx_http_tally_module_ctx,            /* module context */
    ngx_http_tally_commands,               /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_http_tally_init_process,           /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_http_tally_exit_process,           /* exit process */
    ngx_http_tally_exit_master,            /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_int_t
ngx_http_tally_postconfiguration(ngx_conf_t *cf)
{
    if (ngx_http_tally_push_handler(cf, NGX_HTTP_ACCESS_PHASE,
                                    ngx_http_tally_access_handler)
            != NGX_OK
        || ngx_http_tally_push_handler(cf, NGX_HTTP_PRECONTENT_PHASE,
                                       ngx_http_tally_precontent_handler)
               != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_tally_filter_init(cf);
}


static ngx_int_t
ngx_http_tally_push_handler(ngx_conf_t *cf, ngx_uint_t phase,
    ngx_http_handler_pt handler)
{
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[phase].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = handler;

    return NGX_OK;
}


/* The cache manager and loader run init_process too, and serve nothing. */

static ngx_uint_t
ngx_http_tally_serves(void)
{
    return ngx_process == NGX_PROCESS_WORKER
           || ngx_process == NGX_PROCESS_SINGLE;
}


static ngx_int_t
ngx_http_tally_init_process(ngx_cycle_t *cycle)
{
    ngx_http_tally_main_conf_t  *mcf;

    mcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_tally_module);

    if (mcf == NULL || !ngx_http_tally_serves()) {
        return NGX_OK;
    }

    ngx_http_tally_count_init(mcf->zone);

    if (ngx_http_tally_cache_init(cycle) != NGX_OK
        || ngx_http_tally_watch_init(cycle, mcf) != NGX_OK
        || ngx_http_tally_link_init(cycle, mcf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_http_tally_exit_process(ngx_cycle_t *cycle)
{
    ngx_http_tally_main_conf_t  *mcf;

    mcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_tally_module);

    if (mcf == NULL || !ngx_http_tally_serves()) {
        return;
    }

    ngx_http_tally_link_done();
    ngx_http_tally_watch_done(mcf);
    ngx_http_tally_cache_done();

    tg_digest_done();
}


static void
ngx_http_tally_exit_master(ngx_cycle_t *cycle)
{
    tg_digest_done();
}
