/*
 * alert.h: when is a person told, and when not again. One state for each thing that can be wrong
 * (a kind and a name: "breaker_open", "acme/erp"); step(state, what is seen, now) -> notice. Pure.
 *
 *   FIRING    it is wrong, and nobody was told yet
 *   MORE      it is still wrong, and there are new cases of it since the last notice
 *   REPEAT    it is still wrong after repeat_ms
 *   RESOLVED  it was told and is right again for settle_ms
 *
 * Notices of one thing are at least again_ms apart, but for RESOLVED. What is right for less than
 * settle_ms was never right: a restart that forgets a breaker for a minute tells nobody. A wall
 * clock that is set back lengthens no silence beyond its own length.
 *
 * Ownership: plain values. A notice counts as told when the caller says so (tg_alert_told), which
 * is when it was delivered: until then the same step gives it again.
 */
#ifndef TG_CORE_ALERT_H
#define TG_CORE_ALERT_H

#include <stdbool.h>
#include <stdint.h>

struct tg_alert_policy {
    int64_t repeat_ms; /* 0: never again while it lasts */
    int64_t again_ms;  /* between two notices of one thing */
    int64_t settle_ms;
    bool resolved; /* tell it at all */
};

/* Zero is a thing that was never wrong. Stored in the journal. */
struct tg_alert_state {
    bool told;        /* somebody knows that it is wrong */
    int64_t since_ms; /* wrong since; 0: not wrong */
    int64_t clear_ms; /* told, and right since; 0: not */
    int64_t told_ms;  /* of the last notice; 0: none */
    uint64_t fresh;   /* new cases nobody was told of */
};

struct tg_alert_seen {
    bool wrong;
    bool once;      /* an event, not a state: wrong for this moment only, never resolved */
    uint64_t fresh; /* new cases since the last step */
};

enum tg_alert_notice {
    TG_ALERT_NONE,
    TG_ALERT_FIRING,
    TG_ALERT_MORE,
    TG_ALERT_REPEAT,
    TG_ALERT_RESOLVED
};

enum tg_alert_notice tg_alert_step(struct tg_alert_state *s, const struct tg_alert_seen *seen,
                                   int64_t now_ms, const struct tg_alert_policy *p);

/* It was delivered: fresh is how many new cases it spoke of. */
void tg_alert_told(struct tg_alert_state *s, enum tg_alert_notice n, uint64_t fresh,
                   int64_t now_ms);

/* Nothing in it is worth keeping: as if it had never been wrong. */
bool tg_alert_is_idle(const struct tg_alert_state *s, int64_t now_ms,
                      const struct tg_alert_policy *p);

const char *tg_alert_notice_name(enum tg_alert_notice n); /* "firing" ... */

#endif
