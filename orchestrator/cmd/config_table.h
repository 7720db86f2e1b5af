/*
 * config_table.h: the keys of tallygate.yaml as data. config.c reads a file by these tables;
 * nothing about a key (name, kind, default, limit, where it goes) is said anywhere else.
 *
 * Ownership: all static.
 */
#ifndef TG_CMD_CONFIG_TABLE_H
#define TG_CMD_CONFIG_TABLE_H

#include "common/str.h"

enum tg_config_kind {
    TG_CONFIG_TEXT,    /* char *: 1 to max bytes, no NUL byte */
    TG_CONFIG_NAME,    /* char *: [A-Za-z0-9._-], 1 to max bytes */
    TG_CONFIG_WORD,    /* char *: one of words */
    TG_CONFIG_NUMBER,  /* unsigned: min to max */
    TG_CONFIG_RATE,    /* struct tg_rate */
    TG_CONFIG_TIME,    /* int64_t of milliseconds, min to max: 500ms, 30s, 5m, 24h, 7d; 0 */
    TG_CONFIG_MAPPING, /* struct at offset, by table */
    TG_CONFIG_NAMED,   /* mapping of free names: array and count, each item by table */
    TG_CONFIG_LIST,    /* sequence of mappings: array and count, each item by table */
    TG_CONFIG_TEXTS,   /* sequence of texts: char ** and count */
    TG_CONFIG_PAIRS    /* mapping of free names to texts: struct tg_config_pair * and count */
};

/* For offset: the value is checked and then not kept. */
#define TG_CONFIG_NOT_KEPT SIZE_MAX

struct tg_config_table;

struct tg_config_key {
    const char *name;
    enum tg_config_kind kind;
    bool required;
    const char *fallback; /* default, as text; NULL: none */
    const char *accepted; /* ends every complaint about this key */
    const char *help;     /* one sentence */
    size_t offset;        /* in the struct the table describes */
    int64_t min, max;     /* NUMBER, TIME: value; TEXT, NAME: max bytes; collections: items */
    const char *const *words;
    const struct tg_config_table *table;
    size_t count_offset, item_bytes;
    size_t name_offset;              /* NAMED: char * of the item */
    int (*form)(struct tg_str text); /* TEXT, TEXTS: 0 when well formed, or -1; NULL: any text */
};

struct tg_config_table {
    const struct tg_config_key *keys;
    size_t count;
};

#define TG_CONFIG_TABLE_KEYS_MAX 48 /* keys of one table */

/* For the files that define tables. */
#define TG_CONFIG_PATH_MAX_BYTES 1024
#define TABLE(list)                                                                                \
    {                                                                                              \
        (list), sizeof(list) / sizeof((list)[0])                                                   \
    }
#define TEXT_OF(n) #n
#define NUMBER_TEXT(n) TEXT_OF(n)

/* The root table, for struct tg_config, and that of `alerts`, for struct tg_config_alerts. */
extern const struct tg_config_table tg_config_root;
extern const struct tg_config_table tg_config_alerts;

struct tg_yaml;
struct tg_yaml_node;
struct tg_config_alerts;

/* What no single key of `alerts` can say. n: its mapping. 0, or -1 with err. */
int tg_config_alerts_check(const struct tg_yaml *doc, const struct tg_yaml_node *n,
                           const struct tg_config_alerts *a, struct tg_error *err);

#endif
