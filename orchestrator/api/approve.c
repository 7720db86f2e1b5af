/*
 * What runs into what: an approval that is being decided is not decided a second time before the
 * commit (deciding), since it may end in a batch of intake, which must never be refused. Else the
 * journal checks that it still waits, inside the commit. A kill leaves it waiting, or done with
 * what it was for.
 */
#include "api/approve.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dispatch/people.h"
#include "intake/again.h"

static const char NOT_NOW[] =
    "too many such commands wait, or the process stops; nothing was done, try again later";

/* An approval in hand; copied, since the reader's rows do not stay. */
struct deciding {
    struct deciding *next;
    const struct tg_performer *p;
    struct tg_control *c;
    int64_t id, exception, expires_ms;
    enum tg_approval_state state;
    char tenant[TG_TENANT_MAX_BYTES + 1];
    char asked_by[TG_CLIENT_MAX_BYTES + 1], decided_by[TG_CLIENT_MAX_BYTES + 1];
    char reason[TG_REASON_MAX_BYTES + 1], verb[TG_CODE_MAX_BYTES + 1];
    json_t *what;                 /* owned */
    char why[TG_ERROR_MAX_BYTES]; /* it could not be done */
    bool changed;
};

bool tg_approvals_needed(const struct tg_performer *p, const struct tg_control *c)
{
    const char *discard = p->config->approvals.discard;
    const unsigned above = p->config->approvals.replay_above;

    if (c->kind == TG_CONTROL_REPLAYS) {
        return above > 0 && json_array_size(json_object_get(c->body, "items")) > above;
    }
    return c->kind == TG_CONTROL_DISCARD && discard != NULL && strcmp(discard, "on") == 0;
}

/* ---- asking ---- */

static bool on_waiting(void *arg, const struct tg_row_approval *row)
{
    struct deciding *w = arg;

    w->id = row->id;
    w->expires_ms = row->expires_ms;
    return false;
}

struct asking {
    const struct tg_performer *p;
    struct tg_control *c;
    char verb[TG_CODE_MAX_BYTES + 1], subject[64];
};

static void told(struct tg_control *c, int64_t id, bool changed)
{
    tg_control_answer(
        c, json_pack("{s:I, s:b, s:n}", "approval", (json_int_t)id, "changed", changed, "message"));
}

static void on_asked(void *arg, bool ok, const struct tg_error *err)
{
    struct asking *a = arg;
    struct deciding is = {.id = 0};
    struct tg_error why = {""};

    if (!ok || tg_reader_approval_waits(a->p->reader, a->c->tenant, a->verb, a->subject, on_waiting,
                                        &is, &why) != 0) {
        tg_control_refuse(a->c, TG_PROBLEM_CONFLICT,
                          "it changed while this was asked for, or the process stops; look again "
                          "(%.200s)",
                          ok ? why.text : err->text);
    } else {
        told(a->c, is.id, true);
    }
    free(a);
}

static int put_wish(struct asking *a, struct tg_batch *b, const struct deciding *old,
                    const char *what)
{
    const int64_t now_ms = tg_dispatch_now_ms();
    const struct tg_row_approval row = {.tenant = a->c->tenant,
                                        .verb = a->verb,
                                        .subject = a->subject,
                                        .what = what,
                                        .reason = a->c->reason,
                                        .asked_by = a->c->actor,
                                        .expires_ms = now_ms + a->p->config->approvals.expires_ms};

    if (old->id != 0 && tg_batch_approval_end(b, old->id, TG_APPROVAL_EXPIRED, "orchestrator",
                                              "nobody decided in time") != 0) {
        return -1;
    }
    return tg_batch_approval(b, &row);
}

void tg_approvals_ask(const struct tg_performer *p, struct tg_control *c, const char *verb,
                      const char *subject, json_t *what)
{
    struct asking *a = calloc(1, sizeof(*a));
    struct tg_batch *b = tg_batch_new();
    char *text = what != NULL ? json_dumps(what, JSON_COMPACT) : NULL;
    struct deciding old = {.id = 0};
    struct tg_error err = {""};
    int rc = -1;

    json_decref(what);
    if (a != NULL && b != NULL && text != NULL) {
        *a = (struct asking){.p = p, .c = c};
        (void)snprintf(a->verb, sizeof(a->verb), "%s", verb);
        (void)snprintf(a->subject, sizeof(a->subject), "%s", subject);
        rc = tg_reader_approval_waits(p->reader, c->tenant, verb, subject, on_waiting, &old, &err);
    }
    if (rc == 0 && old.expires_ms > tg_dispatch_now_ms()) {
        tg_batch_free(b);
        free(a);
        free(text);
        told(c, old.id, false); /* it waits already */
        return;
    }
    if (rc < 0 || put_wish(a, b, &old, text) != 0 ||
        tg_journal_submit(p->journal, b, on_asked, a) != 0) {
        tg_batch_free(b);
        free(a);
        tg_control_refuse(c, TG_PROBLEM_UNAVAILABLE, "%s", NOT_NOW);
    }
    free(text);
}

/* ---- deciding ---- */

static bool on_approval(void *arg, const struct tg_row_approval *row)
{
    struct deciding *w = arg;
    w->what = json_loads(row->what, 0, NULL);
    w->id = row->id;
    w->state = row->state;
    w->expires_ms = row->expires_ms;
    w->exception = json_integer_value(json_object_get(w->what, "exception"));
    (void)snprintf(w->tenant, sizeof(w->tenant), "%s", row->tenant);
    (void)snprintf(w->asked_by, sizeof(w->asked_by), "%s", row->asked_by);
    (void)snprintf(w->decided_by, sizeof(w->decided_by), "%s", row->decided_by);
    (void)snprintf(w->reason, sizeof(w->reason), "%s", row->reason);
    (void)snprintf(w->verb, sizeof(w->verb), "%s", row->verb);
    return false;
}

static struct deciding **place_of(const struct tg_performer *p, int64_t id)
{
    struct deciding **at = p->deciding;

    while (*at != NULL && (*at)->id != id) {
        at = &(*at)->next;
    }
    return at;
}

/* Ends what was begun in tg_approvals_decide. */
static void decided(struct deciding *w)
{
    struct deciding **at = place_of(w->p, w->id);

    *at = w->next;
    if (w->why[0] != '\0') {
        tg_control_refuse(w->c, TG_PROBLEM_CONFLICT, "%s", w->why);
    } else {
        tg_control_answer(w->c, json_pack("{s:b, s:n}", "changed", w->changed, "message"));
    }
    json_decref(w->what);
    free(w);
}

static void on_ended(void *arg, bool ok, const struct tg_error *err)
{
    struct deciding *w = arg;

    if (!ok) {
        (void)snprintf(w->why, sizeof(w->why), "it changed meanwhile, look again (%.200s)",
                       err->text);
    }
    decided(w);
}

/* It ends without being done; w->why says so to who asks, if that is not what they wanted. */
static void end(struct deciding *w, enum tg_approval_state to, const char *actor, const char *said)
{
    struct tg_batch *b = tg_batch_new();

    w->changed = true;
    if (b == NULL || tg_batch_approval_end(b, w->id, to, actor, said) != 0 ||
        tg_journal_submit(w->p->journal, b, on_ended, w) != 0) {
        tg_batch_free(b);
        (void)snprintf(w->why, sizeof(w->why), "%s", NOT_NOW);
        decided(w);
    }
}

static void cannot(struct deciding *w, const char *message)
{
    char said[TG_REASON_MAX_BYTES + 1];

    (void)snprintf(said, sizeof(said), "could not be done: %.150s", message);
    (void)snprintf(w->why, sizeof(w->why), "approved, and it could not be done any more: %.300s",
                   message);
    end(w, TG_APPROVAL_REFUSED, w->c->actor, said);
}

static void on_again(void *arg, const struct tg_again_answer *a)
{
    struct deciding *w = arg;

    if (a->result == TG_AGAIN_STOPPING) { /* the approval waits on */
        (void)snprintf(w->why, sizeof(w->why), "%s", NOT_NOW);
        decided(w);
        return;
    }
    w->changed = true;
    if (a->result == TG_AGAIN_REFUSED) {
        cannot(w, a->message);
    } else {
        decided(w);
    }
}

static void discard_event(struct deciding *w, int64_t event)
{
    const struct tg_again_request r = {.event = event,
                                       .why = TG_AGAIN_DISCARD,
                                       .exception = w->exception,
                                       .actor = w->asked_by,
                                       .reason = w->reason,
                                       .approval = w->id,
                                       .second = w->c->actor,
                                       .said = w->c->reason,
                                       .done = on_again,
                                       .arg = w};

    if (tg_again_submit(w->p->intake, &r) != 0) {
        (void)snprintf(w->why, sizeof(w->why), "%s", NOT_NOW);
        decided(w);
    }
}

static void on_people(void *arg, const struct tg_people_answer *a)
{
    struct deciding *w = arg;

    switch (a->result) {
    case TG_PEOPLE_DONE:
        w->changed = true;
        decided(w);
        return;
    case TG_PEOPLE_OF_EVENT:
        discard_event(w, a->event);
        return;
    case TG_PEOPLE_STOPPING:
        (void)snprintf(w->why, sizeof(w->why), "%s", NOT_NOW);
        decided(w);
        return;
    default:
        cannot(w, a->message);
        return;
    }
}

static void on_replay(void *arg, int64_t id, const char *why)
{
    struct deciding *w = arg;

    w->changed = id != 0;
    if (id == 0) {
        (void)snprintf(w->why, sizeof(w->why), "%s", why);
    }
    decided(w);
}

static void replay(struct deciding *w)
{
    const char *token = json_string_value(json_object_get(w->what, "token"));
    const struct tg_replays_wish wish = {.tenant = w->tenant,
                                         .actor = w->asked_by,
                                         .reason = w->reason,
                                         .token = token != NULL ? token : "",
                                         .filter = json_object_get(w->what, "filter"),
                                         .items = json_object_get(w->what, "items"),
                                         .approval = w->id,
                                         .second = w->c->actor,
                                         .said = w->c->reason,
                                         .done = on_replay,
                                         .arg = w};

    tg_replays_begin(w->p->replays, &wish);
}

/* What was asked for, by its verb. */
static void execute(struct deciding *w)
{
    const struct tg_people_request r = {.verb = TG_PEOPLE_DISCARD,
                                        .exception = w->exception,
                                        .tenant = w->tenant,
                                        .actor = w->asked_by,
                                        .reason = w->reason,
                                        .approval = w->id,
                                        .second = w->c->actor,
                                        .said = w->c->reason,
                                        .done = on_people,
                                        .arg = w};

    if (strcmp(w->verb, TG_APPROVAL_REPLAY) == 0) {
        replay(w);
    } else if (strcmp(w->verb, TG_APPROVAL_DISCARD) != 0) {
        (void)snprintf(w->why, sizeof(w->why), "this program does not know what was asked for");
        decided(w);
    } else if (tg_people_submit(w->p->dispatch, &r) != 0) {
        (void)snprintf(w->why, sizeof(w->why), "%s", NOT_NOW);
        decided(w);
    }
}

/* Why nothing can be decided, in w->why; or it was decided so already. True: it is answered. */
static bool is_settled(struct deciding *w, bool approves)
{
    const bool same = approves ? w->state == TG_APPROVAL_DONE || w->state == TG_APPROVAL_APPROVED
                               : w->state == TG_APPROVAL_REFUSED;

    if (w->state == TG_APPROVAL_PENDING && strcmp(w->asked_by, w->c->actor) != 0) {
        return false;
    }
    if (w->state == TG_APPROVAL_PENDING) {
        (void)snprintf(w->why, sizeof(w->why),
                       "who asked for it cannot decide about it: it needs a second person");
    } else if (!same) {
        (void)snprintf(w->why, sizeof(w->why), "approval %" PRId64 " is %s, by %s", w->id,
                       tg_approval_state_name(w->state), w->decided_by);
    }
    decided(w);
    return true;
}

static void drop(struct deciding *w)
{
    if (w != NULL) {
        json_decref(w->what);
    }
    free(w);
}

void tg_approvals_decide(const struct tg_performer *p, struct tg_control *c)
{
    const char *decision = json_string_value(json_object_get(c->body, "decision"));
    const bool approves = decision != NULL && strcmp(decision, "approve") == 0;
    struct deciding *w = calloc(1, sizeof(*w));
    struct tg_error err = {""};
    int rc = -1;

    if (w != NULL) {
        *w = (struct deciding){.p = p, .c = c};
        rc = tg_reader_approval(p->reader, c->id, on_approval, w, &err);
    }
    if (rc < 0 || *place_of(p, c->id) != NULL) {
        tg_control_refuse(c, TG_PROBLEM_UNAVAILABLE, "%s",
                          rc < 0 ? NOT_NOW : "it is being decided right now; look again");
        drop(w);
        return;
    }
    if (rc == 1 || strcmp(w->tenant, c->tenant) != 0) {
        tg_control_refuse(c, TG_PROBLEM_NOT_FOUND, "this tenant has no approval of that number");
        drop(w);
        return;
    }
    *place_of(p, c->id) = w;
    if (is_settled(w, approves)) {
        return;
    }
    if (w->expires_ms <= tg_dispatch_now_ms()) {
        (void)snprintf(w->why, sizeof(w->why),
                       "nobody decided in time: it has expired, and can be asked for again");
        end(w, TG_APPROVAL_EXPIRED, "orchestrator", "nobody decided in time");
    } else if (!approves) {
        end(w, TG_APPROVAL_REFUSED, c->actor, c->reason);
    } else {
        execute(w);
    }
}
