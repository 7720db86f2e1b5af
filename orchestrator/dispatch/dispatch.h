/*
 * dispatch.h: journal -> destinations. The shell round core/engine.h: loads open postings in
 * windows, turns MARK actions of one loop turn into one journal batch, hands SEND and LOOKUP to
 * connectors, keeps the one timer. After a crash it loads what was `sent` as in doubt. Releases
 * what is held once the posting it waits for is final (holds.c).
 *
 * Ownership: tg_dispatch owns engine, connectors and its reader; journal and config outlive it.
 */
#ifndef TG_DISPATCH_DISPATCH_H
#define TG_DISPATCH_DISPATCH_H

#include <uv.h>

#include "connect/connect.h"
#include "core/config.h"
#include "core/correct.h"
#include "dispatch/windows.h"
#include "journal/journal.h"
#include "master/catalogue.h"

struct tg_dispatch;

struct tg_dispatch_options {
    uv_loop_t *loop;
    struct tg_scripts scripts; /* connectors of the bundle; a reference is taken */
    struct tg_journal *journal;
    const struct tg_config *config;
    const struct tg_catalogue *catalogue;
    struct tg_windows *windows; /* taken, also when the start fails; NULL: none */
    uint64_t seed;
    void (*fatal)(void *arg, const struct tg_error *err); /* the process must stop */
    void *fatal_arg;
};

int64_t tg_dispatch_now_ms(void); /* wall clock */

struct tg_dispatch *tg_dispatch_start(const struct tg_dispatch_options *o, struct tg_error *err);

/* Other scripts, after a reload. 0: they are in force for what is sent from now on. -1 with err:
 * one of the destinations cannot go on with them; all keep the old ones. */
int tg_dispatch_take_scripts(struct tg_dispatch *d, const struct tg_scripts *scripts,
                             struct tg_error *err);

/* What a batch of intake held is in the journal, cancels included. Cheap; call after each commit.
 */
void tg_dispatch_kick(struct tg_dispatch *d);

/*
 * What may become of a posting, row being what the journal has of it now. Asked for every posting
 * of an object before anything is done to the first one; nothing may run on the loop in between.
 */
enum tg_let_go tg_dispatch_may_cancel(struct tg_dispatch *d, const struct tg_row_posting *row);

/*
 * Superseded, and TG_LET_GO_YES was the answer: forgets it, and loads it no more. The caller writes
 * the mark to CANCELLED in the batch it kicks for. False: it is on its way after all; a bug.
 */
bool tg_dispatch_cancel(struct tg_dispatch *d, int64_t posting);

/* Superseded, and TG_LET_GO_NO was the answer: should it turn out that nothing happened, it is
 * cancelled and not tried again. */
void tg_dispatch_supersede(struct tg_dispatch *d, int64_t posting);

/* A correction looked at this posting and left it as it is. Until the caller kicks for the batch,
 * no person does anything about it. */
void tg_dispatch_leave(struct tg_dispatch *d, int64_t posting);

/* Is it configured, and does its connector take reversals? */
bool tg_dispatch_is_reversible(const struct tg_dispatch *d, uint32_t destination);

/* fn is called whenever marks have come to be on disk; one listener. */
void tg_dispatch_listen(struct tg_dispatch *d, void (*fn)(void *arg), void *arg);

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
                       const char *reason, void (*done)(void *arg), void *arg);
const struct tg_dispatch_pause *tg_dispatch_paused(const struct tg_dispatch *d,
                                                   uint32_t destination);

/*
 * Maintenance windows of the tenants' calendars, whole, in place of those before; taken. A
 * destination in one of them is held like one that a person holds, and let go of in the same way.
 */
void tg_dispatch_take_windows(struct tg_dispatch *d, struct tg_windows *windows);

/* The window a destination is in, or the one that comes next. */
struct tg_dispatch_absence {
    bool known;                /* there is one */
    bool now;                  /* it is in it */
    int64_t from_ms, until_ms; /* wall clock; from: not if now; until INT64_MAX: never ends */
    const char *reason;        /* NULL: none given; until the next tg_dispatch_take_windows */
};
void tg_dispatch_absence(const struct tg_dispatch *d, uint32_t destination,
                         struct tg_dispatch_absence *out);

/* Drains: sends nothing new, waits for what is out, closes connectors, then calls stopped. */
void tg_dispatch_stop(struct tg_dispatch *d, void (*stopped)(void *arg), void *arg);
void tg_dispatch_free(struct tg_dispatch *d); /* after stopped */

void tg_dispatch_stats(const struct tg_dispatch *d, uint32_t destination,
                       struct tg_engine_stats *out);

#endif
