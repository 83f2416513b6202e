/* test_rotate.c: every backend against the reference; a rotation keeps lengths, and two make one. */
#include "tests/unit/kernels/kernels_test.h"

#include <math.h>

static void run(test_rig *rig, test_image *x, const test_image *cosines, const test_image *sines, int n_heads,
                int head_dim)
{
    tensor on_x = test_up(rig, x), on_cos = test_up(rig, cosines), on_sin = test_up(rig, sines);
    rig->ops->rotate(rig->stream, &on_x, &on_cos, &on_sin, n_heads, head_dim);
    test_down(rig, &on_x, x);
    test_free_memory(rig);
}

/* Tables of random angles times `times`. */
static void tables_new(test_image *cosines, test_image *sines, const double *angles, int64_t n, int64_t half,
                       double times, int64_t gap)
{
    *cosines = test_image_new(KERNELS_F32, n, half, half + gap);
    *sines = test_image_new(KERNELS_F32, n, half, half + 2 * gap);
    for (int64_t i = 0; i < n * half; i++) {
        test_set(cosines, i / half, i % half, cos(times * angles[i]));
        test_set(sines, i / half, i % half, sin(times * angles[i]));
    }
}

static void compare(test_rig *rig, test_rig *reference, kernels_dtype dtype, int64_t n, int n_heads, int head_dim,
                    int64_t rest)
{
    int64_t width = (int64_t)n_heads * head_dim + rest;
    double angles[64 * 64];
    for (size_t i = 0; i < sizeof angles / sizeof *angles; i++)
        angles[i] = 10 * (double)test_random_normal();
    test_image cosines, sines;
    tables_new(&cosines, &sines, angles, n, head_dim / 2, 1, rest);
    test_image x = test_image_new(dtype, n, width, width + rest);
    test_fill_normal(&x, 2.0f);
    test_image want = test_image_copy(&x), before = test_image_copy(&x);
    run(reference, &want, &cosines, &sines, n_heads, head_dim);
    run(rig, &x, &cosines, &sines, n_heads, head_dim);
    test_assert_ok(rig);
    test_assert_close(&x, &want, dtype == KERNELS_BF16 ? 1e-4 : 2e-6, 1e-6 + test_rounding(dtype));
    for (int64_t i = 0; i < n; i++) /* columns after the heads stay */
        for (int64_t j = width - rest; j < width; j++)
            assert_true(test_at(&x, i, j) == test_at(&before, i, j));
    test_image_free(&x);
    test_image_free(&want);
    test_image_free(&before);
    test_image_free(&cosines);
    test_image_free(&sines);
}

static void test_random_shapes(void **state)
{
    (void)state;
    test_rig reference = test_open("reference");
    TEST_EACH_BACKEND(rig)
    for (int bf16 = 0; bf16 < 2; bf16++)
        for (int rest = 0; rest <= 6; rest += 6) {
            kernels_dtype dtype = bf16 ? KERNELS_BF16 : KERNELS_F32;
            compare(&rig, &reference, dtype, 1, 1, 2, rest);
            compare(&rig, &reference, dtype, 3, 5, 6, rest);
            compare(&rig, &reference, dtype, 50, 32, 80, rest);
            compare(&rig, &reference, dtype, 64, 7, 128, rest);
        }
    test_close(&reference);
}

/* head_dim 4: pairs are (0, 2) and (1, 3); a quarter turn takes (a, b) to (-b, a). */
static void test_pairs(void **state)
{
    (void)state;
    TEST_EACH_BACKEND(rig)
    {
        const double angles[] = {1.5707963267948966, 0};
        test_image cosines, sines, x = test_image_new(KERNELS_F32, 1, 4, 4);
        tables_new(&cosines, &sines, angles, 1, 2, 1, 0);
        for (int j = 0; j < 4; j++)
            test_set(&x, 0, j, 1 + j);
        run(&rig, &x, &cosines, &sines, 1, 4);
        static const double want[] = {-3, 2, 1, 4};
        for (int j = 0; j < 4; j++)
            assert_float_equal(test_at(&x, 0, j), want[j], 1e-6);
        test_image_free(&x);
        test_image_free(&cosines);
        test_image_free(&sines);
    }
}

/* Turning by φ twice = turning by 2 φ. */
static void test_turns_add_up(void **state)
{
    (void)state;
    enum { N = 5, HEADS = 3, DIM = 16 };
    double angles[N * DIM / 2];
    for (int i = 0; i < N * DIM / 2; i++)
        angles[i] = (double)test_random_normal();
    TEST_EACH_BACKEND(rig)
    {
        test_image once_cos, once_sin, twice_cos, twice_sin;
        tables_new(&once_cos, &once_sin, angles, N, DIM / 2, 1, 0);
        tables_new(&twice_cos, &twice_sin, angles, N, DIM / 2, 2, 0);
        test_image x = test_image_new(KERNELS_F32, N, HEADS * DIM, HEADS * DIM);
        test_fill_normal(&x, 1.0f);
        test_image y = test_image_copy(&x);
        run(&rig, &x, &once_cos, &once_sin, HEADS, DIM);
        run(&rig, &x, &once_cos, &once_sin, HEADS, DIM);
        run(&rig, &y, &twice_cos, &twice_sin, HEADS, DIM);
        test_assert_close(&x, &y, 2e-6, 1e-6);
        test_image_free(&x);
        test_image_free(&y);
        test_image_free(&once_cos);
        test_image_free(&once_sin);
        test_image_free(&twice_cos);
        test_image_free(&twice_sin);
    }
}

static void test_wrong_shape_fails(void **state)
{
    (void)state;
    TEST_EACH_BACKEND(rig)
    {
        test_image x = test_image_new(KERNELS_F32, 2, 8, 8), table = test_image_new(KERNELS_F32, 2, 2, 2);
        run(&rig, &x, &table, &table, 3, 4); /* 3 heads of 4 do not fit 8 columns */
        test_assert_failed(&rig, OMNID_SHAPE);
        run(&rig, &x, &table, &table, 1, 5); /* an odd head */
        test_assert_failed(&rig, OMNID_SHAPE);
        test_image_free(&x);
        test_image_free(&table);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_shapes),
        cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_turns_add_up),
        cmocka_unit_test(test_wrong_shape_fails),
    };
    return cmocka_run_group_tests_name("rotate", tests, NULL, NULL);
}
