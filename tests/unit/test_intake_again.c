/* Events of the journal judged again, with the product's own rules, on a real loop, journal and
 * directory; Redis is not there, which is nothing to them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/digest.h"
#include "common/log.h"
#include "intake/again.h"
#include "journal_rows.h"

#define ROUNDS_MAX 20000
#define TYPE "com.tallygate.time_entry.approved.v1"

static char *clients[] = {(char *)"hook:psa"};
static struct tg_config_source source = {.name = (char *)"psa",
                                         .decoder = (char *)"canonical",
                                         .uri = (char *)"urn:acme:psa",
                                         .clients = clients,
                                         .client_count = 1};
static struct tg_config_destination destinations[2];
static struct tg_config_tenant tenant = {.id = (char *)"acme",
                                         .sources = &source,
                                         .source_count = 1,
                                         .destinations = destinations,
                                         .destination_count = 2};
static struct tg_config config = {.tenants = &tenant, .tenant_count = 1, .destination_count = 2};
static char out_dirs[2][128];

static struct tg_schemas *schemas;
static struct tg_catalogue *catalogue;
static struct tg_bundle *bundle;
static struct tg_rules *rules;
static struct tg_master *master;
static struct tg_live *live;
static bool live_changed;

struct rig {
    struct jt *journal;
    uv_loop_t loop;
    uv_timer_t poll;
    struct tg_pipeline pipeline;
    struct tg_dispatch *dispatch;
    struct tg_intake *intake;
    bool stopped;
    /* the last answer */
    unsigned answers;
    enum tg_again_result result;
    int64_t object;
    char state[32], code[64], message[256];
};

static void on_fatal(void *arg, const struct tg_error *err)
{
    (void)arg;
    fail_msg("gave up: %s", err->text);
}

static void on_poll(uv_timer_t *t)
{
    struct rig *g = t->data;

    (void)tg_journal_poll(g->journal->journal);
}

static int setup(void **state)
{
    struct rig *g = calloc(1, sizeof(*g));
    void *inner = NULL;
    struct tg_error err = {""};
    uint32_t payroll = 0;

    if (g == NULL || jt_setup(&inner) != 0) {
        free(g);
        return -1;
    }
    tg_log_set_level(TG_LOG_ERROR + 1);
    g->journal = inner;
    if (tg_journal_destination(g->journal->journal, "acme/payroll", &payroll, &err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < 2; i++) {
        (void)snprintf(out_dirs[i], sizeof(out_dirs[i]), "%s/out%zu", g->journal->dir, i);
        destinations[i] =
            (struct tg_config_destination){.name = (char *)(i == 0 ? "erp" : "payroll"),
                                           .id = (char *)(i == 0 ? "acme/erp" : "acme/payroll"),
                                           .connector = (char *)"file",
                                           .path = out_dirs[i],
                                           .concurrency = 8,
                                           .index = i == 0 ? g->journal->erp : payroll};
    }
    config.journal.path = g->journal->path;
    config.redis.url = (char *)"unix:/nowhere/redis.sock";
    config.redis.prefix = (char *)"tg";
    config.redis.shards = 1;
    tenant.hold_timeout_ms = 3600000;
    g->pipeline = (struct tg_pipeline){rules, schemas, catalogue};
    *state = g;
    return uv_loop_init(&g->loop);
}

static void start(struct rig *g)
{
    const struct tg_dispatch_options d = {.loop = &g->loop,
                                          .journal = g->journal->journal,
                                          .config = &config,
                                          .catalogue = catalogue,
                                          .seed = 7,
                                          .fatal = on_fatal};
    struct tg_intake_options o = {.loop = &g->loop,
                                  .journal = g->journal->journal,
                                  .config = &config,
                                  .pipeline = &g->pipeline,
                                  .lives = &live,
                                  .fatal = on_fatal};
    struct tg_error err = {""};

    assert_int_equal(uv_timer_init(&g->loop, &g->poll), 0);
    g->poll.data = g;
    assert_int_equal(uv_timer_start(&g->poll, on_poll, 1, 1), 0);
    g->stopped = false;
    g->dispatch = tg_dispatch_start(&d, &err);
    assert_non_null(g->dispatch);
    o.dispatch = g->dispatch;
    g->intake = tg_intake_start(&o, &err);
    assert_non_null(g->intake);
}

static void on_dispatch_stopped(void *arg)
{
    struct rig *g = arg;

    g->stopped = true;
    uv_close((uv_handle_t *)&g->poll, NULL);
}

static void on_intake_stopped(void *arg)
{
    struct rig *g = arg;

    tg_dispatch_stop(g->dispatch, on_dispatch_stopped, g);
}

static void stop(struct rig *g)
{
    tg_intake_stop(g->intake, on_intake_stopped, g);
    (void)uv_run(&g->loop, UV_RUN_DEFAULT);
    assert_true(g->stopped);
    tg_intake_free(g->intake);
    tg_dispatch_free(g->dispatch);
    g->intake = NULL;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static int teardown(void **state)
{
    struct rig *g = *state;
    void *inner = g->journal;

    if (g->intake != NULL) {
        stop(g);
    }
    for (size_t i = 0; i < 2; i++) {
        (void)nftw(out_dirs[i], remove_one, 8, FTW_DEPTH | FTW_PHYS);
    }
    (void)uv_loop_close(&g->loop);
    free(g);
    return jt_teardown(&inner);
}

/* ---- events ---- */

static void body_of(char *out, size_t size, const char *id, int version, const char *worker)
{
    (void)snprintf(out, size,
                   "{\"specversion\":\"1.0\",\"id\":\"e\",\"source\":\"urn:acme:psa\",\"type\":"
                   "\"" TYPE "\",\"data\":{\"id\":\"%s\",\"version\":%d,\"worker\":\"%s\","
                   "\"project\":\"P-100\",\"task\":\"T-1\",\"date\":\"2026-11-16\",\"hours\":"
                   "\"2.00\",\"approved_at\":\"2026-11-20T17:00:00Z\",\"approved_by\":\"W-900\"}}",
                   id, version, worker);
}

/* What the journal has of an entry that was journalled with its object in that state. */
static int64_t add(struct rig *g, unsigned n, const char *body, enum tg_version_state object_state,
                   const char *code)
{
    struct tg_batch *b = tg_batch_new();
    int64_t event = tg_journal_next_id(g->journal->journal, TG_TABLE_EVENTS);
    struct tg_row_event e = jt_event(event, n, TG_EVENT_ACCEPTED);
    struct tg_row_object o = jt_object(0, event, n, 1, object_state);
    struct tg_row_exception x = jt_exception(0, event, code != NULL ? code : "");
    char id[32];

    (void)snprintf(id, sizeof(id), "TE-%u", n);
    e.type = TYPE;
    e.content_type = "application/cloudevents+json";
    e.body = tg_str_of(body);
    e.received_ms = INT64_C(1795194000000);
    o.id = tg_journal_next_id(g->journal->journal, TG_TABLE_OBJECTS);
    o.object_id = id;
    assert_int_equal(tg_object_key(tg_str_of("acme"), tg_str_of("time_entry"), tg_str_of("psa"),
                                   tg_str_of(id), o.key),
                     0);
    if (object_state == TG_VERSION_HELD) {
        o.waits_for = "worker:W-404";
        o.due_ms = INT64_C(9000000000000);
    }
    assert_int_equal(tg_batch_event(b, &e), 0);
    assert_int_equal(tg_batch_object(b, &o), 0);
    if (code != NULL) {
        x.id = tg_journal_next_id(g->journal->journal, TG_TABLE_EXCEPTIONS);
        x.object = o.id;
        assert_int_equal(tg_batch_exception(b, &x), 0);
    }
    jt_commit(g->journal, b);
    return event;
}

/* One that never became an object. */
static int64_t add_refused(struct rig *g, unsigned n, const char *body, const char *code)
{
    struct tg_batch *b = tg_batch_new();
    int64_t event = tg_journal_next_id(g->journal->journal, TG_TABLE_EVENTS);
    struct tg_row_event e = jt_event(event, n, TG_EVENT_EXCEPTION);
    struct tg_row_exception x = jt_exception(0, event, code);

    e.type = TYPE;
    e.content_type = "application/cloudevents+json";
    e.body = tg_str_of(body);
    e.received_ms = INT64_C(1795194000000);
    x.id = tg_journal_next_id(g->journal->journal, TG_TABLE_EXCEPTIONS);
    assert_int_equal(tg_batch_event(b, &e), 0);
    assert_int_equal(tg_batch_exception(b, &x), 0);
    jt_commit(g->journal, b);
    return event;
}

static void on_answer(void *arg, const struct tg_again_answer *a)
{
    struct rig *g = arg;

    g->answers++;
    g->result = a->result;
    g->object = a->object;
    (void)snprintf(g->state, sizeof(g->state), "%s", a->state);
    (void)snprintf(g->code, sizeof(g->code), "%s", a->code);
    (void)snprintf(g->message, sizeof(g->message), "%s", a->message);
}

static enum tg_again_result ask(struct rig *g, int64_t event, enum tg_again_why why,
                                const char *body)
{
    const struct tg_again_request r = {.event = event,
                                       .why = why,
                                       .body = tg_str_of(body),
                                       .actor = "cli:ada",
                                       .reason = "the rule was wrong",
                                       .done = on_answer,
                                       .arg = g};
    unsigned want = g->answers + 1;

    assert_int_equal(tg_again_submit(g->intake, &r), 0);
    for (int i = 0; i < ROUNDS_MAX && g->answers != want; i++) {
        (void)uv_run(&g->loop, UV_RUN_ONCE);
    }
    assert_int_equal(g->answers, want);
    return g->result;
}

static void run_until_posted(struct rig *g, int64_t n)
{
    for (int i = 0; i < ROUNDS_MAX &&
                    jt_sql_int(g->journal, "SELECT count(*) FROM postings WHERE state = 6") != n;
         i++) {
        (void)uv_run(&g->loop, UV_RUN_ONCE);
    }
    assert_int_equal(jt_sql_int(g->journal, "SELECT count(*) FROM postings WHERE state = 6"), n);
}

static void found(void *arg, const char *what)
{
    (void)arg;
    print_message("# %s\n", what);
}

static void check(const struct rig *g)
{
    struct tg_reader *r = jt_reader(g->journal);
    struct tg_error err = {{0}};

    assert_int_equal(tg_journal_check(r, found, NULL, &err), 0);
    tg_reader_close(r);
}

/* ---- stories ---- */

static void a_replay_after_the_cause_was_removed(void **state)
{
    struct rig *g = *state;
    char body[1024];
    int64_t event;

    body_of(body, sizeof(body), "TE-1", 1, "W-001");
    event = add(g, 1, body, TG_VERSION_EXCEPTION, "worker_unknown");
    start(g);
    assert_int_equal(ask(g, event, TG_AGAIN_REPLAY, NULL), TG_AGAIN_DONE);
    assert_string_equal(g->state, "validated");
    assert_string_equal(g->code, "");
    assert_int_equal(g->object, 2);
    assert_int_equal(jt_sql_int(g->journal, "SELECT state FROM objects WHERE id = 1"),
                     TG_VERSION_SUPERSEDED);
    assert_int_equal(jt_sql_int(g->journal, "SELECT state FROM exceptions"), TG_EXCEPTION_REPLAYED);
    assert_int_equal(jt_sql_int(g->journal, "SELECT count(*) FROM audit WHERE actor = 'cli:ada' "
                                            "AND action = 'event.replayed' AND subject = 's07-1-1' "
                                            "AND json_extract(detail, '$.reason') = "
                                            "'the rule was wrong'"),
                     1);
    run_until_posted(g, 2);
    /* and again: it is not waiting any more */
    assert_int_equal(ask(g, event, TG_AGAIN_REPLAY, NULL), TG_AGAIN_REFUSED);
    assert_int_equal(jt_sql_int(g->journal, "SELECT count(*) FROM postings"), 2);
    stop(g);
    check(g);
}

static void a_replay_that_changes_nothing_writes_nothing(void **state)
{
    struct rig *g = *state;
    char body[1024];
    int64_t event, rows;

    tenant.hold_timeout_ms = 0;
    body_of(body, sizeof(body), "TE-1", 1, "W-404");
    event = add(g, 1, body, TG_VERSION_EXCEPTION, "worker_unknown");
    start(g);
    rows = jt_sql_int(g->journal, "SELECT count(*) FROM audit");
    assert_int_equal(ask(g, event, TG_AGAIN_REPLAY, NULL), TG_AGAIN_UNCHANGED);
    assert_string_equal(g->state, "exception");
    assert_string_equal(g->code, "worker_unknown");
    assert_non_null(strstr(g->message, "W-404"));
    assert_int_equal(jt_sql_int(g->journal, "SELECT count(*) FROM objects"), 1);
    assert_int_equal(jt_sql_int(g->journal, "SELECT state FROM exceptions"), TG_EXCEPTION_OPEN);
    assert_int_equal(jt_sql_int(g->journal, "SELECT count(*) FROM audit"), rows);
    stop(g);
    check(g);
}

static void an_edit_is_kept_beside_the_event(void **state)
{
    struct rig *g = *state;
    char body[1024], better[1024];
    int64_t event;

    tenant.hold_timeout_ms = 0;
    body_of(body, sizeof(body), "TE-1", 1, "W-404");
    event = add(g, 1, body, TG_VERSION_EXCEPTION, "worker_unknown");
    start(g);
    body_of(better, sizeof(better), "TE-1", 1, "W-405"); /* not better after all */
    assert_int_equal(ask(g, event, TG_AGAIN_EDIT, better), TG_AGAIN_DONE);
    assert_string_equal(g->code, "worker_unknown");
    assert_int_equal(jt_sql_int(g->journal, "SELECT count(*) FROM exceptions WHERE state = 3"), 1);
    assert_int_equal(jt_sql_int(g->journal, "SELECT count(*) FROM exceptions WHERE state = 0"), 1);
    body_of(better, sizeof(better), "TE-1", 1, "W-001");
    assert_int_equal(ask(g, event, TG_AGAIN_EDIT, better), TG_AGAIN_DONE);
    assert_string_equal(g->state, "validated");
    run_until_posted(g, 2);
    assert_int_equal(
        jt_sql_int(g->journal,
                   "SELECT count(*) FROM events WHERE CAST(body AS TEXT) LIKE '%W-404%'"),
        1); /* as it came */
    assert_int_equal(jt_sql_int(g->journal, "SELECT count(*) FROM edits WHERE event = 1 "
                                            "AND actor = 'cli:ada'"),
                     2);
    assert_int_equal(jt_sql_int(g->journal, "SELECT count(*) FROM objects WHERE state = 1 "
                                            "AND json LIKE '%W-001%'"),
                     1);
    assert_int_equal(jt_sql_int(g->journal, "SELECT count(*) FROM audit WHERE action = "
                                            "'event.edited' AND length(json_extract(detail, "
                                            "'$.body_sha256')) = 64"),
                     2);
    stop(g);
    check(g);
}

/* Judged again after an edit: by the edit. */
static void an_edit_outlives_a_hold(void **state)
{
    struct rig *g = *state;
    char body[1024], edited[1024];
    struct tg_batch *b = tg_batch_new();
    struct tg_row_edit edit = {.event = 1, .actor = "cli:ada", .at_ms = 5};

    body_of(body, sizeof(body), "TE-1", 1, "W-999");
    body_of(edited, sizeof(edited), "TE-1", 1, "W-001");
    (void)add(g, 1, body, TG_VERSION_HELD, NULL);
    edit.body = tg_str_of(edited);
    assert_int_equal(tg_batch_edit(b, &edit), 0);
    jt_commit(g->journal, b);
    start(g); /* all that is held is looked at */
    run_until_posted(g, 2);
    stop(g);
    check(g);
}

#define NO_OBJECT                                                                                  \
    "{\"specversion\":\"1.0\",\"id\":\"e\",\"source\":\"urn:acme:psa\",\"type\":\"" TYPE "\","     \
    "\"data\":{}}"

/* Two people at once: one act on an event in a commit, the second one sees what the first did. */
static void two_edits_at_once(void **state)
{
    struct rig *g = *state;
    struct tg_again_request r = {
        .event = 1, .why = TG_AGAIN_EDIT, .body = tg_str_of(NO_OBJECT), .actor = "cli:ada"};

    (void)add_refused(g, 1, "{\"broken", "event_undecodable");
    start(g);
    r.done = on_answer;
    r.arg = g;
    assert_int_equal(tg_again_submit(g->intake, &r), 0);
    assert_int_equal(tg_again_submit(g->intake, &r), 0);
    for (int i = 0; i < ROUNDS_MAX && g->answers < 2; i++) {
        (void)uv_run(&g->loop, UV_RUN_ONCE);
    }
    assert_int_equal(g->answers, 2);
    assert_int_equal(jt_sql_int(g->journal, "SELECT count(*) FROM edits"), 2);
    assert_int_equal(jt_sql_int(g->journal, "SELECT count(*) FROM exceptions WHERE state = 3 AND "
                                            "closed_by = 'cli:ada'"),
                     2);
    stop(g);
    check(g);
}

static void a_discard_ends_the_exception_alone(void **state)
{
    struct rig *g = *state;
    char body[1024];
    struct tg_again_request r = {.why = TG_AGAIN_DISCARD,
                                 .exception = 1,
                                 .actor = "cli:ada",
                                 .reason = "a test entry",
                                 .done = on_answer};

    body_of(body, sizeof(body), "TE-1", 1, "W-404");
    r.event = add(g, 1, body, TG_VERSION_EXCEPTION, "worker_unknown");
    start(g);
    r.arg = g;
    for (unsigned n = 1; n <= 2; n++) {
        assert_int_equal(tg_again_submit(g->intake, &r), 0);
        for (int i = 0; i < ROUNDS_MAX && g->answers < n; i++) {
            (void)uv_run(&g->loop, UV_RUN_ONCE);
        }
        assert_int_equal(g->result, n == 1 ? TG_AGAIN_DONE : TG_AGAIN_REFUSED);
    }
    assert_int_equal(jt_sql_int(g->journal, "SELECT count(*) FROM exceptions WHERE state = 4 AND "
                                            "closed_by = 'cli:ada' AND reason = 'a test entry'"),
                     1);
    assert_int_equal(jt_sql_int(g->journal, "SELECT state FROM objects"), TG_VERSION_EXCEPTION);
    assert_int_equal(jt_sql_int(g->journal, "SELECT count(*) FROM audit WHERE actor = 'cli:ada' "
                                            "AND action = 'exception.discarded'"),
                     1);
    stop(g);
    check(g);
}

static void what_an_edit_may_not_change(void **state)
{
    struct rig *g = *state;
    char body[1024], other[1024];
    int64_t event;

    tenant.hold_timeout_ms = 0;
    body_of(body, sizeof(body), "TE-1", 1, "W-404");
    event = add(g, 1, body, TG_VERSION_EXCEPTION, "worker_unknown");
    start(g);
    body_of(other, sizeof(other), "TE-2", 1, "W-001");
    assert_int_equal(ask(g, event, TG_AGAIN_EDIT, other), TG_AGAIN_REFUSED);
    assert_non_null(strstr(g->message, "must stay"));
    body_of(other, sizeof(other), "TE-1", 2, "W-001");
    assert_int_equal(ask(g, event, TG_AGAIN_EDIT, other), TG_AGAIN_REFUSED);
    assert_int_equal(ask(g, event, TG_AGAIN_EDIT, "not JSON"), TG_AGAIN_INVALID);
    assert_int_equal(ask(g, event, TG_AGAIN_EDIT, "{}"), TG_AGAIN_INVALID);
    assert_non_null(strstr(g->message, "missing"));
    assert_int_equal(ask(g, event, TG_AGAIN_RELEASE, NULL), TG_AGAIN_REFUSED);
    assert_non_null(strstr(g->message, "not held"));
    assert_int_equal(ask(g, 77, TG_AGAIN_REPLAY, NULL), TG_AGAIN_REFUSED);
    assert_int_equal(jt_sql_int(g->journal, "SELECT count(*) FROM edits"), 0);
    assert_int_equal(jt_sql_int(g->journal, "SELECT count(*) FROM objects"), 1);
    stop(g);
    check(g);
}

static void an_event_that_was_no_object_becomes_one(void **state)
{
    struct rig *g = *state;
    char body[1024];
    int64_t event = add_refused(g, 1, NO_OBJECT, "schema_invalid");

    start(g);
    assert_int_equal(ask(g, event, TG_AGAIN_REPLAY, NULL), TG_AGAIN_UNCHANGED);
    assert_string_equal(g->code, "schema_invalid");
    assert_int_equal(ask(g, event, TG_AGAIN_EDIT, "{\"broken"), TG_AGAIN_INVALID);
    assert_int_equal(jt_sql_int(g->journal, "SELECT count(*) FROM edits"), 0);
    body_of(body, sizeof(body), "TE-1", 0, "W-001");
    assert_int_equal(ask(g, event, TG_AGAIN_EDIT, body), TG_AGAIN_DONE);
    assert_string_equal(g->code, "schema_invalid"); /* another fault: another exception */
    assert_int_equal(jt_sql_int(g->journal, "SELECT state FROM events"), TG_EVENT_EXCEPTION);
    body_of(body, sizeof(body), "TE-1", 1, "W-001");
    assert_int_equal(ask(g, event, TG_AGAIN_EDIT, body), TG_AGAIN_DONE);
    assert_string_equal(g->state, "validated");
    assert_int_equal(jt_sql_int(g->journal, "SELECT state FROM events"), TG_EVENT_ACCEPTED);
    assert_int_equal(jt_sql_int(g->journal, "SELECT count(*) FROM exceptions WHERE state = 3"), 2);
    run_until_posted(g, 2);
    stop(g);
    check(g);
}

static void names_arrive_one_by_one(void **state)
{
    struct rig *g = *state;
    char body[1024];

    body_of(body, sizeof(body), "TE-1", 1, "W-404");
    (void)add(g, 1, body, TG_VERSION_HELD, NULL);
    body_of(body, sizeof(body), "TE-2", 1, "W-001");
    start(g);
    for (int i = 0; i < 500; i++) {
        (void)uv_run(&g->loop, UV_RUN_ONCE);
    }
    (void)add(g, 2, body, TG_VERSION_HELD, NULL); /* as if master data had come since */
    jt_sql(g->journal, "UPDATE objects SET waits_for = 'worker:W-001' WHERE id = 2");
    tg_holds_arrived(g->intake, "acme", "worker:W-002");
    tg_holds_arrived(g->intake, "zeta", "worker:W-001");
    for (int i = 0; i < 500; i++) {
        (void)uv_run(&g->loop, UV_RUN_ONCE);
    }
    assert_int_equal(jt_sql_int(g->journal, "SELECT count(*) FROM objects WHERE state = 0"), 2);
    tg_holds_arrived(g->intake, "acme", "worker:W-001");
    run_until_posted(g, 2);
    assert_int_equal(jt_sql_int(g->journal, "SELECT count(*) FROM objects WHERE state = 0"), 1);
    for (int i = 0; i < TG_AGAIN_WALKS_MAX + 3;
         i++) { /* too many at once: everything is looked at */
        tg_holds_arrived(g->intake, "acme", "worker:W-003");
    }
    for (int i = 0; i < 500; i++) {
        (void)uv_run(&g->loop, UV_RUN_ONCE);
    }
    assert_int_equal(jt_sql_int(g->journal, "SELECT count(*) FROM objects WHERE state = 0"), 1);
    stop(g);
    check(g);
}

/* Behind one that is on its way to the journal the others wait, up to the limit. */
static void whoever_waits_at_the_end_is_told(void **state)
{
    struct rig *g = *state;
    char body[1024];
    struct tg_again_request r = {.why = TG_AGAIN_REPLAY, .done = on_answer, .arg = g};
    unsigned taken = 0;

    body_of(body, sizeof(body), "TE-1", 1, "W-001");
    r.event = add(g, 1, body, TG_VERSION_EXCEPTION, "worker_unknown");
    start(g);
    while (taken < 2 * TG_AGAIN_MAX && tg_again_submit(g->intake, &r) == 0) {
        taken++;
    }
    assert_int_equal(taken, TG_AGAIN_MAX + 1);
    assert_int_equal(g->answers, 0);
    stop(g);
    assert_int_equal(g->answers, taken);
    assert_int_equal(jt_sql_int(g->journal, "SELECT count(*) FROM objects WHERE state = 1"), 1);
    check(g);
}

static int open_all(void **state)
{
    struct tg_error err = {""};
    const struct tg_master_files files = {.master = "lua_rules/fixtures/master.json",
                                          .calendar = "lua_rules/fixtures/calendar.yaml"};

    (void)state;
    if ((schemas = tg_schemas_load("conf/schemas", &err)) != NULL &&
        (catalogue = tg_catalogue_load("conf/catalogue.yaml", &err)) != NULL &&
        (bundle = tg_bundle_load("lua_rules", &err)) != NULL &&
        (rules = tg_rules_new(bundle, &err)) != NULL &&
        (master = tg_master_load(&files, &err)) != NULL &&
        (live = tg_live_new(master, &live_changed)) != NULL) {
        return 0;
    }
    (void)fprintf(stderr, "%s\n", err.text);
    return -1;
}

static int close_all(void **state)
{
    (void)state;
    tg_live_free(live);
    tg_master_unref(master);
    tg_rules_free(rules);
    tg_bundle_unref(bundle);
    tg_catalogue_free(catalogue);
    tg_schemas_free(schemas);
    return 0;
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_replay_after_the_cause_was_removed),
        T(a_replay_that_changes_nothing_writes_nothing),
        T(an_edit_is_kept_beside_the_event),
        T(an_edit_outlives_a_hold),
        T(two_edits_at_once),
        T(a_discard_ends_the_exception_alone),
        T(what_an_edit_may_not_change),
        T(an_event_that_was_no_object_becomes_one),
        T(names_arrive_one_by_one),
        T(whoever_waits_at_the_end_is_told),
    };

    return cmocka_run_group_tests(tests, open_all, close_all);
}
