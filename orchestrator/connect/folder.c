#include "connect/folder.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/codec.h"
#include "common/log.h"
#include "connect/book.h"
#include "connect/directory.h"
#include "connect/ledger.h"
#include "connect/totals.h"

#define BATCH_BYTES ((size_t)TG_FILE_BATCH_MAX * TG_FILE_LINE_MAX_BYTES)
#define LEDGER_BYTES ((size_t)TG_FILE_BATCH_MAX * TG_LEDGER_ENTRY_MAX_BYTES)

/* An open book; the least recently used one is closed when all slots are taken. */
struct slot {
    struct tg_book *book;
    const struct tg_sheet *sheet;
    struct tg_totals *totals; /* hours only */
    bool totals_short;        /* a line could not be added: to be read again */
    uint64_t used;
};

/* What is wrong with one file, kept until it is good again; told once, not with every batch. */
struct trouble {
    struct trouble *next;
    const struct tg_sheet *sheet;
    bool damaged;      /* the CSV file cannot be used */
    bool totals_stale; /* its control totals say less than it holds */
    char name[TG_CONNECT_REF_MAX_BYTES];
    /* Of a damaged one: what is wrong, and which state of the file that was found in. */
    struct tg_error why;
    struct stat seen;
};

struct tg_folder {
    char *path;
    int dirfd; /* -1: the path led away from it; opened again with the next batch */
    struct tg_ledger *ledger;
    bool ledger_told;         /* that it is stale */
    struct trouble *troubles; /* at most one a file that exists: the directory bounds it */
    struct slot slots[TG_FILE_BOOKS_OPEN_MAX];
    uint64_t clock;
    bool repaired;       /* since tg_folder_take_repaired */
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

static struct trouble *trouble_find(const struct tg_folder *s, const char *name)
{
    struct trouble *t = s->troubles;

    while (t != NULL && strcmp(t->name, name) != 0) {
        t = t->next;
    }
    return t;
}

/* NULL: no memory; then it is told more than once and mended later than it could be. */
static struct trouble *trouble_get(struct tg_folder *s, const struct tg_sheet *sheet,
                                   const char *name)
{
    struct trouble *t = trouble_find(s, name);

    if (t == NULL && (t = calloc(1, sizeof(*t))) != NULL) {
        (void)snprintf(t->name, sizeof(t->name), "%s", name);
        t->sheet = sheet;
        t->next = s->troubles;
        s->troubles = t;
    }
    return t;
}

static void trouble_drop_if_good(struct tg_folder *s, struct trouble *gone)
{
    struct trouble **at = &s->troubles;

    if (gone->damaged || gone->totals_stale) {
        return;
    }
    while (*at != gone) {
        at = &(*at)->next;
    }
    *at = gone->next;
    free(gone);
}

/* Every change of a file changes one of these; of a name that is gone, all are 0. */
static struct stat look_at(const struct tg_folder *s, const char *name)
{
    struct stat st;

    if (fstatat(s->dirfd, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        memset(&st, 0, sizeof(st));
    }
    return st;
}

static bool is_same_state(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
           a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* seen: the file before it was read, so that a change made meanwhile is a change. */
static void note_damaged(struct tg_folder *s, const struct tg_sheet *sheet, const char *name,
                         const struct stat *seen, const struct tg_error *why)
{
    struct trouble *t = trouble_get(s, sheet, name);

    if (t == NULL || !t->damaged) {
        tg_log(TG_LOG_ERROR, "connect",
               "%s/%s; its postings wait, the others go on; it is looked at again every %d s, and "
               "at once when it changes and a posting needs it",
               s->path, why->text, TG_FILE_MEND_MAX_MS / 1000);
    }
    if (t != NULL) {
        t->damaged = true;
        t->why = *why;
        t->seen = *seen;
    }
}

/* The trouble of a file that is as it was when it was found damaged. NULL: read it. */
static const struct trouble *known_damage(const struct tg_folder *s, const char *name)
{
    const struct trouble *t = trouble_find(s, name);
    struct stat now;

    if (t == NULL || !t->damaged) {
        return NULL;
    }
    now = look_at(s, name);
    return is_same_state(&now, &t->seen) ? t : NULL;
}

static void note_repaired(struct tg_folder *s, const char *name)
{
    struct trouble *t = trouble_find(s, name);

    if (t == NULL || !t->damaged) {
        return;
    }
    tg_log(TG_LOG_WARN, "connect", "%s/%s: repaired, in use again", s->path, name);
    if (t->sheet == &tg_sheet_labor && s->ledger != NULL) {
        tg_ledger_mark_stale(s->ledger);
    }
    t->damaged = false;
    s->repaired = true;
    trouble_drop_if_good(s, t);
}

static void note_totals(struct tg_folder *s, const struct slot *slot, bool stale, const char *why)
{
    const char *name = tg_book_name(slot->book);
    struct trouble *t = stale ? trouble_get(s, slot->sheet, name) : trouble_find(s, name);

    if (stale && (t == NULL || !t->totals_stale)) {
        tg_log(TG_LOG_ERROR, "connect", "%s/%s; tried again until it works", s->path, why);
    }
    if (t != NULL) {
        t->totals_stale = stale;
        trouble_drop_if_good(s, t);
    }
}

static void write_totals(struct tg_folder *s, struct slot *slot)
{
    struct tg_error err = {""};

    if (slot->totals != NULL) {
        int rc = tg_totals_write(slot->totals, s->dirfd, &err);

        note_totals(s, slot, rc != 0, err.text);
    }
}

static int slot_open(struct tg_folder *s, struct slot *slot, const struct tg_sheet *sheet,
                     const char *name, bool *damaged, struct tg_error *err)
{
    bool totals = sheet == &tg_sheet_hours;
    const struct stat seen = look_at(s, name);

    slot->sheet = sheet;
    if (totals) {
        slot->totals = tg_totals_new(sheet, name);
        if (slot->totals == NULL) {
            return tg_error_set(err, "%s: no memory for its control totals", name);
        }
    }
    slot->book = tg_book_open(s->dirfd, name, sheet->header, totals ? take_total : NULL,
                              slot->totals, damaged, err);
    if (slot->book == NULL) {
        slot_close(slot);
        if (*damaged) {
            note_damaged(s, sheet, name, &seen, err);
        }
        return -1;
    }
    note_repaired(s, name);
    write_totals(s, slot);
    return 0;
}

/* The open book of that name, opened and recovered if need be. NULL with err; *damaged says that
 * only this book is at fault. One that is known as damaged is read again only when it changed, or
 * with `anew`: reading a period's file for each of its postings would cost more than all else. */
static struct slot *slot_get(struct tg_folder *s, const struct tg_sheet *sheet, const char *name,
                             bool anew, bool *damaged, struct tg_error *err)
{
    struct slot *victim = &s->slots[0];
    struct slot *found = NULL;

    *damaged = false;
    for (size_t i = 0; i < TG_FILE_BOOKS_OPEN_MAX; i++) {
        struct slot *slot = &s->slots[i];

        if (slot->book != NULL && strcmp(tg_book_name(slot->book), name) == 0) {
            found = slot;
        }
        if (slot->used < victim->used) {
            victim = slot;
        }
    }
    if (found != NULL && (found->totals_short || !tg_book_is_current(found->book))) {
        tg_log(TG_LOG_WARN, "connect", "%s/%s: not as it was left, read again", s->path, name);
        slot_close(found);
        victim = found;
        found = NULL;
        if (sheet == &tg_sheet_labor) {
            tg_ledger_mark_stale(s->ledger);
        }
    }
    if (found == NULL) {
        const struct trouble *known = anew ? NULL : known_damage(s, name);

        if (known != NULL) {
            *damaged = true;
            *err = known->why;
            return NULL;
        }
        slot_close(victim);
        if (slot_open(s, victim, sheet, name, damaged, err) != 0) {
            return NULL;
        }
        found = victim;
    }
    found->used = ++s->clock;
    return found;
}

/* Every file of one sheet, once: torn tails are cut and totals made before anything is written. A
 * damaged one is noted and left: the others are not its hostages. */
static int recover_files(struct tg_folder *s, const struct tg_sheet *sheet, struct tg_error *err)
{
    char **names = NULL;
    int n = tg_ledger_list(s->dirfd, sheet, &names, err);
    int rc = n < 0 ? -1 : 0;

    for (int i = 0; i < n && rc == 0; i++) {
        bool damaged;

        rc = slot_get(s, sheet, names[i], true, &damaged, err) != NULL || damaged ? 0 : -1;
    }
    if (n >= 0) {
        tg_ledger_list_free(names, n);
    }
    return rc;
}

/* Lets go of the directory: books, ledger, lock. The list of troubles was about its files. */
static void detach(struct tg_folder *s)
{
    for (size_t i = 0; i < TG_FILE_BOOKS_OPEN_MAX; i++) {
        slot_close(&s->slots[i]);
    }
    tg_ledger_close(s->ledger);
    s->ledger = NULL;
    s->ledger_told = false;
    while (s->troubles != NULL) {
        struct trouble *t = s->troubles;

        s->troubles = t->next;
        free(t);
    }
    if (s->dirfd >= 0) {
        (void)close(s->dirfd);
        s->dirfd = -1;
    }
}

/* Makes, locks and recovers what the path leads to now. 0, or -1 with err and detached. */
static int attach(struct tg_folder *s, struct tg_error *err)
{
    struct tg_error why = {""};

    s->dirfd = tg_directory_open(s->path, err);
    if (s->dirfd < 0) {
        return -1;
    }
    if (recover_files(s, &tg_sheet_labor, &why) != 0 ||
        recover_files(s, &tg_sheet_hours, &why) != 0 ||
        (s->ledger = tg_ledger_open(s->dirfd, &why)) == NULL) {
        detach(s);
        return tg_error_set(err, "directory %s: %s", s->path, why.text);
    }
    s->ledger_told = tg_ledger_is_stale(s->ledger);
    return 0;
}

struct tg_folder *tg_folder_open(const char *path, struct tg_error *err)
{
    struct tg_folder *s = calloc(1, sizeof(*s));

    if (s == NULL || (s->path = strdup(path)) == NULL) {
        free(s);
        (void)tg_error_set(err, "directory %s: no memory", path);
        return NULL;
    }
    s->dirfd = -1;
    tg_buf_init(&s->lines, BATCH_BYTES);
    tg_buf_init(&s->ledger_entries, LEDGER_BYTES);
    if (attach(s, err) != 0) {
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
    detach(s);
    tg_buf_free(&s->lines);
    tg_buf_free(&s->ledger_entries);
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

/* It is the directory's, the disk's or one book's fault, not the posting's. DOWN stops the whole
 * destination, so it is for the directory and the disk alone; STUCK is for one book. */
static void fail(struct tg_folder_job *job, enum tg_outcome outcome, const char *why)
{
    job->outcome = outcome;
    job->lookup = outcome == TG_OUTCOME_DOWN    ? TG_LOOKUP_DOWN
                  : outcome == TG_OUTCOME_STUCK ? TG_LOOKUP_STUCK
                                                : TG_LOOKUP_UNKNOWN;
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

static bool is_key(const char *hex)
{
    unsigned char key[TG_POSTING_KEY_BYTES];

    return tg_hex_decode(tg_str_of(hex), key, sizeof(key)) == (int)sizeof(key);
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
    if (job->reverses != NULL && !is_key(job->reverses)) {
        reject(job, "the key it reverses is not 32 hex digits");
        return;
    }
    payload = json_loads(job->payload, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    if (!json_is_object(payload)) {
        reject(job, "the posting's payload is not a JSON object");
    } else if (tg_sheet_file(job->sheet, payload, job->file, sizeof(job->file) - 12, &err) != 0) {
        reject(job, err.text);
    } else {
        job->line_at = s->lines.len;
        rc = job->is_lookup
                 ? 0
                 : tg_sheet_line(job->sheet, payload, job->key_hex, job->reverses, &s->lines, &err);
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
        char why[TG_CONNECT_DETAIL_MAX_BYTES];

        (void)snprintf(why, sizeof(why), "%.*s: no memory, or more than %d lines",
                       TG_CONNECT_REF_MAX_BYTES, job->file, TG_FILE_LINES_MAX);
        fail(job, TG_OUTCOME_RETRY, why);
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
        slot->totals_short = true;
    }
}

static void note_ledger(struct tg_folder *s, int rc, const struct tg_error *err)
{
    if (rc != 0 && !s->ledger_told) {
        tg_log(TG_LOG_ERROR, "connect", "%s/%s; tried again until it works", s->path, err->text);
    } else if (rc == 0 && s->ledger_told) {
        tg_log(TG_LOG_WARN, "connect", "%s/%s: up to date again", s->path, TG_LEDGER_FILE);
    }
    s->ledger_told = rc != 0;
}

static void finish_projections(struct tg_folder *s, struct slot *slot)
{
    struct tg_error err = {""};

    if (slot->totals_short) {
        (void)tg_error_set(&err, "%s: control totals fall short", tg_book_name(slot->book));
        note_totals(s, slot, true, err.text);
    } else if (slot->totals != NULL) {
        write_totals(s, slot);
    } else {
        int rc = tg_ledger_append(s->ledger, tg_buf_view(&s->ledger_entries), &err);

        note_ledger(s, rc, &err);
    }
    tg_buf_clear(&s->ledger_entries);
}

static void commit(struct tg_folder *s, struct slot *slot, struct tg_folder_job *const *mine,
                   size_t n)
{
    struct tg_error err = {""};
    enum tg_book_result result = tg_book_commit(slot->book, &err);
    bool any = false;
    enum tg_outcome outcome = TG_OUTCOME_IN_DOUBT;

    if (result == TG_BOOK_UNDONE) { /* by the disk, or by someone who changed this one file */
        outcome = tg_book_is_current(slot->book) ? TG_OUTCOME_DOWN : TG_OUTCOME_STUCK;
    }
    if (outcome == TG_OUTCOME_STUCK) { /* to be read again, with the next batch or by mending */
        note_damaged(s, slot->sheet, tg_book_name(slot->book), &(struct stat){.st_size = -1}, &err);
    } else if (result != TG_BOOK_DONE) {
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
            fail(mine[i], outcome, err.text);
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
    bool damaged;
    struct slot *slot = slot_get(s, jobs[first].sheet, jobs[first].file, false, &damaged, &err);
    size_t count = 0;

    if (slot == NULL && !damaged) {
        tg_log(TG_LOG_ERROR, "connect", "%s/%s", s->path, err.text);
    }
    for (size_t i = first; i < n; i++) {
        if (jobs[i].done || strcmp(jobs[i].file, jobs[first].file) != 0) {
            continue;
        }
        if (slot == NULL) {
            fail(&jobs[i], damaged ? TG_OUTCOME_STUCK : TG_OUTCOME_DOWN, err.text);
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

/* Is the path's directory the one in hand, opened again if it was let go of? 0 or -1 with err. */
static int hold_directory(struct tg_folder *s, struct tg_error *err)
{
    if (s->dirfd < 0) {
        if (attach(s, err) != 0) {
            return -1;
        }
        tg_log(TG_LOG_WARN, "connect", "directory %s: in use again", s->path);
        s->repaired = true; /* what was damaged there is another directory's */
        return 0;
    }
    if (tg_directory_check(s->path, s->dirfd, err) != 0) {
        detach(s);
        return -1;
    }
    return 0;
}

void tg_folder_run(struct tg_folder *s, struct tg_folder_job *jobs, size_t n)
{
    struct tg_error err = {""};

    tg_buf_clear(&s->lines);
    for (size_t i = 0; i < n; i++) {
        prepare(s, &jobs[i]);
    }
    if (hold_directory(s, &err) != 0) {
        tg_log(TG_LOG_ERROR, "connect", "%s", err.text);
        for (size_t i = 0; i < n; i++) {
            if (!jobs[i].done) {
                fail(&jobs[i], TG_OUTCOME_DOWN, err.text);
            }
        }
        return;
    }
    for (size_t i = 0; i < n; i++) {
        if (!jobs[i].done) {
            run_file(s, jobs, n, i);
        }
    }
}

bool tg_folder_take_repaired(struct tg_folder *s)
{
    const bool was = s->repaired;

    s->repaired = false;
    return was;
}

bool tg_folder_is_stale(const struct tg_folder *s)
{
    const struct trouble *t = s->troubles;

    while (t != NULL && !t->totals_stale && !t->damaged) {
        t = t->next;
    }
    return t != NULL || (s->ledger != NULL && tg_ledger_is_stale(s->ledger));
}

void tg_folder_mend(struct tg_folder *s)
{
    struct tg_error err = {""};
    struct trouble *next;

    if (s->dirfd < 0 || hold_directory(s, &err) != 0) {
        return; /* opening it again makes ledger and totals anew */
    }
    for (struct trouble *t = s->troubles; t != NULL; t = next) {
        const bool totals = t->totals_stale;
        struct slot *slot;
        bool damaged;

        next = t->next; /* t may go */
        slot = slot_get(s, t->sheet, t->name, true, &damaged, &err);
        if (slot != NULL && totals) {
            write_totals(s, slot);
        }
    }
    if (tg_ledger_is_stale(s->ledger)) {
        int rc = tg_ledger_mend(s->ledger, &err);

        note_ledger(s, rc, &err);
    }
}
