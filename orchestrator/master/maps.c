/*
 * maps.c: a source's project map: what that system calls a piece of work, and our project and task.
 *
 *   issues:                                  projects:
 *     - {key: "10012", project: P-1, task: T-1}     - {key: WEB, project: P-1, task: T-2}
 *
 * A list of rows, not a mapping: a firm has many issues.
 */
#include <string.h>

#include "master/snapshot.h"
#include "master/yaml.h"

static const char *const lists[] = {"issues", "projects", NULL};
static const char *const row_keys[] = {"key", "project", "task", NULL};

struct reader {
    const struct tg_yaml *doc;
    struct tg_error *err;
};

static struct tg_str text_of(const struct reader *r, const struct tg_yaml_node *row,
                             const char *name)
{
    const struct tg_yaml_node *n = tg_yaml_get(row, name);
    struct tg_str text = {NULL, 0};

    if (n == NULL) {
        (void)tg_yaml_error(r->doc, row, r->err, "`%s` is missing", name);
    } else if (!tg_str_is_printable(tg_yaml_text(n), TG_CE_ATTRIBUTE_MAX_BYTES)) {
        (void)tg_yaml_error(r->doc, n, r->err, "`%s` must be 1 to %d printable characters", name,
                            TG_CE_ATTRIBUTE_MAX_BYTES);
    } else {
        text = tg_yaml_text(n);
    }
    return text;
}

static int read_row(const struct reader *r, const struct tg_yaml_node *row, json_t *out)
{
    struct tg_str key, project, task;
    json_t *v;

    if (tg_yaml_check_keys(r->doc, row, row_keys, r->err) != 0) {
        return -1;
    }
    key = text_of(r, row, "key");
    project = key.len > 0 ? text_of(r, row, "project") : key;
    task = project.len > 0 ? text_of(r, row, "task") : project;
    if (task.len == 0) {
        return -1;
    }
    if (json_object_getn(out, (const char *)key.data, key.len) != NULL) {
        return tg_yaml_error(r->doc, row, r->err, "`%.*s` has a row already", (int)key.len,
                             (const char *)key.data);
    }
    v = json_pack("{s:s%, s:s%}", "project", project.data, project.len, "task", task.data,
                  task.len);
    if (v == NULL || json_object_setn_new(out, (const char *)key.data, key.len, v) != 0) {
        return tg_yaml_error(r->doc, row, r->err, "out of memory");
    }
    return 0;
}

static int read_list(const struct reader *r, const struct tg_yaml_node *root, const char *name,
                     json_t *map)
{
    const struct tg_yaml_node *list = tg_yaml_get(root, name);
    json_t *rows = json_object();

    if (rows == NULL || json_object_set_new(map, name, rows) != 0) {
        return tg_yaml_error(r->doc, root, r->err, "out of memory");
    }
    if (list == NULL) {
        return 0;
    }
    if (tg_yaml_kind(list) != TG_YAML_SEQUENCE || tg_yaml_count(list) > TG_MAP_ROWS_MAX) {
        return tg_yaml_error(r->doc, list, r->err,
                             "`%s` must be a list of at most %d rows {key, project, task}", name,
                             TG_MAP_ROWS_MAX);
    }
    for (size_t i = 0; i < tg_yaml_count(list); i++) {
        if (read_row(r, tg_yaml_item(list, i), rows) != 0) {
            return -1;
        }
    }
    return 0;
}

static int read_lists(const struct tg_yaml *doc, json_t *map, struct tg_error *err)
{
    const struct reader r = {doc, err};
    const struct tg_yaml_node *root = tg_yaml_root(doc);
    int rc = tg_yaml_check_keys(doc, root, lists, err);

    for (size_t i = 0; rc == 0 && lists[i] != NULL; i++) {
        rc = read_list(&r, root, lists[i], map);
    }
    return rc;
}

static json_t *read_map(const char *path, struct tg_error *err)
{
    struct tg_yaml *doc = tg_yaml_load(path, err);
    json_t *map = doc != NULL ? json_object() : NULL;

    if (doc != NULL && map == NULL) {
        (void)tg_error_set(err, "%s: out of memory", path);
    }
    if (map != NULL && read_lists(doc, map, err) != 0) {
        json_decref(map);
        map = NULL;
    }
    tg_yaml_free(doc);
    return map;
}

int tg_maps_load(const struct tg_master_map_file *files, size_t count, json_t **out,
                 struct tg_error *err)
{
    json_t *maps = json_object();

    if (maps == NULL) {
        return tg_error_set(err, "project maps: out of memory");
    }
    for (size_t i = 0; i < count; i++) {
        json_t *map = read_map(files[i].path, err);

        if (map == NULL || json_object_set_new(maps, files[i].source, map) != 0) {
            json_decref(maps);
            return -1;
        }
    }
    *out = maps;
    return 0;
}

const json_t *tg_master_mapped(const struct tg_master *m, struct tg_str source, struct tg_str list,
                               struct tg_str key)
{
    const json_t *map = json_object_getn(m->base->maps, (const char *)source.data, source.len);
    const json_t *rows = json_object_getn(map, (const char *)list.data, list.len);

    return json_object_getn(rows, (const char *)key.data, key.len);
}
