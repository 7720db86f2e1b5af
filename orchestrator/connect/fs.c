#include "connect/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TMP_NAME_BYTES 300

struct tg_fs_calls tg_fs_calls = {write, fsync, ftruncate};

int tg_fs_write_all(int fd, struct tg_str data)
{
    size_t done = 0;

    while (done < data.len) {
        ssize_t n = tg_fs_calls.write(fd, data.data + done, data.len - done);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            errno = n == 0 ? EIO : errno;
            return -1;
        }
        done += (size_t)n;
    }
    return 0;
}

int tg_fs_replace(int dirfd, const char *name, struct tg_str data)
{
    char tmp[TMP_NAME_BYTES];
    int n = snprintf(tmp, sizeof(tmp), "%s.tmp", name);
    int fd;
    int saved;

    if (n < 0 || (size_t)n >= sizeof(tmp)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    fd = openat(dirfd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (fd < 0) {
        return -1;
    }
    if (tg_fs_write_all(fd, data) != 0 || tg_fs_calls.fsync(fd) != 0) {
        saved = errno;
        (void)close(fd);
        (void)unlinkat(dirfd, tmp, 0);
        errno = saved;
        return -1;
    }
    if (close(fd) != 0 || renameat(dirfd, tmp, dirfd, name) != 0) {
        saved = errno;
        (void)unlinkat(dirfd, tmp, 0);
        errno = saved;
        return -1;
    }
    return tg_fs_calls.fsync(dirfd);
}

void tg_lines_start(struct tg_lines *r, int fd)
{
    r->fd = fd;
    r->next = 0;
    r->line_at = 0;
    r->from = 0;
    r->to = 0;
    r->at_end = false;
}

/* Moves the unread part to the front and fills the rest. */
static int fill(struct tg_lines *r)
{
    ssize_t n;

    memmove(r->buf, r->buf + r->from, r->to - r->from);
    r->to -= r->from;
    r->from = 0;
    do {
        n = pread(r->fd, r->buf + r->to, sizeof(r->buf) - r->to, r->next);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        return -1;
    }
    r->at_end = n == 0;
    r->next += n;
    r->to += (size_t)n;
    return 0;
}

int tg_lines_next(struct tg_lines *r, struct tg_str *line, bool *whole)
{
    for (;;) {
        size_t have = r->to - r->from;
        char *start = r->buf + r->from;
        char *end = have != 0 ? memchr(start, '\n', have) : NULL;

        if (end != NULL || (have != 0 && (r->at_end || have == sizeof(r->buf)))) {
            line->data = (unsigned char *)start;
            line->len = end != NULL ? (size_t)(end - start) : have;
            *whole = end != NULL;
            r->line_at = r->next - (off_t)have;
            r->from += line->len + (end != NULL ? 1 : 0);
            return 1;
        }
        if (r->at_end) {
            return 0;
        }
        if (fill(r) != 0) {
            return -1;
        }
    }
}
