#include "common/contract.h"

int tg_contract_check(struct tg_str contract, struct tg_str shards, struct tg_str hash,
                      unsigned expected_shards, struct tg_error *err)
{
    int64_t number;

    if (contract.len == 0 || shards.len == 0 || hash.len == 0) {
        return tg_error_set(err, "the meta record in Redis lacks %s; write all three fields first",
                            contract.len == 0 ? TG_META_CONTRACT
                            : shards.len == 0 ? TG_META_SHARDS
                                              : TG_META_HASH);
    }
    if (!tg_str_to_i64(contract, &number)) {
        return tg_error_set(err, "the contract version in Redis is not a number");
    }
    if (number != TG_CONTRACT_VERSION) {
        return tg_error_set(err,
                            "Redis holds data of contract version %lld and this program speaks "
                            "version %d; run both halves from one release",
                            (long long)number, TG_CONTRACT_VERSION);
    }
    if (!tg_str_to_i64(shards, &number)) {
        return tg_error_set(err, "the shard count in Redis is not a number");
    }
    if (number != (int64_t)expected_shards) {
        return tg_error_set(err,
                            "Redis holds data of %lld shards and this program is configured for "
                            "%u; the count is fixed for the life of a deployment",
                            (long long)number, expected_shards);
    }
    if (!tg_str_equal_c(hash, TG_SHARD_HASH_NAME)) {
        return tg_error_set(err, "Redis holds data sharded by another hash than " TG_SHARD_HASH_NAME
                                 "; run both halves from one release");
    }
    return 0;
}

int tg_contract_check_journal(struct tg_str found, const char *own, struct tg_error *err)
{
    if (tg_str_equal_c(found, own)) {
        return 0;
    }
    if (found.len == 0) {
        return tg_error_set(err, "Redis names no journal and could not be told of this one; is its "
                                 "memory full? Raise maxmemory until this program has connected");
    }
    if (!tg_str_is_name(found, TG_JOURNAL_ID_BYTES)) {
        return tg_error_set(err, "the journal's id in Redis is not one");
    }
    return tg_error_set(err,
                        "the events here go to journal %.*s, and this is journal %s. Two journals "
                        "would each get a part of them. Stop the other orchestrator or give this "
                        "one another redis.url or redis.prefix; if it takes over for good, an "
                        "administrator does as docs/reference/configuration.md says under \"One "
                        "journal\"",
                        (int)found.len, (const char *)found.data, own);
}
