/*
 * perform.h: the loop's side of control.h: does what a person asked, and answers once it is on
 * disk.
 *
 * Ownership: the maker owns the parts and outlives the controls.
 */
#ifndef TG_API_PERFORM_H
#define TG_API_PERFORM_H

#include "api/control.h"
#include "api/replays.h"
#include "dispatch/dispatch.h"
#include "intake/intake.h"

struct deciding;
struct tg_live;

struct tg_performer {
    const struct tg_config *config;
    struct tg_dispatch *dispatch;
    struct tg_intake *intake;
    struct tg_live *const *lives; /* one a tenant, same order as config */
    struct tg_replays *replays;
    struct tg_journal *journal;
    struct tg_reader *reader;   /* the loop's */
    struct deciding **deciding; /* approve.c's own: approvals in hand, on the loop */
};

/* For tg_controls_new; arg: a struct tg_performer. */
void tg_perform(void *arg, struct tg_control *c);

/* The part of it that is about exceptions (perform_exception.c). */
void tg_perform_exception(const struct tg_performer *p, struct tg_control *c);

#endif
