#include "dispatch/words.h"

#include "core/metrics.h"

const char *tg_dispatch_outcome_word(enum tg_outcome o)
{
    switch (o) {
    case TG_OUTCOME_POSTED:
        return "posted";
    case TG_OUTCOME_REJECTED:
        return "rejected";
    case TG_OUTCOME_RETRY:
        return "retry";
    case TG_OUTCOME_THROTTLED:
        return "throttled";
    case TG_OUTCOME_DOWN:
        return "down";
    case TG_OUTCOME_STUCK:
        return "stuck";
    case TG_OUTCOME_IN_DOUBT:
        break;
    }
    return "in_doubt";
}

void tg_dispatch_count_outcome(enum tg_outcome o)
{
    switch (o) {
    case TG_OUTCOME_POSTED:
        tg_metric_add(TG_METRIC_POSTINGS_POSTED, 1);
        break;
    case TG_OUTCOME_REJECTED:
        tg_metric_add(TG_METRIC_POSTINGS_REJECTED, 1);
        break;
    case TG_OUTCOME_IN_DOUBT:
        tg_metric_add(TG_METRIC_POSTINGS_IN_DOUBT, 1);
        break;
    default:
        tg_metric_add(TG_METRIC_POSTINGS_RETRY, 1);
        break;
    }
}

const char *tg_dispatch_lookup_word(enum tg_lookup l)
{
    if (l == TG_LOOKUP_FOUND) {
        tg_metric_add(TG_METRIC_POSTINGS_POSTED, 1);
        return "found";
    }
    if (l == TG_LOOKUP_THROTTLED) {
        return "throttled";
    }
    if (l == TG_LOOKUP_STUCK) {
        return "stuck";
    }
    return l == TG_LOOKUP_ABSENT ? "absent" : "unknown";
}

uint64_t tg_dispatch_breaker_number(enum tg_breaker_state state)
{
    return state == TG_BREAKER_CLOSED ? 0 : state == TG_BREAKER_HALF_OPEN ? 1 : 2;
}
