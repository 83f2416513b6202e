/* test_number.c: the bit formats, all 65,536 of each, and the integer order of floats. */
#include "tests/unit/kernels/kernels_test.h"

#include <math.h>

#include "kernels/number.h"

/* binary16 from its definition. */
static double f16_value(unsigned bits)
{
    int exponent = bits >> 10 & 31, fraction = bits & 1023;
    double size = exponent == 31 ? (fraction ? NAN : INFINITY)
                                 : ldexp(exponent ? 1024 + fraction : fraction, (exponent ? exponent : 1) - 25);
    return bits & 0x8000 ? -size : size;
}

static void test_f16(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits < 65536; bits++) {
        double want = f16_value(bits);
        float got = f32_from_f16((uint16_t)bits);
        if (isnan(want)) {
            assert_true(isnan(got));
            assert_true(isnan(f32_from_f16(f16_from_f32(got))));
            continue;
        }
        assert_true((double)got == want && !signbit(got) == !signbit(want));
        assert_int_equal(f16_from_f32(got), bits);
    }
}

/* Halfway between neighbours: the even one; a hair beside it: the nearer one. */
static void test_f16_rounds_to_even(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits < 0x7bff; bits++) {
        float middle = (float)((f16_value(bits) + f16_value(bits + 1)) / 2);
        assert_int_equal(f16_from_f32(middle), bits & 1 ? bits + 1 : bits);
        assert_int_equal(f16_from_f32(nextafterf(middle, 0)), bits);
        assert_int_equal(f16_from_f32(-nextafterf(middle, INFINITY)), 0x8000 | (bits + 1));
    }
    assert_int_equal(f16_from_f32(65519.996f), 0x7bff);
    assert_int_equal(f16_from_f32(65520.0f), 0x7c00);
    assert_int_equal(f16_from_f32(3e38f), 0x7c00);
}

static void test_bf16_rounds_to_even(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits < 0x7f7f; bits++) {
        float middle = number_from_bits(bits << 16 | 0x8000);
        assert_int_equal(bf16_from_f32(middle), bits & 1 ? bits + 1 : bits);
        assert_int_equal(bf16_from_f32(nextafterf(middle, 0)), bits);
        assert_int_equal(bf16_from_f32(-nextafterf(middle, INFINITY)), 0x8000 | (bits + 1));
    }
    for (uint32_t payload = 1; payload < 0x800000;
         payload = payload * 5 + 1) /* a NaN never becomes infinity or wraps */
        for (uint32_t sign = 0; sign < 2; sign++)
            assert_true(isnan(f32_from_bf16(bf16_from_f32(number_from_bits(sign << 31 | 0x7f800000 | payload)))));
}

static void test_order(void **state)
{
    (void)state;
    assert_int_equal(number_order(0.0f), number_order(-0.0f));
    assert_true(number_order(INFINITY) < number_order(NAN));
    assert_int_equal(number_order(NAN), number_order(-NAN));
    for (int i = 0; i < 100000; i++) {
        float a = number_from_bits((uint32_t)test_random()), b = i % 2 ? nextafterf(a, INFINITY) : -a;
        if (!isnan(a) && !isnan(b)) {
            assert_int_equal(a < b, number_order(a) < number_order(b));
            assert_int_equal(a == b, number_order(a) == number_order(b));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_f16),
        cmocka_unit_test(test_f16_rounds_to_even),
        cmocka_unit_test(test_bf16_rounds_to_even),
        cmocka_unit_test(test_order),
    };
    return cmocka_run_group_tests_name("number", tests, NULL, NULL);
}
