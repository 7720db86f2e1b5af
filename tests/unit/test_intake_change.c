/* The decision about an event of master data: what is taken, what is told to a person. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "intake/decide.h"

static struct tg_config_source source = {.name = (char *)"hr"};
static struct tg_config_tenant tenant = {.id = (char *)"acme"};
static struct tg_catalogue *catalogue;

struct rig {
    struct tg_reading reading;
    struct tg_pipeline_result result;
    struct tg_known known;
    struct tg_plan plan;
};

/* A valid change, version 3, of which one attribute was refused; nothing known. */
static int setup(void **state)
{
    struct rig *g = calloc(1, sizeof(*g));

    if (g == NULL) {
        return -1;
    }
    g->reading.event = (struct tg_row_event){.event_id = "s07-1-0",
                                             .tenant = "acme",
                                             .client = "hook:hr",
                                             .source = "urn:acme:hr",
                                             .ce_id = "e1",
                                             .body_sha256 = "aa"};
    g->reading.tenant = &tenant;
    g->reading.source = &source;
    g->result.object = json_pack("{s:s, s:s, s:i, s:s}", "kind", "worker", "id", "10041", "version",
                                 3, "worker", "W-041");
    g->result.violations = json_array();
    g->result.postings = json_array();
    g->result.change = json_pack("{s:s, s:s, s:{s:s, s:s}, s:{s:s}}", "name", "W-041", "from",
                                 "2026-11-18", "attributes", "name", "Finn", "cost_center",
                                 "CC-100", "refused", "pay_code", "file");
    (void)snprintf(g->result.object_kind, sizeof(g->result.object_kind), "worker");
    (void)snprintf(g->result.object_id, sizeof(g->result.object_id), "10041");
    g->result.object_version = 3;
    *state = g;
    return 0;
}

static int teardown(void **state)
{
    struct rig *g = *state;

    tg_plan_clear(&g->plan);
    tg_known_clear(&g->known);
    json_decref(g->result.object);
    json_decref(g->result.violations);
    json_decref(g->result.postings);
    json_decref(g->result.change);
    free(g);
    return 0;
}

static void decide(struct rig *g)
{
    tg_plan_clear(&g->plan);
    assert_int_equal(tg_decide(&g->reading, &g->result, &g->known, catalogue, &g->plan), 0);
    assert_int_equal(g->plan.posting_count, 0);
    assert_false(g->plan.correct);
}

static struct tg_known_version version(int64_t id, int64_t number, enum tg_version_state state)
{
    return (struct tg_known_version){
        .id = id, .event = id, .version = number, .state = state, .json = strdup("{}")};
}

static void test_taken(void **state)
{
    struct rig *g = *state;

    decide(g);
    assert_int_equal(g->plan.event_state, TG_EVENT_ACCEPTED);
    assert_int_equal(g->plan.object_state, TG_VERSION_VALIDATED);
    assert_null(g->plan.code);
    assert_string_equal(g->plan.change.name, "W-041");
    assert_string_equal(g->plan.change.from, "2026-11-18");
    assert_string_equal(g->plan.change.attributes_text,
                        "{\"cost_center\":\"CC-100\",\"name\":\"Finn\"}");
    assert_string_equal(g->plan.change.refused_text, "[\"pay_code\"]");
    assert_int_equal(g->plan.change.refused, 1);
}

static void test_a_newer_one_ends_the_older(void **state)
{
    struct rig *g = *state;

    g->known.live = version(5, 1, TG_VERSION_VALIDATED);
    g->known.latest = version(6, 2, TG_VERSION_EXCEPTION);
    decide(g);
    assert_int_equal(g->plan.object_state, TG_VERSION_VALIDATED);
    assert_int_equal(g->plan.supersede_count, 2);
    assert_int_equal(g->plan.supersede[0], 5);
    assert_int_equal(g->plan.supersede[1], 6);
    assert_non_null(g->plan.change.attributes_text);
}

/* It may be what held before: taken as well, but it ends nothing. */
static void test_an_older_one_is_taken_and_ends_nothing(void **state)
{
    struct rig *g = *state;

    g->known.live = version(5, 4, TG_VERSION_VALIDATED);
    g->known.latest = version(5, 4, TG_VERSION_VALIDATED);
    decide(g);
    assert_int_equal(g->plan.event_state, TG_EVENT_ACCEPTED);
    assert_int_equal(g->plan.object_state, TG_VERSION_SUPERSEDED);
    assert_int_equal(g->plan.supersede_count, 0);
    assert_non_null(g->plan.change.attributes_text);
}

static void test_the_same_again(void **state)
{
    struct rig *g = *state;

    g->known.same = version(5, 3, TG_VERSION_VALIDATED);
    g->known.latest = version(5, 3, TG_VERSION_VALIDATED);
    g->known.live = version(5, 3, TG_VERSION_VALIDATED);
    decide(g);
    assert_string_equal(g->plan.code, "duplicate_version_conflict");
    assert_null(g->plan.change.attributes_text);
    free(g->known.same.json);
    g->known.same.json = json_dumps(g->result.object, JSON_COMPACT | JSON_SORT_KEYS);
    decide(g);
    assert_int_equal(g->plan.event_state, TG_EVENT_ACCEPTED);
    assert_int_equal(g->plan.object_state, TG_VERSION_SUPERSEDED);
    assert_null(g->plan.change.attributes_text);
}

/* What is wrong changes nothing; what held goes on holding. */
static void test_wrong(void **state)
{
    struct rig *g = *state;

    g->known.live = version(5, 2, TG_VERSION_VALIDATED);
    g->known.latest = version(5, 2, TG_VERSION_VALIDATED);
    assert_int_equal(
        json_array_append_new(g->result.violations,
                              json_pack("{s:s, s:s, s:s, s:s}", "code", "worker_invalid", "field",
                                        "name", "message", "no name", "owner", "master-data")),
        0);
    decide(g);
    assert_int_equal(g->plan.event_state, TG_EVENT_ACCEPTED);
    assert_int_equal(g->plan.object_state, TG_VERSION_EXCEPTION);
    assert_string_equal(g->plan.code, "worker_invalid");
    assert_string_equal(g->plan.owner, "master-data");
    assert_int_equal(g->plan.supersede_count, 0);
    assert_null(g->plan.change.attributes_text);
}

static void test_the_same_event(void **state)
{
    struct rig *g = *state;

    g->known.identity_event = 9;
    (void)snprintf(g->known.identity_sha256, sizeof(g->known.identity_sha256), "aa");
    decide(g);
    assert_int_equal(g->plan.event_state, TG_EVENT_DUPLICATE);
    assert_null(g->plan.change.attributes_text);
}

static int load_catalogue(void **state)
{
    struct tg_error err = {""};

    (void)state;
    catalogue = tg_catalogue_load("conf/catalogue.yaml", &err);
    return catalogue != NULL ? 0 : -1;
}

static int free_catalogue(void **state)
{
    (void)state;
    tg_catalogue_free(catalogue);
    return 0;
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_taken),
        CASE(test_a_newer_one_ends_the_older),
        CASE(test_an_older_one_is_taken_and_ends_nothing),
        CASE(test_the_same_again),
        CASE(test_wrong),
        CASE(test_the_same_event),
    };

    return cmocka_run_group_tests(tests, load_catalogue, free_catalogue);
}
