#include "master/change.h"

#include <string.h>

#include "common/codec.h"
#include "master/snapshot.h"

#define WORKER "worker"
#define ALIASES "aliases"

bool tg_change_is_kind(const char *kind)
{
    return strcmp(kind, WORKER) == 0;
}

static const char *text(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));

    return s != NULL ? s : "";
}

/* By the system of record of each attribute. */
static int split(const struct tg_master *m, const char *kind, const char *source,
                 const json_t *said, json_t *attributes, json_t *refused)
{
    const char *attribute;
    json_t *value;

    json_object_foreach((json_t *)said, attribute, value)
    {
        const char *owner = tg_master_owner(m, kind, attribute);
        int rc = strcmp(owner, source) == 0
                     ? json_object_set(attributes, attribute, value)
                     : json_object_set_new(refused, attribute, json_string(owner));

        if (rc != 0) {
            return -1;
        }
    }
    return 0;
}

/* null ends an alias. */
static int merge_aliases(json_t *row, const json_t *aliases)
{
    json_t *old = json_object_get(row, ALIASES);
    json_t *merged = old != NULL ? json_copy(old) : json_object();
    const char *source;
    json_t *alias;

    if (json_object_set_new(row, ALIASES, merged) != 0) {
        return -1;
    }
    json_object_foreach((json_t *)aliases, source, alias)
    {
        if (json_is_null(alias)) {
            (void)json_object_del(merged, source);
        } else if (json_object_set(merged, source, alias) != 0) {
            return -1;
        }
    }
    return 0;
}

/* The thing as it would be; a new one has its name and what was said. */
static json_t *row_after(const json_t *now, const char *name, const json_t *attributes)
{
    json_t *row = now != NULL ? json_copy((json_t *)now) : json_pack("{s:s}", "id", name);
    const char *attribute;
    json_t *value;
    int rc = row != NULL ? 0 : -1;

    json_object_foreach((json_t *)attributes, attribute, value)
    {
        if (rc == 0) {
            rc = strcmp(attribute, ALIASES) == 0 ? merge_aliases(row, value)
                                                 : json_object_set(row, attribute, value);
        }
    }
    if (rc != 0) {
        json_decref(row);
        return NULL;
    }
    return row;
}

static size_t days_of(const struct tg_master *m, const char *kind, const char *name)
{
    struct tg_index_key k;

    if (!tg_index_key_make(&k, tg_str_of(kind), tg_str_of(NULL), tg_str_of(name))) {
        return 0;
    }
    return json_array_size(json_object_getn(m->overlay, k.text, k.len));
}

json_t *tg_change_make(const struct tg_master *m, const json_t *object, const char *source)
{
    const char *kind = text(object, "kind"), *name = text(object, kind);
    const char *from = text(object, "effective_from");
    json_t *attributes = json_object(), *refused = json_object();
    json_t *change = NULL;
    int32_t day = INT32_MAX;

    if (attributes != NULL && refused != NULL &&
        split(m, kind, source, json_object_get(object, "attributes"), attributes, refused) == 0) {
        (void)tg_date_parse(tg_str_of(from), &day); /* the schema has seen to it */
        change = json_pack(
            "{s:s, s:s, s:O, s:O, s:o, s:I}", "name", name, "from", from, "attributes", attributes,
            "refused", refused, "row",
            row_after(tg_master_find_on(m, tg_str_of(kind), tg_str_of(name), tg_str_of(NULL), day),
                      name, attributes),
            "days", (json_int_t)days_of(m, kind, name));
    }
    json_decref(attributes);
    json_decref(refused);
    return change;
}
