/* test_rotate_append.c: every backend against the reference; the op against rotate on each part. */
#include "tests/unit/kernels/kernels_test.h"

#include <math.h>

typedef struct {
    int64_t m, n_rows, max_rows, first, capacity; /* rows of qkv, those of them that count */
    int n_tables, n_heads, n_kv_heads, head_dim;
    bool key_table;
    kernels_dtype dtype;
} shape;

typedef struct {
    test_image qkv, cosines, sines, key_table;
    test_image q, k, v; /* results */
} material;

static material material_new(const shape *x, int64_t gap)
{
    int64_t width = (int64_t)(x->n_heads + 2 * x->n_kv_heads) * x->head_dim, half = x->head_dim / 2;
    int64_t d = (int64_t)x->n_heads * x->head_dim, cells = (int64_t)x->n_kv_heads * x->capacity;
    material a = {
        .qkv = test_image_new(KERNELS_F32, x->m, width, width + gap),
        .cosines = test_image_new(KERNELS_F32, x->n_tables * x->m, half, half + gap),
        .sines = test_image_new(KERNELS_F32, x->n_tables * x->m, half, half + 2 * gap),
        .key_table = test_image_new(KERNELS_I32, x->m, 1, 1),
        .q = test_image_new(x->dtype, x->n_tables * x->max_rows, d, d + gap),
        .k = test_image_new(x->dtype, cells, x->head_dim, x->head_dim),
        .v = test_image_new(x->dtype, cells, x->head_dim, x->head_dim),
    };
    test_fill_normal(&a.qkv, 2.0f);
    test_fill_ints(&a.key_table, 0, x->n_tables - 1);
    for (int64_t i = x->n_rows; i < x->m; i++)
        test_set(&a.key_table, i, 0, 99); /* of rows that do not count: not looked at */
    for (int64_t i = 0; i < x->n_tables * x->m; i++)
        for (int64_t j = 0; j < half; j++) {
            double angle = 10 * (double)test_random_normal();
            test_set(&a.cosines, i, j, cos(angle));
            test_set(&a.sines, i, j, sin(angle));
        }
    return a;
}

static void material_free(material *a)
{
    test_image_free(&a->qkv);
    test_image_free(&a->cosines);
    test_image_free(&a->sines);
    test_image_free(&a->key_table);
    test_image_free(&a->q);
    test_image_free(&a->k);
    test_image_free(&a->v);
}

static void run(test_rig *rig, material *a, const shape *x)
{
    tensor q = test_up(rig, &a->q), k = test_up(rig, &a->k), v = test_up(rig, &a->v);
    tensor qkv = test_up(rig, &a->qkv), cosines = test_up(rig, &a->cosines), sines = test_up(rig, &a->sines);
    tensor table = test_up(rig, &a->key_table);
    kernels_descriptor d = {.n_rows = (int32_t)x->n_rows,
                            .own_first = (int32_t)x->first,
                            .own = {.k = k.data, .v = v.data, .capacity = (int32_t)x->capacity}};
    kernels_attention at = {.descriptors = test_put(rig, &d, sizeof d),
                            .n_sets = 1,
                            .n_heads = x->n_heads,
                            .n_kv_heads = x->n_kv_heads,
                            .head_dim = x->head_dim,
                            .n_classes = x->n_tables,
                            .q = &q,
                            .max_rows = x->max_rows,
                            .dtype = x->dtype};
    rig->ops->rotate_append(rig->stream, &at, &qkv, &cosines, &sines, x->key_table ? &table : NULL);
    test_down(rig, &q, &a->q);
    test_down(rig, &k, &a->k);
    test_down(rig, &v, &a->v);
    test_free_memory(rig);
}

/* The cells this op must not write are still poison; the others are near the value of `want`. */
static void assert_part(const test_image *got, const test_image *want, int64_t block, int64_t first, int64_t m,
                        double absolute, double relative)
{
    test_assert_guards(got);
    for (int64_t i = 0; i < got->rows; i++)
        for (int64_t j = 0; j < got->cols; j++) {
            double a = test_at(got, i, j), b = test_at(want, i, j);
            if (i % block < first || i % block >= first + m)
                assert_true(isnan(a));
            else if (!(fabs(a - b) <= absolute + relative * fabs(b)))
                fail_msg("[%lld][%lld] is %.9g, want %.9g", (long long)i, (long long)j, a, b);
        }
}

static void compare(test_rig *rig, test_rig *reference, const shape *x, int64_t gap)
{
    material a = material_new(x, gap);
    test_image q = test_image_copy(&a.q), k = test_image_copy(&a.k), v = test_image_copy(&a.v);
    run(reference, &a, x);
    test_assert_ok(reference);
    material other = a;
    other.q = q;
    other.k = k;
    other.v = v;
    run(rig, &other, x);
    test_assert_ok(rig);
    double relative = 1e-6 + test_rounding(x->dtype), absolute = x->dtype == KERNELS_BF16 ? 1e-4 : 2e-6;
    assert_part(&other.q, &a.q, x->max_rows, 0, x->n_rows, absolute, relative);
    assert_part(&other.k, &a.k, x->capacity, x->first, x->n_rows, absolute, relative);
    assert_part(&other.v, &a.v, x->capacity, x->first, x->n_rows, 0, 0);
    test_image_free(&other.q);
    test_image_free(&other.k);
    test_image_free(&other.v);
    material_free(&a);
}

static void test_random_shapes(void **state)
{
    (void)state;
    static const shape shapes[] = {
        /* m, n_rows, max_rows, first, capacity, tables, heads, kv heads, head_dim, key_table, dtype */
        {1, 1, 1, 0, 1, 1, 1, 1, 2, false, KERNELS_F32},       {3, 3, 5, 2, 9, 1, 4, 2, 6, false, KERNELS_F32},
        {7, 7, 7, 4, 11, 3, 6, 2, 16, true, KERNELS_F32},      {7, 7, 9, 0, 7, 3, 3, 1, 10, false, KERNELS_BF16},
        {60, 60, 64, 3, 70, 3, 16, 2, 128, true, KERNELS_F32}, {33, 33, 40, 1, 40, 1, 28, 4, 128, true, KERNELS_BF16},
        {32, 21, 32, 2, 23, 3, 4, 2, 16, true, KERNELS_F32},   {8, 0, 8, 0, 1, 1, 4, 2, 16, true, KERNELS_BF16},
    };
    test_rig reference = test_open("reference");
    TEST_EACH_BACKEND(rig)
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int gap = 0; gap <= 5; gap += 5)
            compare(&rig, &reference, &shapes[i], gap);
    test_close(&reference);
}

/* Table t's query of row i is rotate() of the projection with table t; the key that with the row's own table. */
static void test_agrees_with_rotate(void **state)
{
    (void)state;
    const shape x = {4, 4, 6, 1, 8, 3, 2, 1, 8, true, KERNELS_F32};
    TEST_EACH_BACKEND(rig)
    {
        material a = material_new(&x, 0);
        run(&rig, &a, &x);
        test_assert_ok(&rig);
        for (int64_t t = 0; t < x.n_tables; t++) {
            test_image turned = test_image_copy(&a.qkv);
            tensor on = test_up(&rig, &turned), cosines = test_up(&rig, &a.cosines), sines = test_up(&rig, &a.sines);
            tensor c = tensor_rows(&cosines, t * x.m, x.m), n = tensor_rows(&sines, t * x.m, x.m);
            rig.ops->rotate(rig.stream, &on, &c, &n, x.n_heads + x.n_kv_heads, x.head_dim);
            test_down(&rig, &on, &turned);
            test_free_memory(&rig);
            for (int64_t i = 0; i < x.m; i++) {
                for (int64_t j = 0; j < 16; j++)
                    assert_float_equal(test_at(&a.q, t * x.max_rows + i, j), test_at(&turned, i, j), 1e-6);
                for (int64_t j = 0; j < 8 && (int64_t)test_at(&a.key_table, i, 0) == t; j++)
                    assert_float_equal(test_at(&a.k, x.first + i, j), test_at(&turned, i, 16 + j), 1e-6);
                for (int64_t j = 0; j < 8; j++)
                    assert_true(test_at(&a.v, x.first + i, j) == test_at(&a.qkv, i, 24 + j));
            }
            test_image_free(&turned);
        }
        material_free(&a);
    }
}

/* Three sets of two rows, the second with one row and the third with none: each into its own page. */
static void test_sets(void **state)
{
    (void)state;
    const shape x = {6, 6, 6, 0, 4, 3, 2, 1, 8, true, KERNELS_F32};
    static const int n_rows[] = {2, 1, 0}, first[] = {1, 3, 0};
    TEST_EACH_BACKEND(rig)
    {
        material a = material_new(&x, 0), want = material_new(&x, 0);
        test_image k[3], v[3];
        kernels_descriptor d[3];
        tensor q = test_up(&rig, &a.q), qkv = test_up(&rig, &a.qkv), cosines = test_up(&rig, &a.cosines);
        tensor sines = test_up(&rig, &a.sines), table = test_up(&rig, &a.key_table), on_k[3], on_v[3];
        for (int i = 0; i < 3; i++) {
            k[i] = test_image_copy(&a.k);
            v[i] = test_image_copy(&a.v);
            on_k[i] = test_up(&rig, &k[i]);
            on_v[i] = test_up(&rig, &v[i]);
            d[i] = (kernels_descriptor){.n_rows = n_rows[i],
                                        .own_first = first[i],
                                        .own = {.k = on_k[i].data, .v = on_v[i].data, .capacity = 4}};
        }
        kernels_attention at = {.descriptors = test_put(&rig, d, sizeof d),
                                .n_sets = 3,
                                .n_heads = x.n_heads,
                                .n_kv_heads = x.n_kv_heads,
                                .head_dim = x.head_dim,
                                .n_classes = x.n_tables,
                                .q = &q,
                                .max_rows = x.max_rows,
                                .dtype = x.dtype};
        rig.ops->rotate_append(rig.stream, &at, &qkv, &cosines, &sines, &table);
        test_down(&rig, &q, &a.q);
        for (int i = 0; i < 3; i++) {
            test_down(&rig, &on_k[i], &k[i]);
            test_down(&rig, &on_v[i], &v[i]);
        }
        test_assert_ok(&rig);
        test_free_memory(&rig);
        test_image q_of_all = a.q;
        a.q = want.q; /* now all six rows as one set, into one page */
        shape one = x;
        one.capacity = 6;
        test_image_free(&a.k);
        test_image_free(&a.v);
        a.k = test_image_new(x.dtype, 6, x.head_dim, x.head_dim);
        a.v = test_image_new(x.dtype, 6, x.head_dim, x.head_dim);
        run(&rig, &a, &one);
        test_assert_ok(&rig);
        for (int i = 0; i < 3; i++)
            for (int row = 0; row < 4; row++)
                for (int j = 0; j < x.head_dim; j++) {
                    int from = row - first[i];
                    bool written = from >= 0 && from < n_rows[i];
                    assert_true(written ? test_at(&k[i], row, j) == test_at(&a.k, 2 * i + from, j)
                                        : isnan(test_at(&k[i], row, j)));
                    assert_true(written ? test_at(&v[i], row, j) == test_at(&a.v, 2 * i + from, j)
                                        : isnan(test_at(&v[i], row, j)));
                }
        for (int64_t i = 0; i < x.n_tables * x.max_rows; i++)
            for (int64_t j = 0; j < (int64_t)x.n_heads * x.head_dim; j++) {
                bool written = i % 6 % 2 < n_rows[i % 6 / 2];
                assert_true(written ? test_at(&q_of_all, i, j) == test_at(&a.q, i, j)
                                    : isnan(test_at(&q_of_all, i, j)));
            }
        want.q = q_of_all;
        material_free(&a);
        material_free(&want);
        for (int i = 0; i < 3; i++) {
            test_image_free(&k[i]);
            test_image_free(&v[i]);
        }
    }
}

static void test_does_not_fit_fails(void **state)
{
    (void)state;
    shape page_full = {4, 4, 6, 5, 8, 1, 2, 1, 8, false, KERNELS_F32},
          queries_full = {4, 4, 3, 0, 8, 1, 2, 1, 8, false, KERNELS_F32};
    shape wrong_table = {4, 4, 4, 0, 8, 3, 2, 1, 8, true, KERNELS_F32};
    TEST_EACH_BACKEND(rig)
    {
        material a = material_new(&page_full, 0);
        run(&rig, &a, &page_full);
        test_assert_failed(&rig, OMNID_SHAPE);
        material_free(&a);
        a = material_new(&queries_full, 0);
        run(&rig, &a, &queries_full);
        test_assert_failed(&rig, OMNID_SHAPE);
        material_free(&a);
        a = material_new(&wrong_table, 0);
        test_set(&a.key_table, 3, 0, 3);
        run(&rig, &a, &wrong_table);
        test_assert_failed(&rig, OMNID_SHAPE);
        material_free(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_shapes),
        cmocka_unit_test(test_agrees_with_rotate),
        cmocka_unit_test(test_sets),
        cmocka_unit_test(test_does_not_fit_fails),
    };
    return cmocka_run_group_tests_name("rotate_append", tests, NULL, NULL);
}
