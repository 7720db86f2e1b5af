#include "core/metrics.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/limits.h"

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

/* ---- destinations ---- */

struct place {
    const char *id; /* NULL: not set yet */
    struct tg_destination_gauges is;
};

static pthread_mutex_t places_lock = PTHREAD_MUTEX_INITIALIZER;
static struct place *places;
static size_t place_count;

int tg_metrics_destinations(size_t n)
{
    const size_t shown = n < TG_METRICS_DESTINATIONS_MAX ? n : TG_METRICS_DESTINATIONS_MAX;
    struct place *fresh = shown != 0 ? calloc(shown, sizeof(*fresh)) : NULL;

    if (shown != 0 && fresh == NULL) {
        return -1;
    }
    pthread_mutex_lock(&places_lock);
    free(places);
    places = fresh;
    place_count = shown;
    pthread_mutex_unlock(&places_lock);
    return 0;
}

void tg_metrics_destination(size_t index, const char *id, const struct tg_destination_gauges *g)
{
    pthread_mutex_lock(&places_lock);
    if (index < place_count) {
        places[index] = (struct place){.id = id, .is = *g};
    }
    pthread_mutex_unlock(&places_lock);
}

/* All lines of one gauge; offset: of its field. The lock is held. */
static bool write_gauge(char *out, size_t out_size, size_t *at, const struct metric *m,
                        size_t offset)
{
    if (!advance(at, out_size,
                 snprintf(out + *at, out_size - *at, "# HELP %s %s\n# TYPE %s %s\n", m->name,
                          m->help, m->name, m->type))) {
        return false;
    }
    for (size_t i = 0; i < place_count; i++) {
        uint64_t value;

        if (places[i].id == NULL) {
            continue;
        }
        memcpy(&value, (const char *)&places[i].is + offset, sizeof(value));
        if (!advance(at, out_size,
                     snprintf(out + *at, out_size - *at, "%s{destination=\"%s\"} %" PRIu64 "\n",
                              m->name, places[i].id, value))) {
            return false;
        }
    }
    return true;
}

#define GAUGE_ROW(field, type, name, labels, help)                                                 \
    {{type, name, labels, help}, offsetof(struct tg_destination_gauges, field)},
static const struct {
    struct metric is;
    size_t offset;
} GAUGES[] = {TG_GAUGE_TABLE(GAUGE_ROW)};
#undef GAUGE_ROW

static bool write_gauges(char *out, size_t out_size, size_t *at)
{
    bool ok = true;

    pthread_mutex_lock(&places_lock);
    for (size_t i = 0; ok && i < sizeof(GAUGES) / sizeof(GAUGES[0]); i++) {
        ok = write_gauge(out, out_size, at, &GAUGES[i].is, GAUGES[i].offset);
    }
    pthread_mutex_unlock(&places_lock);
    return ok;
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
    return write_gauges(out, out_size, &at) ? at : 0;
}
