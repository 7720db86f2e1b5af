/*
 * shard.h: which shard a tenant lives on. Part of the contract: both halves must agree for ever.
 *
 * Shard = FNV-1a (64 bit) of the tenant's bytes, modulo the count. The count is fixed for the life
 * of a deployment (design section 4); tg:{sNN}:meta holds count and hash name, see contract.h.
 */
#ifndef TG_COMMON_SHARD_H
#define TG_COMMON_SHARD_H

#include "common/str.h"

/* count in 1..TG_SHARD_COUNT_MAX; returns 0..count-1. */
unsigned tg_shard_of(struct tg_str tenant, unsigned count);

#endif
