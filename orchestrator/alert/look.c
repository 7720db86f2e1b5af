#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alert/inner.h"
#include "common/codec.h"

/* ---- the list ---- */

struct tg_alert_item *tg_alert_items_add(struct tg_alert_items *l, enum tg_alert_kind kind,
                                         const char *thing)
{
    struct tg_alert_item *item;

    if (l->count == TG_ALERT_THINGS_MAX) {
        l->cut = true;
        return NULL;
    }
    if (l->count == l->capacity) {
        size_t larger = l->capacity == 0 ? 16 : l->capacity * 2;
        struct tg_alert_item *items = realloc(l->items, larger * sizeof(*items));

        if (items == NULL) {
            l->cut = true;
            return NULL;
        }
        l->items = items;
        l->capacity = larger;
    }
    item = &l->items[l->count++];
    memset(item, 0, sizeof(*item));
    item->kind = kind;
    (void)snprintf(item->thing, sizeof(item->thing), "%s", thing);
    return item;
}

void tg_alert_items_clear(struct tg_alert_items *l)
{
    free(l->items);
    memset(l, 0, sizeof(*l));
}

static int by_kind_and_thing(const void *a, const void *b)
{
    const struct tg_alert_item *left = a, *right = b;

    if (left->kind != right->kind) {
        return left->kind < right->kind ? -1 : 1;
    }
    return strcmp(left->thing, right->thing);
}

static void time_text(int64_t ms, char out[TG_RFC3339_BYTES])
{
    if (tg_rfc3339_format(ms, out, TG_RFC3339_BYTES) != 0) {
        memcpy(out, "unknown", sizeof("unknown"));
    }
}

/* ---- what the loop saw ---- */

static void add_live(struct tg_alert_look *l)
{
    const struct tg_alert_facts *f = &l->facts;
    struct tg_alert_item *item;

    if (f->journal_stuck &&
        (item = tg_alert_items_add(&l->items, TG_ALERT_JOURNAL_STUCK, "journal")) != NULL) {
        (void)snprintf(item->text, sizeof(item->text),
                       "The journal cannot be written, most likely its disk is full or failing. "
                       "Nothing is acknowledged or sent until it can; nothing is lost.");
    }
    if (!f->redis_up &&
        (item = tg_alert_items_add(&l->items, TG_ALERT_REDIS_DOWN, "redis")) != NULL) {
        (void)snprintf(item->text, sizeof(item->text),
                       "Redis cannot be reached or refuses the orchestrator. No event is taken in; "
                       "what is in the journal is still sent.");
    }
    if (l->config->backlog > 0 && f->backlog > l->config->backlog &&
        (item = tg_alert_items_add(&l->items, TG_ALERT_STREAM_BACKLOG, "stream")) != NULL) {
        item->count = f->backlog;
        (void)snprintf(item->text, sizeof(item->text),
                       "%" PRIu64 " accepted events wait in the stream, more than the %u allowed.",
                       f->backlog, l->config->backlog);
    }
    for (size_t i = 0; i < f->breakers.count; i++) {
        item = tg_alert_items_add(&l->items, TG_ALERT_BREAKER_OPEN, f->breakers.items[i].thing);
        if (item != NULL) {
            (void)snprintf(item->text, sizeof(item->text),
                           "Destination %.150s cannot be reached: its postings wait, none is lost.",
                           item->thing);
        }
    }
}

/* ---- exceptions ---- */

/* One item a tenant and owner, when its oldest is too old: groups of it come one after another. */
static void add_ageing(struct tg_alert_look *l, const struct tg_open_group *g)
{
    char thing[TG_ALERT_THING_BYTES], since[TG_RFC3339_BYTES], age[32];
    struct tg_alert_item *item = NULL;

    if (l->config->exception_age_ms == 0 ||
        l->now_ms - g->oldest_ms < l->config->exception_age_ms) {
        return;
    }
    (void)snprintf(thing, sizeof(thing), "%.64s/%.64s", g->tenant, g->owner);
    for (size_t i = 0; i < l->items.count; i++) {
        if (l->items.items[i].kind == TG_ALERT_EXCEPTION_AGEING &&
            strcmp(l->items.items[i].thing, thing) == 0) {
            item = &l->items.items[i];
        }
    }
    if (item == NULL) {
        item = tg_alert_items_add(&l->items, TG_ALERT_EXCEPTION_AGEING, thing);
    }
    if (item == NULL) {
        return;
    }
    /* fresh stands for the oldest time until the end of the look */
    item->count += g->count;
    if (item->fresh == 0 || (int64_t)item->fresh > g->oldest_ms) {
        item->fresh = (uint64_t)g->oldest_ms;
    }
    time_text((int64_t)item->fresh, since);
    tg_alert_age(l->now_ms - (int64_t)item->fresh, age, sizeof(age));
    (void)snprintf(item->text, sizeof(item->text),
                   "%" PRIu64 " exceptions of tenant %.64s are open for %.64s; the oldest waits "
                   "since %s (%s).",
                   item->count, g->tenant, g->owner, since, age);
}

static void on_group(void *arg, const struct tg_open_group *g)
{
    struct tg_alert_look *l = arg;
    const struct tg_catalogue_entry *entry = tg_catalogue_find(l->catalogue, tg_str_of(g->code));
    char thing[TG_ALERT_THING_BYTES], since[TG_RFC3339_BYTES], news[48] = "";
    struct tg_alert_item *item;

    add_ageing(l, g);
    (void)snprintf(thing, sizeof(thing), "%.64s/%.64s", g->tenant, g->code);
    item = tg_alert_items_add(&l->items, TG_ALERT_EXCEPTION_OPEN, thing);
    if (g->newest > l->marks.exceptions) {
        l->marks.exceptions = g->newest;
    }
    if (item == NULL) {
        return;
    }
    item->fresh = g->fresh;
    item->count = g->count;
    time_text(g->oldest_ms, since);
    if (g->fresh > 0) {
        (void)snprintf(news, sizeof(news), ", %" PRIu64 " of them new", g->fresh);
    }
    (void)snprintf(item->text, sizeof(item->text),
                   "%.64s: %.120s. %" PRIu64 " open of tenant %.64s%s, owner %.64s, the oldest "
                   "since %s.",
                   g->code, entry != NULL ? entry->title : "a code not in the catalogue", g->count,
                   g->tenant, news, g->owner, since);
}

static int look_at_exceptions(struct tg_alert_look *l)
{
    const int64_t after = l->marks.exceptions;
    int result = tg_reader_open_groups(l->reader, after, on_group, l, &l->err);

    for (size_t i = 0; i < l->items.count; i++) {
        if (l->items.items[i].kind == TG_ALERT_EXCEPTION_AGEING) {
            l->items.items[i].fresh = 0;
        }
    }
    return result;
}

/* ---- postings ---- */

static void on_oldest(void *arg, const char *destination_id, int64_t posting, int64_t journalled_ms)
{
    struct tg_alert_look *l = arg;
    char since[TG_RFC3339_BYTES], age[32];
    struct tg_alert_item *item;

    if (l->now_ms - journalled_ms < l->config->posting_age_ms) {
        return;
    }
    item = tg_alert_items_add(&l->items, TG_ALERT_POSTING_AGEING, destination_id);
    if (item == NULL) {
        return;
    }
    time_text(journalled_ms, since);
    tg_alert_age(l->now_ms - journalled_ms, age, sizeof(age));
    (void)snprintf(item->text, sizeof(item->text),
                   "Postings of %.150s do not get through: the oldest, posting %" PRId64
                   ", waits since %s (%s).",
                   item->thing, posting, since, age);
}

/* ---- the audit chain ---- */

struct tail {
    struct tg_alert_look *look;
    size_t rows;
    uint64_t lost;
    int64_t first_lost, restored; /* seq; 0: none */
};

static uint64_t missing_of(const char *detail)
{
    json_t *doc = json_loads(detail, 0, NULL);
    json_int_t n = json_integer_value(json_object_get(doc, "missing"));

    json_decref(doc);
    return n > 0 ? (uint64_t)n : 1;
}

static bool on_audit(void *arg, const struct tg_audit_row *row)
{
    struct tail *t = arg;
    bool one = strcmp(row->action, "stream.entry_lost") == 0;

    t->rows++;
    t->look->marks.audit = row->seq;
    if (one || strcmp(row->action, "stream.entries_missing") == 0) {
        t->lost += one ? 1 : missing_of(row->detail);
        t->first_lost = t->first_lost == 0 ? row->seq : t->first_lost;
    } else if (strcmp(row->action, "journal.restored") == 0) {
        t->restored = row->seq;
    }
    return true;
}

static int look_at_audit(struct tg_alert_look *l)
{
    struct tail t = {.look = l};
    struct tg_alert_item *item;

    if (tg_reader_audit_after(l->reader, l->marks.audit, TG_ALERT_AUDIT_ROWS, on_audit, &t,
                              &l->err) != 0) {
        return -1;
    }
    if (t.lost > 0 &&
        (item = tg_alert_items_add(&l->items, TG_ALERT_DATA_LOSS, "stream")) != NULL) {
        item->fresh = item->count = t.lost;
        (void)snprintf(item->text, sizeof(item->text),
                       "%" PRIu64 " accepted events are gone from Redis and not in the journal; "
                       "audit rows from %" PRId64 " on say which.",
                       t.lost, t.first_lost);
    }
    if (t.restored > 0 &&
        (item = tg_alert_items_add(&l->items, TG_ALERT_JOURNAL_RESTORED, "journal")) != NULL) {
        item->fresh = item->count = 1;
        (void)snprintf(item->text, sizeof(item->text),
                       "The journal was restored from a backup: audit row %" PRId64
                       " says from when and by whom. Postings are looked up before they are sent.",
                       t.restored);
    }
    return 0;
}

void tg_alert_look_run(struct tg_alert_look *l)
{
    add_live(l);
    l->result = look_at_exceptions(l);
    if (l->result == 0 && l->config->posting_age_ms > 0) {
        l->result = tg_reader_oldest_of_each(l->reader, on_oldest, l, &l->err);
    }
    if (l->result == 0) {
        l->result = look_at_audit(l);
    }
    if (l->items.count > 1) {
        qsort(l->items.items, l->items.count, sizeof(struct tg_alert_item), by_kind_and_thing);
    }
}

void tg_alert_look_clear(struct tg_alert_look *l)
{
    tg_alert_items_clear(&l->items);
    tg_alert_items_clear(&l->facts.breakers);
}
