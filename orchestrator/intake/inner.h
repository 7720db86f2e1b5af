/*
 * inner.h: what the files of intake share; nothing outside includes it.
 *
 *   intake.c   start, stop, what comes next (tg_intake_advance), the tick
 *   ask.c      commands to Redis and their replies: groups, reads, claims, trimming, the gauge
 *   batch.c    held entries -> decisions -> one journal batch -> acknowledgement
 *   again.c    events of the journal, judged again -> one journal batch -> answers
 *   restored.c after a restore: how far the group was, and everything up to there once more
 *
 * Ownership: tg_intake owns everything it points to but the options.
 */
#ifndef TG_INTAKE_INNER_H
#define TG_INTAKE_INNER_H

#include "intake/intake.h"
#include "intake/restored.h"
#include "intake/seen.h"
#include "intake/stream.h"

/* One more entry must fit into a batch: its rows, and the exceptions it may close. */
#define TG_INTAKE_OPS_FULL (TG_JOURNAL_BATCH_OPS_MAX - TG_INTAKE_EXCEPTIONS_MAX - 256)

struct tg_again;

enum tg_intake_phase { TG_MAKE_GROUPS, TG_RESTORING, TG_READ_OWN, TG_CLAIM, TG_READ_NEW };

struct tg_intake {
    struct tg_intake_options o;
    struct tg_streams streams;
    struct tg_reader *reader;
    char journal_id[TG_JOURNAL_ID_BYTES + 1];
    struct tg_redis_link *read_link, *command_link;
    uv_timer_t tick;

    /* ask.c */
    enum tg_intake_phase phase;
    bool busy;                                        /* a read, claim or group command is out */
    int64_t wait_until_ms;                            /* loop time: after an error */
    char own[TG_SHARD_COUNT_MAX][TG_STREAM_ID_BYTES]; /* TG_READ_OWN: what follows this id */
    unsigned active_shards;                           /* that gave entries in the last read */
    bool small_entries; /* each of them was at most TG_INTAKE_SMALL_BYTES */
    unsigned groups_left, claim_shard;
    bool groups_failed;
    char claim_cursor[TG_STREAM_ID_BYTES];
    int64_t claim_at_ms, trim_at_ms, gauge_at_ms; /* loop time */
    uint64_t acks_since_trim, backlog;
    unsigned gauge_left;

    /* batch.c */
    struct tg_held **held; /* read and not yet acknowledged */
    size_t held_cap, held_count;
    size_t held_next;       /* held[0..held_next) is the batch in hand */
    struct tg_batch *batch; /* made, not yet taken by the journal */
    bool committing, acking, ack_lost;
    /* Of each shard the newest entry that this process saw in the journal; "": none yet. */
    char journalled[TG_SHARD_COUNT_MAX][TG_STREAM_ID_BYTES];
    unsigned acks_out;
    struct tg_seen seen;

    /* again.c */
    struct tg_again *again;
    bool again_was_last;           /* the last batch was one of again.c */
    struct tg_restoring restoring; /* restored.c */

    bool stopping, closing, failed;
    unsigned open_parts; /* links and the timer */
    void (*stopped)(void *arg);
    void *stopped_arg;
};

int64_t tg_intake_now(const struct tg_intake *i); /* loop time */
void tg_intake_fail(struct tg_intake *i, const struct tg_error *err);
void tg_intake_fail_text(struct tg_intake *i, const char *text);
void tg_intake_soon(struct tg_intake *i); /* advances in the next turn of the loop */
/* Does what comes next, if anything may. Called after every change. */
void tg_intake_advance(struct tg_intake *i);

/* ask.c */
void tg_intake_ask(struct tg_intake *i);          /* the next command of the phase */
void tg_intake_start_over(struct tg_intake *i);   /* own entries first */
void tg_intake_housekeeping(struct tg_intake *i); /* trim and gauge, when due */
/* Holds the entries of one list; last_id gets the id of the last one. Number held, or -1. */
long tg_intake_take_list(struct tg_intake *i, const redisReply *list, unsigned shard,
                         char *last_id);

/* again.c */
struct tg_again *tg_again_new(void); /* NULL: no memory */
void tg_again_free(struct tg_again *a);
bool tg_again_has_work(const struct tg_intake *i);
void tg_again_make(struct tg_intake *i);      /* a batch of it, if anything is to be written */
void tg_again_committed(struct tg_intake *i); /* the batch is on disk: answers */
void tg_again_tick(struct tg_intake *i);      /* what is overdue */
void tg_again_stop(struct tg_intake *i);      /* who waits is told that it was not done */

/* batch.c */
void tg_intake_submit(
    struct tg_intake *i); /* the batch; a full queue leaves it for the next tick */
int tg_intake_hold(struct tg_intake *i, struct tg_held *h); /* takes it; 0 or -1: no memory */
void tg_intake_work(struct tg_intake *i);                   /* the next step of what is held */
void tg_intake_drop_held(struct tg_intake *i);              /* it stays pending in Redis */

#endif
