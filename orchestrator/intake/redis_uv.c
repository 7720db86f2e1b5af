/*
 * States of a link, one function enters each:
 *
 *   WAITING     timer: backoff                      link_schedule
 *   RESOLVING   uv_getaddrinfo is out               link_resolve
 *   CONNECTING  timer: TG_REDIS_CONNECT_MS          link_connect
 *   HANDSHAKE   timer: the same                     on_connect
 *   UP          timer: watches the oldest command   handshake_done
 *   CLOSING     no way back                         tg_redis_link_close
 *
 * L1  ac != NULL exactly in CONNECTING, HANDSHAKE, UP, and in CLOSING until its cleanup ran.
 * L2  ac is set to NULL only in ev_cleanup, which hiredis calls once for every context.
 * L3  redisAsyncFree is called from the timer, the poll callback or link_close, never from a
 *     hiredis callback; a callback that wants it sets `doomed`, and the poll callback does it.
 */
#include "intake/redis_uv.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/admit.h"
#include "common/contract.h"
#include "common/keys.h"
#include "common/log.h"
#include "common/redis_url.h"
#include "core/retry.h"

#define ARGS_MAX 512
#define NUMBER_BYTES 24
#define HANDSHAKE_REST_MS TG_REDIS_BACKOFF_CAP_MS

enum link_state { WAITING, RESOLVING, CONNECTING, HANDSHAKE, UP, CLOSING };

/* The poll handle outlives its context until libuv has closed it. */
struct poll {
    uv_poll_t handle;
    struct tg_redis_link *link; /* NULL once the context is gone */
    int events;
};

struct command {
    struct tg_redis_link *link;
    tg_redis_reply_fn fn;
    void *arg;
};

struct tg_redis_link {
    struct tg_redis_options o;
    char *strings; /* the options' texts */
    struct tg_redis_url url;
    enum link_state state;
    redisAsyncContext *ac;
    struct poll *poll;
    uv_timer_t timer;
    uv_getaddrinfo_t resolve;
    bool resolving, was_up, doomed, quiet;
    bool timer_closing, refused; /* refused: the server said no; wait long */
    unsigned failures;
    uint64_t random;
    size_t pending;         /* commands of ours without an answer */
    uint64_t oldest_ms;     /* loop time since when the oldest waits */
    unsigned greeting_left; /* replies of the handshake's stage to come */
    unsigned greeted;       /* shards whose contract was asked for */
    char address[NI_MAXHOST];
    void (*closed)(void *arg);
    void *closed_arg;
};

static void link_schedule(struct tg_redis_link *l);
static void finish_close(struct tg_redis_link *l);

/* ---- the adapter ---- */

static void on_poll_closed(uv_handle_t *h)
{
    free(h->data);
}

/* Says it once while it stays down; says it again after it was up. */
static void complain(struct tg_redis_link *l, const char *what, const char *why)
{
    tg_log(l->quiet ? TG_LOG_DEBUG : TG_LOG_WARN, "redis", "%s: %s: %s", l->o.name, what, why);
    l->quiet = true;
}

static void on_poll(uv_poll_t *handle, int status, int events)
{
    struct poll *p = handle->data;
    struct tg_redis_link *l = p->link;

    if (l == NULL || l->ac == NULL) {
        return;
    }
    if (status < 0) { /* a dead descriptor would be a silent stall */
        complain(l, "connection lost", uv_strerror(status));
        redisAsyncFree(l->ac);
        return;
    }
    if ((events & UV_READABLE) != 0) {
        redisAsyncHandleRead(l->ac);
    }
    if (p->link != NULL && l->ac != NULL && (events & UV_WRITABLE) != 0) {
        redisAsyncHandleWrite(l->ac);
    }
    if (p->link != NULL && l->ac != NULL && l->doomed) {
        redisAsyncFree(l->ac);
    }
}

static void poll_set(struct poll *p, int events)
{
    int rc;

    if (events == p->events) {
        return;
    }
    p->events = events;
    rc = events != 0 ? uv_poll_start(&p->handle, events, on_poll) : uv_poll_stop(&p->handle);
    if (rc != 0 && p->link != NULL) {
        complain(p->link, "cannot watch the connection", uv_strerror(rc));
        p->link->doomed = true;
    }
}

static void ev_add_read(void *data)
{
    struct poll *p = data;

    poll_set(p, p->events | UV_READABLE);
}

static void ev_del_read(void *data)
{
    struct poll *p = data;

    poll_set(p, p->events & ~UV_READABLE);
}

static void ev_add_write(void *data)
{
    struct poll *p = data;

    poll_set(p, p->events | UV_WRITABLE);
}

static void ev_del_write(void *data)
{
    struct poll *p = data;

    poll_set(p, p->events & ~UV_WRITABLE);
}

/* L2: the one place where a connection ends. hiredis closes the descriptor after this. */
static void ev_cleanup(void *data)
{
    struct poll *p = data;
    struct tg_redis_link *l = p->link;
    bool was_up = l->state == UP;

    l->ac->ev.data = NULL;
    l->ac = NULL;
    l->poll = NULL;
    l->doomed = false;
    l->pending = 0;
    p->link = NULL;
    (void)uv_poll_stop(&p->handle);
    uv_close((uv_handle_t *)&p->handle, on_poll_closed);
    if (l->state == CLOSING) {
        finish_close(l);
        return;
    }
    l->state = WAITING;
    link_schedule(l);
    if (was_up && l->o.down != NULL) {
        l->o.down(l->o.arg, l);
    }
}

static int attach(struct tg_redis_link *l, redisAsyncContext *ac)
{
    struct poll *p = calloc(1, sizeof(*p));

    if (p == NULL) {
        return -1;
    }
    if (uv_poll_init(l->o.loop, &p->handle, ac->c.fd) != 0) {
        free(p);
        return -1;
    }
    p->handle.data = p;
    p->link = l;
    l->poll = p;
    l->ac = ac;
    ac->data = l;
    ac->ev.data = p;
    ac->ev.addRead = ev_add_read;
    ac->ev.delRead = ev_del_read;
    ac->ev.addWrite = ev_add_write;
    ac->ev.delWrite = ev_del_write;
    ac->ev.cleanup = ev_cleanup;
    return 0;
}

/* ---- handshake ---- */

static int raw_command(struct tg_redis_link *l, redisCallbackFn *fn, void *arg,
                       const struct tg_str *args, size_t n)
{
    const char *argv[ARGS_MAX];
    size_t len[ARGS_MAX];

    if (n > ARGS_MAX || l->ac == NULL) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        argv[i] = args[i].len != 0 ? (const char *)args[i].data : "";
        len[i] = args[i].len;
    }
    return redisAsyncCommandArgv(l->ac, fn, arg, (int)n, argv, len) == REDIS_OK ? 0 : -1;
}

static void refuse(struct tg_redis_link *l, const char *what, const char *why)
{
    if (l->doomed) {
        return;
    }
    tg_log(l->quiet ? TG_LOG_DEBUG : TG_LOG_ERROR, "redis", "%s: %s: %s", l->o.name, what, why);
    l->quiet = true;
    l->refused = true;
    l->doomed = true;
}

static void handshake_done(struct tg_redis_link *l)
{
    l->state = UP;
    l->failures = 0;
    l->refused = false;
    l->quiet = false;
    tg_log(TG_LOG_INFO, "redis", "%s: connected to %s", l->o.name, l->o.url);
    (void)uv_timer_stop(&l->timer);
    if (l->o.up != NULL) {
        l->o.up(l->o.arg, l);
    }
}

static void greet_more(struct tg_redis_link *l);

static struct tg_str element(const redisReply *r, size_t i)
{
    const redisReply *e = i < r->elements ? r->element[i] : NULL;

    if (e == NULL || e->type != REDIS_REPLY_STRING) {
        return (struct tg_str){0};
    }
    return (struct tg_str){(const unsigned char *)e->str, (size_t)e->len};
}

static int check_meta(const struct tg_redis_link *l, const redisReply *r, struct tg_error *err)
{
    if (tg_contract_check(element(r, 0), element(r, 1), element(r, 2), l->o.shards, err) != 0) {
        return -1;
    }
    return tg_contract_check_journal(element(r, 3), l->o.journal, err);
}

/* HSETNX answers a number, HMGET the four fields: both come here. */
static void on_meta(redisAsyncContext *ac, void *reply, void *arg)
{
    struct tg_redis_link *l = ac->data;
    const redisReply *r = reply;
    struct tg_error err;

    (void)arg;
    if (r == NULL || l->state != HANDSHAKE || l->doomed) {
        return;
    }
    /* Short of memory Redis refuses HSETNX, also where the fields are there. If they are is what
     * HMGET tells; and to work the stream off is what makes room. */
    if (r->type == REDIS_REPLY_ERROR && tg_redis_error_of(tg_str_of(r->str)) != TG_REDIS_FULL) {
        refuse(l, "handshake refused", r->str);
        return;
    }
    if (r->type == REDIS_REPLY_ARRAY && check_meta(l, r, &err) != 0) {
        refuse(l, "contract refused", err.text);
        return;
    }
    l->greeting_left--;
    if (l->greeting_left == 0) {
        greet_more(l);
    }
}

static int set_meta(struct tg_redis_link *l, struct tg_str key, const char *field,
                    const char *value)
{
    struct tg_str args[4] = {tg_str_of("HSETNX"), key, tg_str_of(field), tg_str_of(value)};

    l->greeting_left++;
    return raw_command(l, on_meta, NULL, args, 4);
}

static int greet_shard(struct tg_redis_link *l, unsigned shard)
{
    struct tg_key key;
    char version[NUMBER_BYTES], shards[NUMBER_BYTES];
    struct tg_str k;

    if (tg_key_meta(&key, tg_str_of(l->o.prefix), shard) != 0) {
        return -1;
    }
    k = (struct tg_str){key.data, key.len};
    (void)snprintf(version, sizeof(version), "%d", TG_CONTRACT_VERSION);
    (void)snprintf(shards, sizeof(shards), "%u", l->o.shards);
    if (set_meta(l, k, TG_META_CONTRACT, version) != 0 ||
        set_meta(l, k, TG_META_SHARDS, shards) != 0 ||
        set_meta(l, k, TG_META_HASH, TG_SHARD_HASH_NAME) != 0 ||
        set_meta(l, k, TG_META_JOURNAL, l->o.journal) != 0) {
        return -1;
    }
    l->greeting_left++;
    return raw_command(l, on_meta, NULL,
                       (struct tg_str[]){tg_str_of("HMGET"), k, tg_str_of(TG_META_CONTRACT),
                                         tg_str_of(TG_META_SHARDS), tg_str_of(TG_META_HASH),
                                         tg_str_of(TG_META_JOURNAL)},
                       6);
}

/* The first shard, when it is ours all the others, then work. */
static void greet_more(struct tg_redis_link *l)
{
    unsigned until = l->greeted == 0 ? 1 : l->o.shards;

    if (l->greeted == l->o.shards) {
        handshake_done(l);
        return;
    }
    for (; l->greeted < until; l->greeted++) {
        if (greet_shard(l, l->greeted) != 0) {
            refuse(l, "handshake failed", "a command could not be sent");
            return;
        }
    }
}

/* AUTH, SELECT and SETNAME are answered OK before a byte is written to a database. */
static void on_login(redisAsyncContext *ac, void *reply, void *arg)
{
    struct tg_redis_link *l = ac->data;
    const redisReply *r = reply;
    bool may_fail = arg != NULL;

    if (r == NULL || l->state != HANDSHAKE || l->doomed) {
        return;
    }
    if (r->type == REDIS_REPLY_ERROR && !may_fail) {
        refuse(l, "login refused", r->str);
        return;
    }
    l->greeting_left--;
    if (l->greeting_left == 0) {
        greet_more(l);
    }
}

/* First line of the password file. Length, 0: none, -1 with err. */
static int read_password(const struct tg_redis_link *l, char *out, size_t size,
                         struct tg_error *err)
{
    FILE *f;
    size_t n;

    if (l->o.password_file == NULL) {
        return 0;
    }
    f = fopen(l->o.password_file, "re");
    if (f == NULL) {
        return tg_error_set(err, "%s: %s", l->o.password_file, strerror(errno));
    }
    n = fread(out, 1, size - 1, f);
    (void)fclose(f);
    out[n] = '\0';
    n = strcspn(out, "\r\n");
    if (n == 0 || n == size - 1) {
        explicit_bzero(out, size);
        return tg_error_set(err, "%s: empty, or longer than %zu bytes", l->o.password_file,
                            size - 2);
    }
    return (int)n;
}

static int login(struct tg_redis_link *l)
{
    char password[TG_REDIS_PASSWORD_MAX_BYTES + 2];
    char db[NUMBER_BYTES];
    struct tg_error err;
    struct tg_str args[3] = {tg_str_of("AUTH")};
    size_t n = 1;
    int rc = 0;
    int len = read_password(l, password, sizeof(password), &err);

    if (len < 0) {
        refuse(l, "password", err.text);
        return -1;
    }
    if (len > 0) {
        if (l->o.user != NULL) {
            args[n++] = tg_str_of(l->o.user);
        }
        args[n++] = (struct tg_str){(unsigned char *)password, (size_t)len};
        l->greeting_left++;
        rc = raw_command(l, on_login, NULL, args, n);
        explicit_bzero(password, sizeof(password));
    }
    (void)snprintf(db, sizeof(db), "%u", l->url.db);
    if (rc == 0 && l->url.db != 0) {
        l->greeting_left++;
        rc = raw_command(l, on_login, NULL, (struct tg_str[]){tg_str_of("SELECT"), tg_str_of(db)},
                         2);
    }
    if (rc == 0) {
        l->greeting_left++;
        rc = raw_command(
            l, on_login, l, /* a name is a courtesy: may be refused by the ACL */
            (struct tg_str[]){tg_str_of("CLIENT"), tg_str_of("SETNAME"), tg_str_of(l->o.name)}, 3);
    }
    return rc;
}

static void on_connect(const redisAsyncContext *ac, int status)
{
    struct tg_redis_link *l = ac->data;

    if (status != REDIS_OK) { /* ac->err is not set yet in 0.14; cleanup follows by itself */
        complain(l, "cannot connect", ac->c.errstr);
        return;
    }
    l->state = HANDSHAKE;
    l->greeting_left = 0;
    l->greeted = 0;
    if (login(l) != 0 && !l->doomed) {
        refuse(l, "handshake failed", "a command could not be sent");
    }
}

static void on_disconnect(const redisAsyncContext *ac, int status)
{
    struct tg_redis_link *l = ac->data;

    if (status != REDIS_OK && l->state != CLOSING) {
        complain(l, "connection lost", ac->errstr != NULL ? ac->errstr : "closed");
    }
}

/* ---- connecting ---- */

static void on_connect_timeout(uv_timer_t *timer)
{
    struct tg_redis_link *l = timer->data;

    if (l->ac != NULL) {
        complain(l, "no answer in time while connecting", l->o.url);
        redisAsyncFree(l->ac);
    }
}

static void link_connect(struct tg_redis_link *l)
{
    redisAsyncContext *ac = l->url.is_unix ? redisAsyncConnectUnix(l->url.host)
                                           : redisAsyncConnect(l->address, l->url.port);

    l->state = CONNECTING;
    if (ac == NULL || ac->err != 0) {
        complain(l, "cannot connect", ac != NULL ? ac->errstr : "no memory");
        if (ac != NULL) {
            redisAsyncFree(ac); /* not attached: no cleanup hook runs */
        }
        l->state = WAITING;
        link_schedule(l);
        return;
    }
    if (attach(l, ac) != 0) {
        complain(l, "cannot connect", "no memory to watch the connection");
        redisAsyncFree(ac);
        l->state = WAITING;
        link_schedule(l);
        return;
    }
    (void)uv_timer_start(&l->timer, on_connect_timeout, TG_REDIS_CONNECT_MS, 0);
    (void)redisAsyncSetDisconnectCallback(ac, on_disconnect);
    (void)redisAsyncSetConnectCallback(ac, on_connect); /* asks for writability at once */
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *list)
{
    struct tg_redis_link *l = req->data;
    int rc = 0;

    l->resolving = false;
    if (status == 0 && list != NULL) {
        rc = getnameinfo(list->ai_addr, list->ai_addrlen, l->address, sizeof(l->address), NULL, 0,
                         NI_NUMERICHOST);
    }
    uv_freeaddrinfo(list);
    if (l->state == CLOSING) {
        finish_close(l);
        return;
    }
    if (status != 0 || rc != 0) {
        complain(l, "cannot resolve its host", status != 0 ? uv_strerror(status) : "no number");
        l->state = WAITING;
        link_schedule(l);
        return;
    }
    link_connect(l);
}

static void link_resolve(struct tg_redis_link *l)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    int rc;

    if (l->url.is_unix) {
        link_connect(l);
        return;
    }
    l->state = RESOLVING;
    l->resolve.data = l;
    rc = uv_getaddrinfo(l->o.loop, &l->resolve, on_resolved, l->url.host, NULL, &hints);
    if (rc != 0) {
        complain(l, "cannot resolve its host", uv_strerror(rc));
        l->state = WAITING;
        link_schedule(l);
        return;
    }
    l->resolving = true;
}

static void on_backoff(uv_timer_t *timer)
{
    struct tg_redis_link *l = timer->data;

    if (l->state == WAITING) {
        link_resolve(l);
    }
}

/* 50 ms * 2^n, at most 3 s, from the upper half by chance; a refusal waits the longest. */
static void link_schedule(struct tg_redis_link *l)
{
    uint64_t delay = TG_REDIS_BACKOFF_BASE_MS;

    for (unsigned i = 0; i < l->failures && delay < TG_REDIS_BACKOFF_CAP_MS; i++) {
        delay *= 2;
    }
    if (l->refused || delay > TG_REDIS_BACKOFF_CAP_MS) {
        delay = TG_REDIS_BACKOFF_CAP_MS;
    }
    l->failures++;
    delay = delay / 2 + tg_random_next(&l->random) % (delay / 2 + 1);
    (void)uv_timer_start(&l->timer, on_backoff, delay, 0);
}

/* ---- commands ---- */

static void on_reply_late(uv_timer_t *timer)
{
    struct tg_redis_link *l = timer->data;

    if (l->ac != NULL && l->state == UP && l->pending != 0) {
        complain(l, "no answer in time", "connection dropped, outcome unknown");
        redisAsyncFree(l->ac);
    }
}

/* Replies come in order, so one timer for the oldest is enough. */
static void watch(struct tg_redis_link *l)
{
    if (l->state != UP) {
        return;
    }
    if (l->pending == 0) {
        (void)uv_timer_stop(&l->timer);
    } else {
        (void)uv_timer_start(&l->timer, on_reply_late, (uint64_t)l->o.reply_timeout_ms, 0);
    }
}

static void on_reply(redisAsyncContext *ac, void *reply, void *arg)
{
    struct command *c = arg;
    struct tg_redis_link *l = c->link;
    tg_redis_reply_fn fn = c->fn;
    void *fn_arg = c->arg;

    (void)ac;
    free(c);
    if (reply != NULL) {
        l->pending--;
        watch(l);
    }
    fn(fn_arg, reply);
}

int tg_redis_link_command(struct tg_redis_link *l, const struct tg_str *args, size_t n,
                          tg_redis_reply_fn fn, void *arg)
{
    struct command *c;

    if (l->state != UP || l->ac == NULL || l->doomed || l->pending >= TG_REDIS_PENDING_MAX) {
        return -1;
    }
    c = malloc(sizeof(*c));
    if (c == NULL) {
        return -1;
    }
    *c = (struct command){l, fn, arg};
    if (raw_command(l, on_reply, c, args, n) != 0) {
        free(c);
        return -1;
    }
    l->pending++;
    if (l->pending == 1) {
        watch(l);
    }
    return 0;
}

bool tg_redis_link_is_up(const struct tg_redis_link *l)
{
    return l->state == UP;
}

/* ---- life ---- */

static const char *keep(char **at, const char *s)
{
    char *copy = *at;
    size_t len;

    if (s == NULL) {
        return NULL;
    }
    len = strlen(s) + 1;
    memcpy(copy, s, len);
    *at += len;
    return copy;
}

static int copy_options(struct tg_redis_link *l, const struct tg_redis_options *o)
{
    const char *texts[] = {o->url, o->user, o->password_file, o->prefix, o->journal, o->name};
    size_t total = 1;
    char *at;

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        total += texts[i] != NULL ? strlen(texts[i]) + 1 : 0;
    }
    l->strings = malloc(total);
    if (l->strings == NULL) {
        return -1;
    }
    at = l->strings;
    l->o = *o;
    l->o.url = keep(&at, o->url);
    l->o.user = keep(&at, o->user);
    l->o.password_file = keep(&at, o->password_file);
    l->o.prefix = keep(&at, o->prefix);
    l->o.journal = keep(&at, o->journal);
    l->o.name = keep(&at, o->name);
    return 0;
}

struct tg_redis_link *tg_redis_link_new(const struct tg_redis_options *o, struct tg_error *err)
{
    struct tg_redis_link *l = calloc(1, sizeof(*l));

    if (l == NULL || copy_options(l, o) != 0) {
        free(l);
        (void)tg_error_set(err, "redis: no memory");
        return NULL;
    }
    if (tg_redis_url_parse(tg_str_of(o->url), &l->url, err) != 0) {
        free(l->strings);
        free(l);
        return NULL;
    }
    l->random = (uint64_t)getpid() ^ uv_hrtime();
    (void)uv_timer_init(o->loop, &l->timer);
    l->timer.data = l;
    l->state = WAITING;
    (void)uv_timer_start(&l->timer, on_backoff, 0, 0);
    return l;
}

static void on_timer_closed(uv_handle_t *h)
{
    struct tg_redis_link *l = h->data;
    void (*closed)(void *) = l->closed;
    void *arg = l->closed_arg;

    free(l->strings);
    free(l);
    closed(arg);
}

/* The context is gone and nothing is being resolved: the timer is the last handle. */
static void finish_close(struct tg_redis_link *l)
{
    if (l->ac == NULL && !l->resolving && !l->timer_closing) {
        l->timer_closing = true;
        uv_close((uv_handle_t *)&l->timer, on_timer_closed);
    }
}

void tg_redis_link_close(struct tg_redis_link *l, void (*closed)(void *arg), void *arg)
{
    l->state = CLOSING;
    l->closed = closed;
    l->closed_arg = arg;
    (void)uv_timer_stop(&l->timer);
    if (l->ac != NULL) {
        redisAsyncFree(l->ac);
    }
    if (l->resolving) {
        (void)uv_cancel((uv_req_t *)&l->resolve);
    }
    finish_close(l);
}
