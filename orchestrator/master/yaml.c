#include "master/yaml.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

struct pair {
    struct tg_yaml_node *key;
    struct tg_yaml_node *value; /* NULL until it was read */
};

struct tg_yaml_node {
    enum tg_yaml_kind kind;
    unsigned line;
    unsigned char *text; /* scalar, NUL-ended */
    size_t text_len;
    struct pair *pairs; /* mapping; a sequence uses value only */
    size_t count, room;
    struct tg_yaml_node *next_owned; /* chain of every node: freeing needs no recursion */
};

struct tg_yaml {
    char *file;
    struct tg_yaml_node *owned;
    struct tg_yaml_node *root;
};

struct loader {
    struct tg_yaml *doc;
    struct tg_error *err;
    struct tg_yaml_node *open[TG_YAML_DEPTH_MAX];
    size_t depth;
    bool done; /* the document has ended */
};

static int fail(const struct loader *l, size_t line, const char *message)
{
    return tg_error_set(l->err, "%s:%zu: %s", l->doc->file, line, message);
}

static size_t line_of(const yaml_event_t *ev)
{
    return ev->start_mark.line + 1;
}

static struct tg_yaml_node *node_new(struct loader *l, enum tg_yaml_kind kind, size_t line)
{
    struct tg_yaml_node *n = calloc(1, sizeof(*n));

    if (n == NULL) {
        fail(l, line, "out of memory");
        return NULL;
    }
    n->kind = kind;
    n->line = (unsigned)line;
    n->next_owned = l->doc->owned;
    l->doc->owned = n;
    return n;
}

static struct pair *push_pair(struct loader *l, struct tg_yaml_node *n, size_t line)
{
    if (n->count == n->room) {
        size_t room = n->room == 0 ? 8 : n->room * 2;
        struct pair *pairs = reallocarray(n->pairs, room, sizeof(*pairs));

        if (pairs == NULL) {
            fail(l, line, "out of memory");
            return NULL;
        }
        n->pairs = pairs;
        n->room = room;
    }
    n->pairs[n->count] = (struct pair){NULL, NULL};
    return &n->pairs[n->count++];
}

static int attach_key(struct loader *l, struct tg_yaml_node *map, struct tg_yaml_node *key,
                      size_t line)
{
    struct tg_str text = tg_yaml_text(key);
    struct pair *p;

    if (key->kind != TG_YAML_SCALAR || text.len == 0) {
        return fail(l, line, "a key must be a plain word");
    }
    if (map->count == TG_YAML_KEYS_MAX) {
        return tg_error_set(l->err, "%s:%zu: more than %d keys in one mapping", l->doc->file, line,
                            TG_YAML_KEYS_MAX);
    }
    for (size_t i = 0; i < map->count; i++) {
        if (tg_str_equal(tg_yaml_text(map->pairs[i].key), text)) {
            return tg_error_set(l->err, "%s:%zu: key `%s` is already given on line %u",
                                l->doc->file, line, (const char *)key->text,
                                map->pairs[i].key->line);
        }
    }
    p = push_pair(l, map, line);
    if (p == NULL) {
        return -1;
    }
    p->key = key;
    return 0;
}

/* Puts a finished or just opened node where it belongs: root, item, key or value. */
static int attach(struct loader *l, struct tg_yaml_node *n, size_t line)
{
    struct tg_yaml_node *parent;
    struct pair *p;

    if (l->depth == 0) {
        l->doc->root = n;
        return 0;
    }
    parent = l->open[l->depth - 1];
    if (parent->kind == TG_YAML_MAPPING) {
        if (parent->count > 0 && parent->pairs[parent->count - 1].value == NULL) {
            parent->pairs[parent->count - 1].value = n;
            return 0;
        }
        return attach_key(l, parent, n, line);
    }
    p = push_pair(l, parent, line);
    if (p == NULL) {
        return -1;
    }
    p->value = n;
    return 0;
}

static int open_node(struct loader *l, enum tg_yaml_kind kind, size_t line)
{
    struct tg_yaml_node *n;

    if (l->depth == TG_YAML_DEPTH_MAX) {
        return tg_error_set(l->err, "%s:%zu: nested deeper than %d levels", l->doc->file, line,
                            TG_YAML_DEPTH_MAX);
    }
    n = node_new(l, kind, line);
    if (n == NULL || attach(l, n, line) != 0) {
        return -1;
    }
    l->open[l->depth++] = n;
    return 0;
}

static int take_scalar(struct loader *l, const yaml_event_t *ev)
{
    size_t line = line_of(ev), len = ev->data.scalar.length;
    struct tg_yaml_node *n;

    if (ev->data.scalar.anchor != NULL) {
        return fail(l, line, "anchors are not accepted; write the value again");
    }
    if (ev->data.scalar.tag != NULL) {
        return fail(l, line, "tags are not accepted; write the value without `!`");
    }
    if (memchr(ev->data.scalar.value, '\0', len) != NULL) {
        return fail(l, line, "a value holds a NUL character");
    }
    n = node_new(l, TG_YAML_SCALAR, line);
    if (n == NULL) {
        return -1;
    }
    n->text = malloc(len + 1);
    if (n->text == NULL) {
        return fail(l, line, "out of memory");
    }
    memcpy(n->text, ev->data.scalar.value, len);
    n->text[len] = '\0';
    n->text_len = len;
    return attach(l, n, line);
}

static int take_start(struct loader *l, const yaml_event_t *ev)
{
    bool map = ev->type == YAML_MAPPING_START_EVENT;
    const yaml_char_t *anchor =
        map ? ev->data.mapping_start.anchor : ev->data.sequence_start.anchor;
    const yaml_char_t *tag = map ? ev->data.mapping_start.tag : ev->data.sequence_start.tag;

    if (anchor != NULL) {
        return fail(l, line_of(ev), "anchors are not accepted; write the value again");
    }
    if (tag != NULL) {
        return fail(l, line_of(ev), "tags are not accepted; write the value without `!`");
    }
    return open_node(l, map ? TG_YAML_MAPPING : TG_YAML_SEQUENCE, line_of(ev));
}

static int take(struct loader *l, const yaml_event_t *ev)
{
    switch (ev->type) {
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_DOCUMENT_END_EVENT:
        return 0;
    case YAML_STREAM_END_EVENT:
        l->done = true;
        return l->doc->root != NULL ? 0 : fail(l, 1, "the file is empty");
    case YAML_DOCUMENT_START_EVENT:
        if (l->doc->root != NULL) {
            return fail(l, line_of(ev), "a second document begins; one file holds one");
        }
        return 0;
    case YAML_ALIAS_EVENT:
        return fail(l, line_of(ev), "aliases are not accepted; write the value again");
    case YAML_SCALAR_EVENT:
        return take_scalar(l, ev);
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT:
        return take_start(l, ev);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        l->depth--;
        return 0;
    }
    return fail(l, line_of(ev), "unexpected YAML");
}

static int load_events(struct loader *l, yaml_parser_t *parser)
{
    while (!l->done) {
        yaml_event_t ev;
        int rc;

        if (!yaml_parser_parse(parser, &ev)) {
            return fail(l, parser->problem_mark.line + 1,
                        parser->problem != NULL ? parser->problem : "out of memory");
        }
        rc = take(l, &ev);
        yaml_event_delete(&ev);
        if (rc != 0) {
            return -1;
        }
    }
    return 0;
}

/* Text of the whole file; NULL with err. */
static unsigned char *read_all(const char *path, size_t *len, struct tg_error *err)
{
    FILE *f = fopen(path, "rb");
    unsigned char *buf;

    if (f == NULL) {
        tg_error_set(err, "%s: cannot be opened: %m", path);
        return NULL;
    }
    buf = malloc(TG_YAML_FILE_MAX_BYTES + 1);
    if (buf == NULL) {
        tg_error_set(err, "%s: out of memory", path);
        fclose(f);
        return NULL;
    }
    *len = fread(buf, 1, TG_YAML_FILE_MAX_BYTES + 1, f);
    if (ferror(f)) {
        tg_error_set(err, "%s: cannot be read: %m", path);
    } else if (*len > TG_YAML_FILE_MAX_BYTES) {
        tg_error_set(err, "%s: larger than %d bytes", path, TG_YAML_FILE_MAX_BYTES);
    } else {
        fclose(f);
        return buf;
    }
    fclose(f);
    free(buf);
    return NULL;
}

static int parse(struct tg_yaml *doc, const unsigned char *text, size_t len, struct tg_error *err)
{
    struct loader l = {.doc = doc, .err = err};
    yaml_parser_t parser;
    int rc;

    if (!yaml_parser_initialize(&parser)) {
        return tg_error_set(err, "%s: out of memory", doc->file);
    }
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, text, len);
    rc = load_events(&l, &parser);
    yaml_parser_delete(&parser);
    return rc;
}

struct tg_yaml *tg_yaml_load(const char *path, struct tg_error *err)
{
    size_t len;
    unsigned char *text = read_all(path, &len, err);
    struct tg_yaml *doc;
    int rc = -1;

    if (text == NULL) {
        return NULL;
    }
    doc = calloc(1, sizeof(*doc));
    if (doc != NULL) {
        doc->file = strdup(path);
    }
    if (doc == NULL || doc->file == NULL) {
        tg_error_set(err, "%s: out of memory", path);
    } else {
        rc = parse(doc, text, len, err);
    }
    free(text);
    if (rc != 0) {
        tg_yaml_free(doc);
        return NULL;
    }
    return doc;
}

void tg_yaml_free(struct tg_yaml *doc)
{
    struct tg_yaml_node *n;

    if (doc == NULL) {
        return;
    }
    n = doc->owned;
    while (n != NULL) {
        struct tg_yaml_node *next = n->next_owned;

        free(n->text);
        free(n->pairs);
        free(n);
        n = next;
    }
    free(doc->file);
    free(doc);
}

const struct tg_yaml_node *tg_yaml_root(const struct tg_yaml *doc)
{
    return doc->root;
}

enum tg_yaml_kind tg_yaml_kind(const struct tg_yaml_node *n)
{
    return n->kind;
}

unsigned tg_yaml_line(const struct tg_yaml_node *n)
{
    return n->line;
}

struct tg_str tg_yaml_text(const struct tg_yaml_node *n)
{
    struct tg_str s = {n->text, n->text_len};

    return s;
}

size_t tg_yaml_count(const struct tg_yaml_node *n)
{
    return n->count;
}

const struct tg_yaml_node *tg_yaml_item(const struct tg_yaml_node *n, size_t i)
{
    return n->kind == TG_YAML_SEQUENCE && i < n->count ? n->pairs[i].value : NULL;
}

struct tg_str tg_yaml_key(const struct tg_yaml_node *n, size_t i)
{
    struct tg_str none = {NULL, 0};

    return n->kind == TG_YAML_MAPPING && i < n->count ? tg_yaml_text(n->pairs[i].key) : none;
}

unsigned tg_yaml_key_line(const struct tg_yaml_node *n, size_t i)
{
    return n->kind == TG_YAML_MAPPING && i < n->count ? n->pairs[i].key->line : 0;
}

const struct tg_yaml_node *tg_yaml_value(const struct tg_yaml_node *n, size_t i)
{
    return n->kind == TG_YAML_MAPPING && i < n->count ? n->pairs[i].value : NULL;
}

const struct tg_yaml_node *tg_yaml_get(const struct tg_yaml_node *n, const char *key)
{
    for (size_t i = 0; n->kind == TG_YAML_MAPPING && i < n->count; i++) {
        if (tg_str_equal_c(tg_yaml_text(n->pairs[i].key), key)) {
            return n->pairs[i].value;
        }
    }
    return NULL;
}

static void join(const char *const *words, char *out, size_t out_size)
{
    size_t used = 0;

    out[0] = '\0';
    for (size_t i = 0; words[i] != NULL; i++) {
        int n = snprintf(out + used, out_size - used, "%s%s", i == 0 ? "" : ", ", words[i]);

        if (n < 0 || (size_t)n >= out_size - used) {
            return;
        }
        used += (size_t)n;
    }
}

int tg_yaml_check_keys(const struct tg_yaml *doc, const struct tg_yaml_node *n,
                       const char *const *accepted, struct tg_error *err)
{
    char list[TG_ERROR_MAX_BYTES / 2];

    if (n->kind != TG_YAML_MAPPING) {
        join(accepted, list, sizeof(list));
        return tg_yaml_error(doc, n, err, "expected `key: value` lines; accepted: %s", list);
    }
    for (size_t i = 0; i < n->count; i++) {
        size_t k = 0;

        while (accepted[k] != NULL && !tg_str_equal_c(tg_yaml_key(n, i), accepted[k])) {
            k++;
        }
        if (accepted[k] == NULL) {
            join(accepted, list, sizeof(list));
            return tg_yaml_error(doc, n->pairs[i].key, err, "unknown key `%s`; accepted: %s",
                                 (const char *)n->pairs[i].key->text, list);
        }
    }
    return 0;
}

int tg_yaml_error(const struct tg_yaml *doc, const struct tg_yaml_node *n, struct tg_error *err,
                  const char *fmt, ...)
{
    char text[TG_ERROR_MAX_BYTES];
    va_list args;

    va_start(args, fmt);
    if (vsnprintf(text, sizeof(text), fmt, args) < 0) {
        text[0] = '\0';
    }
    va_end(args);
    return tg_error_set(err, "%s:%u: %s", doc->file, n->line, text);
}
