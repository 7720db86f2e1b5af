/*
 * replays.h: many exceptions replayed at one wish, on the loop. Each item is what a single replay
 * is (dispatch/people.h; of an event, intake/again.h), with the same checks in the same commit: one
 * that was closed meanwhile, or that may not be replayed, is told and counted, and changes nothing.
 *
 * How it goes: the items are on disk before the first is touched. TG_REPLAY_SLICE of them are
 * asked for at once; when all are answered, the place is noted, and after that commit the next
 * slice begins. So one replay never fills the queues of people, and a process that dies goes on
 * from the last place: at most a slice is asked for twice, which changes nothing. Replays run one
 * after the other.
 *
 * Ownership: the maker owns it; dispatch, intake and journal outlive its stop.
 */
#ifndef TG_API_REPLAYS_H
#define TG_API_REPLAYS_H

#include <jansson.h>
#include <uv.h>

#include "api/control.h"
#include "dispatch/dispatch.h"
#include "intake/intake.h"
#include "journal/journal.h"

struct tg_replays;

struct tg_replays_parts {
    uv_loop_t *loop;
    struct tg_dispatch *dispatch;
    struct tg_intake *intake;
    struct tg_journal *journal;
};

/* Reads what goes on from the journal. NULL with err. */
struct tg_replays *tg_replays_new(const struct tg_replays_parts *parts, struct tg_reader *r,
                                  struct tg_error *err);
/* What is to be begun. Views and JSON are the caller's. */
struct tg_replays_wish {
    const char *tenant, *actor, *reason, *token;
    const json_t *filter, *items; /* an object; a list of exceptions.id */
    int64_t approval;             /* that allows it, and ends in the same commit; 0: none */
    const char *second, *said;    /* who approved it, and why */
    /* Once, on the loop, maybe before the call returns: the id after the commit, or 0 and why not.
     */
    void (*done)(void *arg, int64_t id, const char *why);
    void *arg;
};

/* One that goes on with that token already is not begun again: done has its id. */
void tg_replays_begin(struct tg_replays *r, const struct tg_replays_wish *wish);
/* The same for a control whose body is {"filter", "items", "token"}; answered with {"id": n}. */
void tg_replays_start(struct tg_replays *r, struct tg_control *c);
/* Nothing new is begun; what is asked for is answered, and not counted. Its handle closes. */
void tg_replays_stop(struct tg_replays *r);
/* After the loop. NULL is fine. */
void tg_replays_free(struct tg_replays *r);

#endif
