/* test_random.c: the two generators against their authors' published outputs. */
#include "engine/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void test_pcg32_matches_the_reference_demo(void **state)
{
    (void)state;
    static const uint32_t want[] = {0xa15c02b7, 0x7b47f409, 0xba1d3330, 0x83d2f293, 0xbfa4784b, 0xcbed606e};
    random_pcg32 r = random_pcg32_seed(42, 54); /* pcg32-demo of the C library */
    for (int i = 0; i < 6; i++)
        assert_int_equal(random_pcg32_next(&r), want[i]);
}

static void test_splitmix64_matches_the_reference(void **state)
{
    (void)state;
    assert_true(random_splitmix64(1234567) == 6457827717110365317u);
    assert_true(random_splitmix64(1234567 + 0x9E3779B97F4A7C15u) == 3203168211198807973u);
    assert_true(random_splitmix64(0) == 0xE220A8397B1DCDAFu);
}

static void test_policy_key_mixes_seed_layer_and_index(void **state)
{
    (void)state;
    assert_true(random_policy_key(7, 3, 11) == random_splitmix64(7 ^ (3ull << 32) ^ 11));
    assert_true(random_policy_key(7, 3, 11) != random_policy_key(7, 4, 11));
    assert_true(random_policy_key(7, 3, 11) != random_policy_key(8, 3, 11));
}

static void test_uniform_stays_in_its_interval(void **state)
{
    (void)state;
    random_pcg32 r = random_pcg32_seed(1, 0), again = random_pcg32_seed(1, 0);
    double sum = 0;
    for (int i = 0; i < 100000; i++) {
        double u = random_pcg32_uniform(&r);
        assert_true(u >= 0.0 && u < 1.0);
        assert_true(u == random_pcg32_uniform(&again));
        sum += u;
    }
    assert_true(sum > 49500 && sum < 50500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pcg32_matches_the_reference_demo),
                                       cmocka_unit_test(test_splitmix64_matches_the_reference),
                                       cmocka_unit_test(test_policy_key_mixes_seed_layer_and_index),
                                       cmocka_unit_test(test_uniform_stays_in_its_interval)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
