
/*
 * Directives that say who may come in by a token: tally_issuer, tally_auth,
 * tally_scope.
 */


#include "ngx_http_tally.h"


static char *ngx_http_tally_issuer_options(ngx_conf_t *cf,
    ngx_command_t *cmd, ngx_http_tally_issuer_t *issuer,
    ngx_http_tally_param_t *params);
static char *ngx_http_tally_issuer_audiences(ngx_conf_t *cf,
    ngx_command_t *cmd, ngx_http_tally_issuer_t *issuer, ngx_array_t *values);
static char *ngx_http_tally_issuer_algs(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_http_tally_issuer_t *issuer, ngx_str_t *list);
static char *ngx_http_tally_issuer_keys(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_http_tally_issuer_t *issuer, ngx_str_t *name);
static ngx_uint_t ngx_http_tally_method(ngx_str_t *word);
static char *ngx_http_tally_scope_rule(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_http_tally_scope_rule_t *rule);


char *
ngx_http_tally_issuer(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_tally_main_conf_t  *mcf = conf;

    ngx_str_t                 *words;
    ngx_uint_t                 i;
    ngx_array_t               *audiences;
    ngx_http_tally_issuer_t   *issuer, **slot;
    ngx_http_tally_param_t     params[] = {
        ngx_http_tally_param("iss="),
        ngx_http_tally_param("jwks="),
        ngx_http_tally_param("audience="),
        ngx_http_tally_param("algorithms="),
        ngx_http_tally_param("leeway="),
        ngx_http_tally_param("typ="),
        ngx_http_tally_param("tenant_claim="),
        ngx_http_tally_param("scope_claim="),
        ngx_http_tally_param(NULL)
    };

    words = cf->args->elts;

    if (!tg_str_is_name(ngx_http_tally_tg(&words[1]),
                        TG_SOURCE_NAME_MAX_BYTES)
        || ngx_strcmp(words[1].data, "off") == 0)
    {
        return ngx_http_tally_bad(cf, cmd, &words[1], "a name of 1 to 64 of "
                                  "A-Z a-z 0-9 . _ -, and not \"off\"");
    }

    slot = mcf->issuers.elts;

    for (i = 0; i < mcf->issuers.nelts; i++) {
        if (slot[i]->name.len == words[1].len
            && ngx_strncmp(slot[i]->name.data, words[1].data, words[1].len)
               == 0)
        {
            return ngx_http_tally_bad(cf, cmd, &words[1],
                                      "a name that no other issuer has");
        }
    }

    if (mcf->issuers.nelts >= NGX_HTTP_TALLY_ISSUERS_MAX) {
        return ngx_http_tally_bad(cf, cmd, &words[1], "at most 16 issuers");
    }

    issuer = ngx_pcalloc(cf->pool, sizeof(ngx_http_tally_issuer_t));
    audiences = ngx_array_create(cf->pool, 2, sizeof(ngx_str_t));
    slot = ngx_array_push(&mcf->issuers);

    if (issuer == NULL || audiences == NULL || slot == NULL) {
        return NGX_CONF_ERROR;
    }

    issuer->name = words[1];
    *slot = issuer;
    params[2].values = audiences;

    if (ngx_http_tally_params(cf, cmd, &words[2], cf->args->nelts - 2, params)
            != NGX_CONF_OK
        || ngx_http_tally_issuer_options(cf, cmd, issuer, params)
               != NGX_CONF_OK
        || ngx_http_tally_issuer_audiences(cf, cmd, issuer, audiences)
               != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    return ngx_http_tally_issuer_keys(cf, cmd, issuer, &params[1].value);
}


static char *
ngx_http_tally_issuer_options(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_http_tally_issuer_t *issuer, ngx_http_tally_param_t *params)
{
    ngx_int_t              leeway;
    struct tg_jwt_policy  *policy;

    policy = &issuer->policy;

    if (!params[0].given || !params[1].given || !params[2].given) {
        return ngx_http_tally_bad(cf, cmd, &issuer->name,
                                  "iss=, jwks= and audience= with it");
    }

    if (params[0].value.len > NGX_HTTP_TALLY_ISS_MAX - 1) {
        return ngx_http_tally_bad(cf, cmd, &params[0].word,
                                  "iss= of at most 511 bytes");
    }

    policy->iss = ngx_http_tally_tg(&params[0].value);
    policy->algs = TG_ALG_ALL;
    policy->leeway_s = 30;
    policy->tenant_claim = tg_str_of("tenant");
    policy->scope_claim = tg_str_of("scope");

    if (params[3].given
        && ngx_http_tally_issuer_algs(cf, cmd, issuer, &params[3].value)
           != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (params[4].given) {
        leeway = ngx_parse_time(&params[4].value, 1);

        if (leeway < 0 || leeway > NGX_HTTP_TALLY_LEEWAY_MAX_S) {
            return ngx_http_tally_bad(cf, cmd, &params[4].word,
                                      "leeway= from 0s to 5m");
        }

        policy->leeway_s = leeway;
    }

    if (params[5].given) {
        policy->typ = ngx_http_tally_tg(&params[5].value);
    }

    if (params[6].given) {
        policy->tenant_claim = ngx_http_tally_tg(&params[6].value);
    }

    if (params[7].given) {
        policy->scope_claim = ngx_http_tally_tg(&params[7].value);
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_tally_issuer_audiences(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_http_tally_issuer_t *issuer, ngx_array_t *values)
{
    ngx_str_t   *value;
    ngx_uint_t   i;

    if (values->nelts > TG_AUDIENCES_MAX) {
        return ngx_http_tally_bad(cf, cmd, &issuer->name,
                                  "audience= at most 8 times");
    }

    value = values->elts;

    for (i = 0; i < values->nelts; i++) {
        issuer->policy.audiences[i] = ngx_http_tally_tg(&value[i]);
    }

    issuer->policy.audience_count = values->nelts;

    return NGX_CONF_OK;
}


static char *
ngx_http_tally_issuer_algs(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_http_tally_issuer_t *issuer, ngx_str_t *list)
{
    u_char         *p, *last, *end;
    enum tg_alg     alg;
    struct tg_str   name;

    p = list->data;
    last = list->data + list->len;

    issuer->policy.algs = 0;

    for ( ;; ) {
        end = ngx_strlchr(p, last, ',');

        if (end == NULL) {
            end = last;
        }

        name.data = p;
        name.len = (size_t) (end - p);

        alg = tg_alg_of(name);

        if (alg == TG_ALG_NONE) {
            return ngx_http_tally_bad(cf, cmd, list, "algorithms= as a "
                                      "comma list of RS256 ES256 EdDSA");
        }

        issuer->policy.algs |= (unsigned) alg;

        if (end == last) {
            return NGX_CONF_OK;
        }

        p = end + 1;
    }
}


/* A broken or missing key set fails here, and not in the worker. */

static char *
ngx_http_tally_issuer_keys(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_http_tally_issuer_t *issuer, ngx_str_t *name)
{
    struct tg_jwks   *keys;
    struct tg_error   err;

    if (ngx_http_tally_path(cf, name, &issuer->file.path) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    keys = ngx_http_tally_read_keys(issuer, NULL, &err);

    if (keys == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "%V: jwks=\"%V\" cannot be used: %s, expected a "
                           "JSON Web Key Set (RFC 7517) with a key for the "
                           "algorithms=",
                           &cmd->name, &issuer->file.path, err.text);
        return NGX_CONF_ERROR;
    }

    tg_jwks_free(keys);

    return NGX_CONF_OK;
}


/* Names only: an issuer may be defined further down. */

char *
ngx_http_tally_auth(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_tally_loc_conf_t  *lcf = conf;

    ngx_str_t   *words, *name;
    ngx_uint_t   i;

    if (lcf->auth != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    words = cf->args->elts;
    ngx_http_tally_here(cf, &lcf->auth_at);

    if (cf->args->nelts == 2 && ngx_strcmp(words[1].data, "off") == 0) {
        lcf->auth = 0;
        return NGX_CONF_OK;
    }

    lcf->auth = 1;

    lcf->auth_names = ngx_array_create(cf->pool, cf->args->nelts - 1,
                                       sizeof(ngx_str_t));
    if (lcf->auth_names == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strcmp(words[i].data, "off") == 0) {
            return ngx_http_tally_bad(cf, cmd, &words[i],
                                      "names of issuers, or \"off\" alone");
        }

        name = ngx_array_push(lcf->auth_names);
        if (name == NULL) {
            return NGX_CONF_ERROR;
        }

        *name = words[i];
    }

    return NGX_CONF_OK;
}


static ngx_uint_t
ngx_http_tally_method(ngx_str_t *word)
{
    ngx_uint_t  i;

    static const struct {
        ngx_str_t    name;
        ngx_uint_t   mask;
    } methods[] = {
        /* who may GET may HEAD */
        { ngx_string("GET"), NGX_HTTP_GET|NGX_HTTP_HEAD },
        { ngx_string("HEAD"), NGX_HTTP_HEAD },
        { ngx_string("POST"), NGX_HTTP_POST },
        { ngx_string("PUT"), NGX_HTTP_PUT },
        { ngx_string("DELETE"), NGX_HTTP_DELETE },
        { ngx_string("PATCH"), NGX_HTTP_PATCH },
        { ngx_string("OPTIONS"), NGX_HTTP_OPTIONS },
        { ngx_null_string, 0 }
    };

    for (i = 0; methods[i].mask; i++) {
        if (methods[i].name.len == word->len
            && ngx_strncmp(methods[i].name.data, word->data, word->len) == 0)
        {
            return methods[i].mask;
        }
    }

    return 0;
}


char *
ngx_http_tally_scope(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_tally_loc_conf_t  *lcf = conf;

    ngx_http_tally_scope_rule_t  *rule;

    if (lcf->scopes == NGX_CONF_UNSET_PTR) {
        lcf->scopes = ngx_array_create(cf->pool, 2,
                                       sizeof(ngx_http_tally_scope_rule_t));
        if (lcf->scopes == NULL) {
            return NGX_CONF_ERROR;
        }

        ngx_http_tally_here(cf, &lcf->scope_at);
    }

    if (lcf->scopes->nelts >= NGX_HTTP_TALLY_SCOPE_RULES_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "%V: more than %d in one block", &cmd->name,
                           NGX_HTTP_TALLY_SCOPE_RULES_MAX);
        return NGX_CONF_ERROR;
    }

    rule = ngx_array_push(lcf->scopes);
    if (rule == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(rule, sizeof(ngx_http_tally_scope_rule_t));

    return ngx_http_tally_scope_rule(cf, cmd, rule);
}


static char *
ngx_http_tally_scope_rule(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_http_tally_scope_rule_t *rule)
{
    ngx_str_t      *words;
    ngx_uint_t      i, method;
    struct tg_str   scope;

    words = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {
        method = ngx_http_tally_method(&words[i]);

        if (method == 0) {
            break;
        }

        rule->methods |= method;
    }

    if (i < cf->args->nelts && ngx_strcmp(words[i].data, "all") == 0) {
        rule->mode = TG_SCOPE_ALL;

    } else if (i < cf->args->nelts && ngx_strcmp(words[i].data, "any") == 0) {
        rule->mode = TG_SCOPE_ANY;

    } else {
        return ngx_http_tally_bad(cf, cmd,
                                  &words[ngx_min(i, cf->args->nelts - 1)],
                                  "[GET HEAD POST PUT DELETE PATCH OPTIONS] "
                                  "all|any SCOPE...");
    }

    for (i++; i < cf->args->nelts; i++) {
        scope = ngx_http_tally_tg(&words[i]);

        if (!tg_scope_is_valid(scope) || scope.len > TG_SCOPE_MAX_BYTES) {
            return ngx_http_tally_bad(cf, cmd, &words[i], "a scope of 1 to "
                                      "128 printable characters without "
                                      "space, \" and \\");
        }

        if (rule->count >= TG_SCOPES_MAX) {
            return ngx_http_tally_bad(cf, cmd, &words[i],
                                      "at most 64 scopes");
        }

        rule->scopes[rule->count++] = scope;
    }

    if (rule->count == 0) {
        return ngx_http_tally_bad(cf, cmd, &words[cf->args->nelts - 1],
                                  "at least one SCOPE after it");
    }

    return NGX_CONF_OK;
}


char *
ngx_http_tally_tenant(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_tally_loc_conf_t  *lcf = conf;

    ngx_str_t  *words;

    if (lcf->tenant) {
        return "is duplicate";
    }

    words = cf->args->elts;

    lcf->tenant = ngx_http_tally_compile(cf, &words[1]);
    if (lcf->tenant == NULL) {
        return NGX_CONF_ERROR;
    }

    /* a constant that is no tenant would refuse every request */

    if (lcf->tenant->lengths == NULL
        && !tg_str_is_name(ngx_http_tally_tg(&lcf->tenant->value),
                           TG_TENANT_MAX_BYTES))
    {
        return ngx_http_tally_bad(cf, cmd, &words[1], "1 to 64 of A-Z a-z "
                                  "0-9 . _ -, or a value with variables");
    }

    return NGX_CONF_OK;
}
