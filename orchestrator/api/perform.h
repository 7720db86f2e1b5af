/*
 * perform.h: the loop's side of control.h: does what a person asked, and answers once it is on
 * disk.
 *
 * Ownership: the maker owns the parts and outlives the controls.
 */
#ifndef TG_API_PERFORM_H
#define TG_API_PERFORM_H

#include "api/control.h"
#include "dispatch/dispatch.h"

struct tg_performer {
    const struct tg_config *config;
    struct tg_dispatch *dispatch;
};

/* For tg_controls_new; arg: a struct tg_performer. */
void tg_perform(void *arg, struct tg_control *c);

#endif
