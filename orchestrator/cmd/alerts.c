/* alerts.c: `tallygate alerts test`: is the webhook right, does the mail arrive. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "alert/alert.h"
#include "cmd/cmd.h"
#include "cmd/config.h"

#define COMMAND "alerts"

static void on_said(void *arg, const char *channel, bool ok, const char *why)
{
    (void)arg;
    if (ok) {
        printf("%-9s delivered\n", channel);
    } else {
        printf("%-9s NOT delivered: %s\n", channel, why);
    }
}

static int run(const char *path)
{
    struct tg_error err = {""};
    struct tg_config *config = tg_config_load(path, &err);
    int rc;

    if (config == NULL) {
        return tg_cmd_failed(COMMAND, "%s", err.text);
    }
    if (!tg_alerts_is_wanted(config)) {
        rc = tg_cmd_failed(COMMAND, "%s has neither alerts.webhook nor alerts.smtp", path);
        tg_config_free(config);
        return rc;
    }
    rc = tg_alerts_test(config, TG_VERSION, on_said, NULL, &err);
    tg_config_free(config);
    if (rc < 0) {
        return tg_cmd_failed(COMMAND, "%s", err.text);
    }
    printf("alerts: %s\n", rc == 0 ? "ok" : "not every channel works");
    return rc == 0 ? TG_EXIT_OK : TG_EXIT_FAILED;
}

int tg_cmd_alerts(int argc, char **argv)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {NULL, 0, NULL, 0}};
    const char *path = TG_CONFIG_DEFAULT_PATH;
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
        path = optarg;
    }
    return optind + 1 < argc
               ? tg_cmd_usage_error(COMMAND, "`%s` is not understood", argv[optind + 1])
               : run(path);
}
