#include "core/alert.h"

#include <stddef.h>

/* A time in the future is the clock's doing: it counts as now. */
static void pull_back(int64_t *t, int64_t now_ms)
{
    if (*t > now_ms) {
        *t = now_ms;
    }
}

static bool may_tell(const struct tg_alert_state *s, int64_t now_ms,
                     const struct tg_alert_policy *p)
{
    return s->told_ms == 0 || now_ms - s->told_ms >= p->again_ms;
}

static enum tg_alert_notice step_wrong(struct tg_alert_state *s, int64_t now_ms,
                                       const struct tg_alert_policy *p)
{
    s->clear_ms = 0;
    if (s->since_ms == 0) {
        s->since_ms = now_ms;
    }
    if (!may_tell(s, now_ms, p)) {
        return TG_ALERT_NONE;
    }
    if (!s->told) {
        return TG_ALERT_FIRING;
    }
    if (s->fresh > 0) {
        return TG_ALERT_MORE;
    }
    return p->repeat_ms > 0 && now_ms - s->told_ms >= p->repeat_ms ? TG_ALERT_REPEAT
                                                                   : TG_ALERT_NONE;
}

static enum tg_alert_notice step_right(struct tg_alert_state *s, int64_t now_ms,
                                       const struct tg_alert_policy *p)
{
    s->fresh = 0; /* of what is gone nobody needs to hear */
    if (!s->told) {
        s->since_ms = 0;
        return TG_ALERT_NONE;
    }
    if (s->clear_ms == 0) {
        s->clear_ms = now_ms;
    }
    if (now_ms - s->clear_ms < p->settle_ms) {
        return TG_ALERT_NONE;
    }
    if (p->resolved) {
        return TG_ALERT_RESOLVED;
    }
    s->told = false;
    s->since_ms = 0;
    s->clear_ms = 0;
    return TG_ALERT_NONE;
}

enum tg_alert_notice tg_alert_step(struct tg_alert_state *s, const struct tg_alert_seen *seen,
                                   int64_t now_ms, const struct tg_alert_policy *p)
{
    pull_back(&s->told_ms, now_ms);
    pull_back(&s->clear_ms, now_ms);
    pull_back(&s->since_ms, now_ms);
    s->fresh += seen->fresh;
    if (seen->once) {
        return s->fresh > 0 && may_tell(s, now_ms, p) ? TG_ALERT_FIRING : TG_ALERT_NONE;
    }
    return seen->wrong ? step_wrong(s, now_ms, p) : step_right(s, now_ms, p);
}

void tg_alert_told(struct tg_alert_state *s, enum tg_alert_notice n, uint64_t fresh, int64_t now_ms)
{
    if (n == TG_ALERT_NONE) {
        return;
    }
    if (n == TG_ALERT_RESOLVED) {
        s->told = false;
        s->since_ms = 0;
        s->clear_ms = 0;
        return;
    }
    s->told_ms = now_ms;
    s->fresh -= fresh < s->fresh ? fresh : s->fresh;
    s->told = s->since_ms != 0; /* an event has no since: nothing of it is to be resolved */
}

bool tg_alert_is_idle(const struct tg_alert_state *s, int64_t now_ms,
                      const struct tg_alert_policy *p)
{
    return !s->told && s->since_ms == 0 && s->fresh == 0 && may_tell(s, now_ms, p);
}

const char *tg_alert_notice_name(enum tg_alert_notice n)
{
    static const char *const names[] = {"none", "firing", "more", "repeat", "resolved"};

    return (size_t)n < sizeof(names) / sizeof(names[0]) ? names[n] : "unknown";
}
