/*
 * probe.h: would every destination that has a script open? Asks the scripts with the options that
 * are configured and looks at addresses, credentials and certificate files. Nothing is sent.
 */
#ifndef TG_CMD_PROBE_H
#define TG_CMD_PROBE_H

#include "core/config.h"
#include "rules/rules.h"

typedef void (*tg_probe_fn)(void *arg, const char *text);

/* Calls fn for each thing that is wrong. How many destinations were looked at, or -1 with err. */
int tg_probe(const struct tg_config *c, struct tg_bundle *bundle, tg_probe_fn fn, void *arg,
             struct tg_error *err);

#endif
