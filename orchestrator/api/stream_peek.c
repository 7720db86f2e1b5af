#include "api/stream_peek.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <hiredis/hiredis.h>

#include "common/keys.h"
#include "common/redis_url.h"
#include "common/shard.h"
#include "common/stream.h"

#define STREAM_ID_BYTES 48 /* "ms-seq", two 64-bit numbers */

void tg_stream_peek_close(struct tg_stream_peek *p)
{
    if (p->link != NULL) {
        redisFree(p->link);
        p->link = NULL;
    }
}

/* The first line of the password file. 0, or -1. */
static int read_password(const char *path, char out[TG_REDIS_PASSWORD_MAX_BYTES],
                         struct tg_error *err)
{
    FILE *f = fopen(path, "re");
    bool ok;

    if (f == NULL) {
        return tg_error_set(err, "%s: cannot read the Redis password: %s", path, strerror(errno));
    }
    ok = fgets(out, TG_REDIS_PASSWORD_MAX_BYTES, f) != NULL;
    fclose(f);
    if (!ok) {
        return tg_error_set(err, "%s: no Redis password in it", path);
    }
    out[strcspn(out, "\r\n")] = '\0';
    return 0;
}

/* One command whose answer only has to be no error. Takes the reply. */
static int expect_ok(const struct tg_stream_peek *p, redisReply *reply, const char *what,
                     struct tg_error *err)
{
    bool failed = reply == NULL || reply->type == REDIS_REPLY_ERROR;

    if (failed) {
        tg_error_set(err, "Redis: %s failed: %s", what,
                     reply != NULL ? reply->str : p->link->errstr);
    }
    if (reply != NULL) {
        freeReplyObject(reply);
    }
    return failed ? -1 : 0;
}

static int log_in(struct tg_stream_peek *p, const struct tg_config *c, unsigned db,
                  struct tg_error *err)
{
    char password[TG_REDIS_PASSWORD_MAX_BYTES];
    int rc;

    if (c->redis.password_file != NULL) {
        if (read_password(c->redis.password_file, password, err) != 0) {
            return -1;
        }
        rc = expect_ok(p,
                       c->redis.user != NULL
                           ? redisCommand(p->link, "AUTH %s %s", c->redis.user, password)
                           : redisCommand(p->link, "AUTH %s", password),
                       "AUTH", err);
        explicit_bzero(password, sizeof(password));
        if (rc != 0) {
            return -1;
        }
    }
    return db == 0 ? 0 : expect_ok(p, redisCommand(p->link, "SELECT %u", db), "SELECT", err);
}

static int connect_link(struct tg_stream_peek *p, const struct tg_config *c, struct tg_error *err)
{
    const struct timeval limit = {0, TG_API_REDIS_TIMEOUT_MS * 1000};
    struct tg_redis_url url;

    if (p->link != NULL) {
        return 0;
    }
    if (tg_redis_url_parse(tg_str_of(c->redis.url), &url, err) != 0) {
        return -1;
    }
    p->link = url.is_unix ? redisConnectUnixWithTimeout(url.host, limit)
                          : redisConnectWithTimeout(url.host, url.port, limit);
    if (p->link == NULL) {
        return tg_error_set(err, "Redis: out of memory");
    }
    if (p->link->err != 0) {
        return tg_error_set(err, "Redis: cannot connect: %s", p->link->errstr);
    }
    (void)fcntl(p->link->fd, F_SETFD, FD_CLOEXEC); /* only tidier: we start no process */
    if (redisSetTimeout(p->link, limit) != REDIS_OK) {
        return tg_error_set(err, "Redis: cannot set the time limit: %s", p->link->errstr);
    }
    return log_in(p, c, url.db, err);
}

static struct tg_str view(const redisReply *r)
{
    struct tg_str none = {NULL, 0};
    struct tg_str text = {(const unsigned char *)r->str, r->len};

    return r->type == REDIS_REPLY_STRING ? text : none;
}

static void keep(struct tg_str value, char *out, size_t out_size)
{
    if (!tg_str_copy(value, out, out_size)) {
        out[0] = '\0';
    }
}

/* XRANGE's reply: [[id, [name, value, ...]]]. The tenant must be the caller's. */
static enum tg_peek_result read_entry(const redisReply *reply, struct tg_str tenant,
                                      struct tg_peek_entry *out)
{
    const redisReply *entry, *fields;
    bool is_own = false;

    if (reply->elements != 1) {
        return TG_PEEK_ABSENT;
    }
    entry = reply->element[0];
    if (entry->type != REDIS_REPLY_ARRAY || entry->elements != 2 ||
        entry->element[1]->type != REDIS_REPLY_ARRAY) {
        return TG_PEEK_ABSENT;
    }
    fields = entry->element[1];
    for (size_t i = 0; i + 1 < fields->elements; i += 2) {
        struct tg_str value = view(fields->element[i + 1]);

        switch (tg_stream_field_of(view(fields->element[i]))) {
        case TG_STREAM_TENANT:
            is_own = tg_str_equal(value, tenant);
            break;
        case TG_STREAM_TYPE:
            keep(value, out->type, sizeof(out->type));
            break;
        case TG_STREAM_SOURCE:
            keep(value, out->source, sizeof(out->source));
            break;
        case TG_STREAM_CORRELATION_ID:
            keep(value, out->correlation_id, sizeof(out->correlation_id));
            break;
        case TG_STREAM_RECEIVED_AT:
            if (!tg_str_to_i64(value, &out->received_ms)) {
                out->received_ms = 0;
            }
            break;
        default:
            break;
        }
    }
    return is_own ? TG_PEEK_FOUND : TG_PEEK_ABSENT;
}

static enum tg_peek_result ask(struct tg_stream_peek *p, const struct tg_config *c,
                               const struct tg_event_id *id, struct tg_str tenant,
                               struct tg_peek_entry *out, struct tg_error *err)
{
    struct tg_key key;
    char stream_id[STREAM_ID_BYTES];
    redisReply *reply;
    enum tg_peek_result result;

    if (connect_link(p, c, err) != 0) {
        return TG_PEEK_UNAVAILABLE;
    }
    if (tg_key_events(&key, tg_str_of(c->redis.prefix), id->shard) != 0) {
        return TG_PEEK_ABSENT;
    }
    snprintf(stream_id, sizeof(stream_id), "%llu-%llu", (unsigned long long)id->ms,
             (unsigned long long)id->seq);
    reply =
        redisCommand(p->link, "XRANGE %b %s %s COUNT 1", key.data, key.len, stream_id, stream_id);
    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY) {
        tg_error_set(err, "Redis: XRANGE failed: %s",
                     reply == NULL                      ? p->link->errstr
                     : reply->type == REDIS_REPLY_ERROR ? reply->str
                                                        : "an answer of another kind");
        result = TG_PEEK_UNAVAILABLE;
    } else {
        result = read_entry(reply, tenant, out);
    }
    if (reply != NULL) {
        freeReplyObject(reply);
    }
    return result;
}

enum tg_peek_result tg_stream_peek(struct tg_stream_peek *p, const struct tg_config *c,
                                   const struct tg_event_id *id, struct tg_str tenant,
                                   struct tg_peek_entry *out, struct tg_error *err)
{
    bool was_connected = p->link != NULL;
    enum tg_peek_result result;

    memset(out, 0, sizeof(*out));
    /* An id of another tenant's shard cannot be this tenant's: no need to ask. */
    if (id->shard >= c->redis.shards || id->shard != tg_shard_of(tenant, c->redis.shards)) {
        return TG_PEEK_ABSENT;
    }
    result = ask(p, c, id, tenant, out, err);
    if (result != TG_PEEK_UNAVAILABLE) {
        return result;
    }
    tg_stream_peek_close(p);
    if (!was_connected) {
        return result;
    }
    /* The kept link may be from before a restart of Redis: a look changes nothing, so once more. */
    result = ask(p, c, id, tenant, out, err);
    if (result == TG_PEEK_UNAVAILABLE) {
        tg_stream_peek_close(p);
    }
    return result;
}
