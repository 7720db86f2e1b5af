#include "common/keys.h"

#include <string.h>

#include "common/digest.h"

#define PARTS_MAX 5

/* PREFIX:{sNN}:TAIL, then the binary digest when there is one. */
static int key_write(struct tg_key *out, struct tg_str prefix, unsigned shard, const char *tail,
                     const unsigned char *digest)
{
    struct tg_str rest = tg_str_of(tail);
    size_t at;

    if (prefix.len == 0 || prefix.len > TG_PREFIX_MAX_BYTES || shard >= TG_SHARD_COUNT_MAX) {
        return -1;
    }
    memcpy(out->data, prefix.data, prefix.len);
    at = prefix.len;
    memcpy(out->data + at, ":{s", 3);
    at += 3;
    out->data[at++] = (unsigned char)('0' + shard / 10);
    out->data[at++] = (unsigned char)('0' + shard % 10);
    memcpy(out->data + at, "}:", 2);
    at += 2;
    memcpy(out->data + at, rest.data, rest.len);
    at += rest.len;
    if (digest != NULL) {
        memcpy(out->data + at, digest, TG_IDEM_DIGEST_BYTES);
        at += TG_IDEM_DIGEST_BYTES;
    }
    out->len = at;
    return 0;
}

int tg_key_events(struct tg_key *out, struct tg_str prefix, unsigned shard)
{
    return key_write(out, prefix, shard, "events", NULL);
}

int tg_key_meta(struct tg_key *out, struct tg_str prefix, unsigned shard)
{
    return key_write(out, prefix, shard, "meta", NULL);
}

int tg_key_idem(struct tg_key *out, struct tg_str prefix, unsigned shard,
                const unsigned char digest[TG_IDEM_DIGEST_BYTES])
{
    return key_write(out, prefix, shard, "idem:", digest);
}

int tg_key_rate(struct tg_key *out, struct tg_str prefix, unsigned shard,
                const unsigned char digest[TG_IDEM_DIGEST_BYTES])
{
    return key_write(out, prefix, shard, "rate:", digest);
}

/* SHA-256 of the parts, each behind its length, cut to TG_IDEM_DIGEST_BYTES. */
static int scoped_digest(const struct tg_str *parts, size_t n,
                         unsigned char out[TG_IDEM_DIGEST_BYTES])
{
    unsigned char lengths[PARTS_MAX][4];
    unsigned char full[TG_SHA256_BYTES];
    struct tg_str pieces[2 * PARTS_MAX];

    for (size_t i = 0; i < n; i++) {
        if (parts[i].len > UINT32_MAX) {
            return -1;
        }
        lengths[i][0] = (unsigned char)(parts[i].len >> 24);
        lengths[i][1] = (unsigned char)(parts[i].len >> 16);
        lengths[i][2] = (unsigned char)(parts[i].len >> 8);
        lengths[i][3] = (unsigned char)parts[i].len;
        pieces[2 * i].data = lengths[i];
        pieces[2 * i].len = sizeof(lengths[i]);
        pieces[2 * i + 1] = parts[i];
    }
    if (tg_sha256v(pieces, 2 * n, full) != 0) {
        return -1;
    }
    memcpy(out, full, TG_IDEM_DIGEST_BYTES);
    return 0;
}

int tg_idem_digest(struct tg_str tenant, struct tg_str client, struct tg_str method,
                   struct tg_str route, struct tg_str key, unsigned char out[TG_IDEM_DIGEST_BYTES])
{
    const struct tg_str parts[] = {tenant, client, method, route, key};

    return scoped_digest(parts, sizeof(parts) / sizeof(parts[0]), out);
}

int tg_rate_digest(struct tg_str name, struct tg_str tenant, struct tg_str key,
                   unsigned char out[TG_IDEM_DIGEST_BYTES])
{
    const struct tg_str parts[] = {name, tenant, key};

    return scoped_digest(parts, sizeof(parts) / sizeof(parts[0]), out);
}
