/*
 * config_keys.c: the key tables as text, for `tallygate check --keys` and the test of the docs.
 */
#include <stdio.h>

#include "cmd/config.h"
#include "cmd/config_table.h"

#define PATH_BYTES 256

static const char *kind_name(enum tg_config_kind kind)
{
    static const char *const names[] = {
        [TG_CONFIG_TEXT] = "text",       [TG_CONFIG_NAME] = "name",   [TG_CONFIG_WORD] = "word",
        [TG_CONFIG_NUMBER] = "number",   [TG_CONFIG_RATE] = "rate",   [TG_CONFIG_TIME] = "time",
        [TG_CONFIG_MAPPING] = "mapping", [TG_CONFIG_NAMED] = "named", [TG_CONFIG_LIST] = "list",
        [TG_CONFIG_TEXTS] = "texts",     [TG_CONFIG_PAIRS] = "pairs",
    };

    return names[kind];
}

/* As deep as the tables are. */
static void walk(const struct tg_config_table *t, const char *where, tg_config_key_fn fn, void *arg)
{
    for (size_t i = 0; i < t->count; i++) {
        const struct tg_config_key *k = &t->keys[i];
        char path[PATH_BYTES], below[PATH_BYTES + 8];
        struct tg_config_key_doc doc = {path,        kind_name(k->kind), k->required,
                                        k->fallback, k->accepted,        k->help};

        snprintf(path, sizeof(path), "%s%s", where, k->name);
        fn(arg, &doc);
        if (k->table != NULL) {
            snprintf(below, sizeof(below), "%s%s", path,
                     k->kind == TG_CONFIG_LIST    ? "[]."
                     : k->kind == TG_CONFIG_NAMED ? ".NAME."
                                                  : ".");
            walk(k->table, below, fn, arg);
        }
    }
}

void tg_config_keys(tg_config_key_fn fn, void *arg)
{
    walk(&tg_config_root, "", fn, arg);
}
