#include "dispatch/marks.h"

#include <stdlib.h>

#define IDS_FIRST 64

/* One batch and the postings it marks. */
struct flight {
    struct flight *next;
    struct tg_marks *owner;
    struct tg_batch *batch;
    int64_t *ids;
    size_t count, cap;
};

struct tg_marks {
    struct tg_marks_options o;
    struct flight *head, *tail; /* gathered, not yet taken by the journal */
    size_t out;                 /* taken, not yet on disk */
};

struct tg_marks *tg_marks_new(const struct tg_marks_options *o)
{
    struct tg_marks *m = calloc(1, sizeof(*m));

    if (m != NULL) {
        m->o = *o;
    }
    return m;
}

static void flight_free(struct flight *f)
{
    if (f->batch != NULL) {
        tg_batch_free(f->batch);
    }
    free(f->ids);
    free(f);
}

void tg_marks_free(struct tg_marks *m)
{
    if (m == NULL) {
        return;
    }
    while (m->head != NULL) {
        struct flight *f = m->head;

        m->head = f->next;
        flight_free(f);
    }
    free(m);
}

static struct flight *flight_new(struct tg_marks *m)
{
    struct flight *f = calloc(1, sizeof(*f));

    if (f == NULL) {
        return NULL;
    }
    f->owner = m;
    f->batch = tg_batch_new();
    if (f->batch == NULL) {
        free(f);
        return NULL;
    }
    if (m->tail != NULL) {
        m->tail->next = f;
    } else {
        m->head = f;
    }
    m->tail = f;
    return f;
}

static int note_id(struct flight *f, int64_t id)
{
    if (f->count == f->cap) {
        size_t cap = f->cap != 0 ? f->cap * 2 : IDS_FIRST;
        int64_t *ids = realloc(f->ids, cap * sizeof(*ids));

        if (ids == NULL) {
            return -1;
        }
        f->ids = ids;
        f->cap = cap;
    }
    f->ids[f->count++] = id;
    return 0;
}

void tg_marks_begin(struct tg_marks *m)
{
    if (m->tail != NULL &&
        tg_batch_ops(m->tail->batch) + 2 * TG_MARKS_TOGETHER_MAX > TG_JOURNAL_BATCH_OPS_MAX) {
        (void)flight_new(m); /* without memory the next add says so */
    }
}

int tg_marks_add(struct tg_marks *m, const struct tg_row_mark *mark,
                 const struct tg_row_exception *exception)
{
    struct flight *f = m->tail != NULL ? m->tail : flight_new(m);

    if (f == NULL || note_id(f, mark->posting) != 0 || tg_batch_mark(f->batch, mark) != 0 ||
        (exception != NULL && tg_batch_exception(f->batch, exception) != 0)) {
        return -1;
    }
    return 0;
}

int tg_marks_add_silent(struct tg_marks *m, const struct tg_row_mark *mark)
{
    return m->tail != NULL ? tg_batch_mark(m->tail->batch, mark) : -1;
}

int tg_marks_throttle(struct tg_marks *m, uint32_t destination, int64_t until_ms, int64_t said_ms)
{
    struct flight *f;

    tg_marks_begin(m);
    f = m->tail != NULL ? m->tail : flight_new(m);
    return f != NULL ? tg_batch_throttle(f->batch, destination, until_ms, said_ms) : -1;
}

static void on_done(void *arg, bool ok, const struct tg_error *err)
{
    struct flight *f = arg;
    struct tg_marks *m = f->owner;

    m->out--;
    f->batch = NULL; /* the journal's, and gone */
    if (!ok) {
        m->o.fatal(m->o.arg, err);
    } else {
        for (size_t i = 0; i < f->count; i++) {
            m->o.marked(m->o.arg, f->ids[i]);
        }
        m->o.settled(m->o.arg);
    }
    flight_free(f);
}

void tg_marks_flush(struct tg_marks *m)
{
    while (m->head != NULL) {
        struct flight *f = m->head;

        if (tg_journal_submit(m->o.journal, f->batch, on_done, f) != 0) {
            return;
        }
        m->out++;
        m->head = f->next;
        if (m->head == NULL) {
            m->tail = NULL;
        }
        f->next = NULL;
    }
}

bool tg_marks_is_empty(const struct tg_marks *m)
{
    return m->head == NULL && m->out == 0;
}
