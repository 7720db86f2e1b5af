#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alert/inner.h"

static int compare(enum tg_alert_kind k1, const char *t1, enum tg_alert_kind k2, const char *t2)
{
    return k1 != k2 ? (k1 < k2 ? -1 : 1) : strcmp(t1, t2);
}

/* Where it is, or would be. */
static size_t place_of(const struct tg_alert_things *t, enum tg_alert_kind kind, const char *thing)
{
    size_t low = 0, high = t->count;

    while (low < high) {
        size_t mid = (low + high) / 2;

        if (compare(t->items[mid].kind, t->items[mid].thing, kind, thing) < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

struct tg_alert_thing *tg_alert_things_find(struct tg_alert_things *t, enum tg_alert_kind kind,
                                            const char *thing)
{
    size_t at = place_of(t, kind, thing);

    return at < t->count && compare(t->items[at].kind, t->items[at].thing, kind, thing) == 0
               ? &t->items[at]
               : NULL;
}

static struct tg_alert_thing *insert(struct tg_alert_things *t, enum tg_alert_kind kind,
                                     const char *thing)
{
    size_t at = place_of(t, kind, thing);
    struct tg_alert_thing *new;

    if (t->count == t->capacity) {
        size_t larger = t->capacity == 0 ? 16 : t->capacity * 2;
        struct tg_alert_thing *items = realloc(t->items, larger * sizeof(*items));

        if (items == NULL) {
            return NULL;
        }
        t->items = items;
        t->capacity = larger;
    }
    memmove(&t->items[at + 1], &t->items[at], (t->count - at) * sizeof(*t->items));
    t->count++;
    new = &t->items[at];
    memset(new, 0, sizeof(*new));
    new->kind = kind;
    (void)snprintf(new->thing, sizeof(new->thing), "%s", thing);
    return new;
}

int tg_alert_things_load(struct tg_alert_things *t, enum tg_alert_kind kind, const char *thing,
                         const struct tg_alert_state *state)
{
    struct tg_alert_thing *new = insert(t, kind, thing);

    if (new == NULL) {
        return -1;
    }
    new->state = *state;
    new->noted = *state;
    new->is_noted = true;
    return 0;
}

/* ---- one step ---- */

static void post_of(const struct tg_alert_thing *x, enum tg_alert_notice n, int64_t now_ms,
                    struct tg_alert_post *p)
{
    memset(p, 0, sizeof(*p));
    p->kind = x->kind;
    p->notice = n;
    p->fresh = x->state.fresh;
    p->count = x->count;
    p->since_ms = x->state.since_ms != 0 ? x->state.since_ms : now_ms;
    p->at_ms = now_ms;
    memcpy(p->thing, x->thing, sizeof(p->thing));
    memcpy(p->text, x->text, sizeof(p->text));
    tg_alert_id(p, p->id);
}

/* While a notice is on its way the state goes on, and nothing new is decided. */
static void step_one(struct tg_alert_thing *x, const struct tg_alert_item *item, int64_t now_ms,
                     const struct tg_alert_policy *policy, tg_alert_post_fn post, void *arg)
{
    const struct tg_alert_seen seen = {.wrong = item != NULL,
                                       .once = tg_alert_kind_is_event(x->kind),
                                       .fresh = item != NULL ? item->fresh : 0};
    struct tg_alert_post p;
    enum tg_alert_notice n;

    if (item != NULL) {
        x->count = item->count;
        memcpy(x->text, item->text, sizeof(x->text));
    }
    n = tg_alert_step(&x->state, &seen, now_ms, policy);
    if (n == TG_ALERT_NONE || x->out) {
        return;
    }
    post_of(x, n, now_ms, &p);
    x->out = post(arg, &p);
}

int tg_alert_things_step(struct tg_alert_things *t, const struct tg_alert_items *items,
                         int64_t now_ms, const struct tg_alert_policy *p, tg_alert_post_fn post,
                         void *arg)
{
    size_t k = 0;

    for (size_t i = 0; i < items->count; i++) {
        const struct tg_alert_item *item = &items->items[i];

        if (tg_alert_things_find(t, item->kind, item->thing) == NULL &&
            insert(t, item->kind, item->thing) == NULL) {
            return -1;
        }
    }
    for (size_t i = 0; i < t->count; i++) {
        struct tg_alert_thing *x = &t->items[i];

        while (k < items->count &&
               compare(items->items[k].kind, items->items[k].thing, x->kind, x->thing) < 0) {
            k++;
        }
        step_one(x,
                 k < items->count && compare(items->items[k].kind, items->items[k].thing, x->kind,
                                             x->thing) == 0
                     ? &items->items[k]
                     : NULL,
                 now_ms, p, post, arg);
    }
    return 0;
}

/* ---- noting ---- */

static bool same(const struct tg_alert_state *a, const struct tg_alert_state *b)
{
    return a->told == b->told && a->since_ms == b->since_ms && a->clear_ms == b->clear_ms &&
           a->told_ms == b->told_ms && a->fresh == b->fresh;
}

static bool is_idle(const struct tg_alert_thing *x, int64_t now_ms, const struct tg_alert_policy *p)
{
    return !x->out && tg_alert_is_idle(&x->state, now_ms, p);
}

static bool is_changed(const struct tg_alert_thing *x, bool idle)
{
    return idle ? x->is_noted : !x->is_noted || !same(&x->state, &x->noted);
}

int tg_alert_things_note(struct tg_alert_things *t, struct tg_batch *b, int64_t now_ms,
                         const struct tg_alert_policy *p)
{
    size_t kept = 0;

    for (size_t i = 0; i < t->count; i++) {
        const struct tg_alert_thing *x = &t->items[i];
        bool idle = is_idle(x, now_ms, p);

        if (is_changed(x, idle) &&
            tg_batch_alert(b, tg_alert_kind_word(x->kind), x->thing, &x->state, idle) != 0) {
            return -1;
        }
    }
    for (size_t i = 0; i < t->count; i++) {
        struct tg_alert_thing x = t->items[i];

        if (!is_idle(&x, now_ms, p)) {
            x.noted = x.state;
            x.is_noted = true;
            t->items[kept++] = x;
        }
    }
    t->count = kept;
    return 0;
}

void tg_alert_things_clear(struct tg_alert_things *t)
{
    free(t->items);
    memset(t, 0, sizeof(*t));
}
