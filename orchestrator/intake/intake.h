/*
 * intake.h: stream -> journal. One batch at a time: read up to TG_INTAKE_BATCH_MAX entries over all
 * shards, decide each (pure, intake/decide.h), one journal batch, and only after its commit XACK.
 * An entry is therefore on disk before it leaves the stream, and a crash at any point re-reads it;
 * the unique event id and identity make the second reading a no-op.
 *
 * Consumer name is stable ("orchestrator-1"), so a restart first reads its own pending entries
 * (XREADGROUP from 0), then claims what another consumer left (XAUTOCLAIM), then new ones. A third
 * element of XAUTOCLAIM's reply, or a nil body, is data loss: counted, logged, audited. NOGROUP
 * makes the group at 0 once, with backoff, never in a hot loop. Trimming: by MINID below the oldest
 * pending and last delivered, after the journal has it.
 *
 * Ownership: tg_intake owns its two Redis links; everything in options outlives it.
 */
#ifndef TG_INTAKE_INTAKE_H
#define TG_INTAKE_INTAKE_H

#include <uv.h>

#include "core/config.h"
#include "dispatch/dispatch.h"
#include "journal/journal.h"
#include "master/live.h"
#include "rules/pipeline.h"

struct tg_intake;

struct tg_intake_options {
    uv_loop_t *loop;
    struct tg_journal *journal;
    const struct tg_config *config;
    const struct tg_pipeline *pipeline; /* the loop thread's */
    struct tg_live *const *lives;       /* one a tenant, same order as config */
    struct tg_dispatch *dispatch;
    void (*fatal)(void *arg, const struct tg_error *err);
    void *fatal_arg;
};

struct tg_intake *tg_intake_start(const struct tg_intake_options *o, struct tg_error *err);

/* Stops reading, finishes the batch in hand (commit and ack), then calls stopped. */
void tg_intake_stop(struct tg_intake *i, void (*stopped)(void *arg), void *arg);
void tg_intake_free(struct tg_intake *i); /* after stopped */

bool tg_intake_is_connected(const struct tg_intake *i);

#endif
