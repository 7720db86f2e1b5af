#include "intake/decide.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/decimal.h"

#define OWNER_FALLBACK "integration"
#define CONFLICT "duplicate_version_conflict"

void tg_known_clear(struct tg_known *k)
{
    free(k->latest.json);
    free(k->same.json);
    free(k->live.json);
    free(k->exceptions);
    for (size_t i = 0; i < k->posting_count; i++) {
        free(k->postings[i].destination_id);
        free(k->postings[i].period);
        free(k->postings[i].payload);
        json_decref(k->postings[i].reversal);
    }
    free(k->postings);
    *k = (struct tg_known){0};
}

void tg_plan_clear(struct tg_plan *p)
{
    for (size_t i = 0; i < p->posting_count; i++) {
        free(p->postings[i].made);
    }
    free(p->change.attributes_text);
    free(p->change.refused_text);
    free(p->json);
    free(p->detail);
    *p = (struct tg_plan){.event_state = TG_EVENT_EXCEPTION};
}

static const char *owner_of(const struct tg_catalogue *c, const char *code)
{
    const struct tg_catalogue_entry *e = tg_catalogue_find(c, tg_str_of(code));

    return e != NULL ? e->owner : OWNER_FALLBACK;
}

/* The exception's code and owner; detail {"message"} and, if there are any, {"violations"}. */
static int open_exception(struct tg_plan *p, const struct tg_catalogue *c, const char *code,
                          const char *message, json_t *violations)
{
    json_t *doc = json_pack("{s:s}", "message", message);
    int rc = doc != NULL ? 0 : -1;

    if (rc == 0 && json_array_size(violations) != 0) {
        rc = json_object_set(doc, "violations", violations);
    }
    p->code = code;
    p->owner = owner_of(c, code);
    p->detail = rc == 0 ? json_dumps(doc, JSON_COMPACT) : NULL;
    json_decref(doc);
    return p->detail != NULL ? 0 : -1;
}

/* With the first violation's code, owner and message. */
static int open_violations(struct tg_plan *p, const struct tg_catalogue *c, json_t *violations)
{
    const json_t *first = json_array_get(violations, 0);
    const char *code = json_string_value(json_object_get(first, "code"));
    const char *owner = json_string_value(json_object_get(first, "owner"));
    const char *message = json_string_value(json_object_get(first, "message"));
    int rc;

    if (code == NULL || code[0] == '\0') {
        code = "rule_fault";
    }
    rc = open_exception(p, c, code, message != NULL ? message : code, violations);
    if (owner != NULL && owner[0] != '\0') {
        p->owner = owner;
    }
    return rc;
}

bool tg_decide_has_object(const struct tg_pipeline_result *p)
{
    return p->object != NULL && p->object_kind[0] != '\0' && p->object_id[0] != '\0' &&
           p->object_version > 0;
}

int tg_decide_object_key(const struct tg_reading *r, const struct tg_pipeline_result *p,
                         unsigned char out[TG_POSTING_KEY_BYTES])
{
    return tg_object_key(tg_str_of(r->event.tenant), tg_str_of(p->object_kind),
                         tg_str_of(r->source->name), tg_str_of(p->object_id), out);
}

/* ---- postings ---- */

static const struct tg_config_destination *find_destination(const struct tg_config_tenant *t,
                                                            const char *name)
{
    for (size_t i = 0; name != NULL && i < t->destination_count; i++) {
        if (strcmp(t->destinations[i].name, name) == 0) {
            return &t->destinations[i];
        }
    }
    return NULL;
}

static bool is_name(const char *s)
{
    return s != NULL && tg_str_is_name(tg_str_of(s), TG_SOURCE_NAME_MAX_BYTES);
}

static bool has_key(const struct tg_plan *p, const unsigned char key[TG_POSTING_KEY_BYTES])
{
    for (size_t i = 0; i < p->posting_count; i++) {
        if (memcmp(p->postings[i].key, key, TG_POSTING_KEY_BYTES) == 0) {
            return true;
        }
    }
    return false;
}

/* Behind what it must wait: the reversal planned just now, or a posting that is not over. */
static void hold_in_order(const struct tg_plan *p, const struct tg_known *k,
                          struct tg_plan_posting *to)
{
    for (size_t i = p->posting_count; i > 0; i--) {
        if (p->postings[i - 1].reverses != NULL &&
            p->postings[i - 1].destination == to->destination) {
            to->hold = TG_HOLD_ORDER;
            to->hold_on_planned = i - 1;
            return;
        }
    }
    for (size_t i = 0; i < k->posting_count; i++) {
        const struct tg_known_posting *e = &k->postings[i];

        if (e->destination == to->destination && !tg_posting_is_final(e->state) &&
            tg_known_correction(e) != TG_CORRECT_CANCEL) {
            to->hold = TG_HOLD_ORDER;
            to->hold_on = e->id;
        }
    }
}

/* 0, 1: the route planned something impossible (*why), -1: no memory. */
static int add_posting(struct tg_plan *p, const struct tg_config_tenant *tenant,
                       const struct tg_known *k, const json_t *from, const char **why)
{
    const struct tg_config_destination *destination =
        find_destination(tenant, json_string_value(json_object_get(from, "destination")));
    struct tg_plan_posting to = {
        .kind = json_string_value(json_object_get(from, "kind")),
        .leg = json_string_value(json_object_get(from, "leg")),
        .period = json_string_value(json_object_get(from, "period")),
    };
    const char *quantity = json_string_value(json_object_get(from, "quantity"));
    const json_t *payload = json_object_get(from, "payload");
    struct tg_decimal micros;

    *why = "the route planned a posting for a destination the tenant does not have";
    if (destination == NULL) {
        return 1;
    }
    *why = "the route planned a posting without a sound kind, leg, period, quantity or payload";
    if (!is_name(to.kind) || !is_name(to.leg) || !is_name(to.period) || quantity == NULL ||
        tg_decimal_parse(tg_str_of(quantity), &micros) != 0 || !json_is_object(payload)) {
        return 1;
    }
    if (tg_version_posting_key(tg_str_of(destination->id), p->object_key, p->version, to.kind,
                               to.leg, 1, to.key) != 0) {
        return -1;
    }
    *why = "the route planned the same posting twice";
    if (has_key(p, to.key)) {
        return 1;
    }
    to.destination = destination->index;
    to.quantity_micros = micros.micros;
    to.made = json_dumps(payload, JSON_COMPACT | JSON_SORT_KEYS);
    if (to.made == NULL) {
        return -1;
    }
    to.payload = to.made;
    hold_in_order(p, k, &to);
    p->postings[p->posting_count++] = to;
    return 0;
}

static void drop_postings(struct tg_plan *p)
{
    for (size_t i = 0; i < p->posting_count; i++) {
        free(p->postings[i].made);
    }
    p->posting_count = 0;
}

/* VALIDATED with its postings, or an exception when there is nowhere to go or the route is at
 * fault. */
static int plan_postings(struct tg_plan *p, const struct tg_reading *r, const struct tg_known *k,
                         const struct tg_pipeline_result *result, const struct tg_catalogue *c)
{
    size_t n = json_array_size(result->postings);
    const char *why = "the route planned more postings than one object may have";
    int rc = n > TG_POSTINGS_PER_OBJECT_MAX ? 1 : 0;

    if (n == 0) {
        return open_exception(p, c, "no_destination",
                              "no destination of this tenant takes this object", NULL);
    }
    for (size_t i = 0; i < n && rc == 0; i++) {
        rc = add_posting(p, r->tenant, k, json_array_get(result->postings, i), &why);
    }
    if (rc > 0) {
        return open_exception(p, c, "rule_fault", why, NULL);
    }
    p->object_state = TG_VERSION_VALIDATED;
    return rc;
}

/* ---- corrections ---- */

enum tg_correction tg_known_correction(const struct tg_known_posting *p)
{
    const struct tg_effect e = {.state = p->state,
                                .is_reversal = p->reverses != 0,
                                .is_reversed = p->is_reversed,
                                .unknown = p->unknown,
                                .released = p->let_go == TG_LET_GO_YES};

    return tg_correct(&e);
}

/* Must it be taken back? */
static bool stands(const struct tg_known_posting *e)
{
    const enum tg_correction c = tg_known_correction(e);

    return c == TG_CORRECT_REVERSE || c == TG_CORRECT_REVERSE_WHEN_POSTED;
}

static bool anything_stands(const struct tg_known *k)
{
    for (size_t i = 0; i < k->posting_count; i++) {
        if (stands(&k->postings[i])) {
            return true;
        }
    }
    return k->uncertain;
}

/* Why this effect cannot be taken back by itself: the code, and *message. NULL: it can. */
static const char *refusal(const struct tg_config_tenant *tenant, const struct tg_known_posting *e,
                           const char **message)
{
    const json_t *code = json_object_get(e->reversal, "code");

    if (tenant->corrections != NULL && strcmp(tenant->corrections, "review") == 0) {
        *message = "an earlier version was posted, or may have been, and this tenant has "
                   "corrections reviewed";
        return "correction_after_posting";
    }
    if (!e->reversible) {
        *message = "an earlier version was posted, or may have been, to a destination that takes "
                   "no reversals or is not configured";
        return "correction_after_posting";
    }
    *message = json_string_value(json_object_get(e->reversal, "message"));
    if (e->reversal == NULL) {
        *message = "the rules were not asked how to take back an earlier version";
        return "rule_fault";
    }
    return json_string_value(code);
}

/* *waits_for: what would cure it, if that is all there is. */
static const char *first_refusal(const struct tg_config_tenant *tenant, const struct tg_known *k,
                                 const char **message, const char **waits_for)
{
    if (k->uncertain) {
        *message = "the object has more versions or postings than a correction looks at";
        return "correction_after_posting";
    }
    for (size_t i = 0; i < k->posting_count; i++) {
        const struct tg_known_posting *e = &k->postings[i];
        const char *code = stands(e) ? refusal(tenant, e, message) : NULL;

        if (code != NULL) {
            *waits_for = json_string_value(json_object_get(e->reversal, "waits_for"));
            return code;
        }
    }
    return NULL;
}

static int add_reversal(struct tg_plan *p, const struct tg_known_posting *e)
{
    const json_t *payload = json_object_get(e->reversal, "payload");
    const char *period = json_string_value(json_object_get(e->reversal, "period"));
    struct tg_plan_posting to = {.destination = e->destination,
                                 .kind = e->kind,
                                 .leg = e->leg,
                                 .period = period != NULL ? period : e->period,
                                 .payload = e->payload,
                                 .quantity_micros = -e->quantity_micros,
                                 .reverses = e};

    if (payload != NULL) {
        to.made = json_dumps(payload, JSON_COMPACT | JSON_SORT_KEYS);
        to.payload = to.made;
    }
    if (to.payload == NULL ||
        tg_reversal_key(tg_str_of(e->destination_id), e->key, tg_str_of(e->kind), tg_str_of(e->leg),
                        1, to.key) != 0) {
        free(to.made);
        return -1;
    }
    if (tg_known_correction(e) == TG_CORRECT_REVERSE_WHEN_POSTED) {
        to.hold = TG_HOLD_REVERSAL;
        to.hold_on = e->id;
    }
    p->postings[p->posting_count++] = to;
    return 0;
}

static int plan_reversals(struct tg_plan *p, const struct tg_known *k)
{
    for (size_t i = 0; i < k->posting_count; i++) {
        if (stands(&k->postings[i]) && add_reversal(p, &k->postings[i]) != 0) {
            return -1;
        }
    }
    return 0;
}

/* ---- versions ---- */

static void end_version(struct tg_plan *p, const struct tg_known_version *v)
{
    if (v->id == 0 || v->state == TG_VERSION_SUPERSEDED || v->state == TG_VERSION_WITHDRAWN ||
        (p->supersede_count != 0 && p->supersede[0] == v->id)) {
        return;
    }
    p->supersede[p->supersede_count++] = v->id;
}

/* Step 4. */
static int same_version(struct tg_plan *p, const struct tg_known *k, const struct tg_catalogue *c)
{
    if (strcmp(k->same.json, p->json) == 0) {
        p->event_state = TG_EVENT_ACCEPTED;
        p->object_state = TG_VERSION_SUPERSEDED;
        return 0;
    }
    p->event_state = TG_EVENT_EXCEPTION;
    p->has_object = false;
    p->conflict = true;
    return open_exception(p, c, CONFLICT,
                          "this version of the object came before with other content", NULL);
}

/* What would cure all violations, one after the other; NULL: a person must. */
static const char *cure_of(const json_t *violations)
{
    const char *first = NULL;
    json_t *v;
    size_t i;

    json_array_foreach((json_t *)violations, i, v)
    {
        const char *name = json_string_value(json_object_get(v, "waits_for"));

        if (name == NULL) {
            return NULL;
        }
        first = first != NULL ? first : name;
    }
    return first;
}

/* Held instead of an exception, if it may be. */
static bool hold(struct tg_plan *p, const struct tg_reading *r, const struct tg_known *k,
                 const char *waits_for)
{
    if (waits_for == NULL || k->is_overdue || r->tenant->hold_timeout_ms <= 0) {
        return false;
    }
    p->waits_for = waits_for;
    p->object_state = TG_VERSION_HELD;
    return true;
}

/* Everything the version itself owes, or why it cannot be: then p->code or p->waits_for is set. */
static int plan_new(struct tg_plan *p, const struct tg_reading *r,
                    const struct tg_pipeline_result *result, const struct tg_known *k,
                    const struct tg_catalogue *c)
{
    const char *message = NULL, *waits_for = NULL;
    const char *code;

    if (json_array_size(result->violations) != 0) {
        return hold(p, r, k, cure_of(result->violations))
                   ? 0
                   : open_violations(p, c, result->violations);
    }
    code = first_refusal(r->tenant, k, &message, &waits_for);
    if (code != NULL && hold(p, r, k, waits_for)) {
        return 0;
    }
    if (code != NULL) {
        return open_exception(p, c, code, message != NULL ? message : code, NULL);
    }
    if (plan_reversals(p, k) != 0) {
        return -1;
    }
    if (result->withdrawn) {
        p->object_state = TG_VERSION_WITHDRAWN;
        return 0;
    }
    return plan_postings(p, r, k, result, c);
}

/* Steps 6 and 7. */
static int plan_newest(struct tg_plan *p, const struct tg_reading *r,
                       const struct tg_pipeline_result *result, const struct tg_known *k,
                       const struct tg_catalogue *c)
{
    if (plan_new(p, r, result, k, c) != 0) {
        return -1;
    }
    if (p->code != NULL) {
        drop_postings(p);
        p->object_state = TG_VERSION_EXCEPTION;
    }
    if ((p->code != NULL || p->waits_for != NULL) && anything_stands(k)) {
        if (k->latest.id != k->live.id) {
            end_version(p, &k->latest); /* an earlier correction that waits for a person as well */
        }
        return 0;
    }
    end_version(p, &k->live);
    end_version(p, &k->latest);
    p->correct = true;
    return 0;
}

/* ---- master data ---- */

static char *names_of(const json_t *object)
{
    json_t *names = json_array();
    const char *name;
    json_t *value;
    char *out = NULL;
    int rc = names != NULL ? 0 : -1;

    json_object_foreach((json_t *)object, name, value)
    {
        rc = rc == 0 ? json_array_append_new(names, json_string(name)) : rc;
    }
    if (rc == 0) {
        out = json_dumps(names, JSON_COMPACT);
    }
    json_decref(names);
    return out;
}

static int plan_change(struct tg_plan *p, const struct tg_pipeline_result *result,
                       const struct tg_known *k, const struct tg_catalogue *c)
{
    const bool newest = k->latest.id == 0 || result->object_version > k->latest.version;

    if (json_array_size(result->violations) != 0) {
        p->object_state = TG_VERSION_EXCEPTION;
        return open_violations(p, c, result->violations);
    }
    p->change.name = json_string_value(json_object_get(result->change, "name"));
    p->change.from = json_string_value(json_object_get(result->change, "from"));
    p->change.attributes = json_object_get(result->change, "attributes");
    p->change.attributes_text = json_dumps(p->change.attributes, JSON_COMPACT | JSON_SORT_KEYS);
    p->change.refused = json_object_size(json_object_get(result->change, "refused"));
    p->change.refused_text = names_of(json_object_get(result->change, "refused"));
    if (p->change.attributes_text == NULL || p->change.refused_text == NULL) {
        return -1;
    }
    p->object_state = newest ? TG_VERSION_VALIDATED : TG_VERSION_SUPERSEDED;
    if (newest) {
        end_version(p, &k->live);
        end_version(p, &k->latest);
    }
    return 0;
}

static int plan_object(struct tg_plan *p, const struct tg_reading *r,
                       const struct tg_pipeline_result *result, const struct tg_known *k,
                       const struct tg_catalogue *c)
{
    if (k->same.id != 0) {
        return same_version(p, k, c);
    }
    p->event_state = TG_EVENT_ACCEPTED;
    if (result->change != NULL) {
        return plan_change(p, result, k, c);
    }
    if (k->latest.id != 0 && result->object_version < k->latest.version) {
        p->object_state = TG_VERSION_SUPERSEDED;
        return 0;
    }
    return plan_newest(p, r, result, k, c);
}

int tg_decide(const struct tg_reading *r, const struct tg_pipeline_result *result,
              const struct tg_known *known, const struct tg_catalogue *catalogue,
              struct tg_plan *out)
{
    *out = (struct tg_plan){.event_state = TG_EVENT_EXCEPTION};
    if (known->identity_event != 0) {
        out->event_state = TG_EVENT_DUPLICATE;
        out->duplicate_of = known->identity_event;
        if (strcmp(known->identity_sha256, r->event.body_sha256) == 0) {
            return 0;
        }
        out->conflict = true;
        return open_exception(out, catalogue, CONFLICT,
                              "an event of this id came before with another body", NULL);
    }
    if (r->code != NULL) {
        return open_exception(out, catalogue, r->code, r->message, NULL);
    }
    if (result == NULL || !tg_decide_has_object(result)) {
        return open_violations(out, catalogue, result != NULL ? result->violations : NULL);
    }
    out->has_object = true;
    out->kind = result->object_kind;
    out->object_id = result->object_id;
    out->version = result->object_version;
    out->json = json_dumps(result->object, JSON_COMPACT | JSON_SORT_KEYS);
    if (out->json == NULL || tg_decide_object_key(r, result, out->object_key) != 0) {
        return -1;
    }
    return plan_object(out, r, result, known, catalogue);
}
