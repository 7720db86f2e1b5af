/*
 * redis_url.h: where Redis is, as tallygate.yaml says it: "unix:PATH" or "redis://HOST:PORT/DB".
 *
 * Ownership: plain values, nobody owns them.
 */
#ifndef TG_COMMON_REDIS_URL_H
#define TG_COMMON_REDIS_URL_H

#include "common/str.h"

struct tg_redis_url {
    bool is_unix;
    char host[TG_REDIS_HOST_MAX_BYTES + 1]; /* or the path */
    uint16_t port;                          /* 1..65535; default 6379 */
    unsigned db;                            /* 0..255; default 0 */
};

/*
 * User and password in the address are refused: they belong into redis.user and
 * redis.password_file, where no process list and no log shows them. 0, or -1 with what is accepted.
 */
int tg_redis_url_parse(struct tg_str text, struct tg_redis_url *out, struct tg_error *err);

#endif
