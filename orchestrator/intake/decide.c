#include "intake/decide.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/codec.h"
#include "core/decimal.h"

#define SUBJECT_BYTES (2 * TG_POSTING_KEY_BYTES + 32)
#define OWNER_FALLBACK "integration"
#define CONFLICT "duplicate_version_conflict"

void tg_known_clear(struct tg_known *k)
{
    free(k->latest.json);
    free(k->same.json);
    free(k->live.json);
    free(k->exceptions);
    *k = (struct tg_known){0};
}

void tg_plan_clear(struct tg_plan *p)
{
    for (size_t i = 0; i < p->posting_count; i++) {
        free(p->postings[i].payload);
    }
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

/* Key: destination, object key @ version, kind, leg, generation 1. */
static int posting_key(const struct tg_plan *p, struct tg_plan_posting *to)
{
    char subject[SUBJECT_BYTES];

    tg_hex_encode(p->object_key, sizeof(p->object_key), subject);
    (void)snprintf(subject + 2 * TG_POSTING_KEY_BYTES, sizeof(subject) - 2 * TG_POSTING_KEY_BYTES,
                   "@%" PRId64, p->version);
    return tg_posting_key(tg_str_of(to->destination->id), tg_str_of(subject), tg_str_of(to->kind),
                          tg_str_of(to->leg), 1, to->key);
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

/* 0, 1: the route planned something impossible (*why), -1: no memory. */
static int add_posting(struct tg_plan *p, const struct tg_config_tenant *tenant, const json_t *from,
                       const char **why)
{
    struct tg_plan_posting to = {
        .destination =
            find_destination(tenant, json_string_value(json_object_get(from, "destination"))),
        .kind = json_string_value(json_object_get(from, "kind")),
        .leg = json_string_value(json_object_get(from, "leg")),
        .period = json_string_value(json_object_get(from, "period")),
    };
    const char *quantity = json_string_value(json_object_get(from, "quantity"));
    const json_t *payload = json_object_get(from, "payload");
    struct tg_decimal micros;

    *why = "the route planned a posting for a destination the tenant does not have";
    if (to.destination == NULL) {
        return 1;
    }
    *why = "the route planned a posting without a sound kind, leg, period, quantity or payload";
    if (!is_name(to.kind) || !is_name(to.leg) || !is_name(to.period) || quantity == NULL ||
        tg_decimal_parse(tg_str_of(quantity), &micros) != 0 || !json_is_object(payload)) {
        return 1;
    }
    if (posting_key(p, &to) != 0) {
        return -1;
    }
    *why = "the route planned the same posting twice";
    if (has_key(p, to.key)) {
        return 1;
    }
    to.quantity_micros = micros.micros;
    to.payload = json_dumps(payload, JSON_COMPACT | JSON_SORT_KEYS);
    if (to.payload == NULL) {
        return -1;
    }
    p->postings[p->posting_count++] = to;
    return 0;
}

static void drop_postings(struct tg_plan *p)
{
    for (size_t i = 0; i < p->posting_count; i++) {
        free(p->postings[i].payload);
    }
    p->posting_count = 0;
}

/* VALIDATED with its postings, or EXCEPTION when there is nowhere to go or the route is at fault.
 */
static int plan_postings(struct tg_plan *p, const struct tg_reading *r,
                         const struct tg_pipeline_result *result, const struct tg_catalogue *c)
{
    size_t n = json_array_size(result->postings);
    const char *why = "the route planned more postings than one object may have";
    int rc = n > TG_POSTINGS_PER_OBJECT_MAX ? 1 : 0;

    p->object_state = TG_VERSION_EXCEPTION;
    if (n == 0) {
        return open_exception(p, c, "no_destination",
                              "no destination of this tenant takes this object", NULL);
    }
    for (size_t i = 0; i < n && rc == 0; i++) {
        rc = add_posting(p, r->tenant, json_array_get(result->postings, i), &why);
    }
    if (rc < 0) {
        return -1;
    }
    if (rc > 0) {
        drop_postings(p);
        return open_exception(p, c, "rule_fault", why, NULL);
    }
    p->object_state = TG_VERSION_VALIDATED;
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

static bool all_unsent(const struct tg_known *k)
{
    if (k->uncertain) {
        return false;
    }
    for (size_t i = 0; i < k->posting_count; i++) {
        if (!k->postings[i].unsent) {
            return false;
        }
    }
    return true;
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

/* Step 6: what is posted is corrected by a person; nothing of it is touched here. */
static int correction(struct tg_plan *p, const struct tg_known *k,
                      const struct tg_pipeline_result *result, const struct tg_catalogue *c)
{
    p->object_state = TG_VERSION_EXCEPTION;
    if (k->latest.id != k->live.id) {
        end_version(p, &k->latest); /* an earlier correction that waits for a person as well */
    }
    if (json_array_size(result->violations) != 0) {
        return open_violations(p, c, result->violations);
    }
    return open_exception(p, c, "correction_after_posting",
                          "an earlier version was posted, or may have been", NULL);
}

static int plan_object(struct tg_plan *p, const struct tg_reading *r,
                       const struct tg_pipeline_result *result, const struct tg_known *k,
                       const struct tg_catalogue *c)
{
    if (k->same.id != 0) {
        return same_version(p, k, c);
    }
    p->event_state = TG_EVENT_ACCEPTED;
    if (k->latest.id != 0 && result->object_version < k->latest.version) {
        p->object_state = TG_VERSION_SUPERSEDED;
        return 0;
    }
    if (k->uncertain || (k->live.id != 0 && !all_unsent(k))) {
        return correction(p, k, result, c);
    }
    end_version(p, &k->live);
    end_version(p, &k->latest);
    p->cancel = k->live.id != 0;
    if (json_array_size(result->violations) != 0) {
        p->object_state = TG_VERSION_EXCEPTION;
        return open_violations(p, c, result->violations);
    }
    return plan_postings(p, r, result, c);
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
