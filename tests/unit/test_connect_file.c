/* The file connector on a loop, as dispatch drives it: what people do to its directory and files
 * while it runs, and what it answers then. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/codec.h"
#include "common/digest.h"
#include "common/log.h"
#include "connect/file.h"

#define DEADLINE_MS 20000
#define FILE_BYTES (256 * 1024)

struct rig {
    char root[64], dir[96];
    uv_loop_t loop;
    uv_timer_t deadline;
    struct tg_connector *connector;
    bool late, closed;
    const char *reverses; /* the next job takes this key back; NULL: none */
    size_t answers;
    size_t usable;           /* told that what was stuck may go */
    enum tg_outcome outcome; /* of the last answer */
    enum tg_lookup lookup;
    char ref[TG_CONNECT_REF_MAX_BYTES], detail[TG_CONNECT_DETAIL_MAX_BYTES];
};

/* ---- the rig ---- */

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static void on_deadline(uv_timer_t *timer)
{
    ((struct rig *)timer->data)->late = true;
}

static void on_done(void *arg, const struct tg_connect_result *r)
{
    struct rig *g = arg;

    g->answers++;
    g->outcome = r->outcome;
    g->lookup = r->lookup;
    (void)snprintf(g->ref, sizeof(g->ref), "%s", r->ref != NULL ? r->ref : "");
    (void)snprintf(g->detail, sizeof(g->detail), "%s", r->detail != NULL ? r->detail : "");
}

static void on_usable(void *arg)
{
    ((struct rig *)arg)->usable++;
}

static void on_closed(void *arg)
{
    ((struct rig *)arg)->closed = true;
}

static void start(struct rig *g)
{
    struct tg_config_destination d = {.id = "out", .path = g->dir};
    struct tg_error err = {""};

    g->closed = false;
    g->connector = tg_connector_file.open(&(struct tg_connect_env){.loop = &g->loop}, &d, "acme",
                                          on_done, g, &err);
    if (g->connector == NULL) {
        print_message("# %s\n", err.text);
    }
    assert_non_null(g->connector);
    tg_connector_file.watch(g->connector, on_usable);
}

static void stop(struct rig *g)
{
    tg_connector_file.close(g->connector, on_closed, g);
    while (!g->closed && !g->late) {
        (void)uv_run(&g->loop, UV_RUN_ONCE);
    }
    assert_true(g->closed);
    g->connector = NULL;
}

static int setup(void **state)
{
    struct rig *g = calloc(1, sizeof(*g));

    if (g == NULL) {
        return -1;
    }
    *state = g;
    (void)snprintf(g->root, sizeof(g->root), "/tmp/tg-file-XXXXXX");
    if (mkdtemp(g->root) == NULL || uv_loop_init(&g->loop) != 0) {
        return -1;
    }
    (void)snprintf(g->dir, sizeof(g->dir), "%s/out/payroll", g->root);
    tg_log_set_level(TG_LOG_ERROR + 1);
    (void)uv_timer_init(&g->loop, &g->deadline);
    g->deadline.data = g;
    (void)uv_timer_start(&g->deadline, on_deadline, DEADLINE_MS, 0);
    start(g);
    return 0;
}

static int teardown(void **state)
{
    struct rig *g = *state;
    int rc;

    if (g->connector != NULL) {
        stop(g);
    }
    uv_close((uv_handle_t *)&g->deadline, NULL);
    (void)uv_run(&g->loop, UV_RUN_DEFAULT);
    rc = uv_loop_close(&g->loop);
    rc = nftw(g->root, remove_one, 8, FTW_DEPTH | FTW_PHYS) != 0 ? -1 : rc;
    free(g);
    return rc;
}

/* One job, run to its answer. */
static void ask(struct rig *g, unsigned n, bool labor, const char *period, bool is_lookup)
{
    unsigned char digest[TG_SHA256_BYTES];
    struct tg_connect_job job = {.posting = (int64_t)n, .kind = labor ? "labor" : "hours"};
    char text[512];
    size_t want = g->answers + 1;

    (void)snprintf(text, sizeof(text), "key %u", n);
    assert_int_equal(tg_sha256(tg_str_of(text), digest), 0);
    tg_hex_encode(digest, TG_POSTING_KEY_BYTES, job.key);
    job.key[2 * TG_POSTING_KEY_BYTES] = '\0';
    (void)snprintf(text, sizeof(text),
                   "{\"entry\":\"TE-%u\",\"version\":1,\"date\":\"2026-11-16\",\"%s\":\"%s\","
                   "\"worker\":\"W-1\",\"project\":\"P-1\",\"task\":\"T-1\",\"pay_code\":\"REG\","
                   "\"cost_center\":\"CC-1\",\"hours\":\"1.25\",\"amount\":\"100.00\","
                   "\"currency\":\"EUR\"}",
                   n, labor ? "period" : "pay_period", period);
    job.payload = text;
    job.reverses_key = g->reverses;
    assert_int_equal(
        (is_lookup ? tg_connector_file.lookup : tg_connector_file.send)(g->connector, &job), 0);
    while (g->answers < want && !g->late) {
        (void)uv_run(&g->loop, UV_RUN_ONCE);
    }
    assert_int_equal(g->answers, want);
}

static enum tg_outcome pay(struct rig *g, unsigned n, const char *period)
{
    ask(g, n, false, period, false);
    return g->outcome;
}

static enum tg_lookup look(struct rig *g, unsigned n, const char *period)
{
    ask(g, n, false, period, true);
    return g->lookup;
}

static void path_of(const struct rig *g, const char *name, char out[256])
{
    (void)snprintf(out, 256, "%s/%s", g->dir, name);
}

/* The file with a NUL, the caller frees; NULL: there is none. */
static char *slurp(const char *path)
{
    FILE *f = fopen(path, "rb");
    char *text;
    size_t n;

    if (f == NULL) {
        return NULL;
    }
    text = malloc(FILE_BYTES);
    assert_non_null(text);
    n = fread(text, 1, FILE_BYTES - 1, f);
    text[n] = '\0';
    (void)fclose(f);
    return text;
}

static void put(const char *path, const char *text)
{
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
}

static size_t count_in(const struct rig *g, const char *name, const char *needle)
{
    char path[256];
    char *text;
    size_t n = 0;

    path_of(g, name, path);
    text = slurp(path);
    for (const char *p = text; p != NULL && (p = strstr(p, needle)) != NULL; p += strlen(needle)) {
        n++;
    }
    free(text);
    return n;
}

static void wait_for(struct rig *g, const char *name, const char *needle, size_t want)
{
    while (count_in(g, name, needle) != want && !g->late) {
        (void)uv_run(&g->loop, UV_RUN_ONCE);
    }
    assert_int_equal(count_in(g, name, needle), want);
}

/* ---- the directory moves ---- */

static void a_directory_moved_away_is_noticed(void **state)
{
    struct rig *g = *state;
    char away[96], old[256];
    char *before, *after;

    assert_int_equal(pay(g, 1, "2026-W46"), TG_OUTCOME_POSTED);
    (void)snprintf(away, sizeof(away), "%s/away", g->root);
    (void)snprintf(old, sizeof(old), "%s/payroll-2026-W46.csv", away);
    assert_int_equal(rename(g->dir, away), 0);
    assert_int_equal(mkdir(g->dir, 0750), 0);
    before = slurp(old);

    assert_int_equal(pay(g, 2, "2026-W46"), TG_OUTCOME_DOWN);
    assert_non_null(strstr(g->detail, g->dir));
    assert_non_null(strstr(g->detail, "moved or replaced"));
    assert_int_equal(pay(g, 2, "2026-W46"), TG_OUTCOME_POSTED);
    assert_string_equal(g->ref, "payroll-2026-W46.csv:2");
    assert_int_equal(count_in(g, "payroll-2026-W46.csv", "TE-2"), 1);
    assert_int_equal(look(g, 2, "2026-W46"), TG_LOOKUP_FOUND);
    after = slurp(old);
    assert_string_equal(before, after); /* nothing went to the moved folder */
    free(before);
    free(after);
}

static void a_directory_removed_is_made_again(void **state)
{
    struct rig *g = *state;
    char above[96];

    assert_int_equal(pay(g, 1, "2026-W46"), TG_OUTCOME_POSTED);
    (void)snprintf(above, sizeof(above), "%s/out", g->root);
    assert_int_equal(nftw(above, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
    assert_int_equal(look(g, 1, "2026-W46"), TG_LOOKUP_DOWN);
    assert_non_null(strstr(g->detail, "gone"));
    put(above, ""); /* a file stands in the way */
    assert_int_equal(pay(g, 2, "2026-W46"), TG_OUTCOME_DOWN);
    assert_non_null(strstr(g->detail, "cannot create"));
    assert_int_equal(unlink(above), 0);
    assert_int_equal(pay(g, 2, "2026-W46"), TG_OUTCOME_POSTED);
    assert_int_equal(count_in(g, "payroll-2026-W46.csv", "TE-2"), 1);
}

static void a_new_directory_is_locked_and_recovered(void **state)
{
    struct rig *g = *state;
    struct tg_config_destination d = {.id = "second", .path = g->dir};
    struct tg_error err = {""};
    char away[96], path[256];
    char *csv;

    assert_int_equal(pay(g, 1, "2026-W46"), TG_OUTCOME_POSTED);
    path_of(g, "payroll-2026-W46.csv", path);
    csv = slurp(path);
    (void)snprintf(away, sizeof(away), "%s/away", g->root);
    assert_int_equal(rename(g->dir, away), 0);
    assert_int_equal(mkdir(g->dir, 0750), 0);
    put(path, csv); /* restored by hand */
    free(csv);
    assert_int_equal(pay(g, 1, "2026-W46"), TG_OUTCOME_DOWN);
    assert_int_equal(pay(g, 1, "2026-W46"), TG_OUTCOME_POSTED);
    assert_int_equal(count_in(g, "payroll-2026-W46.csv", "TE-1"), 1); /* known, not written twice */
    assert_null(tg_connector_file.open(&(struct tg_connect_env){.loop = &g->loop}, &d, "acme",
                                       on_done, g, &err));
    assert_non_null(strstr(err.text, "another destination or process"));
}

/* ---- one damaged file ---- */

/* Damages W47's file, proves that W44 goes on, repairs it, proves that it is taken up. */
static void only_its_book_waits(struct rig *g, const char *damaged, const char *detail,
                                bool restart)
{
    char path[256];
    char *good, *now;

    path_of(g, "payroll-2026-W47.csv", path);
    good = slurp(path);
    if (restart) {
        stop(g);
    }
    put(path, damaged);
    if (restart) {
        start(g);
    }
    assert_int_equal(pay(g, 20, "2026-W47"), TG_OUTCOME_STUCK);
    if (strstr(g->detail, detail) == NULL) {
        print_message("# %s\n", g->detail);
    }
    assert_non_null(strstr(g->detail, detail));
    assert_int_equal(look(g, 1, "2026-W47"), TG_LOOKUP_STUCK);
    assert_int_equal(pay(g, 30 + (unsigned)g->answers, "2026-W44"), TG_OUTCOME_POSTED);
    now = slurp(path);
    assert_string_equal(now, damaged); /* not cut, not appended to */
    put(path, good);
    assert_int_equal(look(g, 1, "2026-W47"), TG_LOOKUP_FOUND);
    assert_int_equal(look(g, 20, "2026-W47"), TG_LOOKUP_ABSENT);
    free(good);
    free(now);
}

static void damaged_files(struct rig *g, bool restart)
{
    char path[256], text[4096];
    char *good, *second;
    size_t used = 0;

    for (unsigned n = 1; n <= 3; n++) {
        assert_int_equal(pay(g, n, "2026-W47"), TG_OUTCOME_POSTED);
    }
    path_of(g, "payroll-2026-W47.csv", path);
    good = slurp(path);
    second = strchr(good, '\n') + 1;

    for (const char *p = good; *p != '\0'; p++) { /* CR LF, as a spreadsheet saves it */
        if (*p == '\n') {
            text[used++] = '\r';
        }
        text[used++] = *p;
    }
    text[used] = '\0';
    only_its_book_waits(g, text, "payroll-2026-W47.csv: line 1 ends with CR LF", restart);
    (void)snprintf(text, sizeof(text), "%.*s\r\n", (int)strlen(good) - 1, good);
    only_its_book_waits(g, text, "payroll-2026-W47.csv: line 4 ends with CR LF", restart);
    (void)snprintf(text, sizeof(text), "%.*sa note\n%s", (int)(second - good), good, second);
    only_its_book_waits(g, text, "payroll-2026-W47.csv: line 2 is not one tallygate", restart);
    only_its_book_waits(g, "name,hours\nW-1,7\n", "payroll-2026-W47.csv: line 1", restart);
    free(good);
}

static void a_file_damaged_while_running_stops_its_book_only(void **state)
{
    damaged_files(*state, false);
}

static void a_file_damaged_at_the_start_stops_its_book_only(void **state)
{
    damaged_files(*state, true);
}

/* Nobody asks for it: the connector itself looks at a damaged file again, and tells once when it is
 * good. Moving it away mends it too. */
static void mend_and_wait(struct rig *g, bool move)
{
    const size_t before = g->usable;
    char path[256];
    char *good;

    path_of(g, "payroll-2026-W47.csv", path);
    good = slurp(path);
    put(path, "not a book\n");
    assert_int_equal(pay(g, 20, "2026-W47"), TG_OUTCOME_STUCK);
    assert_int_equal(pay(g, 21, "2026-W47"), TG_OUTCOME_STUCK);
    assert_int_equal(g->usable, before);
    if (move) {
        assert_int_equal(unlink(path), 0);
    } else {
        put(path, good);
    }
    while (g->usable == before && !g->late) {
        (void)uv_run(&g->loop, UV_RUN_ONCE);
    }
    assert_int_equal(g->usable, before + 1);
    assert_int_equal(look(g, 1, "2026-W47"), move ? TG_LOOKUP_ABSENT : TG_LOOKUP_FOUND);
    assert_int_equal(g->usable, before + 1);
    free(good);
}

static void a_mended_file_is_told_of(void **state)
{
    struct rig *g = *state;

    assert_int_equal(pay(g, 1, "2026-W47"), TG_OUTCOME_POSTED);
    mend_and_wait(g, false);
    mend_and_wait(g, true);
}

static void a_link_in_place_of_a_file_stops_its_book_only(void **state)
{
    struct rig *g = *state;
    char path[256];

    path_of(g, "payroll-2026-W47.csv", path);
    assert_int_equal(symlink("/dev/null", path), 0);
    assert_int_equal(pay(g, 1, "2026-W47"), TG_OUTCOME_STUCK);
    assert_int_equal(pay(g, 2, "2026-W44"), TG_OUTCOME_POSTED);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0750), 0);
    assert_int_equal(pay(g, 1, "2026-W47"), TG_OUTCOME_STUCK);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(pay(g, 1, "2026-W47"), TG_OUTCOME_POSTED);
}

static void a_damaged_labor_file_keeps_its_ledger_entries(void **state)
{
    struct rig *g = *state;
    char path[256], text[4096];
    char *good;

    ask(g, 1, true, "2026-10", false);
    ask(g, 2, true, "2026-11", false);
    stop(g);
    path_of(g, "labor-2026-10.csv", path);
    good = slurp(path);
    (void)snprintf(text, sizeof(text), "%.*s\r\n", (int)strlen(good) - 1, good);
    put(path, text);
    start(g);
    ask(g, 3, true, "2026-11", false);
    assert_int_equal(g->outcome, TG_OUTCOME_POSTED);
    assert_int_equal(count_in(g, "ledger.journal", "; key:"), 3);
    put(path, good);
    free(good);
    ask(g, 4, true, "2026-10", false);
    assert_int_equal(g->outcome, TG_OUTCOME_POSTED);
    wait_for(g, "ledger.journal", "; key:", 4);
    assert_int_equal(count_in(g, "ledger.journal", "\r"), 0);
}

/* ---- ledger and totals that lag ---- */

static void a_stale_ledger_is_mended_without_another_posting(void **state)
{
    struct rig *g = *state;
    char path[256];

    path_of(g, "ledger.journal.tmp", path);
    assert_int_equal(mkdir(path, 0750), 0); /* so it cannot be written */
    ask(g, 1, true, "2026-11", false);
    assert_int_equal(g->outcome, TG_OUTCOME_POSTED);
    assert_int_equal(count_in(g, "labor-2026-11.csv", "TE-1"), 1);
    assert_int_equal(count_in(g, "ledger.journal", "; key:"), 0);
    assert_int_equal(rmdir(path), 0);
    wait_for(g, "ledger.journal", "; key:", 1);
}

static void stale_totals_are_mended_without_another_posting(void **state)
{
    struct rig *g = *state;
    char path[256], period[16];

    assert_int_equal(pay(g, 1, "2026-W47"), TG_OUTCOME_POSTED);
    path_of(g, "payroll-2026-W47.totals.json.tmp", path);
    assert_int_equal(mkdir(path, 0750), 0);
    assert_int_equal(pay(g, 2, "2026-W47"), TG_OUTCOME_POSTED);
    for (unsigned n = 0; n < TG_FILE_BOOKS_OPEN_MAX; n++) { /* its book is closed meanwhile */
        (void)snprintf(period, sizeof(period), "2026-W%02u", n + 1);
        assert_int_equal(pay(g, 10 + n, period), TG_OUTCOME_POSTED);
    }
    assert_int_equal(count_in(g, "payroll-2026-W47.totals.json", "\"lines\": 1"), 1);
    assert_int_equal(rmdir(path), 0);
    wait_for(g, "payroll-2026-W47.totals.json", "\"lines\": 2", 1);
    assert_int_equal(count_in(g, "payroll-2026-W47.totals.json", "\"hours\": \"2.50\""), 1);
}

static void a_ledger_stale_at_the_start_is_mended(void **state)
{
    struct rig *g = *state;
    char path[256];

    ask(g, 1, true, "2026-11", false);
    stop(g);
    path_of(g, "ledger.journal", path);
    assert_int_equal(unlink(path), 0);
    path_of(g, "ledger.journal.tmp", path);
    assert_int_equal(mkdir(path, 0750), 0);
    start(g); /* the CSV file is the book of record: it is enough to start */
    assert_int_equal(rmdir(path), 0);
    wait_for(g, "ledger.journal", "; key:", 1);
}

/* A line of its own: both stand, and the sums say so. */
static void a_reversal_takes_back_and_changes_nothing(void **state)
{
    struct rig *g = *state;
    unsigned char digest[TG_SHA256_BYTES];
    char first[2 * TG_POSTING_KEY_BYTES + 1];

    assert_int_equal(tg_sha256(tg_str_of("key 1"), digest), 0);
    tg_hex_encode(digest, TG_POSTING_KEY_BYTES, first);
    first[2 * TG_POSTING_KEY_BYTES] = '\0';
    for (int labor = 0; labor < 2; labor++) {
        g->reverses = NULL;
        ask(g, 1, labor, "2026-11", false);
        g->reverses = first;
        ask(g, 2, labor, "2026-11", false);
        assert_int_equal(g->outcome, TG_OUTCOME_POSTED);
        assert_string_equal(g->ref, labor ? "labor-2026-11.csv:3" : "payroll-2026-11.csv:3");
        ask(g, 2, labor, "2026-11", true);
        assert_int_equal(g->lookup, TG_LOOKUP_FOUND);
        ask(g, 2, labor, "2026-11", false); /* and not twice */
        assert_string_equal(g->ref, labor ? "labor-2026-11.csv:3" : "payroll-2026-11.csv:3");
    }
    assert_int_equal(count_in(g, "labor-2026-11.csv", ",1.25,,100.00,EUR,,,"), 1);
    assert_int_equal(count_in(g, "labor-2026-11.csv", ",-1.25,,-100.00,EUR,,"), 1);
    assert_int_equal(count_in(g, "labor-2026-11.csv", first), 2);
    assert_int_equal(count_in(g, "payroll-2026-11.csv", ",-1.25,"), 1);
    assert_int_equal(count_in(g, "payroll-2026-11.totals.json", "\"hours\": \"0.00\""), 1);
    assert_int_equal(count_in(g, "payroll-2026-11.totals.json", "\"lines\": 2"), 1);
    assert_int_equal(count_in(g, "ledger.journal", "cost:P-1  100.00 EUR"), 1);
    assert_int_equal(count_in(g, "ledger.journal", "cost:P-1  -100.00 EUR"), 1);
    assert_int_equal(count_in(g, "ledger.journal", ", reverses:"), 1);
    g->reverses = "12";
    ask(g, 3, true, "2026-11", false);
    assert_int_equal(g->outcome, TG_OUTCOME_REJECTED);
    g->reverses = NULL;
    stop(g);
    start(g); /* the ledger fits its files: it is not written anew */
    assert_int_equal(count_in(g, "ledger.journal", ", reverses:"), 1);
}

static void closing_stops_the_mending(void **state)
{
    struct rig *g = *state;
    char path[256];

    path_of(g, "ledger.journal.tmp", path);
    assert_int_equal(mkdir(path, 0750), 0);
    ask(g, 1, true, "2026-11", false);
    assert_int_equal(g->outcome, TG_OUTCOME_POSTED);
    stop(g);
    (void)uv_timer_stop(&g->deadline);
    assert_int_equal(uv_run(&g->loop, UV_RUN_DEFAULT), 0); /* no handle of it is left */
    assert_int_equal(count_in(g, "ledger.journal", "; key:"), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_directory_moved_away_is_noticed),
        T(a_directory_removed_is_made_again),
        T(a_new_directory_is_locked_and_recovered),
        T(a_file_damaged_while_running_stops_its_book_only),
        T(a_file_damaged_at_the_start_stops_its_book_only),
        T(a_mended_file_is_told_of),
        T(a_link_in_place_of_a_file_stops_its_book_only),
        T(a_damaged_labor_file_keeps_its_ledger_entries),
        T(a_stale_ledger_is_mended_without_another_posting),
        T(stale_totals_are_mended_without_another_posting),
        T(a_ledger_stale_at_the_start_is_mended),
        T(a_reversal_takes_back_and_changes_nothing),
        T(closing_stops_the_mending),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
