#include "cmd/ask.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define URL_BYTES (TG_ASK_PATH_MAX_BYTES + 64)

struct taking {
    struct tg_answer *out;
    size_t max_bytes;
    bool no_memory;
};

/* What is over the maximum is read and dropped: the status counts. */
static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
    struct taking *t = arg;
    struct tg_answer *out = t->out;
    size_t got = size * count, room = t->max_bytes - out->len;
    size_t take = got < room ? got : room;
    char *body = realloc(out->body, out->len + take + 1);

    if (body == NULL) {
        t->no_memory = true;
        return 0;
    }
    memcpy(body + out->len, data, take);
    out->body = body;
    out->len += take;
    out->is_more = out->is_more || take < got;
    body[out->len] = '\0';
    return got;
}

static int make_url(const struct tg_ask *q, char out[URL_BYTES], struct tg_error *err)
{
    struct in_addr v4 = {.s_addr = htonl(q->where.ipv4)};
    char host[INET_ADDRSTRLEN] = "";
    int n;

    if (q->where.is_unix) {
        n = snprintf(out, URL_BYTES, "http://localhost%s", q->path);
    } else if (q->where.is_ipv6) {
        n = snprintf(out, URL_BYTES, "http://[::1]:%u%s", q->where.port, q->path);
    } else {
        (void)inet_ntop(AF_INET, &v4, host, sizeof(host));
        n = snprintf(out, URL_BYTES, "http://%s:%u%s", host, q->where.port, q->path);
    }
    return n > 0 && n < URL_BYTES
               ? 0
               : tg_error_set(err, "the path is longer than %d bytes", TG_ASK_PATH_MAX_BYTES);
}

static CURLcode add_headers(const struct tg_ask *q, struct curl_slist **list)
{
    for (size_t i = 0; q->headers != NULL && q->headers[i] != NULL; i++) {
        struct curl_slist *longer = curl_slist_append(*list, q->headers[i]);

        if (longer == NULL) {
            return CURLE_OUT_OF_MEMORY;
        }
        *list = longer;
    }
    return CURLE_OK;
}

/* One of the options after the other, the first failure sticks. */
#define SET(rc, h, option, value)                                                                  \
    do {                                                                                           \
        if ((rc) == CURLE_OK) {                                                                    \
            (rc) = curl_easy_setopt((h), (option), (value));                                       \
        }                                                                                          \
    } while (0)

static CURLcode set_up(CURL *h, const struct tg_ask *q, const char *url, struct curl_slist *headers,
                       struct taking *t)
{
    CURLcode rc = CURLE_OK;

    if (q->where.is_unix) {
        SET(rc, h, CURLOPT_UNIX_SOCKET_PATH, q->where.path);
    }
    SET(rc, h, CURLOPT_URL, url);
    SET(rc, h, CURLOPT_CUSTOMREQUEST, q->method);
    SET(rc, h, CURLOPT_HTTPHEADER, headers);
    if (q->body != NULL) {
        SET(rc, h, CURLOPT_POSTFIELDS, q->body);
    }
    SET(rc, h, CURLOPT_PROXY, "");
    SET(rc, h, CURLOPT_PROTOCOLS_STR, "http");
    SET(rc, h, CURLOPT_NOSIGNAL, 1L);
    SET(rc, h, CURLOPT_TIMEOUT_MS, q->timeout_ms);
    SET(rc, h, CURLOPT_WRITEFUNCTION, on_body);
    SET(rc, h, CURLOPT_WRITEDATA, t);
    return rc;
}

static enum tg_asked say_why(CURL *h, CURLcode rc, const struct taking *t, struct tg_error *err)
{
    long reason = 0; /* errno of a failed connect */

    if (t->no_memory || curl_easy_getinfo(h, CURLINFO_OS_ERRNO, &reason) != CURLE_OK) {
        reason = 0;
    }
    (void)tg_error_set(err, "%s",
                       t->no_memory  ? "out of memory"
                       : reason != 0 ? strerror((int)reason)
                                     : curl_easy_strerror(rc));
    switch (rc) {
    case CURLE_COULDNT_CONNECT:
        return TG_ASKED_NOBODY;
    case CURLE_OPERATION_TIMEDOUT:
        return TG_ASKED_LATE;
    default:
        return TG_ASKED_FAILED;
    }
}

enum tg_asked tg_ask(const struct tg_ask *question, struct tg_answer *out, struct tg_error *err)
{
    struct taking t = {.out = out, .max_bytes = question->body_max_bytes};
    struct curl_slist *headers = NULL;
    enum tg_asked asked = TG_ASKED_ANSWERED;
    char url[URL_BYTES];
    CURL *h;
    CURLcode rc;

    memset(out, 0, sizeof(*out));
    if (make_url(question, url, err) != 0) {
        return TG_ASKED_FAILED;
    }
    out->body = calloc(1, 1);
    h = curl_easy_init();
    rc = h != NULL && out->body != NULL ? add_headers(question, &headers) : CURLE_OUT_OF_MEMORY;
    if (rc == CURLE_OK) {
        rc = set_up(h, question, url, headers, &t);
    }
    if (rc == CURLE_OK) {
        rc = curl_easy_perform(h);
    }
    if (rc == CURLE_OK) {
        rc = curl_easy_getinfo(h, CURLINFO_RESPONSE_CODE, &out->status);
    }
    if (rc != CURLE_OK) {
        asked = say_why(h, rc, &t, err);
        tg_answer_free(out);
    }
    curl_slist_free_all(headers);
    curl_easy_cleanup(h);
    return asked;
}

void tg_answer_free(struct tg_answer *answer)
{
    free(answer->body);
    memset(answer, 0, sizeof(*answer));
}
