/* /metrics: each name introduced once, values, labels, and a buffer that is too small. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/metrics.h"

#define NAME_OF(id, type, name, labels, help) name,
static const char *const NAMES[] = {TG_METRIC_TABLE(NAME_OF)};

static size_t count_of(const char *text, const char *what)
{
    size_t n = 0;

    for (text = strstr(text, what); text != NULL; text = strstr(text + 1, what)) {
        n++;
    }
    return n;
}

static void writes_each_name_once(void **state)
{
    static char text[64 * 1024];
    size_t len;

    (void)state;
    tg_metric_add(TG_METRIC_EVENTS_ACCEPTED, 3);
    tg_metric_add(TG_METRIC_EVENTS_ACCEPTED, 4);
    tg_metric_set(TG_METRIC_REDIS_CONNECTED, 1);
    tg_metric_set(TG_METRIC_STREAM_BACKLOG, UINT64_MAX);
    assert_int_equal(tg_metric_get(TG_METRIC_EVENTS_ACCEPTED), 7);
    len = tg_metrics_write(text, sizeof(text));
    assert_int_equal(len, strlen(text));
    assert_int_equal(text[len - 1], '\n');
    for (size_t i = 0; i < TG_METRIC_COUNT; i++) {
        char line[256];

        /* Prometheus refuses a second TYPE line of one name. */
        assert_true(snprintf(line, sizeof(line), "# TYPE %s ", NAMES[i]) > 0);
        assert_int_equal(count_of(text, line), 1);
        assert_true(snprintf(line, sizeof(line), "# HELP %s ", NAMES[i]) > 0);
        assert_int_equal(count_of(text, line), 1);
    }
    assert_non_null(strstr(text, "\ntallygate_events_total{state=\"accepted\"} 7\n"));
    assert_non_null(strstr(text, "\ntallygate_events_total{state=\"duplicate\"} 0\n"));
    assert_non_null(strstr(text, "# TYPE tallygate_redis_connected gauge\n"
                                 "tallygate_redis_connected 1\n"));
    assert_non_null(strstr(text, "\ntallygate_stream_backlog 18446744073709551615\n"));
}

static void destinations_are_told_apart(void **state)
{
    static char text[64 * 1024];
    const struct tg_destination_gauges down = {
        .open = 7, .in_flight = 1, .retry = 4, .in_doubt = 2, .stuck = 3, .breaker = 2};

    (void)state;
    assert_int_equal(tg_metrics_destinations(3), 0);
    tg_metrics_destination(1, "acme/erp", &down);
    tg_metrics_destination(3, "acme/none", &down); /* out of range */
    assert_true(tg_metrics_write(text, sizeof(text)) > 0);
    assert_non_null(strstr(text, "# TYPE tallygate_destination_open gauge\n"
                                 "tallygate_destination_open{destination=\"acme/erp\"} 7\n"));
    assert_non_null(
        strstr(text, "\ntallygate_destination_in_flight{destination=\"acme/erp\"} 1\n"));
    assert_non_null(strstr(text, "\ntallygate_destination_retry{destination=\"acme/erp\"} 4\n"));
    assert_non_null(strstr(text, "\ntallygate_destination_in_doubt{destination=\"acme/erp\"} 2\n"));
    assert_non_null(strstr(text, "\ntallygate_destination_breaker{destination=\"acme/erp\"} 2\n"));
    assert_null(strstr(text, "acme/none"));
    assert_int_equal(tg_metrics_destinations(0), 0);
    assert_true(tg_metrics_write(text, sizeof(text)) > 0);
    assert_null(strstr(text, "acme/erp"));
}

static void too_small_gives_nothing(void **state)
{
    static char text[64 * 1024];
    const size_t len = tg_metrics_write(text, sizeof(text));

    (void)state;
    for (size_t size = 0; size <= len; size += 7) {
        char *exact = malloc(size + 1); /* so that a sanitizer sees one byte too many */

        assert_non_null(exact);
        assert_int_equal(tg_metrics_write(exact, size), 0);
        free(exact);
    }
    assert_int_equal(tg_metrics_write(text, len), 0);
    assert_int_equal(tg_metrics_write(text, len + 1), len);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_each_name_once),
        cmocka_unit_test(destinations_are_told_apart),
        cmocka_unit_test(too_small_gives_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
