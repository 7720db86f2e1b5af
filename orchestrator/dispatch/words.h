/*
 * words.h: outcomes as the attempts table and the metrics name them. Static text, nobody owns it.
 */
#ifndef TG_DISPATCH_WORDS_H
#define TG_DISPATCH_WORDS_H

#include <stdint.h>

#include "core/breaker.h"
#include "core/engine.h"

const char *tg_dispatch_outcome_word(enum tg_outcome o);

/* Adds one to the counter of this outcome. */
void tg_dispatch_count_outcome(enum tg_outcome o);

/* Also counts a found one as posted. */
const char *tg_dispatch_lookup_word(enum tg_lookup l);

/* 0 closed, 1 half open, 2 open: the gauge's values. */
uint64_t tg_dispatch_breaker_number(enum tg_breaker_state state);

#endif
