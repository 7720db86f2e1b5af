#include "http_server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#define TRICKLE_MS 20

struct hs_connection {
    struct hs_connection *next;
    struct hs *server;
    uv_tcp_t tcp;
    uv_timer_t timer;
    char in[HS_REQUEST_BYTES];
    size_t used;
    bool acted, closing; /* acted: on what is in `in` */
    int handles;
};

static void on_closed(uv_handle_t *handle)
{
    struct hs_connection *c = handle->data;
    struct hs_connection **at = &c->server->first;

    if (--c->handles > 0) {
        return;
    }
    while (*at != c) {
        at = &(*at)->next;
    }
    *at = c->next;
    c->server->open--;
    free(c);
}

static void end(struct hs_connection *c)
{
    if (!c->closing) {
        c->closing = true;
        uv_close((uv_handle_t *)&c->tcp, on_closed);
        uv_close((uv_handle_t *)&c->timer, on_closed);
    }
}

static void say(struct hs_connection *c, const char *text)
{
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)text, (unsigned)strlen(text));

    while (buf.len > 0) {
        int n = uv_try_write((uv_stream_t *)&c->tcp, &buf, 1);

        if (n < 0 && n != UV_EAGAIN) {
            return;
        }
        if (n > 0) {
            buf.base += n;
            buf.len -= (size_t)n;
        }
    }
}

static void on_trickle(uv_timer_t *timer)
{
    say(timer->data, "x");
}

static void act(struct hs_connection *c)
{
    struct hs *s = c->server;
    size_t i = s->requests < s->act_count ? s->requests : s->act_count - 1;
    const struct hs_act *a = &s->acts[i];

    if (s->requests < HS_REQUESTS_MAX) {
        (void)snprintf(s->request[s->requests], HS_REQUEST_BYTES, "%.*s", (int)c->used, c->in);
    }
    s->requests++;
    if (a->reply != NULL) {
        say(c, a->reply);
    }
    switch (a->then) {
    case HS_CLOSE:
        end(c);
        break;
    case HS_RESET: {
        struct linger hard = {.l_onoff = 1, .l_linger = 0};
        uv_os_fd_t fd;

        if (uv_fileno((uv_handle_t *)&c->tcp, &fd) == 0) {
            (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
        }
        end(c);
        break;
    }
    case HS_TRICKLE:
        (void)uv_timer_start(&c->timer, on_trickle, TRICKLE_MS, TRICKLE_MS);
        break;
    case HS_KEEP:
        break;
    }
}

static size_t content_length(const char *head)
{
    const char *at = strcasestr(head, "\r\ncontent-length:");

    return at != NULL ? (size_t)strtoul(at + 17, NULL, 10) : 0;
}

static bool early(const struct hs *s)
{
    return s->acts[s->requests < s->act_count ? s->requests : s->act_count - 1].early;
}

static void look(struct hs_connection *c)
{
    const char *head_end = strstr(c->in, "\r\n\r\n");
    size_t head, whole;

    if (head_end == NULL || c->acted) {
        return;
    }
    head = (size_t)(head_end - c->in) + 4;
    whole = head + content_length(c->in);
    if (c->used < whole && !early(c->server)) {
        return;
    }
    c->acted = c->used < whole;
    act(c);
    if (c->used >= whole) {
        memmove(c->in, c->in + whole, c->used - whole + 1);
        c->used -= whole;
    }
}

static void on_alloc(uv_handle_t *handle, size_t wish, uv_buf_t *buf)
{
    struct hs_connection *c = handle->data;

    (void)wish;
    *buf = uv_buf_init(c->in + c->used, (unsigned)(sizeof(c->in) - 1 - c->used));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct hs_connection *c = stream->data;

    (void)buf;
    if (n < 0) {
        end(c);
        return;
    }
    c->used += (size_t)n;
    c->in[c->used] = '\0';
    look(c);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct hs *s = listener->data;
    struct hs_connection *c = calloc(1, sizeof(*c));

    if (status != 0 || c == NULL) {
        abort();
    }
    c->server = s;
    (void)uv_tcp_init(s->loop, &c->tcp);
    (void)uv_timer_init(s->loop, &c->timer);
    c->tcp.data = c;
    c->timer.data = c;
    c->handles = 2;
    c->next = s->first;
    s->first = c;
    s->connections++;
    s->open++;
    if (uv_accept(listener, (uv_stream_t *)&c->tcp) != 0 ||
        uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) != 0) {
        end(c);
    }
}

int hs_start(struct hs *s, uv_loop_t *loop, const struct hs_act *acts, size_t n)
{
    struct sockaddr_in address;
    int len = sizeof(address);

    memset(s, 0, sizeof(*s));
    s->loop = loop;
    s->acts = acts;
    s->act_count = n;
    if (uv_ip4_addr("127.0.0.1", 0, &address) != 0 || uv_tcp_init(loop, &s->listener) != 0) {
        return -1;
    }
    s->listener.data = s;
    s->open = 1;
    if (uv_tcp_bind(&s->listener, (struct sockaddr *)&address, 0) != 0 ||
        uv_listen((uv_stream_t *)&s->listener, 128, on_connection) != 0 ||
        uv_tcp_getsockname(&s->listener, (struct sockaddr *)&address, &len) != 0) {
        return -1;
    }
    s->port = ntohs(address.sin_port);
    return 0;
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct hs *s = handle->data;

    s->open--;
}

void hs_stop(struct hs *s)
{
    uv_close((uv_handle_t *)&s->listener, on_listener_closed);
    for (struct hs_connection *c = s->first; c != NULL; c = c->next) {
        end(c);
    }
}

uv_tcp_t *hs_first(struct hs *s)
{
    struct hs_connection *c = s->first;

    while (c != NULL && c->next != NULL) { /* the list begins with the newest */
        c = c->next;
    }
    return c != NULL ? &c->tcp : NULL;
}
