#include "connect/ledger.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/digest.h"
#include "common/log.h"
#include "connect/fs.h"

#define TMP_FILE TG_LEDGER_FILE ".tmp"
#define WRITE_BYTES (256 * 1024)

static const char preamble[] =
    "; tallygate's labor ledger, made from labor-*.csv: changes made here are replaced\n\n";

/* Sum over the entries, modulo 2^128 of the first 16 bytes of each one's SHA-256. */
struct sum {
    unsigned __int128 value;
    uint64_t count;
};

struct tg_ledger {
    int dirfd, fd; /* fd -1: no file yet */
    off_t length;
    bool stale;
};

static int sum_add(struct sum *s, struct tg_str entry)
{
    unsigned char digest[TG_SHA256_BYTES];
    unsigned __int128 part;

    if (tg_sha256(entry, digest) != 0) {
        return -1;
    }
    memcpy(&part, digest, sizeof(part));
    s->value += part;
    s->count++;
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int read_names(DIR *dir, const struct tg_sheet *sheet, char **names, struct tg_error *err)
{
    const struct dirent *e;
    int n = 0;

    while ((e = readdir(dir)) != NULL) {
        if (tg_sheet_of_file(e->d_name) != sheet) {
            continue;
        }
        if (n == TG_FILE_PERIODS_MAX) {
            tg_ledger_list_free(names, n);
            return tg_error_set(err, "more than %d files of one kind; archive old periods",
                                TG_FILE_PERIODS_MAX);
        }
        names[n] = strdup(e->d_name);
        if (names[n] == NULL) {
            tg_ledger_list_free(names, n);
            return tg_error_set(err, "no memory to list the directory");
        }
        n++;
    }
    return n;
}

int tg_ledger_list(int dirfd, const struct tg_sheet *sheet, char ***names, struct tg_error *err)
{
    int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    int n;

    if (dir == NULL) {
        (void)tg_error_set(err, "cannot list the directory: %s", strerror(errno));
        if (fd >= 0) {
            (void)close(fd);
        }
        return -1;
    }
    *names = calloc(TG_FILE_PERIODS_MAX, sizeof(**names));
    if (*names == NULL) {
        (void)closedir(dir);
        return tg_error_set(err, "no memory to list the directory");
    }
    n = read_names(dir, sheet, *names, err);
    (void)closedir(dir);
    if (n > 0) {
        qsort(*names, (size_t)n, sizeof(**names), by_name);
    }
    return n;
}

void tg_ledger_list_free(char **names, int count)
{
    for (int i = 0; names != NULL && i < count; i++) {
        free(names[i]);
    }
    free(names);
}

typedef int (*entry_fn)(void *arg, struct tg_str entry);

struct walk {
    struct tg_lines lines;
    struct tg_csv_record record;
    struct tg_buf entry;
};

/*
 * Is it a record? Damaged files are read too, as far as they can be: their good lines are posted.
 * So a CR that an editor put at the end does no harm.
 */
static bool read_record(struct tg_str line, struct tg_csv_record *record)
{
    if (line.len != 0 && line.data[line.len - 1] == '\r') {
        line.len--;
    }
    for (size_t i = 0; i < line.len; i++) {
        if (line.data[i] < 0x20 || line.data[i] == 0x7f) {
            return false;
        }
    }
    return tg_csv_split(line, record) == 0 && record->count == tg_sheet_labor.column_count + 1 &&
           record->field[record->count - 1].len == (size_t)2 * TG_POSTING_KEY_BYTES;
}

/* The entries of one labor CSV file. The header and a line that is not ours give none. */
static int walk_file(struct walk *w, int fd, entry_fn fn, void *arg)
{
    struct tg_str line;
    bool whole;
    int rc;
    bool first = true;

    tg_lines_start(&w->lines, fd);
    while ((rc = tg_lines_next(&w->lines, &line, &whole)) == 1) {
        if (first || !whole || !read_record(line, &w->record)) {
            first = false;
            continue;
        }
        tg_buf_clear(&w->entry);
        if (tg_sheet_ledger_entry(&w->record, &w->entry) != 0 ||
            fn(arg, tg_buf_view(&w->entry)) != 0) {
            return -1;
        }
    }
    return rc;
}

/* Every entry that should be in the ledger, file by file. */
static int walk_csv(int dirfd, entry_fn fn, void *arg, struct tg_error *err)
{
    char **names = NULL;
    struct walk *w = malloc(sizeof(*w));
    int n = w != NULL ? tg_ledger_list(dirfd, &tg_sheet_labor, &names, err)
                      : tg_error_set(err, "no memory to read the labor files");
    int rc = n < 0 ? -1 : 0;

    if (w != NULL) {
        tg_buf_init(&w->entry, TG_LEDGER_ENTRY_MAX_BYTES);
    }
    for (int i = 0; names != NULL && i < n && rc == 0; i++) {
        int fd = openat(dirfd, names[i], O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

        rc = fd >= 0 ? walk_file(w, fd, fn, arg) : -1;
        if (rc != 0) {
            (void)tg_error_set(err, "%s: cannot read or carry over: %s", names[i], strerror(errno));
        }
        if (fd >= 0) {
            (void)close(fd);
        }
    }
    if (n >= 0) {
        tg_ledger_list_free(names, n);
    }
    if (w != NULL) {
        tg_buf_free(&w->entry);
        free(w);
    }
    return rc;
}

static int sum_entry(void *arg, struct tg_str entry)
{
    return sum_add(arg, entry);
}

/* Sum of the blocks in the ledger file; a block ends with an empty line. 1: it is not intact. */
static int sum_ledger(int fd, struct sum *out)
{
    struct tg_lines *lines = malloc(sizeof(*lines));
    struct tg_buf block;
    struct tg_str line;
    bool whole;
    bool head = true;
    int rc;

    tg_buf_init(&block, TG_LEDGER_ENTRY_MAX_BYTES);
    if (lines == NULL) {
        return -1;
    }
    tg_lines_start(lines, fd);
    while ((rc = tg_lines_next(lines, &line, &whole)) == 1) {
        if (!whole || tg_buf_append(&block, line) != 0 || tg_buf_append_char(&block, '\n') != 0) {
            break;
        }
        if (line.len != 0) {
            continue;
        }
        if (head ? !tg_str_equal_c(tg_buf_view(&block), preamble)
                 : sum_add(out, tg_buf_view(&block)) != 0) {
            break;
        }
        head = false;
        tg_buf_clear(&block);
    }
    if (rc == 0 && (head || block.len != 0)) {
        rc = 1;
    }
    tg_buf_free(&block);
    free(lines);
    return rc;
}

/* What writing the ledger anew carries. */
struct rewrite {
    int fd;
    struct tg_buf buf;
    off_t length;
};

static int rewrite_flush(struct rewrite *r)
{
    int rc = tg_fs_write_all(r->fd, tg_buf_view(&r->buf));

    r->length += (off_t)r->buf.len;
    tg_buf_clear(&r->buf);
    return rc;
}

static int rewrite_entry(void *arg, struct tg_str entry)
{
    struct rewrite *r = arg;

    if (r->buf.len + entry.len > WRITE_BYTES && rewrite_flush(r) != 0) {
        return -1;
    }
    return tg_buf_append(&r->buf, entry);
}

static int rewrite_all(struct tg_ledger *l, struct rewrite *r, struct tg_error *err)
{
    if (tg_buf_append_c(&r->buf, preamble) != 0 || walk_csv(l->dirfd, rewrite_entry, r, err) != 0) {
        return -1;
    }
    if (rewrite_flush(r) != 0 || tg_fs_calls.fsync(r->fd) != 0 ||
        renameat(l->dirfd, TMP_FILE, l->dirfd, TG_LEDGER_FILE) != 0 ||
        tg_fs_calls.fsync(l->dirfd) != 0) {
        return tg_error_set(err, "%s: cannot write it anew: %s", TG_LEDGER_FILE, strerror(errno));
    }
    return 0;
}

static int rebuild(struct tg_ledger *l, struct tg_error *err)
{
    struct rewrite r = {.fd = openat(l->dirfd, TMP_FILE,
                                     O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW,
                                     0640)};

    if (r.fd < 0) {
        return tg_error_set(err, "%s: cannot create: %s", TMP_FILE, strerror(errno));
    }
    tg_buf_init(&r.buf, WRITE_BYTES);
    if (rewrite_all(l, &r, err) != 0) {
        tg_buf_free(&r.buf);
        (void)close(r.fd);
        (void)unlinkat(l->dirfd, TMP_FILE, 0);
        return -1;
    }
    tg_buf_free(&r.buf);
    if (l->fd >= 0) {
        (void)close(l->fd);
    }
    l->fd = r.fd; /* the name moved, the file is the same */
    l->length = r.length;
    l->stale = false;
    return 0;
}

/* Opens what is there and says whether it equals the CSV side. 0 equal, 1 not, -1. */
static int compare(struct tg_ledger *l, const struct sum *want, struct tg_error *err)
{
    struct sum have = {0};
    struct stat st;
    int rc;

    l->fd = openat(l->dirfd, TG_LEDGER_FILE, O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
    if (l->fd < 0) {
        return errno == ENOENT
                   ? (want->count == 0 ? 0 : 1)
                   : tg_error_set(err, "%s: cannot open: %s", TG_LEDGER_FILE, strerror(errno));
    }
    rc = sum_ledger(l->fd, &have);
    if (rc < 0 || fstat(l->fd, &st) != 0) {
        return tg_error_set(err, "%s: cannot read: %s", TG_LEDGER_FILE, strerror(errno));
    }
    l->length = st.st_size;
    return rc == 0 && have.value == want->value && have.count == want->count ? 0 : 1;
}

struct tg_ledger *tg_ledger_open(int dirfd, struct tg_error *err)
{
    struct tg_ledger *l = calloc(1, sizeof(*l));
    struct sum want = {0};
    struct tg_error why = {""};
    int rc;

    if (l == NULL) {
        (void)tg_error_set(err, "no memory for the ledger");
        return NULL;
    }
    l->dirfd = dirfd;
    l->fd = -1;
    rc = walk_csv(dirfd, sum_entry, &want, &why);
    rc = rc == 0 ? compare(l, &want, &why) : -1;
    if (rc == 1) {
        tg_log(TG_LOG_WARN, "connect", "%s: differs from the labor files, written anew",
               TG_LEDGER_FILE);
    }
    l->stale = rc != 0;
    if (tg_ledger_mend(l, &why) != 0) {
        tg_log(TG_LOG_ERROR, "connect", "%s; tried again until it works", why.text);
    }
    return l;
}

void tg_ledger_close(struct tg_ledger *l)
{
    if (l == NULL) {
        return;
    }
    if (l->fd >= 0) {
        (void)close(l->fd);
    }
    free(l);
}

int tg_ledger_append(struct tg_ledger *l, struct tg_str entries, struct tg_error *err)
{
    struct stat st;

    if (l->fd < 0 || l->stale || fstat(l->fd, &st) != 0 || st.st_nlink == 0 ||
        st.st_size != l->length) {
        l->stale = true;
        return rebuild(l, err); /* made from the files, so it holds these entries already */
    }
    if (tg_fs_write_all(l->fd, entries) == 0 && tg_fs_calls.fsync(l->fd) == 0) {
        l->length += (off_t)entries.len;
        return 0;
    }
    (void)tg_error_set(err, "%s: cannot append: %s", TG_LEDGER_FILE, strerror(errno));
    l->stale = true;
    if (tg_fs_calls.ftruncate(l->fd, l->length) == 0) {
        (void)tg_fs_calls.fsync(l->fd);
    }
    return -1;
}

int tg_ledger_mend(struct tg_ledger *l, struct tg_error *err)
{
    return l->stale ? rebuild(l, err) : 0;
}

bool tg_ledger_is_stale(const struct tg_ledger *l)
{
    return l->stale;
}

void tg_ledger_mark_stale(struct tg_ledger *l)
{
    l->stale = true;
}
