/* When somebody is told, by example and by the thousand against what must always hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "core/alert.h"

#define MINUTE INT64_C(60000)
#define START INT64_C(1763685804123)

static const struct tg_alert_policy policy = {
    .repeat_ms = 240 * MINUTE, .again_ms = 10 * MINUTE, .settle_ms = 2 * MINUTE, .resolved = true};

static enum tg_alert_notice at(struct tg_alert_state *s, int64_t minute, bool wrong, uint64_t fresh)
{
    const struct tg_alert_seen seen = {.wrong = wrong, .fresh = fresh};
    const int64_t now = START + minute * MINUTE;
    enum tg_alert_notice n = tg_alert_step(s, &seen, now, &policy);

    tg_alert_told(s, n, s->fresh, now);
    return n;
}

static void told_once_then_repeated_then_resolved(void **state)
{
    struct tg_alert_state s = {.told = false};

    (void)state;
    assert_int_equal(at(&s, 0, false, 0), TG_ALERT_NONE);
    assert_int_equal(at(&s, 1, true, 0), TG_ALERT_FIRING);
    for (int64_t m = 2; m < 241; m++) {
        assert_int_equal(at(&s, m, true, 0), TG_ALERT_NONE);
    }
    assert_int_equal(at(&s, 241, true, 0), TG_ALERT_REPEAT);
    assert_int_equal(at(&s, 242, false, 0), TG_ALERT_NONE);
    assert_int_equal(at(&s, 243, false, 0), TG_ALERT_NONE);
    assert_int_equal(at(&s, 244, false, 0), TG_ALERT_RESOLVED);
    assert_int_equal(at(&s, 245, false, 0), TG_ALERT_NONE);
    assert_int_equal(at(&s, 246, true, 0), TG_ALERT_NONE); /* too soon after the last notice */
    assert_int_equal(at(&s, 251, true, 0), TG_ALERT_FIRING);
}

/* A restart forgets a breaker; it opens again within the time to settle. */
static void a_short_clear_is_none(void **state)
{
    struct tg_alert_state s = {.told = false};

    (void)state;
    assert_int_equal(at(&s, 0, true, 0), TG_ALERT_FIRING);
    assert_int_equal(at(&s, 30, false, 0), TG_ALERT_NONE);
    assert_int_equal(at(&s, 31, true, 0), TG_ALERT_NONE);
    assert_int_equal(at(&s, 60, false, 0), TG_ALERT_NONE);
    assert_int_equal(at(&s, 62, false, 0), TG_ALERT_RESOLVED);
}

static void new_cases_are_gathered(void **state)
{
    struct tg_alert_state s = {.told = false};
    const struct tg_alert_seen five = {.wrong = true, .fresh = 5};
    enum tg_alert_notice n;

    (void)state;
    n = tg_alert_step(&s, &five, START, &policy);
    assert_int_equal(n, TG_ALERT_FIRING);
    assert_int_equal(s.fresh, 5);
    tg_alert_told(&s, n, 5, START);
    assert_int_equal(tg_alert_step(&s, &five, START + MINUTE, &policy), TG_ALERT_NONE);
    n = tg_alert_step(&s, &five, START + 10 * MINUTE, &policy);
    assert_int_equal(n, TG_ALERT_MORE);
    assert_int_equal(s.fresh, 10);
    tg_alert_told(&s, n, 7, START + 10 * MINUTE); /* three came while it was on its way */
    assert_int_equal(s.fresh, 3);
}

static void what_is_not_delivered_is_not_told(void **state)
{
    struct tg_alert_state s = {.told = false};
    const struct tg_alert_seen wrong = {.wrong = true};
    const struct tg_alert_seen right = {.wrong = false};

    (void)state;
    for (int64_t m = 0; m < 100; m++) {
        assert_int_equal(tg_alert_step(&s, &wrong, START + m * MINUTE, &policy), TG_ALERT_FIRING);
    }
    assert_int_equal(tg_alert_step(&s, &right, START + 100 * MINUTE, &policy), TG_ALERT_NONE);
    assert_true(tg_alert_is_idle(&s, START + 100 * MINUTE, &policy)); /* never told, never undone */
}

static void an_event_is_told_and_never_resolved(void **state)
{
    struct tg_alert_state s = {.told = false};
    struct tg_alert_seen lost = {.once = true, .fresh = 2};
    const struct tg_alert_seen quiet = {.once = true};

    (void)state;
    assert_int_equal(tg_alert_step(&s, &lost, START, &policy), TG_ALERT_FIRING);
    tg_alert_told(&s, TG_ALERT_FIRING, 2, START);
    assert_int_equal(tg_alert_step(&s, &lost, START + MINUTE, &policy), TG_ALERT_NONE);
    assert_int_equal(tg_alert_step(&s, &quiet, START + 10 * MINUTE, &policy), TG_ALERT_FIRING);
    assert_int_equal(s.fresh, 2);
    tg_alert_told(&s, TG_ALERT_FIRING, 2, START + 10 * MINUTE);
    for (int64_t m = 11; m < 2000; m++) {
        assert_int_equal(tg_alert_step(&s, &quiet, START + m * MINUTE, &policy), TG_ALERT_NONE);
    }
    assert_true(tg_alert_is_idle(&s, START + 2000 * MINUTE, &policy));
}

static void a_clock_set_back_silences_nobody(void **state)
{
    struct tg_alert_state s = {.told = false};
    const int64_t back = START - 1000 * MINUTE;
    const struct tg_alert_seen wrong = {.wrong = true, .fresh = 1};

    (void)state;
    tg_alert_told(&s, tg_alert_step(&s, &wrong, START, &policy), 1, START);
    assert_int_equal(tg_alert_step(&s, &wrong, back, &policy), TG_ALERT_NONE);
    assert_int_equal(tg_alert_step(&s, &wrong, back + 10 * MINUTE, &policy), TG_ALERT_MORE);
}

static void names(void **state)
{
    (void)state;
    assert_string_equal(tg_alert_notice_name(TG_ALERT_FIRING), "firing");
    assert_string_equal(tg_alert_notice_name(TG_ALERT_RESOLVED), "resolved");
    assert_string_equal(tg_alert_notice_name((enum tg_alert_notice)77), "unknown");
}

/* ---- by the thousand ---- */

static uint32_t next(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

struct world {
    struct tg_alert_policy p;
    struct tg_alert_state s;
    int64_t now, last_notice, wrong_since, right_since;
    bool wrong, open; /* open: FIRING was told and not RESOLVED */
    uint64_t seen, told;
    bool lossy;
};

static void move(struct world *w, uint32_t *seed)
{
    w->now += 1 + next(seed) % (w->p.again_ms / 3 + 1);
    if (next(seed) % 5 == 0) {
        w->wrong = !w->wrong;
    }
    if (w->wrong) {
        w->right_since = 0;
        w->wrong_since = w->wrong_since != 0 ? w->wrong_since : w->now;
    } else {
        w->wrong_since = 0;
        w->right_since = w->right_since != 0 ? w->right_since : w->now;
    }
}

static void look(struct world *w, enum tg_alert_notice n, bool delivered)
{
    if (n == TG_ALERT_RESOLVED) {
        assert_true(w->p.resolved);
        assert_true(w->open);
        assert_false(w->wrong);
        assert_true(w->now - w->right_since >= w->p.settle_ms);
    } else if (n != TG_ALERT_NONE) {
        assert_true(w->wrong);
        assert_true(w->last_notice == 0 || w->now - w->last_notice >= w->p.again_ms);
        assert_int_equal(n == TG_ALERT_FIRING, !w->open);
    }
    /* silence: only right after a notice, or while nothing new is to be told */
    if (n == TG_ALERT_NONE && w->wrong && !w->open) {
        assert_true(w->last_notice != 0 && w->now - w->last_notice < w->p.again_ms);
    }
    if (n == TG_ALERT_NONE && w->wrong && w->p.repeat_ms > 0 && w->last_notice != 0) {
        assert_true(w->now - w->last_notice < w->p.repeat_ms ||
                    w->now - w->last_notice < w->p.again_ms);
    }
    if (n == TG_ALERT_NONE && !w->wrong && w->open && w->p.resolved) {
        assert_true(w->now - w->right_since < w->p.settle_ms);
    }
    if (!delivered || n == TG_ALERT_NONE) {
        return;
    }
    if (n == TG_ALERT_RESOLVED) {
        w->open = false;
    } else {
        w->open = true;
        w->last_notice = w->now;
    }
}

static void one_world(uint32_t seed)
{
    struct world w = {.now = START};
    struct tg_alert_seen seen;

    w.p.repeat_ms = next(&seed) % 4 == 0 ? 0 : 1 + next(&seed) % 100000;
    w.p.again_ms = 1 + next(&seed) % 5000;
    w.p.settle_ms = next(&seed) % 5000;
    w.p.resolved = next(&seed) % 3 != 0;
    w.lossy = next(&seed) % 2 == 0;
    for (int i = 0; i < 200; i++) {
        bool delivered;
        enum tg_alert_notice n;

        move(&w, &seed);
        seen = (struct tg_alert_seen){
            .wrong = w.wrong, .fresh = w.wrong && next(&seed) % 3 == 0 ? next(&seed) % 4 : 0};
        w.seen += seen.fresh;
        n = tg_alert_step(&w.s, &seen, w.now, &w.p);
        delivered = !w.lossy || next(&seed) % 3 != 0;
        if (!w.wrong) {
            w.told = w.seen; /* what is over is not told any more */
        }
        if (!w.p.resolved && !w.wrong && w.open && w.now - w.right_since >= w.p.settle_ms) {
            w.open = false;
        }
        look(&w, n, delivered);
        if (delivered && n != TG_ALERT_NONE) {
            w.told += n == TG_ALERT_RESOLVED ? 0 : w.s.fresh;
            tg_alert_told(&w.s, n, w.s.fresh, w.now);
        }
        assert_int_equal(w.told + w.s.fresh, w.seen); /* every new case: told or still to tell */
    }
}

static void by_the_thousand(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 20000; seed++) {
        one_world(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(told_once_then_repeated_then_resolved),
        cmocka_unit_test(a_short_clear_is_none),
        cmocka_unit_test(new_cases_are_gathered),
        cmocka_unit_test(what_is_not_delivered_is_not_told),
        cmocka_unit_test(an_event_is_told_and_never_resolved),
        cmocka_unit_test(a_clock_set_back_silences_nobody),
        cmocka_unit_test(names),
        cmocka_unit_test(by_the_thousand),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
