/* test_score.c: every backend against the reference; scores of all keys that a row sees add up to one. */
#include "tests/unit/kernels/attention_case.h"

/* max_more: a launch for so many more keys than there are. */
static void run(test_rig *rig, test_image *S, test_image *lse, const attention_case *c, int64_t max_more)
{
    case_on on;
    int64_t width = (int64_t)c->shape.n_heads * c->shape.head_dim;
    test_image out = test_image_new(KERNELS_F32, c->shape.n_rows, width, 0);
    tensor on_out = test_up(rig, &out), on_lse = test_up(rig, lse), on_S = test_up(rig, S);
    case_up(&on, rig, c, on_S.data);
    rig->ops->attend(rig->stream, &on_out, &on_lse, &on.a);
    rig->ops->score(rig->stream, &on_lse, &on.a, c->n_scored + max_more);
    test_down(rig, &on_S, S);
    test_free_memory(rig);
    test_image_free(&out);
}

static void compare(test_rig *rig, test_rig *reference, case_shape shape)
{
    attention_case *c = case_new(shape);
    test_image lse = test_image_new(KERNELS_F32, shape.n_rows, shape.n_heads, shape.n_heads + 1);
    test_image got = test_image_new(KERNELS_F32, c->n_scored, 1, 1), want = test_image_copy(&got);
    run(reference, &want, &lse, c, 0);
    run(rig, &got, &lse, c, c->n_scored % 3 * 100);
    test_assert_ok(rig);
    test_assert_ok(reference);
    test_assert_close(&got, &want, 1e-9, 5e-5);
    test_image_free(&lse);
    test_image_free(&got);
    test_image_free(&want);
    case_free(c);
}

static case_shape random_shape(void)
{
    case_shape s = {.n_kv_heads = (int)test_random_int(1, 3), .head_dim = (int)test_random_int(1, 70)};
    s.n_heads = s.n_kv_heads * (int)test_random_int(1, 8);
    s.dtype = test_random_int(0, 2) ? KERNELS_F32 : KERNELS_BF16;
    s.n_classes = test_random_int(0, 1) ? 1 : KERNELS_N_CLASSES;
    s.n_rows = (int)(test_random_int(0, 2) ? test_random_int(1, 40) : 1);
    s.n_prefix = (int)test_random_int(0, 30);
    s.n_pages = (int)test_random_int(1, 6);
    s.capacity = (int)test_random_int(20, 150);
    s.scatter = (int)test_random_int(0, 2);
    s.n_keys = (int)test_random_int(0, s.scatter ? s.n_pages * s.capacity / 4 : s.n_pages * s.capacity);
    s.own_first = (int)test_random_int(0, 1) ? 0 : (int)test_random_int(0, 100);
    s.n_own_scored = (int)test_random_int(0, s.own_first + s.n_rows);
    s.first_score_row = (int)test_random_int(0, s.n_rows - 1);
    s.q_scale = test_random_int(0, 3) ? 1.0f : 4.0f;
    return s;
}

static void test_random_shapes(void **state)
{
    (void)state;
    test_rig reference = test_open("reference");
    TEST_EACH_BACKEND(rig)
    for (int i = 0; i < 60; i++)
        compare(&rig, &reference, random_shape());
    test_close(&reference);
}

static void test_large_shapes(void **state)
{
    (void)state;
    test_rig reference = test_open("reference");
    TEST_EACH_BACKEND(rig)
    for (int classes = 1; classes <= 3; classes += 2) {
        case_shape s = {.dtype = KERNELS_F32,
                        .n_heads = 16,
                        .n_kv_heads = 2,
                        .head_dim = 128,
                        .n_classes = classes,
                        .n_rows = 20,
                        .n_prefix = 26,
                        .n_pages = 16,
                        .capacity = 150,
                        .n_keys = 1100,
                        .scatter = 1,
                        .own_first = 12,
                        .n_own_scored = 12,
                        .first_score_row = 3,
                        .q_scale = 1};
        compare(&rig, &reference, s);
    }
    test_close(&reference);
}

/* bf16 heads of sizes that matrix units take, more rows and keys than a tile has, and several pages' ends inside one. */
static void test_tiles(void **state)
{
    (void)state;
    test_rig reference = test_open("reference");
    TEST_EACH_BACKEND(rig)
    for (int i = 0; i < 6; i++) {
        case_shape s = {.dtype = KERNELS_BF16,
                        .n_heads = 14,
                        .n_kv_heads = 2,
                        .head_dim = 32 << i % 3,
                        .n_classes = i / 3 ? KERNELS_N_CLASSES : 1,
                        .n_rows = 21,
                        .n_prefix = 9,
                        .n_pages = 5,
                        .capacity = 50,
                        .n_keys = 110,
                        .scatter = 1,
                        .own_first = 3,
                        .n_own_scored = 17,
                        .first_score_row = 2,
                        .q_scale = 1};
        compare(&rig, &reference, s);
    }
    test_close(&reference);
}

/* Without prefix and own rows the list is all that a row sees: its probabilities add up to one. */
static void test_adds_up_to_one(void **state)
{
    (void)state;
    TEST_EACH_BACKEND(rig)
    {
        case_shape s = {.dtype = KERNELS_F32,
                        .n_heads = 6,
                        .n_kv_heads = 2,
                        .head_dim = 16,
                        .n_classes = 3,
                        .n_rows = 5,
                        .own_first = -5,
                        .n_pages = 3,
                        .capacity = 100,
                        .n_keys = 170,
                        .q_scale = 2};
        attention_case *c = case_new(s);
        test_image lse = test_image_new(KERNELS_F32, s.n_rows, s.n_heads, 0);
        test_image S = test_image_new(KERNELS_F32, c->n_scored, 1, 1);
        run(&rig, &S, &lse, c, 0);
        double sum = 0;
        for (int j = 0; j < c->n_scored; j++)
            sum += test_at(&S, j, 0);
        assert_float_equal(sum, 1, 1e-5);
        test_image_free(&lse);
        test_image_free(&S);
        case_free(c);
    }
}

/* No query row to average over: zeros, not 0 / 0. */
static void test_no_rows(void **state)
{
    (void)state;
    TEST_EACH_BACKEND(rig)
    {
        case_shape s = {.dtype = KERNELS_F32,
                        .n_heads = 2,
                        .n_kv_heads = 1,
                        .head_dim = 4,
                        .n_classes = 1,
                        .n_rows = 2,
                        .n_pages = 1,
                        .capacity = 20,
                        .n_keys = 20,
                        .first_score_row = 2,
                        .q_scale = 1};
        attention_case *c = case_new(s);
        test_image lse = test_image_new(KERNELS_F32, s.n_rows, s.n_heads, 0);
        test_image S = test_image_new(KERNELS_F32, c->n_scored, 1, 1);
        run(&rig, &S, &lse, c, 0);
        for (int j = 0; j < c->n_scored; j++)
            assert_true(test_at(&S, j, 0) == 0);
        test_image_free(&lse);
        test_image_free(&S);
        case_free(c);
    }
}

static void test_too_many_keys_fail(void **state)
{
    (void)state;
    TEST_EACH_BACKEND(rig)
    {
        case_shape s = {.dtype = KERNELS_F32,
                        .n_heads = 2,
                        .n_kv_heads = 1,
                        .head_dim = 4,
                        .n_classes = 1,
                        .n_rows = 2,
                        .n_pages = 1,
                        .capacity = 20,
                        .n_keys = 20,
                        .q_scale = 1};
        attention_case *c = case_new(s);
        test_image lse = test_image_new(KERNELS_F32, s.n_rows, s.n_heads, 0);
        test_image S = test_image_new(KERNELS_F32, c->n_scored, 1, 1);
        run(&rig, &S, &lse, c, -1);
        test_assert_failed(&rig, OMNID_SHAPE);
        test_image_free(&lse);
        test_image_free(&S);
        case_free(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_shapes), cmocka_unit_test(test_large_shapes),
        cmocka_unit_test(test_tiles),         cmocka_unit_test(test_adds_up_to_one),
        cmocka_unit_test(test_no_rows),       cmocka_unit_test(test_too_many_keys_fail),
    };
    return cmocka_run_group_tests_name("score", tests, NULL, NULL);
}
