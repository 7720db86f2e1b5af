#include "connect/directory.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

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

static int make_usable(int fd, const char *path, struct tg_error *err)
{
    if (faccessat(fd, ".", R_OK | W_OK | X_OK, AT_EACCESS) != 0) {
        return tg_error_set(err, "directory %s: not writable for this user: %s", path,
                            strerror(errno));
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        return tg_error_set(err,
                            "directory %s: another destination or process writes here; give each "
                            "its own path",
                            path);
    }
    return 0;
}

int tg_directory_open(const char *path, struct tg_error *err)
{
    int fd;

    if (make_directories(path) != 0) {
        return tg_error_set(err, "directory %s: cannot create: %s; give another path", path,
                            strerror(errno));
    }
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return tg_error_set(err, "directory %s: cannot open: %s", path, strerror(errno));
    }
    if (make_usable(fd, path, err) != 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

int tg_directory_check(const char *path, int fd, struct tg_error *err)
{
    struct stat named, mine;

    if (stat(path, &named) != 0) {
        return tg_error_set(err, "directory %s: gone: %s; it is made and read anew", path,
                            strerror(errno));
    }
    if (fstat(fd, &mine) != 0 || named.st_dev != mine.st_dev || named.st_ino != mine.st_ino) {
        return tg_error_set(err, "directory %s: moved or replaced by another; it is read anew",
                            path);
    }
    return 0;
}
