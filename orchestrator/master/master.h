/*
 * master.h: the master data of one tenant as an immutable snapshot: workers, projects with tasks,
 * assignments, labor categories, cost centers, the calendar of periods and pay cycles, and what
 * sources call a piece of work (project maps).
 *
 * Loaded whole from a JSON file (and the YAML files beside it) or not at all; a change makes a new
 * snapshot. What events have said since (live.h) lies over the file: such a row has its values from
 * a day on, so look-ups may name the day. Readers hold a reference; the last release frees (atomic
 * count). All look-ups are by hash, effective-dated by a day, and return borrowed JSON valid while
 * the reference is held.
 *
 * File: { "version": "...", "workers": [...], "projects": [...], "assignments": [...],
 *         "labor_categories": [...], "cost_centers": [...], "legal_entities": [...] }
 * See conf/schemas/master.json for every field; a file that breaks it is refused with JSON pointer.
 */
#ifndef TG_MASTER_MASTER_H
#define TG_MASTER_MASTER_H

#include <jansson.h>

#include "common/str.h"
#include "core/config.h"
#include "core/window.h"

struct tg_master;

struct tg_master_map_file {
    const char *source, *path;
};

struct tg_master_files {
    const char *master;
    const char *calendar;  /* NULL: no periods, no pay cycles */
    const char *ownership; /* NULL: the file owns everything */
    const struct tg_master_map_file *maps;
    size_t map_count;
    const char *const *sources; /* who may own an attribute; NULL: anyone */
    size_t source_count;
};

/* The owner of what no source owns. */
#define TG_OWNER_FILE "file"

struct tg_master *tg_master_load(const struct tg_master_files *files, struct tg_error *err);
/* The files that tallygate.yaml names for the tenant; they agree with what it says there. */
struct tg_master *tg_master_load_tenant(const struct tg_config_tenant *t, struct tg_error *err);
struct tg_master *tg_master_ref(struct tg_master *m);
void tg_master_unref(struct tg_master *m); /* NULL is fine */

/* "version" of the file, "+", first 8 hex digits of SHA-256 over all files, and "+m57" when events
 * up to row 57 of the journal's master table lie over them: recorded on every object, since all of
 * them decide. */
const char *tg_master_version(const struct tg_master *m);

/*
 * kind: worker, project, labor_category, cost_center, legal_entity. key is the canonical id, or,
 * with source not empty, only what that source calls it ("aliases": {"psa": "u-17"}). NULL:
 * unknown.
 */
const json_t *tg_master_find(const struct tg_master *m, struct tg_str kind, struct tg_str key,
                             struct tg_str source);
/* As it is on that day; tg_master_find gives the values of the latest day anything is said of. */
const json_t *tg_master_find_on(const struct tg_master *m, struct tg_str kind, struct tg_str key,
                                struct tg_str source, int32_t day);

/* The source that may set an attribute of a kind by events, or TG_OWNER_FILE. */
const char *tg_master_owner(const struct tg_master *m, const char *kind, const char *attribute);

/* Assignment in force on that day; NULL: none. */
const json_t *tg_master_assignment(const struct tg_master *m, struct tg_str worker,
                                   struct tg_str project, int32_t day);

/*
 * The accounting period / pay cycle that holds the day: {"id","from","to","state",...}; NULL: none.
 * One of the legal entity's own wins over one for every entity.
 */
const json_t *tg_master_period(const struct tg_master *m, struct tg_str legal_entity, int32_t day);
const json_t *tg_master_pay_cycle(const struct tg_master *m, struct tg_str legal_entity,
                                  int32_t day);

/*
 * What the project map of a source says of a key of its `issues` or `projects`:
 * {"project","task"}; NULL: nothing.
 */
const json_t *tg_master_mapped(const struct tg_master *m, struct tg_str source, struct tg_str list,
                               struct tg_str key);

/*
 * What the calendar says about a day whose period is closed: "exception" (a person decides), "hold"
 * (until it is open again) or "next_open" (booked in the next open period).
 */
const char *tg_master_closed_periods(const struct tg_master *m);

/* The first open accounting period that begins after the day; NULL: none. As tg_master_period, one
 * of the entity's own wins. */
const json_t *tg_master_next_open_period(const struct tg_master *m, struct tg_str legal_entity,
                                         int32_t day);

/*
 * May what was planned for the period or pay cycle `from` go to `to` instead? Both are of one kind
 * and legal entity, and `to` is open. False with why.
 */
bool tg_master_may_move(const struct tg_master *m, const char *from, const char *to,
                        struct tg_error *why);

/* When destinations are not to be used: the calendar's `maintenance`. The caller changes nothing.
 */
struct tg_maintenance {
    struct tg_window window;
    char **destinations; /* names, as in tallygate.yaml */
    size_t destination_count;
    char *reason;  /* NULL: none given */
    unsigned line; /* of the calendar */
};
const struct tg_maintenance *tg_master_maintenance(const struct tg_master *m, size_t *count);

/*
 * Is a dated list [{"from","to","state"}] in that state on the day? Missing to: open end. When
 * several entries hold the day, the one that began last says the state.
 */
bool tg_master_in_force(const json_t *dated_list, int32_t day, const char *state_or_null);

#endif
