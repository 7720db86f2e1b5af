#include <stdlib.h>
#include <string.h>

#include "journal/alerts.h"
#include "journal/internal.h"
#include "journal/restored.h"

#define OPS_FIRST 8

struct tg_chunk {
    struct tg_chunk *next;
    size_t used, size;
    unsigned char data[];
};

struct tg_batch *tg_batch_new(void)
{
    return calloc(1, sizeof(struct tg_batch));
}

void tg_batch_shed(struct tg_batch *b)
{
    while (b->chunks != NULL) {
        struct tg_chunk *next = b->chunks->next;

        free(b->chunks);
        b->chunks = next;
    }
    free(b->ops);
    b->ops = NULL;
    b->count = 0;
    b->capacity = 0;
}

void tg_batch_free(struct tg_batch *b)
{
    if (b == NULL) {
        return;
    }
    tg_batch_shed(b);
    free(b);
}

size_t tg_batch_ops(const struct tg_batch *b)
{
    return b->count;
}

void tg_batch_list_push(struct tg_batch_list *l, struct tg_batch *b)
{
    b->next = NULL;
    if (l->tail != NULL) {
        l->tail->next = b;
    } else {
        l->head = b;
    }
    l->tail = b;
    l->count++;
}

struct tg_batch *tg_batch_list_pop(struct tg_batch_list *l)
{
    struct tg_batch *b = l->head;

    if (b == NULL) {
        return NULL;
    }
    l->head = b->next;
    if (l->head == NULL) {
        l->tail = NULL;
    }
    l->count--;
    b->next = NULL;
    return b;
}

/* Chunks double from small to large: a batch of one mark is common, and so is one of 256 events. */
static struct tg_chunk *chunk_add(struct tg_batch *b, size_t need)
{
    size_t size = b->chunks == NULL ? TG_JOURNAL_CHUNK_MIN_BYTES : b->chunks->size * 2;
    struct tg_chunk *c;

    if (size > TG_JOURNAL_CHUNK_MAX_BYTES) {
        size = TG_JOURNAL_CHUNK_MAX_BYTES;
    }
    if (size < need) {
        size = need;
    }
    c = malloc(sizeof(*c) + size);
    if (c == NULL) {
        return NULL;
    }
    c->next = b->chunks;
    c->used = 0;
    c->size = size;
    b->chunks = c;
    return c;
}

static const unsigned char *keep_bytes(struct tg_batch *b, const void *data, size_t len)
{
    struct tg_chunk *c = b->chunks;
    unsigned char *copy;

    if (c == NULL || c->size - c->used < len) {
        c = chunk_add(b, len);
    }
    if (c == NULL) {
        b->out_of_memory = true;
        return NULL;
    }
    copy = c->data + c->used;
    if (len > 0) {
        memcpy(copy, data, len);
    }
    c->used += len;
    return copy;
}

/* A missing string is kept as the empty one. */
static const char *keep(struct tg_batch *b, const char *s)
{
    if (s == NULL || s[0] == '\0') {
        return "";
    }
    return (const char *)keep_bytes(b, s, strlen(s) + 1);
}

static const char *keep_or_null(struct tg_batch *b, const char *s)
{
    return s == NULL ? NULL : keep(b, s);
}

static struct tg_op *op_add(struct tg_batch *b, enum tg_op_kind kind)
{
    struct tg_op *op;

    if (b->out_of_memory || b->count >= TG_JOURNAL_BATCH_OPS_MAX) {
        return NULL;
    }
    if (b->count == b->capacity) {
        size_t capacity = b->capacity == 0 ? OPS_FIRST : b->capacity * 2;
        struct tg_op *ops = realloc(b->ops, capacity * sizeof(*ops));

        if (ops == NULL) {
            b->out_of_memory = true;
            return NULL;
        }
        b->ops = ops;
        b->capacity = capacity;
    }
    op = &b->ops[b->count++];
    memset(op, 0, sizeof(*op));
    op->kind = kind;
    return op;
}

static int op_result(const struct tg_batch *b)
{
    return b->out_of_memory ? -1 : 0;
}

int tg_batch_event(struct tg_batch *b, const struct tg_row_event *r)
{
    struct tg_op *op = op_add(b, TG_OP_EVENT);
    struct tg_row_event *e;

    if (op == NULL) {
        return -1;
    }
    e = &op->u.event;
    *e = *r;
    e->event_id = keep(b, r->event_id);
    e->tenant = keep(b, r->tenant);
    e->client = keep(b, r->client);
    e->source = keep(b, r->source);
    e->ce_id = keep(b, r->ce_id);
    e->type = keep(b, r->type);
    e->subject = keep(b, r->subject);
    e->time = keep(b, r->time);
    e->dataschema = keep(b, r->dataschema);
    e->idem_key = keep(b, r->idem_key);
    e->correlation_id = keep(b, r->correlation_id);
    e->traceparent = keep(b, r->traceparent);
    e->body_sha256 = keep(b, r->body_sha256);
    e->content_type = keep(b, r->content_type);
    e->body.data = keep_bytes(b, r->body.data, r->body.len);
    return op_result(b);
}

int tg_batch_object(struct tg_batch *b, const struct tg_row_object *r)
{
    struct tg_op *op = op_add(b, TG_OP_OBJECT);
    struct tg_row_object *o;

    if (op == NULL) {
        return -1;
    }
    o = &op->u.object;
    *o = *r;
    o->tenant = keep(b, r->tenant);
    o->kind = keep(b, r->kind);
    o->source = keep(b, r->source);
    o->object_id = keep(b, r->object_id);
    o->json = keep(b, r->json);
    o->rules_sha256 = keep(b, r->rules_sha256);
    o->master_version = keep(b, r->master_version);
    o->waits_for = keep(b, r->waits_for);
    return op_result(b);
}

int tg_batch_object_state(struct tg_batch *b, int64_t object, enum tg_version_state to)
{
    struct tg_op *op = op_add(b, TG_OP_OBJECT_STATE);

    if (op == NULL) {
        return -1;
    }
    op->u.object_state.id = object;
    op->u.object_state.to = to;
    return 0;
}

int tg_batch_object_hold(struct tg_batch *b, int64_t object, const char *waits_for)
{
    struct tg_op *op = op_add(b, TG_OP_OBJECT_HOLD);

    if (op == NULL) {
        return -1;
    }
    op->u.object_hold.id = object;
    op->u.object_hold.waits_for = keep(b, waits_for);
    return op_result(b);
}

int tg_batch_event_accepted(struct tg_batch *b, int64_t event)
{
    struct tg_op *op = op_add(b, TG_OP_EVENT_ACCEPTED);

    if (op == NULL) {
        return -1;
    }
    op->u.event_accepted = event;
    return 0;
}

int tg_batch_edit(struct tg_batch *b, const struct tg_row_edit *r)
{
    struct tg_op *op = op_add(b, TG_OP_EDIT);

    if (op == NULL) {
        return -1;
    }
    op->u.edit = *r;
    op->u.edit.actor = keep(b, r->actor);
    op->u.edit.body.data = keep_bytes(b, r->body.data, r->body.len);
    return op_result(b);
}

int tg_batch_posting(struct tg_batch *b, const struct tg_row_posting *r)
{
    struct tg_op *op = op_add(b, TG_OP_POSTING);
    struct tg_row_posting *p;

    if (op == NULL) {
        return -1;
    }
    p = &op->u.posting;
    *p = *r;
    p->destination_id = NULL;
    p->correlation_id = NULL;
    p->subject = NULL;
    p->kind = keep(b, r->kind);
    p->leg = keep(b, r->leg);
    p->payload = keep(b, r->payload);
    p->period = keep(b, r->period);
    p->ref = keep_or_null(b, r->ref);
    p->hold = keep(b, r->hold);
    p->reverses_ref = NULL;
    return op_result(b);
}

int tg_batch_hold(struct tg_batch *b, int64_t posting, const char *hold, int64_t hold_on,
                  int64_t due_ms)
{
    struct tg_op *op = op_add(b, TG_OP_HOLD);

    if (op == NULL) {
        return -1;
    }
    op->u.hold.posting = posting;
    op->u.hold.why = keep(b, hold);
    op->u.hold.on = hold_on;
    op->u.hold.due_ms = due_ms;
    return op_result(b);
}

int tg_batch_mark(struct tg_batch *b, const struct tg_row_mark *r)
{
    struct tg_op *op = op_add(b, TG_OP_MARK);
    struct tg_row_mark *m;

    if (op == NULL) {
        return -1;
    }
    m = &op->u.mark;
    *m = *r;
    m->ref = keep_or_null(b, r->ref);
    m->outcome = keep_or_null(b, r->outcome);
    m->detail = keep(b, r->detail);
    return op_result(b);
}

int tg_batch_exception(struct tg_batch *b, const struct tg_row_exception *r)
{
    struct tg_op *op = op_add(b, TG_OP_EXCEPTION);
    struct tg_row_exception *e;

    if (op == NULL) {
        return -1;
    }
    e = &op->u.exception;
    *e = *r;
    e->subject = NULL;
    e->tenant = keep_or_null(b, r->tenant);
    e->code = keep(b, r->code);
    e->owner = keep(b, r->owner);
    e->detail = keep(b, r->detail);
    return op_result(b);
}

int tg_batch_act(struct tg_batch *b, const struct tg_row_act *a)
{
    struct tg_op *op = op_add(b, TG_OP_ACT);
    struct tg_row_act *to;

    if (op == NULL) {
        return -1;
    }
    to = &op->u.act;
    *to = *a;
    to->actor = keep(b, a->actor);
    to->reason = keep(b, a->reason);
    to->assignee = keep(b, a->assignee);
    to->outcome = keep(b, a->outcome);
    to->approved_by = keep(b, a->approved_by);
    return op_result(b);
}

int tg_batch_approval(struct tg_batch *b, const struct tg_row_approval *row)
{
    struct tg_op *op = op_add(b, TG_OP_APPROVAL);
    struct tg_row_approval *to;

    if (op == NULL) {
        return -1;
    }
    to = &op->u.approval;
    *to = *row;
    to->tenant = keep(b, row->tenant);
    to->verb = keep(b, row->verb);
    to->subject = keep(b, row->subject);
    to->what = keep(b, row->what);
    to->reason = keep(b, row->reason);
    to->asked_by = keep(b, row->asked_by);
    to->decided_by = NULL;
    to->said = NULL;
    return op_result(b);
}

int tg_batch_approval_end(struct tg_batch *b, int64_t id, enum tg_approval_state to,
                          const char *actor, const char *said)
{
    struct tg_op *op = op_add(b, TG_OP_APPROVAL_END);

    if (op == NULL) {
        return -1;
    }
    op->u.approval_end.id = id;
    op->u.approval_end.to = (int)to;
    op->u.approval_end.actor = keep(b, actor);
    op->u.approval_end.said = keep(b, said);
    return op_result(b);
}

int tg_batch_master(struct tg_batch *b, const struct tg_row_master *r)
{
    struct tg_op *op = op_add(b, TG_OP_MASTER);
    struct tg_row_master *m;

    if (op == NULL) {
        return -1;
    }
    m = &op->u.master;
    *m = *r;
    m->tenant = keep(b, r->tenant);
    m->kind = keep(b, r->kind);
    m->name = keep(b, r->name);
    m->source = keep(b, r->source);
    m->from_day = keep(b, r->from_day);
    m->attributes = keep(b, r->attributes);
    m->refused = keep(b, r->refused);
    return op_result(b);
}

int tg_batch_audit(struct tg_batch *b, const char *actor, const char *action, const char *subject,
                   const char *detail)
{
    struct tg_op *op;

    if (detail != NULL && strlen(detail) > TG_AUDIT_DETAIL_MAX_BYTES) {
        return -1;
    }
    op = op_add(b, TG_OP_AUDIT);
    if (op == NULL) {
        return -1;
    }
    op->u.audit.actor = keep(b, actor);
    op->u.audit.action = keep(b, action);
    op->u.audit.subject = keep(b, subject);
    op->u.audit.detail = keep(b, detail);
    return op_result(b);
}

int tg_batch_throttle(struct tg_batch *b, uint32_t destination, int64_t until_ms, int64_t said_ms)
{
    struct tg_op *op = op_add(b, TG_OP_THROTTLE);

    if (op == NULL) {
        return -1;
    }
    op->u.throttle.destination = destination;
    op->u.throttle.until_ms = until_ms;
    op->u.throttle.said_ms = said_ms;
    return 0;
}

int tg_batch_pause(struct tg_batch *b, uint32_t destination, bool paused, const char *actor,
                   const char *reason)
{
    struct tg_op *op = op_add(b, TG_OP_PAUSE);

    if (op == NULL) {
        return -1;
    }
    op->u.pause.destination = destination;
    op->u.pause.paused = paused;
    op->u.pause.actor = keep(b, actor);
    op->u.pause.reason = keep(b, reason);
    return op_result(b);
}

int tg_batch_restored_position(struct tg_batch *b, int64_t restore, unsigned shard,
                               const char *upto)
{
    struct tg_op *op = op_add(b, TG_OP_RESTORED_POSITION);

    if (op == NULL) {
        return -1;
    }
    op->u.restored_position.restore = restore;
    op->u.restored_position.shard = shard;
    op->u.restored_position.upto = keep(b, upto);
    return op_result(b);
}

int tg_batch_restored_state(struct tg_batch *b, int64_t restore, enum tg_restored_state state)
{
    struct tg_op *op = op_add(b, TG_OP_RESTORED_STATE);

    if (op == NULL) {
        return -1;
    }
    op->u.restored_state.restore = restore;
    op->u.restored_state.to = (int)state;
    return op_result(b);
}

int tg_batch_alert(struct tg_batch *b, const char *kind, const char *thing,
                   const struct tg_alert_state *state, bool idle)
{
    struct tg_op *op = op_add(b, TG_OP_ALERT);

    if (op == NULL) {
        return -1;
    }
    op->u.alert.kind = keep(b, kind);
    op->u.alert.thing = keep(b, thing);
    op->u.alert.state = *state;
    op->u.alert.idle = idle;
    return op_result(b);
}

int tg_batch_alert_marks(struct tg_batch *b, const struct tg_alert_marks *marks)
{
    const struct {
        const char *name;
        int64_t value;
    } rows[] = {{"exceptions", marks->exceptions}, {"audit", marks->audit}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct tg_op *op = op_add(b, TG_OP_ALERT_MARK);

        if (op == NULL) {
            return -1;
        }
        op->u.alert_mark.name = rows[i].name;
        op->u.alert_mark.value = rows[i].value;
    }
    return op_result(b);
}

int tg_batch_destination(struct tg_batch *b, uint32_t index, const char *name)
{
    struct tg_op *op = op_add(b, TG_OP_DESTINATION);

    if (op == NULL) {
        return -1;
    }
    op->u.destination.index = index;
    op->u.destination.name = keep(b, name);
    return op_result(b);
}

int tg_batch_replay(struct tg_batch *b, const struct tg_row_replay *r)
{
    struct tg_op *op = op_add(b, TG_OP_REPLAY);

    if (op == NULL) {
        return -1;
    }
    op->u.replay = *r;
    op->u.replay.tenant = keep(b, r->tenant);
    op->u.replay.actor = keep(b, r->actor);
    op->u.replay.reason = keep(b, r->reason);
    op->u.replay.token = keep(b, r->token);
    op->u.replay.filter = keep(b, r->filter);
    op->u.replay.items = keep(b, r->items);
    return op_result(b);
}

int tg_batch_replay_step(struct tg_batch *b, const struct tg_row_replay *r)
{
    struct tg_op *op = op_add(b, TG_OP_REPLAY_STEP);

    if (op == NULL) {
        return -1;
    }
    op->u.replay = *r;
    op->u.replay.refusals = keep(b, r->refusals);
    return op_result(b);
}
