/*
 * reload.h: what a running server may swap: the rule bundle and the tenants' master data, loaded
 * whole or not at all. Loading touches nothing that runs, so it may happen on another thread.
 *
 * Ownership: tg_loaded_clear ends what was loaded and not taken (a taken pointer is set to NULL).
 */
#ifndef TG_CMD_RELOAD_H
#define TG_CMD_RELOAD_H

#include "core/config.h"
#include "rules/rules.h"

struct tg_loaded {
    struct tg_bundle *bundle;
    struct tg_master **masters; /* one a tenant, in the configuration's order */
    size_t master_count;
};

/*
 * What the configuration names must be in the bundle (agree.h), and its fixtures must pass, on the
 * very files that were loaded. 0, or -1 with the first thing that is wrong; out is then empty. The
 * same at the start and at a reload, so that no restart takes what a reload refused.
 */
int tg_loaded_load(const struct tg_config *c, struct tg_loaded *out, struct tg_error *err);
void tg_loaded_clear(struct tg_loaded *l);

#endif
