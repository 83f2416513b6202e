/* test_add.c: one float32 addition a cell, the same bits everywhere. */
#include "tests/unit/kernels/kernels_test.h"

static void check(test_rig *rig, int64_t m, int64_t d, int64_t gap)
{
    test_image x = test_image_new(KERNELS_F32, m, d, d + gap), y = test_image_new(KERNELS_F32, m, d, d + 2 * gap);
    test_fill_normal(&x, 1.0f);
    test_fill_normal(&y, 100.0f);
    test_image want = test_image_copy(&y);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < d; j++)
            test_set(&want, i, j, (double)((float)test_at(&y, i, j) + (float)test_at(&x, i, j)));
    tensor on_y = test_up(rig, &y), on_x = test_up(rig, &x);
    rig->ops->add(rig->stream, &on_y, &on_x);
    test_down(rig, &on_y, &y);
    test_assert_same(&y, &want);
    test_free_memory(rig);
    test_image_free(&x);
    test_image_free(&y);
    test_image_free(&want);
}

static void test_random_shapes(void **state)
{
    (void)state;
    TEST_EACH_BACKEND(rig)
    for (int gap = 0; gap <= 5; gap += 5) {
        check(&rig, 1, 1, gap);
        check(&rig, 3, 17, gap);
        check(&rig, 1, 18944, gap);
        check(&rig, 65, 1031, gap);
    }
}

static void test_wrong_shape_fails(void **state)
{
    (void)state;
    TEST_EACH_BACKEND(rig)
    {
        test_image x = test_image_new(KERNELS_F32, 2, 9, 9), y = test_image_new(KERNELS_F32, 3, 9, 9);
        tensor on_y = test_up(&rig, &y), on_x = test_up(&rig, &x);
        rig.ops->add(rig.stream, &on_y, &on_x);
        test_assert_failed(&rig, OMNID_SHAPE);
        test_image_free(&x);
        test_image_free(&y);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_shapes), cmocka_unit_test(test_wrong_shape_fails)};
    return cmocka_run_group_tests_name("add", tests, NULL, NULL);
}
