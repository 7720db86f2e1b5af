
/*
 * tally_redis: where Redis is.  The address is resolved here, once, because
 * hiredis would resolve a name with a blocking call in the worker.
 */


#include "ngx_http_tally.h"


#define NGX_HTTP_TALLY_REDIS_URLS                                             \
    "redis://HOST[:PORT][/DB] or unix:PATH"

#define NGX_HTTP_TALLY_PASSWORD_FILE_MAX  511


static char *ngx_http_tally_redis_add(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_http_tally_main_conf_t *mcf, ngx_http_tally_redis_t *redis);
static ngx_http_tally_redis_t *ngx_http_tally_redis_find(
    ngx_http_tally_main_conf_t *mcf, ngx_str_t *name);
static char *ngx_http_tally_redis_select(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_http_tally_loc_conf_t *lcf, ngx_str_t *words, ngx_uint_t n);
static char *ngx_http_tally_redis_options(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_http_tally_redis_t *redis, ngx_http_tally_param_t *params);
static char *ngx_http_tally_redis_shards(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_http_tally_redis_t *redis, ngx_http_tally_param_t *params);
static char *ngx_http_tally_redis_time(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_http_tally_param_t *param, ngx_msec_t *out, ngx_msec_t def);
static char *ngx_http_tally_redis_password(ngx_conf_t *cf,
    ngx_command_t *cmd, ngx_http_tally_redis_t *redis, ngx_str_t *name);
static char *ngx_http_tally_redis_url(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_http_tally_redis_t *redis);
static char *ngx_http_tally_redis_unix(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_http_tally_redis_t *redis);
static char *ngx_http_tally_redis_tcp(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_http_tally_redis_t *redis);
static char *ngx_http_tally_redis_db(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_http_tally_redis_t *redis, ngx_str_t *host);


char *
ngx_http_tally_redis(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_tally_loc_conf_t  *lcf = conf;

    ngx_str_t                    *words;
    ngx_uint_t                    n;
    ngx_http_tally_redis_t       *redis;
    ngx_http_tally_main_conf_t   *mcf;
    ngx_http_tally_param_t        params[] = {
        ngx_http_tally_param("name="),
        ngx_http_tally_param("user="),
        ngx_http_tally_param("password_file="),
        ngx_http_tally_param("prefix="),
        ngx_http_tally_param("timeout="),
        ngx_http_tally_param("connect_timeout="),
        ngx_http_tally_param("shards="),
        ngx_http_tally_param("mode="),
        ngx_http_tally_param(NULL)
    };

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_tally_module);

    words = cf->args->elts;
    n = cf->args->nelts;

    if (ngx_strncmp(words[1].data, "name=", 5) == 0) {
        return ngx_http_tally_redis_select(cf, cmd, lcf, words, n);
    }

    if (n > 2 && (ngx_strchr(words[2].data, ':') != NULL)
        && ngx_strchr(words[2].data, '=') == NULL)
    {
        return ngx_http_tally_bad(cf, cmd, &words[2], "one URL only: "
                                  "several servers (sentinel, cluster) are "
                                  "not supported, mode=single is");
    }

    if (mcf->redis.nelts >= NGX_HTTP_TALLY_REDIS_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "%V: more than %d of them", &cmd->name,
                           NGX_HTTP_TALLY_REDIS_MAX);
        return NGX_CONF_ERROR;
    }

    redis = ngx_pcalloc(cf->pool, sizeof(ngx_http_tally_redis_t));
    if (redis == NULL) {
        return NGX_CONF_ERROR;
    }

    redis->url = words[1];
    redis->index = mcf->redis.nelts;

    if (ngx_http_tally_params(cf, cmd, &words[2], n - 2, params)
            != NGX_CONF_OK
        || ngx_http_tally_redis_url(cf, cmd, redis) != NGX_CONF_OK
        || ngx_http_tally_redis_options(cf, cmd, redis, params)
               != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (ngx_http_tally_redis_add(cf, cmd, mcf, redis) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    /* the first one of a block serves it */

    if (lcf->redis == NGX_CONF_UNSET_PTR) {
        lcf->redis = redis;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_tally_redis_add(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_http_tally_main_conf_t *mcf, ngx_http_tally_redis_t *redis)
{
    ngx_http_tally_redis_t  **slot;

    if (ngx_http_tally_redis_find(mcf, &redis->name)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "%V: \"%V\" repeats the name \"%V\", give each "
                           "its own name=", &cmd->name, &redis->url,
                           &redis->name);
        return NGX_CONF_ERROR;
    }

    slot = ngx_array_push(&mcf->redis);
    if (slot == NULL) {
        return NGX_CONF_ERROR;
    }

    *slot = redis;

    return NGX_CONF_OK;
}


static ngx_http_tally_redis_t *
ngx_http_tally_redis_find(ngx_http_tally_main_conf_t *mcf, ngx_str_t *name)
{
    ngx_uint_t                i;
    ngx_http_tally_redis_t  **redis;

    redis = mcf->redis.elts;

    for (i = 0; i < mcf->redis.nelts; i++) {
        if (redis[i]->name.len == name->len
            && ngx_strncmp(redis[i]->name.data, name->data, name->len) == 0)
        {
            return redis[i];
        }
    }

    return NULL;
}


/* "tally_redis name=NAME;": take one defined before */

static char *
ngx_http_tally_redis_select(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_http_tally_loc_conf_t *lcf, ngx_str_t *words, ngx_uint_t n)
{
    ngx_str_t                    name;
    ngx_http_tally_redis_t      *redis;
    ngx_http_tally_main_conf_t  *mcf;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_tally_module);

    if (n > 2) {
        return ngx_http_tally_bad(cf, cmd, &words[1],
                                  "a URL first: " NGX_HTTP_TALLY_REDIS_URLS);
    }

    if (lcf->redis != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    name.data = words[1].data + 5;
    name.len = words[1].len - 5;

    redis = ngx_http_tally_redis_find(mcf, &name);

    if (redis == NULL) {
        return ngx_http_tally_bad(cf, cmd, &words[1], "the name= of a "
                                  "tally_redis that stands before this one");
    }

    lcf->redis = redis;

    return NGX_CONF_OK;
}


static char *
ngx_http_tally_redis_options(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_http_tally_redis_t *redis, ngx_http_tally_param_t *params)
{
    if (params[0].given) {
        redis->name = params[0].value;

        if (!tg_str_is_name(ngx_http_tally_tg(&redis->name),
                            TG_RATE_NAME_MAX_BYTES))
        {
            return ngx_http_tally_bad(cf, cmd, &redis->name,
                                      "name= of A-Z a-z 0-9 . _ -");
        }

    } else {
        ngx_str_set(&redis->name, "default");
    }

    redis->user = params[1].value;

    if (params[1].given && !params[2].given) {
        return ngx_http_tally_bad(cf, cmd, &redis->user,
                                  "user= together with password_file=");
    }

    if (params[2].given
        && ngx_http_tally_redis_password(cf, cmd, redis, &params[2].value)
           != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (params[3].given) {
        redis->prefix = params[3].value;

    } else {
        ngx_str_set(&redis->prefix, "tg");
    }

    if (!tg_str_is_name(ngx_http_tally_tg(&redis->prefix),
                        TG_PREFIX_MAX_BYTES))
    {
        return ngx_http_tally_bad(cf, cmd, &redis->prefix,
                                  "prefix= of 1 to 32 of A-Z a-z 0-9 . _ -");
    }

    if (ngx_http_tally_redis_time(cf, cmd, &params[4], &redis->timeout, 50)
            != NGX_CONF_OK
        || ngx_http_tally_redis_time(cf, cmd, &params[5],
                                     &redis->connect_timeout, 1000)
               != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    return ngx_http_tally_redis_shards(cf, cmd, redis, params);
}


static char *
ngx_http_tally_redis_shards(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_http_tally_redis_t *redis, ngx_http_tally_param_t *params)
{
    ngx_int_t  shards;

    redis->shards = TG_SHARD_COUNT_DEFAULT;

    if (params[6].given) {
        shards = ngx_atoi(params[6].value.data, params[6].value.len);

        if (shards < 1 || shards > TG_SHARD_COUNT_MAX) {
            return ngx_http_tally_bad(cf, cmd, &params[6].word,
                                      "shards= from 1 to 100");
        }

        redis->shards = (ngx_uint_t) shards;
    }

    if (params[7].given
        && (params[7].value.len != 6
            || ngx_strncmp(params[7].value.data, "single", 6) != 0))
    {
        return ngx_http_tally_bad(cf, cmd, &params[7].word, "mode=single: "
                                  "sentinel and cluster are not supported");
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_tally_redis_time(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_http_tally_param_t *param, ngx_msec_t *out, ngx_msec_t def)
{
    ngx_int_t  ms;

    if (!param->given) {
        *out = def;
        return NGX_CONF_OK;
    }

    ms = ngx_parse_time(&param->value, 0);

    if (ms < 1 || ms > NGX_HTTP_TALLY_TIMEOUT_MAX_MS) {
        return ngx_http_tally_bad(cf, cmd, &param->word,
                                  "a time from 1ms to 60s");
    }

    *out = (ngx_msec_t) ms;

    return NGX_CONF_OK;
}


/* The link reads the file at each handshake; here it must be there. */

static char *
ngx_http_tally_redis_password(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_http_tally_redis_t *redis, ngx_str_t *name)
{
    ngx_fd_t         fd;
    ngx_file_info_t  fi;

    if (ngx_http_tally_path(cf, name, &redis->password_file)
        != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    fd = ngx_open_file(redis->password_file.data, NGX_FILE_RDONLY,
                       NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           "%V: password_file=\"%V\" cannot be opened",
                           &cmd->name, &redis->password_file);
        return NGX_CONF_ERROR;
    }

    if (ngx_fd_info(fd, &fi) == NGX_FILE_ERROR) {
        ngx_memzero(&fi, sizeof(ngx_file_info_t));
    }

    if (ngx_close_file(fd) == NGX_FILE_ERROR) {
        ngx_conf_log_error(NGX_LOG_ALERT, cf, ngx_errno,
                           ngx_close_file_n " \"%V\" failed",
                           &redis->password_file);
    }

    if (!ngx_is_file(&fi) || ngx_file_size(&fi) < 1
        || ngx_file_size(&fi) > NGX_HTTP_TALLY_PASSWORD_FILE_MAX)
    {
        return ngx_http_tally_bad(cf, cmd, name, "password_file= with one "
                                  "line of 1 to 511 bytes");
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_tally_redis_url(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_http_tally_redis_t *redis)
{
    ngx_str_t  *url;

    url = &redis->url;

    if (url->len > 5 && ngx_strncmp(url->data, "unix:", 5) == 0) {
        return ngx_http_tally_redis_unix(cf, cmd, redis);
    }

    if (url->len > 8 && ngx_strncmp(url->data, "redis://", 8) == 0) {
        return ngx_http_tally_redis_tcp(cf, cmd, redis);
    }

    if (url->len >= 9 && ngx_strncmp(url->data, "rediss://", 9) == 0) {
        return ngx_http_tally_bad(cf, cmd, url, NGX_HTTP_TALLY_REDIS_URLS
                                  ": this hiredis has no TLS, use a local "
                                  "TLS tunnel");
    }

    return ngx_http_tally_bad(cf, cmd, url, NGX_HTTP_TALLY_REDIS_URLS);
}


static char *
ngx_http_tally_redis_unix(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_http_tally_redis_t *redis)
{
    ngx_str_t            path;
    struct sockaddr_un  *saun;

    path.data = redis->url.data + 5;
    path.len = redis->url.len - 5;

    /* as in proxy_pass: relative to the directory NGINX is started in */

    redis->numeric_host.len = path.len;
    redis->numeric_host.data = ngx_pnalloc(cf->pool, path.len + 1);
    if (redis->numeric_host.data == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_cpystrn(redis->numeric_host.data, path.data, path.len + 1);

    saun = ngx_pcalloc(cf->pool, sizeof(struct sockaddr_un));
    if (saun == NULL) {
        return NGX_CONF_ERROR;
    }

    if (redis->numeric_host.len >= sizeof(saun->sun_path)) {
        return ngx_http_tally_bad(cf, cmd, &redis->url,
                                  "unix:PATH of at most 107 bytes");
    }

    saun->sun_family = AF_UNIX;
    ngx_memcpy(saun->sun_path, redis->numeric_host.data,
               redis->numeric_host.len);

    redis->is_unix = 1;
    redis->addr.sockaddr = (struct sockaddr *) saun;
    redis->addr.socklen = sizeof(struct sockaddr_un);
    redis->addr.name = redis->url;

    return NGX_CONF_OK;
}


static char *
ngx_http_tally_redis_tcp(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_http_tally_redis_t *redis)
{
    u_char     *p;
    size_t      len;
    ngx_url_t   u;

    ngx_memzero(&u, sizeof(ngx_url_t));

    u.url.data = redis->url.data + 8;
    u.url.len = redis->url.len - 8;
    u.default_port = 6379;

    if (ngx_strlchr(u.url.data, u.url.data + u.url.len, '@')) {
        /* not the URL in the message: it may hold a password */
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "%V: the URL holds a user or password, expected "
                           "user= and password_file=", &cmd->name);
        return NGX_CONF_ERROR;
    }

    if (ngx_strlchr(u.url.data, u.url.data + u.url.len, ',')) {
        return ngx_http_tally_bad(cf, cmd, &redis->url, "one server: "
                                  NGX_HTTP_TALLY_REDIS_URLS);
    }

    if (ngx_http_tally_redis_db(cf, cmd, redis, &u.url) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    if (ngx_parse_url(cf->pool, &u) != NGX_OK || u.naddrs == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "%V: \"%V\": %s, expected "
                           NGX_HTTP_TALLY_REDIS_URLS,
                           &cmd->name, &redis->url,
                           u.err ? u.err : "no address");
        return NGX_CONF_ERROR;
    }

    redis->addr = u.addrs[0];
    redis->port = ngx_inet_get_port(u.addrs[0].sockaddr);

    p = ngx_pcalloc(cf->pool, NGX_SOCKADDR_STRLEN + 1);
    if (p == NULL) {
        return NGX_CONF_ERROR;
    }

    len = ngx_sock_ntop(u.addrs[0].sockaddr, u.addrs[0].socklen, p,
                        NGX_SOCKADDR_STRLEN, 0);

    redis->numeric_host.data = p;
    redis->numeric_host.len = len;

    return NGX_CONF_OK;
}


/* cuts "/DB" off the host and port */

static char *
ngx_http_tally_redis_db(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_http_tally_redis_t *redis, ngx_str_t *host)
{
    u_char     *slash, *last;
    ngx_int_t   db;

    last = host->data + host->len;
    slash = ngx_strlchr(host->data, last, '/');

    if (slash == NULL) {
        return NGX_CONF_OK;
    }

    host->len = (size_t) (slash - host->data);
    slash++;

    if (slash == last) {
        return NGX_CONF_OK;
    }

    db = ngx_atoi(slash, (size_t) (last - slash));

    if (db == NGX_ERROR || db > NGX_HTTP_TALLY_DB_MAX) {
        return ngx_http_tally_bad(cf, cmd, &redis->url,
                                  "redis://HOST[:PORT]/DB with a DB from 0 "
                                  "to 1023");
    }

    redis->db = (ngx_uint_t) db;

    return NGX_CONF_OK;
}
