/*
 * restored.h: what a restored journal remembers of its restore, and who may have been sent before.
 *
 * Between the backup and the restore another life of this journal went on: it may have posted what
 * the backup holds as unsent, and what it read from the stream afterwards. Hence, for good:
 *   - every posting the backup had open is looked up before it is sent (restore.c marks them);
 *   - a posting made later for an event the backup knew (row id up to `events`), or for a stream
 *     entry up to `upto` of its shard, is made in doubt, not ready;
 *   - an exception's posting with an id up to `postings` is looked up before a replay sends it.
 * `upto` is how far the group had come when intake first started after the restore: what lies
 * behind it nobody has read. With doubt_all it is the stream's end (Redis came from a copy too).
 *
 * States: TO_DO until intake has written all positions, POSITIONS until everything up to them was
 * read again, then DONE. Each is a commit: a crash between them repeats what does no harm.
 *
 * Ownership: as journal.h.
 */
#ifndef TG_JOURNAL_RESTORED_H
#define TG_JOURNAL_RESTORED_H

#include "journal/journal.h"

enum tg_restored_state { TG_RESTORED_TO_DO, TG_RESTORED_POSITIONS, TG_RESTORED_DONE };

struct tg_restored {
    int64_t id; /* 0: never restored */
    int64_t at_ms, backup_ms;
    enum tg_restored_state state;
    bool doubt_all;
    int64_t events, objects, postings, exceptions; /* highest row ids of the backup */
};

/* The newest restore. 0, 1: none (out is zero), -1. */
int tg_reader_restored(struct tg_reader *r, struct tg_restored *out, struct tg_error *err);

/* upto: a stream id. Positions of one restore, by shard. 0 or -1. */
typedef void (*tg_restored_fn)(void *arg, unsigned shard, const char *upto);
int tg_reader_restored_positions(struct tg_reader *r, int64_t restore, tg_restored_fn fn, void *arg,
                                 struct tg_error *err);

/* Every event id of the journal, in no particular order: one walk of an index. 0 or -1. */
typedef void (*tg_event_id_fn)(void *arg, const char *event_id);
int tg_reader_event_ids(struct tg_reader *r, tg_event_id_fn fn, void *arg, struct tg_error *err);

/* Each: 0, or -1 as tg_batch_*. A position that is there already is replaced. */
int tg_batch_restored_position(struct tg_batch *b, int64_t restore, unsigned shard,
                               const char *upto);
int tg_batch_restored_state(struct tg_batch *b, int64_t restore, enum tg_restored_state state);

#endif
