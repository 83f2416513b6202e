/* test_rmsnorm.c: every backend against the reference; the reference against figures by hand. */
#include "tests/unit/kernels/kernels_test.h"

#include <math.h>

static void run(test_rig *rig, test_image *y, const test_image *x, const test_image *w, float eps)
{
    tensor on_y = test_up(rig, y), on_x = test_up(rig, x), on_w = test_up(rig, w);
    rig->ops->rmsnorm(rig->stream, &on_y, &on_x, &on_w, eps);
    test_down(rig, &on_y, y);
    test_assert_ok(rig);
    test_free_memory(rig);
}

static void compare(test_rig *rig, test_rig *reference, kernels_dtype dtype, int64_t m, int64_t d, int64_t gap)
{
    test_image x = test_image_new(KERNELS_F32, m, d, d + gap), w = test_image_new(KERNELS_F32, d, 1, 1);
    test_image y = test_image_new(dtype, m, d, d + 2 * gap), want = test_image_copy(&y);
    test_fill_normal(&x, 3.0f);
    test_fill_normal(&w, 1.0f);
    run(reference, &want, &x, &w, 1e-6f);
    run(rig, &y, &x, &w, 1e-6f);
    test_assert_close(&y, &want, 1e-7, 1e-6 + test_rounding(dtype));
    test_image_free(&x);
    test_image_free(&w);
    test_image_free(&y);
    test_image_free(&want);
}

static void test_random_shapes(void **state)
{
    (void)state;
    static const int64_t shapes[][2] = {{1, 1},    {1, 7},     {3, 17},   {2, 128},
                                        {33, 129}, {1, 18944}, {5, 8191}, {64, 1280}};
    test_rig reference = test_open("reference");
    TEST_EACH_BACKEND(rig)
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int gap = 0; gap <= 5; gap += 5) {
            compare(&rig, &reference, KERNELS_F32, shapes[i][0], shapes[i][1], gap);
            compare(&rig, &reference, KERNELS_BF16, shapes[i][0], shapes[i][1], gap);
        }
    test_close(&reference);
}

/* x = (3, 4): mean of squares 12.5. */
static void test_by_hand(void **state)
{
    (void)state;
    TEST_EACH_BACKEND(rig)
    {
        test_image x = test_image_new(KERNELS_F32, 1, 2, 2), w = test_image_new(KERNELS_F32, 2, 1, 1);
        test_image y = test_image_new(KERNELS_F32, 1, 2, 2);
        test_set(&x, 0, 0, 3);
        test_set(&x, 0, 1, 4);
        test_set(&w, 0, 0, 1);
        test_set(&w, 1, 0, -2);
        run(&rig, &y, &x, &w, 0);
        assert_float_equal(test_at(&y, 0, 0), 3 / sqrt(12.5), 1e-6);
        assert_float_equal(test_at(&y, 0, 1), -8 / sqrt(12.5), 1e-6);
        run(&rig, &y, &x, &w, 3.5f);
        assert_float_equal(test_at(&y, 0, 0), 0.75, 1e-6);
        test_image_free(&x);
        test_image_free(&w);
        test_image_free(&y);
    }
}

/* A row of zeros gives zeros by eps; a large row does not overflow its squares. */
static void test_extremes(void **state)
{
    (void)state;
    TEST_EACH_BACKEND(rig)
    {
        test_image x = test_image_new(KERNELS_F32, 2, 9, 9), w = test_image_new(KERNELS_F32, 9, 1, 1);
        test_image y = test_image_new(KERNELS_F32, 2, 9, 9);
        for (int j = 0; j < 9; j++) {
            test_set(&x, 0, j, 0);
            test_set(&x, 1, j, 1e30);
            test_set(&w, j, 0, 1);
        }
        run(&rig, &y, &x, &w, 1e-6f);
        for (int j = 0; j < 9; j++) {
            assert_true(test_at(&y, 0, j) == 0);
            assert_float_equal(test_at(&y, 1, j), 1.0, 1e-5);
        }
        test_image_free(&x);
        test_image_free(&w);
        test_image_free(&y);
    }
}

static void test_wrong_shape_fails(void **state)
{
    (void)state;
    TEST_EACH_BACKEND(rig)
    {
        test_image x = test_image_new(KERNELS_F32, 2, 8, 8), w = test_image_new(KERNELS_F32, 7, 1, 1);
        test_image y = test_image_new(KERNELS_F32, 2, 8, 8);
        tensor on_y = test_up(&rig, &y), on_x = test_up(&rig, &x), on_w = test_up(&rig, &w);
        rig.ops->rmsnorm(rig.stream, &on_y, &on_x, &on_w, 0);
        test_assert_failed(&rig, OMNID_SHAPE);
        test_image_free(&x);
        test_image_free(&w);
        test_image_free(&y);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_shapes),
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_wrong_shape_fails),
    };
    return cmocka_run_group_tests_name("rmsnorm", tests, NULL, NULL);
}
