#include "journal_rows.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void wake(void *arg)
{
    struct jt *t = arg;

    (void)sem_post(&t->woken);
}

void jt_open(struct jt *t)
{
    struct tg_journal_options o = {.path = t->path, .notify = wake, .notify_arg = t};
    struct tg_error err = {{0}};

    t->journal = tg_journal_open(&o, &err);
    if (t->journal == NULL) {
        fail_msg("%s", err.text);
    }
    assert_int_equal(tg_journal_destination(t->journal, "acme/erp", &t->erp, &err), 0);
}

void jt_close(struct jt *t)
{
    tg_journal_close(t->journal);
    t->journal = NULL;
}

int jt_setup(void **state)
{
    struct jt *t = calloc(1, sizeof(*t));

    assert_non_null(t);
    (void)snprintf(t->dir, sizeof(t->dir), "/tmp/tg-journal-XXXXXX");
    assert_non_null(mkdtemp(t->dir));
    (void)snprintf(t->path, sizeof(t->path), "%s/journal.db", t->dir);
    assert_int_equal(sem_init(&t->woken, 0, 0), 0);
    jt_open(t);
    *state = t;
    return 0;
}

/* Directories inside hold files only. */
static void remove_all(const char *dir, bool deeper)
{
    DIR *d = opendir(dir);
    const struct dirent *e;
    char path[512];

    if (d == NULL) {
        return;
    }
    while ((e = readdir(d)) != NULL) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) {
            continue;
        }
        (void)snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
        if (unlink(path) != 0 && deeper) {
            remove_all(path, false);
        }
    }
    (void)closedir(d);
    (void)rmdir(dir);
}

int jt_teardown(void **state)
{
    struct jt *t = *state;

    jt_close(t);
    (void)sem_destroy(&t->woken);
    remove_all(t->dir, true);
    free(t);
    return 0;
}

static void count(void *arg, bool ok, const struct tg_error *err)
{
    struct jt *t = arg;

    if (ok) {
        t->ok++;
    } else {
        t->refused++;
        t->last = *err;
    }
}

void jt_submit(struct jt *t, struct tg_batch *b)
{
    assert_int_equal(tg_journal_submit(t->journal, b, count, t), 0);
    t->submitted++;
}

bool jt_wait_woken(struct jt *t)
{
    struct timespec until;

    assert_int_equal(clock_gettime(CLOCK_REALTIME, &until), 0);
    until.tv_sec += JT_DEADLINE_S;
    while (sem_timedwait(&t->woken, &until) != 0) {
        if (errno != EINTR) {
            return false;
        }
    }
    return true;
}

void jt_settle(struct jt *t)
{
    (void)tg_journal_poll(t->journal);
    while (t->ok + t->refused < t->submitted) {
        assert_true(jt_wait_woken(t));
        (void)tg_journal_poll(t->journal);
    }
}

void jt_commit(struct jt *t, struct tg_batch *b)
{
    size_t refused = t->refused;

    jt_submit(t, b);
    jt_settle(t);
    if (t->refused != refused) {
        fail_msg("refused: %s", t->last.text);
    }
}

void jt_commit_refused(struct jt *t, struct tg_batch *b)
{
    size_t ok = t->ok;

    jt_submit(t, b);
    jt_settle(t);
    assert_int_equal(t->ok, ok);
}

struct tg_reader *jt_reader(const struct jt *t)
{
    struct tg_error err = {{0}};
    struct tg_reader *r = tg_reader_open(t->path, &err);

    if (r == NULL) {
        fail_msg("%s", err.text);
    }
    return r;
}

static sqlite3 *by_hand(const struct jt *t)
{
    sqlite3 *db = NULL;

    assert_int_equal(sqlite3_open(t->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_busy_timeout(db, JT_DEADLINE_S * 1000), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db,
                                  "PRAGMA ignore_check_constraints = ON;"
                                  "DROP TRIGGER IF EXISTS audit_no_update;"
                                  "DROP TRIGGER IF EXISTS audit_no_delete",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    return db;
}

void jt_sql(const struct jt *t, const char *sql)
{
    sqlite3 *db = by_hand(t);

    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK) {
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    }
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

int64_t jt_sql_int(const struct jt *t, const char *sql)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *s = NULL;
    int64_t value;

    assert_int_equal(sqlite3_open_v2(t->path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) != SQLITE_OK || sqlite3_step(s) != SQLITE_ROW) {
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    }
    value = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    return value;
}

static void key_of(unsigned char tag, unsigned n, unsigned char out[TG_POSTING_KEY_BYTES])
{
    memset(out, 0, TG_POSTING_KEY_BYTES);
    out[0] = tag;
    for (unsigned i = 0; i < 4; i++) {
        out[1 + i] = (unsigned char)(n >> (8 * i));
    }
}

/* Ids must differ and must outlive the row: a ring, longer than any use of one row. */
static const char *event_id_of(unsigned n)
{
    static char ring[64][32];
    char *slot = ring[n % 64];

    (void)snprintf(slot, sizeof(ring[0]), "s07-1-%u", n);
    return slot;
}

struct tg_row_event jt_event(int64_t id, unsigned n, enum tg_event_state state)
{
    static const unsigned char body[] = "{\"a\":\0\xff}";
    struct tg_row_event e = {.id = id,
                             .event_id = event_id_of(n),
                             .tenant = "acme",
                             .client = "hook:psa",
                             .source = "urn:acme:psa",
                             .ce_id = "ce-1",
                             .type = "com.tallygate.time_entry.approved.v1",
                             .subject = "TE-000001",
                             .time = "2026-11-20T17:00:00Z",
                             .dataschema = "urn:schema",
                             .idem_key = "key 1",
                             .correlation_id = "corr-1",
                             .traceparent = "00-1-2-01",
                             .body_sha256 = "aa",
                             .content_type = "application/json",
                             .body = {body, sizeof(body) - 1},
                             .received_ms = 1000 + n,
                             .state = state};

    key_of('e', n, e.identity);
    return e;
}

struct tg_row_object jt_object(int64_t id, int64_t event, unsigned n, int64_t version,
                               enum tg_version_state state)
{
    struct tg_row_object o = {.id = id,
                              .event = event,
                              .tenant = "acme",
                              .kind = "time_entry",
                              .source = "psa",
                              .object_id = "TE-000001",
                              .version = version,
                              .state = state,
                              .json = "{\"hours\":\"7.5\"}",
                              .rules_sha256 = "bb",
                              .master_version = "2026-11-16"};

    key_of('o', n, o.key);
    return o;
}

struct tg_row_posting jt_posting(int64_t id, int64_t object, uint32_t destination, unsigned n,
                                 enum tg_posting_state state)
{
    struct tg_row_posting p = {.id = id,
                               .object = object,
                               .destination = destination,
                               .kind = "labor",
                               .leg = "cost",
                               .generation = 1,
                               .payload = "{\"amount\":\"637.50\"}",
                               .period = "2026-11",
                               .quantity_micros = 7500000,
                               .state = state};

    key_of('p', n, p.key);
    return p;
}

struct tg_row_mark jt_mark(int64_t posting, enum tg_posting_state from, enum tg_posting_state to)
{
    struct tg_row_mark m = {
        .posting = posting, .from = from, .to = to, .attempt = 1, .at_ms = 5000};

    return m;
}

struct tg_row_exception jt_exception(int64_t id, int64_t event, const char *code)
{
    struct tg_row_exception x = {.id = id,
                                 .event = event,
                                 .tenant = "acme",
                                 .code = code,
                                 .owner = "finance",
                                 .detail = "[{\"code\":\"x\"}]",
                                 .state = TG_EXCEPTION_OPEN,
                                 .opened_ms = 2000};

    return x;
}

int64_t jt_add_ready(struct jt *t, struct tg_batch *b, unsigned n)
{
    int64_t event = tg_journal_next_id(t->journal, TG_TABLE_EVENTS);
    int64_t object = tg_journal_next_id(t->journal, TG_TABLE_OBJECTS);
    int64_t posting = tg_journal_next_id(t->journal, TG_TABLE_POSTINGS);
    struct tg_row_event e = jt_event(event, n, TG_EVENT_ACCEPTED);
    struct tg_row_object o = jt_object(object, event, n, 1, TG_VERSION_VALIDATED);
    struct tg_row_posting p = jt_posting(posting, object, t->erp, n, TG_POSTING_READY);

    assert_int_equal(tg_batch_event(b, &e), 0);
    assert_int_equal(tg_batch_object(b, &o), 0);
    assert_int_equal(tg_batch_posting(b, &p), 0);
    return posting;
}
