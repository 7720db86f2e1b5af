
/*
 * tally_rate: one bucket a line.
 */


#include "ngx_http_tally.h"


static char *ngx_http_tally_rate_values(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_http_tally_rate_t *rate, ngx_http_tally_param_t *params);
static char *ngx_http_tally_rate_unique(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_http_tally_rate_t *rate, ngx_http_tally_loc_conf_t *lcf);
static char *ngx_http_tally_rate_name(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_http_tally_rate_t *rate, ngx_http_tally_loc_conf_t *lcf,
    ngx_str_t *name);


char *
ngx_http_tally_rate(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_tally_loc_conf_t  *lcf = conf;

    ngx_str_t               *words;
    ngx_http_tally_rate_t   *rate;
    ngx_http_tally_param_t   params[] = {
        ngx_http_tally_param("key="),
        ngx_http_tally_param("cost="),
        ngx_http_tally_param("burst="),
        ngx_http_tally_param("name="),
        ngx_http_tally_param(NULL)
    };

    words = cf->args->elts;

    if (ngx_http_tally_params(cf, cmd, &words[2], cf->args->nelts - 2, params)
        != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (lcf->rates == NGX_CONF_UNSET_PTR) {
        lcf->rates = ngx_array_create(cf->pool, 2,
                                      sizeof(ngx_http_tally_rate_t));
        if (lcf->rates == NULL) {
            return NGX_CONF_ERROR;
        }

        ngx_http_tally_here(cf, &lcf->rate_at);
    }

    if (lcf->rates->nelts >= TG_RATES_MAX) {
        return ngx_http_tally_bad(cf, cmd, &words[1],
                                  "at most 8 rates in one block");
    }

    rate = ngx_array_push(lcf->rates);
    if (rate == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(rate, sizeof(ngx_http_tally_rate_t));
    ngx_http_tally_here(cf, &rate->at);

    if (ngx_http_tally_rate_values(cf, cmd, rate, params) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    return ngx_http_tally_rate_name(cf, cmd, rate, lcf, &params[3].value);
}


static char *
ngx_http_tally_rate_values(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_http_tally_rate_t *rate, ngx_http_tally_param_t *params)
{
    ngx_int_t          burst;
    ngx_str_t         *words;
    struct tg_error    err;

    words = cf->args->elts;
    burst = 0;

    if (params[2].given) {
        burst = ngx_atoi(params[2].value.data, params[2].value.len);

        if (burst == NGX_ERROR || burst > TG_RATE_BURST_MAX) {
            return ngx_http_tally_bad(cf, cmd, &params[2].word,
                                      "burst= from 0 to 1000000");
        }
    }

    if (tg_rate_parse(ngx_http_tally_tg(&words[1]), burst, &rate->rate, &err)
        != 0)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "%V: \"%V\" is not accepted: %s",
                           &cmd->name, &words[1], err.text);
        return NGX_CONF_ERROR;
    }

    if (params[0].given) {
        rate->key = ngx_http_tally_compile(cf, &params[0].value);
        if (rate->key == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    if (params[1].given) {
        rate->cost = ngx_http_tally_compile(cf, &params[1].value);
        if (rate->cost == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


/*
 * The name is part of the bucket's identity in Redis.  Two lines may share
 * it, and so the bucket, in different blocks and with the same numbers only.
 */

static char *
ngx_http_tally_rate_name(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_http_tally_rate_t *rate, ngx_http_tally_loc_conf_t *lcf,
    ngx_str_t *name)
{
    ngx_http_tally_rate_t        *all;
    ngx_http_tally_main_conf_t   *mcf;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_tally_module);

    rate->name = *name;

    if (name->len == 0) {
        rate->name.data = ngx_pnalloc(cf->pool,
                                      sizeof("rate") + NGX_INT_T_LEN);
        if (rate->name.data == NULL) {
            return NGX_CONF_ERROR;
        }

        rate->name.len = (size_t) (ngx_sprintf(rate->name.data, "rate%ui",
                                               mcf->rates.nelts + 1)
                                   - rate->name.data);
    }

    if (!tg_str_is_name(ngx_http_tally_tg(&rate->name),
                        TG_RATE_NAME_MAX_BYTES))
    {
        return ngx_http_tally_bad(cf, cmd, &rate->name,
                                  "name= of 1 to 64 of A-Z a-z 0-9 . _ -");
    }

    if (ngx_http_tally_rate_unique(cf, cmd, rate, lcf) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    if (mcf->rates.nelts >= NGX_HTTP_TALLY_RATES_NAMED_MAX) {
        return ngx_http_tally_bad(cf, cmd, &rate->name,
                                  "at most 1024 rates");
    }

    all = ngx_array_push(&mcf->rates);
    if (all == NULL) {
        return NGX_CONF_ERROR;
    }

    *all = *rate;

    return NGX_CONF_OK;
}


static char *
ngx_http_tally_rate_unique(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_http_tally_rate_t *rate, ngx_http_tally_loc_conf_t *lcf)
{
    ngx_uint_t                    i;
    ngx_http_tally_rate_t        *all;
    ngx_http_tally_main_conf_t   *mcf;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_tally_module);

    all = mcf->rates.elts;

    for (i = 0; i < mcf->rates.nelts; i++) {

        if (all[i].name.len != rate->name.len
            || ngx_strncmp(all[i].name.data, rate->name.data, rate->name.len)
               != 0)
        {
            continue;
        }

        if (all[i].rate.emission_us != rate->rate.emission_us
            || all[i].rate.capacity != rate->rate.capacity)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "%V: name \"%V\" stands for another rate at "
                               "%V:%ui, expected a name of its own",
                               &cmd->name, &rate->name, &all[i].at.file,
                               all[i].at.line);
            return NGX_CONF_ERROR;
        }
    }

    all = lcf->rates->elts;

    for (i = 0; i + 1 < lcf->rates->nelts; i++) {

        if (all[i].name.len == rate->name.len
            && ngx_strncmp(all[i].name.data, rate->name.data, rate->name.len)
               == 0)
        {
            return ngx_http_tally_bad(cf, cmd, &rate->name,
                                      "a name that no other tally_rate of "
                                      "this block has");
        }
    }

    return NGX_CONF_OK;
}
