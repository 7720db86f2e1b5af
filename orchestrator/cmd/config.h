/*
 * config.h: tallygate.yaml -> struct tg_config.
 *
 * One table of keys a mapping is the truth: the loader, `tallygate check --keys` and the test of
 * docs/reference/configuration.md all read it. Every error is "FILE:LINE: what; accepted: ...".
 * Relative paths are kept as written: they are relative to the working directory of the process.
 *
 * Ownership: the caller owns the result and ends it with tg_config_free (core/config.h).
 */
#ifndef TG_CMD_CONFIG_H
#define TG_CMD_CONFIG_H

#include "core/config.h"

/* NULL with err. Nothing but the file itself is read: `tallygate check` looks at the rest. */
struct tg_config *tg_config_load(const char *path, struct tg_error *err);

/* One row of the key tables. All static. */
struct tg_config_key_doc {
    const char *path; /* "tenants[].sources.NAME.uri" */
    const char *kind; /* "text", "number", ... */
    bool required;
    const char *fallback; /* default as text; NULL: none */
    const char *accepted; /* what a value may be */
    const char *help;
};

typedef void (*tg_config_key_fn)(void *arg, const struct tg_config_key_doc *key);

/* Every key, in the order of the file. */
void tg_config_keys(tg_config_key_fn fn, void *arg);

#endif
