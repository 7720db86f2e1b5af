/*
 * live.h: a tenant's master data as it changes: what the files say, with what events said over it.
 *
 * Each change (a row of the journal's master table) sets attributes of one thing from a day on.
 * What holds on a day is, attribute by attribute, the change with the latest day not after it; of
 * several with that day the one with the highest version. Name, employment and aliases have no day
 * of their own (employment is a list of dated spans): there the highest version holds. So the order
 * in which changes arrive does not matter, and an old one never undoes a newer one. Versions of two
 * sources cannot be compared: between them, which only happens when an attribute changes hands, the
 * change that came last holds.
 *
 * A row that lacks an attribute every row must have is not shown.
 *
 * Ownership: a tg_live belongs to the loop. Snapshots are immutable once someone else holds a
 * reference; until then a change may go into the one in hand, so that many changes cost one copy.
 */
#ifndef TG_MASTER_LIVE_H
#define TG_MASTER_LIVE_H

#include "master/master.h"

struct tg_live;

struct tg_master_change {
    int64_t id; /* row of the journal's master table */
    const char *kind, *name, *source;
    int64_t version;
    const char *from;         /* YYYY-MM-DD */
    const json_t *attributes; /* of the kind, as conf/schemas/master.json; aliases: null ends one */
};

/* Takes a reference of the base. *changed becomes true with each change. NULL: out of memory. */
struct tg_live *tg_live_new(struct tg_master *base, bool *changed);
void tg_live_free(struct tg_live *l); /* NULL is fine */

/* Other files: all changes are laid over them. 0; -1: out of memory, nothing has changed. */
int tg_live_rebase(struct tg_live *l, struct tg_master *base);

/* 0, or -1 with err: out of memory, or a row no version of this program writes. */
int tg_live_apply(struct tg_live *l, const struct tg_master_change *c, struct tg_error *err);

/*
 * What came since the last call, as rules name what they wait for: the list ["worker:W-041",
 * "worker:u-41"], each name and alias of a change once. The caller owns it; NULL: nothing came.
 */
json_t *tg_live_take_arrived(struct tg_live *l);

/* Borrowed, until the next call that changes l; take a reference to keep or share it. */
struct tg_master *tg_live_current(const struct tg_live *l);

#endif
