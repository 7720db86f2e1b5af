/*
 * summary.h: how much is open, of one tenant. Counts stop at TG_OPS_COUNT_MAX of a kind: what is
 * behind that is told (`more`), not counted, so that the cost has an end on a bad day too.
 *
 * Ownership: as journal.h.
 */
#ifndef TG_JOURNAL_SUMMARY_H
#define TG_JOURNAL_SUMMARY_H

#include "journal/query.h"

struct tg_open_exceptions {
    const char *code, *owner;
    enum tg_exception_state state; /* OPEN or ASSIGNED */
    uint64_t count;
    int64_t oldest_ms; /* opened_ms */
};
typedef void (*tg_open_exceptions_fn)(void *arg, const struct tg_open_exceptions *row);
/* Open and assigned ones, by code, owner and state. 0 or -1, as all below. */
int tg_reader_open_exceptions(struct tg_reader *r, const char *tenant, tg_open_exceptions_fn fn,
                              void *arg, bool *more, struct tg_error *err);

struct tg_state_count {
    enum tg_posting_state state;
    uint64_t count;
    int64_t oldest; /* posting row */
};
typedef void (*tg_state_count_fn)(void *arg, const struct tg_state_count *row);
/* What is not over at one destination, by state; each state once. */
int tg_reader_open_states(struct tg_reader *r, uint32_t destination, tg_state_count_fn fn,
                          void *arg, bool *more, struct tg_error *err);

/* Held versions, and the row of the oldest; 0: none. */
int tg_reader_held_count(struct tg_reader *r, const char *tenant, uint64_t *count, int64_t *oldest,
                         bool *more, struct tg_error *err);

/* The newest audit row of an action that is an alarm: journal.restored, stream.entry_lost,
 * stream.entries_missing. 0, 1: none, -1. */
int tg_reader_alarm(struct tg_reader *r, const char *action, tg_audit_fn fn, void *arg,
                    struct tg_error *err);

#endif
