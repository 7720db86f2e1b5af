/*
 * snapshot.h: what the files of this folder share about a snapshot; not for other folders.
 *
 * A base is what the files say: JSON documents (the file; calendar, project maps and ownership,
 * built from YAML), an index into the first, and the calendar's spans with their days worked out. A
 * snapshot is a base with what events said over it. Both are counted: snapshots share their base.
 *
 * Ownership: tg_master_base owns all it points to; spans borrow their JSON from `calendar`.
 */
#ifndef TG_MASTER_SNAPSHOT_H
#define TG_MASTER_SNAPSHOT_H

#include <jansson.h>
#include <stdatomic.h>

#include "common/str.h"
#include "master/maintenance.h"
#include "master/master.h"

/* A dated piece of the calendar; both days belong to it. */
struct tg_span {
    int32_t from, to;
    const char *legal_entity; /* NULL: every entity */
    const json_t *json;
};

struct tg_spans {
    struct tg_span *items; /* sorted by from */
    size_t count;
};

struct tg_calendar {
    json_t *json; /* {"periods":[...],"pay_cycles":[...]} */
    struct tg_spans periods, pay_cycles;
    const char *closed_periods;             /* static: what is owed for a day of a closed period */
    struct tg_maintenance_list maintenance; /* not in json: it decides nothing about an object */
};

struct tg_master_base {
    atomic_uint references;
    char version[TG_MASTER_VERSION_MAX_BYTES];
    json_t *file;
    json_t *index;  /* hash: "kind US source US key" -> row; assignments -> array of rows */
    json_t *maps;   /* source -> {"issues": {key: {"project","task"}}, "projects": {...}} */
    json_t *owners; /* kind -> {attribute: source} */
    struct tg_calendar calendar;
};

struct tg_master {
    atomic_uint references;
    char version[TG_MASTER_VERSION_MAX_BYTES];
    struct tg_master_base *base;
    /* As index, but to the list [{"from": day, "row": {...}}] by day; null: no longer. NULL: none
     */
    json_t *overlay;
};

/* The key of an index. */
struct tg_index_key {
    char text[2 * TG_CE_ATTRIBUTE_MAX_BYTES + TG_SOURCE_NAME_MAX_BYTES + 4];
    size_t len;
};
/* False when it is longer than any key of the index: unknown then. */
bool tg_index_key_make(struct tg_index_key *k, struct tg_str kind, struct tg_str source,
                       struct tg_str key);

/* A snapshot of the same base with nothing over it. NULL: out of memory. */
struct tg_master *tg_master_bare(const struct tg_master *m);

/* path NULL: a calendar without any span. 0, or -1 with "FILE:LINE: ...". */
int tg_calendar_load(const char *path, struct tg_calendar *out, struct tg_error *err);
void tg_calendar_clear(struct tg_calendar *c);

/* 0, or -1 with "FILE:LINE: ...". */
int tg_maps_load(const struct tg_master_map_file *files, size_t count, json_t **out,
                 struct tg_error *err);

int tg_ownership_load(const struct tg_master_files *files, json_t **out, struct tg_error *err);

/* Every field, by the table of check.c. 0, or -1 with "FILE: /workers/3/id: ...". */
int tg_master_check_file(const char *path, const json_t *file, struct tg_error *err);

#endif
