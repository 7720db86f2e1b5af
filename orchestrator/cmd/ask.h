/*
 * ask.h: one request to a process of this machine, as NGINX or a probe would make it. Blocking: the
 * caller is a command that has nothing else to do.
 *
 * No proxy, no redirect, HTTP alone; what the environment says about proxies is not listened to.
 *
 * Ownership: the caller owns the question, and the answer's body, to be ended with tg_answer_free.
 */
#ifndef TG_CMD_ASK_H
#define TG_CMD_ASK_H

#include "api/listen.h"
#include "common/str.h"

enum tg_asked {
    TG_ASKED_ANSWERED, /* an answer was read to its end, whatever its status */
    TG_ASKED_NOBODY,   /* no connection: nothing was sent */
    TG_ASKED_LATE,     /* no whole answer in time: it may have been done */
    TG_ASKED_FAILED    /* anything else; it may have been done */
};

struct tg_ask {
    struct tg_listen where;     /* a unix socket or loopback */
    const char *method;         /* NULL: GET */
    const char *path;           /* begins with a slash */
    const char *const *headers; /* "Name: value", NULL ends; NULL: none */
    const char *body;           /* NULL: none */
    long timeout_ms;            /* of the whole: connect, ask, answer */
    size_t body_max_bytes;      /* kept of the answer */
};

struct tg_answer {
    long status;  /* of HTTP */
    char *body;   /* its beginning, with a NUL; never NULL once answered */
    size_t len;   /* of what was kept */
    bool is_more; /* there was more than that */
};

/* err is set for all but ANSWERED. */
enum tg_asked tg_ask(const struct tg_ask *question, struct tg_answer *out, struct tg_error *err);

void tg_answer_free(struct tg_answer *answer);

#endif
