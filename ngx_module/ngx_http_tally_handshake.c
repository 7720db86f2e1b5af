
/*
 * What a new connection must answer before a call is sent on it, pipelined:
 *
 *   AUTH, SELECT, CLIENT SETNAME
 *   of each shard: HSETNX meta (contract, shards, hash), HMGET meta
 *   with needs_aof: CONFIG GET appendonly, appendfsync,
 *                   no-appendfsync-on-rewrite, maxmemory-policy
 *   SCRIPT LOAD admit.lua
 *
 * Whoever comes first writes the meta hash, everyone compares.  The link is
 * ready when the last reply is good; the first bad one ends it.
 *
 * CONFIG SET can change the settings under a ready link, so they are asked
 * for again, between the calls and in their order: see _settings_again().
 */


#include "ngx_http_tally_link.h"

#include "common/contract.h"
#include "common/keys.h"

#include "admit_lua.h"


#define NGX_HTTP_TALLY_HANDSHAKE_ARGS  6
#define NGX_HTTP_TALLY_SETTINGS        4


typedef enum {
    NGX_HTTP_TALLY_STEP_AUTH = 0,
    NGX_HTTP_TALLY_STEP_SELECT,
    NGX_HTTP_TALLY_STEP_NAME,
    NGX_HTTP_TALLY_STEP_META_SET,
    NGX_HTTP_TALLY_STEP_META_GET,
    NGX_HTTP_TALLY_STEP_SETTINGS,
    NGX_HTTP_TALLY_STEP_SCRIPT
} ngx_http_tally_step_e;


typedef struct {
    int          type;          /* of a good reply */
    const char  *name;          /* for the log */
    const char  *refused;       /* the reason when Redis says an error */
} ngx_http_tally_step_t;


typedef struct {
    const char  *name;
    const char  *wanted;
    const char  *unset;         /* the reason when it has another value */
} ngx_http_tally_setting_t;


static ngx_int_t ngx_http_tally_handshake_auth(ngx_http_tally_link_t *link);
static ngx_int_t ngx_http_tally_handshake_password(
    ngx_http_tally_link_t *link, u_char *buf, ngx_str_t *password);
static ngx_int_t ngx_http_tally_handshake_select(ngx_http_tally_link_t *link);
static ngx_int_t ngx_http_tally_handshake_meta(ngx_http_tally_link_t *link);
static ngx_int_t ngx_http_tally_handshake_settings(
    ngx_http_tally_link_t *link);
static ngx_int_t ngx_http_tally_handshake_script(ngx_http_tally_link_t *link);
static ngx_int_t ngx_http_tally_handshake_send(ngx_http_tally_link_t *link,
    ngx_uint_t step, ngx_str_t *args, ngx_uint_t n);
static void ngx_http_tally_handshake_reply(redisAsyncContext *ac, void *reply,
    void *data);
static ngx_uint_t ngx_http_tally_handshake_no_matter(ngx_uint_t step,
    redisReply *reply);
static void ngx_http_tally_handshake_error(ngx_http_tally_link_t *link,
    ngx_uint_t step, redisReply *reply);
static ngx_int_t ngx_http_tally_handshake_check(ngx_http_tally_link_t *link,
    ngx_uint_t step, redisReply *reply);
static ngx_int_t ngx_http_tally_handshake_contract(
    ngx_http_tally_link_t *link, redisReply *reply);
static ngx_int_t ngx_http_tally_handshake_compare(ngx_http_tally_link_t *link,
    redisReply *reply);
static ngx_uint_t ngx_http_tally_handshake_has(redisReply *reply,
    const ngx_http_tally_setting_t *setting);
static ngx_uint_t ngx_http_tally_handshake_is(redisReply *reply,
    const char *text);


/* by step, which is what hiredis carries from command to reply */

static const ngx_http_tally_step_t  ngx_http_tally_steps[] = {

    { REDIS_REPLY_STATUS, "AUTH",
      "Redis does not let the edge's user in" },

    { REDIS_REPLY_STATUS, "SELECT",
      "Redis does not have the database number" },

    { REDIS_REPLY_STATUS, "CLIENT SETNAME",
      "the edge's Redis user lacks CLIENT SETNAME" },

    { REDIS_REPLY_INTEGER, "HSETNX meta",
      "the edge's Redis user cannot write the contract" },

    { REDIS_REPLY_ARRAY, "HMGET meta",
      "the edge's Redis user cannot read the contract" },

    { REDIS_REPLY_ARRAY, "CONFIG GET",
      "the edge's Redis user lacks CONFIG GET" },

    { REDIS_REPLY_STRING, "SCRIPT LOAD",
      "Redis does not take the script" }
};


/* without these a 202 promises what a power loss can take back */

static const ngx_http_tally_setting_t
    ngx_http_tally_settings[NGX_HTTP_TALLY_SETTINGS] =
{
    { "appendonly", "yes",
      "Redis is not set to appendonly yes" },

    { "appendfsync", "always",
      "Redis is not set to appendfsync always" },

    /* yes: no fsync while a child saves or rewrites, whatever is above */

    { "no-appendfsync-on-rewrite", "no",
      "Redis is not set to no-appendfsync-on-rewrite no" },

    { "maxmemory-policy", "noeviction",
      "Redis is not set to maxmemory-policy noeviction" }
};


static const char  ngx_http_tally_handshake_contract_reason[] =
    "Redis holds data of another contract or shard count";

static const char  ngx_http_tally_handshake_password_reason[] =
    "the password file of Redis cannot be read";

static const char  ngx_http_tally_handshake_send_reason[] =
    "the handshake with Redis could not be sent";

static const char  ngx_http_tally_handshake_odd_reason[] =
    "Redis gave an answer of an unknown form";


void
ngx_http_tally_handshake(ngx_http_tally_link_t *link)
{
    link->awaited = 0;

    if (ngx_http_tally_handshake_auth(link) != NGX_OK
        || ngx_http_tally_handshake_select(link) != NGX_OK
        || ngx_http_tally_handshake_meta(link) != NGX_OK
        || ngx_http_tally_handshake_settings(link) != NGX_OK
        || ngx_http_tally_handshake_script(link) != NGX_OK)
    {
        /* does nothing when a step has already said why */

        ngx_http_tally_link_fail(link, ngx_http_tally_handshake_send_reason,
                                 0);
    }
}


static ngx_int_t
ngx_http_tally_handshake_auth(ngx_http_tally_link_t *link)
{
    u_char       buf[NGX_HTTP_TALLY_PASSWORD_MAX + 1];
    ngx_int_t    rc;
    ngx_str_t    args[3], password;
    ngx_uint_t   n;

    if (link->redis->password_file.len == 0) {
        return NGX_OK;
    }

    /* read anew each time: a changed password needs no reload */

    if (ngx_http_tally_handshake_password(link, buf, &password) != NGX_OK) {
        ngx_explicit_memzero(buf, sizeof(buf));

        ngx_http_tally_link_fail(link,
                                 ngx_http_tally_handshake_password_reason, 1);
        return NGX_ERROR;
    }

    n = 0;
    ngx_str_set(&args[n], "AUTH");
    n++;

    if (link->redis->user.len) {
        args[n++] = link->redis->user;
    }

    args[n++] = password;

    rc = ngx_http_tally_handshake_send(link, NGX_HTTP_TALLY_STEP_AUTH, args,
                                       n);

    ngx_explicit_memzero(buf, sizeof(buf));

    return rc;
}


static ngx_int_t
ngx_http_tally_handshake_password(ngx_http_tally_link_t *link, u_char *buf,
    ngx_str_t *password)
{
    ssize_t     n;
    ngx_fd_t    fd;
    ngx_err_t   err;
    ngx_str_t  *file;
    ngx_uint_t  level;

    file = &link->redis->password_file;

    fd = ngx_open_file(file->data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    n = -1;
    err = ngx_errno;

    if (fd != NGX_INVALID_FILE) {
        n = ngx_read_fd(fd, buf, NGX_HTTP_TALLY_PASSWORD_MAX + 1);
        err = ngx_errno;

        if (ngx_close_file(fd) == NGX_FILE_ERROR) {
            ngx_log_error(NGX_LOG_ALERT, link->log, ngx_errno,
                          ngx_close_file_n " \"%V\" failed", file);
        }
    }

    if (n < 0) {
        level = ngx_http_tally_link_level(link,
                                    ngx_http_tally_handshake_password_reason,
                                    NGX_LOG_ERR);

        ngx_log_error(level, link->log, err,
                      "tally redis \"%V\": cannot read \"%V\"; let the "
                      "worker's user read it", &link->redis->name, file);
        return NGX_ERROR;
    }

    password->data = buf;
    password->len = n;

    while (password->len
           && (buf[password->len - 1] == LF || buf[password->len - 1] == CR))
    {
        password->len--;
    }

    if (password->len == 0 || n > NGX_HTTP_TALLY_PASSWORD_MAX) {
        level = ngx_http_tally_link_level(link,
                                    ngx_http_tally_handshake_password_reason,
                                    NGX_LOG_ERR);

        ngx_log_error(level, link->log, 0,
                      "tally redis \"%V\": \"%V\" must hold one password of "
                      "1 to %d bytes", &link->redis->name, file,
                      NGX_HTTP_TALLY_PASSWORD_MAX);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_tally_handshake_select(ngx_http_tally_link_t *link)
{
    u_char     number[NGX_INT_T_LEN];
    u_char     name[sizeof("tallygate-edge-") + NGX_INT64_LEN];
    ngx_str_t  args[3];

    if (link->redis->db) {
        ngx_str_set(&args[0], "SELECT");
        args[1].data = number;
        args[1].len = ngx_sprintf(number, "%ui", link->redis->db) - number;

        if (ngx_http_tally_handshake_send(link, NGX_HTTP_TALLY_STEP_SELECT,
                                          args, 2)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    ngx_str_set(&args[0], "CLIENT");
    ngx_str_set(&args[1], "SETNAME");
    args[2].data = name;
    args[2].len = ngx_sprintf(name, "tallygate-edge-%P", ngx_pid) - name;

    return ngx_http_tally_handshake_send(link, NGX_HTTP_TALLY_STEP_NAME, args,
                                         3);
}


static ngx_int_t
ngx_http_tally_handshake_meta(ngx_http_tally_link_t *link)
{
    u_char         contract[NGX_INT_T_LEN], shards[NGX_INT_T_LEN];
    ngx_str_t      set[4], get[5], names[3], values[3];
    ngx_uint_t     i, shard;
    struct tg_key  key;

    ngx_str_set(&names[0], TG_META_CONTRACT);
    ngx_str_set(&names[1], TG_META_SHARDS);
    ngx_str_set(&names[2], TG_META_HASH);

    values[0].data = contract;
    values[0].len = ngx_sprintf(contract, "%d", TG_CONTRACT_VERSION)
                    - contract;
    values[1].data = shards;
    values[1].len = ngx_sprintf(shards, "%ui", link->redis->shards) - shards;
    ngx_str_set(&values[2], TG_SHARD_HASH_NAME);

    ngx_str_set(&set[0], "HSETNX");
    ngx_str_set(&get[0], "HMGET");

    for (shard = 0; shard < link->redis->shards; shard++) {

        if (tg_key_meta(&key, ngx_http_tally_tg(&link->redis->prefix),
                        (unsigned) shard)
            != 0)
        {
            return NGX_ERROR;
        }

        set[1].data = key.data;
        set[1].len = key.len;
        get[1] = set[1];

        for (i = 0; i < 3; i++) {
            set[2] = names[i];
            set[3] = values[i];
            get[2 + i] = names[i];

            if (ngx_http_tally_handshake_send(link,
                                              NGX_HTTP_TALLY_STEP_META_SET,
                                              set, 4)
                != NGX_OK)
            {
                return NGX_ERROR;
            }
        }

        if (ngx_http_tally_handshake_send(link, NGX_HTTP_TALLY_STEP_META_GET,
                                          get, 5)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_tally_handshake_settings(ngx_http_tally_link_t *link)
{
    ngx_str_t   args[2 + NGX_HTTP_TALLY_SETTINGS];
    ngx_uint_t  i;

    if (!link->redis->needs_aof) {
        return NGX_OK;
    }

    ngx_str_set(&args[0], "CONFIG");
    ngx_str_set(&args[1], "GET");

    for (i = 0; i < NGX_HTTP_TALLY_SETTINGS; i++) {
        args[2 + i].data = (u_char *) ngx_http_tally_settings[i].name;
        args[2 + i].len = ngx_strlen(ngx_http_tally_settings[i].name);
    }

    return ngx_http_tally_handshake_send(link, NGX_HTTP_TALLY_STEP_SETTINGS,
                                         args, 2 + NGX_HTTP_TALLY_SETTINGS);
}


/*
 * One command that no request waits for.  Redis answers in order: while the
 * reply is out, no call sent later is answered either, so nothing else needs
 * to watch for it.  The reply sets the timer again, or ends the link.
 */

void
ngx_http_tally_handshake_settings_again(ngx_http_tally_link_t *link)
{
    if (ngx_http_tally_handshake_settings(link) != NGX_OK) {
        ngx_http_tally_link_fail(link, ngx_http_tally_handshake_send_reason,
                                 0);
    }
}


static ngx_int_t
ngx_http_tally_handshake_script(ngx_http_tally_link_t *link)
{
    ngx_str_t  args[3];

    ngx_str_set(&args[0], "SCRIPT");
    ngx_str_set(&args[1], "LOAD");
    args[2].data = (u_char *) tg_admit_lua;
    args[2].len = tg_admit_lua_len;

    return ngx_http_tally_handshake_send(link, NGX_HTTP_TALLY_STEP_SCRIPT,
                                         args, 3);
}


static ngx_int_t
ngx_http_tally_handshake_send(ngx_http_tally_link_t *link, ngx_uint_t step,
    ngx_str_t *args, ngx_uint_t n)
{
    size_t       len[NGX_HTTP_TALLY_HANDSHAKE_ARGS];
    ngx_uint_t   i;
    const char  *argv[NGX_HTTP_TALLY_HANDSHAKE_ARGS];

    for (i = 0; i < n; i++) {
        argv[i] = (const char *) args[i].data;
        len[i] = args[i].len;
    }

    if (ngx_http_tally_link_send(link, ngx_http_tally_handshake_reply,
                                 (void *) (uintptr_t) step, (int) n, argv,
                                 /* cppcheck-suppress uninitvar; n is never 0 */
                                 len)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    link->awaited++;

    return NGX_OK;
}


static void
ngx_http_tally_handshake_reply(redisAsyncContext *ac, void *reply, void *data)
{
    ngx_uint_t              step;
    redisReply             *rep;
    ngx_http_tally_link_t  *link;

    rep = reply;
    link = ac->data;
    step = (ngx_uint_t) (uintptr_t) data;

    if (rep == NULL
        || (link->state != NGX_HTTP_TALLY_LINK_HANDSHAKE
            && link->state != NGX_HTTP_TALLY_LINK_READY))
    {

        /* the context ends, or an earlier reply was bad */

        return;
    }

    if (rep->type == REDIS_REPLY_ERROR
        && !ngx_http_tally_handshake_no_matter(step, rep))
    {
        ngx_http_tally_handshake_error(link, step, rep);
        return;
    }

    if (rep->type != REDIS_REPLY_ERROR
        && rep->type != ngx_http_tally_steps[step].type)
    {
        ngx_http_tally_link_fail(link, ngx_http_tally_handshake_odd_reason, 1);
        return;
    }

    if (ngx_http_tally_handshake_check(link, step, rep) != NGX_OK) {
        return;
    }

    if (--link->awaited) {
        return;
    }

    if (link->state == NGX_HTTP_TALLY_LINK_HANDSHAKE) {
        ngx_http_tally_link_up(link);
        return;
    }

    ngx_http_tally_link_settings_timer(link);
}


/*
 * Short of memory Redis refuses HSETNX, also where the fields are there.  If
 * they are is what HMGET tells; a replay is answered all the same.
 */

static ngx_uint_t
ngx_http_tally_handshake_no_matter(ngx_uint_t step, redisReply *reply)
{
    ngx_str_t  text;

    ngx_http_tally_redis_text(reply->str, reply->len, &text);

    return step == NGX_HTTP_TALLY_STEP_META_SET
           && tg_redis_error_of(ngx_http_tally_tg(&text)) == TG_REDIS_FULL;
}


static void
ngx_http_tally_handshake_error(ngx_http_tally_link_t *link, ngx_uint_t step,
    redisReply *reply)
{
    enum tg_redis_error           error;
    ngx_str_t                     text;
    ngx_uint_t                    level;
    const ngx_http_tally_step_t  *st;

    st = &ngx_http_tally_steps[step];

    ngx_http_tally_redis_text(reply->str, reply->len, &text);

    error = tg_redis_error_of(ngx_http_tally_tg(&text));

    if (error == TG_REDIS_BUSY || error == TG_REDIS_FULL) {

        /* loading, a replica, short of memory: it may pass soon */

        level = ngx_http_tally_link_level(link, st->name, NGX_LOG_WARN);

        ngx_log_error(level, link->log, 0, "tally redis \"%V\": %s: %V",
                      &link->redis->name, st->name, &text);

        ngx_http_tally_link_fail(link, "Redis is not taking calls now", 0);
        return;
    }

    level = ngx_http_tally_link_level(link, st->refused, NGX_LOG_ERR);

    ngx_log_error(level, link->log, 0,
                  "tally redis \"%V\": %s was refused: %V; compare the user "
                  "and its rights with conf/redis.acl.in",
                  &link->redis->name, st->name, &text);

    ngx_http_tally_link_fail(link, st->refused, 1);
}


static ngx_int_t
ngx_http_tally_handshake_check(ngx_http_tally_link_t *link, ngx_uint_t step,
    redisReply *reply)
{
    switch (step) {

    case NGX_HTTP_TALLY_STEP_META_GET:
        return ngx_http_tally_handshake_contract(link, reply);

    case NGX_HTTP_TALLY_STEP_SETTINGS:
        return ngx_http_tally_handshake_compare(link, reply);

    case NGX_HTTP_TALLY_STEP_SCRIPT:

        if (reply->len != NGX_HTTP_TALLY_SHA1_HEX) {
            ngx_http_tally_link_fail(link,
                                     ngx_http_tally_handshake_odd_reason, 1);
            return NGX_ERROR;
        }

        ngx_memcpy(link->sha, reply->str, NGX_HTTP_TALLY_SHA1_HEX);

        return NGX_OK;

    default:
        return NGX_OK;
    }
}


static ngx_int_t
ngx_http_tally_handshake_contract(ngx_http_tally_link_t *link,
    redisReply *reply)
{
    ngx_uint_t        i, level;
    redisReply       *field;
    struct tg_str     values[3];
    struct tg_error   err;

    if (reply->elements != 3) {
        ngx_http_tally_link_fail(link, ngx_http_tally_handshake_odd_reason, 1);
        return NGX_ERROR;
    }

    for (i = 0; i < 3; i++) {
        field = reply->element[i];

        values[i] = tg_str_of(NULL);

        if (field->type == REDIS_REPLY_STRING) {
            values[i].data = (u_char *) field->str;
            values[i].len = field->len;
        }
    }

    if (tg_contract_check(values[0], values[1], values[2],
                          (unsigned) link->redis->shards, &err)
        == 0)
    {
        return NGX_OK;
    }

    level = ngx_http_tally_link_level(link,
                                    ngx_http_tally_handshake_contract_reason,
                                    NGX_LOG_ERR);

    ngx_log_error(level, link->log, 0, "tally redis \"%V\": %s; no call is "
                  "sent until shards= and the program's version agree with it",
                  &link->redis->name, err.text);

    ngx_http_tally_link_fail(link, ngx_http_tally_handshake_contract_reason,
                             1);

    return NGX_ERROR;
}


static ngx_int_t
ngx_http_tally_handshake_compare(ngx_http_tally_link_t *link,
    redisReply *reply)
{
    ngx_uint_t                       i, level;
    const ngx_http_tally_setting_t  *st;

    for (i = 0; i < NGX_HTTP_TALLY_SETTINGS; i++) {
        st = &ngx_http_tally_settings[i];

        if (ngx_http_tally_handshake_has(reply, st)) {
            continue;
        }

        level = ngx_http_tally_link_level(link, st->unset, NGX_LOG_ERR);

        ngx_log_error(level, link->log, 0,
                      "tally redis \"%V\": %s, so a 202 would not be "
                      "durable; set \"%s %s\" in redis.conf and with CONFIG "
                      "SET, or use tally_publish with ack=memory",
                      &link->redis->name, st->unset, st->name, st->wanted);

        ngx_http_tally_link_fail(link, st->unset, 1);

        return NGX_ERROR;
    }

    return NGX_OK;
}


/* names and values in turn; Redis gives them in an order of its own */

static ngx_uint_t
ngx_http_tally_handshake_has(redisReply *reply,
    const ngx_http_tally_setting_t *setting)
{
    size_t  i;

    for (i = 0; i + 1 < reply->elements; i += 2) {

        if (ngx_http_tally_handshake_is(reply->element[i], setting->name)) {
            return ngx_http_tally_handshake_is(reply->element[i + 1],
                                               setting->wanted);
        }
    }

    return 0;
}


static ngx_uint_t
ngx_http_tally_handshake_is(redisReply *reply, const char *text)
{
    size_t  len;

    len = ngx_strlen(text);

    return reply->type == REDIS_REPLY_STRING
           && (size_t) reply->len == len
           && ngx_memcmp(reply->str, text, len) == 0;
}
