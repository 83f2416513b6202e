/* test_im2col3.c: windows of a convolution: against the reference, and the convolution they stand for against its sum. */
#include "tests/unit/kernels/kernels_test.h"

#include <math.h>

static void run(test_rig *rig, test_image *y, const test_image *x, int stride)
{
    tensor on_y = test_up(rig, y), on_x = test_up(rig, x);
    rig->ops->im2col3(rig->stream, &on_y, &on_x, stride);
    test_down(rig, &on_y, y);
    test_free_memory(rig);
}

static void compare(test_rig *rig, test_rig *reference, kernels_dtype dtype, int64_t n, int64_t c, int stride,
                    int64_t gap)
{
    int64_t n_out = (n - 1) / stride + 1;
    test_image x = test_image_new(KERNELS_F32, n, c, c + gap);
    test_image y = test_image_new(dtype, n_out, 3 * c, 3 * c + gap), want = test_image_copy(&y);
    test_fill_normal(&x, 1.0f);
    run(reference, &want, &x, stride);
    run(rig, &y, &x, stride);
    test_assert_ok(rig);
    test_assert_same(&y, &want);
    test_image_free(&x);
    test_image_free(&y);
    test_image_free(&want);
}

static void test_random_shapes(void **state)
{
    (void)state;
    test_rig reference = test_open("reference");
    TEST_EACH_BACKEND(rig)
    for (int stride = 1; stride <= 2; stride++)
        for (int gap = 0; gap <= 5; gap += 5) {
            compare(&rig, &reference, KERNELS_F32, 1, 1, stride, gap);
            compare(&rig, &reference, KERNELS_F32, 2, 5, stride, gap);
            compare(&rig, &reference, KERNELS_BF16, 199, 128, stride, gap);
            compare(&rig, &reference, KERNELS_F32, 200, 257, stride, gap);
        }
    test_close(&reference);
}

/* One output channel of a padded convolution from its definition. */
static void test_is_a_convolution(void **state)
{
    (void)state;
    enum { N = 9, C = 4 };
    double w[C][3];
    for (int i = 0; i < C * 3; i++)
        w[i / 3][i % 3] = (double)test_random_normal();
    TEST_EACH_BACKEND(rig)
    for (int stride = 1; stride <= 2; stride++) {
        int64_t n_out = (N - 1) / stride + 1;
        test_image x = test_image_new(KERNELS_F32, N, C, C), y = test_image_new(KERNELS_F32, n_out, 3 * C, 3 * C);
        test_fill_normal(&x, 1.0f);
        run(&rig, &y, &x, stride);
        for (int64_t i = 0; i < n_out; i++) {
            double product = 0, want = 0;
            for (int64_t j = 0; j < 3 * C; j++)
                product += test_at(&y, i, j) * w[j / 3][j % 3];
            for (int64_t t = -1; t <= 1; t++)
                for (int c = 0; c < C; c++)
                    if (i * stride + t >= 0 && i * stride + t < N)
                        want += test_at(&x, i * stride + t, c) * w[c][t + 1];
            assert_true(fabs(product - want) < 1e-12);
        }
        test_image_free(&x);
        test_image_free(&y);
    }
}

static void test_wrong_shape_fails(void **state)
{
    (void)state;
    TEST_EACH_BACKEND(rig)
    {
        test_image x = test_image_new(KERNELS_F32, 5, 4, 4), y = test_image_new(KERNELS_F32, 2, 12, 12);
        run(&rig, &y, &x, 2); /* 3 rows are right */
        test_assert_failed(&rig, OMNID_SHAPE);
        run(&rig, &y, &x, 0);
        test_assert_failed(&rig, OMNID_SHAPE);
        test_image_free(&x);
        test_image_free(&y);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_shapes),
        cmocka_unit_test(test_is_a_convolution),
        cmocka_unit_test(test_wrong_shape_fails),
    };
    return cmocka_run_group_tests_name("im2col3", tests, NULL, NULL);
}
