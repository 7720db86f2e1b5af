/*
 * query.h: lists for people, one tenant's, page after page. Each call looks at no more than
 * TG_QUERY_ROWS_MAX rows whatever it finds, so its cost does not grow with the journal: where a
 * filter finds little, a page ends early and the next one goes on.
 *
 * A walk is by keys, never by counting rows: rows that are added meanwhile move nothing, and what
 * was there at the beginning is given once.
 *
 * Ownership: as journal.h. Views of a query belong to the caller and live as long as the call.
 */
#ifndef TG_JOURNAL_QUERY_H
#define TG_JOURNAL_QUERY_H

#include "journal/trail.h"

/* How far a list came; zeros: its beginning. What the numbers mean is the list's own. */
struct tg_walk {
    int64_t at[3];
    bool over; /* out: there is nothing behind this */
};

/* Since (included) and until (not included), in ms. Open ends: 0, INT64_MAX. */
struct tg_span {
    int64_t since_ms, until_ms;
};

#define TG_QUERY_ANY_STATE (-2)
#define TG_QUERY_OPEN                                                                              \
    (-1) /* exceptions: open, assigned; postings: ready, sent, retry, in_doubt                     \
          */

/* Texts with data NULL: not asked for. Callbacks return false with the row that fills the page. */
struct tg_exception_query {
    const char *tenant;
    int state; /* one of enum tg_exception_state, or above */
    struct tg_str code, owner, assignee;
    struct tg_str destination; /* "erp": of a posting that goes there */
    struct tg_str subject;     /* as its row says it, with version or without; or an event id */
    struct tg_str prefix;      /* what the row's subject begins with */
    struct tg_span span;       /* when it was opened */
};
bool tg_query_has_exception(const struct tg_exception_query *q, const struct tg_row_exception *x);
/* The oldest first. 0 or -1, as all below. */
int tg_reader_list_exceptions(struct tg_reader *r, const struct tg_exception_query *q,
                              struct tg_walk *w, tg_exception_fn fn, void *arg,
                              struct tg_error *err);

/* One thing a subject may mean: an object's key, and its version; -1: all of them. */
struct tg_object_choice {
    unsigned char key[TG_POSTING_KEY_BYTES];
    int64_t version;
};

struct tg_posting_query {
    const char *tenant;
    int state;
    struct tg_str destination; /* "erp" */
    struct tg_str period;
    const struct tg_object_choice *objects; /* NULL: any */
    size_t object_count;
    struct tg_span span; /* when its event was journalled */
};
/*
 * Of states that are not over: by destination, in the order of sending. Else: of the newest events
 * first.
 */
int tg_reader_list_postings(struct tg_reader *r, const struct tg_posting_query *q,
                            struct tg_walk *w, tg_posting_fn fn, void *arg, struct tg_error *err);

struct tg_audit_query {
    const char *tenant;
    struct tg_str subject; /* "posting 17", or an event id: then also what is about its row */
    struct tg_str action;  /* "posting.posted", or "posting" for all of them */
    struct tg_str actor;
    struct tg_span span;
};
/* Rows about things of the tenant, the newest first. */
int tg_reader_list_audit(struct tg_reader *r, const struct tg_audit_query *q, struct tg_walk *w,
                         tg_audit_fn fn, void *arg, struct tg_error *err);

/* ---- for the lists themselves ---- */

/* "acme/erp" is acme's. */
bool tg_query_is_of(const char *destination_id, const char *tenant);
bool tg_query_in(const struct tg_span *span, int64_t ms);

/* Numbers of all destinations a tenant ever had, in order of number; at most
 * TG_JOURNAL_PAGE_MAX. */
typedef void (*tg_number_fn)(void *arg, uint32_t destination, const char *destination_id);
int tg_reader_destinations_of(struct tg_reader *r, const char *tenant, tg_number_fn fn, void *arg,
                              struct tg_error *err);

/* What has a time that grows with its id, but for a clock that was set back. */
enum tg_timed { TG_TIMED_EVENTS, TG_TIMED_AUDIT };
/* Ids from *low on and below *high hold all rows of a span, and some of TG_QUERY_SLACK_MS around
 * it; of a span with open ends as far as there may be. 0 or -1. */
int tg_query_places(struct tg_reader *r, enum tg_timed which, const struct tg_span *span,
                    int64_t *low, int64_t *high, struct tg_error *err);
/* The time of the row with this id, or of the next; INT64_MAX: there is none. 0 or -1. */
int tg_query_time_at(struct tg_reader *r, enum tg_timed which, int64_t id, int64_t *ms,
                     struct tg_error *err);

#endif
