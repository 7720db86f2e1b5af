/* What the engine owns: everything is allocated here, once; the pool; the table by id. */
#include <stdlib.h>

#include "core/engine_parts.h"

static uint32_t table_size_for(size_t postings)
{
    uint32_t size = 16;

    while (size < 2 * postings) {
        size *= 2;
    }
    return size;
}

/* An equal share of the whole, so that a stuck destination never takes the room of another. */
static size_t window_for(size_t destinations)
{
    const size_t share = destinations > 0 ? TG_OPEN_POSTINGS_MAX / destinations : 1;

    if (share < 1) {
        return 1;
    }
    return share < TG_DEST_WINDOW_MAX ? share : TG_DEST_WINDOW_MAX;
}

static void account_init(struct tg_account *a, const struct tg_engine_destination *is)
{
    a->concurrency = is->concurrency;
    if (a->concurrency < 1) {
        a->concurrency = 1;
    } else if (a->concurrency > TG_DEST_CONCURRENCY_MAX) {
        a->concurrency = TG_DEST_CONCURRENCY_MAX;
    }
    a->ramp = a->concurrency;
    tg_breaker_init(&a->breaker);
    tg_limiter_init(&a->limiter, &is->rate);
    tg_heap_node_init(&a->timer, a);
    a->queue_first = a->queue_last = TG_NO_POSTING;
    a->next_dirty = TG_NO_POSTING;
}

static void destination_init(struct tg_destination *d, const struct tg_engine_destination *is,
                             struct tg_heap_node **room, size_t window)
{
    d->is = *is;
    d->turns.items = room;
    d->asks.items = room + window;
    d->next_queued = TG_NO_POSTING;
}

struct member {
    uint32_t number; /* of the account, as given */
    uint32_t index;
};

static int by_number(const void *left, const void *right)
{
    const struct member *a = left, *b = right;

    if (a->number != b->number) {
        return a->number < b->number ? -1 : 1;
    }
    return (a->index > b->index) - (a->index < b->index);
}

/* Who shares with whom. 0, or -1: no memory. */
static int make_accounts(struct tg_engine *e)
{
    const size_t n = e->destination_count;
    struct member *members = calloc(n + 1, sizeof(*members));

    e->accounts = calloc(n + 1, sizeof(*e->accounts));
    if (members == NULL || e->accounts == NULL) {
        free(members);
        return -1;
    }
    for (uint32_t i = 0; i < n; i++) {
        members[i] = (struct member){e->destinations[i].is.account, i};
    }
    qsort(members, n, sizeof(*members), by_number);
    for (size_t i = 0; i < n; i++) {
        struct tg_destination *d = &e->destinations[members[i].index];

        if (i == 0 || members[i].number == 0 || members[i].number != members[i - 1].number) {
            account_init(&e->accounts[e->account_count++], &d->is);
        }
        d->account = (uint32_t)(e->account_count - 1);
        d->ramp = e->accounts[d->account].concurrency;
    }
    free(members);
    return 0;
}

struct tg_engine *tg_engine_new(const struct tg_engine_destination *destinations, size_t n,
                                uint64_t seed)
{
    struct tg_engine *e = calloc(1, sizeof(*e));
    size_t total;
    uint32_t table_size;

    if (e == NULL || n > TG_ENGINE_DESTINATIONS_MAX) {
        free(e);
        return NULL;
    }
    e->destination_count = n;
    e->window = window_for(n);
    total = n * e->window;
    e->capacity = (uint32_t)total;
    table_size = table_size_for(total);
    e->table_mask = table_size - 1;
    e->destinations = calloc(n + 1, sizeof(*e->destinations));
    e->pool = calloc(total + 1, sizeof(*e->pool));
    e->table = malloc(table_size * sizeof(*e->table));
    e->heap_room = calloc(3 * total + n + 1, sizeof(struct tg_heap_node *));
    if (e->destinations == NULL || e->pool == NULL || e->table == NULL || e->heap_room == NULL) {
        tg_engine_free(e);
        return NULL;
    }
    for (uint32_t i = 0; i < table_size; i++) {
        e->table[i] = TG_NO_POSTING;
    }
    for (size_t i = 0; i < n; i++) {
        destination_init(&e->destinations[i], &destinations[i], e->heap_room + 2 * i * e->window,
                         e->window);
    }
    if (make_accounts(e) != 0) {
        tg_engine_free(e);
        return NULL;
    }
    e->timers.items = e->heap_room + 2 * total;
    e->account_timers.items = e->heap_room + 3 * total;
    e->free_first = TG_NO_POSTING;
    e->emit_first = e->emit_last = TG_NO_POSTING;
    e->dirty_first = e->dirty_last = TG_NO_POSTING;
    e->block_first = TG_NO_POSTING;
    e->random = seed;
    e->now_ms = INT64_MIN;
    return e;
}

void tg_engine_free(struct tg_engine *e)
{
    if (e == NULL) {
        return;
    }
    free(e->destinations);
    free(e->accounts);
    free(e->pool);
    free(e->table);
    free(e->heap_room);
    free(e);
}

/* ---- pool and table ---- */

static uint32_t slot_of(const struct tg_engine *e, int64_t id)
{
    uint64_t h = (uint64_t)id * UINT64_C(0x9e3779b97f4a7c15);

    return (uint32_t)(h >> 32) & e->table_mask;
}

struct tg_posting *tg_engine_find(const struct tg_engine *e, int64_t id)
{
    uint32_t at = slot_of(e, id);

    /* Ends: the table is at most half full. */
    while (e->table[at] != TG_NO_POSTING) {
        if (e->pool[e->table[at]].id == id) {
            return &e->pool[e->table[at]];
        }
        at = (at + 1) & e->table_mask;
    }
    return NULL;
}

static void table_add(struct tg_engine *e, uint32_t index)
{
    uint32_t at = slot_of(e, e->pool[index].id);

    while (e->table[at] != TG_NO_POSTING) {
        at = (at + 1) & e->table_mask;
    }
    e->table[at] = index;
}

/* Closes the gap, so that no search ends too early: every follower moves that may. */
static void table_remove(struct tg_engine *e, uint32_t index)
{
    uint32_t gap = slot_of(e, e->pool[index].id);
    uint32_t at;

    while (e->table[gap] != index) {
        gap = (gap + 1) & e->table_mask;
    }
    e->table[gap] = TG_NO_POSTING;
    for (at = (gap + 1) & e->table_mask; e->table[at] != TG_NO_POSTING;
         at = (at + 1) & e->table_mask) {
        const uint32_t home = slot_of(e, e->pool[e->table[at]].id);

        if (((at - home) & e->table_mask) >= ((at - gap) & e->table_mask)) {
            e->table[gap] = e->table[at];
            e->table[at] = TG_NO_POSTING;
            gap = at;
        }
    }
}

struct tg_posting *tg_engine_take(struct tg_engine *e, int64_t id, uint32_t destination,
                                  enum tg_posting_state state)
{
    struct tg_destination *d = &e->destinations[destination];
    uint32_t index = e->free_first;
    struct tg_posting *p;

    if (index != TG_NO_POSTING) {
        e->free_first = e->pool[index].next;
    } else {
        index = e->pool_used++;
    }
    p = &e->pool[index];
    *p = (struct tg_posting){
        .id = id, .destination = destination, .next = TG_NO_POSTING, .state = state};
    tg_heap_node_init(&p->node, p);
    p->phase = TG_PHASE_EMIT;
    e->open++;
    e->in_phase[p->phase]++;
    d->open++;
    d->in_phase[p->phase]++;
    d->in_state[state]++;
    table_add(e, index);
    return p;
}

void tg_engine_drop(struct tg_engine *e, struct tg_posting *p)
{
    struct tg_destination *d = &e->destinations[p->destination];
    const uint32_t index = (uint32_t)(p - e->pool);

    tg_engine_set_stuck(e, p, false);
    table_remove(e, index);
    e->open--;
    e->in_phase[p->phase]--;
    d->open--;
    d->in_phase[p->phase]--;
    d->in_state[p->state]--;
    p->phase = TG_PHASE_FREE;
    p->next = e->free_first;
    e->free_first = index;
}

void tg_engine_set_phase(struct tg_engine *e, struct tg_posting *p, enum tg_phase phase)
{
    struct tg_destination *d = &e->destinations[p->destination];

    e->in_phase[p->phase]--;
    d->in_phase[p->phase]--;
    p->phase = phase;
    e->in_phase[phase]++;
    d->in_phase[phase]++;
}

void tg_engine_set_state(struct tg_engine *e, struct tg_posting *p, enum tg_posting_state state)
{
    struct tg_destination *d = &e->destinations[p->destination];

    d->in_state[p->state]--;
    p->state = state;
    d->in_state[state]++;
}

void tg_engine_set_stuck(struct tg_engine *e, struct tg_posting *p, bool stuck)
{
    struct tg_destination *d = &e->destinations[p->destination];

    if (p->stuck != stuck) {
        p->stuck = stuck;
        d->stuck += stuck ? 1 : (size_t)-1;
    }
}
