#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "master/master.h"
#include "rules/schema.h"

#define EVENT "com.tallygate.time_entry.approved.v1"
#define SAID_BYTES 4096

static struct tg_schemas *schemas; /* of the product; tests run at the top of the tree */
static char dir[] = "/tmp/tg_schema_XXXXXX";

static void collect(void *arg, const char *pointer, const char *message)
{
    char *said = arg;
    size_t used = strlen(said);

    (void)snprintf(said + used, SAID_BYTES - used, "%s: %s\n", pointer, message);
}

/* The valid event with one change: key set to the JSON text, or removed when it is NULL. */
static json_t *event_with(const char *key, const char *value)
{
    json_t *e =
        json_pack("{s:s,s:i,s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "id", "TE-1", "version", 1, "worker",
                  "W-1", "project", "P-1", "task", "T-1", "date", "2026-11-16", "hours", "7.50",
                  "approved_at", "2026-11-20T17:00:00Z", "approved_by", "W-9");

    assert_non_null(e);
    if (key != NULL && value == NULL) {
        assert_int_equal(json_object_del(e, key), 0);
    } else if (key != NULL) {
        json_t *v = json_loads(value, JSON_DECODE_ANY, NULL);

        assert_int_equal(json_object_set_new(e, key, v), 0);
    }
    return e;
}

static void says(const char *key, const char *value, int count, const char *expected)
{
    json_t *e = event_with(key, value);
    char said[SAID_BYTES] = "";
    int n = tg_schemas_check(schemas, EVENT, e, collect, said);

    if (n != count || strstr(said, expected) == NULL) {
        fail_msg("%s = %s: %d breaches, expected %d `%s`:\n%s", key, value, n, count, expected,
                 said);
    }
    json_decref(e);
}

static void test_event(void **state)
{
    (void)state;
    says(NULL, NULL, 0, "");
    says("note", "\"n\\u00f6t\"", 0, "");
    says("id", NULL, 1, "/id: is missing; expected: the source's identifier");
    says("id", "7", 1, "/id: must be string");
    says("id", "\"\"", 2, "/id: ");
    says("id", "\"a\\u0007b\"", 1, "/id: does not have the required form");
    says("version", "0", 1, "/version: must be at least 1; expected: ");
    says("version", "9007199254740992", 1,
         "/version: must be at most 9007199254740991; expected: ");
    says("version", "1.5", 1, "/version: must be integer");
    says("version", "\"1\"", 1, "/version: must be integer");
    says("date", "\"2026-02-29\"", 1, "/date: must be a calendar day, YYYY-MM-DD");
    says("date", "\"16.11.2026\"", 1, "/date: must be a calendar day");
    says("date", "\"2026-11-16T00:00:00Z\"", 1, "/date: must be a calendar day");
    says("approved_at", "\"2026-11-20\"", 1, "/approved_at: must be a time like");
    says("approved_at", "\"2026-11-20T25:00:00Z\"", 1, "/approved_at: must be a time like");
    says("hours", "\"7,5\"", 1, "/hours: does not have the required form; expected: decimal hours");
    says("hours", "7.5", 1, "/hours: must be string");
    says("hours", "\"1e3\"", 1, "/hours: does not have");
    says("hours", NULL, 1, ": must have exactly one of `hours`, `minutes` and `duration`");
    says("minutes", "450", 1, ": must have exactly one of `hours`, `minutes` and `duration`");
    says("extra", "1", 1, "/extra: is not known here; remove it");
    says("a/b~c", "1", 1, "/a~1b~0c: is not known here");
    says("note", "[1]", 1, "/note: must be string");
}

static void test_durations(void **state)
{
    static const char *const good[] = {"PT7H30M", "PT450M", "PT1.5H", "PT36S", "7:30", "0:00"};
    static const char *const bad[] = {"PT", "P1D",   "PT7.5M", "7:60",    "7:3",    "7h",
                                      "",   "PT7H ", "-1:30",  "PT7H\\n", "1000:00"};
    char said[SAID_BYTES] = "", value[64];

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        json_t *e = event_with("hours", NULL);

        assert_int_equal(json_object_set_new(e, "duration", json_string(good[i])), 0);
        assert_int_equal(tg_schemas_check(schemas, EVENT, e, collect, said), 0);
        json_decref(e);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        json_t *e = event_with("hours", NULL);

        (void)snprintf(value, sizeof(value), "\"%s\"", bad[i]);
        assert_int_equal(
            json_object_set_new(e, "duration", json_loads(value, JSON_DECODE_ANY, NULL)), 0);
        said[0] = '\0';
        if (tg_schemas_check(schemas, EVENT, e, collect, said) != 1 ||
            strstr(said, "/duration: does not have the required form") == NULL) {
            fail_msg("%s: %s", bad[i], said);
        }
        json_decref(e);
    }
}

static void test_every_breach(void **state)
{
    json_t *e = json_pack("{s:i,s:s,s:s,s:s}", "id", 7, "date", "x", "one", "1", "two", "2");
    char said[SAID_BYTES] = "";

    (void)state;
    assert_int_equal(tg_schemas_check(schemas, EVENT, e, collect, said), 11);
    assert_non_null(strstr(said, "/one: is not known here"));
    assert_non_null(strstr(said, "/two: is not known here"));
    assert_non_null(strstr(said, "/approved_by: is missing"));
    assert_non_null(strstr(said, "/date: must be a calendar day"));
    json_decref(e);
    assert_int_equal(tg_schemas_check(schemas, EVENT, json_null(), NULL, NULL), 1);
    assert_int_equal(tg_schemas_check(schemas, "nothing", json_null(), NULL, NULL), -1);
    assert_true(tg_schemas_has(schemas, "canonical/time_entry"));
    assert_false(tg_schemas_has(schemas, "canonical"));
}

/* What would make valijson or std::regex recurse or crawl is stopped before. */
static void test_hostile_documents(void **state)
{
    char *text = malloc(2 * TG_SCHEMA_STRING_MAX_BYTES + 16), said[SAID_BYTES] = "";
    json_t *e, *deep = json_array();

    (void)state;
    assert_non_null(text);
    (void)memset(text, 'a', 2 * TG_SCHEMA_STRING_MAX_BYTES);
    text[2 * TG_SCHEMA_STRING_MAX_BYTES] = '\0';
    e = event_with(NULL, NULL);
    assert_int_equal(json_object_set_new(e, "worker", json_string(text)), 0);
    assert_int_equal(tg_schemas_check(schemas, EVENT, e, collect, said), 1);
    assert_non_null(strstr(said, "/worker: is longer than 4096 bytes"));
    text[TG_SCHEMA_STRING_MAX_BYTES] = '\0';
    assert_int_equal(json_object_set_new(e, "worker", json_string(text)), 0);
    assert_int_equal(tg_schemas_check(schemas, EVENT, e, collect, said), 1);
    assert_non_null(strstr(said, "/worker: string should be no more than 255"));
    assert_int_equal(json_object_set_new(e, "worker", json_string("W")), 0);
    text[TG_SCHEMA_STRING_MAX_BYTES] = 'a';
    assert_int_equal(json_object_set_new(e, text, json_true()), 0);
    assert_int_equal(tg_schemas_check(schemas, EVENT, e, collect, said), 1);
    assert_non_null(strstr(said, "member name longer than 4096 bytes"));
    json_decref(e);
    free(text);

    for (int i = 0; i < 1000; i++) {
        json_t *outer = json_array();

        assert_int_equal(json_array_append_new(outer, deep), 0);
        deep = outer;
    }
    assert_int_equal(tg_schemas_check(schemas, EVENT, deep, collect, said), 1);
    assert_non_null(strstr(said, "is nested deeper than 32 levels"));
    json_decref(deep);
}

/* The longest subject std::regex ever sees, on the small stack of a thread. */
static void *match_longest(void *arg)
{
    char text[TG_SCHEMA_STRING_MAX_BYTES + 1];
    json_t *e = event_with(NULL, NULL);

    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    (void)json_object_set_new(e, "worker", json_string(text));
    *(int *)arg = tg_schemas_check(schemas, EVENT, e, NULL, NULL);
    json_decref(e);
    return NULL;
}

static void test_stack_of_patterns(void **state)
{
    pthread_attr_t attr;
    pthread_t thread;
    int breaches = 0;

    (void)state;
    assert_int_equal(pthread_attr_init(&attr), 0);
    assert_int_equal(pthread_attr_setstacksize(&attr, 8 * 1024 * 1024), 0);
    assert_int_equal(pthread_create(&thread, &attr, match_longest, &breaches), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(pthread_attr_destroy(&attr), 0);
    assert_int_equal(breaches, 1);
}

/* conf/schemas/master.json and orchestrator/master/check.c say the same. */
static void test_master_agrees(void **state)
{
    static const char *const changes[][2] = {
        {"version", "7"},
        {"workers", "{}"},
        {"workers", "[{}]"},
        {"assignments", "[{\"worker\":\"W\",\"project\":\"P\",\"from\":\"2026-13-01\"}]"},
        {"cost_centers", "[{\"id\":\"C\",\"legal_entity\":\"D\",\"x\":1}]"},
        {"legal_entities", "[{\"id\":\"D\",\"currency\":\"eur\"}]"},
        {"labor_categories", "[{\"id\":\"a\",\"name\":\"A\",\"billable\":1,\"cost_rate\":\"1\","
                             "\"currency\":\"EUR\"}]"},
        {"labor_categories", "[{\"id\":\"a\",\"name\":\"A\",\"billable\":true,\"cost_rate\":\"-1\","
                             "\"currency\":\"EUR\"}]"},
        {"projects", "[{\"id\":\"P\",\"name\":\"P\",\"legal_entity\":\"D\",\"states\":[{\"from\":"
                     "\"2026-01-01\",\"state\":\"ajar\"}],\"tasks\":[]}]"},
        {"unknown", "[]"}};
    json_t *file = json_load_file("lua_rules/fixtures/master.json", 0, NULL);
    char path[64], said[SAID_BYTES] = "";
    struct tg_error err = {""};

    (void)state;
    assert_non_null(file);
    (void)snprintf(path, sizeof(path), "%s/master.json", dir);
    assert_int_equal(tg_schemas_check(schemas, "master", file, collect, said), 0);
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        json_t *changed = json_copy(file);

        assert_int_equal(json_object_set_new(changed, changes[i][0],
                                             json_loads(changes[i][1], JSON_DECODE_ANY, NULL)),
                         0);
        assert_int_equal(json_dump_file(changed, path, 0), 0);
        if (tg_schemas_check(schemas, "master", changed, NULL, NULL) < 1 ||
            tg_master_load(&(struct tg_master_files){.master = path}, &err) != NULL) {
            fail_msg("%s = %s was taken", changes[i][0], changes[i][1]);
        }
        json_decref(changed);
    }
    assert_int_equal(unlink(path), 0);
    json_decref(file);
}

static void write_schema(char path[64], const char *text)
{
    FILE *f;

    (void)snprintf(path, 64, "%s/a.json", dir);
    f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void load_refused(const char *text, const char *expected)
{
    struct tg_error err = {""};
    char path[64];

    write_schema(path, text);
    assert_null(tg_schemas_load(dir, &err));
    if (strstr(err.text, expected) == NULL || strstr(err.text, path) == NULL) {
        fail_msg("got `%s`", err.text);
    }
    assert_int_equal(unlink(path), 0);
}

#define DRAFT "\"$schema\": \"http://json-schema.org/draft-07/schema#\""

static void test_load(void **state)
{
    struct tg_error err = {""};

    (void)state;
    assert_null(tg_schemas_load("/nonexistent", &err));
    assert_non_null(strstr(err.text, "directory cannot be read"));
    assert_null(tg_schemas_load(dir, &err));
    assert_non_null(strstr(err.text, "holds no schema"));
    load_refused("{", "line 1");
    load_refused("{}", "`$schema` must be");
    load_refused("{" DRAFT ", \"type\": \"text\"}", "a.json");
    load_refused("{" DRAFT ", \"$ref\": \"http://example.invalid/x.json\"}", "a.json");
    load_refused("{" DRAFT ", \"minLength\": -1}", "a.json");
}

/* Of a number: what its schema says of a value that it refuses. */
static void bound_says(const char *schema, const char *value, const char *expected)
{
    struct tg_error err = {""};
    char path[64], said[SAID_BYTES] = "", text[512];
    struct tg_schemas *one;
    json_t *v = json_loads(value, 0, NULL);

    (void)snprintf(text, sizeof(text), "{" DRAFT ", \"properties\": {\"n\": {%s}}}", schema);
    write_schema(path, text);
    one = tg_schemas_load(dir, &err);
    assert_non_null(one);
    assert_int_equal(tg_schemas_check(one, "a", v, collect, said), 1);
    assert_string_equal(said, expected);
    tg_schemas_free(one);
    json_decref(v);
    assert_int_equal(unlink(path), 0);
}

static void test_bounds(void **state)
{
    (void)state;
    bound_says("\"maximum\": 99", "{\"n\": 100}", "/n: must be at most 99\n");
    bound_says("\"exclusiveMaximum\": 99", "{\"n\": 99}", "/n: must be less than 99\n");
    bound_says("\"exclusiveMinimum\": 0", "{\"n\": 0}", "/n: must be more than 0\n");
    bound_says("\"minimum\": 0.1", "{\"n\": 0}", "/n: must be at least 0.1\n");
    bound_says("\"minimum\": 0.0000001", "{\"n\": 0}", "/n: must be at least 1e-7\n");
    bound_says("\"multipleOf\": 15", "{\"n\": 20}", "/n: must be a multiple of 15\n");
    bound_says("\"multipleOf\": 0.25", "{\"n\": 0.3}", "/n: must be a multiple of 0.25\n");
    bound_says("\"allOf\": [{\"maximum\": 90}]", "{\"n\": 100}", "/n: must be at most 90\n");
    bound_says("\"allOf\": [{\"maximum\": 0.5}]", "{\"n\": 100}", "/n: must be at most 0.5\n");
}

static int open_all(void **state)
{
    struct tg_error err = {""};

    (void)state;
    schemas = tg_schemas_load("conf/schemas", &err);
    if (schemas == NULL) {
        (void)fprintf(stderr, "%s\n", err.text);
    }
    return schemas != NULL && mkdtemp(dir) != NULL ? 0 : -1;
}

static int close_all(void **state)
{
    (void)state;
    tg_schemas_free(schemas);
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_event),
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_every_breach),
        cmocka_unit_test(test_hostile_documents),
        cmocka_unit_test(test_stack_of_patterns),
        cmocka_unit_test(test_master_agrees),
        cmocka_unit_test(test_load),
        cmocka_unit_test(test_bounds),
    };

    return cmocka_run_group_tests(tests, open_all, close_all);
}
