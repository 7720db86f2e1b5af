/*
 * idem_key.h: the Idempotency-Key header (draft-ietf-httpapi-idempotency-key-header): a Structured
 * Field string ("..." with \" and \\), or, as most clients send it, the bare value.
 */
#ifndef TG_COMMON_IDEM_KEY_H
#define TG_COMMON_IDEM_KEY_H

#include "common/str.h"

/*
 * 1 to TG_IDEM_KEY_MAX_BYTES printable ASCII after unquoting, written to out (its length to
 * *out_len; no NUL). 0, or -1 when malformed.
 */
int tg_idem_key_parse(struct tg_str header, char out[TG_IDEM_KEY_MAX_BYTES], size_t *out_len);

#endif
