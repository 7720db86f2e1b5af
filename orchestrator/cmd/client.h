/*
 * client.h: how a command asks the running `serve` to change something: through api.listen, as
 * NGINX would, with the name of the operating system's user. Whoever may open that socket may do
 * this; its mode is 0660.
 *
 * Ownership: the caller owns *answer (json_decref).
 */
#ifndef TG_CMD_CLIENT_H
#define TG_CMD_CLIENT_H

#include <jansson.h>

#include "core/config.h"

/*
 * body NULL: none. *answer: what came back with 2xx. 0, or -1 with err: nobody listens (start
 * `tallygate serve`), no answer, or the problem's detail.
 */
int tg_client_call(const struct tg_config *config, const char *method, const char *path,
                   const char *tenant, json_t *body, json_t **answer, struct tg_error *err);

/* The tenant a command is about: the one given, or the only one configured. NULL with err. */
const char *tg_client_tenant(const struct tg_config *config, const char *given,
                             struct tg_error *err);

#endif
