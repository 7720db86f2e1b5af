/*
 * listen.h: the API's listening socket. A unix socket of mode 0660, or loopback TCP; nothing else,
 * because identity comes in headers that only NGINX may set.
 *
 * Ownership: tg_listen_open hands the caller a descriptor; tg_listen_close closes it and removes
 * the socket file, if it is still the one that was made.
 */
#ifndef TG_API_LISTEN_H
#define TG_API_LISTEN_H

#include <sys/types.h>

#include "common/str.h"

struct tg_listen {
    bool is_unix;
    char path[TG_LISTEN_PATH_MAX_BYTES + 1]; /* unix */
    bool is_ipv6;
    uint32_t ipv4; /* host order, 127.0.0.0/8 */
    uint16_t port; /* 1..65535 */
    dev_t device;  /* of the socket file made; 0 before */
    ino_t inode;
};

/* "unix:PATH", "127.0.0.1:PORT" or "[::1]:PORT". 0, or -1 with what is accepted. */
int tg_listen_parse(struct tg_str text, struct tg_listen *out, struct tg_error *err);

/*
 * Binds and listens. A socket file nobody answers on is removed first; one that answers, or a file
 * that is no socket, is an error. The descriptor (close-on-exec, non-blocking), or -1.
 */
int tg_listen_open(struct tg_listen *l, struct tg_error *err);
void tg_listen_close(struct tg_listen *l, int fd);

#endif
