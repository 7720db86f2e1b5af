
/*
 * ngx_http_tally_link.h: what link.c, adapter.c, handshake.c and op.c share.
 *
 * One link a worker and tally_redis.  Its states, and who leaves them:
 *
 *   CLOSED      no hiredis context.  The wakeup timer (or, in a worker that
 *               is leaving, the next request) connects.
 *   CONNECTING  the wakeup timer is the connect time-out, also of the
 *               handshake.  hiredis says connected -> HANDSHAKE.
 *   HANDSHAKE   AUTH, SELECT, contract, AOF, script are out.  The last good
 *               reply -> READY; the first bad one -> CLOSING.
 *   READY       calls are taken.  With ack=aof the wakeup timer asks for
 *               Redis' settings again; another value -> CLOSING.
 *   CLOSING     no calls are taken; the posted event frees the context.
 *
 * Invariants:
 *   1. Whatever happens, the end of a context is ev.cleanup, once: it closes
 *      the connection, sets CLOSED and schedules the next connect.
 *   2. Nothing here frees a context inside a hiredis callback; it sets
 *      CLOSING and posts.  (0.14.1 uses the context after onConnect.)
 *   3. hiredis answers every callback exactly once, with NULL when the
 *      context ends.  The op is freed there and nowhere else.
 *   4. An op without a request is a tombstone: its reply is only counted.
 *   5. The deadline timer is cancelable only while no request waits.
 *
 * Ownership: a link lives in the cycle's pool as long as the worker; the
 * context belongs to hiredis, its socket to nginx.
 */

#ifndef _NGX_HTTP_TALLY_LINK_H_INCLUDED_
#define _NGX_HTTP_TALLY_LINK_H_INCLUDED_


#include "ngx_http_tally.h"

#include <hiredis/hiredis.h>
#include <hiredis/async.h>


#define NGX_HTTP_TALLY_SHA1_HEX           40

/* a link whose oldest call is older than 2 * timeout + this is dropped */
#define NGX_HTTP_TALLY_DROP_FLOOR_MS      1000

/* a new worker waits this long for its links before it serves */
#define NGX_HTTP_TALLY_START_WAIT_MS      100

/* how often a ready link asks whether Redis still writes to disk */
#define NGX_HTTP_TALLY_SETTINGS_MS        2000

#define NGX_HTTP_TALLY_PASSWORD_MAX       511     /* bytes of its file */
#define NGX_HTTP_TALLY_REDIS_TEXT_MAX     160    /* of an error, in the log */


typedef enum {
    NGX_HTTP_TALLY_LINK_CLOSED = 0,
    NGX_HTTP_TALLY_LINK_CONNECTING,
    NGX_HTTP_TALLY_LINK_HANDSHAKE,
    NGX_HTTP_TALLY_LINK_READY,
    NGX_HTTP_TALLY_LINK_CLOSING
} ngx_http_tally_link_state_e;


struct ngx_http_tally_link_s {
    ngx_http_tally_redis_t       *redis;
    redisAsyncContext            *ac;          /* NULL when CLOSED */
    ngx_connection_t             *connection;

    /* event ident must be after 3 pointers as in ngx_connection_t */
    ngx_socket_t                  ident;

    ngx_log_t                    *log;
    ngx_http_tally_link_state_e   state;

    ngx_event_t                   wakeup;      /* see the states */
    ngx_event_t                   deadline;    /* of the oldest op */
    ngx_event_t                   closing;     /* posted only, no timer */

    ngx_str_t                     reason;      /* static; why not ready */
    const char                   *told;        /* reason logged loudly last */
    ngx_uint_t                    failures;    /* in a row, for the backoff */
    ngx_msec_t                    not_before;  /* of the next connect */

    ngx_uint_t                    awaited;     /* replies that are no op's */
    u_char                        sha[NGX_HTTP_TALLY_SHA1_HEX];

    ngx_queue_t                   sent;        /* every op hiredis holds */
    ngx_queue_t                   live;        /* those with a request */
    ngx_uint_t                    pending;     /* length of sent */
    uint64_t                      appended;    /* bytes given to hiredis */

    unsigned                      writing:1;   /* inside HandleWrite */
    unsigned                      slow:1;      /* next backoff is the cap */
    unsigned                      down:1;      /* its loss was logged */
};


/*
 * An op is on the heap: hiredis keeps it until the reply, which may be
 * after the request's pool is gone.  call points into that pool and is
 * valid only while request is set.
 */

struct ngx_http_tally_op_s {
    ngx_queue_t                   sent;
    ngx_queue_t                   live;
    ngx_http_tally_link_t        *link;
    ngx_http_request_t           *request;     /* NULL: tombstone */
    ngx_http_tally_ctx_t         *ctx;
    ngx_http_tally_call_t        *call;
    ngx_msec_t                    sent_at;
    ngx_msec_t                    deadline;
    uint64_t                      end;         /* link->appended after it */
    unsigned                      retried:1;   /* EVAL after NOSCRIPT */
};


/* ---- _link.c ---- */

/* The link of this worker, or NULL. */
ngx_http_tally_link_t *ngx_http_tally_link_of(ngx_http_tally_redis_t *redis);

/* Connects a CLOSED link when its backoff is over; else does nothing. */
void ngx_http_tally_link_want(ngx_http_tally_link_t *link);

/*
 * No more calls on this link, it ends after the current events.  reason must
 * be static; it may reach a client.  slow: do not try again soon.
 */
void ngx_http_tally_link_fail(ngx_http_tally_link_t *link, const char *reason,
    ngx_uint_t slow);

/* The level for a message about this reason: loud the first time. */
ngx_uint_t ngx_http_tally_link_level(ngx_http_tally_link_t *link,
    const char *reason, ngx_uint_t loud);

/* Ends it now, for good: the worker is leaving.  Not in a callback. */
void ngx_http_tally_link_leave(ngx_http_tally_link_t *link);

/* ev.cleanup is done: logs, counts and schedules the next connect. */
void ngx_http_tally_link_lost(ngx_http_tally_link_t *link);

/* The handshake is complete. */
void ngx_http_tally_link_up(ngx_http_tally_link_t *link);

/* The settings are good: when a ready link asks for them again. */
void ngx_http_tally_link_settings_timer(ngx_http_tally_link_t *link);

/* redisAsyncCommandArgv with the bytes counted.  NGX_OK or NGX_ERROR. */
ngx_int_t ngx_http_tally_link_send(ngx_http_tally_link_t *link,
    redisCallbackFn *fn, void *data, int argc, const char **argv,
    const size_t *argvlen);

/* Bytes that the kernel has taken so far, counted as link->appended is. */
uint64_t ngx_http_tally_link_written(ngx_http_tally_link_t *link);
size_t ngx_http_tally_link_unsent(ngx_http_tally_link_t *link);

/* An error text of Redis, cut to what a log may hold. */
void ngx_http_tally_redis_text(const char *text, size_t len, ngx_str_t *out);


/* ---- _adapter.c ---- */

/* Gives the context's socket to nginx.  NGX_ERROR: no free connection. */
ngx_int_t ngx_http_tally_adapter_attach(ngx_http_tally_link_t *link,
    redisAsyncContext *ac);

/* The handler of both events; the connection may be gone after it. */
void ngx_http_tally_adapter_event(ngx_event_t *ev);


/* ---- _handshake.c ---- */

/* Sends it; its replies call link_up or link_fail. */
void ngx_http_tally_handshake(ngx_http_tally_link_t *link);

/* Asks a READY link for the settings; a bad reply calls link_fail. */
void ngx_http_tally_handshake_settings_again(ngx_http_tally_link_t *link);


/* ---- _op.c ---- */

void ngx_http_tally_op_deadline(ngx_event_t *ev);

/* What to tell the client when ctx->outcome is not OP_REPLY. */
void ngx_http_tally_op_detail(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx, ngx_str_t *detail);


/* ---- _publish.c ---- */

/* The body in one piece and its digest.  NGX_OK, NGX_DECLINED, NGX_ERROR. */
ngx_int_t ngx_http_tally_body_take(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx, ngx_str_t *detail);

/* After op_start said NGX_AGAIN: notice a client that leaves. */
void ngx_http_tally_wait(ngx_http_request_t *r,
    ngx_http_event_handler_pt resume);

/* 500 and 429; what they return goes to ngx_http_finalize_request. */
ngx_int_t ngx_http_tally_fault(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx);
ngx_int_t ngx_http_tally_limited(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx);


#endif /* _NGX_HTTP_TALLY_LINK_H_INCLUDED_ */
