#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/codec.h"
#include "common/digest.h"
#include "rules/internal.h"

static const char *const folders[] = {"connectors", "lib", "route", "sources", "validate", NULL};

/* A connector is named as in the configuration, "http-json"; modules are not: require has no dash.
 */
static bool is_rule_name(const char *folder, const char *name)
{
    size_t stem =
        strspn(name, strcmp(folder, "connectors") == 0 ? "abcdefghijklmnopqrstuvwxyz0123456789_-"
                                                       : "abcdefghijklmnopqrstuvwxyz0123456789_");

    return stem > 0 && strcmp(name + stem, ".lua") == 0;
}

static bool ends_with_lua(const char *name)
{
    size_t len = strlen(name);

    return len > 4 && strcmp(name + len - 4, ".lua") == 0;
}

static int read_text(int fd, const char *where, struct tg_bundle_file *f, struct tg_error *err)
{
    struct stat st;
    size_t have = 0;

    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size > TG_LUA_FILE_MAX_BYTES) {
        return tg_error_set(err, "%s: not a regular file of at most %d bytes", where,
                            TG_LUA_FILE_MAX_BYTES);
    }
    f->text = malloc((size_t)st.st_size + 1);
    if (f->text == NULL) {
        return tg_error_set(err, "%s: out of memory", where);
    }
    while (have < (size_t)st.st_size) {
        ssize_t n = read(fd, f->text + have, (size_t)st.st_size - have);

        if (n <= 0) {
            return tg_error_set(err, "%s: cannot be read, or changed meanwhile", where);
        }
        have += (size_t)n;
    }
    f->len = have;
    return 0;
}

static int add_file(struct tg_bundle *b, const char *folder, const char *name, struct tg_error *err)
{
    char where[TG_RULE_PATH_MAX_BYTES];
    struct tg_bundle_file *f;
    int fd, rc, n = snprintf(where, sizeof(where), "%s/%s/%s", b->path, folder, name);

    if (n < 0 || (size_t)n >= sizeof(where)) {
        return tg_error_set(err, "%s/%s/%.100s: path is too long", b->path, folder, name);
    }
    if (!is_rule_name(folder, name)) {
        return tg_error_set(err,
                            "%s: a rule file is named with a-z, 0-9 and _ only (a connector also "
                            "with -)",
                            where);
    }
    if (b->count == TG_RULE_FILES_MAX) {
        return tg_error_set(err, "%s: more than %d rule files", b->path, TG_RULE_FILES_MAX);
    }
    f = &b->files[b->count++];
    f->name = strdup(where + strlen(b->path) + 1);
    fd = open(where, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || f->name == NULL) {
        rc = tg_error_set(err, "%s: cannot be opened: %m", where);
    } else {
        rc = read_text(fd, where, f, err);
    }
    if (fd >= 0) {
        close(fd);
    }
    return rc;
}

static int add_folder(struct tg_bundle *b, const char *folder, struct tg_error *err)
{
    char where[TG_RULE_PATH_MAX_BYTES];
    int rc = 0, n = snprintf(where, sizeof(where), "%s/%s", b->path, folder);
    const struct dirent *e;
    DIR *d;

    if (n < 0 || (size_t)n >= sizeof(where)) {
        return tg_error_set(err, "%s: path is too long", b->path);
    }
    d = opendir(where);
    if (d == NULL) {
        return 0; /* a bundle need not have every folder */
    }
    while (rc == 0 && (e = readdir(d)) != NULL) {
        if (e->d_name[0] != '.' && ends_with_lua(e->d_name)) {
            rc = add_file(b, folder, e->d_name, err);
        }
    }
    closedir(d);
    return rc;
}

static int by_name(const void *a, const void *b)
{
    const struct tg_bundle_file *x = a, *y = b;

    return strcmp(x->name, y->name);
}

/* Over "name NUL length NUL text" of each file in order, so that no two bundles look alike. */
static int hash(struct tg_bundle *b, struct tg_error *err)
{
    struct tg_str *parts = calloc(3 * b->count, sizeof(*parts));
    char(*lengths)[24] = calloc(b->count, sizeof(*lengths));
    unsigned char digest[TG_SHA256_BYTES];
    int rc = parts != NULL && lengths != NULL ? 0 : -1;

    for (size_t i = 0; rc == 0 && i < b->count; i++) {
        const struct tg_bundle_file *f = &b->files[i];
        int n = snprintf(lengths[i], sizeof(lengths[i]), "%zu", f->len);

        rc = n < 0 ? -1 : 0;
        parts[3 * i] = (struct tg_str){(const unsigned char *)f->name, strlen(f->name) + 1};
        parts[3 * i + 1] = (struct tg_str){(const unsigned char *)lengths[i], (size_t)n + 1};
        parts[3 * i + 2] = (struct tg_str){(const unsigned char *)f->text, f->len};
    }
    if (rc == 0) {
        rc = tg_sha256v(parts, 3 * b->count, digest);
    }
    free(parts);
    free(lengths);
    if (rc != 0) {
        return tg_error_set(err, "%s: out of memory", b->path);
    }
    tg_hex_encode(digest, sizeof(digest), b->sha256);
    b->sha256[sizeof(b->sha256) - 1] = '\0';
    return 0;
}

static int load_into(struct tg_bundle *b, struct tg_error *err)
{
    b->files = calloc(TG_RULE_FILES_MAX, sizeof(*b->files));
    if (b->files == NULL) {
        return tg_error_set(err, "%s: out of memory", b->path);
    }
    for (size_t i = 0; folders[i] != NULL; i++) {
        if (add_folder(b, folders[i], err) != 0) {
            return -1;
        }
    }
    if (b->count == 0) {
        return tg_error_set(err,
                            "%s: holds no rule; expected sources/, validate/ and route/ with .lua "
                            "files",
                            b->path);
    }
    qsort(b->files, b->count, sizeof(*b->files), by_name);
    return hash(b, err);
}

struct tg_bundle *tg_bundle_load(const char *path, struct tg_error *err)
{
    struct tg_bundle *b = calloc(1, sizeof(*b));

    if (b != NULL) {
        atomic_init(&b->references, 1);
        b->path = strdup(path);
    }
    if (b == NULL || b->path == NULL) {
        free(b);
        tg_error_set(err, "%s: out of memory", path);
        return NULL;
    }
    if (load_into(b, err) != 0) {
        tg_bundle_unref(b);
        return NULL;
    }
    return b;
}

struct tg_bundle *tg_bundle_ref(struct tg_bundle *b)
{
    atomic_fetch_add_explicit(&b->references, 1, memory_order_relaxed);
    return b;
}

void tg_bundle_unref(struct tg_bundle *b)
{
    if (b == NULL || atomic_fetch_sub_explicit(&b->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (size_t i = 0; i < b->count; i++) {
        free(b->files[i].name);
        free(b->files[i].text);
    }
    free(b->files);
    free(b->path);
    free(b);
}

const char *tg_bundle_sha256(const struct tg_bundle *b)
{
    return b->sha256;
}

const struct tg_bundle_file *tg_bundle_find(const struct tg_bundle *b, const char *name)
{
    for (size_t i = 0; i < b->count; i++) {
        if (strcmp(b->files[i].name, name) == 0) {
            return &b->files[i];
        }
    }
    return NULL;
}
