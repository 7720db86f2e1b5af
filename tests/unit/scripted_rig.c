#include "scripted_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "connect/scripted.h"
#include "rules/scripts.h"

#define DEADLINE_MS 20000

void sr_write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void on_deadline(uv_timer_t *timer)
{
    ((struct sr *)timer->data)->late = true;
}

int sr_setup(void **state)
{
    struct sr *g = calloc(1, sizeof(*g));
    struct tg_error err = {""};
    char path[160];

    if (g == NULL) {
        return -1;
    }
    *state = g;
    tg_log_set_level(TG_LOG_ERROR + 1);
    (void)snprintf(g->dir, sizeof(g->dir), "/tmp/tg-scripted-XXXXXX");
    if (mkdtemp(g->dir) == NULL) {
        return -1;
    }
    (void)snprintf(path, sizeof(path), "%s/connectors", g->dir);
    (void)snprintf(g->lua, sizeof(g->lua), "%s/connectors/t.lua", g->dir);
    (void)snprintf(g->secret, sizeof(g->secret), "%s/secret", g->dir);
    if (mkdir(path, 0700) != 0 || uv_loop_init(&g->loop) != 0) {
        return -1;
    }
    (void)uv_timer_init(&g->loop, &g->deadline);
    g->deadline.data = g;
    (void)uv_timer_start(&g->deadline, on_deadline, DEADLINE_MS, 0);
    g->http = tg_http_new(&g->loop, &err);
    g->allow[0] = "127.0.0.1";
    g->config = (struct tg_config_destination){.name = "erp",
                                               .id = "acme/erp",
                                               .connector = "t",
                                               .url = g->url,
                                               .allow = g->allow,
                                               .allow_count = 1,
                                               .timeout_ms = 5000,
                                               .concurrency = 8};
    return g->http != NULL ? 0 : -1;
}

static void on_http_closed(void *arg)
{
    (void)arg;
}

static void on_connector_closed(void *arg)
{
    ((struct sr *)arg)->closed = true;
}

void sr_close_connector(struct sr *g)
{
    tg_connector_scripted.close(g->connector, on_connector_closed, g);
    while (!g->closed && !g->late) {
        (void)uv_run(&g->loop, UV_RUN_ONCE);
    }
    assert_true(g->closed);
    g->connector = NULL;
}

int sr_teardown(void **state)
{
    struct sr *g = *state;
    char path[160];
    int rc;

    if (g->connector != NULL) {
        sr_close_connector(g);
    }
    if (g->server.loop != NULL) {
        hs_stop(&g->server);
    }
    tg_http_close(g->http, on_http_closed, NULL);
    uv_close((uv_handle_t *)&g->deadline, NULL);
    (void)uv_run(&g->loop, UV_RUN_DEFAULT);
    tg_scripts_unref(&g->scripts);
    (void)unlink(g->lua);
    (void)unlink(g->secret);
    (void)snprintf(path, sizeof(path), "%s/connectors", g->dir);
    (void)rmdir(path);
    (void)rmdir(g->dir);
    rc = uv_loop_close(&g->loop);
    free(g);
    return rc;
}

static void on_result(void *arg, const struct tg_connect_result *r)
{
    struct sr *g = arg;
    struct sr_result *to = &g->results[g->count];

    uv_stop(&g->loop);
    assert_true(g->count < SR_RESULTS_MAX);
    g->count++;
    *to = (struct sr_result){.posting = r->posting,
                             .is_lookup = r->is_lookup,
                             .outcome = r->outcome,
                             .lookup = r->lookup,
                             .retry_after_ms = r->retry_after_ms};
    (void)snprintf(to->ref, sizeof(to->ref), "%s", r->ref != NULL ? r->ref : "");
    (void)snprintf(to->detail, sizeof(to->detail), "%s", r->detail != NULL ? r->detail : "");
    (void)snprintf(to->exception, sizeof(to->exception), "%s",
                   r->exception != NULL ? r->exception : "");
}

void sr_load_scripts(struct sr *g, const char *lua, struct tg_scripts *out)
{
    struct tg_error err = {""};
    struct tg_bundle *b;

    sr_write_file(g->lua, lua);
    b = tg_bundle_load(g->dir, &err);
    if (b == NULL || tg_scripts_new(b, out, &err) != 0) {
        fail_msg("%s", err.text);
    }
    tg_bundle_unref(b);
}

int sr_try_open(struct sr *g, struct tg_error *err)
{
    const struct tg_connect_env env = {.loop = &g->loop, .http = g->http, .scripts = g->scripts};

    g->connector = tg_connector_scripted.open(&env, &g->config, "acme", on_result, g, err);
    return g->connector != NULL ? 0 : -1;
}

void sr_open_with(struct sr *g, const char *lua, const struct hs_act *acts, size_t n)
{
    struct tg_error err = {""};

    sr_load_scripts(g, lua, &g->scripts);
    assert_int_equal(hs_start(&g->server, &g->loop, acts, n), 0);
    (void)snprintf(g->url, sizeof(g->url), "http://127.0.0.1:%d/api/", g->server.port);
    if (sr_try_open(g, &err) != 0) {
        fail_msg("%s", err.text);
    }
}

struct tg_connect_job sr_job_of(int64_t posting)
{
    struct tg_connect_job job = {.posting = posting,
                                 .kind = "labor",
                                 .leg = "cost",
                                 .payload = "{\"entry\":\"TE-1\",\"worker\":\"W-1\"}",
                                 .subject = "TE-1@1",
                                 .correlation_id = "c",
                                 .attempt = 1};

    (void)snprintf(job.key, sizeof(job.key), "%032d", (int)posting);
    return job;
}

void sr_begin(struct sr *g, int64_t posting)
{
    const struct tg_connect_job job = sr_job_of(posting);

    assert_int_equal(tg_connector_scripted.send(g->connector, &job), 0);
}

void sr_look(struct sr *g, int64_t posting)
{
    const struct tg_connect_job job = sr_job_of(posting);

    assert_int_equal(tg_connector_scripted.lookup(g->connector, &job), 0);
}

const struct sr_result *sr_wait_results(struct sr *g, size_t n)
{
    while (g->count < n && !g->late) {
        (void)uv_run(&g->loop, UV_RUN_ONCE);
    }
    assert_int_equal(g->count, n);
    return &g->results[n - 1];
}

const struct sr_result *sr_post(struct sr *g, int64_t posting)
{
    const size_t before = g->count;

    sr_begin(g, posting);
    assert_int_equal(g->count, before); /* never from inside send */
    return sr_wait_results(g, before + 1);
}

void sr_until_requests(struct sr *g, size_t n)
{
    while (g->server.requests < n && !g->late) {
        (void)uv_run(&g->loop, UV_RUN_ONCE);
    }
    assert_int_equal(g->server.requests, n);
}

bool sr_seen(const struct sr *g, size_t request, const char *part)
{
    return strstr(g->server.request[request], part) != NULL;
}
