/* test_gather_rows.c: copies of rows, repeated ones too; a row that does not exist. */
#include "tests/unit/kernels/kernels_test.h"

static void check(test_rig *rig, kernels_dtype dtype, int64_t m, int64_t d, int64_t n, int64_t gap)
{
    test_image x = test_image_new(dtype, m, d, d + gap), rows = test_image_new(KERNELS_I32, n, 1, 1);
    test_image y = test_image_new(dtype, n, d, d + 2 * gap);
    if (dtype == KERNELS_U8 || dtype == KERNELS_I32)
        test_fill_ints(&x, 0, 200);
    else
        test_fill_normal(&x, 1.0f);
    test_fill_ints(&rows, 0, m - 1);
    test_set(&rows, n - 1, 0, (double)(m - 1));
    tensor on_y = test_up(rig, &y), on_x = test_up(rig, &x), on_rows = test_up(rig, &rows);
    rig->ops->gather_rows(rig->stream, &on_y, &on_x, &on_rows);
    test_down(rig, &on_y, &y);
    test_assert_ok(rig);
    test_assert_guards(&y);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < d; j++)
            assert_true(test_at(&y, i, j) == test_at(&x, (int64_t)test_at(&rows, i, 0), j));
    test_free_memory(rig);
    test_image_free(&x);
    test_image_free(&rows);
    test_image_free(&y);
}

static void test_all_types(void **state)
{
    (void)state;
    static const kernels_dtype dtypes[] = {KERNELS_F32, KERNELS_BF16, KERNELS_F16, KERNELS_I32, KERNELS_U8};
    TEST_EACH_BACKEND(rig)
    for (int t = 0; t < 5; t++) {
        check(&rig, dtypes[t], 11, 17, 40, 0);
        check(&rig, dtypes[t], 40, 17, 11, 3);
        check(&rig, dtypes[t], 30, 2048, 20, 0);
        check(&rig, dtypes[t], 1, 1, 1, 0);
    }
}

static void test_row_outside_fails(void **state)
{
    (void)state;
    TEST_EACH_BACKEND(rig)
    for (int bad = -1; bad <= 3; bad += 4) {
        test_image x = test_image_new(KERNELS_F32, 3, 4, 4), rows = test_image_new(KERNELS_I32, 2, 1, 1);
        test_image y = test_image_new(KERNELS_F32, 2, 4, 4);
        test_fill_normal(&x, 1.0f);
        test_set(&rows, 0, 0, 0);
        test_set(&rows, 1, 0, bad);
        tensor on_y = test_up(&rig, &y), on_x = test_up(&rig, &x), on_rows = test_up(&rig, &rows);
        rig.ops->gather_rows(rig.stream, &on_y, &on_x, &on_rows);
        test_assert_failed(&rig, OMNID_SHAPE);
        test_image_free(&x);
        test_image_free(&rows);
        test_image_free(&y);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all_types), cmocka_unit_test(test_row_outside_fails)};
    return cmocka_run_group_tests_name("gather_rows", tests, NULL, NULL);
}
