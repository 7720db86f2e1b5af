/*
 * A backup takes the journal's place. The new file is PATH.restoring until it is whole; while that
 * name exists tg_journal_open refuses, so a process never starts on half a restore. In order:
 *
 *   R1  copy to PATH.restoring, verify, migrate, turn open postings      -> PATH untouched
 *   R2  fold the old WAL into PATH, link PATH to its name aside           -> PATH untouched
 *   R3  newer checkpoints and the old WAL go aside                        -> start refused
 *   R4  rename PATH.restoring to PATH                                     -> done
 *
 * A kill before R4 leaves PATH and PATH.restoring: the next restore begins at R1.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/codec.h"
#include "common/event_id.h"
#include "journal/checkpoint.h"
#include "journal/copy.h"
#include "journal/internal.h"
#include "journal/restored.h"

#define STAMP_BYTES 24 /* 20261116T101010.123Z */
#define OUTCOME "restored"
#define OUTCOME_DETAIL "the journal came from a backup: looked up before anything is sent again"

struct restore {
    const struct tg_restore_options *o;
    struct tg_restore_report *out;
    char path[TG_BACKUP_PATH_MAX_BYTES]; /* the journal, links followed */
    char fresh[TG_BACKUP_PATH_MAX_BYTES];
    char stamp[STAMP_BYTES];
    bool exists; /* a journal is there */
    int64_t now_ms;
    struct tg_audit_report audit;
    char carried[TG_SHARD_COUNT_MAX][TG_EVENT_ID_MAX_BYTES]; /* positions of the replaced one */
};

static int join(char out[TG_BACKUP_PATH_MAX_BYTES], const char *a, const char *b, const char *c,
                struct tg_error *err)
{
    int n = snprintf(out, TG_BACKUP_PATH_MAX_BYTES, "%s%s%s", a, b, c);

    return n > 0 && n < TG_BACKUP_PATH_MAX_BYTES
               ? 0
               : tg_error_set(err, "path is too long: %.200s...", a);
}

int tg_copy_real_path(const char *path, char out[TG_BACKUP_PATH_MAX_BYTES], struct tg_error *err)
{
    char dir[TG_BACKUP_PATH_MAX_BYTES], base[TG_BACKUP_PATH_MAX_BYTES];
    char real[PATH_MAX];

    if (!tg_str_copy(tg_str_of(path), dir, sizeof(dir)) ||
        !tg_str_copy(tg_str_of(path), base, sizeof(base))) {
        return tg_error_set(err, "path is too long: %.200s...", path);
    }
    if (realpath(path, real) != NULL) {
        return join(out, real, "", "", err);
    }
    if (errno != ENOENT) {
        return tg_error_set(err, "journal %s: %s", path, strerror(errno));
    }
    if (realpath(dirname(dir), real) == NULL) {
        return tg_error_set(err, "journal directory %s: %s; create it or change journal.path", dir,
                            strerror(errno));
    }
    return join(out, real, "/", basename(base), err);
}

/* ---- R1: the new file ---- */

static void on_carried(void *arg, unsigned shard, const char *upto)
{
    struct restore *r = arg;

    if (shard < TG_SHARD_COUNT_MAX) {
        (void)tg_str_copy(tg_str_of(upto), r->carried[shard], sizeof(r->carried[shard]));
    }
}

/* A replaced journal may still have been reading the stream again: what it knew stays in force. */
static void carry_positions(struct restore *r)
{
    struct tg_restored old;
    struct tg_error ignored;
    struct tg_reader *reader = r->exists ? tg_reader_open(r->path, &ignored) : NULL;

    if (reader == NULL) {
        return; /* damaged or older: the group's own position is what is left to go by */
    }
    if (tg_reader_restored(reader, &old, &ignored) == 0) {
        (void)tg_reader_restored_positions(reader, old.id, on_carried, r, &ignored);
    }
    tg_reader_close(reader);
}

static enum tg_applied run_sql(struct tg_store *s, const char *sql, struct tg_error *err)
{
    int result = sqlite3_exec(s->db, sql, NULL, NULL, NULL);

    if (result != SQLITE_OK) {
        (void)tg_error_set(err, "restore: %s", sqlite3_errmsg(s->db));
    }
    return tg_store_class(result);
}

/* Marks of one page of postings; *after moves on. Rows marked, or -1. */
static int64_t mark_page(struct restore *r, struct tg_store *s, int64_t *after,
                         struct tg_error *err)
{
    sqlite3_stmt *q = NULL;
    struct tg_batch *b = tg_batch_new();
    int64_t count = 0;
    bool fine = b != NULL;
    int result = sqlite3_prepare_v2(s->db,
                                    "SELECT id, state, attempt FROM postings WHERE state IN "
                                    "(2, 3, 4) AND id > ?1 ORDER BY id LIMIT ?2",
                                    -1, &q, NULL);

    if (result == SQLITE_OK) {
        (void)sqlite3_bind_int64(q, 1, *after);
        (void)sqlite3_bind_int64(q, 2, TG_JOURNAL_PAGE_MAX);
        result = sqlite3_step(q);
    }
    while (fine && result == SQLITE_ROW) {
        struct tg_row_mark m = {.posting = sqlite3_column_int64(q, 0),
                                .from = (enum tg_posting_state)sqlite3_column_int(q, 1),
                                .attempt = (unsigned)sqlite3_column_int64(q, 2),
                                .due_ms = r->now_ms,
                                .outcome = OUTCOME,
                                .detail = OUTCOME_DETAIL,
                                .at_ms = r->now_ms};

        fine = tg_posting_next(m.from, TG_PE_RESTORED, &m.to) == 0 && tg_batch_mark(b, &m) == 0;
        *after = m.posting;
        count++;
        result = sqlite3_step(q);
    }
    if (result != SQLITE_DONE) {
        (void)tg_error_set(err, "restore: %s", sqlite3_errmsg(s->db));
        fine = false;
    }
    sqlite3_finalize(q);
    fine = fine && tg_store_apply(s, b, err) == TG_APPLIED;
    tg_batch_free(b);
    return fine ? count : -1;
}

static enum tg_applied mark_all(struct restore *r, struct tg_store *s, struct tg_error *err)
{
    char sql[256];
    int64_t after = 0, n;

    /* Not sent when the backup was made: the earliest it can have been is then. In exception: a
     * hold that ran out of time. */
    (void)snprintf(sql, sizeof(sql),
                   "UPDATE postings SET first_sent_ms = %" PRId64 " WHERE state IN (0, 1, 2, 9) "
                   "AND first_sent_ms <= 0",
                   r->out->backup.made_ms);
    if (run_sql(s, sql, err) != TG_APPLIED) {
        return TG_FAILED;
    }
    do {
        n = mark_page(r, s, &after, err);
        r->out->in_doubt += n > 0 ? n : 0;
    } while (n == TG_JOURNAL_PAGE_MAX);
    return n < 0 ? TG_FAILED : TG_APPLIED;
}

/* The row that makes intake read the stream again, and what it must know to do so safely. */
static enum tg_applied write_marker(struct restore *r, struct tg_store *s, struct tg_error *err)
{
    char sql[640];
    enum tg_applied a;

    (void)snprintf(sql, sizeof(sql),
                   "INSERT INTO restores(id, at_ms, backup_ms, state, doubt_all, events, objects, "
                   "postings, exceptions) SELECT coalesce((SELECT max(id) FROM restores), 0) + 1, "
                   "%" PRId64 ", %" PRId64 ", 0, %d, coalesce((SELECT max(id) FROM events), 0), "
                   "coalesce((SELECT max(id) FROM objects), 0), "
                   "coalesce((SELECT max(id) FROM postings), 0), "
                   "coalesce((SELECT max(id) FROM exceptions), 0)",
                   r->now_ms, r->out->backup.made_ms, r->o->doubt_all ? 1 : 0);
    a = run_sql(s, sql, err);
    for (unsigned i = 0; a == TG_APPLIED && i < TG_SHARD_COUNT_MAX; i++) {
        struct tg_event_id id;

        if (tg_event_id_from_stream(i, tg_str_of(r->carried[i]), &id) != 0) {
            continue;
        }
        (void)snprintf(sql, sizeof(sql),
                       "INSERT INTO restore_positions(restore, shard, upto) "
                       "SELECT max(id), %u, '%" PRIu64 "-%" PRIu64 "' FROM restores",
                       i, id.ms, id.seq);
        a = run_sql(s, sql, err);
    }
    return a;
}

static enum tg_applied write_audit(struct restore *r, struct tg_store *s, struct tg_error *err)
{
    const struct tg_backup_report *b = &r->out->backup;
    char made[TG_RFC3339_BYTES], head[2 * TG_SHA256_BYTES + 1];
    char detail[640];
    enum tg_applied a;

    if (tg_rfc3339_format(b->made_ms, made, sizeof(made)) != 0) {
        memcpy(made, "unknown", sizeof("unknown"));
    }
    tg_hex_encode(b->audit_head, TG_SHA256_BYTES, head);
    head[sizeof(head) - 1] = '\0';
    (void)snprintf(detail, sizeof(detail),
                   "{\"backup_made\":\"%s\",\"rows\":%" PRId64 ",\"head\":\"%s\",\"schema\":%d,"
                   "\"in_doubt\":%" PRId64 ",\"held\":%" PRId64 ",\"findings\":%d,"
                   "\"replaced\":%s,\"doubt_all\":%s,\"newer_checkpoints\":%zu,"
                   "\"newest_checkpoint\":%" PRId64 "}",
                   made, b->audit_rows, head, b->schema, r->out->in_doubt, r->out->held,
                   r->out->findings, r->exists ? "true" : "false",
                   r->o->doubt_all ? "true" : "false", r->audit.newer,
                   r->audit.newer > 0 ? r->audit.newest : 0);
    a = tg_store_audit(s, r->o->actor, "journal.restored", "journal", detail);
    if (a != TG_APPLIED) {
        (void)tg_error_set(err, "restore: the audit row cannot be written: %s",
                           sqlite3_errmsg(s->db));
    }
    return a;
}

/* All of it in one commit. A file without a row that says when it was made: its last audit row. */
static int turn(struct restore *r, struct tg_store *s, struct tg_error *err)
{
    sqlite3_stmt *q = NULL;
    enum tg_applied a = TG_FAILED;

    s->now_ms = r->now_ms;
    if (sqlite3_prepare_v2(s->db,
                           "SELECT coalesce((SELECT at_ms FROM audit ORDER BY seq DESC LIMIT 1), "
                           "1), (SELECT count(*) FROM postings WHERE state IN (0, 1))",
                           -1, &q, NULL) != SQLITE_OK ||
        sqlite3_step(q) != SQLITE_ROW) {
        sqlite3_finalize(q);
        return tg_error_set(err, "restore: %s", sqlite3_errmsg(s->db));
    }
    if (r->out->backup.made_ms <= 0) {
        r->out->backup.made_ms = sqlite3_column_int64(q, 0);
    }
    r->out->held = sqlite3_column_int64(q, 1);
    sqlite3_finalize(q);
    if (tg_store_run(s, TG_STORE_BEGIN) != SQLITE_OK) {
        return tg_error_set(err, "restore: %s", sqlite3_errmsg(s->db));
    }
    a = mark_all(r, s, err);
    if (a == TG_APPLIED) {
        a = write_marker(r, s, err);
    }
    if (a == TG_APPLIED) {
        a = write_audit(r, s, err);
    }
    if (a == TG_APPLIED && tg_store_run(s, TG_STORE_COMMIT) != SQLITE_OK) {
        a = TG_FAILED;
        (void)tg_error_set(err, "restore: %s", sqlite3_errmsg(s->db));
    }
    return a == TG_APPLIED ? 0 : -1;
}

static int turn_file(struct restore *r, struct tg_error *err)
{
    struct tg_store s;
    int result = tg_store_open(&s, r->fresh, err) == 0 ? turn(r, &s, err) : -1;

    /* The new file goes to its place without a WAL. */
    if (result == 0 &&
        sqlite3_exec(s.db, "PRAGMA wal_checkpoint(TRUNCATE)", NULL, NULL, NULL) != SQLITE_OK) {
        result = tg_error_set(err, "restore: %s", sqlite3_errmsg(s.db));
    }
    tg_store_close(&s);
    return result == 0 ? tg_copy_sync(r->fresh, O_RDWR, err) : -1;
}

static int check_findings(struct restore *r, struct tg_error *err)
{
    struct tg_store s;
    struct tg_reader *reader;
    int result = tg_store_open(&s, r->fresh, err); /* migrates: the check knows one schema */

    tg_store_close(&s);
    if (result != 0) {
        return -1;
    }
    reader = tg_reader_open(r->fresh, err);
    if (reader == NULL) {
        return -1;
    }
    r->out->findings = tg_journal_check(reader, r->o->finding, r->o->finding_arg, err);
    tg_reader_close(reader);
    if (r->out->findings < 0) {
        return -1;
    }
    if (r->out->findings > 0 && !r->o->accept_findings) {
        return tg_error_set(err,
                            "the check found %d things wrong in the backup; try an earlier one, "
                            "or take it as it is with --accept-findings",
                            r->out->findings);
    }
    return 0;
}

static void remove_fresh(struct restore *r)
{
    static const char *const tails[] = {"", "-wal", "-shm", "-journal"};
    char name[TG_BACKUP_PATH_MAX_BYTES + 16];

    for (size_t i = 0; i < sizeof(tails) / sizeof(tails[0]); i++) {
        (void)snprintf(name, sizeof(name), "%s%s", r->fresh, tails[i]);
        (void)unlink(name);
    }
}

static int make_fresh(struct restore *r, struct tg_error *err)
{
    remove_fresh(r); /* of a restore that was killed; the lock is ours */
    if (tg_copy_make(r->o->from, r->fresh, r->o->stop, err) != 0 ||
        tg_copy_verify(r->fresh, r->o->checkpoint_dir, r->o->public_key_pem, &r->out->backup,
                       &r->audit, err) != 0 ||
        check_findings(r, err) != 0) {
        return -1;
    }
    carry_positions(r);
    return turn_file(r, err);
}

/* ---- R2 to R4: the swap ---- */

/* Brings what the old WAL holds into the old file. One that cannot be read goes aside with it. */
static void fold_old(struct restore *r)
{
    sqlite3 *db = NULL;

    if (sqlite3_open_v2(r->path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) ==
        SQLITE_OK) {
        (void)sqlite3_exec(db, "PRAGMA wal_checkpoint(TRUNCATE)", NULL, NULL, NULL);
    }
    (void)sqlite3_close(db);
}

static int move_tail(struct restore *r, const char *tail, struct tg_error *err)
{
    char from[TG_BACKUP_PATH_MAX_BYTES], to[TG_BACKUP_PATH_MAX_BYTES];

    if (join(from, r->path, tail, "", err) != 0 || join(to, r->out->aside, tail, "", err) != 0) {
        return -1;
    }
    if (rename(from, to) != 0 && errno != ENOENT) {
        return tg_error_set(err, "%s: cannot set it aside: %s", from, strerror(errno));
    }
    return 0;
}

static int set_old_aside(struct restore *r, struct tg_error *err)
{
    if (!r->exists) {
        return 0;
    }
    fold_old(r);
    if (join(r->out->aside, r->path, ".before-restore-", r->stamp, err) != 0) {
        return -1;
    }
    if (link(r->path, r->out->aside) != 0) {
        (void)tg_error_set(err, "%s: cannot set it aside: %s", r->path, strerror(errno));
        r->out->aside[0] = '\0';
        return -1;
    }
    return 0;
}

static int set_checkpoints_aside(struct restore *r, struct tg_error *err)
{
    if (r->audit.newer == 0) {
        return 0;
    }
    if (join(r->out->checkpoints_aside_dir, r->o->checkpoint_dir, "/before-restore-", r->stamp,
             err) != 0) {
        return -1;
    }
    return tg_checkpoints_set_aside(r->o->checkpoint_dir, r->out->backup.audit_rows,
                                    r->out->checkpoints_aside_dir, &r->out->checkpoints_aside, err);
}

static int swap(struct restore *r, struct tg_error *err)
{
    if (set_old_aside(r, err) != 0 || set_checkpoints_aside(r, err) != 0) {
        return -1;
    }
    if (r->exists && (move_tail(r, "-wal", err) != 0 || move_tail(r, "-shm", err) != 0)) {
        return -1;
    }
    if (rename(r->fresh, r->path) != 0) {
        return tg_error_set(err, "%s: cannot put it in place: %s", r->path, strerror(errno));
    }
    return tg_copy_sync_dir_of(r->path, err);
}

/* ---- the whole ---- */

static bool same_file(const char *a, const char *b)
{
    struct stat x, y;

    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static int existing_check(struct restore *r, struct tg_error *err)
{
    struct stat st;

    r->exists = stat(r->path, &st) == 0;
    if (!r->exists) {
        return errno == ENOENT ? 0 : tg_error_set(err, "%s: %s", r->path, strerror(errno));
    }
    if (same_file(r->path, r->o->from)) {
        return tg_error_set(err, "%s is the journal itself, not a backup of it", r->o->from);
    }
    if (!r->o->replace) {
        return tg_error_set(err,
                            "journal %s is there already (%lld bytes); --replace sets it aside and "
                            "puts the backup in its place",
                            r->path, (long long)st.st_size);
    }
    return 0;
}

static int stamp_now(struct restore *r, struct tg_error *err)
{
    struct tm tm;
    time_t seconds;

    r->now_ms = tg_copy_now_ms();
    seconds = (time_t)(r->now_ms / 1000);
    if (gmtime_r(&seconds, &tm) == NULL ||
        snprintf(r->stamp, sizeof(r->stamp), "%04d%02d%02dT%02d%02d%02d.%03dZ", tm.tm_year + 1900,
                 tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
                 (int)(r->now_ms % 1000)) >= STAMP_BYTES) {
        return tg_error_set(err, "the clock cannot be read");
    }
    return 0;
}

static int run_locked(struct restore *r, struct tg_error *err)
{
    if (existing_check(r, err) != 0 || stamp_now(r, err) != 0) {
        return -1;
    }
    if (make_fresh(r, err) != 0 || swap(r, err) != 0) {
        remove_fresh(r);
        return -1;
    }
    return 0;
}

int tg_restore_run(const struct tg_restore_options *o, struct tg_restore_report *out,
                   struct tg_error *err)
{
    struct restore *r = calloc(1, sizeof(*r));
    int result = -1;
    int lock;

    memset(out, 0, sizeof(*out));
    if (r == NULL) {
        return tg_error_set(err, "out of memory");
    }
    r->o = o;
    r->out = out;
    if (access(o->from, R_OK) != 0) {
        (void)tg_error_set(err, "backup %s cannot be read: %s", o->from, strerror(errno));
    } else if (tg_copy_real_path(o->journal, r->path, err) == 0 &&
               join(r->fresh, r->path, TG_RESTORING_TAIL, "", err) == 0 &&
               (lock = tg_lock_take(r->path, err)) >= 0) {
        result = run_locked(r, err);
        tg_lock_release(lock);
    }
    free(r);
    return result;
}
