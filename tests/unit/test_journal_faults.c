/* A disk that lies or fails, by a VFS that answers as told: full, or a sync that does not work. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "journal_rows.h"

enum fault { FINE, FULL_WRITES, FAILED_SYNCS, FAILED_FILE_WRITES };

static atomic_int fault = FINE;
static atomic_int faults_given;

/* A copy of the real methods with two replaced; the real ones stay reachable behind it. */
struct methods {
    sqlite3_io_methods patched;
    const sqlite3_io_methods *real;
    bool wal;
};

static struct methods known[8];
static size_t known_count;
static sqlite3_vfs vfs;
static sqlite3_vfs *real_vfs;

static const struct methods *of(sqlite3_file *f)
{
    return (const struct methods *)f->pMethods;
}

static int faulty_write(sqlite3_file *f, const void *data, int n, sqlite3_int64 at)
{
    if (atomic_load(&fault) == FULL_WRITES && of(f)->wal) {
        (void)atomic_fetch_add(&faults_given, 1);
        return SQLITE_FULL;
    }
    if (atomic_load(&fault) == FAILED_FILE_WRITES && !of(f)->wal) {
        (void)atomic_fetch_add(&faults_given, 1);
        return SQLITE_IOERR_WRITE;
    }
    return of(f)->real->xWrite(f, data, n, at);
}

static int faulty_sync(sqlite3_file *f, int flags)
{
    if (atomic_load(&fault) == FAILED_SYNCS) {
        (void)atomic_fetch_add(&faults_given, 1);
        return SQLITE_IOERR_FSYNC;
    }
    return of(f)->real->xSync(f, flags);
}

/* Opens happen on the test's thread only: the table needs no lock. */
static int faulty_open(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags, int *out)
{
    bool wal = (flags & SQLITE_OPEN_WAL) != 0;
    int result = real_vfs->xOpen(real_vfs, name, f, flags, out);
    size_t i;

    (void)v;
    if (result != SQLITE_OK || f->pMethods == NULL) {
        return result;
    }
    for (i = 0; i < known_count; i++) {
        if (known[i].real == f->pMethods && known[i].wal == wal) {
            break;
        }
    }
    if (i == known_count) {
        if (i == sizeof(known) / sizeof(known[0])) {
            (void)f->pMethods->xClose(f);
            return SQLITE_CANTOPEN;
        }
        known[i].patched = *f->pMethods;
        known[i].real = f->pMethods;
        known[i].wal = wal;
        known[i].patched.xWrite = faulty_write;
        known[i].patched.xSync = faulty_sync;
        known_count++;
    }
    f->pMethods = &known[i].patched;
    return SQLITE_OK;
}

static void wait_faults(struct jt *t, int n)
{
    struct timespec pause = {0, 1000000};
    int left = JT_DEADLINE_S * 1000;

    while (atomic_load(&faults_given) < n && left-- > 0) {
        assert_int_equal(tg_journal_poll(t->journal), 0);
        (void)nanosleep(&pause, NULL);
    }
    assert_true(atomic_load(&faults_given) >= n);
}

static void nothing_is_acknowledged_while(struct jt *t, enum fault what)
{
    struct tg_batch *b = tg_batch_new();
    struct tg_row_mark m = jt_mark(1, TG_POSTING_READY, TG_POSTING_SENT);
    struct tg_journal_stats stats;

    (void)jt_add_ready(t, b, 1);
    jt_commit(t, b);
    atomic_store(&faults_given, 0);
    atomic_store(&fault, what);
    b = tg_batch_new();
    assert_int_equal(tg_batch_mark(b, &m), 0);
    jt_submit(t, b);
    b = tg_batch_new();
    m = jt_mark(1, TG_POSTING_SENT, TG_POSTING_IN_DOUBT);
    assert_int_equal(tg_batch_mark(b, &m), 0);
    jt_submit(t, b);
    wait_faults(t, 3); /* several tries */
    assert_int_equal(jt_sql_int(t, "SELECT state FROM postings"), TG_POSTING_READY);
    tg_journal_stats(t->journal, &stats);
    assert_true(stats.stuck);
    assert_int_equal(stats.queued, 2);
    atomic_store(&fault, FINE);
    jt_settle(t);
    assert_int_equal(t->ok, 3);
    assert_int_equal(t->refused, 0);
    assert_int_equal(jt_sql_int(t, "SELECT state FROM postings"), TG_POSTING_IN_DOUBT);
    assert_int_equal(jt_sql_int(t, "SELECT max(seq) FROM audit"), 1);
    tg_journal_stats(t->journal, &stats);
    assert_false(stats.stuck);
    assert_int_equal(stats.queued, 0);
}

static void a_full_disk_loses_nothing(void **state)
{
    nothing_is_acknowledged_while(*state, FULL_WRITES);
}

static void a_failed_sync_is_not_taken_for_done(void **state)
{
    nothing_is_acknowledged_while(*state, FAILED_SYNCS);
}

/* The WAL has it: commits go on while it cannot be copied into the file. */
static void a_failed_copy_of_the_wal_stops_no_commit(void **state)
{
    struct jt *t = *state;
    char detail[TG_AUDIT_DETAIL_MAX_BYTES + 1];
    struct tg_batch *b;

    memset(detail, 'x', sizeof(detail));
    detail[sizeof(detail) - 1] = '\0';
    atomic_store(&faults_given, 0);
    atomic_store(&fault, FAILED_FILE_WRITES);
    for (int i = 0; i < 4; i++) {
        b = tg_batch_new();
        for (int n = 0; n < TG_JOURNAL_WAL_PAGES / 2; n++) {
            assert_int_equal(tg_batch_audit(b, "test", "test.large", "wal", detail), 0);
        }
        jt_commit(t, b);
    }
    assert_true(atomic_load(&faults_given) > 0);
    atomic_store(&fault, FINE);
    b = tg_batch_new();
    assert_int_equal(tg_batch_audit(b, "test", "test.after", "wal", NULL), 0);
    jt_commit(t, b);
    jt_close(t);
    jt_open(t);
    assert_int_equal(jt_sql_int(t, "SELECT count(*) FROM audit"), 2 * TG_JOURNAL_WAL_PAGES + 1);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, jt_setup, jt_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_full_disk_loses_nothing),
        CASE(a_failed_sync_is_not_taken_for_done),
        CASE(a_failed_copy_of_the_wal_stops_no_commit),
    };

    real_vfs = sqlite3_vfs_find(NULL);
    if (real_vfs == NULL) {
        return 1;
    }
    vfs = *real_vfs;
    vfs.zName = "faulty";
    vfs.xOpen = faulty_open;
    if (sqlite3_vfs_register(&vfs, 1) != SQLITE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
