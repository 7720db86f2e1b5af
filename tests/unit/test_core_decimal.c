/* Money and hours: what is parsed, what is refused, and that nothing wraps round. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/decimal.h"
#include "core/retry.h"

#define ROUNDS 20000

static struct tg_decimal micros(int64_t n)
{
    return (struct tg_decimal){n};
}

static struct tg_decimal dec(const char *text)
{
    struct tg_decimal d;

    assert_int_equal(tg_decimal_parse(tg_str_of(text), &d), 0);
    return d;
}

static void assert_text(struct tg_decimal d, unsigned min_digits, const char *want)
{
    char text[TG_DECIMAL_TEXT_BYTES];
    const size_t len = tg_decimal_format(d, min_digits, text);

    assert_string_equal(text, want);
    assert_int_equal(len, tg_str_of(want).len);
}

static void parses(void **state)
{
    (void)state;
    assert_int_equal(dec("0").micros, 0);
    assert_int_equal(dec("-0").micros, 0);
    assert_int_equal(dec("+7.5").micros, 7500000);
    assert_int_equal(dec("-12.50").micros, -12500000);
    assert_int_equal(dec("0.000001").micros, 1);
    assert_int_equal(dec("007").micros, 7000000);
    assert_int_equal(dec("9223372036854.775807").micros, INT64_MAX);
    assert_int_equal(dec("-9223372036854.775808").micros, INT64_MIN);
    assert_int_equal(dec("00000000000000000000000000000000000000000000000001").micros, 1000000);
}

static void refuses(void **state)
{
    static const char *const bad[] = {"",
                                      "-",
                                      "+",
                                      ".",
                                      ".5",
                                      "5.",
                                      "1e3",
                                      " 1",
                                      "1 ",
                                      "1,5",
                                      "--1",
                                      "1.2.3",
                                      "0x10",
                                      "1.-2",
                                      "NaN",
                                      "1_0",
                                      "1.0000000",
                                      "9223372036854.775808",
                                      "-9223372036854.775809",
                                      "9223372036855",
                                      "99999999999999999999999999999999999999999999999999",
                                      "0.99999999999999999999999999999999999999999999999999"};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct tg_decimal d = micros(42);

        assert_int_equal(tg_decimal_parse(tg_str_of(bad[i]), &d), -1);
        assert_int_equal(d.micros, 42);
    }
    {
        static const unsigned char with_nul[] = {'1', '\0', '2'};
        const struct tg_str text = {with_nul, sizeof(with_nul)};
        struct tg_decimal d;

        assert_int_equal(tg_decimal_parse(text, &d), -1);
    }
}

static void formats(void **state)
{
    (void)state;
    assert_text(dec("7.50"), 0, "7.5");
    assert_text(dec("7.5"), 2, "7.50");
    assert_text(dec("7"), 0, "7");
    assert_text(dec("7"), 2, "7.00");
    assert_text(dec("-0.000001"), 2, "-0.000001");
    assert_text(dec("-0.5"), 0, "-0.5");
    assert_text(dec("0"), 6, "0.000000");
    assert_text(dec("0"), 99, "0.000000");
    assert_text(micros(INT64_MIN), 0, "-9223372036854.775808");
    assert_text(micros(INT64_MAX), 0, "9223372036854.775807");
}

static void adds_with_limits(void **state)
{
    struct tg_decimal out = micros(42);

    (void)state;
    assert_int_equal(tg_decimal_add(micros(INT64_MAX), micros(1), &out), -1);
    assert_int_equal(tg_decimal_add(micros(INT64_MIN), micros(-1), &out), -1);
    assert_int_equal(tg_decimal_sub(micros(INT64_MIN), micros(1), &out), -1);
    assert_int_equal(tg_decimal_sub(micros(0), micros(INT64_MIN), &out), -1);
    assert_int_equal(out.micros, 42);
    assert_int_equal(tg_decimal_add(micros(INT64_MAX), micros(INT64_MIN), &out), 0);
    assert_int_equal(out.micros, -1);
    assert_int_equal(tg_decimal_sub(micros(-1), micros(INT64_MAX), &out), 0);
    assert_int_equal(out.micros, INT64_MIN);
}

static int64_t mul(const char *a, const char *b, enum tg_round r)
{
    struct tg_decimal out;

    assert_int_equal(tg_decimal_mul(dec(a), dec(b), r, &out), 0);
    return out.micros;
}

static int64_t rounded(const char *a, unsigned digits, enum tg_round r)
{
    struct tg_decimal out;

    assert_int_equal(tg_decimal_round(dec(a), digits, r, &out), 0);
    return out.micros;
}

static void multiplies(void **state)
{
    struct tg_decimal out;

    (void)state;
    assert_int_equal(mul("7.5", "85.00", TG_ROUND_HALF_UP), 637500000);
    assert_int_equal(mul("0.000001", "0.5", TG_ROUND_HALF_UP), 1);
    assert_int_equal(mul("0.000001", "0.5", TG_ROUND_HALF_EVEN), 0);
    assert_int_equal(mul("0.000003", "0.5", TG_ROUND_HALF_EVEN), 2);
    assert_int_equal(mul("-0.000001", "0.5", TG_ROUND_HALF_UP), -1);
    assert_int_equal(mul("-0.000003", "0.5", TG_ROUND_HALF_EVEN), -2);
    assert_int_equal(mul("-0.000001", "0.9", TG_ROUND_DOWN), 0);
    assert_int_equal(tg_decimal_mul(dec("9223372036854"), dec("2"), TG_ROUND_DOWN, &out), -1);
    assert_int_equal(tg_decimal_mul(micros(INT64_MIN), dec("-1"), TG_ROUND_DOWN, &out), -1);
    assert_int_equal(tg_decimal_mul(micros(INT64_MIN), micros(INT64_MIN), TG_ROUND_DOWN, &out), -1);
    assert_int_equal(tg_decimal_mul(micros(INT64_MIN), dec("1"), TG_ROUND_HALF_UP, &out), 0);
    assert_int_equal(out.micros, INT64_MIN);
}

static void divides(void **state)
{
    struct tg_decimal out;

    (void)state;
    assert_int_equal(tg_decimal_div(dec("1"), dec("3"), TG_ROUND_HALF_UP, &out), 0);
    assert_int_equal(out.micros, 333333);
    assert_int_equal(tg_decimal_div(dec("2"), dec("3"), TG_ROUND_HALF_UP, &out), 0);
    assert_int_equal(out.micros, 666667);
    assert_int_equal(tg_decimal_div(dec("2"), dec("3"), TG_ROUND_DOWN, &out), 0);
    assert_int_equal(out.micros, 666666);
    assert_int_equal(tg_decimal_div(dec("2"), dec("-3"), TG_ROUND_HALF_UP, &out), 0);
    assert_int_equal(out.micros, -666667);
    assert_int_equal(tg_decimal_div(dec("450"), dec("60"), TG_ROUND_HALF_EVEN, &out), 0);
    assert_int_equal(out.micros, 7500000);
    assert_int_equal(tg_decimal_div(dec("1"), dec("0"), TG_ROUND_DOWN, &out), -1);
    assert_int_equal(tg_decimal_div(micros(INT64_MIN), micros(-1), TG_ROUND_DOWN, &out), -1);
    assert_int_equal(tg_decimal_div(micros(INT64_MIN), dec("-1"), TG_ROUND_DOWN, &out), -1);
    assert_int_equal(tg_decimal_div(micros(INT64_MAX), micros(1), TG_ROUND_DOWN, &out), -1);
    assert_int_equal(tg_decimal_div(micros(INT64_MIN), micros(INT64_MIN), TG_ROUND_DOWN, &out), 0);
    assert_int_equal(out.micros, TG_DECIMAL_ONE);
}

static void rounds(void **state)
{
    struct tg_decimal out;

    (void)state;
    assert_int_equal(rounded("2.345", 2, TG_ROUND_HALF_UP), 2350000);
    assert_int_equal(rounded("2.345", 2, TG_ROUND_HALF_EVEN), 2340000);
    assert_int_equal(rounded("2.355", 2, TG_ROUND_HALF_EVEN), 2360000);
    assert_int_equal(rounded("-2.345", 2, TG_ROUND_HALF_UP), -2350000);
    assert_int_equal(rounded("-2.345", 2, TG_ROUND_HALF_EVEN), -2340000);
    assert_int_equal(rounded("-2.5", 0, TG_ROUND_HALF_UP), -3000000);
    assert_int_equal(rounded("-2.9", 0, TG_ROUND_DOWN), -2000000);
    assert_int_equal(rounded("0.123456", 6, TG_ROUND_HALF_UP), 123456);
    assert_int_equal(tg_decimal_round(dec("1"), 7, TG_ROUND_DOWN, &out), -1);
    assert_int_equal(tg_decimal_round(micros(INT64_MAX), 0, TG_ROUND_HALF_UP, &out), -1);
    assert_int_equal(tg_decimal_round(micros(INT64_MAX), 0, TG_ROUND_DOWN, &out), 0);
    assert_int_equal(out.micros, INT64_C(9223372036854000000));
}

static void compares(void **state)
{
    (void)state;
    assert_true(tg_decimal_cmp(micros(INT64_MIN), micros(INT64_MAX)) < 0);
    assert_true(tg_decimal_cmp(micros(INT64_MAX), micros(INT64_MIN)) > 0);
    assert_int_equal(tg_decimal_cmp(dec("7.50"), dec("7.5")), 0);
}

/* A number of any size: small ones must come up too. */
static int64_t any(uint64_t *random)
{
    const unsigned shift = (unsigned)(tg_random_next(random) % 64);

    return (int64_t)tg_random_next(random) >> shift;
}

static void text_goes_round(uint64_t *random)
{
    const struct tg_decimal d = micros(any(random));
    char text[TG_DECIMAL_TEXT_BYTES];
    struct tg_decimal back;

    tg_decimal_format(d, (unsigned)(tg_random_next(random) % 7), text);
    assert_int_equal(tg_decimal_parse(tg_str_of(text), &back), 0);
    assert_int_equal(back.micros, d.micros);
}

/* Half up, worked out another way: floor of (2n + d) / 2d on the magnitude. */
static __int128 half_up(__int128 n, __int128 d)
{
    const __int128 size = ((n < 0 ? -n : n) * 2 + d) / (2 * d);

    return n < 0 ? -size : size;
}

static void identities(uint64_t *random)
{
    const struct tg_decimal a = micros(any(random));
    const struct tg_decimal b = micros(any(random));
    const __int128 sum = (__int128)a.micros + b.micros;
    const __int128 product = half_up((__int128)a.micros * b.micros, TG_DECIMAL_ONE);
    struct tg_decimal out;
    struct tg_decimal even;

    if (tg_decimal_add(a, b, &out) == 0) {
        assert_true(out.micros == sum);
        assert_int_equal(tg_decimal_sub(out, b, &out), 0);
        assert_int_equal(out.micros, a.micros);
    } else {
        assert_true(sum > INT64_MAX || sum < INT64_MIN);
    }
    if (tg_decimal_mul(a, b, TG_ROUND_HALF_UP, &out) == 0) {
        assert_true(out.micros == product);
        assert_int_equal(tg_decimal_mul(b, a, TG_ROUND_HALF_EVEN, &even), 0);
        assert_true(even.micros == out.micros || even.micros % 2 == 0);
        assert_true(out.micros - even.micros <= 1 && even.micros - out.micros <= 1);
    } else {
        assert_true(product > INT64_MAX || product < INT64_MIN);
    }
    if (b.micros > 0 && tg_decimal_div(a, b, TG_ROUND_HALF_UP, &out) == 0) {
        assert_true(out.micros == half_up((__int128)a.micros * TG_DECIMAL_ONE, b.micros));
    }
}

static void holds_for_any_number(void **state)
{
    uint64_t random = 20261116;

    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        text_goes_round(&random);
        identities(&random);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses),
        cmocka_unit_test(refuses),
        cmocka_unit_test(formats),
        cmocka_unit_test(adds_with_limits),
        cmocka_unit_test(multiplies),
        cmocka_unit_test(divides),
        cmocka_unit_test(rounds),
        cmocka_unit_test(compares),
        cmocka_unit_test(holds_for_any_number),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
