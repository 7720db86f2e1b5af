/* Looking into the stream: a real redis-server of this test alone, on a unix socket. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <hiredis/hiredis.h>

#include "api/context.h"
#include "api/handlers.h"
#include "common/shard.h"
#include "journal_rows.h"

#define PASSWORD "a-word-of-this-test"
#define UP_DEADLINE_MS 20000

static struct tg_config config;
static struct tg_config_tenant tenant = {.id = (char *)(uintptr_t) "acme"};
static char sock[96], url[112], password_file[112], password_line[] = PASSWORD "\n";
static char prefix[] = "tg";
static pid_t redis;

static void start_redis(const char *dir)
{
    const struct timespec pause = {0, 5 * 1000 * 1000};

    redis = fork();
    assert_true(redis >= 0);
    if (redis == 0) {
        int null = open("/dev/null", O_RDWR);

        if (null < 0 || dup2(null, STDOUT_FILENO) < 0) {
            _exit(126);
        }
        execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", sock, "--dir", dir,
               "--save", "", "--appendonly", "no", "--requirepass", PASSWORD, (char *)NULL);
        _exit(127);
    }
    for (int ms = 0; ms < UP_DEADLINE_MS; ms += 5) {
        redisContext *c = redisConnectUnix(sock);
        bool up = c != NULL && c->err == 0;

        if (c != NULL) {
            redisFree(c);
        }
        if (up) {
            return;
        }
        nanosleep(&pause, NULL);
    }
    fail_msg("redis-server did not start");
}

static void stop_redis(void)
{
    if (redis > 0) {
        assert_int_equal(kill(redis, SIGKILL), 0);
        assert_int_equal(waitpid(redis, NULL, 0), redis);
        redis = 0;
        (void)unlink(sock);
    }
}

static int setup(void **state)
{
    struct jt *t;
    FILE *f;

    if (jt_setup(state) != 0) {
        return -1;
    }
    t = *state;
    snprintf(sock, sizeof(sock), "%s/redis.sock", t->dir);
    snprintf(url, sizeof(url), "unix:%s", sock);
    snprintf(password_file, sizeof(password_file), "%s/word", t->dir);
    f = fopen(password_file, "w");
    assert_non_null(f);
    assert_true(fputs(password_line, f) >= 0);
    assert_int_equal(fclose(f), 0);
    memset(&config, 0, sizeof(config));
    config.redis.url = url;
    config.redis.password_file = password_file;
    config.redis.prefix = prefix;
    config.redis.shards = TG_SHARD_COUNT_DEFAULT;
    config.journal.path = t->path;
    config.tenants = &tenant;
    config.tenant_count = 1;
    start_redis(t->dir);
    return 0;
}

static int teardown(void **state)
{
    stop_redis();
    return jt_teardown(state);
}

static unsigned shard(void)
{
    return tg_shard_of(tg_str_of("acme"), TG_SHARD_COUNT_DEFAULT);
}

static void add_entry(const char *stream_id, const char *of_tenant)
{
    redisContext *c = redisConnectUnix(sock);
    redisReply *r;

    assert_non_null(c);
    assert_int_equal(c->err, 0);
    r = redisCommand(c, "AUTH %s", PASSWORD);
    assert_non_null(r);
    assert_int_not_equal(r->type, REDIS_REPLY_ERROR);
    freeReplyObject(r);
    r = redisCommand(c,
                     "XADD tg:{s%02u}:events %s id ce-1 type t.v1 source urn:acme:psa tenant %s "
                     "received_at 1795222001000 correlation_id corr-9 body %b",
                     shard(), stream_id, of_tenant, "{\0}", (size_t)3);
    assert_non_null(r);
    assert_int_equal(r->type, REDIS_REPLY_STRING);
    freeReplyObject(r);
    redisFree(c);
}

static struct tg_event_id id_of(uint64_t ms)
{
    struct tg_event_id id = {shard(), ms, 1};

    return id;
}

static enum tg_peek_result peek(struct tg_stream_peek *p, uint64_t ms, struct tg_peek_entry *out,
                                struct tg_error *err)
{
    struct tg_event_id id = id_of(ms);

    err->text[0] = '\0';
    return tg_stream_peek(p, &config, &id, tg_str_of("acme"), out, err);
}

static void own_entries_only(void **state)
{
    struct tg_stream_peek p = {NULL};
    struct tg_peek_entry e;
    struct tg_error err;
    struct tg_event_id other = id_of(5);

    (void)state;
    add_entry("5-1", "acme");
    add_entry("6-1", "other");
    assert_int_equal(peek(&p, 5, &e, &err), TG_PEEK_FOUND);
    assert_string_equal(e.type, "t.v1");
    assert_string_equal(e.source, "urn:acme:psa");
    assert_string_equal(e.correlation_id, "corr-9");
    assert_int_equal(e.received_ms, INT64_C(1795222001000));
    assert_int_equal(peek(&p, 6, &e, &err), TG_PEEK_ABSENT);
    assert_int_equal(peek(&p, 7, &e, &err), TG_PEEK_ABSENT);
    other.shard = (other.shard + 1) % TG_SHARD_COUNT_DEFAULT; /* not this tenant's shard */
    assert_int_equal(tg_stream_peek(&p, &config, &other, tg_str_of("acme"), &e, &err),
                     TG_PEEK_ABSENT);
    other.shard = 99;
    assert_int_equal(tg_stream_peek(&p, &config, &other, tg_str_of("acme"), &e, &err),
                     TG_PEEK_ABSENT);
    tg_stream_peek_close(&p);
}

static void a_restart_of_redis_is_survived(void **state)
{
    struct jt *t = *state;
    struct tg_stream_peek p = {NULL};
    struct tg_peek_entry e;
    struct tg_error err;

    assert_int_equal(peek(&p, 5, &e, &err), TG_PEEK_ABSENT);
    stop_redis();
    assert_int_equal(peek(&p, 5, &e, &err), TG_PEEK_UNAVAILABLE);
    assert_non_null(strstr(err.text, "Redis"));
    assert_null(p.link);
    start_redis(t->dir);
    add_entry("5-1", "acme");
    assert_int_equal(peek(&p, 5, &e, &err), TG_PEEK_FOUND);
    /* again with the kept link from before a restart: one new try, no error */
    stop_redis();
    start_redis(t->dir);
    assert_int_equal(peek(&p, 5, &e, &err), TG_PEEK_ABSENT);
    tg_stream_peek_close(&p);
}

static int64_t now_ms(void)
{
    struct timespec now;

    assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &now), 0);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* SIGSTOP: it accepts connections and never answers. */
static void a_hung_redis_is_given_up(void **state)
{
    struct tg_stream_peek p = {NULL};
    struct tg_peek_entry e;
    struct tg_error err;
    int64_t began;

    (void)state;
    assert_int_equal(peek(&p, 5, &e, &err), TG_PEEK_ABSENT);
    assert_int_equal(kill(redis, SIGSTOP), 0);
    began = now_ms();
    assert_int_equal(peek(&p, 5, &e, &err), TG_PEEK_UNAVAILABLE);
    assert_true(now_ms() - began >= TG_API_REDIS_TIMEOUT_MS);
    assert_true(now_ms() - began < 20 * TG_API_REDIS_TIMEOUT_MS);
    assert_int_equal(kill(redis, SIGCONT), 0);
    assert_int_equal(peek(&p, 5, &e, &err), TG_PEEK_ABSENT);
    tg_stream_peek_close(&p);
}

static void passwords(void **state)
{
    struct tg_stream_peek p = {NULL};
    struct tg_peek_entry e;
    struct tg_error err;
    char user[] = "default", nobody[] = "nobody";

    (void)state;
    config.redis.user = user;
    assert_int_equal(peek(&p, 5, &e, &err), TG_PEEK_ABSENT);
    tg_stream_peek_close(&p);
    config.redis.user = nobody;
    assert_int_equal(peek(&p, 5, &e, &err), TG_PEEK_UNAVAILABLE);
    assert_non_null(strstr(err.text, "AUTH failed"));
    assert_null(strstr(err.text, PASSWORD));
    config.redis.user = NULL;
    config.redis.password_file = NULL;
    assert_int_equal(peek(&p, 5, &e, &err), TG_PEEK_UNAVAILABLE);
    assert_non_null(strstr(err.text, "NOAUTH"));
    assert_int_equal(unlink(password_file), 0);
    config.redis.password_file = password_file;
    assert_int_equal(peek(&p, 5, &e, &err), TG_PEEK_UNAVAILABLE);
    assert_non_null(strstr(err.text, password_file));
}

/* The whole answer: not in the journal, in the stream. */
static void the_answer_for_an_event_in_the_stream(void **state)
{
    struct tg_api_options options = {.config = &config};
    struct tg_api_pool pool;
    struct tg_error err = {""};
    struct tg_api_context *ctx;
    struct tg_api_request rq = {.tenant = tg_str_of("acme")};
    struct tg_reply reply = {0};
    char id[TG_EVENT_ID_MAX_BYTES];
    json_t *json;

    (void)state;
    add_entry("8-0", "acme");
    assert_int_equal(tg_api_pool_init(&pool, 1, &options, &err), 0);
    ctx = tg_api_pool_take(&pool);
    assert_non_null(ctx);
    assert_null(tg_api_pool_take(&pool)); /* one context, one thread */
    snprintf(id, sizeof(id), "s%02u-8-0", shard());
    rq.rest = tg_str_of(id);
    tg_api_event_status(ctx, &rq, &reply);
    assert_int_equal(reply.status, 200);
    json = json_loadb(reply.body, reply.len, 0, NULL);
    assert_non_null(json);
    assert_string_equal(json_string_value(json_object_get(json, "id")), id);
    assert_string_equal(json_string_value(json_object_get(json, "status")), "accepted");
    assert_string_equal(json_string_value(json_object_get(json, "stage")), "in_stream");
    assert_string_equal(json_string_value(json_object_get(json, "received_at")),
                        "2026-11-21T00:46:41.000Z");
    assert_int_equal(json_array_size(json_object_get(json, "objects")), 0);
    json_decref(json);
    tg_reply_clear(&reply);
    rq.tenant = tg_str_of("other");
    tg_api_event_status(ctx, &rq, &reply);
    assert_int_equal(reply.status, 404);
    tg_reply_clear(&reply);
    tg_api_pool_give(&pool, ctx);
    tg_api_pool_clear(&pool);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(own_entries_only),
        CASE(a_restart_of_redis_is_survived),
        CASE(a_hung_redis_is_given_up),
        CASE(passwords),
        CASE(the_answer_for_an_event_in_the_stream),
    };

    /* as main.c does: hiredis writes to a link whose other end may be gone */
    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
