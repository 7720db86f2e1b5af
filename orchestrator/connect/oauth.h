/*
 * oauth.h: the client credentials grant (RFC 6749, 4.4) as pure functions: what is asked, and what
 * an answer grants.
 *
 * Ownership: what they fill is the caller's, ended by its _clear.
 */
#ifndef TG_CONNECT_OAUTH_H
#define TG_CONNECT_OAUTH_H

#include "connect/http.h"
#include "connect/message.h"
#include "core/config.h"

/*
 * The body (application/x-www-form-urlencoded) and, unless client_auth is `post`, the Authorization
 * header (RFC 6749, 2.3.1: both parts form-encoded first). 0, or -1 with err.
 */
int tg_oauth_request(const struct tg_config_destination *d, const char *client_secret,
                     struct tg_message *out, struct tg_error *err);

/*
 * A token: its header and its life; without expires_in TG_OAUTH_LIFE_DEFAULT_MS. Otherwise
 * TG_GRANT_REFUSED (it was understood and denied: asking again at once would not help) or
 * TG_GRANT_FAILED, with err, which holds the error code of RFC 6749 and never the answer's text.
 */
enum tg_grant_result tg_oauth_answer(const struct tg_http_answer *a, struct tg_grant *out,
                                     struct tg_error *err);

#endif
