/*
 * backup.h: copies of the journal, and how one comes back.
 *
 * A backup is one SQLite file without a log beside it: the committed rows of one moment, made while
 * a writer goes on. It carries a row of table `backups` that says when it was made.
 *
 * A restored journal does not know what happened after its backup, at the destinations or in the
 * stream. So every open posting of it becomes in doubt (or, held, is looked up when it is let go),
 * and the stream is read again: restored.h has the rules, intake carries them out.
 *
 * Ownership: reports are the caller's and point nowhere. Nothing here is for the loop thread: each
 * call takes as long as the file is large.
 */
#ifndef TG_JOURNAL_BACKUP_H
#define TG_JOURNAL_BACKUP_H

#include <signal.h>

#include "journal/audit.h"

/* Room for a path of ours: what is longer is refused. */
#define TG_BACKUP_PATH_MAX_BYTES 4096

struct tg_backup_report {
    int64_t made_ms; /* 0: not known, an older journal */
    int64_t bytes;
    int schema;
    int64_t events, postings; /* rows */
    int64_t audit_rows;
    unsigned char audit_head[TG_SHA256_BYTES];
};

/*
 * Writes a copy of the journal to a file that is not there yet (mode 0600), beside a running
 * writer, and verifies it: the file is sound and the audit chain intact. On disk when it returns.
 * stop (may be NULL): set by a signal handler to give up. 0, or -1: there is then no file at `to`.
 */
int tg_backup_make(const char *journal, const char *to, const volatile sig_atomic_t *stop,
                   struct tg_backup_report *out, struct tg_error *err);

/* What migrate would do: the schema the file has and the one this program writes. 0 or -1. */
int tg_migrate_look(const char *journal, int *has, int *writes, struct tg_error *err);
/* Whether the lock can be had now: before the work of a backup. 0 or -1. */
int tg_migrate_free(const char *journal, struct tg_error *err);
/* Takes the lock (nobody may hold the journal) and migrates in place. 0 or -1: as it was. */
int tg_migrate_run(const char *journal, struct tg_error *err);
/* Migrates a copy and checks it, then removes it. fn: as tg_journal_check. Findings, or -1. */
int tg_migrate_try(const char *journal, const volatile sig_atomic_t *stop, tg_check_finding fn,
                   void *arg, struct tg_error *err);

struct tg_restore_options {
    const char *journal, *from;
    const char *checkpoint_dir, *public_key_pem; /* both or none */
    const char *actor;                           /* of the audit row */
    bool replace;         /* a journal that is there is set aside; else it is an error */
    bool accept_findings; /* what the check finds in the backup does not stop it */
    bool doubt_all; /* Redis was restored too: every entry in it may have been posted before */
    const volatile sig_atomic_t *stop;
    tg_check_finding finding; /* as tg_journal_check */
    void *finding_arg;
};

struct tg_restore_report {
    struct tg_backup_report backup; /* schema: of the file it came from */
    int64_t in_doubt, held;         /* postings turned, held ones marked */
    int findings;                   /* in the backup */
    size_t checkpoints_aside;
    char aside[TG_BACKUP_PATH_MAX_BYTES];                 /* the journal that was there; "": none */
    char checkpoints_aside_dir[TG_BACKUP_PATH_MAX_BYTES]; /* "": none */
};

/*
 * Puts a backup in the journal's place: copied beside it, verified, migrated, its open postings
 * turned, and only then renamed into place. Whatever fails, and a kill at any moment, leaves the
 * old journal or the new one; a half-done restore keeps tg_journal_open from opening either, and
 * the next restore begins anew. 0 or -1.
 */
int tg_restore_run(const struct tg_restore_options *o, struct tg_restore_report *out,
                   struct tg_error *err);

#endif
