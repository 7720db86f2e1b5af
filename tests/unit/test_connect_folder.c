/* The file destination on a real directory: every answer against what is really in the files, also
 * after torn tails, failing disks and SIGKILL at random moments. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/codec.h"
#include "common/digest.h"
#include "common/log.h"
#include "connect/folder.h"
#include "connect/fs.h"

#define CRASH_RUNS 25
#define CRASH_KEYS 2000
#define FILE_MAX (8 * 1024 * 1024)

static char root[64];
static char dir[96];

/* ---- a directory a test ---- */

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static int setup(void **state)
{
    (void)state;
    (void)snprintf(root, sizeof(root), "/tmp/tg-folder-XXXXXX");
    if (mkdtemp(root) == NULL) {
        return -1;
    }
    (void)snprintf(dir, sizeof(dir), "%s/out/erp", root);
    tg_log_set_level(TG_LOG_ERROR + 1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tg_fs_calls = (struct tg_fs_calls){write, fsync, ftruncate};
    return nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void path_of(const char *name, char out[256])
{
    (void)snprintf(out, 256, "%s/%s", dir, name);
}

/* The whole file with a NUL; the caller frees. NULL: there is none. */
static char *slurp(const char *name)
{
    char path[256];
    FILE *f;
    char *text;
    size_t n;

    path_of(name, path);
    f = fopen(path, "rb");
    if (f == NULL) {
        return NULL;
    }
    text = malloc(FILE_MAX);
    assert_non_null(text);
    n = fread(text, 1, FILE_MAX - 1, f);
    text[n] = '\0';
    (void)fclose(f);
    return text;
}

static void append_raw(const char *name, const char *text)
{
    char path[256];
    FILE *f;

    path_of(name, path);
    f = fopen(path, "ab");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
}

static size_t count(const char *text, const char *needle)
{
    size_t n = 0;

    for (const char *p = text; (p = strstr(p, needle)) != NULL; p += strlen(needle)) {
        n++;
    }
    return n;
}

/* ---- jobs ---- */

struct made {
    char key[2 * TG_POSTING_KEY_BYTES + 1];
    char payload[512];
};

static void key_of(unsigned n, char out[2 * TG_POSTING_KEY_BYTES + 1])
{
    unsigned char digest[TG_SHA256_BYTES];
    char text[32];

    (void)snprintf(text, sizeof(text), "key %u", n);
    assert_int_equal(tg_sha256(tg_str_of(text), digest), 0);
    tg_hex_encode(digest, TG_POSTING_KEY_BYTES, out);
    out[2 * TG_POSTING_KEY_BYTES] = '\0';
}

static struct tg_folder_job job(struct made *m, unsigned n, bool labor, bool is_lookup)
{
    key_of(n, m->key);
    (void)snprintf(m->payload, sizeof(m->payload),
                   "{\"entry\":\"TE-%u\",\"version\":1,\"date\":\"2026-11-16\",\"%s\":"
                   "\"2026-11\",\"worker\":\"W-%u\",\"project\":\"P-1\",\"task\":\"T-1\","
                   "\"pay_code\":\"REG\",\"cost_center\":\"CC-1\",\"hours\":\"1.25\","
                   "\"amount\":\"100.00\",\"currency\":\"EUR\"}",
                   n, labor ? "period" : "pay_period", n % 3);
    return (struct tg_folder_job){.is_lookup = is_lookup,
                                  .key_hex = m->key,
                                  .kind = labor ? "labor" : "hours",
                                  .payload = m->payload};
}

static enum tg_outcome send_one(struct tg_folder *f, unsigned n, bool labor, char *ref)
{
    struct made m;
    struct tg_folder_job j = job(&m, n, labor, false);

    tg_folder_run(f, &j, 1);
    if (ref != NULL) {
        (void)snprintf(ref, TG_CONNECT_REF_MAX_BYTES, "%s", j.ref);
    }
    return j.outcome;
}

static enum tg_lookup look(struct tg_folder *f, unsigned n, bool labor)
{
    struct made m;
    struct tg_folder_job j = job(&m, n, labor, true);

    tg_folder_run(f, &j, 1);
    return j.lookup;
}

static struct tg_folder *must_open(void)
{
    struct tg_error err = {""};
    struct tg_folder *f = tg_folder_open(dir, &err);

    if (f == NULL) {
        print_message("# %s\n", err.text);
    }
    assert_non_null(f);
    return f;
}

static void must_refuse(const char *part)
{
    struct tg_error err = {""};

    assert_null(tg_folder_open(dir, &err));
    if (strstr(err.text, part) == NULL) {
        print_message("# %s\n", err.text);
    }
    assert_non_null(strstr(err.text, part));
    assert_non_null(strstr(err.text, dir));
}

/* ---- plain behaviour ---- */

static void a_batch_is_posted_with_references(void **state)
{
    struct tg_folder *f = must_open();
    struct made m[4];
    struct tg_folder_job jobs[4] = {job(&m[0], 1, true, false), job(&m[1], 2, false, false),
                                    job(&m[2], 3, true, false), job(&m[3], 3, true, false)};
    char *csv;

    (void)state;
    tg_folder_run(f, jobs, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(jobs[i].outcome, TG_OUTCOME_POSTED);
    }
    assert_string_equal(jobs[0].ref, "labor-2026-11.csv:2");
    assert_string_equal(jobs[1].ref, "payroll-2026-11.csv:2");
    assert_string_equal(jobs[2].ref, "labor-2026-11.csv:3");
    assert_string_equal(jobs[3].ref, "labor-2026-11.csv:3"); /* one key, one line */
    csv = slurp("labor-2026-11.csv");
    assert_int_equal(count(csv, "\n"), 3);
    assert_int_equal(count(csv, m[2].key), 1);
    assert_int_equal(strncmp(csv, "entry,version,date,", 19), 0);
    free(csv);
    assert_int_equal(look(f, 1, true), TG_LOOKUP_FOUND);
    assert_int_equal(look(f, 9, true), TG_LOOKUP_ABSENT);
    tg_folder_close(f);
}

static void the_same_key_again_adds_nothing(void **state)
{
    struct tg_folder *f = must_open();
    char ref[TG_CONNECT_REF_MAX_BYTES];
    char *before, *after;

    (void)state;
    assert_int_equal(send_one(f, 1, true, ref), TG_OUTCOME_POSTED);
    before = slurp("labor-2026-11.csv");
    assert_int_equal(send_one(f, 1, true, ref), TG_OUTCOME_POSTED);
    assert_string_equal(ref, "labor-2026-11.csv:2");
    tg_folder_close(f);
    f = must_open();
    assert_int_equal(send_one(f, 1, true, ref), TG_OUTCOME_POSTED);
    assert_string_equal(ref, "labor-2026-11.csv:2");
    after = slurp("labor-2026-11.csv");
    assert_string_equal(before, after);
    free(before);
    free(after);
    tg_folder_close(f);
}

static void what_it_cannot_take_is_rejected(void **state)
{
    struct tg_folder *f = must_open();
    struct made m;
    struct tg_folder_job j = job(&m, 1, true, false);

    (void)state;
    j.kind = "invoice";
    tg_folder_run(f, &j, 1);
    assert_int_equal(j.outcome, TG_OUTCOME_REJECTED);
    assert_non_null(strstr(j.detail, "labor and hours"));
    j = job(&m, 1, true, false);
    j.payload = "[]";
    tg_folder_run(f, &j, 1);
    assert_int_equal(j.outcome, TG_OUTCOME_REJECTED);
    j = job(&m, 1, true, false);
    j.key_hex = "12";
    tg_folder_run(f, &j, 1);
    assert_int_equal(j.outcome, TG_OUTCOME_REJECTED);
    j = job(&m, 1, true, false);
    j.payload = "{\"period\":\"2026-11\",\"worker\":\"a\\u0000b\"}";
    tg_folder_run(f, &j, 1);
    assert_int_equal(j.outcome, TG_OUTCOME_REJECTED);
    assert_null(slurp("labor-2026-11.csv"));
    tg_folder_close(f);
}

static void a_directory_has_one_user(void **state)
{
    struct tg_folder *f = must_open();

    (void)state;
    must_refuse("another destination or process writes here");
    tg_folder_close(f);
    f = must_open();
    tg_folder_close(f);
}

static void a_directory_that_cannot_be_used_is_named(void **state)
{
    FILE *f;

    (void)state;
    (void)snprintf(dir, sizeof(dir), "%s/file", root);
    f = fopen(dir, "w");
    assert_non_null(f);
    assert_int_equal(fclose(f), 0);
    must_refuse("cannot open");
    (void)snprintf(dir, sizeof(dir), "%s/file/below", root);
    must_refuse("cannot create");
}

static void many_periods_with_few_open_files(void **state)
{
    struct tg_folder *f = must_open();
    struct made m[3 * TG_FILE_BOOKS_OPEN_MAX];
    struct tg_folder_job jobs[3 * TG_FILE_BOOKS_OPEN_MAX];

    (void)state;
    for (int round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 3 * TG_FILE_BOOKS_OPEN_MAX; i++) {
            char *at;

            jobs[i] = job(&m[i], i + 100 * (unsigned)round, true, false);
            at = strstr(m[i].payload, "\"2026-11\"");
            at[6] = (char)('0' + i / 10);
            at[7] = (char)('0' + i % 10);
        }
        tg_folder_run(f, jobs, 3 * TG_FILE_BOOKS_OPEN_MAX);
        for (unsigned i = 0; i < 3 * TG_FILE_BOOKS_OPEN_MAX; i++) {
            char want[TG_CONNECT_REF_MAX_BYTES];

            (void)snprintf(want, sizeof(want), "labor-2026-%02u.csv:%d", i, 2 + round);
            assert_int_equal(jobs[i].outcome, TG_OUTCOME_POSTED);
            assert_string_equal(jobs[i].ref, want);
        }
    }
    tg_folder_close(f);
}

/* ---- projections ---- */

static void assert_ledger(size_t entries)
{
    char *ledger = slurp("ledger.journal");

    assert_non_null(ledger);
    assert_int_equal(count(ledger, "; key:"), entries);
    assert_int_equal(count(ledger, "\n\n"), entries + 1);
    assert_int_equal(count(ledger, "  1.25 h\n"), entries);
    assert_int_equal(count(ledger, "  -1.25 h\n"), entries);
    free(ledger);
}

static void the_ledger_follows_the_labor_files(void **state)
{
    struct tg_folder *f = must_open();
    char path[256];

    (void)state;
    assert_null(slurp("ledger.journal"));
    for (unsigned n = 0; n < 5; n++) {
        assert_int_equal(send_one(f, n, true, NULL), TG_OUTCOME_POSTED);
    }
    assert_ledger(5);
    tg_folder_close(f);
    append_raw("ledger.journal", "2026-11-16 * (TE-0@1) torn");
    tg_folder_close(must_open());
    assert_ledger(5);
    append_raw("ledger.journal", "2026-01-01 extra\n    a  1 h\n    b  -1 h\n\n");
    tg_folder_close(must_open());
    assert_ledger(5);
    path_of("ledger.journal", path);
    assert_int_equal(truncate(path, 200), 0);
    tg_folder_close(must_open());
    assert_ledger(5);
    assert_int_equal(unlink(path), 0);
    f = must_open();
    assert_ledger(5);
    assert_int_equal(unlink(path), 0); /* while in use */
    assert_int_equal(send_one(f, 7, true, NULL), TG_OUTCOME_POSTED);
    assert_ledger(6);
    tg_folder_close(f);
}

static void the_totals_say_what_the_file_holds(void **state)
{
    struct tg_folder *f = must_open();
    unsigned char digest[TG_SHA256_BYTES];
    char hex[2 * TG_SHA256_BYTES + 1] = "";
    char path[256];
    char *csv, *text;
    json_t *totals;

    (void)state;
    for (unsigned n = 0; n < 7; n++) {
        assert_int_equal(send_one(f, n, false, NULL), TG_OUTCOME_POSTED);
    }
    tg_folder_close(f);
    path_of("payroll-2026-11.totals.json", path);
    for (int round = 0; round < 2; round++) {
        csv = slurp("payroll-2026-11.csv");
        text = slurp("payroll-2026-11.totals.json");
        assert_non_null(text);
        totals = json_loads(text, 0, NULL);
        assert_int_equal(json_integer_value(json_object_get(totals, "lines")), 7);
        assert_string_equal(json_string_value(json_object_get(totals, "hours")), "8.75");
        assert_string_equal(
            json_string_value(json_object_get(json_object_get(totals, "hours_by_worker"), "W-0")),
            "3.75");
        assert_int_equal(tg_sha256(tg_str_of(csv), digest), 0);
        tg_hex_encode(digest, sizeof(digest), hex);
        assert_string_equal(json_string_value(json_object_get(totals, "sha256")), hex);
        json_decref(totals);
        free(csv);
        free(text);
        assert_int_equal(unlink(path), 0); /* made anew from the CSV file alone */
        tg_folder_close(must_open());
    }
}

/* ---- what a crash or a hand leaves ---- */

static void a_torn_tail_is_cut(void **state)
{
    static const char *const tails[] = {
        "TE-9,1,2026",
        "TE-9,1,2026-11-16,2026-11,W-0,P-1,T-1,,CC-1,,1.25,,100.00,EUR,,,0011",
        ("TE-9,1,2026-11-16,2026-11,W-0,P-1,T-1,,CC-1,,1.25,,100.00,EUR,,,"
         "00112233445566778899aabbccddeeff"), /* all but the \n */
        "half\nanother half",
        "\n",
        "\"open quote\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(tails) / sizeof(tails[0]); i++) {
        struct tg_folder *f = must_open();
        char *before, *after;
        char ref[TG_CONNECT_REF_MAX_BYTES], want[64];

        assert_int_equal(send_one(f, (unsigned)i, true, NULL), TG_OUTCOME_POSTED);
        tg_folder_close(f);
        before = slurp("labor-2026-11.csv");
        append_raw("labor-2026-11.csv", tails[i]);
        f = must_open();
        after = slurp("labor-2026-11.csv");
        assert_string_equal(before, after);
        assert_int_equal(send_one(f, (unsigned)i + 100, true, ref), TG_OUTCOME_POSTED);
        (void)snprintf(want, sizeof(want), "labor-2026-11.csv:%zu", 3 + 2 * i);
        assert_string_equal(ref, want);
        free(before);
        free(after);
        tg_folder_close(f);
    }
}

static void a_torn_header_is_written_again(void **state)
{
    struct tg_folder *f = must_open();
    char path[256];

    (void)state;
    assert_int_equal(send_one(f, 1, true, NULL), TG_OUTCOME_POSTED);
    tg_folder_close(f);
    path_of("labor-2026-11.csv", path);
    for (off_t length = 0; length < 20; length += 19) {
        assert_int_equal(truncate(path, length), 0);
        f = must_open();
        assert_int_equal(look(f, 1, true), TG_LOOKUP_ABSENT);
        tg_folder_close(f);
    }
}

/* The book is left alone and says why; the folder opens, and its other book takes lines. */
static void must_wait(const char *part, bool labor)
{
    struct tg_folder *f = must_open();
    struct made m;
    struct tg_folder_job j = job(&m, 900, labor, false);

    tg_folder_run(f, &j, 1);
    assert_int_equal(j.outcome, TG_OUTCOME_STUCK);
    if (strstr(j.detail, part) == NULL) {
        print_message("# %s\n", j.detail);
    }
    assert_non_null(strstr(j.detail, part));
    assert_non_null(strstr(j.detail, labor ? "labor-2026-11.csv" : "payroll-2026-11.csv"));
    assert_int_equal(look(f, 900, labor), TG_LOOKUP_STUCK);
    assert_int_equal(send_one(f, 901, !labor, NULL), TG_OUTCOME_POSTED);
    tg_folder_close(f);
}

static void a_file_someone_else_changed_is_refused(void **state)
{
    struct tg_folder *f = must_open();
    char line[256];
    char *csv, *at;

    (void)state;
    assert_int_equal(send_one(f, 1, true, NULL), TG_OUTCOME_POSTED);
    assert_int_equal(send_one(f, 2, true, NULL), TG_OUTCOME_POSTED);
    csv = slurp("labor-2026-11.csv");
    at = strchr(csv, '\n') + 1;
    (void)snprintf(line, sizeof(line), "%.*s\n", (int)strcspn(at, "\n"), at);
    tg_folder_close(f);
    append_raw("labor-2026-11.csv", line);
    must_wait("lines 2 and 4 carry the same key", true);
    free(csv);
}

static void a_broken_line_among_good_ones_is_not_cut(void **state)
{
    struct tg_folder *f = must_open();
    struct made m;
    char line[512];
    char *csv;

    (void)state;
    assert_int_equal(send_one(f, 1, true, NULL), TG_OUTCOME_POSTED);
    tg_folder_close(f);
    (void)job(&m, 2, true, false);
    (void)snprintf(line, sizeof(line),
                   "a note\nTE-2,1,2026-11-16,2026-11,W,P,T,,C,,1.00,,1.00,EUR,,,%s\n", m.key);
    append_raw("labor-2026-11.csv", line);
    must_wait("line 3 is not one tallygate wrote", true);
    csv = slurp("labor-2026-11.csv");
    assert_non_null(strstr(csv, m.key)); /* nothing was cut */
    free(csv);
}

static void a_foreign_file_is_refused(void **state)
{
    (void)state;
    tg_folder_close(must_open());
    append_raw("payroll-2026-11.csv", "name,hours\nW-1,7\n");
    must_wait("first line is not the header", false);
}

static void a_file_taken_away_while_running_is_begun_anew(void **state)
{
    struct tg_folder *f = must_open();
    char from[256], to[256], ref[TG_CONNECT_REF_MAX_BYTES];

    (void)state;
    assert_int_equal(send_one(f, 1, false, NULL), TG_OUTCOME_POSTED);
    path_of("payroll-2026-11.csv", from);
    path_of("taken.csv", to);
    assert_int_equal(rename(from, to), 0);
    assert_int_equal(send_one(f, 2, false, ref), TG_OUTCOME_POSTED);
    assert_string_equal(ref, "payroll-2026-11.csv:2");
    append_raw("payroll-2026-11.csv", "a torn");
    assert_int_equal(send_one(f, 3, false, ref), TG_OUTCOME_POSTED);
    assert_string_equal(ref, "payroll-2026-11.csv:3");
    tg_folder_close(f);
}

/* ---- a disk that fails ---- */

static int writes_left, fsyncs_left, truncates_left;

static ssize_t short_write(int fd, const void *data, size_t len)
{
    return write(fd, data, len > 7 ? 7 : len);
}

static ssize_t full_write(int fd, const void *data, size_t len)
{
    if (writes_left > 0) {
        writes_left--;
        return write(fd, data, len > 20 ? 20 : len);
    }
    errno = ENOSPC;
    return -1;
}

static int failing_fsync(int fd)
{
    if (fsyncs_left-- > 0) {
        return fsync(fd);
    }
    errno = EIO;
    return -1;
}

static int failing_ftruncate(int fd, off_t length)
{
    if (truncates_left-- > 0) {
        return ftruncate(fd, length);
    }
    errno = EIO;
    return -1;
}

static void a_full_disk_undoes_the_batch(void **state)
{
    struct tg_folder *f = must_open();
    char *before, *after;

    (void)state;
    assert_int_equal(send_one(f, 1, true, NULL), TG_OUTCOME_POSTED);
    before = slurp("labor-2026-11.csv");
    writes_left = 2; /* forty bytes, then nothing more */
    tg_fs_calls.write = full_write;
    assert_int_equal(send_one(f, 2, true, NULL), TG_OUTCOME_DOWN);
    after = slurp("labor-2026-11.csv");
    assert_string_equal(before, after);
    assert_int_equal(look(f, 2, true), TG_LOOKUP_ABSENT);
    tg_fs_calls.write = write;
    assert_int_equal(send_one(f, 2, true, NULL), TG_OUTCOME_POSTED);
    assert_ledger(2);
    free(before);
    free(after);
    tg_folder_close(f);
}

static void a_short_write_is_finished(void **state)
{
    struct tg_folder *f = must_open();

    (void)state;
    tg_fs_calls.write = short_write;
    assert_int_equal(send_one(f, 1, true, NULL), TG_OUTCOME_POSTED);
    tg_folder_close(f);
    tg_fs_calls.write = write;
    f = must_open();
    assert_int_equal(look(f, 1, true), TG_LOOKUP_FOUND);
    tg_folder_close(f);
}

static void a_failed_fsync_is_never_posted(void **state)
{
    struct tg_folder *f = must_open();
    char *before, *after;

    (void)state;
    assert_int_equal(send_one(f, 1, true, NULL), TG_OUTCOME_POSTED);
    before = slurp("labor-2026-11.csv");
    fsyncs_left = 0;
    tg_fs_calls.fsync = failing_fsync;
    assert_int_equal(send_one(f, 2, true, NULL), TG_OUTCOME_IN_DOUBT); /* cut, but not surely */
    tg_fs_calls.fsync = fsync;
    after = slurp("labor-2026-11.csv");
    assert_string_equal(before, after);
    assert_int_equal(look(f, 2, true), TG_LOOKUP_ABSENT); /* read again before it answers */
    assert_int_equal(send_one(f, 2, true, NULL), TG_OUTCOME_POSTED);
    assert_ledger(2);
    free(before);
    free(after);
    tg_folder_close(f);
}

static void what_cannot_be_cut_back_is_in_doubt(void **state)
{
    struct tg_folder *f = must_open();

    (void)state;
    assert_int_equal(send_one(f, 1, true, NULL), TG_OUTCOME_POSTED);
    fsyncs_left = 0;
    truncates_left = 0;
    tg_fs_calls.fsync = failing_fsync;
    tg_fs_calls.ftruncate = failing_ftruncate;
    assert_int_equal(send_one(f, 2, true, NULL), TG_OUTCOME_IN_DOUBT);
    assert_int_equal(look(f, 2, true), TG_LOOKUP_DOWN); /* it cannot be read safely yet */
    assert_int_equal(send_one(f, 3, true, NULL), TG_OUTCOME_DOWN);
    tg_fs_calls.fsync = fsync;
    tg_fs_calls.ftruncate = ftruncate;
    assert_int_equal(look(f, 2, true), TG_LOOKUP_FOUND); /* the whole line was there after all */
    assert_int_equal(send_one(f, 2, true, NULL), TG_OUTCOME_POSTED);
    assert_int_equal(send_one(f, 3, true, NULL), TG_OUTCOME_POSTED);
    assert_ledger(3);
    tg_folder_close(f);
}

static void a_ledger_that_fails_is_made_good(void **state)
{
    struct tg_folder *f = must_open();

    (void)state;
    assert_int_equal(send_one(f, 1, true, NULL), TG_OUTCOME_POSTED);
    fsyncs_left = 1; /* the CSV file's, not the ledger's */
    tg_fs_calls.fsync = failing_fsync;
    assert_int_equal(send_one(f, 2, true, NULL), TG_OUTCOME_POSTED);
    tg_fs_calls.fsync = fsync;
    assert_int_equal(send_one(f, 3, true, NULL), TG_OUTCOME_POSTED);
    assert_ledger(3);
    tg_folder_close(f);
}

/* ---- SIGKILL ---- */

/* The child sends keys in batches and notes in shared memory which ones it was told are posted. */
static void child(unsigned from, volatile unsigned char *posted)
{
    struct tg_error err;
    struct tg_folder *f = tg_folder_open(dir, &err);
    static struct made made[16];
    struct tg_folder_job jobs[16];

    if (f == NULL) {
        _exit(3);
    }
    for (unsigned n = from; n + 8 <= CRASH_KEYS; n += 8) {
        for (unsigned i = 0; i < 8; i++) {
            jobs[2 * i] = job(&made[2 * i], n + i, true, false);
            jobs[2 * i + 1] = job(&made[2 * i + 1], n + i, false, false);
        }
        tg_folder_run(f, jobs, 16);
        for (unsigned i = 0; i < 8; i++) {
            if (jobs[2 * i].outcome == TG_OUTCOME_POSTED &&
                jobs[2 * i + 1].outcome == TG_OUTCOME_POSTED) {
                posted[n + i] = 1;
            }
        }
    }
    _exit(0);
}

/* Each key that was posted stands there once, no key twice, every line whole. */
static unsigned check_after_crash(const volatile unsigned char *posted)
{
    struct tg_folder *f = must_open();
    char *labor, *hours;
    unsigned first_missing = CRASH_KEYS;
    size_t found = 0;

    for (unsigned n = 0; n < CRASH_KEYS; n++) {
        enum tg_lookup l = look(f, n, true);

        if (posted[n]) {
            assert_int_equal(l, TG_LOOKUP_FOUND);
            assert_int_equal(look(f, n, false), TG_LOOKUP_FOUND);
        }
        if (l == TG_LOOKUP_FOUND) {
            found++;
        } else if (first_missing == CRASH_KEYS) {
            first_missing = n;
        }
    }
    labor = slurp("labor-2026-11.csv");
    hours = slurp("payroll-2026-11.csv");
    if (labor != NULL) {
        assert_int_equal(count(labor, "\n"),
                         found + 1); /* opening refuses doubles and half lines */
        assert_int_equal(labor[strlen(labor) - 1], '\n');
        if (found > 0) { /* killed between header and first line: no ledger is owed yet */
            assert_ledger(found);
        }
    }
    free(labor);
    free(hours);
    tg_folder_close(f);
    return first_missing;
}

static void killed_at_random_nothing_is_half_or_double(void **state)
{
    volatile unsigned char *posted =
        mmap(NULL, CRASH_KEYS, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    unsigned seed = (unsigned)time(NULL);
    unsigned from = 0;
    int killed = 0;

    (void)state;
    assert_ptr_not_equal((const void *)posted, MAP_FAILED);
    print_message("# seed %u\n", seed);
    for (int i = 0; i < CRASH_RUNS && from < CRASH_KEYS; i++) {
        struct timespec wait = {0, 100000 + (long)(rand_r(&seed) % 15000000)};
        int status = 0;
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0) {
            child(from, posted);
        }
        (void)nanosleep(&wait, NULL);
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        killed += WIFSIGNALED(status);
        assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
        from = check_after_crash(posted);
        from = from > 16 ? from - 16 : 0; /* some keys come again */
    }
    assert_true(killed > 0);
    assert_int_equal(munmap((void *)posted, CRASH_KEYS), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_batch_is_posted_with_references),
        T(the_same_key_again_adds_nothing),
        T(what_it_cannot_take_is_rejected),
        T(a_directory_has_one_user),
        T(a_directory_that_cannot_be_used_is_named),
        T(many_periods_with_few_open_files),
        T(the_ledger_follows_the_labor_files),
        T(the_totals_say_what_the_file_holds),
        T(a_torn_tail_is_cut),
        T(a_torn_header_is_written_again),
        T(a_file_someone_else_changed_is_refused),
        T(a_broken_line_among_good_ones_is_not_cut),
        T(a_foreign_file_is_refused),
        T(a_file_taken_away_while_running_is_begun_anew),
        T(a_full_disk_undoes_the_batch),
        T(a_short_write_is_finished),
        T(a_failed_fsync_is_never_posted),
        T(what_cannot_be_cut_back_is_in_doubt),
        T(a_ledger_that_fails_is_made_good),
        T(killed_at_random_nothing_is_half_or_double),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
