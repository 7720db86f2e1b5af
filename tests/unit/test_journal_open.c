/* Who may open what, and what is said when not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "journal_rows.h"

static void refused(const char *path, const char *part, const char *other_part)
{
    struct tg_journal_options o = {.path = path};
    struct tg_error err = {{0}};

    assert_null(tg_journal_open(&o, &err));
    if (strstr(err.text, part) == NULL || strstr(err.text, other_part) == NULL) {
        fail_msg("\"%s\" has no \"%s\" or no \"%s\"", err.text, part, other_part);
    }
}

static void reader_refused(const char *path, const char *part)
{
    struct tg_error err = {{0}};

    assert_null(tg_reader_open(path, &err));
    if (strstr(err.text, part) == NULL) {
        fail_msg("\"%s\" has no \"%s\"", err.text, part);
    }
}

static void write_file(const char *path, const char *data, size_t len, off_t at)
{
    int fd = open(path, O_WRONLY | O_CREAT, 0600);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, data, len, at), (ssize_t)len);
    assert_int_equal(close(fd), 0);
}

static void a_second_opener_is_told_the_first_ones_pid(void **state)
{
    struct jt *t = *state;
    char pid[32];
    char link[128];
    pid_t child;
    int status;

    (void)snprintf(pid, sizeof(pid), "process %ld;", (long)getpid());
    refused(t->path, pid, t->path);
    (void)snprintf(link, sizeof(link), "%s/link.db", t->dir);
    assert_int_equal(symlink(t->path, link), 0);
    refused(link, pid, t->path);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) { /* another process */
        struct tg_journal_options o = {.path = t->path};
        struct tg_error err = {{0}};

        _exit(tg_journal_open(&o, &err) == NULL && strstr(err.text, pid) != NULL ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    jt_close(t);
    jt_open(t); /* the lock went with the first */
}

static void paths_that_cannot_work_are_named(void **state)
{
    struct jt *t = *state;
    char path[256];
    char longer[8192];

    (void)snprintf(path, sizeof(path), "%s/missing/journal.db", t->dir);
    refused(path, "/missing: ", "create it");
    (void)snprintf(path, sizeof(path), "%s/journal.db/x.db", t->dir);
    refused(path, "journal.db", "not a directory");
    refused(t->dir, t->dir, "is not a file");
    refused("", "empty", "journal.path");
    memset(longer, 'x', sizeof(longer));
    longer[sizeof(longer) - 1] = '\0';
    refused(longer, "too long", "xxx");
    (void)snprintf(path, sizeof(path), "%s/none.db", t->dir);
    reader_refused(path, "none.db");
    assert_int_equal(access(path, F_OK), -1); /* a reader makes no file */
}

static void files_of_another_kind_are_refused(void **state)
{
    struct jt *t = *state;
    static const char text[] = "this is not a database, it is a text of more than a hundred bytes, "
                               "so that nobody takes it for an empty one.......................\n";
    char path[256];
    struct jt other = {.journal = NULL};

    (void)snprintf(path, sizeof(path), "%s/text.db", t->dir);
    write_file(path, text, sizeof(text), 0);
    refused(path, "not a SQLite file", path);
    reader_refused(path, "not a database");

    (void)snprintf(other.path, sizeof(other.path), "%s/other.db", t->dir);
    jt_sql(&other, "CREATE TABLE songs(id INTEGER PRIMARY KEY)");
    refused(other.path, "another program", other.path);
    reader_refused(other.path, "not a journal");
    assert_int_equal(jt_sql_int(&other, "SELECT count(*) FROM sqlite_schema"), 1);

    (void)snprintf(path, sizeof(path), "%s/empty.db", t->dir);
    write_file(path, "", 0, 0);
    reader_refused(path, "not a journal");
}

static void a_damaged_file_is_refused(void **state)
{
    struct jt *t = *state;
    char junk[4096];
    struct tg_journal_options o = {.path = t->path};
    struct tg_error err = {{0}};

    jt_close(t);
    memset(junk, 0x5a, sizeof(junk));
    write_file(t->path, junk, sizeof(junk) - 100, 100); /* page 1 behind its header */
    assert_null(tg_journal_open(&o, &err));
    assert_non_null(strstr(err.text, "damaged"));
    assert_non_null(strstr(err.text, t->path));
}

static void a_newer_schema_is_refused(void **state)
{
    struct jt *t = *state;
    const int64_t ours = jt_sql_int(t, "PRAGMA user_version");
    char back[64];

    jt_close(t);
    jt_sql(t, "PRAGMA user_version = 99");
    refused(t->path, "schema 99", "newer tallygate");
    reader_refused(t->path, "schema 99");
    jt_sql(t, "PRAGMA user_version = 0");
    reader_refused(t->path, "tallygate serve once");
    (void)snprintf(back, sizeof(back), "PRAGMA user_version = %d", (int)ours);
    jt_sql(t, back);
    jt_open(t); /* nothing was touched */
}

/* tests/data/journal-schema1.sql: a journal as the first version wrote it. The caller frees. */
static char *first_schema(void)
{
    FILE *f = fopen("tests/data/journal-schema1.sql", "re");
    char *text = calloc(1, 65536);

    assert_non_null(f);
    assert_non_null(text);
    assert_true(fread(text, 1, 65535, f) > 10000);
    assert_int_equal(fclose(f), 0);
    return text;
}

static void an_older_schema_is_brought_up_to_date(void **state)
{
    struct jt *t = *state;
    struct tg_reader *r;
    struct tg_error err = {{0}};
    char *sql = first_schema();
    int64_t before = -1;

    jt_close(t);
    assert_int_equal(unlink(t->path), 0);
    jt_sql(t, sql);
    free(sql);
    jt_sql(t, "UPDATE postings SET state = 2 WHERE id = 1");
    reader_refused(t->path, "tallygate serve once");
    jt_open(t);
    assert_int_equal(jt_sql_int(t, "SELECT count(*) FROM postings WHERE hold = '' "
                                   "AND hold_on IS NULL AND reverses IS NULL AND state = 2"),
                     1);
    assert_int_equal(jt_sql_int(t, "SELECT count(*) FROM events"), 6);
    r = jt_reader(t);
    assert_int_equal(tg_reader_before(r, 1, &before, &err), 0);
    assert_int_equal(before, 0);
    tg_reader_close(r);
}

static void id_of(struct jt *t, char out[TG_JOURNAL_ID_BYTES + 1])
{
    struct tg_error err = {{0}};
    struct tg_reader *r = jt_reader(t);

    assert_int_equal(tg_reader_journal_id(r, out, &err), 0);
    assert_int_equal(strspn(out, "0123456789abcdef"), TG_JOURNAL_ID_BYTES);
    tg_reader_close(r);
}

/* Redis remembers it: it must outlive the process, and never be another journal's. */
static void a_journal_has_an_id_of_its_own(void **state)
{
    struct jt *t = *state;
    char first[TG_JOURNAL_ID_BYTES + 1];
    char again[TG_JOURNAL_ID_BYTES + 1];

    id_of(t, first);
    jt_close(t);
    jt_open(t);
    id_of(t, again);
    assert_string_equal(again, first);
    jt_close(t);
    assert_int_equal(unlink(t->path), 0);
    jt_open(t);
    id_of(t, again);
    assert_string_not_equal(again, first);
}

static void the_file_is_the_owners_alone_and_durable(void **state)
{
    struct jt *t = *state;
    struct stat st;
    char path[256];
    char text[8] = {0};
    int fd;

    assert_int_equal(stat(t->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    (void)snprintf(path, sizeof(path), "%s-wal", t->path);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    jt_close(t);
    assert_int_equal(stat(path, &st), -1); /* a clean close leaves one file */
    fd = open(t->path, O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, text, 4, 68), 4); /* application id, SQLite's file format 1.3 */
    assert_memory_equal(text, "TGJ1", 4);
    assert_int_equal(close(fd), 0);
    jt_open(t);
}

static bool count_event(void *arg, const struct tg_row_event *e, int64_t journalled_ms)
{
    (void)e;
    (void)journalled_ms;
    (*(int *)arg)++;
    return true;
}

/* 0 when a reader of its own sees the event; runs in a child. */
static int child_reads(const struct jt *t, const char *event_id)
{
    struct tg_error err = {{0}};
    struct tg_reader *r = tg_reader_open(t->path, &err);
    int seen = 0;
    int result;

    if (r == NULL) {
        return 2;
    }
    result = tg_reader_event(r, event_id, count_event, &seen, &err);
    tg_reader_close(r);
    return result == 0 && seen == 1 ? 0 : 3;
}

static void another_process_reads_beside_the_writer(void **state)
{
    struct jt *t = *state;

    for (unsigned n = 1; n <= 3; n++) {
        struct tg_batch *b = tg_batch_new();
        pid_t child;
        int status;

        (void)jt_add_ready(t, b, n);
        jt_commit(t, b);
        child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            struct tg_row_event e = jt_event(n, n, TG_EVENT_ACCEPTED);

            _exit(child_reads(t, e.event_id));
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
}

static void a_reader_outlives_the_writer(void **state)
{
    struct jt *t = *state;
    struct tg_batch *b = tg_batch_new();
    struct tg_row_event e = jt_event(1, 1, TG_EVENT_ACCEPTED);
    struct tg_reader *r = jt_reader(t);
    struct tg_error err;
    int seen = 0;

    (void)jt_add_ready(t, b, 1);
    jt_commit(t, b);
    assert_int_equal(tg_reader_event(r, e.event_id, count_event, &seen, &err), 0);
    jt_close(t);
    assert_int_equal(tg_reader_event(r, e.event_id, count_event, &seen, &err), 0);
    jt_open(t);
    b = tg_batch_new();
    (void)jt_add_ready(t, b, 2);
    jt_commit(t, b);
    e = jt_event(2, 2, TG_EVENT_ACCEPTED);
    assert_int_equal(tg_reader_event(r, e.event_id, count_event, &seen, &err), 0);
    assert_int_equal(seen, 3);
    tg_reader_close(r);
}

static void closing_commits_and_calls_back(void **state)
{
    struct jt *t = *state;

    for (unsigned n = 0; n < 1000; n++) {
        struct tg_batch *b = tg_batch_new();

        (void)jt_add_ready(t, b, n);
        jt_submit(t, b);
    }
    jt_close(t);
    assert_int_equal(t->ok, 1000);
    assert_int_equal(jt_sql_int(t, "SELECT count(*) FROM postings"), 1000);
    tg_journal_close(NULL);
    jt_open(t);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, jt_setup, jt_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_second_opener_is_told_the_first_ones_pid),
        CASE(paths_that_cannot_work_are_named),
        CASE(files_of_another_kind_are_refused),
        CASE(a_damaged_file_is_refused),
        CASE(a_newer_schema_is_refused),
        CASE(an_older_schema_is_brought_up_to_date),
        CASE(a_journal_has_an_id_of_its_own),
        CASE(the_file_is_the_owners_alone_and_durable),
        CASE(another_process_reads_beside_the_writer),
        CASE(a_reader_outlives_the_writer),
        CASE(closing_commits_and_calls_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
