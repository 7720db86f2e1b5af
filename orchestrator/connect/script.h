/*
 * script.h: what a connector written as a script says, without connect/ knowing the language.
 *
 * A script is pure: it makes requests as data and reads answers as data. It never sees a secret and
 * never sends anything. rules/scripts.c implements the calls (Lua); this file checks what comes
 * back, so that a script's mistake is an error and never half a request.
 *
 * Functions of a script, by name; JSON in, JSON out (docs/reference/rules.md has it for authors):
 *
 *   about(ctx)                           {dedupe, ttl_s, max_execution_s, reversible}
 *   request|reverse|lookup(posting, ctx) a request, or {prepare = {{name, request...}, ...}}
 *   learn(response, name, ctx)           {value} for a prepared request, or a verdict
 *   classify(response, posting, ctx)     a verdict
 *   found(response, posting, ctx)        {lookup = found|absent|unknown, ref, detail}
 *   login(ctx)                           a request
 *   session(response, ctx)               {headers, ttl_s}, or {refused = "why"}
 *
 * Ownership: a version is reference counted; JSON results belong to the caller, and so does what is
 * read from them.
 */
#ifndef TG_CONNECT_SCRIPT_H
#define TG_CONNECT_SCRIPT_H

#include <jansson.h>

#include "connect/message.h"
#include "core/engine.h"

/* One version of all scripts. Used by one thread. */
struct tg_script_version;

struct tg_script_ops {
    struct tg_script_version *(*ref)(struct tg_script_version *v);
    void (*unref)(struct tg_script_version *v);
    /* Is there a connector of that name, and has it that function (NULL: never mind)? */
    bool (*has)(struct tg_script_version *v, const char *connector, const char *function);
    /* args: array. NULL with err: the script raised, ran too long, or gave no JSON. */
    json_t *(*call)(struct tg_script_version *v, const char *connector, const char *function,
                    const json_t *args, struct tg_error *err);
    /* "http-json, tryton" for messages. */
    void (*names)(struct tg_script_version *v, char *out, size_t out_size);
};

struct tg_scripts {
    const struct tg_script_ops *ops; /* NULL: there are none */
    struct tg_script_version *version;
};

/* ---- about ---- */

struct tg_script_about {
    enum tg_dedupe dedupe;
    int64_t ttl_ms;           /* IDEMPOTENCY: how long the destination knows a key; else 0 */
    int64_t max_execution_ms; /* how long a request may go on there after we gave up */
    bool reversible;
};

int tg_script_read_about(const json_t *from, struct tg_script_about *out, struct tg_error *err);

/* ---- requests ---- */

/*
 * {method, path, query = {name = text}, headers = {name = text}, json = any | form = {name = text}
 * | body = text}. Unknown members, two bodies, headers of connect/'s own, an unusable path: -1 with
 * err. Content-Type follows the kind of body unless a header says otherwise. Where a text of json
 * or form is exactly TG_SCRIPT_PASSWORD, password is sent in its place (NULL: it is a text like any
 * other). out is cleared on error.
 */
#define TG_SCRIPT_PASSWORD "{{password}}"
int tg_script_read_request(const json_t *from, const char *password, struct tg_message *out,
                           struct tg_error *err);

/* The list of {prepare = ...}, NULL: it is no such answer. Borrowed. */
const json_t *tg_script_prepare_list(const json_t *from);
/* The name of one item; NULL with err: it has none that fits. */
const char *tg_script_prepare_name(const json_t *item, struct tg_error *err);

/* ---- verdicts ---- */

struct tg_script_verdict {
    enum tg_outcome outcome;
    char ref[TG_CONNECT_REF_MAX_BYTES];       /* "" none */
    char detail[TG_CONNECT_DETAIL_MAX_BYTES]; /* cut if longer */
    char code[TG_CODE_MAX_BYTES];             /* REJECTED: of the catalogue; "" none */
    int64_t retry_after_ms;                   /* 0: none said */
    bool forget;                              /* what was learned for this posting is out of date */
};

/*
 * {outcome = posted|rejected|retry|in_doubt|throttled, ref, detail, code, retry_after_s, forget}.
 * Only `posted` may have a ref, only `rejected` a code, only `retry` and `throttled` a
 * retry_after_s. 0, or -1 with err.
 */
int tg_script_read_verdict(const json_t *from, struct tg_script_verdict *out, struct tg_error *err);

struct tg_script_found {
    enum tg_lookup lookup; /* FOUND, ABSENT or UNKNOWN */
    char ref[TG_CONNECT_REF_MAX_BYTES];
    char detail[TG_CONNECT_DETAIL_MAX_BYTES];
};
int tg_script_read_found(const json_t *from, struct tg_script_found *out, struct tg_error *err);

/* What learn() gave: the value (borrowed), or NULL and a verdict other than `posted`. */
int tg_script_read_learned(const json_t *from, const json_t **value,
                           struct tg_script_verdict *verdict, struct tg_error *err);

/* TG_GRANT_OK; REFUSED with err = what the script says; FAILED: it gave neither. */
enum tg_grant_result tg_script_read_session(const json_t *from, struct tg_grant *out,
                                            struct tg_error *err);

/* Checks the result of any function of the list above by its name, for fixtures. */
int tg_script_check_result(const char *function, const json_t *result, struct tg_error *err);

#endif
