/* What goes into the journal comes out of it, in order, and only what was asked for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "journal_rows.h"

#define BIG 300000

struct seen {
    int64_t ids[64];
    size_t count, stop_after; /* 0: never stop */
};

static bool see(struct seen *s, int64_t id)
{
    assert_true(s->count < 64);
    s->ids[s->count++] = id;
    return s->stop_after == 0 || s->count < s->stop_after;
}

static bool see_posting(void *arg, const struct tg_row_posting *p)
{
    return see(arg, p->id);
}

static bool see_object(void *arg, const struct tg_row_object *o)
{
    return see(arg, o->id);
}

static bool see_exception(void *arg, const struct tg_row_exception *x)
{
    return see(arg, x->id);
}

static void assert_seen(const struct seen *s, size_t n, const int64_t *ids)
{
    assert_int_equal(s->count, n);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(s->ids[i], ids[i]);
    }
}

static bool event_same(void *arg, const struct tg_row_event *got, int64_t journalled_ms)
{
    const struct tg_row_event *want = arg;

    assert_int_equal(got->id, want->id);
    assert_string_equal(got->event_id, want->event_id);
    assert_string_equal(got->tenant, want->tenant);
    assert_string_equal(got->client, want->client);
    assert_string_equal(got->source, want->source);
    assert_string_equal(got->ce_id, want->ce_id);
    assert_string_equal(got->type, want->type);
    assert_string_equal(got->subject, want->subject == NULL ? "" : want->subject);
    assert_string_equal(got->time, want->time);
    assert_string_equal(got->dataschema, want->dataschema);
    assert_string_equal(got->idem_key, want->idem_key == NULL ? "" : want->idem_key);
    assert_string_equal(got->correlation_id, want->correlation_id);
    assert_string_equal(got->traceparent, want->traceparent);
    assert_string_equal(got->body_sha256, want->body_sha256);
    assert_string_equal(got->content_type, want->content_type);
    assert_int_equal(got->body.len, want->body.len);
    if (want->body.len > 0) {
        assert_memory_equal(got->body.data, want->body.data, want->body.len);
    }
    assert_int_equal(got->received_ms, want->received_ms);
    assert_int_equal(got->state, want->state);
    assert_int_equal(got->duplicate_of, want->duplicate_of);
    assert_memory_equal(got->identity, want->identity, TG_POSTING_KEY_BYTES);
    assert_true(journalled_ms > 1600000000000);
    return true;
}

static void events_come_back_as_they_went(void **state)
{
    struct jt *t = *state;
    struct tg_batch *b = tg_batch_new();
    struct tg_row_event first = jt_event(1, 1, TG_EVENT_ACCEPTED);
    struct tg_row_event twin = jt_event(2, 2, TG_EVENT_DUPLICATE);
    struct tg_row_event refused = jt_event(3, 3, TG_EVENT_EXCEPTION);
    unsigned char *big = malloc(BIG);
    struct tg_reader *r;
    struct tg_error err;
    int64_t row = 0;

    assert_non_null(b);
    assert_non_null(big);
    memset(big, 0xfe, BIG);
    twin.duplicate_of = 1;
    memcpy(twin.identity, first.identity, sizeof(first.identity));
    twin.body = (struct tg_str){NULL, 0};
    twin.subject = NULL;
    twin.idem_key = NULL;
    refused.body = (struct tg_str){big, BIG};
    assert_int_equal(tg_batch_event(b, &first), 0);
    assert_int_equal(tg_batch_event(b, &twin), 0);
    assert_int_equal(tg_batch_event(b, &refused), 0);
    assert_int_equal(tg_batch_ops(b), 3);
    jt_commit(t, b);

    r = jt_reader(t);
    assert_int_equal(tg_reader_event(r, first.event_id, event_same, &first, &err), 0);
    assert_int_equal(tg_reader_event(r, twin.event_id, event_same, &twin, &err), 0);
    assert_int_equal(tg_reader_event(r, refused.event_id, event_same, &refused, &err), 0);
    assert_int_equal(tg_reader_event(r, "s07-9-9", event_same, &first, &err), 1);
    assert_int_equal(tg_reader_event_row(r, 2, event_same, &twin, &err), 0);
    assert_int_equal(tg_reader_event_row(r, 4, event_same, &first, &err), 1);
    assert_int_equal(tg_reader_has_event(r, twin.event_id, &err), 0);
    assert_int_equal(tg_reader_has_event(r, "s07-9-9", &err), 1);
    /* The identity belongs to the first, not to its duplicate. */
    assert_int_equal(tg_reader_identity(r, twin.identity, &row, &err), 0);
    assert_int_equal(row, 1);
    twin.identity[0] ^= 1;
    assert_int_equal(tg_reader_identity(r, twin.identity, &row, &err), 1);
    tg_reader_close(r);
    free(big);
}

static bool object_same(void *arg, const struct tg_row_object *got)
{
    const struct tg_row_object *want = arg;

    assert_int_equal(got->id, want->id);
    assert_int_equal(got->event, want->event);
    assert_string_equal(got->tenant, want->tenant);
    assert_string_equal(got->kind, want->kind);
    assert_string_equal(got->source, want->source);
    assert_string_equal(got->object_id, want->object_id);
    assert_memory_equal(got->key, want->key, TG_POSTING_KEY_BYTES);
    assert_int_equal(got->version, want->version);
    assert_int_equal(got->state, want->state);
    assert_string_equal(got->json, want->json);
    assert_string_equal(got->rules_sha256, want->rules_sha256);
    assert_string_equal(got->master_version, want->master_version);
    return true;
}

static void the_latest_object_is_the_highest_version(void **state)
{
    struct jt *t = *state;
    struct tg_batch *b = tg_batch_new();
    struct tg_row_event e = jt_event(1, 1, TG_EVENT_ACCEPTED);
    struct tg_row_object v3 = jt_object(1, 1, 1, 3, TG_VERSION_VALIDATED);
    struct tg_row_object v2 = jt_object(2, 1, 1, 2, TG_VERSION_SUPERSEDED);
    struct tg_row_object other = jt_object(3, 1, 2, 9, TG_VERSION_HELD);
    const int64_t of_event[] = {1, 2, 3};
    struct seen s = {{0}, 0, 0};
    struct tg_reader *r;
    struct tg_error err;

    assert_int_equal(tg_batch_event(b, &e), 0);
    assert_int_equal(tg_batch_object(b, &v3), 0);
    assert_int_equal(tg_batch_object(b, &v2), 0);
    assert_int_equal(tg_batch_object(b, &other), 0);
    jt_commit(t, b);
    r = jt_reader(t);
    assert_int_equal(tg_reader_object_latest(r, v3.key, object_same, &v3, &err), 0);
    assert_int_equal(tg_reader_object_latest(r, other.key, object_same, &other, &err), 0);
    assert_int_equal(tg_reader_object_latest(r, e.identity, object_same, &v3, &err), 1);
    assert_int_equal(tg_reader_objects_of_event(r, 1, see_object, &s, &err), 0);
    assert_seen(&s, 3, of_event);

    b = tg_batch_new();
    assert_int_equal(tg_batch_object_state(b, 1, TG_VERSION_SUPERSEDED), 0);
    jt_commit(t, b);
    v3.state = TG_VERSION_SUPERSEDED;
    assert_int_equal(tg_reader_object_latest(r, v3.key, object_same, &v3, &err), 0);
    tg_reader_close(r);
}

static bool posting_same(void *arg, const struct tg_row_posting *got)
{
    const struct tg_row_posting *want = arg;

    assert_int_equal(got->id, want->id);
    assert_int_equal(got->object, want->object);
    assert_int_equal(got->destination, want->destination);
    assert_string_equal(got->destination_id, "acme/erp");
    assert_string_equal(got->kind, want->kind);
    assert_string_equal(got->leg, want->leg);
    assert_int_equal(got->generation, want->generation);
    assert_memory_equal(got->key, want->key, TG_POSTING_KEY_BYTES);
    assert_string_equal(got->payload, want->payload);
    assert_string_equal(got->period, want->period);
    assert_int_equal(got->quantity_micros, want->quantity_micros);
    assert_int_equal(got->state, want->state);
    assert_int_equal(got->attempt, want->attempt);
    assert_int_equal(got->due_ms, want->due_ms);
    assert_int_equal(got->first_sent_ms, want->first_sent_ms);
    if (want->ref == NULL) {
        assert_null(got->ref);
    } else {
        assert_string_equal(got->ref, want->ref);
    }
    assert_string_equal(got->correlation_id, "corr-1");
    assert_string_equal(got->subject, "TE-000001@1");
    return true;
}

static void mark(struct jt *t, struct tg_row_mark m)
{
    struct tg_batch *b = tg_batch_new();

    assert_int_equal(tg_batch_mark(b, &m), 0);
    jt_commit(t, b);
}

static void marks_move_a_posting(void **state)
{
    struct jt *t = *state;
    struct tg_batch *b = tg_batch_new();
    int64_t id = jt_add_ready(t, b, 1);
    struct tg_row_posting want = jt_posting(id, 1, t->erp, 1, TG_POSTING_READY);
    struct tg_row_mark m = jt_mark(id, TG_POSTING_READY, TG_POSTING_SENT);
    struct tg_reader *r;
    struct tg_error err;

    jt_commit(t, b);
    r = jt_reader(t);
    assert_int_equal(tg_reader_posting(r, id, posting_same, &want, &err), 0);
    assert_int_equal(tg_reader_posting(r, id + 1, posting_same, &want, &err), 1);

    mark(t, m);
    want.state = TG_POSTING_SENT;
    want.attempt = 1;
    want.first_sent_ms = 5000;
    assert_int_equal(tg_reader_posting(r, id, posting_same, &want, &err), 0);

    m = jt_mark(id, TG_POSTING_SENT, TG_POSTING_RETRY);
    m.due_ms = 9000;
    m.outcome = "retry";
    m.detail = "503";
    mark(t, m);
    mark(t, jt_mark(id, TG_POSTING_RETRY, TG_POSTING_READY));
    m = jt_mark(id, TG_POSTING_READY, TG_POSTING_SENT);
    m.attempt = 2;
    m.at_ms = 9100;
    m.ref = "DOC-1";
    mark(t, m);
    want.attempt = 2;
    want.ref = "DOC-1"; /* and first_sent_ms stays the first */
    assert_int_equal(tg_reader_posting(r, id, posting_same, &want, &err), 0);

    m = jt_mark(id, TG_POSTING_SENT, TG_POSTING_POSTED);
    m.attempt = 2;
    m.outcome = "posted";
    mark(t, m);
    want.state = TG_POSTING_POSTED; /* ref NULL keeps it */
    assert_int_equal(tg_reader_posting(r, id, posting_same, &want, &err), 0);
    tg_reader_close(r);
    assert_int_equal(jt_sql_int(t, "SELECT count(*) FROM attempts"), 2);
    assert_int_equal(jt_sql_int(t, "SELECT count(*) FROM attempts WHERE posting = 1 AND "
                                   "attempt = 1 AND outcome = 'retry' AND detail = '503'"),
                     1);
    assert_int_equal(jt_sql_int(t, "SELECT quantity_micros FROM control_totals WHERE count = 1"),
                     7500000);
    mark(t, jt_mark(id, TG_POSTING_POSTED, TG_POSTING_REVERSED));
    /* its reversal takes it back, in a period of its own */
    assert_int_equal(jt_sql_int(t, "SELECT quantity_micros FROM control_totals WHERE count = 1"),
                     7500000);
}

static void open_postings_are_the_open_ones_in_order(void **state)
{
    struct jt *t = *state;
    struct tg_batch *b = tg_batch_new();
    const enum tg_posting_state states[] = {
        TG_POSTING_READY, TG_POSTING_PLANNED,   TG_POSTING_SENT,     TG_POSTING_RETRY,
        TG_POSTING_HELD,  TG_POSTING_CANCELLED, TG_POSTING_IN_DOUBT, TG_POSTING_EXCEPTION};
    const int64_t open[] = {1, 3, 4, 7};
    struct tg_row_event e = jt_event(1, 1, TG_EVENT_ACCEPTED);
    struct tg_row_object o = jt_object(1, 1, 1, 1, TG_VERSION_VALIDATED);
    struct seen s = {{0}, 0, 0};
    struct tg_reader *r;
    struct tg_error err;
    uint32_t payroll = 0;

    assert_int_equal(tg_journal_destination(t->journal, "acme/payroll", &payroll, &err), 0);
    assert_int_equal(tg_batch_event(b, &e), 0);
    assert_int_equal(tg_batch_object(b, &o), 0);
    for (unsigned i = 0; i < 8; i++) {
        struct tg_row_posting p = jt_posting(i + 1, 1, t->erp, i, states[i]);

        assert_int_equal(tg_batch_posting(b, &p), 0);
    }
    for (unsigned i = 8; i < 10; i++) {
        struct tg_row_posting p = jt_posting(i + 1, 1, payroll, i, TG_POSTING_READY);

        assert_int_equal(tg_batch_posting(b, &p), 0);
    }
    jt_commit(t, b);
    r = jt_reader(t);
    assert_int_equal(tg_reader_open_postings(r, t->erp, 0, 100, see_posting, &s, &err), 0);
    assert_seen(&s, 4, open);
    s.count = 0;
    assert_int_equal(tg_reader_open_postings(r, t->erp, 1, 2, see_posting, &s, &err), 0);
    assert_seen(&s, 2, open + 1);
    s.count = 0;
    s.stop_after = 1;
    assert_int_equal(tg_reader_open_postings(r, t->erp, 0, 100, see_posting, &s, &err), 0);
    assert_seen(&s, 1, open);
    s.count = 0;
    s.stop_after = 0;
    assert_int_equal(tg_reader_open_postings(r, t->erp, 7, 100, see_posting, &s, &err), 0);
    assert_int_equal(s.count, 0);
    assert_int_equal(tg_reader_open_postings(r, 99, 0, 100, see_posting, &s, &err), 0);
    assert_int_equal(s.count, 0);
    assert_int_equal(tg_reader_postings_of_object(r, 1, see_posting, &s, &err), 0);
    assert_int_equal(s.count, 10);
    tg_reader_close(r);
}

static bool exception_same(void *arg, const struct tg_row_exception *got)
{
    const struct tg_row_exception *want = arg;

    assert_int_equal(got->event, want->event);
    assert_int_equal(got->object, want->object);
    assert_int_equal(got->posting, want->posting);
    assert_string_equal(got->tenant, want->tenant);
    assert_string_equal(got->code, want->code);
    assert_string_equal(got->owner, want->owner);
    assert_string_equal(got->detail, want->detail);
    assert_int_equal(got->state, want->state);
    assert_int_equal(got->opened_ms, want->opened_ms);
    assert_int_equal(got->closed_ms, want->closed_ms);
    assert_string_equal(got->subject, want->subject);
    return true;
}

static void except(struct jt *t, const struct tg_row_exception *x, bool taken)
{
    struct tg_batch *b = tg_batch_new();

    assert_int_equal(tg_batch_exception(b, x), 0);
    if (taken) {
        jt_commit(t, b);
    } else {
        jt_commit_refused(t, b);
    }
}

static void an_exception_opens_and_closes_once(void **state)
{
    struct jt *t = *state;
    struct tg_batch *b = tg_batch_new();
    int64_t posting = jt_add_ready(t, b, 1);
    struct tg_row_event refused = jt_event(2, 2, TG_EVENT_EXCEPTION);
    struct tg_row_exception x = jt_exception(1, 2, "schema_invalid");
    struct tg_row_exception y = jt_exception(2, 0, "destination_rejected");
    struct tg_reader *r;
    struct tg_error err;

    assert_int_equal(tg_batch_event(b, &refused), 0);
    jt_commit(t, b);
    except(t, &x, true);
    y.posting = posting;
    y.tenant = NULL;
    except(t, &y, true);

    r = jt_reader(t);
    x.subject = refused.event_id;
    assert_int_equal(tg_reader_exception(r, 1, exception_same, &x, &err), 0);
    /* Object, event and tenant follow from the posting. */
    y.event = 1;
    y.object = 1;
    y.tenant = "acme";
    y.subject = "TE-000001@1";
    assert_int_equal(tg_reader_exception(r, 2, exception_same, &y, &err), 0);
    assert_int_equal(tg_reader_exceptions_of_event(r, 1, exception_same, &y, &err), 0);
    assert_int_equal(tg_reader_exception(r, 3, exception_same, &y, &err), 1);

    except(t, &x, false); /* opened twice: a mistaken id */
    x.state = TG_EXCEPTION_ASSIGNED;
    x.owner = "integration";
    except(t, &x, true);
    x.code = "hours_invalid";
    except(t, &x, false); /* another one's id */
    x.code = "schema_invalid";
    x.state = TG_EXCEPTION_REPLAYED;
    x.closed_ms = 3000;
    except(t, &x, true);
    assert_int_equal(tg_reader_exception(r, 1, exception_same, &x, &err), 0);
    x.state = TG_EXCEPTION_DISCARDED;
    except(t, &x, false); /* closed already */
    assert_non_null(strstr(t->last.text, "exception 1"));
    tg_reader_close(r);
}

static void act(struct jt *t, const struct tg_row_act *a, bool taken)
{
    struct tg_batch *b = tg_batch_new();

    assert_non_null(b);
    assert_int_equal(tg_batch_act(b, a), 0);
    if (taken) {
        jt_commit(t, b);
    } else {
        jt_commit_refused(t, b);
    }
}

static bool acted_same(void *arg, const struct tg_row_exception *got)
{
    const struct tg_row_exception *want = arg;

    assert_int_equal(got->state, want->state);
    assert_string_equal(got->assignee, want->assignee);
    assert_string_equal(got->closed_by, want->closed_by);
    assert_string_equal(got->outcome, want->outcome);
    assert_string_equal(got->reason, want->reason);
    assert_int_equal(got->closed_ms != 0, got->closed_by[0] != '\0');
    return true;
}

static void what_people_do_is_kept_with_its_actor(void **state)
{
    static const enum tg_exception_state ends[] = {TG_EXCEPTION_REPLAYED, TG_EXCEPTION_EDITED,
                                                   TG_EXCEPTION_DISCARDED, TG_EXCEPTION_RESOLVED};
    static const char *const actions[] = {"replayed", "edited", "discarded", "resolved"};
    struct jt *t = *state;
    struct tg_batch *b = tg_batch_new();
    struct tg_row_event e = jt_event(1, 1, TG_EVENT_ACCEPTED);
    struct tg_reader *r;
    struct tg_error err;

    assert_int_equal(tg_batch_event(b, &e), 0);
    jt_commit(t, b);
    r = jt_reader(t);
    for (int64_t i = 0; i < 4; i++) {
        struct tg_row_exception x = jt_exception(i + 1, 1, "destination_rejected");
        struct tg_row_act a = {.exception = i + 1,
                               .state = TG_EXCEPTION_ASSIGNED,
                               .actor = "cli:anna",
                               .assignee = "ben",
                               .reason = "he \"knows\""};
        char sql[256];

        except(t, &x, true);
        act(t, &a, true);
        x.assignee = "ben";
        x.closed_by = x.outcome = "";
        x.reason = a.reason;
        x.state = TG_EXCEPTION_ASSIGNED;
        assert_int_equal(tg_reader_exception(r, i + 1, acted_same, &x, &err), 0);
        a.assignee = NULL;
        a.state = ends[i];
        a.actor = "ben";
        a.outcome = "ready";
        a.reason = NULL;
        act(t, &a, true);
        x.closed_by = "ben";
        x.outcome = "ready";
        x.reason = "";
        x.state = ends[i];
        assert_int_equal(tg_reader_exception(r, i + 1, acted_same, &x, &err), 0);
        act(t, &a, false);
        (void)snprintf(sql, sizeof(sql),
                       "SELECT count(*) FROM audit WHERE subject = 'exception %d' AND ((actor = "
                       "'cli:anna' AND action = 'exception.assigned' AND json_extract(detail, "
                       "'$.reason') = 'he \"knows\"') OR (actor = 'ben' AND action = "
                       "'exception.%s'))",
                       (int)i + 1, actions[i]);
        assert_int_equal(jt_sql_int(t, sql), 2);
    }
    act(t, &(struct tg_row_act){.exception = 9, .state = TG_EXCEPTION_ASSIGNED, .actor = "a"},
        false);
    assert_non_null(strstr(t->last.text, "exception 9"));
    tg_reader_close(r);
}

/* Opening and closing by itself are not a person's acts. */
static void no_person_opens_or_auto_closes(void **state)
{
    struct jt *t = *state;
    struct tg_batch *b = tg_batch_new();
    struct tg_row_event e = jt_event(1, 1, TG_EVENT_ACCEPTED);
    struct tg_row_exception x = jt_exception(1, 1, "worker_unknown");

    assert_int_equal(tg_batch_event(b, &e), 0);
    jt_commit(t, b);
    except(t, &x, true);
    act(t, &(struct tg_row_act){.exception = 1, .state = TG_EXCEPTION_OPEN, .actor = "a"}, false);
    act(t, &(struct tg_row_act){.exception = 1, .state = TG_EXCEPTION_AUTO_CLOSED, .actor = "a"},
        false);
    assert_int_equal(jt_sql_int(t, "SELECT state FROM exceptions"), TG_EXCEPTION_OPEN);
}

static void exceptions_are_listed_by_tenant_and_state(void **state)
{
    struct jt *t = *state;
    struct tg_batch *b = tg_batch_new();
    const enum tg_exception_state states[] = {TG_EXCEPTION_OPEN, TG_EXCEPTION_DISCARDED,
                                              TG_EXCEPTION_ASSIGNED, TG_EXCEPTION_OPEN,
                                              TG_EXCEPTION_DISCARDED};
    const char *const tenants[] = {"acme", "acme", "acme", "beta", "beta"};
    const int64_t ids[] = {1, 2, 3, 4, 5};
    struct seen s = {{0}, 0, 0};
    struct tg_row_event e = jt_event(1, 1, TG_EVENT_EXCEPTION);
    struct tg_reader *r;
    struct tg_error err;

    assert_int_equal(tg_batch_event(b, &e), 0);
    for (int i = 0; i < 5; i++) {
        struct tg_row_exception x = jt_exception(ids[i], 1, "worker_unknown");

        x.tenant = tenants[i];
        x.state = states[i];
        assert_int_equal(tg_batch_exception(b, &x), 0);
    }
    jt_commit(t, b);
    r = jt_reader(t);
    assert_int_equal(tg_reader_exceptions(r, NULL, -1, 0, 10, see_exception, &s, &err), 0);
    assert_seen(&s, 3, (const int64_t[]){1, 3, 4});
    s.count = 0;
    assert_int_equal(tg_reader_exceptions(r, NULL, -1, 1, 1, see_exception, &s, &err), 0);
    assert_seen(&s, 1, (const int64_t[]){3});
    s.count = 0;
    assert_int_equal(tg_reader_exceptions(r, "acme", -1, 0, 10, see_exception, &s, &err), 0);
    assert_seen(&s, 2, (const int64_t[]){1, 3});
    s.count = 0;
    assert_int_equal(
        tg_reader_exceptions(r, "beta", TG_EXCEPTION_OPEN, 0, 10, see_exception, &s, &err), 0);
    assert_seen(&s, 1, (const int64_t[]){4});
    s.count = 0;
    assert_int_equal(
        tg_reader_exceptions(r, NULL, TG_EXCEPTION_DISCARDED, 0, 10, see_exception, &s, &err), 0);
    assert_seen(&s, 2, (const int64_t[]){2, 5});
    s.count = 0;
    assert_int_equal(
        tg_reader_exceptions(r, "beta", TG_EXCEPTION_DISCARDED, 0, 10, see_exception, &s, &err), 0);
    assert_seen(&s, 1, (const int64_t[]){5});
    s.count = 0;
    assert_int_equal(tg_reader_exceptions(r, "nobody", -1, 0, 10, see_exception, &s, &err), 0);
    assert_int_equal(s.count, 0);
    tg_reader_close(r);
}

struct nest {
    struct tg_reader *r;
    int other, same;
};

static bool nested(void *arg, const struct tg_row_posting *p)
{
    struct nest *n = arg;
    struct seen s = {{0}, 0, 0};
    struct tg_error err;

    n->other = tg_reader_postings_of_object(n->r, p->object, see_posting, &s, &err);
    n->same = tg_reader_open_postings(n->r, p->destination, 0, 10, see_posting, &s, &err);
    return true;
}

static void a_callback_may_read_something_else(void **state)
{
    struct jt *t = *state;
    struct tg_batch *b = tg_batch_new();
    struct nest n = {NULL, -2, -2};
    struct tg_error err;

    (void)jt_add_ready(t, b, 1);
    (void)jt_add_ready(t, b, 2);
    jt_commit(t, b);
    n.r = jt_reader(t);
    assert_int_equal(tg_reader_open_postings(n.r, t->erp, 0, 10, nested, &n, &err), 0);
    assert_int_equal(n.other, 0);
    assert_int_equal(n.same, -1);
    tg_reader_close(n.r);
}

static void ids_and_destinations_go_on_after_a_restart(void **state)
{
    struct jt *t = *state;
    struct tg_batch *b = tg_batch_new();
    struct tg_error err;
    uint32_t payroll = 0;
    uint32_t again = 0;
    int64_t id;

    assert_int_equal(t->erp, 0);
    assert_int_equal(tg_journal_destination(t->journal, "acme/payroll", &payroll, &err), 0);
    assert_int_equal(payroll, 1);
    id = jt_add_ready(t, b, 1);
    jt_commit(t, b);
    jt_close(t);
    jt_open(t);
    assert_int_equal(t->erp, 0);
    assert_int_equal(tg_journal_next_id(t->journal, TG_TABLE_POSTINGS), id + 1);
    assert_int_equal(tg_journal_next_id(t->journal, TG_TABLE_POSTINGS), id + 2);
    assert_int_equal(tg_journal_next_id(t->journal, TG_TABLE_EVENTS), 2);
    assert_int_equal(tg_journal_next_id(t->journal, TG_TABLE_EXCEPTIONS), 1);
    assert_int_equal(tg_journal_destination(t->journal, "beta/erp", &again, &err), 0);
    assert_int_equal(again, 2);
    assert_int_equal(tg_journal_destination(t->journal, "acme/payroll", &again, &err), 0);
    assert_int_equal(again, payroll);
}

static void a_batch_has_a_limit(void **state)
{
    struct tg_batch *b = tg_batch_new();
    char detail[TG_AUDIT_DETAIL_MAX_BYTES + 2];

    (void)state;
    memset(detail, 'x', sizeof(detail));
    detail[TG_AUDIT_DETAIL_MAX_BYTES + 1] = '\0';
    assert_int_equal(tg_batch_audit(b, "a", "b.c", "d", detail), -1);
    detail[TG_AUDIT_DETAIL_MAX_BYTES] = '\0';
    assert_int_equal(tg_batch_audit(b, "a", "b.c", "d", detail), 0);
    for (int i = 1; i < TG_JOURNAL_BATCH_OPS_MAX; i++) {
        assert_int_equal(tg_batch_object_state(b, 1, TG_VERSION_HELD), 0);
    }
    assert_int_equal(tg_batch_object_state(b, 1, TG_VERSION_HELD), -1);
    assert_int_equal(tg_batch_ops(b), TG_JOURNAL_BATCH_OPS_MAX);
    tg_batch_free(b);
    tg_batch_free(NULL);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, jt_setup, jt_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(events_come_back_as_they_went),
        CASE(the_latest_object_is_the_highest_version),
        CASE(marks_move_a_posting),
        CASE(open_postings_are_the_open_ones_in_order),
        CASE(an_exception_opens_and_closes_once),
        CASE(what_people_do_is_kept_with_its_actor),
        CASE(no_person_opens_or_auto_closes),
        CASE(exceptions_are_listed_by_tenant_and_state),
        CASE(a_callback_may_read_something_else),
        CASE(ids_and_destinations_go_on_after_a_restart),
        cmocka_unit_test(a_batch_has_a_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
