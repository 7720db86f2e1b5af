
/*
 * Directives that say what happens to a request that may come in:
 * tally_allow, tally_idempotency, tally_publish, tally_failure, tally_zone,
 * tally_metrics.
 */


#include "ngx_http_tally.h"


static char *ngx_http_tally_publish_params(ngx_conf_t *cf,
    ngx_command_t *cmd, ngx_http_tally_loc_conf_t *lcf,
    ngx_http_tally_param_t *params);
static char *ngx_http_tally_publish_media(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_http_tally_loc_conf_t *lcf, ngx_array_t *values);
static char *ngx_http_tally_failure_check(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_http_tally_loc_conf_t *lcf, ngx_str_t *word);


char *
ngx_http_tally_allow(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_tally_loc_conf_t  *lcf = conf;

    ngx_str_t               *words;
    ngx_http_tally_param_t   params[] = {
        ngx_http_tally_param("types="),
        ngx_http_tally_param("sources="),
        ngx_http_tally_param(NULL)
    };

    if (lcf->allow_types != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    words = cf->args->elts;

    if (ngx_http_tally_params(cf, cmd, &words[1], cf->args->nelts - 1, params)
        != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    lcf->allow_types = NULL;
    lcf->allow_sources = NULL;

    if (params[0].given) {
        lcf->allow_types = ngx_http_tally_compile(cf, &params[0].value);
        if (lcf->allow_types == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    if (params[1].given) {
        lcf->allow_sources = ngx_http_tally_compile(cf, &params[1].value);
        if (lcf->allow_sources == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


char *
ngx_http_tally_idempotency(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_tally_loc_conf_t  *lcf = conf;

    ngx_int_t                ttl;
    ngx_str_t               *words;
    ngx_http_tally_param_t   params[] = {
        ngx_http_tally_param("key="),
        ngx_http_tally_param("ttl="),
        ngx_http_tally_param(NULL)
    };

    if (lcf->idempotency_inherit != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    words = cf->args->elts;
    ngx_http_tally_here(cf, &lcf->idem_at);

    if (ngx_strcmp(words[1].data, "required") == 0) {
        lcf->idempotency_inherit = NGX_HTTP_TALLY_IDEM_REQUIRED;

    } else if (ngx_strcmp(words[1].data, "optional") == 0) {
        lcf->idempotency_inherit = NGX_HTTP_TALLY_IDEM_OPTIONAL;

    } else if (ngx_strcmp(words[1].data, "off") == 0) {
        lcf->idempotency_inherit = NGX_HTTP_TALLY_IDEM_OFF;

    } else {
        return ngx_http_tally_bad(cf, cmd, &words[1],
                                  "required, optional or off");
    }

    if (ngx_http_tally_params(cf, cmd, &words[2], cf->args->nelts - 2, params)
        != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (params[0].given) {
        lcf->idem_key_inherit = ngx_http_tally_compile(cf, &params[0].value);
        if (lcf->idem_key_inherit == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    lcf->idem_ttl_inherit = 24 * 3600;

    if (params[1].given) {
        ttl = ngx_parse_time(&params[1].value, 1);

        if (ttl < 1 || ttl > NGX_HTTP_TALLY_IDEM_TTL_MAX_S) {
            return ngx_http_tally_bad(cf, cmd, &params[1].word,
                                      "ttl= from 1s to 30d");
        }

        lcf->idem_ttl_inherit = ttl;
    }

    return NGX_CONF_OK;
}


char *
ngx_http_tally_publish(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_tally_loc_conf_t  *lcf = conf;

    ngx_str_t                 *words;
    ngx_uint_t                 first;
    ngx_array_t               *media;
    ngx_http_core_loc_conf_t  *clcf;
    ngx_http_tally_param_t     params[] = {
        ngx_http_tally_param("type="),
        ngx_http_tally_param("source="),
        ngx_http_tally_param("subject="),
        ngx_http_tally_param("media="),
        ngx_http_tally_param("ack="),
        ngx_http_tally_param(NULL)
    };

    if (lcf->publish != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    words = cf->args->elts;
    ngx_http_tally_here(cf, &lcf->publish_at);

    media = ngx_array_create(cf->pool, 2, sizeof(ngx_str_t));
    if (media == NULL) {
        return NGX_CONF_ERROR;
    }

    params[3].values = media;
    first = 1;

    if (ngx_strcmp(words[1].data, "cloudevents") == 0) {
        lcf->publish = NGX_HTTP_TALLY_PUBLISH_CLOUDEVENTS;
        first = 2;

    } else if (ngx_strchr(words[1].data, '=') != NULL) {
        lcf->publish = NGX_HTTP_TALLY_PUBLISH_TYPE;

    } else {
        return ngx_http_tally_bad(cf, cmd, &words[1], "\"cloudevents\", or "
                                  "type=VALUE source=VALUE");
    }

    if (ngx_http_tally_params(cf, cmd, &words[first],
                              cf->args->nelts - first, params)
            != NGX_CONF_OK
        || ngx_http_tally_publish_params(cf, cmd, lcf, params)
               != NGX_CONF_OK
        || ngx_http_tally_publish_media(cf, cmd, lcf, media) != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = ngx_http_tally_publish_handler;

    return NGX_CONF_OK;
}


static char *
ngx_http_tally_publish_params(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_http_tally_loc_conf_t *lcf, ngx_http_tally_param_t *params)
{
    ngx_uint_t                  i;
    ngx_http_complex_value_t  **cv[] = { &lcf->publish_type,
                                         &lcf->publish_source,
                                         &lcf->publish_subject };

    if (params[4].given) {

        if (ngx_strcmp(params[4].value.data, "memory") == 0) {
            lcf->ack_memory = 1;

        } else if (ngx_strcmp(params[4].value.data, "aof") != 0) {
            return ngx_http_tally_bad(cf, cmd, &params[4].word,
                                      "ack=aof or ack=memory");
        }
    }

    if (lcf->publish == NGX_HTTP_TALLY_PUBLISH_CLOUDEVENTS) {

        for (i = 0; i < 4; i++) {
            if (params[i].given) {
                return ngx_http_tally_bad(cf, cmd, &params[i].word,
                                          "only ack= after cloudevents: the "
                                          "event itself says the rest");
            }
        }

        return NGX_CONF_OK;
    }

    if (!params[0].given) {
        return ngx_http_tally_bad(cf, cmd, &params[1].word,
                                  "type= together with source=");
    }

    if (!params[1].given) {
        return ngx_http_tally_bad(cf, cmd, &params[0].word,
                                  "source= together with type=");
    }

    for (i = 0; i < 3; i++) {
        if (!params[i].given) {
            continue;
        }

        *cv[i] = ngx_http_tally_compile(cf, &params[i].value);
        if (*cv[i] == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


/* media= may repeat and may hold a comma list */

static char *
ngx_http_tally_publish_media(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_http_tally_loc_conf_t *lcf, ngx_array_t *values)
{
    u_char      *p, *last, *end;
    ngx_str_t   *value, *media;
    ngx_uint_t   i;

    if (lcf->publish == NGX_HTTP_TALLY_PUBLISH_CLOUDEVENTS) {
        return NGX_CONF_OK;
    }

    lcf->publish_media = ngx_array_create(cf->pool, 2, sizeof(ngx_str_t));
    if (lcf->publish_media == NULL) {
        return NGX_CONF_ERROR;
    }

    if (values->nelts == 0) {
        media = ngx_array_push(lcf->publish_media);
        if (media == NULL) {
            return NGX_CONF_ERROR;
        }

        ngx_str_set(media, "application/json");

        return NGX_CONF_OK;
    }

    value = values->elts;

    for (i = 0; i < values->nelts; i++) {
        last = value[i].data + value[i].len;

        for (p = value[i].data; p <= last; p = end + 1) {
            end = ngx_strlchr(p, last, ',');

            if (end == NULL) {
                end = last;
            }

            if (ngx_strlchr(p, end, '/') == NULL
                || ngx_strlchr(p, end, ';') != NULL
                || ngx_strlchr(p, end, '*') != NULL
                || lcf->publish_media->nelts >= NGX_HTTP_TALLY_MEDIA_MAX)
            {
                return ngx_http_tally_bad(cf, cmd, &value[i],
                                          "media= with up to 16 of "
                                          "TYPE/SUBTYPE, without parameters "
                                          "and wildcards");
            }

            media = ngx_array_push(lcf->publish_media);
            if (media == NULL) {
                return NGX_CONF_ERROR;
            }

            media->data = p;
            media->len = (size_t) (end - p);
        }
    }

    return NGX_CONF_OK;
}


char *
ngx_http_tally_failure(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_tally_loc_conf_t  *lcf = conf;

    ngx_str_t   *words;
    ngx_uint_t   i;

    words = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {
        if (ngx_http_tally_failure_check(cf, cmd, lcf, &words[i])
            != NGX_CONF_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


/*
 * publish=allow would answer 202 for an event that is nowhere, and
 * idempotency=allow would act twice: only a rate may be waived.
 */

static char *
ngx_http_tally_failure_check(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_http_tally_loc_conf_t *lcf, ngx_str_t *word)
{
    ngx_uint_t  i;

    static const struct {
        ngx_str_t    word;
        ngx_uint_t   check;
        ngx_uint_t   allow;
    } words[] = {
        { ngx_string("rate=allow"), NGX_HTTP_TALLY_CHECK_RATE, 1 },
        { ngx_string("rate=deny"), NGX_HTTP_TALLY_CHECK_RATE, 0 },
        { ngx_string("idempotency=deny"), NGX_HTTP_TALLY_CHECK_IDEMPOTENCY,
          0 },
        { ngx_string("publish=deny"), NGX_HTTP_TALLY_CHECK_PUBLISH, 0 },
        { ngx_null_string, 0, 0 }
    };

    for (i = 0; words[i].check; i++) {

        if (words[i].word.len != word->len
            || ngx_strncmp(words[i].word.data, word->data, word->len) != 0)
        {
            continue;
        }

        if (lcf->failure_set & words[i].check) {
            return ngx_http_tally_bad(cf, cmd, word,
                                      "each check once in a block");
        }

        lcf->failure_set |= words[i].check;

        if (words[i].allow) {
            lcf->failure_allow |= words[i].check;
        }

        return NGX_CONF_OK;
    }

    return ngx_http_tally_bad(cf, cmd, word, "rate=allow, rate=deny, "
                              "idempotency=deny or publish=deny (an event "
                              "that is not durable is never accepted)");
}


char *
ngx_http_tally_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_tally_main_conf_t  *mcf = conf;

    ssize_t      size;
    ngx_str_t   *words;

    if (mcf->zone) {
        return "is duplicate";
    }

    words = cf->args->elts;

    if (!tg_str_is_name(ngx_http_tally_tg(&words[1]),
                        TG_SOURCE_NAME_MAX_BYTES))
    {
        return ngx_http_tally_bad(cf, cmd, &words[1],
                                  "a name of 1 to 64 of A-Z a-z 0-9 . _ -");
    }

    size = ngx_parse_size(&words[2]);

    if (size == NGX_ERROR || size < (ssize_t) (8 * ngx_pagesize)) {
        return ngx_http_tally_bad(cf, cmd, &words[2],
                                  "a size of at least 8 pages, like 64k");
    }

    mcf->zone = ngx_shared_memory_add(cf, &words[1], (size_t) size,
                                      &ngx_http_tally_module);
    if (mcf->zone == NULL) {
        return NGX_CONF_ERROR;
    }

    mcf->zone->init = ngx_http_tally_init_zone;

    return NGX_CONF_OK;
}


char *
ngx_http_tally_metrics(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_core_loc_conf_t    *clcf;
    ngx_http_tally_main_conf_t  *mcf;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_tally_module);

    /* the zone may be defined further down */
    ngx_http_tally_here(cf, &mcf->metrics_at);

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = ngx_http_tally_metrics_handler;

    return NGX_CONF_OK;
}
