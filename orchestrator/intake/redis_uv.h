/*
 * redis_uv.h: one connection to Redis on the loop, kept up for ever: resolve, connect with a
 * time-out, AUTH, SELECT, CLIENT SETNAME, the contract of every shard (common/contract.h; the
 * first one's before the others', so that of two new journals one gets all of them), ready;
 * when it drops, again after TG_REDIS_BACKOFF_BASE_MS * 2^n with jitter, at most ..._CAP_MS.
 *
 * What hiredis 0.14.1 and 1.2 share decides the shape (notes/craft.md section 6): everything that
 * ends a connection passes through ev.cleanup exactly once, so reconnecting is scheduled there and
 * nowhere else; the context is never freed inside its own connect callback; hiredis closes the
 * descriptor, the uv_poll_t is closed before that and freed in its close callback; a command given
 * to a dying context is answered by us. Host names are looked up by uv_getaddrinfo before each
 * connect, so hiredis only ever sees numbers.
 *
 * Ownership: the maker calls tg_redis_link_close, which frees it after `closed`. A reply is valid
 * inside its callback only.
 */
#ifndef TG_INTAKE_REDIS_UV_H
#define TG_INTAKE_REDIS_UV_H

#include <hiredis/async.h>
#include <uv.h>

#include "common/str.h"

struct tg_redis_link;

struct tg_redis_options {
    uv_loop_t *loop;
    const char *url;           /* unix:PATH or redis://HOST:PORT/DB */
    const char *user;          /* NULL: none */
    const char *password_file; /* NULL: none; read at every connect, so that it can change */
    const char *prefix;
    unsigned shards;
    const char *journal;                              /* id of the journal that takes the events */
    const char *name;                                 /* CLIENT SETNAME, and in the log */
    int64_t reply_timeout_ms;                         /* a command unanswered for so long */
    void (*up)(void *arg, struct tg_redis_link *l);   /* the handshake went well */
    void (*down)(void *arg, struct tg_redis_link *l); /* it was up and is not */
    void *arg;
};

/* Starts connecting. Strings are copied. NULL with err: the address is wrong, or no memory. */
struct tg_redis_link *tg_redis_link_new(const struct tg_redis_options *o, struct tg_error *err);

bool tg_redis_link_is_up(const struct tg_redis_link *l);

/* reply NULL: the link went down; whether the command ran is unknown. */
typedef void (*tg_redis_reply_fn)(void *arg, const redisReply *reply);

/*
 * One command. fn runs exactly once, later, also on close. 0, or -1: the link is not up, or too
 * many commands wait; fn never runs then.
 */
int tg_redis_link_command(struct tg_redis_link *l, const struct tg_str *args, size_t n,
                          tg_redis_reply_fn fn, void *arg);

/* Drops the connection (what waits gets NULL) and ends the link; then closed, then it is gone. */
void tg_redis_link_close(struct tg_redis_link *l, void (*closed)(void *arg), void *arg);

#endif
