/*
 * api.c: HTTP on libmicrohttpd. Routes, headers, bodies and the life of a request; the answers are
 * made by the handlers (handlers.h).
 *
 * How a request goes. MHD calls on_request first with the headers, then once for each piece of the
 * body, then once more: only that last call answers, so that a client that still sends is never
 * cut off. A body over the limit is read and dropped up to TG_API_DISCARD_MAX_BYTES. Each MHD
 * thread serves one request at a time, so there are as many contexts as threads.
 *
 * Invariants: in_progress counts the requests between the first call and on_completed, which comes
 * exactly once for each; tg_api_stop waits for it to reach 0 before it ends the threads.
 */
#include "api/api.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <microhttpd.h>

#include "api/handlers.h"
#include "api/listen.h"
#include "common/log.h"
#include "core/metrics.h"

#define BODY_FIRST_BYTES 4096
#define ALLOW_GET "GET, HEAD"
#define ALLOW_POST "POST"

struct tg_api {
    struct tg_api_options options;
    struct tg_listen listen;
    int fd;
    struct MHD_Daemon *daemon;
    struct tg_api_pool pool;
    pthread_mutex_t lock;
    pthread_cond_t idle; /* in_progress reached 0 */
    size_t in_progress;  /* under lock */
    bool stopping;       /* under lock */
};

struct route {
    const char *path;
    const char *allow;
    tg_api_handler handler;
    bool is_prefix; /* one more segment follows, then the suffix */
    bool needs_tenant;
    const char *suffix; /* NULL: none */
};

static const struct route routes[] = {
    {"/v1/time-entries/validate", ALLOW_POST, tg_api_validate_time_entries, false, true, NULL},
    {"/v1/events/", ALLOW_GET, tg_api_event_status, true, true, NULL},
    {"/v1/ops/destinations", ALLOW_GET, tg_api_ops_destinations, false, true, NULL},
    {"/v1/ops/destinations/", ALLOW_POST, tg_api_ops_pause, true, true, "/pause"},
    {"/v1/ops/destinations/", ALLOW_POST, tg_api_ops_resume, true, true, "/resume"},
    {"/v1/ops/summary", ALLOW_GET, tg_api_ops_summary, false, true, NULL},
    {"/v1/ops/kpis", ALLOW_GET, tg_api_ops_kpis, false, true, NULL},
    {"/v1/ops/exceptions", ALLOW_GET, tg_api_ops_exceptions, false, true, NULL},
    {"/v1/ops/exceptions/", ALLOW_GET, tg_api_ops_exception, true, true, NULL},
    {"/v1/ops/exceptions/", ALLOW_POST, tg_api_ops_assign, true, true, "/assign"},
    {"/v1/ops/exceptions/", ALLOW_POST, tg_api_ops_replay, true, true, "/replay"},
    {"/v1/ops/exceptions/", ALLOW_POST, tg_api_ops_resolve, true, true, "/resolve"},
    {"/v1/ops/exceptions/", ALLOW_POST, tg_api_ops_discard, true, true, "/discard"},
    {"/v1/ops/exceptions/", ALLOW_POST, tg_api_ops_edit, true, true, "/edit"},
    {"/v1/ops/approvals", ALLOW_GET, tg_api_ops_approvals, false, true, NULL},
    {"/v1/ops/approvals/", ALLOW_POST, tg_api_ops_approve, true, true, NULL},
    {"/v1/ops/postings", ALLOW_GET, tg_api_ops_postings, false, true, NULL},
    {"/v1/ops/postings/", ALLOW_GET, tg_api_ops_posting, true, true, NULL},
    {"/v1/ops/audit", ALLOW_GET, tg_api_ops_audit, false, true, NULL},
    {"/v1/ops/reconciliation", ALLOW_GET, tg_api_ops_reconciliation, false, true, NULL},
    {"/v1/ops/replays", ALLOW_POST, tg_api_ops_replays, false, true, NULL},
    {"/v1/ops/replays/", ALLOW_GET, tg_api_ops_replay_status, true, true, NULL},
    {"/healthz", ALLOW_GET, tg_api_healthz, false, false, NULL},
    {"/readyz", ALLOW_GET, tg_api_readyz, false, false, NULL},
    {"/metrics", ALLOW_GET, tg_api_metrics, false, false, NULL},
};

/* One HTTP request, from its first call to on_completed. */
struct exchange {
    const struct route *route; /* NULL: no such path */
    struct tg_str rest;        /* of the path; belongs to MHD */
    unsigned char *body;
    size_t len, capacity, seen;
    bool too_large;
};

/* ---- routes ---- */

/* The one segment between the prefix and the suffix; false: the path is not of this route. */
static bool rest_of(const struct route *r, const char *path, struct tg_str *rest)
{
    const char *suffix = r->suffix != NULL ? r->suffix : "";
    size_t before = strlen(r->path), after = strlen(suffix), len = strlen(path);

    if (strncmp(path, r->path, before) != 0 || len <= before + after ||
        strcmp(path + len - after, suffix) != 0) {
        return false;
    }
    *rest = (struct tg_str){(const unsigned char *)path + before, len - before - after};
    return memchr(rest->data, '/', rest->len) == NULL;
}

static const struct route *find_route(const char *path, struct tg_str *rest)
{
    *rest = (struct tg_str){(const unsigned char *)"", 0};
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        const struct route *r = &routes[i];

        if (r->is_prefix ? rest_of(r, path, rest) : strcmp(path, r->path) == 0) {
            return r;
        }
    }
    return NULL;
}

static bool method_is_allowed(const struct route *r, const char *method)
{
    return strcmp(r->allow, ALLOW_POST) == 0
               ? strcmp(method, "POST") == 0
               : strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
}

/* ---- the body ---- */

/* Keeps up to the limit, drops the rest. 0, or -1: out of memory, or far over the limit. */
static int take_body(struct exchange *x, const char *data, size_t size)
{
    size_t room = x->capacity;

    x->seen += size;
    if (x->seen > TG_API_BODY_MAX_BYTES) {
        x->too_large = true;
        return x->seen > TG_API_DISCARD_MAX_BYTES ? -1 : 0;
    }
    while (room < x->seen) {
        room = room == 0 ? BODY_FIRST_BYTES : room * 2;
    }
    if (room > x->capacity) {
        unsigned char *body = realloc(x->body, room);

        if (body == NULL) {
            return -1;
        }
        x->body = body;
        x->capacity = room;
    }
    memcpy(x->body + x->len, data, size);
    x->len += size;
    return 0;
}

/* ---- answers ---- */

static struct tg_str header(struct MHD_Connection *c, enum MHD_ValueKind kind, const char *name)
{
    return tg_str_of(MHD_lookup_connection_value(c, kind, name));
}

static enum MHD_Result on_argument(void *arg, enum MHD_ValueKind kind, const char *name,
                                   const char *value)
{
    struct tg_api_request *rq = arg;

    (void)kind;
    if (rq->arg_count == TG_API_ARGS_MAX) {
        rq->args_cut = true;
        return MHD_NO;
    }
    rq->args[rq->arg_count++] = (struct tg_api_arg){
        tg_str_of(name), value != NULL ? tg_str_of(value) : (struct tg_str){NULL, 0}};
    return MHD_YES;
}

static void read_request(struct MHD_Connection *c, const struct exchange *x,
                         struct tg_api_request *out)
{
    struct tg_str none = {NULL, 0};

    out->rest = x->rest;
    out->tenant = header(c, MHD_HEADER_KIND, "X-Tally-Tenant");
    out->client = header(c, MHD_HEADER_KIND, "X-Tally-Client");
    out->scope = header(c, MHD_HEADER_KIND, "X-Tally-Scope");
    out->correlation_id = header(c, MHD_HEADER_KIND, "X-Correlation-ID");
    if (!tg_str_is_printable(out->correlation_id, TG_CORRELATION_ID_MAX_BYTES)) {
        out->correlation_id = none; /* it is sent back in a header: nothing else may get there */
    }
    out->content_type = header(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_TYPE);
    out->source = header(c, MHD_GET_ARGUMENT_KIND, "source");
    out->body = (struct tg_str){x->body, x->len};
    out->arg_count = 0;
    out->args_cut = false;
    (void)MHD_get_connection_values(c, MHD_GET_ARGUMENT_KIND, on_argument, out);
}

static void make_reply(struct tg_api *a, const struct exchange *x, const char *method,
                       const struct tg_api_request *rq, struct tg_reply *out)
{
    struct tg_api_context *ctx;

    if (x->route == NULL) {
        tg_reply_problem(out, TG_PROBLEM_NOT_FOUND, rq->correlation_id, "no such path");
        return;
    }
    if (!method_is_allowed(x->route, method)) {
        tg_reply_problem(out, TG_PROBLEM_METHOD_NOT_ALLOWED, rq->correlation_id,
                         "this path takes %s", x->route->allow);
        return;
    }
    if (x->route->needs_tenant && rq->tenant.len == 0) {
        tg_reply_problem(out, TG_PROBLEM_TENANT_MISSING, rq->correlation_id,
                         "the edge sent no X-Tally-Tenant");
        return;
    }
    if (x->too_large) {
        tg_reply_problem(out, TG_PROBLEM_BODY_TOO_LARGE, rq->correlation_id,
                         "at most %d bytes are taken", TG_API_BODY_MAX_BYTES);
        return;
    }
    ctx = tg_api_pool_take(&a->pool);
    if (ctx == NULL) {
        tg_reply_problem(out, TG_PROBLEM_UNAVAILABLE, rq->correlation_id,
                         "every worker is busy; try again");
        return;
    }
    x->route->handler(ctx, rq, out);
    tg_api_pool_give(&a->pool, ctx);
}

static bool add_headers(struct tg_api *a, struct MHD_Response *response, const struct exchange *x,
                        const struct tg_api_request *rq, const struct tg_reply *reply)
{
    char correlation_id[TG_CORRELATION_ID_MAX_BYTES + 1];
    bool ok =
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, reply->content_type) ==
            MHD_YES &&
        MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store") == MHD_YES;
    bool stopping;

    if (ok && reply->status == MHD_HTTP_METHOD_NOT_ALLOWED && x->route != NULL) {
        ok = MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, x->route->allow) == MHD_YES;
    }
    if (ok && rq->correlation_id.len > 0 &&
        tg_str_copy(rq->correlation_id, correlation_id, sizeof(correlation_id))) {
        ok = MHD_add_response_header(response, "X-Correlation-ID", correlation_id) == MHD_YES;
    }
    pthread_mutex_lock(&a->lock);
    stopping = a->stopping;
    pthread_mutex_unlock(&a->lock);
    if (ok && stopping) {
        ok = MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close") == MHD_YES;
    }
    return ok;
}

static enum MHD_Result answer(struct tg_api *a, struct MHD_Connection *c, const struct exchange *x,
                              const char *method)
{
    struct tg_api_request rq;
    struct tg_reply reply = {0};
    struct MHD_Response *response;
    enum MHD_Result rc = MHD_NO;

    read_request(c, x, &rq);
    make_reply(a, x, method, &rq, &reply);
    if (reply.body == NULL) {
        return MHD_NO; /* out of memory: the connection is closed */
    }
    response = MHD_create_response_from_buffer(reply.len, reply.body, MHD_RESPMEM_MUST_FREE);
    if (response == NULL) {
        tg_reply_clear(&reply);
        return MHD_NO;
    }
    if (add_headers(a, response, x, &rq, &reply)) {
        rc = MHD_queue_response(c, reply.status, response);
    }
    MHD_destroy_response(response);
    return rc;
}

/* ---- the life of a request ---- */

/* A body announced as far over the limit is not read at all. */
static bool is_far_too_large(struct MHD_Connection *c)
{
    int64_t length;
    struct tg_str text = header(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);

    return tg_str_to_i64(text, &length) && length > TG_API_DISCARD_MAX_BYTES;
}

static enum MHD_Result begin(struct tg_api *a, struct MHD_Connection *c, const char *url,
                             const char *method, void **state)
{
    struct exchange *x = calloc(1, sizeof(*x));

    if (x == NULL) {
        return MHD_NO;
    }
    pthread_mutex_lock(&a->lock);
    a->in_progress++;
    pthread_mutex_unlock(&a->lock);
    *state = x;
    tg_metric_add(TG_METRIC_API_REQUESTS, 1);
    x->route = find_route(url, &x->rest);
    if (is_far_too_large(c)) {
        x->too_large = true;
        return answer(a, c, x, method);
    }
    return MHD_YES;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *c, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *size, void **state)
{
    struct tg_api *a = arg;
    struct exchange *x = *state;

    (void)version;
    if (x == NULL) {
        return begin(a, c, url, method, state);
    }
    if (*size > 0) {
        if (take_body(x, data, *size) != 0) {
            return MHD_NO;
        }
        *size = 0;
        return MHD_YES;
    }
    return answer(a, c, x, method);
}

static void on_completed(void *arg, struct MHD_Connection *c, void **state,
                         enum MHD_RequestTerminationCode why)
{
    struct tg_api *a = arg;
    struct exchange *x = *state;

    (void)c;
    (void)why;
    if (x == NULL) {
        return;
    }
    free(x->body);
    free(x);
    *state = NULL;
    pthread_mutex_lock(&a->lock);
    a->in_progress--;
    if (a->in_progress == 0) {
        pthread_cond_broadcast(&a->idle);
    }
    pthread_mutex_unlock(&a->lock);
}

/* %00 would cut the C string it lands in: such a path stays as it was sent, and matches nothing. */
static size_t unescape(void *arg, struct MHD_Connection *c, char *text)
{
    (void)arg;
    (void)c;
    return strstr(text, "%00") != NULL ? strlen(text) : MHD_http_unescape(text);
}

static __attribute__((format(printf, 2, 0))) void on_log(void *arg, const char *fmt, va_list args)
{
    char text[TG_ERROR_MAX_BYTES];

    (void)arg;
    if (vsnprintf(text, sizeof(text), fmt, args) < 0) {
        return;
    }
    text[strcspn(text, "\r\n")] = '\0';
    tg_log(TG_LOG_WARN, "api", "http: %s", text);
}

/* ---- start and stop ---- */

static struct MHD_Daemon *start_daemon(struct tg_api *a)
{
    unsigned threads = a->options.config->api.threads;

    return MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ITC | MHD_USE_ERROR_LOG, 0,
                            NULL, NULL, on_request, a, MHD_OPTION_EXTERNAL_LOGGER, on_log, a,
                            MHD_OPTION_LISTEN_SOCKET, a->fd, MHD_OPTION_THREAD_POOL_SIZE,
                            threads > 1 ? threads : 0, MHD_OPTION_CONNECTION_LIMIT,
                            TG_API_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, TG_API_TIMEOUT_S,
                            MHD_OPTION_NOTIFY_COMPLETED, on_completed, a,
                            MHD_OPTION_UNESCAPE_CALLBACK, unescape, a, MHD_OPTION_END);
}

static int make_locks(struct tg_api *a, struct tg_error *err)
{
    pthread_condattr_t attr;
    int rc;

    if (pthread_condattr_init(&attr) != 0) {
        return tg_error_set(err, "api: cannot make a lock");
    }
    rc = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    rc = rc == 0 ? pthread_cond_init(&a->idle, &attr) : rc;
    pthread_condattr_destroy(&attr);
    if (rc != 0) {
        return tg_error_set(err, "api: cannot make a lock");
    }
    if (pthread_mutex_init(&a->lock, NULL) != 0) {
        pthread_cond_destroy(&a->idle);
        return tg_error_set(err, "api: cannot make a lock");
    }
    return 0;
}

static void drop_locks(struct tg_api *a)
{
    pthread_cond_destroy(&a->idle);
    pthread_mutex_destroy(&a->lock);
}

static int open_and_run(struct tg_api *a, struct tg_error *err)
{
    struct tg_error why = {""};

    if (tg_listen_parse(tg_str_of(a->options.config->api.listen), &a->listen, &why) != 0) {
        return tg_error_set(err, "api.listen: %s", why.text);
    }
    a->fd = tg_listen_open(&a->listen, &why);
    if (a->fd < 0) {
        return tg_error_set(err, "api.listen: %s", why.text);
    }
    if (tg_api_pool_init(&a->pool, a->options.config->api.threads, &a->options, err) != 0) {
        tg_listen_close(&a->listen, a->fd);
        return -1;
    }
    a->daemon = start_daemon(a);
    if (a->daemon == NULL) {
        tg_api_pool_clear(&a->pool);
        tg_listen_close(&a->listen, a->fd);
        return tg_error_set(err, "api: the HTTP server did not start: %s", strerror(errno));
    }
    return 0;
}

struct tg_api *tg_api_start(const struct tg_api_options *o, struct tg_error *err)
{
    struct tg_api *a = calloc(1, sizeof(*a));

    if (a == NULL) {
        tg_error_set(err, "api: out of memory");
        return NULL;
    }
    a->options = *o;
    if (make_locks(a, err) != 0) {
        free(a);
        return NULL;
    }
    if (open_and_run(a, err) != 0) {
        drop_locks(a);
        free(a);
        return NULL;
    }
    tg_log(TG_LOG_INFO, "api", "listening on %s with %u threads", o->config->api.listen,
           o->config->api.threads);
    return a;
}

static void wait_until_idle(struct tg_api *a)
{
    struct timespec until;
    int rc = 0;

    if (clock_gettime(CLOCK_MONOTONIC, &until) != 0) {
        return;
    }
    until.tv_sec += TG_API_STOP_MS / 1000;
    pthread_mutex_lock(&a->lock);
    a->stopping = true;
    while (a->in_progress > 0 && rc == 0) {
        rc = pthread_cond_timedwait(&a->idle, &a->lock, &until);
    }
    if (a->in_progress > 0) {
        tg_log(TG_LOG_WARN, "api", "stopping with %zu requests not answered within %d ms",
               a->in_progress, TG_API_STOP_MS);
    }
    pthread_mutex_unlock(&a->lock);
}

void tg_api_stop(struct tg_api *a)
{
    if (a == NULL) {
        return;
    }
    (void)MHD_quiesce_daemon(a->daemon); /* gives back our own descriptor, closed below */
    wait_until_idle(a);
    MHD_stop_daemon(a->daemon);
    tg_listen_close(&a->listen, a->fd);
    tg_api_pool_clear(&a->pool);
    drop_locks(a);
    free(a);
}
