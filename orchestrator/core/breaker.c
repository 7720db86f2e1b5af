#include "core/breaker.h"

#include "common/limits.h"

void tg_breaker_init(struct tg_breaker *b)
{
    b->state = TG_BREAKER_CLOSED;
    b->failures = 0;
    b->open_until_ms = 0;
    b->probe_out = false;
}

static void open_now(struct tg_breaker *b, int64_t now_ms)
{
    b->state = TG_BREAKER_OPEN;
    b->open_until_ms = now_ms + TG_BREAKER_OPEN_MS;
    b->probe_out = false;
}

bool tg_breaker_allows(struct tg_breaker *b, int64_t now_ms)
{
    if (b->state == TG_BREAKER_OPEN) {
        /* A clock that was set back must not keep it open longer than it would be from now. */
        if (b->open_until_ms - now_ms > TG_BREAKER_OPEN_MS) {
            b->open_until_ms = now_ms + TG_BREAKER_OPEN_MS;
        }
        if (now_ms < b->open_until_ms) {
            return false;
        }
        b->state = TG_BREAKER_HALF_OPEN;
        b->probe_out = false;
    }
    return b->state == TG_BREAKER_CLOSED || !b->probe_out;
}

void tg_breaker_started(struct tg_breaker *b)
{
    if (b->state == TG_BREAKER_HALF_OPEN) {
        b->probe_out = true;
    }
}

void tg_breaker_success(struct tg_breaker *b)
{
    tg_breaker_init(b);
}

void tg_breaker_failure(struct tg_breaker *b, int64_t now_ms)
{
    switch (b->state) {
    case TG_BREAKER_CLOSED:
        b->failures++;
        if (b->failures >= TG_BREAKER_FAILURES) {
            open_now(b, now_ms);
        }
        break;
    case TG_BREAKER_HALF_OPEN:
        open_now(b, now_ms);
        break;
    case TG_BREAKER_OPEN: /* a straggler tells nothing new */
        break;
    }
}

void tg_breaker_unclear(struct tg_breaker *b, int64_t now_ms)
{
    if (b->state == TG_BREAKER_HALF_OPEN) {
        open_now(b, now_ms);
    }
}

void tg_breaker_withdrawn(struct tg_breaker *b)
{
    b->probe_out = false;
}

void tg_breaker_shift(struct tg_breaker *b, int64_t by_ms)
{
    b->open_until_ms -= by_ms;
}

int64_t tg_breaker_wake_ms(const struct tg_breaker *b)
{
    return b->state == TG_BREAKER_OPEN ? b->open_until_ms : INT64_MAX;
}
