/*
 * kpis.h: what became of things in a span of time, of one tenant: how long approved time took to be
 * posted, how much of it was, how long people took, what was sent twice.
 *
 * The audit chain has a row for each posting that ended, each exception that was opened or closed,
 * each duplicate, each version that was taken over: so one walk over the rows of the span tells all
 * of it, and its cost follows the span, not the journal. A walk looks at rows_max rows of the chain
 * and as many events, the newest; what is older is left out whole, and covered_ms says so: figures
 * are never of half a time.
 *
 * Ownership: tg_kpis_free frees what tg_reader_kpis made; it points to nothing else.
 */
#ifndef TG_JOURNAL_KPIS_H
#define TG_JOURNAL_KPIS_H

#include "journal/query.h"

struct tg_kpi_query {
    const char *tenant;
    struct tg_span span;
    size_t rows_max;
};

/* Of count samples: nearest rank. All 0 when there is none. */
struct tg_kpi_times {
    uint64_t count;
    int64_t p50_ms, p95_ms, max_ms;
};

struct tg_kpi_destination {
    uint32_t number;
    char id[TG_TENANT_MAX_BYTES + 1 + TG_SOURCE_NAME_MAX_BYTES + 1]; /* "acme/erp" */
    uint64_t posted;                                                 /* reversals too */
    uint64_t exceptions; /* in the span the last that was said of them is: exception */
    struct tg_kpi_times latency;
    uint64_t unposted; /* now, whatever the span: neither posted, nor cancelled, nor reversed */
    int64_t oldest_ms; /* when the event of the oldest of them was journalled; 0: none */
    bool more;         /* there are more than `unposted` */
};

struct tg_kpi_code {
    char code[TG_CODE_MAX_BYTES + 1];
    uint64_t opened;
    struct tg_kpi_times closed; /* from opened to closed, of those closed in the span */
};

struct tg_kpis {
    int64_t covered_ms; /* figures are from here on; span.since_ms when nothing was left out */
    struct tg_kpi_times latency; /* of postings that are no reversals */
    uint64_t from_approval;      /* of latency.count: since the approval; others: since receipt */
    uint64_t posted, reversals;  /* reversals: of posted */
    uint64_t exceptions;
    uint64_t opened, closed; /* exceptions */
    uint64_t events, duplicates;
    uint64_t superseded, withdrawn; /* versions */
    uint64_t replayed, replay_runs; /* exceptions one by one; replays by filter */
    uint64_t periods;               /* in which something was posted, and which are reconciled: */
    uint64_t groups, different;
    int64_t off_count, off_micros; /* sums of what the totals are off, without sign */
    bool reconciled;               /* false: not all of it was added up */
    uint64_t held_versions;        /* now */
    bool more_held;
    struct tg_kpi_destination *destinations;
    size_t destination_count;
    struct tg_kpi_code *codes; /* in order of code */
    size_t code_count;
};

/* 0, or -1: nothing is to be freed then. */
int tg_reader_kpis(struct tg_reader *r, const struct tg_kpi_query *q, struct tg_kpis *out,
                   struct tg_error *err);
void tg_kpis_free(struct tg_kpis *k); /* what it points to */

#endif
