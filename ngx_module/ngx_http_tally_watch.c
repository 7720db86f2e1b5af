
/*
 * Key sets and secrets of this worker.  A cancelable timer looks at each
 * file once a second; a change of mtime, size or inode makes it read anew.
 *
 * 1. A file that is missing, empty or broken never replaces a good one.
 * 2. Each change is read once and logged once.
 * 3. A new key set raises the issuer's generation: older cache entries miss.
 */


#include "ngx_http_tally.h"


typedef struct {
    ngx_event_t                  event;
    ngx_http_tally_main_conf_t  *mcf;
} ngx_http_tally_watch_t;


static void ngx_http_tally_watch_cleanup(void *data);
static void ngx_http_tally_watch_event(ngx_event_t *ev);
static ngx_msec_t ngx_http_tally_watch_delay(void);
static void ngx_http_tally_watch_all(ngx_http_tally_main_conf_t *mcf,
    ngx_log_t *log);
static ngx_uint_t ngx_http_tally_watch_changed(ngx_http_tally_file_t *file,
    ngx_log_t *log);
static ngx_uint_t ngx_http_tally_watch_silent(ngx_http_tally_file_t *file);
static void ngx_http_tally_watch_keys(ngx_http_tally_issuer_t *issuer,
    ngx_log_t *log);
static void ngx_http_tally_watch_secrets(ngx_http_tally_secret_t *secret,
    ngx_log_t *log);
static void ngx_http_tally_identify(ngx_http_tally_file_t *file,
    ngx_file_info_t *fi);
static u_char *ngx_http_tally_read_file(ngx_http_tally_file_t *path,
    ngx_http_tally_file_t *seen, size_t max, size_t *len,
    struct tg_error *err);
static u_char *ngx_http_tally_read_all(ngx_fd_t fd, size_t size,
    size_t *len, struct tg_error *err);
static ngx_uint_t ngx_http_tally_keys_fit(struct tg_jwks *keys,
    unsigned algs);


static ngx_http_tally_watch_t  ngx_http_tally_watch;    /* of this process */
static ngx_connection_t        ngx_http_tally_watch_dummy;


ngx_int_t
ngx_http_tally_watch_init(ngx_cycle_t *cycle,
    ngx_http_tally_main_conf_t *mcf)
{
    ngx_event_t         *ev;
    ngx_pool_cleanup_t  *cln;

    if (mcf->issuers.nelts == 0 && mcf->secrets.nelts == 0) {
        return NGX_OK;
    }

    cln = ngx_pool_cleanup_add(cycle->pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    /* without a master a reload frees the old cycle in this very process */
    cln->handler = ngx_http_tally_watch_cleanup;
    cln->data = mcf;

    ngx_http_tally_watch_all(mcf, cycle->log);

    ngx_memzero(&ngx_http_tally_watch, sizeof(ngx_http_tally_watch_t));

    /* ngx_event_timer's debug log wants a connection's fd */
    ngx_http_tally_watch_dummy.fd = (ngx_socket_t) -1;

    ngx_http_tally_watch.mcf = mcf;

    ev = &ngx_http_tally_watch.event;
    ev->handler = ngx_http_tally_watch_event;
    ev->data = &ngx_http_tally_watch_dummy;
    ev->log = cycle->log;
    ev->cancelable = 1;

    ngx_add_timer(ev, ngx_http_tally_watch_delay());

    return NGX_OK;
}


void
ngx_http_tally_watch_done(ngx_http_tally_main_conf_t *mcf)
{
    ngx_uint_t                 i;
    ngx_http_tally_issuer_t  **issuer;
    ngx_http_tally_secret_t  **secret;

    if (ngx_http_tally_watch.mcf == mcf
        && ngx_http_tally_watch.event.timer_set)
    {
        ngx_del_timer(&ngx_http_tally_watch.event);
    }

    issuer = mcf->issuers.elts;

    for (i = 0; i < mcf->issuers.nelts; i++) {
        tg_jwks_free(issuer[i]->keys);
        issuer[i]->keys = NULL;
    }

    secret = mcf->secrets.elts;

    for (i = 0; i < mcf->secrets.nelts; i++) {
        tg_secrets_free(secret[i]->table);
        secret[i]->table = NULL;
    }
}


static void
ngx_http_tally_watch_cleanup(void *data)
{
    ngx_http_tally_watch_done(data);
}


static void
ngx_http_tally_watch_event(ngx_event_t *ev)
{
    ngx_http_tally_watch_all(ngx_http_tally_watch.mcf, ev->log);

    if (ngx_exiting || ngx_quit || ngx_terminate) {
        return;
    }

    ngx_add_timer(ev, ngx_http_tally_watch_delay());
}


/* a tenth of jitter, so that workers do not stat in step */

static ngx_msec_t
ngx_http_tally_watch_delay(void)
{
    return NGX_HTTP_TALLY_WATCH_MS
           - (ngx_msec_t) ngx_random() % (NGX_HTTP_TALLY_WATCH_MS / 10);
}


static void
ngx_http_tally_watch_all(ngx_http_tally_main_conf_t *mcf, ngx_log_t *log)
{
    ngx_uint_t                 i;
    ngx_http_tally_issuer_t  **issuer;
    ngx_http_tally_secret_t  **secret;

    issuer = mcf->issuers.elts;

    for (i = 0; i < mcf->issuers.nelts; i++) {
        if (ngx_http_tally_watch_changed(&issuer[i]->file, log)) {
            ngx_http_tally_watch_keys(issuer[i], log);
        }
    }

    secret = mcf->secrets.elts;

    for (i = 0; i < mcf->secrets.nelts; i++) {
        if (ngx_http_tally_watch_changed(&secret[i]->file, log)) {
            ngx_http_tally_watch_secrets(secret[i], log);
        }
    }
}


static ngx_uint_t
ngx_http_tally_watch_changed(ngx_http_tally_file_t *file, ngx_log_t *log)
{
    ngx_err_t               err;
    ngx_file_info_t         fi;
    ngx_http_tally_file_t   now;

    if (ngx_file_info(file->path.data, &fi) == NGX_FILE_ERROR) {
        err = ngx_errno;

        if (!file->missing) {
            file->missing = 1;
            file->seen = 0;

            ngx_http_tally_count(NGX_HTTP_TALLY_METRIC_KEYS_REFUSED);
            ngx_log_error(NGX_LOG_ERR, log, err,
                          "tally file \"%V\" cannot be looked at, what was "
                          "read before stays in use", &file->path);
        }

        return 0;
    }

    ngx_memzero(&now, sizeof(ngx_http_tally_file_t));
    ngx_http_tally_identify(&now, &fi);

    return !file->seen
           || file->mtime != now.mtime
           || file->mtime_ns != now.mtime_ns
           || file->size != now.size
           || file->uniq != now.uniq;
}


/*
 * A file that cannot be opened is tried each second, since a chmod does not
 * change its mtime, but it is logged once.
 */

static ngx_uint_t
ngx_http_tally_watch_silent(ngx_http_tally_file_t *file)
{
    if (file->missing) {
        return 1;
    }

    if (!file->seen) {
        file->missing = 1;
    }

    return 0;
}


static void
ngx_http_tally_watch_keys(ngx_http_tally_issuer_t *issuer, ngx_log_t *log)
{
    struct tg_jwks   *keys;
    struct tg_error   err;

    keys = ngx_http_tally_read_keys(issuer, &issuer->file, &err);

    if (keys == NULL) {
        if (ngx_http_tally_watch_silent(&issuer->file)) {
            return;
        }

        ngx_http_tally_count(NGX_HTTP_TALLY_METRIC_KEYS_REFUSED);
        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "tally issuer \"%V\": keys of \"%V\" not taken: %s%s",
                      &issuer->name, &issuer->file.path, err.text,
                      issuer->keys ? ", the old ones stay" : "");
        return;
    }

    if (issuer->keys) {
        ngx_http_tally_count(NGX_HTTP_TALLY_METRIC_KEYS_RELOADED);
        ngx_log_error(NGX_LOG_NOTICE, log, 0,
                      "tally issuer \"%V\": %uz keys read from \"%V\", "
                      "%uz skipped", &issuer->name, keys->count,
                      &issuer->file.path, keys->skipped);
    }

    tg_jwks_free(issuer->keys);

    issuer->keys = keys;
    issuer->generation++;
}


static void
ngx_http_tally_watch_secrets(ngx_http_tally_secret_t *secret, ngx_log_t *log)
{
    struct tg_error     err;
    struct tg_secrets  *table;

    table = ngx_http_tally_read_secrets(secret, &secret->file, &err);

    if (table == NULL) {
        if (ngx_http_tally_watch_silent(&secret->file)) {
            return;
        }

        ngx_http_tally_count(NGX_HTTP_TALLY_METRIC_KEYS_REFUSED);
        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "tally secrets of \"%V\" not taken: %s%s",
                      &secret->file.path, err.text,
                      secret->table ? ", the old ones stay" : "");
        return;
    }

    if (secret->table) {
        ngx_http_tally_count(NGX_HTTP_TALLY_METRIC_KEYS_RELOADED);
        ngx_log_error(NGX_LOG_NOTICE, log, 0,
                      "tally secrets: %uz names read from \"%V\"",
                      tg_secrets_count(table), &secret->file.path);
    }

    tg_secrets_free(secret->table);

    secret->table = table;
}


struct tg_jwks *
ngx_http_tally_read_keys(ngx_http_tally_issuer_t *issuer,
    ngx_http_tally_file_t *file, struct tg_error *err)
{
    u_char          *data;
    size_t           len;
    struct tg_str    text;
    struct tg_jwks  *keys;

    data = ngx_http_tally_read_file(&issuer->file, file,
                                    TG_JWKS_FILE_MAX_BYTES, &len, err);
    if (data == NULL) {
        return NULL;
    }

    text.data = data;
    text.len = len;

    keys = tg_jwks_parse(text, err);

    ngx_free(data);

    if (keys && !ngx_http_tally_keys_fit(keys, issuer->policy.algs)) {
        tg_jwks_free(keys);
        tg_error_set(err, "no key in it fits the issuer's algorithms=");
        return NULL;
    }

    return keys;
}


struct tg_secrets *
ngx_http_tally_read_secrets(ngx_http_tally_secret_t *secret,
    ngx_http_tally_file_t *file, struct tg_error *err)
{
    u_char             *data;
    size_t              len;
    struct tg_str       text;
    struct tg_secrets  *table;

    data = ngx_http_tally_read_file(&secret->file, file,
                                    TG_SECRETS_FILE_MAX_BYTES, &len, err);
    if (data == NULL) {
        return NULL;
    }

    text.data = data;
    text.len = len;

    table = tg_secrets_parse(text, ngx_http_tally_tg(&secret->name), err);

    ngx_explicit_memzero(data, len);
    ngx_free(data);

    if (table && tg_secrets_count(table) == 0) {
        tg_secrets_free(table);
        tg_error_set(err, "no secret in it");
        return NULL;
    }

    return table;
}


static void
ngx_http_tally_identify(ngx_http_tally_file_t *file, ngx_file_info_t *fi)
{
    file->mtime = ngx_file_mtime(fi);
    file->mtime_ns = fi->st_mtim.tv_nsec;
    file->size = ngx_file_size(fi);
    file->uniq = ngx_file_uniq(fi);
    file->seen = 1;
    file->missing = 0;
}


/*
 * The whole file on the heap; the caller frees.  What was seen is noted as
 * soon as the file is open, so that a broken one is not read each second.
 */

static u_char *
ngx_http_tally_read_file(ngx_http_tally_file_t *path,
    ngx_http_tally_file_t *seen, size_t max, size_t *len,
    struct tg_error *err)
{
    u_char           *data;
    ngx_fd_t          fd;
    ngx_file_info_t   fi;

    fd = ngx_open_file(path->path.data, NGX_FILE_RDONLY|NGX_FILE_NONBLOCK,
                       NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        tg_error_set(err, "it cannot be opened, errno %d", ngx_errno);

        if (seen) {
            seen->seen = 0;
        }

        return NULL;
    }

    data = NULL;

    if (ngx_fd_info(fd, &fi) == NGX_FILE_ERROR) {
        tg_error_set(err, "fstat failed (%d)", ngx_errno);
        goto done;
    }

    if (seen) {
        ngx_http_tally_identify(seen, &fi);
    }

    if (!ngx_is_file(&fi)) {
        tg_error_set(err, "it is not a regular file");
        goto done;
    }

    if (ngx_file_size(&fi) == 0) {
        tg_error_set(err, "it is empty");
        goto done;
    }

    if (ngx_file_size(&fi) > (off_t) max) {
        tg_error_set(err, "it has more than %zu bytes", max);
        goto done;
    }

    data = ngx_http_tally_read_all(fd, (size_t) ngx_file_size(&fi), len, err);

done:

    if (ngx_close_file(fd) == NGX_FILE_ERROR) {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, ngx_errno,
                      ngx_close_file_n " \"%V\" failed", &path->path);
    }

    return data;
}


static u_char *
ngx_http_tally_read_all(ngx_fd_t fd, size_t size, size_t *len,
    struct tg_error *err)
{
    u_char   *data;
    size_t    done;
    ssize_t   n;

    data = ngx_alloc(size, ngx_cycle->log);

    if (data == NULL) {
        tg_error_set(err, "out of memory");
        return NULL;
    }

    for (done = 0; done < size; done += (size_t) n) {
        n = ngx_read_fd(fd, data + done, size - done);

        if (n <= 0) {
            tg_error_set(err, "it became shorter while it was read");
            ngx_explicit_memzero(data, done);
            ngx_free(data);
            return NULL;
        }
    }

    *len = size;

    return data;
}


static ngx_uint_t
ngx_http_tally_keys_fit(struct tg_jwks *keys, unsigned algs)
{
    size_t  i;

    for (i = 0; i < keys->count; i++) {
        if ((unsigned) keys->keys[i].alg & algs) {
            return 1;
        }
    }

    return 0;
}
