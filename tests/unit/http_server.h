/*
 * http_server.h: a scripted HTTP server on loopback, on the test's own loop: real sockets, and the
 * test decides what happens with each request in turn.
 *
 * Ownership: the acts are the caller's and outlive the server.
 */
#ifndef TG_TESTS_HTTP_SERVER_H
#define TG_TESTS_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

enum hs_then { HS_KEEP, HS_CLOSE, HS_RESET, HS_TRICKLE };

struct hs_act {
    const char *reply; /* NULL: none */
    enum hs_then then; /* after the reply */
    bool early;        /* act on the headers, before the body has come */
};

#define HS_REQUESTS_MAX 64
#define HS_REQUEST_BYTES 8192

struct hs {
    uv_loop_t *loop;
    uv_tcp_t listener;
    int port;
    const struct hs_act *acts; /* for the first, second, ... request; then the last again */
    size_t act_count;
    size_t requests;
    char request[HS_REQUESTS_MAX][HS_REQUEST_BYTES]; /* whole, as it came */
    size_t connections, open;
    struct hs_connection *first;
};

int hs_start(struct hs *s, uv_loop_t *loop, const struct hs_act *acts, size_t n);
/* Closes everything; run the loop until open is 0. */
void hs_stop(struct hs *s);

/* The connection that was accepted first of those open: to answer it late. */
uv_tcp_t *hs_first(struct hs *s);

/* "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}" */
#define HS_OK(body, length) "HTTP/1.1 200 OK\r\nContent-Length: " length "\r\n\r\n" body

#endif
