/* The decision about one entry: every row of the table at the top of decide.h, and every way the
 * older version's postings may stand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/codec.h"
#include "intake/decide.h"

static struct tg_config_source source = {.name = (char *)"psa"};
static struct tg_config_destination destinations[] = {
    {.name = (char *)"erp", .id = (char *)"acme/erp", .index = 3},
    {.name = (char *)"payroll", .id = (char *)"acme/payroll", .index = 5}};
static struct tg_config_tenant tenant = {
    .id = (char *)"acme", .destinations = destinations, .destination_count = 2};
static struct tg_catalogue *catalogue;

/* One case; the parts are set by the tests. */
struct rig {
    struct tg_reading reading;
    struct tg_pipeline_result result;
    struct tg_known known;
    struct tg_plan plan;
};

static int load_catalogue(void **state)
{
    static const char text[] =
        "codes:\n"
        "  - {code: duplicate_version_conflict, title: T, owner: integration, runbook: r}\n"
        "  - {code: correction_after_posting, title: T, owner: finance, runbook: r}\n"
        "  - {code: no_destination, title: T, owner: integration, runbook: r}\n"
        "  - {code: rule_fault, title: T, owner: integration, runbook: r}\n"
        "  - {code: worker_unknown, title: T, owner: master-data, runbook: r}\n"
        "  - {code: event_undecodable, title: T, owner: integration, runbook: r}\n";
    char path[] = "/tmp/tg-catalogue-XXXXXX";
    struct tg_error err = {""};
    int fd = mkstemp(path);

    (void)state;
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) || close(fd) != 0) {
        return -1;
    }
    catalogue = tg_catalogue_load(path, &err);
    if (catalogue == NULL) {
        print_message("# %s\n", err.text);
    }
    return unlink(path) == 0 && catalogue != NULL ? 0 : -1;
}

static int free_catalogue(void **state)
{
    (void)state;
    tg_catalogue_free(catalogue);
    return 0;
}

static json_t *posting(const char *destination, const char *leg)
{
    json_t *p =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:{s:s}}", "destination", destination, "kind", "labor",
                  "leg", leg, "period", "2026-11", "quantity", "7.5", "payload", "hours", "7.50");

    assert_non_null(p);
    return p;
}

/* A valid object TE-1, version 3, with two postings; nothing known. */
static int setup(void **state)
{
    struct rig *g = calloc(1, sizeof(*g));

    if (g == NULL) {
        return -1;
    }
    g->reading.event = (struct tg_row_event){.event_id = "s07-1-0",
                                             .tenant = "acme",
                                             .client = "hook:psa",
                                             .source = "urn:acme:psa",
                                             .ce_id = "e1",
                                             .body_sha256 = "aa"};
    g->reading.tenant = &tenant;
    g->reading.source = &source;
    g->result.object =
        json_pack("{s:s, s:s, s:i}", "kind", "time_entry", "id", "TE-1", "version", 3);
    g->result.violations = json_array();
    g->result.postings = json_pack("[o, o]", posting("erp", "cost"), posting("payroll", "regular"));
    (void)snprintf(g->result.object_kind, sizeof(g->result.object_kind), "time_entry");
    (void)snprintf(g->result.object_id, sizeof(g->result.object_id), "TE-1");
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
    free(g);
    return 0;
}

static void decide(struct rig *g)
{
    tg_plan_clear(&g->plan);
    assert_int_equal(tg_decide(&g->reading, &g->result, &g->known, catalogue, &g->plan), 0);
    /* what must hold of every plan */
    assert_true(g->plan.event_state != TG_EVENT_EXCEPTION || g->plan.code != NULL);
    assert_true(g->plan.event_state != TG_EVENT_ACCEPTED || g->plan.has_object);
    assert_true(!g->plan.has_object || g->plan.event_state == TG_EVENT_ACCEPTED);
    assert_true((g->plan.event_state == TG_EVENT_DUPLICATE) == (g->plan.duplicate_of != 0));
    assert_true(g->plan.posting_count == 0 ||
                (g->plan.has_object && (g->plan.object_state == TG_VERSION_VALIDATED ||
                                        g->plan.object_state == TG_VERSION_WITHDRAWN)));
    assert_true(g->plan.object_state != TG_VERSION_VALIDATED || g->plan.posting_count != 0);
    assert_true(g->plan.posting_count == 0 || g->plan.correct);
    assert_true(g->plan.code == NULL || (g->plan.detail != NULL && g->plan.owner != NULL));
    assert_true(!g->plan.has_object || g->plan.object_state != TG_VERSION_EXCEPTION ||
                g->plan.code != NULL);
}

static void violate(struct rig *g)
{
    assert_int_equal(
        json_array_append_new(g->result.violations,
                              json_pack("{s:s, s:s, s:s}", "code", "worker_unknown", "message",
                                        "no such worker", "owner", "master-data")),
        0);
    assert_int_equal(
        json_array_append_new(g->result.violations, json_pack("{s:s, s:s}", "code", "task_unknown",
                                                              "message", "no such task")),
        0);
    assert_int_equal(json_array_clear(g->result.postings), 0);
}

static struct tg_known_version version(int64_t id, int64_t number, enum tg_version_state state)
{
    return (struct tg_known_version){
        .id = id, .event = id + 1000, .version = number, .state = state, .json = strdup("{}")};
}

static struct tg_known_posting effect(int64_t id, uint32_t destination, enum tg_posting_state state)
{
    struct tg_known_posting e = {.id = id,
                                 .object = 20,
                                 .destination = destination,
                                 .state = state,
                                 .attempt = 1,
                                 .generation = 1,
                                 .let_go = TG_LET_GO_NO,
                                 .reversible = true,
                                 .kind = "labor",
                                 .leg = "cost",
                                 .destination_id =
                                     strdup(destination == 3 ? "acme/erp" : "acme/payroll"),
                                 .period = strdup("2026-10"),
                                 .payload = strdup("{\"hours\":\"4.00\"}"),
                                 .quantity_micros = 4000000};

    e.key[0] = (unsigned char)id;
    switch (tg_known_correction(&e)) {
    case TG_CORRECT_REVERSE:
    case TG_CORRECT_REVERSE_WHEN_POSTED:
        e.reversal = json_null(); /* as it was */
        break;
    default:
        break;
    }
    return e;
}

/* An older version 2 that is in force, with a posting at erp and one at payroll in these states. */
static void older(struct rig *g, enum tg_posting_state a, enum tg_posting_state b)
{
    tg_known_clear(&g->known);
    g->known.latest = version(20, 2, TG_VERSION_VALIDATED);
    g->known.live = version(20, 2, TG_VERSION_VALIDATED);
    g->known.postings = calloc(TG_EFFECTS_MAX, sizeof(*g->known.postings));
    assert_non_null(g->known.postings);
    g->known.postings[0] = effect(101, 3, a);
    g->known.postings[1] = effect(102, 5, b);
    g->known.posting_count = 2;
}

/* Both are dispatch's to forget. */
static void let_go(struct rig *g)
{
    for (size_t i = 0; i < g->known.posting_count; i++) {
        g->known.postings[i].let_go = TG_LET_GO_YES;
    }
}

/* ---- new objects ---- */

static void a_valid_object_is_planned(void **state)
{
    struct rig *g = *state;
    unsigned char key[TG_POSTING_KEY_BYTES], posting_key[TG_POSTING_KEY_BYTES];
    char subject[80];

    decide(g);
    assert_int_equal(g->plan.event_state, TG_EVENT_ACCEPTED);
    assert_int_equal(g->plan.object_state, TG_VERSION_VALIDATED);
    assert_int_equal(g->plan.posting_count, 2);
    assert_null(g->plan.code);
    assert_int_equal(g->plan.supersede_count, 0);
    assert_null(g->plan.postings[0].hold);
    assert_null(g->plan.postings[0].reverses);
    assert_int_equal(g->plan.postings[0].destination, 3);
    assert_int_equal(g->plan.postings[1].destination, 5);
    assert_int_equal(g->plan.postings[0].quantity_micros, 7500000);
    assert_string_equal(g->plan.postings[0].payload, "{\"hours\":\"7.50\"}");
    assert_string_equal(g->plan.json, "{\"id\":\"TE-1\",\"kind\":\"time_entry\",\"version\":3}");
    /* the key is the one the design names */
    assert_int_equal(tg_object_key(tg_str_of("acme"), tg_str_of("time_entry"), tg_str_of("psa"),
                                   tg_str_of("TE-1"), key),
                     0);
    tg_hex_encode(key, sizeof(key), subject);
    (void)snprintf(subject + 32, sizeof(subject) - 32, "@3");
    assert_int_equal(tg_posting_key(tg_str_of("acme/erp"), tg_str_of(subject), tg_str_of("labor"),
                                    tg_str_of("cost"), 1, posting_key),
                     0);
    assert_memory_equal(posting_key, g->plan.postings[0].key, sizeof(posting_key));
}

static void a_violation_is_an_exception_with_its_owner(void **state)
{
    struct rig *g = *state;

    violate(g);
    decide(g);
    assert_int_equal(g->plan.event_state, TG_EVENT_ACCEPTED);
    assert_int_equal(g->plan.object_state, TG_VERSION_EXCEPTION);
    assert_string_equal(g->plan.code, "worker_unknown");
    assert_string_equal(g->plan.owner, "master-data");
    assert_non_null(strstr(g->plan.detail, "task_unknown")); /* all of them */
    assert_non_null(strstr(g->plan.detail, "no such worker"));
}

static void nowhere_to_go(void **state)
{
    struct rig *g = *state;

    assert_int_equal(json_array_clear(g->result.postings), 0);
    decide(g);
    assert_int_equal(g->plan.object_state, TG_VERSION_EXCEPTION);
    assert_string_equal(g->plan.code, "no_destination");
}

static void a_faulty_route_is_never_half_planned(void **state)
{
    static const char *const fields[] = {"destination", "kind",     "leg",
                                         "period",      "quantity", "payload"};
    struct rig *g = *state;

    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        json_t *second = json_array_get(g->result.postings, 1);
        json_t *kept = json_copy(second);

        assert_int_equal(json_object_set_new(second, fields[i], json_string("no such/thing")), 0);
        decide(g);
        assert_int_equal(g->plan.object_state, TG_VERSION_EXCEPTION);
        assert_string_equal(g->plan.code, "rule_fault");
        assert_int_equal(json_array_set_new(g->result.postings, 1, kept), 0);
    }
    assert_int_equal(json_array_append_new(g->result.postings, posting("erp", "cost")), 0);
    decide(g); /* the same key twice would be one posting too few or a refused commit */
    assert_string_equal(g->plan.code, "rule_fault");
    assert_int_equal(json_array_clear(g->result.postings), 0);
    for (int i = 0; i <= TG_POSTINGS_PER_OBJECT_MAX; i++) {
        char leg[16];

        (void)snprintf(leg, sizeof(leg), "l%d", i);
        assert_int_equal(json_array_append_new(g->result.postings, posting("erp", leg)), 0);
    }
    decide(g);
    assert_string_equal(g->plan.code, "rule_fault");
}

/* ---- events that never become an object ---- */

static void a_refused_reading(void **state)
{
    struct rig *g = *state;

    g->reading.code = "event_undecodable";
    (void)snprintf(g->reading.message, sizeof(g->reading.message), "the body is not JSON");
    assert_int_equal(tg_decide(&g->reading, NULL, &g->known, catalogue, &g->plan), 0);
    assert_int_equal(g->plan.event_state, TG_EVENT_EXCEPTION);
    assert_string_equal(g->plan.code, "event_undecodable");
    assert_string_equal(g->plan.owner, "integration");
    assert_non_null(strstr(g->plan.detail, "not JSON"));
    assert_false(g->plan.has_object);
}

static void no_object_came_out(void **state)
{
    struct rig *g = *state;

    violate(g);
    json_decref(g->result.object);
    g->result.object = NULL;
    decide(g);
    assert_int_equal(g->plan.event_state, TG_EVENT_EXCEPTION);
    assert_string_equal(g->plan.code, "worker_unknown");
    assert_int_equal(json_array_clear(g->result.violations), 0);
    decide(g); /* no object and no reason: the rules are at fault */
    assert_string_equal(g->plan.code, "rule_fault");
}

/* ---- twins ---- */

static void the_same_event_again(void **state)
{
    struct rig *g = *state;

    g->known.identity_event = 42;
    (void)snprintf(g->known.identity_sha256, sizeof(g->known.identity_sha256), "aa");
    decide(g);
    assert_int_equal(g->plan.event_state, TG_EVENT_DUPLICATE);
    assert_int_equal(g->plan.duplicate_of, 42);
    assert_null(g->plan.code);
    assert_false(g->plan.conflict);
}

static void the_same_event_with_another_body(void **state)
{
    struct rig *g = *state;

    g->known.identity_event = 42;
    (void)snprintf(g->known.identity_sha256, sizeof(g->known.identity_sha256), "bb");
    decide(g);
    assert_int_equal(g->plan.event_state, TG_EVENT_DUPLICATE);
    assert_int_equal(g->plan.duplicate_of, 42);
    assert_string_equal(g->plan.code, "duplicate_version_conflict");
    assert_string_equal(g->plan.owner, "integration");
    assert_true(g->plan.conflict);
    assert_int_equal(g->plan.posting_count, 0);
}

static void a_known_version_again(void **state)
{
    struct rig *g = *state;

    g->known.latest = version(30, 3, TG_VERSION_VALIDATED);
    g->known.live = version(30, 3, TG_VERSION_VALIDATED);
    g->known.same = version(30, 3, TG_VERSION_VALIDATED);
    free(g->known.same.json);
    g->known.same.json = strdup("{\"id\":\"TE-1\",\"kind\":\"time_entry\",\"version\":3}");
    decide(g);
    assert_int_equal(g->plan.event_state, TG_EVENT_ACCEPTED);
    assert_int_equal(g->plan.object_state, TG_VERSION_SUPERSEDED);
    assert_int_equal(g->plan.supersede_count, 0); /* the first one stays */
    assert_false(g->plan.correct);
    assert_null(g->plan.code);
    free(g->known.same.json);
    g->known.same.json = strdup("{\"other\":1}");
    decide(g);
    assert_int_equal(g->plan.event_state, TG_EVENT_EXCEPTION);
    assert_string_equal(g->plan.code, "duplicate_version_conflict");
    assert_true(g->plan.conflict);
    assert_int_equal(g->plan.supersede_count, 0);
    assert_false(g->plan.correct);
}

/* ---- versions ---- */

static void a_late_lower_version(void **state)
{
    struct rig *g = *state;

    violate(g); /* does not matter any more */
    g->known.latest = version(40, 4, TG_VERSION_VALIDATED);
    g->known.live = version(40, 4, TG_VERSION_VALIDATED);
    decide(g);
    assert_int_equal(g->plan.event_state, TG_EVENT_ACCEPTED);
    assert_int_equal(g->plan.object_state, TG_VERSION_SUPERSEDED);
    assert_null(g->plan.code);
    assert_int_equal(g->plan.supersede_count, 0);
}

static void an_unsent_older_version_gives_way(void **state)
{
    static const enum tg_posting_state unsent[] = {TG_POSTING_READY, TG_POSTING_RETRY,
                                                   TG_POSTING_HELD, TG_POSTING_EXCEPTION};
    struct rig *g = *state;

    for (size_t i = 0; i < sizeof(unsent) / sizeof(unsent[0]); i++) {
        older(g, unsent[i], TG_POSTING_READY);
        let_go(g);
        decide(g);
        assert_int_equal(g->plan.object_state, TG_VERSION_VALIDATED);
        assert_int_equal(g->plan.posting_count, 2);
        assert_true(g->plan.correct);
        assert_int_equal(tg_known_correction(&g->known.postings[0]), TG_CORRECT_CANCEL);
        assert_null(g->plan.postings[0].hold); /* nothing is in its way */
        assert_int_equal(g->plan.supersede_count, 1);
        assert_int_equal(g->plan.supersede[0], 20);
    }
}

static void what_is_posted_is_reversed(void **state)
{
    struct rig *g = *state;
    const struct tg_plan_posting *r, *p;
    unsigned char key[TG_POSTING_KEY_BYTES];

    older(g, TG_POSTING_POSTED, TG_POSTING_READY);
    let_go(g);
    decide(g);
    assert_int_equal(g->plan.object_state, TG_VERSION_VALIDATED);
    assert_null(g->plan.code);
    assert_int_equal(g->plan.posting_count, 3);
    r = &g->plan.postings[0];
    assert_ptr_equal(r->reverses, &g->known.postings[0]);
    assert_int_equal(r->quantity_micros, -4000000);
    assert_string_equal(r->period, "2026-10"); /* as it was */
    assert_string_equal(r->payload, "{\"hours\":\"4.00\"}");
    assert_null(r->hold);
    assert_int_equal(tg_reversal_key(tg_str_of("acme/erp"), g->known.postings[0].key,
                                     tg_str_of("labor"), tg_str_of("cost"), 1, key),
                     0);
    assert_memory_equal(r->key, key, sizeof(key));
    p = &g->plan.postings[1]; /* at erp: behind the reversal */
    assert_string_equal(p->hold, "order");
    assert_int_equal(p->hold_on, 0);
    assert_int_equal(p->hold_on_planned, 0);
    assert_null(g->plan.postings[2].hold); /* at payroll nothing was sent */
    assert_int_equal(g->plan.supersede[0], 20);
}

static void what_may_be_posted_is_reversed_once_it_is(void **state)
{
    static const enum tg_posting_state maybe[] = {TG_POSTING_SENT, TG_POSTING_IN_DOUBT,
                                                  TG_POSTING_READY, TG_POSTING_RETRY};
    struct rig *g = *state;

    for (size_t i = 0; i < sizeof(maybe) / sizeof(maybe[0]); i++) {
        older(g, maybe[i], TG_POSTING_CANCELLED);
        decide(g);
        assert_int_equal(g->plan.posting_count, 3);
        assert_string_equal(g->plan.postings[0].hold, "reversal");
        assert_int_equal(g->plan.postings[0].hold_on, 101);
        assert_string_equal(g->plan.postings[1].hold, "order");
        assert_int_equal(g->plan.postings[1].hold_on_planned, 0);
        assert_null(g->plan.postings[2].hold);
    }
    older(g, TG_POSTING_EXCEPTION, TG_POSTING_POSTED);
    let_go(g);
    g->known.postings[0].unknown = true;
    g->known.postings[0].reversal = json_null();
    decide(g);
    assert_int_equal(g->plan.posting_count, 4);
    assert_string_equal(g->plan.postings[0].hold, "reversal");
    assert_null(g->plan.postings[1].hold);
    assert_int_equal(g->plan.postings[2].hold_on_planned, 0);
    assert_int_equal(g->plan.postings[3].hold_on_planned, 1); /* each behind its own */
}

/* Version 3 while version 2 waits behind the reversal of version 1. */
static void a_third_version_takes_the_place_of_a_waiting_second(void **state)
{
    struct rig *g = *state;

    older(g, TG_POSTING_POSTED, TG_POSTING_HELD);
    g->known.postings[0].is_reversed = true;
    json_decref(g->known.postings[0].reversal);
    g->known.postings[0].reversal = NULL;
    g->known.postings[1].destination = 3; /* version 2's, at erp as well */
    g->known.postings[1].let_go = TG_LET_GO_YES;
    g->known.postings[2] = effect(103, 3, TG_POSTING_SENT); /* the reversal, on its way */
    json_decref(g->known.postings[2].reversal);
    g->known.postings[2].reversal = NULL;
    g->known.postings[2].reverses = 101;
    g->known.posting_count = 3;
    decide(g);
    assert_null(g->plan.code);
    assert_int_equal(g->plan.posting_count, 2); /* no second reversal of version 1 */
    assert_string_equal(g->plan.postings[0].hold, "order");
    assert_int_equal(g->plan.postings[0].hold_on, 103);
    assert_null(g->plan.postings[1].hold);
    assert_int_equal(tg_known_correction(&g->known.postings[1]), TG_CORRECT_CANCEL);
}

static void the_rules_say_how_to_take_back(void **state)
{
    struct rig *g = *state;

    older(g, TG_POSTING_POSTED, TG_POSTING_POSTED);
    json_decref(g->known.postings[0].reversal);
    g->known.postings[0].reversal =
        json_pack("{s:s, s:{s:s}}", "period", "2026-12", "payload", "moved", "yes");
    decide(g);
    assert_int_equal(g->plan.posting_count, 4);
    assert_string_equal(g->plan.postings[0].period, "2026-12");
    assert_string_equal(g->plan.postings[0].payload, "{\"moved\":\"yes\"}");
    assert_string_equal(g->plan.postings[1].period, "2026-10");
    json_decref(g->known.postings[1].reversal);
    g->known.postings[1].reversal =
        json_pack("{s:s, s:s, s:s}", "code", "worker_unknown", "field", "", "message", "not now");
    decide(g); /* one that cannot be taken back: nothing is touched */
    assert_int_equal(g->plan.object_state, TG_VERSION_EXCEPTION);
    assert_string_equal(g->plan.code, "worker_unknown");
    assert_non_null(strstr(g->plan.detail, "not now"));
    assert_int_equal(g->plan.posting_count, 0);
    assert_int_equal(g->plan.supersede_count, 0);
    assert_false(g->plan.correct);
    json_decref(g->known.postings[1].reversal);
    g->known.postings[1].reversal = NULL; /* never asked: a bug, and no guess */
    decide(g);
    assert_string_equal(g->plan.code, "rule_fault");
}

static void corrections_may_be_reviewed(void **state)
{
    struct rig *g = *state;

    older(g, TG_POSTING_READY, TG_POSTING_POSTED);
    let_go(g);
    tenant.corrections = (char *)"review";
    decide(g);
    tenant.corrections = NULL;
    assert_int_equal(g->plan.event_state, TG_EVENT_ACCEPTED);
    assert_int_equal(g->plan.object_state, TG_VERSION_EXCEPTION);
    assert_string_equal(g->plan.code, "correction_after_posting");
    assert_string_equal(g->plan.owner, "finance");
    assert_int_equal(g->plan.posting_count, 0);
    assert_false(g->plan.correct); /* not even the one that is unsent */
    assert_int_equal(g->plan.supersede_count, 0);
    older(g, TG_POSTING_READY, TG_POSTING_HELD); /* nothing to take back, nothing to review */
    let_go(g);
    tenant.corrections = (char *)"review";
    decide(g);
    tenant.corrections = NULL;
    assert_null(g->plan.code);
}

static void not_every_destination_takes_reversals(void **state)
{
    struct rig *g = *state;

    older(g, TG_POSTING_POSTED, TG_POSTING_POSTED);
    g->known.postings[1].reversible = false;
    decide(g);
    assert_string_equal(g->plan.code, "correction_after_posting");
    assert_non_null(strstr(g->plan.detail, "takes no reversals"));
    assert_false(g->plan.correct);
    assert_int_equal(g->plan.posting_count, 0);
}

/* Half a correction would be a reversal without what comes instead. */
static void a_faulty_route_reverses_nothing(void **state)
{
    struct rig *g = *state;

    older(g, TG_POSTING_POSTED, TG_POSTING_READY);
    let_go(g);
    assert_int_equal(json_object_set_new(json_array_get(g->result.postings, 1), "period",
                                         json_string("no such/thing")),
                     0);
    decide(g);
    assert_string_equal(g->plan.code, "rule_fault");
    assert_int_equal(g->plan.posting_count, 0);
    assert_false(g->plan.correct);
    assert_int_equal(g->plan.supersede_count, 0);
    assert_int_equal(json_array_clear(g->result.postings), 0);
    decide(g);
    assert_string_equal(g->plan.code, "no_destination");
    assert_false(g->plan.correct);
}

static void an_invalid_later_version_leaves_what_stands(void **state)
{
    struct rig *g = *state;

    older(g, TG_POSTING_POSTED, TG_POSTING_READY);
    let_go(g);
    violate(g);
    decide(g);
    assert_string_equal(g->plan.code, "worker_unknown");
    assert_int_equal(g->plan.object_state, TG_VERSION_EXCEPTION);
    assert_false(g->plan.correct);
    assert_int_equal(g->plan.supersede_count, 0);
}

static void a_third_version_does_not_slip_past_a_posted_first(void **state)
{
    struct rig *g = *state;

    older(g, TG_POSTING_POSTED, TG_POSTING_POSTED);
    tenant.corrections = (char *)"review";
    g->known.live.version = 1;
    g->known.live.id = 10;
    g->known.latest.state = TG_VERSION_EXCEPTION; /* version 2 waits as a correction */
    decide(g);
    assert_string_equal(g->plan.code, "correction_after_posting");
    assert_int_equal(g->plan.posting_count, 0);
    assert_int_equal(g->plan.supersede_count, 1);
    assert_int_equal(g->plan.supersede[0], 20); /* version 2, never version 1 */
    violate(g);
    decide(g);
    tenant.corrections = NULL;
    assert_string_equal(g->plan.code, "worker_unknown"); /* what is wrong with it comes first */
    assert_int_equal(g->plan.object_state, TG_VERSION_EXCEPTION);
    assert_false(g->plan.correct);
}

static void an_older_exception_is_closed_by_a_later_version(void **state)
{
    struct rig *g = *state;

    g->known.latest = version(20, 2, TG_VERSION_EXCEPTION);
    decide(g);
    assert_int_equal(g->plan.object_state, TG_VERSION_VALIDATED);
    assert_int_equal(g->plan.supersede_count, 1);
    assert_int_equal(g->plan.supersede[0], 20);
    violate(g);
    decide(g); /* also when the later one has its own fault: one open item an object */
    assert_int_equal(g->plan.object_state, TG_VERSION_EXCEPTION);
    assert_int_equal(g->plan.supersede_count, 1);
}

static void an_invalid_later_version_stops_the_unsent_older_one(void **state)
{
    struct rig *g = *state;

    older(g, TG_POSTING_READY, TG_POSTING_READY);
    let_go(g);
    violate(g);
    decide(g);
    assert_true(g->plan.correct); /* the source said it is not so any more */
    assert_int_equal(g->plan.supersede_count, 1);
    assert_string_equal(g->plan.code, "worker_unknown");
}

static void what_is_final_is_not_ended_again(void **state)
{
    struct rig *g = *state;

    g->known.latest = version(20, 2, TG_VERSION_SUPERSEDED);
    decide(g);
    assert_int_equal(g->plan.supersede_count, 0);
    assert_int_equal(g->plan.object_state, TG_VERSION_VALIDATED);
    g->known.latest.state = TG_VERSION_WITHDRAWN;
    decide(g);
    assert_int_equal(g->plan.supersede_count, 0);
}

static void not_knowing_enough_cancels_nothing(void **state)
{
    struct rig *g = *state;

    older(g, TG_POSTING_READY, TG_POSTING_READY);
    let_go(g);
    g->known.uncertain = true;
    decide(g);
    assert_string_equal(g->plan.code, "correction_after_posting");
    assert_false(g->plan.correct);
}

/* ---- holds ---- */

static void withdraw(struct rig *g)
{
    g->result.withdrawn = true;
    assert_int_equal(json_array_clear(g->result.postings), 0);
}

static void cure(json_t *violations, size_t i, const char *name)
{
    assert_int_equal(
        json_object_set_new(json_array_get(violations, i), "waits_for", json_string(name)), 0);
}

static void what_comes_later_is_waited_for(void **state)
{
    struct rig *g = *state;

    violate(g);
    cure(g->result.violations, 0, "worker:W-9");
    tenant.hold_timeout_ms = 1000;
    decide(g); /* one of two: a person must see to the other */
    assert_int_equal(g->plan.object_state, TG_VERSION_EXCEPTION);
    assert_null(g->plan.waits_for);
    cure(g->result.violations, 1, "task:T-9");
    decide(g);
    assert_int_equal(g->plan.event_state, TG_EVENT_ACCEPTED);
    assert_int_equal(g->plan.object_state, TG_VERSION_HELD);
    assert_string_equal(g->plan.waits_for, "worker:W-9"); /* one after the other */
    assert_null(g->plan.code);
    assert_int_equal(g->plan.posting_count, 0);
    g->known.is_overdue = true;
    decide(g);
    assert_string_equal(g->plan.code, "worker_unknown");
    g->known.is_overdue = false;
    tenant.hold_timeout_ms = 0; /* off */
    decide(g);
    assert_string_equal(g->plan.code, "worker_unknown");
    assert_null(g->plan.waits_for);
}

static void a_held_version_and_an_older_one(void **state)
{
    struct rig *g = *state;

    violate(g);
    cure(g->result.violations, 0, "worker:W-9");
    cure(g->result.violations, 1, "task:T-9");
    tenant.hold_timeout_ms = 1000;
    older(g, TG_POSTING_POSTED, TG_POSTING_READY);
    let_go(g);
    decide(g); /* what stands, stands until the new one can be */
    assert_int_equal(g->plan.object_state, TG_VERSION_HELD);
    assert_false(g->plan.correct);
    assert_int_equal(g->plan.supersede_count, 0);
    older(g, TG_POSTING_READY, TG_POSTING_READY);
    let_go(g);
    decide(g); /* what was not sent need not be */
    assert_int_equal(g->plan.object_state, TG_VERSION_HELD);
    assert_true(g->plan.correct);
    assert_int_equal(g->plan.supersede[0], 20);
    tenant.hold_timeout_ms = 0;
}

static void a_reversal_may_be_waited_for(void **state)
{
    struct rig *g = *state;

    tenant.hold_timeout_ms = 1000;
    older(g, TG_POSTING_POSTED, TG_POSTING_POSTED);
    json_decref(g->known.postings[1].reversal);
    g->known.postings[1].reversal =
        json_pack("{s:s, s:s, s:s, s:s}", "code", "worker_unknown", "field", "", "message",
                  "closed", "waits_for", "period:2026-10");
    decide(g);
    assert_int_equal(g->plan.object_state, TG_VERSION_HELD);
    assert_string_equal(g->plan.waits_for, "period:2026-10");
    assert_false(g->plan.correct);
    assert_int_equal(g->plan.posting_count, 0);
    withdraw(g);
    decide(g); /* so may a withdrawal */
    assert_int_equal(g->plan.object_state, TG_VERSION_HELD);
    tenant.hold_timeout_ms = 0;
}

/* ---- withdrawals ---- */

static void a_withdrawal_takes_everything_back(void **state)
{
    struct rig *g = *state;

    older(g, TG_POSTING_POSTED, TG_POSTING_READY);
    let_go(g);
    withdraw(g);
    decide(g);
    assert_int_equal(g->plan.event_state, TG_EVENT_ACCEPTED);
    assert_int_equal(g->plan.object_state, TG_VERSION_WITHDRAWN);
    assert_null(g->plan.code);
    assert_int_equal(g->plan.posting_count, 1);
    assert_ptr_equal(g->plan.postings[0].reverses, &g->known.postings[0]);
    assert_true(g->plan.correct);
    assert_int_equal(g->plan.supersede[0], 20);
}

static void a_withdrawal_of_nothing_known_is_a_tombstone(void **state)
{
    struct rig *g = *state;

    withdraw(g);
    decide(g);
    assert_int_equal(g->plan.object_state, TG_VERSION_WITHDRAWN);
    assert_int_equal(g->plan.posting_count, 0);
    assert_null(g->plan.code);
    g->result.withdrawn = false; /* the lower version that comes late */
    g->known.latest = version(40, 4, TG_VERSION_WITHDRAWN);
    decide(g);
    assert_int_equal(g->plan.object_state, TG_VERSION_SUPERSEDED);
}

static void a_withdrawal_may_have_to_wait_for_finance(void **state)
{
    struct rig *g = *state;

    older(g, TG_POSTING_POSTED, TG_POSTING_POSTED);
    g->known.postings[0].reversible = false;
    withdraw(g);
    decide(g);
    assert_int_equal(g->plan.object_state, TG_VERSION_EXCEPTION);
    assert_string_equal(g->plan.code, "correction_after_posting");
    assert_int_equal(g->plan.posting_count, 0);
    assert_false(g->plan.correct);
}

static void a_withdrawn_entry_may_come_back(void **state)
{
    struct rig *g = *state;

    g->known.latest = version(20, 2, TG_VERSION_WITHDRAWN);
    g->known.postings = calloc(TG_EFFECTS_MAX, sizeof(*g->known.postings));
    assert_non_null(g->known.postings);
    g->known.postings[0] = effect(103, 3, TG_POSTING_SENT); /* the reversal is on its way */
    json_decref(g->known.postings[0].reversal);
    g->known.postings[0].reversal = NULL;
    g->known.postings[0].reverses = 101;
    g->known.posting_count = 1;
    decide(g);
    assert_int_equal(g->plan.object_state, TG_VERSION_VALIDATED);
    assert_int_equal(g->plan.posting_count, 2);
    assert_int_equal(g->plan.postings[0].hold_on, 103);
    assert_int_equal(g->plan.supersede_count, 0); /* the withdrawal stays what it was */
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_valid_object_is_planned),
        T(a_violation_is_an_exception_with_its_owner),
        T(nowhere_to_go),
        T(a_faulty_route_is_never_half_planned),
        T(a_refused_reading),
        T(no_object_came_out),
        T(the_same_event_again),
        T(the_same_event_with_another_body),
        T(a_known_version_again),
        T(a_late_lower_version),
        T(an_unsent_older_version_gives_way),
        T(what_is_posted_is_reversed),
        T(what_may_be_posted_is_reversed_once_it_is),
        T(a_third_version_takes_the_place_of_a_waiting_second),
        T(the_rules_say_how_to_take_back),
        T(corrections_may_be_reviewed),
        T(not_every_destination_takes_reversals),
        T(a_faulty_route_reverses_nothing),
        T(an_invalid_later_version_leaves_what_stands),
        T(a_third_version_does_not_slip_past_a_posted_first),
        T(an_older_exception_is_closed_by_a_later_version),
        T(an_invalid_later_version_stops_the_unsent_older_one),
        T(what_is_final_is_not_ended_again),
        T(what_comes_later_is_waited_for),
        T(a_held_version_and_an_older_one),
        T(a_reversal_may_be_waited_for),
        T(a_withdrawal_takes_everything_back),
        T(a_withdrawal_of_nothing_known_is_a_tombstone),
        T(a_withdrawal_may_have_to_wait_for_finance),
        T(a_withdrawn_entry_may_come_back),
        T(not_knowing_enough_cancels_nothing),
    };

    return cmocka_run_group_tests(tests, load_catalogue, free_catalogue);
}
