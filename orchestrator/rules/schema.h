/*
 * schema.h: JSON Schema (draft 7, valijson) behind one C face; no C++ exception leaves it.
 *
 * conf/schemas/NAME.json: NAME is an event type (com.tallygate.time_entry.approved.v1), the name of
 * a file format (master), or canonical/KIND. Loaded whole at start. Immutable after load;
 * validation is safe on many threads. Strings under `pattern` are capped (std::regex recurses), see
 * schema.cc.
 *
 * Ownership: the set owns its schemas; documents are only read.
 */
#ifndef TG_RULES_SCHEMA_H
#define TG_RULES_SCHEMA_H

#include <jansson.h>

#ifdef __cplusplus
extern "C" {
#endif

#include "common/str.h"

struct tg_schemas;

struct tg_schemas *tg_schemas_load(const char *dir, struct tg_error *err);
void tg_schemas_free(struct tg_schemas *s);
bool tg_schemas_has(const struct tg_schemas *s, const char *name);

/* Called once for each breach: JSON pointer of the place, and a sentence. */
typedef void (*tg_schema_breach)(void *arg, const char *pointer, const char *message);

/* Number of breaches (0: valid), -1: no such schema, -2: out of memory or an internal error. */
int tg_schemas_check(const struct tg_schemas *s, const char *name, const json_t *doc,
                     tg_schema_breach fn, void *arg);

#ifdef __cplusplus
}
#endif
#endif
