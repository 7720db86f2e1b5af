/*
 * dispatch.h: journal -> destinations. The shell round core/engine.h: loads open postings in
 * windows, turns MARK actions of one loop turn into one journal batch, hands SEND and LOOKUP to
 * connectors, keeps the one timer. After a crash it loads what was `sent` as in doubt.
 *
 * Ownership: tg_dispatch owns engine, connectors and its reader; journal and config outlive it.
 */
#ifndef TG_DISPATCH_DISPATCH_H
#define TG_DISPATCH_DISPATCH_H

#include <uv.h>

#include "connect/connect.h"
#include "core/config.h"
#include "journal/journal.h"
#include "master/catalogue.h"

struct tg_dispatch;

struct tg_dispatch_options {
    uv_loop_t *loop;
    struct tg_journal *journal;
    const struct tg_config *config;
    const struct tg_catalogue *catalogue;
    uint64_t seed;
    void (*fatal)(void *arg, const struct tg_error *err); /* the process must stop */
    void *fatal_arg;
};

struct tg_dispatch *tg_dispatch_start(const struct tg_dispatch_options *o, struct tg_error *err);

/* New postings are in the journal, and so are all cancels asked for before. Cheap; call after each
 * commit of intake. */
void tg_dispatch_kick(struct tg_dispatch *d);

/* Would tg_dispatch_cancel succeed now? Asked for every posting of an object before the first one
 * is cancelled; nothing may run on the loop in between. */
bool tg_dispatch_may_cancel(struct tg_dispatch *d, int64_t posting, uint32_t destination);

/* A posting was superseded by intake before it was sent: forget it if it is held in memory and not
 * on its way. Returns true when it is surely not sent and will not be; intake then cancels it. */
bool tg_dispatch_cancel(struct tg_dispatch *d, int64_t posting, uint32_t destination);

/* A destination a person holds: postings stay where they are, nothing is dropped; what is marked
 * sent still goes. Released in order, slots one by one. */
struct tg_dispatch_pause {
    bool paused;
    char actor[TG_CLIENT_MAX_BYTES + 1];
    char reason[TG_REASON_MAX_BYTES + 1];
    int64_t at_ms; /* wall clock */
};

/*
 * Pauses at once and writes it down, or writes down the release and lets go when that is on disk.
 * done comes once, after the commit; twice is once. 0, or -1: not now (memory, or the journal's
 * queue is full), nothing was done and done does not come.
 */
int tg_dispatch_pause(struct tg_dispatch *d, uint32_t destination, const char *actor,
                      const char *reason, void (*done)(void *arg), void *arg);
int tg_dispatch_resume(struct tg_dispatch *d, uint32_t destination, const char *actor,
                       void (*done)(void *arg), void *arg);
const struct tg_dispatch_pause *tg_dispatch_paused(const struct tg_dispatch *d,
                                                   uint32_t destination);

/* Drains: sends nothing new, waits for what is out, closes connectors, then calls stopped. */
void tg_dispatch_stop(struct tg_dispatch *d, void (*stopped)(void *arg), void *arg);
void tg_dispatch_free(struct tg_dispatch *d); /* after stopped */

void tg_dispatch_stats(const struct tg_dispatch *d, uint32_t destination,
                       struct tg_engine_stats *out);

#endif
