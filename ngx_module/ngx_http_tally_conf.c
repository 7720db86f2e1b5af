
/*
 * Configuration objects, inheritance, and the checks that need the whole:
 * what one block inherits, what stands next to it, what is defined anywhere.
 */


#include "ngx_http_tally.h"


static void ngx_http_tally_inherit_auth(ngx_http_tally_loc_conf_t *prev,
    ngx_http_tally_loc_conf_t *conf);
static void ngx_http_tally_inherit_flow(ngx_http_tally_loc_conf_t *prev,
    ngx_http_tally_loc_conf_t *conf);
static void ngx_http_tally_inherit_publish(ngx_http_tally_loc_conf_t *prev,
    ngx_http_tally_loc_conf_t *conf, ngx_http_core_loc_conf_t *clcf);
static char *ngx_http_tally_resolve_auth(ngx_conf_t *cf,
    ngx_http_tally_loc_conf_t *conf);
static char *ngx_http_tally_add_issuer(ngx_conf_t *cf,
    ngx_http_tally_loc_conf_t *conf, ngx_str_t *name);
static char *ngx_http_tally_check_signature(ngx_conf_t *cf,
    ngx_http_tally_loc_conf_t *conf, ngx_http_core_loc_conf_t *clcf);
static char *ngx_http_tally_check_body(ngx_conf_t *cf,
    ngx_http_tally_at_t *at, const char *directive,
    ngx_http_core_loc_conf_t *clcf);
static char *ngx_http_tally_check_publish(ngx_conf_t *cf,
    ngx_http_tally_loc_conf_t *conf, ngx_http_core_loc_conf_t *clcf);
static char *ngx_http_tally_check_rates(ngx_conf_t *cf,
    ngx_http_tally_loc_conf_t *conf, ngx_uint_t own);


void *
ngx_http_tally_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_tally_main_conf_t  *mcf;

    mcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_tally_main_conf_t));
    if (mcf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&mcf->redis, cf->pool, 2,
                       sizeof(ngx_http_tally_redis_t *)) != NGX_OK
        || ngx_array_init(&mcf->issuers, cf->pool, 2,
                          sizeof(ngx_http_tally_issuer_t *)) != NGX_OK
        || ngx_array_init(&mcf->secrets, cf->pool, 2,
                          sizeof(ngx_http_tally_secret_t *)) != NGX_OK
        || ngx_array_init(&mcf->rates, cf->pool, 4,
                          sizeof(ngx_http_tally_rate_t)) != NGX_OK)
    {
        return NULL;
    }

    return mcf;
}


char *
ngx_http_tally_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_http_tally_main_conf_t  *mcf = conf;

    if (mcf->metrics_at.line && mcf->zone == NULL) {
        return ngx_http_tally_fail_at(cf, &mcf->metrics_at,
                                      "tally_metrics needs the counters of a "
                                      "zone, expected \"tally_zone NAME "
                                      "SIZE;\" in http");
    }

    return NGX_CONF_OK;
}


void *
ngx_http_tally_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_tally_loc_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_http_tally_loc_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     conf->auth_names, auth_issuers, publish_*, *_at = NULL;
     *     conf->signature_secret, signature_tolerance, signature_failure;
     *     conf->failure_allow = 0;
     *     conf->failure_set = 0;
     */

    conf->redis = NGX_CONF_UNSET_PTR;
    conf->auth = NGX_CONF_UNSET;
    conf->scopes = NGX_CONF_UNSET_PTR;
    conf->tenant = NULL;
    conf->signature = NGX_CONF_UNSET_UINT;
    conf->allow_types = NGX_CONF_UNSET_PTR;
    conf->allow_sources = NGX_CONF_UNSET_PTR;
    conf->rates = NGX_CONF_UNSET_PTR;
    conf->idempotency_inherit = NGX_CONF_UNSET_UINT;
    conf->publish = NGX_CONF_UNSET_UINT;

    return conf;
}


char *
ngx_http_tally_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_tally_loc_conf_t  *prev = parent;
    ngx_http_tally_loc_conf_t  *conf = child;

    ngx_uint_t                 own_scopes, own_rates, own_idem, location;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    own_scopes = (conf->scopes != NGX_CONF_UNSET_PTR);
    own_rates = (conf->rates != NGX_CONF_UNSET_PTR);
    own_idem = (conf->idempotency_inherit != NGX_CONF_UNSET_UINT);

    ngx_http_tally_inherit_auth(prev, conf);
    ngx_http_tally_inherit_flow(prev, conf);
    ngx_http_tally_inherit_publish(prev, conf, clcf);

    if (ngx_http_tally_resolve_auth(cf, conf) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    location = (clcf->name.data != NULL || clcf->noname);

    if (ngx_http_tally_check_rates(cf, conf, own_rates && location)
        != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (!location) {
        /* the rest may be completed by the locations inside */
        return NGX_CONF_OK;
    }

    if (own_scopes && !conf->auth) {
        return ngx_http_tally_fail_at(cf, &conf->scope_at,
                                      "tally_scope without tally_auth: there "
                                      "is no token whose scope could be "
                                      "checked, expected \"tally_auth "
                                      "ISSUER;\" here or around");
    }

    if (own_idem && !conf->publish
        && conf->idempotency_inherit != NGX_HTTP_TALLY_IDEM_OFF)
    {
        return ngx_http_tally_fail_at(cf, &conf->idem_at,
                                      "tally_idempotency works only with "
                                      "tally_publish here, expected \"off\" "
                                      "or a tally_publish in this location");
    }

    if (ngx_http_tally_check_signature(cf, conf, clcf) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    return ngx_http_tally_check_publish(cf, conf, clcf);
}


static void
ngx_http_tally_inherit_auth(ngx_http_tally_loc_conf_t *prev,
    ngx_http_tally_loc_conf_t *conf)
{
    if (conf->auth == NGX_CONF_UNSET) {
        conf->auth_names = prev->auth_names;
        conf->auth_issuers = prev->auth_issuers;
        conf->auth_at = prev->auth_at;
    }

    ngx_conf_merge_value(conf->auth, prev->auth, 0);

    if (conf->scopes == NGX_CONF_UNSET_PTR) {
        conf->scope_at = prev->scope_at;
    }

    ngx_conf_merge_ptr_value(conf->scopes, prev->scopes, NULL);

    if (conf->tenant == NULL) {
        conf->tenant = prev->tenant;
    }

    if (conf->signature == NGX_CONF_UNSET_UINT) {
        conf->signature_secret = prev->signature_secret;
        conf->signature_tolerance = prev->signature_tolerance;
        conf->signature_failure = prev->signature_failure;
        conf->signature_at = prev->signature_at;
    }

    ngx_conf_merge_uint_value(conf->signature, prev->signature,
                              TG_SIGNATURE_NONE);

    if (conf->signature_failure == 0) {
        conf->signature_failure = NGX_HTTP_UNAUTHORIZED;
    }
}


static void
ngx_http_tally_inherit_flow(ngx_http_tally_loc_conf_t *prev,
    ngx_http_tally_loc_conf_t *conf)
{
    ngx_conf_merge_ptr_value(conf->redis, prev->redis, NULL);

    /* both or none: tally_allow replaces the outer one as a whole */

    ngx_conf_merge_ptr_value(conf->allow_types, prev->allow_types, NULL);
    ngx_conf_merge_ptr_value(conf->allow_sources, prev->allow_sources, NULL);

    if (conf->rates == NGX_CONF_UNSET_PTR) {
        conf->rate_at = prev->rate_at;
    }

    ngx_conf_merge_ptr_value(conf->rates, prev->rates, NULL);

    if (conf->idempotency_inherit == NGX_CONF_UNSET_UINT) {
        conf->idem_key_inherit = prev->idem_key_inherit;
        conf->idem_ttl_inherit = prev->idem_ttl_inherit;
        conf->idem_at = prev->idem_at;
    }

    ngx_conf_merge_uint_value(conf->idempotency_inherit,
                              prev->idempotency_inherit,
                              NGX_HTTP_TALLY_IDEM_OFF);

    if (conf->idem_ttl_inherit == 0) {
        conf->idem_ttl_inherit = 24 * 3600;
    }

    if (!(prev->failure_set & NGX_HTTP_TALLY_CHECK_RATE)) {
        /* the outermost default */
        prev->failure_set |= NGX_HTTP_TALLY_CHECK_RATE;
        prev->failure_allow |= NGX_HTTP_TALLY_CHECK_RATE;
    }

    conf->failure_allow |= prev->failure_allow & ~conf->failure_set;
    conf->failure_set |= prev->failure_set;
}


/* A content handler is not inherited, but by "if" and "limit_except". */

static void
ngx_http_tally_inherit_publish(ngx_http_tally_loc_conf_t *prev,
    ngx_http_tally_loc_conf_t *conf, ngx_http_core_loc_conf_t *clcf)
{
    if (conf->publish == NGX_CONF_UNSET_UINT
        && clcf->noname
        && prev->publish != NGX_CONF_UNSET_UINT)
    {
        conf->publish = prev->publish;
        conf->publish_type = prev->publish_type;
        conf->publish_source = prev->publish_source;
        conf->publish_subject = prev->publish_subject;
        conf->publish_media = prev->publish_media;
        conf->publish_at = prev->publish_at;
        conf->ack_memory = prev->ack_memory;

        if (conf->publish && clcf->handler == NULL) {
            clcf->handler = ngx_http_tally_publish_handler;
        }
    }

    if (conf->publish == NGX_CONF_UNSET_UINT) {
        conf->publish = NGX_HTTP_TALLY_PUBLISH_OFF;
    }

    if (conf->publish) {
        conf->idempotency = conf->idempotency_inherit;
        conf->idem_key = conf->idem_key_inherit;
        conf->idem_ttl = conf->idem_ttl_inherit;
    }
}


/* Issuers may be defined below the tally_auth that names them. */

static char *
ngx_http_tally_resolve_auth(ngx_conf_t *cf, ngx_http_tally_loc_conf_t *conf)
{
    ngx_str_t   *name;
    ngx_uint_t   i;

    if (!conf->auth || conf->auth_issuers) {
        return NGX_CONF_OK;
    }

    conf->auth_issuers = ngx_array_create(cf->pool, conf->auth_names->nelts,
                                          sizeof(ngx_http_tally_issuer_t *));
    if (conf->auth_issuers == NULL) {
        return NGX_CONF_ERROR;
    }

    name = conf->auth_names->elts;

    for (i = 0; i < conf->auth_names->nelts; i++) {
        if (ngx_http_tally_add_issuer(cf, conf, &name[i]) != NGX_CONF_OK) {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_tally_add_issuer(ngx_conf_t *cf, ngx_http_tally_loc_conf_t *conf,
    ngx_str_t *name)
{
    ngx_uint_t                    i, j;
    ngx_http_tally_issuer_t     **all, **taken, **slot;
    ngx_http_tally_main_conf_t   *mcf;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_tally_module);

    all = mcf->issuers.elts;

    for (i = 0; i < mcf->issuers.nelts; i++) {

        if (all[i]->name.len != name->len
            || ngx_strncmp(all[i]->name.data, name->data, name->len) != 0)
        {
            continue;
        }

        taken = conf->auth_issuers->elts;

        for (j = 0; j < conf->auth_issuers->nelts; j++) {
            if (tg_str_equal(taken[j]->policy.iss, all[i]->policy.iss)) {
                return ngx_http_tally_fail_at(cf, &conf->auth_at,
                                              "tally_auth: \"%V\" has the "
                                              "iss= of \"%V\", expected "
                                              "issuers that a token's iss "
                                              "tells apart",
                                              name, &taken[j]->name);
            }
        }

        slot = ngx_array_push(conf->auth_issuers);
        if (slot == NULL) {
            return NGX_CONF_ERROR;
        }

        *slot = all[i];

        return NGX_CONF_OK;
    }

    return ngx_http_tally_fail_at(cf, &conf->auth_at,
                                  "tally_auth: \"%V\" is not accepted, "
                                  "expected the names of tally_issuer "
                                  "directives or \"off\"", name);
}


static char *
ngx_http_tally_check_signature(ngx_conf_t *cf,
    ngx_http_tally_loc_conf_t *conf, ngx_http_core_loc_conf_t *clcf)
{
    ngx_str_t                    *name;
    ngx_uint_t                    i;
    ngx_http_tally_secret_t     **secret;
    ngx_http_tally_main_conf_t   *mcf;

    if (!conf->signature) {
        return NGX_CONF_OK;
    }

    if (clcf->satisfy == NGX_HTTP_SATISFY_ANY) {
        return ngx_http_tally_fail_at(cf, &conf->signature_at,
                                      "tally_signature in a location with "
                                      "\"satisfy any\": a signature is "
                                      "checked after the body, expected "
                                      "\"satisfy all\"");
    }

    if (ngx_http_tally_check_body(cf, &conf->signature_at, "tally_signature",
                                  clcf) != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_tally_module);

    if (mcf->secrets.nelts == 0) {
        return ngx_http_tally_fail_at(cf, &conf->signature_at,
                                      "tally_signature: secret=\"%V\" names "
                                      "nothing, expected a \"tally_secret "
                                      "NAME FILE;\" or \"tally_secrets "
                                      "FILE;\" in http",
                                      &conf->signature_secret->value);
    }

    if (conf->signature_secret->lengths) {
        return NGX_CONF_OK;
    }

    /* without variables it can be looked up now */

    name = &conf->signature_secret->value;
    secret = mcf->secrets.elts;

    for (i = 0; i < mcf->secrets.nelts; i++) {

        if (ngx_strlchr(name->data, name->data + name->len, '/') != NULL) {
            if (secret[i]->name.len == 0) {
                return NGX_CONF_OK;
            }

            continue;
        }

        if (secret[i]->name.len == name->len
            && ngx_strncmp(secret[i]->name.data, name->data, name->len) == 0)
        {
            return NGX_CONF_OK;
        }
    }

    return ngx_http_tally_fail_at(cf, &conf->signature_at,
                                  "tally_signature: secret=\"%V\" names "
                                  "nothing, expected the NAME of a "
                                  "tally_secret, or TENANT/SOURCE and a "
                                  "tally_secrets", name);
}


/* The body is hashed and parsed in one piece: it must never go to a file. */

static char *
ngx_http_tally_check_body(ngx_conf_t *cf, ngx_http_tally_at_t *at,
    const char *directive, ngx_http_core_loc_conf_t *clcf)
{
    if (clcf->client_max_body_size == 0
        || clcf->client_max_body_size > TG_BODY_MAX_BYTES)
    {
        return ngx_http_tally_fail_at(cf, at,
                                      "%s: client_max_body_size is %O here "
                                      "(0: no limit), expected 1 to %d bytes",
                                      directive, clcf->client_max_body_size,
                                      TG_BODY_MAX_BYTES);
    }

    if ((off_t) clcf->client_body_buffer_size < clcf->client_max_body_size) {
        return ngx_http_tally_fail_at(cf, at,
                                      "%s: client_body_buffer_size %uz is "
                                      "less than client_max_body_size %O, "
                                      "expected at least as much, so that no "
                                      "body goes to a file", directive,
                                      clcf->client_body_buffer_size,
                                      clcf->client_max_body_size);
    }

    if (clcf->client_body_in_file_only) {
        return ngx_http_tally_fail_at(cf, at,
                                      "%s: client_body_in_file_only is on, "
                                      "expected off", directive);
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_tally_check_publish(ngx_conf_t *cf, ngx_http_tally_loc_conf_t *conf,
    ngx_http_core_loc_conf_t *clcf)
{
    ngx_http_tally_at_t  *at;

    if (!conf->publish) {
        return NGX_CONF_OK;
    }

    at = &conf->publish_at;

    if (clcf->handler != ngx_http_tally_publish_handler) {
        return ngx_http_tally_fail_at(cf, at,
                                      "tally_publish next to another content "
                                      "handler (like proxy_pass), expected "
                                      "one of them in a location");
    }

    if (conf->redis == NULL) {
        return ngx_http_tally_fail_at(cf, at,
                                      "tally_publish without tally_redis, "
                                      "expected \"tally_redis URL;\" here or "
                                      "around");
    }

    if (!conf->auth && !conf->signature) {
        return ngx_http_tally_fail_at(cf, at,
                                      "tally_publish without tally_auth and "
                                      "tally_signature would let anyone "
                                      "publish, expected one of them");
    }

    if (clcf->satisfy == NGX_HTTP_SATISFY_ANY) {
        return ngx_http_tally_fail_at(cf, at,
                                      "tally_publish in a location with "
                                      "\"satisfy any\" would let a client "
                                      "publish without a name, expected "
                                      "\"satisfy all\"");
    }

    if (!conf->ack_memory) {
        conf->redis->needs_aof = 1;
    }

    return ngx_http_tally_check_body(cf, at, "tally_publish", clcf);
}


static char *
ngx_http_tally_check_rates(ngx_conf_t *cf, ngx_http_tally_loc_conf_t *conf,
    ngx_uint_t own)
{
    ngx_uint_t              i;
    ngx_http_tally_rate_t  *rate;

    if (conf->rates == NULL) {
        return NGX_CONF_OK;
    }

    if (conf->redis == NULL) {
        return ngx_http_tally_fail_at(cf, &conf->rate_at,
                                      "tally_rate without tally_redis, "
                                      "expected \"tally_redis URL;\" here or "
                                      "around");
    }

    if (!own || conf->auth || conf->signature) {
        return NGX_CONF_OK;
    }

    rate = conf->rates->elts;

    for (i = 0; i < conf->rates->nelts; i++) {
        if (rate[i].key == NULL) {
            return ngx_http_tally_fail_at(cf, &rate[i].at,
                                          "tally_rate \"%V\" without key= in "
                                          "a location without tally_auth and "
                                          "tally_signature: there is no "
                                          "client to count, expected "
                                          "key=VALUE", &rate[i].name);
        }
    }

    return NGX_CONF_OK;
}
