/*
 * The journal thread. While one commit waits for the disk, batches queue up; the next commit
 * carries them all. Invariants:
 *   1. Batches reach the file in the order of submission: a group that cannot be committed is kept
 *      and tried again, and nothing behind it passes.
 *   2. A batch is finished with ok = true only after the commit that carries it returned.
 *   3. A batch that breaks a constraint is undone alone; the chain's head goes back with it.
 */
#include <stdlib.h>
#include <time.h>

#include "common/log.h"
#include "journal/internal.h"

bool tg_journal_wait(struct tg_journal *j, pthread_cond_t *cond, const struct timespec *until)
{
    return pthread_cond_timedwait(cond, &j->lock, until) == 0;
}

struct timespec tg_journal_deadline(int64_t ms)
{
    struct timespec until = {0, 0};

    if (clock_gettime(CLOCK_MONOTONIC, &until) != 0) {
        return until; /* long past: nobody waits for ever on a broken clock */
    }
    until.tv_sec += (time_t)(ms / 1000);
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    return until;
}

/* One batch between savepoints. FAILED: the whole transaction is lost. */
static enum tg_applied apply_alone(struct tg_store *s, struct tg_batch *b, struct tg_error *err)
{
    struct tg_chain before = s->chain;
    enum tg_applied a = tg_store_class(tg_store_run(s, TG_STORE_SAVEPOINT));

    if (a == TG_APPLIED) {
        a = tg_store_apply(s, b, err);
    }
    if (a == TG_REFUSED) {
        b->ok = false;
        b->err = *err;
        s->chain = before;
        if (tg_store_run(s, TG_STORE_ROLLBACK_TO) != SQLITE_OK) {
            return TG_FAILED;
        }
    } else if (a == TG_APPLIED) {
        b->ok = true;
    } else {
        return TG_FAILED;
    }
    return tg_store_run(s, TG_STORE_RELEASE) == SQLITE_OK ? TG_APPLIED : TG_FAILED;
}

/* The whole group in one transaction. On false nothing of it is in the file's view. */
static bool commit_group(struct tg_store *s, const struct tg_batch_list *group,
                         struct tg_error *err)
{
    struct tg_chain before = s->chain;
    bool fine = tg_store_run(s, TG_STORE_BEGIN) == SQLITE_OK;

    for (struct tg_batch *b = group->head; fine && b != NULL; b = b->next) {
        fine = apply_alone(s, b, err) == TG_APPLIED;
    }
    fine = fine && tg_store_run(s, TG_STORE_COMMIT) == SQLITE_OK;
    if (fine) {
        return true;
    }
    (void)tg_error_set(err, "journal cannot write: %s", sqlite3_errmsg(s->db));
    s->chain = before;
    /* SQLite rolls back by itself on some errors, not on all. */
    if (sqlite3_get_autocommit(s->db) == 0 && tg_store_run(s, TG_STORE_ROLLBACK) != SQLITE_OK) {
        tg_log(TG_LOG_ERROR, "journal", "rollback failed: %s", sqlite3_errmsg(s->db));
    }
    return false;
}

static void group_fail(struct tg_batch_list *group, const struct tg_error *err)
{
    for (struct tg_batch *b = group->head; b != NULL; b = b->next) {
        b->ok = false;
        b->err = *err;
    }
}

/* Notes a failed commit and waits before the next try. False: the journal closes, give up. */
static bool wait_to_retry(struct tg_journal *j, int64_t *delay_ms, bool last_try,
                          const struct tg_error *err)
{
    struct timespec until = tg_journal_deadline(*delay_ms);
    bool first;

    (void)pthread_mutex_lock(&j->lock);
    first = !j->stats.stuck;
    j->stats.failures++;
    j->stats.stuck = true;
    (void)pthread_cond_broadcast(&j->room);
    (void)pthread_mutex_unlock(&j->lock);
    if (first) {
        tg_log(TG_LOG_ERROR, "journal", "%s; nothing is acknowledged until it can", err->text);
    }
    (void)pthread_mutex_lock(&j->lock);
    while (!j->closing && tg_journal_wait(j, &j->work, &until)) {
        /* Only new work woke it: the wait goes on. */
    }
    (void)pthread_mutex_unlock(&j->lock);
    *delay_ms = *delay_ms * 2 > TG_JOURNAL_RETRY_MAX_MS ? TG_JOURNAL_RETRY_MAX_MS : *delay_ms * 2;
    return !last_try;
}

/* Commits the group, however long that takes. While closing: one more try, then false. */
static bool commit_until_done(struct tg_journal *j, struct tg_batch_list *group)
{
    struct tg_error err = {{0}};
    int64_t delay_ms = TG_JOURNAL_RETRY_MIN_MS;
    bool last_try;
    bool was_stuck;

    do {
        (void)pthread_mutex_lock(&j->lock);
        last_try = j->closing;
        (void)pthread_mutex_unlock(&j->lock);
        j->store.now_ms = j->now_ms();
        if (commit_group(&j->store, group, &err)) {
            (void)pthread_mutex_lock(&j->lock);
            was_stuck = j->stats.stuck;
            j->stats.stuck = false;
            j->stats.commits++;
            (void)pthread_mutex_unlock(&j->lock);
            if (was_stuck) {
                tg_log(TG_LOG_INFO, "journal", "writes again");
            }
            return true;
        }
    } while (wait_to_retry(j, &delay_ms, last_try, &err));
    group_fail(group, &err);
    return false;
}

/* Hands finished batches to the loop thread; those nobody waits for end here. */
static void finish_group(struct tg_journal *j, struct tg_batch_list *group)
{
    struct tg_batch *b;
    bool wake = false;

    for (b = group->head; b != NULL; b = b->next) {
        tg_batch_shed(b);
    }
    (void)pthread_mutex_lock(&j->lock);
    while ((b = tg_batch_list_pop(group)) != NULL) {
        j->unfinished--;
        j->stats.batches++;
        if (b->done != NULL) {
            tg_batch_list_push(&j->finished, b);
            wake = true;
        } else {
            tg_batch_free(b);
        }
    }
    (void)pthread_cond_broadcast(&j->room);
    (void)pthread_mutex_unlock(&j->lock);
    if (wake && j->notify != NULL) {
        j->notify(j->notify_arg);
    }
}

/* Waits for work. False: the journal closes and the queue is empty. */
static bool take_group(struct tg_journal *j, struct tg_batch_list *group)
{
    (void)pthread_mutex_lock(&j->lock);
    while (j->queue.head == NULL && !j->closing) {
        (void)pthread_cond_wait(&j->work, &j->lock);
    }
    while (group->count < TG_JOURNAL_GROUP_MAX && j->queue.head != NULL) {
        tg_batch_list_push(group, tg_batch_list_pop(&j->queue));
    }
    (void)pthread_mutex_unlock(&j->lock);
    return group->head != NULL;
}

void *tg_writer_main(void *journal)
{
    struct tg_journal *j = journal;
    struct tg_batch_list group = {NULL, NULL, 0};
    bool gave_up = false;

    while (take_group(j, &group)) {
        if (gave_up) {
            /* Order: what comes behind a lost group may not pass it. */
            struct tg_error err;

            (void)tg_error_set(&err, "journal closed before it could write");
            group_fail(&group, &err);
        } else {
            gave_up = !commit_until_done(j, &group);
        }
        finish_group(j, &group);
        if (!gave_up) {
            tg_store_checkpoint(&j->store);
        }
    }
    return NULL;
}
