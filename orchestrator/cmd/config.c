/*
 * config.c: reads tallygate.yaml by the tables of config_table.c, then looks at what no single key
 * can say: a tenant twice, two sources that claim the same events, a connector's own needs.
 */
#include "cmd/config.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/config_account.h"
#include "cmd/config_table.h"
#include "connect/auth.h"
#include "connect/connect.h"
#include "master/yaml.h"

#define WHERE_BYTES 256 /* "tenants[3].sources.psa" */
#define SHOWN_BYTES 48  /* of a wrong value, in a message */

struct loader {
    const char *path;
    const struct tg_yaml *doc;
    struct tg_error *err;
};

static int read_table(const struct loader *l, const struct tg_yaml_node *n,
                      const struct tg_config_table *t, const char *where, void *target);

/* ---- complaints ---- */

/* A place too deep for the buffer is cut: the line number still says where. */
static __attribute__((format(printf, 2, 3))) void set_where(char out[WHERE_BYTES], const char *fmt,
                                                            ...)
{
    va_list args;

    va_start(args, fmt);
    if (vsnprintf(out, WHERE_BYTES, fmt, args) < 0) {
        out[0] = '\0';
    }
    va_end(args);
}

static const char *kind_word(const struct tg_yaml_node *n)
{
    switch (tg_yaml_kind(n)) {
    case TG_YAML_SCALAR:
        return tg_yaml_text(n).len == 0 ? "empty" : "a plain value";
    case TG_YAML_SEQUENCE:
        return "a list";
    default:
        return "a mapping";
    }
}

static int complain(const struct loader *l, const struct tg_yaml_node *n, const char *where,
                    const char *what, const struct tg_config_key *k)
{
    return tg_yaml_error(l->doc, n, l->err, "`%s` %s; accepted: %s", where, what, k->accepted);
}

static int wrong_kind(const struct loader *l, const struct tg_yaml_node *n, const char *where,
                      const struct tg_config_key *k)
{
    char what[64];

    snprintf(what, sizeof(what), "is %s", kind_word(n));
    return complain(l, n, where, what, k);
}

/* Texts may hold an address with a password by mistake: only names and numbers are shown. */
static int wrong_value(const struct loader *l, const struct tg_yaml_node *n, const char *where,
                       const struct tg_config_key *k)
{
    struct tg_str text = tg_yaml_text(n);
    char what[SHOWN_BYTES + 16];

    if (text.len > 0 && text.len <= SHOWN_BYTES && tg_str_is_printable(text, SHOWN_BYTES) &&
        k->kind != TG_CONFIG_TEXT) {
        snprintf(what, sizeof(what), "is `%.*s`", (int)text.len, (const char *)text.data);
    } else if (text.len == 0) {
        snprintf(what, sizeof(what), "is empty");
    } else {
        snprintf(what, sizeof(what), "is not accepted");
    }
    return complain(l, n, where, what, k);
}

static int out_of_memory(const struct loader *l)
{
    return tg_error_set(l->err, "%s: out of memory", l->path);
}

/* ---- where a value goes ---- */

static void *at(void *target, size_t offset)
{
    return target == NULL || offset == TG_CONFIG_NOT_KEPT ? NULL : (char *)target + offset;
}

static char *copy_text(struct tg_str text)
{
    char *out = malloc(text.len + 1);

    if (out != NULL && !tg_str_copy(text, out, text.len + 1)) {
        free(out);
        return NULL;
    }
    return out;
}

static int store_text(const struct loader *l, void *target, size_t offset, struct tg_str text)
{
    char **slot = at(target, offset);

    if (slot == NULL) {
        return 0;
    }
    *slot = copy_text(text);
    return *slot != NULL ? 0 : out_of_memory(l);
}

/* ---- values ---- */

static bool text_is_good(const struct tg_config_key *k, struct tg_str text)
{
    if (text.len == 0 || text.len > (size_t)k->max || memchr(text.data, '\0', text.len) != NULL) {
        return false;
    }
    if (k->kind == TG_CONFIG_NAME) {
        return tg_str_is_name(text, (size_t)k->max);
    }
    return k->form == NULL || k->form(text) == 0;
}

static bool is_word(const struct tg_config_key *k, struct tg_str text)
{
    for (size_t i = 0; k->words[i] != NULL; i++) {
        if (tg_str_equal_c(text, k->words[i])) {
            return true;
        }
    }
    return false;
}

/* "100/s" is what design section 7 writes, "100r/s" what the edge writes. */
static int rate_of(struct tg_str text, struct tg_rate *out)
{
    char with_r[32];
    const unsigned char *slash = text.len > 0 ? memchr(text.data, '/', text.len) : NULL;
    size_t digits;

    if (slash == NULL || slash == text.data || text.len + 2 > sizeof(with_r)) {
        return -1;
    }
    digits = (size_t)(slash - text.data);
    if (text.data[digits - 1] == 'r') {
        return tg_rate_parse(text, 0, out, NULL);
    }
    snprintf(with_r, sizeof(with_r), "%.*sr%.*s", (int)digits, (const char *)text.data,
             (int)(text.len - digits), (const char *)slash);
    return tg_rate_parse(tg_str_of(with_r), 0, out, NULL);
}

/* A whole number and its unit; 0 needs none. */
static int time_of(struct tg_str text, int64_t *out)
{
    static const struct {
        const char *name;
        int64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    size_t digits = 0;
    int64_t number;

    while (digits < text.len && text.data[digits] >= '0' && text.data[digits] <= '9') {
        digits++;
    }
    if (!tg_str_to_i64((struct tg_str){text.data, digits}, &number)) {
        return -1;
    }
    *out = 0;
    if (number == 0 && digits == text.len) {
        return 0;
    }
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (tg_str_equal_c((struct tg_str){text.data + digits, text.len - digits}, units[i].name) &&
            number <= INT64_MAX / units[i].ms) {
            *out = number * units[i].ms;
            return 0;
        }
    }
    return -1;
}

static int read_time(const struct loader *l, const struct tg_yaml_node *n,
                     const struct tg_config_key *k, const char *where, void *target)
{
    int64_t *slot = at(target, k->offset);
    int64_t ms;

    if (time_of(tg_yaml_text(n), &ms) != 0 || ms < k->min || ms > k->max) {
        return wrong_value(l, n, where, k);
    }
    if (slot != NULL) {
        *slot = ms;
    }
    return 0;
}

static int read_scalar(const struct loader *l, const struct tg_yaml_node *n,
                       const struct tg_config_key *k, const char *where, void *target)
{
    struct tg_str text = tg_yaml_text(n);
    int64_t number;

    if (tg_yaml_kind(n) != TG_YAML_SCALAR) {
        return wrong_kind(l, n, where, k);
    }
    if (k->kind == TG_CONFIG_NUMBER) {
        unsigned *slot = at(target, k->offset);

        if (!tg_str_to_i64(text, &number) || number < k->min || number > k->max) {
            return wrong_value(l, n, where, k);
        }
        if (slot != NULL) {
            *slot = (unsigned)number;
        }
        return 0;
    }
    if (k->kind == TG_CONFIG_TIME) {
        return read_time(l, n, k, where, target);
    }
    if (k->kind == TG_CONFIG_RATE) {
        struct tg_rate rate;
        struct tg_rate *slot = at(target, k->offset);

        if (rate_of(text, &rate) != 0) {
            return wrong_value(l, n, where, k);
        }
        if (slot != NULL) {
            *slot = rate;
        }
        return 0;
    }
    if (k->kind == TG_CONFIG_WORD ? !is_word(k, text) : !text_is_good(k, text)) {
        return wrong_value(l, n, where, k);
    }
    return store_text(l, target, k->offset, text);
}

/* ---- collections ---- */

/* Allocates the items of a collection into target; NULL when they are not kept or on error. */
static int make_items(const struct loader *l, const struct tg_config_key *k, size_t n,
                      size_t item_bytes, void *target, void **items)
{
    void *slot = at(target, k->offset);
    size_t *count = at(target, k->count_offset);

    *items = NULL;
    if (slot == NULL || n == 0) {
        return 0;
    }
    *items = calloc(n, item_bytes);
    if (*items == NULL) {
        return out_of_memory(l);
    }
    memcpy(slot, items, sizeof(*items));
    *count = n;
    return 0;
}

static int check_count(const struct loader *l, const struct tg_yaml_node *n,
                       const struct tg_config_key *k, const char *where)
{
    size_t count = tg_yaml_count(n);
    char what[64];

    if (count >= (size_t)k->min && count <= (size_t)k->max) {
        return 0;
    }
    snprintf(what, sizeof(what), "has %zu items", count);
    return complain(l, n, where, what, k);
}

static int read_texts(const struct loader *l, const struct tg_yaml_node *n,
                      const struct tg_config_key *k, const char *where, void *target)
{
    void *items;

    if (tg_yaml_kind(n) != TG_YAML_SEQUENCE) {
        return wrong_kind(l, n, where, k);
    }
    if (check_count(l, n, k, where) != 0 ||
        make_items(l, k, tg_yaml_count(n), sizeof(char *), target, &items) != 0) {
        return -1;
    }
    for (size_t i = 0; i < tg_yaml_count(n); i++) {
        const struct tg_yaml_node *item = tg_yaml_item(n, i);
        struct tg_str text = tg_yaml_text(item);

        if (tg_yaml_kind(item) != TG_YAML_SCALAR) {
            return wrong_kind(l, item, where, k);
        }
        if (!tg_str_is_printable(text, TG_CLIENT_MAX_BYTES) ||
            (k->form != NULL && k->form(text) != 0)) {
            return wrong_value(l, item, where, k);
        }
        if (store_text(l, items, i * sizeof(char *), text) != 0) {
            return -1;
        }
    }
    return 0;
}

/* {name: text}. Values are shown to nobody: a secret may have got there. */
static int read_pairs(const struct loader *l, const struct tg_yaml_node *n,
                      const struct tg_config_key *k, const char *where, void *target)
{
    void *items;

    if (tg_yaml_kind(n) != TG_YAML_MAPPING) {
        return wrong_kind(l, n, where, k);
    }
    if (check_count(l, n, k, where) != 0 ||
        make_items(l, k, tg_yaml_count(n), sizeof(struct tg_config_pair), target, &items) != 0) {
        return -1;
    }
    for (size_t i = 0; i < tg_yaml_count(n); i++) {
        const struct tg_yaml_node *value = tg_yaml_value(n, i);
        struct tg_config_pair *pair = items != NULL ? (struct tg_config_pair *)items + i : NULL;
        struct tg_str name = tg_yaml_key(n, i);
        struct tg_str text = tg_yaml_text(value);

        if (tg_yaml_kind(value) != TG_YAML_SCALAR || text.len > TG_SCRIPT_OPTION_MAX_BYTES ||
            memchr(text.data, '\0', text.len) != NULL ||
            !tg_str_is_printable(name, TG_SOURCE_NAME_MAX_BYTES)) {
            return tg_error_set(l->err,
                                "%s:%u: `%s` has a name of over %d bytes, or a value that is no "
                                "text of at most %d; accepted: %s",
                                l->path, tg_yaml_key_line(n, i), where, TG_SOURCE_NAME_MAX_BYTES,
                                TG_SCRIPT_OPTION_MAX_BYTES, k->accepted);
        }
        if (store_text(l, pair, offsetof(struct tg_config_pair, name), name) != 0 ||
            store_text(l, pair, offsetof(struct tg_config_pair, value), text) != 0) {
            return -1;
        }
    }
    return 0;
}

static int read_list(const struct loader *l, const struct tg_yaml_node *n,
                     const struct tg_config_key *k, const char *where, void *target)
{
    void *items;

    if (tg_yaml_kind(n) != TG_YAML_SEQUENCE) {
        return wrong_kind(l, n, where, k);
    }
    if (check_count(l, n, k, where) != 0 ||
        make_items(l, k, tg_yaml_count(n), k->item_bytes, target, &items) != 0) {
        return -1;
    }
    for (size_t i = 0; i < tg_yaml_count(n); i++) {
        char here[WHERE_BYTES];

        set_where(here, "%s[%zu]", where, i);
        if (read_table(l, tg_yaml_item(n, i), k->table, here, at(items, i * k->item_bytes)) != 0) {
            return -1;
        }
    }
    return 0;
}

static int read_named(const struct loader *l, const struct tg_yaml_node *n,
                      const struct tg_config_key *k, const char *where, void *target)
{
    void *items;

    if (tg_yaml_kind(n) != TG_YAML_MAPPING) {
        return wrong_kind(l, n, where, k);
    }
    if (check_count(l, n, k, where) != 0 ||
        make_items(l, k, tg_yaml_count(n), k->item_bytes, target, &items) != 0) {
        return -1;
    }
    for (size_t i = 0; i < tg_yaml_count(n); i++) {
        struct tg_str name = tg_yaml_key(n, i);
        const struct tg_yaml_node *value = tg_yaml_value(n, i);
        void *item = at(items, i * k->item_bytes);
        char here[WHERE_BYTES];

        if (!tg_str_is_name(name, TG_SOURCE_NAME_MAX_BYTES)) {
            return tg_error_set(l->err, "%s:%u: `%s` has a name that is not accepted; accepted: %s",
                                l->path, tg_yaml_key_line(n, i), where, k->accepted);
        }
        set_where(here, "%s.%.*s", where, (int)name.len, (const char *)name.data);
        if (store_text(l, item, k->name_offset, name) != 0 ||
            read_table(l, value, k->table, here, item) != 0) {
            return -1;
        }
    }
    return 0;
}

/* ---- one mapping by its table ---- */

static int apply_fallback(const struct loader *l, const struct tg_config_key *k, void *target)
{
    int64_t number;

    if (k->fallback == NULL || at(target, k->offset) == NULL) {
        return 0;
    }
    if (k->kind == TG_CONFIG_NUMBER) {
        unsigned *slot = at(target, k->offset);

        if (!tg_str_to_i64(tg_str_of(k->fallback), &number)) {
            return tg_error_set(l->err, "the default of `%s` is not a number", k->name);
        }
        *slot = (unsigned)number;
        return 0;
    }
    if (k->kind == TG_CONFIG_TIME) {
        return time_of(tg_str_of(k->fallback), at(target, k->offset)) == 0
                   ? 0
                   : tg_error_set(l->err, "the default of `%s` is not a time", k->name);
    }
    return store_text(l, target, k->offset, tg_str_of(k->fallback));
}

static int apply_absent(const struct loader *l, const struct tg_yaml_node *n,
                        const struct tg_config_key *k, const char *here, void *target)
{
    if (k->required) {
        return complain(l, n, here, "is missing", k);
    }
    if (k->kind != TG_CONFIG_MAPPING) {
        return apply_fallback(l, k, target);
    }
    for (size_t i = 0; i < k->table->count; i++) {
        if (apply_fallback(l, &k->table->keys[i], at(target, k->offset)) != 0) {
            return -1;
        }
    }
    return 0;
}

static int read_value(const struct loader *l, const struct tg_yaml_node *n,
                      const struct tg_config_key *k, const char *here, void *target)
{
    switch (k->kind) {
    case TG_CONFIG_MAPPING:
        if (tg_yaml_kind(n) != TG_YAML_MAPPING) {
            return wrong_kind(l, n, here, k);
        }
        return read_table(l, n, k->table, here, at(target, k->offset));
    case TG_CONFIG_NAMED:
        return read_named(l, n, k, here, target);
    case TG_CONFIG_LIST:
        return read_list(l, n, k, here, target);
    case TG_CONFIG_TEXTS:
        return read_texts(l, n, k, here, target);
    case TG_CONFIG_PAIRS:
        return read_pairs(l, n, k, here, target);
    default:
        return read_scalar(l, n, k, here, target);
    }
}

/* Calls itself through read_value, as deep as the tables are, whatever the file holds. */
static int read_table(const struct loader *l, const struct tg_yaml_node *n,
                      const struct tg_config_table *t, const char *where, void *target)
{
    const char *accepted[TG_CONFIG_TABLE_KEYS_MAX + 1];

    for (size_t i = 0; i < t->count; i++) {
        accepted[i] = t->keys[i].name;
    }
    accepted[t->count] = NULL;
    if (tg_yaml_check_keys(l->doc, n, accepted, l->err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < t->count; i++) {
        const struct tg_config_key *k = &t->keys[i];
        const struct tg_yaml_node *value = tg_yaml_get(n, k->name);
        char here[WHERE_BYTES];

        set_where(here, "%s%s%s", where, where[0] != '\0' ? "." : "", k->name);
        if (value == NULL ? apply_absent(l, n, k, here, target) != 0
                          : read_value(l, value, k, here, target) != 0) {
            return -1;
        }
    }
    return 0;
}

/* ---- what no single key can say ---- */

static int finish_source(const struct loader *l, const struct tg_yaml_node *n,
                         struct tg_config_source *s)
{
    char hook[TG_SOURCE_NAME_MAX_BYTES + 8];

    s->decoder_line = tg_yaml_line(tg_yaml_get(n, "decoder"));
    if (s->uri == NULL && store_text(l, &s->uri, 0, tg_str_of(s->name)) != 0) {
        return -1;
    }
    if (s->client_count > 0) {
        return 0;
    }
    s->clients = calloc(1, sizeof(char *));
    if (s->clients == NULL) {
        return out_of_memory(l);
    }
    s->client_count = 1;
    snprintf(hook, sizeof(hook), "hook:%s", s->name);
    return store_text(l, s->clients, 0, tg_str_of(hook));
}

static bool share_a_client(const struct tg_config_source *a, const struct tg_config_source *b)
{
    for (size_t i = 0; i < a->client_count; i++) {
        for (size_t k = 0; k < b->client_count; k++) {
            if (strcmp(a->clients[i], b->clients[k]) == 0) {
                return true;
            }
        }
    }
    return false;
}

/* Two sources with one uri and one client: an event could be either's. */
static int check_sources(const struct loader *l, const struct tg_yaml_node *sources,
                         const struct tg_config_tenant *t)
{
    for (size_t i = 1; i < t->source_count; i++) {
        for (size_t k = 0; k < i; k++) {
            const struct tg_config_source *a = &t->sources[k];
            const struct tg_config_source *b = &t->sources[i];

            if (strcmp(a->uri, b->uri) == 0 && share_a_client(a, b)) {
                return tg_error_set(l->err,
                                    "%s:%u: sources `%s` and `%s` of tenant `%s` take the same "
                                    "uri from the same client; accepted: a uri or a client that "
                                    "tells them apart",
                                    l->path, tg_yaml_key_line(sources, i), a->name, b->name, t->id);
            }
        }
    }
    return 0;
}

static int check_file(const struct loader *l, const struct tg_yaml_node *n,
                      const struct tg_config_destination *d)
{
    if (d->path == NULL) {
        return tg_yaml_error(l->doc, n, l->err,
                             "destination `%s` has no `path`; accepted: the path of a directory",
                             d->name);
    }
    if (d->url != NULL) {
        return tg_yaml_error(l->doc, tg_yaml_get(n, "url"), l->err,
                             "`url` has no meaning for connector %s; accepted: a `path`",
                             d->connector);
    }
    return 0;
}

/* Whether there is such a script is seen when the rules are read. */
static int check_scripted(const struct loader *l, const struct tg_yaml_node *n,
                          const struct tg_config_destination *d)
{
    struct tg_error err;

    if (d->url == NULL) {
        return tg_yaml_error(l->doc, n, l->err,
                             "destination `%s` has no `url`, and `%s` is not among the connectors "
                             "that need none; accepted: %s, or a `url`",
                             d->name, d->connector, tg_connector_names());
    }
    if (d->path != NULL) {
        return tg_yaml_error(l->doc, tg_yaml_get(n, "path"), l->err,
                             "`path` has no meaning for connector %s; accepted: a `url`",
                             d->connector);
    }
    if ((d->cert_file == NULL) != (d->key_file == NULL)) {
        return tg_yaml_error(l->doc, tg_yaml_get(n, "tls"), l->err,
                             "`tls` has one of cert_file and key_file; accepted: both or none");
    }
    if (d->auth != NULL && tg_auth_check(d, d->auth, &err) != 0) {
        return tg_yaml_error(l->doc, tg_yaml_get(n, "auth"), l->err,
                             "destination `%s`: %.300s; accepted: it beside `auth`", d->name,
                             err.text);
    }
    return 0;
}

static int finish_destination(const struct loader *l, const struct tg_yaml_node *n,
                              const struct tg_config_tenant *t, struct tg_config_destination *d)
{
    size_t size = strlen(t->id) + strlen(d->name) + 2;

    if (tg_connector_find(d->connector) != NULL ? check_file(l, n, d) != 0
                                                : check_scripted(l, n, d) != 0) {
        return -1;
    }
    if (d->rate.capacity > 0) {
        d->rate.capacity = d->concurrency;
    }
    d->id = malloc(size);
    if (d->id == NULL) {
        return out_of_memory(l);
    }
    snprintf(d->id, size, "%s/%s", t->id, d->name);
    return 0;
}

static int finish_tenant(const struct loader *l, const struct tg_yaml_node *n, struct tg_config *c,
                         struct tg_config_tenant *t)
{
    const struct tg_yaml_node *sources = tg_yaml_get(n, "sources");
    const struct tg_yaml_node *destinations = tg_yaml_get(n, "destinations");

    for (size_t i = 0; i < t->source_count; i++) {
        if (finish_source(l, tg_yaml_value(sources, i), &t->sources[i]) != 0) {
            return -1;
        }
    }
    for (size_t i = 0; i < t->destination_count; i++) {
        t->destinations[i].index = (uint32_t)c->destination_count++;
        t->destinations[i].line = tg_yaml_key_line(destinations, i);
        if (finish_destination(l, tg_yaml_value(destinations, i), t, &t->destinations[i]) != 0) {
            return -1;
        }
    }
    return check_sources(l, sources, t);
}

struct seen {
    const char *id;
    const struct tg_yaml_node *node; /* of the id */
};

static int by_id_then_line(const void *left, const void *right)
{
    const struct seen *a = left, *b = right;
    int order = strcmp(a->id, b->id);
    unsigned line_a = tg_yaml_line(a->node), line_b = tg_yaml_line(b->node);

    return order != 0 ? order : (line_a > line_b) - (line_a < line_b);
}

static int check_tenants(const struct loader *l, const struct tg_yaml_node *tenants,
                         const struct tg_config *c)
{
    struct seen *seen;
    int rc = 0;

    if (c->tenant_count < 2) {
        return 0;
    }
    seen = calloc(c->tenant_count, sizeof(*seen));
    if (seen == NULL) {
        return out_of_memory(l);
    }
    for (size_t i = 0; i < c->tenant_count; i++) {
        seen[i].id = c->tenants[i].id;
        seen[i].node = tg_yaml_get(tg_yaml_item(tenants, i), "id");
    }
    qsort(seen, c->tenant_count, sizeof(*seen), by_id_then_line);
    for (size_t i = 1; rc == 0 && i < c->tenant_count; i++) {
        if (strcmp(seen[i - 1].id, seen[i].id) == 0) {
            rc = tg_yaml_error(l->doc, seen[i].node, l->err,
                               "tenant `%s` is already at line %u; accepted: each tenant once",
                               seen[i].id, tg_yaml_line(seen[i - 1].node));
        }
    }
    free(seen);
    return rc;
}

/* Two books in one directory would mix their lines. */
static int check_paths(const struct loader *l, const struct tg_yaml_node *tenants,
                       const struct tg_config *c)
{
    struct seen *seen = calloc(c->destination_count + 1, sizeof(*seen));
    size_t n = 0;
    int rc = 0;

    if (seen == NULL) {
        return out_of_memory(l);
    }
    for (size_t i = 0; i < c->tenant_count; i++) {
        const struct tg_yaml_node *list = tg_yaml_get(tg_yaml_item(tenants, i), "destinations");

        for (size_t k = 0; k < c->tenants[i].destination_count; k++) {
            if (c->tenants[i].destinations[k].path == NULL) {
                continue;
            }
            seen[n].id = c->tenants[i].destinations[k].path;
            seen[n++].node = tg_yaml_get(tg_yaml_value(list, k), "path");
        }
    }
    qsort(seen, n, sizeof(*seen), by_id_then_line);
    for (size_t i = 1; rc == 0 && i < n; i++) {
        if (strcmp(seen[i - 1].id, seen[i].id) == 0) {
            rc = tg_yaml_error(l->doc, seen[i].node, l->err,
                               "path `%s` is already at line %u; accepted: a directory of its own "
                               "for each destination",
                               seen[i].id, tg_yaml_line(seen[i - 1].node));
        }
    }
    free(seen);
    return rc;
}

static int load(const struct loader *l, struct tg_config *c)
{
    const struct tg_yaml_node *root = tg_yaml_root(l->doc);
    const struct tg_yaml_node *tenants;

    if (store_text(l, &c->file, 0, tg_str_of(l->path)) != 0 ||
        read_table(l, root, &tg_config_root, "", c) != 0) {
        return -1;
    }
    if (tg_yaml_get(root, "alerts") != NULL &&
        tg_config_alerts_check(l->doc, tg_yaml_get(root, "alerts"), &c->alerts, l->err) != 0) {
        return -1;
    }
    tenants = tg_yaml_get(root, "tenants");
    for (size_t i = 0; i < c->tenant_count; i++) {
        if (finish_tenant(l, tg_yaml_item(tenants, i), c, &c->tenants[i]) != 0) {
            return -1;
        }
    }
    if (check_tenants(l, tenants, c) != 0 || check_paths(l, tenants, c) != 0) {
        return -1;
    }
    return tg_config_accounts(l->doc, tenants, c, l->err);
}

struct tg_config *tg_config_load(const char *path, struct tg_error *err)
{
    struct tg_yaml *doc = tg_yaml_load(path, err);
    struct loader l = {path, doc, err};
    struct tg_config *c;

    if (doc == NULL) {
        return NULL;
    }
    c = calloc(1, sizeof(*c));
    if (c == NULL) {
        out_of_memory(&l);
    } else if (load(&l, c) != 0) {
        tg_config_free(c);
        c = NULL;
    }
    tg_yaml_free(doc);
    return c;
}
