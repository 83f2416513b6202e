/* test_int8.c: rows of kernels_int8_rows: the formula in float64, ties, zeros, the smallest and largest numbers, padding. */
#include "kernels/int8.h"
#include "tests/unit/kernels/kernels_test.h"

#include <float.h>
#include <stdlib.h>
#include <math.h>
#include <string.h>

/* One stored row of k float32, in a piece of poisoned memory that must stay so behind it. */
static int8_t *stored(const float *w, int64_t k)
{
    int64_t stride = kernels_int8_stride(k);
    int8_t *row = malloc((size_t)stride + 8);
    assert_non_null(row);
    memset(row, TEST_POISON, (size_t)stride + 8);
    kernels_int8_rows(row, w, KERNELS_F32, 1, k);
    for (int i = 0; i < 8; i++)
        assert_int_equal((uint8_t)row[stride + i], TEST_POISON);
    return row;
}

static void check_group(const int8_t *row, const float *w, int64_t k, int64_t first)
{
    int64_t end = first + KERNELS_INT8_GROUP < k ? first + KERNELS_INT8_GROUP : k;
    double highest = 0;
    for (int64_t j = first; j < end; j++)
        highest = fmax(highest, fabs((double)w[j]));
    double scale = (double)int8_scale(row, k, first / KERNELS_INT8_GROUP);
    assert_true(fabs(scale - highest / 127) <= highest / 127 * 0x1p-8 * 1.0001);
    for (int64_t j = first; j < end; j++) {
        double want = nearbyint((double)w[j] / scale), exact = fabs((double)w[j] / scale - want);
        if (exact < 0.4999) /* beyond, the quotient's own rounding decides */
            assert_int_equal(row[j], (int)want);
        assert_true(fabs((double)int8_value(row, k, j) - (double)w[j]) <= 0.5001 * scale);
    }
}

static void test_formula(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        int64_t k = test_random_int(1, 600);
        float *w = malloc((size_t)k * sizeof *w), scale = ldexpf(1, (int)test_random_int(-60, 60));
        assert_non_null(w);
        for (int64_t j = 0; j < k; j++)
            w[j] = scale * test_random_normal();
        int8_t *row = stored(w, k);
        for (int64_t first = 0; first < k; first += KERNELS_INT8_GROUP)
            check_group(row, w, k, first);
        for (int64_t j = k; j < kernels_int8_numbers(k); j++)
            assert_int_equal(row[j], 0);
        for (int64_t j = kernels_int8_numbers(k) + 2 * int8_groups(k); j < kernels_int8_stride(k); j++)
            assert_int_equal(row[j], 0);
        free(row);
        free(w);
    }
}

static void test_ties_go_to_even(void **state)
{
    (void)state;
    const float w[] = {127, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, 126.5f};
    const int want[] = {127, 0, 2, 2, 0, -2, -2, 126};
    int8_t *row = stored(w, 8);
    assert_true(int8_scale(row, 8, 0) == 1.0f);
    for (int j = 0; j < 8; j++)
        assert_int_equal(row[j], want[j]);
    free(row);
}

static void test_a_group_of_zeros(void **state)
{
    (void)state;
    float w[2 * KERNELS_INT8_GROUP] = {0};
    w[KERNELS_INT8_GROUP] = -3;
    int8_t *row = stored(w, 2 * KERNELS_INT8_GROUP);
    for (int j = 0; j < KERNELS_INT8_GROUP; j++)
        assert_true(int8_value(row, 2 * KERNELS_INT8_GROUP, j) == 0);
    assert_int_equal(row[KERNELS_INT8_GROUP], -127);
    free(row);
}

static void test_smallest_and_largest(void **state)
{
    (void)state;
    const float tiny[] = {1e-44f, -1e-44f, 0}, small[] = {1.8e-38f, -1.7e-38f, 1e-40f},
                large[] = {FLT_MAX, -FLT_MAX, 1};
    int8_t *row = stored(tiny, 3); /* the scale is 0 */
    for (int j = 0; j < 3; j++)
        assert_true(int8_value(row, 3, j) == 0);
    free(row);
    row = stored(small, 3); /* the scale is a subnormal bf16, coarse: clamped, and still the right sign and size */
    assert_true(int8_value(row, 3, 0) > 1e-38f && int8_value(row, 3, 1) < -1e-38f);
    free(row);
    row = stored(large, 3);
    assert_int_equal(row[0], 127);
    assert_int_equal(row[1], -127);
    assert_int_equal(row[2], 0);
    free(row);
}

/* A model with a broken number answers nonsense openly. */
static void test_not_numbers_stay(void **state)
{
    (void)state;
    const float bad[][3] = {{1, NAN, 2}, {1, INFINITY, 2}, {-INFINITY, 1, 2}};
    for (int i = 0; i < 3; i++) {
        int8_t *row = stored(bad[i], 3);
        assert_false(isfinite(int8_scale(row, 3, 0)));
        for (int j = 0; j < 3; j++)
            assert_false(isfinite(int8_value(row, 3, j)));
        free(row);
    }
}

static void test_types_agree(void **state)
{
    (void)state;
    enum { K = 200 };
    static const kernels_dtype dtypes[] = {KERNELS_BF16, KERNELS_F16};
    for (int t = 0; t < 2; t++) {
        test_image narrow = test_image_new(dtypes[t], 3, K, K), wide = test_image_new(KERNELS_F32, 3, K, K);
        test_fill_normal(&narrow, 0.1f);
        for (int64_t i = 0; i < 3; i++)
            for (int64_t j = 0; j < K; j++)
                test_set(&wide, i, j, test_at(&narrow, i, j));
        size_t size = (size_t)(3 * kernels_int8_stride(K));
        void *a = malloc(size), *b = malloc(size);
        assert_true(a && b);
        kernels_int8_rows(a, narrow.host.data, dtypes[t], 3, K);
        kernels_int8_rows(b, wide.host.data, KERNELS_F32, 3, K);
        assert_memory_equal(a, b, size);
        free(a);
        free(b);
        test_image_free(&narrow);
        test_image_free(&wide);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formula),          cmocka_unit_test(test_ties_go_to_even),
        cmocka_unit_test(test_a_group_of_zeros), cmocka_unit_test(test_smallest_and_largest),
        cmocka_unit_test(test_not_numbers_stay), cmocka_unit_test(test_types_agree),
    };
    return cmocka_run_group_tests_name("int8", tests, NULL, NULL);
}
