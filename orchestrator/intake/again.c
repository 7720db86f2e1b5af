/*
 * Between two durable actions the process may die; what then happens:
 *
 *   A1  asked for, not on disk          -> held or in exception as before; who asked was told
 *                                          nothing; versions that are held are all looked at again
 *                                          at the start
 *   A2  on disk, not answered           -> it is done; asking again says so (UNCHANGED or REFUSED)
 *   A3  on disk, dispatch not told      -> its postings are READY: loaded at the next start
 *   A4  a name arrived, no walk yet     -> as A1
 *
 * Kept by: old row, new row, postings, cancels, reversals, edit and audit are one batch; one batch
 * of intake at a time, entries and events judged again in turns; two of one object, or of one event
 * (an edit, a discard), never in one (seen.h).
 */
#include "intake/again.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/codec.h"
#include "common/digest.h"
#include "common/log.h"
#include "intake/inner.h"
#include "intake/judge.h"
#include "intake/stored.h"
#include "journal/approvals.h"

#define EXPIRE (TG_AGAIN_DISCARD + 1) /* its time is up: as RELEASE, and not held again */
#define OURSELVES "orchestrator"

struct request {
    struct request *next;
    int64_t event, exception, approval;
    int why; /* enum tg_again_why, or EXPIRE */
    struct tg_str body;
    tg_again_done done;
    void *arg;
    /* the answer, once it is known */
    enum tg_again_result result;
    int64_t object;
    const char *state; /* static */
    char code[TG_CODE_MAX_BYTES + 1];
    char message[TG_ERROR_MAX_BYTES];
    char *actor, *reason, *second, *said; /* inside text */
    char text[];
};

/* Versions held for a name, from after on. */
struct walk {
    char tenant[TG_TENANT_MAX_BYTES + 1];  /* "": all */
    char name[TG_WAITS_FOR_MAX_BYTES + 1]; /* "": whatever they wait for */
    int64_t after;
};

struct tg_again {
    struct request *head, **tail;
    size_t count;
    struct request *out;      /* in the batch in hand: answered after its commit */
    struct request *answered; /* nothing to write: answered once the batch is out of hand */
    struct walk walks[TG_AGAIN_WALKS_MAX];
    size_t walk_count;
    int64_t due_at; /* loop time */
    bool is_due;    /* look at what is overdue */
    bool stopped;
};

struct tg_again *tg_again_new(void)
{
    struct tg_again *a = calloc(1, sizeof(*a));

    if (a != NULL) {
        a->tail = &a->head;
        a->walk_count = 1; /* A1: everything, once */
    }
    return a;
}

static void free_list(struct request *q)
{
    while (q != NULL) {
        struct request *next = q->next;

        free(q);
        q = next;
    }
}

void tg_again_free(struct tg_again *a)
{
    if (a == NULL) {
        return;
    }
    free_list(a->head);
    free_list(a->out);
    free_list(a->answered);
    free(a);
}

bool tg_again_has_work(const struct tg_intake *i)
{
    const struct tg_again *a = i->again;

    return a->head != NULL || a->walk_count != 0 || a->is_due;
}

/* ---- asking ---- */

static struct request *new_request(const struct tg_again_request *from)
{
    const char *actor = from->actor != NULL ? from->actor : OURSELVES;
    const char *reason = from->reason != NULL ? from->reason : "";
    size_t actor_len = strlen(actor) + 1;
    const char *second = from->second != NULL ? from->second : "";
    const char *said = from->said != NULL ? from->said : "";
    size_t reason_len = strlen(reason) + 1;
    size_t second_len = strlen(second) + 1;
    size_t said_len = strlen(said) + 1;
    struct request *q =
        malloc(sizeof(*q) + actor_len + reason_len + second_len + said_len + from->body.len);

    if (q == NULL) {
        return NULL;
    }
    memset(q, 0, sizeof(*q));
    q->event = from->event;
    q->exception = from->exception;
    q->approval = from->approval;
    q->why = (int)from->why;
    q->done = from->done;
    q->arg = from->arg;
    q->state = "";
    q->actor = q->text;
    q->reason = q->actor + actor_len;
    memcpy(q->actor, actor, actor_len);
    memcpy(q->reason, reason, reason_len);
    q->second = q->reason + reason_len;
    memcpy(q->second, second, second_len);
    q->said = q->second + second_len;
    memcpy(q->said, said, said_len);
    if (from->body.len != 0) {
        unsigned char *body = (unsigned char *)q->said + said_len;

        memcpy(body, from->body.data, from->body.len);
        q->body = (struct tg_str){body, from->body.len};
    }
    return q;
}

int tg_again_submit(struct tg_intake *i, const struct tg_again_request *request)
{
    struct tg_again *a = i->again;
    struct request *q;

    if (a->stopped || i->failed || a->count >= TG_AGAIN_MAX) {
        return -1;
    }
    q = new_request(request);
    if (q == NULL) {
        return -1;
    }
    *a->tail = q;
    a->tail = &q->next;
    a->count++;
    tg_intake_advance(i);
    return 0;
}

void tg_holds_arrived(struct tg_intake *i, const char *tenant, const char *name)
{
    struct tg_again *a = i->again;
    struct walk *w;

    if (a->walk_count == TG_AGAIN_WALKS_MAX) {
        a->walk_count = 0; /* everything, then */
        tenant = name = NULL;
    }
    w = &a->walks[a->walk_count++];
    *w = (struct walk){.after = 0};
    (void)snprintf(w->tenant, sizeof(w->tenant), "%s", tenant != NULL ? tenant : "");
    (void)snprintf(w->name, sizeof(w->name), "%s", name != NULL ? name : "");
    tg_intake_advance(i);
}

void tg_again_tick(struct tg_intake *i)
{
    if (tg_intake_now(i) >= i->again->due_at) {
        i->again->due_at = tg_intake_now(i) + TG_AGAIN_DUE_MS;
        i->again->is_due = true;
    }
}

/* ---- answering ---- */

static void answer(struct request *q)
{
    const struct tg_again_answer a = {.result = q->result,
                                      .object = q->object,
                                      .state = q->state,
                                      .code = q->code,
                                      .message = q->message};

    if (q->done != NULL) {
        q->done(q->arg, &a);
    }
    free(q);
}

static int refuse(struct request *q, const char *why)
{
    q->result = TG_AGAIN_REFUSED;
    (void)snprintf(q->message, sizeof(q->message), "%s", why);
    return 0;
}

/* Whoever hears it may ask for more: so never while a batch is being filled. */
static void answer_list(struct request **list)
{
    struct request *q = *list;

    *list = NULL;
    while (q != NULL) {
        struct request *next = q->next;

        answer(q);
        q = next;
    }
}

void tg_again_committed(struct tg_intake *i)
{
    answer_list(&i->again->out);
}

void tg_again_stop(struct tg_intake *i)
{
    struct tg_again *a = i->again;

    a->stopped = true;
    while (a->head != NULL) {
        struct request *q = a->head;

        a->head = q->next;
        a->count--;
        (void)refuse(q, "the process stops; nothing was done");
        q->result = TG_AGAIN_STOPPING;
        answer(q);
    }
    a->tail = &a->head;
    a->walk_count = 0;
    a->is_due = false;
}

/* ---- judging ---- */

/* What is known of the one event in hand. */
struct judged {
    struct request *q;
    struct tg_stored stored;
    struct tg_verdict v;
};

static void judged_clear(struct judged *j)
{
    tg_verdict_clear(&j->v);
    tg_stored_clear(&j->stored);
}

/* The outcome as the answer tells it, from the plan. */
static void describe(struct request *q, const struct tg_plan *p)
{
    json_t *detail = p->detail != NULL ? json_loads(p->detail, 0, NULL) : NULL;
    const char *message = json_string_value(json_object_get(detail, "message"));

    q->state = p->has_object ? tg_version_state_name(p->object_state)
                             : tg_event_state_name(p->event_state);
    (void)snprintf(q->code, sizeof(q->code), "%s", p->code != NULL ? p->code : "");
    (void)snprintf(q->message, sizeof(q->message), "%s%s", p->waits_for != NULL ? "waits for " : "",
                   p->waits_for != NULL ? p->waits_for
                   : message != NULL    ? message
                                        : "");
    json_decref(detail);
}

/* Is there an open exception of this code, of the object or, without one, of the event? */
static bool has_code(const struct judged *j, const char *code)
{
    return code != NULL && strcmp(j->stored.code, code) == 0;
}

static bool is_unchanged(const struct judged *j)
{
    const struct tg_plan *p = &j->v.plan;
    const struct tg_stored *s = &j->stored;

    if (j->q->why == (int)TG_AGAIN_EDIT) {
        return false; /* what the person wrote is kept, whatever comes out */
    }
    if (s->object == 0) {
        return p->event_state == TG_EVENT_EXCEPTION && has_code(j, p->code);
    }
    if (s->object_state == TG_VERSION_HELD) {
        return p->object_state == TG_VERSION_HELD && p->waits_for != NULL &&
               strcmp(s->waits_for, p->waits_for) == 0;
    }
    return p->object_state == TG_VERSION_EXCEPTION && has_code(j, p->code);
}

/* Why this outcome may not take the place of what there is; NULL: it may. */
static const char *misfit(const struct judged *j)
{
    const struct tg_verdict *v = &j->v;
    unsigned char key[TG_POSTING_KEY_BYTES];

    if (j->stored.object == 0) {
        return NULL;
    }
    if (v->reading.code != NULL || !v->ran || !tg_decide_has_object(&v->result)) {
        return "it gives no object any more; see the rules and the event";
    }
    if (tg_decide_object_key(&v->reading, &v->result, key) != 0 ||
        memcmp(key, j->stored.key, sizeof(key)) != 0 ||
        v->result.object_version != j->stored.version) {
        return "kind, id and version of the object must stay what they are";
    }
    return NULL;
}

/* What a person wrote cannot be read, or is not even an object any more: says what is wrong. */
static bool is_no_event(struct judged *j)
{
    const struct tg_verdict *v = &j->v;
    struct request *q = j->q;

    if (q->why != (int)TG_AGAIN_EDIT) {
        return false;
    }
    if (v->reading.code != NULL && strcmp(v->reading.code, "event_undecodable") == 0) {
        q->result = TG_AGAIN_INVALID;
        (void)snprintf(q->message, sizeof(q->message), "%s", v->reading.message);
    } else if (j->stored.object != 0 && v->ran && !tg_decide_has_object(&v->result)) {
        q->result = TG_AGAIN_INVALID;
        describe(q, &v->plan);
    }
    return q->result == TG_AGAIN_INVALID;
}

/* Result and known, and the decision. 0, 1: later, -1. */
static int decide(struct tg_intake *i, struct judged *j, struct tg_error *err)
{
    struct tg_known *k = &j->v.known;
    int rc = 0;

    if (tg_reading_make(&j->stored.entry, i->o.config, &j->v.reading) != 0) {
        return tg_error_set(err, "intake: no memory to read an event");
    }
    j->v.reading.event.event_id = j->stored.event_id;
    if (j->v.reading.code == NULL) {
        rc = tg_judge_object(i, &j->v, err);
    }
    if (rc != 0) {
        return rc;
    }
    if (j->stored.object != 0 && k->same.id == j->stored.object) {
        free(k->same.json); /* it does not stand in its own way */
        k->same = (struct tg_known_version){0};
    }
    k->is_overdue = j->q->why == EXPIRE;
    if (tg_decide(&j->v.reading, j->v.ran ? &j->v.result : NULL, k, i->o.pipeline->catalogue,
                  &j->v.plan) != 0) {
        return tg_error_set(err, "intake: no memory to decide");
    }
    return 0;
}

/* ---- writing ---- */

static const char *action_of(int why)
{
    switch (why) {
    case TG_AGAIN_REPLAY:
        return "event.replayed";
    case TG_AGAIN_EDIT:
        return "event.edited";
    case EXPIRE:
        return "event.hold_expired";
    default:
        return "event.released";
    }
}

static enum tg_exception_state close_as(int why)
{
    return why == (int)TG_AGAIN_REPLAY ? TG_EXCEPTION_REPLAYED
           : why == (int)TG_AGAIN_EDIT ? TG_EXCEPTION_EDITED
                                       : TG_EXCEPTION_AUTO_CLOSED;
}

static int write_audit(const struct tg_write *w, const struct judged *j, struct tg_error *err)
{
    const struct request *q = j->q;
    unsigned char digest[TG_SHA256_BYTES];
    char hex[2 * TG_SHA256_BYTES + 1] = "";
    json_t *doc;
    char *detail;
    int rc;

    if (q->body.len != 0) {
        if (tg_sha256(q->body, digest) != 0) {
            return tg_error_set(err, "intake: no memory for a digest");
        }
        tg_hex_encode(digest, sizeof(digest), hex);
        hex[2 * TG_SHA256_BYTES] = '\0';
    }
    doc = json_pack("{s:I, s:s, s:s, s:s*, s:s*}", "object", (json_int_t)j->stored.object, "state",
                    q->state, "code", q->code, "reason", q->reason[0] != '\0' ? q->reason : NULL,
                    "body_sha256", hex[0] != '\0' ? hex : NULL);
    detail = doc != NULL ? json_dumps(doc, JSON_COMPACT) : NULL;
    rc = detail != NULL
             ? tg_batch_audit(w->batch, q->actor, action_of(q->why), j->stored.event_id, detail)
             : -1;
    free(detail);
    json_decref(doc);
    return rc == 0 ? 0 : tg_error_set(err, "intake: no memory for an audit row");
}

static int write_edit(const struct tg_write *w, const struct judged *j, struct tg_error *err)
{
    const struct tg_row_edit edit = {
        .event = j->q->event, .actor = j->q->actor, .body = j->q->body, .at_ms = w->now_ms};

    if (j->q->why != (int)TG_AGAIN_EDIT || tg_batch_edit(w->batch, &edit) == 0) {
        return 0;
    }
    return tg_error_set(err, "intake: no memory to keep an edit");
}

/* One act on an event in a batch: what the second one reads is not on disk yet. 0, or 1: later. */
static int see_event(struct tg_intake *i, int64_t event)
{
    unsigned char key[TG_POSTING_KEY_BYTES] = "an event";

    memcpy(key + sizeof(key) - sizeof(event), &event, sizeof(event));
    if (tg_seen_has(&i->seen, key)) {
        return 1;
    }
    tg_seen_add(&i->seen, key);
    return 0;
}

/* Exceptions of an event that had no object. */
static int close_own(const struct tg_write *w, const struct judged *j, struct tg_error *err)
{
    for (size_t k = 0; k < j->stored.exception_count; k++) {
        if (tg_write_close(w, &j->stored.exceptions[k], w->close_as, err) != 0) {
            return -1;
        }
    }
    return 0;
}

/* Held before and now: its row stays, and so does its time. */
static int write_other_name(struct tg_intake *i, struct judged *j, struct tg_error *err)
{
    j->q->object = j->stored.object;
    return tg_batch_object_hold(i->batch, j->stored.object, j->v.plan.waits_for) == 0
               ? 0
               : tg_error_set(err, "intake: no memory to record a hold");
}

static int write_outcome(struct tg_intake *i, struct judged *j, struct tg_error *err)
{
    struct tg_write w = tg_judge_write(i, &j->v);
    int64_t object = 0;

    if (j->stored.object_state == TG_VERSION_HELD && j->stored.object != 0 &&
        j->v.plan.object_state == TG_VERSION_HELD && j->v.plan.has_object &&
        j->q->why != (int)TG_AGAIN_EDIT) {
        return write_other_name(i, j, err);
    }

    w.event = j->q->event;
    w.sent_ms = tg_restoring_sent_again_ms(i, j->q->event);
    w.judged_object = j->stored.object;
    w.close_as = close_as(j->q->why);
    w.actor = j->q->actor;
    w.reason = j->q->reason;
    w.outcome = j->q->state;
    w.event_accepted = j->stored.object == 0 && j->v.plan.event_state == TG_EVENT_ACCEPTED;
    w.object_out = &object;
    if (write_edit(&w, j, err) != 0 || (j->stored.object == 0 && close_own(&w, j, err) != 0) ||
        tg_write_plan(&w, &j->v.reading, &j->v.plan, &j->v.known, err) != 0 ||
        write_audit(&w, j, err) != 0) {
        return -1;
    }
    j->q->object = object;
    return 0;
}

static bool on_ending(void *arg, const struct tg_row_exception *row)
{
    struct request *q = arg;

    if ((row->state == TG_EXCEPTION_OPEN || row->state == TG_EXCEPTION_ASSIGNED) &&
        row->event == q->event && row->posting == 0) {
        q->object = row->object;
        q->result = TG_AGAIN_DONE;
    }
    return false;
}

/* The row alone: what it is about stays as it is. Corrections of it come as ever. */
static int discard(struct tg_intake *i, struct request *q, struct tg_error *err)
{
    const struct tg_row_act act = {.exception = q->exception,
                                   .state = TG_EXCEPTION_DISCARDED,
                                   .actor = q->actor,
                                   .reason = q->reason,
                                   .outcome = "closed",
                                   .approved_by = q->second};

    q->result = TG_AGAIN_REFUSED;
    if (tg_reader_exception(i->reader, q->exception, on_ending, q, err) < 0) {
        return -1;
    }
    if (q->result == TG_AGAIN_REFUSED) {
        return refuse(q, "it is closed already");
    }
    if (tg_batch_act(i->batch, &act) != 0 ||
        (q->approval != 0 &&
         tg_batch_approval_end(i->batch, q->approval, TG_APPROVAL_DONE, q->second, q->said) != 0)) {
        return tg_error_set(err, "intake: no memory to end an exception");
    }
    return 0;
}

/* 0: q->result is set, and perhaps rows are in the batch; 1: later; -1. */
static int judge_one(struct tg_intake *i, struct judged *j, struct tg_error *err)
{
    struct request *q = j->q;
    const char *why;
    int rc;

    if (see_event(i, q->event) != 0) {
        return 1;
    }
    if (q->why == (int)TG_AGAIN_DISCARD) {
        return discard(i, q, err);
    }
    rc = tg_stored_read(i->reader, q->event, q->body, &j->stored, err);
    if (rc < 0) {
        return -1;
    }
    if (rc == 1) {
        return refuse(q, "there is no such event, or nothing of it waits any more");
    }
    if (q->why == (int)TG_AGAIN_RELEASE &&
        (j->stored.object == 0 || j->stored.object_state != TG_VERSION_HELD)) {
        return refuse(q, "it is not held");
    }
    rc = decide(i, j, err);
    if (rc != 0) {
        return rc;
    }
    if (is_no_event(j)) {
        return 0;
    }
    why = misfit(j);
    if (why != NULL) {
        return refuse(q, why);
    }
    describe(q, &j->v.plan);
    if (is_unchanged(j)) {
        q->result = TG_AGAIN_UNCHANGED;
        q->object = j->stored.object;
        return 0;
    }
    q->result = TG_AGAIN_DONE;
    return write_outcome(i, j, err);
}

/* Takes q, unless it is for later. 0, 1: later, -1. */
static int take(struct tg_intake *i, struct request *q, struct tg_error *err)
{
    struct judged j = {.q = q};
    struct request **list;
    int rc = judge_one(i, &j, err);

    judged_clear(&j);
    if (rc != 0) {
        return rc;
    }
    list = q->result == TG_AGAIN_DONE ? &i->again->out : &i->again->answered;
    q->next = *list;
    *list = q;
    return 0;
}

/* ---- a batch ---- */

static int take_asked(struct tg_intake *i, size_t *left, struct tg_error *err)
{
    struct tg_again *a = i->again;
    int rc = 0;

    while (*left != 0 && rc == 0 && a->head != NULL &&
           tg_batch_ops(i->batch) < TG_INTAKE_OPS_FULL) {
        struct request *q = a->head;
        struct request *next = q->next;

        rc = take(i, q, err);
        if (rc == 0) {
            a->head = next;
            a->tail = next != NULL ? a->tail : &a->head;
            a->count--;
            (*left)--;
        }
    }
    return rc;
}

/* Events of held versions, with their objects' ids. */
struct page {
    int64_t events[TG_AGAIN_TURN_MAX], objects[TG_AGAIN_TURN_MAX];
    size_t count;
};

static bool on_held(void *arg, const struct tg_row_object *row)
{
    struct page *p = arg;

    p->events[p->count] = row->event;
    p->objects[p->count] = row->id;
    p->count++;
    return p->count < TG_AGAIN_TURN_MAX;
}

/* Judges a page; *done: how many. 0, 1: the next one is for later, -1. */
static int take_page(struct tg_intake *i, const struct page *p, int why, size_t *done,
                     struct tg_error *err)
{
    *done = 0;
    while (*done < p->count && tg_batch_ops(i->batch) < TG_INTAKE_OPS_FULL) {
        const struct tg_again_request asked = {.event = p->events[*done]};
        struct request *q = new_request(&asked);
        int rc;

        if (q == NULL) {
            return tg_error_set(err, "intake: no memory to judge an event again");
        }
        q->why = why;
        rc = take(i, q, err);
        if (rc != 0) {
            free(q);
            return rc;
        }
        (*done)++;
    }
    return 0;
}

static int take_walk(struct tg_intake *i, size_t limit, struct tg_error *err)
{
    struct tg_again *a = i->again;
    struct walk *w = &a->walks[0];
    struct page p = {.count = 0};
    size_t done;
    int rc;

    if (tg_reader_objects_held(i->reader, w->tenant[0] != '\0' ? w->tenant : NULL,
                               w->name[0] != '\0' ? w->name : NULL, w->after, limit, on_held, &p,
                               err) < 0) {
        return -1;
    }
    rc = take_page(i, &p, (int)TG_AGAIN_RELEASE, &done, err);
    if (done != 0) {
        w->after = p.objects[done - 1];
    }
    if (rc == 0 && p.count < limit && done == p.count) {
        a->walk_count--;
        memmove(w, w + 1, a->walk_count * sizeof(*w));
    }
    return rc;
}

static int take_due(struct tg_intake *i, size_t limit, struct tg_error *err)
{
    struct page p = {.count = 0};
    size_t done;
    int rc;

    if (tg_reader_objects_due(i->reader, tg_judge_now_ms(), limit, on_held, &p, err) < 0) {
        return -1;
    }
    rc = take_page(i, &p, EXPIRE, &done, err);
    i->again->is_due = rc != 0 || p.count == limit;
    return rc;
}

static int fill(struct tg_intake *i, struct tg_error *err)
{
    size_t left = TG_AGAIN_TURN_MAX;
    int rc = take_asked(i, &left, err);

    if (rc == 0 && left != 0 && i->again->is_due) {
        rc = take_due(i, left, err);
    } else if (rc == 0 && left != 0 && i->again->walk_count != 0) {
        rc = take_walk(i, left, err);
    }
    return rc;
}

void tg_again_make(struct tg_intake *i)
{
    struct tg_error err;
    int rc;

    i->batch = tg_batch_new();
    if (i->batch == NULL) {
        tg_intake_fail_text(i, "no memory for a batch");
        return;
    }
    tg_seen_clear(&i->seen);
    rc = fill(i, &err);
    if (rc < 0) {
        tg_intake_fail(i, &err);
        return;
    }
    tg_intake_submit(i);
    answer_list(&i->again->answered);
    if (rc == 0 && !i->committing && tg_again_has_work(i)) {
        tg_intake_soon(i); /* nothing was written: there is no commit to go on from */
    }
}
