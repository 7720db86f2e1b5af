/*
 * snapshot.h: what the files of this folder share about a snapshot; not for other folders.
 *
 * A snapshot is JSON documents (the file; calendar and project maps, built from YAML), an index
 * into the first, and the calendar's spans with their days worked out.
 *
 * Ownership: tg_master owns all; spans borrow their JSON from `calendar`.
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

struct tg_master {
    atomic_uint references;
    char version[TG_MASTER_VERSION_MAX_BYTES];
    json_t *file;
    json_t *index; /* hash: "kind US source US key" -> row; assignments -> array of rows */
    json_t *maps;  /* source -> {"issues": {key: {"project","task"}}, "projects": {...}} */
    struct tg_calendar calendar;
};

/* path NULL: a calendar without any span. 0, or -1 with "FILE:LINE: ...". */
int tg_calendar_load(const char *path, struct tg_calendar *out, struct tg_error *err);
void tg_calendar_clear(struct tg_calendar *c);

/* 0, or -1 with "FILE:LINE: ...". */
int tg_maps_load(const struct tg_master_map_file *files, size_t count, json_t **out,
                 struct tg_error *err);

/* Every field, by the table of check.c. 0, or -1 with "FILE: /workers/3/id: ...". */
int tg_master_check_file(const char *path, const json_t *file, struct tg_error *err);

#endif
