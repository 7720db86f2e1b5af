/*
 * Between two durable actions the process may die; what then happens:
 *
 *   P1  paused in memory, not on disk      -> not paused after the restart; nobody was told it is
 *   P2  paused on disk, not answered       -> paused after the restart; asked again: it is so
 *   P3  release on disk, not let go of     -> not paused after the restart: let go of
 *
 * So a destination may send for a moment that a person wanted held, never the other way round: one
 * that was said to be held is held.
 *
 * Changes of one destination commit in the order they were asked for. A release lets go at its
 * commit unless it was held again meanwhile: then the journal holds it too, one commit later.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/log.h"
#include "dispatch/inner.h"

struct change {
    struct tg_dispatch *d;
    uint32_t destination;
    bool paused;
    uint64_t serial;
    void (*done)(void *arg);
    void *arg;
};

static void tell_engine(struct tg_dispatch *d, uint32_t destination, bool paused)
{
    const struct tg_engine_event ev = {.kind = paused ? TG_EV_PAUSE : TG_EV_RESUME,
                                       .destination = destination};

    tg_dispatch_feed(d, &ev);
}

/* Whoever wants it held, it is held once. */
static void hold_as_said(struct tg_dispatch *d, uint32_t destination)
{
    struct tg_target *t = &d->targets[destination];
    const bool held = t->pause.paused || t->away;

    if (held != t->held) {
        t->held = held;
        tell_engine(d, destination, held);
    }
}

static void on_change(void *arg, bool ok, const struct tg_error *err)
{
    struct change *c = arg;
    struct tg_target *t = &c->d->targets[c->destination];

    c->d->changes_out--;
    if (!ok) {
        tg_dispatch_fail(c->d, err);
    } else {
        if (!c->paused && t->pause.paused && c->serial > t->paused_serial) {
            t->pause.paused = false;
            hold_as_said(c->d, c->destination);
        }
        c->done(c->arg);
    }
    free(c);
}

/* NULL: it could not be submitted. */
static struct change *submit(struct tg_dispatch *d, uint32_t destination, bool paused,
                             const char *actor, const char *reason)
{
    struct change *c = malloc(sizeof(*c));
    struct tg_batch *b = tg_batch_new();

    if (c != NULL) {
        *c = (struct change){
            .d = d, .destination = destination, .paused = paused, .serial = d->change_serial + 1};
    }
    if (c == NULL || b == NULL || tg_batch_pause(b, destination, paused, actor, reason) != 0 ||
        tg_journal_submit(d->o.journal, b, on_change, c) != 0) {
        tg_batch_free(b);
        free(c);
        return NULL;
    }
    d->change_serial = c->serial;
    d->changes_out++;
    return c;
}

int tg_dispatch_pause(struct tg_dispatch *d, uint32_t destination, const char *actor,
                      const char *reason, void (*done)(void *arg), void *arg)
{
    struct tg_target *t = &d->targets[destination];
    struct change *c = submit(d, destination, true, actor, reason);
    bool is_new;

    if (c == NULL) {
        return -1;
    }
    c->done = done;
    c->arg = arg;
    is_new = !t->pause.paused || t->resumed_serial > t->paused_serial;
    t->paused_serial = c->serial;
    if (is_new) {
        t->pause.paused = true;
        t->pause.at_ms = tg_dispatch_now_ms();
        (void)snprintf(t->pause.actor, sizeof(t->pause.actor), "%s", actor);
        (void)snprintf(t->pause.reason, sizeof(t->pause.reason), "%s", reason);
        hold_as_said(d, destination);
    }
    return 0;
}

int tg_dispatch_resume(struct tg_dispatch *d, uint32_t destination, const char *actor,
                       const char *reason, void (*done)(void *arg), void *arg)
{
    struct change *c = submit(d, destination, false, actor, reason);

    if (c == NULL) {
        return -1;
    }
    c->done = done;
    c->arg = arg;
    d->targets[destination].resumed_serial = c->serial;
    return 0;
}

const struct tg_dispatch_pause *tg_dispatch_paused(const struct tg_dispatch *d,
                                                   uint32_t destination)
{
    return &d->targets[destination].pause;
}

/* One that is no longer configured keeps its row: it may come back. */
static void on_pause_row(void *arg, const struct tg_row_pause *row)
{
    struct tg_dispatch *d = arg;
    struct tg_target *t;

    if (row->destination >= d->target_count || d->targets[row->destination].ops == NULL) {
        return;
    }
    t = &d->targets[row->destination];
    t->pause.paused = true;
    t->pause.at_ms = row->at_ms;
    (void)snprintf(t->pause.actor, sizeof(t->pause.actor), "%s", row->actor);
    (void)snprintf(t->pause.reason, sizeof(t->pause.reason), "%s", row->reason);
    hold_as_said(d, row->destination);
}

static void on_throttle_row(void *arg, uint32_t destination, int64_t until_ms, int64_t said_ms)
{
    struct tg_dispatch *d = arg;
    const struct tg_engine_event ev = {
        .kind = TG_EV_BLOCK, .destination = destination, .until_ms = until_ms, .said_ms = said_ms};

    if (destination < d->target_count && d->targets[destination].ops != NULL) {
        tg_dispatch_feed(d, &ev);
    }
}

int tg_dispatch_load_pauses(struct tg_dispatch *d, struct tg_error *err)
{
    if (tg_reader_pauses(d->reader, on_pause_row, d, err) != 0) {
        return -1;
    }
    return tg_reader_throttles(d->reader, on_throttle_row, d, err);
}

/* ---- maintenance windows ---- */

static void look_at_windows(struct tg_dispatch *d, int64_t now_ms)
{
    size_t n;
    const struct tg_windows_of *list = tg_windows_list(d->windows, &n);

    d->window_ms = INT64_MAX;
    for (size_t i = 0; i < n; i++) {
        struct tg_target *t = &d->targets[list[i].destination];
        const struct tg_window_state is = tg_window_state(list[i].windows, list[i].count, now_ms);

        if (is.inside != t->away) {
            tg_log(TG_LOG_INFO, "dispatch", "destination %s: maintenance window %s", t->config->id,
                   is.inside ? "begins, postings to it wait" : "is over");
        }
        t->away = is.inside;
        hold_as_said(d, list[i].destination);
        d->window_ms = is.change_ms < d->window_ms ? is.change_ms : d->window_ms;
    }
}

void tg_dispatch_windows_turn(struct tg_dispatch *d)
{
    const int64_t now_ms = tg_dispatch_now_ms();

    /* A clock that was set back may be in a window that was over. */
    if (d->windows != NULL && (now_ms >= d->window_ms || now_ms < d->window_seen_ms)) {
        look_at_windows(d, now_ms);
    }
    d->window_seen_ms = now_ms;
}

void tg_dispatch_take_windows(struct tg_dispatch *d, struct tg_windows *windows)
{
    size_t n;
    const struct tg_windows_of *list = tg_windows_list(windows, &n);

    for (uint32_t i = 0; i < d->target_count; i++) {
        d->targets[i].windows = NULL;
    }
    for (size_t i = 0; i < n; i++) {
        d->targets[list[i].destination].windows = &list[i];
    }
    tg_windows_free(d->windows);
    d->windows = windows;
    for (uint32_t i = 0; i < d->target_count; i++) {
        if (d->targets[i].windows == NULL && d->targets[i].away) {
            d->targets[i].away = false;
            hold_as_said(d, i);
        }
    }
    look_at_windows(d, tg_dispatch_now_ms());
}

void tg_dispatch_absence(const struct tg_dispatch *d, uint32_t destination,
                         struct tg_dispatch_absence *out)
{
    const struct tg_windows_of *w = d->targets[destination].windows;
    struct tg_window_state is;

    *out = (struct tg_dispatch_absence){.from_ms = INT64_MAX, .until_ms = INT64_MAX};
    if (w == NULL) {
        return;
    }
    is = tg_window_state(w->windows, w->count, tg_dispatch_now_ms());
    if (is.which == w->count) {
        return; /* all of them are over */
    }
    out->known = true;
    out->now = is.inside;
    out->reason = w->reasons[is.which];
    if (is.inside) {
        out->until_ms = is.change_ms;
        return;
    }
    out->from_ms = is.change_ms;
    out->until_ms = tg_window_state(w->windows, w->count, is.change_ms).change_ms;
}
