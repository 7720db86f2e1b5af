
/*
 * What names a message: its idempotency key, and the id of the event it
 * becomes.  A name that the sender may choose freely must not make one signed
 * message several.
 */


#include "ngx_http_tally.h"

#include "common/codec.h"
#include "common/idem_key.h"

#include <openssl/rand.h>


#define NGX_HTTP_TALLY_KEY_RANDOM  16   /* bytes of an event's own id */


static ngx_int_t ngx_http_tally_key_no(enum tg_problem_code *code,
    ngx_str_t *detail, enum tg_problem_code is, const char *text);
static ngx_int_t ngx_http_tally_key_header(ngx_http_request_t *r,
    enum tg_problem_code *code, ngx_str_t *detail, ngx_str_t *value);
static ngx_int_t ngx_http_tally_key_digest(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx, ngx_str_t *value);


ngx_int_t
ngx_http_tally_idem_key(ngx_http_request_t *r, ngx_http_tally_ctx_t *ctx,
    enum tg_problem_code *code, ngx_str_t *detail)
{
    size_t                      len;
    u_char                     *key;
    ngx_int_t                   rc;
    ngx_str_t                   value;
    ngx_http_tally_loc_conf_t  *conf;

    conf = ngx_http_get_module_loc_conf(r, ngx_http_tally_module);

    ngx_str_null(&ctx->idem_key);

    if (conf->idempotency == NGX_HTTP_TALLY_IDEM_OFF) {
        return NGX_OK;
    }

    if (conf->idem_key) {
        rc = ngx_http_complex_value(r, conf->idem_key, &value);

        if (rc == NGX_OK && value.len == 0) {
            value.data = NULL;
        }

    } else if (conf->signature == TG_SIGNATURE_GITHUB) {
        rc = ngx_http_tally_key_digest(r, ctx, &value);

    } else {
        rc = ngx_http_tally_key_header(r, code, detail, &value);
    }

    if (rc != NGX_OK) {
        return rc;
    }

    if (value.data == NULL) {

        if (conf->idempotency == NGX_HTTP_TALLY_IDEM_OPTIONAL) {
            return NGX_OK;
        }

        return ngx_http_tally_key_no(code, detail,
                                     TG_PROBLEM_IDEMPOTENCY_KEY_MISSING,
                                     "send an Idempotency-Key header, and "
                                     "the same one when you send the same "
                                     "request again");
    }

    key = ngx_pnalloc(r->pool, TG_IDEM_KEY_MAX_BYTES);
    if (key == NULL) {
        return NGX_ERROR;
    }

    if (tg_idem_key_parse(ngx_http_tally_tg(&value), (char *) key, &len)
        != 0)
    {
        return ngx_http_tally_key_no(code, detail,
                                     TG_PROBLEM_IDEMPOTENCY_KEY_INVALID,
                                     "the idempotency key must be 1 to 255 "
                                     "printable ASCII characters, in double "
                                     "quotes or bare");
    }

    ctx->idem_key.data = key;
    ctx->idem_key.len = len;

    return NGX_OK;
}


static ngx_int_t
ngx_http_tally_key_no(enum tg_problem_code *code, ngx_str_t *detail,
    enum tg_problem_code is, const char *text)
{
    *code = is;

    detail->data = (u_char *) text;
    detail->len = ngx_strlen(text);

    return NGX_DECLINED;
}


/*
 * value->data NULL: none of the headers was sent.  Where a signature is
 * asked for, only the header that it covers counts: whoever has one signed
 * message could otherwise send it again under other keys.
 */

static ngx_int_t
ngx_http_tally_key_header(ngx_http_request_t *r, enum tg_problem_code *code,
    ngx_str_t *detail, ngx_str_t *value)
{
    ngx_uint_t                  i, n, last;
    ngx_table_elt_t            *h;
    const char *const          *name;
    ngx_http_tally_loc_conf_t  *conf;

    static const char *const  names[] = {
        "idempotency-key", "webhook-id", "x-atlassian-webhook-identifier"
    };

    static const char *const  covered[] = { "webhook-id" };

    conf = ngx_http_get_module_loc_conf(r, ngx_http_tally_module);

    ngx_str_null(value);

    name = names;
    last = sizeof(names) / sizeof(names[0]);

    if (conf->signature) {
        name = covered;
        last = 1;
    }

    for (i = 0; i < last; i++) {
        h = ngx_http_tally_header(r, name[i], &n);

        if (n == 0) {
            continue;
        }

        if (n > 1) {
            return ngx_http_tally_key_no(code, detail,
                                         TG_PROBLEM_IDEMPOTENCY_KEY_INVALID,
                                         "the header of the idempotency key "
                                         "was sent more than once");
        }

        *value = h->value;

        if (value->data == NULL) {
            ngx_str_set(value, "");
        }

        return NGX_OK;
    }

    return NGX_OK;
}


/*
 * Where the signature covers nothing but the body, the body is the one name
 * of the message that a sender of captured bytes cannot choose: under another
 * identifier they would be a new message, and under the identifier of a
 * message to come they would have that one refused.
 */

static ngx_int_t
ngx_http_tally_key_digest(ngx_http_request_t *r, ngx_http_tally_ctx_t *ctx,
    ngx_str_t *value)
{
    value->len = sizeof("sha256:") - 1 + 2 * TG_SHA256_BYTES;

    value->data = ngx_pnalloc(r->pool, value->len);
    if (value->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(value->data, "sha256:", sizeof("sha256:") - 1);

    tg_hex_encode(ctx->body_sha256, TG_SHA256_BYTES,
                  (char *) value->data + sizeof("sha256:") - 1);

    return NGX_OK;
}


/*
 * The event's own id; without one the key, so that a repeat is recognised.
 * With neither each request is a fact of its own, unless its signature says
 * that the body is.  Never the correlation id: the sender gives one to all
 * requests of a trace.
 */

ngx_int_t
ngx_http_tally_event_id(ngx_http_request_t *r, ngx_http_tally_ctx_t *ctx,
    ngx_str_t *id)
{
    u_char                     *p;
    u_char                      bytes[NGX_HTTP_TALLY_KEY_RANDOM];
    ngx_http_tally_loc_conf_t  *conf;

    conf = ngx_http_get_module_loc_conf(r, ngx_http_tally_module);

    if (conf->publish == NGX_HTTP_TALLY_PUBLISH_CLOUDEVENTS) {
        id->data = (u_char *) ctx->event.id.data;
        id->len = ctx->event.id.len;

        return NGX_OK;
    }

    if (ctx->idem_key.len) {
        *id = ctx->idem_key;
        return NGX_OK;
    }

    if (conf->signature == TG_SIGNATURE_GITHUB) {
        return ngx_http_tally_key_digest(r, ctx, id);
    }

    p = ngx_pnalloc(r->pool, 2 * sizeof(bytes));

    if (p == NULL || RAND_bytes(bytes, sizeof(bytes)) != 1) {
        return NGX_ERROR;
    }

    id->data = p;
    id->len = (size_t) (ngx_hex_dump(p, bytes, sizeof(bytes)) - p);

    return NGX_OK;
}
