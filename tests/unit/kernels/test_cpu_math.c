/* test_cpu_math.c: the vectorisable exp against libm's, over its whole range. */
#include "tests/unit/kernels/kernels_test.h"

#include <math.h>

#include "kernels/cpu/cpu_math.h"

static void test_exp(void **state)
{
    (void)state;
    for (int i = -87000; i <= 88000; i++)
        for (int j = 0; j < 3; j++) {
            float x = (float)i / 1000 + (float)j / 3000;
            double want = exp((double)x);
            if (!(fabs((double)cpu_exp(x) - want) <= 2e-7 * want))
                fail_msg("exp(%.9g) is %.9g, want %.9g", (double)x, (double)cpu_exp(x), want);
        }
}

static void test_exp_at_the_ends(void **state)
{
    (void)state;
    assert_true(cpu_exp(0.0f) == 1.0f);
    assert_true(cpu_exp(-0.0f) == 1.0f);
    assert_true(cpu_exp(-INFINITY) == 0.0f);
    assert_true(cpu_exp(-3e38f) == 0.0f);
    assert_true(cpu_exp(-87.34f) == 0.0f);
    assert_true(cpu_exp(-87.3f) > 0.0f);
    assert_true(isfinite(cpu_exp(88.37f)) && cpu_exp(88.37f) > 2.3e38f);
    assert_true(isfinite(cpu_exp(INFINITY)));
    assert_true(isnan(cpu_exp(NAN)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_exp), cmocka_unit_test(test_exp_at_the_ends)};
    return cmocka_run_group_tests_name("cpu_math", tests, NULL, NULL);
}
