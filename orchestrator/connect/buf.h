/*
 * buf.h: bytes that grow up to a maximum given at the start.
 *
 * Ownership: whoever initialised it calls tg_buf_free. After a failed append the content is what it
 * was before.
 */
#ifndef TG_CONNECT_BUF_H
#define TG_CONNECT_BUF_H

#include "common/str.h"

struct tg_buf {
    char *data; /* NULL while nothing was appended; not NUL-terminated */
    size_t len, cap, max;
};

void tg_buf_init(struct tg_buf *b, size_t max_bytes);
void tg_buf_free(struct tg_buf *b);
void tg_buf_clear(struct tg_buf *b); /* keeps the memory */

/* 0, or -1: over the maximum or no memory. */
int tg_buf_append(struct tg_buf *b, struct tg_str s);
int tg_buf_append_c(struct tg_buf *b, const char *s);
int tg_buf_append_char(struct tg_buf *b, char c);

struct tg_str tg_buf_view(const struct tg_buf *b);

#endif
