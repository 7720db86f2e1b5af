#include "connect/http_text.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

#define HTTP "http://"
#define HTTPS "https://"
#define TOKEN_MAX_BYTES 64
#define DATE_MAX_BYTES 64
#define DATE_MAX_S INT64_C(253402300799) /* the end of 9999: RFC 9110 has four digits */

static bool is_visible(unsigned char c)
{
    return c > 0x20 && c < 0x7f;
}

/* ---- addresses ---- */

static size_t scheme_length(const char *url)
{
    if (strncasecmp(url, HTTPS, sizeof(HTTPS) - 1) == 0) {
        return sizeof(HTTPS) - 1;
    }
    return strncasecmp(url, HTTP, sizeof(HTTP) - 1) == 0 ? sizeof(HTTP) - 1 : 0;
}

bool tg_http_url_is_tls(const char *url)
{
    return scheme_length(url) == sizeof(HTTPS) - 1;
}

/* libcurl's own reading of it: what it would connect to is what is checked. */
static const char *url_fault(const char *text)
{
    CURLU *u = curl_url();
    char *part = NULL;
    const char *fault = NULL;

    if (u == NULL) {
        return "there is no memory to read it";
    }
    if (curl_url_set(u, CURLUPART_URL, text, CURLU_DISALLOW_USER) != CURLUE_OK) {
        fault = "is not a http:// or https:// address without user and password";
    } else if (curl_url_get(u, CURLUPART_HOST, &part, 0) != CURLUE_OK || part[0] == '\0') {
        fault = "has no host";
    }
    curl_free(part);
    curl_url_cleanup(u);
    return fault;
}

int tg_http_url_check(struct tg_str url, struct tg_error *err)
{
    char text[TG_HTTP_URL_MAX_BYTES];
    const char *fault = NULL;

    if (!tg_str_copy(url, text, sizeof(text))) {
        return tg_error_set(err, "is longer than %d bytes", TG_HTTP_URL_MAX_BYTES - 1);
    }
    for (size_t i = 0; i < url.len; i++) {
        if (!is_visible(url.data[i])) {
            fault = "has a space or a character that is not ASCII";
        }
    }
    if (fault == NULL && scheme_length(text) == 0) {
        fault = "does not begin with http:// or https://";
    }
    if (fault == NULL &&
        strpbrk(text, "?#") != NULL) { /* an empty one too: a path goes behind it */
        fault = "has a query or a fragment";
    }
    if (fault == NULL) { /* libcurl would read https:///x as https://x */
        fault = text[scheme_length(text)] == '/' ? "has no host" : url_fault(text);
    }
    return fault == NULL ? 0 : tg_error_set(err, "%s", fault);
}

bool tg_http_url_host(const char *url, char *out, size_t out_size)
{
    CURLU *u = curl_url();
    char *host = NULL;
    bool fits = false;

    if (u != NULL && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
        curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK) {
        struct tg_str text = tg_str_of(host);

        if (text.len > 1 && host[0] == '[') {
            text.data++;
            text.len -= 2;
        }
        fits = tg_str_copy(text, out, out_size);
    }
    curl_free(host);
    curl_url_cleanup(u);
    return fits;
}

/* "%2e" counts as a dot: servers decode it before they walk the path. */
static size_t dot_length(const unsigned char *s, size_t len)
{
    if (len >= 1 && s[0] == '.') {
        return 1;
    }
    return len >= 3 && s[0] == '%' && s[1] == '2' && (s[2] == 'e' || s[2] == 'E') ? 3 : 0;
}

static bool is_dot_part(const unsigned char *s, size_t len)
{
    size_t first = dot_length(s, len);
    size_t second = first > 0 ? dot_length(s + first, len - first) : 0;

    return first > 0 && first + second == len;
}

static const char *path_fault(struct tg_str path)
{
    size_t from = 0, end = path.len;

    if (path.len > 0 && path.data[0] != '/' && path.data[0] != '?') {
        return "does not begin with / or ?";
    }
    for (size_t i = 0; i < path.len; i++) {
        if (!is_visible(path.data[i]) || path.data[i] == '#' || path.data[i] == '\\') {
            return "has a space, #, \\ or a character that is not ASCII: encode it";
        }
        if (i < end && path.data[i] == '?') {
            end = i;
        }
    }
    for (size_t i = 0; i <= end; i++) {
        if (i == end || path.data[i] == '/') {
            if (is_dot_part(path.data + from, i - from)) {
                return "has a part . or ..";
            }
            from = i + 1;
        }
    }
    return NULL;
}

int tg_http_url_join(const char *base, struct tg_str path, char *out, size_t out_size,
                     struct tg_error *err)
{
    size_t base_len = strlen(base);
    const char *fault = path_fault(path);

    if (fault != NULL) {
        return tg_error_set(err, "the path %s", fault);
    }
    if (path.len > 0 && path.data[0] == '/' && base_len > 0 && base[base_len - 1] == '/') {
        base_len--;
    }
    if (base_len + path.len >= out_size) {
        return tg_error_set(err, "the path is too long: the address would have over %zu bytes",
                            out_size - 1);
    }
    memcpy(out, base, base_len);
    if (path.len > 0) {
        memcpy(out + base_len, path.data, path.len);
    }
    out[base_len + path.len] = '\0';
    return 0;
}

static bool is_unreserved(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

bool tg_http_encode(char *out, size_t out_size, size_t *used, struct tg_str text)
{
    static const char digits[] = "0123456789ABCDEF";

    for (size_t i = 0; i < text.len; i++) {
        const unsigned char c = text.data[i];

        if (out_size - *used < 4) {
            return false;
        }
        if (is_unreserved(c)) {
            out[(*used)++] = (char)c;
        } else {
            out[(*used)++] = '%';
            out[(*used)++] = digits[c >> 4];
            out[(*used)++] = digits[c & 15];
        }
    }
    return true;
}

bool tg_http_query_add(char *out, size_t out_size, size_t *used, struct tg_str name,
                       struct tg_str value)
{
    if (out_size - *used < 4) {
        return false;
    }
    out[*used] = memchr(out, '?', *used) != NULL ? '&' : '?';
    (*used)++;
    if (!tg_http_encode(out, out_size, used, name) || out_size - *used < 4) {
        return false;
    }
    out[(*used)++] = '=';
    if (!tg_http_encode(out, out_size, used, value)) {
        return false;
    }
    out[*used] = '\0';
    return true;
}

/* ---- headers ---- */

bool tg_http_is_token(struct tg_str text)
{
    if (text.len < 1 || text.len > TOKEN_MAX_BYTES) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (!is_visible(text.data[i]) || strchr("\"(),/:;<=>?@[\\]{}", text.data[i]) != NULL) {
            return false;
        }
    }
    return true;
}

bool tg_http_is_value(struct tg_str text)
{
    if (text.len > TG_HTTP_VALUE_MAX_BYTES) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (!is_visible(text.data[i]) && text.data[i] != ' ' && text.data[i] != '\t') {
            return false;
        }
    }
    return true;
}

bool tg_http_is_reserved_header(struct tg_str name)
{
    static const char *const names[] = {"host",
                                        "content-length",
                                        "transfer-encoding",
                                        "connection",
                                        "expect",
                                        "te",
                                        "trailer",
                                        "upgrade",
                                        "keep-alive",
                                        "user-agent",
                                        "proxy-authorization",
                                        "proxy-connection"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (name.len == strlen(names[i]) &&
            strncasecmp((const char *)name.data, names[i], name.len) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- Retry-After ---- */

int64_t tg_http_date(struct tg_str text)
{
    char copy[DATE_MAX_BYTES];
    time_t seconds;

    /* a date has letters; curl_getdate would read a bare number as a day */
    if (text.len < 10 || !tg_str_is_printable(text, sizeof(copy) - 1) ||
        !tg_str_copy(text, copy, sizeof(copy)) || strspn(copy, "0123456789 .:+-") == text.len) {
        return -1;
    }
    seconds = curl_getdate(copy, NULL);
    return seconds < 0 || seconds > DATE_MAX_S ? -1 : (int64_t)seconds * 1000;
}

static bool is_digits(struct tg_str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
    }
    return text.len > 0;
}

int64_t tg_http_retry_after(struct tg_str value, struct tg_str date, int64_t now_ms)
{
    int64_t wait_ms, at_ms, from_ms;

    if (is_digits(value)) {
        /* more digits than fit: surely more than the cap */
        if (!tg_str_to_i64(value, &wait_ms) || wait_ms > TG_RETRY_AFTER_MAX_MS / 1000) {
            return TG_RETRY_AFTER_MAX_MS;
        }
        return wait_ms * 1000;
    }
    at_ms = tg_http_date(value);
    if (at_ms < 0) {
        return -1;
    }
    from_ms = tg_http_date(date);
    wait_ms = at_ms - (from_ms >= 0 ? from_ms : now_ms);
    if (wait_ms < 0) {
        return 0;
    }
    return wait_ms > TG_RETRY_AFTER_MAX_MS ? TG_RETRY_AFTER_MAX_MS : wait_ms;
}
