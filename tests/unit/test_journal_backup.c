/* Copies of the journal: what a restored one holds, what is refused, and what a kill leaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "journal/backup.h"
#include "journal/restored.h"
#include "journal_rows.h"

struct paths {
    char backup[128], restoring[128];
};

static struct paths paths_of(const struct jt *t)
{
    struct paths p;

    (void)snprintf(p.backup, sizeof(p.backup), "%s/copy.db", t->dir);
    (void)snprintf(p.restoring, sizeof(p.restoring), "%s.restoring", t->path);
    return p;
}

static void put_mark(struct jt *t, int64_t id, enum tg_posting_state from, enum tg_posting_state to,
                     unsigned attempt, int64_t due_ms)
{
    struct tg_batch *b = tg_batch_new();
    struct tg_row_mark m = jt_mark(id, from, to);

    m.attempt = attempt;
    m.due_ms = due_ms;
    assert_int_equal(tg_batch_mark(b, &m), 0);
    jt_commit(t, b);
}

/* Six postings: ready, sent, retry, in doubt, held, posted, in this order. */
static void fill(struct jt *t)
{
    struct tg_batch *b = tg_batch_new();
    struct tg_row_posting held = jt_posting(5, 5, 0, 5, TG_POSTING_HELD);
    struct tg_row_event e = jt_event(5, 5, TG_EVENT_ACCEPTED);
    struct tg_row_object o = jt_object(5, 5, 5, 1, TG_VERSION_VALIDATED);

    for (unsigned n = 1; n <= 4; n++) {
        (void)jt_add_ready(t, b, n);
    }
    (void)tg_journal_next_id(t->journal, TG_TABLE_EVENTS);
    (void)tg_journal_next_id(t->journal, TG_TABLE_OBJECTS);
    (void)tg_journal_next_id(t->journal, TG_TABLE_POSTINGS);
    held.destination = t->erp;
    held.hold = "order";
    held.due_ms = 99;
    assert_int_equal(tg_batch_event(b, &e), 0);
    assert_int_equal(tg_batch_object(b, &o), 0);
    assert_int_equal(tg_batch_posting(b, &held), 0);
    (void)jt_add_ready(t, b, 6);
    jt_commit(t, b);
    put_mark(t, 2, TG_POSTING_READY, TG_POSTING_SENT, 1, 0);
    put_mark(t, 3, TG_POSTING_READY, TG_POSTING_SENT, 1, 0);
    put_mark(t, 3, TG_POSTING_SENT, TG_POSTING_RETRY, 1, 99);
    put_mark(t, 4, TG_POSTING_READY, TG_POSTING_SENT, 1, 0);
    put_mark(t, 4, TG_POSTING_SENT, TG_POSTING_IN_DOUBT, 1, 99);
    put_mark(t, 6, TG_POSTING_READY, TG_POSTING_SENT, 1, 0);
    put_mark(t, 6, TG_POSTING_SENT, TG_POSTING_POSTED, 1, 0);
}

static struct tg_backup_report backup(const struct jt *t, const struct paths *p)
{
    struct tg_backup_report report;
    struct tg_error err = {{0}};

    if (tg_backup_make(t->path, p->backup, NULL, &report, &err) != 0) {
        fail_msg("%s", err.text);
    }
    return report;
}

static void no_finding(void *arg, const char *what)
{
    (void)arg;
    fail_msg("%s", what);
}

static int restore(const struct jt *t, const struct paths *p, bool replace,
                   struct tg_restore_report *report, struct tg_error *err)
{
    struct tg_restore_options o = {.journal = t->path,
                                   .from = p->backup,
                                   .actor = "cli:test",
                                   .replace = replace,
                                   .finding = no_finding};

    return tg_restore_run(&o, report, err);
}

static void a_restored_journal_sends_nothing_unasked(void **state)
{
    struct jt *t = *state;
    const struct paths p = paths_of(t);
    struct tg_restore_report report;
    struct tg_backup_report made;
    struct tg_restored row;
    struct tg_error err = {{0}};
    struct tg_reader *r;

    fill(t);
    made = backup(t, &p);
    assert_int_equal(made.events, 6);
    assert_int_equal(made.postings, 6);
    put_mark(t, 1, TG_POSTING_READY, TG_POSTING_SENT, 1, 0); /* after the backup */
    jt_close(t);
    assert_int_equal(restore(t, &p, true, &report, &err), 0);
    assert_int_equal(report.in_doubt, 3);
    assert_int_equal(report.held, 1);
    assert_int_equal(report.backup.made_ms, made.made_ms);
    assert_int_equal(access(report.aside, F_OK), 0);
    assert_int_equal(access(p.restoring, F_OK), -1);

    /* ready, sent, retry are in doubt; in doubt and posted as they were; held stays held */
    assert_int_equal(jt_sql_int(t, "SELECT count(*) FROM postings WHERE id <= 4 AND state = 5"), 4);
    assert_int_equal(jt_sql_int(t, "SELECT state FROM postings WHERE id = 5"), TG_POSTING_HELD);
    assert_int_equal(jt_sql_int(t, "SELECT state FROM postings WHERE id = 6"), TG_POSTING_POSTED);
    /* not sent when the backup was made: the earliest is then; what was sent keeps its time */
    assert_int_equal(jt_sql_int(t, "SELECT first_sent_ms FROM postings WHERE id = 1"),
                     made.made_ms);
    assert_int_equal(jt_sql_int(t, "SELECT first_sent_ms FROM postings WHERE id = 5"),
                     made.made_ms);
    assert_int_equal(jt_sql_int(t, "SELECT first_sent_ms FROM postings WHERE id = 2"), 5000);
    assert_int_equal(jt_sql_int(t, "SELECT count(*) FROM attempts WHERE outcome = 'restored'"), 3);

    jt_open(t);
    r = jt_reader(t);
    assert_int_equal(tg_reader_restored(r, &row, &err), 0);
    assert_int_equal(row.state, TG_RESTORED_TO_DO);
    assert_int_equal(row.postings, 6);
    assert_int_equal(row.events, 6);
    assert_int_equal(row.backup_ms, made.made_ms);
    assert_int_equal(tg_journal_check(r, no_finding, NULL, &err), 0);
    tg_reader_close(r);
    assert_int_equal(jt_sql_int(t, "SELECT count(*) FROM audit WHERE action = 'journal.restored' "
                                   "AND actor = 'cli:test'"),
                     1);
    assert_int_equal(jt_sql_int(t, "SELECT count(*) FROM audit WHERE action = 'posting.in_doubt'"),
                     4);
}

static void a_fresh_machine_needs_no_replace(void **state)
{
    struct jt *t = *state;
    const struct paths p = paths_of(t);
    struct tg_restore_report report;
    struct tg_error err = {{0}};

    fill(t);
    (void)backup(t, &p);
    jt_close(t);
    assert_int_equal(unlink(t->path), 0);
    assert_int_equal(restore(t, &p, false, &report, &err), 0);
    assert_string_equal(report.aside, "");
    jt_open(t);
}

static void what_is_there_stays_unless_told(void **state)
{
    struct jt *t = *state;
    const struct paths p = paths_of(t);
    struct tg_restore_report report;
    struct tg_error err = {{0}};

    fill(t);
    (void)backup(t, &p);
    assert_int_equal(restore(t, &p, true, &report, &err), -1); /* a process holds it */
    assert_non_null(strstr(err.text, "is in use by process"));
    jt_close(t);
    assert_int_equal(restore(t, &p, false, &report, &err), -1);
    assert_non_null(strstr(err.text, "--replace"));
    assert_int_equal(jt_sql_int(t, "SELECT count(*) FROM restores"), 0);
    assert_int_equal(access(p.restoring, F_OK), -1);
    jt_open(t);
}

static void flip(const char *path, off_t at)
{
    int fd = open(path, O_RDWR);
    unsigned char byte = 0;

    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 0xff;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    assert_int_equal(close(fd), 0);
}

/* Whatever byte is wrong: refused with the reason, or it was in unused space; never half taken. */
static void a_damaged_backup_is_refused(void **state)
{
    struct jt *t = *state;
    const struct paths p = paths_of(t);
    struct tg_restore_report report;
    struct tg_backup_report made;
    struct tg_error err;
    size_t refused = 0;

    fill(t);
    made = backup(t, &p);
    jt_close(t);
    for (off_t at = 100; at < made.bytes; at += 2503) {
        flip(p.backup, at);
        memset(&err, 0, sizeof(err));
        if (restore(t, &p, true, &report, &err) != 0) {
            refused++;
            assert_true(strlen(err.text) > 10);
            assert_int_equal(jt_sql_int(t, "SELECT count(*) FROM audit WHERE prev IS NULL"), 0);
        }
        assert_int_equal(access(p.restoring, F_OK), -1);
        flip(p.backup, at);
    }
    assert_true(refused > 0);
    assert_int_equal(restore(t, &p, true, &report, &err), 0); /* mended, it is taken */
    jt_open(t);
}

static void a_broken_chain_is_refused(void **state)
{
    struct jt *t = *state;
    const struct paths p = paths_of(t);
    struct tg_restore_report report;
    struct tg_error err = {{0}};

    fill(t);
    jt_sql(t, "UPDATE audit SET detail = 'x' WHERE seq = 2");
    jt_close(t);
    assert_int_equal(tg_backup_make(t->path, p.backup, NULL, &report.backup, &err), -1);
    assert_non_null(strstr(err.text, "row 2 was changed"));
    assert_int_equal(access(p.backup, F_OK), -1);
    jt_open(t);
}

static void count_finding(void *arg, const char *what)
{
    size_t *seen = arg;

    assert_true(strlen(what) > 0);
    (*seen)++;
}

static void findings_stop_it_unless_accepted(void **state)
{
    struct jt *t = *state;
    const struct paths p = paths_of(t);
    struct tg_restore_options o = {
        .journal = t->path, .from = p.backup, .actor = "cli:test", .replace = true};
    struct tg_restore_report report;
    struct tg_error err = {{0}};
    size_t seen = 0;

    fill(t);
    jt_sql(t, "UPDATE postings SET quantity_micros = 1 WHERE id = 6");
    (void)backup(t, &p);
    jt_close(t);
    o.finding = count_finding;
    o.finding_arg = &seen;
    assert_int_equal(tg_restore_run(&o, &report, &err), -1);
    assert_non_null(strstr(err.text, "--accept-findings"));
    assert_true(seen > 0);
    o.accept_findings = true;
    assert_int_equal(tg_restore_run(&o, &report, &err), 0);
    assert_true(report.findings > 0);
    jt_open(t);
}

static void not_a_backup(void **state)
{
    struct jt *t = *state;
    struct paths p = paths_of(t);
    struct tg_restore_report report;
    struct tg_error err = {{0}};
    FILE *f;

    fill(t);
    jt_close(t);
    assert_int_equal(restore(t, &p, true, &report, &err), -1);
    assert_non_null(strstr(err.text, "No such file"));
    f = fopen(p.backup, "we");
    assert_non_null(f);
    assert_true(fputs("this is text, long enough to be no SQLite file at all", f) > 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(restore(t, &p, true, &report, &err), -1);
    assert_non_null(strstr(err.text, "copy.db"));
    (void)snprintf(p.backup, sizeof(p.backup), "%s", t->path);
    assert_int_equal(restore(t, &p, true, &report, &err), -1);
    assert_non_null(strstr(err.text, "the journal itself"));
    jt_open(t);
}

/* A restore of a restored journal keeps what the first one knew of the stream. */
static void positions_are_carried_over(void **state)
{
    struct jt *t = *state;
    const struct paths p = paths_of(t);
    struct tg_restore_report report;
    struct tg_error err = {{0}};
    struct tg_batch *b = tg_batch_new();

    fill(t);
    (void)backup(t, &p);
    jt_close(t);
    assert_int_equal(restore(t, &p, true, &report, &err), 0);
    jt_open(t);
    assert_int_equal(tg_batch_restored_position(b, 1, 7, "5-0"), 0);
    assert_int_equal(tg_batch_restored_position(b, 1, 7, "1763685804123-9"), 0); /* replaces */
    assert_int_equal(tg_batch_restored_state(b, 1, TG_RESTORED_POSITIONS), 0);
    jt_commit(t, b);
    jt_close(t);
    assert_int_equal(restore(t, &p, true, &report, &err), 0);
    assert_int_equal(jt_sql_int(t, "SELECT count(*) FROM restore_positions WHERE restore = 1 "
                                   "AND shard = 7 AND upto = '1763685804123-9'"),
                     1);
    assert_int_equal(jt_sql_int(t, "SELECT count(*) FROM restore_positions"), 1);
    jt_open(t);
}

/* kill -9 anywhere in a restore: the old journal or the new one, and never a start on half. */
static void killed_at_any_moment(void **state)
{
    struct jt *t = *state;
    const struct paths p = paths_of(t);
    struct tg_restore_report report;
    struct tg_error err = {{0}};
    int old = 0;

    fill(t);
    (void)backup(t, &p);
    put_mark(t, 1, TG_POSTING_READY, TG_POSTING_SENT, 1, 0);
    put_mark(t, 1, TG_POSTING_SENT, TG_POSTING_POSTED, 1, 0);
    jt_close(t);
    for (long us = 0; us < 40000; us += 800) {
        const struct timespec wait = {0, us * 1000};
        pid_t pid = fork();
        int64_t posted;
        struct tg_journal_options o = {.path = t->path};
        struct tg_journal *j;

        if (pid == 0) {
            _exit(restore(t, &p, true, &report, &err) == 0 ? 0 : 1);
        }
        assert_true(pid > 0);
        (void)nanosleep(&wait, NULL);
        (void)kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        posted = jt_sql_int(t, "SELECT count(*) FROM postings WHERE state = 6");
        assert_true(posted == 1 || posted == 2);
        old += posted == 2;
        if (access(p.restoring, F_OK) == 0) {
            assert_null(tg_journal_open(&o, &err));
            assert_non_null(strstr(err.text, "did not come to its end"));
        } else {
            j = tg_journal_open(&o, &err);
            assert_non_null(j);
            tg_journal_close(j);
        }
    }
    assert_true(old > 0);
    assert_int_equal(restore(t, &p, true, &report, &err), 0);
    assert_int_equal(jt_sql_int(t, "SELECT count(*) FROM postings WHERE state = 6"), 1);
    jt_open(t);
}

/* A stop in the middle leaves no file. */
static void given_up(void **state)
{
    struct jt *t = *state;
    const struct paths p = paths_of(t);
    const volatile sig_atomic_t stop = 1;
    struct tg_backup_report report;
    struct tg_error err = {{0}};
    struct tg_batch *b = tg_batch_new();

    for (unsigned n = 1; n <= 3000; n++) {
        (void)jt_add_ready(t, b, n);
    }
    jt_commit(t, b);
    assert_int_equal(tg_backup_make(t->path, p.backup, &stop, &report, &err), -1);
    assert_non_null(strstr(err.text, "given up"));
    assert_int_equal(access(p.backup, F_OK), -1);
    assert_int_equal(tg_backup_make(t->path, p.backup, NULL, &report, &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_restored_journal_sends_nothing_unasked, jt_setup,
                                        jt_teardown),
        cmocka_unit_test_setup_teardown(a_fresh_machine_needs_no_replace, jt_setup, jt_teardown),
        cmocka_unit_test_setup_teardown(what_is_there_stays_unless_told, jt_setup, jt_teardown),
        cmocka_unit_test_setup_teardown(a_damaged_backup_is_refused, jt_setup, jt_teardown),
        cmocka_unit_test_setup_teardown(a_broken_chain_is_refused, jt_setup, jt_teardown),
        cmocka_unit_test_setup_teardown(findings_stop_it_unless_accepted, jt_setup, jt_teardown),
        cmocka_unit_test_setup_teardown(not_a_backup, jt_setup, jt_teardown),
        cmocka_unit_test_setup_teardown(positions_are_carried_over, jt_setup, jt_teardown),
        cmocka_unit_test_setup_teardown(killed_at_any_moment, jt_setup, jt_teardown),
        cmocka_unit_test_setup_teardown(given_up, jt_setup, jt_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
