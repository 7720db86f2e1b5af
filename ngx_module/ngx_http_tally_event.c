
/*
 * From a body to an event: media type, CloudEvents attributes or type=, and
 * the allow-list.  The bytes of the body are never changed.
 */


#include "ngx_http_tally.h"


static ngx_int_t ngx_http_tally_event_no(ngx_str_t *detail, const char *text);
static ngx_uint_t ngx_http_tally_event_encoded(ngx_http_request_t *r);
static ngx_str_t ngx_http_tally_event_media(ngx_http_request_t *r,
    ngx_str_t *params);
static ngx_uint_t ngx_http_tally_event_utf8(ngx_str_t *params);
static ngx_int_t ngx_http_tally_event_cloudevent(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx, enum tg_problem_code *code,
    ngx_str_t *detail);
static ngx_int_t ngx_http_tally_event_given(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx, enum tg_problem_code *code,
    ngx_str_t *detail);
static ngx_int_t ngx_http_tally_event_value(ngx_http_request_t *r,
    ngx_http_complex_value_t *cv, ngx_str_t *out);
static ngx_int_t ngx_http_tally_event_allowed(ngx_http_request_t *r,
    ngx_http_complex_value_t *list, ngx_str_t *value);
static ngx_uint_t ngx_http_tally_list_has(ngx_str_t *list, ngx_str_t *value);
static void ngx_http_tally_event_set(ngx_str_t *to, struct tg_str from);


ngx_int_t
ngx_http_tally_event_read(ngx_http_request_t *r, ngx_http_tally_ctx_t *ctx,
    enum tg_problem_code *code, ngx_str_t *detail)
{
    ngx_int_t                   rc;
    ngx_http_tally_loc_conf_t  *lcf;

    lcf = ngx_http_get_module_loc_conf(r, ngx_http_tally_module);

    if (ngx_http_tally_event_encoded(r)) {
        *code = TG_PROBLEM_MEDIA_TYPE;
        return ngx_http_tally_event_no(detail, "Content-Encoding is not "
                                       "taken here, send the plain body");
    }

    if (lcf->publish == NGX_HTTP_TALLY_PUBLISH_CLOUDEVENTS) {
        rc = ngx_http_tally_event_cloudevent(r, ctx, code, detail);

    } else {
        rc = ngx_http_tally_event_given(r, ctx, code, detail);
    }

    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_tally_event_allowed(r, lcf->allow_types, &ctx->event_type);

    if (rc == NGX_DECLINED) {
        *code = TG_PROBLEM_TYPE_NOT_ALLOWED;
        return ngx_http_tally_event_no(detail, "this client may not send "
                                       "events of this type");
    }

    if (rc == NGX_OK) {
        rc = ngx_http_tally_event_allowed(r, lcf->allow_sources,
                                          &ctx->event_source);
    }

    if (rc == NGX_DECLINED) {
        *code = TG_PROBLEM_TYPE_NOT_ALLOWED;
        return ngx_http_tally_event_no(detail, "this client may not send "
                                       "events of this source");
    }

    return rc;
}


static ngx_int_t
ngx_http_tally_event_no(ngx_str_t *detail, const char *text)
{
    detail->data = (u_char *) text;
    detail->len = ngx_strlen(text);

    return NGX_DECLINED;
}


static ngx_uint_t
ngx_http_tally_event_encoded(ngx_http_request_t *r)
{
    ngx_uint_t        n;
    ngx_table_elt_t  *h;

    h = ngx_http_tally_header(r, "content-encoding", &n);

    if (n == 0) {
        return 0;
    }

    return n > 1
           || h->value.len != sizeof("identity") - 1
           || ngx_strncasecmp(h->value.data, (u_char *) "identity",
                              sizeof("identity") - 1)
              != 0;
}


/* the media type alone; several Content-Type headers make it empty */

static ngx_str_t
ngx_http_tally_event_media(ngx_http_request_t *r, ngx_str_t *params)
{
    u_char           *p, *last;
    ngx_str_t         media;
    ngx_uint_t        n;
    ngx_table_elt_t  *h;

    ngx_str_null(&media);
    ngx_str_null(params);

    h = ngx_http_tally_header(r, "content-type", &n);

    if (n != 1) {
        return media;
    }

    media = h->value;
    last = media.data + media.len;
    p = ngx_strlchr(media.data, last, ';');

    if (p) {
        media.len = (size_t) (p - media.data);
        params->data = p + 1;
        params->len = (size_t) (last - params->data);
    }

    while (media.len
           && (media.data[media.len - 1] == ' '
               || media.data[media.len - 1] == '\t'))
    {
        media.len--;
    }

    return media;
}


/* no charset, or UTF-8 (US-ASCII is a part of it) */

static ngx_uint_t
ngx_http_tally_event_utf8(ngx_str_t *params)
{
    u_char     *p, *last, *end;
    ngx_str_t   value;

    last = params->data + params->len;

    for (p = params->data; p < last; p = end + 1) {

        end = ngx_strlchr(p, last, ';');

        if (end == NULL) {
            end = last;
        }

        while (p < end && (*p == ' ' || *p == '\t')) {
            p++;
        }

        if ((size_t) (end - p) < sizeof("charset=") - 1
            || ngx_strncasecmp(p, (u_char *) "charset=",
                               sizeof("charset=") - 1)
               != 0)
        {
            continue;
        }

        value.data = p + sizeof("charset=") - 1;
        value.len = (size_t) (end - value.data);

        while (value.len
               && (value.data[value.len - 1] == ' '
                   || value.data[value.len - 1] == '\t'))
        {
            value.len--;
        }

        if (value.len >= 2 && value.data[0] == '"'
            && value.data[value.len - 1] == '"')
        {
            value.data++;
            value.len -= 2;
        }

        if (!(value.len == 5
              && ngx_strncasecmp(value.data, (u_char *) "utf-8", 5) == 0)
            && !(value.len == 8
                 && ngx_strncasecmp(value.data, (u_char *) "us-ascii", 8)
                    == 0))
        {
            return 0;
        }
    }

    return 1;
}


static ngx_int_t
ngx_http_tally_event_cloudevent(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx, enum tg_problem_code *code,
    ngx_str_t *detail)
{
    ngx_str_t        media, params;
    struct tg_str    type;
    struct tg_error  err;

    *code = TG_PROBLEM_MEDIA_TYPE;

    media = ngx_http_tally_event_media(r, &params);
    type = ngx_http_tally_tg(&media);

    if (media.len == sizeof("application/cloudevents-batch+json") - 1
        && ngx_strncasecmp(media.data,
                           (u_char *) "application/cloudevents-batch+json",
                           media.len)
           == 0)
    {
        return ngx_http_tally_event_no(detail, "batches are not taken here, "
                                       "send one event a request as "
                                       "application/cloudevents+json");
    }

    if (type.len != sizeof("application/cloudevents+json") - 1
        || ngx_strncasecmp(media.data,
                           (u_char *) "application/cloudevents+json",
                           media.len)
           != 0)
    {
        return ngx_http_tally_event_no(detail, "send the event as "
                                       "application/cloudevents+json");
    }

    if (!ngx_http_tally_event_utf8(&params)) {
        return ngx_http_tally_event_no(detail, "the charset is not utf-8");
    }

    *code = TG_PROBLEM_BODY_INVALID;

    tg_cloudevent_clear(&ctx->event);

    if (tg_cloudevent_parse(ngx_http_tally_tg(&ctx->body), &ctx->event, &err)
        != 0)
    {
        detail->len = ngx_strlen(err.text);
        detail->data = ngx_pnalloc(r->pool, detail->len + 1);
        if (detail->data == NULL) {
            return NGX_ERROR;
        }

        ngx_memcpy(detail->data, err.text, detail->len + 1);

        return NGX_DECLINED;
    }

    ngx_http_tally_event_set(&ctx->event_type, ctx->event.type);
    ngx_http_tally_event_set(&ctx->event_source, ctx->event.source);
    ngx_http_tally_event_set(&ctx->event_subject, ctx->event.subject);

    return NGX_OK;
}


static void
ngx_http_tally_event_set(ngx_str_t *to, struct tg_str from)
{
    to->data = (u_char *) from.data;
    to->len = from.len;
}


/* type=, source=, subject=: the body is any of the media, and not parsed */

static ngx_int_t
ngx_http_tally_event_given(ngx_http_request_t *r, ngx_http_tally_ctx_t *ctx,
    enum tg_problem_code *code, ngx_str_t *detail)
{
    ngx_int_t                   rc;
    ngx_str_t                   media, params, *taken;
    ngx_uint_t                  i;
    ngx_http_tally_loc_conf_t  *lcf;

    lcf = ngx_http_get_module_loc_conf(r, ngx_http_tally_module);

    media = ngx_http_tally_event_media(r, &params);
    taken = lcf->publish_media->elts;

    for (i = 0; i < lcf->publish_media->nelts; i++) {
        if (media.len == taken[i].len
            && ngx_strncasecmp(media.data, taken[i].data, media.len) == 0)
        {
            break;
        }
    }

    if (i == lcf->publish_media->nelts) {
        *code = TG_PROBLEM_MEDIA_TYPE;
        return ngx_http_tally_event_no(detail, "the Content-Type is not one "
                                       "that this location takes");
    }

    *code = TG_PROBLEM_BODY_INVALID;

    rc = ngx_http_tally_event_value(r, lcf->publish_type, &ctx->event_type);

    if (rc == NGX_OK) {
        rc = ngx_http_tally_event_value(r, lcf->publish_source,
                                        &ctx->event_source);
    }

    if (rc == NGX_OK && lcf->publish_subject) {
        rc = ngx_http_tally_event_value(r, lcf->publish_subject,
                                        &ctx->event_subject);

        if (rc == NGX_DECLINED && ctx->event_subject.len == 0) {
            rc = NGX_OK;
        }
    }

    if (rc == NGX_DECLINED) {
        return ngx_http_tally_event_no(detail, "the request gives no type, "
                                       "source or subject of 1 to 255 "
                                       "printable characters");
    }

    return rc;
}


static ngx_int_t
ngx_http_tally_event_value(ngx_http_request_t *r,
    ngx_http_complex_value_t *cv, ngx_str_t *out)
{
    if (ngx_http_complex_value(r, cv, out) != NGX_OK) {
        return NGX_ERROR;
    }

    if (!tg_str_is_printable(ngx_http_tally_tg(out),
                             TG_CE_ATTRIBUTE_MAX_BYTES))
    {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


/* no list: everything is allowed; an empty one allows nothing */

static ngx_int_t
ngx_http_tally_event_allowed(ngx_http_request_t *r,
    ngx_http_complex_value_t *list, ngx_str_t *value)
{
    ngx_str_t  names;

    if (list == NULL) {
        return NGX_OK;
    }

    if (ngx_http_complex_value(r, list, &names) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_tally_list_has(&names, value) ? NGX_OK : NGX_DECLINED;
}


/* names by space or comma; "*" is any, "com.acme.*" any that begins so */

static ngx_uint_t
ngx_http_tally_list_has(ngx_str_t *list, ngx_str_t *value)
{
    size_t   len;
    u_char  *p, *last, *start;

    p = list->data;
    last = list->data + list->len;

    while (p < last) {

        if (*p == ' ' || *p == '\t' || *p == ',') {
            p++;
            continue;
        }

        start = p;

        while (p < last && *p != ' ' && *p != '\t' && *p != ',') {
            p++;
        }

        len = (size_t) (p - start);

        if (start[len - 1] == '*') {
            len--;

            if (value->len >= len
                && ngx_memcmp(start, value->data, len) == 0)
            {
                return 1;
            }

            continue;
        }

        if (len == value->len && ngx_memcmp(start, value->data, len) == 0) {
            return 1;
        }
    }

    return 0;
}
