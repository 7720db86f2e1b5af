#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/digest.h"
#include "common/log.h"
#include "core/metrics.h"
#include "intake/inner.h"
#include "intake/known.h"
#include "intake/write.h"

/* One more entry must fit: its rows, and the exceptions it may close. */
#define BATCH_OPS_FULL (TG_JOURNAL_BATCH_OPS_MAX - TG_INTAKE_EXCEPTIONS_MAX - 256)

static int64_t wall_ms(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* ---- deciding ---- */

struct verdict {
    struct tg_reading reading;
    struct tg_pipeline_result result;
    struct tg_known known;
    struct tg_plan plan;
    bool ran;
};

static void verdict_clear(struct verdict *v)
{
    tg_plan_clear(&v->plan);
    tg_known_clear(&v->known);
    if (v->ran) {
        tg_pipeline_clear(&v->result);
    }
    tg_reading_clear(&v->reading);
}

static struct tg_master *master_of(const struct tg_intake *i, const struct tg_config_tenant *t)
{
    return i->o.masters[t - i->o.config->tenants];
}

static struct tg_pipeline_input input_of(const struct tg_intake *i, const struct verdict *v)
{
    return (struct tg_pipeline_input){.type = v->reading.event.type,
                                      .data = v->reading.data,
                                      .headers = v->reading.headers,
                                      .tenant = v->reading.tenant,
                                      .source = v->reading.source,
                                      .master = master_of(i, v->reading.tenant),
                                      .received_ms = v->reading.event.received_ms};
}

static int run_pipeline(const struct tg_intake *i, struct verdict *v, struct tg_error *err)
{
    struct tg_pipeline_input in = input_of(i, v);

    if (tg_pipeline_run(i->o.pipeline, &in, &v->result) != 0) {
        return tg_error_set(err, "intake: no memory to run the rules");
    }
    v->ran = true;
    return 0;
}

/* "acme/erp" is "erp" to the rules. */
static const char *short_name(const char *destination_id, const char *tenant)
{
    size_t len = strlen(tenant);

    return strncmp(destination_id, tenant, len) == 0 && destination_id[len] == '/'
               ? destination_id + len + 1
               : destination_id;
}

/* What the rules say about taking back each effect that this version would have to take back. */
static int ask_reversals(const struct tg_intake *i, struct verdict *v, struct tg_error *err)
{
    struct tg_pipeline_input in = input_of(i, v);

    for (size_t k = 0; k < v->known.posting_count; k++) {
        struct tg_known_posting *e = &v->known.postings[k];
        enum tg_correction c = tg_known_correction(e);
        json_t *posting;

        if (c != TG_CORRECT_REVERSE && c != TG_CORRECT_REVERSE_WHEN_POSTED) {
            continue;
        }
        posting = json_pack("{s:s, s:s, s:s, s:s, s:o}", "destination",
                            short_name(e->destination_id, in.tenant->id), "kind", e->kind, "leg",
                            e->leg, "period", e->period, "payload",
                            json_loads(e->payload, JSON_REJECT_DUPLICATES, NULL));
        if (posting != NULL) {
            e->reversal = tg_pipeline_reversal(i->o.pipeline, &in, v->result.object_kind, posting);
            json_decref(posting);
        }
        if (e->reversal == NULL) {
            return tg_error_set(err, "intake: no memory to ask about a reversal");
        }
    }
    return 0;
}

/* The rules, and what is known about the object they made. 0; 1: its twin is in the batch, or a
 * mark of it on its way to the journal; -1. */
static int look_at_object(struct tg_intake *i, struct verdict *v, struct tg_error *err)
{
    unsigned char key[TG_POSTING_KEY_BYTES];
    int rc;

    if (run_pipeline(i, v, err) != 0) {
        return -1;
    }
    if (!tg_decide_has_object(&v->result)) {
        return 0;
    }
    if (tg_decide_object_key(&v->reading, &v->result, key) != 0) {
        return tg_error_set(err, "intake: no memory for a key");
    }
    if (tg_seen_has(&i->seen, key)) {
        return 1;
    }
    rc = tg_known_object(i->reader, i->o.dispatch, key, v->result.object_version, &v->known, err);
    if (rc != 0) {
        return rc;
    }
    tg_seen_add(&i->seen, key);
    return ask_reversals(i, v, err);
}

/* An entry's id as a key of the batch's seen set. */
static int id_key(const struct tg_held *h, unsigned char key[TG_POSTING_KEY_BYTES])
{
    unsigned char digest[TG_SHA256_BYTES];

    if (tg_sha256(tg_str_of(h->entry.event_id), digest) != 0) {
        return -1;
    }
    memcpy(key, digest, TG_POSTING_KEY_BYTES);
    return 0;
}

/* The id is in the journal. 0: and so is the event; 1: it is another event, refused as such; -1. */
static int refuse_reuse(struct tg_intake *i, struct verdict *v, char *stored_id,
                        struct tg_error *err)
{
    int rc = tg_known_reuse(i->reader, &v->reading.event, stored_id, err);

    if (rc == 1) {
        tg_log(TG_LOG_ERROR, "intake",
               "event id %s came again with another event: Redis was emptied and its clock went "
               "back; journalled as %s, not posted",
               v->reading.event.event_id, stored_id);
        tg_metric_add(TG_METRIC_INTAKE_DATA_LOSS, 1);
        v->reading.event.event_id = stored_id;
        v->reading.code = "event_id_reused";
        (void)snprintf(v->reading.message, sizeof(v->reading.message),
                       "another event was journalled under this event id before");
    }
    return rc;
}

/* 0 with a plan; 1: not in this batch, see look_at_object; -1. */
static int judge(struct tg_intake *i, const struct tg_held *h, struct verdict *v,
                 struct tg_error *err)
{
    unsigned char key[TG_POSTING_KEY_BYTES];
    int rc = 0;

    if (id_key(h, key) != 0) {
        return tg_error_set(err, "intake: no memory for a key");
    }
    if (tg_seen_has(&i->seen, key)) {
        return 1;
    }
    if (tg_seen_has(&i->seen, v->reading.event.identity)) {
        return 1;
    }
    if (tg_known_identity(i->reader, v->reading.event.identity, &v->known, err) != 0) {
        return -1;
    }
    if (v->known.identity_event == 0 && v->reading.code == NULL) {
        rc = look_at_object(i, v, err);
    }
    if (rc != 0) {
        return rc;
    }
    tg_seen_add(&i->seen, v->reading.event.identity);
    tg_seen_add(&i->seen, key);
    if (tg_decide(&v->reading, v->ran ? &v->result : NULL, &v->known, i->o.pipeline->catalogue,
                  &v->plan) != 0) {
        return tg_error_set(err, "intake: no memory to decide");
    }
    return 0;
}

static int decide_entry(struct tg_intake *i, const struct tg_held *h, struct tg_error *err)
{
    struct tg_write w = {.journal = i->o.journal,
                         .dispatch = i->o.dispatch,
                         .batch = i->batch,
                         .master_version = "",
                         .now_ms = wall_ms()};
    struct verdict v = {.ran = false};
    char stored_id[TG_EVENT_ID_STORED_MAX_BYTES];
    const int known = tg_reader_has_event(i->reader, h->entry.event_id, err);
    int rc;

    if (known < 0) {
        return -1;
    }
    if (h->lost && known == 0) {
        return 0; /* journalled: only the acknowledgement is missing */
    }
    if (h->lost) {
        tg_log(TG_LOG_ERROR, "intake", "event %s was pending and Redis no longer has it: data loss",
               h->entry.event_id);
        return tg_write_lost(&w, h->entry.event_id, err);
    }
    if (tg_reading_make(&h->entry, i->o.config, &v.reading) != 0) {
        return tg_error_set(err, "intake: no memory to read an entry");
    }
    if (known == 0) {
        rc = refuse_reuse(i, &v, stored_id, err);
        if (rc != 1) {
            verdict_clear(&v);
            return rc;
        }
    }
    rc = judge(i, h, &v, err);
    if (rc == 0) {
        w.rules_sha256 = tg_bundle_sha256(tg_rules_bundle(i->o.pipeline->rules));
        if (v.reading.tenant != NULL) {
            w.master_version = tg_master_version(master_of(i, v.reading.tenant));
            w.hold_timeout_ms = v.reading.tenant->hold_timeout_ms;
        }
        rc = tg_write_plan(&w, &v.reading, &v.plan, &v.known, err);
    }
    verdict_clear(&v);
    return rc;
}

/* ---- acknowledging ---- */

static void batch_finished(struct tg_intake *i)
{
    size_t rest = i->held_count - i->held_next;

    for (size_t k = 0; k < i->held_next; k++) {
        tg_held_free(i->held[k]);
    }
    memmove(i->held, i->held + i->held_next, rest * sizeof(struct tg_held *));
    i->held_count = rest;
    i->held_next = 0;
    tg_intake_advance(i);
}

static void acks_answered(struct tg_intake *i)
{
    i->acking = false;
    if (!i->ack_lost) {
        batch_finished(i);
    } else if (i->stopping) {
        tg_intake_advance(i);
    } /* else again when the link is up */
}

static void on_ack(void *arg, const redisReply *reply)
{
    struct tg_intake *i = arg;

    if (reply == NULL) {
        i->ack_lost = true;
    } else if (reply->type == REDIS_REPLY_ERROR) {
        /* What is not acknowledged comes again and is known then: never a loss, never a loop. */
        tg_log(TG_LOG_ERROR, "intake", "acknowledgement refused: %s", reply->str);
    } else if (reply->integer > 0) {
        i->acks_since_trim += (uint64_t)reply->integer;
    }
    i->acks_out--;
    if (i->acks_out == 0) {
        acks_answered(i);
    }
}

/* What is acknowledged is in the journal; claimed entries may be older than the last read. */
static void note_journalled(struct tg_intake *i, const struct tg_held *h)
{
    struct tg_event_id have, id;
    char *newest = i->journalled[h->shard];

    if (tg_event_id_from_stream(h->shard, tg_str_of(h->stream_id), &id) == 0 &&
        (tg_event_id_from_stream(h->shard, tg_str_of(newest), &have) != 0 || id.ms > have.ms ||
         (id.ms == have.ms && id.seq > have.seq))) {
        memcpy(newest, h->stream_id, TG_STREAM_ID_BYTES);
    }
}

static void ack_shard(struct tg_intake *i, unsigned shard)
{
    struct tg_held *mine[TG_INTAKE_BATCH_MAX];
    size_t n = 0;

    for (size_t k = 0; k < i->held_next; k++) {
        if (i->held[k]->shard == shard) {
            note_journalled(i, i->held[k]);
            mine[n++] = i->held[k];
        }
    }
    if (n == 0) {
        return;
    }
    if (tg_stream_ack(i->command_link, &i->streams, shard, mine, n, on_ack, i) != 0) {
        i->ack_lost = true;
    } else {
        i->acks_out++;
    }
}

/* One XACK a shard; all of them again when one reply was lost (I4). */
static void send_acks(struct tg_intake *i)
{
    if (!tg_redis_link_is_up(i->command_link)) {
        return;
    }
    i->acking = true;
    i->ack_lost = false;
    i->acks_out = 0;
    for (unsigned s = 0; s < i->streams.shards; s++) {
        ack_shard(i, s);
    }
    if (i->acks_out == 0) { /* none went out; replies come later, never from inside */
        i->acking = false;
    }
}

/* ---- the batch ---- */

static void on_committed(void *arg, bool ok, const struct tg_error *err)
{
    struct tg_intake *i = arg;

    i->committing = false;
    if (!ok) {
        tg_intake_fail(i, err);
        return;
    }
    tg_dispatch_kick(i->o.dispatch);
    tg_intake_advance(i);
}

/* A full queue leaves the batch here; the tick comes back to it. */
static void submit(struct tg_intake *i)
{
    if (tg_batch_ops(i->batch) == 0) {
        tg_batch_free(i->batch);
        i->batch = NULL;
    } else if (tg_journal_submit(i->o.journal, i->batch, on_committed, i) == 0) {
        i->batch = NULL;
        i->committing = true;
    }
}

static void make_batch(struct tg_intake *i)
{
    struct tg_error err;
    int rc = 0;

    i->batch = tg_batch_new();
    if (i->batch == NULL) {
        tg_intake_fail_text(i, "no memory for a batch");
        return;
    }
    tg_seen_clear(&i->seen);
    while (rc == 0 && i->held_next < i->held_count && i->held_next < TG_INTAKE_BATCH_MAX &&
           tg_batch_ops(i->batch) < BATCH_OPS_FULL) {
        rc = decide_entry(i, i->held[i->held_next], &err);
        i->held_next += rc == 0;
    }
    if (rc < 0) {
        tg_intake_fail(i, &err);
        return;
    }
    submit(i);
}

int tg_intake_hold(struct tg_intake *i, struct tg_held *h)
{
    if (i->held_count == i->held_cap) {
        size_t cap = i->held_cap != 0 ? i->held_cap * 2 : TG_INTAKE_BATCH_MAX;
        struct tg_held **held = realloc(i->held, cap * sizeof(struct tg_held *));

        if (held == NULL) {
            tg_held_free(h);
            return -1;
        }
        i->held = held;
        i->held_cap = cap;
    }
    i->held[i->held_count++] = h;
    return 0;
}

void tg_intake_work(struct tg_intake *i)
{
    if (i->committing || i->acking || i->failed) {
        return;
    }
    if (i->batch != NULL) {
        submit(i);
    } else if (i->held_next == 0 && !i->stopping) {
        make_batch(i);
    }
    if (!i->failed && !i->committing && i->batch == NULL && i->held_next != 0) {
        send_acks(i);
    }
}

void tg_intake_drop_held(struct tg_intake *i)
{
    for (size_t k = 0; k < i->held_count; k++) {
        tg_held_free(i->held[k]);
    }
    i->held_count = 0;
    i->held_next = 0;
    if (i->batch != NULL) {
        tg_batch_free(i->batch);
        i->batch = NULL;
    }
}
