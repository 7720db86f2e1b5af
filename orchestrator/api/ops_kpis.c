/* ops_kpis.c: GET /v1/ops/kpis: figures of a span of time, from the journal. */
#include "api/kpis.h"
#include "api/ops_list.h"
#include "dispatch/dispatch.h"

void tg_api_ops_kpis(struct tg_api_context *ctx, const struct tg_api_request *rq,
                     struct tg_reply *out)
{
    enum { FROM, TO, NAMES_END };
    static const char *const names[NAMES_END + 1] = {[FROM] = "from", [TO] = "to"};
    struct tg_kpi_query q = {.rows_max = TG_KPI_ROWS_MAX};
    struct tg_error err = {""};
    struct tg_ops_list l;
    struct tg_kpis k;
    json_t *json = NULL;
    int rc;

    if (!tg_ops_list_begin(&l, ctx, rq, NULL, names, out)) {
        return;
    }
    if (tg_kpi_span(l.values[FROM], l.values[TO], tg_dispatch_now_ms(), &q.span, &err) != 0) {
        tg_ops_refuse(&l, TG_PROBLEM_QUERY_INVALID, err.text);
        return;
    }
    q.tenant = l.tenant->id;
    rc = tg_reader_kpis(l.reader, &q, &k, &err);
    if (rc == 0) {
        json = tg_kpis_json(&k, &q.span, l.tenant->id, ctx->options->catalogue);
        l.failed = json == NULL;
        tg_kpis_free(&k);
    }
    tg_ops_show_end(&l, rc, &err, json);
}
