/*
 * agree.h: do tallygate.yaml and the rules speak of the same things? A decoder that no file of the
 * bundle is, and a destination that no route plans for, are mistakes of the configuration: the
 * first makes an exception of every event of its source, the second drops what is owed there
 * without a word. `check` names them all; `serve` does not start with one, nor takes a reload.
 */
#ifndef TG_CMD_AGREE_H
#define TG_CMD_AGREE_H

#include "core/config.h"
#include "rules/rules.h"

/* text: "FILE:LINE: what is wrong; accepted: ...". */
typedef void (*tg_agree_fn)(void *arg, const char *text);

/* Calls fn for each disagreement. How many there are, or -1 with err: no memory. */
int tg_agree(const struct tg_config *c, const struct tg_rules *rules, tg_agree_fn fn, void *arg,
             struct tg_error *err);

#endif
