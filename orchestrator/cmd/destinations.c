/*
 * destinations.c: `tallygate destinations list|pause|resume`: what the running process says of its
 * destinations, and holding one by hand.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/client.h"
#include "cmd/cmd.h"
#include "cmd/config.h"
#include "cmd/options.h"
#include "cmd/out.h"

#define COMMAND "destinations"
#define PATH_BYTES 160

enum verb { VERB_LIST, VERB_PAUSE, VERB_RESUME };

struct options {
    const char *config, *tenant, *reason, *name;
    enum verb verb;
    bool json;
};

static const char *text_of(const json_t *row, const char *name)
{
    const char *value = json_string_value(json_object_get(row, name));

    return value != NULL ? value : "-";
}

static json_int_t number_of(const json_t *row, const char *name)
{
    return json_integer_value(json_object_get(row, name));
}

/* What it waits for, or will: a line each. */
static void print_waits(const json_t *row)
{
    const json_t *paused = json_object_get(row, "paused");
    const json_t *window = json_object_get(row, "maintenance");
    const json_t *asked = json_object_get(row, "asked_to_wait_until");

    if (json_is_object(paused)) {
        printf("%-16s paused by %s at %s: %s\n", "", text_of(paused, "by"), text_of(paused, "at"),
               text_of(paused, "reason"));
    }
    if (json_is_true(json_object_get(window, "now"))) {
        printf("%-16s in maintenance until %s: %s\n", "", text_of(window, "until"),
               text_of(window, "reason"));
    } else if (json_is_object(window)) {
        printf("%-16s next maintenance from %s to %s: %s\n", "", text_of(window, "from"),
               text_of(window, "until"), text_of(window, "reason"));
    }
    if (json_is_string(asked)) {
        printf("%-16s asked us to wait until %s\n", "", json_string_value(asked));
    }
}

static void print_rows(const json_t *rows)
{
    const json_t *row;
    size_t i;

    printf("%-16s %-10s %-11s %-9s %6s %6s %6s %6s  %s\n", "DESTINATION", "CONNECTOR", "STATE",
           "BREAKER", "OPEN", "OUT", "RETRY", "DOUBT", "OLDEST OPEN SINCE");
    json_array_foreach(rows, i, row)
    {
        printf("%-16s %-10s %-11s %-9s %6lld %6lld %6lld %6lld  %s\n", text_of(row, "destination"),
               text_of(row, "connector"), text_of(row, "state"), text_of(row, "breaker"),
               (long long)number_of(row, "open"), (long long)number_of(row, "in_flight"),
               (long long)number_of(row, "retry"), (long long)number_of(row, "in_doubt"),
               text_of(row, "oldest_open_since"));
        print_waits(row);
    }
}

static int show(const struct options *o, const json_t *answer, struct tg_error *err)
{
    const json_t *rows = json_object_get(answer, "destinations");
    FILE *last = tg_out_last(o->json);

    if (o->json && tg_out_borrowed(COMMAND, answer) != TG_EXIT_OK) {
        return tg_error_set(err, "out of memory");
    }
    if (o->verb == VERB_LIST) {
        if (!o->json) {
            print_rows(rows);
        }
        fprintf(last, "destinations: %zu\n", json_array_size(rows));
        return 0;
    }
    fprintf(last, "destinations: %s is %s\n", o->name, text_of(answer, "state"));
    return 0;
}

static int call(const struct options *o, const struct tg_config *config, json_t **answer,
                struct tg_error *err)
{
    static const char *const verbs[] = {[VERB_PAUSE] = "pause", [VERB_RESUME] = "resume"};
    const char *tenant = tg_client_tenant(config, o->tenant, err);
    char path[PATH_BYTES];
    json_t *body;
    int rc;

    if (tenant == NULL) {
        return -1;
    }
    if (o->verb == VERB_LIST) {
        return tg_client_call(config, "GET", "/v1/ops/destinations", tenant, NULL, answer, err);
    }
    (void)snprintf(path, sizeof(path), "/v1/ops/destinations/%.64s/%s", o->name, verbs[o->verb]);
    body = json_pack("{s:s*}", "reason", o->reason);
    if (body == NULL) {
        return tg_error_set(err, "the reason is not UTF-8 text");
    }
    rc = tg_client_call(config, "POST", path, tenant, body, answer, err);
    json_decref(body);
    return rc;
}

static int run(const struct options *o)
{
    struct tg_error err = {""};
    struct tg_config *config = tg_config_load(o->config, &err);
    json_t *answer = NULL;
    int rc = -1;

    if (config != NULL) {
        rc = call(o, config, &answer, &err);
    }
    if (rc == 0) {
        rc = show(o, answer, &err);
    }
    json_decref(answer);
    tg_config_free(config);
    return rc == 0 ? TG_EXIT_OK : tg_cmd_failed(COMMAND, "%s", err.text);
}

static int parse_verb(const char *word, enum verb *out)
{
    if (strcmp(word, "list") == 0) {
        *out = VERB_LIST;
    } else if (strcmp(word, "pause") == 0) {
        *out = VERB_PAUSE;
    } else if (strcmp(word, "resume") == 0) {
        *out = VERB_RESUME;
    } else {
        return -1;
    }
    return 0;
}

/* Whether to go on; if not, *rc is the exit code. */
static bool parse(int argc, char **argv, struct options *o, int *rc)
{
    const struct tg_cmd_option options[] = {{"config", &o->config, NULL},
                                            {"tenant", &o->tenant, NULL},
                                            {"reason", &o->reason, NULL},
                                            {"json", NULL, &o->json},
                                            {0}};
    int first = tg_cmd_options(COMMAND, argc, argv, options, rc);

    if (first < 0) {
        return false;
    }
    if (o->verb != VERB_LIST && first < argc &&
        tg_str_is_name(tg_str_of(argv[first]), TG_SOURCE_NAME_MAX_BYTES)) {
        o->name = argv[first++];
    }
    if (o->verb != VERB_LIST && o->name == NULL) {
        *rc = tg_cmd_usage_error(COMMAND, "say the name of one destination, as `list` shows it");
        return false;
    }
    return tg_cmd_no_more(COMMAND, argc, argv, first, rc);
}

int tg_cmd_destinations(int argc, char **argv)
{
    struct options o = {.config = TG_CONFIG_DEFAULT_PATH};
    int rc;

    if (argc < 2 || parse_verb(argv[1], &o.verb) != 0) {
        return tg_cmd_usage_error(COMMAND, "say `list`, `pause NAME` or `resume NAME`");
    }
    return parse(argc - 1, argv + 1, &o, &rc) ? run(&o) : rc;
}
