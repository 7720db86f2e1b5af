/*
 * rules.c: `tallygate rules test`: every fixture beside every rule.
 */
#include "rules/rules.h"

#include <stdio.h>
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/config.h"
#include "cmd/options.h"
#include "cmd/out.h"

#define COMMAND "rules"

struct view {
    size_t count;
    json_t *rows; /* with --json */
};

static void on_fixture(void *arg, const char *file, bool passed, const char *message)
{
    struct view *v = arg;
    const char *why = message != NULL ? message : "no reason given";

    v->count++;
    if (v->rows != NULL) {
        (void)json_array_append_new(v->rows,
                                    json_pack("{s:s, s:b, s:s?}", "fixture", file, "passed", passed,
                                              "message", passed ? NULL : why));
    } else if (passed) {
        printf("ok   %s\n", file);
    } else {
        printf("FAIL %s: %s\n", file, why);
    }
}

static int run(const char *path, bool json)
{
    struct tg_error err = {""};
    struct view v = {.rows = json ? json_array() : NULL};
    int failed = tg_rules_test(path, on_fixture, &v, &err);

    if (failed < 0) {
        json_decref(v.rows);
        return tg_cmd_failed(COMMAND, "%s", err.text);
    }
    if (v.count == 0) {
        json_decref(v.rows);
        return tg_cmd_failed(COMMAND,
                             "%s: there are no fixtures; put NAME.fixtures/*.json beside "
                             "each rule",
                             path);
    }
    if (json && tg_out_json(COMMAND, json_pack("{s:o, s:i}", "fixtures", v.rows, "failed",
                                               failed)) != TG_EXIT_OK) {
        return TG_EXIT_FAILED;
    }
    if (failed > 0) {
        fprintf(tg_out_last(json), "rules: %d of %zu fixtures failed\n", failed, v.count);
        return TG_EXIT_FAILED;
    }
    fprintf(tg_out_last(json), "rules: ok (%zu fixtures)\n", v.count);
    return TG_EXIT_OK;
}

static int run_configured(const char *file, bool json)
{
    struct tg_error err = {""};
    struct tg_config *config = tg_config_load(file, &err);
    int rc;

    if (config == NULL) {
        return tg_cmd_failed(COMMAND, "%s", err.text);
    }
    rc = run(config->rules.path, json);
    tg_config_free(config);
    return rc;
}

int tg_cmd_rules(int argc, char **argv)
{
    const char *file = TG_CONFIG_DEFAULT_PATH, *folder = NULL;
    bool json = false;
    const struct tg_cmd_option options[] = {{"config", &file, NULL}, {"json", NULL, &json}, {0}};
    int rc, first;

    if (argc < 2) {
        return tg_cmd_usage_error(COMMAND, "say `test`");
    }
    if (strcmp(argv[1], "test") != 0) {
        return tg_cmd_usage_error(COMMAND, "there is no `%s`; accepted: test", argv[1]);
    }
    argc--;
    argv++;
    first = tg_cmd_options(COMMAND, argc, argv, options, &rc);
    if (first >= 0 && first < argc) {
        folder = argv[first++];
    }
    if (!tg_cmd_no_more(COMMAND, argc, argv, first, &rc)) {
        return rc;
    }
    return folder != NULL ? run(folder, json) : run_configured(file, json);
}
