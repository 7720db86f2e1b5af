/*
 * catalogue.h: conf/catalogue.yaml, the one list of violation and exception codes: code, title,
 * owner (master-data, finance, integration), runbook, and hold: whether a version is held, for a
 * time, when the rule names what would cure it. Immutable after load; shared by threads.
 */
#ifndef TG_MASTER_CATALOGUE_H
#define TG_MASTER_CATALOGUE_H

#include "common/str.h"

struct tg_catalogue;

struct tg_catalogue_entry {
    const char *code, *title, *owner, *runbook;
    bool hold;
};

struct tg_catalogue *tg_catalogue_load(const char *path, struct tg_error *err);
void tg_catalogue_free(struct tg_catalogue *c);
/* NULL when the code is not in the list. */
const struct tg_catalogue_entry *tg_catalogue_find(const struct tg_catalogue *c,
                                                   struct tg_str code);
size_t tg_catalogue_count(const struct tg_catalogue *c);
const struct tg_catalogue_entry *tg_catalogue_at(const struct tg_catalogue *c, size_t i);

#endif
