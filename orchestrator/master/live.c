#include "master/live.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/codec.h"
#include "master/snapshot.h"

#define NO_DAY INT32_MIN
#define ALIASES "aliases"

/*
 * records: kind -> name -> {attribute: [{"from", "value", "source", "version"}] by day}. An alias
 * is an attribute of its own, "aliases/SOURCE".
 */
struct tg_live {
    struct tg_master *current;
    json_t *records;
    int64_t last; /* row of the newest change */
    bool *changed;
    json_t *arrived; /* names; NULL: none */
};

static const char *const dated[] = {"legal_entity", "cost_center", "labor_category", "pay_code"};
static const char *const required[] = {"name",           "legal_entity", "cost_center",
                                       "labor_category", "pay_code",     "employment"};

static int no_memory(struct tg_error *err)
{
    return tg_error_set(err, "master data: out of memory");
}

static bool is_dated(const char *attribute)
{
    for (size_t i = 0; i < sizeof(dated) / sizeof(dated[0]); i++) {
        if (strcmp(dated[i], attribute) == 0) {
            return true;
        }
    }
    return false;
}

static const char *text(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static int32_t day_of(const json_t *entry)
{
    return (int32_t)json_integer_value(json_object_get(entry, "from"));
}

/* ---- records ---- */

/* An array or object inside another, made when it is not there; borrowed. */
static json_t *inside(json_t *object, const char *key, json_t *(*make)(void))
{
    json_t *v = json_object_get(object, key);

    if (v == NULL && json_object_set_new(object, key, make()) == 0) {
        v = json_object_get(object, key);
    }
    return v;
}

/* Does a change say more than the entry of the same day? */
static bool wins(const struct tg_master_change *c, const json_t *entry)
{
    const char *source = text(entry, "source");

    return source == NULL || strcmp(source, c->source) != 0 ||
           c->version >= json_integer_value(json_object_get(entry, "version"));
}

static int put_entry(json_t *entries, int32_t day, const struct tg_master_change *c,
                     const json_t *value)
{
    json_t *entry = json_pack("{s:i, s:O, s:s, s:I}", "from", (int)day, "value", value, "source",
                              c->source, "version", (json_int_t)c->version);
    size_t at = 0;

    if (entry == NULL) {
        return -1;
    }
    while (at < json_array_size(entries) && day_of(json_array_get(entries, at)) < day) {
        at++;
    }
    if (at == json_array_size(entries) || day_of(json_array_get(entries, at)) > day) {
        return json_array_insert_new(entries, at, entry);
    }
    if (!wins(c, json_array_get(entries, at))) {
        json_decref(entry);
        return 0;
    }
    return json_array_set_new(entries, at, entry);
}

static int put_attribute(json_t *record, const char *attribute, int32_t day,
                         const struct tg_master_change *c, const json_t *value)
{
    json_t *entries = inside(record, attribute, json_array);

    return entries != NULL ? put_entry(entries, is_dated(attribute) ? day : NO_DAY, c, value) : -1;
}

static int put_aliases(json_t *record, const struct tg_master_change *c, const json_t *aliases)
{
    const char *source;
    json_t *alias;

    json_object_foreach((json_t *)aliases, source, alias)
    {
        char attribute[sizeof(ALIASES) + 1 + TG_SOURCE_NAME_MAX_BYTES];

        (void)snprintf(attribute, sizeof(attribute), ALIASES "/%.64s", source);
        if (put_attribute(record, attribute, NO_DAY, c, alias) != 0) {
            return -1;
        }
    }
    return 0;
}

static int put_change(json_t *record, int32_t day, const struct tg_master_change *c)
{
    const char *attribute;
    json_t *value;

    json_object_foreach((json_t *)c->attributes, attribute, value)
    {
        if (strcmp(attribute, ALIASES) == 0
                ? put_aliases(record, c, value) != 0
                : put_attribute(record, attribute, day, c, value) != 0) {
            return -1;
        }
    }
    return 0;
}

/* ---- from a record to rows ---- */

static int set_value(json_t *row, const char *attribute, json_t *value)
{
    const size_t prefix = sizeof(ALIASES); /* with the slash */
    json_t *aliases;

    if (strncmp(attribute, ALIASES "/", prefix) != 0) {
        return json_object_set(row, attribute, value);
    }
    aliases = json_object_get(row, ALIASES);
    if (json_is_null(value)) {
        (void)json_object_del(aliases, attribute + prefix);
        return 0;
    }
    return json_object_set(aliases, attribute + prefix, value);
}

static bool is_complete(const json_t *row)
{
    for (size_t i = 0; i < sizeof(required) / sizeof(required[0]); i++) {
        if (json_object_get(row, required[i]) == NULL) {
            return false;
        }
    }
    return true;
}

/* The file's row, or a new one, with what is said of every day. NULL: out of memory. */
static json_t *first_of(const json_t *in_file, const char *name, const json_t *record)
{
    json_t *row = in_file != NULL ? json_copy((json_t *)in_file) : json_pack("{s:s}", "id", name);
    json_t *aliases = json_object_get(in_file, ALIASES);
    const char *attribute;
    json_t *entries;
    int rc;

    aliases = aliases != NULL ? json_copy(aliases) : json_object(); /* the file's stays as it is */
    rc = json_object_set_new(row, ALIASES, aliases);
    json_object_foreach((json_t *)record, attribute, entries)
    {
        if (rc == 0 && !is_dated(attribute)) {
            rc = set_value(row, attribute, json_object_get(json_array_get(entries, 0), "value"));
        }
    }
    if (rc != 0) {
        json_decref(row);
        return NULL;
    }
    return row;
}

/* Where the walk over the days is in each dated attribute. */
struct walk {
    const json_t *record;
    size_t at[sizeof(dated) / sizeof(dated[0])];
};

static json_t *next_entry(const struct walk *w, size_t attribute)
{
    return json_array_get(json_object_get(w->record, dated[attribute]), w->at[attribute]);
}

/* The next day on which something changes; false: there is none. */
static bool next_day(const struct walk *w, int32_t *day)
{
    bool found = false;

    for (size_t i = 0; i < sizeof(dated) / sizeof(dated[0]); i++) {
        const json_t *entry = next_entry(w, i);

        if (entry != NULL && (!found || day_of(entry) < *day)) {
            *day = day_of(entry);
            found = true;
        }
    }
    return found;
}

/* The row of the day before, with what changes on that day. NULL: out of memory. */
static json_t *row_on_day(struct walk *w, const json_t *before, int32_t day)
{
    json_t *row = json_copy((json_t *)before);

    for (size_t i = 0; i < sizeof(dated) / sizeof(dated[0]); i++) {
        const json_t *entry = next_entry(w, i);

        if (entry == NULL || day_of(entry) != day) {
            continue;
        }
        w->at[i]++;
        if (json_object_set(row, dated[i], json_object_get(entry, "value")) != 0) {
            json_decref(row);
            return NULL;
        }
    }
    return row;
}

static int add_span(json_t *spans, int32_t day, json_t *row)
{
    if (!is_complete(row)) {
        return 0;
    }
    return json_array_append_new(spans, json_pack("{s:i, s:O}", "from", (int)day, "row", row));
}

/* [{"from", "row"}] by day, complete rows only. NULL: out of memory. */
static json_t *spans_of(const json_t *in_file, const char *name, const json_t *record)
{
    struct walk w = {.record = record};
    json_t *spans = json_array(), *row = first_of(in_file, name, record);
    int32_t day = NO_DAY;
    int rc = row != NULL ? add_span(spans, day, row) : -1;

    while (rc == 0 && next_day(&w, &day)) {
        json_t *next = row_on_day(&w, row, day);

        json_decref(row);
        row = next;
        rc = row != NULL ? add_span(spans, day, row) : -1;
    }
    json_decref(row);
    if (rc != 0) {
        json_decref(spans);
        return NULL;
    }
    return spans;
}

/* ---- the overlay ---- */

static const json_t *first_row(const json_t *spans)
{
    return json_object_get(json_array_get(spans, 0), "row");
}

/* Whose key is it now? */
static bool is_of(const struct tg_master *m, const struct tg_index_key *k, const char *name)
{
    const json_t *spans = json_object_getn(m->overlay, k->text, k->len);
    const json_t *row =
        spans != NULL ? first_row(spans) : json_object_getn(m->base->index, k->text, k->len);
    const char *id = text(row, "id");

    return id != NULL && strcmp(id, name) == 0;
}

/*
 * Aliases are the same on every day. Those of `row` lead to spans; with NULL they lead nowhere, but
 * for those that another thing has taken over.
 */
static int set_aliases(struct tg_master *m, const char *kind, const char *name, const json_t *row,
                       json_t *spans)
{
    const char *source;
    json_t *alias;

    json_object_foreach(json_object_get(row, ALIASES), source, alias)
    {
        struct tg_index_key k;

        if (!tg_index_key_make(&k, tg_str_of(kind), tg_str_of(source),
                               tg_str_of(json_string_value(alias)))) {
            continue; /* longer than any key that could be asked for */
        }
        if ((spans != NULL || is_of(m, &k, name)) &&
            json_object_setn_nocheck(m->overlay, k.text, k.len,
                                     spans != NULL ? spans : json_null()) != 0) {
            return -1;
        }
    }
    return 0;
}

/* Lays one record over the snapshot's base. */
static int lay(struct tg_master *m, const char *kind, const char *name, const json_t *record)
{
    struct tg_index_key k;
    const json_t *in_file;
    json_t *spans;
    int rc;

    if (!tg_index_key_make(&k, tg_str_of(kind), tg_str_of(NULL), tg_str_of(name))) {
        return 0;
    }
    in_file = json_object_getn(m->base->index, k.text, k.len);
    spans = spans_of(in_file, name, record);
    if (spans == NULL) {
        return -1;
    }
    rc = set_aliases(m, kind, name, in_file, NULL);
    if (rc == 0) {
        const json_t *before = json_object_getn(m->overlay, k.text, k.len);

        rc = set_aliases(m, kind, name, first_row(before), NULL);
    }
    if (rc == 0 && json_array_size(spans) > 0) {
        rc = set_aliases(m, kind, name, first_row(spans), spans) == 0
                 ? json_object_setn_nocheck(m->overlay, k.text, k.len, spans)
                 : -1;
    }
    json_decref(spans);
    return rc;
}

static void name_version(struct tg_live *l, struct tg_master *m)
{
    (void)snprintf(m->version, sizeof(m->version), "%.74s+m%" PRId64, m->base->version, l->last);
}

/* A snapshot that nobody else has: the one in hand, or a copy of it. NULL: out of memory. */
static struct tg_master *own_copy(struct tg_live *l)
{
    struct tg_master *m = l->current;

    if (atomic_load_explicit(&m->references, memory_order_acquire) == 1) {
        if (m->overlay == NULL) {
            m->overlay = json_object();
        }
        return m->overlay != NULL ? tg_master_ref(m) : NULL;
    }
    m = tg_master_bare(l->current);
    if (m != NULL) {
        m->overlay = l->current->overlay != NULL ? json_copy(l->current->overlay) : json_object();
    }
    if (m != NULL && m->overlay == NULL) {
        tg_master_unref(m);
        return NULL;
    }
    return m;
}

static void take(struct tg_live *l, struct tg_master *m)
{
    tg_master_unref(l->current);
    l->current = m;
}

/* ---- what came ---- */

static int note_name(struct tg_live *l, const char *kind, const char *name)
{
    json_t *text = json_sprintf("%s:%s", kind, name);

    if (l->arrived == NULL) {
        l->arrived = json_array();
    }
    return json_array_append_new(l->arrived, text);
}

static int note_arrived(struct tg_live *l, const struct tg_master_change *c)
{
    const char *source;
    json_t *alias;

    if (note_name(l, c->kind, c->name) != 0) {
        return -1;
    }
    json_object_foreach(json_object_get(c->attributes, ALIASES), source, alias)
    {
        if (json_is_string(alias) && note_name(l, c->kind, json_string_value(alias)) != 0) {
            return -1;
        }
    }
    return 0;
}

/* ---- the face ---- */

struct tg_live *tg_live_new(struct tg_master *base, bool *changed)
{
    struct tg_live *l = calloc(1, sizeof(*l));

    if (l == NULL) {
        return NULL;
    }
    l->records = json_object();
    if (l->records == NULL) {
        free(l);
        return NULL;
    }
    l->current = tg_master_ref(base);
    l->changed = changed;
    return l;
}

void tg_live_free(struct tg_live *l)
{
    if (l != NULL) {
        json_decref(l->records);
        json_decref(l->arrived);
        tg_master_unref(l->current);
        free(l);
    }
}

int tg_live_rebase(struct tg_live *l, struct tg_master *base)
{
    struct tg_master *m = tg_master_bare(base);
    const char *kind, *name;
    json_t *of_kind, *record;

    if (m == NULL) {
        return -1;
    }
    if (l->last != 0) {
        m->overlay = json_object();
        name_version(l, m);
    }
    json_object_foreach(l->records, kind, of_kind)
    {
        json_object_foreach(of_kind, name, record)
        {
            if (m->overlay == NULL || lay(m, kind, name, record) != 0) {
                tg_master_unref(m);
                return -1;
            }
        }
    }
    take(l, m);
    *l->changed = true;
    return 0;
}

int tg_live_apply(struct tg_live *l, const struct tg_master_change *c, struct tg_error *err)
{
    json_t *of_kind = inside(l->records, c->kind, json_object);
    json_t *record = of_kind != NULL ? inside(of_kind, c->name, json_object) : NULL;
    struct tg_master *m;
    int32_t day;

    if (record == NULL) {
        return no_memory(err);
    }
    if (tg_date_parse(tg_str_of(c->from), &day) != 0 || !json_is_object(c->attributes)) {
        return tg_error_set(err, "master data: row %" PRId64 " has no day, or no attributes",
                            c->id);
    }
    m = own_copy(l);
    if (m == NULL) {
        return no_memory(err);
    }
    if (put_change(record, day, c) != 0 || lay(m, c->kind, c->name, record) != 0 ||
        note_arrived(l, c) != 0) {
        tg_master_unref(m);
        return no_memory(err);
    }
    l->last = c->id > l->last ? c->id : l->last;
    *l->changed = true;
    name_version(l, m);
    take(l, m);
    return 0;
}

json_t *tg_live_take_arrived(struct tg_live *l)
{
    json_t *names = l->arrived;

    l->arrived = NULL;
    return names;
}

struct tg_master *tg_live_current(const struct tg_live *l)
{
    return l->current;
}
