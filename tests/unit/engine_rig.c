#include "engine_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct tg_engine_destination rig_place(enum tg_dedupe dedupe, unsigned concurrency)
{
    return (struct tg_engine_destination){.dedupe = dedupe,
                                          .idempotency_ttl_ms = 600000,
                                          .concurrency = concurrency,
                                          .rate = {.emission_us = 1, .capacity = 0}};
}

void rig_open(struct rig *r, const struct tg_engine_destination *places, size_t n)
{
    r->engine = tg_engine_new(places, n, 42);
    assert_non_null(r->engine);
    r->now_ms = RIG_T0;
    r->filled = 0;
    r->out.count = 0;
}

void rig_close(struct rig *r)
{
    tg_engine_free(r->engine);
    r->engine = NULL;
}

static void take_blocks(struct rig *r)
{
    size_t kept = r->filled;

    r->blocks = 0;
    for (size_t i = r->filled; i < r->out.count; i++) {
        if (r->out.items[i].kind == TG_ACT_BLOCK) {
            r->block = r->out.items[i];
            r->blocks++;
        } else {
            r->out.items[kept++] = r->out.items[i];
        }
    }
    r->out.count = kept;
}

int rig_step(struct rig *r, const struct tg_engine_event *ev)
{
    struct tg_error err = {{0}};
    int rc;

    r->out.count = r->filled;
    rc = tg_engine_step(r->engine, ev, r->now_ms, &r->out);
    if (tg_engine_check(r->engine, r->now_ms, &err) != 0) {
        fail_msg("%s", err.text);
    }
    tg_engine_destination_stats(r->engine, 0, &r->stats);
    take_blocks(r);
    return rc;
}

int rig_try_load(struct rig *r, int64_t id, enum tg_posting_state state, unsigned attempt)
{
    const struct tg_engine_event ev = {.kind = TG_EV_LOADED,
                                       .posting = {.id = id,
                                                   .state = state,
                                                   .attempt = attempt,
                                                   .first_sent_ms = attempt > 0 ? r->now_ms : 0}};

    return rig_step(r, &ev);
}

int rig_try_marked(struct rig *r, int64_t id)
{
    const struct tg_engine_event ev = {.kind = TG_EV_MARKED, .id = id};

    return rig_step(r, &ev);
}

int rig_try_outcome(struct rig *r, int64_t id, enum tg_outcome outcome, int64_t retry_after_ms)
{
    const struct tg_engine_event ev = {
        .kind = TG_EV_OUTCOME, .id = id, .outcome = outcome, .retry_after_ms = retry_after_ms};

    return rig_step(r, &ev);
}

int rig_try_lookup(struct rig *r, int64_t id, enum tg_lookup lookup)
{
    const struct tg_engine_event ev = {.kind = TG_EV_LOOKUP, .id = id, .lookup = lookup};

    return rig_step(r, &ev);
}

void rig_load(struct rig *r, int64_t id, enum tg_posting_state state, unsigned attempt)
{
    assert_int_equal(rig_try_load(r, id, state, attempt), 0);
}

void rig_marked(struct rig *r, int64_t id)
{
    assert_int_equal(rig_try_marked(r, id), 0);
}

void rig_outcome(struct rig *r, int64_t id, enum tg_outcome outcome)
{
    assert_int_equal(rig_try_outcome(r, id, outcome, 0), 0);
}

void rig_lookup(struct rig *r, int64_t id, enum tg_lookup lookup)
{
    assert_int_equal(rig_try_lookup(r, id, lookup), 0);
}

void rig_tick(struct rig *r, int64_t by_ms)
{
    const struct tg_engine_event ev = {.kind = TG_EV_TICK};

    r->now_ms += by_ms;
    assert_int_equal(rig_step(r, &ev), 0);
}

void rig_wake(struct rig *r)
{
    const int64_t wake_ms = tg_engine_wake_ms(r->engine);

    assert_true(wake_ms != INT64_MAX);
    rig_tick(r, wake_ms > r->now_ms ? wake_ms - r->now_ms : 0);
}

void rig_pause(struct rig *r, uint32_t place, bool paused)
{
    const struct tg_engine_event ev = {.kind = paused ? TG_EV_PAUSE : TG_EV_RESUME,
                                       .destination = place};

    assert_int_equal(rig_step(r, &ev), 0);
}

void rig_cancel(struct rig *r, int64_t id)
{
    const struct tg_engine_event ev = {.kind = TG_EV_CANCEL, .id = id};

    assert_int_equal(rig_step(r, &ev), 0);
}

size_t rig_count(const struct rig *r)
{
    return r->out.count - r->filled;
}

const struct tg_action *rig_action(const struct rig *r, size_t i)
{
    assert_true(i < rig_count(r));
    return &r->out.items[r->filled + i];
}

void rig_expect(const struct rig *r, size_t i, enum tg_action_kind kind, int64_t id)
{
    assert_int_equal(rig_action(r, i)->kind, kind);
    assert_int_equal(rig_action(r, i)->id, id);
}

void rig_expect_mark(const struct rig *r, size_t i, int64_t id, enum tg_posting_state from,
                     enum tg_posting_state to, unsigned attempt)
{
    rig_expect(r, i, TG_ACT_MARK, id);
    assert_string_equal(tg_posting_state_name(rig_action(r, i)->from), tg_posting_state_name(from));
    assert_string_equal(tg_posting_state_name(rig_action(r, i)->state), tg_posting_state_name(to));
    assert_int_equal(rig_action(r, i)->attempt, attempt);
}

void rig_expect_none(const struct rig *r)
{
    assert_int_equal(rig_count(r), 0);
}

void rig_send(struct rig *r, int64_t id)
{
    rig_load(r, id, TG_POSTING_READY, 0);
    rig_expect_mark(r, 0, id, TG_POSTING_READY, TG_POSTING_SENT, 1);
    rig_marked(r, id);
    rig_expect(r, 0, TG_ACT_SEND, id);
}

void rig_wake_lookup(struct rig *r, int64_t id)
{
    rig_wake(r);
    assert_int_equal(rig_count(r), 1);
    rig_expect(r, 0, TG_ACT_LOOKUP, id);
}
