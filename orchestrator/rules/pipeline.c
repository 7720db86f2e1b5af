#include "rules/pipeline.h"

#include <stdio.h>
#include <string.h>

#include "common/codec.h"
#include "master/change.h"

#define DAY_BYTES 10 /* YYYY-MM-DD of an RFC 3339 time */

struct run {
    const struct tg_pipeline *p;
    const struct tg_pipeline_input *in;
    struct tg_pipeline_result *out;
    struct tg_rules_ctx ctx;
    char today[TG_RFC3339_BYTES];
    bool no_memory;
};

/* Which fields of which object name master data, and may carry the source's own name for it. */
static const struct reference {
    const char *kind, *field, *master_kind;
} references[] = {{"time_entry", "worker", "worker"},
                  {"time_entry", "project", "project"},
                  {"time_entry", "approved_by", "worker"},
                  {"worker", "worker", "worker"}};

/* A message may have been cut inside a character: then every byte beyond ASCII becomes `?`. */
static json_t *safe_text(const char *s)
{
    json_t *v = json_string(s);
    char text[TG_ERROR_MAX_BYTES];
    size_t len = 0;

    if (v != NULL) {
        return v;
    }
    for (; len < sizeof(text) - 1 && s[len] != '\0'; len++) {
        text[len] = s[len];
        if ((unsigned char)s[len] > 0x7e) {
            text[len] = '?';
        }
    }
    text[len] = '\0';
    return json_string(text);
}

/* waits_for NULL: nothing would cure it by itself. */
static void violate_until(struct run *r, const char *code, const char *field, const char *message,
                          const char *waits_for)
{
    const struct tg_catalogue_entry *e = tg_catalogue_find(r->p->catalogue, tg_str_of(code));
    json_t *v;

    if (json_array_size(r->out->violations) == TG_VIOLATIONS_MAX) {
        return;
    }
    v = json_pack("{s:s, s:o, s:o, s:s}", "code", code, "field", safe_text(field), "message",
                  safe_text(message), "owner", e != NULL ? e->owner : "integration");
    if (v == NULL || json_array_append_new(r->out->violations, v) != 0 ||
        (waits_for != NULL && e != NULL && e->hold &&
         json_object_set_new(v, "waits_for", safe_text(waits_for)) != 0)) {
        r->no_memory = true;
    }
}

static void violate(struct run *r, const char *code, const char *field, const char *message)
{
    violate_until(r, code, field, message, NULL);
}

static void fault(struct run *r, const struct tg_error *err)
{
    violate(r, "rule_fault", "", err->text);
}

static bool is_clean(const struct run *r)
{
    return json_array_size(r->out->violations) == 0 && !r->no_memory;
}

/* "/hours" -> field "hours"; the whole document is "". */
static void on_breach(void *arg, const char *pointer, const char *message)
{
    struct run *r = arg;
    const char *field = pointer[0] == '/' ? pointer + 1 : pointer;
    char text[TG_ERROR_MAX_BYTES];

    if (snprintf(text, sizeof(text), "%.100s%s%.400s", *field != '\0' ? field : "the event", " ",
                 message) < 0) {
        text[0] = '\0';
    }
    violate(r, "schema_invalid", field, text);
}

static void check_event(struct run *r)
{
    struct tg_error err;
    int n;

    /* names without a dot are file formats and canonical kinds, not event types */
    if (strchr(r->in->type, '.') == NULL || strchr(r->in->type, '/') != NULL ||
        !tg_schemas_has(r->p->schemas, r->in->type)) {
        tg_error_set(&err, "the event type %.200s is not known here; see conf/schemas",
                     r->in->type);
        violate(r, "event_type_unknown", "type", err.text);
        return;
    }
    n = tg_schemas_check(r->p->schemas, r->in->type, r->in->data, on_breach, r);
    if (n < 0) {
        tg_error_set(&err, "the schema of %.200s could not be applied", r->in->type);
        fault(r, &err);
    }
}

static void on_canonical_breach(void *arg, const char *pointer, const char *message)
{
    struct tg_error *err = arg;

    tg_error_set(err, "the decoder made an object whose %.100s %.300s",
                 pointer[0] == '/' ? pointer + 1 : "whole", message);
}

/* The decoder's object must be what conf/schemas/canonical says, or rules could not trust it. */
static void check_canonical(struct run *r)
{
    char name[TG_SOURCE_NAME_MAX_BYTES + 16];
    struct tg_error err = {"the decoder made an object that its schema refuses"};
    const char *form = r->out->withdrawn ? "withdrawal" : r->out->object_kind;
    int n = snprintf(name, sizeof(name), "canonical/%s", form);

    if (n < 0 || (size_t)n >= sizeof(name) || !tg_schemas_has(r->p->schemas, name)) {
        tg_error_set(&err, "there is no schema conf/schemas/canonical/%.64s.json", form);
        fault(r, &err);
    } else if (tg_schemas_check(r->p->schemas, name, r->out->object, on_canonical_breach, &err) !=
               0) {
        fault(r, &err);
    }
}

static struct tg_str text_member(const json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);
    struct tg_str s = {(const unsigned char *)json_string_value(v), json_string_length(v)};

    return s;
}

static void take_object(struct run *r, const json_t *list)
{
    struct tg_pipeline_result *out = r->out;
    json_t *object = json_array_get(list, 0);
    const json_t *version = json_object_get(object, "version");
    struct tg_error err;

    if (json_array_size(list) != 1) {
        tg_error_set(&err, "the decoder gave %zu objects for one event; it must give one",
                     json_array_size(list));
        fault(r, &err);
        return;
    }
    if (!tg_str_copy(text_member(object, "kind"), out->object_kind, sizeof(out->object_kind)) ||
        !tg_str_copy(text_member(object, "id"), out->object_id, sizeof(out->object_id)) ||
        out->object_id[0] == '\0' || !json_is_integer(version)) {
        tg_error_set(&err, "the decoder gave an object without kind, id or whole-number version");
        fault(r, &err);
        return;
    }
    out->object_version = json_integer_value(version);
    out->object = json_incref(object);
    out->withdrawn = json_object_get(object, "withdrawn") != NULL;
    check_canonical(r);
}

static void take_violation(struct run *r, const json_t *v)
{
    const char *code = json_string_value(json_object_get(v, "code"));
    struct tg_error err;

    if (tg_catalogue_find(r->p->catalogue, tg_str_of(code)) == NULL) {
        tg_error_set(&err, "a rule gave the code `%.64s`, which the catalogue does not have", code);
        fault(r, &err);
        return;
    }
    violate_until(r, code, json_string_value(json_object_get(v, "field")),
                  json_string_value(json_object_get(v, "message")),
                  json_string_value(json_object_get(v, "waits_for")));
}

static void take_violations(struct run *r, const json_t *list)
{
    size_t i;
    json_t *v;

    json_array_foreach((json_t *)list, i, v)
    {
        take_violation(r, v);
    }
}

static void decode(struct run *r)
{
    const char *decoder = r->in->source != NULL ? r->in->source->decoder : "canonical";
    json_t *none = r->in->headers == NULL ? json_object() : NULL, *list;
    struct tg_error err = {""};

    list = tg_rules_decode(r->p->rules, decoder, none != NULL ? none : r->in->headers, r->in->data,
                           r->in->master, &r->ctx, &err);
    json_decref(none);
    if (list == NULL) {
        fault(r, &err);
    } else if (json_object_get(json_array_get(list, 0), "code") != NULL) {
        take_violations(r, list);
    } else {
        take_object(r, list);
    }
    json_decref(list);
}

/* From here on the object carries our identifiers: what the source calls it comes first. */
static void resolve(struct run *r)
{
    struct tg_str source = tg_str_of(r->ctx.source);

    for (size_t i = 0; i < sizeof(references) / sizeof(references[0]); i++) {
        const struct reference *ref = &references[i];
        struct tg_str name = text_member(r->out->object, ref->field);
        const json_t *row = NULL;

        if (strcmp(ref->kind, r->out->object_kind) == 0 && name.len > 0 && source.len > 0) {
            row = tg_master_find(r->in->master, tg_str_of(ref->master_kind), name, source);
        }
        if (row != NULL && json_object_set_new(r->out->object, ref->field,
                                               json_copy(json_object_get(row, "id"))) != 0) {
            r->no_memory = true;
        }
    }
}

static void check(struct run *r)
{
    struct tg_error err = {""};
    json_t *list = tg_rules_check(r->p->rules, r->out->object, r->in->master, &r->ctx, &err);

    if (list == NULL) {
        fault(r, &err);
        return;
    }
    take_violations(r, list);
    json_decref(list);
}

/* Master data: what the source owns of it, before the rules see it. */
static void look_at_change(struct run *r)
{
    if (!tg_change_is_kind(r->out->object_kind)) {
        return;
    }
    r->out->change = tg_change_make(r->in->master, r->out->object, r->ctx.source);
    r->ctx.change = r->out->change;
    if (r->out->change == NULL) {
        r->no_memory = true;
    } else if (json_integer_value(json_object_get(r->out->change, "days")) >= TG_MASTER_DAYS_MAX) {
        struct tg_error err;

        tg_error_set(&err, "the %.64s changes on %d days already; send it under a new identifier",
                     r->out->object_kind, TG_MASTER_DAYS_MAX);
        violate(r, "worker_invalid", "effective_from", err.text);
    }
}

static void plan(struct run *r)
{
    struct tg_error err = {""};
    json_t *list = tg_rules_plan(r->p->rules, r->out->object, r->in->master, &r->ctx, &err);

    if (list == NULL) {
        fault(r, &err);
        return;
    }
    if (json_array_size(list) == 0) {
        tg_error_set(&err,
                     "the rules plan no posting for this %.64s: tenant %.64s has no fitting "
                     "destination",
                     r->out->object_kind, r->ctx.tenant);
        violate(r, "no_destination", "", err.text);
    }
    json_decref(r->out->postings);
    r->out->postings = list;
}

static json_t *destination_names(const struct tg_config_tenant *t)
{
    json_t *names = json_array();

    for (size_t i = 0; names != NULL && i < t->destination_count; i++) {
        if (json_array_append_new(names, json_string(t->destinations[i].name)) != 0) {
            json_decref(names);
            names = NULL;
        }
    }
    return names;
}

static int set_today(struct run *r, struct tg_error *err)
{
    if (tg_rfc3339_format(r->in->received_ms, r->today, sizeof(r->today)) != 0) {
        return tg_error_set(err, "the event has no time of arrival");
    }
    r->today[DAY_BYTES] = '\0';
    return 0;
}

static void run_all(struct run *r)
{
    struct tg_error err;

    if (set_today(r, &err) != 0) {
        fault(r, &err);
        return;
    }
    check_event(r);
    if (is_clean(r)) {
        decode(r);
    }
    if (is_clean(r) && !r->out->withdrawn) {
        resolve(r);
        look_at_change(r);
    }
    if (is_clean(r) && !r->out->withdrawn) {
        check(r);
    }
    if (is_clean(r) && !r->out->withdrawn && r->out->change == NULL) {
        plan(r);
    }
    if (!is_clean(r)) {
        (void)json_array_clear(r->out->postings);
    }
}

static void set_ctx(struct run *r, const json_t *destinations)
{
    r->ctx.tenant = r->in->tenant->id;
    r->ctx.source = r->in->source != NULL ? r->in->source->name : "";
    r->ctx.today = r->today;
    r->ctx.destinations = destinations;
}

int tg_pipeline_run(const struct tg_pipeline *p, const struct tg_pipeline_input *in,
                    struct tg_pipeline_result *out)
{
    struct run r = {.p = p, .in = in, .out = out};
    json_t *destinations = destination_names(in->tenant);

    memset(out, 0, sizeof(*out));
    out->violations = json_array();
    out->postings = json_array();
    if (destinations == NULL || out->violations == NULL || out->postings == NULL) {
        json_decref(destinations);
        tg_pipeline_clear(out);
        return -1;
    }
    set_ctx(&r, destinations);
    run_all(&r);
    json_decref(destinations);
    if (r.no_memory) {
        tg_pipeline_clear(out);
        return -1;
    }
    return 0;
}

void tg_pipeline_clear(struct tg_pipeline_result *r)
{
    json_decref(r->object);
    json_decref(r->violations);
    json_decref(r->postings);
    json_decref(r->change);
    memset(r, 0, sizeof(*r));
}

static json_t *rule_fault(const char *message)
{
    return json_pack("{s:s, s:s, s:o}", "code", "rule_fault", "field", "", "message",
                     safe_text(message));
}

json_t *tg_pipeline_reversal(const struct tg_pipeline *p, const struct tg_pipeline_input *in,
                             const char *kind, const json_t *posting)
{
    struct run r = {.p = p, .in = in};
    struct tg_error err = {""};
    json_t *destinations = destination_names(in->tenant);
    json_t *answer = NULL;
    const char *code;

    if (destinations == NULL) {
        return NULL;
    }
    set_ctx(&r, destinations);
    if (set_today(&r, &err) == 0) {
        answer = tg_rules_reversal(p->rules, kind, posting, in->master, &r.ctx, &err);
    }
    json_decref(destinations);
    if (answer == NULL) {
        return rule_fault(err.text);
    }
    code = json_string_value(json_object_get(answer, "code"));
    if (code != NULL && tg_catalogue_find(p->catalogue, tg_str_of(code)) == NULL) {
        tg_error_set(&err, "a rule gave the code `%.64s`, which the catalogue does not have", code);
        json_decref(answer);
        return rule_fault(err.text);
    }
    if (code != NULL && !tg_catalogue_find(p->catalogue, tg_str_of(code))->hold) {
        (void)json_object_del(answer, "waits_for"); /* it need not be there */
    }
    return answer;
}
