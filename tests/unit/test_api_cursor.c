/* Cursors and parameters: what goes in comes out, and nothing else gets in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "api/cursor.h"
#include "api/params.h"

#define ROUNDS 20000

static const char *const names[] = {"state", "code", "owner"};

static struct tg_cursor_of of_what(const struct tg_str values[3])
{
    return (struct tg_cursor_of){.key = tg_str_of("0123456789abcdef0123456789abcdef"),
                                 .list = "exceptions",
                                 .tenant = tg_str_of("acme"),
                                 .names = names,
                                 .values = values,
                                 .count = 3};
}

static uint64_t seed = 88172645463325252u;

static uint64_t next_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static void a_place_comes_back(void **state)
{
    const struct tg_str values[3] = {tg_str_of("open"), {NULL, 0}, tg_str_of("finance")};
    const struct tg_cursor_of of = of_what(values);
    char text[TG_CURSOR_MAX_BYTES + 1], place[TG_CURSOR_PLACE_MAX_BYTES + 1];

    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        char want[TG_CURSOR_PLACE_MAX_BYTES + 1];
        size_t len = 1 + next_random() % TG_CURSOR_PLACE_MAX_BYTES;

        for (size_t k = 0; k < len; k++) {
            want[k] = (char)(1 + next_random() % 255);
        }
        want[len] = '\0';
        assert_int_equal(tg_cursor_write(&of, want, text), 0);
        assert_true(strlen(text) <= TG_CURSOR_MAX_BYTES);
        assert_int_equal(strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                      "0123456789-_"),
                         strlen(text));
        assert_int_equal(tg_cursor_read(&of, tg_str_of(text), place), 0);
        assert_string_equal(place, want);
    }
}

static void a_place_has_a_size(void **state)
{
    const struct tg_str values[3] = {{NULL, 0}, {NULL, 0}, {NULL, 0}};
    const struct tg_cursor_of of = of_what(values);
    char text[TG_CURSOR_MAX_BYTES + 1], place[TG_CURSOR_PLACE_MAX_BYTES + 2];

    (void)state;
    memset(place, 'x', sizeof(place));
    place[sizeof(place) - 1] = '\0';
    assert_int_equal(tg_cursor_write(&of, place, text), -1);
    assert_int_equal(tg_cursor_write(&of, "", text), -1);
    place[TG_CURSOR_PLACE_MAX_BYTES] = '\0';
    assert_int_equal(tg_cursor_write(&of, place, text), 0);
}

/* Each bit of it counts, and each byte more or less. */
static void an_altered_cursor_is_none(void **state)
{
    const struct tg_str values[3] = {tg_str_of("open"), {NULL, 0}, {NULL, 0}};
    const struct tg_cursor_of of = of_what(values);
    char text[TG_CURSOR_MAX_BYTES + 1], bad[TG_CURSOR_MAX_BYTES + 2];
    char place[TG_CURSOR_PLACE_MAX_BYTES + 1];
    size_t len;

    (void)state;
    assert_int_equal(tg_cursor_write(&of, "17.0.0", text), 0);
    len = strlen(text);
    for (size_t i = 0; i < len; i++) {
        for (int c = 0; c < 256; c++) {
            memcpy(bad, text, len + 1);
            bad[i] = (char)c;
            if (bad[i] != text[i]) {
                assert_int_equal(
                    tg_cursor_read(&of, (struct tg_str){(unsigned char *)bad, len}, place), 1);
            }
        }
        assert_int_equal(tg_cursor_read(&of, (struct tg_str){(unsigned char *)text, i}, place), 1);
    }
    (void)snprintf(bad, sizeof(bad), "%sA", text);
    assert_int_equal(tg_cursor_read(&of, tg_str_of(bad), place), 1);
}

static void noise_is_no_cursor(void **state)
{
    const struct tg_str values[3] = {{NULL, 0}, {NULL, 0}, {NULL, 0}};
    const struct tg_cursor_of of = of_what(values);
    char place[TG_CURSOR_PLACE_MAX_BYTES + 1];
    unsigned char noise[2 * TG_CURSOR_MAX_BYTES];

    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        static const char letters[] =
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        size_t len = next_random() % sizeof(noise);

        for (size_t k = 0; k < len; k++) {
            noise[k] = i % 2 == 0 ? (unsigned char)next_random()
                                  : (unsigned char)letters[next_random() % 64];
        }
        assert_int_equal(tg_cursor_read(&of, (struct tg_str){noise, len}, place), 1);
    }
}

static void of_another_list_filter_tenant_or_journal(void **state)
{
    const struct tg_str values[3] = {tg_str_of("open"), {NULL, 0}, tg_str_of("ab")};
    struct tg_str other[3];
    struct tg_cursor_of of = of_what(values), wrong;
    char text[TG_CURSOR_MAX_BYTES + 1], place[TG_CURSOR_PLACE_MAX_BYTES + 1];

    (void)state;
    assert_int_equal(tg_cursor_write(&of, "17.0.0", text), 0);
    wrong = of;
    wrong.list = "audit";
    assert_int_equal(tg_cursor_read(&wrong, tg_str_of(text), place), 1);
    wrong = of;
    wrong.tenant = tg_str_of("zeta");
    assert_int_equal(tg_cursor_read(&wrong, tg_str_of(text), place), 1);
    wrong = of;
    wrong.key = tg_str_of("f123456789abcdef0123456789abcdef");
    assert_int_equal(tg_cursor_read(&wrong, tg_str_of(text), place), 1);
    wrong = of;
    wrong.count = 2;
    assert_int_equal(tg_cursor_read(&wrong, tg_str_of(text), place), 1);
    wrong = of;
    wrong.values = other;
    for (size_t i = 0; i < 3; i++) {
        memcpy(other, values, sizeof(other));
        other[i] = tg_str_of("x");
        assert_int_equal(tg_cursor_read(&wrong, tg_str_of(text), place), 1);
    }
    /* not given is not empty, and nothing moves from one value into the next */
    memcpy(other, values, sizeof(other));
    other[1] = tg_str_of("");
    assert_int_equal(tg_cursor_read(&wrong, tg_str_of(text), place), 1);
    other[1] = tg_str_of("a");
    other[2] = tg_str_of("b");
    assert_int_equal(tg_cursor_read(&wrong, tg_str_of(text), place), 1);
    memcpy(other, values, sizeof(other));
    assert_int_equal(tg_cursor_read(&wrong, tg_str_of(text), place), 0);
}

/* ---- parameters ---- */

static struct tg_api_arg arg(const char *name, const char *value)
{
    return (struct tg_api_arg){tg_str_of(name),
                               value != NULL ? tg_str_of(value) : (struct tg_str){NULL, 0}};
}

static const char *const taken[] = {"cursor", "limit", "state", NULL};

static void expect_refused(const struct tg_api_arg *args, size_t count, bool cut, const char *why)
{
    struct tg_str values[3];
    struct tg_error err = {""};

    assert_int_equal(tg_params_read(args, count, cut, taken, values, &err), -1);
    if (strstr(err.text, why) == NULL) {
        fail_msg("no `%s` in `%s`", why, err.text);
    }
}

static void parameters_are_sorted_by_name(void **state)
{
    const struct tg_api_arg args[] = {arg("state", "open"), arg("cursor", "abc")};
    struct tg_str values[3];
    struct tg_error err = {""};

    (void)state;
    assert_int_equal(tg_params_read(args, 2, false, taken, values, &err), 0);
    assert_true(tg_str_equal_c(values[0], "abc"));
    assert_null(values[1].data);
    assert_true(tg_str_equal_c(values[2], "open"));
    assert_int_equal(tg_params_read(args, 0, false, taken, values, &err), 0);
    assert_null(values[2].data);
}

static void parameters_that_are_refused(void **state)
{
    (void)state;
    expect_refused((struct tg_api_arg[]){arg("stat", "open")}, 1, false,
                   "no parameter `stat` here; accepted: cursor, limit, state");
    expect_refused((struct tg_api_arg[]){arg("State", "open")}, 1, false, "no parameter `State`");
    expect_refused((struct tg_api_arg[]){arg("", "open")}, 1, false, "no parameter ``");
    expect_refused((struct tg_api_arg[]){arg("\x1b[2J\n", "x")}, 1, false, "no parameter ``");
    expect_refused((struct tg_api_arg[]){arg("state", "a"), arg("state", "a")}, 2, false,
                   "`state` is given twice");
    expect_refused((struct tg_api_arg[]){arg("state", "")}, 1, false, "has no value");
    expect_refused((struct tg_api_arg[]){arg("state", NULL)}, 1, false, "has no value");
    expect_refused((struct tg_api_arg[]){arg("state", "a")}, 1, true, "more than 16 parameters");
}

static void limits(void **state)
{
    static const char *const bad[] = {"0",   "501",
                                      "-1",  "+1",
                                      " 1",  "1 ",
                                      "1e2", "0x10",
                                      "1.0", "99999999999999999999999",
                                      "ten", "1;DROP TABLE audit"};
    struct tg_error err = {""};
    size_t n = 7;

    (void)state;
    assert_int_equal(tg_param_limit("limit", (struct tg_str){NULL, 0}, &n, &err), 0);
    assert_int_equal(n, 7);
    assert_int_equal(tg_param_limit("limit", tg_str_of("500"), &n, &err), 0);
    assert_int_equal(n, 500);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(tg_param_limit("limit", tg_str_of(bad[i]), &n, &err), -1);
        assert_non_null(strstr(err.text, "accepted: 1 to 500"));
    }
    assert_int_equal(n, 500);
}

static void times_words_and_texts(void **state)
{
    static const char *const words[] = {"open", NULL, "all"};
    struct tg_error err = {""};
    int64_t ms = -1;
    int word = -1;

    (void)state;
    assert_int_equal(tg_param_time("since", tg_str_of("1970-01-01T00:00:01+00:00"), &ms, &err), 0);
    assert_int_equal(ms, 1000);
    assert_int_equal(tg_param_time("since", tg_str_of("1970-01-01T00:00:01 00:00"), &ms, &err), -1);
    assert_non_null(strstr(err.text, "%2B"));
    assert_int_equal(tg_param_time("since", tg_str_of("yesterday"), &ms, &err), -1);
    assert_int_equal(tg_param_word("state", tg_str_of("all"), words, 3, &word, &err), 0);
    assert_int_equal(word, 2);
    assert_int_equal(tg_param_word("state", tg_str_of("Open"), words, 3, &word, &err), -1);
    assert_non_null(strstr(err.text, "accepted: open, all"));
    assert_int_equal(tg_param_text("code", tg_str_of("' OR 1=1 --"), 20, &err), 0);
    assert_int_equal(tg_param_text("code", tg_str_of("a\nb"), 20, &err), -1);
    assert_int_equal(tg_param_text("code", tg_str_of("abc"), 2, &err), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_place_comes_back),
        cmocka_unit_test(a_place_has_a_size),
        cmocka_unit_test(an_altered_cursor_is_none),
        cmocka_unit_test(noise_is_no_cursor),
        cmocka_unit_test(of_another_list_filter_tenant_or_journal),
        cmocka_unit_test(parameters_are_sorted_by_name),
        cmocka_unit_test(parameters_that_are_refused),
        cmocka_unit_test(limits),
        cmocka_unit_test(times_words_and_texts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
