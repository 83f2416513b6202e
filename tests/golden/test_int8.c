/* test_int8 [BACKEND [MODEL]]: with int8 weights the first position's logits keep the direction of transformers' float32 ones: cosine at
 * least 0.995. Half a step of a group is some 4 times what bf16 rounds off a weight of usual size, and 1 - cosine grows with the
 * square of that: 16 times the 3.4e-4 of bf16 on M1 is 5.4e-3. Found: 3.7e-3 at most. */
#include "tests/golden/golden.h"

static const double LEAST = 0.995;
static const char *backend = "auto", *models[] = {"M1", "M2", "M3"};
static int n_models = 3;

static void run(const char *model, const char *name, omnid_precision precision)
{
    golden_assert_cosine(model, name, backend, precision, OMNID_WEIGHTS_INT8, LEAST);
}

static void test_f32(void **state)
{
    (void)state;
    for (int i = 0; i < n_models; i++)
        run(models[i], "plain", OMNID_PRECISION_F32);
}

static void test_bf16(void **state)
{
    (void)state;
    for (int i = 0; i < n_models; i++)
        run(models[i], "plain", OMNID_PRECISION_BF16);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        backend = argv[1];
    if (argc > 2) {
        models[0] = argv[2];
        n_models = 1;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_f32), cmocka_unit_test(test_bf16)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
