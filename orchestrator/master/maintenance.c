#include "master/maintenance.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/codec.h"

#define MS_PER_MINUTE 60000
#define OFFSET_MAX_BYTES 6 /* +01:00 */

static const char *const once_keys[] = {"destinations", "from", "to", "reason", NULL};
static const char *const weekly_keys[] = {"destinations", "days",   "from", "to",
                                          "timezone",     "reason", NULL};
static const char *const day_names[] = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};

#define DAYS (sizeof(day_names) / sizeof(day_names[0]))

struct item {
    const struct tg_yaml *doc;
    const struct tg_yaml_node *node;
    struct tg_error *err;
};

/* The value, or -1 with what is missing or wrong about it. */
static const struct tg_yaml_node *needed(const struct item *i, const char *key,
                                         const char *accepted)
{
    const struct tg_yaml_node *n = tg_yaml_get(i->node, key);

    if (n == NULL) {
        (void)tg_yaml_error(i->doc, i->node, i->err, "`maintenance`: `%s` is missing; accepted: %s",
                            key, accepted);
    }
    return n;
}

static int wrong(const struct item *i, const struct tg_yaml_node *n, const char *key,
                 const char *accepted)
{
    return tg_yaml_error(i->doc, n, i->err, "`maintenance`: `%s` is not accepted; accepted: %s",
                         key, accepted);
}

static int no_memory(const struct item *i)
{
    return tg_yaml_error(i->doc, i->node, i->err, "out of memory");
}

static char *copy(struct tg_str text)
{
    char *out = malloc(text.len + 1);

    if (out != NULL && !tg_str_copy(text, out, text.len + 1)) {
        free(out);
        return NULL;
    }
    return out;
}

/* ---- what both forms have ---- */

static int read_destinations(const struct item *i, struct tg_maintenance *m)
{
    static const char accepted[] = "a list of 1 to 64 names of the tenant's destinations";
    const struct tg_yaml_node *list = needed(i, "destinations", accepted);
    size_t n;

    if (list == NULL) {
        return -1;
    }
    n = tg_yaml_count(list);
    if (tg_yaml_kind(list) != TG_YAML_SEQUENCE || n < 1 || n > TG_DESTINATIONS_PER_TENANT_MAX) {
        return wrong(i, list, "destinations", accepted);
    }
    m->destinations = calloc(n, sizeof(char *));
    if (m->destinations == NULL) {
        return no_memory(i);
    }
    for (size_t k = 0; k < n; k++) {
        struct tg_str name = tg_yaml_text(tg_yaml_item(list, k));

        if (!tg_str_is_name(name, TG_SOURCE_NAME_MAX_BYTES)) {
            return wrong(i, tg_yaml_item(list, k), "destinations", accepted);
        }
        m->destinations[k] = copy(name);
        m->destination_count = k + 1;
        if (m->destinations[k] == NULL) {
            return no_memory(i);
        }
    }
    return 0;
}

static int read_reason(const struct item *i, struct tg_maintenance *m)
{
    const struct tg_yaml_node *n = tg_yaml_get(i->node, "reason");

    if (n == NULL) {
        return 0;
    }
    if (tg_yaml_kind(n) != TG_YAML_SCALAR ||
        !tg_str_is_line(tg_yaml_text(n), TG_REASON_MAX_BYTES)) {
        return wrong(i, n, "reason", "one line of at most 200 bytes");
    }
    m->reason = copy(tg_yaml_text(n));
    return m->reason != NULL ? 0 : no_memory(i);
}

/* ---- once ---- */

static int read_instant(const struct item *i, const char *key, int64_t *ms)
{
    static const char accepted[] =
        "a time like \"2026-11-28T22:00:00+01:00\"; or, with `days`, one of the day like \"22:00\"";
    const struct tg_yaml_node *n = needed(i, key, accepted);

    if (n == NULL) {
        return -1;
    }
    return tg_rfc3339_parse(tg_yaml_text(n), ms) == 0 ? 0 : wrong(i, n, key, accepted);
}

static int read_once(const struct item *i, struct tg_window *w)
{
    if (tg_yaml_check_keys(i->doc, i->node, once_keys, i->err) != 0 ||
        read_instant(i, "from", &w->from_ms) != 0 || read_instant(i, "to", &w->to_ms) != 0) {
        return -1;
    }
    return w->from_ms < w->to_ms
               ? 0
               : wrong(i, tg_yaml_get(i->node, "to"), "to", "a time later than `from`");
}

/* ---- every week ---- */

static int read_days(const struct item *i, struct tg_window *w)
{
    static const char accepted[] = "a list of mon, tue, wed, thu, fri, sat, sun, each once";
    const struct tg_yaml_node *list = tg_yaml_get(i->node, "days");

    if (tg_yaml_kind(list) != TG_YAML_SEQUENCE || tg_yaml_count(list) == 0) {
        return wrong(i, list, "days", accepted);
    }
    for (size_t k = 0; k < tg_yaml_count(list); k++) {
        size_t day = 0;

        while (day < DAYS && !tg_str_equal_c(tg_yaml_text(tg_yaml_item(list, k)), day_names[day])) {
            day++;
        }
        if (day == DAYS || (w->days & (1u << day)) != 0) {
            return wrong(i, tg_yaml_item(list, k), "days", accepted);
        }
        w->days |= 1u << day;
    }
    return 0;
}

/* "HH:MM", 00:00 to 24:00, as minutes. */
static int read_minute(const struct item *i, const char *key, int32_t *minute)
{
    static const char accepted[] = "a time of the day from \"00:00\" to \"24:00\"";
    const struct tg_yaml_node *n = needed(i, key, accepted);
    struct tg_str text;
    int64_t hours, minutes;

    if (n == NULL) {
        return -1;
    }
    text = tg_yaml_text(n);
    if (text.len != 5 || text.data[2] != ':' ||
        !tg_str_to_i64((struct tg_str){text.data, 2}, &hours) ||
        !tg_str_to_i64((struct tg_str){text.data + 3, 2}, &minutes) || minutes > 59 ||
        hours * 60 + minutes > TG_MINUTES_PER_DAY) {
        return wrong(i, n, key, accepted);
    }
    *minute = (int32_t)(hours * 60 + minutes);
    return 0;
}

static int read_offset(const struct item *i, int32_t *minutes)
{
    static const char accepted[] = "what clocks there are ahead of UTC, the whole year, like "
                                   "\"+01:00\", \"-05:00\" or \"Z\"";
    const struct tg_yaml_node *n = needed(i, "timezone", accepted);
    struct tg_str text;
    char midnight[40];
    int64_t ms;

    if (n == NULL) {
        return -1;
    }
    text = tg_yaml_text(n);
    (void)snprintf(midnight, sizeof(midnight), "1970-01-01T00:00:00%.*s",
                   text.len <= OFFSET_MAX_BYTES ? (int)text.len : 0, (const char *)text.data);
    if (tg_rfc3339_parse(tg_str_of(midnight), &ms) != 0) {
        return wrong(i, n, "timezone", accepted);
    }
    *minutes = (int32_t)(-ms / MS_PER_MINUTE);
    return 0;
}

static int read_weekly(const struct item *i, struct tg_window *w)
{
    int32_t to = 0;

    w->weekly = true;
    if (tg_yaml_check_keys(i->doc, i->node, weekly_keys, i->err) != 0 || read_days(i, w) != 0 ||
        read_minute(i, "from", &w->from_minute) != 0 || read_minute(i, "to", &to) != 0 ||
        read_offset(i, &w->offset_minutes) != 0) {
        return -1;
    }
    if (w->from_minute == TG_MINUTES_PER_DAY) {
        return wrong(i, tg_yaml_get(i->node, "from"), "from", "\"00:00\" of the day after");
    }
    if (to == w->from_minute) {
        return wrong(i, tg_yaml_get(i->node, "to"), "to",
                     "another time than `from`; a whole day is \"00:00\" to \"24:00\"");
    }
    w->minutes =
        to > w->from_minute ? to - w->from_minute : to + TG_MINUTES_PER_DAY - w->from_minute;
    return 0;
}

/* ---- the list ---- */

static int read_item(const struct item *i, struct tg_maintenance *m)
{
    if (tg_yaml_kind(i->node) != TG_YAML_MAPPING) {
        return wrong(i, i->node, "maintenance",
                     "a list of {destinations, from, to} or {destinations, days, from, to, "
                     "timezone}");
    }
    m->line = tg_yaml_line(i->node);
    if ((tg_yaml_get(i->node, "days") != NULL ? read_weekly(i, &m->window)
                                              : read_once(i, &m->window)) != 0) {
        return -1;
    }
    return read_destinations(i, m) != 0 ? -1 : read_reason(i, m);
}

int tg_maintenance_read(const struct tg_yaml *doc, const struct tg_yaml_node *list,
                        struct tg_maintenance_list *out, struct tg_error *err)
{
    const size_t n = tg_yaml_count(list);

    if (tg_yaml_kind(list) != TG_YAML_SEQUENCE || n > TG_MAINTENANCE_MAX) {
        return tg_yaml_error(doc, list, err,
                             "`maintenance` is not accepted; accepted: a list of at most %d items",
                             TG_MAINTENANCE_MAX);
    }
    out->items = calloc(n + 1, sizeof(*out->items));
    if (out->items == NULL) {
        return tg_yaml_error(doc, list, err, "out of memory");
    }
    for (size_t k = 0; k < n; k++) {
        const struct item i = {doc, tg_yaml_item(list, k), err};

        out->count = k + 1;
        if (read_item(&i, &out->items[k]) != 0) {
            return -1;
        }
    }
    return 0;
}

void tg_maintenance_clear(struct tg_maintenance_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        for (size_t k = 0; k < list->items[i].destination_count; k++) {
            free(list->items[i].destinations[k]);
        }
        free(list->items[i].destinations);
        free(list->items[i].reason);
    }
    free(list->items);
    *list = (struct tg_maintenance_list){0};
}

/* ---- the tenant's names ---- */

static bool has_destination(const struct tg_config_tenant *t, const char *name)
{
    for (size_t i = 0; i < t->destination_count; i++) {
        if (strcmp(t->destinations[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

static void say_names(const struct tg_config_tenant *t, char *out, size_t size)
{
    size_t len = 0;

    (void)snprintf(out, size, "none, the tenant has no destination");
    for (size_t i = 0; i < t->destination_count; i++) {
        int n = snprintf(out + len, size - len, "%s%s", i > 0 ? ", " : "", t->destinations[i].name);

        if (n < 0 || (size_t)n >= size - len) {
            return; /* a long list is cut */
        }
        len += (size_t)n;
    }
}

int tg_maintenance_check(const struct tg_maintenance_list *list, const struct tg_config_tenant *t,
                         struct tg_error *err)
{
    char names[TG_ERROR_MAX_BYTES / 4];

    for (size_t i = 0; i < list->count; i++) {
        const struct tg_maintenance *m = &list->items[i];

        for (size_t k = 0; k < m->destination_count; k++) {
            if (!has_destination(t, m->destinations[k])) {
                say_names(t, names, sizeof(names));
                return tg_error_set(err,
                                    "%.200s:%u: `maintenance`: tenant `%s` has no destination "
                                    "`%s`; accepted: %s",
                                    t->calendar, m->line, t->id, m->destinations[k], names);
            }
        }
    }
    return 0;
}
