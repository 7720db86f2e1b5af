/*
 * contract.h: the handshake of the two halves. tg:{sNN}:meta is a hash of three fields; whoever
 * comes first writes it (HSETNX, one per field), everyone compares, a mismatch refuses to work.
 *
 * A fourth field is the orchestrator's alone: the id of the journal that takes the events of this
 * stream. Two journals would each get a part of them, and neither would be a book of record.
 */
#ifndef TG_COMMON_CONTRACT_H
#define TG_COMMON_CONTRACT_H

#include "common/str.h"

#define TG_META_CONTRACT "contract"
#define TG_META_SHARDS "shards"
#define TG_META_HASH "hash"
#define TG_META_JOURNAL "journal"

/* Compares what HMGET returned (a missing field is the empty view). 0, or -1 with the reason. */
int tg_contract_check(struct tg_str contract, struct tg_str shards, struct tg_str hash,
                      unsigned expected_shards, struct tg_error *err);

/* Is the journal that Redis names this one? 0, or -1 with what to do. */
int tg_contract_check_journal(struct tg_str found, const char *own, struct tg_error *err);

#endif
