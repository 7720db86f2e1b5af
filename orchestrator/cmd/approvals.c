/*
 * approvals.c: `tallygate approvals list|approve|refuse`: what waits for a second person, and that
 * person's word, by the running process.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cmd/client.h"
#include "cmd/cmd.h"
#include "cmd/config.h"
#include "cmd/options.h"
#include "cmd/out.h"
#include "common/codec.h"

#define COMMAND "approvals"
#define PATH_BYTES 96

struct options {
    const char *config, *tenant, *reason;
    bool json;
    const char *verb; /* "list", "approve", "refuse" */
    int64_t id;
};

static const char *text_of(const json_t *row, const char *name)
{
    const char *value = json_string_value(json_object_get(row, name));

    return value != NULL ? value : "-";
}

static void print_rows(const json_t *rows)
{
    const json_t *row;
    size_t i;

    if (json_array_size(rows) != 0) {
        printf("%-8s %-10s %-20s %-9s %-24s %-20s %s\n", "ID", "VERB", "SUBJECT", "STATE",
               "EXPIRES", "ASKED BY", "REASON");
    }
    json_array_foreach(rows, i, row)
    {
        printf("%-8lld %-10s %-20s %-9s %-24s %-20s %s\n",
               (long long)json_integer_value(json_object_get(row, "id")), text_of(row, "verb"),
               text_of(row, "subject"), text_of(row, "state"), text_of(row, "expires_at"),
               text_of(row, "asked_by"), text_of(row, "reason"));
    }
}

/* ---- the list: page after page ---- */

static int add_page(const struct tg_config *config, const char *tenant, json_t *rows, char *cursor,
                    size_t size, struct tg_error *err)
{
    char path[PATH_BYTES + TG_CURSOR_MAX_BYTES];
    json_t *answer = NULL;
    const char *next;
    int rc;

    (void)snprintf(path, sizeof(path), "/v1/ops/approvals%s%s", cursor[0] != '\0' ? "?cursor=" : "",
                   cursor);
    if (tg_client_call(config, "GET", path, tenant, NULL, &answer, err) != 0) {
        return -1;
    }
    next = json_string_value(json_object_get(answer, "next"));
    (void)snprintf(cursor, size, "%s", next != NULL ? next : "");
    rc = json_array_extend(rows, json_object_get(answer, "approvals"));
    json_decref(answer);
    return rc == 0 ? 0 : tg_error_set(err, "the answer is not one of tallygate's");
}

static int list(const struct options *o, const struct tg_config *config, const char *tenant,
                struct tg_error *err)
{
    char cursor[TG_CURSOR_MAX_BYTES + 1] = "";
    json_t *rows = json_array();
    json_t *all = json_pack("{s:O}", "approvals", rows);
    int rc = all != NULL ? 0 : tg_error_set(err, "out of memory");

    do {
        rc = rc == 0 ? add_page(config, tenant, rows, cursor, sizeof(cursor), err) : rc;
    } while (rc == 0 && cursor[0] != '\0');
    if (rc == 0 && o->json && tg_out_borrowed(COMMAND, all) != TG_EXIT_OK) {
        rc = tg_error_set(err, "out of memory");
    }
    if (rc == 0) {
        if (!o->json) {
            print_rows(rows);
        }
        fprintf(tg_out_last(o->json), "approvals: %zu waiting\n", json_array_size(rows));
    }
    json_decref(rows);
    json_decref(all);
    return rc;
}

static int decide(const struct options *o, const struct tg_config *config, const char *tenant,
                  struct tg_error *err)
{
    char path[PATH_BYTES];
    json_t *body = json_pack("{s:s, s:s*}", "decision", o->verb, "reason", o->reason);
    json_t *answer = NULL;
    int rc;

    if (body == NULL) {
        return tg_error_set(err, "the reason is not UTF-8 text");
    }
    (void)snprintf(path, sizeof(path), "/v1/ops/approvals/%" PRId64, o->id);
    rc = tg_client_call(config, "POST", path, tenant, body, &answer, err);
    json_decref(body);
    if (rc == 0 && o->json && tg_out_borrowed(COMMAND, answer) != TG_EXIT_OK) {
        rc = tg_error_set(err, "out of memory");
    }
    if (rc == 0) {
        fprintf(tg_out_last(o->json), "approvals: %" PRId64 " is %s%s\n", o->id,
                text_of(answer, "state"),
                json_is_true(json_object_get(answer, "changed")) ? "" : "; nothing changed");
    }
    json_decref(answer);
    return rc;
}

static int run(const struct options *o)
{
    struct tg_error err = {""};
    struct tg_config *config = tg_config_load(o->config, &err);
    const char *tenant = config != NULL ? tg_client_tenant(config, o->tenant, &err) : NULL;
    int rc = -1;

    if (tenant != NULL) {
        rc = strcmp(o->verb, "list") == 0 ? list(o, config, tenant, &err)
                                          : decide(o, config, tenant, &err);
    }
    tg_config_free(config);
    return rc == 0 ? TG_EXIT_OK : tg_cmd_failed(COMMAND, "%s", err.text);
}

/* Whether to go on; if not, *rc is the exit code. */
static bool parse(int argc, char **argv, struct options *o, int *rc)
{
    const bool is_list = strcmp(o->verb, "list") == 0;
    const struct tg_cmd_option options[] = {{"config", &o->config, NULL},
                                            {"tenant", &o->tenant, NULL},
                                            {"json", NULL, &o->json},
                                            {is_list ? NULL : "reason", &o->reason, NULL},
                                            {0}};
    int first = tg_cmd_options(COMMAND, argc, argv, options, rc);

    if (first < 0) {
        return false;
    }
    if (!is_list) {
        if (first >= argc || !tg_str_to_i64(tg_str_of(argv[first]), &o->id) || o->id <= 0) {
            *rc = tg_cmd_usage_error(COMMAND, "%s takes one ID, the number of `list`", o->verb);
            return false;
        }
        first++;
    }
    return tg_cmd_no_more(COMMAND, argc, argv, first, rc);
}

int tg_cmd_approvals(int argc, char **argv)
{
    struct options o = {.config = TG_CONFIG_DEFAULT_PATH};
    int rc;

    if (argc < 2 || (strcmp(argv[1], "list") != 0 && strcmp(argv[1], "approve") != 0 &&
                     strcmp(argv[1], "refuse") != 0)) {
        return tg_cmd_usage_error(COMMAND, "say `list`, `approve ID` or `refuse ID`");
    }
    o.verb = argv[1];
    return parse(argc - 1, argv + 1, &o, &rc) ? run(&o) : rc;
}
