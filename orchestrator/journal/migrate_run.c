/* Migration as a command: look, try on a copy, run. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "journal/copy.h"
#include "journal/internal.h"

int tg_migrate_look(const char *journal, int *has, int *writes, struct tg_error *err)
{
    struct tg_reader *r = tg_reader_open_older(journal, err);
    sqlite3_stmt *q = NULL;
    int result = -1;

    if (r == NULL) {
        return -1;
    }
    *writes = tg_migrate_version();
    if (sqlite3_prepare_v2(r->db, "PRAGMA user_version", -1, &q, NULL) == SQLITE_OK &&
        sqlite3_step(q) == SQLITE_ROW) {
        *has = sqlite3_column_int(q, 0);
        result = 0;
    } else {
        (void)tg_reader_failed(r, "its schema number", err);
    }
    sqlite3_finalize(q);
    tg_reader_close(r);
    return result;
}

/* Opening a store migrates it. */
static int migrate_file(const char *path, struct tg_error *err)
{
    struct tg_store s;
    int result = tg_store_open(&s, path, err);

    tg_store_close(&s);
    return result;
}

/* The real path, and the lock's descriptor; -1. */
static int lock_journal(const char *journal, char path[TG_BACKUP_PATH_MAX_BYTES],
                        struct tg_error *err)
{
    if (access(journal, R_OK | W_OK) != 0) {
        return tg_error_set(err, "journal %s: %s", journal, strerror(errno));
    }
    return tg_copy_real_path(journal, path, err) == 0 ? tg_lock_take(path, err) : -1;
}

int tg_migrate_free(const char *journal, struct tg_error *err)
{
    char path[TG_BACKUP_PATH_MAX_BYTES];
    int lock = lock_journal(journal, path, err);

    tg_lock_release(lock);
    return lock >= 0 ? 0 : -1;
}

int tg_migrate_run(const char *journal, struct tg_error *err)
{
    char path[TG_BACKUP_PATH_MAX_BYTES];
    int result = -1;
    int lock = lock_journal(journal, path, err);

    if (lock >= 0) {
        result = migrate_file(path, err);
        tg_lock_release(lock);
    }
    return result;
}

int tg_migrate_try(const char *journal, const volatile sig_atomic_t *stop, tg_check_finding fn,
                   void *arg, struct tg_error *err)
{
    static const char *const tails[] = {"", "-wal", "-shm", "-journal"};
    char path[TG_BACKUP_PATH_MAX_BYTES];
    char name[TG_BACKUP_PATH_MAX_BYTES + 16];
    struct tg_reader *r = NULL;
    int n = snprintf(path, sizeof(path), "%s.try-%ld", journal, (long)getpid());
    int result = -1;

    if (n < 0 || (size_t)n >= sizeof(path)) {
        return tg_error_set(err, "path is too long: %.200s...", journal);
    }
    if (tg_copy_make(journal, path, stop, err) != 0) {
        return -1;
    }
    if (migrate_file(path, err) == 0) {
        r = tg_reader_open(path, err);
    }
    if (r != NULL) {
        result = tg_journal_check(r, fn, arg, err);
        tg_reader_close(r);
    }
    for (size_t i = 0; i < sizeof(tails) / sizeof(tails[0]); i++) {
        (void)snprintf(name, sizeof(name), "%s%s", path, tails[i]);
        (void)unlink(name);
    }
    return result;
}
