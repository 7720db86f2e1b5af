/*
 * judge.h: what new entries and events that are judged again have in common: the rules, what is
 * known of the object, what the rules say about taking back. The decision itself is decide.h's.
 *
 * Ownership: a verdict owns its parts; tg_verdict_clear ends it.
 */
#ifndef TG_INTAKE_JUDGE_H
#define TG_INTAKE_JUDGE_H

#include "intake/inner.h"
#include "intake/write.h"

struct tg_verdict {
    struct tg_reading reading;
    struct tg_pipeline_result result;
    struct tg_known known;
    struct tg_plan plan;
    bool ran; /* the pipeline: result is set */
};

int64_t tg_judge_now_ms(void); /* wall clock */

void tg_verdict_clear(struct tg_verdict *v);

/*
 * Fills result and known from a reading that is not refused. 0; 1: its object is in the batch in
 * hand, or a mark of one of its postings on its way to the journal: again later; -1 with err.
 */
int tg_judge_object(struct tg_intake *i, struct tg_verdict *v, struct tg_error *err);

/* What writing a plan into the batch in hand needs. */
struct tg_write tg_judge_write(const struct tg_intake *i, const struct tg_verdict *v);

#endif
