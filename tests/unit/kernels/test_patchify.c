/* test_patchify.c: every backend against the reference; the reference against an index written the other way round. */
#include "tests/unit/kernels/kernels_test.h"

#include <math.h>

static const float mean[3] = {0.48145466f, 0.4578275f, 0.40821073f};
static const float std[3] = {0.26862954f, 0.26130258f, 0.27577711f};

/* An image of both frames as [2][H * W * 3], and its view as [2][H][W][3]. */
static test_image frames_new(int64_t height, int64_t width, int64_t gap)
{
    test_image x = test_image_new(KERNELS_U8, 2, height * width * 3, height * width * 3 + gap);
    test_fill_ints(&x, 0, 255);
    return x;
}

static void run(test_rig *rig, test_image *y, const test_image *frames, int64_t height, int64_t width,
                const test_image *order)
{
    tensor on_y = test_up(rig, y), on_frames = test_up(rig, frames), on_order = test_up(rig, order);
    on_frames.n_dims = 4;
    on_frames.dim[1] = height;
    on_frames.dim[2] = width;
    on_frames.dim[3] = 3;
    rig->ops->patchify(rig->stream, &on_y, &on_frames, &on_order, mean, std);
    test_down(rig, &on_y, y);
    test_free_memory(rig);
}

/* A shuffled list of all units. */
static test_image order_new(int64_t n)
{
    test_image order = test_image_new(KERNELS_I32, n, 1, 1);
    for (int64_t i = 0; i < n; i++)
        test_set(&order, i, 0, (double)i);
    for (int64_t i = n - 1; i > 0; i--) {
        int64_t j = test_random_int(0, i);
        double a = test_at(&order, i, 0), b = test_at(&order, j, 0);
        test_set(&order, i, 0, b);
        test_set(&order, j, 0, a);
    }
    return order;
}

static void compare(test_rig *rig, test_rig *reference, kernels_dtype dtype, int64_t units_high, int64_t units_wide,
                    int64_t gap)
{
    int64_t n = units_high * units_wide;
    test_image frames = frames_new(28 * units_high, 28 * units_wide, gap), order = order_new(n);
    test_image y = test_image_new(dtype, 4 * n, 1176, 1176 + gap), want = test_image_copy(&y);
    run(reference, &want, &frames, 28 * units_high, 28 * units_wide, &order);
    run(rig, &y, &frames, 28 * units_high, 28 * units_wide, &order);
    test_assert_ok(rig);
    test_assert_close(&y, &want, 0, 1e-6 + test_rounding(dtype));
    test_image_free(&frames);
    test_image_free(&order);
    test_image_free(&y);
    test_image_free(&want);
}

static void test_random_shapes(void **state)
{
    (void)state;
    test_rig reference = test_open("reference");
    TEST_EACH_BACKEND(rig)
    for (int gap = 0; gap <= 7; gap += 7) {
        compare(&rig, &reference, KERNELS_F32, 1, 1, gap);
        compare(&rig, &reference, KERNELS_F32, 3, 2, gap);
        compare(&rig, &reference, KERNELS_BF16, 2, 5, gap);
    }
    test_close(&reference);
}

/* Each pixel in turn decides where it has to be found. */
static void test_places(void **state)
{
    (void)state;
    int64_t height = 56, width = 84, wide = width / 28, n = 6;
    TEST_EACH_BACKEND(rig)
    {
        test_image frames = frames_new(height, width, 0), order = order_new(n);
        test_image y = test_image_new(KERNELS_F32, 4 * n, 1176, 1176);
        run(&rig, &y, &frames, height, width, &order);
        for (int64_t i = 0; i < n; i++) {
            int64_t unit = (int64_t)test_at(&order, i, 0);
            for (int64_t at = 0; at < 2 * 28 * 28 * 3; at++) {
                int64_t c = at % 3, column = at / 3 % 28, row = at / 84 % 28, frame = at / (84 * 28);
                int64_t patch = row / 14 * 2 + column / 14, inside = row % 14 * 14 + column % 14;
                int64_t pixel = ((unit / wide * 28 + row) * width + unit % wide * 28 + column) * 3 + c;
                double want = (test_at(&frames, frame, pixel) / 255 - (double)mean[c]) / (double)std[c];
                assert_true(fabs(test_at(&y, 4 * i + patch, c * 392 + frame * 196 + inside) - want) < 1e-6);
            }
        }
        test_image_free(&frames);
        test_image_free(&order);
        test_image_free(&y);
    }
}

static void test_bad_input_fails(void **state)
{
    (void)state;
    TEST_EACH_BACKEND(rig)
    {
        test_image frames = frames_new(28, 56, 0), order = test_image_new(KERNELS_I32, 1, 1, 1);
        test_image y = test_image_new(KERNELS_F32, 4, 1176, 1176);
        test_set(&order, 0, 0, 2); /* units 0 and 1 exist */
        run(&rig, &y, &frames, 28, 56, &order);
        test_assert_failed(&rig, OMNID_SHAPE);
        test_set(&order, 0, 0, 1);
        run(&rig, &y, &frames, 14, 112, &order); /* 14 is no multiple of 28 */
        test_assert_failed(&rig, OMNID_SHAPE);
        test_image_free(&frames);
        test_image_free(&order);
        test_image_free(&y);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_shapes),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_bad_input_fails),
    };
    return cmocka_run_group_tests_name("patchify", tests, NULL, NULL);
}
