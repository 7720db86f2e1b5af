/*
 * What the files of a bundle say of themselves, so that a configuration can be held against them:
 * which decoders there are, and for which destinations the routes plan. A name that no rule knows
 * would otherwise be passed over in silence, and with it what is owed there.
 */
#include <stdlib.h>
#include <string.h>

#include "rules/internal.h"

#define EXTENSION ".lua"
#define ANY ".*" /* at the end of a declared name: whatever follows the dot */

bool tg_declares_destinations(const char *file)
{
    return strncmp(file, "route/", 6) == 0;
}

bool tg_json_lists(const json_t *list, const char *text)
{
    size_t i;
    json_t *item;

    json_array_foreach((json_t *)list, i, item)
    {
        if (json_is_string(item) && strcmp(json_string_value(item), text) == 0) {
            return true;
        }
    }
    return false;
}

/* The bytes of a declared name before its ".*", or all of them. */
static size_t stem_len(const char *declared)
{
    size_t len = strlen(declared), any = sizeof(ANY) - 1;

    return len > any && strcmp(declared + len - any, ANY) == 0 ? len - any : len;
}

static bool is_declarable(const char *text)
{
    struct tg_str name = tg_str_of(text);

    if (text != NULL) {
        name.len = stem_len(text);
    }
    return tg_str_is_name(name, TG_SOURCE_NAME_MAX_BYTES);
}

bool tg_rules_plan_for(const json_t *declared, const char *destination)
{
    size_t i;
    json_t *item;

    json_array_foreach((json_t *)declared, i, item)
    {
        const char *text = json_string_value(item);
        size_t stem = text != NULL ? stem_len(text) : 0;

        if (text == NULL || strncmp(destination, text, stem) != 0) {
            continue;
        }
        if (text[stem] == '\0' ? destination[stem] == '\0'
                               : destination[stem] == '.' && destination[stem + 1] != '\0') {
            return true;
        }
    }
    return false;
}

int tg_declares_take(struct tg_rules *r, const char *file, json_t *list, struct tg_error *err)
{
    size_t i;
    json_t *item;
    bool good = json_is_array(list) && json_array_size(list) > 0 &&
                json_array_size(list) <= TG_DESTINATIONS_PER_TENANT_MAX;

    json_array_foreach(list, i, item)
    {
        good = good && is_declarable(json_string_value(item));
    }
    if (!good) {
        return tg_error_set(
            err,
            "`destinations` must list the 1 to %d destinations that `plan` plans "
            "for, by name: destinations = {\"erp\", \"payroll\"}; NAME.* stands for all "
            "that begin with NAME and a dot",
            TG_DESTINATIONS_PER_TENANT_MAX);
    }
    if (r->declared == NULL) {
        r->declared = json_object();
    }
    return json_object_set(r->declared, file, list) == 0 ? 0 : tg_error_set(err, "out of memory");
}

bool tg_declares_has(const struct tg_rules *r, const char *file, const char *destination)
{
    return tg_rules_plan_for(json_object_get(r->declared, file), destination);
}

static int by_text(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

/* Sorted; the texts live on in `from`, a list of texts. */
static json_t *sorted(json_t *from)
{
    size_t n = json_array_size(from);
    const char **names = calloc(n + 1, sizeof(*names));
    json_t *out;

    if (names == NULL) {
        json_decref(from);
        return NULL;
    }
    out = json_array();
    for (size_t i = 0; i < n; i++) {
        names[i] = json_string_value(json_array_get(from, i));
    }
    if (n > 0) {
        qsort(names, n, sizeof(*names), by_text);
    }
    for (size_t i = 0; out != NULL && i < n; i++) {
        if (json_array_append_new(out, json_string(names[i])) != 0) {
            json_decref(out);
            out = NULL;
        }
    }
    free(names);
    json_decref(from);
    return out;
}

json_t *tg_rules_destinations(const struct tg_rules *r)
{
    json_t *all = json_array();
    const char *file;
    json_t *list, *item;
    size_t i;

    json_object_foreach(r->declared, file, list)
    {
        json_array_foreach(list, i, item)
        {
            if (all != NULL && !tg_json_lists(all, json_string_value(item)) &&
                json_array_append(all, item) != 0) {
                json_decref(all);
                all = NULL;
            }
        }
    }
    return all != NULL ? sorted(all) : NULL;
}

json_t *tg_bundle_decoders(const struct tg_bundle *b)
{
    static const char folder[] = "sources/";
    json_t *all = json_array();

    for (size_t i = 0; all != NULL && i < b->count; i++) {
        const char *name = b->files[i].name;
        size_t stem = strlen(name) - strlen(EXTENSION);

        if (strncmp(name, folder, sizeof(folder) - 1) == 0 &&
            json_array_append_new(
                all, json_stringn(name + sizeof(folder) - 1, stem - (sizeof(folder) - 1))) != 0) {
            json_decref(all);
            all = NULL;
        }
    }
    return all != NULL ? sorted(all) : NULL;
}
