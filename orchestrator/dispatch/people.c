/*
 * Between two durable actions the process may die; what then happens:
 *
 *   V1  asked for, not on disk             -> as before; nobody was told; asked again, it is done
 *   V2  on disk, not answered              -> it is done; asked again: UNCHANGED
 *   V3  on disk, not loaded, no waiter told -> READY and IN_DOUBT are loaded at the next start,
 *                                             holds are walked (H1)
 *   V4  edit: the old one CANCELLED and the new one   -> one commit: both or none
 *   V5  resolved: POSTED, its totals, and what it reverses -> one commit
 *
 * Why no interleaving doubles or loses a posting. What is read here is what is on disk; a change
 * may be on its way that is not. So a posting is left for a later turn while
 *   - the engine holds it, or a mark of it (it is in the rows): a posting in exception is in
 *     nobody's memory, so READY is loaded once, by its id or by the loader's cursor, whichever
 *     comes first (load.c passes over what it has);
 *   - holds.c has a mark of it, or intake cancels it (cancelled), or has decided about its object
 *     and not committed yet (judged): a reversal that intake holds on it is on disk before it ends.
 * While an act is on its way (busy), intake decides nothing about the object
 * (tg_dispatch_may_cancel says LATER), and holds.c leaves the posting alone; both look again after
 * the commit. The state a mark starts from and the exception's being open are checked once more
 * inside the commit: whoever comes second changes nothing and is told so. Whoever waits for the
 * posting is looked at after the commit, and so is what it was held on, since that may have ended
 * meanwhile. A pause does not matter: READY waits, and the look-up of IN_DOUBT too.
 */
#include "dispatch/people.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/codec.h"
#include "core/correct.h"
#include "dispatch/inner.h"
#include "journal/approvals.h"
#include "journal/restored.h"
#include "journal/trail.h"

#define WORD_BYTES 32
#define PERIOD_BYTES (TG_SOURCE_NAME_MAX_BYTES + 1)
#define DESTINATION_ID_BYTES (TG_TENANT_MAX_BYTES + TG_SOURCE_NAME_MAX_BYTES + 2)

/* What is known of the posting, copied: the reader's rows do not stay. */
struct subject {
    int64_t id, object, reverses, hold_on, first_sent_ms, quantity_micros;
    uint32_t destination;
    unsigned attempt, generation;
    unsigned char reverses_key[TG_POSTING_KEY_BYTES];
    char destination_id[DESTINATION_ID_BYTES];
    char kind[PERIOD_BYTES], leg[PERIOD_BYTES], period[PERIOD_BYTES];
    char *payload; /* EDIT only */
    bool no_memory;
    struct tg_person_case is;
    int64_t before; /* of an older version, not final; 0: none */
};

/* One request, from its asking to its answer. */
struct ask {
    struct ask *next;
    struct tg_people *owner;
    enum tg_people_verb verb;
    int64_t exception, approval;
    bool only_ask;
    tg_people_done done;
    bool (*may_move)(void *arg, const char *from, const char *to, struct tg_error *why);
    void *arg;
    /* the answer, as far as it is known */
    struct tg_people_answer is;
    char word[WORD_BYTES], closed_by[TG_CLIENT_MAX_BYTES + 1], why[TG_REASON_MAX_BYTES + 1];
    char whose[TG_CLIENT_MAX_BYTES + 1];
    char message[TG_ERROR_MAX_BYTES];
    /* after the commit */
    int64_t look_at; /* a posting that may have ended meanwhile; 0: none */
    uint32_t destination;
    enum tg_person_hold hold; /* of the posting that goes on */
    /* the request, inside text; NULL where it was */
    const char *tenant, *actor, *reason, *assignee, *ref, *payload, *period, *second, *said;
    char text[];
};

struct tg_people {
    struct tg_dispatch *d;
    struct ask *head, **tail; /* not looked at, or for later */
    size_t count;             /* of those, and of those on their way */
    size_t out;               /* on their way to the journal */
    struct tg_idset busy;     /* their postings */
    struct tg_restored restored;
    bool knows_restored;
};

struct tg_people *tg_people_new(struct tg_dispatch *d)
{
    struct tg_people *p = calloc(1, sizeof(*p));

    if (p != NULL) {
        p->d = d;
        p->tail = &p->head;
    }
    return p;
}

void tg_people_free(struct tg_people *p)
{
    if (p == NULL) {
        return;
    }
    while (p->head != NULL) {
        struct ask *next = p->head->next;

        free(p->head);
        p->head = next;
    }
    tg_idset_free(&p->busy);
    free(p);
}

bool tg_people_is_quiet(const struct tg_people *p)
{
    return p->count == 0;
}

bool tg_people_has(const struct tg_people *p, int64_t posting)
{
    return tg_idset_has(&p->busy, posting);
}

/* ---- asking ---- */

static const char *keep(char **at, const char *text)
{
    char *start = *at;
    size_t n;

    if (text == NULL) {
        return NULL;
    }
    n = strlen(text) + 1;
    memcpy(start, text, n);
    *at += n;
    return start;
}

static size_t length(const char *text)
{
    return text != NULL ? strlen(text) + 1 : 0;
}

int tg_people_submit(struct tg_dispatch *d, const struct tg_people_request *r)
{
    struct tg_people *p = d->people;
    struct ask *a;
    char *at;

    if (d->stopping || d->failed || p->count >= TG_PEOPLE_MAX) {
        return -1;
    }
    a = malloc(sizeof(*a) + length(r->tenant) + length(r->actor) + length(r->reason) +
               length(r->assignee) + length(r->ref) + length(r->payload) + length(r->period) +
               length(r->second) + length(r->said));
    if (a == NULL) {
        return -1;
    }
    memset(a, 0, sizeof(*a));
    a->owner = p;
    a->verb = r->verb;
    a->exception = r->exception;
    a->done = r->done;
    a->may_move = r->may_move;
    a->arg = r->arg;
    at = a->text;
    a->tenant = keep(&at, r->tenant);
    a->actor = keep(&at, r->actor);
    a->reason = keep(&at, r->reason);
    a->assignee = keep(&at, r->assignee);
    a->ref = keep(&at, r->ref);
    a->payload = keep(&at, r->payload);
    a->period = keep(&at, r->period);
    a->second = keep(&at, r->second);
    a->said = keep(&at, r->said);
    a->approval = r->approval;
    a->only_ask = r->only_ask;
    *p->tail = a;
    p->tail = &a->next;
    p->count++;
    return 0;
}

static enum tg_person_verb verb_of(const struct ask *a)
{
    return (enum tg_person_verb)(a->verb - TG_PEOPLE_REPLAY);
}

_Static_assert(TG_PEOPLE_EDIT - TG_PEOPLE_REPLAY == TG_PERSON_EDIT, "verbs in the same order");

/* ---- answering ---- */

static void answer(struct ask *a, enum tg_people_result result)
{
    struct tg_people *p = a->owner;

    p->count--;
    a->is.result = result;
    a->is.exception = a->exception;
    a->is.assignee = a->whose;
    a->is.outcome = a->word;
    a->is.closed_by = a->closed_by;
    a->is.reason = a->why;
    a->is.message = a->message;
    a->done(a->arg, &a->is);
    free(a);
}

/* ---- what is known ---- */

static bool on_exception(void *arg, const struct tg_row_exception *row)
{
    struct ask *a = arg;

    if (strcmp(row->tenant, a->tenant) != 0) {
        return false; /* another tenant's is as good as none */
    }
    a->is.state = row->state;
    a->is.event = row->event;
    a->is.posting = row->posting;
    a->is.exception = row->id;
    (void)snprintf(a->whose, sizeof(a->whose), "%s", row->assignee);
    (void)snprintf(a->word, sizeof(a->word), "%s", row->outcome);
    (void)snprintf(a->closed_by, sizeof(a->closed_by), "%s", row->closed_by);
    (void)snprintf(a->why, sizeof(a->why), "%s", row->reason);
    return false;
}

struct history {
    int64_t exception;
    struct subject *s;
};

static bool on_history(void *arg, const struct tg_row_exception *row)
{
    struct history *h = arg;
    const enum tg_person_cause cause = tg_person_cause_of(row->code);

    h->s->is.was_unknown = h->s->is.was_unknown || cause == TG_CAUSE_UNKNOWN;
    if (row->id == h->exception) {
        h->s->is.cause = cause;
    }
    return true;
}

static bool on_posting(void *arg, const struct tg_row_posting *row)
{
    struct subject *s = arg;

    s->id = row->id;
    s->object = row->object;
    s->reverses = row->reverses;
    s->hold_on = row->hold_on;
    s->first_sent_ms = row->first_sent_ms;
    s->quantity_micros = row->quantity_micros;
    s->destination = row->destination;
    s->attempt = row->attempt;
    s->generation = row->generation;
    memcpy(s->reverses_key, row->reverses_key, sizeof(s->reverses_key));
    (void)snprintf(s->destination_id, sizeof(s->destination_id), "%s", row->destination_id);
    (void)snprintf(s->kind, sizeof(s->kind), "%s", row->kind);
    (void)snprintf(s->leg, sizeof(s->leg), "%s", row->leg);
    (void)snprintf(s->period, sizeof(s->period), "%s", row->period);
    s->payload = strdup(row->payload);
    s->no_memory = s->payload == NULL;
    s->is.state = row->state;
    s->is.sent = row->first_sent_ms > 0;
    s->is.superseded = row->superseded;
    s->is.is_reversal = row->reverses != 0;
    return false;
}

static bool on_state(void *arg, const struct tg_row_posting *row)
{
    *(enum tg_posting_state *)arg = row->state;
    return false;
}

/* A restore happens while nobody serves: it is the same as long as this process lives. */
static int know_restored(struct tg_people *p, struct tg_error *err)
{
    if (!p->knows_restored && tg_reader_restored(p->d->reader, &p->restored, err) < 0) {
        return -1;
    }
    p->knows_restored = true;
    return 0;
}

static int read_subject(struct ask *a, struct subject *s, struct tg_error *err)
{
    struct tg_people *p = a->owner;
    struct history h = {a->exception, s};
    int rc = tg_reader_posting(p->d->reader, a->is.posting, on_posting, s, err);

    if (rc != 0 || s->no_memory) {
        return rc < 0 ? -1
                      : tg_error_set(err, "dispatch: posting %" PRId64 " cannot be read",
                                     a->is.posting);
    }
    if (know_restored(p, err) != 0 ||
        tg_reader_exceptions_of_posting(p->d->reader, s->id, on_history, &h, err) < 0 ||
        tg_reader_before(p->d->reader, s->id, &s->before, err) < 0) {
        return -1;
    }
    if (s->reverses != 0 &&
        tg_reader_posting(p->d->reader, s->reverses, on_state, &s->is.original, err) != 0) {
        return -1;
    }
    s->is.restored = s->id <= p->restored.postings;
    s->is.since_restore = a->exception > p->restored.exceptions;
    s->is.behind = s->before != 0;
    return 0;
}

/* ---- after the commit ---- */

/* What goes on goes on; what waited for the end of this one, or ended meanwhile, is looked at. */
static void go_on(struct ask *a)
{
    struct tg_dispatch *d = a->owner->d;
    const int64_t goes = a->is.made != 0 ? a->is.made : a->is.posting;

    if (tg_posting_is_final(a->is.posting_state)) {
        tg_holds_ended(d->holds, a->is.posting);
    }
    if (a->hold == TG_PERSON_GOES &&
        (a->is.made != 0 || !tg_posting_is_final(a->is.posting_state))) {
        tg_dispatch_load_again(d, goes, a->destination);
    }
}

static void on_done(void *arg, bool ok, const struct tg_error *err)
{
    struct ask *a = arg;
    struct tg_people *p = a->owner;
    struct tg_dispatch *d = p->d;

    p->out--;
    if (a->is.posting != 0) {
        tg_idset_remove(&p->busy, a->is.posting);
    }
    if (a->look_at != 0) {
        tg_holds_ended(d->holds, a->look_at);
    }
    if (!ok) {
        (void)snprintf(a->message, sizeof(a->message),
                       "it changed while this was asked for, or the process stops; nothing was "
                       "done, look again (%.200s)",
                       err->text);
        answer(a, TG_PEOPLE_REFUSED);
    } else {
        if (a->is.posting != 0 && a->verb != TG_PEOPLE_ASSIGN) {
            go_on(a);
        }
        answer(a, TG_PEOPLE_DONE);
    }
    if (d->listener != NULL) {
        d->listener(d->listener_arg);
    }
}

/* ---- what is written ---- */

static int no_memory(struct tg_error *err)
{
    return tg_error_set(err, "dispatch: no memory for what a person asked for");
}

/* How it is after the act, for the answer; and the act itself. */
static int put_act(struct ask *a, struct tg_batch *b, enum tg_exception_state as,
                   const char *outcome, struct tg_error *err)
{
    const struct tg_row_act act = {.exception = a->exception,
                                   .state = as,
                                   .actor = a->actor,
                                   .reason = a->reason,
                                   .assignee = a->assignee,
                                   .outcome = outcome,
                                   .made = a->is.made,
                                   .approved_by = a->second};
    const bool ends = as != TG_EXCEPTION_ASSIGNED;

    a->is.state = as;
    (void)snprintf(a->word, sizeof(a->word), "%s", outcome);
    (void)snprintf(a->why, sizeof(a->why), "%s", a->reason != NULL ? a->reason : "");
    (void)snprintf(a->closed_by, sizeof(a->closed_by), "%s", ends ? a->actor : "");
    if (!ends) {
        (void)snprintf(a->whose, sizeof(a->whose), "%s", a->assignee);
    }
    if (a->approval != 0 &&
        tg_batch_approval_end(b, a->approval, TG_APPROVAL_DONE, a->second, a->said) != 0) {
        return no_memory(err);
    }
    return tg_batch_act(b, &act) == 0 ? 0 : no_memory(err);
}

static int64_t hold_until(const struct tg_dispatch *d, uint32_t destination)
{
    const struct tg_config_tenant *t =
        destination < d->target_count ? d->targets[destination].tenant : NULL;
    const int64_t wait_ms =
        t != NULL && t->hold_timeout_ms > 0 ? t->hold_timeout_ms : TG_HOLD_TIMEOUT_MS;

    return tg_dispatch_now_ms() + wait_ms;
}

/* The posting itself. A resend begins to count its attempts anew. */
static int put_mark(struct ask *a, struct tg_batch *b, const struct subject *s,
                    const struct tg_person_verdict *v, struct tg_error *err)
{
    const struct tg_people *p = a->owner;
    const int64_t now_ms = tg_dispatch_now_ms();
    struct tg_row_mark mark = {.posting = s->id,
                               .from = s->is.state,
                               .to = v->to,
                               .attempt = tg_posting_is_final(v->to) ? s->attempt : 0,
                               .due_ms = v->to == TG_POSTING_IN_DOUBT ? now_ms : 0,
                               .at_ms = now_ms};

    if (a->verb == TG_PEOPLE_RESOLVE_POSTED) {
        mark.ref = a->ref;
    }
    if (s->is.restored) { /* the earliest it can have been sent: see restored.h */
        mark.at_ms = p->restored.backup_ms;
    }
    a->is.posting_state = v->to;
    return tg_batch_mark(b, &mark) == 0 ? 0 : no_memory(err);
}

static int put_hold(struct ask *a, struct tg_batch *b, const struct subject *s,
                    enum tg_person_hold hold, struct tg_error *err)
{
    const bool order = hold == TG_PERSON_HELD_ORDER;

    a->look_at = order ? s->before : s->reverses;
    return tg_batch_hold(b, s->id, order ? TG_HOLD_ORDER : TG_HOLD_REVERSAL, a->look_at,
                         hold_until(a->owner->d, s->destination)) == 0
               ? 0
               : no_memory(err);
}

/* A reversal that is there has reversed its original, in the same commit. */
static int put_reversed(struct tg_batch *b, const struct subject *s, struct tg_error *err)
{
    const struct tg_row_mark mark = {.posting = s->reverses,
                                     .from = TG_POSTING_POSTED,
                                     .to = TG_POSTING_REVERSED,
                                     .at_ms = tg_dispatch_now_ms()};

    return tg_batch_mark(b, &mark) == 0 ? 0 : no_memory(err);
}

/* ---- edits ---- */

struct version {
    unsigned char key[TG_POSTING_KEY_BYTES];
    int64_t number;
};

static bool on_object(void *arg, const struct tg_row_object *row)
{
    struct version *v = arg;

    memcpy(v->key, row->key, sizeof(v->key));
    v->number = row->version;
    return false;
}

/* The key of the next generation: of a reversal, from what it takes back. */
static int next_key(const struct ask *a, const struct subject *s,
                    unsigned char out[TG_POSTING_KEY_BYTES], struct tg_error *err)
{
    const struct tg_str destination = tg_str_of(s->destination_id);
    struct version v;
    int rc;

    if (s->reverses != 0) {
        rc = tg_reversal_key(destination, s->reverses_key, tg_str_of(s->kind), tg_str_of(s->leg),
                             s->generation + 1, out);
        return rc == 0 ? 0 : no_memory(err);
    }
    rc = tg_reader_object(a->owner->d->reader, s->object, on_object, &v, err);
    if (rc != 0) {
        return rc < 0 ? -1
                      : tg_error_set(err, "dispatch: object %" PRId64 " is not there", s->object);
    }
    rc = tg_version_posting_key(destination, v.key, v.number, s->kind, s->leg, s->generation + 1,
                                out);
    return rc == 0 ? 0 : no_memory(err);
}

static int put_edit(struct ask *a, struct tg_batch *b, const struct subject *s,
                    const struct tg_person_verdict *v, const char *payload, struct tg_error *err)
{
    const struct tg_row_edit edit = {.posting = s->id,
                                     .actor = a->actor,
                                     .body = tg_str_of(payload),
                                     .at_ms = tg_dispatch_now_ms()};
    struct tg_row_posting row = {.object = s->object,
                                 .destination = s->destination,
                                 .kind = s->kind,
                                 .leg = s->leg,
                                 .generation = s->generation + 1,
                                 .payload = payload,
                                 .period = a->period != NULL ? a->period : s->period,
                                 .quantity_micros = s->quantity_micros,
                                 .state = TG_POSTING_READY,
                                 .reverses = s->reverses};

    if (next_key(a, s, row.key, err) != 0) {
        return -1;
    }
    if (v->hold != TG_PERSON_GOES) {
        row.state = TG_POSTING_HELD;
        row.hold = TG_HOLD_ORDER;
        row.hold_on = s->before;
        row.due_ms = hold_until(a->owner->d, s->destination);
        a->look_at = s->before;
    }
    row.id = tg_journal_next_id(a->owner->d->o.journal, TG_TABLE_POSTINGS);
    a->is.made = row.id;
    return tg_batch_edit(b, &edit) == 0 && tg_batch_posting(b, &row) == 0 ? 0 : no_memory(err);
}

/* ---- one request ---- */

enum step { STEP_ANSWERED, STEP_OUT, STEP_LATER, STEP_FAILED };

static int fill(struct ask *a, struct tg_batch *b, const struct subject *s,
                const struct tg_person_verdict *v, const char *payload, struct tg_error *err)
{
    if (put_mark(a, b, s, v, err) != 0) {
        return -1;
    }
    if (v->to == TG_POSTING_HELD && put_hold(a, b, s, v->hold, err) != 0) {
        return -1;
    }
    if (v->to == TG_POSTING_POSTED && s->reverses != 0 && put_reversed(b, s, err) != 0) {
        return -1;
    }
    if (payload != NULL && put_edit(a, b, s, v, payload, err) != 0) {
        return -1;
    }
    a->hold = v->hold;
    a->destination = s->destination;
    if (a->look_at == 0) {
        a->look_at = s->hold_on; /* it may have ended while holds.c left this one alone */
    }
    return put_act(a, b, v->as, v->outcome, err);
}

/* Takes the batch. */
static enum step submit(struct ask *a, struct tg_batch *b)
{
    struct tg_people *p = a->owner;
    const bool marks = a->is.posting != 0 && a->verb != TG_PEOPLE_ASSIGN;

    if (marks && tg_idset_add(&p->busy, a->is.posting) != 0) {
        tg_batch_free(b);
        return STEP_LATER;
    }
    if (tg_journal_submit(p->d->o.journal, b, on_done, a) != 0) {
        if (marks) {
            tg_idset_remove(&p->busy, a->is.posting);
        }
        tg_batch_free(b);
        return STEP_LATER;
    }
    p->out++;
    return STEP_OUT;
}

static enum step refuse(struct ask *a, const char *why)
{
    (void)snprintf(a->message, sizeof(a->message), "%s", why);
    answer(a, TG_PEOPLE_REFUSED);
    return STEP_ANSWERED;
}

static enum step assign(struct ask *a, struct tg_error *err)
{
    struct tg_batch *b;

    if (a->is.state == TG_EXCEPTION_ASSIGNED && strcmp(a->whose, a->assignee) == 0) {
        answer(a, TG_PEOPLE_UNCHANGED);
        return STEP_ANSWERED;
    }
    b = tg_batch_new();
    if (b == NULL || put_act(a, b, TG_EXCEPTION_ASSIGNED, "", err) != 0) {
        tg_batch_free(b);
        return STEP_FAILED;
    }
    return submit(a, b);
}

struct repeated {
    const char *content;
    bool same;
};

static void on_edit(void *arg, const struct tg_row_edit *row)
{
    struct repeated *r = arg;

    r->same = tg_people_same_content(row->body, r->content);
}

static bool on_resolved(void *arg, const struct tg_row_posting *row)
{
    struct repeated *r = arg;

    r->same = row->ref != NULL && strcmp(row->ref, r->content) == 0;
    return false;
}

/* Is this request the one that closed it, sent again? 0, or -1 with err. */
static int is_repeated(const struct ask *a, bool *same, struct tg_error *err)
{
    struct tg_reader *r = a->owner->d->reader;
    struct repeated x = {.same = true};
    int rc = 0;

    *same = a->verb != TG_PEOPLE_ASSIGN && tg_person_ends_as(verb_of(a)) == a->is.state;
    if (*same && a->is.state == TG_EXCEPTION_RESOLVED) {
        *same = (strcmp(a->word, "posted") == 0) == (a->verb == TG_PEOPLE_RESOLVE_POSTED);
    }
    if (!*same || a->is.posting == 0) {
        return 0;
    }
    if (a->verb == TG_PEOPLE_EDIT) {
        x.content = a->payload;
        rc = tg_reader_edit_of_posting(r, a->is.posting, on_edit, &x, err);
    } else if (a->verb == TG_PEOPLE_RESOLVE_POSTED && a->ref != NULL) {
        x.content = a->ref;
        rc = tg_reader_posting(r, a->is.posting, on_resolved, &x, err);
    }
    *same = x.same;
    return rc < 0 ? -1 : 0;
}

/* The exception is closed: the same thing once more, or something else. */
static enum step closed(struct ask *a, struct tg_error *err)
{
    bool same;

    if (is_repeated(a, &same, err) != 0) {
        return STEP_FAILED;
    }
    (void)snprintf(a->message, sizeof(a->message),
                   "exception %" PRId64 " is closed: it was %s%s%s%s%s%s; nothing was done",
                   a->exception, tg_exception_state_name(a->is.state),
                   a->closed_by[0] != '\0' ? " by " : "", a->closed_by,
                   a->word[0] != '\0' ? " (" : "", a->word, a->word[0] != '\0' ? ")" : "");
    answer(a, same ? TG_PEOPLE_UNCHANGED : TG_PEOPLE_REFUSED);
    return STEP_ANSWERED;
}

/* Something of it is on its way; see above. */
static bool is_for_later(const struct tg_people *p, int64_t posting)
{
    const struct tg_dispatch *d = p->d;

    return tg_people_has(p, posting) || tg_holds_has(d->holds, posting) ||
           tg_idset_has(&d->cancelled, posting) || tg_idset_has(&d->judged, posting) ||
           tg_rows_find(d->rows, posting) != NULL;
}

/* The payload, malloc'ed; NULL with why. */
static char *edited(const struct ask *a, const struct subject *s, struct tg_error *why)
{
    const char *period = a->period != NULL ? a->period : s->period;

    if (strcmp(period, s->period) != 0 &&
        (a->may_move == NULL || !a->may_move(a->arg, s->period, period, why))) {
        return NULL;
    }
    return tg_people_payload(s->payload, a->payload, s->period, period, why);
}

static enum step act(struct ask *a, struct subject *s, struct tg_error *err)
{
    const struct tg_person_verdict v = tg_person_decide(verb_of(a), &s->is);
    struct tg_error why = {""};
    char *payload = NULL;
    struct tg_batch *b;
    int rc;

    a->is.posting_state = s->is.state;
    if (v.refusal != NULL) {
        return refuse(a, v.refusal);
    }
    if (a->only_ask) {
        answer(a, TG_PEOPLE_DONE);
        return STEP_ANSWERED;
    }
    if (a->verb == TG_PEOPLE_EDIT) {
        payload = edited(a, s, &why);
        if (payload == NULL) {
            (void)snprintf(a->message, sizeof(a->message), "%s", why.text);
            answer(a, TG_PEOPLE_INVALID);
            return STEP_ANSWERED;
        }
    }
    b = tg_batch_new();
    rc = b != NULL ? fill(a, b, s, &v, payload, err) : no_memory(err);
    free(payload);
    if (rc != 0) {
        tg_batch_free(b);
        return STEP_FAILED;
    }
    return submit(a, b);
}

static enum step try_one(struct ask *a, struct tg_error *err)
{
    struct subject s = {.id = 0};
    enum step step = STEP_FAILED;

    /* what an earlier turn found */
    memset(&a->is, 0, sizeof(a->is));
    a->look_at = 0;
    if (tg_reader_exception(a->owner->d->reader, a->exception, on_exception, a, err) < 0) {
        return STEP_FAILED;
    }
    if (a->is.exception == 0) {
        answer(a, TG_PEOPLE_NOT_FOUND);
        return STEP_ANSWERED;
    }
    if (a->is.state != TG_EXCEPTION_OPEN && a->is.state != TG_EXCEPTION_ASSIGNED) {
        return closed(a, err);
    }
    if (a->verb == TG_PEOPLE_ASSIGN) {
        return assign(a, err);
    }
    if (a->is.posting == 0) {
        answer(a, TG_PEOPLE_OF_EVENT);
        return STEP_ANSWERED;
    }
    if (is_for_later(a->owner, a->is.posting)) {
        return STEP_LATER;
    }
    if (read_subject(a, &s, err) == 0) {
        step = act(a, &s, err);
    }
    free(s.payload);
    return step;
}

/* ---- the turn ---- */

/* Nothing more goes out: who waits is told that nothing was done. */
static void tell_stopping(struct tg_people *p)
{
    while (p->head != NULL) {
        struct ask *a = p->head;

        p->head = a->next;
        answer(a, TG_PEOPLE_STOPPING);
    }
    p->tail = &p->head;
}

void tg_people_turn(struct tg_people *p)
{
    struct ask *a = p->head;
    struct tg_error err;

    if (p->d->failed) {
        return;
    }
    if (p->d->stopping) {
        tell_stopping(p);
        return;
    }
    p->head = NULL;
    p->tail = &p->head;
    while (a != NULL) { /* who is told may ask for more: that is at the end of the list */
        struct ask *next = a->next;
        enum step step;

        a->next = NULL;
        step = try_one(a, &err);
        if (step == STEP_FAILED) {
            free(a);
            tg_dispatch_fail(p->d, &err);
            return;
        }
        if (step == STEP_LATER) {
            *p->tail = a;
            p->tail = &a->next;
        }
        a = next;
    }
}
