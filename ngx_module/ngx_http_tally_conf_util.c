
/*
 * Words of directives: NAME=VALUE lists, values with variables, paths, and
 * messages that name the directive, the word and what is accepted.
 */


#include "ngx_http_tally.h"


static ngx_http_tally_param_t *ngx_http_tally_find_param(
    ngx_http_tally_param_t *params, ngx_str_t *word, ngx_str_t *value);


char *
ngx_http_tally_params(ngx_conf_t *cf, ngx_command_t *cmd, ngx_str_t *words,
    ngx_uint_t n, ngx_http_tally_param_t *params)
{
    u_char                  *p, *last;
    ngx_str_t                value, *v;
    ngx_uint_t               i;
    ngx_http_tally_param_t  *param;
    u_char                   names[NGX_HTTP_TALLY_DETAIL_MAX];

    last = names + sizeof(names);

    for (i = 0; i < n; i++) {

        param = ngx_http_tally_find_param(params, &words[i], &value);

        if (param == NULL) {
            p = names;

            for (param = params; param->name; param++) {
                p = ngx_snprintf(p, last - p, " %s", param->name);
            }

            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "%V: \"%V\" is not accepted, expected%*s",
                               &cmd->name, &words[i],
                               (size_t) (p - names), names);
            return NGX_CONF_ERROR;
        }

        if (value.len == 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "%V: \"%V\" has no value after the \"=\"",
                               &cmd->name, &words[i]);
            return NGX_CONF_ERROR;
        }

        if (param->values) {
            v = ngx_array_push(param->values);
            if (v == NULL) {
                return NGX_CONF_ERROR;
            }

            *v = value;

        } else if (param->given) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "%V: \"%s\" is given twice, at \"%V\"",
                               &cmd->name, param->name, &words[i]);
            return NGX_CONF_ERROR;
        }

        param->value = value;
        param->word = words[i];
        param->given = 1;
    }

    return NGX_CONF_OK;
}


static ngx_http_tally_param_t *
ngx_http_tally_find_param(ngx_http_tally_param_t *params, ngx_str_t *word,
    ngx_str_t *value)
{
    size_t  len;

    for ( /* void */ ; params->name; params++) {
        len = ngx_strlen(params->name);

        if (word->len >= len
            && ngx_strncmp(word->data, params->name, len) == 0)
        {
            value->data = word->data + len;
            value->len = word->len - len;

            return params;
        }
    }

    return NULL;
}


char *
ngx_http_tally_bad(ngx_conf_t *cf, ngx_command_t *cmd, ngx_str_t *word,
    const char *expected)
{
    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "%V: \"%V\" is not accepted, expected %s",
                       &cmd->name, word, expected);

    return NGX_CONF_ERROR;
}


ngx_http_complex_value_t *
ngx_http_tally_compile(ngx_conf_t *cf, ngx_str_t *text)
{
    ngx_http_complex_value_t          *cv;
    ngx_http_compile_complex_value_t   ccv;

    cv = ngx_palloc(cf->pool, sizeof(ngx_http_complex_value_t));
    if (cv == NULL) {
        return NULL;
    }

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = text;
    ccv.complex_value = cv;

    if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
        return NULL;
    }

    return cv;
}


void
ngx_http_tally_here(ngx_conf_t *cf, ngx_http_tally_at_t *at)
{
    if (cf->conf_file == NULL) {
        ngx_str_set(&at->file, "command line");
        at->line = 1;
        return;
    }

    at->file = cf->conf_file->file.name;
    at->line = cf->conf_file->line;
}


char *
ngx_http_tally_fail_at(ngx_conf_t *cf, ngx_http_tally_at_t *at,
    const char *fmt, ...)
{
    u_char           *p;
    va_list           args;
    ngx_conf_file_t   here, *saved;
    u_char            text[NGX_MAX_CONF_ERRSTR];

    va_start(args, fmt);
    p = ngx_vslprintf(text, text + sizeof(text), fmt, args);
    va_end(args);

    saved = cf->conf_file;

    if (at->line) {
        /* all that ngx_conf_log_error reads of it */
        ngx_memzero(&here, sizeof(ngx_conf_file_t));
        here.file.name = at->file;
        here.line = at->line;
        cf->conf_file = &here;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "%*s",
                       (size_t) (p - text), text);

    cf->conf_file = saved;

    return NGX_CONF_ERROR;
}


char *
ngx_http_tally_path(ngx_conf_t *cf, ngx_str_t *name, ngx_str_t *full)
{
    *full = *name;

    if (ngx_conf_full_name(cf->cycle, full, 1) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}
