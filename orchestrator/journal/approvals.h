/*
 * approvals.h: what one person asked for and a second one has to approve. A row is asked for once
 * (the same verb on the same subject waits only once), and ends once: that and its audit row
 * (approval.asked, .approved, .refused, .done, .expired) are in the batch of what follows.
 *
 * Ownership: as journal.h.
 */
#ifndef TG_JOURNAL_APPROVALS_H
#define TG_JOURNAL_APPROVALS_H

#include "journal/journal.h"

enum tg_approval_state {
    TG_APPROVAL_PENDING = 0,
    TG_APPROVAL_APPROVED = 1, /* and being done, where that takes more than one commit */
    TG_APPROVAL_REFUSED = 2,
    TG_APPROVAL_DONE = 3,
    TG_APPROVAL_EXPIRED = 4 /* nobody said anything in time */
};

struct tg_row_approval {
    int64_t id; /* read only: given by the journal */
    const char *tenant, *verb, *subject;
    const char *what;   /* JSON: all that is needed to do it */
    const char *reason; /* of the one who asks */
    const char *asked_by;
    int64_t asked_ms, expires_ms;
    enum tg_approval_state state; /* read only, like all below */
    const char *decided_by, *said;
    int64_t decided_ms;
};

const char *tg_approval_state_name(enum tg_approval_state s);

/* Nothing is written when the same waits already. 0 or -1, as tg_batch_*. */
int tg_batch_approval(struct tg_batch *b, const struct tg_row_approval *row);
/* One that has ended, or is not there, refuses the batch. */
int tg_batch_approval_end(struct tg_batch *b, int64_t id, enum tg_approval_state to,
                          const char *actor, const char *said);

typedef bool (*tg_approval_fn)(void *arg, const struct tg_row_approval *row);
/* 0, 1: none, or -1. */
int tg_reader_approval(struct tg_reader *r, int64_t id, tg_approval_fn fn, void *arg,
                       struct tg_error *err);
/* The one that waits. */
int tg_reader_approval_waits(struct tg_reader *r, const char *tenant, const char *verb,
                             const char *subject, tg_approval_fn fn, void *arg,
                             struct tg_error *err);
/* With id > after, in order of id. all: also those that have ended. */
int tg_reader_approvals(struct tg_reader *r, const char *tenant, bool all, int64_t after,
                        size_t limit, tg_approval_fn fn, void *arg, struct tg_error *err);

#endif
