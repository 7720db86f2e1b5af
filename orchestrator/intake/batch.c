#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/digest.h"
#include "common/log.h"
#include "core/metrics.h"
#include "intake/inner.h"
#include "intake/judge.h"
#include "intake/known.h"

/* ---- deciding ---- */

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
static int refuse_reuse(struct tg_intake *i, struct tg_verdict *v, char *stored_id,
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

/* 0 with a plan; 1: not in this batch, see tg_judge_object; -1. */
static int judge(struct tg_intake *i, const struct tg_held *h, struct tg_verdict *v,
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
        rc = tg_judge_object(i, v, err);
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
    struct tg_verdict v = {.ran = false};
    struct tg_write w;
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
        w = tg_judge_write(i, &v);
        return tg_write_lost(&w, h->entry.event_id, err);
    }
    if (tg_reading_make(&h->entry, i->o.config, &v.reading) != 0) {
        return tg_error_set(err, "intake: no memory to read an entry");
    }
    if (known == 0) {
        rc = refuse_reuse(i, &v, stored_id, err);
        if (rc != 1) {
            tg_verdict_clear(&v);
            return rc;
        }
    }
    rc = judge(i, h, &v, err);
    if (rc == 0) {
        w = tg_judge_write(i, &v);
        w.sent_ms = tg_restoring_sent_ms(i, h);
        rc = tg_write_plan(&w, &v.reading, &v.plan, &v.known, err);
    }
    tg_verdict_clear(&v);
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
        (tg_event_id_from_stream(h->shard, tg_str_of(newest), &have) != 0 ||
         tg_event_id_compare(&id, &have) > 0)) {
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
    tg_again_committed(i);
    tg_intake_advance(i);
}

void tg_intake_submit(struct tg_intake *i)
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
           tg_batch_ops(i->batch) < TG_INTAKE_OPS_FULL) {
        rc = decide_entry(i, i->held[i->held_next], &err);
        i->held_next += rc == 0;
    }
    if (rc < 0) {
        tg_intake_fail(i, &err);
        return;
    }
    tg_intake_submit(i);
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

/* New entries and old events take turns. */
static void make_either(struct tg_intake *i)
{
    bool again = tg_again_has_work(i) && (i->held_count == 0 || !i->again_was_last);

    i->again_was_last = again;
    if (again) {
        tg_again_make(i);
    } else if (i->held_count != 0) {
        make_batch(i);
    }
}

void tg_intake_work(struct tg_intake *i)
{
    if (i->committing || i->acking || i->failed) {
        return;
    }
    if (i->batch != NULL) {
        tg_intake_submit(i);
    } else if (i->held_next == 0 && !i->stopping) {
        make_either(i);
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
