/*
 * ask.h: one GET to a process of this machine, as NGINX or a probe would ask it. Blocking; the
 * caller is a command that has nothing else to do.
 *
 * No proxy, no redirect, HTTP alone. What the environment says about proxies is not listened to.
 *
 * Ownership: the caller owns question and answer; nothing is kept.
 */
#ifndef TG_CMD_ASK_H
#define TG_CMD_ASK_H

#include "api/listen.h"
#include "common/str.h"

struct tg_ask {
    struct tg_listen where; /* a unix socket or loopback */
    const char *path;       /* begins with a slash */
    long timeout_ms;        /* of the whole: connect, ask, answer */
};

struct tg_answer {
    long status;                          /* of HTTP */
    char body[TG_ASK_BODY_MAX_BYTES + 1]; /* its beginning, with a NUL */
    size_t len;
};

/* 0 once an answer was read to its end, whatever its status; -1 with err: none came. */
int tg_ask(const struct tg_ask *question, struct tg_answer *out, struct tg_error *err);

#endif
