
/*
 * Webhook signatures: Standard Webhooks, and the one of GitHub and Jira.
 * The headers are checked in ACCESS, before a body is read; the MAC when the
 * body is there.  A name without a secret meets a decoy, so that it takes the
 * same time to refuse.
 */


#include "ngx_http_tally.h"


/* the headers of a scheme, as common/signature.h wants them */

typedef union {
    struct tg_signature_standard   standard;
    struct tg_signature_github     github;
} ngx_http_tally_signature_t;


static ngx_uint_t ngx_http_tally_signature_headers(ngx_http_request_t *r,
    ngx_uint_t scheme, ngx_http_tally_signature_t *h);
static ngx_int_t ngx_http_tally_signature_name(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx, ngx_str_t *detail);
static struct tg_secrets *ngx_http_tally_signature_table(
    ngx_http_request_t *r, ngx_str_t *name);
static ngx_int_t ngx_http_tally_signature_no(ngx_http_request_t *r,
    ngx_str_t *detail, enum tg_signature_result why);


ngx_int_t
ngx_http_tally_signature_precheck(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx, ngx_str_t *detail)
{
    ngx_int_t                    rc;
    enum tg_signature_result     result;
    ngx_http_tally_loc_conf_t   *lcf;
    ngx_http_tally_signature_t   h;

    lcf = ngx_http_get_module_loc_conf(r, ngx_http_tally_module);

    rc = ngx_http_tally_signature_name(r, ctx, detail);

    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_http_tally_signature_table(r, &ctx->secret_name) == NULL) {
        return NGX_BUSY;
    }

    if (!ngx_http_tally_signature_headers(r, lcf->signature, &h)) {
        return ngx_http_tally_signature_no(r, detail,
                                           TG_SIGNATURE_MALFORMED);
    }

    if (lcf->signature == TG_SIGNATURE_GITHUB) {
        result = tg_signature_github_precheck(&h.github);

    } else {
        result = tg_signature_standard_precheck(&h.standard, ngx_time(),
                                                lcf->signature_tolerance);
    }

    if (result != TG_SIGNATURE_OK) {
        return ngx_http_tally_signature_no(r, detail, result);
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_tally_signature_verify(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx, ngx_str_t *detail)
{
    struct tg_str                body;
    struct tg_secrets           *table;
    struct tg_secret_list        secrets;
    enum tg_signature_result     result;
    ngx_http_tally_loc_conf_t   *lcf;
    ngx_http_tally_signature_t   h;

    lcf = ngx_http_get_module_loc_conf(r, ngx_http_tally_module);

    table = ngx_http_tally_signature_table(r, &ctx->secret_name);

    if (table == NULL || ctx->secret_name.len == 0
        || !ngx_http_tally_signature_headers(r, lcf->signature, &h))
    {
        return ngx_http_tally_signature_no(r, detail, TG_SIGNATURE_WRONG);
    }

    secrets = tg_secrets_find(table, ngx_http_tally_tg(&ctx->secret_name));
    body = ngx_http_tally_tg(&ctx->body);

    if (lcf->signature == TG_SIGNATURE_GITHUB) {
        result = tg_signature_github_verify(&h.github, &body, 1, secrets);

    } else {
        result = tg_signature_standard_verify(&h.standard, &body, 1, secrets,
                                              ngx_time(),
                                              lcf->signature_tolerance);
    }

    if (result == TG_SIGNATURE_INTERNAL) {
        return NGX_ERROR;
    }

    if (result != TG_SIGNATURE_OK) {
        return ngx_http_tally_signature_no(r, detail, result);
    }

    return NGX_OK;
}


/* 0: one of them is there twice */

static ngx_uint_t
ngx_http_tally_signature_headers(ngx_http_request_t *r, ngx_uint_t scheme,
    ngx_http_tally_signature_t *h)
{
    ngx_uint_t         i, n, last;
    ngx_table_elt_t   *elt;
    const char *const *names;

    static const char *const  standard[] = {
        "webhook-id", "webhook-timestamp", "webhook-signature"
    };

    static const char *const  github[] = {
        "x-hub-signature-256", "x-hub-signature"
    };

    struct tg_str  *out[] = {
        &h->standard.id, &h->standard.timestamp, &h->standard.signature
    };

    ngx_memzero(h, sizeof(ngx_http_tally_signature_t));

    names = standard;
    last = sizeof(standard) / sizeof(standard[0]);

    if (scheme == TG_SIGNATURE_GITHUB) {
        names = github;
        last = sizeof(github) / sizeof(github[0]);

        out[0] = &h->github.sha256;
        out[1] = &h->github.any;
    }

    for (i = 0; i < last; i++) {
        elt = ngx_http_tally_header(r, names[i], &n);

        if (n > 1) {
            return 0;
        }

        if (elt) {
            *out[i] = ngx_http_tally_tg(&elt->value);
        }
    }

    return 1;
}


/* secret=VALUE of this request, and what it says of client and tenant */

static ngx_int_t
ngx_http_tally_signature_name(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx, ngx_str_t *detail)
{
    u_char                     *slash, *last;
    ngx_str_t                   source, tenant;
    ngx_http_tally_loc_conf_t  *lcf;

    lcf = ngx_http_get_module_loc_conf(r, ngx_http_tally_module);

    if (ngx_http_complex_value(r, lcf->signature_secret, &ctx->secret_name)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    source = ctx->secret_name;
    last = source.data + source.len;
    slash = ngx_strlchr(source.data, last, '/');

    if (slash) {
        tenant.data = source.data;
        tenant.len = (size_t) (slash - source.data);

        source.data = slash + 1;
        source.len = (size_t) (last - source.data);

        if (ctx->tenant.len == 0
            && tg_str_is_name(ngx_http_tally_tg(&tenant),
                              TG_TENANT_MAX_BYTES))
        {
            ctx->tenant = tenant;
        }

        /* a secret of one tenant never signs for another */

        if (!tg_str_equal(ngx_http_tally_tg(&tenant),
                          ngx_http_tally_tg(&ctx->tenant)))
        {
            return ngx_http_tally_signature_no(r, detail, TG_SIGNATURE_WRONG);
        }
    }

    if (!tg_str_is_name(ngx_http_tally_tg(&source),
                        TG_SOURCE_NAME_MAX_BYTES))
    {
        return ngx_http_tally_signature_no(r, detail, TG_SIGNATURE_WRONG);
    }

    if (ctx->client.len) {
        return NGX_OK;
    }

    ctx->client.data = ngx_pnalloc(r->pool,
                                   sizeof("hook:") - 1 + source.len);
    if (ctx->client.data == NULL) {
        return NGX_ERROR;
    }

    ctx->client.len = (size_t) (ngx_sprintf(ctx->client.data, "hook:%V",
                                            &source)
                                - ctx->client.data);

    return NGX_OK;
}


/*
 * The table that a name is looked up in; NULL: not loaded.  A name that
 * stands for nothing gets any table, for its decoy.
 */

static struct tg_secrets *
ngx_http_tally_signature_table(ngx_http_request_t *r, ngx_str_t *name)
{
    ngx_uint_t                    i, many;
    ngx_http_tally_secret_t     **secret;
    ngx_http_tally_main_conf_t   *mcf;

    mcf = ngx_http_get_module_main_conf(r, ngx_http_tally_module);

    many = (ngx_strlchr(name->data, name->data + name->len, '/') != NULL);
    secret = mcf->secrets.elts;

    for (i = 0; i < mcf->secrets.nelts; i++) {

        if (many) {
            if (secret[i]->name.len == 0) {
                return secret[i]->table;
            }

        } else if (secret[i]->name.len == name->len
                   && ngx_strncmp(secret[i]->name.data, name->data,
                                  name->len)
                      == 0)
        {
            return secret[i]->table;
        }
    }

    return mcf->secrets.nelts ? secret[0]->table : NULL;
}


static ngx_int_t
ngx_http_tally_signature_no(ngx_http_request_t *r, ngx_str_t *detail,
    enum tg_signature_result why)
{
    const char                 *text;
    ngx_http_tally_loc_conf_t  *lcf;

    lcf = ngx_http_get_module_loc_conf(r, ngx_http_tally_module);

    text = tg_signature_reason((enum tg_signature_scheme) lcf->signature,
                               why);

    detail->data = (u_char *) text;
    detail->len = ngx_strlen(text);

    return NGX_DECLINED;
}
