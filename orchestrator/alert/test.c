/* One notice by every channel, for `tallygate alerts test`: a loop of its own, one try each. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "alert/inner.h"

struct test {
    uv_loop_t loop;
    struct tg_alert_outbox *outbox;
    void (*said)(void *arg, const char *channel, bool ok, const char *why);
    void *arg;
    bool failed, closing;
};

static void on_closed(void *arg)
{
    (void)arg; /* the loop ends when nothing is left on it */
}

static void on_tried(void *arg, const char *channel, bool ok, const char *why)
{
    struct test *t = arg;

    t->failed = t->failed || !ok;
    t->said(t->arg, channel, ok, why);
}

static void on_done(void *arg, const struct tg_alert_post *p)
{
    struct test *t = arg;

    (void)p;
    t->closing = true;
}

int tg_alerts_test(const struct tg_config *c, const char *version,
                   void (*said)(void *arg, const char *channel, bool ok, const char *why),
                   void *arg, struct tg_error *err)
{
    struct test t = {.said = said, .arg = arg};
    struct timespec now = {0, 0};
    struct tg_alert_post p = {.kind = TG_ALERT_TEST, .notice = TG_ALERT_FIRING, .count = 1};
    char name[TG_ALERT_NAME_BYTES];
    struct tg_alert_outbox_options o = {.loop = &t.loop,
                                        .config = &c->alerts,
                                        .name = name,
                                        .version = version,
                                        .attempts_max = 1,
                                        .tried = on_tried,
                                        .done = on_done,
                                        .arg = &t};

    tg_alert_name(c, name);
    (void)clock_gettime(CLOCK_REALTIME, &now);
    p.at_ms = p.since_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    (void)snprintf(p.thing, sizeof(p.thing), "%s", name);
    (void)snprintf(p.text, sizeof(p.text), "This is a test: nothing is wrong.");
    tg_alert_id(&p, p.id);
    if (uv_loop_init(&t.loop) != 0) {
        return tg_error_set(err, "no memory for the event loop");
    }
    t.outbox = tg_alert_outbox_new(&o, err);
    if (t.outbox == NULL) {
        (void)uv_loop_close(&t.loop);
        return -1;
    }
    if (tg_alert_outbox_add(t.outbox, &p)) {
        tg_alert_outbox_run(t.outbox);
    } else {
        t.failed = t.closing = true;
    }
    while (!t.closing && uv_run(&t.loop, UV_RUN_ONCE) != 0) {
    }
    tg_alert_outbox_close(t.outbox, on_closed, NULL);
    (void)uv_run(&t.loop, UV_RUN_DEFAULT);
    tg_alert_outbox_free(t.outbox);
    (void)uv_loop_close(&t.loop);
    return t.failed ? 1 : 0;
}
