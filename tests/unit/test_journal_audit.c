/* The chain: what it records by itself, and that no hand in it goes unseen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "journal/audit.h"
#include "journal_rows.h"

#define ROWS 20
#define PEM_MAX 512

/* ---- the hash ---- */

static void bytes_cannot_move_between_fields(void **state)
{
    const unsigned char prev[TG_SHA256_BYTES] = {0};
    struct tg_audit_row a = {
        .seq = 1, .at_ms = 2, .actor = "ab", .action = "c", .subject = "d", .detail = ""};
    struct tg_audit_row b = a;
    unsigned char one[TG_SHA256_BYTES];
    unsigned char two[TG_SHA256_BYTES];

    (void)state;
    assert_int_equal(tg_audit_hash(prev, &a, one), 0);
    assert_int_equal(tg_audit_hash(prev, &b, two), 0);
    assert_memory_equal(one, two, sizeof(one));
    b.actor = "a";
    b.action = "bc";
    assert_int_equal(tg_audit_hash(prev, &b, two), 0);
    assert_memory_not_equal(one, two, sizeof(one));
    b = a;
    b.subject = "";
    b.detail = "d";
    assert_int_equal(tg_audit_hash(prev, &b, two), 0);
    assert_memory_not_equal(one, two, sizeof(one));
    b = a;
    b.at_ms = 3;
    assert_int_equal(tg_audit_hash(prev, &b, two), 0);
    assert_memory_not_equal(one, two, sizeof(one));
    b = a;
    b.seq = 2;
    assert_int_equal(tg_audit_hash(prev, &b, two), 0);
    assert_memory_not_equal(one, two, sizeof(one));
}

/* ---- what is recorded ---- */

static int64_t actions(const struct jt *t, const char *action)
{
    char sql[160];

    (void)snprintf(sql, sizeof(sql),
                   "SELECT count(*) FROM audit WHERE actor = 'orchestrator' AND action = '%s'",
                   action);
    return jt_sql_int(t, sql);
}

static void put_marks(struct tg_batch *b, int64_t posting, size_t n,
                      const enum tg_posting_state *path)
{
    for (size_t i = 1; i < n; i++) {
        struct tg_row_mark m = jt_mark(posting, path[i - 1], path[i]);

        m.ref = path[i] == TG_POSTING_POSTED ? "DOC \"7\"" : NULL;
        m.detail = "the destination said secret words";
        m.outcome = "x";
        assert_int_equal(tg_batch_mark(b, &m), 0);
    }
}

static void what_matters_is_recorded_without_being_asked(void **state)
{
    struct jt *t = *state;
    const enum tg_posting_state to_reversed[] = {TG_POSTING_READY, TG_POSTING_SENT,
                                                 TG_POSTING_IN_DOUBT, TG_POSTING_POSTED,
                                                 TG_POSTING_REVERSED};
    const enum tg_posting_state to_exception[] = {TG_POSTING_READY, TG_POSTING_SENT,
                                                  TG_POSTING_REJECTED, TG_POSTING_EXCEPTION};
    const enum tg_posting_state to_cancelled[] = {TG_POSTING_READY, TG_POSTING_CANCELLED};
    struct tg_batch *b = tg_batch_new();
    struct tg_row_event twin = jt_event(20, 1, TG_EVENT_DUPLICATE);
    struct tg_row_event refused = jt_event(21, 21, TG_EVENT_EXCEPTION);
    struct tg_row_exception x = jt_exception(1, 21, "schema_invalid");

    (void)jt_add_ready(t, b, 1);
    (void)jt_add_ready(t, b, 2);
    (void)jt_add_ready(t, b, 3);
    jt_commit(t, b);
    assert_int_equal(jt_sql_int(t, "SELECT count(*) FROM audit"), 0);
    b = tg_batch_new();
    twin.event_id = "s07-8-8";
    twin.duplicate_of = 1;
    assert_int_equal(tg_batch_event(b, &twin), 0);
    assert_int_equal(tg_batch_event(b, &refused), 0);
    assert_int_equal(tg_batch_exception(b, &x), 0);
    x.state = TG_EXCEPTION_DISCARDED;
    x.closed_ms = 9;
    assert_int_equal(tg_batch_exception(b, &x), 0);
    put_marks(b, 1, 5, to_reversed);
    put_marks(b, 2, 4, to_exception);
    put_marks(b, 3, 2, to_cancelled);
    assert_int_equal(tg_batch_object_state(b, 3, TG_VERSION_SUPERSEDED), 0);
    assert_int_equal(tg_batch_audit(b, "W-900", "rules.loaded", "bundle", "{\"sha\":\"1\"}"), 0);
    jt_commit(t, b);

    assert_int_equal(actions(t, "event.duplicate"), 1);
    assert_int_equal(actions(t, "event.refused"), 1);
    assert_int_equal(actions(t, "exception.opened"), 1);
    assert_int_equal(actions(t, "exception.closed"), 1);
    assert_int_equal(actions(t, "posting.in_doubt"), 1);
    assert_int_equal(actions(t, "posting.posted"), 1);
    assert_int_equal(actions(t, "posting.reversed"), 1);
    assert_int_equal(actions(t, "posting.rejected"), 1);
    assert_int_equal(actions(t, "posting.exception"), 1);
    assert_int_equal(actions(t, "posting.cancelled"), 1);
    assert_int_equal(actions(t, "object.superseded"), 1);
    assert_int_equal(jt_sql_int(t, "SELECT count(*) FROM audit"), 12);
    assert_int_equal(jt_sql_int(t, "SELECT count(*) FROM audit WHERE actor = 'W-900'"), 1);
    /* Ids, codes, references; not what anyone said or sent. */
    assert_int_equal(jt_sql_int(t, "SELECT count(*) FROM audit WHERE detail LIKE '%secret%' "
                                   "OR detail LIKE '%637.50%' OR detail LIKE '%TE-0%'"),
                     0);
    assert_int_equal(jt_sql_int(t, "SELECT count(*) FROM audit WHERE detail = '' OR "
                                   "json_valid(detail)"),
                     12);
    assert_int_equal(jt_sql_int(t, "SELECT count(*) FROM audit WHERE subject = 'posting 1' AND "
                                   "json_extract(detail, '$.ref') = 'DOC \"7\"' AND "
                                   "length(json_extract(detail, '$.key')) = 32"),
                     1);
}

/* ---- the walk ---- */

static void add_rows(struct jt *t, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct tg_batch *b = tg_batch_new();

        assert_int_equal(tg_batch_audit(b, "test", "test.row", "a thing", "{}"), 0);
        jt_commit(t, b);
    }
}

static int verify(const struct jt *t, const char *dir, const char *pem, struct tg_audit_report *out)
{
    struct tg_reader *r = jt_reader(t);
    struct tg_error err = {{0}};
    int result = tg_audit_verify(r, dir, pem, out, &err);

    tg_reader_close(r);
    return result;
}

static void the_chain_goes_on_after_a_restart(void **state)
{
    struct jt *t = *state;
    struct tg_audit_report report;
    const unsigned char zero[TG_SHA256_BYTES] = {0};

    assert_int_equal(verify(t, NULL, NULL, &report), 0);
    assert_int_equal(report.rows, 0);
    assert_memory_equal(report.head, zero, sizeof(zero));
    add_rows(t, 3);
    jt_close(t);
    jt_open(t);
    add_rows(t, 3);
    assert_int_equal(verify(t, NULL, NULL, &report), 0);
    assert_int_equal(report.rows, 6);
    assert_int_equal(report.bad_seq, 0);
    assert_memory_not_equal(report.head, zero, sizeof(zero));
    assert_int_equal(jt_sql_int(t, "SELECT count(*) FROM audit WHERE seq = 1 AND "
                                   "prev = zeroblob(32)"),
                     1);
}

struct tampering {
    const char *sql;
    int64_t bad_seq;
    const char *reason;
};

static void every_hand_in_the_chain_is_seen(void **state)
{
    struct jt *t = *state;
    static const struct tampering cases[] = {
        {"UPDATE audit SET detail = '{ }' WHERE seq = 7", 7, "row 7 was changed"},
        {"UPDATE audit SET actor = '' WHERE seq = 1", 1, "row 1 was changed"},
        {"UPDATE audit SET at_ms = at_ms + 1 WHERE seq = 20", 20, "row 20 was changed"},
        {"UPDATE audit SET hash = zeroblob(32) WHERE seq = 3", 3, "row 3 was changed"},
        {"UPDATE audit SET hash = x'00' WHERE seq = 3", 3, "row 3 was changed"},
        {"UPDATE audit SET prev = zeroblob(32) WHERE seq = 5", 5, "row 5 does not follow"},
        {"UPDATE audit SET subject = CAST(subject || char(0) || 'x' AS TEXT) WHERE seq = 9", 9,
         "row 9 was changed"},
        {"DELETE FROM audit WHERE seq = 4", 4, "row 4 is missing"},
        {"DELETE FROM audit WHERE seq = 1", 1, "row 1 is missing"},
        {"INSERT INTO audit SELECT 21, at_ms, actor, action, subject, detail, prev, hash "
         "FROM audit WHERE seq = 20",
         21, "row 21 does not follow"},
        {"INSERT INTO audit SELECT 0, at_ms, actor, action, subject, detail, prev, hash "
         "FROM audit WHERE seq = 1",
         -1, "row 0 does not belong"},
        {"UPDATE audit SET seq = -seq WHERE seq >= 8; UPDATE audit SET seq = 1 - seq WHERE seq < 0;"
         "INSERT INTO audit SELECT 8, at_ms, 'x', action, subject, detail, prev, hash "
         "FROM audit WHERE seq = 7",
         8, "row 8 does not follow"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tg_audit_report report;

        jt_sql(t, "CREATE TABLE IF NOT EXISTS kept AS SELECT * FROM audit;"
                  "DELETE FROM audit; INSERT INTO audit SELECT * FROM kept");
        if (i == 0) {
            add_rows(t, ROWS);
            jt_sql(t, "DELETE FROM kept; INSERT INTO kept SELECT * FROM audit");
        }
        assert_int_equal(verify(t, NULL, NULL, &report), 0);
        assert_int_equal(report.rows, ROWS);
        jt_sql(t, cases[i].sql);
        if (verify(t, NULL, NULL, &report) != 1 || report.bad_seq != cases[i].bad_seq ||
            strstr(report.reason, cases[i].reason) == NULL) {
            fail_msg("case %zu: bad_seq %lld, \"%s\"", i, (long long)report.bad_seq, report.reason);
        }
    }
}

static void a_refused_batch_leaves_no_hole(void **state)
{
    struct jt *t = *state;
    struct tg_audit_report report;
    struct tg_batch *b;

    add_rows(t, 2);
    b = tg_batch_new();
    assert_int_equal(tg_batch_audit(b, "test", "test.lost", "x", NULL), 0);
    assert_int_equal(tg_batch_object_state(b, 99, TG_VERSION_HELD), 0);
    jt_commit_refused(t, b);
    add_rows(t, 2);
    assert_int_equal(verify(t, NULL, NULL, &report), 0);
    assert_int_equal(report.rows, 4);
}

static void the_file_itself_refuses_an_accident(void **state)
{
    struct jt *t = *state;
    sqlite3 *db = NULL;

    add_rows(t, 1);
    assert_int_equal(sqlite3_open(t->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "DELETE FROM audit", NULL, NULL, NULL), SQLITE_CONSTRAINT);
    assert_int_equal(sqlite3_exec(db, "UPDATE audit SET actor = 'x'", NULL, NULL, NULL),
                     SQLITE_CONSTRAINT);
    assert_non_null(strstr(sqlite3_errmsg(db), "never change"));
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    assert_int_equal(jt_sql_int(t, "SELECT count(*) FROM audit"), 1);
}

/* ---- checkpoints ---- */

struct keys {
    char private_pem[PEM_MAX], public_pem[PEM_MAX];
};

static void pem_copy(BIO *bio, char out[PEM_MAX])
{
    int n = BIO_read(bio, out, PEM_MAX - 1);

    assert_true(n > 0);
    out[n] = '\0';
    BIO_free(bio);
}

static void keys_make(struct keys *k, const char *type)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, type);
    BIO *bio = BIO_new(BIO_s_mem());

    assert_non_null(key);
    assert_int_equal(PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL), 1);
    pem_copy(bio, k->private_pem);
    bio = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_PUBKEY(bio, key), 1);
    pem_copy(bio, k->public_pem);
    EVP_PKEY_free(key);
}

static void checkpoint_dir(const struct jt *t, char *dir, size_t size)
{
    (void)snprintf(dir, size, "%s/points", t->dir);
    assert_int_equal(mkdir(dir, 0700), 0);
}

static int checkpoint(const struct jt *t, const char *dir, const char *pem)
{
    struct tg_reader *r = jt_reader(t);
    struct tg_error err = {{0}};
    int result = tg_audit_checkpoint(r, dir, pem, &err);

    tg_reader_close(r);
    return result;
}

static void checkpoints_vouch_for_their_rows(void **state)
{
    struct jt *t = *state;
    struct tg_audit_report report;
    struct keys k;
    char dir[128];
    char path[192];

    keys_make(&k, "ED25519");
    checkpoint_dir(t, dir, sizeof(dir));
    assert_int_equal(checkpoint(t, dir, k.private_pem), 1); /* nothing to sign yet */
    for (int i = 0; i < 3; i++) {
        add_rows(t, 5);
        assert_int_equal(checkpoint(t, dir, k.private_pem), 0);
        assert_int_equal(checkpoint(t, dir, k.private_pem), 0); /* again: the same file */
    }
    (void)snprintf(path, sizeof(path), "%s/checkpoint-10.json", dir);
    assert_int_equal(access(path, R_OK), 0);
    (void)snprintf(path, sizeof(path), "%s/checkpoint-10.tmp", dir);
    assert_int_equal(access(path, F_OK), -1);
    add_rows(t, 1);
    assert_int_equal(verify(t, dir, k.public_pem, &report), 0);
    assert_int_equal(report.rows, 16);
    assert_int_equal(report.checkpoints, 3);
}

static void a_cut_tail_shows_against_a_checkpoint(void **state)
{
    struct jt *t = *state;
    struct tg_audit_report report;
    struct keys k;
    char dir[128];

    keys_make(&k, "ED25519");
    checkpoint_dir(t, dir, sizeof(dir));
    add_rows(t, 10);
    assert_int_equal(checkpoint(t, dir, k.private_pem), 0);
    jt_sql(t, "DELETE FROM audit WHERE seq > 8");
    assert_int_equal(verify(t, NULL, NULL, &report), 0); /* the chain alone cannot know */
    assert_int_equal(verify(t, dir, k.public_pem, &report), 1);
    assert_int_equal(report.bad_seq, 10);
    assert_non_null(strstr(report.reason, "row 10 is gone"));

    /* Grown again with other rows: sound in itself, not what was signed. */
    jt_close(t);
    jt_open(t);
    add_rows(t, 5);
    assert_int_equal(verify(t, NULL, NULL, &report), 0);
    assert_int_equal(verify(t, dir, k.public_pem, &report), 1);
    assert_int_equal(report.bad_seq, 10);
    assert_non_null(strstr(report.reason, "not the one its checkpoint signed"));
    jt_sql(t, "DELETE FROM audit");
    assert_int_equal(verify(t, dir, k.public_pem, &report), 1);
    assert_int_equal(report.bad_seq, 10);
}

static void file_patch(const char *path, off_t at, char c)
{
    int fd = open(path, O_WRONLY);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, &c, 1, at), 1);
    assert_int_equal(close(fd), 0);
}

static void a_forged_checkpoint_is_no_checkpoint(void **state)
{
    struct jt *t = *state;
    struct tg_audit_report report;
    struct keys k;
    struct keys other;
    struct keys wrong_type;
    char dir[128];
    char path[192];
    char path2[192];

    keys_make(&k, "ED25519");
    keys_make(&other, "ED25519");
    keys_make(&wrong_type, "X25519");
    checkpoint_dir(t, dir, sizeof(dir));
    add_rows(t, 3);
    assert_int_equal(checkpoint(t, dir, k.private_pem), 0);
    assert_int_equal(verify(t, dir, k.public_pem, &report), 0);
    assert_int_equal(verify(t, dir, other.public_pem, &report), 1);
    assert_int_equal(report.bad_seq, 3);
    assert_int_equal(verify(t, dir, wrong_type.public_pem, &report), -1);
    assert_int_equal(verify(t, dir, "no key", &report), -1);
    assert_int_equal(verify(t, dir, NULL, &report), -1);
    assert_int_equal(checkpoint(t, dir, k.public_pem), -1);
    assert_int_equal(checkpoint(t, dir, wrong_type.private_pem), -1);
    assert_int_equal(checkpoint(t, "/nonexistent-dir", k.private_pem), -1);
    assert_int_equal(verify(t, "/nonexistent-dir", k.public_pem, &report), -1);

    (void)snprintf(path, sizeof(path), "%s/checkpoint-3.json", dir);
    (void)snprintf(path2, sizeof(path2), "%s/checkpoint-2.json", dir);
    assert_int_equal(rename(path, path2), 0); /* the name is not the row's */
    assert_int_equal(verify(t, dir, k.public_pem, &report), 1);
    assert_int_equal(rename(path2, path), 0);
    file_patch(path, 7, '2'); /* {"seq":3 */
    assert_int_equal(verify(t, dir, k.public_pem, &report), 1);
    file_patch(path, 7, '3');
    assert_int_equal(verify(t, dir, k.public_pem, &report), 0);
    assert_int_equal(truncate(path, 20), 0);
    assert_int_equal(verify(t, dir, k.public_pem, &report), 1);
    assert_non_null(strstr(report.reason, "checkpoint of row 3"));
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, jt_setup, jt_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_cannot_move_between_fields),
        CASE(what_matters_is_recorded_without_being_asked),
        CASE(the_chain_goes_on_after_a_restart),
        CASE(every_hand_in_the_chain_is_seen),
        CASE(a_refused_batch_leaves_no_hole),
        CASE(the_file_itself_refuses_an_accident),
        CASE(checkpoints_vouch_for_their_rows),
        CASE(a_cut_tail_shows_against_a_checkpoint),
        CASE(a_forged_checkpoint_is_no_checkpoint),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
