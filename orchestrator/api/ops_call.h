/*
 * ops_call.h: what the calls of /v1/ops that change something share: a request becomes a control
 * (control.h), and waits for its answer.
 *
 * Ownership: the caller drops the control (tg_control_drop).
 */
#ifndef TG_API_OPS_CALL_H
#define TG_API_OPS_CALL_H

#include "api/control.h"
#include "api/handlers.h"

/* A control of this kind, by the request's tenant and client. NULL: the reply is made. */
struct tg_control *tg_ops_control(const struct tg_api_request *rq, enum tg_control_kind kind,
                                  struct tg_reply *out);

/* Has it done. True: c->result is there; false: it is not, and the reply says why. */
bool tg_ops_call(struct tg_api_context *ctx, const struct tg_api_request *rq, struct tg_control *c,
                 struct tg_reply *out);

/* A member of a body: not there, or one line of 1 to max bytes that says something: not of blanks
 * alone. */
bool tg_ops_is_text(const json_t *value, size_t max);

#endif
