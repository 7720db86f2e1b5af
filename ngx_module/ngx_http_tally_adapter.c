
/*
 * hiredis on nginx's events.
 *
 * Events are level-triggered: hiredis reads 16K and returns, and an edge
 * would never tell of the rest.  Writes are not armed but posted: the calls
 * of one turn of the event loop leave in one write; epoll is asked to watch
 * for room only when the socket is full.
 */


#include "ngx_http_tally_link.h"

#include <netinet/tcp.h>


static void ngx_http_tally_adapter_tcp(ngx_http_tally_link_t *link,
    ngx_socket_t fd);
static ngx_uint_t ngx_http_tally_adapter_stray(ngx_http_tally_link_t *link);
static void ngx_http_tally_adapter_add_read(void *data);
static void ngx_http_tally_adapter_del_read(void *data);
static void ngx_http_tally_adapter_add_write(void *data);
static void ngx_http_tally_adapter_del_write(void *data);
static void ngx_http_tally_adapter_cleanup(void *data);


ngx_int_t
ngx_http_tally_adapter_attach(ngx_http_tally_link_t *link,
    redisAsyncContext *ac)
{
    ngx_connection_t  *c;

    c = ngx_get_connection(ac->c.fd, link->log);
    if (c == NULL) {
        return NGX_ERROR;
    }

    c->number = ngx_atomic_fetch_add(ngx_connection_counter, 1);
    c->data = link;

    /* both now: worker_shutdown_timeout calls them in any state */

    c->read->handler = ngx_http_tally_adapter_event;
    c->write->handler = ngx_http_tally_adapter_event;
    c->read->log = link->log;
    c->write->log = link->log;

    if (!link->redis->is_unix) {
        ngx_http_tally_adapter_tcp(link, ac->c.fd);
    }

    ac->data = link;
    ac->ev.data = c;
    ac->ev.addRead = ngx_http_tally_adapter_add_read;
    ac->ev.delRead = ngx_http_tally_adapter_del_read;
    ac->ev.addWrite = ngx_http_tally_adapter_add_write;
    ac->ev.delWrite = ngx_http_tally_adapter_del_write;
    ac->ev.cleanup = ngx_http_tally_adapter_cleanup;

    link->ac = ac;
    link->connection = c;

    return NGX_OK;
}


static void
ngx_http_tally_adapter_tcp(ngx_http_tally_link_t *link, ngx_socket_t fd)
{
    int  on;

    on = 1;

    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(int)) == -1
        || setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(int)) == -1)
    {
        ngx_log_error(NGX_LOG_INFO, link->log, ngx_socket_errno,
                      "tally redis \"%V\": setsockopt() failed",
                      &link->redis->name);
    }

#if (NGX_HAVE_KEEPALIVE_TUNABLE)
    {
    int  idle, interval, count;

    idle = 15;
    interval = 5;
    count = 3;

    if (setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(int)) == -1
        || setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(int))
           == -1
        || setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(int)) == -1)
    {
        ngx_log_error(NGX_LOG_INFO, link->log, ngx_socket_errno,
                      "tally redis \"%V\": setsockopt(TCP_KEEP*) failed",
                      &link->redis->name);
    }
    }
#endif
}


void
ngx_http_tally_adapter_event(ngx_event_t *ev)
{
    ngx_connection_t       *c;
    ngx_http_tally_link_t  *link;

    c = ev->data;
    link = c->data;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, link->log, 0,
                   "tally redis event, write:%d state:%d",
                   (int) ev->write, (int) link->state);

    if (c->close || c->error) {

        /* worker_shutdown_timeout is over */

        ngx_http_tally_link_leave(link);
        return;
    }

    if (!ev->write) {

        if (ngx_http_tally_adapter_stray(link)) {
            ngx_http_tally_link_fail(link, "Redis spoke without being asked",
                                     1);
            return;
        }

        redisAsyncHandleRead(link->ac);
        return;
    }

    /* the connection may be gone after this, the link is not */

    link->writing = 1;
    redisAsyncHandleWrite(link->ac);
    link->writing = 0;
}


/*
 * hiredis 0.14 asserts that a reply which is no error was asked for, and
 * would end the worker.  With anything awaited there is no telling.
 */

static ngx_uint_t
ngx_http_tally_adapter_stray(ngx_http_tally_link_t *link)
{
    char  first;

    if (link->state != NGX_HTTP_TALLY_LINK_READY || link->pending
        || link->awaited)
    {
        return 0;
    }

    return recv(link->connection->fd, &first, 1, MSG_PEEK) == 1
           && first != '-';
}


static void
ngx_http_tally_adapter_add_read(void *data)
{
    ngx_connection_t  *c = data;

    ngx_http_tally_link_t  *link;

    if (c->read->active) {
        return;
    }

    link = c->data;

    if (ngx_add_event(c->read, NGX_READ_EVENT, NGX_LEVEL_EVENT) != NGX_OK) {
        ngx_http_tally_link_fail(link, "the worker cannot watch the socket",
                                 0);
    }
}


static void
ngx_http_tally_adapter_del_read(void *data)
{
    ngx_connection_t  *c = data;

    if (c->read->active) {
        (void) ngx_del_event(c->read, NGX_READ_EVENT, 0);
    }
}


static void
ngx_http_tally_adapter_add_write(void *data)
{
    ngx_connection_t  *c = data;

    ngx_http_tally_link_t  *link;

    if (c->write->active) {
        return;
    }

    link = c->data;

    if (!link->writing && link->state != NGX_HTTP_TALLY_LINK_CONNECTING) {

        /* the end of this turn of the event loop */

        ngx_post_event(c->write, &ngx_posted_events);
        return;
    }

    if (ngx_add_event(c->write, NGX_WRITE_EVENT, NGX_LEVEL_EVENT) != NGX_OK) {
        ngx_http_tally_link_fail(link, "the worker cannot watch the socket",
                                 0);
    }
}


static void
ngx_http_tally_adapter_del_write(void *data)
{
    ngx_connection_t  *c = data;

    if (c->write->active) {
        (void) ngx_del_event(c->write, NGX_WRITE_EVENT, 0);
    }
}


/*
 * hiredis calls it once, on every way a context ends, after the callbacks
 * of all pending commands and before it frees the context.
 */

static void
ngx_http_tally_adapter_cleanup(void *data)
{
    ngx_connection_t  *c = data;

    ngx_str_t               text;
    redisAsyncContext      *ac;
    ngx_http_tally_link_t  *link;

    link = c->data;
    ac = link->ac;

    if (ac->c.err) {
        ngx_http_tally_redis_text(ac->c.errstr, ngx_strlen(ac->c.errstr),
                                  &text);

        ngx_log_error(NGX_LOG_INFO, link->log, 0,
                      "tally redis \"%V\": connection to %V ended: %V",
                      &link->redis->name, &link->redis->url, &text);

        if (link->state != NGX_HTTP_TALLY_LINK_CLOSING) {
            if (tg_redis_error_of(tg_str_of(ac->c.errstr)) == TG_REDIS_BUSY) {
                ngx_str_set(&link->reason, "Redis is not taking calls now");

            } else if (link->state == NGX_HTTP_TALLY_LINK_CONNECTING) {
                ngx_str_set(&link->reason, "the connection cannot be made");

            } else {
                ngx_str_set(&link->reason, "the connection was lost");
            }
        }
    }

    ac->ev.data = NULL;
    ac->c.fd = -1;              /* nginx closes it, hiredis must not */

    link->ac = NULL;
    link->connection = NULL;

    if (link->closing.posted) {
        ngx_delete_posted_event(&link->closing);
    }

    if (link->wakeup.timer_set) {
        ngx_del_timer(&link->wakeup);
    }

    ngx_close_connection(c);

    ngx_http_tally_link_lost(link);
}
