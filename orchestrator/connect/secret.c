#include "connect/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"

struct tg_secret {
    char *path;
    char *text; /* NULL: never read */
    struct stat seen;
    unsigned version;
    bool complained;
};

struct tg_secret *tg_secret_new(const char *path)
{
    struct tg_secret *s = calloc(1, sizeof(*s));

    if (s != NULL) {
        s->path = strdup(path);
    }
    if (s == NULL || s->path == NULL) {
        free(s);
        return NULL;
    }
    return s;
}

static void wipe(char *text)
{
    if (text != NULL) {
        explicit_bzero(text, strlen(text));
        free(text);
    }
}

void tg_secret_free(struct tg_secret *s)
{
    if (s != NULL) {
        wipe(s->text);
        free(s->path);
        free(s);
    }
}

static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
           a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* The first line of buf into a text of its own; NULL with err. */
static char *first_line(const struct tg_secret *s, const char *buf, size_t len,
                        struct tg_error *err)
{
    size_t n = 0;
    char *text;

    while (n < len && buf[n] != '\n' && buf[n] != '\r') {
        if (buf[n] == '\0') {
            (void)tg_error_set(err, "%s: a secret holds a NUL byte", s->path);
            return NULL;
        }
        n++;
    }
    if (n == 0 || n > TG_SECRET_FILE_MAX_BYTES) {
        (void)tg_error_set(err, "%s: its first line must have 1 to %d bytes", s->path,
                           TG_SECRET_FILE_MAX_BYTES);
        return NULL;
    }
    text = malloc(n + 1);
    if (text == NULL) {
        (void)tg_error_set(err, "%s: out of memory", s->path);
        return NULL;
    }
    memcpy(text, buf, n);
    text[n] = '\0';
    return text;
}

static char *read_file(const struct tg_secret *s, struct stat *st, struct tg_error *err)
{
    char buf[TG_SECRET_FILE_MAX_BYTES + 2];
    int fd = open(s->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    size_t have = 0;
    ssize_t n = 0;
    char *text = NULL;

    if (fd < 0 || fstat(fd, st) != 0 || !S_ISREG(st->st_mode)) {
        (void)tg_error_set(err, "%s: %s", s->path, fd < 0 ? strerror(errno) : "not a regular file");
    } else {
        while (have < sizeof(buf) && (n = read(fd, buf + have, sizeof(buf) - have)) > 0) {
            have += (size_t)n;
        }
        if (n < 0) {
            (void)tg_error_set(err, "%s: %s", s->path, strerror(errno));
        } else {
            text = first_line(s, buf, have, err);
        }
    }
    explicit_bzero(buf, sizeof(buf));
    if (fd >= 0) {
        (void)close(fd);
    }
    return text;
}

const char *tg_secret_text(struct tg_secret *s, struct tg_error *err)
{
    struct tg_error inner = {""};
    struct stat st;
    char *text;

    if (s->text != NULL && stat(s->path, &st) == 0 && is_same(&st, &s->seen)) {
        return s->text;
    }
    text = read_file(s, &st, &inner);
    if (text == NULL) {
        if (s->text == NULL) {
            (void)tg_error_set(err, "%s", inner.text);
            return NULL;
        }
        if (!s->complained) {
            tg_log(TG_LOG_WARN, "connect", "the old secret is used on: %s", inner.text);
            s->complained = true;
        }
        return s->text;
    }
    s->complained = false;
    s->seen = st;
    if (s->text == NULL || strcmp(s->text, text) != 0) {
        s->version++;
    }
    wipe(s->text);
    s->text = text;
    return s->text;
}

const char *tg_secret_peek(const struct tg_secret *s)
{
    return s->text;
}

unsigned tg_secret_version(const struct tg_secret *s)
{
    return s->version;
}
