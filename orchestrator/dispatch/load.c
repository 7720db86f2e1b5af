/*
 * Open postings out of the journal: a page of a destination in one turn of the loop, along the ids,
 * up to the room the engine has. The cursor never goes back for a single posting: one that became
 * open behind it (released, replayed) is loaded by its id. When too many of those wait for room,
 * the cursor does go back, and what is in memory already is passed over.
 */
#include "dispatch/inner.h"

/* Is it not to be loaded, whatever the journal has of it? */
static bool is_taken(const struct tg_dispatch *d, int64_t posting)
{
    return tg_idset_has(&d->cancelled, posting) || tg_rows_find(d->rows, posting) != NULL;
}

struct load {
    struct tg_dispatch *d;
    struct tg_target *target;
    size_t room, seen;
    bool stopped; /* before the end of the page */
};

static bool take(struct tg_dispatch *d, const struct tg_row_posting *from)
{
    struct tg_open_row *row = tg_rows_add(d->rows, from);

    if (row != NULL) {
        d->page[d->page_count++] = row;
    }
    return row != NULL;
}

static bool on_open_posting(void *arg, const struct tg_row_posting *from)
{
    struct load *l = arg;

    l->seen++;
    if (!is_taken(l->d, from->id)) {
        if (l->d->page_count == l->room || !take(l->d, from)) {
            l->stopped = true;
            return false;
        }
    }
    l->target->after = from->id;
    return true;
}

static void feed_page(struct tg_dispatch *d)
{
    for (size_t i = 0; i < d->page_count; i++) {
        const struct tg_open_row *row = d->page[i];
        struct tg_engine_event ev = {
            .kind = TG_EV_LOADED, .id = row->id, .destination = row->destination};

        ev.posting = (struct tg_engine_posting){.id = row->id,
                                                .destination = row->destination,
                                                .state = row->state,
                                                .attempt = row->attempt,
                                                .due_ms = row->due_ms,
                                                .first_sent_ms = row->first_sent_ms,
                                                .superseded = row->superseded};
        tg_dispatch_feed(d, &ev);
    }
    d->page_count = 0;
}

static void load(struct tg_dispatch *d, struct tg_target *t)
{
    struct load l = {.d = d, .target = t};
    struct tg_error err;

    l.room = tg_engine_room(d->engine, t->config->index);
    l.room = l.room < TG_LOAD_PAGE ? l.room : TG_LOAD_PAGE;
    if (l.room == 0 || d->failed) {
        return;
    }
    if (tg_reader_open_postings(d->reader, t->config->index, t->after, TG_LOAD_PAGE,
                                on_open_posting, &l, &err) < 0) {
        tg_dispatch_fail(d, &err);
        return;
    }
    t->more = l.seen == TG_LOAD_PAGE || l.stopped;
    feed_page(d);
}

/* ---- behind the cursor ---- */

static struct tg_target *target_of(struct tg_dispatch *d, uint32_t destination)
{
    return destination < d->target_count && d->targets[destination].ops != NULL
               ? &d->targets[destination]
               : NULL;
}

void tg_dispatch_load_again(struct tg_dispatch *d, int64_t posting, uint32_t destination)
{
    struct tg_target *t = target_of(d, destination);

    if (t == NULL) {
        return; /* not configured: it waits until it is */
    }
    if (posting > t->after) {
        t->more = true;
    } else if (d->behind_count < TG_LOAD_BEHIND_MAX) {
        d->behind[d->behind_count++] = (struct tg_behind){posting, destination};
    } else {
        t->after = posting - 1;
        t->more = true;
    }
}

static bool is_open(enum tg_posting_state s)
{
    return s == TG_POSTING_READY || s == TG_POSTING_SENT || s == TG_POSTING_RETRY ||
           s == TG_POSTING_IN_DOUBT;
}

static bool on_behind(void *arg, const struct tg_row_posting *from)
{
    struct tg_dispatch *d = arg;

    if (is_open(from->state) && !is_taken(d, from->id)) {
        (void)take(d, from); /* there is room: the engine's is that of the rows */
    }
    return false;
}

/* Those for which there is no room yet stay, in order. */
static void load_behind(struct tg_dispatch *d)
{
    size_t kept = 0;
    size_t loaded = 0;
    struct tg_error err;

    for (size_t i = 0; i < d->behind_count && !d->failed; i++) {
        const struct tg_behind b = d->behind[i];

        if (loaded == TG_LOAD_PAGE || tg_engine_room(d->engine, b.destination) == 0) {
            d->behind[kept++] = b;
            continue;
        }
        if (tg_reader_posting(d->reader, b.posting, on_behind, d, &err) < 0) {
            tg_dispatch_fail(d, &err);
            return;
        }
        loaded += d->page_count;
        feed_page(d);
    }
    d->behind_count = kept;
}

void tg_dispatch_load(struct tg_dispatch *d)
{
    if (!d->stopping) {
        load_behind(d);
    }
    for (uint32_t i = 0; i < d->target_count && !d->stopping; i++) {
        if (d->targets[i].ops != NULL && d->targets[i].more) {
            load(d, &d->targets[i]);
        }
    }
}
