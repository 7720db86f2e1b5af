#include "core/metrics.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct metric {
    const char *type;
    const char *name;
    const char *labels;
    const char *help;
};

#define METRIC_ROW(id, type, name, labels, help) {type, name, labels, help},
static const struct metric METRICS[TG_METRIC_COUNT] = {TG_METRIC_TABLE(METRIC_ROW)};
#undef METRIC_ROW

static _Atomic uint64_t values[TG_METRIC_COUNT];

void tg_metric_add(enum tg_metric m, uint64_t n)
{
    atomic_fetch_add_explicit(&values[m], n, memory_order_relaxed);
}

void tg_metric_set(enum tg_metric m, uint64_t value)
{
    atomic_store_explicit(&values[m], value, memory_order_relaxed);
}

uint64_t tg_metric_get(enum tg_metric m)
{
    return atomic_load_explicit(&values[m], memory_order_relaxed);
}

/* Moves *at on; false when what snprintf wanted did not fit. */
static bool advance(size_t *at, size_t out_size, int wrote)
{
    if (wrote < 0 || (size_t)wrote >= out_size - *at) {
        return false;
    }
    *at += (size_t)wrote;
    return true;
}

size_t tg_metrics_write(char *out, size_t out_size)
{
    size_t at = 0;

    if (out_size == 0) {
        return 0;
    }
    for (size_t i = 0; i < TG_METRIC_COUNT; i++) {
        const struct metric *m = &METRICS[i];
        const bool labelled = m->labels[0] != '\0';

        if (i == 0 || strcmp(m->name, METRICS[i - 1].name) != 0) {
            if (!advance(&at, out_size,
                         snprintf(out + at, out_size - at, "# HELP %s %s\n# TYPE %s %s\n", m->name,
                                  m->help, m->name, m->type))) {
                return 0;
            }
        }
        if (!advance(&at, out_size,
                     snprintf(out + at, out_size - at, "%s%s%s%s %" PRIu64 "\n", m->name,
                              labelled ? "{" : "", m->labels, labelled ? "}" : "",
                              tg_metric_get((enum tg_metric)i)))) {
            return 0;
        }
    }
    return at;
}
