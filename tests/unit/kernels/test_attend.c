/* test_attend.c: every backend against the reference, over lists in runs, scattered and shuffled, one and three classes of
 * queries, no keys, one row and many; several answers at once are what each is alone; the cpu backend gives the same bits
 * with one thread and with two. */
#include "tests/unit/kernels/attention_case.h"

typedef struct {
    test_image out, lse;
} result;

static result result_new(const case_shape *s, kernels_dtype dtype)
{
    int64_t width = (int64_t)s->n_heads * s->head_dim;
    return (result){test_image_new(dtype, s->n_rows + 2, width, width + 3),
                    test_image_new(KERNELS_F32, s->n_rows + 2, s->n_heads, s->n_heads + 1)};
}

static void result_free(result *r)
{
    test_image_free(&r->out);
    test_image_free(&r->lse);
}

static void run(test_rig *rig, result *r, const attention_case *c, bool with_lse)
{
    case_on on;
    case_up(&on, rig, c, NULL);
    tensor out = test_up(rig, &r->out), lse = test_up(rig, &r->lse);
    rig->ops->attend(rig->stream, &out, with_lse ? &lse : NULL, &on.a);
    test_down(rig, &out, &r->out);
    test_down(rig, &lse, &r->lse);
    test_free_memory(rig);
}

/* Rows past n_rows keep their poison; the rest agrees. */
static void compare_rows(const test_image *got, const test_image *want, int64_t n_rows, double absolute,
                         double relative)
{
    test_image a = *got, b = *want;
    test_assert_guards(got);
    for (int64_t i = n_rows; i < got->rows; i++)
        for (size_t j = 0; j < (size_t)got->cols * kernels_dtype_size(got->dtype); j++)
            assert_int_equal(((const uint8_t *)tensor_row(&got->host, i))[j], TEST_POISON);
    for (int64_t i = 0; i < n_rows; i++)
        for (int64_t j = 0; j < got->cols; j++) {
            double x = test_at(&a, i, j), y = test_at(&b, i, j);
            if (!(x == y || fabs(x - y) <= absolute + relative * fabs(y)))
                fail_msg("[%lld][%lld] is %.9g, want %.9g", (long long)i, (long long)j, x, y);
        }
}

static void compare(test_rig *rig, test_rig *reference, case_shape shape, kernels_dtype out_dtype)
{
    attention_case *c = case_new(shape);
    result got = result_new(&shape, out_dtype), want = result_new(&shape, out_dtype);
    bool with_lse = test_random_int(0, 3) > 0;
    run(reference, &want, c, with_lse);
    run(rig, &got, c, with_lse);
    test_assert_ok(rig);
    test_assert_ok(reference);
    /* bf16 products round the probabilities to 8 bits; float32 ones add a few thousand terms in another order. */
    bool rounds = shape.dtype == KERNELS_BF16 && rig->ops->native_precision(rig->backend) == KERNELS_PLAIN_BF16;
    compare_rows(&got.out, &want.out, shape.n_rows, rounds ? 8e-3 : 5e-6, test_rounding(out_dtype) + 2e-5);
    compare_rows(&got.lse, &want.lse, with_lse ? shape.n_rows : 0, 1e-5, 2e-6);
    result_free(&got);
    result_free(&want);
    case_free(c);
}

static case_shape random_shape(void)
{
    case_shape s = {.n_kv_heads = (int)test_random_int(1, 3), .head_dim = (int)test_random_int(1, 70)};
    s.n_heads = s.n_kv_heads * (int)test_random_int(1, 8);
    s.dtype = test_random_int(0, 2) ? KERNELS_F32 : KERNELS_BF16;
    s.n_classes = test_random_int(0, 1) ? 1 : KERNELS_N_CLASSES;
    s.n_rows = (int)(test_random_int(0, 2) ? test_random_int(1, 40) : 1);
    s.n_prefix = (int)test_random_int(0, 90);
    s.n_pages = (int)test_random_int(1, 6);
    s.capacity = (int)test_random_int(20, 150);
    s.scatter = (int)test_random_int(0, 2);
    s.n_keys = (int)test_random_int(0, s.scatter ? s.n_pages * s.capacity / 4 : s.n_pages * s.capacity);
    s.own_first = (int)test_random_int(0, 1) ? 0 : (int)test_random_int(0, 200);
    s.q_scale = test_random_int(0, 3) ? 1.0f : 6.0f;
    return s;
}

static void test_random_shapes(void **state)
{
    (void)state;
    test_rig reference = test_open("reference");
    TEST_EACH_BACKEND(rig)
    for (int i = 0; i < 60; i++)
        compare(&rig, &reference, random_shape(), test_random_int(0, 1) ? KERNELS_F32 : KERNELS_BF16);
    test_close(&reference);
}

/* bf16 heads that go into matrix fragments, of one and of three classes: few keys and many, tiles of rows that are not full,
 * own rows that only the later query rows see, nothing but own rows. */
static void test_tile_shapes(void **state)
{
    (void)state;
    test_rig reference = test_open("reference");
    TEST_EACH_BACKEND(rig)
    for (int i = 0; i < 12; i++) {
        case_shape s = random_shape();
        s.dtype = KERNELS_BF16;
        s.head_dim = i % 3 == 0 ? 32 : i % 3 == 1 ? 64 : 128;
        s.n_classes = i / 3 % 2 ? 1 : KERNELS_N_CLASSES;
        s.n_rows = i < 6 ? s.n_rows : 70;
        s.n_keys = i == 4 ? 0 : s.n_keys;
        s.n_prefix = i == 4 ? 0 : s.n_prefix;
        compare(&rig, &reference, s, i % 2 ? KERNELS_F32 : KERNELS_BF16);
    }
    test_close(&reference);
}

/* The published models' heads, with a context long enough to be split. */
static void test_large_shapes(void **state)
{
    (void)state;
    test_rig reference = test_open("reference");
    TEST_EACH_BACKEND(rig)
    for (int bf16 = 0; bf16 < 2; bf16++) {
        case_shape s = {.dtype = bf16 ? KERNELS_BF16 : KERNELS_F32,
                        .n_heads = 16,
                        .n_kv_heads = 2,
                        .head_dim = 128,
                        .n_classes = 3,
                        .n_prefix = 26,
                        .n_pages = 16,
                        .capacity = 150,
                        .n_keys = 2400,
                        .q_scale = 1};
        s.n_rows = 1;
        compare(&rig, &reference, s, s.dtype);
        s.n_rows = 30;
        s.n_keys = 1000;
        s.scatter = 1;
        compare(&rig, &reference, s, s.dtype);
        s = (case_shape){.dtype = s.dtype,
                         .n_heads = 14,
                         .n_kv_heads = 2,
                         .head_dim = 128,
                         .n_classes = 1,
                         .n_rows = 152,
                         .n_prefix = 10,
                         .n_pages = 1,
                         .capacity = 10,
                         .q_scale = 2};
        compare(&rig, &reference, s, s.dtype);
    }
    test_close(&reference);
}

enum { SETS = 4, SET_ROWS = 5 };

/* Four answers in one call, one of them with no rows, give the bits of four calls; rows past a set's own keep their poison. */
static void test_sets(void **state)
{
    (void)state;
    TEST_EACH_BACKEND(rig)
    for (int bf16 = 0; bf16 < 2; bf16++)
        for (int n_classes = 1; n_classes <= 3; n_classes += 2) {
            case_shape s = {.dtype = bf16 ? KERNELS_BF16 : KERNELS_F32,
                            .n_heads = 14,
                            .n_kv_heads = 2,
                            .head_dim = 64,
                            .n_classes = n_classes,
                            .n_prefix = 7,
                            .n_pages = 2,
                            .capacity = 90,
                            .q_scale = 1};
            int64_t width = (int64_t)s.n_heads * s.head_dim, rows = SETS * SET_ROWS;
            attention_case *cases[SETS];
            kernels_descriptor descriptors[SETS] = {0};
            result all = {test_image_new(KERNELS_F32, rows, width, 0), test_image_new(KERNELS_F32, rows, s.n_heads, 0)};
            test_image q = test_image_new(s.dtype, n_classes * rows, width, 0);
            for (int i = 0; i < SETS; i++) {
                s.n_rows = i == 3 ? SET_ROWS : 1 + i;
                s.n_keys = 40 * i;
                s.own_first = i;
                cases[i] = case_new(s);
                for (int64_t cls = 0; i != 2 && cls < n_classes; cls++)
                    for (int64_t row = 0; row < s.n_rows; row++)
                        memcpy(tensor_row(&q.host, cls * rows + i * SET_ROWS + row),
                               tensor_row(&cases[i]->q.host, cls * (s.n_rows + 2) + row),
                               (size_t)width * kernels_dtype_size(s.dtype));
            }
            case_on on;
            for (int i = 0; i < SETS; i++) {
                case_up(&on, &rig, cases[i], NULL);
                if (i != 2)
                    descriptors[i] = on.descriptor;
            }
            tensor on_q = test_up(&rig, &q), out = test_up(&rig, &all.out), lse = test_up(&rig, &all.lse);
            on.a.descriptors = test_put(&rig, descriptors, sizeof descriptors);
            on.a.n_sets = SETS;
            on.a.q = &on_q;
            on.a.max_rows = rows;
            rig.ops->attend(rig.stream, &out, &lse, &on.a);
            test_down(&rig, &out, &all.out);
            test_down(&rig, &lse, &all.lse);
            test_assert_ok(&rig);
            test_free_memory(&rig);
            for (int i = 0; i < SETS; i++) {
                result one = result_new(&cases[i]->shape, KERNELS_F32);
                int n_rows = i == 2 ? 0 : cases[i]->shape.n_rows;
                run(&rig, &one, cases[i], true);
                for (int64_t row = 0; row < SET_ROWS; row++)
                    for (int64_t j = 0; j < width; j++) {
                        double x = test_at(&all.out, i * SET_ROWS + row, j);
                        assert_true(row < n_rows ? fabs(x - test_at(&one.out, row, j)) <= 1e-6 : isnan(x));
                        double y = j < s.n_heads ? test_at(&all.lse, i * SET_ROWS + row, j) : 0;
                        assert_true(j >= s.n_heads ||
                                    (row < n_rows ? fabs(y - test_at(&one.lse, row, j)) <= 1e-6 : isnan(y)));
                    }
                result_free(&one);
                case_free(cases[i]);
            }
            result_free(&all);
            test_image_free(&q);
        }
}

static void test_row_without_keys(void **state)
{
    (void)state;
    TEST_EACH_BACKEND(rig)
    {
        case_shape s = {.dtype = KERNELS_F32,
                        .n_heads = 4,
                        .n_kv_heads = 2,
                        .head_dim = 8,
                        .n_classes = 1,
                        .n_rows = 3,
                        .own_first = -2,
                        .n_pages = 1,
                        .capacity = 4,
                        .q_scale = 1};
        attention_case *c = case_new(s);
        result r = result_new(&s, KERNELS_F32);
        run(&rig, &r, c, true);
        for (int row = 0; row < s.n_rows; row++) {
            for (int i = 0; i < s.n_heads * s.head_dim; i++) {
                double want = row == 2 ? test_at(&c->v[2], i / s.head_dim / 2 * c->capacity[2], i % s.head_dim) : 0;
                assert_float_equal(test_at(&r.out, row, i), want, 1e-6); /* row 2 sees own row 0 alone */
            }
            for (int head = 0; head < s.n_heads; head++)
                assert_true(row == 2 ? isfinite(test_at(&r.lse, row, head))
                                     : isinf(test_at(&r.lse, row, head)) && test_at(&r.lse, row, head) < 0);
        }
        result_free(&r);
        case_free(c);
    }
}

static void test_threads_do_not_matter(void **state)
{
    (void)state;
    TEST_EACH_BACKEND(rig)
    {
        case_shape s = {.dtype = KERNELS_F32,
                        .n_heads = 16,
                        .n_kv_heads = 2,
                        .head_dim = 64,
                        .n_classes = 3,
                        .n_rows = 9,
                        .n_prefix = 26,
                        .n_pages = 20,
                        .capacity = 100,
                        .n_keys = 900,
                        .scatter = 1,
                        .q_scale = 1};
        attention_case *c = case_new(s);
        result two = result_new(&s, KERNELS_F32), one = result_new(&s, KERNELS_F32);
        run(&rig, &two, c, true);
        test_rig single = {.ops = rig.ops};
        omnid_error err;
        assert_int_equal(rig.ops->open(&single.backend, 1, &err), OMNID_OK);
        assert_int_equal(rig.ops->stream_open(single.backend, &single.stream, KERNELS_FIRST, &err), OMNID_OK);
        run(&single, &one, c, true);
        test_close(&single);
        test_assert_same(&two.out, &one.out);
        test_assert_same(&two.lse, &one.lse);
        result_free(&two);
        result_free(&one);
        case_free(c);
    }
}

static void test_wrong_shape_fails(void **state)
{
    (void)state;
    TEST_EACH_BACKEND(rig)
    {
        case_shape s = {.dtype = KERNELS_F32,
                        .n_heads = 4,
                        .n_kv_heads = 2,
                        .head_dim = 8,
                        .n_classes = 1,
                        .n_rows = 3,
                        .own_first = 0,
                        .n_pages = 1,
                        .capacity = 4,
                        .q_scale = 1};
        attention_case *c = case_new(s);
        result r = result_new(&s, KERNELS_F32);
        c->shape.own_first = 100; /* rows that the own page has no room for */
        run(&rig, &r, c, true);
        test_assert_failed(&rig, OMNID_SHAPE);
        c->shape.own_first = 0;
        c->shape.n_kv_heads = 3; /* 4 heads cannot share 3 */
        run(&rig, &r, c, true);
        test_assert_failed(&rig, OMNID_SHAPE);
        result_free(&r);
        case_free(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_shapes),     cmocka_unit_test(test_tile_shapes),
        cmocka_unit_test(test_large_shapes),      cmocka_unit_test(test_sets),
        cmocka_unit_test(test_row_without_keys),  cmocka_unit_test(test_threads_do_not_matter),
        cmocka_unit_test(test_wrong_shape_fails),
    };
    return cmocka_run_group_tests_name("attend", tests, NULL, NULL);
}
