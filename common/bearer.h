/*
 * bearer.h: the Authorization header (RFC 6750 section 2.1).
 */
#ifndef TG_COMMON_BEARER_H
#define TG_COMMON_BEARER_H

#include "common/str.h"

enum tg_bearer_result {
    TG_BEARER_OK,
    TG_BEARER_MISSING,   /* no header, or another scheme: 401 without error */
    TG_BEARER_MALFORMED, /* "Bearer", "Bearer a b", bytes outside b68token: 400 invalid_request */
    TG_BEARER_TOO_LARGE  /* over TG_TOKEN_MAX_BYTES: 401 invalid_token */
};

/* header is the value only. The scheme is case-insensitive. *token views into header. */
enum tg_bearer_result tg_bearer_parse(struct tg_str header, struct tg_str *token);

#endif
