/*
 * fixtures.c: runs NAME.fixtures/ *.json beside each rule file:
 *
 *   sources   {"input": {"headers": {}, "body": ..., "ctx": {}}, "expected": {"objects": [...]}}
 *   validate  {"input": {"object": ..., "ctx": {}},   "expected": {"violations": [...]}}
 *   route     {"input": {"object": ..., "ctx": {}},   "expected": {"postings": [...]}}
 *             {"input": {"posting": ..., "ctx": {}},  "expected": {"reversal": ...}}
 *   connectors
 *             {"input": {"call": "request", "posting": ..., "response": ..., "name": "",
 *              "ctx": {}},                       "expected": {"result": ...}}
 *
 * or "expected": {"error": "part of the message"}; a decoder's violations are its "objects".
 * "about" may say in words what it shows. ctx may give tenant, source, today and destinations; the
 * master data is fixtures/master.json with fixtures/ownership.yaml and fixtures/calendar.yaml, or
 * fixtures/calendar.NAME.yaml when the input says "calendar": "NAME", and fixtures/project_map.yaml
 * as the map of the source jira; ctx.change of master data follows from all that. A rule file
 * without fixtures fails.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "master/change.h"
#include "rules/internal.h"
#include "rules/scripts.h"

#define DIFF_MAX_BYTES 400

struct tester {
    const char *path;
    struct tg_rules *rules;
    struct tg_master *master; /* NULL: the bundle has none */
    tg_fixture_result fn;
    void *arg;
    int failed;
};

struct suite {
    const char *folder, *answer;
    const char *other_input, *other_answer; /* of a second function; NULL: there is none */
};

static const struct suite suites[] = {{"sources/", "objects", NULL, NULL},
                                      {"validate/", "violations", NULL, NULL},
                                      {"route/", "postings", "posting", "reversal"},
                                      {"connectors/", "result", NULL, NULL}};

/* The other input of the suite, when the fixture has it instead of the usual one. */
static const json_t *other_input(const struct suite *s, const json_t *input)
{
    return s->other_input != NULL ? json_object_get(input, s->other_input) : NULL;
}

static void report(struct tester *t, const char *file, bool passed, const char *message)
{
    if (!passed) {
        t->failed++;
    }
    if (t->fn != NULL) {
        t->fn(t->arg, file, passed, message);
    }
}

struct path {
    char text[TG_RULE_PATH_MAX_BYTES];
};

/* NULL: the bundle has no such file. */
static const char *fixture_file(const struct tester *t, const char *name, struct path *out)
{
    int n = snprintf(out->text, sizeof(out->text), "%s/fixtures/%s", t->path, name);

    return n > 0 && (size_t)n < sizeof(out->text) && access(out->text, F_OK) == 0 ? out->text
                                                                                  : NULL;
}

/* name "": the usual calendar. A bundle without master data leaves *out NULL. */
static int load_master(const struct tester *t, const char *name, struct tg_master **out,
                       struct tg_error *err)
{
    struct path master, calendar, ownership, map, calendar_name;
    struct tg_master_map_file maps[] = {{"jira", fixture_file(t, "project_map.yaml", &map)}};
    struct tg_master_files files = {.master = fixture_file(t, "master.json", &master),
                                    .ownership = fixture_file(t, "ownership.yaml", &ownership),
                                    .maps = maps,
                                    .map_count = maps[0].path != NULL ? 1 : 0};

    (void)snprintf(calendar_name.text, sizeof(calendar_name.text), "calendar%s%.64s.yaml",
                   name[0] != '\0' ? "." : "", name);
    files.calendar = fixture_file(t, calendar_name.text, &calendar);
    if (files.master == NULL) {
        return 0;
    }
    if (name[0] != '\0' && files.calendar == NULL) {
        return tg_error_set(err, "there is no fixtures/%s", calendar_name.text);
    }
    *out = tg_master_load(&files, err);
    return *out != NULL ? 0 : -1;
}

static const char *text_or(const json_t *object, const char *key, const char *otherwise)
{
    const char *s = json_string_value(json_object_get(object, key));

    return s != NULL ? s : otherwise;
}

/* "validate/time_entry.lua" -> "time_entry" */
static bool stem_of(const struct suite *s, const char *file, char *out, size_t out_size)
{
    size_t skip = strlen(s->folder), len = strlen(file);
    struct tg_str stem = {(const unsigned char *)file + skip, len - skip - strlen(".lua")};

    return tg_str_copy(stem, out, out_size);
}

/* The context a connector is given, with what the fixture says of it. */
static json_t *connector_ctx(const json_t *given)
{
    json_t *ctx = json_pack("{s:s, s:s, s:{}, s:{}}", "destination", "erp", "tenant", "acme",
                            "options", "known");

    if (ctx != NULL && given != NULL && json_object_update(ctx, (json_t *)given) != 0) {
        json_decref(ctx);
        return NULL;
    }
    return ctx;
}

/* Arguments of each function, in the order of connect/script.h; "" none. */
static json_t *connector_args(const char *function, const json_t *input, struct tg_error *err)
{
    static const struct {
        const char *function, *first, *second;
    } table[] = {{"about", "", ""},
                 {"request", "posting", ""},
                 {"reverse", "posting", ""},
                 {"lookup", "posting", ""},
                 {"learn", "response", "name"},
                 {"classify", "response", "posting"},
                 {"found", "response", "posting"},
                 {"login", "", ""},
                 {"session", "response", ""}};
    json_t *args = json_array();
    size_t i = 0;

    while (i < sizeof(table) / sizeof(table[0]) && strcmp(table[i].function, function) != 0) {
        i++;
    }
    if (i == sizeof(table) / sizeof(table[0])) {
        tg_error_set(err, "`call` names no function of a connector: `%.40s`", function);
        json_decref(args);
        return NULL;
    }
    for (int k = 0; k < 2; k++) {
        const char *name = k == 0 ? table[i].first : table[i].second;

        if (name[0] != '\0' && json_array_append(args, json_object_get(input, name)) != 0) {
            tg_error_set(err, "the fixture's input lacks `%s`", name);
            json_decref(args);
            return NULL;
        }
    }
    if (json_array_append_new(args, connector_ctx(json_object_get(input, "ctx"))) != 0) {
        tg_error_set(err, "out of memory");
        json_decref(args);
        return NULL;
    }
    return args;
}

static json_t *connector_answer(struct tester *t, const char *name, const json_t *input,
                                struct tg_error *err)
{
    const char *function = text_or(input, "call", "");
    json_t *args = connector_args(function, input, err);
    json_t *result = args != NULL ? tg_rules_connector(t->rules, name, function, args, err) : NULL;

    json_decref(args);
    if (result != NULL && tg_script_check_result(function, result, err) != 0) {
        json_decref(result);
        return NULL;
    }
    return result;
}

static json_t *answer_of(struct tester *t, const struct suite *s, const char *file,
                         const json_t *input, struct tg_error *err)
{
    const json_t *ctx_in = json_object_get(input, "ctx");
    const json_t *named = json_object_get(ctx_in, "destinations");
    json_t *usual = json_pack("[s, s]", "erp", "payroll"), *answer = NULL, *change = NULL;
    struct tg_rules_ctx ctx = {.tenant = text_or(ctx_in, "tenant", "acme"),
                               .source = text_or(ctx_in, "source", "psa"),
                               .today = text_or(ctx_in, "today", "2026-11-20"),
                               .destinations = named != NULL ? named : usual};
    char name[TG_RULE_PATH_MAX_BYTES];
    const json_t *object = json_object_get(input, "object");

    if (t->master != NULL && tg_change_is_kind(text_or(object, "kind", ""))) {
        change = tg_change_make(t->master, object, ctx.source);
        ctx.change = change;
    }
    if (usual == NULL || !stem_of(s, file, name, sizeof(name))) {
        tg_error_set(err, "out of memory");
    } else if (strcmp(s->answer, "result") == 0) {
        answer = connector_answer(t, name, input, err);
    } else if (strcmp(s->answer, "objects") == 0) {
        answer = tg_rules_decode(t->rules, name, json_object_get(input, "headers"),
                                 json_object_get(input, "body"), t->master, &ctx, err);
    } else if (other_input(s, input) != NULL) {
        answer = tg_rules_reversal(t->rules, name, other_input(s, input), t->master, &ctx, err);
    } else if (strcmp(text_or(object, "kind", ""), name) != 0) {
        tg_error_set(err, "the fixture's object is not of kind %.64s", name);
    } else if (strcmp(s->answer, "violations") == 0) {
        answer = tg_rules_check(t->rules, object, t->master, &ctx, err);
    } else {
        answer = tg_rules_plan(t->rules, object, t->master, &ctx, err);
    }
    json_decref(usual);
    json_decref(change);
    return answer;
}

static json_t *answer_with_calendar(struct tester *t, const struct suite *s, const char *file,
                                    const json_t *input, struct tg_error *err)
{
    const char *name = text_or(input, "calendar", "");
    struct tg_master *usual = t->master;
    json_t *answer = NULL;

    if (name[0] == '\0') {
        return answer_of(t, s, file, input, err);
    }
    t->master = NULL;
    if (!tg_str_is_name(tg_str_of(name), TG_SOURCE_NAME_MAX_BYTES)) {
        tg_error_set(err, "calendar `%.64s`: use letters, digits, . _ -", name);
    } else if (load_master(t, name, &t->master, err) == 0) {
        answer = answer_of(t, s, file, input, err);
    }
    tg_master_unref(t->master);
    t->master = usual;
    return answer;
}

static void report_difference(struct tester *t, const char *where, const json_t *want,
                              const json_t *got, const struct tg_error *err)
{
    char *want_text = json_dumps(want, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    char *got_text =
        got != NULL ? json_dumps(got, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY) : NULL;
    char text[3 * DIFF_MAX_BYTES];

    if (snprintf(text, sizeof(text), "expected %.*s, got %s%.*s", DIFF_MAX_BYTES,
                 want_text != NULL ? want_text : "?", got != NULL ? "" : "the error: ",
                 DIFF_MAX_BYTES, got_text != NULL ? got_text : err->text) < 0) {
        text[0] = '\0';
    }
    report(t, where, false, text);
    free(want_text);
    free(got_text);
}

static void compare(struct tester *t, const char *answer, const char *where, const json_t *expected,
                    const json_t *got, const struct tg_error *err)
{
    const char *error = json_string_value(json_object_get(expected, "error"));
    const json_t *want = json_object_get(expected, answer);

    if (json_object_size(expected) != 1 || (error == NULL && want == NULL)) {
        report(t, where, false, "`expected` must hold the answer or `error`, and nothing else");
    } else if (error != NULL ? got == NULL && strstr(err->text, error) != NULL
                             : got != NULL && json_equal(want, got)) {
        report(t, where, true, "");
    } else {
        report_difference(t, where, expected, got, err);
    }
}

static bool is_known_shape(const json_t *fixture)
{
    size_t about = json_object_get(fixture, "about") != NULL ? 1 : 0;

    return json_is_object(json_object_get(fixture, "input")) &&
           json_is_object(json_object_get(fixture, "expected")) &&
           json_object_size(fixture) == 2 + about;
}

/* where: path below the bundle. */
static void run_fixture(struct tester *t, const struct suite *s, const char *file,
                        const char *where)
{
    char path[2 * TG_RULE_PATH_MAX_BYTES];
    struct tg_error err = {""};
    json_error_t problem;
    struct stat st;
    json_t *fixture, *got;
    const json_t *input;
    int n = snprintf(path, sizeof(path), "%s/%s", t->path, where);

    if (n < 0 || (size_t)n >= sizeof(path) || stat(path, &st) != 0 ||
        st.st_size > TG_FIXTURE_MAX_BYTES) {
        report(t, where, false, "cannot be read, or is too large");
        return;
    }
    fixture = json_load_file(path, JSON_REJECT_DUPLICATES, &problem);
    if (fixture == NULL || !is_known_shape(fixture)) {
        tg_error_set(&err, "line %d: %s", fixture == NULL ? problem.line : 1,
                     fixture == NULL ? problem.text : "expected {\"input\": {}, \"expected\": {}}");
        report(t, where, false, err.text);
        json_decref(fixture);
        return;
    }
    input = json_object_get(fixture, "input");
    got = answer_with_calendar(t, s, file, input, &err);
    compare(t, other_input(s, input) != NULL ? s->other_answer : s->answer, where,
            json_object_get(fixture, "expected"), got, &err);
    json_decref(got);
    json_decref(fixture);
}

static int is_fixture(const struct dirent *e)
{
    size_t len = strlen(e->d_name);

    return e->d_name[0] != '.' && len > 5 && strcmp(e->d_name + len - 5, ".json") == 0;
}

static void run_suite(struct tester *t, const struct suite *s, const char *file)
{
    char folder[TG_RULE_PATH_MAX_BYTES], path[2 * TG_RULE_PATH_MAX_BYTES];
    int stem = (int)(strlen(file) - strlen(".lua"));
    struct dirent **entries = NULL;
    int n = -1, len = snprintf(folder, sizeof(folder), "%.*s.fixtures", stem, file);

    if (len > 0 && (size_t)len < sizeof(folder)) {
        len = snprintf(path, sizeof(path), "%s/%s", t->path, folder);
        n = len > 0 && (size_t)len < sizeof(path) ? scandir(path, &entries, is_fixture, alphasort)
                                                  : -1;
    }
    if (n <= 0 || n > TG_FIXTURES_PER_RULE_MAX) {
        report(t, file, false, n <= 0 ? "has no fixtures" : "has too many fixtures");
    }
    for (int i = 0; i < n; i++) {
        char where[2 * TG_RULE_PATH_MAX_BYTES];

        len = snprintf(where, sizeof(where), "%s/%s", folder, entries[i]->d_name);
        if (n <= TG_FIXTURES_PER_RULE_MAX && len > 0 && (size_t)len < sizeof(where)) {
            run_fixture(t, s, file, where);
        }
        free(entries[i]);
    }
    free(entries);
}

int tg_rules_test(const char *path, tg_fixture_result fn, void *arg, struct tg_error *err)
{
    struct tester t = {.path = path, .fn = fn, .arg = arg};
    struct tg_bundle *b = tg_bundle_load(path, err);

    if (b == NULL) {
        return -1;
    }
    t.rules = tg_rules_new(b, err);
    if (t.rules == NULL || load_master(&t, "", &t.master, err) != 0) {
        t.failed = -1;
    }
    for (size_t i = 0; t.failed >= 0 && i < b->count; i++) {
        for (size_t k = 0; k < sizeof(suites) / sizeof(suites[0]); k++) {
            if (strncmp(b->files[i].name, suites[k].folder, strlen(suites[k].folder)) == 0) {
                run_suite(&t, &suites[k], b->files[i].name);
            }
        }
    }
    tg_master_unref(t.master);
    tg_rules_free(t.rules);
    tg_bundle_unref(b);
    return t.failed;
}
