/*
 * admit.h: the one script call, as bytes. lua_rules/redis/admit.lua is its other side.
 *
 *   KEYS[1] stream   KEYS[2] idempotency record   KEYS[3..] rates
 *   ARGV[1] contract version         ARGV[2] what to do: "i" idempotency, "p" publish, "ip", ""
 *   ARGV[3] fingerprint (32 bytes)   ARGV[4] idempotency ttl, seconds
 *   ARGV[5] shard tag, "s07"         ARGV[6] number of rates R
 *   then R times: emission_us, capacity, cost
 *   then, with "p": the stream fields as name, value; received_at is filled in by the script
 *
 * Reply: array of bulk strings
 *   [1] verdict  accepted | replay | mismatch | in_flight | limited | contract
 *   [2] Redis time in microseconds   [3] event id (accepted with "p", replay), else ""
 *   [4] indexes of the violated rates, from 0, comma separated ("" otherwise)
 *   then R times: remaining, reset_us, retry_after_us
 *
 * "contract" says the caller's version is not the script's; the caller drops its link.
 * A replay spends no rate; a refusal changes nothing.
 *
 * Ownership: the reply struct copies what it needs; nothing points into the Redis reply.
 */
#ifndef TG_COMMON_ADMIT_H
#define TG_COMMON_ADMIT_H

#include "common/event_id.h"
#include "common/rate.h"
#include "common/str.h"

enum tg_verdict {
    TG_VERDICT_ACCEPTED,
    TG_VERDICT_REPLAY,
    TG_VERDICT_MISMATCH,
    TG_VERDICT_IN_FLIGHT,
    TG_VERDICT_LIMITED,
    TG_VERDICT_CONTRACT
};

struct tg_admit_reply {
    enum tg_verdict verdict;
    int64_t redis_us;
    char event_id[TG_EVENT_ID_MAX_BYTES]; /* NUL-terminated, "" when none */
    size_t event_id_len;
    uint32_t violated; /* bit i: rate i */
    struct tg_rate_state rates[TG_RATES_MAX];
    size_t rate_count;
};

/*
 * parts: the reply array's elements as views (the shell cuts them from redisReply after checking
 * that each is a string). expected_rates must match. 0, or -1 when it is not such a reply.
 */
int tg_admit_decode(const struct tg_str *parts, size_t n, size_t expected_rates,
                    struct tg_admit_reply *out);

/* What a Redis error text means for the caller; from its prefix (NOSCRIPT, OOM, LOADING ...). */
enum tg_redis_error {
    TG_REDIS_NOSCRIPT, /* send EVAL once */
    TG_REDIS_BUSY,     /* LOADING BUSY MASTERDOWN CLUSTERDOWN READONLY NOREPLICAS MISCONF, max
                          clients: 503 redis_unavailable */
    TG_REDIS_FULL,     /* OOM: it answers, and takes nothing new: 503 backlog */
    TG_REDIS_AUTH,     /* NOAUTH NOPERM WRONGPASS: drop the link, alert */
    TG_REDIS_OTHER     /* a bug of ours: 500, alert */
};
enum tg_redis_error tg_redis_error_of(struct tg_str text);

#endif
