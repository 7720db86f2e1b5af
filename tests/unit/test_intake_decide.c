/* The decision about one entry: every row of the table at the top of decide.h, and every way the
 * older version's postings may stand. */
#include "decide_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/codec.h"

/* ---- new objects ---- */

static void a_valid_object_is_planned(void **state)
{
    struct rig *g = *state;
    unsigned char key[TG_POSTING_KEY_BYTES], posting_key[TG_POSTING_KEY_BYTES];
    char subject[80];

    dr_decide(g);
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

    dr_violate(g);
    dr_decide(g);
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
    dr_decide(g);
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
        dr_decide(g);
        assert_int_equal(g->plan.object_state, TG_VERSION_EXCEPTION);
        assert_string_equal(g->plan.code, "rule_fault");
        assert_int_equal(json_array_set_new(g->result.postings, 1, kept), 0);
    }
    assert_int_equal(json_array_append_new(g->result.postings, dr_posting("erp", "cost")), 0);
    dr_decide(g); /* the same key twice would be one posting too few or a refused commit */
    assert_string_equal(g->plan.code, "rule_fault");
    assert_int_equal(json_array_clear(g->result.postings), 0);
    for (int i = 0; i <= TG_POSTINGS_PER_OBJECT_MAX; i++) {
        char leg[16];

        (void)snprintf(leg, sizeof(leg), "l%d", i);
        assert_int_equal(json_array_append_new(g->result.postings, dr_posting("erp", leg)), 0);
    }
    dr_decide(g);
    assert_string_equal(g->plan.code, "rule_fault");
}

/* ---- events that never become an object ---- */

static void a_refused_reading(void **state)
{
    struct rig *g = *state;

    g->reading.code = "event_undecodable";
    (void)snprintf(g->reading.message, sizeof(g->reading.message), "the body is not JSON");
    assert_int_equal(tg_decide(&g->reading, NULL, &g->known, dr_catalogue, &g->plan), 0);
    assert_int_equal(g->plan.event_state, TG_EVENT_EXCEPTION);
    assert_string_equal(g->plan.code, "event_undecodable");
    assert_string_equal(g->plan.owner, "integration");
    assert_non_null(strstr(g->plan.detail, "not JSON"));
    assert_false(g->plan.has_object);
}

static void no_object_came_out(void **state)
{
    struct rig *g = *state;

    dr_violate(g);
    json_decref(g->result.object);
    g->result.object = NULL;
    dr_decide(g);
    assert_int_equal(g->plan.event_state, TG_EVENT_EXCEPTION);
    assert_string_equal(g->plan.code, "worker_unknown");
    assert_int_equal(json_array_clear(g->result.violations), 0);
    dr_decide(g); /* no object and no reason: the rules are at fault */
    assert_string_equal(g->plan.code, "rule_fault");
}

/* ---- twins ---- */

static void the_same_event_again(void **state)
{
    struct rig *g = *state;

    g->known.identity_event = 42;
    (void)snprintf(g->known.identity_sha256, sizeof(g->known.identity_sha256), "aa");
    dr_decide(g);
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
    dr_decide(g);
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

    g->known.latest = dr_version(30, 3, TG_VERSION_VALIDATED);
    g->known.live = dr_version(30, 3, TG_VERSION_VALIDATED);
    g->known.same = dr_version(30, 3, TG_VERSION_VALIDATED);
    free(g->known.same.json);
    g->known.same.json = strdup("{\"id\":\"TE-1\",\"kind\":\"time_entry\",\"version\":3}");
    dr_decide(g);
    assert_int_equal(g->plan.event_state, TG_EVENT_ACCEPTED);
    assert_int_equal(g->plan.object_state, TG_VERSION_SUPERSEDED);
    assert_int_equal(g->plan.supersede_count, 0); /* the first one stays */
    assert_false(g->plan.correct);
    assert_null(g->plan.code);
    free(g->known.same.json);
    g->known.same.json = strdup("{\"other\":1}");
    dr_decide(g);
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

    dr_violate(g); /* does not matter any more */
    g->known.latest = dr_version(40, 4, TG_VERSION_VALIDATED);
    g->known.live = dr_version(40, 4, TG_VERSION_VALIDATED);
    dr_decide(g);
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
        dr_older(g, unsent[i], TG_POSTING_READY);
        dr_let_go(g);
        dr_decide(g);
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

    dr_older(g, TG_POSTING_POSTED, TG_POSTING_READY);
    dr_let_go(g);
    dr_decide(g);
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
        dr_older(g, maybe[i], TG_POSTING_CANCELLED);
        dr_decide(g);
        assert_int_equal(g->plan.posting_count, 3);
        assert_string_equal(g->plan.postings[0].hold, "reversal");
        assert_int_equal(g->plan.postings[0].hold_on, 101);
        assert_string_equal(g->plan.postings[1].hold, "order");
        assert_int_equal(g->plan.postings[1].hold_on_planned, 0);
        assert_null(g->plan.postings[2].hold);
    }
    dr_older(g, TG_POSTING_EXCEPTION, TG_POSTING_POSTED);
    dr_let_go(g);
    g->known.postings[0].unknown = true;
    g->known.postings[0].reversal = json_null();
    dr_decide(g);
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

    dr_older(g, TG_POSTING_POSTED, TG_POSTING_HELD);
    g->known.postings[0].is_reversed = true;
    json_decref(g->known.postings[0].reversal);
    g->known.postings[0].reversal = NULL;
    g->known.postings[1].destination = 3; /* version 2's, at erp as well */
    g->known.postings[1].let_go = TG_LET_GO_YES;
    g->known.postings[2] = dr_effect(103, 3, TG_POSTING_SENT); /* the reversal, on its way */
    json_decref(g->known.postings[2].reversal);
    g->known.postings[2].reversal = NULL;
    g->known.postings[2].reverses = 101;
    g->known.posting_count = 3;
    dr_decide(g);
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

    dr_older(g, TG_POSTING_POSTED, TG_POSTING_POSTED);
    json_decref(g->known.postings[0].reversal);
    g->known.postings[0].reversal =
        json_pack("{s:s, s:{s:s}}", "period", "2026-12", "payload", "moved", "yes");
    dr_decide(g);
    assert_int_equal(g->plan.posting_count, 4);
    assert_string_equal(g->plan.postings[0].period, "2026-12");
    assert_string_equal(g->plan.postings[0].payload, "{\"moved\":\"yes\"}");
    assert_string_equal(g->plan.postings[1].period, "2026-10");
    json_decref(g->known.postings[1].reversal);
    g->known.postings[1].reversal =
        json_pack("{s:s, s:s, s:s}", "code", "worker_unknown", "field", "", "message", "not now");
    dr_decide(g); /* one that cannot be taken back: nothing is touched */
    assert_int_equal(g->plan.object_state, TG_VERSION_EXCEPTION);
    assert_string_equal(g->plan.code, "worker_unknown");
    assert_non_null(strstr(g->plan.detail, "not now"));
    assert_int_equal(g->plan.posting_count, 0);
    assert_int_equal(g->plan.supersede_count, 0);
    assert_false(g->plan.correct);
    json_decref(g->known.postings[1].reversal);
    g->known.postings[1].reversal = NULL; /* never asked: a bug, and no guess */
    dr_decide(g);
    assert_string_equal(g->plan.code, "rule_fault");
}

static void corrections_may_be_reviewed(void **state)
{
    struct rig *g = *state;

    dr_older(g, TG_POSTING_READY, TG_POSTING_POSTED);
    dr_let_go(g);
    dr_tenant.corrections = (char *)"review";
    dr_decide(g);
    dr_tenant.corrections = NULL;
    assert_int_equal(g->plan.event_state, TG_EVENT_ACCEPTED);
    assert_int_equal(g->plan.object_state, TG_VERSION_EXCEPTION);
    assert_string_equal(g->plan.code, "correction_after_posting");
    assert_string_equal(g->plan.owner, "finance");
    assert_int_equal(g->plan.posting_count, 0);
    assert_false(g->plan.correct); /* not even the one that is unsent */
    assert_int_equal(g->plan.supersede_count, 0);
    dr_older(g, TG_POSTING_READY, TG_POSTING_HELD); /* nothing to take back, nothing to review */
    dr_let_go(g);
    dr_tenant.corrections = (char *)"review";
    dr_decide(g);
    dr_tenant.corrections = NULL;
    assert_null(g->plan.code);
}

static void not_every_destination_takes_reversals(void **state)
{
    struct rig *g = *state;

    dr_older(g, TG_POSTING_POSTED, TG_POSTING_POSTED);
    g->known.postings[1].reversible = false;
    dr_decide(g);
    assert_string_equal(g->plan.code, "correction_after_posting");
    assert_non_null(strstr(g->plan.detail, "takes no reversals"));
    assert_false(g->plan.correct);
    assert_int_equal(g->plan.posting_count, 0);
}

/* Half a correction would be a reversal without what comes instead. */
static void a_faulty_route_reverses_nothing(void **state)
{
    struct rig *g = *state;

    dr_older(g, TG_POSTING_POSTED, TG_POSTING_READY);
    dr_let_go(g);
    assert_int_equal(json_object_set_new(json_array_get(g->result.postings, 1), "period",
                                         json_string("no such/thing")),
                     0);
    dr_decide(g);
    assert_string_equal(g->plan.code, "rule_fault");
    assert_int_equal(g->plan.posting_count, 0);
    assert_false(g->plan.correct);
    assert_int_equal(g->plan.supersede_count, 0);
    assert_int_equal(json_array_clear(g->result.postings), 0);
    dr_decide(g);
    assert_string_equal(g->plan.code, "no_destination");
    assert_false(g->plan.correct);
}

static void an_invalid_later_version_leaves_what_stands(void **state)
{
    struct rig *g = *state;

    dr_older(g, TG_POSTING_POSTED, TG_POSTING_READY);
    dr_let_go(g);
    dr_violate(g);
    dr_decide(g);
    assert_string_equal(g->plan.code, "worker_unknown");
    assert_int_equal(g->plan.object_state, TG_VERSION_EXCEPTION);
    assert_false(g->plan.correct);
    assert_int_equal(g->plan.supersede_count, 0);
}

static void a_third_version_does_not_slip_past_a_posted_first(void **state)
{
    struct rig *g = *state;

    dr_older(g, TG_POSTING_POSTED, TG_POSTING_POSTED);
    dr_tenant.corrections = (char *)"review";
    g->known.live.version = 1;
    g->known.live.id = 10;
    g->known.latest.state = TG_VERSION_EXCEPTION; /* version 2 waits as a correction */
    dr_decide(g);
    assert_string_equal(g->plan.code, "correction_after_posting");
    assert_int_equal(g->plan.posting_count, 0);
    assert_int_equal(g->plan.supersede_count, 1);
    assert_int_equal(g->plan.supersede[0], 20); /* version 2, never version 1 */
    dr_violate(g);
    dr_decide(g);
    dr_tenant.corrections = NULL;
    assert_string_equal(g->plan.code, "worker_unknown"); /* what is wrong with it comes first */
    assert_int_equal(g->plan.object_state, TG_VERSION_EXCEPTION);
    assert_false(g->plan.correct);
}

static void an_older_exception_is_closed_by_a_later_version(void **state)
{
    struct rig *g = *state;

    g->known.latest = dr_version(20, 2, TG_VERSION_EXCEPTION);
    dr_decide(g);
    assert_int_equal(g->plan.object_state, TG_VERSION_VALIDATED);
    assert_int_equal(g->plan.supersede_count, 1);
    assert_int_equal(g->plan.supersede[0], 20);
    dr_violate(g);
    dr_decide(g); /* also when the later one has its own fault: one open item an object */
    assert_int_equal(g->plan.object_state, TG_VERSION_EXCEPTION);
    assert_int_equal(g->plan.supersede_count, 1);
}

static void an_invalid_later_version_stops_the_unsent_older_one(void **state)
{
    struct rig *g = *state;

    dr_older(g, TG_POSTING_READY, TG_POSTING_READY);
    dr_let_go(g);
    dr_violate(g);
    dr_decide(g);
    assert_true(g->plan.correct); /* the source said it is not so any more */
    assert_int_equal(g->plan.supersede_count, 1);
    assert_string_equal(g->plan.code, "worker_unknown");
}

static void what_is_final_is_not_ended_again(void **state)
{
    struct rig *g = *state;

    g->known.latest = dr_version(20, 2, TG_VERSION_SUPERSEDED);
    dr_decide(g);
    assert_int_equal(g->plan.supersede_count, 0);
    assert_int_equal(g->plan.object_state, TG_VERSION_VALIDATED);
    g->known.latest.state = TG_VERSION_WITHDRAWN;
    dr_decide(g);
    assert_int_equal(g->plan.supersede_count, 0);
}

static void not_knowing_enough_cancels_nothing(void **state)
{
    struct rig *g = *state;

    dr_older(g, TG_POSTING_READY, TG_POSTING_READY);
    dr_let_go(g);
    g->known.uncertain = true;
    dr_decide(g);
    assert_string_equal(g->plan.code, "correction_after_posting");
    assert_false(g->plan.correct);
}

/* ---- holds ---- */

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, dr_setup, dr_teardown)
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
        T(not_knowing_enough_cancels_nothing),
    };

    return cmocka_run_group_tests(tests, dr_load_catalogue, dr_free_catalogue);
}
