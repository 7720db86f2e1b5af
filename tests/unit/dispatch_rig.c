#include "dispatch_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"

static struct tg_config_destination destination;
static struct tg_config_tenant tenant = {.id = (char *)"acme",
                                         .destinations = &destination,
                                         .destination_count = 1,
                                         .hold_timeout_ms = 3600000};
static struct tg_config config = {.tenants = &tenant, .tenant_count = 1, .destination_count = 1};
static struct tg_catalogue *catalogue;
static char out_dir[128];
char dt_csv[160];

static void on_fatal(void *arg, const struct tg_error *err)
{
    (void)arg;
    fail_msg("dispatch gave up: %s", err->text);
}

static void on_poll(uv_timer_t *t)
{
    struct dt_rig *g = t->data;

    if (g->journal->journal != NULL) {
        (void)tg_journal_poll(g->journal->journal);
    }
}

static void on_heard(void *arg)
{
    ((struct dt_rig *)arg)->heard++;
}

int dt_setup(void **state)
{
    struct dt_rig *g = calloc(1, sizeof(*g));
    void *inner = NULL;

    if (g == NULL || jt_setup(&inner) != 0) {
        free(g);
        return -1;
    }
    tg_log_set_level(TG_LOG_ERROR + 1);
    g->journal = inner;
    (void)snprintf(out_dir, sizeof(out_dir), "%s/out", g->journal->dir);
    (void)snprintf(dt_csv, sizeof(dt_csv), "%s/payroll-2026-W47.csv", out_dir);
    destination = (struct tg_config_destination){.name = (char *)"erp",
                                                 .id = (char *)"acme/erp",
                                                 .connector = (char *)"file",
                                                 .path = out_dir,
                                                 .concurrency = 8,
                                                 .index = g->journal->erp};
    config.journal.path = g->journal->path;
    *state = g;
    return uv_loop_init(&g->loop);
}

void dt_start(struct dt_rig *g)
{
    const struct tg_dispatch_options o = {.loop = &g->loop,
                                          .journal = g->journal->journal,
                                          .config = &config,
                                          .catalogue = catalogue,
                                          .seed = 7,
                                          .fatal = on_fatal};
    struct tg_error err = {""};

    assert_int_equal(uv_timer_init(&g->loop, &g->poll), 0);
    g->poll.data = g;
    assert_int_equal(uv_timer_start(&g->poll, on_poll, 1, 1), 0);
    g->stopped = false;
    g->dispatch = tg_dispatch_start(&o, &err);
    if (g->dispatch == NULL) {
        print_message("# %s\n", err.text);
    }
    assert_non_null(g->dispatch);
    tg_dispatch_listen(g->dispatch, on_heard, g);
}

static void on_stopped(void *arg)
{
    struct dt_rig *g = arg;

    g->stopped = true;
    uv_close((uv_handle_t *)&g->poll, NULL);
}

void dt_stop(struct dt_rig *g)
{
    tg_dispatch_stop(g->dispatch, on_stopped, g);
    (void)uv_run(&g->loop, UV_RUN_DEFAULT);
    assert_true(g->stopped);
    tg_dispatch_free(g->dispatch);
    g->dispatch = NULL;
}

int dt_teardown(void **state)
{
    struct dt_rig *g = *state;
    void *inner = g->journal;
    char path[256];
    static const char *const names[] = {"payroll-2026-W47.csv", "payroll-2026-W47.totals.json"};

    if (g->dispatch != NULL) {
        dt_stop(g);
    }
    for (size_t i = 0; i < 2; i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", out_dir, names[i]);
        (void)unlink(path);
    }
    (void)rmdir(out_dir);
    (void)uv_loop_close(&g->loop);
    free(g);
    return jt_teardown(&inner);
}

/* ---- the object and its postings ---- */

void dt_add_version(struct dt_rig *g, int64_t version, enum tg_version_state version_state)
{
    struct tg_batch *b = tg_batch_new();
    struct tg_row_event e = jt_event(version, (unsigned)version, TG_EVENT_ACCEPTED);
    struct tg_row_object o = jt_object(version, version, 1, version, version_state);

    assert_int_equal(tg_batch_event(b, &e), 0);
    assert_int_equal(tg_batch_object(b, &o), 0);
    jt_commit(g->journal, b);
}

struct tg_row_posting dt_posting(const struct dt_rig *g, int64_t id, int64_t object,
                                 enum tg_posting_state state)
{
    struct tg_row_posting p = jt_posting(id, object, g->journal->erp, (unsigned)id, state);

    p.kind = "hours";
    p.leg = "regular";
    p.payload = DT_PAYLOAD;
    p.quantity_micros = 1000000;
    return p;
}

void dt_put(struct dt_rig *g, const struct tg_row_posting *p)
{
    struct tg_batch *b = tg_batch_new();

    assert_int_equal(tg_batch_posting(b, p), 0);
    jt_commit(g->journal, b);
}

void dt_put_held(struct dt_rig *g, struct tg_row_posting p, const char *hold, int64_t on)
{
    p.state = TG_POSTING_HELD;
    p.hold = hold;
    p.hold_on = on;
    p.due_ms = 9000000000000;
    dt_put(g, &p);
}

void dt_put_reversal(struct dt_rig *g, const char *hold)
{
    struct tg_row_posting r = dt_posting(g, R1, 1, TG_POSTING_READY);

    r.reverses = P1;
    r.quantity_micros = -1000000;
    if (hold != NULL) {
        dt_put_held(g, r, hold, P1);
    } else {
        dt_put(g, &r);
    }
}

enum tg_posting_state dt_state_of(const struct dt_rig *g, int64_t id)
{
    char sql[96];

    (void)snprintf(sql, sizeof(sql), "SELECT state FROM postings WHERE id = %d", (int)id);
    return (enum tg_posting_state)jt_sql_int(g->journal, sql);
}

void dt_run_until(struct dt_rig *g, int64_t id, enum tg_posting_state s)
{
    for (int i = 0; i < DT_ROUNDS_MAX && dt_state_of(g, id) != s; i++) {
        (void)uv_run(&g->loop, UV_RUN_ONCE);
    }
    assert_string_equal(tg_posting_state_name(dt_state_of(g, id)), tg_posting_state_name(s));
}

void dt_turns(struct dt_rig *g, int n)
{
    for (int i = 0; i < n; i++) {
        (void)uv_run(&g->loop, UV_RUN_ONCE);
    }
}

size_t dt_count_in_csv(const char *needle)
{
    FILE *f = fopen(dt_csv, "r");
    char line[1024];
    size_t n = 0;

    if (f == NULL) {
        return 0;
    }
    while (fgets(line, sizeof(line), f) != NULL) {
        n += strstr(line, needle) != NULL;
    }
    (void)fclose(f);
    return n;
}

static void found(void *arg, const char *what)
{
    (void)arg;
    print_message("# %s\n", what);
}

void dt_check(const struct dt_rig *g)
{
    struct tg_reader *r = jt_reader(g->journal);
    struct tg_error err = {{0}};

    assert_int_equal(tg_journal_check(r, found, NULL, &err), 0);
    tg_reader_close(r);
}

int dt_load_catalogue(void **state)
{
    static const char text[] =
        "codes:\n  - {code: hold_expired, title: T, owner: finance, runbook: r}\n";
    char path[] = "/tmp/tg-catalogue-XXXXXX";
    struct tg_error err = {""};
    int fd = mkstemp(path);

    (void)state;
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) || close(fd) != 0) {
        return -1;
    }
    catalogue = tg_catalogue_load(path, &err);
    return unlink(path) == 0 && catalogue != NULL ? 0 : -1;
}

int dt_free_catalogue(void **state)
{
    (void)state;
    tg_catalogue_free(catalogue);
    return 0;
}
