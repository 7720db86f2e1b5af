#include "api/perform.h"

#include <stdlib.h>
#include <string.h>

#include "api/approve.h"
#include "api/rows.h"

static const char NOT_NOW[] =
    "the journal takes nothing now; nothing was done, send the request again later";

static const char *breaker_word(enum tg_breaker_state state)
{
    switch (state) {
    case TG_BREAKER_CLOSED:
        return "closed";
    case TG_BREAKER_HALF_OPEN:
        return "half_open";
    case TG_BREAKER_OPEN:
        break;
    }
    return "open";
}

static json_t *pause_json(const struct tg_dispatch_pause *p)
{
    if (!p->paused) {
        return json_null();
    }
    return json_pack("{s:s, s:o, s:s}", "by", p->actor, "at", tg_json_time(p->at_ms), "reason",
                     p->reason);
}

static json_t *absence_json(const struct tg_dispatch_absence *a)
{
    if (!a->known) {
        return json_null();
    }
    return json_pack("{s:b, s:o, s:o, s:s?}", "now", a->now, "from", tg_json_time(a->from_ms),
                     "until", tg_json_time(a->until_ms), "reason", a->reason);
}

static json_t *destination_json(const struct tg_performer *p, const struct tg_config_destination *d)
{
    const struct tg_dispatch_pause *pause = tg_dispatch_paused(p->dispatch, d->index);
    struct tg_dispatch_absence absence;
    struct tg_engine_stats is;

    tg_dispatch_stats(p->dispatch, d->index, &is);
    tg_dispatch_absence(p->dispatch, d->index, &absence);
    return json_pack(
        "{s:s, s:s, s:s?, s:s, s:o, s:o, s:o, s:s, s:I, s:I, s:I, s:I, s:I}", "destination",
        d->name, "connector", d->connector, "account", d->account, "state",
        pause->paused ? "paused"
        : absence.now ? "maintenance"
                      : "running",
        "paused", pause_json(pause), "maintenance", absence_json(&absence), "asked_to_wait_until",
        tg_json_time(is.blocked_until_ms), "breaker", breaker_word(is.breaker), "loaded",
        (json_int_t)is.open, "in_flight", (json_int_t)is.in_flight, "retry", (json_int_t)is.retry,
        "in_doubt", (json_int_t)is.in_doubt, "stuck", (json_int_t)is.stuck);
}

static void list(const struct tg_performer *p, const struct tg_config_tenant *t,
                 struct tg_control *c)
{
    json_t *rows = json_array();

    for (size_t i = 0; i < t->destination_count; i++) {
        if (json_array_append_new(rows, destination_json(p, &t->destinations[i])) != 0) {
            json_decref(rows);
            tg_control_answer(c, NULL);
            return;
        }
    }
    tg_control_answer(c, json_pack("{s:o}", "destinations", rows));
}

/* What an answer needs after the commit. The configuration and the performer live as long. */
struct pending {
    const struct tg_performer *p;
    const struct tg_config_destination *d;
    struct tg_control *c;
};

static void on_changed(void *arg)
{
    struct pending *w = arg;

    tg_control_answer(w->c, destination_json(w->p, w->d));
    free(w);
}

static void change(const struct tg_performer *p, const struct tg_config_destination *d,
                   struct tg_control *c)
{
    struct pending *w = malloc(sizeof(*w));
    int rc = -1;

    if (w != NULL) {
        *w = (struct pending){.p = p, .d = d, .c = c};
        rc = c->kind == TG_CONTROL_PAUSE
                 ? tg_dispatch_pause(p->dispatch, d->index, c->actor, c->reason, on_changed, w)
                 : tg_dispatch_resume(p->dispatch, d->index, c->actor, c->reason, on_changed, w);
    }
    if (rc != 0) {
        free(w);
        tg_control_refuse(c, TG_PROBLEM_UNAVAILABLE, "%s", NOT_NOW);
    }
}

static const struct tg_config_destination *find(const struct tg_config_tenant *t, const char *name)
{
    for (size_t i = 0; i < t->destination_count; i++) {
        if (strcmp(t->destinations[i].name, name) == 0) {
            return &t->destinations[i];
        }
    }
    return NULL;
}

/* Above what the configuration allows one person, the wish waits for a second one. */
static void replay_many(const struct tg_performer *p, struct tg_control *c)
{
    const char *token = json_string_value(json_object_get(c->body, "token"));
    char subject[64];

    if (!tg_approvals_needed(p, c)) {
        tg_replays_start(p->replays, c);
        return;
    }
    /* one wish for each dry run: its token begins with when that was */
    (void)snprintf(subject, sizeof(subject), "%zu exceptions, %.16s",
                   json_array_size(json_object_get(c->body, "items")), token != NULL ? token : "");
    tg_approvals_ask(p, c, TG_APPROVAL_REPLAY, subject, json_incref(c->body));
}

void tg_perform(void *arg, struct tg_control *c)
{
    const struct tg_performer *p = arg;
    const struct tg_config_tenant *t = tg_config_tenant(p->config, tg_str_of(c->tenant));
    const struct tg_config_destination *d;

    if (t == NULL) {
        tg_control_refuse(c, TG_PROBLEM_TENANT_MISSING, "no tenant of that name is configured");
        return;
    }
    switch (c->kind) {
    case TG_CONTROL_DESTINATIONS:
        list(p, t, c);
        return;
    case TG_CONTROL_PAUSE:
    case TG_CONTROL_RESUME:
        d = find(t, c->name);
        if (d == NULL) {
            tg_control_refuse(c, TG_PROBLEM_NOT_FOUND,
                              "this tenant has no destination of that name");
            return;
        }
        change(p, d, c);
        return;
    case TG_CONTROL_ASSIGN:
    case TG_CONTROL_REPLAY:
    case TG_CONTROL_RESOLVE:
    case TG_CONTROL_DISCARD:
    case TG_CONTROL_EDIT:
        tg_perform_exception(p, c);
        return;
    case TG_CONTROL_REPLAYS:
        replay_many(p, c);
        return;
    case TG_CONTROL_APPROVE:
        tg_approvals_decide(p, c);
        return;
    }
    tg_control_refuse(c, TG_PROBLEM_INTERNAL, "this command is not known");
}
