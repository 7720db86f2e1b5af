/*
 * reconcile.c: `tallygate reconcile`: control totals against the postings they are made of, read
 * from the journal beside a running `serve`.
 */
#include "journal/reconcile.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/rows.h"
#include "cmd/cmd.h"
#include "cmd/config.h"
#include "cmd/options.h"
#include "cmd/out.h"

#define COMMAND "reconcile"

struct options {
    const char *config, *tenant, *destination, *period;
    bool json;
};

struct view {
    const struct options *o;
    json_t *rows; /* with --json; owned */
    size_t count, wrong;
    bool failed;
};

static const char *text_of(const json_t *row, const char *part, const char *name)
{
    return json_string_value(json_object_get(json_object_get(row, part), name));
}

static bool on_row(void *arg, const struct tg_reconciled *row)
{
    struct view *v = arg;
    /* by its whole name: there may be several tenants */
    json_t *json = tg_reconciled_json(row, (struct tg_str){NULL, 0});

    v->count++;
    v->wrong += row->equal ? 0 : 1;
    if (json == NULL || (v->rows != NULL && json_array_append(v->rows, json) != 0)) {
        v->failed = true;
    } else if (v->rows == NULL) {
        if (v->count == 1) {
            printf("%-24s %-12s %-12s %10s %16s %10s %16s  %s\n", "DESTINATION", "KIND", "PERIOD",
                   "TOTAL", "QUANTITY", "POSTINGS", "QUANTITY", "");
        }
        printf("%-24s %-12s %-12s %10" PRId64 " %16s %10" PRId64 " %16s  %s\n", row->destination_id,
               row->kind, row->period, row->total_count, text_of(json, "control_total", "quantity"),
               row->posted_count, text_of(json, "postings", "quantity"),
               row->equal ? "equal" : "DIFFERENT");
    }
    json_decref(json);
    return !v->failed;
}

static int reconcile(struct tg_reader *r, const char *tenant, struct view *v, struct tg_error *err)
{
    const struct options *o = v->o;
    const struct tg_reconcile_query q = {
        .tenant = tenant,
        .destination = o->destination != NULL ? tg_str_of(o->destination) : (struct tg_str){0},
        .period = o->period != NULL ? tg_str_of(o->period) : (struct tg_str){0},
        .whole = true};
    struct tg_reconcile_place place;
    bool over = false;

    memset(&place, 0, sizeof(place));
    while (!over) {
        if (tg_reader_reconcile(r, &q, &place, on_row, v, &over, err) != 0) {
            return -1;
        }
        if (v->failed) {
            return tg_error_set(err, "out of memory");
        }
    }
    return 0;
}

static int all_tenants(const struct tg_config *config, struct tg_reader *r, struct view *v,
                       struct tg_error *err)
{
    const struct options *o = v->o;

    if (o->tenant != NULL) {
        return tg_config_tenant(config, tg_str_of(o->tenant)) == NULL
                   ? tg_error_set(err, "tenant %s is not in the configuration", o->tenant)
                   : reconcile(r, o->tenant, v, err);
    }
    for (size_t i = 0; i < config->tenant_count; i++) {
        if (reconcile(r, config->tenants[i].id, v, err) != 0) {
            return -1;
        }
    }
    return 0;
}

static int show(struct view *v, struct tg_error *err)
{
    if (v->rows != NULL) {
        json_t *all = json_pack("{s:O}", "reconciliation", v->rows);
        int rc = all != NULL && tg_out_borrowed(COMMAND, all) == TG_EXIT_OK ? 0 : -1;

        json_decref(all);
        if (rc != 0) {
            return tg_error_set(err, "out of memory");
        }
    }
    fprintf(tg_out_last(v->rows != NULL), "reconcile: %s (%zu totals, %zu different)\n",
            v->wrong == 0 ? "ok" : "DIFFERENT", v->count, v->wrong);
    return 0;
}

static int run(const struct options *o)
{
    struct tg_error err = {""};
    struct tg_config *config = tg_config_load(o->config, &err);
    struct tg_reader *r = config != NULL ? tg_reader_open(config->journal.path, &err) : NULL;
    struct view v = {.o = o, .rows = o->json ? json_array() : NULL};
    int rc = -1;

    if (r != NULL) {
        rc = all_tenants(config, r, &v, &err);
        rc = rc == 0 ? show(&v, &err) : rc;
        tg_reader_close(r);
    }
    json_decref(v.rows);
    tg_config_free(config);
    if (rc != 0) {
        return tg_cmd_failed(COMMAND, "%s", err.text);
    }
    return v.wrong == 0 ? TG_EXIT_OK : TG_EXIT_FAILED;
}

int tg_cmd_reconcile(int argc, char **argv)
{
    struct options o = {.config = TG_CONFIG_DEFAULT_PATH};
    const struct tg_cmd_option options[] = {{"config", &o.config, NULL},
                                            {"tenant", &o.tenant, NULL},
                                            {"destination", &o.destination, NULL},
                                            {"period", &o.period, NULL},
                                            {"json", NULL, &o.json},
                                            {0}};
    int rc, first = tg_cmd_options(COMMAND, argc, argv, options, &rc);

    return tg_cmd_no_more(COMMAND, argc, argv, first, &rc) ? run(&o) : rc;
}
