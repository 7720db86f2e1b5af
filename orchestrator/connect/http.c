/*
 * How libcurl and libuv meet (the traps are in the notes of both):
 *
 *   - libcurl's socket and timer callbacks only note what it wants; they never call it back.
 *   - a timer of 0 becomes 1 ms, or the loop would spin inside one turn.
 *   - after each curl_multi_socket_action all messages are read; a message's fields are copied
 *     before its handle is removed, since that frees the message.
 *   - a poll handle is stopped in the socket callback, while the descriptor is still open, and
 * freed when libuv has let go of it. The callback may speak of handles that are not ours.
 *   - the end: calls, then the multi handle (which closes its idle connections), then timer and
 *     polls.
 *   - calls wait in our line, never in libcurl's (no limit of connections a host there): it counts
 * that wait as time to connect, and 8.14 goes through all that wait again and again.
 *   - without QUICK_EXIT a time-out during a name's resolution would wait for the resolver's
 * thread.
 */
#include "connect/http.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "connect/http_text.h"

#define BODY_FIRST_BYTES 4096
#define WHY_BYTES (CURL_ERROR_SIZE + 64)

struct tg_http {
    uv_loop_t *loop;
    CURLM *multi;
    uv_timer_t timer;
    size_t handles; /* of libuv, not yet closed */
    size_t running;
    struct tg_http_call *active;        /* added to multi */
    struct tg_http_call *first, **tail; /* wait for a turn */
    bool closing;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* Outlives the socket until libuv has closed it. */
struct watch {
    uv_poll_t poll;
    struct tg_http *http;
    curl_socket_t fd;
};

struct tg_http_call {
    struct tg_http *http;
    struct tg_http_call *next, **link; /* in active, or waiting (link NULL) */
    const struct tg_http_site *site;
    CURL *easy;
    struct curl_slist *headers;
    tg_http_done done;
    void *arg;
    bool tls;
    unsigned sends;          /* how often libcurl began to send it */
    bool over_limit;         /* the answer */
    bool headers_done;       /* the empty line came: libcurl calls an end before it a success */
    char refused[WHY_BYTES]; /* why an address was not taken; "" none was */
    char error[CURL_ERROR_SIZE];
    /* the answer */
    struct tg_http_header answer_headers[TG_HTTP_HEADERS_MAX];
    size_t answer_header_count;
    size_t header_bytes;
    unsigned char *body;
    size_t body_len, body_size;
};

/* ---- addresses ---- */

/* NULL: it may be connected to. Otherwise why not, in refused. */
static const char *address_fault(struct tg_http_call *c, const struct sockaddr *address)
{
    char text[TG_ADDRESS_TEXT_BYTES];
    const char *what;

    if (tg_address_is_listed(address, c->site->allow, c->site->allow_count)) {
        return NULL;
    }
    what = tg_address_fault(address);
    if (what == NULL && c->tls) {
        return NULL;
    }
    tg_address_format(address, text);
    if (what == NULL) {
        (void)snprintf(c->refused, sizeof(c->refused),
                       "without TLS the address %s must be in `allow`", text);
    } else {
        (void)snprintf(c->refused, sizeof(c->refused), "the address %s is %s and not in `allow`",
                       text, what);
    }
    return c->refused;
}

static curl_socket_t on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *a)
{
    (void)purpose;
    if (address_fault(arg, &a->addr) != NULL) {
        return CURL_SOCKET_BAD;
    }
    return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

/* Before each sending of the request. The connection may be one that another site's call opened. */
static int on_before_request(void *arg, char *ip, char *local_ip, int port, int local_port)
{
    struct tg_http_call *c = arg;
    struct sockaddr_storage address;

    (void)local_ip;
    (void)port;
    (void)local_port;
    if (c->sends > 0) {
        c->sends++;
        return CURL_PREREQFUNC_ABORT;
    }
    if (tg_address_parse(tg_str_of(ip), &address) != 0) {
        (void)snprintf(c->refused, sizeof(c->refused), "the connection's address is not known");
        return CURL_PREREQFUNC_ABORT;
    }
    if (address_fault(c, (struct sockaddr *)&address) != NULL) {
        return CURL_PREREQFUNC_ABORT;
    }
    c->sends = 1;
    return CURL_PREREQFUNC_OK;
}

/* ---- the answer as it comes ---- */

static void drop_headers(struct tg_http_call *c)
{
    for (size_t i = 0; i < c->answer_header_count; i++) {
        free((char *)(uintptr_t)c->answer_headers[i].name);
    }
    c->answer_header_count = 0;
}

static void trim(struct tg_str *s)
{
    while (s->len > 0 && (s->data[0] == ' ' || s->data[0] == '\t')) {
        s->data++;
        s->len--;
    }
    while (s->len > 0 && strchr(" \t\r\n", s->data[s->len - 1]) != NULL) {
        s->len--;
    }
}

/* One allocation: name, NUL, value, NUL. False: no memory. */
static bool keep_header(struct tg_http_call *c, struct tg_str name, struct tg_str value)
{
    struct tg_http_header *h = &c->answer_headers[c->answer_header_count];
    char *text = malloc(name.len + value.len + 2);

    if (text == NULL) {
        return false;
    }
    for (size_t i = 0; i < name.len; i++) {
        const unsigned char b = name.data[i];

        text[i] = (char)(b >= 'A' && b <= 'Z' ? b + 32 : b);
    }
    text[name.len] = '\0';
    for (size_t i = 0; i < value.len; i++) {
        const unsigned char b = value.data[i];

        text[name.len + 1 + i] = (char)(b >= 0x20 && b < 0x7f ? b : '?');
    }
    text[name.len + 1 + value.len] = '\0';
    *h = (struct tg_http_header){text, text + name.len + 1};
    c->answer_header_count++;
    return true;
}

/* 0 tells libcurl to give up. */
static size_t on_header(char *data, size_t one, size_t len, void *arg)
{
    struct tg_http_call *c = arg;
    const char *colon = memchr(data, ':', len);
    struct tg_str name, value;

    (void)one;
    c->header_bytes += len;
    if (c->header_bytes > TG_HTTP_HEADER_BYTES_MAX) {
        c->over_limit = true;
        return 0;
    }
    if (len >= 5 && memcmp(data, "HTTP/", 5) == 0) { /* a status line: of a 1xx, or of the answer */
        drop_headers(c);
        c->headers_done = false;
        return len;
    }
    if (len > 0 && (data[0] == '\r' || data[0] == '\n')) {
        c->headers_done = true;
        return len;
    }
    if (colon == NULL || c->answer_header_count == TG_HTTP_HEADERS_MAX) {
        return len;
    }
    name = (struct tg_str){(unsigned char *)data, (size_t)(colon - data)};
    value = (struct tg_str){(unsigned char *)(uintptr_t)colon + 1, len - name.len - 1};
    trim(&value);
    return !tg_http_is_token(name) || keep_header(c, name, value) ? len : 0;
}

static size_t on_body(char *data, size_t one, size_t len, void *arg)
{
    struct tg_http_call *c = arg;
    size_t size = c->body_size == 0 ? BODY_FIRST_BYTES : c->body_size;

    (void)one;
    if (len > TG_HTTP_BODY_MAX_BYTES - c->body_len) {
        c->over_limit = true;
        return 0;
    }
    while (size < c->body_len + len) {
        size *= 2;
    }
    if (size != c->body_size) {
        unsigned char *body = realloc(c->body, size);

        if (body == NULL) {
            return 0;
        }
        c->body = body;
        c->body_size = size;
    }
    memcpy(c->body + c->body_len, data, len);
    c->body_len += len;
    return len;
}

/* ---- one call ---- */

static void call_free(struct tg_http_call *c)
{
    if (c->easy != NULL) {
        curl_easy_cleanup(c->easy);
    }
    curl_slist_free_all(c->headers);
    drop_headers(c);
    if (c->body != NULL) {
        explicit_bzero(c->body, c->body_len); /* it may have been a token */
    }
    free(c->body);
    free(c);
}

static bool add_headers(struct tg_http_call *c, const struct tg_http_request *r)
{
    static const char no_expect[] = "Expect:"; /* never wait for 100-continue */

    for (size_t i = 0; i <= r->header_count; i++) {
        const char *line = i < r->header_count ? r->headers[i] : no_expect;
        struct curl_slist *more = curl_slist_append(c->headers, line);

        if (more == NULL) {
            return false;
        }
        c->headers = more;
    }
    return true;
}

/* Each option by itself gives CURLE_OK or says that libcurl cannot do it. */
#define SET(option, value) (curl_easy_setopt(c->easy, (option), (value)) == CURLE_OK)

static bool set_safety(struct tg_http_call *c)
{
    return SET(CURLOPT_NOSIGNAL, 1L) && SET(CURLOPT_FOLLOWLOCATION, 0L) &&
           SET(CURLOPT_PROTOCOLS_STR, c->tls ? "https" : "http") && SET(CURLOPT_PROXY, "") &&
           SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED) &&
           SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) && SET(CURLOPT_PATH_AS_IS, 1L) &&
           SET(CURLOPT_DISALLOW_USERNAME_IN_URL, 1L) &&
           SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) &&
           SET(CURLOPT_SSL_VERIFYPEER, 1L) && SET(CURLOPT_SSL_VERIFYHOST, 2L) &&
           SET(CURLOPT_QUICK_EXIT, 1L) &&
           SET(CURLOPT_UPLOAD_BUFFERSIZE, (long)TG_HTTP_SEND_BUFFER_BYTES) &&
           SET(CURLOPT_OPENSOCKETFUNCTION, on_open_socket) && SET(CURLOPT_OPENSOCKETDATA, c) &&
           SET(CURLOPT_PREREQFUNCTION, on_before_request) && SET(CURLOPT_PREREQDATA, c);
}

static bool set_site(struct tg_http_call *c)
{
    const struct tg_http_site *s = c->site;

    return (s->ca_file == NULL || SET(CURLOPT_CAINFO, s->ca_file)) &&
           (s->cert_file == NULL || SET(CURLOPT_SSLCERT, s->cert_file)) &&
           (s->key_file == NULL || SET(CURLOPT_SSLKEY, s->key_file)) &&
           SET(CURLOPT_CA_CACHE_TIMEOUT, (long)TG_HTTP_CONNECTION_LIFE_S) &&
           SET(CURLOPT_MAXLIFETIME_CONN, (long)TG_HTTP_CONNECTION_LIFE_S);
}

/* Servers want a Content-Length with these, be it 0. */
static bool wants_body(const char *method)
{
    return strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0 ||
           strcmp(method, "PATCH") == 0;
}

static bool set_request(struct tg_http_call *c, const struct tg_http_request *r)
{
    const bool has_body = r->body.len > 0 || wants_body(r->method);

    if (strcmp(r->method, "HEAD") == 0 ? !SET(CURLOPT_NOBODY, 1L)
                                       : !SET(CURLOPT_CUSTOMREQUEST, r->method)) {
        return false;
    }
    if (has_body &&
        (!SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body.len) ||
         !SET(CURLOPT_COPYPOSTFIELDS, r->body.len > 0 ? (const char *)r->body.data : ""))) {
        return false;
    }
    return SET(CURLOPT_URL, r->url) && SET(CURLOPT_HTTPHEADER, c->headers) &&
           SET(CURLOPT_USERAGENT, "tallygate") &&
           SET(CURLOPT_CONNECTTIMEOUT_MS, (long)r->connect_ms) &&
           SET(CURLOPT_TIMEOUT_MS, (long)r->total_ms) &&
           SET(CURLOPT_FRESH_CONNECT, r->fresh ? 1L : 0L) &&
           SET(CURLOPT_FORBID_REUSE, r->fresh ? 1L : 0L);
}

static bool set_callbacks(struct tg_http_call *c)
{
    return SET(CURLOPT_HEADERFUNCTION, on_header) && SET(CURLOPT_HEADERDATA, c) &&
           SET(CURLOPT_WRITEFUNCTION, on_body) && SET(CURLOPT_WRITEDATA, c) &&
           SET(CURLOPT_ERRORBUFFER, c->error) && SET(CURLOPT_PRIVATE, c);
}

#undef SET

static struct tg_http_call *call_new(struct tg_http *h, const struct tg_http_request *r,
                                     tg_http_done done, void *arg)
{
    struct tg_http_call *c = calloc(1, sizeof(*c));

    if (c == NULL) {
        return NULL;
    }
    c->http = h;
    c->site = r->site;
    c->done = done;
    c->arg = arg;
    c->tls = tg_http_url_is_tls(r->url);
    c->easy = curl_easy_init();
    if (c->easy == NULL || !add_headers(c, r) || !set_safety(c) || !set_site(c) ||
        !set_request(c, r) || !set_callbacks(c)) {
        call_free(c);
        return NULL;
    }
    return c;
}

/* ---- turns ---- */

static void set_timer(struct tg_http *h, int64_t ms);

/* A multi handle that takes no more handles is out of memory: the call stays in the line. */
static void start_waiting(struct tg_http *h)
{
    while (h->first != NULL && h->running < TG_HTTP_CALLS_MAX && !h->closing) {
        struct tg_http_call *c = h->first;

        if (curl_multi_add_handle(h->multi, c->easy) != CURLM_OK) {
            tg_log(TG_LOG_WARN, "http", "no memory to begin a request, tried again");
            set_timer(h, 1000);
            return;
        }
        h->first = c->next;
        if (h->first == NULL) {
            h->tail = &h->first;
        }
        c->next = h->active;
        c->link = &h->active;
        if (c->next != NULL) {
            c->next->link = &c->next;
        }
        h->active = c;
        h->running++;
    }
}

static void leave_active(struct tg_http_call *c)
{
    struct tg_http *h = c->http;

    (void)curl_multi_remove_handle(h->multi, c->easy);
    *c->link = c->next;
    if (c->next != NULL) {
        c->next->link = c->link;
    }
    h->running--;
}

static int64_t wall_ms(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static enum tg_http_end end_of(const struct tg_http_call *c, CURLcode code, long status)
{
    if (c->sends == 0) {
        return TG_HTTP_NOT_SENT;
    }
    if (code == CURLE_OK && status >= 200 && c->headers_done) {
        return TG_HTTP_WHOLE;
    }
    return status >= 200 ? TG_HTTP_CUT : TG_HTTP_NO_ANSWER;
}

static void explain(const struct tg_http_call *c, CURLcode code, char out[WHY_BYTES])
{
    const char *text = c->error[0] != '\0' ? c->error : curl_easy_strerror(code);

    if (c->refused[0] != '\0' && c->sends == 0) {
        text = c->refused;
    } else if (c->over_limit) {
        text = "the answer is larger than what is taken";
    } else if (c->sends > 1) {
        text = "the connection died after the request was sent";
    } else if (code == CURLE_OK) {
        text = "the connection ended within the answer's headers";
    }
    (void)snprintf(out, WHY_BYTES, "%s", text);
    for (char *p = out; *p != '\0'; p++) {
        *p = (char)(*p >= 0x20 && *p < 0x7f ? *p : '?');
    }
}

static void finish(struct tg_http_call *c, CURLcode code)
{
    struct tg_http_answer a = {.retry_after_ms = -1};
    char why[WHY_BYTES];
    long status = 0;

    (void)curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
    leave_active(c);
    a.end = end_of(c, code, status);
    if (a.end == TG_HTTP_WHOLE || a.end == TG_HTTP_CUT) {
        a.status = (int)status;
        a.headers = c->answer_headers;
        a.header_count = c->answer_header_count;
        a.body = (struct tg_str){c->body, c->body_len};
        a.retry_after_ms = tg_http_retry_after(tg_str_of(tg_http_header(&a, "retry-after")),
                                               tg_str_of(tg_http_header(&a, "date")), wall_ms());
    }
    explain(c, code, why);
    a.why = a.end == TG_HTTP_WHOLE ? NULL : why;
    c->done(c->arg, &a);
    call_free(c);
}

static void read_messages(struct tg_http *h)
{
    CURLMsg *m;
    int left;

    while (!h->closing && (m = curl_multi_info_read(h->multi, &left)) != NULL) {
        struct tg_http_call *c = NULL;
        CURLcode code = m->data.result;

        if (m->msg == CURLMSG_DONE &&
            curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &c) == CURLE_OK && c != NULL) {
            finish(c, code);
        }
    }
    start_waiting(h);
}

/* ---- sockets and time ---- */

static void on_handle_closed(struct tg_http *h)
{
    h->handles--;
    if (h->handles == 0) {
        h->closed(h->closed_arg);
        free(h);
    }
}

static void on_watch_closed(uv_handle_t *handle)
{
    struct watch *w = handle->data;
    struct tg_http *h = w->http;

    free(w);
    on_handle_closed(h);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct watch *w = poll->data;
    struct tg_http *h = w->http;
    int flags = 0, running;

    if (h->closing) {
        return;
    }
    if (status < 0) {
        flags = CURL_CSELECT_ERR;
    } else {
        flags |= (events & UV_READABLE) != 0 ? CURL_CSELECT_IN : 0;
        flags |= (events & UV_WRITABLE) != 0 ? CURL_CSELECT_OUT : 0;
    }
    (void)curl_multi_socket_action(h->multi, w->fd, flags, &running);
    read_messages(h);
}

static struct watch *watch_new(struct tg_http *h, curl_socket_t fd)
{
    struct watch *w = calloc(1, sizeof(*w));

    if (w == NULL || uv_poll_init_socket(h->loop, &w->poll, fd) != 0) {
        free(w);
        return NULL;
    }
    w->http = h;
    w->fd = fd;
    w->poll.data = w;
    h->handles++;
    return w;
}

static void watch_end(struct watch *w)
{
    (void)uv_poll_stop(&w->poll);
    uv_close((uv_handle_t *)&w->poll, on_watch_closed);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *data)
{
    struct tg_http *h = arg;
    struct watch *w = data;
    int events = 0;

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (w != NULL) {
            (void)curl_multi_assign(h->multi, fd, NULL);
            watch_end(w);
        }
        return 0;
    }
    if (w == NULL) {
        w = watch_new(h, fd);
        if (w == NULL || curl_multi_assign(h->multi, fd, w) != CURLM_OK) {
            tg_log(TG_LOG_ERROR, "http", "a socket cannot be watched: no memory");
            if (w != NULL) {
                watch_end(w);
            }
            return 0; /* the call's time-out ends it */
        }
    }
    events |= (what & CURL_POLL_IN) != 0 ? UV_READABLE : 0;
    events |= (what & CURL_POLL_OUT) != 0 ? UV_WRITABLE : 0;
    (void)uv_poll_start(&w->poll, events, on_poll);
    return 0;
}

static void on_time(uv_timer_t *timer)
{
    struct tg_http *h = timer->data;
    int running;

    (void)curl_multi_socket_action(h->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    read_messages(h);
}

static void set_timer(struct tg_http *h, int64_t ms)
{
    (void)uv_timer_start(&h->timer, on_time, ms <= 0 ? 1 : (uint64_t)ms, 0);
}

static int on_timer_wish(CURLM *multi, long ms, void *arg)
{
    struct tg_http *h = arg;

    (void)multi;
    if (h->closing) {
        return 0;
    }
    if (ms < 0) {
        (void)uv_timer_stop(&h->timer);
    } else {
        set_timer(h, ms);
    }
    return 0;
}

/* ---- life ---- */

static bool set_multi(struct tg_http *h)
{
    CURLM *m = h->multi;

    return curl_multi_setopt(m, CURLMOPT_SOCKETFUNCTION, on_socket) == CURLM_OK &&
           curl_multi_setopt(m, CURLMOPT_SOCKETDATA, h) == CURLM_OK &&
           curl_multi_setopt(m, CURLMOPT_TIMERFUNCTION, on_timer_wish) == CURLM_OK &&
           curl_multi_setopt(m, CURLMOPT_TIMERDATA, h) == CURLM_OK &&
           curl_multi_setopt(m, CURLMOPT_MAXCONNECTS, (long)TG_HTTP_IDLE_CONNECTIONS_MAX) ==
               CURLM_OK &&
           curl_multi_setopt(m, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)TG_HTTP_CALLS_MAX) ==
               CURLM_OK;
}

struct tg_http *tg_http_new(uv_loop_t *loop, struct tg_error *err)
{
    struct tg_http *h = calloc(1, sizeof(*h));

    if (h == NULL || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        free(h);
        (void)tg_error_set(err, "http: libcurl cannot be set up");
        return NULL;
    }
    h->loop = loop;
    h->tail = &h->first;
    h->multi = curl_multi_init();
    if (h->multi == NULL || !set_multi(h)) {
        (void)curl_multi_cleanup(h->multi);
        free(h);
        (void)tg_error_set(err, "http: libcurl cannot be set up");
        return NULL;
    }
    (void)uv_timer_init(loop, &h->timer); /* cannot fail */
    h->timer.data = h;
    h->handles = 1;
    return h;
}

static void on_timer_closed(uv_handle_t *handle)
{
    on_handle_closed(handle->data);
}

static void cancel_all(struct tg_http_call *c)
{
    while (c != NULL) {
        struct tg_http_call *next = c->next;

        (void)tg_http_cancel(c);
        c = next;
    }
}

/* From the loop, never from inside a callback of a call. */
static void on_close_time(uv_timer_t *timer)
{
    struct tg_http *h = timer->data;

    cancel_all(h->active);
    cancel_all(h->first);
    (void)curl_multi_cleanup(h->multi);
    h->multi = NULL;
    uv_close((uv_handle_t *)&h->timer, on_timer_closed);
}

void tg_http_close(struct tg_http *h, void (*closed)(void *arg), void *arg)
{
    h->closing = true;
    h->closed = closed;
    h->closed_arg = arg;
    (void)uv_timer_start(&h->timer, on_close_time, 0, 0);
}

struct tg_http_call *tg_http_send(struct tg_http *h, const struct tg_http_request *r,
                                  tg_http_done done, void *arg)
{
    struct tg_http_call *c = h->closing ? NULL : call_new(h, r, done, arg);

    if (c == NULL) {
        return NULL;
    }
    *h->tail = c;
    h->tail = &c->next;
    start_waiting(h);
    return c;
}

bool tg_http_cancel(struct tg_http_call *c)
{
    struct tg_http *h = c->http;
    const bool begun = c->sends > 0;

    if (c->link != NULL) {
        leave_active(c);
    } else {
        struct tg_http_call **at = &h->first;

        while (*at != c) {
            at = &(*at)->next;
        }
        *at = c->next;
        if (h->tail == &c->next) {
            h->tail = at;
        }
    }
    call_free(c);
    return begun;
}

const char *tg_http_header(const struct tg_http_answer *a, const char *name)
{
    for (size_t i = 0; i < a->header_count; i++) {
        if (strcmp(a->headers[i].name, name) == 0) {
            return a->headers[i].value;
        }
    }
    return NULL;
}
