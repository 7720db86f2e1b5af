/*
 * scripts.h: the connectors of a bundle (connectors/NAME.lua) for connect/script.h, in a Lua state
 * of their own.
 *
 * Ownership: tg_scripts_new gives one reference; who keeps a version takes another (ops->ref) and
 * gives it back (ops->unref). One thread.
 */
#ifndef TG_RULES_SCRIPTS_H
#define TG_RULES_SCRIPTS_H

#include "connect/script.h"
#include "rules/rules.h"

/* 0 and *out with a reference, or -1 with err. */
int tg_scripts_new(struct tg_bundle *b, struct tg_scripts *out, struct tg_error *err);
void tg_scripts_unref(struct tg_scripts *s); /* and clears it; an empty one is fine */

/* One call of connectors/NAME.lua as ops->call makes it, for fixtures. */
json_t *tg_rules_connector(struct tg_rules *r, const char *connector, const char *function,
                           const json_t *args, struct tg_error *err);

#endif
