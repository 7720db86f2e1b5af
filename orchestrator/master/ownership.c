/*
 * ownership.c: which source may set which attribute of which kind.
 *
 *   worker:
 *     employment: hr
 *     cost_center: finance
 *
 * An attribute that is not named is the master data file's alone; so is one that says `file`.
 */
#include <string.h>

#include "master/snapshot.h"
#include "master/yaml.h"

static const char *const kinds[] = {"worker", NULL};
static const char *const worker_attributes[] = {
    "name",     "legal_entity", "cost_center", "labor_category",
    "pay_code", "employment",   "aliases",     NULL};

struct reader {
    const struct tg_yaml *doc;
    const struct tg_master_files *files;
    struct tg_error *err;
};

static bool is_source(const struct tg_master_files *files, struct tg_str name)
{
    if (tg_str_equal_c(name, TG_OWNER_FILE) || files->sources == NULL) {
        return true;
    }
    for (size_t i = 0; i < files->source_count; i++) {
        if (tg_str_equal_c(name, files->sources[i])) {
            return true;
        }
    }
    return false;
}

static int read_owner(const struct reader *r, struct tg_str attribute,
                      const struct tg_yaml_node *node, json_t *out)
{
    struct tg_str owner = tg_yaml_text(node);

    if (!tg_str_is_name(owner, TG_SOURCE_NAME_MAX_BYTES) || !is_source(r->files, owner)) {
        return tg_yaml_error(r->doc, node, r->err,
                             "`%.*s` belongs to no source of this tenant; accepted: the name of "
                             "one of its sources, or " TG_OWNER_FILE,
                             (int)attribute.len, (const char *)attribute.data);
    }
    if (json_object_setn_new(out, (const char *)attribute.data, attribute.len,
                             json_stringn((const char *)owner.data, owner.len)) != 0) {
        return tg_yaml_error(r->doc, node, r->err, "out of memory");
    }
    return 0;
}

static int read_kind(const struct reader *r, const struct tg_yaml_node *node, json_t *out)
{
    if (tg_yaml_check_keys(r->doc, node, worker_attributes, r->err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < tg_yaml_count(node); i++) {
        if (read_owner(r, tg_yaml_key(node, i), tg_yaml_value(node, i), out) != 0) {
            return -1;
        }
    }
    return 0;
}

static int read_all(const struct reader *r, json_t *owners)
{
    const struct tg_yaml_node *root = tg_yaml_root(r->doc);

    if (tg_yaml_check_keys(r->doc, root, kinds, r->err) != 0) {
        return -1;
    }
    for (size_t i = 0; kinds[i] != NULL; i++) {
        const struct tg_yaml_node *node = tg_yaml_get(root, kinds[i]);
        json_t *of_kind = json_object();

        if (of_kind == NULL || json_object_set_new(owners, kinds[i], of_kind) != 0) {
            return tg_yaml_error(r->doc, root, r->err, "out of memory");
        }
        if (node != NULL && read_kind(r, node, of_kind) != 0) {
            return -1;
        }
    }
    return 0;
}

int tg_ownership_load(const struct tg_master_files *files, json_t **out, struct tg_error *err)
{
    struct tg_yaml *doc;
    json_t *owners = json_object();
    int rc = 0;

    if (owners == NULL) {
        return tg_error_set(err, "ownership: out of memory");
    }
    if (files->ownership != NULL) {
        doc = tg_yaml_load(files->ownership, err);
        rc = doc != NULL ? read_all(&(struct reader){doc, files, err}, owners) : -1;
        tg_yaml_free(doc);
    }
    if (rc != 0) {
        json_decref(owners);
        return -1;
    }
    *out = owners;
    return 0;
}

const char *tg_master_owner(const struct tg_master *m, const char *kind, const char *attribute)
{
    const json_t *of_kind = json_object_get(m->base->owners, kind);
    const char *owner = json_string_value(json_object_get(of_kind, attribute));

    return owner != NULL ? owner : TG_OWNER_FILE;
}
