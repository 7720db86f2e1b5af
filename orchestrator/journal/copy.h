/*
 * copy.h: what backup.c, restore.c and migrate_run.c share; nothing outside the folder includes it.
 *
 * Ownership: the caller owns every path and report.
 */
#ifndef TG_JOURNAL_COPY_H
#define TG_JOURNAL_COPY_H

#include "journal/backup.h"

int64_t tg_copy_now_ms(void); /* wall clock */

/* fsync by path; flags as for open(). 0 or -1. */
int tg_copy_sync(const char *path, int flags, struct tg_error *err);
int tg_copy_sync_dir_of(const char *path, struct tg_error *err);

/* One snapshot of a journal of any schema this program knows, into a new file, synced. */
int tg_copy_make(const char *from, const char *to, const volatile sig_atomic_t *stop,
                 struct tg_error *err);

/* The file is sound, its chain intact and, with a directory, as its checkpoints signed it. */
int tg_copy_verify(const char *path, const char *checkpoint_dir, const char *public_key_pem,
                   struct tg_backup_report *out, struct tg_audit_report *audit,
                   struct tg_error *err);

/* Where the journal really is, also when there is none yet: links followed. 0 or -1. */
int tg_copy_real_path(const char *path, char out[TG_BACKUP_PATH_MAX_BYTES], struct tg_error *err);

#endif
