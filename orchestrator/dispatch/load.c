/* Open postings out of the journal: a page of a destination in one turn of the loop. */
#include "dispatch/inner.h"

static bool is_skipped(const struct tg_dispatch *d, int64_t posting)
{
    for (size_t i = 0; i < d->skip_count; i++) {
        if (d->skip[i] == posting) {
            return true;
        }
    }
    return false;
}

struct load {
    struct tg_dispatch *d;
    struct tg_target *target;
    size_t seen;
    bool no_memory;
};

static bool on_open_posting(void *arg, const struct tg_row_posting *from)
{
    struct load *l = arg;
    struct tg_open_row *row;

    l->seen++;
    if (is_skipped(l->d, from->id)) {
        l->target->after = from->id;
        return true;
    }
    row = tg_rows_add(l->d->rows, from);
    if (row == NULL) {
        l->no_memory = true;
        return false;
    }
    l->target->after = from->id;
    l->d->page[l->d->page_count++] = row;
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
                                                .first_sent_ms = row->first_sent_ms};
        tg_dispatch_feed(d, &ev);
    }
    d->page_count = 0;
}

static void load(struct tg_dispatch *d, struct tg_target *t)
{
    struct load l = {.d = d, .target = t};
    size_t limit = tg_engine_room(d->engine, t->config->index);
    struct tg_error err;

    if (limit > TG_LOAD_PAGE) {
        limit = TG_LOAD_PAGE;
    }
    if (limit == 0 || d->failed) {
        return;
    }
    if (tg_reader_open_postings(d->reader, t->config->index, t->after, limit, on_open_posting, &l,
                                &err) < 0) {
        tg_dispatch_fail(d, &err);
        return;
    }
    t->more = l.seen == limit || l.no_memory;
    feed_page(d);
}

void tg_dispatch_load(struct tg_dispatch *d)
{
    for (uint32_t i = 0; i < d->target_count && !d->stopping; i++) {
        if (d->targets[i].ops != NULL && d->targets[i].more) {
            load(d, &d->targets[i]);
        }
    }
}
