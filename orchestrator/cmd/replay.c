/*
 * replay.c: `tallygate replay --filter ...`: open exceptions replayed together. First the running
 * process says what the filter finds; without --dry-run that very set is then replayed, and the
 * command waits for its end. Interrupting the command does not interrupt the replay.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cmd/client.h"
#include "cmd/cmd.h"
#include "cmd/config.h"
#include "cmd/options.h"
#include "cmd/out.h"

#define COMMAND "replay"
#define PATH "/v1/ops/replays"
#define PATH_BYTES 64
#define LOOK_MS 200 /* between two looks at how far it is */

struct options {
    const char *config, *tenant, *filter, *reason, *status;
    bool dry, json;
};

static const char *const names[] = {"code",  "owner", "destination", "subject_prefix",
                                    "since", "until", NULL};

static json_int_t number_of(const json_t *row, const char *name)
{
    return json_integer_value(json_object_get(row, name));
}

static const char *text_of(const json_t *row, const char *name)
{
    const char *text = json_string_value(json_object_get(row, name));

    return text != NULL ? text : "-";
}

/* ---- the filter ---- */

/* One "name=value". Ids are gathered into a list. */
static int add_part(json_t *filter, const char *part, size_t len, struct tg_error *err)
{
    const char *equals = memchr(part, '=', len);
    const size_t name = equals != NULL ? (size_t)(equals - part) : 0;
    const size_t value = len - name - (equals != NULL ? 1 : 0);
    int64_t id;

    if (name == 2 && memcmp(part, "id", 2) == 0) {
        json_t *ids = json_object_get(filter, "ids");

        if (!tg_str_to_i64((struct tg_str){(const unsigned char *)equals + 1, value}, &id)) {
            return tg_error_set(err, "`%.*s`: an id is the number of an exception", (int)len, part);
        }
        if (ids == NULL && json_object_set_new(filter, "ids", ids = json_array()) != 0) {
            return tg_error_set(err, "out of memory");
        }
        return json_array_append_new(ids, json_integer(id)) == 0
                   ? 0
                   : tg_error_set(err, "out of memory");
    }
    for (size_t i = 0; names[i] != NULL; i++) {
        if (strlen(names[i]) == name && memcmp(names[i], part, name) == 0 && value > 0) {
            return json_object_set_new(filter, names[i], json_stringn(equals + 1, value)) == 0
                       ? 0
                       : tg_error_set(err, "`%.*s` is not UTF-8 text", (int)len, part);
        }
    }
    return tg_error_set(err,
                        "`%.*s` is no part of a filter; accepted: NAME=VALUE,... with code, owner, "
                        "destination, subject_prefix, since, until, and id as often as needed",
                        (int)len, part);
}

static json_t *filter_of(const char *text, struct tg_error *err)
{
    json_t *filter = json_object();

    while (filter != NULL) {
        const size_t len = strcspn(text, ",");

        if (add_part(filter, text, len, err) != 0) {
            json_decref(filter);
            return NULL;
        }
        if (text[len] == '\0') {
            break;
        }
        text += len + 1;
    }
    return filter;
}

/* ---- what is shown ---- */

static void print_groups(const json_t *found)
{
    const json_t *group;
    size_t i;

    json_array_foreach(json_object_get(found, "groups"), i, group)
    {
        if (i == 0) {
            printf("%-28s %-14s %-16s %8s  %s\n", "CODE", "OWNER", "DESTINATION", "COUNT",
                   "OLDEST");
        }
        printf("%-28s %-14s %-16s %8lld  %s\n", text_of(group, "code"), text_of(group, "owner"),
               text_of(group, "destination"), (long long)number_of(group, "count"),
               text_of(group, "oldest_at"));
    }
}

static void print_refusals(const json_t *run)
{
    const json_t *row;
    size_t i;

    json_array_foreach(json_object_get(run, "refusals"), i, row)
    {
        printf("exception %lld: %s\n", (long long)number_of(row, "exception"),
               text_of(row, "message"));
    }
}

/* 0, 1: some were refused, or -1. */
static int show_run(const struct options *o, const json_t *run, struct tg_error *err)
{
    const bool running = strcmp(text_of(run, "state"), "running") == 0;

    if (o->json) {
        if (tg_out_borrowed(COMMAND, run) != TG_EXIT_OK) {
            return tg_error_set(err, "out of memory");
        }
    } else {
        print_refusals(run);
    }
    fprintf(tg_out_last(o->json),
            "replay: %lld %s: %lld replayed, %lld as before, %lld refused, %lld left\n",
            (long long)number_of(run, "id"), running ? "goes on" : "is over",
            (long long)number_of(run, "done"), (long long)number_of(run, "unchanged"),
            (long long)number_of(run, "refused"), (long long)number_of(run, "left"));
    return number_of(run, "refused") > 0 ? 1 : 0;
}

static int show_found(const struct options *o, const json_t *found, struct tg_error *err)
{
    if (o->json && tg_out_borrowed(COMMAND, found) != TG_EXIT_OK) {
        return tg_error_set(err, "out of memory");
    }
    if (!o->json) {
        print_groups(found);
    }
    fprintf(tg_out_last(o->json), "replay: %lld would be replayed\n",
            (long long)number_of(found, "count"));
    return 0;
}

static int show_asked(const struct options *o, const json_t *asked, struct tg_error *err)
{
    if (o->json && tg_out_borrowed(COMMAND, asked) != TG_EXIT_OK) {
        return tg_error_set(err, "out of memory");
    }
    fprintf(tg_out_last(o->json), "replay: waits for a second person: approval %lld\n",
            (long long)number_of(asked, "approval"));
    return 0;
}

/* ---- asking ---- */

struct ask {
    const struct options *o;
    const struct tg_config *config;
    const char *tenant;
    struct tg_error *err;
};

static int get_run(const struct ask *a, json_int_t id, json_t **run)
{
    char path[PATH_BYTES];

    (void)snprintf(path, sizeof(path), PATH "/%lld", (long long)id);
    return tg_client_call(a->config, "GET", path, a->tenant, NULL, run, a->err);
}

/* Until it is over. *run is taken, and is what was seen last. */
static int wait_for_end(const struct ask *a, json_t **run)
{
    const struct timespec pause = {0, LOOK_MS * 1000000L};
    const json_int_t id = number_of(*run, "id");

    while (strcmp(text_of(*run, "state"), "running") == 0) {
        json_t *next = NULL;

        (void)nanosleep(&pause, NULL);
        if (get_run(a, id, &next) != 0) {
            struct tg_error why = *a->err;

            return tg_error_set(a->err,
                                "replay %lld goes on, but how far it is cannot be seen: %.300s; "
                                "look again with --status %lld",
                                (long long)id, why.text, (long long)id);
        }
        json_decref(*run);
        *run = next;
    }
    return 0;
}

static int post(const struct ask *a, json_t *filter, const char *token, json_t **answer)
{
    json_t *body =
        json_pack("{s:O, s:b, s:s*, s:s*}", "filter", filter, "dry_run", token == NULL ? 1 : 0,
                  "token", token, "reason", token != NULL ? a->o->reason : NULL);
    int rc;

    if (body == NULL) {
        return tg_error_set(a->err, "the reason is not UTF-8 text");
    }
    rc = tg_client_call(a->config, "POST", PATH, a->tenant, body, answer, a->err);
    json_decref(body);
    return rc;
}

static int replay(const struct ask *a, json_t *filter)
{
    json_t *found = NULL, *run = NULL;
    int rc = post(a, filter, NULL, &found);

    if (rc == 0 && (a->o->dry || number_of(found, "count") == 0)) {
        rc = show_found(a->o, found, a->err);
    } else if (rc == 0) {
        if (!a->o->json) {
            print_groups(found);
        }
        rc = post(a, filter, text_of(found, "token"), &run);
        if (rc == 0 && json_object_get(run, "approval") != NULL) {
            rc = show_asked(a->o, run, a->err);
        } else {
            rc = rc == 0 ? wait_for_end(a, &run) : rc;
            rc = rc == 0 ? show_run(a->o, run, a->err) : rc;
        }
    }
    json_decref(found);
    json_decref(run);
    return rc;
}

static int status(const struct ask *a)
{
    json_t *run = NULL;
    int64_t id;
    int rc;

    if (!tg_str_to_i64(tg_str_of(a->o->status), &id)) {
        return tg_error_set(a->err, "--status takes the number of a replay");
    }
    rc = get_run(a, id, &run);
    rc = rc == 0 ? show_run(a->o, run, a->err) : rc;
    json_decref(run);
    return rc;
}

static int run(const struct options *o)
{
    struct tg_error err = {""};
    struct tg_config *config = tg_config_load(o->config, &err);
    const char *tenant = config != NULL ? tg_client_tenant(config, o->tenant, &err) : NULL;
    const struct ask a = {.o = o, .config = config, .tenant = tenant, .err = &err};
    json_t *filter = NULL;
    int rc = -1;

    if (tenant != NULL && o->status != NULL) {
        rc = status(&a);
    } else if (tenant != NULL) {
        filter = filter_of(o->filter, &err);
        rc = filter != NULL ? replay(&a, filter) : -1;
    }
    json_decref(filter);
    tg_config_free(config);
    return rc < 0 ? tg_cmd_failed(COMMAND, "%s", err.text) : rc == 0 ? TG_EXIT_OK : TG_EXIT_FAILED;
}

int tg_cmd_replay(int argc, char **argv)
{
    struct options o = {.config = TG_CONFIG_DEFAULT_PATH};
    const struct tg_cmd_option options[] = {
        {"config", &o.config, NULL}, {"tenant", &o.tenant, NULL},
        {"filter", &o.filter, NULL}, {"reason", &o.reason, NULL},
        {"status", &o.status, NULL}, {"dry-run", NULL, &o.dry},
        {"json", NULL, &o.json},     {0}};
    int rc, first = tg_cmd_options(COMMAND, argc, argv, options, &rc);

    if (!tg_cmd_no_more(COMMAND, argc, argv, first, &rc)) {
        return rc;
    }
    if ((o.filter != NULL) == (o.status != NULL)) {
        return tg_cmd_usage_error(COMMAND, "say which with --filter, or look with --status");
    }
    return run(&o);
}
