/*
 * reconcile.h: control totals as the journal keeps them, against the sum of the postings they are
 * made of, group by group (destination, kind, period). Both sides of a group are read in one
 * snapshot, so it may run beside a writer.
 *
 * Ownership: as journal.h.
 */
#ifndef TG_JOURNAL_RECONCILE_H
#define TG_JOURNAL_RECONCILE_H

#include "journal/query.h"

/* How far it came: the group looked at last. Zeros: the beginning. */
struct tg_reconcile_place {
    int64_t destination; /* number + 1 */
    char kind[TG_SOURCE_NAME_MAX_BYTES + 1];
    char period[TG_CE_ATTRIBUTE_MAX_BYTES + 1];
};

struct tg_reconciled {
    const char *destination_id, *kind, *period;
    int64_t total_count, total_micros;   /* control_totals; 0 when it has no row */
    int64_t posted_count, posted_micros; /* posted and reversed postings */
    bool summed; /* false: more than TG_RECONCILE_ROWS_MAX postings, which were not added up */
    bool equal;  /* false too when not summed */
};

struct tg_reconcile_query {
    const char *tenant;
    struct tg_str destination, period; /* data NULL: all */
    bool whole; /* a group is added up however large it is: for a command, not for a request */
};

/*
 * Groups behind the place, in order; fn returns false with the one that fills the page. A call ends
 * early when it summed TG_RECONCILE_ROWS_MAX postings or looked at TG_QUERY_ROWS_MAX groups. *over:
 * there is nothing behind the place. 0 or -1.
 */
typedef bool (*tg_reconciled_fn)(void *arg, const struct tg_reconciled *row);
int tg_reader_reconcile(struct tg_reader *r, const struct tg_reconcile_query *q,
                        struct tg_reconcile_place *place, tg_reconciled_fn fn, void *arg,
                        bool *over, struct tg_error *err);

#endif
