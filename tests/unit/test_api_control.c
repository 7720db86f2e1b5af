/* Commands between threads and a loop: answered, refused, too many, too late, stopped. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/control.h"

#define WAIT_MS 20000

struct rig {
    uv_loop_t loop;
    struct tg_controls *q;
    bool keep;               /* hold what comes instead of answering */
    struct tg_control *held; /* the newest one kept */
    size_t done;
};

static void do_it(void *arg, struct tg_control *c)
{
    struct rig *r = arg;

    r->done++;
    if (r->keep) {
        r->held = c;
    } else if (strcmp(c->name, "no") == 0) {
        tg_control_refuse(c, TG_PROBLEM_NOT_FOUND, "no %s", c->name);
    } else {
        tg_control_answer(c, json_pack("{s:s}", "name", c->name));
    }
}

static int setup(void **state)
{
    struct rig *r = calloc(1, sizeof(*r));
    struct tg_error err = {""};

    assert_non_null(r);
    assert_int_equal(uv_loop_init(&r->loop), 0);
    r->q = tg_controls_new(&r->loop, do_it, r, &err);
    assert_non_null(r->q);
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    struct rig *r = *state;

    tg_controls_stop(r->q);
    (void)uv_run(&r->loop, UV_RUN_DEFAULT);
    tg_controls_free(r->q);
    assert_int_equal(uv_loop_close(&r->loop), 0);
    free(r);
    return 0;
}

struct caller {
    pthread_t thread;
    struct rig *rig;
    struct tg_control *c;
    int wait_ms;
    enum tg_control_wait outcome;
};

static void *call(void *arg)
{
    struct caller *k = arg;

    k->outcome = tg_control_call(k->rig->q, k->c, k->wait_ms);
    return NULL;
}

static void begin(struct caller *k, struct rig *r, const char *name, int wait_ms)
{
    *k = (struct caller){.rig = r, .c = tg_control_new(TG_CONTROL_PAUSE), .wait_ms = wait_ms};
    assert_non_null(k->c);
    assert_true(strlen(name) < sizeof(k->c->name));
    memcpy(k->c->name, name, strlen(name) + 1);
    assert_int_equal(pthread_create(&k->thread, NULL, call, k), 0);
}

static void join(struct caller *k)
{
    assert_int_equal(pthread_join(k->thread, NULL), 0);
}

static void run_until(struct rig *r, size_t done)
{
    while (r->done < done) {
        (void)uv_run(&r->loop, UV_RUN_ONCE);
    }
}

static void test_answered(void **state)
{
    struct rig *r = *state;
    struct caller k;

    begin(&k, r, "erp", WAIT_MS);
    run_until(r, 1);
    join(&k);
    assert_int_equal(k.outcome, TG_CONTROL_ANSWERED);
    assert_false(k.c->refused);
    assert_string_equal(json_string_value(json_object_get(k.c->result, "name")), "erp");
    tg_control_drop(k.c);
}

static void test_refused(void **state)
{
    struct rig *r = *state;
    struct caller k;

    begin(&k, r, "no", WAIT_MS);
    run_until(r, 1);
    join(&k);
    assert_int_equal(k.outcome, TG_CONTROL_ANSWERED);
    assert_true(k.c->refused);
    assert_int_equal(k.c->problem, TG_PROBLEM_NOT_FOUND);
    assert_string_equal(k.c->detail, "no no");
    tg_control_drop(k.c);
}

/* The thread has gone; the loop answers into a control that only it still owns. */
static void test_late(void **state)
{
    struct rig *r = *state;
    struct caller k;

    r->keep = true;
    begin(&k, r, "erp", 1);
    run_until(r, 1);
    join(&k);
    assert_int_equal(k.outcome, TG_CONTROL_LATE);
    tg_control_drop(k.c);
    tg_control_answer(r->held, json_object());
}

/* Each caller takes one place until it is answered, also those nobody waits for any more. */
static void test_too_many(void **state)
{
    struct rig *r = *state;
    struct tg_control *one_more = tg_control_new(TG_CONTROL_RESUME);

    for (size_t i = 0; i < TG_CONTROLS_MAX; i++) {
        struct tg_control *c = tg_control_new(TG_CONTROL_RESUME);

        assert_non_null(c);
        assert_int_equal(tg_control_call(r->q, c, 0), TG_CONTROL_LATE);
        tg_control_drop(c);
    }
    assert_non_null(one_more);
    assert_int_equal(tg_control_call(r->q, one_more, WAIT_MS), TG_CONTROL_BUSY);
    run_until(r, TG_CONTROLS_MAX);
    assert_int_equal(tg_control_call(r->q, one_more, 0), TG_CONTROL_LATE);
    tg_control_drop(one_more);
    run_until(r, TG_CONTROLS_MAX + 1);
}

static void test_stopped(void **state)
{
    struct rig *r = *state;
    struct caller waits, kept;
    struct tg_control *later = tg_control_new(TG_CONTROL_PAUSE);

    r->keep = true;
    begin(&kept, r, "kept", WAIT_MS);
    run_until(r, 1);
    begin(&waits, r, "waits", WAIT_MS);
    tg_controls_end(r->q);
    join(&kept);
    assert_int_equal(kept.outcome, TG_CONTROL_LATE);
    join(&waits);
    assert_int_equal(waits.outcome, TG_CONTROL_LATE);
    tg_controls_stop(r->q);
    assert_non_null(later);
    assert_int_equal(tg_control_call(r->q, later, WAIT_MS), TG_CONTROL_BUSY);
    tg_control_answer(r->held, json_object());
    tg_control_drop(kept.c);
    tg_control_drop(waits.c);
    tg_control_drop(later);
    (void)uv_run(&r->loop, UV_RUN_DEFAULT);
    tg_controls_free(r->q);
    r->q = tg_controls_new(&r->loop, do_it, r, &(struct tg_error){""});
    assert_non_null(r->q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_answered, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_late, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_many, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stopped, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
