
/*
 * Directives of signed webhooks: tally_secret, tally_secrets,
 * tally_signature.
 */


#include "ngx_http_tally.h"


static char *ngx_http_tally_add_secret(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_str_t *name, ngx_str_t *file);
static char *ngx_http_tally_signature_numbers(ngx_conf_t *cf,
    ngx_command_t *cmd, ngx_http_tally_loc_conf_t *lcf,
    ngx_http_tally_param_t *params);


char *
ngx_http_tally_secret(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t  *words;

    words = cf->args->elts;

    if (!tg_str_is_name(ngx_http_tally_tg(&words[1]),
                        TG_SOURCE_NAME_MAX_BYTES))
    {
        return ngx_http_tally_bad(cf, cmd, &words[1],
                                  "a name of 1 to 64 of A-Z a-z 0-9 . _ -");
    }

    return ngx_http_tally_add_secret(cf, cmd, &words[1], &words[2]);
}


char *
ngx_http_tally_secrets(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t  *words, none;

    ngx_str_null(&none);
    words = cf->args->elts;

    return ngx_http_tally_add_secret(cf, cmd, &none, &words[1]);
}


static char *
ngx_http_tally_add_secret(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_str_t *name, ngx_str_t *file)
{
    ngx_uint_t                    i;
    struct tg_error               err;
    struct tg_secrets            *table;
    ngx_http_tally_secret_t      *secret, **slot;
    ngx_http_tally_main_conf_t   *mcf;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_tally_module);

    slot = mcf->secrets.elts;

    for (i = 0; i < mcf->secrets.nelts; i++) {
        if (slot[i]->name.len == name->len
            && (name->len == 0
                || ngx_strncmp(slot[i]->name.data, name->data, name->len)
                   == 0))
        {
            return "is duplicate";
        }
    }

    if (mcf->secrets.nelts >= NGX_HTTP_TALLY_SECRETS_MAX) {
        return ngx_http_tally_bad(cf, cmd, file, "at most 64 files");
    }

    secret = ngx_pcalloc(cf->pool, sizeof(ngx_http_tally_secret_t));
    slot = ngx_array_push(&mcf->secrets);

    if (secret == NULL || slot == NULL) {
        return NGX_CONF_ERROR;
    }

    *slot = secret;
    secret->name = *name;

    if (ngx_http_tally_path(cf, file, &secret->file.path) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    table = ngx_http_tally_read_secrets(secret, NULL, &err);

    if (table == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "%V: \"%V\" cannot be used: %s, expected lines "
                           "of %s", &cmd->name, &secret->file.path, err.text,
                           name->len
                           ? "whsec_BASE64 or text:SECRET"
                           : "TENANT SOURCE whsec_BASE64 (or text:SECRET)");
        return NGX_CONF_ERROR;
    }

    tg_secrets_free(table);

    return NGX_CONF_OK;
}


char *
ngx_http_tally_signature(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_tally_loc_conf_t  *lcf = conf;

    ngx_str_t               *words;
    ngx_uint_t               i;
    ngx_http_tally_param_t   params[] = {
        ngx_http_tally_param("secret="),
        ngx_http_tally_param("tolerance="),
        ngx_http_tally_param("failure="),
        ngx_http_tally_param(NULL)
    };

    static const struct {
        const char  *name;
        ngx_uint_t   scheme;
    } schemes[] = {
        { "standard", TG_SIGNATURE_STANDARD },
        { "github", TG_SIGNATURE_GITHUB }
    };

    if (lcf->signature != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    words = cf->args->elts;
    ngx_http_tally_here(cf, &lcf->signature_at);

    lcf->signature_tolerance = 300;
    lcf->signature_failure = NGX_HTTP_UNAUTHORIZED;

    if (cf->args->nelts == 2 && ngx_strcmp(words[1].data, "off") == 0) {
        lcf->signature = TG_SIGNATURE_NONE;
        return NGX_CONF_OK;
    }

    for (i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        if (ngx_strcmp(words[1].data, schemes[i].name) == 0) {
            lcf->signature = schemes[i].scheme;
        }
    }

    if (lcf->signature == NGX_CONF_UNSET_UINT) {
        return ngx_http_tally_bad(cf, cmd, &words[1], "\"standard\" "
                                  "(Standard Webhooks), \"github\" (GitHub, "
                                  "Jira) or \"off\"");
    }

    if (ngx_http_tally_params(cf, cmd, &words[2], cf->args->nelts - 2, params)
        != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (!params[0].given) {
        return ngx_http_tally_bad(cf, cmd, &words[1],
                                  "secret=NAME or secret=TENANT/SOURCE "
                                  "with it");
    }

    lcf->signature_secret = ngx_http_tally_compile(cf, &params[0].value);
    if (lcf->signature_secret == NULL) {
        return NGX_CONF_ERROR;
    }

    return ngx_http_tally_signature_numbers(cf, cmd, lcf, params);
}


static char *
ngx_http_tally_signature_numbers(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_http_tally_loc_conf_t *lcf, ngx_http_tally_param_t *params)
{
    ngx_int_t  n;

    if (params[1].given && lcf->signature == TG_SIGNATURE_GITHUB) {
        return ngx_http_tally_bad(cf, cmd, &params[1].word,
                                  "no tolerance= with \"github\", which "
                                  "signs no time");
    }

    if (params[1].given) {
        n = ngx_parse_time(&params[1].value, 1);

        if (n < 1 || n > NGX_HTTP_TALLY_TOLERANCE_MAX_S) {
            return ngx_http_tally_bad(cf, cmd, &params[1].word,
                                      "tolerance= from 1s to 1h");
        }

        lcf->signature_tolerance = n;
    }

    if (params[2].given) {
        n = ngx_atoi(params[2].value.data, params[2].value.len);

        if (n < 400 || n > 498 || n == NGX_HTTP_CLOSE) {
            return ngx_http_tally_bad(cf, cmd, &params[2].word,
                                      "failure= with a status from 400 to "
                                      "498, without 444");
        }

        lcf->signature_failure = (ngx_uint_t) n;
    }

    return NGX_CONF_OK;
}
