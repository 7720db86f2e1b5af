/*
 * control.h: what a person asks the running process to do, from an API thread to the loop and back.
 *
 * How it goes: a thread fills a struct tg_control and waits in tg_control_call; the loop takes it,
 * does it, and answers with tg_control_answer once its change is on disk. Nothing is answered
 * before; a thread that waited in vain says that the outcome is unknown, and the loop goes on with
 * it all the same. So every command must do nothing when it is given a second time.
 *
 * Ownership: tg_control_new gives a control with two owners, the caller and, once it was taken, the
 * loop; each lets go with tg_control_drop, the last one frees it. `result` belongs to the control.
 */
#ifndef TG_API_CONTROL_H
#define TG_API_CONTROL_H

#include <jansson.h>
#include <uv.h>

#include "common/limits.h"
#include "common/problem.h"

enum tg_control_kind {
    TG_CONTROL_DESTINATIONS, /* list: result {"destinations": [...]} */
    TG_CONTROL_PAUSE,        /* .name, .reason */
    TG_CONTROL_RESUME,       /* .name, .reason */
    /* of exception .id; .reason, and what else is in .body, checked: result {changed, made,
       message} */
    TG_CONTROL_ASSIGN,
    TG_CONTROL_REPLAY,
    TG_CONTROL_RESOLVE,
    TG_CONTROL_DISCARD,
    TG_CONTROL_EDIT,
    TG_CONTROL_REPLAYS, /* .reason; .body as api/replays.h says: result {id} */
    TG_CONTROL_APPROVE  /* approval .id; "decision" of .body, .reason: result {changed} */
};

struct tg_control {
    /* the question; not changed once it was called */
    enum tg_control_kind kind;
    char tenant[TG_TENANT_MAX_BYTES + 1];
    char actor[TG_CLIENT_MAX_BYTES + 1]; /* a token's client, or cli:USER */
    char name[TG_SOURCE_NAME_MAX_BYTES + 1];
    int64_t id;
    char reason[TG_REASON_MAX_BYTES + 1];
    json_t *body; /* what the request carried; NULL: nothing. Freed with the control */

    /* the answer, valid after tg_control_call gave TG_CONTROL_ANSWERED */
    bool refused;
    enum tg_problem_code problem; /* refused: why */
    char detail[TG_ERROR_MAX_BYTES];
    json_t *result; /* not refused */

    /* control.c's own */
    struct tg_control *next;
    struct tg_controls *owner;
    unsigned owners;
    bool answered;
};

struct tg_controls;

/* do_it runs on the loop; it must lead to one tg_control_answer or tg_control_refuse, then or
 * later. NULL with err. */
struct tg_controls *tg_controls_new(uv_loop_t *loop, void (*do_it)(void *arg, struct tg_control *c),
                                    void *arg, struct tg_error *err);
/* On the loop. What waits and what comes later is refused; the handle closes with the loop. */
void tg_controls_stop(struct tg_controls *q);
/* The loop is over: who still waits for an answer is told that the outcome is unknown. */
void tg_controls_end(struct tg_controls *q);
/* After the API's threads have ended and the loop too. NULL is fine. */
void tg_controls_free(struct tg_controls *q);

/* NULL: no memory. */
struct tg_control *tg_control_new(enum tg_control_kind kind);
void tg_control_drop(struct tg_control *c);

enum tg_control_wait {
    TG_CONTROL_ANSWERED,
    TG_CONTROL_BUSY, /* TG_CONTROLS_MAX wait already, or the process stops: not done */
    TG_CONTROL_LATE  /* no answer in timeout_ms: the outcome is unknown */
};

/* On an API thread. */
enum tg_control_wait tg_control_call(struct tg_controls *q, struct tg_control *c, int timeout_ms);

/* On the loop, once for each. result is taken (NULL: no memory, told as an internal error). The
 * control may be gone afterwards. */
void tg_control_answer(struct tg_control *c, json_t *result);
void tg_control_refuse(struct tg_control *c, enum tg_problem_code problem, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
