#include "intake/judge.h"

#include <string.h>
#include <time.h>

#include "intake/known.h"

int64_t tg_judge_now_ms(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void tg_verdict_clear(struct tg_verdict *v)
{
    tg_plan_clear(&v->plan);
    tg_known_clear(&v->known);
    if (v->ran) {
        tg_pipeline_clear(&v->result);
    }
    tg_reading_clear(&v->reading);
}

static struct tg_live *live_of(const struct tg_intake *i, const struct tg_config_tenant *t)
{
    return i->o.lives[t - i->o.config->tenants];
}

static struct tg_pipeline_input input_of(const struct tg_intake *i, const struct tg_verdict *v)
{
    return (struct tg_pipeline_input){.type = v->reading.event.type,
                                      .data = v->reading.data,
                                      .headers = v->reading.headers,
                                      .tenant = v->reading.tenant,
                                      .source = v->reading.source,
                                      .master = tg_live_current(live_of(i, v->reading.tenant)),
                                      .received_ms = v->reading.event.received_ms};
}

static int run_pipeline(const struct tg_intake *i, struct tg_verdict *v, struct tg_error *err)
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
static int ask_reversals(const struct tg_intake *i, struct tg_verdict *v, struct tg_error *err)
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

int tg_judge_object(struct tg_intake *i, struct tg_verdict *v, struct tg_error *err)
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
    tg_restoring_doubt(i, &v->known);
    tg_seen_add(&i->seen, key);
    return ask_reversals(i, v, err);
}

struct tg_write tg_judge_write(const struct tg_intake *i, const struct tg_verdict *v)
{
    const struct tg_config_tenant *t = v->reading.tenant;
    struct tg_live *live = t != NULL ? live_of(i, t) : NULL;

    return (struct tg_write){
        .journal = i->o.journal,
        .dispatch = i->o.dispatch,
        .batch = i->batch,
        .rules_sha256 = tg_bundle_sha256(tg_rules_bundle(i->o.pipeline->rules)),
        .live = live,
        .master_version = live != NULL ? tg_master_version(tg_live_current(live)) : "",
        .now_ms = tg_judge_now_ms(),
        .hold_timeout_ms = t != NULL ? t->hold_timeout_ms : 0,
        .restored_postings = i->restoring.row.postings,
        .restored_ms = i->restoring.row.backup_ms};
}
