/* test_pool2.c: means of pairs of rows; an odd last row has none. */
#include "tests/unit/kernels/kernels_test.h"

static void check(test_rig *rig, int64_t n, int64_t d, int64_t gap)
{
    test_image x = test_image_new(KERNELS_F32, n, d, d + gap), y = test_image_new(KERNELS_F32, n / 2, d, d + 2 * gap);
    test_fill_normal(&x, 5.0f);
    tensor on_y = test_up(rig, &y), on_x = test_up(rig, &x);
    rig->ops->pool2(rig->stream, &on_y, &on_x);
    test_down(rig, &on_y, &y);
    test_assert_ok(rig);
    test_assert_guards(&y);
    for (int64_t i = 0; i < n / 2; i++)
        for (int64_t j = 0; j < d; j++)
            assert_float_equal(test_at(&y, i, j), (test_at(&x, 2 * i, j) + test_at(&x, 2 * i + 1, j)) / 2, 1e-6);
    test_free_memory(rig);
    test_image_free(&x);
    test_image_free(&y);
}

static void test_random_shapes(void **state)
{
    (void)state;
    TEST_EACH_BACKEND(rig)
    for (int gap = 0; gap <= 5; gap += 5) {
        check(&rig, 1, 8, gap);
        check(&rig, 2, 1, gap);
        check(&rig, 7, 17, gap);
        check(&rig, 100, 1280, gap);
    }
}

/* The mean of two numbers near the largest is near the largest. */
static void test_no_overflow(void **state)
{
    (void)state;
    TEST_EACH_BACKEND(rig)
    {
        test_image x = test_image_new(KERNELS_F32, 2, 1, 2), y = test_image_new(KERNELS_F32, 1, 1, 2);
        test_set(&x, 0, 0, 3e38);
        test_set(&x, 1, 0, 3e38);
        tensor on_y = test_up(&rig, &y), on_x = test_up(&rig, &x);
        rig.ops->pool2(rig.stream, &on_y, &on_x);
        test_down(&rig, &on_y, &y);
        assert_true(test_at(&y, 0, 0) == (double)3e38f);
        test_image_free(&x);
        test_image_free(&y);
    }
}

static void test_wrong_shape_fails(void **state)
{
    (void)state;
    TEST_EACH_BACKEND(rig)
    {
        test_image x = test_image_new(KERNELS_F32, 5, 4, 4), y = test_image_new(KERNELS_F32, 3, 4, 4);
        tensor on_y = test_up(&rig, &y), on_x = test_up(&rig, &x);
        rig.ops->pool2(rig.stream, &on_y, &on_x);
        test_assert_failed(&rig, OMNID_SHAPE);
        test_image_free(&x);
        test_image_free(&y);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_shapes),
        cmocka_unit_test(test_no_overflow),
        cmocka_unit_test(test_wrong_shape_fails),
    };
    return cmocka_run_group_tests_name("pool2", tests, NULL, NULL);
}
