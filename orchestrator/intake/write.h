/*
 * write.h: a plan becomes rows of one batch. Ids are taken here; what must happen in memory with
 * the rows (cancelling at dispatch) happens here too, before the batch is submitted.
 *
 * Ownership: strings are copied by the batch.
 */
#ifndef TG_INTAKE_WRITE_H
#define TG_INTAKE_WRITE_H

#include "dispatch/dispatch.h"
#include "intake/decide.h"

struct tg_write {
    struct tg_journal *journal;
    struct tg_dispatch *dispatch;
    struct tg_batch *batch;
    const char *rules_sha256, *master_version;
    int64_t now_ms;
    int64_t hold_timeout_ms; /* the tenant's */
};

/* 0, or -1 with err: the process cannot go on (no memory, or dispatch refused what it allowed). */
int tg_write_plan(const struct tg_write *w, struct tg_reading *r, const struct tg_plan *p,
                  const struct tg_known *k, struct tg_error *err);

/* A pending entry Redis no longer had. */
int tg_write_lost(const struct tg_write *w, const char *event_id, struct tg_error *err);

#endif
