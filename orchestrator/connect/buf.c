#include "connect/buf.h"

#include <stdlib.h>
#include <string.h>

void tg_buf_init(struct tg_buf *b, size_t max_bytes)
{
    *b = (struct tg_buf){.max = max_bytes};
}

void tg_buf_free(struct tg_buf *b)
{
    free(b->data);
    *b = (struct tg_buf){.max = b->max};
}

void tg_buf_clear(struct tg_buf *b)
{
    b->len = 0;
}

static int grow(struct tg_buf *b, size_t need)
{
    size_t cap = b->cap != 0 ? b->cap : 256;
    char *data;

    while (cap < need) {
        cap = cap > b->max / 2 ? b->max : cap * 2;
    }
    data = realloc(b->data, cap);
    if (data == NULL) {
        return -1;
    }
    b->data = data;
    b->cap = cap;
    return 0;
}

int tg_buf_append(struct tg_buf *b, struct tg_str s)
{
    if (s.len == 0) {
        return 0;
    }
    if (s.len > b->max || b->len > b->max - s.len) {
        return -1;
    }
    if (b->len + s.len > b->cap && grow(b, b->len + s.len) != 0) {
        return -1;
    }
    memcpy(b->data + b->len, s.data, s.len);
    b->len += s.len;
    return 0;
}

int tg_buf_append_c(struct tg_buf *b, const char *s)
{
    return tg_buf_append(b, tg_str_of(s));
}

int tg_buf_append_char(struct tg_buf *b, char c)
{
    return tg_buf_append(b, (struct tg_str){(const unsigned char *)&c, 1});
}

struct tg_str tg_buf_view(const struct tg_buf *b)
{
    return (struct tg_str){(const unsigned char *)b->data, b->len};
}
