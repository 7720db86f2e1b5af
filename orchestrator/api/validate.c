/*
 * validate.c: POST /v1/time-entries/validate. The very pipeline of posting; stores nothing.
 */
#include <string.h>
#include <strings.h>

#include "api/handlers.h"
#include "common/cloudevent.h"
#include "common/log.h"
#include "core/metrics.h"
#include "dispatch/dispatch.h"

#define TIME_ENTRY_TYPE "com.tallygate.time_entry.approved.v1"

/* "application/json", with or without parameters. */
static bool is_json(struct tg_str content_type)
{
    static const char want[] = "application/json";
    const size_t len = sizeof(want) - 1;

    if (content_type.len < len || strncasecmp((const char *)content_type.data, want, len) != 0) {
        return false;
    }
    return content_type.len == len || content_type.data[len] == ';' ||
           content_type.data[len] == ' ' || content_type.data[len] == '\t';
}

static const struct tg_config_source *find_source(const struct tg_config_tenant *t,
                                                  struct tg_str name)
{
    if (name.len == 0) {
        return t->source_count > 0 ? &t->sources[0] : NULL;
    }
    for (size_t i = 0; i < t->source_count; i++) {
        if (tg_str_equal_c(name, t->sources[i].name)) {
            return &t->sources[i];
        }
    }
    return NULL;
}

/* jansson quotes the input after " near "; the sender has it already, and logs must not. */
static json_t *parse(const struct tg_api_request *rq, struct tg_reply *out)
{
    json_error_t why;
    json_t *doc;

    if (rq->body.len == 0) {
        tg_reply_problem(out, TG_PROBLEM_BODY_INVALID, rq->correlation_id, "the body is empty");
        return NULL;
    }
    if (tg_json_depth(rq->body, TG_EVENT_JSON_DEPTH_MAX) < 0) {
        tg_reply_problem(out, TG_PROBLEM_BODY_INVALID, rq->correlation_id,
                         "the JSON is nested deeper than %d levels", TG_EVENT_JSON_DEPTH_MAX);
        return NULL;
    }
    doc = json_loadb((const char *)rq->body.data, rq->body.len,
                     JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
    if (doc == NULL) {
        char *near = strstr(why.text, " near ");

        if (near != NULL) {
            *near = '\0';
        }
        tg_reply_problem(out, TG_PROBLEM_BODY_INVALID, rq->correlation_id,
                         "not JSON: %s at line %d, column %d (byte %d)", why.text, why.line,
                         why.column, why.position);
        return NULL;
    }
    if (!json_is_object(doc) && !json_is_array(doc)) {
        tg_reply_problem(out, TG_PROBLEM_BODY_INVALID, rq->correlation_id,
                         "the body must be one object, or an array of objects");
        json_decref(doc);
        return NULL;
    }
    if (json_is_array(doc) &&
        (json_array_size(doc) < 1 || json_array_size(doc) > TG_VALIDATE_ARRAY_MAX)) {
        tg_reply_problem(out, TG_PROBLEM_BODY_INVALID, rq->correlation_id,
                         "the array has %zu items; 1 to %d are taken", json_array_size(doc),
                         TG_VALIDATE_ARRAY_MAX);
        json_decref(doc);
        return NULL;
    }
    return doc;
}

/* {"index","id","valid","violations"}; NULL: out of memory. */
static json_t *check_item(const struct tg_pipeline *pipeline, struct tg_pipeline_input *in,
                          const json_t *item, size_t index)
{
    struct tg_pipeline_result result;
    const char *own_id = json_string_value(json_object_get(item, "id"));
    json_t *out;

    memset(&result, 0, sizeof(result));
    in->data = item;
    if (tg_pipeline_run(pipeline, in, &result) != 0) {
        tg_pipeline_clear(&result);
        return NULL;
    }
    out = json_pack("{s:I, s:s?, s:b, s:O}", "index", (json_int_t)index, "id",
                    result.object_id[0] != '\0' ? result.object_id : own_id, "valid",
                    json_array_size(result.violations) == 0, "violations", result.violations);
    tg_pipeline_clear(&result);
    return out;
}

static json_t *check_all(const struct tg_pipeline *pipeline, struct tg_pipeline_input *in,
                         const json_t *doc)
{
    size_t n = json_is_array(doc) ? json_array_size(doc) : 1;
    json_t *results = json_array();
    bool all_valid = true;

    for (size_t i = 0; results != NULL && i < n; i++) {
        json_t *one =
            check_item(pipeline, in, json_is_array(doc) ? json_array_get(doc, i) : doc, i);

        all_valid = all_valid && json_is_true(json_object_get(one, "valid"));
        if (one == NULL || json_array_append_new(results, one) != 0) {
            json_decref(results);
            return NULL;
        }
    }
    if (results == NULL) {
        return NULL;
    }
    tg_metric_add(TG_METRIC_API_VALIDATED, n);
    return json_pack("{s:b, s:o}", "valid", all_valid, "results", results);
}

void tg_api_validate_time_entries(struct tg_api_context *ctx, const struct tg_api_request *rq,
                                  struct tg_reply *out)
{
    const struct tg_config *config = ctx->options->config;
    const struct tg_config_tenant *tenant = tg_config_tenant(config, rq->tenant);
    struct tg_pipeline pipeline = {NULL, ctx->options->schemas, ctx->options->catalogue};
    struct tg_pipeline_input in = {.type = TIME_ENTRY_TYPE, .tenant = tenant};
    struct tg_error err = {""};
    json_t *doc;

    if (tenant == NULL) {
        tg_reply_problem(out, TG_PROBLEM_TENANT_MISSING, rq->correlation_id,
                         "this tenant is not configured here");
        return;
    }
    in.source = find_source(tenant, rq->source);
    if (in.source == NULL) {
        tg_reply_problem(out, TG_PROBLEM_NOT_FOUND, rq->correlation_id,
                         "the tenant has no source of that name");
        return;
    }
    if (!is_json(rq->content_type)) {
        tg_reply_problem(out, TG_PROBLEM_MEDIA_TYPE, rq->correlation_id, "send application/json");
        return;
    }
    doc = parse(rq, out);
    if (doc == NULL) {
        return;
    }
    if (tg_api_context_refresh(ctx, &err) != 0 || ctx->masters[tenant - config->tenants] == NULL) {
        tg_log(TG_LOG_ERROR, "api", "cannot validate for tenant %s: %s", tenant->id, err.text);
        tg_reply_problem(out, TG_PROBLEM_UNAVAILABLE, rq->correlation_id,
                         "rules or master data are not loaded; try again later");
    } else {
        pipeline.rules = ctx->rules;
        in.master = ctx->masters[tenant - config->tenants];
        in.received_ms = tg_dispatch_now_ms();
        tg_reply_json(out, 200, check_all(&pipeline, &in, doc), rq->correlation_id);
    }
    json_decref(doc);
}
