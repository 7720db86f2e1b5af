
/*
 * The connection of one worker to one Redis: when it is made, what state it
 * is in, when it is tried again.  See ngx_http_tally_link.h for states and
 * invariants, _adapter.c for the events.
 */


#include "ngx_http_tally_link.h"

#include <hiredis/sds.h>
#include <poll.h>


static void ngx_http_tally_links_wait(ngx_cycle_t *cycle);
static nfds_t ngx_http_tally_links_poll(struct pollfd *fds,
    ngx_http_tally_link_t **links);
static void ngx_http_tally_link_connect(ngx_http_tally_link_t *link);
static redisAsyncContext *ngx_http_tally_link_open(
    ngx_http_tally_link_t *link);
static void ngx_http_tally_link_schedule(ngx_http_tally_link_t *link);
static void ngx_http_tally_link_wakeup(ngx_event_t *ev);
static void ngx_http_tally_link_closing(ngx_event_t *ev);
static void ngx_http_tally_link_connected(const redisAsyncContext *ac,
    int status);


/* the links of this process, made by init_process */

static ngx_http_tally_link_t  *ngx_http_tally_links;
static ngx_uint_t              ngx_http_tally_links_n;

static ngx_str_t  ngx_http_tally_link_leaving =
    ngx_string("the worker is leaving");


ngx_int_t
ngx_http_tally_link_init(ngx_cycle_t *cycle, ngx_http_tally_main_conf_t *mcf)
{
    ngx_uint_t                i;
    ngx_http_tally_link_t    *link;
    ngx_http_tally_redis_t  **redis;

    ngx_http_tally_links = NULL;
    ngx_http_tally_links_n = 0;

    if (mcf->redis.nelts == 0
        || (ngx_process != NGX_PROCESS_WORKER
            && ngx_process != NGX_PROCESS_SINGLE))
    {
        return NGX_OK;
    }

    link = ngx_pcalloc(cycle->pool,
                       mcf->redis.nelts * sizeof(ngx_http_tally_link_t));
    if (link == NULL) {
        return NGX_ERROR;
    }

    ngx_http_tally_links = link;
    ngx_http_tally_links_n = mcf->redis.nelts;

    redis = mcf->redis.elts;

    for (i = 0; i < mcf->redis.nelts; i++) {
        redis[i]->index = i;

        link[i].redis = redis[i];
        link[i].ident = (ngx_socket_t) -1;
        link[i].log = cycle->log;

        ngx_queue_init(&link[i].sent);
        ngx_queue_init(&link[i].live);

        ngx_str_set(&link[i].reason, "the connection is being made");

        link[i].wakeup.handler = ngx_http_tally_link_wakeup;
        link[i].wakeup.data = &link[i];
        link[i].wakeup.log = cycle->log;
        link[i].wakeup.cancelable = 1;

        link[i].deadline.handler = ngx_http_tally_op_deadline;
        link[i].deadline.data = &link[i];
        link[i].deadline.log = cycle->log;
        link[i].deadline.cancelable = 1;

        link[i].closing.handler = ngx_http_tally_link_closing;
        link[i].closing.data = &link[i];
        link[i].closing.log = cycle->log;

        ngx_http_tally_link_connect(&link[i]);
    }

    ngx_http_tally_links_wait(cycle);

    return NGX_OK;
}


/*
 * A worker that was just started serves nobody yet: here it may wait for its
 * handshakes, so that a reload refuses no request.  The master lets the old
 * workers go on for about as long.  No request is read meanwhile: only the
 * links are polled, not the event loop.
 */

static void
ngx_http_tally_links_wait(ngx_cycle_t *cycle)
{
    int                     n;
    nfds_t                  i, count;
    ngx_msec_t              end;
    ngx_msec_int_t          left;
    struct pollfd           fds[NGX_HTTP_TALLY_REDIS_MAX];
    ngx_connection_t       *c;
    ngx_http_tally_link_t  *links[NGX_HTTP_TALLY_REDIS_MAX];

    ngx_time_update();

    end = ngx_current_msec + NGX_HTTP_TALLY_START_WAIT_MS;

    for ( ;; ) {
        count = ngx_http_tally_links_poll(fds, links);
        left = (ngx_msec_int_t) (end - ngx_current_msec);

        if (count == 0 || left <= 0) {
            return;
        }

        n = poll(fds, count, (int) left);

        ngx_time_update();

        if (n < 0 && ngx_errno != NGX_EINTR) {
            ngx_log_error(NGX_LOG_ALERT, cycle->log, ngx_errno,
                          "poll() failed");
            return;
        }

        for (i = 0; n > 0 && i < count; i++) {
            c = links[i]->connection;

            if (c && (fds[i].revents & POLLOUT)) {
                ngx_http_tally_adapter_event(c->write);
            }

            c = links[i]->connection;

            if (c && (fds[i].revents & (POLLIN|POLLERR|POLLHUP))) {
                ngx_http_tally_adapter_event(c->read);
            }
        }

        /* writes and ends of links are posted; there is nobody else yet */

        ngx_event_process_posted(cycle, &ngx_posted_events);
    }
}


static nfds_t
ngx_http_tally_links_poll(struct pollfd *fds, ngx_http_tally_link_t **links)
{
    nfds_t                  n;
    ngx_uint_t              i;
    ngx_http_tally_link_t  *link;

    n = 0;

    for (i = 0; i < ngx_http_tally_links_n && n < NGX_HTTP_TALLY_REDIS_MAX;
         i++)
    {
        link = &ngx_http_tally_links[i];

        if (link->state != NGX_HTTP_TALLY_LINK_CONNECTING
            && link->state != NGX_HTTP_TALLY_LINK_HANDSHAKE)
        {
            continue;
        }

        fds[n].fd = link->connection->fd;
        fds[n].events = POLLIN;
        fds[n].revents = 0;

        if (link->connection->write->active) {
            fds[n].events |= POLLOUT;
        }

        links[n++] = link;
    }

    return n;
}


void
ngx_http_tally_link_done(void)
{
    ngx_uint_t              i;
    ngx_http_tally_link_t  *link;

    for (i = 0; i < ngx_http_tally_links_n; i++) {
        link = &ngx_http_tally_links[i];

        if (link->ac != NULL) {
            ngx_http_tally_link_leave(link);
        }

        if (link->wakeup.timer_set) {
            ngx_del_timer(&link->wakeup);
        }

        if (link->deadline.timer_set) {
            ngx_del_timer(&link->deadline);
        }
    }

    ngx_http_tally_links = NULL;
    ngx_http_tally_links_n = 0;
}


ngx_http_tally_link_t *
ngx_http_tally_link_of(ngx_http_tally_redis_t *redis)
{
    ngx_http_tally_link_t  *link;

    if (redis == NULL || redis->index >= ngx_http_tally_links_n) {
        return NULL;
    }

    link = &ngx_http_tally_links[redis->index];

    return link->redis == redis ? link : NULL;
}


ngx_uint_t
ngx_http_tally_link_ready(ngx_http_tally_redis_t *redis)
{
    ngx_http_tally_link_t  *link;

    link = ngx_http_tally_link_of(redis);

    return link != NULL && link->state == NGX_HTTP_TALLY_LINK_READY;
}


void
ngx_http_tally_link_want(ngx_http_tally_link_t *link)
{
    if (link->state != NGX_HTTP_TALLY_LINK_CLOSED || link->wakeup.timer_set) {
        return;
    }

    /* only a worker that is leaving has no timer here */

    if ((ngx_msec_int_t) (link->not_before - ngx_current_msec) <= 0) {
        ngx_http_tally_link_connect(link);
    }
}


void
ngx_http_tally_link_fail(ngx_http_tally_link_t *link, const char *reason,
    ngx_uint_t slow)
{
    if (link->state == NGX_HTTP_TALLY_LINK_CLOSED
        || link->state == NGX_HTTP_TALLY_LINK_CLOSING)
    {
        return;
    }

    link->state = NGX_HTTP_TALLY_LINK_CLOSING;
    link->slow = slow ? 1 : 0;

    link->reason.data = (u_char *) reason;
    link->reason.len = ngx_strlen(reason);

    ngx_post_event((&link->closing), &ngx_posted_events);
}


void
ngx_http_tally_link_leave(ngx_http_tally_link_t *link)
{
    link->reason = ngx_http_tally_link_leaving;
    link->state = NGX_HTTP_TALLY_LINK_CLOSING;

    redisAsyncFree(link->ac);
}


ngx_uint_t
ngx_http_tally_link_level(ngx_http_tally_link_t *link, const char *reason,
    ngx_uint_t loud)
{
    if (link->told == reason) {
        return NGX_LOG_INFO;
    }

    link->told = reason;

    return loud;
}


void
ngx_http_tally_link_up(ngx_http_tally_link_t *link)
{
    ngx_uint_t  level;

    if (link->wakeup.timer_set) {
        ngx_del_timer(&link->wakeup);
    }

    level = link->down ? NGX_LOG_WARN : NGX_LOG_INFO;

    ngx_log_error(level, link->log, 0,
                  "tally redis \"%V\": ready at %V",
                  &link->redis->name, &link->redis->url);

    link->state = NGX_HTTP_TALLY_LINK_READY;
    link->failures = 0;
    link->slow = 0;
    link->down = 0;

    link->told = NULL;
    ngx_str_null(&link->reason);

    ngx_http_tally_count(NGX_HTTP_TALLY_METRIC_REDIS_CONNECTS);

    ngx_http_tally_link_settings_timer(link);
}


void
ngx_http_tally_link_settings_timer(ngx_http_tally_link_t *link)
{
    if (!link->redis->needs_aof || ngx_exiting || ngx_quit || ngx_terminate) {
        return;
    }

    ngx_add_timer(&link->wakeup, NGX_HTTP_TALLY_SETTINGS_MS);
}


ngx_int_t
ngx_http_tally_link_send(ngx_http_tally_link_t *link, redisCallbackFn *fn,
    void *data, int argc, const char **argv, const size_t *argvlen)
{
    size_t  before, after;

    before = ngx_http_tally_link_unsent(link);

    if (redisAsyncCommandArgv(link->ac, fn, data, argc, argv, argvlen)
        != REDIS_OK)
    {
        return NGX_ERROR;
    }

    after = ngx_http_tally_link_unsent(link);

    if (after <= before) {

        /*
         * hiredis 0.14 keeps the callback but not the command when memory
         * is short: the next reply would go to the wrong request
         */

        ngx_http_tally_link_fail(link, "the worker is out of memory", 0);

        return NGX_OK;
    }

    link->appended += after - before;

    return NGX_OK;
}


size_t
ngx_http_tally_link_unsent(ngx_http_tally_link_t *link)
{
    if (link->ac == NULL || link->ac->c.obuf == NULL) {
        return 0;
    }

    return sdslen(link->ac->c.obuf);
}


uint64_t
ngx_http_tally_link_written(ngx_http_tally_link_t *link)
{
    return link->appended - ngx_http_tally_link_unsent(link);
}


void
ngx_http_tally_redis_text(const char *text, size_t len, ngx_str_t *out)
{
    u_char  *p;

    out->data = (u_char *) text;
    out->len = text == NULL ? 0
                            : ngx_min(len, NGX_HTTP_TALLY_REDIS_TEXT_MAX);

    if (out->len == 0) {
        ngx_str_set(out, "no reason given");
        return;
    }

    /* "unknown command ... with args beginning with" would show arguments */

    p = ngx_strlcasestrn(out->data, out->data + out->len,
                         (u_char *) "with args", sizeof("with args") - 2);
    if (p != NULL) {
        out->len = p - out->data;
    }
}


static void
ngx_http_tally_link_connect(ngx_http_tally_link_t *link)
{
    redisAsyncContext  *ac;

    ac = ngx_http_tally_link_open(link);

    if (ac == NULL) {
        ngx_http_tally_link_lost(link);
        return;
    }

    if (ngx_http_tally_adapter_attach(link, ac) != NGX_OK) {
        ngx_str_set(&link->reason, "the worker has no free connection");
        redisAsyncFree(ac);
        ngx_http_tally_link_lost(link);
        return;
    }

    link->state = NGX_HTTP_TALLY_LINK_CONNECTING;
    link->appended = 0;

    ngx_add_timer(&link->wakeup, link->redis->connect_timeout);

    /* asks for the write event, so that it comes last */

    if (redisAsyncSetConnectCallback(ac, ngx_http_tally_link_connected)
        != REDIS_OK)
    {
        ngx_http_tally_link_fail(link, "the connection cannot be made", 0);
    }
}


static redisAsyncContext *
ngx_http_tally_link_open(ngx_http_tally_link_t *link)
{
    ngx_str_t                text;
    redisAsyncContext       *ac;
    ngx_http_tally_redis_t  *redis;

    redis = link->redis;

    /* a numeric address or a path: hiredis would wait for a resolver */

    if (redis->is_unix) {
        ac = redisAsyncConnectUnix((char *) redis->numeric_host.data);

    } else {
        ac = redisAsyncConnect((char *) redis->numeric_host.data,
                               (int) redis->port);
    }

    ngx_str_set(&link->reason, "the connection cannot be made");

    if (ac == NULL) {
        return NULL;
    }

    if (ac->err) {
        ngx_http_tally_redis_text(ac->errstr, ngx_strlen(ac->errstr), &text);

        ngx_log_error(NGX_LOG_INFO, link->log, 0,
                      "tally redis \"%V\": connect to %V failed: %V",
                      &redis->name, &redis->url, &text);

        redisAsyncFree(ac);

        return NULL;
    }

    return ac;
}


/* CLOSED, and when to try again: 50ms * 2^n up to 3s, full jitter */

static void
ngx_http_tally_link_schedule(ngx_http_tally_link_t *link)
{
    ngx_uint_t  i;
    ngx_msec_t  max, delay;

    link->state = NGX_HTTP_TALLY_LINK_CLOSED;

    max = NGX_HTTP_TALLY_BACKOFF_MIN_MS;

    for (i = 0; i < link->failures && max < NGX_HTTP_TALLY_BACKOFF_MAX_MS; i++)
    {
        max *= 2;
    }

    max = ngx_min(max, NGX_HTTP_TALLY_BACKOFF_MAX_MS);

    delay = 1 + (ngx_msec_t) ngx_random() % max;

    if (link->slow) {
        delay = NGX_HTTP_TALLY_BACKOFF_MAX_MS / 2
                + (ngx_msec_t) ngx_random()
                  % (NGX_HTTP_TALLY_BACKOFF_MAX_MS / 2);
    }

    link->failures++;
    link->slow = 0;
    link->not_before = ngx_current_msec + delay;

    if (ngx_exiting || ngx_quit || ngx_terminate) {
        return;
    }

    ngx_add_timer(&link->wakeup, delay);
}


static void
ngx_http_tally_link_wakeup(ngx_event_t *ev)
{
    ngx_http_tally_link_t  *link;

    link = ev->data;

    switch (link->state) {

    case NGX_HTTP_TALLY_LINK_CLOSED:

        if (!ngx_exiting) {
            ngx_http_tally_link_connect(link);
        }

        break;

    case NGX_HTTP_TALLY_LINK_CONNECTING:
    case NGX_HTTP_TALLY_LINK_HANDSHAKE:

        ngx_http_tally_link_fail(link, "the connection was not made in time",
                                 0);
        break;

    case NGX_HTTP_TALLY_LINK_READY:

        if (!ngx_exiting && !ngx_quit && !ngx_terminate) {
            ngx_http_tally_handshake_settings_again(link);
        }

        break;

    default: /* CLOSING */
        break;
    }
}


static void
ngx_http_tally_link_closing(ngx_event_t *ev)
{
    ngx_http_tally_link_t  *link;

    link = ev->data;

    if (link->ac != NULL && link->state == NGX_HTTP_TALLY_LINK_CLOSING) {
        redisAsyncFree(link->ac);
    }
}


static void
ngx_http_tally_link_connected(const redisAsyncContext *ac, int status)
{
    ngx_http_tally_link_t  *link;

    link = ac->data;

    if (status != REDIS_OK) {

        /* hiredis frees the context itself and calls cleanup */

        return;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, link->log, 0,
                   "tally redis \"%V\" connected", &link->redis->name);

    if (link->state == NGX_HTTP_TALLY_LINK_CONNECTING) {
        link->state = NGX_HTTP_TALLY_LINK_HANDSHAKE;
        ngx_http_tally_handshake(link);
    }
}


void
ngx_http_tally_link_lost(ngx_http_tally_link_t *link)
{
    ngx_uint_t  level;

    if (link->reason.data == ngx_http_tally_link_leaving.data) {
        link->state = NGX_HTTP_TALLY_LINK_CLOSED;
        return;
    }

    level = link->down || ngx_exiting || ngx_quit || ngx_terminate
            ? NGX_LOG_INFO : NGX_LOG_WARN;

    ngx_log_error(level, link->log, 0, "tally redis \"%V\": no link to %V: %V",
                  &link->redis->name, &link->redis->url, &link->reason);

    link->down = 1;

    ngx_http_tally_count(NGX_HTTP_TALLY_METRIC_REDIS_FAILURES);

    ngx_http_tally_link_schedule(link);
}
