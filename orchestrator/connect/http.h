/*
 * http.h: HTTP out, on libcurl's multi interface and the libuv loop. One client for a loop; one
 * function checks the address and sends. It knows nothing of postings.
 *
 * What it answers is what can be known about a request, in four classes:
 *
 *   NOT_SENT   no byte of the request left: it may be repeated by anybody
 *   NO_ANSWER  it may have been executed; no answer came (time-out, close, reset)
 *   CUT        it may have been executed; the answer broke off or is over the limits
 *   WHOLE      status, headers and body
 *
 * libcurl sends a request a second time by itself when a reused connection turns out dead. Its
 * pre-request callback runs before each sending, so the second one is stopped there (NO_ANSWER),
 * and "it never ran" is the only proof of NOT_SENT; libcurl's error codes are for people.
 *
 * No redirect is followed, no proxy or .netrc of the environment is used, no cookie is kept, and no
 * compressed answer is asked for. The address that was connected to is checked when the socket is
 * made and again before the request (a connection may have been opened for another site).
 *
 * All calls and callbacks are on the loop thread; done is never called from inside tg_http_send. A
 * call is over when done is called: it must not be cancelled then.
 *
 * Ownership: requests are copied but for the site, which outlives its calls. What an answer points
 * to is valid inside the callback.
 */
#ifndef TG_CONNECT_HTTP_H
#define TG_CONNECT_HTTP_H

#include <uv.h>

#include "connect/address.h"

struct tg_http;
struct tg_http_call;

/* Where requests may go, and with which certificates. Files are read again with each new
 * connection; a connection lives TG_HTTP_CONNECTION_LIFE_S at most. */
struct tg_http_site {
    const struct tg_prefix *allow; /* addresses that are not public, or reached without TLS */
    size_t allow_count;
    const char *ca_file;              /* NULL: the system's */
    const char *cert_file, *key_file; /* PEM; NULL: no client certificate */
};

struct tg_http_request {
    const struct tg_http_site *site;
    const char *method; /* "POST" */
    const char *url;
    const char *const *headers; /* "Name: value" */
    size_t header_count;
    struct tg_str body; /* empty: none, or one of length 0 where the method wants one */
    int64_t connect_ms, total_ms;
    bool fresh; /* on a connection of its own: a doubt about this request needs a person */
};

enum tg_http_end { TG_HTTP_NOT_SENT, TG_HTTP_NO_ANSWER, TG_HTTP_CUT, TG_HTTP_WHOLE };

struct tg_http_header {
    const char *name; /* lower case */
    const char *value;
};

struct tg_http_answer {
    enum tg_http_end end;
    int status; /* CUT and WHOLE; else 0 */
    const struct tg_http_header *headers;
    size_t header_count;
    struct tg_str body;
    int64_t retry_after_ms; /* -1: none given */
    const char *why;        /* unless WHOLE: for a person, without secrets */
};

typedef void (*tg_http_done)(void *arg, const struct tg_http_answer *answer);

/* NULL with err. */
struct tg_http *tg_http_new(uv_loop_t *loop, struct tg_error *err);

/* Cancels what is left without calling it back; closed comes from the loop. */
void tg_http_close(struct tg_http *h, void (*closed)(void *arg), void *arg);

/* Over TG_HTTP_CALLS_MAX at once a call waits for its turn; its time-out runs from then. NULL: no
 * memory, nothing was sent and done will not be called. */
struct tg_http_call *tg_http_send(struct tg_http *h, const struct tg_http_request *r,
                                  tg_http_done done, void *arg);

/* Ends it; done is not called. True: it may have been executed. */
bool tg_http_cancel(struct tg_http_call *call);

/* The first header of that name (lower case); NULL: none. */
const char *tg_http_header(const struct tg_http_answer *a, const char *name);

#endif
