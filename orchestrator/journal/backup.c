/*
 * Copies. VACUUM INTO reads one snapshot, so a writer beside it goes on; the copy has no WAL and is
 * packed. SQLite does not sync it: that is done here, before it gets its name.
 */
#include "journal/backup.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "journal/copy.h"
#include "journal/internal.h"

#define PROGRESS_STEPS 20000 /* of SQLite's machine between two looks at `stop` */

int64_t tg_copy_now_ms(void)
{
    struct timespec now;

    if (clock_gettime(CLOCK_REALTIME, &now) != 0) {
        return 0;
    }
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int tg_copy_sync(const char *path, int flags, struct tg_error *err)
{
    int fd = open(path, flags | O_CLOEXEC);
    int result;

    if (fd < 0) {
        return tg_error_set(err, "%s: cannot open it: %s", path, strerror(errno));
    }
    result = fsync(fd);
    if (close(fd) != 0 || result != 0) {
        return tg_error_set(err, "%s: cannot sync it: %s", path, strerror(errno));
    }
    return 0;
}

int tg_copy_sync_dir_of(const char *path, struct tg_error *err)
{
    char copy[TG_BACKUP_PATH_MAX_BYTES];

    if (!tg_str_copy(tg_str_of(path), copy, sizeof(copy))) {
        return tg_error_set(err, "path is too long: %.200s...", path);
    }
    return tg_copy_sync(dirname(copy), O_RDONLY | O_DIRECTORY, err);
}

/* ---- copying ---- */

static int on_progress(void *stop)
{
    return *(const volatile sig_atomic_t *)stop != 0;
}

/* SQLite opens an empty file as one to fill: made here, so that nobody else may read it. */
static int make_empty(const char *path, struct tg_error *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd < 0) {
        return tg_error_set(err, "%s: cannot make it: %s", path, strerror(errno));
    }
    if (close(fd) != 0) {
        return tg_error_set(err, "%s: %s", path, strerror(errno));
    }
    return 0;
}

static int vacuum_into(sqlite3 *db, const char *to)
{
    sqlite3_stmt *q = NULL;
    int result = sqlite3_prepare_v2(db, "VACUUM INTO ?1", -1, &q, NULL);

    if (result == SQLITE_OK) {
        result = sqlite3_bind_text(q, 1, to, -1, SQLITE_STATIC);
    }
    if (result == SQLITE_OK) {
        result = sqlite3_step(q);
    }
    sqlite3_finalize(q);
    return result == SQLITE_DONE ? SQLITE_OK : result;
}

int tg_copy_make(const char *from, const char *to, const volatile sig_atomic_t *stop,
                 struct tg_error *err)
{
    struct tg_reader *r = tg_reader_open_older(from, err);
    int result;

    if (r == NULL) {
        return -1;
    }
    if (make_empty(to, err) != 0) {
        tg_reader_close(r);
        return -1;
    }
    if (stop != NULL) {
        sqlite3_progress_handler(r->db, PROGRESS_STEPS, on_progress, (void *)(uintptr_t)stop);
    }
    result = vacuum_into(r->db, to);
    if (result == SQLITE_OK) {
        result = tg_copy_sync(to, O_RDWR, err);
    } else if ((result & 0xff) == SQLITE_INTERRUPT) {
        result = tg_error_set(err, "given up: %s was not written", to);
    } else {
        result = tg_error_set(err, "copy of %s to %s: %s", from, to, sqlite3_errmsg(r->db));
    }
    tg_reader_close(r);
    if (result != 0) {
        (void)unlink(to);
    }
    return result == 0 ? 0 : -1;
}

/* ---- looking at a copy ---- */

static int read_i64(sqlite3 *db, const char *sql, int64_t *out)
{
    sqlite3_stmt *q = NULL;
    int result = sqlite3_prepare_v2(db, sql, -1, &q, NULL);

    *out = 0;
    if (result == SQLITE_OK) {
        result = sqlite3_step(q);
        if (result == SQLITE_ROW) {
            *out = sqlite3_column_int64(q, 0);
        }
    }
    sqlite3_finalize(q);
    return result == SQLITE_ROW || result == SQLITE_DONE ? 0 : -1;
}

/* integrity_check's first complaint; 0 none. */
static int is_sound(struct tg_reader *r, const char *path, struct tg_error *err)
{
    sqlite3_stmt *q = NULL;
    int result = sqlite3_prepare_v2(r->db, "PRAGMA integrity_check(1)", -1, &q, NULL);
    int answer = 0;

    if (result == SQLITE_OK) {
        result = sqlite3_step(q);
    }
    if (result != SQLITE_ROW) {
        answer = tg_error_set(err, "%s is damaged: %s", path, sqlite3_errmsg(r->db));
    } else if (strcmp(tg_column_text(q, 0), "ok") != 0) {
        answer = tg_error_set(err, "%s is damaged: %.300s", path, tg_column_text(q, 0));
    }
    sqlite3_finalize(q);
    return answer;
}

static int has_table(struct tg_reader *r, const char *name, struct tg_error *err)
{
    char sql[128];
    int64_t count = 0;

    (void)snprintf(sql, sizeof(sql), "SELECT count(*) FROM sqlite_schema WHERE name = '%s'", name);
    if (read_i64(r->db, sql, &count) != 0) {
        return tg_reader_failed(r, "the schema", err);
    }
    return count > 0 ? 1 : 0;
}

static int describe(struct tg_reader *r, const char *path, struct tg_backup_report *out,
                    struct tg_error *err)
{
    int64_t schema = 0;
    struct stat st;
    int backups = has_table(r, "backups", err);

    if (backups < 0) {
        return -1;
    }
    if (stat(path, &st) != 0) {
        return tg_error_set(err, "%s: %s", path, strerror(errno));
    }
    out->bytes = (int64_t)st.st_size;
    if (read_i64(r->db, "PRAGMA user_version", &schema) != 0 ||
        read_i64(r->db, "SELECT count(*) FROM events", &out->events) != 0 ||
        read_i64(r->db, "SELECT count(*) FROM postings", &out->postings) != 0 ||
        (backups == 1 && read_i64(r->db, "SELECT max(made_ms) FROM backups", &out->made_ms) != 0)) {
        return tg_reader_failed(r, "the copy", err);
    }
    out->schema = (int)schema;
    return 0;
}

int tg_copy_verify(const char *path, const char *checkpoint_dir, const char *public_key_pem,
                   struct tg_backup_report *out, struct tg_audit_report *audit,
                   struct tg_error *err)
{
    struct tg_reader *r = tg_reader_open_older(path, err);
    int result;

    memset(out, 0, sizeof(*out));
    if (r == NULL) {
        return -1;
    }
    result = is_sound(r, path, err);
    if (result == 0) {
        result = tg_audit_verify_copy(r, checkpoint_dir, public_key_pem, audit, err);
        if (result > 0) {
            result = tg_error_set(err, "the audit chain of %s is broken: %s", path, audit->reason);
        }
    }
    if (result == 0) {
        out->audit_rows = audit->rows;
        memcpy(out->audit_head, audit->head, sizeof(out->audit_head));
        result = describe(r, path, out, err);
    }
    tg_reader_close(r);
    return result;
}

/* ---- a backup ---- */

/* The copy says itself when it was made, before it is verified. */
static int stamp(const char *path, int64_t made_ms, struct tg_error *err)
{
    sqlite3 *db = NULL;
    char sql[256];
    int result;

    (void)snprintf(sql, sizeof(sql),
                   "INSERT INTO backups(made_ms, audit_rows, audit_head) SELECT %lld, "
                   "coalesce(max(seq), 0), coalesce((SELECT hash FROM audit ORDER BY seq DESC "
                   "LIMIT 1), zeroblob(32)) FROM audit",
                   (long long)made_ms);
    result = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (result == SQLITE_OK) {
        result = sqlite3_exec(db, sql, NULL, NULL, NULL);
    }
    if (result != SQLITE_OK) {
        (void)tg_error_set(err, "%s: %s", path, db == NULL ? "out of memory" : sqlite3_errmsg(db));
    }
    (void)sqlite3_close(db);
    return result == SQLITE_OK ? tg_copy_sync(path, O_RDWR, err) : -1;
}

static int stamp_if_known(const char *path, int64_t made_ms, struct tg_error *err)
{
    struct tg_reader *r = tg_reader_open_older(path, err);
    int known;

    if (r == NULL) {
        return -1;
    }
    known = has_table(r, "backups", err);
    tg_reader_close(r);
    return known == 1 ? stamp(path, made_ms, err) : known;
}

/* Before the work: what would only show after it. */
static int target_check(const char *to, char tmp[TG_BACKUP_PATH_MAX_BYTES], struct tg_error *err)
{
    char copy[TG_BACKUP_PATH_MAX_BYTES];
    struct stat st;
    int n = snprintf(tmp, TG_BACKUP_PATH_MAX_BYTES, "%s.%ld.tmp", to, (long)getpid());

    if (n < 0 || n >= TG_BACKUP_PATH_MAX_BYTES) {
        return tg_error_set(err, "path is too long: %.200s...", to);
    }
    if (lstat(to, &st) == 0) {
        return S_ISDIR(st.st_mode)
                   ? tg_error_set(err, "%s is a directory; name the file to write", to)
                   : tg_error_set(err, "%s is there already and is kept; give another name", to);
    }
    (void)tg_str_copy(tg_str_of(to), copy, sizeof(copy));
    if (stat(dirname(copy), &st) != 0) {
        return tg_error_set(err, "directory of %s: %s", to, strerror(errno));
    }
    return 0;
}

int tg_backup_make(const char *journal, const char *to, const volatile sig_atomic_t *stop,
                   struct tg_backup_report *out, struct tg_error *err)
{
    char tmp[TG_BACKUP_PATH_MAX_BYTES];
    struct tg_audit_report audit;
    const int64_t made_ms = tg_copy_now_ms(); /* not after the snapshot: the safe side */

    memset(out, 0, sizeof(*out));
    if (target_check(to, tmp, err) != 0) {
        return -1;
    }
    (void)unlink(tmp); /* left by a process of the same number that was killed */
    if (tg_copy_make(journal, tmp, stop, err) != 0) {
        return -1;
    }
    if (stamp_if_known(tmp, made_ms, err) != 0 ||
        tg_copy_verify(tmp, NULL, NULL, out, &audit, err) != 0) {
        (void)unlink(tmp);
        return -1;
    }
    /* link, not rename: a file that came meanwhile stays. */
    if (link(tmp, to) != 0) {
        (void)tg_error_set(err, "%s: %s", to, strerror(errno));
        (void)unlink(tmp);
        return -1;
    }
    (void)unlink(tmp);
    return tg_copy_sync_dir_of(to, err);
}
