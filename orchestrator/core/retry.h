/*
 * retry.h: when to try again. Exponential with full jitter in its upper half; a destination's own
 * Retry-After is obeyed in full. Pure: randomness comes in as a number.
 */
#ifndef TG_CORE_RETRY_H
#define TG_CORE_RETRY_H

#include <stdint.h>

/*
 * attempt counts from 1. Without Retry-After: between half and all of TG_RETRY_BASE_MS doubled by
 * every attempt, at most TG_RETRY_CAP_MS. retry_after_ms (0: none given) is returned as it is, but
 * at least half of the base and at most TG_RETRY_AFTER_MAX_MS. Returns the delay from now, >= 1.
 */
int64_t tg_retry_delay_ms(unsigned attempt, int64_t retry_after_ms, uint64_t random);

/* splitmix64: the one generator of the core, seeded by the shell, so that a run can be repeated. */
uint64_t tg_random_next(uint64_t *state);

#endif
