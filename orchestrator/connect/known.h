/*
 * known.h: what a script learned from prepared requests, kept for one destination: at most
 * TG_SCRIPT_KNOWN_MAX values, each TG_SCRIPT_KNOWN_MS long; the oldest gives way. A cache: losing
 * it costs requests, never a posting.
 *
 * Ownership: it holds references to its values.
 */
#ifndef TG_CONNECT_KNOWN_H
#define TG_CONNECT_KNOWN_H

#include <jansson.h>

#include "common/limits.h"

struct tg_known_values;

struct tg_known_values *tg_known_new(void); /* NULL: no memory */
void tg_known_free(struct tg_known_values *k);

/* Borrowed; NULL: it is not known, or too old. */
json_t *tg_known_get(const struct tg_known_values *k, const char *name, uint64_t now_ms);

/* Without memory nothing is kept. */
void tg_known_put(struct tg_known_values *k, const char *name, json_t *value, uint64_t now_ms);
void tg_known_drop(struct tg_known_values *k, const char *name);

#endif
