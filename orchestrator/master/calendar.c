#include <stdlib.h>
#include <string.h>

#include "common/codec.h"
#include "master/snapshot.h"
#include "master/yaml.h"

static const char *const top_keys[] = {"periods", "pay_cycles", "closed_periods", "maintenance",
                                       NULL};
static const char *const policies[] = {"exception", "hold", "next_open"};
static const char *const period_keys[] = {"id", "from", "to", "state", "legal_entity", NULL};
static const char *const cycle_keys[] = {"id", "from", "to", "cutoff", "legal_entity", NULL};

struct reader {
    const struct tg_yaml *doc;
    const char *list;        /* "periods" or "pay_cycles" */
    const char *const *keys; /* accepted in one item */
    struct tg_error *err;
};

static int bad(const struct reader *r, const struct tg_yaml_node *n, const char *message)
{
    return tg_yaml_error(r->doc, n, r->err, "%s", message);
}

/* Copies a text of the item into its JSON; the text must be printable ASCII. */
static int copy_text(const struct reader *r, const struct tg_yaml_node *item, const char *key,
                     bool required, json_t *out)
{
    const struct tg_yaml_node *n = tg_yaml_get(item, key);

    if (n == NULL) {
        return required ? tg_yaml_error(r->doc, item, r->err, "`%s` is missing", key) : 0;
    }
    if (!tg_str_is_printable(tg_yaml_text(n), TG_CE_ATTRIBUTE_MAX_BYTES)) {
        return tg_yaml_error(r->doc, n, r->err, "`%s` must be 1 to %d printable characters", key,
                             TG_CE_ATTRIBUTE_MAX_BYTES);
    }
    if (json_object_set_new(out, key, json_string((const char *)tg_yaml_text(n).data)) != 0) {
        return bad(r, n, "out of memory");
    }
    return 0;
}

static int copy_date(const struct reader *r, const struct tg_yaml_node *item, const char *key,
                     json_t *out, int32_t *day)
{
    if (copy_text(r, item, key, true, out) != 0) {
        return -1;
    }
    if (tg_date_parse(tg_str_of(json_string_value(json_object_get(out, key))), day) != 0) {
        return tg_yaml_error(r->doc, tg_yaml_get(item, key), r->err,
                             "`%s` must be a calendar day, YYYY-MM-DD", key);
    }
    return 0;
}

static int check_words(const struct reader *r, const struct tg_yaml_node *item, const json_t *out)
{
    const char *state = json_string_value(json_object_get(out, "state"));
    const char *cutoff = json_string_value(json_object_get(out, "cutoff"));
    int64_t ms;

    if (state != NULL && strcmp(state, "open") != 0 && strcmp(state, "closed") != 0) {
        return bad(r, tg_yaml_get(item, "state"), "`state` must be open or closed");
    }
    if (cutoff != NULL && tg_rfc3339_parse(tg_str_of(cutoff), &ms) != 0) {
        return bad(r, tg_yaml_get(item, "cutoff"),
                   "`cutoff` must be a time like \"2026-11-24T12:00:00Z\"");
    }
    return 0;
}

static int read_span(const struct reader *r, const struct tg_yaml_node *item, json_t *out,
                     struct tg_span *span)
{
    bool period = r->keys == period_keys;

    if (tg_yaml_check_keys(r->doc, item, r->keys, r->err) != 0 ||
        copy_text(r, item, "id", true, out) != 0 ||
        copy_date(r, item, "from", out, &span->from) != 0 ||
        copy_date(r, item, "to", out, &span->to) != 0 ||
        copy_text(r, item, "legal_entity", false, out) != 0 ||
        copy_text(r, item, period ? "state" : "cutoff", period, out) != 0 ||
        check_words(r, item, out) != 0) {
        return -1;
    }
    if (span->from > span->to) {
        return bad(r, item, "`from` is after `to`");
    }
    span->legal_entity = json_string_value(json_object_get(out, "legal_entity"));
    span->json = out;
    return 0;
}

static int by_from(const void *a, const void *b)
{
    const struct tg_span *x = a, *y = b;

    return (x->from > y->from) - (x->from < y->from);
}

static bool same_entity(const struct tg_span *a, const struct tg_span *b)
{
    if (a->legal_entity == NULL || b->legal_entity == NULL) {
        return a->legal_entity == b->legal_entity;
    }
    return strcmp(a->legal_entity, b->legal_entity) == 0;
}

/* Two spans of one entity must not share a day: which one would hold it? */
static int check_overlap(const struct reader *r, const struct tg_yaml_node *list,
                         const struct tg_spans *spans)
{
    for (size_t i = 0; i < spans->count; i++) {
        const struct tg_span *a = &spans->items[i];

        for (size_t k = i + 1; k < spans->count && spans->items[k].from <= a->to; k++) {
            if (same_entity(a, &spans->items[k])) {
                return tg_yaml_error(
                    r->doc, list, r->err, "%s `%s` and `%s` overlap", r->list,
                    json_string_value(json_object_get(a->json, "id")),
                    json_string_value(json_object_get(spans->items[k].json, "id")));
            }
        }
    }
    return 0;
}

static int read_list(const struct reader *r, const struct tg_yaml_node *list, json_t *array,
                     struct tg_spans *spans)
{
    size_t n = tg_yaml_count(list);

    if (tg_yaml_kind(list) != TG_YAML_SEQUENCE || n > TG_CALENDAR_SPANS_MAX) {
        return tg_yaml_error(r->doc, list, r->err, "`%s` must be a list of at most %d items",
                             r->list, TG_CALENDAR_SPANS_MAX);
    }
    spans->items = calloc(n == 0 ? 1 : n, sizeof(*spans->items));
    if (spans->items == NULL) {
        return bad(r, list, "out of memory");
    }
    for (size_t i = 0; i < n; i++) {
        json_t *out = json_object();

        if (out == NULL || json_array_append_new(array, out) != 0) {
            return bad(r, list, "out of memory");
        }
        if (read_span(r, tg_yaml_item(list, i), out, &spans->items[i]) != 0) {
            return -1;
        }
        spans->count = i + 1;
    }
    qsort(spans->items, spans->count, sizeof(*spans->items), by_from);
    return check_overlap(r, list, spans);
}

static int read_policy(const struct tg_yaml *doc, const struct tg_yaml_node *n,
                       struct tg_calendar *c, struct tg_error *err)
{
    for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
        if (tg_str_equal_c(tg_yaml_text(n), policies[i])) {
            c->closed_periods = policies[i];
            return 0;
        }
    }
    return tg_yaml_error(doc, n, err, "`closed_periods` must be exception, hold or next_open");
}

static int read_calendar(const struct tg_yaml *doc, struct tg_calendar *c, struct tg_error *err)
{
    struct reader periods = {doc, "periods", period_keys, err};
    struct reader cycles = {doc, "pay_cycles", cycle_keys, err};
    const struct tg_yaml_node *root = tg_yaml_root(doc), *list;

    if (tg_yaml_check_keys(doc, root, top_keys, err) != 0) {
        return -1;
    }
    list = tg_yaml_get(root, "closed_periods");
    if (list != NULL && read_policy(doc, list, c, err) != 0) {
        return -1;
    }
    list = tg_yaml_get(root, "periods");
    if (list != NULL &&
        read_list(&periods, list, json_object_get(c->json, "periods"), &c->periods) != 0) {
        return -1;
    }
    list = tg_yaml_get(root, "maintenance");
    if (list != NULL && tg_maintenance_read(doc, list, &c->maintenance, err) != 0) {
        return -1;
    }
    list = tg_yaml_get(root, "pay_cycles");
    if (list != NULL &&
        read_list(&cycles, list, json_object_get(c->json, "pay_cycles"), &c->pay_cycles) != 0) {
        return -1;
    }
    return 0;
}

int tg_calendar_load(const char *path, struct tg_calendar *out, struct tg_error *err)
{
    struct tg_yaml *doc;
    int rc;

    memset(out, 0, sizeof(*out));
    out->closed_periods = policies[0];
    out->json = json_pack("{s:[],s:[]}", "periods", "pay_cycles");
    if (out->json == NULL) {
        return tg_error_set(err, "%s: out of memory", path != NULL ? path : "calendar");
    }
    if (path == NULL) {
        return 0;
    }
    doc = tg_yaml_load(path, err);
    rc = doc != NULL ? read_calendar(doc, out, err) : -1;
    tg_yaml_free(doc);
    if (rc != 0) {
        tg_calendar_clear(out);
    }
    return rc;
}

void tg_calendar_clear(struct tg_calendar *c)
{
    free(c->periods.items);
    free(c->pay_cycles.items);
    tg_maintenance_clear(&c->maintenance);
    json_decref(c->json);
    memset(c, 0, sizeof(*c));
}
