/* Corrections at dispatch, on a real loop, journal and directory: reversals, what waits for them,
 * and what a crash at each step leaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/codec.h"
#include "common/log.h"
#include "dispatch/dispatch.h"
#include "dispatch/idset.h"
#include "journal_rows.h"

#define PAYLOAD                                                                                    \
    "{\"entry\":\"TE-1\",\"version\":1,\"date\":\"2026-11-16\",\"pay_period\":\"2026-W47\","       \
    "\"worker\":\"W-1\",\"pay_code\":\"REG\",\"hours\":\"1.00\"}"
#define ROUNDS_MAX 20000

/* Postings of one object: of version 1, its reversal, of version 2, of version 3. */
enum { P1 = 1, R1 = 2, P2 = 3, P3 = 4 };

static struct tg_config_destination destination;
static struct tg_config_tenant tenant = {.id = (char *)"acme",
                                         .destinations = &destination,
                                         .destination_count = 1,
                                         .hold_timeout_ms = 3600000};
static struct tg_config config = {.tenants = &tenant, .tenant_count = 1, .destination_count = 1};
static struct tg_catalogue *catalogue;
static char out_dir[128], csv[160];

struct rig {
    struct jt *journal;
    uv_loop_t loop;
    uv_timer_t poll;
    struct tg_dispatch *dispatch;
    bool stopped;
    unsigned heard; /* calls of the listener */
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

static void on_heard(void *arg)
{
    ((struct rig *)arg)->heard++;
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
    tg_dispatch_listen(g->dispatch, on_heard, g);
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
    static const char *const names[] = {"payroll-2026-W47.csv", "payroll-2026-W47.totals.json"};

    if (g->dispatch != NULL) {
        stop(g);
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

static void add_version(struct rig *g, int64_t version, enum tg_version_state version_state)
{
    struct tg_batch *b = tg_batch_new();
    struct tg_row_event e = jt_event(version, (unsigned)version, TG_EVENT_ACCEPTED);
    struct tg_row_object o = jt_object(version, version, 1, version, version_state);

    assert_int_equal(tg_batch_event(b, &e), 0);
    assert_int_equal(tg_batch_object(b, &o), 0);
    jt_commit(g->journal, b);
}

static struct tg_row_posting posting(const struct rig *g, int64_t id, int64_t object,
                                     enum tg_posting_state state)
{
    struct tg_row_posting p = jt_posting(id, object, g->journal->erp, (unsigned)id, state);

    p.kind = "hours";
    p.leg = "regular";
    p.payload = PAYLOAD;
    p.quantity_micros = 1000000;
    return p;
}

static void put(struct rig *g, const struct tg_row_posting *p)
{
    struct tg_batch *b = tg_batch_new();

    assert_int_equal(tg_batch_posting(b, p), 0);
    jt_commit(g->journal, b);
}

static void put_held(struct rig *g, struct tg_row_posting p, const char *hold, int64_t on)
{
    p.state = TG_POSTING_HELD;
    p.hold = hold;
    p.hold_on = on;
    p.due_ms = 9000000000000;
    put(g, &p);
}

static void put_reversal(struct rig *g, const char *hold)
{
    struct tg_row_posting r = posting(g, R1, 1, TG_POSTING_READY);

    r.reverses = P1;
    r.quantity_micros = -1000000;
    if (hold != NULL) {
        put_held(g, r, hold, P1);
    } else {
        put(g, &r);
    }
}

static enum tg_posting_state state_of(const struct rig *g, int64_t id)
{
    char sql[96];

    (void)snprintf(sql, sizeof(sql), "SELECT state FROM postings WHERE id = %d", (int)id);
    return (enum tg_posting_state)jt_sql_int(g->journal, sql);
}

static void run_until(struct rig *g, int64_t id, enum tg_posting_state s)
{
    for (int i = 0; i < ROUNDS_MAX && state_of(g, id) != s; i++) {
        (void)uv_run(&g->loop, UV_RUN_ONCE);
    }
    assert_string_equal(tg_posting_state_name(state_of(g, id)), tg_posting_state_name(s));
}

static void turns(struct rig *g, int n)
{
    for (int i = 0; i < n; i++) {
        (void)uv_run(&g->loop, UV_RUN_ONCE);
    }
}

static size_t count_in_csv(const char *needle)
{
    FILE *f = fopen(csv, "r");
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

static void check(const struct rig *g)
{
    struct tg_reader *r = jt_reader(g->journal);
    struct tg_error err = {{0}};

    assert_int_equal(tg_journal_check(r, found, NULL, &err), 0);
    tg_reader_close(r);
}

/* Version 1 posted; then version 2 with the reversal of version 1 before it. */
static void correct_after_posting(struct rig *g)
{
    struct tg_row_posting p1 = posting(g, P1, 1, TG_POSTING_READY);

    add_version(g, 1, TG_VERSION_VALIDATED);
    put(g, &p1);
    start(g);
    run_until(g, P1, TG_POSTING_POSTED);
    jt_sql(g->journal, "UPDATE objects SET state = 2 WHERE id = 1");
    add_version(g, 2, TG_VERSION_VALIDATED);
}

/* ---- stories ---- */

static void after_posting_it_is_reversed_and_then_the_new_one_goes(void **state)
{
    struct rig *g = *state;

    correct_after_posting(g);
    put_reversal(g, NULL);
    put_held(g, posting(g, P2, 2, TG_POSTING_HELD), "order", R1);
    tg_dispatch_kick(g->dispatch);
    run_until(g, P2, TG_POSTING_POSTED);
    assert_int_equal(state_of(g, R1), TG_POSTING_POSTED);
    assert_int_equal(state_of(g, P1), TG_POSTING_REVERSED);
    assert_int_equal(count_in_csv(",-1.00,"), 1);
    assert_int_equal(count_in_csv(",1.00,"), 2);
    assert_int_equal(jt_sql_int(g->journal, "SELECT count(*) FROM audit WHERE subject = "
                                            "'posting 1' AND action = 'posting.reversed'"),
                     1);
    assert_int_equal(jt_sql_int(g->journal, "SELECT quantity_micros FROM control_totals"), 1000000);
    assert_true(g->heard > 0);
    stop(g);
    check(g);
}

static void a_waiting_posting_waits(void **state)
{
    struct rig *g = *state;

    add_version(g, 1, TG_VERSION_VALIDATED);
    add_version(g, 2, TG_VERSION_VALIDATED);
    {
        struct tg_row_posting p1 = posting(g, P1, 1, TG_POSTING_READY);

        p1.state = TG_POSTING_RETRY; /* for a long time */
        p1.attempt = 1;
        p1.first_sent_ms = 1000;
        p1.due_ms = 9000000000000;
        put(g, &p1);
    }
    put_held(g, posting(g, P2, 2, TG_POSTING_HELD), "order", P1);
    start(g);
    turns(g, 200);
    assert_int_equal(state_of(g, P2), TG_POSTING_HELD);
    stop(g);
    assert_int_equal(count_in_csv("TE-1"), 0);
}

/* H1: as if the process had died between the end of the one and the release of the other. */
static void what_waited_at_a_crash_is_released_at_the_start(void **state)
{
    struct rig *g = *state;

    correct_after_posting(g);
    stop(g);
    put_reversal(g, "reversal");
    put_held(g, posting(g, P2, 2, TG_POSTING_HELD), "order", R1);
    start(g);
    run_until(g, P2, TG_POSTING_POSTED);
    assert_int_equal(state_of(g, P1), TG_POSTING_REVERSED);
    stop(g);
    check(g);
}

/* Reversed, and the process died before what waits for it was released. */
static void a_crash_after_the_reversal(void **state)
{
    struct rig *g = *state;

    correct_after_posting(g);
    put_reversal(g, NULL);
    tg_dispatch_kick(g->dispatch);
    run_until(g, P1, TG_POSTING_REVERSED);
    stop(g);
    put_held(g, posting(g, P2, 2, TG_POSTING_HELD), "order", R1);
    start(g);
    run_until(g, P2, TG_POSTING_POSTED);
    stop(g);
    assert_int_equal(count_in_csv(",-1.00,"), 1);
    check(g);
}

/* The original never was: its reversal is not either, and what waited for it goes. */
static void a_cancelled_original_takes_its_reversal_with_it(void **state)
{
    struct rig *g = *state;
    struct tg_row_posting p1 = posting(g, P1, 1, TG_POSTING_SENT);

    add_version(g, 1, TG_VERSION_SUPERSEDED);
    add_version(g, 2, TG_VERSION_VALIDATED);
    p1.state = TG_POSTING_RETRY; /* of a version that ended: cancelled when it is loaded */
    p1.attempt = 1;
    p1.first_sent_ms = 1000;
    p1.due_ms = 9000000000000;
    put(g, &p1);
    put_reversal(g, "reversal");
    put_held(g, posting(g, P2, 2, TG_POSTING_HELD), "order", R1);
    start(g);
    run_until(g, P2, TG_POSTING_POSTED);
    assert_int_equal(state_of(g, P1), TG_POSTING_CANCELLED);
    assert_int_equal(state_of(g, R1), TG_POSTING_CANCELLED);
    stop(g);
    assert_int_equal(count_in_csv("TE-1"), 1);
    check(g);
}

/* In doubt when the correction came: looked up, found, then reversed. */
static void an_original_in_doubt_is_found_and_then_reversed(void **state)
{
    struct rig *g = *state;

    correct_after_posting(g);
    stop(g);
    jt_sql(g->journal, "UPDATE postings SET state = 3, ref = NULL WHERE id = 1");
    jt_sql(g->journal, "DELETE FROM control_totals");
    put_reversal(g, "reversal");
    put_held(g, posting(g, P2, 2, TG_POSTING_HELD), "order", R1);
    start(g);
    run_until(g, P2, TG_POSTING_POSTED);
    assert_int_equal(state_of(g, P1), TG_POSTING_REVERSED);
    assert_int_equal(count_in_csv("TE-1"), 3);
    stop(g);
}

/* One behind the other: each waits for the newest posting of an older version that is not over. */
static void versions_go_one_after_the_other(void **state)
{
    struct rig *g = *state;

    correct_after_posting(g);
    jt_sql(g->journal, "UPDATE objects SET state = 1 WHERE id = 1");
    add_version(g, 3, TG_VERSION_VALIDATED);
    /* P3 names P1, which is over: P2 is found to be before it, and is waited for */
    put_held(g, posting(g, P2, 2, TG_POSTING_HELD), "order", P1);
    put_held(g, posting(g, P3, 3, TG_POSTING_HELD), "order", P1);
    stop(g);
    start(g);
    run_until(g, P3, TG_POSTING_POSTED);
    assert_int_equal(state_of(g, P2), TG_POSTING_POSTED);
    {
        FILE *f = fopen(csv, "r");
        char line[3][512];

        assert_non_null(f);
        assert_non_null(fgets(line[0], sizeof(line[0]), f));
        for (int i = 0; i < 3; i++) {
            assert_non_null(fgets(line[i], sizeof(line[i]), f));
        }
        (void)fclose(f);
        for (unsigned i = 0; i < 3; i++) { /* line i carries the key of posting 1, 3, 4 */
            const struct tg_row_posting p = posting(g,
                                                    i == 0   ? P1
                                                    : i == 1 ? P2
                                                             : P3,
                                                    1, TG_POSTING_READY);
            char hex[2 * TG_POSTING_KEY_BYTES + 1] = {0};

            tg_hex_encode(p.key, sizeof(p.key), hex);
            assert_non_null(strstr(line[i], hex));
        }
    }
    stop(g);
}

/* ---- time ---- */

static void overdue(struct rig *g, int64_t id)
{
    char sql[96];

    (void)snprintf(sql, sizeof(sql), "UPDATE postings SET due_ms = 1000 WHERE id = %d", (int)id);
    jt_sql(g->journal, sql);
}

static void a_hold_behind_an_outage_goes_on(void **state)
{
    struct rig *g = *state;
    struct tg_row_posting p1 = posting(g, P1, 1, TG_POSTING_RETRY);

    add_version(g, 1, TG_VERSION_VALIDATED);
    add_version(g, 2, TG_VERSION_VALIDATED);
    p1.attempt = 1;
    p1.first_sent_ms = 1000;
    p1.due_ms = 9000000000000;
    put(g, &p1);
    put_held(g, posting(g, P2, 2, TG_POSTING_HELD), "order", P1);
    overdue(g, P2);
    start(g);
    for (int i = 0; i < ROUNDS_MAX && jt_sql_int(g->journal, "SELECT due_ms FROM postings WHERE "
                                                             "id = 3") == 1000;
         i++) {
        (void)uv_run(&g->loop, UV_RUN_ONCE);
    }
    assert_int_equal(state_of(g, P2), TG_POSTING_HELD);
    assert_true(jt_sql_int(g->journal, "SELECT due_ms FROM postings WHERE id = 3") > 1000);
    assert_int_equal(jt_sql_int(g->journal, "SELECT hold_on FROM postings WHERE id = 3"), P1);
    assert_int_equal(jt_sql_int(g->journal, "SELECT count(*) FROM exceptions"), 0);
    stop(g);
}

/* Behind what waits for a person, its own time counts; and when that is settled, it goes by itself.
 */
static void a_hold_behind_a_person_runs_out_and_still_ends(void **state)
{
    struct rig *g = *state;
    struct tg_row_posting p1 = posting(g, P1, 1, TG_POSTING_SENT);
    struct tg_row_exception x = jt_exception(0, 0, "outcome_unknown");
    struct tg_batch *b = tg_batch_new();

    add_version(g, 1, TG_VERSION_VALIDATED);
    add_version(g, 2, TG_VERSION_VALIDATED);
    p1.attempt = 1;
    p1.first_sent_ms = 1000;
    p1.state = TG_POSTING_EXCEPTION;
    x.id = tg_journal_next_id(g->journal->journal, TG_TABLE_EXCEPTIONS);
    x.posting = P1;
    put(g, &p1);
    assert_int_equal(tg_batch_exception(b, &x), 0);
    jt_commit(g->journal, b);
    put_held(g, posting(g, P2, 2, TG_POSTING_HELD), "order", P1);
    overdue(g, P2);
    start(g);
    run_until(g, P2, TG_POSTING_EXCEPTION);
    assert_int_equal(jt_sql_int(g->journal,
                                "SELECT count(*) FROM exceptions WHERE posting = 3 AND state = 0 "
                                "AND code = 'hold_expired' AND owner = 'finance' "
                                "AND tenant = 'acme' AND json_extract(detail, "
                                "'$.waits_for_posting') = 1"),
                     1);
    stop(g);
    jt_sql(g->journal, "UPDATE postings SET state = 8 WHERE id = 1");
    start(g);
    run_until(g, P2, TG_POSTING_POSTED);
    assert_int_equal(jt_sql_int(g->journal, "SELECT count(*) FROM exceptions WHERE posting = 3 "
                                            "AND state = 5 AND closed_ms > 0"),
                     1);
    stop(g);
    check(g);
}

/* ---- many ---- */

/* More than fit into a turn, a list of ends and a page, all at once. */
static void many_are_released(void **state)
{
    enum { N = 700 };
    struct rig *g = *state;
    struct tg_batch *b = tg_batch_new();

    for (unsigned i = 1; i <= N; i++) {
        struct tg_row_event e = jt_event(i, i, TG_EVENT_ACCEPTED);
        struct tg_row_event f = jt_event(N + i, N + i, TG_EVENT_ACCEPTED);
        struct tg_row_object o = jt_object(i, i, i, 1, TG_VERSION_VALIDATED);
        struct tg_row_object q = jt_object(N + i, N + i, i, 2, TG_VERSION_VALIDATED);
        struct tg_row_posting p = posting(g, i, i, TG_POSTING_READY);
        struct tg_row_posting w = posting(g, N + i, N + i, TG_POSTING_HELD);

        w.hold = "order";
        w.hold_on = i;
        w.due_ms = 9000000000000;
        assert_int_equal(tg_batch_event(b, &e), 0);
        assert_int_equal(tg_batch_event(b, &f), 0);
        assert_int_equal(tg_batch_object(b, &o), 0);
        assert_int_equal(tg_batch_object(b, &q), 0);
        assert_int_equal(tg_batch_posting(b, &p), 0);
        assert_int_equal(tg_batch_posting(b, &w), 0);
    }
    jt_commit(g->journal, b);
    start(g);
    for (int i = 0; i < ROUNDS_MAX && jt_sql_int(g->journal, "SELECT count(*) FROM postings WHERE "
                                                             "state = 6") != 2 * N;
         i++) {
        (void)uv_run(&g->loop, UV_RUN_ONCE);
    }
    assert_int_equal(count_in_csv("TE-1"), 2 * N);
    stop(g);
    check(g);
}

static void a_set_of_ids(void **state)
{
    struct tg_idset s = {0};

    (void)state;
    assert_false(tg_idset_has(&s, 7));
    tg_idset_remove(&s, 7);
    for (int64_t i = 1; i <= 5000; i++) {
        assert_int_equal(tg_idset_add(&s, i << 32), 0);
        assert_int_equal(tg_idset_add(&s, i << 32), 0);
    }
    assert_int_equal(s.count, 5000);
    for (int64_t i = 1; i <= 5000; i += 2) {
        tg_idset_remove(&s, i << 32);
    }
    for (int64_t i = 1; i <= 5000; i++) {
        assert_int_equal(tg_idset_has(&s, i << 32), i % 2 == 0);
    }
    tg_idset_clear(&s);
    assert_false(tg_idset_has(&s, INT64_C(2) << 32));
    for (int64_t i = 1; i <= TG_IDSET_MAX; i++) {
        assert_int_equal(tg_idset_add(&s, i), 0);
    }
    assert_int_equal(tg_idset_add(&s, TG_IDSET_MAX + 1), -1);
    assert_int_equal(tg_idset_add(&s, TG_IDSET_MAX), 0); /* it is there */
    tg_idset_free(&s);
}

static int load_catalogue(void **state)
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
        T(after_posting_it_is_reversed_and_then_the_new_one_goes),
        T(a_waiting_posting_waits),
        T(what_waited_at_a_crash_is_released_at_the_start),
        T(a_crash_after_the_reversal),
        T(a_cancelled_original_takes_its_reversal_with_it),
        T(an_original_in_doubt_is_found_and_then_reversed),
        T(versions_go_one_after_the_other),
        T(a_hold_behind_an_outage_goes_on),
        T(a_hold_behind_a_person_runs_out_and_still_ends),
        T(many_are_released),
        cmocka_unit_test(a_set_of_ids),
    };

    return cmocka_run_group_tests(tests, load_catalogue, free_catalogue);
}
