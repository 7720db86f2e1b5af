#include "connect/oauth.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "common/codec.h"
#include "connect/http_text.h"

#define BODY_MAX_BYTES 16384
#define ENCODED_MAX_BYTES (3 * TG_SECRET_FILE_MAX_BYTES + 1)
#define BASIC_MAX_BYTES (2 * ENCODED_MAX_BYTES + 1)
#define ERROR_CODE_MAX_BYTES 64

static const char BEARER[] = "Bearer ";

/* "a=b&c=d" grows by one pair. */
static bool add_pair(char *body, size_t *used, const char *name, const char *value)
{
    return tg_http_query_add(body, BODY_MAX_BYTES, used, tg_str_of(name), tg_str_of(value));
}

static bool fill_body(const struct tg_config_destination *d, const char *client_secret, bool post,
                      char *body, size_t *used)
{
    bool fits = add_pair(body, used, "grant_type", "client_credentials");

    if (fits && d->scope != NULL) {
        fits = add_pair(body, used, "scope", d->scope);
    }
    for (size_t i = 0; fits && i < d->token_param_count; i++) {
        fits = add_pair(body, used, d->token_params[i].name, d->token_params[i].value);
    }
    if (fits && post) {
        fits = add_pair(body, used, "client_id", d->client_id) &&
               add_pair(body, used, "client_secret", client_secret);
    }
    return fits;
}

/* "Basic " base64(form-encoded id ":" form-encoded secret) */
static int add_basic(const struct tg_config_destination *d, const char *client_secret,
                     struct tg_message *out)
{
    char plain[BASIC_MAX_BYTES] = "", *value;
    size_t used = 0, size;
    int rc = -1;

    if (!tg_http_encode(plain, sizeof(plain), &used, tg_str_of(d->client_id))) {
        return -1;
    }
    plain[used++] = ':';
    if (!tg_http_encode(plain, sizeof(plain), &used, tg_str_of(client_secret))) {
        explicit_bzero(plain, sizeof(plain));
        return -1;
    }
    size = 4 * (used / 3 + 1) + sizeof("Basic ");
    value = malloc(size);
    if (value != NULL) {
        memcpy(value, "Basic ", 6);
        if (tg_base64_encode((unsigned char *)plain, used, value + 6, size - 6) > 0) {
            rc = tg_lines_add(&out->headers, "Authorization", value);
        }
        explicit_bzero(value, size);
        free(value);
    }
    explicit_bzero(plain, sizeof(plain));
    return rc;
}

int tg_oauth_request(const struct tg_config_destination *d, const char *client_secret,
                     struct tg_message *out, struct tg_error *err)
{
    const bool post = d->client_auth != NULL && strcmp(d->client_auth, "post") == 0;
    size_t used = 0;

    *out = (struct tg_message){.method = "POST"};
    out->target = strdup(d->token_url);
    out->body = malloc(BODY_MAX_BYTES);
    if (out->target == NULL || out->body == NULL ||
        !fill_body(d, client_secret, post, out->body, &used) ||
        tg_lines_add(&out->headers, "Content-Type", "application/x-www-form-urlencoded") != 0 ||
        tg_lines_add(&out->headers, "Accept", "application/json") != 0 ||
        (!post && add_basic(d, client_secret, out) != 0)) {
        tg_message_clear(out);
        return tg_error_set(err, "the request for a token has no room");
    }
    memmove(out->body, out->body + 1, used); /* without the ? of a query */
    out->body_len = used - 1;
    return 0;
}

/* The `error` of RFC 6749, 5.2, if it looks like one: nothing else of the answer is shown. */
static void refused(const struct tg_http_answer *a, const json_t *doc, struct tg_error *err)
{
    const char *code = json_string_value(json_object_get(doc, "error"));
    struct tg_str text = tg_str_of(code);

    (void)tg_error_set(err, "the token endpoint answered %d%s%s", a->status,
                       text.len > 0 ? ", " : "",
                       tg_str_is_name(text, ERROR_CODE_MAX_BYTES) ? code : "");
}

/* A whole number, or such a number as a text. -1: neither. */
static int64_t seconds_of(const json_t *v)
{
    int64_t seconds;

    if (json_is_integer(v)) {
        return json_integer_value(v);
    }
    return json_is_string(v) && tg_str_to_i64(tg_str_of(json_string_value(v)), &seconds) ? seconds
                                                                                         : -1;
}

static int64_t life_of(const json_t *doc)
{
    const json_t *expires = json_object_get(doc, "expires_in");
    const int64_t seconds = seconds_of(expires);

    if (seconds < 0) {
        return TG_OAUTH_LIFE_DEFAULT_MS;
    }
    return seconds > TG_OAUTH_LIFE_MAX_MS / 1000 ? TG_OAUTH_LIFE_MAX_MS : seconds * 1000 + 1;
}

static enum tg_grant_result take_token(const json_t *doc, struct tg_grant *out,
                                       struct tg_error *err)
{
    const char *token = json_string_value(json_object_get(doc, "access_token"));
    const char *type = json_string_value(json_object_get(doc, "token_type"));
    char value[sizeof(BEARER) + TG_HTTP_VALUE_MAX_BYTES];
    size_t len = token != NULL ? strlen(token) : 0;
    int rc;

    if (len == 0 || len > TG_HTTP_VALUE_MAX_BYTES - sizeof(BEARER) ||
        !tg_http_is_value(tg_str_of(token))) {
        (void)tg_error_set(err, "the token endpoint gave no access_token that fits a header");
        return TG_GRANT_FAILED;
    }
    if (type == NULL || strcasecmp(type, "bearer") != 0) {
        (void)tg_error_set(err, "the token endpoint gave a token that is not of type Bearer");
        return TG_GRANT_FAILED;
    }
    memcpy(value, BEARER, sizeof(BEARER) - 1);
    memcpy(value + sizeof(BEARER) - 1, token, len + 1);
    rc = tg_lines_add(&out->headers, "Authorization", value);
    explicit_bzero(value, sizeof(value));
    if (rc != 0) {
        (void)tg_error_set(err, "out of memory");
        return TG_GRANT_FAILED;
    }
    out->life_ms = life_of(doc);
    return TG_GRANT_OK;
}

enum tg_grant_result tg_oauth_answer(const struct tg_http_answer *a, struct tg_grant *out,
                                     struct tg_error *err)
{
    enum tg_grant_result result = TG_GRANT_FAILED;
    json_t *doc;

    memset(out, 0, sizeof(*out));
    if (a->end != TG_HTTP_WHOLE) {
        (void)tg_error_set(err, "the token endpoint gave no answer: %.200s", a->why);
        return TG_GRANT_FAILED;
    }
    doc = json_loadb((const char *)a->body.data, a->body.len, 0, NULL);
    if (a->status == 200) {
        result = take_token(doc, out, err);
    } else {
        refused(a, doc, err);
        if (a->status == 400 || a->status == 401 || a->status == 403) {
            result = TG_GRANT_REFUSED;
        }
    }
    json_decref(doc);
    return result;
}
