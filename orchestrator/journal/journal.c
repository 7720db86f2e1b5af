#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <search.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "journal/internal.h"

struct tg_known_destination {
    uint32_t index;
    const char *name; /* a search key points it at the caller's text, a node at its own */
    char text[];
};

static int64_t system_now_ms(void)
{
    struct timespec now;

    if (clock_gettime(CLOCK_REALTIME, &now) != 0) {
        return 0;
    }
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- destinations ---- */

static int destination_compare(const void *a, const void *b)
{
    const struct tg_known_destination *left = a;
    const struct tg_known_destination *right = b;

    return strcmp(left->name, right->name);
}

static int destination_remember(struct tg_journal *j, uint32_t index, const char *name)
{
    size_t len = strlen(name) + 1;
    struct tg_known_destination *d = malloc(sizeof(*d) + len);

    if (d == NULL) {
        return -1;
    }
    d->index = index;
    memcpy(d->text, name, len);
    d->name = d->text;
    if (tsearch(d, &j->destinations, destination_compare) == NULL) {
        free(d);
        return -1;
    }
    if (index >= j->destination_count) {
        j->destination_count = index + 1;
    }
    return 0;
}

static struct tg_known_destination *destination_find(struct tg_journal *j, const char *name)
{
    struct tg_known_destination key = {.index = 0, .name = name};
    struct tg_known_destination **found = tfind(&key, &j->destinations, destination_compare);

    return found == NULL ? NULL : *found;
}

static void destination_forget(struct tg_journal *j, const char *name)
{
    struct tg_known_destination *d = destination_find(j, name);

    if (d != NULL) {
        (void)tdelete(d, &j->destinations, destination_compare);
        free(d);
    }
}

static void destinations_forget(struct tg_journal *j)
{
    while (j->destinations != NULL) {
        struct tg_known_destination *d = *(struct tg_known_destination **)j->destinations;

        (void)tdelete(d, &j->destinations, destination_compare);
        free(d);
    }
}

/* Waits for room when the queue is full; -1 when there will be none soon. */
static int submit_patiently(struct tg_journal *j, struct tg_batch *b)
{
    struct timespec until = tg_journal_deadline(TG_JOURNAL_ROOM_WAIT_MS);

    if (tg_journal_submit(j, b, NULL, NULL) == 0) {
        return 0;
    }
    (void)pthread_mutex_lock(&j->lock);
    while (j->unfinished >= TG_JOURNAL_QUEUE_MAX && !j->stats.stuck && !j->closing &&
           tg_journal_wait(j, &j->room, &until)) {
    }
    (void)pthread_mutex_unlock(&j->lock);
    return tg_journal_submit(j, b, NULL, NULL);
}

static int destination_add(struct tg_journal *j, const char *name, struct tg_error *err)
{
    uint32_t index = j->destination_count;
    struct tg_batch *b = tg_batch_new();

    if (b == NULL || tg_batch_destination(b, index, name) != 0) {
        tg_batch_free(b);
        return tg_error_set(err, "journal: out of memory");
    }
    if (destination_remember(j, index, name) != 0) {
        tg_batch_free(b);
        return tg_error_set(err, "journal: out of memory");
    }
    /* Queued before every batch that can name it, so it is in the file before they are. */
    if (submit_patiently(j, b) != 0) {
        tg_batch_free(b);
        destination_forget(j, name);
        j->destination_count = index;
        return tg_error_set(err, "journal: destination %s not stored, the queue is full", name);
    }
    return 0;
}

int tg_journal_destination(struct tg_journal *j, const char *destination_id, uint32_t *index,
                           struct tg_error *err)
{
    struct tg_known_destination *known = destination_find(j, destination_id);

    if (known == NULL) {
        if (j->destination_count >= TG_JOURNAL_DESTINATIONS_MAX) {
            return tg_error_set(err, "journal: destination %s is one too many (%d at most)",
                                destination_id, TG_JOURNAL_DESTINATIONS_MAX);
        }
        if (destination_add(j, destination_id, err) != 0) {
            return -1;
        }
        known = destination_find(j, destination_id);
    }
    if (known == NULL) {
        return tg_error_set(err, "journal: destination %s is lost", destination_id);
    }
    *index = known->index;
    return 0;
}

/* ---- opening ---- */

/* Says what is wrong with the path before SQLite says "unable to open database file". */
static int path_check(const char *path, struct tg_error *err)
{
    char copy[PATH_MAX];
    struct stat st;
    const char *dir;

    if (path == NULL || path[0] == '\0') {
        return tg_error_set(err, "journal path is empty; set journal.path");
    }
    if (!tg_str_copy(tg_str_of(path), copy, sizeof(copy))) {
        return tg_error_set(err, "journal path is too long: %.200s...", path);
    }
    dir = dirname(copy);
    if (stat(dir, &st) != 0) {
        return tg_error_set(err, "journal directory %s: %s; create it or change journal.path", dir,
                            strerror(errno));
    }
    if (!S_ISDIR(st.st_mode)) {
        return tg_error_set(err, "journal directory %s is not a directory; change journal.path",
                            dir);
    }
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
        return tg_error_set(err, "journal %s is not a file; change journal.path", path);
    }
    return 0;
}

/*
 * Before SQLite makes it with the usual rights: it holds what people worked and earn. A file that
 * is there is not opened: closing it again would drop the locks of this process's readers.
 */
static int file_create(const char *path, struct tg_error *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd >= 0) {
        (void)close(fd);
    } else if (errno != EEXIST) {
        return tg_error_set(err, "cannot make journal %s: %s", path, strerror(errno));
    }
    return 0;
}

/* Half a restore: neither the old journal nor the new one is the truth. */
static int restore_check(const char *path, struct tg_error *err)
{
    char name[PATH_MAX];
    int n = snprintf(name, sizeof(name), "%s%s", path, TG_RESTORING_TAIL);

    if (n < 0 || (size_t)n >= sizeof(name)) {
        return tg_error_set(err, "journal path is too long: %.200s...", path);
    }
    if (access(name, F_OK) == 0) {
        return tg_error_set(err,
                            "a restore of journal %s did not come to its end; run tallygate "
                            "restore again, or remove %s to go on with the journal as it is",
                            path, name);
    }
    return 0;
}

/* The lock lies beside the file itself, so that a link to it is not a way round. */
static int lock_take(const char *path, struct tg_error *err)
{
    char *real = realpath(path, NULL);
    int fd;

    if (real == NULL) {
        return tg_error_set(err, "journal %s: %s", path, strerror(errno));
    }
    fd = tg_lock_take(real, err);
    if (fd >= 0 && restore_check(real, err) != 0) {
        tg_lock_release(fd);
        fd = -1;
    }
    free(real);
    return fd;
}

static int load_ids(struct tg_journal *j, const char *path, struct tg_error *err)
{
    static const char *const queries[TG_TABLE_COUNT] = {
        [TG_TABLE_EVENTS] = "SELECT coalesce(max(id), 0) + 1 FROM events",
        [TG_TABLE_OBJECTS] = "SELECT coalesce(max(id), 0) + 1 FROM objects",
        [TG_TABLE_POSTINGS] = "SELECT coalesce(max(id), 0) + 1 FROM postings",
        [TG_TABLE_EXCEPTIONS] = "SELECT coalesce(max(id), 0) + 1 FROM exceptions",
        [TG_TABLE_MASTER] = "SELECT coalesce(max(id), 0) + 1 FROM master",
        [TG_TABLE_REPLAYS] = "SELECT coalesce(max(id), 0) + 1 FROM replays",
    };

    for (int t = 0; t < TG_TABLE_COUNT; t++) {
        sqlite3_stmt *q = NULL;
        int result = sqlite3_prepare_v2(j->store.db, queries[t], -1, &q, NULL);

        if (result == SQLITE_OK) {
            result = sqlite3_step(q);
        }
        if (result == SQLITE_ROW) {
            j->next_id[t] = sqlite3_column_int64(q, 0);
        }
        sqlite3_finalize(q);
        if (result != SQLITE_ROW) {
            return tg_error_set(err, "journal %s: cannot read the last id: %s", path,
                                sqlite3_errmsg(j->store.db));
        }
    }
    return 0;
}

static int load_destinations(struct tg_journal *j, const char *path, struct tg_error *err)
{
    sqlite3_stmt *q = NULL;
    int result = sqlite3_prepare_v2(
        j->store.db, "SELECT id, name FROM destinations ORDER BY id LIMIT ?1", -1, &q, NULL);

    if (result == SQLITE_OK) {
        result = sqlite3_bind_int64(q, 1, TG_JOURNAL_DESTINATIONS_MAX);
    }
    if (result == SQLITE_OK) {
        while ((result = sqlite3_step(q)) == SQLITE_ROW) {
            if (destination_remember(j, (uint32_t)sqlite3_column_int64(q, 0),
                                     tg_column_text(q, 1)) != 0) {
                result = SQLITE_NOMEM;
                break;
            }
        }
    }
    sqlite3_finalize(q);
    if (result != SQLITE_DONE) {
        return tg_error_set(err, "journal %s: cannot read its destinations: %s", path,
                            sqlite3_errstr(result));
    }
    return 0;
}

/* Conditions wait by the monotonic clock: a set wall clock must not stretch a backoff. */
static int locks_init(struct tg_journal *j)
{
    pthread_condattr_t attr;
    int result = pthread_mutex_init(&j->lock, NULL);

    if (result != 0) {
        return result;
    }
    result = pthread_condattr_init(&attr);
    if (result == 0) {
        result = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        if (result == 0) {
            result = pthread_cond_init(&j->work, &attr);
        }
        if (result == 0) {
            result = pthread_cond_init(&j->room, &attr);
            if (result != 0) {
                (void)pthread_cond_destroy(&j->work);
            }
        }
        (void)pthread_condattr_destroy(&attr);
    }
    if (result != 0) {
        (void)pthread_mutex_destroy(&j->lock);
    }
    return result;
}

/* Signals belong to the loop thread: this one starts with all of them blocked. */
static int thread_start(struct tg_journal *j, struct tg_error *err)
{
    sigset_t all;
    sigset_t old;
    int result = locks_init(j);

    if (result != 0) {
        return tg_error_set(err, "journal: %s", strerror(result));
    }
    (void)sigfillset(&all);
    result = pthread_sigmask(SIG_SETMASK, &all, &old);
    if (result == 0) {
        result = pthread_create(&j->thread, NULL, tg_writer_main, j);
        (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    }
    if (result != 0) {
        (void)pthread_cond_destroy(&j->work);
        (void)pthread_cond_destroy(&j->room);
        (void)pthread_mutex_destroy(&j->lock);
        return tg_error_set(err, "journal thread does not start: %s", strerror(result));
    }
    return 0;
}

static void release(struct tg_journal *j)
{
    tg_store_close(&j->store);
    destinations_forget(j);
    tg_lock_release(j->lock_fd);
    free(j);
}

struct tg_journal *tg_journal_open(const struct tg_journal_options *o, struct tg_error *err)
{
    struct tg_journal *j;

    if (path_check(o->path, err) != 0) {
        return NULL;
    }
    j = calloc(1, sizeof(*j));
    if (j == NULL) {
        (void)tg_error_set(err, "journal: out of memory");
        return NULL;
    }
    j->notify = o->notify;
    j->notify_arg = o->notify_arg;
    j->now_ms = o->now_ms != NULL ? o->now_ms : system_now_ms;
    j->lock_fd = file_create(o->path, err) == 0 ? lock_take(o->path, err) : -1;
    if (j->lock_fd < 0 || tg_store_open(&j->store, o->path, err) != 0 ||
        load_ids(j, o->path, err) != 0 || load_destinations(j, o->path, err) != 0 ||
        thread_start(j, err) != 0) {
        release(j);
        return NULL;
    }
    return j;
}

void tg_journal_close(struct tg_journal *j)
{
    if (j == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&j->lock);
    j->closing = true;
    (void)pthread_cond_broadcast(&j->work);
    (void)pthread_mutex_unlock(&j->lock);
    if (pthread_join(j->thread, NULL) != 0) {
        tg_log(TG_LOG_ERROR, "journal", "thread cannot be joined; left open");
        return;
    }
    (void)tg_journal_poll(j); /* closing: callbacks can submit nothing more */
    (void)pthread_cond_destroy(&j->work);
    (void)pthread_cond_destroy(&j->room);
    (void)pthread_mutex_destroy(&j->lock);
    /* May find a reader in the way: the next opener copies the rest. */
    (void)sqlite3_wal_checkpoint_v2(j->store.db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    release(j);
}

/* ---- the loop thread's face ---- */

int64_t tg_journal_next_id(struct tg_journal *j, enum tg_table t)
{
    return j->next_id[t]++;
}

int tg_journal_submit(struct tg_journal *j, struct tg_batch *b, tg_batch_done done, void *arg)
{
    int result = -1;

    (void)pthread_mutex_lock(&j->lock);
    if (!j->closing && j->unfinished < TG_JOURNAL_QUEUE_MAX) {
        b->done = done;
        b->arg = arg;
        tg_batch_list_push(&j->queue, b);
        j->unfinished++;
        (void)pthread_cond_signal(&j->work);
        result = 0;
    }
    (void)pthread_mutex_unlock(&j->lock);
    return result;
}

size_t tg_journal_poll(struct tg_journal *j)
{
    struct tg_batch_list finished;
    struct tg_batch *b;
    size_t count;

    (void)pthread_mutex_lock(&j->lock);
    finished = j->finished;
    memset(&j->finished, 0, sizeof(j->finished));
    (void)pthread_mutex_unlock(&j->lock);
    count = finished.count;
    while ((b = tg_batch_list_pop(&finished)) != NULL) {
        b->done(b->arg, b->ok, &b->err);
        tg_batch_free(b);
    }
    return count;
}

void tg_journal_stats(struct tg_journal *j, struct tg_journal_stats *out)
{
    (void)pthread_mutex_lock(&j->lock);
    *out = j->stats;
    out->queued = j->unfinished;
    (void)pthread_mutex_unlock(&j->lock);
}
