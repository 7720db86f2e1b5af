#include "dispatch/rows.h"

#include <stdlib.h>
#include <string.h>

#include "common/codec.h"

#define TEXTS 6
#define TABLE_SIZE 16384u /* a power of two, at least twice TG_OPEN_POSTINGS_MAX */

_Static_assert(TABLE_SIZE >= 2 * TG_OPEN_POSTINGS_MAX, "the table would fill up");

struct tg_rows {
    struct tg_open_row *slots[TABLE_SIZE];
    size_t count;
};

static size_t home(int64_t id)
{
    return (size_t)(((uint64_t)id * UINT64_C(0x9e3779b97f4a7c15)) >> 40) & (TABLE_SIZE - 1);
}

struct tg_rows *tg_rows_new(void)
{
    return calloc(1, sizeof(struct tg_rows));
}

void tg_rows_free(struct tg_rows *r)
{
    if (r == NULL) {
        return;
    }
    for (size_t i = 0; i < TABLE_SIZE; i++) {
        free(r->slots[i]);
    }
    free(r);
}

/* Slot of the id, or the empty one where it would go. */
static size_t slot_of(const struct tg_rows *r, int64_t id)
{
    size_t i = home(id);

    while (r->slots[i] != NULL && r->slots[i]->id != id) {
        i = (i + 1) & (TABLE_SIZE - 1);
    }
    return i;
}

struct tg_open_row *tg_rows_find(const struct tg_rows *r, int64_t id)
{
    return r->slots[slot_of(r, id)];
}

static const char *put(char **at, const char *s, size_t len)
{
    char *copy = *at;

    memcpy(copy, s, len);
    copy[len] = '\0';
    *at += len + 1;
    return copy;
}

static struct tg_open_row *copy_row(const struct tg_row_posting *from)
{
    const char *texts[] = {from->kind,           from->leg,         from->payload, from->subject,
                           from->correlation_id, from->reverses_ref};
    size_t len[TEXTS];
    size_t total = 0;
    struct tg_open_row *row;
    char *at;

    for (size_t i = 0; i < TEXTS; i++) {
        texts[i] = texts[i] != NULL ? texts[i] : "";
        len[i] = strlen(texts[i]);
        total += len[i] + 1;
    }
    row = calloc(1, sizeof(*row) + total);
    if (row == NULL) {
        return NULL;
    }
    at = row->text;
    row->id = from->id;
    row->object = from->object;
    row->destination = from->destination;
    row->state = from->state;
    row->attempt = from->attempt;
    row->due_ms = from->due_ms;
    row->first_sent_ms = from->first_sent_ms;
    row->superseded = from->superseded;
    row->reverses = from->reverses;
    if (row->reverses != 0) {
        tg_hex_encode(from->reverses_key, TG_POSTING_KEY_BYTES, row->reverses_hex);
    }
    tg_hex_encode(from->key, TG_POSTING_KEY_BYTES, row->key_hex);
    row->kind = put(&at, texts[0], len[0]);
    row->leg = put(&at, texts[1], len[1]);
    row->payload = put(&at, texts[2], len[2]);
    row->subject = put(&at, texts[3], len[3]);
    row->correlation_id = put(&at, texts[4], len[4]);
    row->reverses_ref = put(&at, texts[5], len[5]);
    return row;
}

struct tg_open_row *tg_rows_add(struct tg_rows *r, const struct tg_row_posting *from)
{
    size_t slot = slot_of(r, from->id);

    if (r->slots[slot] != NULL || r->count >= TG_OPEN_POSTINGS_MAX) {
        return NULL;
    }
    r->slots[slot] = copy_row(from);
    r->count += r->slots[slot] != NULL;
    return r->slots[slot];
}

/* Closes the gap, so that look-ups need no marks of deleted slots. */
void tg_rows_remove(struct tg_rows *r, int64_t id)
{
    size_t gap = slot_of(r, id);
    size_t i;

    if (r->slots[gap] == NULL) {
        return;
    }
    free(r->slots[gap]);
    r->slots[gap] = NULL;
    r->count--;
    for (i = (gap + 1) & (TABLE_SIZE - 1); r->slots[i] != NULL; i = (i + 1) & (TABLE_SIZE - 1)) {
        size_t want = home(r->slots[i]->id);

        if (((i - want) & (TABLE_SIZE - 1)) >= ((i - gap) & (TABLE_SIZE - 1))) {
            r->slots[gap] = r->slots[i];
            r->slots[i] = NULL;
            gap = i;
        }
    }
}

size_t tg_rows_count(const struct tg_rows *r)
{
    return r->count;
}
