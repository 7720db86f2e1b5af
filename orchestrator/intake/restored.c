#include "intake/restored.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "core/metrics.h"
#include "intake/inner.h"

/* ---- the decision ---- */

static bool is_set(const struct tg_event_id *id)
{
    return id->ms != 0 || id->seq != 0;
}

static bool is_after(const struct tg_event_id *a, const struct tg_event_id *b)
{
    return tg_event_id_compare(a, b) > 0;
}

/*
 * A group at 0 in a stream that has entries was made anew: it does not say what was read before.
 */
static struct tg_event_id doubtful_upto(const struct tg_reread_facts *f, bool doubt_all)
{
    struct tg_event_id upto = f->delivered;

    if (doubt_all || (!is_set(&f->delivered) && f->length > 0)) {
        upto = f->generated;
    }
    return is_after(&f->carried, &upto) ? f->carried : upto;
}

/*
 * Redis counts what was ever added, but not which of it was trimmed: where the journal reaches the
 * oldest entry nothing is missing; where it has as many events as are gone neither. After Redis was
 * emptied the counts do not fit each other, and the number is not known.
 */
static void look_for_gap(const struct tg_reread_facts *f, struct tg_reread *out)
{
    const uint64_t gone = f->added > f->length ? f->added - f->length : 0;

    if (gone == 0 || !is_after(&f->generated, &f->newest) ||
        (f->length > 0 && !is_after(&f->first, &f->newest)) || gone == f->journalled) {
        return;
    }
    out->gap = true;
    out->missing = gone > f->journalled ? gone - f->journalled : 0;
}

void tg_reread_decide(const struct tg_reread_facts *f, bool doubt_all, struct tg_reread *out)
{
    memset(out, 0, sizeof(*out));
    out->upto = doubtful_upto(f, doubt_all);
    look_for_gap(f, out);
}

/* ---- from the journal ---- */

static void on_position(void *arg, unsigned shard, const char *upto)
{
    struct tg_restoring *r = arg;

    if (shard < TG_SHARD_COUNT_MAX) {
        (void)tg_event_id_from_stream(shard, tg_str_of(upto), &r->upto[shard]);
    }
}

static void on_event_id(void *arg, const char *event_id)
{
    struct tg_restoring *r = arg;
    struct tg_event_id id;
    struct tg_reread_facts *f;

    if (tg_event_id_parse(tg_str_of(event_id), &id) != 0) {
        return; /* one with a suffix of ours: its twin without is counted */
    }
    f = &r->facts[id.shard];
    f->journalled++;
    if (is_after(&id, &f->newest)) {
        f->newest = id;
    }
}

int tg_restoring_load(struct tg_intake *i, struct tg_error *err)
{
    struct tg_restoring *r = &i->restoring;
    int found = tg_reader_restored(i->reader, &r->row, err);

    if (found != 0) {
        return found < 0 ? -1 : 0;
    }
    if (tg_reader_restored_positions(i->reader, r->row.id, on_position, r, err) != 0) {
        return -1;
    }
    if (r->row.state != TG_RESTORED_TO_DO) {
        return 0;
    }
    r->facts = calloc(TG_SHARD_COUNT_MAX, sizeof(*r->facts));
    if (r->facts == NULL) {
        return tg_error_set(err, "intake: no memory");
    }
    return tg_reader_event_ids(i->reader, on_event_id, r, err);
}

void tg_restoring_free(struct tg_intake *i)
{
    free(i->restoring.facts);
    i->restoring.facts = NULL;
}

bool tg_restoring_is_due(const struct tg_intake *i)
{
    return i->restoring.row.id != 0 && i->restoring.row.state != TG_RESTORED_DONE;
}

int64_t tg_restoring_sent_ms(const struct tg_intake *i, const struct tg_held *h)
{
    const struct tg_restoring *r = &i->restoring;
    struct tg_event_id id;

    if (r->row.id == 0 || tg_event_id_from_stream(h->shard, tg_str_of(h->stream_id), &id) != 0 ||
        is_after(&id, &r->upto[h->shard])) {
        return 0;
    }
    return r->row.backup_ms > 0 ? r->row.backup_ms : 1;
}

int64_t tg_restoring_sent_again_ms(const struct tg_intake *i, int64_t event)
{
    const struct tg_restored *row = &i->restoring.row;

    if (row->id == 0 || event > row->events) {
        return 0;
    }
    return row->backup_ms > 0 ? row->backup_ms : 1;
}

void tg_restoring_doubt(const struct tg_intake *i, struct tg_known *k)
{
    for (size_t n = 0; n < k->posting_count; n++) {
        struct tg_known_posting *p = &k->postings[n];

        if (p->state == TG_POSTING_EXCEPTION && p->id <= i->restoring.row.postings) {
            p->unknown = true;
        }
    }
}

/* ---- commits ---- */

static void on_step_committed(void *arg, bool ok, const struct tg_error *err)
{
    struct tg_intake *i = arg;
    struct tg_restoring *r = &i->restoring;

    i->committing = false;
    i->busy = false;
    if (!ok) {
        tg_intake_fail(i, err);
        return;
    }
    r->row.state = r->row.state == TG_RESTORED_TO_DO ? TG_RESTORED_POSITIONS : TG_RESTORED_DONE;
    tg_restoring_free(i);
    if (r->row.state == TG_RESTORED_DONE) {
        tg_log(TG_LOG_INFO, "intake",
               "the journal was restored: the stream was read again from its oldest entry");
        tg_intake_start_over(i);
    }
    tg_intake_advance(i);
}

/* A full queue: the tick asks again; what was read is known by then. */
static void submit_step(struct tg_intake *i, struct tg_batch *b)
{
    if (tg_journal_submit(i->o.journal, b, on_step_committed, i) != 0) {
        tg_batch_free(b);
        i->busy = false;
        return;
    }
    i->committing = true;
}

static void step_failed(struct tg_intake *i, struct tg_batch *b)
{
    tg_batch_free(b);
    tg_intake_fail_text(i, "no memory for the restore's rows");
}

/* ---- step 1: how far the group was ---- */

static int tell_gap(struct tg_batch *b, unsigned shard, const struct tg_reread_facts *f,
                    const struct tg_reread *d)
{
    char subject[16], detail[256];
    uint64_t first_ms = f->length > 0 ? f->first.ms : f->generated.ms;
    uint64_t first_seq = f->length > 0 ? f->first.seq : f->generated.seq;

    (void)snprintf(subject, sizeof(subject), "s%02u", shard % TG_SHARD_COUNT_MAX);
    (void)snprintf(detail, sizeof(detail),
                   "{\"after\":\"%" PRIu64 "-%" PRIu64 "\",\"until\":\"%" PRIu64 "-%" PRIu64
                   "\",\"missing\":%" PRIu64 "}",
                   f->newest.ms, f->newest.seq, first_ms, first_seq, d->missing);
    tg_log(TG_LOG_ERROR, "intake",
           "restore: in shard %s Redis no longer has entries behind %" PRIu64 "-%" PRIu64
           " and the backup does not have them yet: %" PRIu64
           " events (0: not known) are not in the journal; see docs/operating.md",
           subject, f->newest.ms, f->newest.seq, d->missing);
    tg_metric_add(TG_METRIC_INTAKE_DATA_LOSS, d->missing > 0 ? d->missing : 1);
    return tg_batch_audit(b, "orchestrator", "stream.entries_missing", subject, detail);
}

static int add_position(struct tg_intake *i, struct tg_batch *b, unsigned shard)
{
    struct tg_restoring *r = &i->restoring;
    struct tg_reread_facts *f = &r->facts[shard];
    struct tg_reread d;
    char upto[TG_EVENT_ID_MAX_BYTES];

    f->carried = r->upto[shard];
    tg_reread_decide(f, r->row.doubt_all, &d);
    r->upto[shard] = d.upto;
    (void)snprintf(upto, sizeof(upto), "%" PRIu64 "-%" PRIu64, d.upto.ms, d.upto.seq);
    if (tg_batch_restored_position(b, r->row.id, shard, upto) != 0) {
        return -1;
    }
    return d.gap ? tell_gap(b, shard, f, &d) : 0;
}

static void write_positions(struct tg_intake *i)
{
    struct tg_batch *b = tg_batch_new();
    bool fine = b != NULL;

    for (unsigned s = 0; fine && s < i->streams.shards; s++) {
        fine = add_position(i, b, s) == 0;
    }
    if (!fine || tg_batch_restored_state(b, i->restoring.row.id, TG_RESTORED_POSITIONS) != 0) {
        step_failed(i, b);
        return;
    }
    submit_step(i, b);
}

/* One reply of a step. True: it was the last one, and none failed. */
static bool answered(struct tg_intake *i, bool good, const redisReply *reply)
{
    struct tg_restoring *r = &i->restoring;

    if (!good) {
        if (!r->failed && reply != NULL) {
            tg_log(TG_LOG_ERROR, "intake", "restore: how far the group is cannot be read: %s",
                   reply->type == REDIS_REPLY_ERROR ? reply->str : "unknown reply");
        }
        r->failed = true;
    }
    r->left--;
    if (r->left != 0 || i->closing) {
        return false;
    }
    if (r->failed) {
        i->busy = false;
        i->wait_until_ms = tg_intake_now(i) + TG_INTAKE_ERROR_WAIT_MS;
        return false;
    }
    return true;
}

static void on_facts(void *arg, const redisReply *reply)
{
    const struct tg_restoring_ask *a = arg;
    struct tg_reread_facts *f = &a->intake->restoring.facts[a->shard];
    bool good = reply != NULL && tg_stream_facts(reply, a->shard, f) == 0;

    if (answered(a->intake, good, reply)) {
        write_positions(a->intake);
    }
}

static void on_group_facts(void *arg, const redisReply *reply)
{
    const struct tg_restoring_ask *a = arg;
    struct tg_reread_facts *f = &a->intake->restoring.facts[a->shard];
    bool good = reply != NULL && tg_stream_delivered(reply, a->shard, &f->delivered) == 0;

    if (answered(a->intake, good, reply)) {
        write_positions(a->intake);
    }
}

/* ---- step 2: everything up to there once more ---- */

static void write_done(struct tg_intake *i)
{
    struct tg_batch *b = tg_batch_new();

    if (b == NULL || tg_batch_restored_state(b, i->restoring.row.id, TG_RESTORED_DONE) != 0 ||
        tg_batch_audit(b, "orchestrator", "stream.reread", "journal", NULL) != 0) {
        step_failed(i, b);
        return;
    }
    i->busy = true;
    submit_step(i, b);
}

static void next_shard(struct tg_restoring *r)
{
    r->shard++;
    r->after[0] = '\0';
}

static void on_range(void *arg, const redisReply *reply)
{
    struct tg_intake *i = arg;
    struct tg_restoring *r = &i->restoring;
    long n;

    i->busy = false;
    if (reply != NULL && reply->type == REDIS_REPLY_ARRAY) {
        n = tg_intake_take_list(i, reply, r->shard, r->after);
        if (n >= 0 && reply->elements < TG_INTAKE_READ_COUNT_MAX) {
            next_shard(r);
        }
    } else if (reply != NULL) {
        tg_log(TG_LOG_ERROR, "intake", "restore: XRANGE refused: %s",
               reply->type == REDIS_REPLY_ERROR ? reply->str : "unknown reply");
        i->wait_until_ms = tg_intake_now(i) + TG_INTAKE_ERROR_WAIT_MS;
    }
    tg_intake_advance(i);
}

/* Called when nothing is held any more: what was read before is in the journal. */
static void read_again(struct tg_intake *i)
{
    struct tg_restoring *r = &i->restoring;
    char upto[TG_STREAM_ID_BYTES];

    while (r->shard < i->streams.shards && !is_set(&r->upto[r->shard])) {
        next_shard(r);
    }
    if (r->shard >= i->streams.shards) {
        write_done(i);
        return;
    }
    (void)snprintf(upto, sizeof(upto), "%" PRIu64 "-%" PRIu64, r->upto[r->shard].ms,
                   r->upto[r->shard].seq);
    i->busy = tg_stream_range(i->command_link, &i->streams, r->shard,
                              r->after[0] != '\0' ? r->after : "0-0", upto,
                              TG_INTAKE_READ_COUNT_MAX, on_range, i) == 0;
}

void tg_restoring_ask(struct tg_intake *i)
{
    struct tg_restoring *r = &i->restoring;

    if (r->row.state == TG_RESTORED_POSITIONS) {
        read_again(i);
        return;
    }
    r->failed = false;
    r->left = 0;
    for (unsigned s = 0; s < i->streams.shards; s++) {
        r->asks[s] = (struct tg_restoring_ask){i, s};
        r->left +=
            tg_stream_info_stream(i->command_link, &i->streams, s, on_facts, &r->asks[s]) == 0;
        r->left +=
            tg_stream_info(i->command_link, &i->streams, s, on_group_facts, &r->asks[s]) == 0;
    }
    /* The link went down among them: what was asked is answered NULL, and asked again. */
    r->failed = r->left != 2 * i->streams.shards;
    i->busy = r->left != 0;
}
