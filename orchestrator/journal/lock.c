#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "journal/internal.h"

#define PID_TEXT_BYTES 32

static int refuse(int fd, const char *path, struct tg_error *err)
{
    char text[PID_TEXT_BYTES];
    ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
    struct tg_str digits = {(const unsigned char *)text, 0};
    int64_t pid = 0;

    while (n > 0 && digits.len < (size_t)n && text[digits.len] >= '0' && text[digits.len] <= '9') {
        digits.len++;
    }
    if (!tg_str_to_i64(digits, &pid)) {
        return tg_error_set(err, "journal %s is in use by another process; stop that one first",
                            path);
    }
    return tg_error_set(err, "journal %s is in use by process %lld; stop that one first", path,
                        (long long)pid);
}

/* The file stays when the lock goes: unlinking it would race with the next opener. */
int tg_lock_take(const char *path, struct tg_error *err)
{
    char name[PATH_MAX];
    char text[PID_TEXT_BYTES];
    int fd;
    int n = snprintf(name, sizeof(name), "%s.lock", path);

    if (n < 0 || (size_t)n >= sizeof(name)) {
        return tg_error_set(err, "journal path is too long: %.200s...", path);
    }
    fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return tg_error_set(err, "cannot open lock file %s: %s", name, strerror(errno));
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int result = errno == EWOULDBLOCK
                         ? refuse(fd, path, err)
                         : tg_error_set(err, "cannot lock %s: %s", name, strerror(errno));

        (void)close(fd);
        return result;
    }
    n = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
    if (n < 0 || ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)n, 0) != n) {
        (void)tg_error_set(err, "cannot write lock file %s: %s", name, strerror(errno));
        (void)close(fd);
        return -1;
    }
    return fd;
}

void tg_lock_release(int fd)
{
    if (fd >= 0) {
        (void)close(fd);
    }
}
