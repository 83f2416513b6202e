/* test_keep.c: against a count of those before each token, with many ties; infinities, NaN, nobody, everybody. */
#include "tests/unit/kernels/kernels_test.h"

#include <math.h>

static void run(test_rig *rig, test_image *kept, const test_image *score, int64_t k)
{
    tensor on_kept = test_up(rig, kept), on_score = test_up(rig, score);
    rig->ops->keep(rig->stream, &on_kept, &on_score, k);
    test_down(rig, &on_kept, kept);
    test_free_memory(rig);
}

/* Token i leaves when fewer than k tokens come before it in the order (score, place). */
static void check(test_rig *rig, const test_image *score, int64_t k)
{
    int64_t n = score->rows, at = 0;
    test_image kept = test_image_new(KERNELS_I32, n - k, 1, 1);
    run(rig, &kept, score, k);
    test_assert_ok(rig);
    test_assert_guards(&kept);
    for (int64_t i = 0; i < n; i++) {
        int64_t before = 0;
        for (int64_t j = 0; j < n; j++)
            before +=
                test_at(score, j, 0) < test_at(score, i, 0) || (test_at(score, j, 0) == test_at(score, i, 0) && j < i);
        if (before >= k)
            assert_int_equal(test_at(&kept, at++, 0), i);
    }
    assert_int_equal(at, n - k);
    test_image_free(&kept);
}

static void test_brute_force(void **state)
{
    (void)state;
    static const int64_t sizes[] = {1, 2, 7, 50, 144, 1000};
    TEST_EACH_BACKEND(rig)
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int levels = 1; levels <= 10000; levels *= 10) { /* few levels: many ties */
            int64_t n = sizes[i], ks[] = {0, 1, n / 3, (int64_t)(0.8 * (double)n), n - 1, n};
            test_image score = test_image_new(KERNELS_F32, n, 1, 1);
            for (int64_t j = 0; j < n; j++)
                test_set(&score, j, 0, (double)(test_random_int(-levels, levels)) / levels);
            for (size_t c = 0; c < sizeof ks / sizeof *ks; c++)
                check(&rig, &score, ks[c]);
            test_image_free(&score);
        }
}

/* -inf, -1, -0 = 0, 1e-45, 1, inf, NaN in rising order; -0 and 0 tie. */
static void test_order_of_floats(void **state)
{
    (void)state;
    static const double rising[] = {-INFINITY, -3e38, -1, -1e-45, -0.0, 0.0, 1e-45, 1, 3e38, INFINITY, NAN};
    enum { N = sizeof rising / sizeof *rising };
    TEST_EACH_BACKEND(rig)
    {
        test_image score = test_image_new(KERNELS_F32, N, 1, 1);
        for (int i = 0; i < N; i++) { /* in falling order, but the two zeros in the order of their places */
            int from = N - 1 - i;
            test_set(&score, i, 0, rising[from == 4 ? 5 : from == 5 ? 4 : from]);
        }
        for (int k = 0; k <= N; k++) {
            test_image kept = test_image_new(KERNELS_I32, N - k, 1, 1);
            run(&rig, &kept, &score, k);
            test_assert_ok(&rig);
            for (int i = 0; i < N - k; i++)
                assert_int_equal(test_at(&kept, i, 0), k == 5 && i == N - k - 1 ? N - 5 : i);
            test_image_free(&kept);
        }
        test_image_free(&score);
    }
}

static void test_too_many_fails(void **state)
{
    (void)state;
    TEST_EACH_BACKEND(rig)
    {
        test_image score = test_image_new(KERNELS_F32, 3, 1, 1), kept = test_image_new(KERNELS_I32, 2, 1, 1);
        test_fill_normal(&score, 1.0f);
        run(&rig, &kept, &score, 4);
        test_assert_failed(&rig, OMNID_SHAPE);
        run(&rig, &kept, &score, -1);
        test_assert_failed(&rig, OMNID_SHAPE);
        run(&rig, &kept, &score, 2); /* kept has room for another number */
        test_assert_failed(&rig, OMNID_SHAPE);
        test_image_free(&score);
        test_image_free(&kept);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_brute_force),
        cmocka_unit_test(test_order_of_floats),
        cmocka_unit_test(test_too_many_fails),
    };
    return cmocka_run_group_tests_name("keep", tests, NULL, NULL);
}
