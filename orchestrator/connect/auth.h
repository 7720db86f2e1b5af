/*
 * auth.h: what one destination is told about who we are, as headers.
 *
 *   none      nothing
 *   basic     user and password_file        bearer   token_file
 *   api_key   api_key_file, api_key_header
 *   oauth2    a token by client credentials  session  a script's log-in
 *
 * Secrets come from files and are read again when those change. Tokens and sessions are fetched
 * once for all who wait (single flight), renewed TG_AUTH_RENEW_MS before their end while the old
 * one is used on, and dropped when the destination answers 401. A refused log-in is not tried again
 * before a backoff, unless its secret file changed: accounts get locked.
 *
 * All on the loop thread.
 *
 * Ownership: configuration, site and http outlive it; a wait belongs to who waits, and must be left
 * (tg_auth_leave) before its memory goes.
 */
#ifndef TG_CONNECT_AUTH_H
#define TG_CONNECT_AUTH_H

#include "connect/http.h"
#include "connect/message.h"
#include "core/config.h"
#include "core/engine.h"

struct tg_auth;

/* The log-in of a script: what to send, and how to read the answer. */
struct tg_auth_login {
    /* password is to be put into the message and forgotten; target is the whole address. */
    int (*request)(void *arg, const char *password, struct tg_message *out, struct tg_error *err);
    enum tg_grant_result (*answer)(void *arg, const struct tg_http_answer *a, struct tg_grant *out,
                                   struct tg_error *err);
    void *arg;
};

struct tg_auth_options {
    uv_loop_t *loop;
    struct tg_http *http;
    const struct tg_http_site *site;
    const struct tg_config_destination *config;
    const char *kind;                  /* as in the configuration; "session" needs login */
    const struct tg_auth_login *login; /* copied; NULL: the script has none */
};

/* Why there are no credentials: nothing was sent. */
struct tg_auth_failure {
    enum tg_outcome outcome; /* DOWN or THROTTLED */
    int64_t retry_after_ms;
    const char *detail; /* without secrets */
};

struct tg_auth_wait {
    struct tg_auth_wait *next, **link; /* link NULL: does not wait */
    struct tg_auth *auth;
    /* failure NULL: tg_auth_get again. Never from inside tg_auth_get. */
    void (*done)(struct tg_auth_wait *w, const struct tg_auth_failure *failure);
};

/* What `check` and the start complain about: keys that a kind needs and lacks. 0, or -1 with err.
 */
int tg_auth_check(const struct tg_config_destination *d, const char *kind, struct tg_error *err);

/* NULL with err. Secret files are looked at when they are first needed. */
struct tg_auth *tg_auth_new(const struct tg_auth_options *o, struct tg_error *err);
void tg_auth_free(struct tg_auth *a); /* nobody may wait */

/* False with kind none: then a 401 is for the script to read. */
bool tg_auth_has_credentials(const struct tg_auth *a);

enum tg_auth_now { TG_AUTH_READY, TG_AUTH_WAITS, TG_AUTH_FAILED };

/*
 * READY: *lines are to be sent (borrowed, until the next call), *generation names them. WAITS: w is
 * in line. FAILED: *failure says why (borrowed likewise).
 */
enum tg_auth_now tg_auth_get(struct tg_auth *a, struct tg_auth_wait *w,
                             const struct tg_lines **lines, unsigned *generation,
                             struct tg_auth_failure *failure);
void tg_auth_leave(struct tg_auth_wait *w);

/* The destination answered 401 to a request with those lines. True: other ones can be had, and the
 * request, which was not executed, is worth sending once more. */
bool tg_auth_refused(struct tg_auth *a, unsigned generation);

/* Puts *** where a secret of this destination stands in a text. */
void tg_auth_scrub(const struct tg_auth *a, char *text);

#endif
