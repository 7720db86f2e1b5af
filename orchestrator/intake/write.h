/*
 * write.h: a plan becomes rows of one batch. Ids are taken here; what must happen in memory with
 * the rows (cancelling at dispatch, master data that the next entry of the batch is judged by)
 * happens here too, before the batch is submitted.
 *
 * Ownership: strings are copied by the batch.
 */
#ifndef TG_INTAKE_WRITE_H
#define TG_INTAKE_WRITE_H

#include "dispatch/dispatch.h"
#include "intake/decide.h"
#include "master/live.h"

struct tg_write {
    struct tg_journal *journal;
    struct tg_dispatch *dispatch;
    struct tg_batch *batch;
    struct tg_live *live; /* the tenant's; NULL: the tenant is not known */
    const char *rules_sha256, *master_version;
    int64_t now_ms;
    int64_t hold_timeout_ms; /* the tenant's */
    /* of an event that is in the journal already and was judged again; else 0 */
    int64_t event;
    bool event_accepted;              /* it was refused before, and is an object now */
    int64_t judged_object;            /* its object before; 0: none */
    enum tg_exception_state close_as; /* how the exceptions of that one end */
    const char *actor, *reason;       /* REPLAYED, EDITED: who ends them, and why */
    const char *outcome;              /* likewise: what came of it */
    int64_t *object_out;              /* gets the id of the new object row; NULL: nobody asks */
    int64_t sent_ms; /* > 0: the postings may have been sent since then, so they begin in doubt */
    /* After a restore: so may the reversals of postings up to this id, since that time. */
    int64_t restored_postings, restored_ms;
};

/* What ends the exceptions of an object; posting 0: its own ones. */
int tg_write_close(const struct tg_write *w, const struct tg_known_exception *x,
                   enum tg_exception_state state, struct tg_error *err);

/* 0, or -1 with err: the process cannot go on (no memory, or dispatch refused what it allowed). */
int tg_write_plan(const struct tg_write *w, struct tg_reading *r, const struct tg_plan *p,
                  const struct tg_known *k, struct tg_error *err);

/* A pending entry Redis no longer had. */
int tg_write_lost(const struct tg_write *w, const char *event_id, struct tg_error *err);

#endif
