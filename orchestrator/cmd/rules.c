/*
 * rules.c: `tallygate rules test`: every fixture beside every rule.
 */
#include "rules/rules.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/config.h"

#define COMMAND "rules"

static void on_fixture(void *arg, const char *file, bool passed, const char *message)
{
    size_t *count = arg;

    (*count)++;
    if (passed) {
        printf("ok   %s\n", file);
    } else {
        printf("FAIL %s: %s\n", file, message != NULL ? message : "no reason given");
    }
}

static int run(const char *path)
{
    struct tg_error err = {""};
    size_t count = 0;
    int failed = tg_rules_test(path, on_fixture, &count, &err);

    if (failed < 0) {
        return tg_cmd_failed(COMMAND, "%s", err.text);
    }
    if (count == 0) {
        return tg_cmd_failed(COMMAND,
                             "%s: there are no fixtures; put NAME.fixtures/*.json beside "
                             "each rule",
                             path);
    }
    if (failed > 0) {
        printf("rules: %d of %zu fixtures failed\n", failed, count);
        return TG_EXIT_FAILED;
    }
    printf("rules: ok (%zu fixtures)\n", count);
    return TG_EXIT_OK;
}

static int run_configured(const char *file)
{
    struct tg_error err = {""};
    struct tg_config *config = tg_config_load(file, &err);
    int rc;

    if (config == NULL) {
        return tg_cmd_failed(COMMAND, "%s", err.text);
    }
    rc = run(config->rules.path);
    tg_config_free(config);
    return rc;
}

int tg_cmd_rules(int argc, char **argv)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {NULL, 0, NULL, 0},
    };
    const char *file = TG_CONFIG_DEFAULT_PATH;
    int c;

    if (argc < 2) {
        return tg_cmd_usage_error(COMMAND, "say `test`");
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        return tg_cmd_help(COMMAND);
    }
    if (strcmp(argv[1], "test") != 0) {
        return tg_cmd_usage_error(COMMAND, "there is no `%s`; accepted: test", argv[1]);
    }
    tg_cmd_getopt_reset();
    while ((c = getopt_long(argc - 1, argv + 1, "c:", options, NULL)) != -1) {
        if (c != 'c') {
            return tg_cmd_usage_error(COMMAND, "`%s` is not understood", argv[optind]);
        }
        file = optarg;
    }
    argc -= 1 + optind;
    argv += 1 + optind;
    if (argc > 1) {
        return tg_cmd_usage_error(COMMAND, "`%s` is not understood", argv[1]);
    }
    return argc == 1 ? run(argv[0]) : run_configured(file);
}
