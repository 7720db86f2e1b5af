/*
 * secrets.h: webhook secrets by name, read from a file.
 *
 * A table for many tenants has lines `TENANT SOURCE SECRET` (name "TENANT/SOURCE"); a table for one
 * name has one secret a line. `#` starts a comment line. SECRET is `whsec_` and base64 (Standard
 * Webhooks), 24 to 64 bytes decoded, or `text:` and 16 to 64 characters that are the key as they
 * stand (what Jira and GitHub show). Several lines of one name are all valid: rotation.
 *
 * Every check of a table costs the same: as many HMACs as the name with the most secrets needs. The
 * names with fewer, and a name that is not there, are filled up with random decoys. So time tells
 * neither which names exist nor which of them is in rotation.
 *
 * Ownership: tg_secrets_parse makes a table, tg_secrets_free wipes and ends it.
 */
#ifndef TG_COMMON_SECRETS_H
#define TG_COMMON_SECRETS_H

#include "common/str.h"

struct tg_secret {
    unsigned char data[TG_SECRET_MAX_BYTES];
    size_t len;
};

/* Views into the table. */
struct tg_secret_list {
    const struct tg_secret *items;
    size_t count;                   /* 0 for an unknown name */
    const struct tg_secret *decoys; /* computed after the items, never a match */
    size_t decoy_count;             /* count + decoy_count is the same for every name, 1 at least */
    bool known;
};

struct tg_secrets;

/* only_name empty: lines of three fields. Errors name the line number, never the content. */
struct tg_secrets *tg_secrets_parse(struct tg_str text, struct tg_str only_name,
                                    struct tg_error *err);
void tg_secrets_free(struct tg_secrets *table);

/* Never fails: an unknown name gets decoys alone. */
struct tg_secret_list tg_secrets_find(const struct tg_secrets *table, struct tg_str name);

size_t tg_secrets_count(const struct tg_secrets *table); /* names */

#endif
