/*
 * rules.h: the Lua bundle in its sandbox (design section 6).
 *
 * A bundle is a folder: sources/NAME.lua decode(headers, body, master, ctx), validate/KIND.lua
 * check(object, master, ctx), route/KIND.lua plan(object, master, ctx). It is read whole and
 * hashed; each thread makes its own tg_rules (one Lua state) of the same bundle. No io, os, load,
 * require outside the bundle, no Lua patterns; `re` (PCRE2 with limits), `decimal`; instruction and
 * memory caps with an error that pcall cannot swallow. Functions get copies and must be pure.
 *
 * Ownership: tg_bundle is reference counted and immutable; tg_rules belongs to one thread; JSON
 * results belong to the caller (json_decref).
 */
#ifndef TG_RULES_RULES_H
#define TG_RULES_RULES_H

#include <jansson.h>

#include "common/str.h"
#include "master/master.h"

struct tg_bundle;
struct tg_rules;

struct tg_bundle *tg_bundle_load(const char *path, struct tg_error *err);
struct tg_bundle *tg_bundle_ref(struct tg_bundle *b);
void tg_bundle_unref(struct tg_bundle *b);
const char *tg_bundle_sha256(const struct tg_bundle *b); /* 64 hex digits */
/* Names of the files in sources/, sorted: what a source's `decoder` may be. NULL: no memory. */
json_t *tg_bundle_decoders(const struct tg_bundle *b);

struct tg_rules *tg_rules_new(struct tg_bundle *b, struct tg_error *err); /* takes a reference */
void tg_rules_free(struct tg_rules *r);
const struct tg_bundle *tg_rules_bundle(const struct tg_rules *r);
/* Names of the destinations some route plans for, sorted, once each; "erp.*" stands for all that
 * begin with "erp.". NULL: no memory. */
json_t *tg_rules_destinations(const struct tg_rules *r);
/* Is a destination one of such names? */
bool tg_rules_plan_for(const json_t *declared, const char *destination);

struct tg_rules_ctx {
    const char *tenant;
    const char *source;         /* configured name, "psa" */
    const char *today;          /* YYYY-MM-DD, from the event's received_at: rules have no clock */
    const json_t *destinations; /* array of destination names of the tenant */
    const json_t *change;       /* of master data (master/change.h); NULL: the object is none */
};

/*
 * sources/NAME.lua decode(headers, body, master, ctx): array of canonical objects, each with
 * "kind"; or of violations as below, when the event cannot become one.
 */
json_t *tg_rules_decode(struct tg_rules *r, const char *decoder, const json_t *headers,
                        const json_t *body, struct tg_master *m, const struct tg_rules_ctx *ctx,
                        struct tg_error *err);

/* validate/KIND.lua: array of {code, field, message, owner}; empty: valid. */
json_t *tg_rules_check(struct tg_rules *r, const json_t *object, struct tg_master *m,
                       const struct tg_rules_ctx *ctx, struct tg_error *err);

/*
 * route/KIND.lua: array of {destination, kind, leg, period, quantity, payload}; quantity is a
 * decimal string (hours, for control totals). The destination is one of the tenant's, and one that
 * the file declares in its `destinations`.
 */
json_t *tg_rules_plan(struct tg_rules *r, const json_t *object, struct tg_master *m,
                      const struct tg_rules_ctx *ctx, struct tg_error *err);

/*
 * route/KIND.lua: reversal(posting, master, ctx), which a rule file need not have. posting is
 * {destination, kind, leg, period, payload} as it was planned. {period, payload}: what the reversal
 * carries; {code, field, message}: why it cannot be; JSON null: as it was.
 */
json_t *tg_rules_reversal(struct tg_rules *r, const char *kind, const json_t *posting,
                          struct tg_master *m, const struct tg_rules_ctx *ctx,
                          struct tg_error *err);

/* Runs every NAME.fixtures/ *.json of the bundle. Calls fn for each; returns the failed count, or
 * -1 when the bundle itself cannot run. */
typedef void (*tg_fixture_result)(void *arg, const char *file, bool passed, const char *message);
int tg_rules_test(const char *path, tg_fixture_result fn, void *arg, struct tg_error *err);

#endif
