/*
 * alert.h: tells people when something is wrong: by webhook and by mail.
 *
 * How the folder works. Every TG_ALERT_TICK_MS the loop says what it sees (breakers, Redis, the
 * journal, the backlog); a look in libuv's pool asks the journal for the rest (look.c) and makes
 * one list of things that are wrong; the loop holds it against what is known of each thing
 * (things.c, core/alert.h decides) and puts notices into the outbox; each channel takes them from
 * there at its own pace, with backoff (outbox.c). Told is what every channel has delivered or given
 * up; only then it is noted, in the journal, so that a restart neither loses nor repeats it.
 *
 * Nothing here waits on the loop. A notice holds names, codes, counts and times: never a payload,
 * nothing about a person.
 *
 * Ownership: everything in the options outlives it.
 */
#ifndef TG_ALERT_ALERT_H
#define TG_ALERT_ALERT_H

#include <uv.h>

#include "core/config.h"
#include "journal/journal.h"
#include "master/catalogue.h"

struct tg_alerts;
struct tg_alert_facts; /* what the loop sees; filled with the functions below */

struct tg_alert_options {
    uv_loop_t *loop;
    struct tg_journal *journal;
    const struct tg_config *config;
    const struct tg_catalogue *catalogue;
    const char *version; /* of the program */
    void (*facts)(void *arg, struct tg_alert_facts *f);
    void *arg;
};

/* Is anybody to be told? Without that there is nothing to start. */
bool tg_alerts_is_wanted(const struct tg_config *c);

/* NULL with err. */
struct tg_alerts *tg_alerts_start(const struct tg_alert_options *o, struct tg_error *err);
/* Gives up what is on its way (the next start tells it), then calls stopped. */
void tg_alerts_stop(struct tg_alerts *a, void (*stopped)(void *arg), void *arg);
void tg_alerts_free(struct tg_alerts *a); /* after stopped; NULL is fine */

/*
 * Sends one test notice by every channel that is configured, once, and waits for the answers: for a
 * command. said: one line a channel. 0: all took it, 1: one did not, -1 with err.
 */
int tg_alerts_test(const struct tg_config *c, const char *version,
                   void (*said)(void *arg, const char *channel, bool ok, const char *why),
                   void *arg, struct tg_error *err);

/* ---- inside options.facts ---- */

void tg_alert_fact_live(struct tg_alert_facts *f, bool redis_up, bool journal_stuck,
                        uint64_t backlog);
/* One whose breaker is not closed. */
void tg_alert_fact_breaker(struct tg_alert_facts *f, const char *destination_id);

#endif
