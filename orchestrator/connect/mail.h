/*
 * mail.h: one mail to an SMTP server, through libcurl. Blocking: for libuv's pool, never the loop.
 *
 * The address is checked as http.h does: one that is not public, or that is reached without TLS,
 * must be in the allow-list. With several recipients one that the server refuses does not keep the
 * mail from the others; the warning says so.
 *
 * Ownership: everything is borrowed for the call. tg_mail_global is called once, before threads.
 */
#ifndef TG_CONNECT_MAIL_H
#define TG_CONNECT_MAIL_H

#include "connect/address.h"

enum tg_mail_tls {
    TG_MAIL_TLS_REQUIRED, /* STARTTLS, or smtps:// */
    TG_MAIL_TLS_OFFERED,  /* STARTTLS when the server offers it */
    TG_MAIL_TLS_OFF
};

struct tg_mail_server {
    const char *url;                  /* smtp://HOST[:PORT] or smtps://HOST[:PORT] */
    const char *user, *password_file; /* NULL: no log-in; the file is read each time */
    enum tg_mail_tls tls;
    const char *ca_file;           /* NULL: the system's */
    const struct tg_prefix *allow; /* as struct tg_http_site */
    size_t allow_count;
    const _Atomic bool *stop; /* set by another thread: give up soon; NULL: never */
};

struct tg_mail {
    const char *from; /* envelope */
    const char *const *to;
    size_t to_count;
    struct tg_str message; /* headers and text, lines end with CRLF */
};

/* libcurl's own start. 0 or -1. */
int tg_mail_global(void);

/* smtp:// or smtps://, a host, maybe a port; nothing of user, path or query. 0 or -1. */
int tg_mail_url_check(struct tg_str url, struct tg_error *err);
/* local@domain, printable, without what could end a header or an address. */
bool tg_mail_is_address(struct tg_str text);

/* 0: the server took it, err then holds a warning or is empty; -1 with err. */
int tg_mail_send(const struct tg_mail_server *s, const struct tg_mail *m, struct tg_error *err);

#endif
