/* test_embed.c: rows of a table in four types, ids outside it. */
#include "kernels/int8.h"
#include "tests/unit/kernels/kernels_test.h"

static void check(test_rig *rig, kernels_dtype dtype, int64_t v, int64_t d, int64_t n, int64_t gap)
{
    test_image table = test_image_new(dtype, v, d, d + gap), ids = test_image_new(KERNELS_I32, n, 1, 1);
    test_image y = test_image_new(KERNELS_F32, n, d, d + 2 * gap);
    test_fill_normal(&table, 1.0f);
    test_fill_ints(&ids, -2, v + 1); /* some just outside */
    test_set(&ids, 0, 0, n > 1 ? -1 : 0);
    test_set(&ids, n - 1, 0, (double)(v - 1));
    tensor on_y = test_up(rig, &y), on_table = test_up(rig, &table), on_ids = test_up(rig, &ids);
    rig->ops->embed(rig->stream, &on_y, &on_table, &on_ids);
    test_down(rig, &on_y, &y);
    test_assert_guards(&y);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < d; j++) {
            int64_t id = (int64_t)test_at(&ids, i, 0);
            double want = id >= 0 && id < v ? test_at(&table, id, j) : 0.0;
            assert_true(test_at(&y, i, j) == want);
        }
    test_free_memory(rig);
    test_image_free(&table);
    test_image_free(&ids);
    test_image_free(&y);
}

static void test_all_types(void **state)
{
    (void)state;
    static const kernels_dtype dtypes[] = {KERNELS_F32, KERNELS_BF16, KERNELS_F16};
    TEST_EACH_BACKEND(rig)
    for (int t = 0; t < 3; t++) {
        check(&rig, dtypes[t], 11, 17, 40, 0);
        check(&rig, dtypes[t], 11, 17, 40, 3);
        check(&rig, dtypes[t], 300, 2048, 1, 0);
        check(&rig, dtypes[t], 1, 1, 1, 0);
    }
}

/* A table of int8 rows, y dense or with rows further apart. */
static void check_int8(test_rig *rig, int64_t v, int64_t d, int64_t n, int64_t gap)
{
    test_image from = test_image_new(KERNELS_F32, v, d, d), ids = test_image_new(KERNELS_I32, n, 1, 1);
    test_image table = test_image_new(KERNELS_I8, v, kernels_int8_stride(d), 0);
    test_image y = test_image_new(KERNELS_F32, n, d, d + gap);
    test_fill_normal(&from, 1.0f);
    kernels_int8_rows(table.host.data, from.host.data, KERNELS_F32, v, d);
    test_fill_ints(&ids, -2, v + 1);
    test_set(&ids, 0, 0, 0);
    test_set(&ids, n - 1, 0, (double)(v - 1));
    tensor on_y = test_up(rig, &y), on_table = test_up(rig, &table), on_ids = test_up(rig, &ids);
    on_table.dim[1] = d;
    rig->ops->embed(rig->stream, &on_y, &on_table, &on_ids);
    test_down(rig, &on_y, &y);
    test_assert_ok(rig);
    test_assert_guards(&y);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < d; j++) {
            int64_t id = (int64_t)test_at(&ids, i, 0);
            float want = id >= 0 && id < v ? int8_value(tensor_row(&table.host, id), d, j) : 0.0f;
            assert_true(test_at(&y, i, j) == (double)want);
        }
    on_table.stride += 16;
    rig->ops->embed(rig->stream, &on_y, &on_table, &on_ids);
    test_assert_failed(rig, OMNID_SHAPE);
    test_free_memory(rig);
    test_image_free(&from);
    test_image_free(&ids);
    test_image_free(&table);
    test_image_free(&y);
}

static void test_int8(void **state)
{
    (void)state;
    TEST_EACH_BACKEND(rig)
    {
        check_int8(&rig, 11, 17, 40, 0);
        check_int8(&rig, 11, 128, 40, 3);
        check_int8(&rig, 11, 144, 40, 4);
        check_int8(&rig, 30, 2048, 3, 0);
        check_int8(&rig, 1, 1, 1, 0);
    }
}

static void test_wrong_type_fails(void **state)
{
    (void)state;
    TEST_EACH_BACKEND(rig)
    {
        test_image table = test_image_new(KERNELS_I32, 3, 4, 4), ids = test_image_new(KERNELS_I32, 2, 1, 1);
        test_image y = test_image_new(KERNELS_F32, 2, 4, 4);
        tensor on_y = test_up(&rig, &y), on_table = test_up(&rig, &table), on_ids = test_up(&rig, &ids);
        rig.ops->embed(rig.stream, &on_y, &on_table, &on_ids);
        test_assert_failed(&rig, OMNID_SHAPE);
        test_image_free(&table);
        test_image_free(&ids);
        test_image_free(&y);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all_types), cmocka_unit_test(test_int8),
                                       cmocka_unit_test(test_wrong_type_fails)};
    return cmocka_run_group_tests_name("embed", tests, NULL, NULL);
}
