/*
 * health.c: `tallygate health`: does a process of this machine answer? For the health checks of
 * containers and supervisors, which have no curl at hand.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/ask.h"
#include "cmd/cmd.h"
#include "cmd/config.h"
#include "cmd/options.h"
#include "cmd/out.h"

#define COMMAND "health"
#define PATH_DEFAULT "/readyz"
#define SECONDS_DEFAULT 3
#define SECONDS_MAX 60
#define ADDRESS_BYTES (TG_LISTEN_PATH_MAX_BYTES + 16)

struct options {
    const char *config, *at, *path;
    long seconds;
    bool json;
};

/* The address to ask: the one given, or the one that `serve` was told to listen on. */
static int find_address(const struct options *o, struct tg_listen *out, char name[ADDRESS_BYTES],
                        struct tg_error *err)
{
    struct tg_config *config = NULL;
    const char *text = o->at;
    int rc;

    if (text == NULL) {
        config = tg_config_load(o->config, err);
        if (config == NULL) {
            return -1;
        }
        text = config->api.listen;
    }
    rc = tg_listen_parse(tg_str_of(text), out, err);
    (void)snprintf(name, ADDRESS_BYTES, "%s", text);
    tg_config_free(config);
    return rc;
}

/* One line of plain text, whatever answered. */
static void make_plain(char *text)
{
    size_t len = strlen(text);

    for (size_t i = 0; i < len; i++) {
        if (!isprint((unsigned char)text[i])) {
            text[i] = ' ';
        }
    }
    while (len > 0 && text[len - 1] == ' ') {
        text[--len] = '\0';
    }
}

static int say(const struct options *o, const char *at, const struct tg_answer *answer)
{
    bool well = answer->status >= 200 && answer->status <= 299;

    if (o->json &&
        tg_out_json(COMMAND, json_pack("{s:b, s:s, s:s, s:I, s:s}", "ok", well, "address", at,
                                       "path", o->path, "status", (json_int_t)answer->status,
                                       "answer", answer->body)) != TG_EXIT_OK) {
        return TG_EXIT_FAILED;
    }
    if (!well) {
        return tg_cmd_failed(COMMAND, "%s: %s: status %ld: %s", at, o->path, answer->status,
                             answer->body);
    }
    fprintf(tg_out_last(o->json), "health: ok (%s: %s: status %ld)\n", at, o->path, answer->status);
    return TG_EXIT_OK;
}

static int run(const struct options *o)
{
    struct tg_error err = {""};
    struct tg_ask question = {
        .path = o->path, .timeout_ms = o->seconds * 1000, .body_max_bytes = TG_ASK_BODY_MAX_BYTES};
    struct tg_answer answer;
    char at[ADDRESS_BYTES];
    int rc;

    if (find_address(o, &question.where, at, &err) != 0) {
        return tg_cmd_failed(COMMAND, "%s", err.text);
    }
    if (tg_ask(&question, &answer, &err) != TG_ASKED_ANSWERED) {
        return tg_cmd_failed(COMMAND, "%s: no answer to %s: %s", at, o->path, err.text);
    }
    make_plain(answer.body);
    rc = say(o, at, &answer);
    tg_answer_free(&answer);
    return rc;
}

int tg_cmd_health(int argc, char **argv)
{
    struct options o = {
        .config = TG_CONFIG_DEFAULT_PATH, .path = PATH_DEFAULT, .seconds = SECONDS_DEFAULT};
    const char *seconds = NULL;
    const struct tg_cmd_option options[] = {
        {"config", &o.config, NULL}, {"at", &o.at, NULL},     {"path", &o.path, NULL},
        {"timeout", &seconds, NULL}, {"json", NULL, &o.json}, {0}};
    char *end;
    int rc, first = tg_cmd_options(COMMAND, argc, argv, options, &rc);

    if (!tg_cmd_no_more(COMMAND, argc, argv, first, &rc)) {
        return rc;
    }
    if (seconds != NULL) {
        o.seconds = strtol(seconds, &end, 10);
        if (*end != '\0' || o.seconds < 1 || o.seconds > SECONDS_MAX) {
            return tg_cmd_usage_error(COMMAND, "--timeout is 1 to %d seconds, not `%s`",
                                      SECONDS_MAX, seconds);
        }
    }
    if (o.path[0] != '/') {
        return tg_cmd_usage_error(COMMAND, "--path begins with a slash, not `%s`", o.path);
    }
    return run(&o);
}
