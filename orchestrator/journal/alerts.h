/*
 * alerts.h: what alerting keeps in the journal (whom it told what, and how far it looked) and what
 * it asks of it. Not for the loop thread: some questions walk all that is open.
 *
 * Ownership: as journal.h.
 */
#ifndef TG_JOURNAL_ALERTS_H
#define TG_JOURNAL_ALERTS_H

#include "core/alert.h"
#include "journal/audit.h"
#include "journal/trail.h"

/* How far it looked: ids up to these are old news. */
struct tg_alert_marks {
    int64_t exceptions; /* exceptions.id */
    int64_t audit;      /* audit.seq */
};

/* The newest ids there are: where alerting begins in a journal it never looked at. 0 or -1. */
int tg_reader_alert_ends(struct tg_reader *r, struct tg_alert_marks *out, struct tg_error *err);
/* 0, 1: never noted, -1. */
int tg_reader_alert_marks(struct tg_reader *r, struct tg_alert_marks *out, struct tg_error *err);

typedef void (*tg_alert_fn)(void *arg, const char *kind, const char *thing,
                            const struct tg_alert_state *state);
int tg_reader_alerts(struct tg_reader *r, tg_alert_fn fn, void *arg, struct tg_error *err);

/* Exceptions open or assigned, by tenant, code and owner. fresh: with an id behind `after`. */
struct tg_open_group {
    const char *tenant, *code, *owner;
    uint64_t count, fresh;
    int64_t oldest_ms, newest; /* opened_ms of the oldest; id of the newest */
};
typedef void (*tg_open_group_fn)(void *arg, const struct tg_open_group *g);
int tg_reader_open_groups(struct tg_reader *r, int64_t after, tg_open_group_fn fn, void *arg,
                          struct tg_error *err);

/* The oldest posting of each destination that is not final (held and exceptions aside). */
typedef void (*tg_oldest_fn)(void *arg, const char *destination_id, int64_t posting,
                             int64_t journalled_ms);
int tg_reader_oldest_of_each(struct tg_reader *r, tg_oldest_fn fn, void *arg, struct tg_error *err);

/* Audit rows behind seq, at most `limit`. 0 or -1. */
int tg_reader_audit_after(struct tg_reader *r, int64_t seq, size_t limit, tg_audit_fn fn, void *arg,
                          struct tg_error *err);

/* Each: 0, or -1 as tg_batch_*. An idle state is removed. */
int tg_batch_alert(struct tg_batch *b, const char *kind, const char *thing,
                   const struct tg_alert_state *state, bool idle);
int tg_batch_alert_marks(struct tg_batch *b, const struct tg_alert_marks *marks);

#endif
