/*
 * retry.h: when to try again. Exponential with full jitter in its upper half; a destination's own
 * Retry-After is obeyed in full. Pure: randomness comes in as a number.
 */
#ifndef TG_CORE_RETRY_H
#define TG_CORE_RETRY_H

#include <stdint.h>

/* attempt counts from 1. retry_after_ms 0: none given. Returns the delay from now, >= 1. */
int64_t tg_retry_delay_ms(unsigned attempt, int64_t retry_after_ms, uint64_t random);

/* splitmix64: the one generator of the core, seeded by the shell, so that a run can be repeated. */
uint64_t tg_random_next(uint64_t *state);

#endif
