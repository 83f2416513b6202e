/* test_swiglu.c: every backend against the reference in all four pairs of types; known values. */
#include "tests/unit/kernels/kernels_test.h"

#include <math.h>

static void run(test_rig *rig, test_image *y, const test_image *x)
{
    tensor on_y = test_up(rig, y), on_x = test_up(rig, x);
    rig->ops->swiglu(rig->stream, &on_y, &on_x);
    test_down(rig, &on_y, y);
    test_assert_ok(rig);
    test_free_memory(rig);
}

static void compare(test_rig *rig, test_rig *reference, kernels_dtype to, kernels_dtype from, int64_t m, int64_t f,
                    int64_t gap)
{
    test_image x = test_image_new(from, m, 2 * f, 2 * f + gap);
    test_image y = test_image_new(to, m, f, f + 2 * gap), want = test_image_copy(&y);
    test_fill_normal(&x, 4.0f);
    run(reference, &want, &x);
    run(rig, &y, &x);
    test_assert_close(&y, &want, 1e-7, 2e-6 + test_rounding(to));
    test_image_free(&x);
    test_image_free(&y);
    test_image_free(&want);
}

static void test_random_shapes(void **state)
{
    (void)state;
    static const int64_t shapes[][2] = {{1, 1}, {1, 7}, {3, 17}, {2, 128}, {33, 129}, {1, 18944}, {40, 2049}};
    static const kernels_dtype dtypes[] = {KERNELS_F32, KERNELS_BF16};
    test_rig reference = test_open("reference");
    TEST_EACH_BACKEND(rig)
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int pair = 0; pair < 4; pair++)
            for (int gap = 0; gap <= 5; gap += 5)
                compare(&rig, &reference, dtypes[pair / 2], dtypes[pair % 2], shapes[i][0], shapes[i][1], gap);
    test_close(&reference);
}

/* silu(0) = 0, silu(1) = 0.731058578630, large gates pass, very negative ones vanish without becoming NaN. */
static void test_known_values(void **state)
{
    (void)state;
    static const double gates[] = {0, 1, 50, 300, -50, -100, -1000}, want[] = {0, 0.7310585786300049, 50, 300, 0, 0, 0};
    TEST_EACH_BACKEND(rig)
    {
        test_image x = test_image_new(KERNELS_F32, 1, 14, 14), y = test_image_new(KERNELS_F32, 1, 7, 7);
        for (int j = 0; j < 7; j++) {
            test_set(&x, 0, j, gates[j]);
            test_set(&x, 0, 7 + j, 2);
        }
        run(&rig, &y, &x);
        for (int j = 0; j < 7; j++)
            assert_float_equal(test_at(&y, 0, j), 2 * want[j], 2e-6 * fabs(want[j]) + 1e-18);
        test_image_free(&x);
        test_image_free(&y);
    }
}

static void test_wrong_shape_fails(void **state)
{
    (void)state;
    TEST_EACH_BACKEND(rig)
    {
        test_image x = test_image_new(KERNELS_F32, 2, 9, 9), y = test_image_new(KERNELS_F32, 2, 5, 5);
        tensor on_y = test_up(&rig, &y), on_x = test_up(&rig, &x);
        rig.ops->swiglu(rig.stream, &on_y, &on_x);
        test_assert_failed(&rig, OMNID_SHAPE);
        test_image_free(&x);
        test_image_free(&y);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_shapes),
        cmocka_unit_test(test_known_values),
        cmocka_unit_test(test_wrong_shape_fails),
    };
    return cmocka_run_group_tests_name("swiglu", tests, NULL, NULL);
}
