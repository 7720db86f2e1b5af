/*
 * replays.h: exceptions that a person has replayed together: which, by whom, and how far it came.
 * The items are noted before the first of them is touched, and the place after each slice, so that
 * a process that died goes on where it was; an item that comes twice is changed once.
 *
 * Ownership: as journal.h.
 */
#ifndef TG_JOURNAL_REPLAYS_H
#define TG_JOURNAL_REPLAYS_H

#include "journal/journal.h"

struct tg_row_replay {
    int64_t id;
    const char *tenant, *actor, *reason;
    const char *token;       /* of the dry run that was looked at */
    int64_t at_ms, ended_ms; /* ended_ms 0: it goes on */
    int64_t total, position; /* of items; those before position are dealt with */
    int64_t done, unchanged, refused;
    const char *filter;   /* JSON object, as it was asked for */
    const char *refusals; /* JSON list: {"exception", "message"} of the first ones */
    const char *items;    /* JSON list of exceptions.id */
};

/* A new one: position and counts are 0. Each: 0 or -1, as tg_batch_*. */
int tg_batch_replay(struct tg_batch *b, const struct tg_row_replay *r);
/* id, position, counts, refusals and ended_ms of one that goes on. */
int tg_batch_replay_step(struct tg_batch *b, const struct tg_row_replay *r);

/* fn returns false to stop. 0, 1: not found, -1. */
typedef bool (*tg_replay_fn)(void *arg, const struct tg_row_replay *row);
int tg_reader_replay(struct tg_reader *r, int64_t id, tg_replay_fn fn, void *arg,
                     struct tg_error *err);
/* The one that was begun with this token. */
int tg_reader_replay_of(struct tg_reader *r, const char *token, tg_replay_fn fn, void *arg,
                        struct tg_error *err);
/* Those that go on, the oldest first, at most TG_REPLAYS_MAX. 0 or -1. */
int tg_reader_replays_running(struct tg_reader *r, tg_replay_fn fn, void *arg,
                              struct tg_error *err);

#endif
