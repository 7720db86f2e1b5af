/*
 * answer.h: an HTTP answer as a document for a script:
 *
 *   {status, headers = {name = text}, retry_after_s, json | body}
 *
 * Header names are lower case; of headers that come twice the values are joined by ", ". `json` is
 * the body when it is JSON of a size that rules take; numbers that a decimal cannot hold become
 * texts. Otherwise `body` has the first TG_SCRIPT_BODY_TEXT_MAX_BYTES of it, with ? for what is not
 * visible ASCII.
 *
 * Ownership: the result is the caller's.
 */
#ifndef TG_CONNECT_ANSWER_H
#define TG_CONNECT_ANSWER_H

#include <jansson.h>

#include "connect/http.h"

/* NULL: no memory. */
json_t *tg_answer_document(const struct tg_http_answer *a);

#endif
