/* RFC 3339 times and calendar dates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <time.h>

#include "common/codec.h"

#define MS_PER_DAY INT64_C(86400000)

static void expect_time(const char *text, int64_t ms)
{
    int64_t got = -1;

    assert_int_equal(tg_rfc3339_parse(tg_str_of(text), &got), 0);
    assert_true(got == ms);
}

static void test_parse(void **state)
{
    (void)state;
    expect_time("1970-01-01T00:00:00Z", 0);
    expect_time("1970-01-01t00:00:00z", 0);
    expect_time("1985-04-12T23:20:50.52Z", INT64_C(482196050520));
    expect_time("1996-12-19T16:39:57-08:00", INT64_C(851042397000));
    expect_time("1937-01-01T12:00:27.87+00:20", INT64_C(-1041337172130));
    expect_time("2026-11-21T00:43:24.1239999Z", INT64_C(1795221804123));
    expect_time("2026-11-21T01:43:24.123+01:00", INT64_C(1795221804123));
    expect_time("2026-11-21T00:43:24-00:00", INT64_C(1795221804000));
    expect_time("2024-02-29T00:00:00Z", INT64_C(1709164800000));
    expect_time("9999-12-31T23:59:59.999Z", INT64_C(253402300799999));
    expect_time("0000-01-01T00:00:00Z", INT64_C(-62167219200000));
}

static void test_leap_second(void **state)
{
    int64_t ms;

    (void)state;
    expect_time("1990-12-31T23:59:60Z", INT64_C(662688000000));
    expect_time("1990-12-31T15:59:60-08:00", INT64_C(662688000000));
    assert_int_equal(tg_rfc3339_parse(tg_str_of("1990-12-31T22:59:60Z"), &ms), -1);
    assert_int_equal(tg_rfc3339_parse(tg_str_of("1990-12-31T23:59:60+01:00"), &ms), -1);
    assert_int_equal(tg_rfc3339_parse(tg_str_of("1990-12-31T23:59:61Z"), &ms), -1);
}

static void test_parse_refuses(void **state)
{
    static const char *const bad[] = {"",
                                      "2026-11-21",
                                      "2026-11-21T00:43:24",
                                      "2026-11-21 00:43:24Z",
                                      "2026-11-21T00:43Z",
                                      "2026-11-21T24:00:00Z",
                                      "2026-11-21T00:60:00Z",
                                      "2026-13-01T00:00:00Z",
                                      "2026-00-01T00:00:00Z",
                                      "2026-11-00T00:00:00Z",
                                      "2026-11-31T00:00:00Z",
                                      "2025-02-29T00:00:00Z",
                                      "1900-02-29T00:00:00Z",
                                      "2026-11-21T00:43:24.Z",
                                      "2026-11-21T00:43:24,5Z",
                                      "2026-11-21T00:43:24+0100",
                                      "2026-11-21T00:43:24+01",
                                      "2026-11-21T00:43:24+24:00",
                                      "2026-11-21T00:43:24+01:60",
                                      "2026-11-21T00:43:24ZZ",
                                      "2026-11-21T00:43:24Z ",
                                      " 2026-11-21T00:43:24Z",
                                      "2026-11-21T00:43:24+01:00Z",
                                      "+026-11-21T00:43:24Z",
                                      "20261121T004324Z",
                                      "2026-11-21T0a:43:24Z",
                                      "2026-11-21T00:43:24.5",
                                      "2026-11-21T00-43-24Z",
                                      "2026/11/21T00:43:24Z",
                                      "12026-11-21T00:43:24Z",
                                      "2026-11-21T00:43:24+01:0"};
    int64_t ms = 77;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(tg_rfc3339_parse(tg_str_of(bad[i]), &ms), -1);
        assert_int_equal(ms, 77);
    }
}

static void test_every_prefix_is_refused(void **state)
{
    const char *whole = "2026-11-21T00:43:24.123+01:00";
    int64_t ms;

    (void)state;
    for (size_t len = 0; len < strlen(whole); len++) {
        /* A copy of just that size, so that a read past the end is seen. */
        unsigned char *copy = malloc(len + 1);
        struct tg_str text = {copy + 1, len};

        assert_non_null(copy);
        memcpy(copy + 1, whole, len);
        assert_int_equal(tg_rfc3339_parse(text, &ms), -1);
        free(copy);
    }
}

static void test_format(void **state)
{
    char out[TG_RFC3339_BYTES];

    (void)state;
    assert_int_equal(tg_rfc3339_format(0, out, sizeof(out)), 0);
    assert_string_equal(out, "1970-01-01T00:00:00.000Z");
    assert_int_equal(tg_rfc3339_format(INT64_C(1795221804123), out, sizeof(out)), 0);
    assert_string_equal(out, "2026-11-21T00:43:24.123Z");
    assert_int_equal(tg_rfc3339_format(INT64_C(253402300799999), out, sizeof(out)), 0);
    assert_string_equal(out, "9999-12-31T23:59:59.999Z");
    assert_int_equal(tg_rfc3339_format(INT64_C(253402300800000), out, sizeof(out)), -1);
    assert_int_equal(tg_rfc3339_format(-1, out, sizeof(out)), -1);
    assert_int_equal(tg_rfc3339_format(0, out, sizeof(out) - 1), -1);
}

/* Every day of 600 years, against libc's own calendar. */
static void test_against_libc(void **state)
{
    (void)state;
    for (int32_t day = 0; day < 220000; day++) {
        const time_t when = (time_t)day * 86400;
        char out[TG_RFC3339_BYTES];
        char want[32];
        struct tm tm;
        int32_t back = -1;

        assert_non_null(gmtime_r(&when, &tm));
        assert_true(strftime(want, sizeof(want), "%Y-%m-%d", &tm) > 0);
        assert_int_equal(tg_rfc3339_format(day * MS_PER_DAY, out, sizeof(out)), 0);
        if (memcmp(out, want, 10) != 0) {
            fail_msg("day %d is %s, not %.10s", (int)day, want, out);
        }
        assert_int_equal(tg_date_parse(tg_str_of(want), &back), 0);
        assert_int_equal(back, day);
    }
}

static void test_date(void **state)
{
    static const char *const bad[] = {"",           "2026-11-2",  "2026-11-211", "2026-02-29",
                                      "2100-02-29", "2026-04-31", "2026-00-10",  "2026-10-00",
                                      "2026-10-32", "2026x10-10", "2026-10x10",  "-026-10-10",
                                      "2026-1a-10"};
    int32_t days = 5;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(tg_date_parse(tg_str_of(bad[i]), &days), -1);
        assert_int_equal(days, 5);
    }
    assert_int_equal(tg_date_parse(tg_str_of("2000-02-29"), &days), 0);
    assert_int_equal(days, 11016);
    assert_int_equal(tg_date_parse(tg_str_of("1969-12-31"), &days), 0);
    assert_int_equal(days, -1);
    assert_int_equal(tg_date_parse(tg_str_of("0000-01-01"), &days), 0);
    assert_int_equal(days, -719528);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),         cmocka_unit_test(test_leap_second),
        cmocka_unit_test(test_parse_refuses), cmocka_unit_test(test_every_prefix_is_refused),
        cmocka_unit_test(test_format),        cmocka_unit_test(test_against_libc),
        cmocka_unit_test(test_date),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
