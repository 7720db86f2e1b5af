/*
 * engine_rig.h: an engine on a bench. Every step is followed by tg_engine_check, and its actions
 * are kept until the next step.
 *
 * Ownership: rig_open makes it, rig_close ends it.
 */
#ifndef TG_TESTS_ENGINE_RIG_H
#define TG_TESTS_ENGINE_RIG_H

#include "core/engine.h"

#define RIG_T0 INT64_C(1790000000000)

struct rig {
    struct tg_engine *engine;
    int64_t now_ms;
    size_t filled;                /* actions already in `out` before a step */
    struct tg_actions out;        /* of the last step, from `filled` on, but for BLOCKs: */
    size_t blocks;                /* of the last step */
    struct tg_action block;       /* the newest one */
    struct tg_engine_stats stats; /* of destination 0, after the last step */
};

struct tg_engine_destination rig_place(enum tg_dedupe dedupe, unsigned concurrency);
void rig_open(struct rig *r, const struct tg_engine_destination *places, size_t n);
void rig_close(struct rig *r);

/* Feed an event; the result of tg_engine_step. */
int rig_step(struct rig *r, const struct tg_engine_event *ev);
int rig_try_load(struct rig *r, int64_t id, enum tg_posting_state state, unsigned attempt);
int rig_try_marked(struct rig *r, int64_t id);
int rig_try_outcome(struct rig *r, int64_t id, enum tg_outcome outcome, int64_t retry_after_ms);
int rig_try_lookup(struct rig *r, int64_t id, enum tg_lookup lookup);

/* The same, and they must be taken. */
void rig_load(struct rig *r, int64_t id, enum tg_posting_state state, unsigned attempt);
void rig_marked(struct rig *r, int64_t id);
void rig_outcome(struct rig *r, int64_t id, enum tg_outcome outcome);
void rig_lookup(struct rig *r, int64_t id, enum tg_lookup lookup);
void rig_tick(struct rig *r, int64_t by_ms);
void rig_wake(struct rig *r); /* to when the engine asks to be woken, and ticks */
void rig_pause(struct rig *r, uint32_t place, bool paused);
void rig_cancel(struct rig *r, int64_t id);

/* How many actions the last step gave. */
size_t rig_count(const struct rig *r);
const struct tg_action *rig_action(const struct rig *r, size_t i);
/* The i-th action is this. */
void rig_expect(const struct rig *r, size_t i, enum tg_action_kind kind, int64_t id);
void rig_expect_mark(const struct rig *r, size_t i, int64_t id, enum tg_posting_state from,
                     enum tg_posting_state to, unsigned attempt);
void rig_expect_none(const struct rig *r);

/* From READY (nothing else waiting) to in flight. */
void rig_send(struct rig *r, int64_t id);
/* From a look-up that is due, through its turn: the LOOKUP action must come. */
void rig_wake_lookup(struct rig *r, int64_t id);

#endif
