/* The HTTP client against real sockets on loopback: what each kind of end is called, and what the
 * other side really got. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "connect/http.h"
#include "http_server.h"

#define DEADLINE_MS 20000
#define BIG (3 * 1024 * 1024)

struct rig {
    uv_loop_t loop;
    uv_timer_t deadline;
    struct tg_http *http;
    struct hs server;
    struct tg_prefix loopback;
    struct tg_http_site site;
    bool late, closed;
    size_t answers;
    enum tg_http_end end; /* of the last answer */
    int status;
    char body[256], why[512], type[64];
    int64_t retry_after_ms;
    size_t body_len;
};

static void on_deadline(uv_timer_t *timer)
{
    ((struct rig *)timer->data)->late = true;
}

static void on_answer(void *arg, const struct tg_http_answer *a)
{
    struct rig *g = arg;
    const char *type = tg_http_header(a, "content-type");

    g->answers++;
    uv_stop(&g->loop); /* it may have come before the loop's poll, which would then sleep */
    g->end = a->end;
    g->status = a->status;
    g->body_len = a->body.len;
    g->retry_after_ms = a->retry_after_ms;
    (void)snprintf(g->body, sizeof(g->body), "%.*s", (int)a->body.len, (const char *)a->body.data);
    (void)snprintf(g->why, sizeof(g->why), "%s", a->why != NULL ? a->why : "");
    (void)snprintf(g->type, sizeof(g->type), "%s", type != NULL ? type : "");
}

static int setup(void **state)
{
    struct rig *g = calloc(1, sizeof(*g));
    struct tg_error err = {""};

    if (g == NULL || uv_loop_init(&g->loop) != 0 || uv_timer_init(&g->loop, &g->deadline) != 0) {
        return -1;
    }
    *state = g;
    g->deadline.data = g;
    (void)uv_timer_start(&g->deadline, on_deadline, DEADLINE_MS, 0);
    g->http = tg_http_new(&g->loop, &err);
    g->site = (struct tg_http_site){.allow = &g->loopback, .allow_count = 1};
    return g->http == NULL ? -1 : tg_prefix_parse(tg_str_of("127.0.0.0/8"), &g->loopback, &err);
}

static void on_closed(void *arg)
{
    ((struct rig *)arg)->closed = true;
}

static int teardown(void **state)
{
    struct rig *g = *state;
    int rc;

    if (g->server.loop != NULL) {
        hs_stop(&g->server);
    }
    tg_http_close(g->http, on_closed, g);
    uv_close((uv_handle_t *)&g->deadline, NULL);
    (void)uv_run(&g->loop, UV_RUN_DEFAULT);
    rc = g->closed && g->server.open == 0 ? uv_loop_close(&g->loop) : -1;
    free(g);
    return rc;
}

static struct tg_http_request request_to(const struct rig *g, char *url, size_t size)
{
    static const char *const headers[] = {"Content-Type: application/json"};

    (void)snprintf(url, size, "http://127.0.0.1:%d/post", g->server.port);
    return (struct tg_http_request){.site = &g->site,
                                    .method = "POST",
                                    .url = url,
                                    .headers = headers,
                                    .header_count = 1,
                                    .body = tg_str_of("{\"n\":1}"),
                                    .connect_ms = 5000,
                                    .total_ms = 10000};
}

static struct tg_http_call *begin(struct rig *g, const struct tg_http_request *r)
{
    struct tg_http_call *c = tg_http_send(g->http, r, on_answer, g);

    assert_non_null(c);
    return c;
}

static void wait_answers(struct rig *g, size_t n)
{
    while (g->answers < n && !g->late) {
        (void)uv_run(&g->loop, UV_RUN_ONCE);
    }
    assert_int_equal(g->answers, n);
}

static void go(struct rig *g, const struct tg_http_request *r)
{
    g->answers = 0;
    (void)begin(g, r);
    assert_int_equal(g->answers, 0);
    wait_answers(g, 1);
}

/* One server with these acts, one POST. */
static void post(struct rig *g, const struct hs_act *acts, size_t n)
{
    char url[64];
    struct tg_http_request r;

    assert_int_equal(hs_start(&g->server, &g->loop, acts, n), 0);
    r = request_to(g, url, sizeof(url));
    go(g, &r);
}

static void whole_answer(void **state)
{
    static const struct hs_act acts[] = {
        {"HTTP/1.1 201 Created\r\nContent-TYPE:  application/json \r\nContent-Length: 2\r\n\r\n{}",
         HS_KEEP, false}};
    struct rig *g = *state;
    const char *seen = g->server.request[0];

    assert_int_equal(setenv("http_proxy", "http://127.0.0.1:1", 1), 0);
    post(g, acts, 1);
    assert_int_equal(g->end, TG_HTTP_WHOLE);
    assert_int_equal(g->status, 201);
    assert_string_equal(g->body, "{}");
    assert_string_equal(g->type, "application/json");
    assert_true(g->retry_after_ms == -1);
    assert_int_equal(strncmp(seen, "POST /post HTTP/1.1\r\n", 21), 0);
    assert_non_null(strstr(seen, "Content-Length: 7\r\n"));
    assert_non_null(strstr(seen, "Content-Type: application/json\r\n"));
    assert_null(strstr(seen, "Expect"));
    assert_null(strstr(seen, "Accept-Encoding"));
    assert_non_null(strstr(seen, "\r\n\r\n{\"n\":1}"));
}

static void empty_bodies(void **state)
{
    static const struct hs_act acts[] = {{HS_OK("", "0"), HS_KEEP, false}};
    struct rig *g = *state;
    char url[64];
    struct tg_http_request r;

    assert_int_equal(hs_start(&g->server, &g->loop, acts, 1), 0);
    r = request_to(g, url, sizeof(url));
    r.body = (struct tg_str){NULL, 0};
    go(g, &r);
    assert_non_null(strstr(g->server.request[0], "Content-Length: 0\r\n"));
    r.method = "GET";
    r.header_count = 0;
    go(g, &r);
    assert_int_equal(strncmp(g->server.request[1], "GET /post", 9), 0);
    assert_null(strstr(g->server.request[1], "Content-"));
    r.method = "DELETE";
    go(g, &r);
    assert_int_equal(strncmp(g->server.request[2], "DELETE /post", 12), 0);
    r.method = "PATCH";
    r.body = tg_str_of("{}");
    go(g, &r);
    assert_int_equal(strncmp(g->server.request[3], "PATCH /post", 11), 0);
    assert_int_equal(g->server.connections, 1);
    r.fresh = true;
    go(g, &r);
    assert_int_equal(g->server.connections, 2);
}

static void nobody_listens(void **state)
{
    struct rig *g = *state;
    char url[64];
    struct tg_http_request r;

    g->server.port = 1;
    r = request_to(g, url, sizeof(url));
    go(g, &r);
    assert_int_equal(g->end, TG_HTTP_NOT_SENT);
    assert_int_equal(g->status, 0);
    assert_true(g->why[0] != '\0');
    r.url = "https://no-such-host.invalid/";
    go(g, &r);
    assert_int_equal(g->end, TG_HTTP_NOT_SENT);
}

/* The repeat of libcurl: on a reused connection that dies without an answer it would send again. */
static void a_request_is_never_sent_twice(void **state)
{
    static const struct hs_act acts[] = {{HS_OK("{}", "2"), HS_KEEP, false},
                                         {NULL, HS_CLOSE, false},
                                         {HS_OK("{}", "2"), HS_KEEP, false}};
    struct rig *g = *state;
    char url[64];
    struct tg_http_request r;

    post(g, acts, 3);
    assert_int_equal(g->end, TG_HTTP_WHOLE);
    r = request_to(g, url, sizeof(url));
    go(g, &r);
    assert_int_equal(g->end, TG_HTTP_NO_ANSWER);
    assert_non_null(strstr(g->why, "died"));
    assert_int_equal(g->server.requests, 2);
    go(g, &r);
    assert_int_equal(g->end, TG_HTTP_WHOLE);
    assert_int_equal(g->server.requests, 3);
}

/* The same, and then nobody listens: libcurl says "could not connect", but the request went out. */
static void sent_and_then_gone(void **state)
{
    static const struct hs_act acts[] = {{HS_OK("{}", "2"), HS_KEEP, false},
                                         {NULL, HS_CLOSE, false}};
    struct rig *g = *state;
    char url[64];
    struct tg_http_request r;

    post(g, acts, 2);
    uv_close((uv_handle_t *)&g->server.listener, NULL);
    (void)uv_run(&g->loop, UV_RUN_NOWAIT);
    r = request_to(g, url, sizeof(url));
    go(g, &r);
    assert_int_equal(g->end, TG_HTTP_NO_ANSWER);
    assert_int_equal(g->server.requests, 2);
    g->server.loop = NULL; /* the listener is gone */
    g->server.open = 0;
}

static void no_answer(void **state)
{
    static const struct hs_act acts[] = {{NULL, HS_RESET, false},
                                         {"HTTP/1.1 100 Continue\r\n\r\n", HS_CLOSE, false},
                                         {"what is this?\r\n\r\n", HS_CLOSE, false},
                                         {NULL, HS_KEEP, false}};
    struct rig *g = *state;
    char url[64];
    struct tg_http_request r;

    post(g, acts, 4);
    assert_int_equal(g->end, TG_HTTP_NO_ANSWER);
    r = request_to(g, url, sizeof(url));
    go(g, &r);
    assert_int_equal(g->end, TG_HTTP_NO_ANSWER);
    go(g, &r);
    assert_int_equal(g->end, TG_HTTP_NO_ANSWER);
    r.total_ms = 200;
    go(g, &r);
    assert_int_equal(g->end, TG_HTTP_NO_ANSWER);
    assert_int_equal(g->status, 0);
    assert_int_equal(g->server.requests, 4);
}

static void cut_answers(void **state)
{
    static const struct hs_act acts[] = {
        {HS_OK("{\"id\":", "40"), HS_CLOSE, false},
        {"HTTP/1.1 500 Oops\r\nContent-Length: 40\r\n\r\n", HS_CLOSE, false},
        {"HTTP/1.1 200 OK\r\nContent-Ty", HS_CLOSE, false},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"id\"\r\n", HS_CLOSE, false},
        {"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", HS_TRICKLE, false}};
    struct rig *g = *state;
    char url[64];
    struct tg_http_request r;

    post(g, acts, 5);
    assert_int_equal(g->end, TG_HTTP_CUT);
    assert_int_equal(g->status, 200);
    r = request_to(g, url, sizeof(url));
    go(g, &r);
    assert_int_equal(g->end, TG_HTTP_CUT);
    assert_int_equal(g->status, 500);
    go(g, &r);
    assert_int_equal(g->end, TG_HTTP_CUT);
    assert_non_null(strstr(g->why, "headers"));
    go(g, &r);
    assert_int_equal(g->end, TG_HTTP_CUT);
    r.total_ms = 300;
    go(g, &r);
    assert_int_equal(g->end, TG_HTTP_CUT);
    assert_true(g->body_len > 0);
}

static char *big_text(const char *head, size_t n)
{
    char *text = malloc(n + 256);

    assert_non_null(text);
    (void)snprintf(text, 256, "%s", head);
    memset(text + strlen(head), 'a', n);
    text[strlen(head) + n] = '\0';
    return text;
}

static void giant_answers(void **state)
{
    struct rig *g = *state;
    char *body = big_text("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", BIG);
    char *header = big_text("HTTP/1.1 200 OK\r\nX: y\r\nX-Long: ", 90000);

    const struct hs_act acts[] = {{body, HS_CLOSE, false}, {header, HS_CLOSE, false}};
    char url[64];
    struct tg_http_request r;

    post(g, acts, 2);
    assert_int_equal(g->end, TG_HTTP_CUT);
    assert_true(g->body_len <= TG_HTTP_BODY_MAX_BYTES);
    assert_non_null(strstr(g->why, "larger"));
    r = request_to(g, url, sizeof(url));
    go(g, &r);
    assert_true(g->end == TG_HTTP_CUT || g->end == TG_HTTP_NO_ANSWER);
    free(body);
    free(header);
}

static void no_redirect_is_followed(void **state)
{
    static const struct hs_act acts[] = {{"HTTP/1.1 307 Elsewhere\r\nLocation: "
                                          "http://169.254.169.254/latest/\r\nContent-Length: "
                                          "0\r\n\r\n",
                                          HS_KEEP, false}};
    struct rig *g = *state;

    post(g, acts, 1);
    assert_int_equal(g->end, TG_HTTP_WHOLE);
    assert_int_equal(g->status, 307);
    assert_int_equal(g->server.requests, 1);
}

static void answered_before_the_body(void **state)
{
    static const struct hs_act acts[] = {
        {"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", HS_KEEP,
         true}};
    struct rig *g = *state;

    post(g, acts, 1);
    assert_int_equal(g->end, TG_HTTP_WHOLE);
    assert_int_equal(g->status, 413);
}

static void refused_addresses(void **state)
{
    static const struct hs_act acts[] = {{HS_OK("{}", "2"), HS_KEEP, false}};
    struct rig *g = *state;
    struct tg_http_site closed = {.allow = NULL};
    char url[64];
    struct tg_http_request r;

    assert_int_equal(hs_start(&g->server, &g->loop, acts, 1), 0);
    r = request_to(g, url, sizeof(url));
    r.site = &closed;
    go(g, &r);
    assert_int_equal(g->end, TG_HTTP_NOT_SENT);
    assert_non_null(strstr(g->why, "127.0.0.1 is loopback"));
    (void)snprintf(url, sizeof(url), "http://localhost:%d/", g->server.port);
    go(g, &r);
    assert_int_equal(g->end, TG_HTTP_NOT_SENT);
    (void)snprintf(url, sizeof(url), "http://[::ffff:127.0.0.1]:%d/", g->server.port);
    go(g, &r);
    assert_int_equal(g->end, TG_HTTP_NOT_SENT);
    assert_int_equal(g->server.connections, 0);
    /* public, but without TLS */
    r.url = "http://192.0.1.1/";
    go(g, &r);
    assert_int_equal(g->end, TG_HTTP_NOT_SENT);
    assert_non_null(strstr(g->why, "without TLS"));
}

/* A connection that one site may use is in the pool; another site may not use it. */
static void a_pooled_connection_is_checked_again(void **state)
{
    static const struct hs_act acts[] = {{HS_OK("{}", "2"), HS_KEEP, false}};
    struct rig *g = *state;
    struct tg_http_site closed = {.allow = NULL};
    char url[64];
    struct tg_http_request r;

    post(g, acts, 1);
    assert_int_equal(g->end, TG_HTTP_WHOLE);
    r = request_to(g, url, sizeof(url));
    r.site = &closed;
    go(g, &r);
    assert_int_equal(g->end, TG_HTTP_NOT_SENT);
    assert_non_null(strstr(g->why, "loopback"));
    assert_int_equal(g->server.requests, 1);
}

static void tls_to_a_plain_server(void **state)
{
    static const struct hs_act acts[] = {{HS_OK("{}", "2"), HS_CLOSE, false}};
    struct rig *g = *state;
    char url[64];
    struct tg_http_request r;

    assert_int_equal(hs_start(&g->server, &g->loop, acts, 1), 0);
    r = request_to(g, url, sizeof(url));
    (void)snprintf(url, sizeof(url), "https://127.0.0.1:%d/", g->server.port);
    r.total_ms = 1000;
    go(g, &r);
    assert_int_equal(g->end, TG_HTTP_NOT_SENT);
    assert_int_equal(g->server.requests, 0);
}

static void retry_after(void **state)
{
    static const struct hs_act acts[] = {
        {"HTTP/1.1 429 Slow\r\nRetry-After: 120\r\nContent-Length: 0\r\n\r\n", HS_KEEP, false},
        {"HTTP/1.1 503 Later\r\nDate: Fri, 20 Nov 2026 10:00:00 GMT\r\nRetry-After: Fri, 20 Nov "
         "2026 10:01:30 GMT\r\nContent-Length: 0\r\n\r\n",
         HS_KEEP, false}};
    struct rig *g = *state;
    char url[64];
    struct tg_http_request r;

    post(g, acts, 2);
    assert_int_equal(g->status, 429);
    assert_true(g->retry_after_ms == 120000);
    r = request_to(g, url, sizeof(url));
    go(g, &r);
    assert_true(g->retry_after_ms == 90000);
}

static void many_at_once(void **state)
{
    static const struct hs_act acts[] = {{HS_OK("{}", "2"), HS_KEEP, false}};
    const size_t n = TG_HTTP_CALLS_MAX + 200;
    struct rig *g = *state;
    char url[64];
    struct tg_http_request r;

    assert_int_equal(hs_start(&g->server, &g->loop, acts, 1), 0);
    r = request_to(g, url, sizeof(url));
    for (size_t i = 0; i < n; i++) {
        (void)begin(g, &r);
    }
    wait_answers(g, n);
    assert_int_equal(g->end, TG_HTTP_WHOLE);
    assert_int_equal(g->server.requests, n);
    assert_true(g->server.connections <= n);
}

static void cancelled(void **state)
{
    static const struct hs_act acts[] = {{NULL, HS_KEEP, false}, {HS_OK("", "0"), HS_KEEP, false}};
    struct rig *g = *state;
    char url[64];
    struct tg_http_request r;
    struct tg_http_call *c;

    assert_int_equal(hs_start(&g->server, &g->loop, acts, 2), 0);
    r = request_to(g, url, sizeof(url));
    c = begin(g, &r);
    assert_false(tg_http_cancel(c));
    c = begin(g, &r);
    while (g->server.requests == 0 && !g->late) {
        (void)uv_run(&g->loop, UV_RUN_ONCE);
    }
    assert_true(tg_http_cancel(c));
    go(g, &r);
    assert_int_equal(g->end, TG_HTTP_WHOLE);
    assert_int_equal(g->server.requests, 2);
    (void)begin(g, &r); /* left to tg_http_close */
}

int main(void)
{
    struct rlimit files;

    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        T(whole_answer),
        T(empty_bodies),
        T(nobody_listens),
        T(a_request_is_never_sent_twice),
        T(sent_and_then_gone),
        T(no_answer),
        T(cut_answers),
        T(giant_answers),
        T(no_redirect_is_followed),
        T(answered_before_the_body),
        T(refused_addresses),
        T(a_pooled_connection_is_checked_again),
        T(tls_to_a_plain_server),
        T(retry_after),
        T(many_at_once),
        T(cancelled),
    };

    /* both ends of each connection are here */
    if (getrlimit(RLIMIT_NOFILE, &files) != 0) {
        return 1;
    }
    files.rlim_cur = files.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &files) != 0) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
