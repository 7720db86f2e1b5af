/*
 * kpis.h: the span that is asked for, and its figures as JSON, once for the API and the command.
 *
 * Ownership: as rows.h.
 */
#ifndef TG_API_KPIS_H
#define TG_API_KPIS_H

#include <jansson.h>

#include "journal/kpis.h"
#include "master/catalogue.h"

/*
 * from (included) and to (not included), each a time of RFC 3339 or a day, which is its first
 * moment in UTC; data NULL: not given. Without `to` it is now, without `from`
 * TG_KPI_RANGE_DEFAULT_MS before. 0, or -1 with what is wrong.
 */
int tg_kpi_span(struct tg_str from, struct tg_str to, int64_t now_ms, struct tg_span *out,
                struct tg_error *err);

/* catalogue NULL: titles are null. */
json_t *tg_kpis_json(const struct tg_kpis *k, const struct tg_span *asked, const char *tenant,
                     const struct tg_catalogue *catalogue);

#endif
