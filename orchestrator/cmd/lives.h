/*
 * lives.h: the tenants' master data in `serve`: files, with the journal's rows over them. The loop
 * changes it; API threads see published snapshots.
 *
 * Ownership: tg_lives_clear ends all of them.
 */
#ifndef TG_CMD_LIVES_H
#define TG_CMD_LIVES_H

#include "api/api.h"
#include "core/config.h"
#include "intake/again.h"
#include "journal/journal.h"
#include "master/live.h"

struct tg_lives {
    struct tg_live **items; /* one a tenant, in the configuration's order */
    size_t count;
    bool changed; /* since the last publication */
};

/*
 * bases: what the files say, one a tenant; kept by reference. Reads every row of the journal's
 * master table. 0, or -1 with err; out is then empty.
 */
int tg_lives_open(const struct tg_config *c, struct tg_master *const *bases, struct tg_lives *out,
                  struct tg_error *err);
void tg_lives_clear(struct tg_lives *l);

/* Other files under the same rows. 0, or -1: out of memory, some tenants may have the new ones. */
int tg_lives_rebase(struct tg_lives *l, struct tg_master *const *bases, struct tg_error *err);

/* Gives the API threads what is current, if anything has changed. Takes the lock of shared. */
void tg_lives_publish(struct tg_lives *l, struct tg_api_shared *shared);

/* Tells intake what came, so that versions held for it are judged again. Not from inside intake. */
void tg_lives_arrived(struct tg_lives *l, const struct tg_config *c, struct tg_intake *intake);

#endif
