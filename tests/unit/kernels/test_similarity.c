/* test_similarity.c: every backend against the reference; the cap, zero vectors, opposite vectors. */
#include "tests/unit/kernels/kernels_test.h"

static void run(test_rig *rig, test_image *out, const test_image *a, const test_image *b)
{
    tensor on_out = test_up(rig, out), on_a = test_up(rig, a), on_b = test_up(rig, b);
    rig->ops->similarity(rig->stream, &on_out, &on_a, &on_b);
    test_down(rig, &on_out, out);
    test_assert_ok(rig);
    test_free_memory(rig);
}

static void compare(test_rig *rig, test_rig *reference, int64_t n, int64_t d, int64_t gap)
{
    test_image a = test_image_new(KERNELS_F32, n, d, d + gap), b = test_image_new(KERNELS_F32, n, d, d + 2 * gap);
    test_image out = test_image_new(KERNELS_F32, n, 1, 1), want = test_image_copy(&out);
    test_fill_normal(&a, 1.0f);
    for (int64_t i = 0; i < n; i++) /* some nearly alike */
        for (int64_t j = 0; j < d; j++)
            test_set(&b, i, j, test_at(&a, i, j) + (double)test_random_normal() * (double)(i % 4));
    run(reference, &want, &a, &b);
    run(rig, &out, &a, &b);
    test_assert_close(&out, &want, 0, 1e-7);
    test_image_free(&a);
    test_image_free(&b);
    test_image_free(&out);
    test_image_free(&want);
}

static void test_random_shapes(void **state)
{
    (void)state;
    test_rig reference = test_open("reference");
    TEST_EACH_BACKEND(rig)
    for (int gap = 0; gap <= 5; gap += 5) {
        compare(&rig, &reference, 1, 1, gap);
        compare(&rig, &reference, 5, 17, gap);
        compare(&rig, &reference, 144, 2048, gap);
        compare(&rig, &reference, 1, 18944, gap);
    }
    test_close(&reference);
}

/* The same vector, a longer one, its opposite, a zero one, one at a right angle: the first two tie exactly. */
static void test_known_values(void **state)
{
    (void)state;
    TEST_EACH_BACKEND(rig)
    {
        test_image a = test_image_new(KERNELS_F32, 5, 64, 64), b = test_image_new(KERNELS_F32, 5, 64, 64);
        test_image out = test_image_new(KERNELS_F32, 5, 1, 1);
        test_fill_normal(&a, 1.0f);
        for (int j = 0; j < 64; j++) {
            test_set(&b, 0, j, test_at(&a, 0, j));
            test_set(&b, 1, j, 3 * test_at(&a, 1, j));
            test_set(&b, 2, j, -test_at(&a, 2, j));
            test_set(&b, 3, j, 0);
            test_set(&a, 4, j, j < 32 ? 1 : 0);
            test_set(&b, 4, j, j < 32 ? 0 : 1);
        }
        run(&rig, &out, &a, &b);
        float cap = (float)-(1 - 1e-6);
        assert_true(test_at(&out, 0, 0) == (double)cap);
        assert_true(test_at(&out, 1, 0) == (double)cap);
        assert_float_equal(test_at(&out, 2, 0), 1.0, 1e-6);
        assert_true(test_at(&out, 3, 0) == 0);
        assert_true(test_at(&out, 4, 0) == 0);
        test_image_free(&a);
        test_image_free(&b);
        test_image_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_shapes), cmocka_unit_test(test_known_values)};
    return cmocka_run_group_tests_name("similarity", tests, NULL, NULL);
}
