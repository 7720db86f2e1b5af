/*
 * pipeline.h: from an event's data to a verdict: schema -> canonical -> master data -> rules ->
 * postings. Posting (intake) and validation (API) run this very function; nothing is stored here.
 *
 * Ownership: the result owns its JSON; tg_pipeline_clear ends it.
 */
#ifndef TG_RULES_PIPELINE_H
#define TG_RULES_PIPELINE_H

#include "core/config.h"
#include "master/catalogue.h"
#include "rules/rules.h"
#include "rules/schema.h"

struct tg_pipeline {
    struct tg_rules *rules; /* this thread's */
    const struct tg_schemas *schemas;
    const struct tg_catalogue *catalogue;
};

struct tg_pipeline_input {
    const char *type;      /* event type: picks the schema */
    const json_t *data;    /* the CloudEvent's data, or one item of a validate call */
    const json_t *headers; /* object; may be NULL */
    const struct tg_config_tenant *tenant;
    const struct tg_config_source *source;
    struct tg_master *master;
    int64_t received_ms;
};

struct tg_pipeline_result {
    json_t *object; /* canonical, NULL when it never became one */
    /* array of {code, field, message, owner}, and waits_for where the rule names what would cure it
     * and the catalogue says that such a thing is held; empty: valid. Never NULL */
    json_t *violations;
    json_t *postings; /* array as tg_rules_plan; empty unless valid, and for a withdrawal */
    bool withdrawn;   /* the object says that it is no more (member `withdrawn`) */
    json_t *change;   /* of master data (master/change.h), which owes no postings; else NULL */
    char object_kind[TG_SOURCE_NAME_MAX_BYTES + 1];
    char object_id[TG_CE_ATTRIBUTE_MAX_BYTES + 1];
    int64_t object_version;
};

/*
 * An object with the member `withdrawn` is checked against canonical/withdrawal and goes to no
 * rule. All violations at once; schema breaches stop before the rules, since rules may trust the
 * schema. Codes not in the catalogue become `rule_fault`. A rule that errs, loops or eats memory
 * gives the violation `rule_fault` owned by integration: never a crash, never a silent pass. An
 * event type without a schema gives `event_type_unknown`; a decoder that does not return exactly
 * one object gives `rule_fault`. 0, or -1: out of memory.
 */
int tg_pipeline_run(const struct tg_pipeline *p, const struct tg_pipeline_input *in,
                    struct tg_pipeline_result *out);
void tg_pipeline_clear(struct tg_pipeline_result *r);

/*
 * What the reversal of a posting carries (route/KIND.lua `reversal`): in->data and in->type are not
 * looked at. posting: {destination, kind, leg, period, payload}. JSON as tg_rules_reversal gives
 * it; a rule that fails, or a code the catalogue does not have, gives {code: rule_fault, field,
 * message}. NULL: out of memory.
 */
json_t *tg_pipeline_reversal(const struct tg_pipeline *p, const struct tg_pipeline_input *in,
                             const char *kind, const json_t *posting);

#endif
