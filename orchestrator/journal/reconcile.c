#include "journal/reconcile.h"

#include <stdlib.h>
#include <string.h>

#include "journal/internal.h"

struct reconciling {
    struct tg_reader *r;
    const struct tg_reconcile_query *q;
    struct tg_reconcile_place *place;
    tg_reconciled_fn fn;
    void *arg;
    struct tg_error *err;
    size_t groups;
    int64_t summed;
    bool full;
    struct {
        int64_t number;
        char id[TG_TENANT_MAX_BYTES + 1 + TG_SOURCE_NAME_MAX_BYTES + 1];
    } destinations[TG_JOURNAL_PAGE_MAX];
    size_t destination_count;
};

static void on_number(void *arg, uint32_t number, const char *destination_id)
{
    struct reconciling *c = arg;
    const char *name = destination_id + strlen(c->q->tenant) + 1;
    size_t at = c->destination_count;

    if ((c->q->destination.data == NULL || tg_str_equal_c(c->q->destination, name)) &&
        tg_str_copy(tg_str_of(destination_id), c->destinations[at].id,
                    sizeof(c->destinations[at].id))) {
        c->destinations[at].number = number;
        c->destination_count++;
    }
}

/* The group behind (kind, period): of the totals, or of postings that no total speaks of. 0, 1:
 * none, -1. */
static int next_group(struct reconciling *c, int64_t number)
{
    sqlite3_stmt *s = tg_reader_statement(
        c->r, TG_READ_TOTAL_NEXT,
        "SELECT kind, period FROM (SELECT * FROM (SELECT kind, period FROM control_totals "
        "WHERE destination = ?1 AND (kind, period) > (?2, ?3) ORDER BY kind, period LIMIT 1) "
        "UNION ALL SELECT * FROM (SELECT kind, period FROM postings INDEXED BY postings_posted "
        "WHERE destination = ?1 AND state IN (6, 10) AND (kind, period) > (?2, ?3) "
        "ORDER BY kind, period LIMIT 1)) ORDER BY kind, period LIMIT 1",
        c->err);
    struct tg_bind b;
    int result;

    if (s == NULL) {
        return -1;
    }
    b = tg_bind_begin(s);
    tg_bind_i64(&b, number);
    tg_bind_text(&b, c->place->kind);
    tg_bind_text(&b, c->place->period);
    result = b.result == SQLITE_OK ? sqlite3_step(s) : b.result;
    if (result == SQLITE_ROW &&
        (!tg_str_copy(tg_str_of(tg_column_text(s, 0)), c->place->kind, sizeof(c->place->kind)) ||
         !tg_str_copy(tg_str_of(tg_column_text(s, 1)), c->place->period,
                      sizeof(c->place->period)))) {
        (void)sqlite3_reset(s);
        return tg_error_set(c->err, "journal: a control total has a name that is too long");
    }
    return tg_reader_finish(c->r, s, result, result == SQLITE_ROW, true, "control totals", c->err);
}

static int sum_group(struct reconciling *c, int64_t number, struct tg_reconciled *out)
{
    sqlite3_stmt *s = tg_reader_statement(
        c->r, TG_READ_TOTAL_SUM,
        "SELECT coalesce((SELECT count FROM control_totals WHERE destination = ?1 AND kind = ?2 "
        "AND period = ?3), 0), coalesce((SELECT quantity_micros FROM control_totals "
        "WHERE destination = ?1 AND kind = ?2 AND period = ?3), 0), count(*), "
        "coalesce(sum(quantity_micros), 0) FROM (SELECT quantity_micros FROM postings "
        "INDEXED BY postings_posted WHERE destination = ?1 AND kind = ?2 AND period = ?3 "
        "AND state IN (6, 10) LIMIT ?4)",
        c->err);
    struct tg_bind b;
    int result;

    if (s == NULL) {
        return -1;
    }
    b = tg_bind_begin(s);
    tg_bind_i64(&b, number);
    tg_bind_text(&b, c->place->kind);
    tg_bind_text(&b, c->place->period);
    tg_bind_i64(&b, c->q->whole ? INT64_MAX : TG_RECONCILE_ROWS_MAX + 1);
    result = b.result == SQLITE_OK ? sqlite3_step(s) : b.result;
    if (result == SQLITE_ROW) {
        out->total_count = sqlite3_column_int64(s, 0);
        out->total_micros = sqlite3_column_int64(s, 1);
        out->posted_count = sqlite3_column_int64(s, 2);
        out->posted_micros = sqlite3_column_int64(s, 3);
        out->summed = c->q->whole || out->posted_count <= TG_RECONCILE_ROWS_MAX;
        out->equal = out->summed && out->posted_count == out->total_count &&
                     out->posted_micros == out->total_micros;
        c->summed += out->posted_count;
    }
    return tg_reader_finish(c->r, s, result, 1, false, "the postings of a control total", c->err);
}

static bool is_stopped(const struct reconciling *c)
{
    return c->full || c->groups >= TG_QUERY_ROWS_MAX || c->summed >= TG_RECONCILE_ROWS_MAX;
}

static int walk_destination(struct reconciling *c, int64_t number, const char *id)
{
    int rc = 0;

    while (!is_stopped(c)) {
        struct tg_reconciled row = {
            .destination_id = id, .kind = c->place->kind, .period = c->place->period};

        rc = next_group(c, number);
        if (rc != 0) {
            break;
        }
        c->groups++;
        if (c->q->period.data != NULL && !tg_str_equal_c(c->q->period, c->place->period)) {
            continue;
        }
        if (sum_group(c, number, &row) != 0) {
            return -1;
        }
        c->full = !c->fn(c->arg, &row);
    }
    return rc < 0 ? -1 : 0;
}

static int walk(struct reconciling *c)
{
    if (tg_reader_destinations_of(c->r, c->q->tenant, on_number, c, c->err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < c->destination_count && !is_stopped(c); i++) {
        const int64_t place = c->destinations[i].number + 1;

        if (place < c->place->destination) {
            continue;
        }
        if (place != c->place->destination) {
            c->place->destination = place;
            c->place->kind[0] = c->place->period[0] = '\0';
        }
        if (walk_destination(c, c->destinations[i].number, c->destinations[i].id) != 0) {
            return -1;
        }
    }
    return 0;
}

int tg_reader_reconcile(struct tg_reader *r, const struct tg_reconcile_query *q,
                        struct tg_reconcile_place *place, tg_reconciled_fn fn, void *arg,
                        bool *over, struct tg_error *err)
{
    struct reconciling *c = calloc(1, sizeof(*c));
    int rc;

    if (c == NULL) {
        return tg_error_set(err, "journal: out of memory");
    }
    c->r = r;
    c->q = q;
    c->place = place;
    c->fn = fn;
    c->arg = arg;
    c->err = err;
    rc = walk(c);
    *over = !is_stopped(c);
    free(c);
    return rc;
}
