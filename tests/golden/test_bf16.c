/* test_bf16 [BACKEND]: with bf16 weights, activations and KV the first position's logits keep the direction of transformers' float32
 * ones: cosine at least 0.9995, nothing pruned (a decision may fall otherwise in bf16). */
#include "tests/golden/golden.h"

static const char *backend = "auto";

static void run(const char *model, const char *name)
{
    golden_assert_cosine(model, name, backend, OMNID_PRECISION_BF16, OMNID_WEIGHTS_AUTO, 0.9995);
}

static void test_m1(void **state)
{
    (void)state;
    run("M1", "plain");
}

static void test_m2(void **state)
{
    (void)state;
    run("M2", "plain");
}

static void test_m3(void **state)
{
    (void)state;
    run("M3", "plain");
}

int main(int argc, char **argv)
{
    if (argc > 1)
        backend = argv[1];
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_m1), cmocka_unit_test(test_m2), cmocka_unit_test(test_m3)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
