#include "cmd/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_BYTES 4096

char *tg_file_read(const char *path, struct tg_error *err)
{
    char *text = calloc(1, TG_CMD_FILE_MAX_BYTES + 2);
    FILE *f;
    size_t len;

    if (text == NULL) {
        tg_error_set(err, "%s: out of memory", path);
        return NULL;
    }
    f = fopen(path, "re");
    if (f == NULL) {
        tg_error_set(err, "%s: cannot read it: %s", path, strerror(errno));
        free(text);
        return NULL;
    }
    len = fread(text, 1, TG_CMD_FILE_MAX_BYTES + 1, f);
    if (ferror(f) || len > TG_CMD_FILE_MAX_BYTES) {
        tg_error_set(err, "%s: %s", path,
                     ferror(f) ? "cannot read it" : "it is too large for a key or a key set");
        fclose(f);
        tg_file_free(text);
        return NULL;
    }
    fclose(f);
    return text;
}

void tg_file_free(char *text)
{
    if (text != NULL) {
        explicit_bzero(text, TG_CMD_FILE_MAX_BYTES + 2);
        free(text);
    }
}

char *tg_file_text(const char *path, struct tg_error *err)
{
    char *text = tg_file_read(path, err);
    char *out = text != NULL ? strdup(text) : NULL;

    if (text != NULL && out == NULL) {
        tg_error_set(err, "out of memory");
    }
    tg_file_free(text);
    return out;
}

static int write_all(int fd, struct tg_str text)
{
    while (text.len > 0) {
        ssize_t n = write(fd, text.data, text.len);

        if (n < 0 && errno != EINTR) {
            return -1;
        }
        if (n > 0) {
            text.data += n;
            text.len -= (size_t)n;
        }
    }
    return fsync(fd);
}

static int fill(const char *temporary, unsigned mode, struct tg_str text)
{
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    int rc;

    if (fd < 0) {
        return -1;
    }
    rc = fchmod(fd, mode) == 0 ? write_all(fd, text) : -1; /* whatever the umask is */
    return close(fd) == 0 ? rc : -1;
}

int tg_file_write(const char *path, unsigned mode, bool replace, struct tg_str text,
                  struct tg_error *err)
{
    char temporary[PATH_BYTES];
    int n = snprintf(temporary, sizeof(temporary), "%s.%ld.tmp", path, (long)getpid());
    int rc;

    if (n < 0 || (size_t)n >= sizeof(temporary)) {
        return tg_error_set(err, "%s: the path is too long", path);
    }
    (void)unlink(temporary); /* left by a process of the same number that was killed */
    if (fill(temporary, mode, text) != 0) {
        tg_error_set(err, "%s: cannot write it: %s", path, strerror(errno));
        (void)unlink(temporary);
        return -1;
    }
    rc = replace ? rename(temporary, path) : link(temporary, path);
    if (rc != 0) {
        tg_error_set(err, "%s: %s", path,
                     errno == EEXIST ? "it is there already; use --force to replace it"
                                     : strerror(errno));
    }
    if (rc != 0 || !replace) {
        (void)unlink(temporary);
    }
    return rc == 0 ? 0 : -1;
}
