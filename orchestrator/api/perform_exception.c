/* Verbs on exceptions, on the loop: of a posting they are dispatch's, of an event intake's. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/approve.h"
#include "dispatch/people.h"
#include "intake/again.h"
#include "master/live.h"
#include "master/master.h"

/* What an answer needs after the commit. The performer lives as long. */
struct pending {
    const struct tg_performer *p;
    struct tg_control *c;
};

static const char NOT_NOW[] =
    "too many such commands wait, or the process stops; nothing was done, try again later";

static void done(struct tg_control *c, bool changed, int64_t made, const char *message)
{
    tg_control_answer(c, json_pack("{s:b, s:I, s:o}", "changed", changed, "made", (json_int_t)made,
                                   "message",
                                   message[0] != '\0' ? json_string(message) : json_null()));
}

static const char *member(const struct tg_control *c, const char *name)
{
    return json_string_value(json_object_get(c->body, name));
}

static char *content_of(const struct tg_control *c)
{
    return json_dumps(json_object_get(c->body, "content"), JSON_COMPACT);
}

/* ---- with a second person ---- */

/* It could be discarded: the wish waits for one. */
static void ask_second(struct pending *w)
{
    const struct tg_performer *p = w->p;
    struct tg_control *c = w->c;
    char subject[48];

    free(w);
    (void)snprintf(subject, sizeof(subject), "exception %" PRId64, c->id);
    tg_approvals_ask(p, c, TG_APPROVAL_DISCARD, subject,
                     json_pack("{s:I}", "exception", (json_int_t)c->id));
}

/* ---- of an event or its object ---- */

static void on_again(void *arg, const struct tg_again_answer *a)
{
    struct pending *w = arg;
    struct tg_control *c = w->c;
    char text[TG_ERROR_MAX_BYTES];

    free(w);
    if (a->result == TG_AGAIN_STOPPING) {
        tg_control_refuse(c, TG_PROBLEM_UNAVAILABLE, "%s", NOT_NOW);
        return;
    }
    if (a->result == TG_AGAIN_INVALID) {
        tg_control_refuse(c, TG_PROBLEM_BODY_INVALID,
                          "nothing was done: `content` is the whole event, and %s", a->message);
        return;
    }
    if (a->result == TG_AGAIN_REFUSED) {
        tg_control_refuse(c, TG_PROBLEM_CONFLICT, "nothing was done: %s", a->message);
        return;
    }
    text[0] = '\0';
    if (c->kind != TG_CONTROL_DISCARD) {
        (void)snprintf(text, sizeof(text), "judged again: %s%s%s%s%.300s",
                       a->result == TG_AGAIN_UNCHANGED ? "as before, " : "", a->state,
                       a->code[0] != '\0' ? ", " : "", a->code, "");
    }
    done(c, a->result == TG_AGAIN_DONE, 0, text);
}

static void judge_again(struct pending *w, int64_t event)
{
    struct tg_control *c = w->c;
    struct tg_again_request r = {.event = event,
                                 .why = TG_AGAIN_REPLAY,
                                 .exception = c->id,
                                 .actor = c->actor,
                                 .reason = c->reason,
                                 .done = on_again,
                                 .arg = w};
    char *body = NULL;
    int rc = -1;

    if (c->kind == TG_CONTROL_RESOLVE) {
        free(w);
        tg_control_refuse(c, TG_PROBLEM_CONFLICT,
                          "this exception is about an event, and nothing of it was sent: use "
                          "replay, edit or discard");
        return;
    }
    if (c->kind == TG_CONTROL_EDIT) {
        body = content_of(c);
        r.why = TG_AGAIN_EDIT;
        r.body = tg_str_of(body);
    } else if (c->kind == TG_CONTROL_DISCARD) {
        r.why = TG_AGAIN_DISCARD;
    }
    if (c->kind != TG_CONTROL_EDIT || body != NULL) {
        rc = tg_again_submit(w->p->intake, &r);
    }
    free(body);
    if (rc != 0) {
        free(w);
        tg_control_refuse(c, TG_PROBLEM_UNAVAILABLE, "%s", NOT_NOW);
    }
}

/* ---- of a posting ---- */

static void on_people(void *arg, const struct tg_people_answer *a)
{
    struct pending *w = arg;
    struct tg_control *c = w->c;

    switch (a->result) {
    case TG_PEOPLE_OF_EVENT:
        if (tg_approvals_needed(w->p, c)) {
            ask_second(w);
        } else {
            judge_again(w, a->event);
        }
        return;
    case TG_PEOPLE_DONE:
        if (tg_approvals_needed(w->p, c)) {
            ask_second(w);
            return;
        }
        done(c, true, a->made, a->message);
        break;
    case TG_PEOPLE_UNCHANGED:
        done(c, false, a->made, a->message);
        break;
    case TG_PEOPLE_REFUSED:
        tg_control_refuse(c, TG_PROBLEM_CONFLICT, "%s", a->message);
        break;
    case TG_PEOPLE_INVALID:
        tg_control_refuse(c, TG_PROBLEM_BODY_INVALID, "%s", a->message);
        break;
    case TG_PEOPLE_NOT_FOUND:
        tg_control_refuse(c, TG_PROBLEM_NOT_FOUND, "this tenant has no exception of that number");
        break;
    case TG_PEOPLE_STOPPING:
        tg_control_refuse(c, TG_PROBLEM_UNAVAILABLE, "%s", NOT_NOW);
        break;
    }
    free(w);
}

static enum tg_people_verb verb_of(const struct tg_control *c)
{
    const char *outcome = member(c, "outcome");

    switch (c->kind) {
    case TG_CONTROL_ASSIGN:
        return TG_PEOPLE_ASSIGN;
    case TG_CONTROL_RESOLVE:
        return outcome != NULL && strcmp(outcome, "posted") == 0 ? TG_PEOPLE_RESOLVE_POSTED
                                                                 : TG_PEOPLE_RESOLVE_ABSENT;
    case TG_CONTROL_DISCARD:
        return TG_PEOPLE_DISCARD;
    case TG_CONTROL_EDIT:
        return TG_PEOPLE_EDIT;
    default:
        return TG_PEOPLE_REPLAY;
    }
}

static bool may_move(void *arg, const char *from, const char *to, struct tg_error *why)
{
    const struct pending *w = arg;
    const struct tg_config *config = w->p->config;
    const struct tg_config_tenant *t = tg_config_tenant(config, tg_str_of(w->c->tenant));

    return t != NULL &&
           tg_master_may_move(tg_live_current(w->p->lives[t - config->tenants]), from, to, why);
}

void tg_perform_exception(const struct tg_performer *p, struct tg_control *c)
{
    struct pending *w = malloc(sizeof(*w));
    char *content = c->kind == TG_CONTROL_EDIT ? content_of(c) : NULL;
    const struct tg_people_request r = {.verb = verb_of(c),
                                        .exception = c->id,
                                        .tenant = c->tenant,
                                        .actor = c->actor,
                                        .reason = c->reason,
                                        .only_ask = tg_approvals_needed(p, c),
                                        .assignee = member(c, "assignee"),
                                        .ref = member(c, "reference"),
                                        .payload = content,
                                        .period = member(c, "period"),
                                        .may_move = may_move,
                                        .done = on_people,
                                        .arg = w};
    int rc = -1;

    if (w != NULL && (content != NULL || c->kind != TG_CONTROL_EDIT)) {
        *w = (struct pending){.p = p, .c = c};
        rc = tg_people_submit(p->dispatch, &r);
    }
    free(content);
    if (rc != 0) {
        free(w);
        tg_control_refuse(c, TG_PROBLEM_UNAVAILABLE, "%s", NOT_NOW);
    }
}
