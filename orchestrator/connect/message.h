/*
 * message.h: a request as data before it is sent, made by a script or by the OAuth client, and what
 * fetched credentials grant.
 *
 * Ownership: each struct owns its texts; its _clear wipes what may be secret and frees.
 */
#ifndef TG_CONNECT_MESSAGE_H
#define TG_CONNECT_MESSAGE_H

#include "common/str.h"

/* Headers as "Name: value" lines. */
struct tg_lines {
    char **items;
    size_t count;
};

/* Name and value are copied into one line, which libcurl takes: 0, or -1: no memory. */
int tg_lines_add(struct tg_lines *l, const char *name, const char *value);
bool tg_lines_has(const struct tg_lines *l, const char *name);
void tg_lines_clear(struct tg_lines *l);

struct tg_message {
    char method[16];
    char *target; /* of a script: path and query, or ""; of OAuth: the whole address */
    struct tg_lines headers;
    char *body; /* NULL: none; with NUL */
    size_t body_len;
};
void tg_message_clear(struct tg_message *m);

struct tg_grant {
    struct tg_lines headers;
    int64_t life_ms; /* 0: until the destination refuses it */
};
void tg_grant_clear(struct tg_grant *g);

/* REFUSED: understood and denied; asking again at once would not help. */
enum tg_grant_result { TG_GRANT_OK, TG_GRANT_REFUSED, TG_GRANT_FAILED };

#endif
