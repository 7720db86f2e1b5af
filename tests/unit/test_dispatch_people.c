/* What people do about exceptions, on a real loop, journal and directory; and what may run into it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dispatch/people.h"
#include "dispatch_rig.h"

#define BAD_OF(hours)                                                                              \
    "{\"entry\":\"TE-1\",\"version\":1,\"date\":\"2026-11-16\",\"worker\":\"W-1\",\"hours\":"      \
    "\"" hours "\"}"
#define BAD BAD_OF("1.00") /* no pay code */
#define FAR_MS INT64_C(9000000000000)

struct heard {
    size_t count;
    struct tg_people_answer last;
    char message[TG_ERROR_MAX_BYTES], outcome[64], assignee[64], closed_by[64];
};

static void on_answer(void *arg, const struct tg_people_answer *a)
{
    struct heard *h = arg;

    h->count++;
    h->last = *a;
    (void)snprintf(h->message, sizeof(h->message), "%s", a->message);
    (void)snprintf(h->outcome, sizeof(h->outcome), "%s", a->outcome);
    (void)snprintf(h->assignee, sizeof(h->assignee), "%s", a->assignee);
    (void)snprintf(h->closed_by, sizeof(h->closed_by), "%s", a->closed_by);
}

static struct tg_people_request request(enum tg_people_verb verb, int64_t exception,
                                        struct heard *h)
{
    return (struct tg_people_request){.verb = verb,
                                      .exception = exception,
                                      .tenant = "acme",
                                      .actor = "cli:anna",
                                      .reason = "as agreed",
                                      .assignee = verb == TG_PEOPLE_ASSIGN ? "ben" : NULL,
                                      .ref = verb == TG_PEOPLE_RESOLVE_POSTED ? "INV-7" : NULL,
                                      .payload = verb == TG_PEOPLE_EDIT ? DT_PAYLOAD : NULL,
                                      .done = on_answer,
                                      .arg = h};
}

static void wait_for(struct dt_rig *g, const struct heard *h, size_t n)
{
    for (int i = 0; i < DT_ROUNDS_MAX && h->count < n; i++) {
        (void)uv_run(&g->loop, UV_RUN_ONCE);
    }
    assert_int_equal(h->count, n);
}

static struct heard ask(struct dt_rig *g, const struct tg_people_request *r)
{
    struct heard h = {.count = 0};
    struct tg_people_request mine = *r;

    mine.arg = &h;
    assert_int_equal(tg_people_submit(g->dispatch, &mine), 0);
    wait_for(g, &h, 1);
    return h;
}

static struct heard say(struct dt_rig *g, enum tg_people_verb verb, int64_t exception)
{
    const struct tg_people_request r = request(verb, exception, NULL);

    return ask(g, &r);
}

static void put_exception(struct dt_rig *g, int64_t id, int64_t posting, const char *code)
{
    struct tg_batch *b = tg_batch_new();
    const struct tg_row_exception x = {.id = id,
                                       .posting = posting,
                                       .code = code,
                                       .owner = "finance",
                                       .detail = "{}",
                                       .state = TG_EXCEPTION_OPEN,
                                       .opened_ms = 1795000000000};

    assert_int_equal(tg_batch_exception(b, &x), 0);
    jt_commit(g->journal, b);
}

/* The rows above have ids of their own; what the product adds comes behind them. */
static void ids_go_on(struct dt_rig *g)
{
    for (int i = 0; i < 3; i++) {
        (void)tg_journal_next_id(g->journal->journal, TG_TABLE_POSTINGS);
        (void)tg_journal_next_id(g->journal->journal, TG_TABLE_EXCEPTIONS);
    }
}

/* Posting `id` of version 1 in exception, as the engine leaves it. */
static void put_failed(struct dt_rig *g, int64_t id, const char *payload, const char *code)
{
    struct tg_row_posting p = dt_posting(g, id, 1, TG_POSTING_EXCEPTION);

    p.payload = payload;
    p.attempt = TG_RETRY_ATTEMPTS_MAX;
    p.first_sent_ms = 1795000000000;
    dt_put(g, &p);
    put_exception(g, id, id, code);
}

static void one_failed(struct dt_rig *g, const char *payload, const char *code)
{
    dt_add_version(g, 1, TG_VERSION_VALIDATED);
    put_failed(g, P1, payload, code);
    dt_start(g);
}

static void finish(struct dt_rig *g)
{
    dt_stop(g);
    dt_check(g);
}

static int64_t count_audit(const struct dt_rig *g, const char *action)
{
    char sql[160];

    (void)snprintf(sql, sizeof(sql),
                   "SELECT count(*) FROM audit WHERE action = '%s' AND actor = 'cli:anna'", action);
    return jt_sql_int(g->journal, sql);
}

/* ---- replay ---- */

static void a_rejected_one_goes_again(void **state)
{
    static const char *const codes[] = {"destination_rejected", "attempts_used_up"};
    struct dt_rig *g = *state;
    struct heard h;

    dt_add_version(g, 1, TG_VERSION_VALIDATED);
    put_failed(g, 1, DT_PAYLOAD, codes[0]);
    put_failed(g, 2, DT_PAYLOAD, codes[1]);
    dt_start(g);
    for (int64_t i = 1; i <= 2; i++) {
        h = say(g, TG_PEOPLE_REPLAY, i);
        assert_int_equal(h.last.result, TG_PEOPLE_DONE);
        assert_int_equal(h.last.state, TG_EXCEPTION_REPLAYED);
        assert_int_equal(h.last.posting, i);
        assert_string_equal(h.outcome, "ready");
        assert_string_equal(h.closed_by, "cli:anna");
        dt_run_until(g, i, TG_POSTING_POSTED);
        h = say(g, TG_PEOPLE_REPLAY, i);
        assert_int_equal(h.last.result, TG_PEOPLE_UNCHANGED);
        h = say(g, TG_PEOPLE_DISCARD, i);
        assert_int_equal(h.last.result, TG_PEOPLE_REFUSED);
        assert_non_null(strstr(h.message, "replayed by cli:anna"));
    }
    assert_int_equal(dt_count_in_csv("TE-1"), 2);
    assert_int_equal(count_audit(g, "exception.replayed"), 2);
    assert_int_equal(jt_sql_int(g->journal, "SELECT count(*) FROM postings WHERE attempt = 1"), 2);
    finish(g);
}

static void one_that_fails_again_has_an_exception_again(void **state)
{
    struct dt_rig *g = *state;

    one_failed(g, BAD, "destination_rejected");
    ids_go_on(g);
    assert_int_equal(say(g, TG_PEOPLE_REPLAY, 1).last.result, TG_PEOPLE_DONE);
    for (int i = 0; i < DT_ROUNDS_MAX &&
                    jt_sql_int(g->journal, "SELECT count(*) FROM exceptions WHERE state = 0") == 0;
         i++) {
        (void)uv_run(&g->loop, UV_RUN_ONCE);
    }
    assert_int_equal(dt_state_of(g, P1), TG_POSTING_EXCEPTION);
    assert_int_equal(say(g, TG_PEOPLE_REPLAY, 4).last.result, TG_PEOPLE_DONE);
    finish(g);
}

/* It landed and nobody knew: the look-up finds it, and nothing is written twice. */
static void an_unknown_one_is_looked_up_first(void **state)
{
    struct dt_rig *g = *state;
    struct tg_row_posting p = dt_posting(g, P1, 1, TG_POSTING_READY);
    struct heard h;

    dt_add_version(g, 1, TG_VERSION_VALIDATED);
    dt_put(g, &p);
    dt_start(g);
    dt_run_until(g, P1, TG_POSTING_POSTED);
    dt_turns(g, 20);
    dt_stop(g);
    jt_sql(g->journal, "UPDATE postings SET state = 9; DELETE FROM control_totals");
    put_exception(g, 1, P1, "outcome_unknown");
    dt_start(g);
    h = say(g, TG_PEOPLE_DISCARD, 1);
    assert_int_equal(h.last.result, TG_PEOPLE_REFUSED);
    assert_non_null(strstr(h.message, "resolve"));
    assert_int_equal(say(g, TG_PEOPLE_EDIT, 1).last.result, TG_PEOPLE_REFUSED);
    h = say(g, TG_PEOPLE_REPLAY, 1);
    assert_string_equal(h.outcome, "in_doubt");
    dt_run_until(g, P1, TG_POSTING_POSTED);
    assert_int_equal(dt_count_in_csv("TE-1"), 1);
    finish(g);
}

/* Version 2 behind a hold that ran out, behind version 1, which is in exception as well. */
static void order_holds_after_a_replay(void **state)
{
    struct dt_rig *g = *state;
    struct tg_row_posting p2 = dt_posting(g, P2, 2, TG_POSTING_EXCEPTION);
    struct heard h;

    dt_add_version(g, 1, TG_VERSION_VALIDATED);
    dt_add_version(g, 2, TG_VERSION_VALIDATED);
    put_failed(g, P1, DT_PAYLOAD, "destination_rejected");
    p2.hold = "order";
    p2.hold_on = P1;
    dt_put(g, &p2);
    put_exception(g, 2, P2, "hold_expired");
    dt_start(g);
    h = say(g, TG_PEOPLE_REPLAY, 2);
    assert_int_equal(h.last.result, TG_PEOPLE_DONE);
    assert_string_equal(h.outcome, "held");
    dt_turns(g, 50);
    assert_int_equal(dt_state_of(g, P2), TG_POSTING_HELD);
    assert_int_equal(jt_sql_int(g->journal, "SELECT hold_on FROM postings WHERE id = 3"), P1);
    assert_int_equal(say(g, TG_PEOPLE_REPLAY, 1).last.result, TG_PEOPLE_DONE);
    dt_run_until(g, P2, TG_POSTING_POSTED);
    assert_int_equal(dt_state_of(g, P1), TG_POSTING_POSTED);
    finish(g);
}

/* ---- resolve ---- */

static void it_is_there(void **state)
{
    struct dt_rig *g = *state;
    struct heard h;

    dt_add_version(g, 1, TG_VERSION_VALIDATED);
    dt_add_version(g, 2, TG_VERSION_VALIDATED);
    put_failed(g, P1, DT_PAYLOAD, "outcome_unknown");
    dt_put_held(g, dt_posting(g, P2, 2, TG_POSTING_HELD), "order", P1);
    dt_start(g);
    h = say(g, TG_PEOPLE_RESOLVE_POSTED, 1);
    assert_int_equal(h.last.result, TG_PEOPLE_DONE);
    assert_int_equal(h.last.state, TG_EXCEPTION_RESOLVED);
    assert_int_equal(h.last.posting_state, TG_POSTING_POSTED);
    dt_run_until(g, P2, TG_POSTING_POSTED);
    assert_int_equal(dt_count_in_csv("TE-1"), 1); /* version 2 alone was sent by us */
    assert_int_equal(
        jt_sql_int(g->journal, "SELECT count(*) FROM postings WHERE id = 1 AND ref = 'INV-7'"), 1);
    assert_int_equal(jt_sql_int(g->journal, "SELECT sum(count) FROM control_totals"), 2);
    assert_int_equal(say(g, TG_PEOPLE_RESOLVE_POSTED, 1).last.result, TG_PEOPLE_UNCHANGED);
    h = say(g, TG_PEOPLE_RESOLVE_ABSENT, 1);
    assert_int_equal(h.last.result, TG_PEOPLE_REFUSED);
    assert_non_null(strstr(h.message, "posted"));
    finish(g);
}

static void it_is_not_there(void **state)
{
    struct dt_rig *g = *state;
    struct heard h;

    one_failed(g, DT_PAYLOAD, "outcome_unknown");
    h = say(g, TG_PEOPLE_RESOLVE_ABSENT, 1);
    assert_int_equal(h.last.result, TG_PEOPLE_DONE);
    assert_string_equal(h.outcome, "absent");
    dt_run_until(g, P1, TG_POSTING_POSTED);
    assert_int_equal(dt_count_in_csv("TE-1"), 1);
    assert_int_equal(say(g, TG_PEOPLE_RESOLVE_ABSENT, 1).last.result, TG_PEOPLE_UNCHANGED);
    assert_int_equal(say(g, TG_PEOPLE_RESOLVE_POSTED, 1).last.result, TG_PEOPLE_REFUSED);
    finish(g);
}

/* Version 1 may be there; version 2 came meanwhile, with a reversal that waits to know. */
static void superseded_and_unknown(struct dt_rig *g)
{
    dt_add_version(g, 1, TG_VERSION_SUPERSEDED);
    dt_add_version(g, 2, TG_VERSION_VALIDATED);
    put_failed(g, P1, DT_PAYLOAD, "outcome_unknown");
    dt_put_reversal(g, "reversal");
    dt_put_held(g, dt_posting(g, P2, 2, TG_POSTING_HELD), "order", R1);
    dt_start(g);
}

static void it_is_not_there_and_shall_not_be(void **state)
{
    struct dt_rig *g = *state;

    superseded_and_unknown(g);
    assert_int_equal(say(g, TG_PEOPLE_RESOLVE_ABSENT, 1).last.result, TG_PEOPLE_DONE);
    dt_run_until(g, P2, TG_POSTING_POSTED);
    assert_int_equal(dt_state_of(g, P1), TG_POSTING_CANCELLED);
    assert_int_equal(dt_state_of(g, R1), TG_POSTING_CANCELLED);
    assert_int_equal(dt_count_in_csv("TE-1"), 1);
    finish(g);
}

/* Posted for real; then as if the answer had been lost. */
static void posted_and_lost(struct dt_rig *g, int64_t id, const char *totals)
{
    char sql[200];

    dt_turns(g, 20);
    dt_stop(g);
    (void)snprintf(sql, sizeof(sql), "UPDATE postings SET state = 9 WHERE id = %d; %s", (int)id,
                   totals);
    jt_sql(g->journal, sql);
    put_exception(g, id, id, "outcome_unknown");
}

static void it_is_there_and_is_taken_back(void **state)
{
    struct dt_rig *g = *state;
    struct tg_row_posting p1 = dt_posting(g, P1, 1, TG_POSTING_READY);

    dt_add_version(g, 1, TG_VERSION_VALIDATED);
    dt_put(g, &p1);
    dt_start(g);
    dt_run_until(g, P1, TG_POSTING_POSTED);
    posted_and_lost(g, P1, "DELETE FROM control_totals; UPDATE objects SET state = 2");
    dt_add_version(g, 2, TG_VERSION_VALIDATED);
    dt_put_reversal(g, "reversal");
    dt_put_held(g, dt_posting(g, P2, 2, TG_POSTING_HELD), "order", R1);
    dt_start(g);
    assert_int_equal(say(g, TG_PEOPLE_RESOLVE_POSTED, 1).last.result, TG_PEOPLE_DONE);
    dt_run_until(g, P2, TG_POSTING_POSTED);
    assert_int_equal(dt_state_of(g, P1), TG_POSTING_REVERSED);
    assert_int_equal(dt_count_in_csv(",-1.00,"), 1);
    assert_int_equal(dt_count_in_csv(",1.00,"), 2);
    finish(g);
}

static void a_reversal_that_is_there_has_reversed(void **state)
{
    struct dt_rig *g = *state;
    struct tg_row_posting p1 = dt_posting(g, P1, 1, TG_POSTING_READY);
    struct tg_row_posting r1 = dt_posting(g, R1, 1, TG_POSTING_EXCEPTION);

    dt_add_version(g, 1, TG_VERSION_VALIDATED);
    dt_put(g, &p1);
    dt_start(g);
    dt_run_until(g, P1, TG_POSTING_POSTED);
    dt_turns(g, 20);
    jt_sql(g->journal, "UPDATE objects SET state = 2 WHERE id = 1");
    dt_add_version(g, 2, TG_VERSION_VALIDATED);
    r1.reverses = P1;
    r1.quantity_micros = -1000000;
    r1.first_sent_ms = 1795000000000;
    dt_put(g, &r1);
    put_exception(g, 1, R1, "outcome_unknown");
    dt_put_held(g, dt_posting(g, P2, 2, TG_POSTING_HELD), "order", R1);
    assert_int_equal(say(g, TG_PEOPLE_RESOLVE_POSTED, 1).last.result, TG_PEOPLE_DONE);
    dt_run_until(g, P2, TG_POSTING_POSTED);
    assert_int_equal(dt_state_of(g, P1), TG_POSTING_REVERSED);
    assert_int_equal(dt_state_of(g, R1), TG_POSTING_POSTED);
    finish(g);
}

/* ---- discard ---- */

static void a_discarded_one_lets_the_next_go(void **state)
{
    struct dt_rig *g = *state;
    struct heard h;

    dt_add_version(g, 1, TG_VERSION_VALIDATED);
    dt_add_version(g, 2, TG_VERSION_VALIDATED);
    put_failed(g, P1, BAD, "destination_rejected");
    dt_put_held(g, dt_posting(g, P2, 2, TG_POSTING_HELD), "order", P1);
    dt_start(g);
    h = say(g, TG_PEOPLE_DISCARD, 1);
    assert_int_equal(h.last.result, TG_PEOPLE_DONE);
    assert_int_equal(h.last.state, TG_EXCEPTION_DISCARDED);
    dt_run_until(g, P2, TG_POSTING_POSTED);
    assert_int_equal(dt_state_of(g, P1), TG_POSTING_CANCELLED);
    assert_int_equal(jt_sql_int(g->journal, "SELECT count(*) FROM exceptions WHERE reason = "
                                            "'as agreed' AND closed_by = 'cli:anna'"),
                     1);
    assert_int_equal(say(g, TG_PEOPLE_DISCARD, 1).last.result, TG_PEOPLE_UNCHANGED);
    finish(g);
}

/* ---- edit ---- */

static void an_edit_is_the_next_generation(void **state)
{
    struct dt_rig *g = *state;
    struct tg_people_request r = request(TG_PEOPLE_EDIT, 1, NULL);
    struct heard h;

    dt_add_version(g, 1, TG_VERSION_VALIDATED);
    dt_add_version(g, 2, TG_VERSION_VALIDATED);
    put_failed(g, P1, BAD, "destination_rejected");
    dt_put_held(g, dt_posting(g, P2, 2, TG_POSTING_HELD), "order", P1);
    dt_start(g);
    ids_go_on(g);
    r.payload = "[1]";
    assert_int_equal(ask(g, &r).last.result, TG_PEOPLE_INVALID);
    r.payload = BAD_OF("2.00");
    h = ask(g, &r);
    assert_int_equal(h.last.result, TG_PEOPLE_INVALID);
    assert_non_null(strstr(h.message, "hours"));
    r.payload = DT_PAYLOAD;
    h = ask(g, &r);
    assert_int_equal(h.last.result, TG_PEOPLE_DONE);
    assert_int_equal(h.last.state, TG_EXCEPTION_EDITED);
    assert_int_equal(h.last.made, 4);
    dt_run_until(g, P2, TG_POSTING_POSTED); /* after the edited one of version 1 */
    assert_int_equal(dt_state_of(g, P1), TG_POSTING_CANCELLED);
    assert_int_equal(dt_state_of(g, 4), TG_POSTING_POSTED);
    assert_int_equal(jt_sql_int(g->journal, "SELECT count(*) FROM postings a JOIN postings b ON "
                                            "b.object = a.object AND b.generation = a.generation + "
                                            "1 AND b.key <> a.key WHERE a.id = 1 AND b.id = 4"),
                     1);
    assert_int_equal(jt_sql_int(g->journal, "SELECT count(*) FROM edits WHERE posting = 1 AND "
                                            "actor = 'cli:anna'"),
                     1);
    assert_int_equal(dt_count_in_csv("TE-1"), 2);
    assert_int_equal(ask(g, &r).last.result, TG_PEOPLE_UNCHANGED);
    assert_int_equal(jt_sql_int(g->journal, "SELECT count(*) FROM postings"), 3);
    finish(g);
}

static void an_edited_reversal_still_reverses(void **state)
{
    struct dt_rig *g = *state;
    struct tg_row_posting p1 = dt_posting(g, P1, 1, TG_POSTING_READY);
    struct tg_row_posting r1 = dt_posting(g, R1, 1, TG_POSTING_EXCEPTION);

    dt_add_version(g, 1, TG_VERSION_VALIDATED);
    dt_put(g, &p1);
    dt_start(g);
    dt_run_until(g, P1, TG_POSTING_POSTED);
    dt_turns(g, 20);
    jt_sql(g->journal, "UPDATE objects SET state = 2 WHERE id = 1");
    dt_add_version(g, 2, TG_VERSION_VALIDATED);
    r1.reverses = P1;
    r1.quantity_micros = -1000000;
    r1.first_sent_ms = 1795000000000;
    r1.payload = BAD;
    dt_put(g, &r1);
    put_exception(g, 1, R1, "destination_rejected");
    dt_put_held(g, dt_posting(g, P2, 2, TG_POSTING_HELD), "order", R1);
    ids_go_on(g);
    assert_int_equal(say(g, TG_PEOPLE_EDIT, 1).last.result, TG_PEOPLE_DONE);
    dt_run_until(g, P2, TG_POSTING_POSTED);
    assert_int_equal(dt_state_of(g, R1), TG_POSTING_CANCELLED);
    assert_int_equal(dt_state_of(g, P1), TG_POSTING_REVERSED);
    assert_int_equal(dt_count_in_csv(",-1.00,"), 1);
    finish(g);
}

/* ---- who, what, whose ---- */

static void assigned_and_handed_on(void **state)
{
    struct dt_rig *g = *state;
    struct tg_people_request r = request(TG_PEOPLE_ASSIGN, 1, NULL);
    struct heard h;

    one_failed(g, DT_PAYLOAD, "destination_rejected");
    h = ask(g, &r);
    assert_int_equal(h.last.result, TG_PEOPLE_DONE);
    assert_int_equal(h.last.state, TG_EXCEPTION_ASSIGNED);
    assert_string_equal(h.assignee, "ben");
    assert_int_equal(ask(g, &r).last.result, TG_PEOPLE_UNCHANGED);
    r.assignee = "carol";
    assert_int_equal(ask(g, &r).last.result, TG_PEOPLE_DONE);
    assert_int_equal(say(g, TG_PEOPLE_REPLAY, 1).last.result, TG_PEOPLE_DONE);
    h = ask(g, &r);
    assert_int_equal(h.last.result, TG_PEOPLE_REFUSED);
    assert_string_equal(h.assignee, "carol");
    assert_int_equal(count_audit(g, "exception.assigned"), 2);
    finish(g);
}

static void of_others_and_of_nobody(void **state)
{
    struct dt_rig *g = *state;
    struct tg_people_request r = request(TG_PEOPLE_REPLAY, 1, NULL);
    struct tg_batch *b = tg_batch_new();
    const struct tg_row_exception x = {
        .id = 2, .object = 1, .code = "worker_unknown", .owner = "o", .opened_ms = 1};
    struct heard h;

    one_failed(g, DT_PAYLOAD, "destination_rejected");
    assert_int_equal(tg_batch_exception(b, &x), 0);
    jt_commit(g->journal, b);
    r.tenant = "other";
    assert_int_equal(ask(g, &r).last.result, TG_PEOPLE_NOT_FOUND);
    assert_int_equal(say(g, TG_PEOPLE_DISCARD, 77).last.result, TG_PEOPLE_NOT_FOUND);
    h = say(g, TG_PEOPLE_REPLAY, 2);
    assert_int_equal(h.last.result, TG_PEOPLE_OF_EVENT);
    assert_int_equal(h.last.event, 1);
    assert_int_equal(dt_state_of(g, P1), TG_POSTING_EXCEPTION);
    finish(g);
}

/* ---- what may run into it ---- */

static void two_at_once(void **state)
{
    struct dt_rig *g = *state;
    struct heard first = {0}, second = {0}, third = {0};
    const struct tg_people_request a = request(TG_PEOPLE_DISCARD, 1, &first);
    const struct tg_people_request b = request(TG_PEOPLE_REPLAY, 1, &second);
    const struct tg_people_request c = request(TG_PEOPLE_DISCARD, 1, &third);

    one_failed(g, DT_PAYLOAD, "destination_rejected");
    assert_int_equal(tg_people_submit(g->dispatch, &a), 0);
    assert_int_equal(tg_people_submit(g->dispatch, &b), 0);
    assert_int_equal(tg_people_submit(g->dispatch, &c), 0);
    wait_for(g, &first, 1);
    wait_for(g, &second, 1);
    wait_for(g, &third, 1);
    assert_int_equal(first.last.result, TG_PEOPLE_DONE);
    assert_int_equal(second.last.result, TG_PEOPLE_REFUSED);
    assert_int_equal(third.last.result, TG_PEOPLE_UNCHANGED);
    assert_int_equal(dt_state_of(g, P1), TG_POSTING_CANCELLED);
    assert_int_equal(dt_count_in_csv("TE-1"), 0);
    finish(g);
}

static struct tg_row_posting row_of(struct dt_rig *g, int64_t id)
{
    struct tg_row_posting p = dt_posting(g, id, 1, TG_POSTING_EXCEPTION);

    p.first_sent_ms = 1795000000000;
    return p;
}

/* A correction is not decided while an act is on its way, and the other way round. */
static void not_beside_a_correction(void **state)
{
    struct dt_rig *g = *state;
    struct heard h = {0};
    const struct tg_people_request r = request(TG_PEOPLE_REPLAY, 1, &h);
    const struct tg_row_posting p = row_of(g, P1);

    one_failed(g, DT_PAYLOAD, "destination_rejected");
    tg_dispatch_leave(g->dispatch, P1);
    assert_int_equal(tg_people_submit(g->dispatch, &r), 0);
    dt_turns(g, 50);
    assert_int_equal(h.count, 0);
    assert_int_equal(dt_state_of(g, P1), TG_POSTING_EXCEPTION);
    assert_int_equal(tg_dispatch_may_cancel(g->dispatch, &p), TG_LET_GO_YES);
    tg_dispatch_kick(g->dispatch);
    assert_int_equal(uv_run(&g->loop, UV_RUN_NOWAIT), 1); /* on its way now */
    assert_int_equal(tg_dispatch_may_cancel(g->dispatch, &p), TG_LET_GO_LATER);
    wait_for(g, &h, 1);
    dt_run_until(g, P1, TG_POSTING_POSTED);
    finish(g);
}

/* Somebody else's commit closed it first: nothing is done, and the process lives on. */
static void second_inside_the_journal(void **state)
{
    struct dt_rig *g = *state;
    struct heard h = {0};
    const struct tg_people_request r = request(TG_PEOPLE_REPLAY, 1, &h);
    struct tg_batch *b = tg_batch_new();
    const struct tg_row_act act = {.exception = 1, .state = TG_EXCEPTION_DISCARDED, .actor = "x"};

    one_failed(g, DT_PAYLOAD, "destination_rejected");
    assert_int_equal(tg_batch_act(b, &act), 0);
    assert_int_equal(tg_people_submit(g->dispatch, &r), 0);
    assert_int_equal(tg_journal_submit(g->journal->journal, b, NULL, NULL), 0);
    wait_for(g, &h, 1);
    assert_int_equal(h.last.result, TG_PEOPLE_REFUSED);
    assert_int_equal(dt_state_of(g, P1), TG_POSTING_EXCEPTION);
    dt_stop(g);
}

static void a_restored_one_is_looked_up(void **state)
{
    struct dt_rig *g = *state;

    dt_add_version(g, 1, TG_VERSION_VALIDATED);
    put_failed(g, P1, DT_PAYLOAD, "destination_rejected");
    jt_sql(g->journal, "INSERT INTO restores VALUES(1, 1795100000000, 1795050000000, 2, 0, 9, 9, "
                       "1, 1)");
    dt_start(g);
    assert_int_equal(say(g, TG_PEOPLE_DISCARD, 1).last.result, TG_PEOPLE_REFUSED);
    assert_int_equal(say(g, TG_PEOPLE_EDIT, 1).last.result, TG_PEOPLE_REFUSED);
    assert_string_equal(say(g, TG_PEOPLE_REPLAY, 1).outcome, "in_doubt");
    dt_run_until(g, P1, TG_POSTING_POSTED);
    assert_int_equal(dt_count_in_csv("TE-1"), 1);
    finish(g);
}

static void a_stop_tells_who_waits(void **state)
{
    struct dt_rig *g = *state;
    struct heard h = {0};
    const struct tg_people_request r = request(TG_PEOPLE_REPLAY, 1, &h);

    one_failed(g, DT_PAYLOAD, "destination_rejected");
    tg_dispatch_leave(g->dispatch, P1);
    assert_int_equal(tg_people_submit(g->dispatch, &r), 0);
    dt_turns(g, 10);
    dt_stop(g);
    assert_int_equal(h.count, 1);
    assert_int_equal(h.last.result, TG_PEOPLE_STOPPING);
    assert_int_equal(dt_state_of(g, P1), TG_POSTING_EXCEPTION);
    dt_check(g);
}

static void by_the_hundred(void **state)
{
    enum { N = 600 };
    struct dt_rig *g = *state;
    struct heard h = {0};
    struct tg_batch *b = tg_batch_new();

    for (unsigned i = 1; i <= N; i++) {
        struct tg_row_event e = jt_event(i, i, TG_EVENT_ACCEPTED);
        struct tg_row_object o = jt_object(i, i, i, 1, TG_VERSION_VALIDATED);
        struct tg_row_posting p = dt_posting(g, i, i, TG_POSTING_EXCEPTION);
        const struct tg_row_exception x = {
            .id = i, .posting = i, .code = "destination_rejected", .owner = "o", .opened_ms = 1};

        p.first_sent_ms = 1795000000000;
        p.attempt = 1;
        assert_int_equal(tg_batch_event(b, &e), 0);
        assert_int_equal(tg_batch_object(b, &o), 0);
        assert_int_equal(tg_batch_posting(b, &p), 0);
        assert_int_equal(tg_batch_exception(b, &x), 0);
    }
    jt_commit(g->journal, b);
    dt_start(g);
    for (int64_t i = 1; i <= N; i++) {
        const struct tg_people_request r =
            request(i % 3 == 0 ? TG_PEOPLE_DISCARD : TG_PEOPLE_REPLAY, i, &h);

        assert_int_equal(tg_people_submit(g->dispatch, &r), 0);
    }
    wait_for(g, &h, N);
    for (int i = 0;
         i < DT_ROUNDS_MAX && jt_sql_int(g->journal, "SELECT count(*) FROM postings WHERE state "
                                                     "IN (6, 8)") != N;
         i++) {
        (void)uv_run(&g->loop, UV_RUN_ONCE);
    }
    assert_int_equal(dt_count_in_csv("TE-1"), N - N / 3);
    finish(g);
}

/* ---- the payload of an edit ---- */

static void expect_payload(const char *edited, const char *period, const char *complaint)
{
    static const char old[] = "{\"hours\":\"-1.50\",\"task\":\"T-1\",\"n\":3,"
                              "\"pay_period\":\"2026-W47\"}";
    struct tg_error why = {""};
    char *text = tg_people_payload(old, edited, "2026-W47", period, &why);

    if (complaint == NULL) {
        assert_non_null(text);
    } else {
        assert_null(text);
        assert_non_null(strstr(why.text, complaint));
    }
    free(text);
}

static void what_an_edit_may_say(void **state)
{
    (void)state;
    expect_payload("{\"hours\":\"-1.5\",\"task\":\"T-2\",\"n\":3,\"pay_period\":\"2026-W47\"}",
                   "2026-W47", NULL);
    expect_payload(
        "{\"hours\":\"-1.5\",\"task\":\"T-2\",\"n\":3,\"pay_period\":\"2026-W47\",\"note\":\"x\"}",
        "2026-W47", NULL);
    expect_payload("{\"hours\":\"-1.5\",\"task\":\"T-1\",\"n\":3,\"pay_period\":\"2026-W48\"}",
                   "2026-W48", NULL);
    expect_payload("{\"hours\":\"-1.50\",\"task\":\"T-1\",\"n\":3,\"pay_period\":\"2026-W47\"}",
                   "2026-W47", "use replay");
    expect_payload("{\"task\":\"T-2\",\"n\":3,\"pay_period\":\"2026-W47\"}", "2026-W47", "hours");
    expect_payload("{\"hours\":\"1.50\",\"task\":\"T-2\",\"n\":3,\"pay_period\":\"2026-W47\"}",
                   "2026-W47", "hours");
    expect_payload("{\"hours\":\"2\",\"task\":\"T-2\",\"n\":3,\"pay_period\":\"2026-W47\"}",
                   "2026-W47", "hours");
    expect_payload("{\"hours\":-1.5,\"task\":\"T-2\",\"n\":3,\"pay_period\":\"2026-W47\"}",
                   "2026-W47", "hours");
    expect_payload("{\"hours\":\"-1.5\",\"task\":\"T-2\",\"n\":4,\"pay_period\":\"2026-W47\"}",
                   "2026-W47", "`n`");
    expect_payload("{\"hours\":\"-1.5\",\"n\":3,\"pay_period\":\"2026-W47\"}", "2026-W47", "task");
    expect_payload("{\"hours\":\"-1.5\",\"task\":\"T-2\",\"n\":3,\"pay_period\":\"2026-W47\","
                   "\"amount\":\"9\"}",
                   "2026-W47", "added");
    expect_payload("{\"hours\":\"-1.50\",\"task\":\"T-2\",\"n\":3,\"pay_period\":\"2026-W48\"}",
                   "2026-W47", "pay_period");
    expect_payload("{\"hours\":\"-1.50\",\"task\":\"T-2\",\"n\":3}", "2026-W47", "pay_period");
    expect_payload("[]", "2026-W47", "object");
    expect_payload("", "2026-W47", "object");
    expect_payload("{\"a\":1,\"a\":2}", "2026-W47", "object");
}

static void a_posting_date_lies_in_its_period(void **state)
{
    static const char old[] = "{\"posting_date\":\"2026-11-16\",\"date\":\"2026-11-16\"}";
    static const char same_month[] = "{\"posting_date\":\"2026-11-30\",\"date\":\"2026-11-16\"}";
    static const char next_month[] = "{\"posting_date\":\"2026-12-01\",\"date\":\"2026-11-16\"}";
    struct tg_error why = {""};
    char *text = tg_people_payload(old, same_month, "2026-11", "2026-11", &why);

    (void)state;
    assert_non_null(text);
    free(text);
    assert_null(tg_people_payload(old, next_month, "2026-11", "2026-11", &why));
    assert_non_null(strstr(why.text, "posting_date"));
    text = tg_people_payload(old, next_month, "2026-11", "2026-12", &why);
    assert_non_null(text);
    free(text);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, dt_setup, dt_teardown)
    const struct CMUnitTest tests[] = {
        T(a_rejected_one_goes_again),
        T(one_that_fails_again_has_an_exception_again),
        T(an_unknown_one_is_looked_up_first),
        T(order_holds_after_a_replay),
        T(it_is_there),
        T(it_is_not_there),
        T(it_is_not_there_and_shall_not_be),
        T(it_is_there_and_is_taken_back),
        T(a_reversal_that_is_there_has_reversed),
        T(a_discarded_one_lets_the_next_go),
        T(an_edit_is_the_next_generation),
        T(an_edited_reversal_still_reverses),
        T(assigned_and_handed_on),
        T(of_others_and_of_nobody),
        T(two_at_once),
        T(not_beside_a_correction),
        T(second_inside_the_journal),
        T(a_restored_one_is_looked_up),
        T(a_stop_tells_who_waits),
        T(by_the_hundred),
        cmocka_unit_test(what_an_edit_may_say),
        cmocka_unit_test(a_posting_date_lies_in_its_period),
    };

    return cmocka_run_group_tests(tests, dt_load_catalogue, dt_free_catalogue);
}
