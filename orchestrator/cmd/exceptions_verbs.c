#include "cmd/exceptions_verbs.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/client.h"
#include "cmd/cmd.h"
#include "cmd/config.h"
#include "cmd/files.h"
#include "cmd/options.h"
#include "cmd/out.h"
#include "common/codec.h"

#define COMMAND "exceptions"
#define PATH_BYTES 96
#define STANDARD_INPUT "/dev/stdin"

struct options {
    const char *config, *tenant, *reason;
    const char *to, *outcome, *reference, *file, *period;
    bool json;
    const char *verb;
    int64_t id;
};

/* The options a verb takes beside -c, --tenant, --reason and --json. */
struct verb {
    const char *name;
    const char *first, *second; /* NULL: none */
};

static const struct verb verbs[] = {
    {"assign", "to", NULL},  {"replay", NULL, NULL},     {"resolve", "outcome", "reference"},
    {"discard", NULL, NULL}, {"edit", "file", "period"},
};

static const struct verb *find(const char *word)
{
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        if (strcmp(verbs[i].name, word) == 0) {
            return &verbs[i];
        }
    }
    return NULL;
}

bool tg_cmd_exceptions_is_verb(const char *word)
{
    return find(word) != NULL;
}

/* ---- asking ---- */

static json_t *content_of(const struct options *o, struct tg_error *err)
{
    const char *path = o->file != NULL && strcmp(o->file, "-") != 0 ? o->file : STANDARD_INPUT;
    char *text = tg_file_text(path, err);
    json_error_t why;
    json_t *json;

    if (text == NULL) {
        return NULL;
    }
    json = json_loads(text, JSON_REJECT_DUPLICATES, &why);
    free(text);
    if (!json_is_object(json)) {
        json_decref(json);
        (void)tg_error_set(err, "%s is not one JSON object: %s", path,
                           json == NULL ? why.text : "it is another kind of JSON");
        return NULL;
    }
    return json;
}

static json_t *body_of(const struct options *o, struct tg_error *err)
{
    json_t *content = NULL;
    json_t *body;

    if (strcmp(o->verb, "edit") == 0) {
        content = content_of(o, err);
        if (content == NULL) {
            return NULL;
        }
    }
    body = json_pack("{s:s*, s:s*, s:s*, s:s*, s:s*, s:o*}", "reason", o->reason, "assignee", o->to,
                     "outcome", o->outcome, "reference", o->reference, "period", o->period,
                     "content", content);
    if (body == NULL) {
        (void)tg_error_set(err, "the texts given are not UTF-8");
    }
    return body;
}

static int call(const struct options *o, const struct tg_config *config, json_t **answer,
                struct tg_error *err)
{
    const char *tenant = tg_client_tenant(config, o->tenant, err);
    char path[PATH_BYTES];
    json_t *body;
    int rc;

    if (tenant == NULL) {
        return -1;
    }
    body = body_of(o, err);
    if (body == NULL) {
        return -1;
    }
    (void)snprintf(path, sizeof(path), "/v1/ops/exceptions/%" PRId64 "/%s", o->id, o->verb);
    rc = tg_client_call(config, "POST", path, tenant, body, answer, err);
    json_decref(body);
    return rc;
}

static const char *text_of(const json_t *row, const char *name)
{
    return json_string_value(json_object_get(row, name));
}

static int show(const struct options *o, const json_t *answer, struct tg_error *err)
{
    FILE *last = tg_out_last(o->json);
    const char *message = text_of(answer, "message");
    const char *outcome = text_of(answer, "outcome");
    const char *assignee = text_of(answer, "assignee");
    const char *state = text_of(answer, "state");

    if (o->json && tg_out_borrowed(COMMAND, answer) != TG_EXIT_OK) {
        return tg_error_set(err, "out of memory");
    }
    if (json_object_get(answer, "approval") != NULL) {
        fprintf(last, "exceptions: %" PRId64 " waits for a second person: approval %lld%s\n", o->id,
                (long long)json_integer_value(json_object_get(answer, "approval")),
                json_is_true(json_object_get(answer, "changed")) ? "" : "; nothing changed");
        return 0;
    }
    if (message != NULL && !o->json) {
        printf("%s\n", message);
    }
    fprintf(last, "exceptions: %" PRId64 " is %s", o->id, state != NULL ? state : "-");
    if (strcmp(o->verb, "assign") == 0 && assignee != NULL) {
        fprintf(last, " to %s", assignee);
    } else if (outcome != NULL) {
        fprintf(last, " (%s)", outcome);
    }
    fprintf(last, "%s\n",
            json_is_true(json_object_get(answer, "changed")) ? "" : "; nothing changed");
    return 0;
}

static int run(const struct options *o)
{
    struct tg_error err = {""};
    struct tg_config *config = tg_config_load(o->config, &err);
    json_t *answer = NULL;
    int rc = config != NULL ? call(o, config, &answer, &err) : -1;

    if (rc == 0) {
        rc = show(o, answer, &err);
    }
    json_decref(answer);
    tg_config_free(config);
    return rc == 0 ? TG_EXIT_OK : tg_cmd_failed(COMMAND, "%s", err.text);
}

/* ---- arguments ---- */

static const char **place_of(struct options *o, const char *name)
{
    return strcmp(name, "to") == 0          ? &o->to
           : strcmp(name, "outcome") == 0   ? &o->outcome
           : strcmp(name, "reference") == 0 ? &o->reference
           : strcmp(name, "file") == 0      ? &o->file
                                            : &o->period;
}

/* What the verb cannot do without; NULL: nothing is missing. */
static const char *missing(const struct options *o)
{
    const bool posted = o->outcome != NULL && strcmp(o->outcome, "posted") == 0;

    if (strcmp(o->verb, "assign") == 0 && o->to == NULL) {
        return "say who has it now, with --to NAME";
    }
    if (strcmp(o->verb, "discard") == 0 && o->reason == NULL) {
        return "say why, with --reason TEXT";
    }
    if (strcmp(o->verb, "resolve") != 0) {
        return NULL;
    }
    if (!posted && (o->outcome == NULL || strcmp(o->outcome, "absent") != 0)) {
        return "say what became of it: --outcome posted, or --outcome absent";
    }
    return posted != (o->reference != NULL)
               ? "--reference is the destination's own, with --outcome posted and only then"
               : NULL;
}

/* Whether to go on; if not, *rc is the exit code. */
static bool parse(int argc, char **argv, const struct verb *v, struct options *o, int *rc)
{
    struct tg_cmd_option options[TG_CMD_OPTIONS_MAX + 1] = {{"config", &o->config, NULL},
                                                            {"tenant", &o->tenant, NULL},
                                                            {"reason", &o->reason, NULL},
                                                            {"json", NULL, &o->json}};
    size_t n = 4;
    const char *what;
    int first;

    if (v->first != NULL) {
        options[n++] = (struct tg_cmd_option){v->first, place_of(o, v->first), NULL};
    }
    if (v->second != NULL) {
        options[n++] = (struct tg_cmd_option){v->second, place_of(o, v->second), NULL};
    }
    first = tg_cmd_options(COMMAND, argc, argv, options, rc);
    if (first < 0) {
        return false;
    }
    if (first >= argc || !tg_str_to_i64(tg_str_of(argv[first]), &o->id) || o->id <= 0) {
        *rc = tg_cmd_usage_error(COMMAND, "%s takes one ID, the number of `list`", v->name);
        return false;
    }
    what = missing(o);
    if (what != NULL) {
        *rc = tg_cmd_usage_error(COMMAND, "%s", what);
        return false;
    }
    return tg_cmd_no_more(COMMAND, argc, argv, first + 1, rc);
}

int tg_cmd_exceptions_verb(int argc, char **argv)
{
    const struct verb *v = find(argv[0]);
    struct options o = {.config = TG_CONFIG_DEFAULT_PATH, .verb = v->name};
    int rc;

    return parse(argc, argv, v, &o, &rc) ? run(&o) : rc;
}
