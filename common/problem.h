/*
 * problem.h: every refusal the product can give, once (RFC 9457). docs/reference and tests are
 * checked against this table.
 */
#ifndef TG_COMMON_PROBLEM_H
#define TG_COMMON_PROBLEM_H

#include "common/str.h"

/* X(enumerator, code, status, title) */
#define TG_PROBLEM_TABLE(X)                                                                        \
    X(TOKEN_MISSING, "token_missing", 401, "No access token was sent")                             \
    X(TOKEN_INVALID, "token_invalid", 401, "The access token is not valid here")                   \
    X(TOKEN_MALFORMED, "token_malformed", 400, "The Authorization header is malformed")            \
    X(SCOPE_INSUFFICIENT, "scope_insufficient", 403, "The token lacks a scope")                    \
    X(TYPE_NOT_ALLOWED, "type_not_allowed", 403, "This client may not send this event")            \
    X(SIGNATURE_INVALID, "signature_invalid", 401, "The webhook signature is not valid")           \
    X(TENANT_MISSING, "tenant_missing", 403, "The request names no tenant")                        \
    X(IDEMPOTENCY_KEY_MISSING, "idempotency_key_missing", 400, "An idempotency key is required")   \
    X(IDEMPOTENCY_KEY_INVALID, "idempotency_key_invalid", 400, "The idempotency key is malformed") \
    X(IDEMPOTENCY_IN_FLIGHT, "idempotency_in_flight", 409, "This key is still being processed")    \
    X(IDEMPOTENCY_MISMATCH, "idempotency_mismatch", 422, "This key was used with another payload") \
    X(RATE_LIMITED, "rate_limited", 429, "A rate limit is exhausted")                              \
    X(BODY_TOO_LARGE, "body_too_large", 413, "The body is too large")                              \
    X(BODY_INVALID, "body_invalid", 400, "The body is malformed")                                  \
    X(QUERY_INVALID, "query_invalid", 400, "The query is malformed")                               \
    X(CURSOR_INVALID, "cursor_invalid", 400, "The cursor is not one of this list")                 \
    X(MEDIA_TYPE, "media_type", 415, "This media type is not taken here")                          \
    X(METHOD_NOT_ALLOWED, "method_not_allowed", 405, "This method is not taken here")              \
    X(NOT_FOUND, "not_found", 404, "There is no such thing")                                       \
    X(CONFLICT, "conflict", 409, "This cannot be done as things are")                              \
    X(BACKLOG, "backlog", 503, "The backlog is too long, try again later")                         \
    X(REDIS_UNAVAILABLE, "redis_unavailable", 503, "The event could not be made durable in time")  \
    X(UNAVAILABLE, "unavailable", 503, "The service cannot answer now")                            \
    X(INTERNAL, "internal", 500, "An internal error")

#define TG_PROBLEM_ENUM(name, code, status, title) TG_PROBLEM_##name,
enum tg_problem_code { TG_PROBLEM_TABLE(TG_PROBLEM_ENUM) TG_PROBLEM_COUNT };
#undef TG_PROBLEM_ENUM

struct tg_problem {
    const char *code;
    unsigned status;
    const char *title;
    const char *type; /* urn:tallygate:problem:CODE, or the IANA registered type */
};

/* Never NULL for a valid code. Static storage. */
const struct tg_problem *tg_problem_of(enum tg_problem_code code);

/*
 * Writes the problem document. detail and correlation_id may be empty. extra, when not empty, is
 * further members as JSON text without braces (e.g. "\"violated-policies\":[\"minute\"]").
 * Strings are JSON-escaped; bytes that are not UTF-8 become U+FFFD. Returns the length, or 0 when
 * out_size is too small. out need not be NUL-terminated afterwards.
 */
size_t tg_problem_write(enum tg_problem_code code, struct tg_str detail,
                        struct tg_str correlation_id, struct tg_str extra, char *out,
                        size_t out_size);

#endif
