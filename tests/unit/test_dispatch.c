/* Dispatch on a real loop, journal and directory: what the journal says after each story is what is
 * in the files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "dispatch/dispatch.h"
#include "dispatch/rows.h"
#include "journal_rows.h"

#define PAYLOAD                                                                                    \
    "{\"entry\":\"TE-1\",\"version\":1,\"date\":\"2026-11-16\",\"pay_period\":\"2026-W47\","       \
    "\"worker\":\"W-1\",\"pay_code\":\"REG\",\"hours\":\"1.00\"}"
#define PAYLOAD_W48                                                                                \
    "{\"entry\":\"TE-1\",\"version\":1,\"date\":\"2026-11-23\",\"pay_period\":\"2026-W48\","       \
    "\"worker\":\"W-1\",\"pay_code\":\"REG\",\"hours\":\"1.00\"}"
#define ROUNDS_MAX 20000

static struct tg_config_destination destination;
static struct tg_config_tenant tenant = {
    .id = (char *)"acme", .destinations = &destination, .destination_count = 1};
static struct tg_config config = {.tenants = &tenant, .tenant_count = 1, .destination_count = 1};
static struct tg_catalogue *catalogue;
static char out_dir[128], csv[160];

struct rig {
    struct jt *journal;
    uv_loop_t loop;
    uv_timer_t poll; /* the journal's callbacks, and the loop never sleeps long */
    struct tg_dispatch *dispatch;
    bool stopped;
};

static void on_fatal(void *arg, const struct tg_error *err)
{
    (void)arg;
    fail_msg("dispatch gave up: %s", err->text);
}

static void on_poll(uv_timer_t *t)
{
    struct rig *g = t->data;

    if (g->journal->journal != NULL) {
        (void)tg_journal_poll(g->journal->journal);
    }
}

static int setup(void **state)
{
    struct rig *g = calloc(1, sizeof(*g));
    void *inner = NULL;

    if (g == NULL || jt_setup(&inner) != 0) {
        free(g);
        return -1;
    }
    tg_log_set_level(TG_LOG_ERROR + 1);
    g->journal = inner;
    (void)snprintf(out_dir, sizeof(out_dir), "%s/out", g->journal->dir);
    (void)snprintf(csv, sizeof(csv), "%s/payroll-2026-W47.csv", out_dir);
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

static void start(struct rig *g)
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
}

static void on_stopped(void *arg)
{
    struct rig *g = arg;

    g->stopped = true;
    uv_close((uv_handle_t *)&g->poll, NULL);
}

static void stop(struct rig *g)
{
    tg_dispatch_stop(g->dispatch, on_stopped, g);
    (void)uv_run(&g->loop, UV_RUN_DEFAULT);
    assert_true(g->stopped);
    tg_dispatch_free(g->dispatch);
    g->dispatch = NULL;
}

static int teardown(void **state)
{
    struct rig *g = *state;
    void *inner = g->journal;
    char path[256];
    static const char *const names[] = {"payroll-2026-W47.csv", "payroll-2026-W47.totals.json",
                                        "payroll-2026-W48.csv", "payroll-2026-W48.totals.json"};

    if (g->dispatch != NULL) {
        stop(g);
    }
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", out_dir, names[i]);
        (void)unlink(path);
    }
    (void)rmdir(out_dir);
    (void)uv_loop_close(&g->loop);
    free(g);
    return jt_teardown(&inner);
}

static int64_t count_state(const struct rig *g, enum tg_posting_state s)
{
    char sql[96];

    (void)snprintf(sql, sizeof(sql), "SELECT count(*) FROM postings WHERE state = %d", (int)s);
    return jt_sql_int(g->journal, sql);
}

static void run_until(struct rig *g, enum tg_posting_state s, int64_t n)
{
    for (int i = 0; i < ROUNDS_MAX && count_state(g, s) != n; i++) {
        (void)uv_run(&g->loop, UV_RUN_ONCE);
    }
    assert_int_equal(count_state(g, s), n);
}

static size_t csv_lines(void)
{
    FILE *f = fopen(csv, "r");
    size_t n = 0;
    int c;

    if (f == NULL) {
        return 0;
    }
    while ((c = fgetc(f)) != EOF) {
        n += c == '\n';
    }
    (void)fclose(f);
    return n - 1;
}

/* n accepted events, each with one posting in that state, after `attempt` sends. */
static int64_t add(struct rig *g, unsigned from, unsigned n, const char *payload,
                   enum tg_posting_state state, unsigned attempt)
{
    struct tg_journal *j = g->journal->journal;
    int64_t first = 0;

    for (unsigned i = from; i < from + n; i++) {
        struct tg_batch *b = tg_batch_new();
        int64_t event = tg_journal_next_id(j, TG_TABLE_EVENTS);
        int64_t object = tg_journal_next_id(j, TG_TABLE_OBJECTS);
        int64_t id = tg_journal_next_id(j, TG_TABLE_POSTINGS);
        struct tg_row_event e = jt_event(event, i, TG_EVENT_ACCEPTED);
        struct tg_row_object o = jt_object(object, event, i, 1, TG_VERSION_VALIDATED);
        struct tg_row_posting p = jt_posting(id, object, g->journal->erp, i, state);

        p.kind = "hours";
        p.leg = "regular";
        p.payload = payload;
        p.attempt = attempt;
        p.first_sent_ms = attempt != 0 ? 1000 : 0;
        assert_non_null(b);
        assert_int_equal(tg_batch_event(b, &e), 0);
        assert_int_equal(tg_batch_object(b, &o), 0);
        assert_int_equal(tg_batch_posting(b, &p), 0);
        jt_submit(g->journal, b);
        first = first == 0 ? id : first;
    }
    jt_settle(g->journal);
    return first;
}

/* What the journal has of a posting, to ask with. */
struct asked {
    struct rig *rig;
    enum tg_let_go answer;
};

static bool on_asked(void *arg, const struct tg_row_posting *row)
{
    struct asked *a = arg;

    a->answer = tg_dispatch_may_cancel(a->rig->dispatch, row);
    return false;
}

static enum tg_let_go may_cancel(struct rig *g, int64_t id)
{
    struct tg_reader *r = jt_reader(g->journal);
    struct asked a = {.rig = g};
    struct tg_error err;

    assert_int_equal(tg_reader_posting(r, id, on_asked, &a, &err), 0);
    tg_reader_close(r);
    return a.answer;
}

/* ---- stories ---- */

static void ready_postings_are_posted_once(void **state)
{
    struct rig *g = *state;

    (void)add(g, 0, 300, PAYLOAD, TG_POSTING_READY, 0);
    start(g);
    run_until(g, TG_POSTING_POSTED, 300);
    assert_int_equal(csv_lines(), 300);
    assert_int_equal(jt_sql_int(g->journal, "SELECT count(*) FROM attempts WHERE outcome = "
                                            "'posted'"),
                     300);
    assert_int_equal(
        jt_sql_int(g->journal, "SELECT count(*) FROM postings WHERE ref LIKE 'payroll-%.csv:%'"),
        300);
    (void)add(g, 300, 5, PAYLOAD, TG_POSTING_READY, 0);
    tg_dispatch_kick(g->dispatch);
    run_until(g, TG_POSTING_POSTED, 305);
    stop(g);
    start(g); /* a second run adds nothing */
    for (int i = 0; i < 50; i++) {
        (void)uv_run(&g->loop, UV_RUN_ONCE);
    }
    stop(g);
    assert_int_equal(csv_lines(), 305);
}

static void what_was_sent_before_a_crash_is_looked_up(void **state)
{
    struct rig *g = *state;

    (void)add(g, 0, 4, PAYLOAD, TG_POSTING_READY, 0);
    start(g);
    run_until(g, TG_POSTING_POSTED, 4);
    stop(g);
    /* as if the outcome's commit had been lost, twice for a line that is there, once not */
    jt_sql(g->journal, "UPDATE postings SET state = 3, ref = NULL WHERE id IN (1, 2)");
    jt_sql(g->journal, "UPDATE control_totals SET count = count - 2, "
                       "quantity_micros = quantity_micros - "
                       "(SELECT sum(quantity_micros) FROM postings WHERE id IN (1, 2))");
    (void)add(g, 10, 1, PAYLOAD, TG_POSTING_SENT, 1);
    start(g);
    run_until(g, TG_POSTING_POSTED, 5);
    assert_int_equal(csv_lines(), 5);
    assert_int_equal(
        jt_sql_int(g->journal, "SELECT count(*) FROM attempts WHERE outcome = 'found'"), 2);
    assert_int_equal(jt_sql_int(g->journal, "SELECT count(*) FROM postings WHERE ref IS NULL"), 0);
    stop(g);
}

static void a_rejection_opens_an_exception(void **state)
{
    struct rig *g = *state;

    (void)add(g, 0, 1, "{\"entry\":\"TE-1\"}", TG_POSTING_READY, 0);
    start(g);
    run_until(g, TG_POSTING_EXCEPTION, 1);
    assert_int_equal(jt_sql_int(g->journal, "SELECT count(*) FROM exceptions WHERE posting = 1 "
                                            "AND code = 'destination_rejected' AND state = 0 AND "
                                            "owner = 'finance' AND detail LIKE '%pay_period%'"),
                     1);
    assert_int_equal(csv_lines(), 0);
    stop(g);
}

static void cancelling_before_it_is_loaded(void **state)
{
    struct rig *g = *state;
    int64_t id;

    start(g);
    id = add(g, 0, 2, PAYLOAD, TG_POSTING_READY, 0);
    assert_int_equal(may_cancel(g, id), TG_LET_GO_YES);
    assert_true(tg_dispatch_cancel(g->dispatch, id));
    assert_int_equal(may_cancel(g, id), TG_LET_GO_LATER);
    /* not committed yet: it must not be sent although the journal says ready */
    run_until(g, TG_POSTING_POSTED, 1);
    assert_int_equal(csv_lines(), 1);
    {
        struct tg_batch *b = tg_batch_new();
        struct tg_row_mark m = jt_mark(id, TG_POSTING_READY, TG_POSTING_CANCELLED);

        assert_int_equal(tg_batch_mark(b, &m), 0);
        jt_commit(g->journal, b);
    }
    tg_dispatch_kick(g->dispatch);
    for (int i = 0; i < 50; i++) {
        (void)uv_run(&g->loop, UV_RUN_ONCE);
    }
    assert_int_equal(count_state(g, TG_POSTING_CANCELLED), 1);
    assert_int_equal(csv_lines(), 1);
    stop(g);
}

static void what_is_on_its_way_or_posted_cannot_be_cancelled(void **state)
{
    struct rig *g = *state;
    int64_t id = add(g, 0, 1, PAYLOAD, TG_POSTING_READY, 0);

    start(g);
    while (may_cancel(g, id) != TG_LET_GO_NO) {
        (void)uv_run(&g->loop, UV_RUN_ONCE); /* until it is loaded, marked and on its way */
    }
    assert_false(tg_dispatch_cancel(g->dispatch, id));
    run_until(g, TG_POSTING_POSTED, 1);
    while (may_cancel(g, id) == TG_LET_GO_LATER) {
        (void)uv_run(&g->loop, UV_RUN_ONCE); /* until the loop knows of the commit, too */
    }
    assert_int_equal(may_cancel(g, id), TG_LET_GO_NO);
    stop(g);
    assert_int_equal(csv_lines(), 1);
}

static void a_retry_that_waits_can_be_cancelled(void **state)
{
    struct rig *g = *state;
    int64_t id = add(g, 0, 1, PAYLOAD, TG_POSTING_READY, 0);

    jt_sql(g->journal, "UPDATE postings SET state = 4, attempt = 1, first_sent_ms = 1000, "
                       "due_ms = 9000000000000");
    start(g);
    for (int i = 0; i < 20; i++) {
        (void)uv_run(&g->loop, UV_RUN_ONCE);
    }
    assert_int_equal(may_cancel(g, id), TG_LET_GO_YES);
    assert_true(tg_dispatch_cancel(g->dispatch, id));
    assert_int_equal(may_cancel(g, id), TG_LET_GO_LATER);
    stop(g);
    assert_int_equal(csv_lines(), 0);
}

static void stopping_leaves_nothing_between(void **state)
{
    struct rig *g = *state;

    (void)add(g, 0, 200, PAYLOAD, TG_POSTING_READY, 0);
    start(g);
    while (count_state(g, TG_POSTING_POSTED) == 0) {
        (void)uv_run(&g->loop, UV_RUN_ONCE);
    }
    stop(g);
    assert_int_equal(count_state(g, TG_POSTING_SENT), 0);
    assert_int_equal(count_state(g, TG_POSTING_IN_DOUBT), 0);
    assert_int_equal(csv_lines(), count_state(g, TG_POSTING_POSTED));
    start(g);
    run_until(g, TG_POSTING_POSTED, 200);
    stop(g);
    assert_int_equal(csv_lines(), 200);
}

/* ---- holding a destination ---- */

static void on_changed(void *arg)
{
    size_t *n = arg;

    (*n)++;
}

static void turn(struct rig *g, int rounds)
{
    for (int i = 0; i < rounds; i++) {
        (void)uv_run(&g->loop, UV_RUN_ONCE);
    }
}

/* Nothing of it is polled in between: each change is asked for before the last one is on disk. */
static void changes_that_overtake_each_other(void **state)
{
    struct rig *g = *state;
    uint32_t erp = g->journal->erp;
    size_t done = 0;

    start(g);
    for (unsigned last_pauses = 0; last_pauses < 2; last_pauses++) {
        const struct tg_dispatch_pause *p;

        done = 0;
        assert_int_equal(tg_dispatch_pause(g->dispatch, erp, "a", "1", on_changed, &done), 0);
        assert_int_equal(tg_dispatch_resume(g->dispatch, erp, "b", "2", on_changed, &done), 0);
        assert_int_equal(tg_dispatch_pause(g->dispatch, erp, "c", "3", on_changed, &done), 0);
        if (last_pauses == 0) {
            assert_int_equal(tg_dispatch_resume(g->dispatch, erp, "d", "4", on_changed, &done), 0);
        }
        while (done < 4 - last_pauses) {
            turn(g, 1);
        }
        p = tg_dispatch_paused(g->dispatch, erp);
        assert_int_equal(p->paused, last_pauses == 1);
        assert_int_equal(jt_sql_int(g->journal, "SELECT count(*) FROM pauses"), last_pauses);
    }
    assert_string_equal(tg_dispatch_paused(g->dispatch, erp)->actor, "c");
    assert_int_equal(jt_sql_int(g->journal, "SELECT count(*) FROM pauses WHERE actor = 'c'"), 1);
    assert_int_equal(jt_sql_int(g->journal, "SELECT count(*) FROM audit WHERE actor = 'b' AND "
                                            "action = 'destination.resumed' AND detail LIKE "
                                            "'%2%'"),
                     2);
    (void)add(g, 0, 3, PAYLOAD, TG_POSTING_READY, 0);
    tg_dispatch_kick(g->dispatch);
    turn(g, 100);
    assert_int_equal(count_state(g, TG_POSTING_READY), 3);
    stop(g);
    start(g);
    assert_string_equal(tg_dispatch_paused(g->dispatch, erp)->reason, "3");
    turn(g, 100);
    assert_int_equal(count_state(g, TG_POSTING_READY), 3);
    assert_int_equal(tg_dispatch_resume(g->dispatch, erp, "e", "", on_changed, &done), 0);
    run_until(g, TG_POSTING_POSTED, 3);
    stop(g);
}

/* A stop answers who waits for a change. */
static void a_stop_waits_for_changes(void **state)
{
    struct rig *g = *state;
    size_t done = 0;

    start(g);
    assert_int_equal(tg_dispatch_pause(g->dispatch, g->journal->erp, "a", "", on_changed, &done),
                     0);
    stop(g);
    assert_int_equal(done, 1);
}

/* What it asked for before the process died, an hour's worth of which is over. */
static void what_was_asked_for_outlives_a_restart(void **state)
{
    struct rig *g = *state;
    char sql[160];
    int64_t until_ms;

    (void)add(g, 0, 3, PAYLOAD, TG_POSTING_READY, 0);
    (void)snprintf(sql, sizeof(sql),
                   "INSERT INTO throttles VALUES(%u, (unixepoch() + 2) * 1000, "
                   "(unixepoch() - 3600) * 1000)",
                   g->journal->erp);
    jt_sql(g->journal, sql);
    until_ms = jt_sql_int(g->journal, "SELECT until_ms FROM throttles");
    start(g);
    run_until(g, TG_POSTING_POSTED, 3);
    assert_true(jt_sql_int(g->journal, "SELECT min(first_sent_ms) FROM postings") >= until_ms);
    stop(g);
}

static void put(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

/* More postings wait for a damaged file than there is room for: those of another file pass them,
 * none of them ends as an exception, and all are posted when the file is mended. */
static void a_damaged_file_holds_up_nobody_else(void **state)
{
    const unsigned waiting = TG_DEST_WINDOW_MAX + 100;
    struct rig *g = *state;

    (void)add(g, 1, 1, PAYLOAD, TG_POSTING_READY, 0);
    start(g);
    run_until(g, TG_POSTING_POSTED, 1);
    stop(g);
    assert_int_equal(csv_lines(), 1);
    put(csv, "not a book\n");
    (void)add(g, 2, waiting, PAYLOAD, TG_POSTING_READY, 0);
    (void)add(g, 2 + waiting, 20, PAYLOAD_W48, TG_POSTING_READY, 0);
    start(g);
    run_until(g, TG_POSTING_POSTED, 21);
    run_until(g, TG_POSTING_RETRY, waiting);
    assert_int_equal(jt_sql_int(g->journal, "SELECT max(attempt) FROM postings WHERE state = 4"),
                     0);
    assert_int_equal(unlink(csv), 0); /* moved away: a new one is begun */
    run_until(g, TG_POSTING_POSTED, 21 + waiting);
    assert_int_equal(csv_lines(), waiting);
    assert_int_equal(jt_sql_int(g->journal, "SELECT count(*) FROM exceptions"), 0);
    assert_in_range(jt_sql_int(g->journal, "SELECT count(*) FROM attempts WHERE outcome = 'stuck'"),
                    waiting, 2 * waiting);
    stop(g);
}

static void a_wrong_connector_is_named(void **state)
{
    struct rig *g = *state;
    const struct tg_dispatch_options o = {.loop = &g->loop,
                                          .journal = g->journal->journal,
                                          .config = &config,
                                          .catalogue = catalogue,
                                          .fatal = on_fatal};
    struct tg_error err = {""};

    destination.connector = (char *)"carrier-pigeon";
    assert_null(tg_dispatch_start(&o, &err));
    assert_non_null(strstr(err.text, "carrier-pigeon"));
    assert_non_null(strstr(err.text, "accepted: file"));
    (void)uv_run(&g->loop, UV_RUN_DEFAULT); /* what was opened on it before is closed */
}

static void rows_come_and_go(void **state)
{
    struct tg_rows *rows = tg_rows_new();
    struct tg_row_posting p = {.kind = "k", .leg = "l", .payload = "{}", .subject = "s"};

    (void)state;
    assert_non_null(rows);
    for (int64_t id = 1; id <= TG_OPEN_POSTINGS_MAX; id++) {
        p.id = id * 16384; /* many with one home slot */
        assert_non_null(tg_rows_add(rows, &p));
        assert_null(tg_rows_add(rows, &p));
    }
    p.id = 3;
    assert_null(tg_rows_add(rows, &p)); /* full */
    for (int64_t id = 1; id <= TG_OPEN_POSTINGS_MAX; id += 2) {
        tg_rows_remove(rows, id * 16384);
        tg_rows_remove(rows, id * 16384);
    }
    for (int64_t id = 1; id <= TG_OPEN_POSTINGS_MAX; id++) {
        const struct tg_open_row *row = tg_rows_find(rows, id * 16384);

        assert_int_equal(row != NULL, id % 2 == 0);
        assert_true(row == NULL || row->id == id * 16384);
    }
    assert_int_equal(tg_rows_count(rows), TG_OPEN_POSTINGS_MAX / 2);
    tg_rows_free(rows);
}

static int load_catalogue(void **state)
{
    static const char text[] =
        "codes:\n  - {code: destination_rejected, title: T, owner: finance, runbook: r}\n";
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

static int free_catalogue(void **state)
{
    (void)state;
    tg_catalogue_free(catalogue);
    return 0;
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(ready_postings_are_posted_once),
        T(what_was_sent_before_a_crash_is_looked_up),
        T(a_rejection_opens_an_exception),
        T(cancelling_before_it_is_loaded),
        T(what_is_on_its_way_or_posted_cannot_be_cancelled),
        T(a_retry_that_waits_can_be_cancelled),
        T(stopping_leaves_nothing_between),
        T(changes_that_overtake_each_other),
        T(a_stop_waits_for_changes),
        T(what_was_asked_for_outlives_a_restart),
        T(a_damaged_file_holds_up_nobody_else),
        T(a_wrong_connector_is_named),
        cmocka_unit_test(rows_come_and_go),
    };

    return cmocka_run_group_tests(tests, load_catalogue, free_catalogue);
}
