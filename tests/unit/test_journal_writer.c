/* The journal thread: one commit for many batches, order, and what happens when it cannot write. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "journal/audit.h"
#include "journal_rows.h"

#define MANY 2000

static void chain_is_intact(const struct jt *t, int64_t rows)
{
    struct tg_reader *r = jt_reader(t);
    struct tg_audit_report report;
    struct tg_error err;

    assert_int_equal(tg_audit_verify(r, NULL, NULL, &report, &err), 0);
    assert_int_equal(report.rows, rows);
    tg_reader_close(r);
}

/* Holds the file's write lock, so that batches pile up behind one commit. */
static sqlite3 *hold(const struct jt *t)
{
    sqlite3 *db = NULL;

    assert_int_equal(sqlite3_open(t->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_busy_timeout(db, JT_DEADLINE_S * 1000), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    return db;
}

static void release(sqlite3 *db)
{
    assert_int_equal(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

struct order {
    unsigned next, wrong;
    struct slot {
        struct order *order;
        unsigned n;
    } slots[MANY];
};

static void in_order(void *arg, bool ok, const struct tg_error *err)
{
    struct slot *slot = arg;

    (void)err;
    slot->order->wrong += !ok || slot->n != slot->order->next;
    slot->order->next++;
}

static void many_batches_share_few_commits_and_keep_their_order(void **state)
{
    struct jt *t = *state;
    struct order *order = calloc(1, sizeof(*order));
    struct tg_journal_stats stats;
    sqlite3 *held;

    assert_non_null(order);
    jt_settle(t);
    held = hold(t);
    for (unsigned n = 0; n < MANY; n++) {
        struct tg_batch *b = tg_batch_new();

        (void)jt_add_ready(t, b, n);
        order->slots[n] = (struct slot){order, n};
        assert_int_equal(tg_journal_submit(t->journal, b, in_order, &order->slots[n]), 0);
    }
    tg_journal_stats(t->journal, &stats);
    assert_true(stats.queued >= MANY);
    assert_int_equal(order->next, 0);
    release(held);
    while (order->next < MANY) {
        assert_true(jt_wait_woken(t));
        (void)tg_journal_poll(t->journal);
    }
    assert_int_equal(order->wrong, 0);
    tg_journal_stats(t->journal, &stats);
    assert_int_equal(stats.queued, 0);
    assert_false(stats.stuck);
    /* 2000 batches: the first one may go alone, then 512 a commit. */
    assert_in_range(stats.commits, 1, MANY / TG_JOURNAL_GROUP_MAX + 4);
    assert_int_equal(stats.batches, MANY + 1); /* and the destination's */
    assert_int_equal(jt_sql_int(t, "SELECT count(*) FROM postings"), MANY);
    free(order);
}

static void a_full_queue_refuses(void **state)
{
    struct jt *t = *state;
    sqlite3 *held;
    struct tg_batch *b;
    size_t taken = 0;

    jt_settle(t);
    held = hold(t);
    for (;;) {
        b = tg_batch_new();
        assert_int_equal(tg_batch_audit(b, "test", "test.filled", "queue", NULL), 0);
        if (tg_journal_submit(t->journal, b, NULL, NULL) != 0) {
            break;
        }
        taken++;
        assert_true(taken <= TG_JOURNAL_QUEUE_MAX);
    }
    assert_in_range(taken, TG_JOURNAL_QUEUE_MAX - 1, TG_JOURNAL_QUEUE_MAX);
    release(held);
    jt_close(t); /* commits them all */
    tg_batch_free(b);
    assert_int_equal(jt_sql_int(t, "SELECT count(*) FROM audit"), taken);
    jt_open(t);
}

/* ---- constraints ---- */

static void one_bad_batch_undoes_only_itself(void **state)
{
    struct jt *t = *state;
    struct tg_batch *good = tg_batch_new();
    struct tg_batch *bad = tg_batch_new();
    struct tg_batch *after = tg_batch_new();
    struct tg_row_event again;
    struct tg_row_mark wrong = jt_mark(1, TG_POSTING_SENT, TG_POSTING_POSTED);
    sqlite3 *held;

    jt_settle(t);
    held = hold(t); /* all three in one group */
    (void)jt_add_ready(t, good, 1);
    jt_submit(t, good);
    (void)jt_add_ready(t, bad, 2);
    assert_int_equal(tg_batch_audit(bad, "test", "test.lost", "bad", NULL), 0);
    again = jt_event(99, 1, TG_EVENT_ACCEPTED); /* the id and identity of the first */
    assert_int_equal(tg_batch_event(bad, &again), 0);
    jt_submit(t, bad);
    (void)jt_add_ready(t, after, 3);
    jt_submit(t, after);
    release(held);
    jt_settle(t);
    assert_int_equal(t->ok, 2);
    assert_int_equal(t->refused, 1);
    assert_non_null(strstr(t->last.text, "event 99"));
    assert_int_equal(jt_sql_int(t, "SELECT count(*) FROM events"), 2);
    assert_int_equal(jt_sql_int(t, "SELECT count(*) FROM postings"), 2);
    assert_int_equal(jt_sql_int(t, "SELECT count(*) FROM audit"), 0);

    bad = tg_batch_new();
    assert_int_equal(tg_batch_mark(bad, &wrong), 0);
    jt_commit_refused(t, bad);
    assert_non_null(strstr(t->last.text, "posting 1 is ready, not sent"));
    wrong.posting = 77;
    bad = tg_batch_new();
    assert_int_equal(tg_batch_mark(bad, &wrong), 0);
    jt_commit_refused(t, bad);
    assert_non_null(strstr(t->last.text, "posting 77 does not exist"));
}

static void refuse_posting(struct jt *t, struct tg_row_posting p)
{
    struct tg_batch *b = tg_batch_new();

    assert_int_equal(tg_batch_posting(b, &p), 0);
    jt_commit_refused(t, b);
}

static void what_breaks_a_rule_is_refused(void **state)
{
    struct jt *t = *state;
    struct tg_batch *b = tg_batch_new();
    struct tg_row_event e = jt_event(50, 50, TG_EVENT_IN_STREAM);
    struct tg_row_exception x = jt_exception(1, 0, "worker_unknown");

    (void)jt_add_ready(t, b, 1);
    jt_commit(t, b);
    refuse_posting(t, jt_posting(2, 1, t->erp, 1, TG_POSTING_READY));  /* key is there */
    refuse_posting(t, jt_posting(1, 1, t->erp, 2, TG_POSTING_READY));  /* id is there */
    refuse_posting(t, jt_posting(2, 9, t->erp, 2, TG_POSTING_READY));  /* no such object */
    refuse_posting(t, jt_posting(2, 1, 9, 2, TG_POSTING_READY));       /* no such destination */
    refuse_posting(t, jt_posting(2, 1, t->erp, 2, TG_POSTING_POSTED)); /* never marked */
    b = tg_batch_new();
    assert_int_equal(tg_batch_event(b, &e), 0); /* not journalled yet is no state here */
    jt_commit_refused(t, b);
    e.state = TG_EVENT_DUPLICATE;
    e.duplicate_of = 77;
    b = tg_batch_new();
    assert_int_equal(tg_batch_event(b, &e), 0);
    jt_commit_refused(t, b);
    b = tg_batch_new();
    assert_int_equal(tg_batch_exception(b, &x), 0); /* about nothing */
    jt_commit_refused(t, b);
    b = tg_batch_new();
    assert_int_equal(tg_batch_object_state(b, 9, TG_VERSION_SUPERSEDED), 0);
    jt_commit_refused(t, b);
    assert_int_equal(jt_sql_int(t, "SELECT count(*) FROM postings"), 1);
    assert_int_equal(jt_sql_int(t, "SELECT count(*) FROM events"), 1);
    assert_int_equal(jt_sql_int(t, "SELECT count(*) FROM exceptions"), 0);
}

/* A sum that leaves 64 bits is refused, never rounded. */
static void a_total_never_becomes_a_double(void **state)
{
    struct jt *t = *state;
    struct tg_batch *b = tg_batch_new();
    struct tg_row_event e = jt_event(1, 1, TG_EVENT_ACCEPTED);
    struct tg_row_object o = jt_object(1, 1, 1, 1, TG_VERSION_VALIDATED);

    assert_int_equal(tg_batch_event(b, &e), 0);
    assert_int_equal(tg_batch_object(b, &o), 0);
    for (unsigned i = 1; i <= 2; i++) {
        struct tg_row_posting p = jt_posting(i, 1, t->erp, i, TG_POSTING_SENT);

        p.quantity_micros = INT64_MAX - 1;
        p.first_sent_ms = 1;
        assert_int_equal(tg_batch_posting(b, &p), 0);
    }
    jt_commit(t, b);
    for (unsigned i = 1; i <= 2; i++) {
        struct tg_row_mark m = jt_mark(i, TG_POSTING_SENT, TG_POSTING_POSTED);

        b = tg_batch_new();
        assert_int_equal(tg_batch_mark(b, &m), 0);
        if (i == 1) {
            jt_commit(t, b);
        } else {
            jt_commit_refused(t, b);
        }
    }
    assert_int_equal(jt_sql_int(t, "SELECT quantity_micros FROM control_totals"), INT64_MAX - 1);
}

/* ---- a disk that is full ---- */

/* Until so many commits failed. */
static void wait_failures(struct jt *t, uint64_t n)
{
    struct tg_journal_stats stats;
    struct timespec pause = {0, 1000000};
    int left = JT_DEADLINE_S * 1000;

    do {
        tg_journal_stats(t->journal, &stats);
        assert_int_equal(tg_journal_poll(t->journal), 0); /* nothing is acknowledged meanwhile */
        (void)nanosleep(&pause, NULL);
    } while (stats.failures < n && left-- > 0);
    assert_true(stats.failures >= n);
    assert_true(stats.stuck);
}

static void wait_stuck(struct jt *t)
{
    wait_failures(t, 1);
}

/* Files of this process may grow to the WAL's size and not a byte more. */
static struct rlimit disk_fill(const struct jt *t)
{
    char wal[128];
    struct stat st;
    struct rlimit old;
    struct rlimit now;

    (void)snprintf(wal, sizeof(wal), "%s-wal", t->path);
    assert_int_equal(stat(wal, &st), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    now = old;
    now.rlim_cur = (rlim_t)st.st_size + 100;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &now), 0);
    return old;
}

static void a_full_disk_is_waited_out(void **state)
{
    struct jt *t = *state;
    struct tg_batch *b = tg_batch_new();
    struct tg_journal_stats stats;
    struct rlimit old;

    (void)jt_add_ready(t, b, 1);
    jt_commit(t, b);
    old = disk_fill(t);
    for (unsigned n = 2; n < 40; n++) {
        b = tg_batch_new();
        (void)jt_add_ready(t, b, n);
        assert_int_equal(tg_batch_audit(b, "test", "test.kept", "b", NULL), 0);
        jt_submit(t, b);
    }
    wait_stuck(t);
    assert_int_equal(t->ok, 1);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    jt_settle(t);
    assert_int_equal(t->ok, 39);
    assert_int_equal(t->refused, 0);
    tg_journal_stats(t->journal, &stats);
    assert_false(stats.stuck);
    assert_int_equal(jt_sql_int(t, "SELECT count(*) FROM postings"), 39);
    /* The chain has no gap from the tries that failed. */
    chain_is_intact(t, 38);
}

static int64_t monotonic_ms(void)
{
    struct timespec now;

    assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &now), 0);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void closing_a_stuck_journal_says_no(void **state)
{
    struct jt *t = *state;
    struct tg_batch *b = tg_batch_new();
    struct rlimit old;
    int64_t began;

    (void)jt_add_ready(t, b, 1);
    jt_commit(t, b);
    old = disk_fill(t);
    for (unsigned n = 2; n < 2 + TG_JOURNAL_GROUP_MAX + 10; n++) { /* more than one group */
        b = tg_batch_new();
        (void)jt_add_ready(t, b, n);
        jt_submit(t, b);
    }
    /* Seven failures: now it sleeps for TG_JOURNAL_RETRY_MIN_MS << 6, 3.2 s; closing wakes it. */
    wait_failures(t, 7);
    began = monotonic_ms();
    jt_close(t);
    assert_true(monotonic_ms() - began < TG_JOURNAL_RETRY_MIN_MS << 5);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(t->ok, 1);
    assert_int_equal(t->refused, TG_JOURNAL_GROUP_MAX + 10);
    assert_non_null(strstr(t->last.text, "journal"));
    assert_int_equal(jt_sql_int(t, "SELECT count(*) FROM postings"), 1);
    jt_open(t);
}

static void a_foreign_lock_is_waited_out(void **state)
{
    struct jt *t = *state;
    struct tg_batch *b = tg_batch_new();
    sqlite3 *held;

    jt_settle(t);
    held = hold(t);
    (void)jt_add_ready(t, b, 1);
    jt_submit(t, b);
    wait_stuck(t); /* longer than the writer's busy time */
    release(held);
    jt_settle(t);
    assert_int_equal(t->ok, 1);
}

/* ---- kill -9 ---- */

#define ACKNOWLEDGED_BEFORE_KILL 200

struct acker {
    int fd;
    unsigned n;
};

static void tell(void *arg, bool ok, const struct tg_error *err)
{
    struct acker *a = arg;

    (void)err;
    if (!ok || write(a->fd, &a->n, sizeof(a->n)) != (ssize_t)sizeof(a->n)) {
        _exit(3);
    }
    free(a);
}

/* Writes for ever; tells the pipe each batch that was acknowledged. */
static void child_write(struct jt *t, int fd)
{
    struct tg_journal_stats stats;

    jt_open(t);
    for (unsigned n = 0;; n++) {
        struct tg_batch *b = tg_batch_new();
        struct acker *a = malloc(sizeof(*a));

        if (b == NULL || a == NULL) {
            _exit(4);
        }
        a->fd = fd;
        a->n = n;
        (void)jt_add_ready(t, b, n);
        if (tg_batch_audit(b, "test", "test.written", "n", NULL) != 0 ||
            tg_journal_submit(t->journal, b, tell, a) != 0) {
            _exit(5);
        }
        (void)tg_journal_poll(t->journal);
        tg_journal_stats(t->journal, &stats);
        if (stats.queued > 100 && !jt_wait_woken(t)) {
            _exit(6);
        }
    }
}

/* Reads acknowledgements; kills after enough of them; returns the highest + 1. */
static unsigned kill_mid_write(struct jt *t)
{
    int pipes[2];
    pid_t child;
    unsigned acknowledged = 0;
    unsigned n;
    int status;

    assert_int_equal(pipe(pipes), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)close(pipes[0]);
        child_write(t, pipes[1]);
        _exit(2);
    }
    (void)close(pipes[1]);
    /* After the kill the pipe still gives what was acknowledged before it. */
    while (read(pipes[0], &n, sizeof(n)) == (ssize_t)sizeof(n)) {
        assert_int_equal(n, acknowledged);
        acknowledged++;
        if (acknowledged == ACKNOWLEDGED_BEFORE_KILL) {
            assert_int_equal(kill(child, SIGKILL), 0);
        }
    }
    (void)close(pipes[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    return acknowledged;
}

static void what_was_acknowledged_outlives_kill_9(void **state)
{
    struct jt *t = *state;
    unsigned acknowledged;
    int64_t events;

    jt_close(t); /* before the fork: the child has a journal of its own */
    acknowledged = kill_mid_write(t);
    assert_true(acknowledged >= ACKNOWLEDGED_BEFORE_KILL);

    /* A reader before any writer came back, as the command line would. */
    events = jt_sql_int(t, "SELECT count(*) FROM events");
    jt_open(t); /* the dead child's lock is gone */
    assert_int_equal(jt_sql_int(t, "SELECT count(*) FROM events"), events);
    assert_true(events >= (int64_t)acknowledged);
    /* Batches are whole and in order: n first ones, nothing else, each with all its rows. */
    assert_int_equal(jt_sql_int(t, "SELECT max(id) FROM events"), events);
    assert_int_equal(jt_sql_int(t, "SELECT count(*) FROM postings"), events);
    chain_is_intact(t, events);
    assert_int_equal(tg_journal_next_id(t->journal, TG_TABLE_EVENTS), events + 1);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, jt_setup, jt_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(many_batches_share_few_commits_and_keep_their_order),
        CASE(a_full_queue_refuses),
        CASE(one_bad_batch_undoes_only_itself),
        CASE(what_breaks_a_rule_is_refused),
        CASE(a_total_never_becomes_a_double),
        CASE(a_full_disk_is_waited_out),
        CASE(closing_a_stuck_journal_says_no),
        CASE(a_foreign_lock_is_waited_out),
        CASE(what_was_acknowledged_outlives_kill_9),
    };

    /* A write past the limit shall fail, not kill. */
    if (signal(SIGXFSZ, SIG_IGN) == SIG_ERR) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
