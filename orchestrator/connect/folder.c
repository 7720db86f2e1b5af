#include "connect/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/codec.h"
#include "common/log.h"
#include "connect/book.h"
#include "connect/ledger.h"
#include "connect/totals.h"

#define BATCH_BYTES ((size_t)TG_FILE_BATCH_MAX * TG_FILE_LINE_MAX_BYTES)
#define LEDGER_BYTES ((size_t)TG_FILE_BATCH_MAX * TG_LEDGER_ENTRY_MAX_BYTES)

/* An open book; the least recently used one is closed when all slots are taken. */
struct slot {
    struct tg_book *book;
    const struct tg_sheet *sheet;
    struct tg_totals *totals; /* hours only */
    uint64_t used;
};

struct tg_folder {
    char *path;
    int dirfd;
    struct tg_ledger *ledger;
    struct slot slots[TG_FILE_BOOKS_OPEN_MAX];
    uint64_t clock;
    struct tg_buf lines; /* records of the batch in hand */
    struct tg_buf ledger_entries;
    struct tg_csv_record record;
};

static void slot_close(struct slot *s)
{
    tg_book_close(s->book);
    tg_totals_free(s->totals);
    *s = (struct slot){0};
}

static int take_total(void *arg, struct tg_str line, const struct tg_csv_record *record)
{
    return tg_totals_add(arg, line, record);
}

static void write_totals(const struct tg_folder *s, struct slot *slot)
{
    struct tg_error err;

    if (slot->totals != NULL && tg_totals_write(slot->totals, s->dirfd, &err) != 0) {
        tg_log(TG_LOG_ERROR, "connect", "%s: %s", s->path, err.text);
    }
}

static int slot_open(struct tg_folder *s, struct slot *slot, const struct tg_sheet *sheet,
                     const char *name, struct tg_error *err)
{
    bool totals = sheet == &tg_sheet_hours;

    slot->sheet = sheet;
    if (totals) {
        slot->totals = tg_totals_new(sheet, name);
        if (slot->totals == NULL) {
            return tg_error_set(err, "%s: no memory for its control totals", name);
        }
    }
    slot->book =
        tg_book_open(s->dirfd, name, sheet->header, totals ? take_total : NULL, slot->totals, err);
    if (slot->book == NULL) {
        slot_close(slot);
        return -1;
    }
    write_totals(s, slot);
    return 0;
}

/* The open book of that name, opened and recovered if need be. NULL with err. */
static struct slot *slot_get(struct tg_folder *s, const struct tg_sheet *sheet, const char *name,
                             struct tg_error *err)
{
    struct slot *victim = &s->slots[0];
    struct slot *found = NULL;

    for (size_t i = 0; i < TG_FILE_BOOKS_OPEN_MAX; i++) {
        struct slot *slot = &s->slots[i];

        if (slot->book != NULL && strcmp(tg_book_name(slot->book), name) == 0) {
            found = slot;
        }
        if (slot->used < victim->used) {
            victim = slot;
        }
    }
    if (found != NULL && !tg_book_is_current(found->book)) {
        tg_log(TG_LOG_WARN, "connect", "%s/%s: not as it was left, read again", s->path, name);
        slot_close(found);
        victim = found;
        found = NULL;
        if (sheet == &tg_sheet_labor) {
            tg_ledger_mark_stale(s->ledger);
        }
    }
    if (found == NULL) {
        slot_close(victim);
        if (slot_open(s, victim, sheet, name, err) != 0) {
            return NULL;
        }
        found = victim;
    }
    found->used = ++s->clock;
    return found;
}

/* Every file of one sheet, once: torn tails are cut and totals made before anything is written. */
static int recover_files(struct tg_folder *s, const struct tg_sheet *sheet, struct tg_error *err)
{
    char **names = NULL;
    int n = tg_ledger_list(s->dirfd, sheet, &names, err);
    int rc = n < 0 ? -1 : 0;

    for (int i = 0; i < n && rc == 0; i++) {
        rc = slot_get(s, sheet, names[i], err) != NULL ? 0 : -1;
    }
    if (n >= 0) {
        tg_ledger_list_free(names, n);
    }
    return rc;
}

/* The directory and those above it that are missing. 0 or -1 with errno. */
static int make_directories(const char *path)
{
    char part[TG_RULE_PATH_MAX_BYTES];

    if (!tg_str_copy(tg_str_of(path), part, sizeof(part))) {
        errno = ENAMETOOLONG;
        return -1;
    }
    for (char *p = part + 1; *p != '\0'; p++) {
        if (*p != '/') {
            continue;
        }
        *p = '\0';
        if (mkdir(part, 0750) != 0 && errno != EEXIST) {
            return -1;
        }
        *p = '/';
    }
    return mkdir(part, 0750) != 0 && errno != EEXIST ? -1 : 0;
}

static int open_directory(struct tg_folder *s, struct tg_error *err)
{
    if (make_directories(s->path) != 0) {
        return tg_error_set(err, "directory %s: cannot create: %s; give another path", s->path,
                            strerror(errno));
    }
    s->dirfd = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->dirfd < 0) {
        return tg_error_set(err, "directory %s: cannot open: %s", s->path, strerror(errno));
    }
    if (faccessat(s->dirfd, ".", R_OK | W_OK | X_OK, AT_EACCESS) != 0) {
        return tg_error_set(err, "directory %s: not writable for this user: %s", s->path,
                            strerror(errno));
    }
    if (flock(s->dirfd, LOCK_EX | LOCK_NB) != 0) {
        return tg_error_set(err,
                            "directory %s: another destination or process writes here; give each "
                            "its own path",
                            s->path);
    }
    return 0;
}

struct tg_folder *tg_folder_open(const char *path, struct tg_error *err)
{
    struct tg_folder *s = calloc(1, sizeof(*s));
    struct tg_error why = {""};

    if (s == NULL || (s->path = strdup(path)) == NULL) {
        free(s);
        (void)tg_error_set(err, "directory %s: no memory", path);
        return NULL;
    }
    s->dirfd = -1;
    tg_buf_init(&s->lines, BATCH_BYTES);
    tg_buf_init(&s->ledger_entries, LEDGER_BYTES);
    if (open_directory(s, err) != 0) {
        tg_folder_close(s);
        return NULL;
    }
    if (recover_files(s, &tg_sheet_labor, &why) != 0 ||
        recover_files(s, &tg_sheet_hours, &why) != 0 ||
        (s->ledger = tg_ledger_open(s->dirfd, &why)) == NULL) {
        (void)tg_error_set(err, "directory %s: %s", path, why.text);
        tg_folder_close(s);
        return NULL;
    }
    return s;
}

void tg_folder_close(struct tg_folder *s)
{
    if (s == NULL) {
        return;
    }
    for (size_t i = 0; i < TG_FILE_BOOKS_OPEN_MAX; i++) {
        slot_close(&s->slots[i]);
    }
    tg_ledger_close(s->ledger);
    tg_buf_free(&s->lines);
    tg_buf_free(&s->ledger_entries);
    if (s->dirfd >= 0) {
        (void)close(s->dirfd);
    }
    free(s->path);
    free(s);
}

static void set_detail(struct tg_folder_job *job, const char *text)
{
    (void)snprintf(job->detail, sizeof(job->detail), "%.*s", (int)sizeof(job->detail) - 1, text);
}

static void reject(struct tg_folder_job *job, const char *why)
{
    job->outcome = TG_OUTCOME_REJECTED;
    job->lookup = TG_LOOKUP_UNKNOWN;
    set_detail(job, why);
    job->done = true;
}

/* Nothing was sent, and it is this directory's fault, not the posting's. */
static void fail(struct tg_folder_job *job, enum tg_outcome outcome, const char *why)
{
    job->outcome = outcome;
    job->lookup = TG_LOOKUP_UNKNOWN;
    set_detail(job, why);
    job->done = true;
}

static void succeed(struct tg_folder_job *job, uint32_t line)
{
    job->outcome = TG_OUTCOME_POSTED;
    job->lookup = TG_LOOKUP_FOUND;
    (void)snprintf(job->ref, sizeof(job->ref), "%.*s:%u", (int)sizeof(job->ref) - 12, job->file,
                   (unsigned)line);
    job->done = true;
}

/* Sheet, file, key and record of a job; a payload the sheet does not take is rejected. */
static void prepare(struct tg_folder *s, struct tg_folder_job *job)
{
    struct tg_error err = {""};
    json_t *payload = NULL;
    int rc = -1;

    job->done = false;
    job->fresh = false;
    job->exception = NULL;
    job->ref[0] = '\0';
    job->detail[0] = '\0';
    job->sheet = tg_sheet_find(job->kind);
    if (job->sheet == NULL) {
        reject(job, "this destination takes the kinds labor and hours only");
        return;
    }
    if (tg_hex_decode(tg_str_of(job->key_hex), job->key, sizeof(job->key)) !=
        (int)sizeof(job->key)) {
        reject(job, "the posting's key is not 32 hex digits");
        return;
    }
    payload = json_loads(job->payload, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    if (!json_is_object(payload)) {
        reject(job, "the posting's payload is not a JSON object");
    } else if (tg_sheet_file(job->sheet, payload, job->file, sizeof(job->file) - 12, &err) != 0) {
        reject(job, err.text);
    } else {
        job->line_at = s->lines.len;
        rc = job->is_lookup ? 0 : tg_sheet_line(job->sheet, payload, job->key_hex, &s->lines, &err);
        job->line_len = s->lines.len - job->line_at;
        if (rc == -2) {
            fail(job, TG_OUTCOME_RETRY, "no memory");
        } else if (rc != 0) {
            reject(job, err.text);
        }
    }
    json_decref(payload);
}

static struct tg_str job_line(const struct tg_folder *s, const struct tg_folder_job *job)
{
    return (struct tg_str){(const unsigned char *)s->lines.data + job->line_at, job->line_len};
}

/* One job against its open book: answered at once, or its line waits for the commit. */
static void place(struct tg_folder *s, struct slot *slot, struct tg_folder_job *job)
{
    uint32_t line = tg_book_find(slot->book, job->key);

    if (line != 0) {
        succeed(job, line);
        return;
    }
    if (job->is_lookup) {
        job->lookup = TG_LOOKUP_ABSENT;
        job->done = true;
        return;
    }
    job->line = tg_book_waiting(slot->book, job->key);
    if (job->line != 0) {
        return; /* the same key twice in one batch: one line */
    }
    if (tg_book_add(slot->book, job_line(s, job), job->key) != 0) {
        fail(job, TG_OUTCOME_DOWN, "no memory, or the file holds as many lines as it may");
        return;
    }
    job->line = tg_book_waiting(slot->book, job->key);
    job->fresh = true;
}

/* The projections of a line that is on disk. What fails here is made good later. */
static void project(struct tg_folder *s, struct slot *slot, const struct tg_folder_job *job)
{
    struct tg_str line = job_line(s, job);
    bool failed;

    line.len--; /* \n */
    failed = tg_csv_split(line, &s->record) != 0;
    if (!failed && slot->totals != NULL) {
        failed = tg_totals_add(slot->totals, line, &s->record) != 0;
    } else if (!failed) {
        failed = tg_sheet_ledger_entry(&s->record, &s->ledger_entries) != 0;
    }
    if (failed && slot->totals == NULL) {
        tg_ledger_mark_stale(s->ledger);
    } else if (failed) {
        tg_log(TG_LOG_ERROR, "connect",
               "%s/%s: control totals fall short; they are made anew at "
               "the next start",
               s->path, job->file);
    }
}

static void finish_projections(struct tg_folder *s, struct slot *slot)
{
    struct tg_error err;

    if (slot->totals != NULL) {
        write_totals(s, slot);
    } else if (tg_ledger_append(s->ledger, tg_buf_view(&s->ledger_entries), &err) != 0) {
        tg_log(TG_LOG_ERROR, "connect", "%s: %s; it is written anew with the next posting", s->path,
               err.text);
    }
    tg_buf_clear(&s->ledger_entries);
}

static void commit(struct tg_folder *s, struct slot *slot, struct tg_folder_job *const *mine,
                   size_t n)
{
    struct tg_error err = {""};
    enum tg_book_result result = tg_book_commit(slot->book, &err);
    bool any = false;

    if (result != TG_BOOK_DONE) {
        tg_log(TG_LOG_ERROR, "connect", "%s/%s", s->path, err.text);
    }
    for (size_t i = 0; i < n; i++) {
        if (mine[i]->done) {
            continue;
        }
        if (result == TG_BOOK_DONE) {
            succeed(mine[i], mine[i]->line);
            if (mine[i]->fresh) {
                project(s, slot, mine[i]);
                any = true;
            }
        } else {
            fail(mine[i], result == TG_BOOK_UNDONE ? TG_OUTCOME_DOWN : TG_OUTCOME_IN_DOUBT,
                 err.text);
        }
    }
    if (any) {
        finish_projections(s, slot);
    }
}

/* All jobs of the file that `first` belongs to. */
static void run_file(struct tg_folder *s, struct tg_folder_job *jobs, size_t n, size_t first)
{
    struct tg_folder_job *mine[TG_FILE_BATCH_MAX];
    struct tg_error err = {""};
    struct slot *slot = slot_get(s, jobs[first].sheet, jobs[first].file, &err);
    size_t count = 0;

    if (slot == NULL) {
        tg_log(TG_LOG_ERROR, "connect", "%s/%s", s->path, err.text);
    }
    for (size_t i = first; i < n; i++) {
        if (jobs[i].done || strcmp(jobs[i].file, jobs[first].file) != 0) {
            continue;
        }
        if (slot == NULL) {
            fail(&jobs[i], TG_OUTCOME_DOWN, err.text);
            continue;
        }
        place(s, slot, &jobs[i]);
        if (!jobs[i].done) {
            mine[count++] = &jobs[i];
        }
    }
    if (count != 0) {
        commit(s, slot, mine, count);
    }
}

void tg_folder_run(struct tg_folder *s, struct tg_folder_job *jobs, size_t n)
{
    tg_buf_clear(&s->lines);
    for (size_t i = 0; i < n; i++) {
        prepare(s, &jobs[i]);
    }
    for (size_t i = 0; i < n; i++) {
        if (!jobs[i].done) {
            run_file(s, jobs, n, i);
        }
    }
}
