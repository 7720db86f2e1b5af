#include "master/catalogue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "master/yaml.h"

/* Entries are sorted by code; their strings live in the document. */
struct tg_catalogue {
    struct tg_yaml *doc;
    struct tg_catalogue_entry *entries;
    size_t count;
};

static const char *const top_keys[] = {"codes", NULL};
static const char *const entry_keys[] = {"code", "title", "owner", "runbook", "hold", NULL};
static const char *const owners[] = {"master-data", "finance", "integration", NULL};

static int by_code(const void *a, const void *b)
{
    const struct tg_catalogue_entry *x = a, *y = b;

    return strcmp(x->code, y->code);
}

static bool is_code(const char *s)
{
    size_t len = strlen(s);

    return len > 0 && len <= TG_CODE_MAX_BYTES && strspn(s, "abcdefghijklmnopqrstuvwxyz_") == len;
}

/* A scalar of at least one byte, as C string (the tree ends scalars with NUL). */
static const char *text_of(const struct tg_yaml *doc, const struct tg_yaml_node *entry,
                           const char *key, struct tg_error *err)
{
    const struct tg_yaml_node *n = tg_yaml_get(entry, key);

    if (n == NULL) {
        tg_yaml_error(doc, entry, err, "`%s` is missing", key);
        return NULL;
    }
    if (tg_yaml_text(n).len == 0) {
        tg_yaml_error(doc, n, err, "`%s` must be a text", key);
        return NULL;
    }
    return (const char *)tg_yaml_text(n).data;
}

static int read_hold(const struct tg_yaml *doc, const struct tg_yaml_node *entry,
                     struct tg_catalogue_entry *e, struct tg_error *err)
{
    const struct tg_yaml_node *n = tg_yaml_get(entry, "hold");

    e->hold = n != NULL && tg_str_equal_c(tg_yaml_text(n), "true");
    if (n != NULL && !e->hold && !tg_str_equal_c(tg_yaml_text(n), "false")) {
        return tg_yaml_error(doc, n, err, "`hold` must be true or false");
    }
    return 0;
}

static int read_entry(const struct tg_yaml *doc, const struct tg_yaml_node *n,
                      struct tg_catalogue_entry *e, struct tg_error *err)
{
    size_t k = 0;

    if (tg_yaml_check_keys(doc, n, entry_keys, err) != 0) {
        return -1;
    }
    if ((e->code = text_of(doc, n, "code", err)) == NULL ||
        (e->title = text_of(doc, n, "title", err)) == NULL ||
        (e->owner = text_of(doc, n, "owner", err)) == NULL ||
        (e->runbook = text_of(doc, n, "runbook", err)) == NULL) {
        return -1;
    }
    if (!is_code(e->code)) {
        return tg_yaml_error(doc, n, err, "code `%s`: use a-z and _, at most %d", e->code,
                             TG_CODE_MAX_BYTES);
    }
    if (read_hold(doc, n, e, err) != 0) {
        return -1;
    }
    while (owners[k] != NULL && strcmp(owners[k], e->owner) != 0) {
        k++;
    }
    if (owners[k] == NULL) {
        return tg_yaml_error(doc, n, err,
                             "owner `%s` is not known; accepted: master-data, finance, integration",
                             e->owner);
    }
    return 0;
}

static int read_entries(struct tg_catalogue *c, struct tg_error *err)
{
    const struct tg_yaml_node *root = tg_yaml_root(c->doc), *list;

    if (tg_yaml_check_keys(c->doc, root, top_keys, err) != 0) {
        return -1;
    }
    list = tg_yaml_get(root, "codes");
    if (list == NULL || tg_yaml_kind(list) != TG_YAML_SEQUENCE || tg_yaml_count(list) == 0) {
        return tg_yaml_error(c->doc, root, err, "`codes` must be a list of at least one code");
    }
    c->entries = calloc(tg_yaml_count(list), sizeof(*c->entries));
    if (c->entries == NULL) {
        return tg_yaml_error(c->doc, root, err, "out of memory");
    }
    c->count = tg_yaml_count(list);
    for (size_t i = 0; i < c->count; i++) {
        if (read_entry(c->doc, tg_yaml_item(list, i), &c->entries[i], err) != 0) {
            return -1;
        }
    }
    qsort(c->entries, c->count, sizeof(*c->entries), by_code);
    for (size_t i = 1; i < c->count; i++) {
        if (strcmp(c->entries[i - 1].code, c->entries[i].code) == 0) {
            return tg_yaml_error(c->doc, list, err, "code `%s` is given twice", c->entries[i].code);
        }
    }
    return 0;
}

struct tg_catalogue *tg_catalogue_load(const char *path, struct tg_error *err)
{
    struct tg_catalogue *c = calloc(1, sizeof(*c));

    if (c == NULL) {
        tg_error_set(err, "%s: out of memory", path);
        return NULL;
    }
    c->doc = tg_yaml_load(path, err);
    if (c->doc == NULL || read_entries(c, err) != 0) {
        tg_catalogue_free(c);
        return NULL;
    }
    return c;
}

void tg_catalogue_free(struct tg_catalogue *c)
{
    if (c == NULL) {
        return;
    }
    free(c->entries);
    tg_yaml_free(c->doc);
    free(c);
}

const struct tg_catalogue_entry *tg_catalogue_find(const struct tg_catalogue *c, struct tg_str code)
{
    char name[TG_CODE_MAX_BYTES + 1];
    struct tg_catalogue_entry probe = {.code = name};

    if (memchr(code.data != NULL ? code.data : (const unsigned char *)"", '\0', code.len) != NULL ||
        !tg_str_copy(code, name, sizeof(name))) {
        return NULL;
    }
    return bsearch(&probe, c->entries, c->count, sizeof(*c->entries), by_code);
}

size_t tg_catalogue_count(const struct tg_catalogue *c)
{
    return c->count;
}

const struct tg_catalogue_entry *tg_catalogue_at(const struct tg_catalogue *c, size_t i)
{
    return i < c->count ? &c->entries[i] : NULL;
}
