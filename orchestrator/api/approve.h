/*
 * approve.h: what needs a second person, on the loop: asked for by one, done when another one
 * approves it, in one commit with the end of the approval; both are in the audit chain. One that
 * nobody decided in time has expired; it is told so when somebody comes to it.
 *
 * How something else can use it: tg_approvals_ask writes the wish and answers the control with it;
 * execute() in approve.c does it by its verb when it was approved.
 *
 * Ownership: as control.h.
 */
#ifndef TG_API_APPROVE_H
#define TG_API_APPROVE_H

#include "api/perform.h"
#include "journal/approvals.h"

#define TG_APPROVAL_DISCARD "discard" /* what: {"exception": ID} */
#define TG_APPROVAL_REPLAY "replay"   /* what: as a control's body for api/replays.h */

/* Does this need a second person? */
bool tg_approvals_needed(const struct tg_performer *p, const struct tg_control *c);

/* It could be done: writes the wish, and answers {"approval": ID}. what is taken. */
void tg_approvals_ask(const struct tg_performer *p, struct tg_control *c, const char *verb,
                      const char *subject, json_t *what);

/* TG_CONTROL_APPROVE: approval .id, "decision" and "reason" of .body. */
void tg_approvals_decide(const struct tg_performer *p, struct tg_control *c);

#endif
