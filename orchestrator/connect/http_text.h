/*
 * http_text.h: the pure parts of HTTP: addresses of requests, header lines, Retry-After.
 *
 * Ownership: views point into the caller's text; nothing is allocated but where said.
 */
#ifndef TG_CONNECT_HTTP_TEXT_H
#define TG_CONNECT_HTTP_TEXT_H

#include "common/str.h"

/*
 * The url of a destination: http:// or https://, a host, and nothing of user, password, query,
 * fragment, spaces. 0, or -1 with err (which never shows the url: it may hold a password).
 */
int tg_http_url_check(struct tg_str url, struct tg_error *err);

/* Is it https? For a url that passed the check. */
bool tg_http_url_is_tls(const char *url);

/* Host without port and brackets into out; false: it does not fit. For a url that passed. */
bool tg_http_url_host(const char *url, char *out, size_t out_size);

/*
 * base and path as one address: a path must be empty or begin with / or ?, have only visible ASCII,
 * no # and no part . or .. (also percent-encoded), so that what a rule builds from a document's
 * texts cannot leave the base. 0, or -1 with err.
 */
int tg_http_url_join(const char *base, struct tg_str path, char *out, size_t out_size,
                     struct tg_error *err);

/* Adds a text percent-encoded (RFC 3986; no NUL) to used bytes of out. False: no room. */
bool tg_http_encode(char *out, size_t out_size, size_t *used, struct tg_str text);

/* Adds "?name=value" or "&name=value", percent-encoded, to a text with used bytes. False: no room.
 */
bool tg_http_query_add(char *out, size_t out_size, size_t *used, struct tg_str name,
                       struct tg_str value);

/* A token of RFC 9110, 1 to 64 bytes: a method or the name of a header. */
bool tg_http_is_token(struct tg_str text);

/* Visible ASCII, spaces and tabs inside, at most TG_HTTP_VALUE_MAX_BYTES. Empty is fine. */
bool tg_http_is_value(struct tg_str text);

/* A header that connect/ sets itself or that would change how the message is framed. */
bool tg_http_is_reserved_header(struct tg_str name);

/*
 * Milliseconds of a Retry-After: delta-seconds, or a date, which is taken against `date` (the
 * answer's own Date; empty: none) or else now_ms since 1970. At most TG_RETRY_AFTER_MAX_MS. -1: it
 * is neither.
 */
int64_t tg_http_retry_after(struct tg_str value, struct tg_str date, int64_t now_ms);

/* IMF-fixdate, RFC 850 and asctime dates (RFC 9110, 5.6.7), UTC. Milliseconds, or -1. */
int64_t tg_http_date(struct tg_str text);

#endif
