/*
 * keys.h: the names of every Redis key. All keys of one decision share the hash tag {sNN}.
 *
 *   PREFIX:{s07}:events            stream of accepted events, group TG_STREAM_GROUP
 *   PREFIX:{s07}:idem:<16 bytes>   idempotency record, expires (binary tail)
 *   PREFIX:{s07}:rate:<16 bytes>   one GCRA theoretical arrival time in microseconds, expires
 *   PREFIX:{s07}:meta              contract version, shard count, hash name; id of the journal
 *
 * Ownership: keys are written into the caller's struct; nothing is allocated.
 */
#ifndef TG_COMMON_KEYS_H
#define TG_COMMON_KEYS_H

#include "common/str.h"

struct tg_key {
    unsigned char data[TG_KEY_MAX_BYTES];
    size_t len;
};

/* Each returns 0, or -1 when prefix is empty or too long or the shard too large. */
int tg_key_events(struct tg_key *out, struct tg_str prefix, unsigned shard);
int tg_key_meta(struct tg_key *out, struct tg_str prefix, unsigned shard);
int tg_key_idem(struct tg_key *out, struct tg_str prefix, unsigned shard,
                const unsigned char digest[TG_IDEM_DIGEST_BYTES]);
int tg_key_rate(struct tg_key *out, struct tg_str prefix, unsigned shard,
                const unsigned char digest[TG_IDEM_DIGEST_BYTES]);

/*
 * Digest of an idempotency key in its scope: first 16 bytes of SHA-256 over the five parts, each
 * preceded by its length as 4 bytes big endian, so that ("ab","c") and ("a","bc") differ.
 */
int tg_idem_digest(struct tg_str tenant, struct tg_str client, struct tg_str method,
                   struct tg_str route, struct tg_str key, unsigned char out[TG_IDEM_DIGEST_BYTES]);

/* Digest of a rate's identity: its name, the tenant (keys of tenants never mix), its key value. */
int tg_rate_digest(struct tg_str name, struct tg_str tenant, struct tg_str key,
                   unsigned char out[TG_IDEM_DIGEST_BYTES]);

#endif
