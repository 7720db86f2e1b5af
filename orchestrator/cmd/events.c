/*
 * events.c: `tallygate events show`: the whole story of one entry, from the journal, beside a
 * running `serve`. By the id the sender got, by object over its versions, or by the key a
 * destination knows.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/trail.h"
#include "cmd/cmd.h"
#include "cmd/config.h"
#include "cmd/events_text.h"
#include "cmd/options.h"
#include "cmd/out.h"
#include "common/codec.h"
#include "common/event_id.h"

#define COMMAND "events"

struct options {
    const char *config, *tenant, *source;
    const char *id, *object, *key; /* one of them */
    bool json;
};

/* ---- by object: the key is made of tenant, kind, source and id ---- */

struct search {
    const struct options *o;
    const struct tg_config *config;
    struct tg_reader *r;
    const struct tg_catalogue *catalogue;
    struct tg_str kind, id;
    size_t found;
    char where[256]; /* of the first hit */
};

static int try_source(struct search *s, const char *tenant, const char *source, json_t **out,
                      struct tg_error *err)
{
    unsigned char key[TG_POSTING_KEY_BYTES];
    json_t *trail = NULL;
    int rc;

    if (tg_object_key(tg_str_of(tenant), s->kind, tg_str_of(source), s->id, key) != 0) {
        return tg_error_set(err, "out of memory");
    }
    rc = tg_trail_object(s->r, s->catalogue, key, &trail, err);
    if (rc != 0) {
        return rc == 1 ? 0 : -1;
    }
    s->found++;
    if (s->found == 1) {
        *out = trail;
        (void)snprintf(s->where, sizeof(s->where), "%.64s, source %.64s", tenant, source);
        return 0;
    }
    json_decref(trail);
    return tg_error_set(err,
                        "%s is there more than once: tenant %s, and tenant %s, source %s; say "
                        "which with --tenant and --source",
                        s->o->object, s->where, tenant, source);
}

static int by_object(struct search *s, json_t **out, struct tg_error *err)
{
    const struct options *o = s->o;
    int rc = 0;

    for (size_t t = 0; rc == 0 && t < s->config->tenant_count; t++) {
        const struct tg_config_tenant *tenant = &s->config->tenants[t];

        if (o->tenant != NULL && strcmp(o->tenant, tenant->id) != 0) {
            continue;
        }
        for (size_t i = 0; rc == 0 && i < tenant->source_count; i++) {
            if (o->source == NULL || strcmp(o->source, tenant->sources[i].name) == 0) {
                rc = try_source(s, tenant->id, tenant->sources[i].name, out, err);
            }
        }
    }
    if (rc == 0 && s->found == 0) {
        rc = tg_error_set(err, "there is no object %s in the journal", o->object);
    }
    return rc;
}

/* ---- by event or key ---- */

static int by_event(struct search *s, json_t **out, struct tg_error *err)
{
    int rc = tg_trail_event(s->r, s->catalogue, s->o->id, out, err);

    if (rc == 1) {
        return tg_error_set(err,
                            "event %s is not in the journal; one accepted a moment ago may still "
                            "be in the stream: GET /v1/events/ID says so",
                            s->o->id);
    }
    return rc;
}

static int by_key(struct search *s, json_t **out, struct tg_error *err)
{
    unsigned char key[TG_POSTING_KEY_BYTES];
    int rc;

    if (tg_hex_decode(tg_str_of(s->o->key), key, sizeof(key)) != (int)sizeof(key)) {
        return tg_error_set(err, "`%.80s` is no posting key; accepted: 32 hex digits", s->o->key);
    }
    rc = tg_trail_posting(s->r, s->catalogue, key, out, err);
    return rc == 1 ? tg_error_set(err, "there is no posting with key %s", s->o->key) : rc;
}

/* Another tenant's is not shown to who asked for one tenant. */
static int check_tenant(const struct options *o, const json_t *trail, struct tg_error *err)
{
    const char *tenant =
        json_string_value(json_object_get(json_object_get(trail, "event"), "tenant"));

    if (o->tenant != NULL && o->object == NULL &&
        (tenant == NULL || strcmp(tenant, o->tenant) != 0)) {
        return tg_error_set(err, "there is no such event of tenant %s", o->tenant);
    }
    return 0;
}

/* ---- showing ---- */

static size_t count_open(const json_t *exceptions)
{
    size_t i, n = 0;
    json_t *x;

    json_array_foreach(exceptions, i, x)
    {
        const char *state = json_string_value(json_object_get(x, "state"));

        n += state != NULL && (strcmp(state, "open") == 0 || strcmp(state, "assigned") == 0);
    }
    return n;
}

static size_t count_postings(const json_t *objects)
{
    size_t i, n = 0;
    json_t *o;

    json_array_foreach(objects, i, o)
    {
        n += json_array_size(json_object_get(o, "postings"));
    }
    return n;
}

static int show(const struct options *o, const json_t *trail)
{
    if (o->json) {
        if (tg_out_borrowed(COMMAND, trail) != TG_EXIT_OK) {
            return TG_EXIT_FAILED;
        }
    } else {
        tg_events_print(stdout, trail, o->object != NULL);
        printf("\n");
    }
    fprintf(tg_out_last(o->json), "events: %s: %zu postings, %zu open exceptions\n",
            o->object != NULL ? o->object
            : o->key != NULL  ? o->key
                              : o->id,
            count_postings(json_object_get(trail, "objects")),
            count_open(json_object_get(trail, "exceptions")));
    return TG_EXIT_OK;
}

static int find(struct search *s, json_t **trail, struct tg_error *err)
{
    if (s->o->object != NULL) {
        return by_object(s, trail, err);
    }
    return s->o->key != NULL ? by_key(s, trail, err) : by_event(s, trail, err);
}

static int run(const struct options *o)
{
    struct tg_error err = {""};
    struct search s = {.o = o};
    struct tg_config *config = tg_config_load(o->config, &err);
    struct tg_catalogue *catalogue =
        config != NULL ? tg_catalogue_load(config->catalogue, &err) : NULL;
    json_t *trail = NULL;
    const char *slash = o->object != NULL ? strchr(o->object, '/') : NULL;
    int rc = TG_EXIT_FAILED;

    s.config = config;
    s.catalogue = catalogue;
    if (slash != NULL) {
        s.kind = (struct tg_str){(const unsigned char *)o->object, (size_t)(slash - o->object)};
        s.id = tg_str_of(slash + 1);
    }
    s.r = catalogue != NULL ? tg_reader_open(config->journal.path, &err) : NULL;
    if (s.r == NULL || find(&s, &trail, &err) != 0 || check_tenant(o, trail, &err) != 0) {
        rc = tg_cmd_failed(COMMAND, "%s", err.text);
    } else {
        rc = show(o, trail);
    }
    json_decref(trail);
    if (s.r != NULL) {
        tg_reader_close(s.r);
    }
    if (catalogue != NULL) {
        tg_catalogue_free(catalogue);
    }
    tg_config_free(config);
    return rc;
}

/* ---- arguments ---- */

/* A 32-digit key given as ID is taken as one: that is what a destination shows. */
static int finish(struct options *o)
{
    struct tg_event_id id;
    const char *slash = o->object != NULL ? strchr(o->object, '/') : NULL;

    if ((o->id != NULL) == (o->object != NULL)) {
        return tg_cmd_usage_error(COMMAND, "say one ID, or --object KIND/ID");
    }
    if (o->object != NULL && (slash == NULL || slash == o->object || slash[1] == '\0')) {
        return tg_cmd_usage_error(
            COMMAND, "`%s` names no object; accepted: KIND/ID, as time_entry/TE-1", o->object);
    }
    if (o->id != NULL && strlen(o->id) == 2 * TG_POSTING_KEY_BYTES &&
        tg_event_id_parse(tg_str_of(o->id), &id) != 0) {
        o->key = o->id;
        o->id = NULL;
    }
    return TG_EXIT_OK;
}

/* Whether to go on; if not, *rc is the exit code. */
static bool parse(int argc, char **argv, struct options *o, int *rc)
{
    const struct tg_cmd_option options[] = {
        {"config", &o->config, NULL}, {"object", &o->object, NULL}, {"tenant", &o->tenant, NULL},
        {"source", &o->source, NULL}, {"json", NULL, &o->json},     {0}};
    int first = tg_cmd_options(COMMAND, argc, argv, options, rc);

    if (first >= 0 && first < argc) {
        o->id = argv[first++];
    }
    if (!tg_cmd_no_more(COMMAND, argc, argv, first, rc)) {
        return false;
    }
    *rc = finish(o);
    return *rc == TG_EXIT_OK;
}

int tg_cmd_events(int argc, char **argv)
{
    struct options o = {.config = TG_CONFIG_DEFAULT_PATH};
    int rc;

    if (argc < 2) {
        return tg_cmd_usage_error(COMMAND, "say `show`");
    }
    if (strcmp(argv[1], "show") != 0) {
        return tg_cmd_usage_error(COMMAND, "there is no `%s`; accepted: show", argv[1]);
    }
    return parse(argc - 1, argv + 1, &o, &rc) ? run(&o) : rc;
}
