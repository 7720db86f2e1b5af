/*
 * breaker.h: stop calling a destination that is down. Health is not outcome: only "could not reach
 * it" and "it says it is down" count; a rejection of one document never does.
 */
#ifndef TG_CORE_BREAKER_H
#define TG_CORE_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

enum tg_breaker_state { TG_BREAKER_CLOSED, TG_BREAKER_OPEN, TG_BREAKER_HALF_OPEN };

struct tg_breaker {
    enum tg_breaker_state state;
    unsigned failures; /* in a row */
    int64_t open_until_ms;
    bool probe_out; /* half open: the one probe is on its way */
};

void tg_breaker_init(struct tg_breaker *b);
/* May a send start now? Half open allows one probe. Call _started when it does start. */
bool tg_breaker_allows(struct tg_breaker *b, int64_t now_ms);
void tg_breaker_started(struct tg_breaker *b);
void tg_breaker_success(struct tg_breaker *b);
void tg_breaker_failure(struct tg_breaker *b, int64_t now_ms);
/* It began and gave no clear answer: proves nothing while closed, but a probe must have proved
 * something, so half open opens again. */
void tg_breaker_unclear(struct tg_breaker *b, int64_t now_ms);
/* It was started and then not sent after all: another probe may go. */
void tg_breaker_withdrawn(struct tg_breaker *b);
/* The clock was set back by so much. */
void tg_breaker_shift(struct tg_breaker *b, int64_t by_ms);
/* When _allows may change by time alone; INT64_MAX: never. */
int64_t tg_breaker_wake_ms(const struct tg_breaker *b);

#endif
