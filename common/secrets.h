/*
 * secrets.h: webhook secrets by name, read from a file.
 *
 * A table for many tenants has lines `TENANT SOURCE SECRET` (name "TENANT/SOURCE"); a table for one
 * name has one secret a line. `#` starts a comment line. SECRET is `whsec_` and base64 (Standard
 * Webhooks), 24 to 64 bytes decoded. Several lines of one name are all valid: rotation.
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

struct tg_secret_list {
    const struct tg_secret *items;
    size_t count;
    bool known; /* false: the decoy of an unknown name, of the same cost to check */
};

struct tg_secrets;

/* only_name empty: lines of three fields. Errors name the line number, never the content. */
struct tg_secrets *tg_secrets_parse(struct tg_str text, struct tg_str only_name,
                                    struct tg_error *err);
void tg_secrets_free(struct tg_secrets *table);

/* Never fails: an unknown name gets a random decoy list, so that refusing takes the same time. */
struct tg_secret_list tg_secrets_find(const struct tg_secrets *table, struct tg_str name);

size_t tg_secrets_count(const struct tg_secrets *table); /* names */

#endif
