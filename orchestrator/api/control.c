/*
 * One mutex over the queue and the answers. The loop takes the whole queue at once and works on it
 * without the lock; an answer is written under it, so that a thread that gives up and the loop that
 * answers agree on who was first.
 */
#include "api/control.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct tg_controls {
    pthread_mutex_t lock;
    pthread_cond_t answered;        /* of some control; the waiter looks at its own */
    struct tg_control *head, *tail; /* under lock */
    size_t open;                    /* called and not answered; under lock */
    bool stopped, ended;            /* under lock */
    uv_async_t wake;
    void (*do_it)(void *arg, struct tg_control *c);
    void *arg;
};

static struct tg_control *take_all(struct tg_controls *q)
{
    struct tg_control *all;

    (void)pthread_mutex_lock(&q->lock);
    all = q->head;
    q->head = q->tail = NULL;
    (void)pthread_mutex_unlock(&q->lock);
    return all;
}

static void on_wake(uv_async_t *wake)
{
    struct tg_controls *q = wake->data;
    struct tg_control *c = take_all(q);

    while (c != NULL) {
        struct tg_control *next = c->next;

        c->next = NULL;
        q->do_it(q->arg, c);
        c = next;
    }
}

static int make_locks(struct tg_controls *q)
{
    pthread_condattr_t attr;
    int rc = pthread_condattr_init(&attr);

    if (rc != 0) {
        return -1;
    }
    rc = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    rc = rc == 0 ? pthread_cond_init(&q->answered, &attr) : rc;
    (void)pthread_condattr_destroy(&attr);
    if (rc != 0) {
        return -1;
    }
    if (pthread_mutex_init(&q->lock, NULL) != 0) {
        (void)pthread_cond_destroy(&q->answered);
        return -1;
    }
    return 0;
}

struct tg_controls *tg_controls_new(uv_loop_t *loop, void (*do_it)(void *arg, struct tg_control *c),
                                    void *arg, struct tg_error *err)
{
    struct tg_controls *q = calloc(1, sizeof(*q));

    if (q == NULL || make_locks(q) != 0) {
        free(q);
        (void)tg_error_set(err, "api: no memory for commands");
        return NULL;
    }
    q->do_it = do_it;
    q->arg = arg;
    q->wake.data = q;
    if (uv_async_init(loop, &q->wake, on_wake) != 0) {
        (void)pthread_mutex_destroy(&q->lock);
        (void)pthread_cond_destroy(&q->answered);
        free(q);
        (void)tg_error_set(err, "api: the loop takes no commands");
        return NULL;
    }
    return q;
}

void tg_controls_stop(struct tg_controls *q)
{
    struct tg_control *c;

    (void)pthread_mutex_lock(&q->lock);
    q->stopped = true;
    (void)pthread_mutex_unlock(&q->lock);
    c = take_all(q);
    while (c != NULL) {
        struct tg_control *next = c->next;

        tg_control_refuse(c, TG_PROBLEM_UNAVAILABLE,
                          "the process is stopping; nothing was done, try again later");
        c = next;
    }
    uv_close((uv_handle_t *)&q->wake, NULL);
}

void tg_controls_end(struct tg_controls *q)
{
    (void)pthread_mutex_lock(&q->lock);
    q->ended = true;
    (void)pthread_cond_broadcast(&q->answered);
    (void)pthread_mutex_unlock(&q->lock);
}

void tg_controls_free(struct tg_controls *q)
{
    if (q == NULL) {
        return;
    }
    (void)pthread_mutex_destroy(&q->lock);
    (void)pthread_cond_destroy(&q->answered);
    free(q);
}

struct tg_control *tg_control_new(enum tg_control_kind kind)
{
    struct tg_control *c = calloc(1, sizeof(*c));

    if (c != NULL) {
        c->kind = kind;
        c->owners = 1;
    }
    return c;
}

void tg_control_drop(struct tg_control *c)
{
    struct tg_controls *q = c->owner;
    unsigned left;

    if (q != NULL) {
        (void)pthread_mutex_lock(&q->lock);
    }
    c->owners--;
    left = c->owners;
    if (q != NULL) {
        (void)pthread_mutex_unlock(&q->lock);
    }
    if (left == 0) {
        json_decref(c->body);
        json_decref(c->result);
        free(c);
    }
}

static struct timespec deadline_in(int timeout_ms)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += timeout_ms / 1000;
    t.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    return t;
}

enum tg_control_wait tg_control_call(struct tg_controls *q, struct tg_control *c, int timeout_ms)
{
    const struct timespec until = deadline_in(timeout_ms);
    enum tg_control_wait outcome = TG_CONTROL_BUSY;
    int rc = 0;

    (void)pthread_mutex_lock(&q->lock);
    if (!q->stopped && q->open < TG_CONTROLS_MAX) {
        c->owner = q;
        c->owners++;
        c->next = NULL;
        if (q->tail != NULL) {
            q->tail->next = c;
        } else {
            q->head = c;
        }
        q->tail = c;
        q->open++;
        (void)uv_async_send(&q->wake);
        while (!c->answered && !q->ended && rc != ETIMEDOUT) {
            rc = pthread_cond_timedwait(&q->answered, &q->lock, &until);
        }
        outcome = c->answered ? TG_CONTROL_ANSWERED : TG_CONTROL_LATE;
    }
    (void)pthread_mutex_unlock(&q->lock);
    return outcome;
}

static void finish(struct tg_control *c)
{
    struct tg_controls *q = c->owner;

    (void)pthread_mutex_lock(&q->lock);
    c->answered = true;
    q->open--;
    (void)pthread_cond_broadcast(&q->answered);
    (void)pthread_mutex_unlock(&q->lock);
    tg_control_drop(c);
}

void tg_control_answer(struct tg_control *c, json_t *result)
{
    if (result == NULL) {
        tg_control_refuse(c, TG_PROBLEM_INTERNAL,
                          "it was done, but the answer could not be written: look again");
        return;
    }
    c->result = result;
    finish(c);
}

void tg_control_refuse(struct tg_control *c, enum tg_problem_code problem, const char *fmt, ...)
{
    va_list args;

    c->refused = true;
    c->problem = problem;
    va_start(args, fmt);
    if (vsnprintf(c->detail, sizeof(c->detail), fmt, args) < 0) {
        c->detail[0] = '\0';
    }
    va_end(args);
    finish(c);
}
