/*
 * maintenance.h: the `maintenance` list of a calendar, for this folder; master.h has its rows.
 *
 *   maintenance:
 *     - { destinations: [erp], from: "2026-11-28T22:00:00+01:00", to: "2026-11-29T04:00:00+01:00" }
 *     - { destinations: [erp, payroll], days: [sat, sun], from: "22:00", to: "02:00",
 *         timezone: "+01:00", reason: "backup of the ERP" }
 *
 * Ownership: the calendar owns the list; tg_maintenance_clear ends it.
 */
#ifndef TG_MASTER_MAINTENANCE_H
#define TG_MASTER_MAINTENANCE_H

#include "master/master.h"
#include "master/yaml.h"

struct tg_maintenance_list {
    struct tg_maintenance *items;
    size_t count;
};

/* 0, or -1 with "FILE:LINE: ..." and what is accepted. */
int tg_maintenance_read(const struct tg_yaml *doc, const struct tg_yaml_node *list,
                        struct tg_maintenance_list *out, struct tg_error *err);
void tg_maintenance_clear(struct tg_maintenance_list *list);

/* Every destination named is one of the tenant's. 0, or -1 with "FILE:LINE: ...". */
int tg_maintenance_check(const struct tg_maintenance_list *list, const struct tg_config_tenant *t,
                         struct tg_error *err);

#endif
