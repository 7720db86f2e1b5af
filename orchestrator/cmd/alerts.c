/* alerts.c: `tallygate alerts test`: is the webhook right, does the mail arrive. */
#include <stdio.h>
#include <string.h>

#include "alert/alert.h"
#include "cmd/cmd.h"
#include "cmd/config.h"
#include "cmd/options.h"
#include "cmd/out.h"

#define COMMAND "alerts"

static void on_said(void *arg, const char *channel, bool ok, const char *why)
{
    json_t *rows = arg; /* with --json */

    if (rows != NULL) {
        (void)json_array_append_new(rows, json_pack("{s:s, s:b, s:s?}", "channel", channel,
                                                    "delivered", ok, "message", ok ? NULL : why));
    } else if (ok) {
        printf("%-9s delivered\n", channel);
    } else {
        printf("%-9s NOT delivered: %s\n", channel, why);
    }
}

static int run(const char *path, bool json)
{
    struct tg_error err = {""};
    json_t *rows = NULL;
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
    rows = json ? json_array() : NULL;
    rc = tg_alerts_test(config, TG_VERSION, on_said, rows, &err);
    tg_config_free(config);
    if (rc < 0) {
        json_decref(rows);
        return tg_cmd_failed(COMMAND, "%s", err.text);
    }
    if (json && tg_out_json(COMMAND, json_pack("{s:o}", "channels", rows)) != TG_EXIT_OK) {
        return TG_EXIT_FAILED;
    }
    fprintf(tg_out_last(json), "alerts: %s\n", rc == 0 ? "ok" : "not every channel works");
    return rc == 0 ? TG_EXIT_OK : TG_EXIT_FAILED;
}

int tg_cmd_alerts(int argc, char **argv)
{
    bool json = false;
    const char *path = TG_CONFIG_DEFAULT_PATH;
    const struct tg_cmd_option options[] = {{"config", &path, NULL}, {"json", NULL, &json}, {0}};
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
    return tg_cmd_no_more(COMMAND, argc, argv, first, &rc) ? run(path, json) : rc;
}
