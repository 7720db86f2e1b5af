#include "connect/book.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/codec.h"
#include "common/log.h"
#include "connect/fs.h"
#include "connect/keyset.h"

#define NAME_BYTES 160
#define ERROR_TEXT_BYTES 128
#define TORN_MAX_BYTES ((off_t)TG_FILE_BATCH_MAX * TG_FILE_LINE_MAX_BYTES)

#define CR_ADVICE "write every line end of the file as LF alone"

struct waiting {
    unsigned char key[TG_POSTING_KEY_BYTES];
};

struct tg_book {
    int dirfd, fd;
    char name[NAME_BYTES];
    const char *header;
    size_t columns;
    off_t length;   /* known good: fsynced */
    uint32_t lines; /* with the header */
    bool broken;
    bool damaged; /* opening failed, and it is this file alone */
    struct tg_keyset keys;
    struct tg_buf pending;
    struct waiting waiting[TG_FILE_BATCH_MAX];
    size_t waiting_count;
};

/* What a scan carries. */
struct scan {
    struct tg_lines lines;
    struct tg_csv_record record;
    off_t bad_at; /* -1: none so far */
    uint32_t bad_line;
};

static size_t count_columns(const char *header)
{
    size_t n = 1;

    for (const char *p = header; *p != '\0'; p++) {
        n += *p == ',';
    }
    return n;
}

/* The record's key. 0, or -1 when the line is not one this code writes. */
static int record_key(const struct tg_book *b, struct tg_str line, struct tg_csv_record *record,
                      unsigned char key[TG_POSTING_KEY_BYTES])
{
    struct tg_str text;

    if (line.len + 1 > TG_FILE_LINE_MAX_BYTES || tg_csv_split(line, record) != 0 ||
        record->count != b->columns) {
        return -1;
    }
    for (size_t i = 0; i < line.len; i++) {
        if (line.data[i] < 0x20 || line.data[i] == 0x7f) {
            return -1;
        }
    }
    text = record->field[record->count - 1];
    if (text.len != 2 * TG_POSTING_KEY_BYTES ||
        tg_hex_decode(text, key, TG_POSTING_KEY_BYTES) != TG_POSTING_KEY_BYTES) {
        return -1;
    }
    return 0;
}

/* One good line of a scan into the index. */
static int take_line(struct tg_book *b, const struct scan *s, struct tg_str line,
                     const unsigned char *key, tg_book_line_fn fn, void *arg, struct tg_error *err)
{
    uint32_t twin = tg_keyset_find(&b->keys, key);

    b->damaged = true; /* until this line is taken */
    if (s->bad_at >= 0) {
        return tg_error_set(err,
                            "%s: line %u is not one tallygate wrote, and good lines follow it; "
                            "restore the file or repair that line",
                            b->name, (unsigned)s->bad_line);
    }
    if (twin != 0) {
        return tg_error_set(err, "%s: lines %u and %u carry the same key; remove one", b->name,
                            (unsigned)twin, (unsigned)b->lines + 1);
    }
    if (tg_keyset_reserve(&b->keys, 1) != 0) {
        return tg_error_set(err, "%s: no memory at line %u, or more than %d lines", b->name,
                            (unsigned)b->lines + 1, TG_FILE_LINES_MAX);
    }
    b->lines++;
    tg_keyset_add(&b->keys, key, b->lines);
    if (fn != NULL && fn(arg, line, &s->record) != 0) {
        return tg_error_set(err,
                            "%s: line %u cannot be added up (its hours, or no memory); repair "
                            "that line",
                            b->name, (unsigned)b->lines);
    }
    b->damaged = false;
    return 0;
}

/* A good line an editor changed the end of: it was posted, so it is no torn tail to cut. */
static bool is_line_with_cr(const struct tg_book *b, struct tg_str line,
                            struct tg_csv_record *record)
{
    unsigned char key[TG_POSTING_KEY_BYTES];

    if (line.len == 0 || line.data[line.len - 1] != '\r') {
        return false;
    }
    line.len--;
    return record_key(b, line, record, key) == 0;
}

static int scan_records(struct tg_book *b, struct scan *s, tg_book_line_fn fn, void *arg,
                        struct tg_error *err)
{
    struct tg_str line;
    bool whole;
    int rc;

    while ((rc = tg_lines_next(&s->lines, &line, &whole)) == 1) {
        unsigned char key[TG_POSTING_KEY_BYTES];

        if (!whole || record_key(b, line, &s->record, key) != 0) {
            if (whole && is_line_with_cr(b, line, &s->record)) {
                b->damaged = true;
                return tg_error_set(err, "%s: line %u ends with CR LF; " CR_ADVICE, b->name,
                                    (unsigned)b->lines + 1);
            }
            if (s->bad_at < 0) {
                s->bad_at = s->lines.line_at;
                s->bad_line = b->lines + 1;
            }
            continue;
        }
        if (take_line(b, s, line, key, fn, arg, err) != 0) {
            return -1;
        }
        b->length = s->lines.line_at + (off_t)line.len + 1;
    }
    return rc == 0 ? 0 : tg_error_set(err, "%s: cannot read: %s", b->name, strerror(errno));
}

/* The header is there, or the file is empty or holds a torn header (then *fresh). */
static int check_header(struct tg_book *b, struct scan *s, off_t size, bool *fresh,
                        struct tg_error *err)
{
    size_t want = strlen(b->header);
    struct tg_str line = {0};
    bool whole = false;
    int rc = tg_lines_next(&s->lines, &line, &whole);

    if (rc < 0) {
        return tg_error_set(err, "%s: cannot read: %s", b->name, strerror(errno));
    }
    *fresh = size < (off_t)want && (line.len == 0 || memcmp(line.data, b->header, line.len) == 0);
    if (*fresh) {
        return 0;
    }
    if (!whole || line.len == 0 || line.len + 1 != want ||
        memcmp(line.data, b->header, line.len) != 0) {
        bool cr = whole && line.len == want && line.data[want - 1] == '\r';

        b->damaged = true;
        return cr ? tg_error_set(err, "%s: line 1 ends with CR LF; " CR_ADVICE, b->name)
                  : tg_error_set(err,
                                 "%s: line 1: its first line is not the header tallygate writes; "
                                 "restore it, or move the file away",
                                 b->name);
    }
    b->length = (off_t)want;
    b->lines = 1;
    return 0;
}

static int write_header(struct tg_book *b, struct tg_error *err)
{
    struct tg_str header = tg_str_of(b->header);

    if (tg_fs_calls.ftruncate(b->fd, 0) != 0 || tg_fs_write_all(b->fd, header) != 0) {
        return tg_error_set(err, "%s: cannot write the header: %s", b->name, strerror(errno));
    }
    b->length = (off_t)header.len;
    b->lines = 1;
    return 0;
}

static int cut_tail(struct tg_book *b, const struct scan *s, off_t size, struct tg_error *err)
{
    off_t cut = size - b->length;

    if (cut == 0) {
        return 0;
    }
    if (cut > TORN_MAX_BYTES) {
        b->damaged = true;
        return tg_error_set(err,
                            "%s: the %lld bytes from line %u on are not tallygate's, and more than "
                            "a crash can leave; repair the file",
                            b->name, (long long)cut, (unsigned)s->bad_line);
    }
    if (tg_fs_calls.ftruncate(b->fd, b->length) != 0) {
        return tg_error_set(err, "%s: cannot cut the torn tail: %s", b->name, strerror(errno));
    }
    tg_log(TG_LOG_WARN, "connect",
           "%s: cut %lld bytes of a torn tail at line %u; their postings are looked up and sent "
           "again",
           b->name, (long long)cut, (unsigned)s->bad_line);
    return 0;
}

/* B1 and B2. */
static int recover(struct tg_book *b, tg_book_line_fn fn, void *arg, struct tg_error *err)
{
    struct scan *s;
    struct stat st;
    bool fresh = false;
    int rc = -1;

    if (fstat(b->fd, &st) != 0) {
        return tg_error_set(err, "%s: cannot read: %s", b->name, strerror(errno));
    }
    if (!S_ISREG(st.st_mode)) {
        b->damaged = true;
        return tg_error_set(err, "%s: is not a regular file; move it away", b->name);
    }
    s = malloc(sizeof(*s));
    if (s == NULL) {
        return tg_error_set(err, "%s: no memory to read it", b->name);
    }
    s->bad_at = -1;
    s->bad_line = 0;
    tg_lines_start(&s->lines, b->fd);
    if (check_header(b, s, st.st_size, &fresh, err) == 0) {
        rc = fresh ? write_header(b, err) : scan_records(b, s, fn, arg, err);
        if (rc == 0 && !fresh) {
            rc = cut_tail(b, s, st.st_size, err);
        }
    }
    free(s);
    if (rc == 0 && (tg_fs_calls.fsync(b->fd) != 0 || tg_fs_calls.fsync(b->dirfd) != 0)) {
        rc = tg_error_set(err, "%s: cannot fsync: %s", b->name, strerror(errno));
    }
    return rc;
}

/* Is a failed open the fault of what stands under that name, not of the directory or the disk? */
static bool is_name_fault(int dirfd, const char *name, int error)
{
    struct stat st;

    if (error == EACCES || error == EPERM || error == ETXTBSY) {
        return fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
    }
    return error == ELOOP || error == EISDIR || error == ENXIO || error == ENODEV;
}

struct tg_book *tg_book_open(int dirfd, const char *name, const char *header, tg_book_line_fn fn,
                             void *arg, bool *damaged, struct tg_error *err)
{
    struct tg_book *b = calloc(1, sizeof(*b));

    *damaged = false;
    if (b == NULL || !tg_str_copy(tg_str_of(name), b->name, sizeof(b->name))) {
        free(b);
        (void)tg_error_set(err, "%s: no memory, or its name is too long", name);
        return NULL;
    }
    b->dirfd = dirfd;
    b->header = header;
    b->columns = count_columns(header);
    tg_keyset_init(&b->keys);
    tg_buf_init(&b->pending, (size_t)TORN_MAX_BYTES);
    b->fd = openat(dirfd, name, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (b->fd < 0) {
        int error = errno;

        *damaged = is_name_fault(dirfd, name, error);
        (void)tg_error_set(err, "%s: cannot open: %s", name, strerror(error));
        tg_book_close(b);
        return NULL;
    }
    if (recover(b, fn, arg, err) != 0) {
        *damaged = b->damaged;
        tg_book_close(b);
        return NULL;
    }
    return b;
}

void tg_book_close(struct tg_book *b)
{
    if (b == NULL) {
        return;
    }
    if (b->fd >= 0) {
        (void)close(b->fd);
    }
    tg_keyset_free(&b->keys);
    tg_buf_free(&b->pending);
    free(b);
}

bool tg_book_is_current(const struct tg_book *b)
{
    struct stat mine, named;

    return !b->broken && fstat(b->fd, &mine) == 0 &&
           fstatat(b->dirfd, b->name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
           mine.st_dev == named.st_dev && mine.st_ino == named.st_ino && mine.st_size == b->length;
}

uint32_t tg_book_find(const struct tg_book *b, const unsigned char key[TG_POSTING_KEY_BYTES])
{
    return tg_keyset_find(&b->keys, key);
}

uint32_t tg_book_waiting(const struct tg_book *b, const unsigned char key[TG_POSTING_KEY_BYTES])
{
    for (size_t i = 0; i < b->waiting_count; i++) {
        if (memcmp(b->waiting[i].key, key, TG_POSTING_KEY_BYTES) == 0) {
            return b->lines + 1 + (uint32_t)i;
        }
    }
    return 0;
}

int tg_book_add(struct tg_book *b, struct tg_str line,
                const unsigned char key[TG_POSTING_KEY_BYTES])
{
    if (b->waiting_count == TG_FILE_BATCH_MAX || line.len > TG_FILE_LINE_MAX_BYTES ||
        tg_keyset_reserve(&b->keys, b->waiting_count + 1) != 0 ||
        tg_buf_append(&b->pending, line) != 0) {
        return -1;
    }
    memcpy(b->waiting[b->waiting_count++].key, key, TG_POSTING_KEY_BYTES);
    return 0;
}

/* B3. */
static enum tg_book_result undo(struct tg_book *b, const char *what, int error,
                                struct tg_error *err)
{
    char cut[ERROR_TEXT_BYTES];

    if (tg_fs_calls.ftruncate(b->fd, b->length) == 0 && tg_fs_calls.fsync(b->fd) == 0) {
        (void)tg_error_set(err, "%s: cannot %s: %s; nothing was kept of it", b->name, what,
                           strerror(error));
        return TG_BOOK_UNDONE;
    }
    b->broken = true;
    (void)snprintf(cut, sizeof(cut), "%s",
                   strerror(errno)); /* the next strerror may reuse its text */
    (void)tg_error_set(err, "%s: cannot %s: %s; and it could not be cut back: %s", b->name, what,
                       strerror(error), cut);
    return TG_BOOK_UNKNOWN;
}

static enum tg_book_result write_pending(struct tg_book *b, struct tg_error *err)
{
    if (!tg_book_is_current(b)) {
        (void)tg_error_set(err, "%s: someone else changed or moved it", b->name);
        return TG_BOOK_UNDONE;
    }
    if (tg_fs_write_all(b->fd, tg_buf_view(&b->pending)) != 0) {
        return undo(b, "write", errno, err);
    }
    if (tg_fs_calls.fsync(b->fd) != 0) {
        return undo(b, "fsync", errno, err);
    }
    b->length += (off_t)b->pending.len;
    for (size_t i = 0; i < b->waiting_count; i++) {
        b->lines++;
        tg_keyset_add(&b->keys, b->waiting[i].key, b->lines);
    }
    return TG_BOOK_DONE;
}

enum tg_book_result tg_book_commit(struct tg_book *b, struct tg_error *err)
{
    enum tg_book_result result = TG_BOOK_DONE;

    if (b->waiting_count != 0) {
        result = write_pending(b, err);
    }
    tg_buf_clear(&b->pending);
    b->waiting_count = 0;
    return result;
}

const char *tg_book_name(const struct tg_book *b)
{
    return b->name;
}
