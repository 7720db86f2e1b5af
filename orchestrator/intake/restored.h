/*
 * restored.h: reading the stream again after a restore (journal/restored.h says why). Once: note
 * for each shard how far the group had come, read everything up to there from the oldest entry
 * (XRANGE: the group stays where it is, and nothing is trimmed meanwhile), then go on as after any
 * start. Entries the journal has are only acknowledged; the others are decided, and what is planned
 * for them is made in doubt, not ready.
 *
 * Ownership: plain data inside tg_intake.
 */
#ifndef TG_INTAKE_RESTORED_H
#define TG_INTAKE_RESTORED_H

#include <hiredis/hiredis.h>

#include "common/event_id.h"
#include "intake/decide.h"
#include "intake/entry.h"
#include "journal/restored.h"

struct tg_intake;

/* One shard, as Redis and the journal see it. */
struct tg_reread_facts {
    uint64_t length, added;       /* entries there; ever added */
    struct tg_event_id first;     /* oldest entry, 0-0: none */
    struct tg_event_id generated; /* newest id ever given, 0-0: none */
    struct tg_event_id delivered; /* how far the group is, 0-0: nothing, or made anew */
    struct tg_event_id carried;   /* of the restore before, if that one was not done; 0-0 */
    struct tg_event_id newest;    /* the journal's newest event, 0-0: none */
    uint64_t journalled;          /* its events of this shard */
};

struct tg_reread {
    struct tg_event_id upto; /* entries up to here may have been posted before */
    bool gap;         /* entries behind `newest` are gone from Redis and not in the journal */
    uint64_t missing; /* how many; 0: it cannot be said */
};

/* Pure. */
void tg_reread_decide(const struct tg_reread_facts *f, bool doubt_all, struct tg_reread *out);

/* Argument of a reply: whose, and of which shard. */
struct tg_restoring_ask {
    struct tg_intake *intake;
    unsigned shard;
};

struct tg_restoring {
    struct tg_restored row;                      /* id 0: the journal was never restored */
    struct tg_reread_facts *facts;               /* one a shard, until the positions are written */
    struct tg_event_id upto[TG_SHARD_COUNT_MAX]; /* 0-0: nothing */
    unsigned left;                               /* replies outstanding */
    unsigned shard;                              /* read again now */
    char after[TG_STREAM_ID_BYTES];              /* its entries up to here were read again; "" */
    bool failed;
    struct tg_restoring_ask asks[TG_SHARD_COUNT_MAX];
};

/* Reads what the journal says. 0 or -1. */
int tg_restoring_load(struct tg_intake *i, struct tg_error *err);
void tg_restoring_free(struct tg_intake *i);
bool tg_restoring_is_due(const struct tg_intake *i);
/* The next step; calls tg_intake_advance when it is done, and tg_intake_start_over at the end. */
void tg_restoring_ask(struct tg_intake *i);
/* Postings in exception that the backup had: they may have been replayed and posted since. */
void tg_restoring_doubt(const struct tg_intake *i, struct tg_known *k);
/* When what is planned for this entry may first have been sent, ms; 0: surely not before. */
int64_t tg_restoring_sent_ms(const struct tg_intake *i, const struct tg_held *h);
/* The same of an event of the journal that is judged again: the backup had it, so it may have been
 * judged and posted before the restore too. */
int64_t tg_restoring_sent_again_ms(const struct tg_intake *i, int64_t event);

#endif
