/* test_layernorm.c: every backend against the reference; properties of the result. */
#include "tests/unit/kernels/kernels_test.h"

#include <math.h>

static void run(test_rig *rig, test_image *y, const test_image *x, const test_image *w, const test_image *b, float eps)
{
    tensor on_y = test_up(rig, y), on_x = test_up(rig, x), on_w = test_up(rig, w), on_b = test_up(rig, b);
    rig->ops->layernorm(rig->stream, &on_y, &on_x, &on_w, &on_b, eps);
    test_down(rig, &on_y, y);
    test_assert_ok(rig);
    test_free_memory(rig);
}

static void compare(test_rig *rig, test_rig *reference, kernels_dtype dtype, int64_t m, int64_t d, int64_t gap)
{
    test_image x = test_image_new(KERNELS_F32, m, d, d + gap);
    test_image w = test_image_new(KERNELS_F32, d, 1, 1), b = test_image_new(KERNELS_F32, d, 1, 1);
    test_image y = test_image_new(dtype, m, d, d + 2 * gap), want = test_image_copy(&y);
    test_fill_normal(&x, 3.0f);
    test_fill_normal(&w, 1.0f);
    test_fill_normal(&b, 1.0f);
    run(reference, &want, &x, &w, &b, 1e-5f);
    run(rig, &y, &x, &w, &b, 1e-5f);
    test_assert_close(&y, &want, 1e-6, 1e-6 + test_rounding(dtype));
    test_image_free(&x);
    test_image_free(&w);
    test_image_free(&b);
    test_image_free(&y);
    test_image_free(&want);
}

static void test_random_shapes(void **state)
{
    (void)state;
    static const int64_t shapes[][2] = {{1, 1}, {1, 7}, {3, 17}, {2, 128}, {33, 129}, {1, 18944}, {100, 1280}};
    test_rig reference = test_open("reference");
    TEST_EACH_BACKEND(rig)
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int gap = 0; gap <= 5; gap += 5) {
            compare(&rig, &reference, KERNELS_F32, shapes[i][0], shapes[i][1], gap);
            compare(&rig, &reference, KERNELS_BF16, shapes[i][0], shapes[i][1], gap);
        }
    test_close(&reference);
}

/* x = (1000001, 1000003): mean 1000002, population variance 1 — a variance from squares would be lost in float32. */
static void test_far_from_zero(void **state)
{
    (void)state;
    TEST_EACH_BACKEND(rig)
    {
        test_image x = test_image_new(KERNELS_F32, 1, 2, 2), y = test_image_new(KERNELS_F32, 1, 2, 2);
        test_image w = test_image_new(KERNELS_F32, 2, 1, 1), b = test_image_new(KERNELS_F32, 2, 1, 1);
        test_set(&x, 0, 0, 1000001);
        test_set(&x, 0, 1, 1000003);
        for (int j = 0; j < 2; j++) {
            test_set(&w, j, 0, 2);
            test_set(&b, j, 0, 0.25);
        }
        run(&rig, &y, &x, &w, &b, 0);
        assert_float_equal(test_at(&y, 0, 0), -1.75, 1e-5);
        assert_float_equal(test_at(&y, 0, 1), 2.25, 1e-5);
        run(&rig, &y, &x, &w, &b, 3);
        assert_float_equal(test_at(&y, 0, 0), -0.75, 1e-5);
        test_image_free(&x);
        test_image_free(&y);
        test_image_free(&w);
        test_image_free(&b);
    }
}

static void test_wrong_shape_fails(void **state)
{
    (void)state;
    TEST_EACH_BACKEND(rig)
    {
        test_image x = test_image_new(KERNELS_F32, 2, 8, 8), v = test_image_new(KERNELS_F32, 8, 1, 1);
        test_image b = test_image_new(KERNELS_F32, 9, 1, 1), y = test_image_new(KERNELS_F32, 2, 8, 8);
        tensor on_y = test_up(&rig, &y), on_x = test_up(&rig, &x), on_v = test_up(&rig, &v), on_b = test_up(&rig, &b);
        rig.ops->layernorm(rig.stream, &on_y, &on_x, &on_v, &on_b, 0);
        test_assert_failed(&rig, OMNID_SHAPE);
        test_image_free(&x);
        test_image_free(&v);
        test_image_free(&b);
        test_image_free(&y);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_shapes),
        cmocka_unit_test(test_far_from_zero),
        cmocka_unit_test(test_wrong_shape_fails),
    };
    return cmocka_run_group_tests_name("layernorm", tests, NULL, NULL);
}
