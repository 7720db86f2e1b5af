/*
 * change.h: what a source may change, and what would come of it. Pure.
 *
 * A change is JSON: {"name", "from", "attributes": what the source owns of what it said, "refused":
 * {attribute: its owner}, "row": the thing as it would be on the day `from`, "days": on how many
 * days it has changes already}.
 */
#ifndef TG_MASTER_CHANGE_H
#define TG_MASTER_CHANGE_H

#include "master/master.h"

/* Is this kind master data, which owes no postings? */
bool tg_change_is_kind(const char *kind);

/*
 * object: canonical, of such a kind, with its own name in the member of that name ("worker"),
 * "effective_from" and "attributes". The caller owns the result; NULL: out of memory.
 */
json_t *tg_change_make(const struct tg_master *m, const json_t *object, const char *source);

#endif
