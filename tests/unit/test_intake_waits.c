/* The decision about versions that wait for something, and about withdrawals (decide.h). */
#include "decide_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/codec.h"

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

    dr_violate(g);
    cure(g->result.violations, 0, "worker:W-9");
    dr_tenant.hold_timeout_ms = 1000;
    dr_decide(g); /* one of two: a person must see to the other */
    assert_int_equal(g->plan.object_state, TG_VERSION_EXCEPTION);
    assert_null(g->plan.waits_for);
    cure(g->result.violations, 1, "task:T-9");
    dr_decide(g);
    assert_int_equal(g->plan.event_state, TG_EVENT_ACCEPTED);
    assert_int_equal(g->plan.object_state, TG_VERSION_HELD);
    assert_string_equal(g->plan.waits_for, "worker:W-9"); /* one after the other */
    assert_null(g->plan.code);
    assert_int_equal(g->plan.posting_count, 0);
    g->known.is_overdue = true;
    dr_decide(g);
    assert_string_equal(g->plan.code, "worker_unknown");
    g->known.is_overdue = false;
    dr_tenant.hold_timeout_ms = 0; /* off */
    dr_decide(g);
    assert_string_equal(g->plan.code, "worker_unknown");
    assert_null(g->plan.waits_for);
}

static void a_held_version_and_an_older_one(void **state)
{
    struct rig *g = *state;

    dr_violate(g);
    cure(g->result.violations, 0, "worker:W-9");
    cure(g->result.violations, 1, "task:T-9");
    dr_tenant.hold_timeout_ms = 1000;
    dr_older(g, TG_POSTING_POSTED, TG_POSTING_READY);
    dr_let_go(g);
    dr_decide(g); /* what stands, stands until the new one can be */
    assert_int_equal(g->plan.object_state, TG_VERSION_HELD);
    assert_false(g->plan.correct);
    assert_int_equal(g->plan.supersede_count, 0);
    dr_older(g, TG_POSTING_READY, TG_POSTING_READY);
    dr_let_go(g);
    dr_decide(g); /* what was not sent need not be */
    assert_int_equal(g->plan.object_state, TG_VERSION_HELD);
    assert_true(g->plan.correct);
    assert_int_equal(g->plan.supersede[0], 20);
    dr_tenant.hold_timeout_ms = 0;
}

static void a_reversal_may_be_waited_for(void **state)
{
    struct rig *g = *state;

    dr_tenant.hold_timeout_ms = 1000;
    dr_older(g, TG_POSTING_POSTED, TG_POSTING_POSTED);
    json_decref(g->known.postings[1].reversal);
    g->known.postings[1].reversal =
        json_pack("{s:s, s:s, s:s, s:s}", "code", "worker_unknown", "field", "", "message",
                  "closed", "waits_for", "period:2026-10");
    dr_decide(g);
    assert_int_equal(g->plan.object_state, TG_VERSION_HELD);
    assert_string_equal(g->plan.waits_for, "period:2026-10");
    assert_false(g->plan.correct);
    assert_int_equal(g->plan.posting_count, 0);
    withdraw(g);
    dr_decide(g); /* so may a withdrawal */
    assert_int_equal(g->plan.object_state, TG_VERSION_HELD);
    dr_tenant.hold_timeout_ms = 0;
}

/* ---- withdrawals ---- */

static void a_withdrawal_takes_everything_back(void **state)
{
    struct rig *g = *state;

    dr_older(g, TG_POSTING_POSTED, TG_POSTING_READY);
    dr_let_go(g);
    withdraw(g);
    dr_decide(g);
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
    dr_decide(g);
    assert_int_equal(g->plan.object_state, TG_VERSION_WITHDRAWN);
    assert_int_equal(g->plan.posting_count, 0);
    assert_null(g->plan.code);
    g->result.withdrawn = false; /* the lower version that comes late */
    g->known.latest = dr_version(40, 4, TG_VERSION_WITHDRAWN);
    dr_decide(g);
    assert_int_equal(g->plan.object_state, TG_VERSION_SUPERSEDED);
}

static void a_withdrawal_may_have_to_wait_for_finance(void **state)
{
    struct rig *g = *state;

    dr_older(g, TG_POSTING_POSTED, TG_POSTING_POSTED);
    g->known.postings[0].reversible = false;
    withdraw(g);
    dr_decide(g);
    assert_int_equal(g->plan.object_state, TG_VERSION_EXCEPTION);
    assert_string_equal(g->plan.code, "correction_after_posting");
    assert_int_equal(g->plan.posting_count, 0);
    assert_false(g->plan.correct);
}

static void a_withdrawn_entry_may_come_back(void **state)
{
    struct rig *g = *state;

    g->known.latest = dr_version(20, 2, TG_VERSION_WITHDRAWN);
    g->known.postings = calloc(TG_EFFECTS_MAX, sizeof(*g->known.postings));
    assert_non_null(g->known.postings);
    g->known.postings[0] = dr_effect(103, 3, TG_POSTING_SENT); /* the reversal is on its way */
    json_decref(g->known.postings[0].reversal);
    g->known.postings[0].reversal = NULL;
    g->known.postings[0].reverses = 101;
    g->known.posting_count = 1;
    dr_decide(g);
    assert_int_equal(g->plan.object_state, TG_VERSION_VALIDATED);
    assert_int_equal(g->plan.posting_count, 2);
    assert_int_equal(g->plan.postings[0].hold_on, 103);
    assert_int_equal(g->plan.supersede_count, 0); /* the withdrawal stays what it was */
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, dr_setup, dr_teardown)
    const struct CMUnitTest tests[] = {
        T(what_comes_later_is_waited_for),
        T(a_held_version_and_an_older_one),
        T(a_reversal_may_be_waited_for),
        T(a_withdrawal_takes_everything_back),
        T(a_withdrawal_of_nothing_known_is_a_tombstone),
        T(a_withdrawal_may_have_to_wait_for_finance),
        T(a_withdrawn_entry_may_come_back),
    };

    return cmocka_run_group_tests(tests, dr_load_catalogue, dr_free_catalogue);
}
