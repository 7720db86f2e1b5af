/*
 * The walk over the span. What a row of the chain is about is looked up by its id; rows of other
 * tenants are looked at and left out.
 */
#include "journal/kpis.h"

#include <stdlib.h>
#include <string.h>

#include "common/codec.h"
#include "journal/internal.h"
#include "journal/reconcile.h"
#include "journal/summary.h"

struct sample {
    uint32_t group;
    int64_t ms;
};

struct samples {
    struct sample *list;
    size_t count, room, max;
};

struct counting {
    struct tg_reader *r;
    const struct tg_kpi_query *q;
    struct tg_kpis *k;
    struct tg_error *err;
    struct tg_span span; /* what is covered */
    struct samples latencies, closings;
    int64_t low, high; /* seq of the chain */
    size_t code_room;
    char periods[TG_KPI_PERIODS_MAX][TG_CE_ATTRIBUTE_MAX_BYTES + 1];
    uint64_t summed; /* postings added up for the reconciliation */
    bool failed, periods_cut;
};

/* ---- samples ---- */

static void add_sample(struct counting *c, struct samples *s, size_t group, int64_t ms)
{
    if (s->count == s->room) {
        size_t room = s->room == 0 ? 256 : s->room * 2;
        struct sample *list = s->room < s->max ? realloc(s->list, room * sizeof(*list)) : NULL;

        if (list == NULL) {
            c->failed = true;
            (void)tg_error_set(c->err, "journal: out of memory");
            return;
        }
        s->list = list;
        s->room = room;
    }
    s->list[s->count++] = (struct sample){(uint32_t)group, ms > 0 ? ms : 0};
}

static int by_time(const void *left, const void *right)
{
    const struct sample *a = left, *b = right;

    return (a->ms > b->ms) - (a->ms < b->ms);
}

static int by_group(const void *left, const void *right)
{
    const struct sample *a = left, *b = right;

    return a->group != b->group ? (a->group > b->group) - (a->group < b->group) : by_time(a, b);
}

/* Of samples in order of time. */
static struct tg_kpi_times times_of(const struct sample *list, size_t count)
{
    struct tg_kpi_times t = {.count = count};

    if (count > 0) {
        t.p50_ms = list[(count * 50 + 99) / 100 - 1].ms;
        t.p95_ms = list[(count * 95 + 99) / 100 - 1].ms;
        t.max_ms = list[count - 1].ms;
    }
    return t;
}

/* Calls fn with each group's times. */
static void each_group(struct tg_kpis *k, struct samples *s,
                       void (*fn)(struct tg_kpis *k, size_t group, struct tg_kpi_times t))
{
    size_t from = 0;

    qsort(s->list, s->count, sizeof(*s->list), by_group);
    for (size_t i = 1; i <= s->count; i++) {
        if (i == s->count || s->list[i].group != s->list[from].group) {
            fn(k, s->list[from].group, times_of(s->list + from, i - from));
            from = i;
        }
    }
}

static void set_latency(struct tg_kpis *k, size_t group, struct tg_kpi_times t)
{
    k->destinations[group].latency = t;
}

static void set_closed(struct tg_kpis *k, size_t group, struct tg_kpi_times t)
{
    k->codes[group].closed = t;
}

static int by_code(const void *left, const void *right)
{
    return strcmp(((const struct tg_kpi_code *)left)->code,
                  ((const struct tg_kpi_code *)right)->code);
}

static void sum_up(struct counting *c)
{
    struct tg_kpis *k = c->k;

    if (c->latencies.count > 0) {
        qsort(c->latencies.list, c->latencies.count, sizeof(*c->latencies.list), by_time);
        k->latency = times_of(c->latencies.list, c->latencies.count);
        each_group(k, &c->latencies, set_latency);
    }
    if (c->closings.count > 0) {
        each_group(k, &c->closings, set_closed);
    }
    if (k->code_count > 0) {
        qsort(k->codes, k->code_count, sizeof(*k->codes), by_code);
    }
}

/* ---- destinations ---- */

static void on_number(void *arg, uint32_t number, const char *destination_id)
{
    struct tg_kpis *k = arg;
    struct tg_kpi_destination *d = &k->destinations[k->destination_count];

    if (tg_str_copy(tg_str_of(destination_id), d->id, sizeof(d->id))) {
        d->number = number;
        k->destination_count++;
    }
}

static struct tg_kpi_destination *destination_of(const struct tg_kpis *k, int64_t number)
{
    for (size_t i = 0; i < k->destination_count; i++) {
        if ((int64_t)k->destinations[i].number == number) {
            return &k->destinations[i];
        }
    }
    return NULL; /* another tenant's */
}

/* ---- one row of the chain ---- */

typedef void (*row_fn)(struct counting *c, sqlite3_stmt *row, int64_t at_ms);

struct found {
    struct counting *c;
    int64_t at_ms;
    row_fn fn;
};

static bool on_found(void *arg, sqlite3_stmt *row)
{
    const struct found *f = arg;

    f->fn(f->c, row, f->at_ms);
    return false;
}

/* The row that the id in `subject` ("posting 17") is of. No such row is nothing to count. */
static void look_up(struct counting *c, enum tg_reader_statement which, const char *sql,
                    const char *subject, int64_t at_ms, row_fn fn)
{
    struct found found = {c, at_ms, fn};
    const char *number = strchr(subject, ' ');
    sqlite3_stmt *s = tg_reader_statement(c->r, which, sql, c->err);
    struct tg_bind b;
    int64_t id;

    if (s == NULL) {
        c->failed = true;
        return;
    }
    if (number == NULL || !tg_str_to_i64(tg_str_of(number + 1), &id)) {
        return;
    }
    b = tg_bind_begin(s);
    tg_bind_i64(&b, id);
    if (tg_reader_rows(c->r, &b, on_found, &found, "what an audit row is about", c->err) != 0) {
        c->failed = true;
    }
}

static void note_period(struct counting *c, const char *period)
{
    uint64_t *count = &c->k->periods;

    for (size_t i = 0; i < *count; i++) {
        if (strcmp(c->periods[i], period) == 0) {
            return;
        }
    }
    if (*count == TG_KPI_PERIODS_MAX ||
        !tg_str_copy(tg_str_of(period), c->periods[*count], sizeof(c->periods[0]))) {
        c->periods_cut = true;
        return;
    }
    (*count)++;
}

static void on_posted(struct counting *c, sqlite3_stmt *row, int64_t at_ms)
{
    struct tg_kpi_destination *d = destination_of(c->k, sqlite3_column_int64(row, 0));
    int64_t since = sqlite3_column_int64(row, 4);

    if (d == NULL) {
        return;
    }
    d->posted++;
    c->k->posted++;
    note_period(c, tg_column_text(row, 2));
    if (sqlite3_column_int(row, 1) != 0) {
        c->k->reversals++;
        return;
    }
    if (tg_rfc3339_parse(tg_str_of(tg_column_text(row, 3)), &since) == 0) {
        c->k->from_approval++;
    }
    add_sample(c, &c->latencies, (size_t)(d - c->k->destinations), at_ms - since);
}

static void on_posting_exception(struct counting *c, sqlite3_stmt *row, int64_t at_ms)
{
    struct tg_kpi_destination *d = destination_of(c->k, sqlite3_column_int64(row, 0));

    (void)at_ms;
    if (d != NULL) {
        d->exceptions++;
        c->k->exceptions++;
    }
}

static bool on_later(void *arg, sqlite3_stmt *row)
{
    (void)row;
    *(bool *)arg = true;
    return false;
}

/* Did the span say something later about this posting's end? Then that counts. */
static bool is_said_later(struct counting *c, const char *subject, int64_t seq)
{
    sqlite3_stmt *s = tg_reader_statement(
        c->r, TG_READ_KPI_LATER,
        "SELECT 1 FROM audit INDEXED BY audit_subject WHERE subject = ?1 AND seq > ?2 "
        "AND seq < ?3 AND at_ms < ?4 AND (action = 'posting.posted' OR "
        "action = 'posting.exception') LIMIT 1",
        c->err);
    struct tg_bind b;
    bool later = false;

    if (s == NULL) {
        c->failed = true;
        return true;
    }
    b = tg_bind_begin(s);
    tg_bind_text(&b, subject);
    tg_bind_i64(&b, seq);
    tg_bind_i64(&b, c->high);
    tg_bind_i64(&b, c->span.until_ms);
    if (tg_reader_rows(c->r, &b, on_later, &later, "audit rows", c->err) != 0) {
        c->failed = true;
    }
    return later;
}

static bool is_of_tenant(const struct counting *c, sqlite3_stmt *row, int column)
{
    return strcmp(tg_column_text(row, column), c->q->tenant) == 0;
}

/* Its place; codes past the last place share it. */
static size_t code_of(struct counting *c, const char *code)
{
    struct tg_kpis *k = c->k;
    size_t i = 0;

    while (i < k->code_count && strcmp(k->codes[i].code, code) != 0) {
        i++;
    }
    if (i == k->code_count && k->code_count == TG_KPI_CODES_MAX) {
        return TG_KPI_CODES_MAX - 1;
    }
    if (i == k->code_count) {
        const char *name = k->code_count == TG_KPI_CODES_MAX - 1 ? TG_KPI_OTHER_CODES : code;

        memset(&k->codes[i], 0, sizeof(k->codes[i]));
        (void)tg_str_copy(tg_str_of(name), k->codes[i].code, sizeof(k->codes[i].code));
        k->code_count++;
    }
    return i;
}

static void on_opened(struct counting *c, sqlite3_stmt *row, int64_t at_ms)
{
    (void)at_ms;
    if (is_of_tenant(c, row, 0)) {
        c->k->codes[code_of(c, tg_column_text(row, 1))].opened++;
        c->k->opened++;
    }
}

static void on_closed(struct counting *c, sqlite3_stmt *row, int64_t at_ms)
{
    (void)at_ms;
    if (is_of_tenant(c, row, 0)) {
        add_sample(c, &c->closings, code_of(c, tg_column_text(row, 1)),
                   sqlite3_column_int64(row, 3) - sqlite3_column_int64(row, 2));
        c->k->closed++;
    }
}

static void on_replayed(struct counting *c, sqlite3_stmt *row, int64_t at_ms)
{
    c->k->replayed += is_of_tenant(c, row, 0) ? 1 : 0;
    on_closed(c, row, at_ms);
}

static void on_superseded(struct counting *c, sqlite3_stmt *row, int64_t at_ms)
{
    (void)at_ms;
    c->k->superseded += is_of_tenant(c, row, 0) ? 1 : 0;
}

static void on_withdrawn(struct counting *c, sqlite3_stmt *row, int64_t at_ms)
{
    (void)at_ms;
    c->k->withdrawn += is_of_tenant(c, row, 0) ? 1 : 0;
}

static void on_replay_run(struct counting *c, sqlite3_stmt *row, int64_t at_ms)
{
    (void)at_ms;
    c->k->replay_runs += is_of_tenant(c, row, 0) ? 1 : 0;
}

#define OF_POSTING                                                                                 \
    TG_READ_KPI_POSTING,                                                                           \
        "SELECT p.destination, p.reverses IS NOT NULL, p.period, CASE WHEN json_valid(o.json) "    \
        "THEN json_extract(o.json, '$.approved_at') END, e.received_ms FROM postings p "           \
        "JOIN objects o ON o.id = p.object JOIN events e ON e.id = o.event WHERE p.id = ?1"
#define OF_EXCEPTION                                                                               \
    TG_READ_KPI_EXCEPTION, "SELECT tenant, code, opened_ms, closed_ms FROM exceptions WHERE id = " \
                           "?1"
#define OF_OBJECT TG_READ_KPI_OBJECT, "SELECT tenant FROM objects WHERE id = ?1"
#define OF_REPLAY TG_READ_KPI_REPLAY, "SELECT tenant FROM replays WHERE id = ?1"

static const struct {
    const char *action;
    enum tg_reader_statement which;
    const char *sql;
    row_fn fn;
} counted[] = {
    {"posting.posted", OF_POSTING, on_posted},
    {"posting.exception", OF_POSTING, on_posting_exception},
    {"exception.opened", OF_EXCEPTION, on_opened},
    {"exception.closed", OF_EXCEPTION, on_closed},
    {"exception.edited", OF_EXCEPTION, on_closed},
    {"exception.discarded", OF_EXCEPTION, on_closed},
    {"exception.resolved", OF_EXCEPTION, on_closed},
    {"exception.replayed", OF_EXCEPTION, on_replayed},
    {"object.superseded", OF_OBJECT, on_superseded},
    {"object.withdrawn", OF_OBJECT, on_withdrawn},
    {"replay.begun", OF_REPLAY, on_replay_run},
};

static bool on_audit(void *arg, sqlite3_stmt *s)
{
    struct counting *c = arg;
    const int64_t seq = sqlite3_column_int64(s, 0), at_ms = sqlite3_column_int64(s, 1);
    const char *action = tg_column_text(s, 2), *subject = tg_column_text(s, 3);
    size_t i = 0;

    while (i < sizeof(counted) / sizeof(counted[0]) && strcmp(counted[i].action, action) != 0) {
        i++;
    }
    if (i < sizeof(counted) / sizeof(counted[0]) && tg_query_in(&c->span, at_ms) &&
        (counted[i].fn != on_posting_exception || !is_said_later(c, subject, seq))) {
        look_up(c, counted[i].which, counted[i].sql, subject, at_ms, counted[i].fn);
    }
    return !c->failed;
}

static bool on_event(void *arg, sqlite3_stmt *s)
{
    struct counting *c = arg;

    if (is_of_tenant(c, s, 0) && tg_query_in(&c->span, sqlite3_column_int64(s, 1))) {
        c->k->events++;
        c->k->duplicates += sqlite3_column_int(s, 2) == TG_EVENT_DUPLICATE ? 1 : 0;
    }
    return true;
}

/* ---- the span ---- */

static int walk(struct counting *c, enum tg_reader_statement which, const char *sql, int64_t low,
                int64_t high, tg_row_fn fn)
{
    sqlite3_stmt *s = tg_reader_statement(c->r, which, sql, c->err);
    struct tg_bind b;

    if (s == NULL) {
        return -1;
    }
    b = tg_bind_begin(s);
    tg_bind_i64(&b, low);
    tg_bind_i64(&b, high);
    return tg_reader_rows(c->r, &b, fn, c, "the rows of a span", c->err) != 0 || c->failed ? -1 : 0;
}

static bool on_ends(void *arg, sqlite3_stmt *s)
{
    int64_t *ends = arg;

    ends[0] = sqlite3_column_int64(s, 0);
    ends[1] = sqlite3_column_int64(s, 1);
    return false;
}

/* Ids [*low, *high) of the span; the newest rows_max of them, and then what is covered begins
 * behind the row where it was cut. */
static int places(struct counting *c, enum tg_timed which, int64_t newest, int64_t *low,
                  int64_t *high)
{
    int64_t cut_ms = 0;

    if (tg_query_places(c->r, which, &c->q->span, low, high, c->err) != 0) {
        return -1;
    }
    *high = *high > newest + 1 ? newest + 1 : *high;
    if (*high - *low <= (int64_t)c->q->rows_max) {
        return 0;
    }
    *low = *high - (int64_t)c->q->rows_max;
    if (tg_query_time_at(c->r, which, *low, &cut_ms, c->err) != 0) {
        return -1;
    }
    c->span.since_ms = cut_ms >= c->span.since_ms ? cut_ms + 1 : c->span.since_ms;
    c->span.since_ms = c->span.since_ms > c->span.until_ms ? c->span.until_ms : c->span.since_ms;
    return 0;
}

static int walk_span(struct counting *c)
{
    sqlite3_stmt *s = tg_reader_statement(c->r, TG_READ_KPI_ENDS,
                                          "SELECT coalesce((SELECT max(seq) FROM audit), 0), "
                                          "coalesce((SELECT max(id) FROM events), 0)",
                                          c->err);
    int64_t ends[2] = {0, 0}, low = 0, high = 0;
    struct tg_bind b;

    if (s == NULL) {
        return -1;
    }
    b = tg_bind_begin(s);
    if (tg_reader_rows(c->r, &b, on_ends, ends, "the newest rows", c->err) != 0 ||
        places(c, TG_TIMED_AUDIT, ends[0], &c->low, &c->high) != 0 ||
        places(c, TG_TIMED_EVENTS, ends[1], &low, &high) != 0) {
        return -1;
    }
    c->k->covered_ms = c->span.since_ms;
    return walk(c, TG_READ_KPI_AUDIT,
                "SELECT seq, at_ms, action, subject FROM audit WHERE seq >= ?1 AND seq < ?2 "
                "ORDER BY seq DESC",
                c->low, c->high, on_audit) != 0 ||
                   walk(c, TG_READ_KPI_EVENTS,
                        "SELECT tenant, journalled_ms, state FROM events WHERE id >= ?1 "
                        "AND id < ?2",
                        low, high, on_event) != 0
               ? -1
               : 0;
}

/* ---- reconciliation: of the periods in which something was posted ---- */

static int64_t off(int64_t a, int64_t b)
{
    return a > b ? a - b : b - a;
}

static bool on_group(void *arg, const struct tg_reconciled *row)
{
    struct counting *c = arg;
    struct tg_kpis *k = c->k;

    k->groups++;
    c->summed += (uint64_t)row->posted_count;
    if (!row->summed) {
        k->reconciled = false;
    } else if (!row->equal) {
        k->different++;
        k->off_count += off(row->total_count, row->posted_count);
        k->off_micros += off(row->total_micros, row->posted_micros);
    }
    return c->summed < TG_RECONCILE_ROWS_MAX;
}

static int reconcile(struct counting *c)
{
    c->k->reconciled = !c->periods_cut;
    for (size_t i = 0; i < c->k->periods; i++) {
        const struct tg_reconcile_query q = {.tenant = c->q->tenant,
                                             .period = tg_str_of(c->periods[i])};
        struct tg_reconcile_place place;
        bool over = false;

        memset(&place, 0, sizeof(place));
        if (c->summed >= TG_RECONCILE_ROWS_MAX) {
            c->k->reconciled = false;
            break;
        }
        if (tg_reader_reconcile(c->r, &q, &place, on_group, c, &over, c->err) != 0) {
            return -1;
        }
        c->k->reconciled = c->k->reconciled && over;
    }
    return 0;
}

/* ---- what waits now ---- */

struct waiting {
    struct tg_kpi_destination *d;
    int64_t oldest; /* posting row; 0: none */
};

static void on_state(void *arg, const struct tg_state_count *row)
{
    struct waiting *w = arg;

    w->d->unposted += row->count;
    w->oldest = w->oldest == 0 || row->oldest < w->oldest ? row->oldest : w->oldest;
}

static bool on_oldest(void *arg, const struct tg_row_posting *row)
{
    *(int64_t *)arg = row->journalled_ms;
    return false;
}

static int backlog(struct counting *c)
{
    struct tg_kpis *k = c->k;
    int64_t oldest = 0;

    for (size_t i = 0; i < k->destination_count; i++) {
        struct waiting w = {.d = &k->destinations[i]};

        if (tg_reader_open_states(c->r, w.d->number, on_state, &w, &w.d->more, c->err) != 0 ||
            (w.oldest != 0 &&
             tg_reader_posting(c->r, w.oldest, on_oldest, &w.d->oldest_ms, c->err) < 0)) {
            return -1;
        }
    }
    return tg_reader_held_count(c->r, c->q->tenant, &k->held_versions, &oldest, &k->more_held,
                                c->err);
}

/* ---- all of it ---- */

static int count_all(struct counting *c)
{
    if (tg_reader_destinations_of(c->r, c->q->tenant, on_number, c->k, c->err) != 0 ||
        walk_span(c) != 0 || reconcile(c) != 0 || backlog(c) != 0) {
        return -1;
    }
    sum_up(c);
    return 0;
}

int tg_reader_kpis(struct tg_reader *r, const struct tg_kpi_query *q, struct tg_kpis *out,
                   struct tg_error *err)
{
    struct counting *c = calloc(1, sizeof(*c));
    int rc = -1;

    memset(out, 0, sizeof(*out));
    out->destinations = calloc(TG_JOURNAL_PAGE_MAX, sizeof(*out->destinations));
    out->codes = calloc(TG_KPI_CODES_MAX, sizeof(*out->codes));
    if (c == NULL || out->destinations == NULL || out->codes == NULL) {
        (void)tg_error_set(err, "journal: out of memory");
    } else {
        c->r = r;
        c->q = q;
        c->k = out;
        c->err = err;
        c->span = q->span;
        c->latencies.max = c->closings.max = q->rows_max;
        rc = count_all(c);
        free(c->latencies.list);
        free(c->closings.list);
    }
    free(c);
    if (rc != 0) {
        tg_kpis_free(out);
    }
    return rc;
}

void tg_kpis_free(struct tg_kpis *k)
{
    free(k->destinations);
    free(k->codes);
    k->destinations = NULL;
    k->codes = NULL;
}
