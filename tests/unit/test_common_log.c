/* The log: one line of JSON a message, whatever is in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <jansson.h>
#include <unistd.h>

#include "common/codec.h"
#include "common/limits.h"
#include "common/log.h"

/* What the calls wrote on standard error since capture_start. */
static char captured[8 * TG_LOG_MESSAGE_MAX_BYTES];
static int saved_stderr;
static FILE *capture_file;

static void capture_start(void)
{
    capture_file = tmpfile();
    assert_non_null(capture_file);
    saved_stderr = dup(STDERR_FILENO);
    assert_true(saved_stderr >= 0);
    assert_true(dup2(fileno(capture_file), STDERR_FILENO) >= 0);
}

static size_t capture_end(void)
{
    size_t n;

    assert_true(dup2(saved_stderr, STDERR_FILENO) >= 0);
    assert_int_equal(close(saved_stderr), 0);
    assert_int_equal(fseek(capture_file, 0, SEEK_SET), 0);
    n = fread(captured, 1, sizeof(captured) - 1, capture_file);
    captured[n] = '\0';
    assert_int_equal(fclose(capture_file), 0);
    return n;
}

/* captured is exactly one line that is one JSON object. */
static json_t *one_line(size_t n)
{
    json_t *line;

    assert_true(n > 0);
    assert_ptr_equal(strchr(captured, '\n'), captured + n - 1);
    line = json_loadb(captured, n, JSON_REJECT_DUPLICATES, NULL);
    assert_true(json_is_object(line));
    assert_int_equal(json_object_size(line), 4);
    return line;
}

static const char *member(const json_t *line, const char *name)
{
    return json_string_value(json_object_get(line, name));
}

static void test_line(void **state)
{
    int64_t ms;
    json_t *line;

    (void)state;
    capture_start();
    tg_log(TG_LOG_WARN, "intake", "stream %s lags by %d \"entries\"\n", "s07", 5);
    line = one_line(capture_end());
    assert_string_equal(member(line, "level"), "warn");
    assert_string_equal(member(line, "unit"), "intake");
    assert_string_equal(member(line, "msg"), "stream s07 lags by 5 \"entries\"\n");
    assert_int_equal(tg_rfc3339_parse(tg_str_of(member(line, "ts")), &ms), 0);
    assert_true(ms > INT64_C(1700000000000));
    json_decref(line);
}

static void test_levels(void **state)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};

    (void)state;
    for (int min = TG_LOG_DEBUG; min <= TG_LOG_ERROR; min++) {
        tg_log_set_level((enum tg_log_level)min);
        for (int level = TG_LOG_DEBUG; level <= TG_LOG_ERROR; level++) {
            size_t n;

            capture_start();
            tg_log((enum tg_log_level)level, "test", "message");
            n = capture_end();
            if (level < min) {
                assert_int_equal(n, 0);
            } else {
                json_t *line = one_line(n);

                assert_string_equal(member(line, "level"), names[level]);
                json_decref(line);
            }
        }
    }
    tg_log_set_level(TG_LOG_INFO);
}

static void test_long_and_strange(void **state)
{
    char much[2 * TG_LOG_MESSAGE_MAX_BYTES];
    char unit[200];
    json_t *line;

    (void)state;
    /* The worst case: each byte takes six. */
    memset(much, '\x01', sizeof(much));
    much[sizeof(much) - 1] = '\0';
    memset(unit, '\x02', sizeof(unit));
    unit[sizeof(unit) - 1] = '\0';
    capture_start();
    tg_log(TG_LOG_ERROR, unit, "%s", much);
    line = one_line(capture_end());
    assert_int_equal(strlen(member(line, "msg")), TG_LOG_MESSAGE_MAX_BYTES - 1);
    json_decref(line);
    capture_start();
    tg_log(TG_LOG_ERROR, NULL, "%s", "bad \xff utf-8");
    line = one_line(capture_end());
    assert_string_equal(member(line, "msg"), "bad \xef\xbf\xbd utf-8");
    assert_string_equal(member(line, "unit"), "");
    json_decref(line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_long_and_strange),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
