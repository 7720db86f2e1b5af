#include "api/cursor.h"

#include <string.h>

#include "common/codec.h"
#include "common/digest.h"

#define FORM 1 /* first byte of every cursor */
#define MAC_BYTES 16
#define HEAD_BYTES (1 + MAC_BYTES)
#define LENGTH_BYTES 4
#define PIECES_MAX (2 * (2 * TG_API_ARGS_MAX + 3))

/* Each part behind its length, so that nothing can move from one part into the next. */
struct pieces {
    struct tg_str parts[PIECES_MAX];
    unsigned char lengths[PIECES_MAX / 2][LENGTH_BYTES];
    size_t count;
};

static void add(struct pieces *p, struct tg_str part)
{
    unsigned char *length = p->lengths[p->count / 2];
    const size_t len = part.data != NULL ? part.len + 1 : 0; /* 0: not given */

    for (size_t i = 0; i < LENGTH_BYTES; i++) {
        length[i] = (unsigned char)(len >> (8 * (LENGTH_BYTES - 1 - i)));
    }
    p->parts[p->count++] = (struct tg_str){length, LENGTH_BYTES};
    p->parts[p->count++] = part.data != NULL ? part : (struct tg_str){length, 0};
}

static int mac_of(const struct tg_cursor_of *of, struct tg_str place,
                  unsigned char out[TG_SHA256_BYTES])
{
    struct pieces p = {.count = 0};

    if (of->count > TG_API_ARGS_MAX) {
        return -1;
    }
    add(&p, tg_str_of(of->list));
    add(&p, of->tenant);
    for (size_t i = 0; i < of->count; i++) {
        add(&p, tg_str_of(of->names[i]));
        add(&p, of->values[i]);
    }
    add(&p, place);
    return tg_hmac_sha256v(of->key, p.parts, p.count, out);
}

int tg_cursor_write(const struct tg_cursor_of *of, const char *place,
                    char out[TG_CURSOR_MAX_BYTES + 1])
{
    unsigned char raw[HEAD_BYTES + TG_CURSOR_PLACE_MAX_BYTES], mac[TG_SHA256_BYTES];
    const size_t len = strlen(place);

    if (len == 0 || len > TG_CURSOR_PLACE_MAX_BYTES || mac_of(of, tg_str_of(place), mac) != 0) {
        return -1;
    }
    raw[0] = FORM;
    memcpy(raw + 1, mac, MAC_BYTES);
    memcpy(raw + HEAD_BYTES, place, len);
    return tg_base64url_encode(raw, HEAD_BYTES + len, out, TG_CURSOR_MAX_BYTES + 1) > 0 ? 0 : -1;
}

int tg_cursor_read(const struct tg_cursor_of *of, struct tg_str text,
                   char place[TG_CURSOR_PLACE_MAX_BYTES + 1])
{
    unsigned char raw[HEAD_BYTES + TG_CURSOR_PLACE_MAX_BYTES], mac[TG_SHA256_BYTES];
    const int len = tg_base64url_decode(text, raw, sizeof(raw));
    struct tg_str at;

    if (len <= HEAD_BYTES || raw[0] != FORM) {
        return 1;
    }
    at = (struct tg_str){raw + HEAD_BYTES, (size_t)len - HEAD_BYTES};
    if (mac_of(of, at, mac) != 0) {
        return -1;
    }
    if (!tg_equal_ct(raw + 1, mac, MAC_BYTES) || memchr(at.data, '\0', at.len) != NULL) {
        return 1;
    }
    memcpy(place, at.data, at.len);
    place[at.len] = '\0';
    return 0;
}
