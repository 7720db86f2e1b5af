#include "api/kpis.h"

#include "api/params.h"
#include "api/rows.h"

#define MICROS 1000000

int tg_kpi_span(struct tg_str from, struct tg_str to, int64_t now_ms, struct tg_span *out,
                struct tg_error *err)
{
    out->until_ms = now_ms;
    if (tg_param_moment("to", to, &out->until_ms, err) != 0) {
        return -1;
    }
    out->since_ms = out->until_ms - TG_KPI_RANGE_DEFAULT_MS;
    if (tg_param_moment("from", from, &out->since_ms, err) != 0) {
        return -1;
    }
    if (out->since_ms >= out->until_ms) {
        return tg_error_set(err, "`from` is not before `to` (which is now, when it is not given)");
    }
    if (out->until_ms - out->since_ms > TG_KPI_RANGE_MAX_MS) {
        return tg_error_set(err,
                            "from `from` to `to` (now, when it is not given) are more than "
                            "%d days; ask for a shorter time",
                            (int)(TG_KPI_RANGE_MAX_MS / 86400000));
    }
    return 0;
}

/* part/whole as a decimal; null where there is no whole. */
static json_t *ratio(uint64_t part, uint64_t whole)
{
    return whole == 0 ? json_null()
                      : tg_json_micros((int64_t)((part * MICROS + whole / 2) / whole));
}

static json_t *ms_of(const struct tg_kpi_times *t, int64_t ms)
{
    return t->count > 0 ? json_integer((json_int_t)ms) : json_null();
}

static json_t *times_json(const struct tg_kpi_times *t)
{
    return json_pack("{s:I, s:o, s:o, s:o}", "count", (json_int_t)t->count, "p50_ms",
                     ms_of(t, t->p50_ms), "p95_ms", ms_of(t, t->p95_ms), "max_ms",
                     ms_of(t, t->max_ms));
}

static json_t *latency_json(const struct tg_kpis *k)
{
    json_t *json = times_json(&k->latency);

    if (json_object_set_new(json, "from_approval", json_integer((json_int_t)k->from_approval)) !=
            0 ||
        json_object_set_new(json, "from_receipt",
                            json_integer((json_int_t)(k->latency.count - k->from_approval))) != 0) {
        json_decref(json);
        return NULL;
    }
    return json;
}

static json_t *postings_json(const struct tg_kpis *k, struct tg_str tenant)
{
    json_t *list = json_array();

    for (size_t i = 0; i < k->destination_count; i++) {
        const struct tg_kpi_destination *d = &k->destinations[i];

        if (json_array_append_new(
                list, json_pack("{s:s, s:I, s:I, s:o, s:o}", "destination",
                                tg_short_destination(d->id, tenant), "posted",
                                (json_int_t)d->posted, "exceptions", (json_int_t)d->exceptions,
                                "success_rate", ratio(d->posted, d->posted + d->exceptions),
                                "approval_to_posting", times_json(&d->latency))) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return json_pack("{s:I, s:I, s:o, s:o}", "posted", (json_int_t)k->posted, "exceptions",
                     (json_int_t)k->exceptions, "success_rate",
                     ratio(k->posted, k->posted + k->exceptions), "destinations", list);
}

static json_t *exceptions_json(const struct tg_kpis *k, const struct tg_catalogue *catalogue)
{
    json_t *list = json_array();

    for (size_t i = 0; i < k->code_count; i++) {
        const struct tg_kpi_code *c = &k->codes[i];
        const struct tg_catalogue_entry *e =
            catalogue != NULL ? tg_catalogue_find(catalogue, tg_str_of(c->code)) : NULL;

        if (json_array_append_new(list, json_pack("{s:s, s:o, s:I, s:o}", "code", c->code, "title",
                                                  tg_json_text(e != NULL ? e->title : NULL),
                                                  "opened", (json_int_t)c->opened, "resolution",
                                                  times_json(&c->closed))) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return json_pack("{s:I, s:I, s:o}", "opened", (json_int_t)k->opened, "closed",
                     (json_int_t)k->closed, "codes", list);
}

static json_t *corrections_json(const struct tg_kpis *k)
{
    const uint64_t first = k->posted - k->reversals;

    return json_pack("{s:I, s:I, s:o, s:I, s:o}", "superseded", (json_int_t)k->superseded,
                     "withdrawn", (json_int_t)k->withdrawn, "correction_rate",
                     ratio(k->superseded + k->withdrawn, k->events - k->duplicates), "reversals",
                     (json_int_t)k->reversals, "reversal_rate", ratio(k->reversals, first));
}

static json_t *reconciliation_json(const struct tg_kpis *k)
{
    return json_pack("{s:I, s:I, s:I, s:{s:I, s:o}, s:b}", "periods", (json_int_t)k->periods,
                     "groups", (json_int_t)k->groups, "different", (json_int_t)k->different,
                     "variance", "count", (json_int_t)k->off_count, "quantity",
                     tg_json_micros(k->off_micros), "more", (int)!k->reconciled);
}

static json_t *backlog_json(const struct tg_kpis *k, struct tg_str tenant)
{
    json_t *list = json_array();
    uint64_t unposted = 0;
    int64_t oldest_ms = 0;
    bool more = k->more_held;

    for (size_t i = 0; i < k->destination_count; i++) {
        const struct tg_kpi_destination *d = &k->destinations[i];

        unposted += d->unposted;
        more = more || d->more;
        oldest_ms = d->oldest_ms != 0 && (oldest_ms == 0 || d->oldest_ms < oldest_ms) ? d->oldest_ms
                                                                                      : oldest_ms;
        if (json_array_append_new(list, json_pack("{s:s, s:I, s:o, s:b}", "destination",
                                                  tg_short_destination(d->id, tenant), "unposted",
                                                  (json_int_t)d->unposted, "oldest_at",
                                                  tg_json_time(d->oldest_ms), "more",
                                                  (int)d->more)) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return json_pack("{s:I, s:o, s:I, s:b, s:o}", "unposted", (json_int_t)unposted, "oldest_at",
                     tg_json_time(oldest_ms), "held_versions", (json_int_t)k->held_versions, "more",
                     (int)more, "destinations", list);
}

json_t *tg_kpis_json(const struct tg_kpis *k, const struct tg_span *asked, const char *tenant,
                     const struct tg_catalogue *catalogue)
{
    const struct tg_str name = tg_str_of(tenant);

    return json_pack(
        "{s:s, s:o, s:o, s:o, s:b, s:o, s:o, s:o, s:{s:I, s:I, s:o}, s:o, s:{s:I, s:I}, s:o, s:o}",
        "tenant", tenant, "from", tg_json_time(asked->since_ms), "to",
        tg_json_time(asked->until_ms), "covered_from", tg_json_time(k->covered_ms), "complete",
        (int)(k->covered_ms <= asked->since_ms), "approval_to_posting", latency_json(k), "postings",
        postings_json(k, name), "exceptions", exceptions_json(k, catalogue), "events", "count",
        (json_int_t)k->events, "duplicates", (json_int_t)k->duplicates, "duplicate_rate",
        ratio(k->duplicates, k->events), "corrections", corrections_json(k), "replays",
        "exceptions", (json_int_t)k->replayed, "runs", (json_int_t)k->replay_runs, "reconciliation",
        reconciliation_json(k), "backlog", backlog_json(k, name));
}
