/*
 * trail.h: what the journal keeps of one thing beside its row: attempts of a posting, audit rows.
 * For people and their tools: not on the way of an event.
 *
 * Ownership: as journal.h: rows are valid inside the callback only.
 */
#ifndef TG_JOURNAL_TRAIL_H
#define TG_JOURNAL_TRAIL_H

#include "journal/audit.h"

struct tg_row_attempt {
    int64_t id, posting;
    unsigned attempt;
    const char *outcome, *detail;
    int64_t at_ms;
};

typedef bool (*tg_attempt_fn)(void *arg, const struct tg_row_attempt *row);
typedef bool (*tg_audit_fn)(void *arg, const struct tg_audit_row *row);

/* In order of time. Each: 0 or -1. */
int tg_reader_attempts(struct tg_reader *r, int64_t posting, tg_attempt_fn fn, void *arg,
                       struct tg_error *err);
/* Rows about one subject ("posting 17", an event id), oldest first, by an index. */
int tg_reader_audit_of(struct tg_reader *r, const char *subject, tg_audit_fn fn, void *arg,
                       struct tg_error *err);
/* By the key a destination knows. 0, 1: none, -1. */
int tg_reader_posting_by_key(struct tg_reader *r, const unsigned char key[TG_POSTING_KEY_BYTES],
                             tg_posting_fn fn, void *arg, struct tg_error *err);
/* An object version by its row. 0, 1: none, -1. */
int tg_reader_object(struct tg_reader *r, int64_t object, tg_object_fn fn, void *arg,
                     struct tg_error *err);

#endif
