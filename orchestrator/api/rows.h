/*
 * rows.h: rows of the journal as JSON, once for the API and the commands. Times are RFC 3339 UTC,
 * decimals texts, keys hex; what is not there is null.
 *
 * Ownership: the caller owns what it gets; NULL: out of memory.
 */
#ifndef TG_API_ROWS_H
#define TG_API_ROWS_H

#include <jansson.h>

#include "journal/reconcile.h"
#include "master/catalogue.h"

json_t *tg_json_text(const char *text); /* NULL and "" are null */
json_t *tg_json_time(int64_t ms);       /* 0, and INT64_MAX, are null */
json_t *tg_json_key(const unsigned char key[TG_POSTING_KEY_BYTES]);
json_t *tg_json_micros(int64_t micros); /* "7.5" */
/* What intake, a rule or a destination wrote: JSON mostly, else words. */
json_t *tg_json_any(const char *text);
/* "acme/erp" is "erp" to its own tenant. */
const char *tg_short_destination(const char *destination_id, struct tg_str tenant);

json_t *tg_exception_json(const struct tg_catalogue *catalogue, const struct tg_row_exception *row);
/* Without its payload, which may hold what not everybody may see. */
json_t *tg_posting_json(const struct tg_row_posting *row, struct tg_str tenant);
json_t *tg_attempt_json(const struct tg_row_attempt *row);
json_t *tg_audit_json(const struct tg_audit_row *row);
json_t *tg_reconciled_json(const struct tg_reconciled *row, struct tg_str tenant);

#endif
