/*
 * Jobs wait in one queue; one piece of work at a time takes up to TG_FILE_BATCH_MAX of them to a
 * thread of libuv's pool, so one fsync carries many lines. Only that work touches the folder; the
 * queue is the loop thread's. How long a job waits is bounded by the engine's concurrency.
 *
 * While ledger or totals lag behind the CSV files, or one of these is damaged, a timer sends the
 * same kind of work to mend them, with jobs or without.
 */
#include "connect/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "connect/folder.h"

struct job {
    struct job *next;
    int64_t posting;
    bool is_lookup;
    char key[2 * TG_POSTING_KEY_BYTES + 1];
    char reverses[2 * TG_POSTING_KEY_BYTES + 1]; /* "": not a reversal */
    char *kind, *payload;                        /* inside text */
    char text[];
};

struct tg_connector {
    uv_loop_t *loop;
    tg_connect_done done;
    tg_connect_usable usable; /* NULL: nobody asked */
    void *arg;
    struct tg_folder *folder;
    struct job *head, **tail;
    uv_work_t work;
    uv_timer_t mend_timer; /* runs only while the folder is stale */
    uint64_t mend_wait_ms;
    bool busy, closing;
    bool mend_due; /* the timer's wish; mend_now is what the work in hand does */
    bool mend_now;
    struct job *taken[TG_FILE_BATCH_MAX];
    struct tg_folder_job jobs[TG_FILE_BATCH_MAX];
    size_t taken_count;
    tg_connect_closed closed;
    void *closed_arg;
};

static void start_work(struct tg_connector *c);

static void report(struct tg_connector *c, const struct job *job, const struct tg_folder_job *r)
{
    struct tg_connect_result result = {
        .posting = job->posting,
        .is_lookup = job->is_lookup,
        .outcome = r->outcome,
        .lookup = r->lookup,
        .ref = r->ref[0] != '\0' ? r->ref : NULL,
        .detail = r->detail[0] != '\0' ? r->detail : NULL,
        .exception = r->exception,
    };

    c->done(c->arg, &result);
}

/* On the pool's thread. */
static void work(uv_work_t *req)
{
    struct tg_connector *c = req->data;

    if (c->taken_count != 0) {
        tg_folder_run(c->folder, c->jobs, c->taken_count);
    }
    if (c->mend_now) {
        tg_folder_mend(c->folder);
    }
}

/* Closing: what was never begun surely did not happen. */
static void refuse_waiting(struct tg_connector *c)
{
    static const struct tg_folder_job refused = {
        .outcome = TG_OUTCOME_RETRY, .lookup = TG_LOOKUP_UNKNOWN, .detail = "closing"};

    while (c->head != NULL) {
        struct job *job = c->head;

        c->head = job->next;
        report(c, job, &refused);
        free(job);
    }
    c->tail = &c->head;
}

static void on_mend_time(uv_timer_t *timer)
{
    struct tg_connector *c = timer->data;

    c->mend_due = true;
    start_work(c);
}

/* After each work and at open, never while work runs. */
static void plan_mending(struct tg_connector *c)
{
    if (!tg_folder_is_stale(c->folder)) {
        c->mend_wait_ms = TG_FILE_MEND_MIN_MS;
        (void)uv_timer_stop(&c->mend_timer);
        return;
    }
    if (!uv_is_active((uv_handle_t *)&c->mend_timer)) {
        (void)uv_timer_start(&c->mend_timer, on_mend_time, c->mend_wait_ms, 0);
        c->mend_wait_ms *= 2;
        if (c->mend_wait_ms > TG_FILE_MEND_MAX_MS) {
            c->mend_wait_ms = TG_FILE_MEND_MAX_MS;
        }
    }
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct tg_connector *c = handle->data;

    c->closed(c->closed_arg);
    free(c);
}

static void after_work(uv_work_t *req, int status)
{
    struct tg_connector *c = req->data;
    size_t n = c->taken_count;

    (void)status; /* never cancelled */
    for (size_t i = 0; i < n; i++) {
        report(c, c->taken[i], &c->jobs[i]);
        free(c->taken[i]);
    }
    c->taken_count = 0;
    c->busy = false;
    if (!c->closing) {
        const bool repaired = tg_folder_take_repaired(c->folder);

        plan_mending(c);
        start_work(c);
        if (repaired && c->usable != NULL) {
            c->usable(c->arg);
        }
        return;
    }
    refuse_waiting(c);
    tg_folder_close(c->folder);
    uv_close((uv_handle_t *)&c->mend_timer, on_timer_closed);
}

static void start_work(struct tg_connector *c)
{
    if (c->busy || (c->head == NULL && !c->closing && !c->mend_due)) {
        return;
    }
    while (!c->closing && c->head != NULL && c->taken_count < TG_FILE_BATCH_MAX) {
        struct job *job = c->head;
        struct tg_folder_job *to = &c->jobs[c->taken_count];

        c->head = job->next;
        if (c->head == NULL) {
            c->tail = &c->head;
        }
        *to = (struct tg_folder_job){.is_lookup = job->is_lookup,
                                     .key_hex = job->key,
                                     .reverses = job->reverses[0] != '\0' ? job->reverses : NULL,
                                     .kind = job->kind,
                                     .payload = job->payload};
        c->taken[c->taken_count++] = job;
    }
    c->mend_now = c->mend_due && !c->closing;
    c->mend_due = false;
    c->busy = true;
    /* fails only without a work function */
    (void)uv_queue_work(c->loop, &c->work, work, after_work);
}

static struct tg_connector *file_open(const struct tg_connect_env *env,
                                      const struct tg_config_destination *d, const char *tenant,
                                      tg_connect_done done, void *arg, struct tg_error *err)
{
    struct tg_connector *c;

    if (d->path == NULL || d->path[0] == '\0') {
        (void)tg_error_set(err, "destination %s: the file connector needs a path", d->id);
        return NULL;
    }
    c = calloc(1, sizeof(*c));
    if (c == NULL) {
        (void)tg_error_set(err, "destination %s: no memory", d->id);
        return NULL;
    }
    (void)tenant;
    c->loop = env->loop;
    c->done = done;
    c->arg = arg;
    c->tail = &c->head;
    c->work.data = c;
    c->mend_wait_ms = TG_FILE_MEND_MIN_MS;
    c->folder = tg_folder_open(d->path, err);
    if (c->folder == NULL) {
        free(c);
        return NULL;
    }
    (void)uv_timer_init(c->loop, &c->mend_timer); /* cannot fail */
    c->mend_timer.data = c;
    plan_mending(c);
    return c;
}

static int enqueue(struct tg_connector *c, const struct tg_connect_job *from, bool is_lookup)
{
    size_t kind_len = strlen(from->kind) + 1;
    size_t payload_len = strlen(from->payload) + 1;
    struct job *job = malloc(sizeof(*job) + kind_len + payload_len);

    if (job == NULL) {
        return -1;
    }
    job->next = NULL;
    job->posting = from->posting;
    job->is_lookup = is_lookup;
    memcpy(job->key, from->key, sizeof(job->key));
    (void)snprintf(job->reverses, sizeof(job->reverses), "%s",
                   from->reverses_key != NULL ? from->reverses_key : "");
    job->kind = job->text;
    job->payload = job->text + kind_len;
    memcpy(job->kind, from->kind, kind_len);
    memcpy(job->payload, from->payload, payload_len);
    *c->tail = job;
    c->tail = &job->next;
    if (!c->closing) {
        start_work(c);
    }
    return 0;
}

static int file_send(struct tg_connector *c, const struct tg_connect_job *job)
{
    return enqueue(c, job, false);
}

static int file_lookup(struct tg_connector *c, const struct tg_connect_job *job)
{
    return enqueue(c, job, true);
}

static void file_about(const struct tg_connector *c, struct tg_connect_about *out)
{
    (void)c;
    *out = (struct tg_connect_about){.dedupe = TG_DEDUPE_UNIQUE, .reversible = true};
}

static void file_watch(struct tg_connector *c, tg_connect_usable usable)
{
    c->usable = usable;
}

static void file_close(struct tg_connector *c, tg_connect_closed closed, void *arg)
{
    c->closing = true;
    (void)uv_timer_stop(&c->mend_timer);
    c->closed = closed;
    c->closed_arg = arg;
    start_work(c); /* with nothing to do it only makes the end come from the loop */
}

const struct tg_connector_ops tg_connector_file = {
    .name = "file",
    .open = file_open,
    .about = file_about,
    .send = file_send,
    .lookup = file_lookup,
    .watch = file_watch,
    .close = file_close,
};
