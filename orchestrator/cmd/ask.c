#include "cmd/ask.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

#define URL_BYTES (TG_ASK_PATH_MAX_BYTES + 64)

/* What does not fit is read and dropped: the status counts. */
static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
    struct tg_answer *out = arg;
    size_t got = size * count, room = TG_ASK_BODY_MAX_BYTES - out->len;
    size_t take = got < room ? got : room;

    memcpy(out->body + out->len, data, take);
    out->len += take;
    out->body[out->len] = '\0';
    return got;
}

static int make_url(const struct tg_ask *q, char out[URL_BYTES], struct tg_error *err)
{
    struct in_addr v4 = {.s_addr = htonl(q->where.ipv4)};
    char host[INET_ADDRSTRLEN] = "";
    int n;

    if (strlen(q->path) > TG_ASK_PATH_MAX_BYTES) {
        return tg_error_set(err, "the path is longer than %d bytes", TG_ASK_PATH_MAX_BYTES);
    }
    if (q->where.is_unix) {
        n = snprintf(out, URL_BYTES, "http://localhost%s", q->path);
    } else if (q->where.is_ipv6) {
        n = snprintf(out, URL_BYTES, "http://[::1]:%u%s", q->where.port, q->path);
    } else {
        (void)inet_ntop(AF_INET, &v4, host, sizeof(host));
        n = snprintf(out, URL_BYTES, "http://%s:%u%s", host, q->where.port, q->path);
    }
    return n > 0 && n < URL_BYTES ? 0 : tg_error_set(err, "the path is too long");
}

static CURLcode set_up(CURL *curl, const struct tg_ask *q, const char *url, struct tg_answer *out)
{
    CURLcode rc = curl_easy_setopt(curl, CURLOPT_URL, url);

    if (rc == CURLE_OK && q->where.is_unix) {
        rc = curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, q->where.path);
    }
    if (rc == CURLE_OK) {
        rc = curl_easy_setopt(curl, CURLOPT_PROXY, "");
    }
    if (rc == CURLE_OK) {
        rc = curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http");
    }
    if (rc == CURLE_OK) {
        rc = curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    }
    if (rc == CURLE_OK) {
        rc = curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, q->timeout_ms);
    }
    if (rc == CURLE_OK) {
        rc = curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    }
    if (rc == CURLE_OK) {
        rc = curl_easy_setopt(curl, CURLOPT_WRITEDATA, out);
    }
    return rc;
}

int tg_ask(const struct tg_ask *question, struct tg_answer *out, struct tg_error *err)
{
    char url[URL_BYTES];
    long reason = 0; /* errno of a failed connect */
    CURL *curl;
    CURLcode rc;

    memset(out, 0, sizeof(*out));
    if (make_url(question, url, err) != 0) {
        return -1;
    }
    curl = curl_easy_init();
    if (curl == NULL) {
        return tg_error_set(err, "no memory for a request");
    }
    rc = set_up(curl, question, url, out);
    if (rc == CURLE_OK) {
        rc = curl_easy_perform(curl);
    }
    if (rc == CURLE_OK) {
        rc = curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &out->status);
    }
    if (rc != CURLE_OK && curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &reason) != CURLE_OK) {
        reason = 0;
    }
    curl_easy_cleanup(curl);
    if (rc != CURLE_OK) {
        return tg_error_set(err, "%s",
                            reason != 0 ? strerror((int)reason) : curl_easy_strerror(rc));
    }
    return 0;
}
