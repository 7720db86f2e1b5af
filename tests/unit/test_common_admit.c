/* The reply of admit.lua, and what a Redis error means. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/admit.h"

#define PARTS_ROOM (4 + 3 * (TG_RATES_MAX + 1))

/* Decodes the strings up to NULL; the expected number of rates is a separate thing. */
static int decode(size_t rates, struct tg_admit_reply *out, const char *first, ...)
{
    struct tg_str parts[PARTS_ROOM];
    const char *text = first;
    size_t n = 0;
    va_list args;

    va_start(args, first);
    while (text != NULL && n < PARTS_ROOM) {
        parts[n++] = tg_str_of(text);
        text = va_arg(args, const char *);
    }
    va_end(args);
    return tg_admit_decode(parts, n, rates, out);
}

static void test_accepted(void **state)
{
    struct tg_admit_reply r;

    (void)state;
    assert_int_equal(decode(0, &r, "accepted", "1763685804123456", "s07-1763685804123-0", "", NULL),
                     0);
    assert_int_equal(r.verdict, TG_VERDICT_ACCEPTED);
    assert_true(r.redis_us == INT64_C(1763685804123456));
    assert_string_equal(r.event_id, "s07-1763685804123-0");
    assert_int_equal(r.event_id_len, 19);
    assert_int_equal(r.violated, 0);
    assert_int_equal(r.rate_count, 0);
    assert_int_equal(decode(1, &r, "accepted", "5", "", "", "9", "100", "0", NULL), 0);
    assert_string_equal(r.event_id, "");
    assert_int_equal(r.rate_count, 1);
    assert_int_equal(r.rates[0].remaining, 9);
    assert_int_equal(r.rates[0].reset_us, 100);
    assert_int_equal(r.rates[0].retry_after_us, 0);
}

static void test_other_verdicts(void **state)
{
    struct tg_admit_reply r;

    (void)state;
    assert_int_equal(decode(0, &r, "replay", "5", "s07-1-0", "", NULL), 0);
    assert_int_equal(r.verdict, TG_VERDICT_REPLAY);
    assert_int_equal(decode(0, &r, "mismatch", "5", "", "", NULL), 0);
    assert_int_equal(r.verdict, TG_VERDICT_MISMATCH);
    assert_int_equal(decode(0, &r, "in_flight", "5", "", "", NULL), 0);
    assert_int_equal(r.verdict, TG_VERDICT_IN_FLIGHT);
    assert_int_equal(decode(2, &r, "limited", "5", "", "1", "9", "1", "0", "0", "7", "-1", NULL),
                     0);
    assert_int_equal(r.verdict, TG_VERDICT_LIMITED);
    assert_int_equal(r.violated, 2);
    assert_int_equal(r.rates[1].retry_after_us, -1);
    assert_int_equal(decode(2, &r, "limited", "5", "", "1,0", "0", "1", "3", "0", "7", "4", NULL),
                     0);
    assert_int_equal(r.violated, 3);
    /* A script of another version answers without knowing the rates. */
    assert_int_equal(decode(3, &r, "contract", "5", "", "", NULL), 0);
    assert_int_equal(r.verdict, TG_VERDICT_CONTRACT);
    assert_int_equal(r.rate_count, 0);
}

static void test_refused(void **state)
{
    struct tg_admit_reply r;

    (void)state;
    assert_int_equal(tg_admit_decode(NULL, 0, 0, &r), -1);
    assert_int_equal(decode(0, &r, "accepted", "5", "", NULL), -1);
    assert_int_equal(decode(0, &r, "accepted", "5", "", "", "1", NULL), -1);
    assert_int_equal(decode(1, &r, "accepted", "5", "", "", NULL), -1);
    assert_int_equal(decode(1, &r, "accepted", "5", "", "", "1", "2", NULL), -1);
    assert_int_equal(decode(0, &r, "ACCEPTED", "5", "", "", NULL), -1);
    assert_int_equal(decode(0, &r, "", "5", "", "", NULL), -1);
    assert_int_equal(decode(0, &r, "accepted", "", "", "", NULL), -1);
    assert_int_equal(decode(0, &r, "accepted", "1.79e+15", "", "", NULL), -1);
    assert_int_equal(decode(0, &r, "accepted", "5", "1-0", "", NULL), -1);
    assert_int_equal(decode(0, &r, "mismatch", "5", "s07-1-0", "", NULL), -1);
    assert_int_equal(decode(1, &r, "accepted", "5", "", "0", "1", "2", "3", NULL), -1);
    assert_int_equal(decode(1, &r, "limited", "5", "", "", "1", "2", "3", NULL), -1);
    assert_int_equal(decode(1, &r, "limited", "5", "", "1", "1", "2", "3", NULL), -1);
    assert_int_equal(decode(1, &r, "limited", "5", "", "0,0", "1", "2", "3", NULL), -1);
    assert_int_equal(decode(1, &r, "limited", "5", "", "0,", "1", "2", "3", NULL), -1);
    assert_int_equal(decode(1, &r, "limited", "5", "", ",", "1", "2", "3", NULL), -1);
    assert_int_equal(decode(1, &r, "limited", "5", "", "x", "1", "2", "3", NULL), -1);
    assert_int_equal(decode(1, &r, "limited", "5", "", "4294967296", "1", "2", "3", NULL), -1);
    assert_int_equal(decode(1, &r, "limited", "5", "", "0", "-1", "2", "3", NULL), -1);
    assert_int_equal(decode(1, &r, "limited", "5", "", "0", "1", "-2", "3", NULL), -1);
    assert_int_equal(decode(1, &r, "limited", "5", "", "0", "1", "2", "-3", NULL), -1);
    assert_int_equal(decode(1, &r, "limited", "5", "", "0", "1", "2", "", NULL), -1);
    assert_int_equal(decode(TG_RATES_MAX + 1, &r, "accepted", "5", "", "", NULL), -1);
}

static void test_most_rates(void **state)
{
    struct tg_str parts[4 + 3 * TG_RATES_MAX];
    struct tg_admit_reply r;

    (void)state;
    parts[0] = tg_str_of("limited");
    parts[1] = tg_str_of("9223372036854775807");
    parts[2] = tg_str_of("");
    parts[3] = tg_str_of("7,6,5,4,3,2,1,0");
    for (size_t i = 4; i < sizeof(parts) / sizeof(parts[0]); i++) {
        parts[i] = tg_str_of("1");
    }
    assert_int_equal(tg_admit_decode(parts, sizeof(parts) / sizeof(parts[0]), TG_RATES_MAX, &r), 0);
    assert_int_equal(r.violated, 255);
    assert_int_equal(r.rate_count, TG_RATES_MAX);
}

static void test_errors(void **state)
{
    static const struct {
        const char *text;
        enum tg_redis_error means;
    } cases[] = {
        {"NOSCRIPT No matching script. Please use EVAL.", TG_REDIS_NOSCRIPT},
        {"LOADING Redis is loading the dataset in memory", TG_REDIS_BUSY},
        {"BUSY Redis is busy running a script.", TG_REDIS_BUSY},
        {"MASTERDOWN Link with MASTER is down", TG_REDIS_BUSY},
        {"CLUSTERDOWN The cluster is down", TG_REDIS_BUSY},
        {"READONLY You can't write against a read only replica.", TG_REDIS_BUSY},
        {"NOREPLICAS Not enough good replicas to write.", TG_REDIS_BUSY},
        {"MISCONF Redis is configured to save RDB snapshots", TG_REDIS_BUSY},
        {"OOM command not allowed when used memory > 'maxmemory'.", TG_REDIS_FULL},
        {"ERR max number of clients reached", TG_REDIS_BUSY},
        {"NOAUTH Authentication required.", TG_REDIS_AUTH},
        {"NOPERM this user has no permissions", TG_REDIS_AUTH},
        {"WRONGPASS invalid username-password pair", TG_REDIS_AUTH},
        {"BUSYGROUP Consumer Group name already exists", TG_REDIS_OTHER},
        {"ERR unknown command", TG_REDIS_OTHER},
        {"WRONGTYPE Operation against a key", TG_REDIS_OTHER},
        {"OOM", TG_REDIS_FULL},
        {"OO", TG_REDIS_OTHER},
        {"oom x", TG_REDIS_OTHER},
        {" OOM", TG_REDIS_OTHER},
        {"", TG_REDIS_OTHER},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(tg_redis_error_of(tg_str_of(cases[i].text)), cases[i].means);
    }
    assert_int_equal(tg_redis_error_of(tg_str_of(NULL)), TG_REDIS_OTHER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted), cmocka_unit_test(test_other_verdicts),
        cmocka_unit_test(test_refused),  cmocka_unit_test(test_most_rates),
        cmocka_unit_test(test_errors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
