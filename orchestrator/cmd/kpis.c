/*
 * kpis.c: `tallygate kpis`: figures of a span of time, read from the journal beside a running
 * `serve`.
 */
#include "api/kpis.h"

#include <stdio.h>

#include "cmd/client.h"
#include "cmd/cmd.h"
#include "cmd/config.h"
#include "cmd/options.h"
#include "cmd/out.h"
#include "dispatch/dispatch.h"

#define COMMAND "kpis"

struct options {
    const char *config, *tenant, *from, *to;
    bool json;
};

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text != NULL ? text : "-";
}

static long long number_of(const json_t *object, const char *name)
{
    return (long long)json_integer_value(json_object_get(object, name));
}

#define DURATION_BYTES 32

/* "1.204 s"; "-" where nothing was measured. */
static const char *duration(const json_t *object, const char *name, char out[DURATION_BYTES])
{
    const json_t *ms = json_object_get(object, name);
    const long long n = (long long)json_integer_value(ms);

    if (!json_is_integer(ms)) {
        return "-";
    }
    (void)snprintf(out, DURATION_BYTES, "%lld.%03lld s", n / 1000, n % 1000);
    return out;
}

static void print_times(const json_t *times)
{
    char p50[DURATION_BYTES], p95[DURATION_BYTES], max[DURATION_BYTES];

    printf("%lld, p50 %s, p95 %s, max %s", number_of(times, "count"),
           duration(times, "p50_ms", p50), duration(times, "p95_ms", p95),
           duration(times, "max_ms", max));
}

static void print_lists(const json_t *k)
{
    const json_t *postings = json_object_get(k, "postings");
    const json_t *exceptions = json_object_get(k, "exceptions");
    const json_t *row;
    size_t i;

    json_array_foreach(json_object_get(postings, "destinations"), i, row)
    {
        printf("  %-20s posted %lld, exceptions %lld, success %s; approval to posting: ",
               text_of(row, "destination"), number_of(row, "posted"), number_of(row, "exceptions"),
               text_of(row, "success_rate"));
        print_times(json_object_get(row, "approval_to_posting"));
        printf("\n");
    }
    printf("exceptions           opened %lld, closed %lld\n", number_of(exceptions, "opened"),
           number_of(exceptions, "closed"));
    json_array_foreach(json_object_get(exceptions, "codes"), i, row)
    {
        printf("  %-20s opened %lld, closed ", text_of(row, "code"), number_of(row, "opened"));
        print_times(json_object_get(row, "resolution"));
        printf("\n");
    }
}

static void print(const json_t *k)
{
    const json_t *postings = json_object_get(k, "postings");
    const json_t *events = json_object_get(k, "events");
    const json_t *corrections = json_object_get(k, "corrections");
    const json_t *replays = json_object_get(k, "replays");
    const json_t *totals = json_object_get(k, "reconciliation");
    const json_t *backlog = json_object_get(k, "backlog");

    printf("tenant               %s, from %s to %s\n", text_of(k, "tenant"),
           text_of(k, "covered_from"), text_of(k, "to"));
    printf("approval to posting  ");
    print_times(json_object_get(k, "approval_to_posting"));
    printf("\npostings             posted %lld, exceptions %lld, success %s\n",
           number_of(postings, "posted"), number_of(postings, "exceptions"),
           text_of(postings, "success_rate"));
    print_lists(k);
    printf("events               %lld, duplicates %lld, rate %s\n", number_of(events, "count"),
           number_of(events, "duplicates"), text_of(events, "duplicate_rate"));
    printf(
        "corrections          superseded %lld, withdrawn %lld, rate %s; reversals %lld, rate %s\n",
        number_of(corrections, "superseded"), number_of(corrections, "withdrawn"),
        text_of(corrections, "correction_rate"), number_of(corrections, "reversals"),
        text_of(corrections, "reversal_rate"));
    printf("replays              exceptions %lld, runs %lld\n", number_of(replays, "exceptions"),
           number_of(replays, "runs"));
    printf("reconciliation       totals %lld, different %lld, off by %lld postings, %s%s\n",
           number_of(totals, "groups"), number_of(totals, "different"),
           number_of(json_object_get(totals, "variance"), "count"),
           text_of(json_object_get(totals, "variance"), "quantity"),
           json_is_true(json_object_get(totals, "more")) ? " (not all were added up)" : "");
    printf("unposted now         %lld%s, oldest %s, held versions %lld\n",
           number_of(backlog, "unposted"),
           json_is_true(json_object_get(backlog, "more")) ? " and more" : "",
           text_of(backlog, "oldest_at"), number_of(backlog, "held_versions"));
}

static int show(const struct options *o, json_t *k, struct tg_error *err)
{
    if (k == NULL || (o->json && tg_out_borrowed(COMMAND, k) != TG_EXIT_OK)) {
        return tg_error_set(err, "out of memory");
    }
    if (!o->json) {
        print(k);
    }
    if (json_is_true(json_object_get(k, "complete"))) {
        fprintf(tg_out_last(o->json), "kpis: ok\n");
    } else {
        fprintf(tg_out_last(o->json), "kpis: ok, but from %s on only: more than %d rows\n",
                text_of(k, "covered_from"), TG_KPI_COMMAND_ROWS_MAX);
    }
    return 0;
}

static struct tg_str given(const char *text)
{
    return text != NULL ? tg_str_of(text) : (struct tg_str){NULL, 0};
}

static int count(const struct options *o, const struct tg_config *config, struct tg_reader *r,
                 struct tg_error *err)
{
    struct tg_kpi_query q = {.tenant = tg_client_tenant(config, o->tenant, err),
                             .rows_max = TG_KPI_COMMAND_ROWS_MAX};
    struct tg_catalogue *catalogue = NULL;
    struct tg_kpis k;
    json_t *json;
    int rc;

    if (q.tenant == NULL ||
        tg_kpi_span(given(o->from), given(o->to), tg_dispatch_now_ms(), &q.span, err) != 0) {
        return -1;
    }
    catalogue = tg_catalogue_load(config->catalogue, err);
    if (catalogue == NULL) {
        return -1;
    }
    rc = tg_reader_kpis(r, &q, &k, err);
    if (rc == 0) {
        json = tg_kpis_json(&k, &q.span, q.tenant, catalogue);
        tg_kpis_free(&k);
        rc = show(o, json, err);
        json_decref(json);
    }
    tg_catalogue_free(catalogue);
    return rc;
}

int tg_cmd_kpis(int argc, char **argv)
{
    struct options o = {.config = TG_CONFIG_DEFAULT_PATH};
    const struct tg_cmd_option options[] = {
        {"config", &o.config, NULL}, {"tenant", &o.tenant, NULL}, {"from", &o.from, NULL},
        {"to", &o.to, NULL},         {"json", NULL, &o.json},     {0}};
    struct tg_error err = {""};
    struct tg_config *config;
    struct tg_reader *r;
    int rc, first = tg_cmd_options(COMMAND, argc, argv, options, &rc);

    if (!tg_cmd_no_more(COMMAND, argc, argv, first, &rc)) {
        return rc;
    }
    config = tg_config_load(o.config, &err);
    r = config != NULL ? tg_reader_open(config->journal.path, &err) : NULL;
    rc = r != NULL ? count(&o, config, r, &err) : -1;
    if (r != NULL) {
        tg_reader_close(r);
    }
    tg_config_free(config);
    return rc == 0 ? TG_EXIT_OK : tg_cmd_failed(COMMAND, "%s", err.text);
}
