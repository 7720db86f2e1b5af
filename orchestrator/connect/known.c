/*
 * Two structures: an object name -> [value, slot], and a ring of slots in the order they were put.
 * A slot whose name was dropped, or put again into another slot, is stale and simply passed over.
 */
#include "connect/known.h"

#include <stdlib.h>
#include <string.h>

struct slot {
    char *name; /* NULL: free */
    uint64_t put_ms;
};

struct tg_known_values {
    json_t *by_name;
    struct slot ring[TG_SCRIPT_KNOWN_MAX];
    size_t next; /* the oldest slot, to be used next */
};

struct tg_known_values *tg_known_new(void)
{
    struct tg_known_values *k = calloc(1, sizeof(*k));

    if (k != NULL) {
        k->by_name = json_object();
    }
    if (k == NULL || k->by_name == NULL) {
        free(k);
        return NULL;
    }
    return k;
}

void tg_known_free(struct tg_known_values *k)
{
    if (k == NULL) {
        return;
    }
    for (size_t i = 0; i < TG_SCRIPT_KNOWN_MAX; i++) {
        free(k->ring[i].name);
    }
    json_decref(k->by_name);
    free(k);
}

static size_t slot_of(const json_t *entry)
{
    return (size_t)json_integer_value(json_array_get(entry, 1));
}

json_t *tg_known_get(const struct tg_known_values *k, const char *name, uint64_t now_ms)
{
    const json_t *entry = json_object_get(k->by_name, name);

    if (entry == NULL || now_ms - k->ring[slot_of(entry)].put_ms >= TG_SCRIPT_KNOWN_MS) {
        return NULL;
    }
    return json_array_get(entry, 0);
}

/* Frees a slot, and its value if it is still the one of that name. */
static void clear_slot(struct tg_known_values *k, size_t at)
{
    struct slot *s = &k->ring[at];
    const json_t *entry;

    if (s->name == NULL) {
        return;
    }
    entry = json_object_get(k->by_name, s->name);
    if (entry != NULL && slot_of(entry) == at) {
        (void)json_object_del(k->by_name, s->name);
    }
    free(s->name);
    s->name = NULL;
}

void tg_known_put(struct tg_known_values *k, const char *name, json_t *value, uint64_t now_ms)
{
    const size_t at = k->next;
    json_t *entry = json_pack("[O, I]", value, (json_int_t)at);
    struct slot *s = &k->ring[at];

    clear_slot(k, at);
    s->name = strdup(name);
    s->put_ms = now_ms;
    if (s->name == NULL || entry == NULL || json_object_set(k->by_name, name, entry) != 0) {
        free(s->name);
        s->name = NULL;
    } else {
        k->next = (at + 1) % TG_SCRIPT_KNOWN_MAX;
    }
    json_decref(entry);
}

void tg_known_drop(struct tg_known_values *k, const char *name)
{
    (void)json_object_del(k->by_name, name);
}
