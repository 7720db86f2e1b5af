#include "cmd/probe.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "connect/connect.h"
#include "rules/scripts.h"

struct probe {
    struct tg_connect_env env;
    tg_probe_fn fn;
    void *arg;
    int count;
};

static void on_result(void *arg, const struct tg_connect_result *result)
{
    (void)arg;
    (void)result; /* nothing is ever sent */
}

static void on_closed(void *arg)
{
    *(bool *)arg = true;
}

static void check_file(struct probe *p, const struct tg_config_destination *d, const char *key,
                       const char *path)
{
    struct tg_error text;

    if (path != NULL && access(path, R_OK) != 0) {
        (void)tg_error_set(&text, "destination %s: %s: cannot read %.200s: %s", d->id, key, path,
                           strerror(errno));
        p->fn(p->arg, text.text);
    }
}

static void check_files(struct probe *p, const struct tg_config_destination *d)
{
    check_file(p, d, "password_file", d->password_file);
    check_file(p, d, "token_file", d->token_file);
    check_file(p, d, "api_key_file", d->api_key_file);
    check_file(p, d, "client_secret_file", d->client_secret_file);
    check_file(p, d, "tls.ca_file", d->ca_file);
    check_file(p, d, "tls.cert_file", d->cert_file);
    check_file(p, d, "tls.key_file", d->key_file);
}

static void probe_one(struct probe *p, const struct tg_config_destination *d, const char *tenant)
{
    struct tg_error err = {""}, text;
    const struct tg_connector_ops *ops = tg_connector_choose(d->connector, &p->env.scripts, &err);
    struct tg_connector *c;
    bool closed = false;

    if (ops == NULL) {
        (void)tg_error_set(&text, "destination %.130s: %.370s", d->id, err.text);
        p->fn(p->arg, text.text);
        return;
    }
    if (ops->name != NULL) {
        return; /* in C: opening it would make its directories */
    }
    p->count++;
    c = ops->open(&p->env, d, tenant, on_result, p, &err);
    if (c == NULL) {
        p->fn(p->arg, err.text);
        return;
    }
    check_files(p, d);
    ops->close(c, on_closed, &closed);
    while (!closed && uv_run(p->env.loop, UV_RUN_ONCE) != 0) {
    }
}

int tg_probe(const struct tg_config *c, struct tg_bundle *bundle, tg_probe_fn fn, void *arg,
             struct tg_error *err)
{
    uv_loop_t loop;
    struct probe p = {.env = {.loop = &loop}, .fn = fn, .arg = arg};
    bool closed = false;

    if (uv_loop_init(&loop) != 0) {
        return tg_error_set(err, "destinations: no memory");
    }
    p.env.http = tg_http_new(&loop, err);
    if (p.env.http == NULL || tg_scripts_new(bundle, &p.env.scripts, err) != 0) {
        p.count = -1;
    }
    for (size_t i = 0; p.count >= 0 && i < c->tenant_count; i++) {
        for (size_t k = 0; k < c->tenants[i].destination_count; k++) {
            probe_one(&p, &c->tenants[i].destinations[k], c->tenants[i].id);
        }
    }
    tg_scripts_unref(&p.env.scripts);
    if (p.env.http != NULL) {
        tg_http_close(p.env.http, on_closed, &closed);
    }
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(&loop);
    return p.count;
}
