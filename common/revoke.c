#include "common/revoke.h"

#include <string.h>

#include "common/codec.h"

#define SEPARATOR '|'
#define ESCAPE '%'

static const char *const kinds[TG_REVOKE_KINDS] = {
    [TG_REVOKE_JTI] = "jti", [TG_REVOKE_SUB] = "sub", [TG_REVOKE_CLIENT] = "client"};

const char *tg_revoke_kind_name(enum tg_revoke_kind kind)
{
    return kinds[kind];
}

bool tg_revoke_kind_of(struct tg_str name, enum tg_revoke_kind *out)
{
    for (int i = 0; i < TG_REVOKE_KINDS; i++) {
        if (tg_str_equal_c(name, kinds[i])) {
            *out = (enum tg_revoke_kind)i;
            return true;
        }
    }
    return false;
}

static bool is_plain(unsigned char c)
{
    return c > 0x20 && c < 0x7f && c != SEPARATOR && c != ESCAPE;
}

/* The maxima leave room for every part with each byte escaped. */
static void put(struct tg_revoke_member *m, struct tg_str part)
{
    static const char digits[] = "0123456789ABCDEF";

    for (size_t i = 0; i < part.len; i++) {
        const unsigned char c = part.data[i];

        if (is_plain(c)) {
            m->text[m->len++] = (char)c;
        } else {
            m->text[m->len++] = ESCAPE;
            m->text[m->len++] = digits[c >> 4];
            m->text[m->len++] = digits[c & 15];
        }
    }
}

int tg_revoke_member(struct tg_str tenant, enum tg_revoke_kind kind, struct tg_str issuer,
                     struct tg_str value, struct tg_revoke_member *out)
{
    const struct tg_str parts[] = {tenant, tg_str_of(kinds[kind]), issuer, value};

    if (tenant.len > TG_TENANT_MAX_BYTES || issuer.len == 0 ||
        issuer.len > TG_ISSUER_NAME_MAX_BYTES || value.len == 0 ||
        value.len > TG_REVOKE_VALUE_MAX_BYTES) {
        return -1;
    }
    out->len = 0;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (i > 0) {
            out->text[out->len++] = SEPARATOR;
        }
        put(out, parts[i]);
    }
    out->text[out->len] = '\0';
    return 0;
}

/* Up to the separator or the end; *rest is moved behind it. Bytes written without NUL, or -1. */
static int take(struct tg_str *rest, bool last, char *out, size_t out_size)
{
    size_t used = 0, i = 0;

    while (i < rest->len && rest->data[i] != SEPARATOR) {
        unsigned char c = rest->data[i];

        if (c == ESCAPE) {
            const struct tg_str hex = {rest->data + i + 1, 2};

            /* lower case is another spelling, and so is an escape that is not needed */
            if (rest->len - i < 3 || hex.data[0] > 'F' || hex.data[1] > 'F' ||
                tg_hex_decode(hex, &c, 1) != 1 || is_plain(c)) {
                return -1;
            }
            i += 3;
        } else if (is_plain(c)) {
            i++;
        } else {
            return -1;
        }
        if (c == '\0' || used + 1 >= out_size) {
            return -1;
        }
        out[used++] = (char)c;
    }
    if (last ? i != rest->len : i == rest->len) {
        return -1;
    }
    out[used] = '\0';
    rest->data += last ? i : i + 1;
    rest->len -= last ? i : i + 1;
    return (int)used;
}

int tg_revoke_parse(struct tg_str member, struct tg_revoke_parts *out)
{
    char kind[16];

    if (take(&member, false, out->tenant, sizeof(out->tenant)) < 0 ||
        take(&member, false, kind, sizeof(kind)) < 0 ||
        !tg_revoke_kind_of(tg_str_of(kind), &out->kind) ||
        take(&member, false, out->issuer, sizeof(out->issuer)) <= 0 ||
        take(&member, true, out->value, sizeof(out->value)) <= 0) {
        return -1;
    }
    return 0;
}

bool tg_revoke_concerns(enum tg_revoke_kind kind, int64_t until_s, int64_t revoked_at_s,
                        int64_t iat_s, int64_t now_s)
{
    if (until_s <= now_s) {
        return false;
    }
    return kind == TG_REVOKE_JTI || revoked_at_s <= 0 || iat_s <= revoked_at_s;
}
