#include "alert/alert.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "alert/inner.h"
#include "common/log.h"

struct tg_alerts {
    struct tg_alert_options o;
    struct tg_alert_policy policy;
    char name[TG_ALERT_NAME_BYTES];
    struct tg_reader *reader; /* the pool's while a look is on its way */
    struct tg_alert_outbox *outbox;
    struct tg_alert_things things;
    struct tg_alert_things first_seen; /* facts of the loop: since when; see `lasting` */
    struct tg_alert_marks marks;
    bool marks_noted;
    uv_timer_t tick;
    uv_work_t work;
    struct tg_alert_look look;
    bool looking, noting, stuck, look_failed;
    bool stopping;
    size_t open; /* timer, look, outbox */
    void (*stopped)(void *arg);
    void *stopped_arg;
};

static int64_t wall_ms(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* ---- facts ---- */

void tg_alert_fact_live(struct tg_alert_facts *f, bool redis_up, bool journal_stuck,
                        uint64_t backlog)
{
    f->redis_up = redis_up;
    f->journal_stuck = journal_stuck;
    f->backlog = backlog;
}

void tg_alert_fact_breaker(struct tg_alert_facts *f, const char *destination_id)
{
    (void)tg_alert_items_add(&f->breakers, TG_ALERT_BREAKER_OPEN, destination_id);
}

/* Wrong now; has it been so for after_ms? The loop's time: a set clock makes nothing last. */
static bool lasting(struct tg_alerts *a, enum tg_alert_kind kind, const char *thing)
{
    const struct tg_alert_state since = {.since_ms = (int64_t)uv_now(a->o.loop),
                                         .fresh = 1}; /* seen in this look */
    struct tg_alert_thing *x = tg_alert_things_find(&a->first_seen, kind, thing);

    if (x == NULL) {
        (void)tg_alert_things_load(&a->first_seen, kind, thing, &since);
        return a->o.config->alerts.after_ms == 0;
    }
    x->state.fresh = 1;
    return since.since_ms - x->state.since_ms >= a->o.config->alerts.after_ms;
}

/* Forgets what is right again. */
static void forget_right(struct tg_alert_things *seen)
{
    size_t kept = 0;

    for (size_t i = 0; i < seen->count; i++) {
        struct tg_alert_thing x = seen->items[i];

        if (x.state.fresh > 0) {
            x.state.fresh = 0;
            seen->items[kept++] = x;
        }
    }
    seen->count = kept;
}

/* What the loop sees, without what is only a moment old. */
static void gather(struct tg_alerts *a, struct tg_alert_facts *out)
{
    struct tg_alert_facts all = {.redis_up = true};

    memset(out, 0, sizeof(*out));
    a->o.facts(a->o.arg, &all);
    a->stuck = all.journal_stuck;
    out->backlog = all.backlog;
    out->redis_up = all.redis_up || !lasting(a, TG_ALERT_REDIS_DOWN, "redis");
    out->journal_stuck = all.journal_stuck && lasting(a, TG_ALERT_JOURNAL_STUCK, "journal");
    for (size_t i = 0; i < all.breakers.count; i++) {
        const char *thing = all.breakers.items[i].thing;

        if (lasting(a, TG_ALERT_BREAKER_OPEN, thing)) {
            (void)tg_alert_items_add(&out->breakers, TG_ALERT_BREAKER_OPEN, thing);
        }
    }
    if (all.breakers.cut) {
        tg_log(TG_LOG_WARN, "alert", "more than %d breakers are open, not all are told",
               TG_ALERT_THINGS_MAX);
    }
    tg_alert_items_clear(&all.breakers);
    forget_right(&a->first_seen);
}

/* ---- noting in the journal ---- */

static void on_noted(void *arg, bool ok, const struct tg_error *err)
{
    struct tg_alerts *a = arg;

    a->noting = false;
    if (!ok) {
        tg_log(TG_LOG_ERROR, "alert", "what was told could not be noted: %s", err->text);
    }
}

/* A journal that is stuck would only gather these: they are noted when it writes again. */
static void note(struct tg_alerts *a)
{
    struct tg_batch *b;

    if (a->noting || a->stuck || a->stopping) {
        return;
    }
    b = tg_batch_new();
    if (b == NULL || tg_alert_things_note(&a->things, b, wall_ms(), &a->policy) != 0 ||
        (!a->marks_noted && tg_batch_alert_marks(b, &a->marks) != 0)) {
        tg_log(TG_LOG_ERROR, "alert", "no memory to note what was told");
        tg_batch_free(b);
        return;
    }
    if (tg_batch_ops(b) == 0) {
        tg_batch_free(b);
    } else if (tg_journal_submit(a->o.journal, b, on_noted, a) == 0) {
        a->noting = true;
        a->marks_noted = true;
    } else {
        tg_batch_free(b); /* full: what it held is noted with the next change */
    }
}

/* ---- notices ---- */

static bool on_post(void *arg, const struct tg_alert_post *p)
{
    struct tg_alerts *a = arg;

    if (!tg_alert_outbox_add(a->outbox, p)) {
        return false;
    }
    tg_log(p->notice == TG_ALERT_RESOLVED ? TG_LOG_INFO : TG_LOG_WARN, "alert", "%s: %s %s",
           tg_alert_notice_name(p->notice), tg_alert_kind_word(p->kind), p->thing);
    return true;
}

static void on_delivered(void *arg, const struct tg_alert_post *p)
{
    struct tg_alerts *a = arg;
    struct tg_alert_thing *x = tg_alert_things_find(&a->things, p->kind, p->thing);

    if (x != NULL) {
        x->out = false;
        tg_alert_told(&x->state, p->notice, p->fresh, wall_ms());
    }
}

/* ---- the look ---- */

static void close_part(struct tg_alerts *a)
{
    a->open--;
    if (a->open == 0) {
        a->stopped(a->stopped_arg);
    }
}

static void look_work(uv_work_t *work)
{
    struct tg_alerts *a = work->data;

    tg_alert_look_run(&a->look);
}

static void take_look(struct tg_alerts *a)
{
    const struct tg_alert_look *l = &a->look;

    if (l->result != 0) {
        if (!a->look_failed) {
            tg_log(TG_LOG_ERROR, "alert", "the journal cannot be looked at: %s", l->err.text);
        }
        a->look_failed = true;
        return;
    }
    a->look_failed = false;
    if (tg_alert_things_step(&a->things, &l->items, wall_ms(), &a->policy, on_post, a) != 0) {
        tg_log(TG_LOG_ERROR, "alert", "no memory for what is wrong");
        return; /* the marks stay: it is looked at again */
    }
    if (memcmp(&a->marks, &l->marks, sizeof(a->marks)) != 0) {
        a->marks = l->marks;
        a->marks_noted = false;
    }
    note(a);
}

static void look_done(uv_work_t *work, int status)
{
    struct tg_alerts *a = work->data;

    a->looking = false;
    if (status == 0 && !a->stopping) {
        take_look(a);
        tg_alert_outbox_run(a->outbox);
    }
    tg_alert_look_clear(&a->look);
    if (a->stopping) {
        close_part(a);
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct tg_alerts *a = timer->data;

    tg_alert_outbox_run(a->outbox);
    if (a->looking) {
        return;
    }
    memset(&a->look, 0, sizeof(a->look));
    a->look.config = &a->o.config->alerts;
    a->look.catalogue = a->o.catalogue;
    a->look.reader = a->reader;
    a->look.now_ms = wall_ms();
    a->look.marks = a->marks;
    gather(a, &a->look.facts);
    a->work.data = a;
    a->looking = uv_queue_work(a->o.loop, &a->work, look_work, look_done) == 0;
    if (!a->looking) {
        tg_alert_look_clear(&a->look);
    }
}

/* ---- start and stop ---- */

bool tg_alerts_is_wanted(const struct tg_config *c)
{
    return c->alerts.webhook.url != NULL || c->alerts.smtp.url != NULL;
}

static void on_known(void *arg, const char *kind, const char *thing,
                     const struct tg_alert_state *state)
{
    struct tg_alerts *a = arg;
    enum tg_alert_kind k = tg_alert_kind_of(kind);

    if (k != TG_ALERT_KIND_COUNT && tg_alert_things_load(&a->things, k, thing, state) != 0) {
        tg_log(TG_LOG_WARN, "alert", "no memory for what was told: it is told again");
    }
}

static int load(struct tg_alerts *a, struct tg_error *err)
{
    int known = tg_reader_alert_marks(a->reader, &a->marks, err);

    /* A journal it never looked at: what is in it is old news, from the first row after it is not.
     */
    if (known == 1) {
        known = tg_reader_alert_ends(a->reader, &a->marks, err);
    } else {
        a->marks_noted = known == 0;
    }
    if (known < 0 || tg_reader_alerts(a->reader, on_known, a, err) != 0) {
        return -1;
    }
    note(a);
    return 0;
}

void tg_alert_name(const struct tg_config *c, char out[TG_ALERT_NAME_BYTES])
{
    const char *given = c->alerts.name;

    if (given != NULL) {
        (void)tg_str_copy(tg_str_of(given), out, TG_ALERT_NAME_BYTES);
        return;
    }
    memset(out, 0, TG_ALERT_NAME_BYTES);
    if (gethostname(out, TG_ALERT_NAME_BYTES - 1) != 0 ||
        !tg_str_is_name(tg_str_of(out), TG_ALERT_NAME_BYTES - 1)) {
        (void)tg_str_copy(tg_str_of("tallygate"), out, TG_ALERT_NAME_BYTES);
    }
}

struct tg_alerts *tg_alerts_start(const struct tg_alert_options *o, struct tg_error *err)
{
    struct tg_alerts *a = calloc(1, sizeof(*a));
    const struct tg_config_alerts *c = &o->config->alerts;
    struct tg_alert_outbox_options out = {.loop = o->loop,
                                          .config = c,
                                          .version = o->version,
                                          .attempts_max = TG_ALERT_ATTEMPTS_MAX,
                                          .done = on_delivered};

    if (a == NULL) {
        (void)tg_error_set(err, "alerts: out of memory");
        return NULL;
    }
    a->o = *o;
    a->policy = (struct tg_alert_policy){.repeat_ms = c->repeat_ms,
                                         .again_ms = c->quiet_ms,
                                         .settle_ms = c->settle_ms,
                                         .resolved = strcmp(c->resolved, "on") == 0};
    tg_alert_name(o->config, a->name);
    out.name = a->name;
    out.arg = a;
    a->reader = tg_reader_open(o->config->journal.path, err);
    if (a->reader == NULL || load(a, err) != 0 ||
        (a->outbox = tg_alert_outbox_new(&out, err)) == NULL) {
        if (a->reader != NULL) {
            tg_reader_close(a->reader);
        }
        tg_alert_things_clear(&a->things);
        free(a);
        return NULL;
    }
    (void)uv_timer_init(o->loop, &a->tick);
    a->tick.data = a;
    (void)uv_timer_start(&a->tick, on_tick, TG_ALERT_TICK_MS, TG_ALERT_TICK_MS);
    return a;
}

static void on_part_closed(void *arg)
{
    close_part(arg);
}

static void on_tick_closed(uv_handle_t *h)
{
    close_part(h->data);
}

void tg_alerts_stop(struct tg_alerts *a, void (*stopped)(void *arg), void *arg)
{
    a->stopping = true;
    a->stopped = stopped;
    a->stopped_arg = arg;
    a->open = a->looking ? 3 : 2;
    uv_close((uv_handle_t *)&a->tick, on_tick_closed);
    tg_alert_outbox_close(a->outbox, on_part_closed, a);
}

void tg_alerts_free(struct tg_alerts *a)
{
    if (a == NULL) {
        return;
    }
    tg_alert_outbox_free(a->outbox);
    tg_alert_things_clear(&a->things);
    tg_alert_things_clear(&a->first_seen);
    tg_reader_close(a->reader);
    free(a);
}
