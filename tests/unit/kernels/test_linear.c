/* test_linear.c: every backend against the reference: odd sizes, one row and many, parts of every type, every precision,
 * bias, GELU, a residual that is y itself or another tensor, rows further apart than they are long. */
#include "kernels/int8.h"
#include "tests/unit/kernels/kernels_test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PARTS = 3 };

typedef struct {
    int64_t m, k;
    int n_parts;
    int64_t n[MAX_PARTS];
    kernels_dtype part_dtype[MAX_PARTS];
    bool bias[MAX_PARTS];
    kernels_precision precision;
    kernels_dtype x_dtype; /* of an int8 weight; a plain one has its own */
    kernels_dtype y_dtype;
    kernels_activation activation;
    int residual; /* 0: none, 1: another tensor, 2: y itself */
    int gap;
} shape;

static int64_t shape_n(const shape *s)
{
    int64_t n = 0;
    for (int i = 0; i < s->n_parts; i++)
        n += s->n[i];
    return n;
}

typedef struct {
    test_image w[MAX_PARTS], b[MAX_PARTS], x, residual, y;
} data;

static kernels_dtype x_dtype(const shape *s)
{
    return s->precision == KERNELS_INT8 ? s->x_dtype : s->precision == KERNELS_PLAIN_BF16 ? KERNELS_BF16 : KERNELS_F32;
}

static data data_new(const shape *s)
{
    data d = {.x = test_image_new(x_dtype(s), s->m, s->k, s->k + s->gap)};
    int64_t n = shape_n(s);
    for (int i = 0; i < s->n_parts; i++) {
        d.w[i] = test_image_new(s->part_dtype[i], s->n[i], s->k, 0);
        d.b[i] = test_image_new(s->part_dtype[i], s->n[i], 1, 1);
        test_fill_normal(&d.w[i], 1 / sqrtf((float)s->k));
        test_fill_normal(&d.b[i], 0.5f);
    }
    test_fill_normal(&d.x, 1);
    d.residual = test_image_new(KERNELS_F32, s->m, n, n + 2 * s->gap);
    test_fill_normal(&d.residual, 1);
    d.y = test_image_new(s->y_dtype, s->m, n, n + s->gap);
    if (s->residual == 2)
        test_fill_normal(&d.y, 1);
    return d;
}

static void data_free(const shape *s, data *d)
{
    for (int i = 0; i < s->n_parts; i++) {
        test_image_free(&d->w[i]);
        test_image_free(&d->b[i]);
    }
    test_image_free(&d->x);
    test_image_free(&d->residual);
    test_image_free(&d->y);
}

static kernels_weight *pack(test_rig *rig, const shape *s, const data *d)
{
    kernels_part parts[MAX_PARTS];
    for (int i = 0; i < s->n_parts; i++)
        parts[i] = (kernels_part){.data = d->w[i].host.data,
                                  .dtype = s->part_dtype[i],
                                  .n = s->n[i],
                                  .bias = s->bias[i] ? d->b[i].host.data : NULL};
    omnid_error err;
    kernels_weight *w = NULL;
    if (rig->ops->pack(rig->backend, &w, parts, s->n_parts, s->k, s->precision, &err) != OMNID_OK)
        fail_msg("pack: %s", err.text);
    return w;
}

/* A weight of the reference that holds the int8 weight's q scale, rounded to bf16. */
static kernels_weight *pack_rounded(test_rig *reference, const shape *s, const data *d)
{
    shape rounded = *s;
    data r = {0};
    int8_t *row = malloc((size_t)kernels_int8_stride(s->k));
    assert_non_null(row);
    rounded.precision = KERNELS_PLAIN_BF16;
    for (int i = 0; i < s->n_parts; i++) {
        rounded.part_dtype[i] = KERNELS_F32;
        r.w[i] = test_image_new(KERNELS_F32, s->n[i], s->k, 0);
        r.b[i] = test_image_new(KERNELS_F32, s->n[i], 1, 1);
        for (int64_t j = 0; j < s->n[i]; j++) {
            kernels_int8_rows(row, tensor_row(&d->w[i].host, j), s->part_dtype[i], 1, s->k);
            for (int64_t c = 0; c < s->k; c++)
                test_set(&r.w[i], j, c, (double)int8_value(row, s->k, c));
            test_set(&r.b[i], j, 0, test_at(&d->b[i], j, 0));
        }
    }
    kernels_weight *w = pack(reference, &rounded, &r);
    for (int i = 0; i < s->n_parts; i++) {
        test_image_free(&r.w[i]);
        test_image_free(&r.b[i]);
    }
    free(row);
    return w;
}

static void run(test_rig *rig, const shape *s, const data *d, const kernels_weight *w, test_image *y)
{
    tensor x = test_up(rig, &d->x), residual = test_up(rig, &d->residual), on_y = test_up(rig, y);
    kernels_epilogue e = {.activation = s->activation,
                          .residual = s->residual == 2 ? &on_y
                                      : s->residual    ? &residual
                                                       : NULL};
    bool plain = !s->residual && s->activation == KERNELS_LINEAR;
    rig->ops->linear(rig->stream, &on_y, &x, w, plain ? NULL : &e);
    test_down(rig, &on_y, y);
    test_free_memory(rig);
}

static bool all_near(const test_image *got, const test_image *want, double absolute, double relative)
{
    for (int64_t i = 0; i < got->rows; i++)
        for (int64_t j = 0; j < got->cols; j++)
            if (!(fabs(test_at(got, i, j) - test_at(want, i, j)) <= absolute + relative * fabs(test_at(want, i, j))))
                return false;
    return true;
}

/* Bytes that packed weights of this shape have at least. */
static size_t least_bytes(const shape *s)
{
    static const size_t size[] = {[KERNELS_PLAIN_F32] = 4, [KERNELS_PLAIN_BF16] = 2, [KERNELS_INT8] = 1};
    return (size_t)(shape_n(s) * s->k) * size[s->precision];
}

/* The reference multiplies by q scale itself; where x is bf16 a backend may round that to bf16 first, but then everywhere. */
static void compare(test_rig *rig, test_rig *reference, const shape *s)
{
    const double relative = 1e-5 + test_rounding(s->y_dtype);
    data d = data_new(s);
    test_image got = test_image_copy(&d.y), want = test_image_copy(&d.y);
    kernels_weight *w = pack(rig, s, &d), *want_w = pack(reference, s, &d);
    assert_true(rig->ops->weight_bytes(w) >= least_bytes(s));
    run(reference, s, &d, want_w, &want);
    run(rig, s, &d, w, &got);
    test_assert_ok(rig);
    test_assert_ok(reference);
    if (s->precision == KERNELS_INT8 && x_dtype(s) == KERNELS_BF16 && !all_near(&got, &want, 1e-5, relative)) {
        reference->ops->weight_free(reference->backend, &want_w);
        want_w = pack_rounded(reference, s, &d);
        test_image_free(&want);
        want = test_image_copy(&d.y);
        run(reference, s, &d, want_w, &want);
    }
    test_assert_close(&got, &want, 1e-5, relative);
    rig->ops->weight_free(rig->backend, &w);
    reference->ops->weight_free(reference->backend, &want_w);
    assert_null(w);
    rig->ops->weight_free(rig->backend, &w); /* nothing: harmless */
    test_image_free(&got);
    test_image_free(&want);
    data_free(s, &d);
}

static shape random_shape(void)
{
    static const kernels_dtype dtypes[] = {KERNELS_F32, KERNELS_BF16, KERNELS_F16};
    shape s = {.k = test_random_int(1, 200), .n_parts = (int)test_random_int(1, MAX_PARTS)};
    s.m = test_random_int(0, 2) ? test_random_int(1, 70) : 1;
    for (int i = 0; i < s.n_parts; i++) {
        s.n[i] = test_random_int(1, test_random_int(0, 1) ? 40 : 300);
        s.part_dtype[i] = dtypes[test_random_int(0, 2)];
        s.bias[i] = test_random_int(0, 1);
    }
    s.precision = test_random_int(0, 2) ? KERNELS_PLAIN_F32 : KERNELS_PLAIN_BF16;
    s.y_dtype = test_random_int(0, 2) ? KERNELS_F32 : KERNELS_BF16;
    s.activation = test_random_int(0, 1) ? KERNELS_GELU : KERNELS_LINEAR;
    s.residual = (int)test_random_int(0, s.y_dtype == KERNELS_F32 ? 2 : 1);
    s.gap = test_random_int(0, 1) ? (int)test_random_int(1, 9) : 0;
    return s;
}

static void test_random_int8_shapes(void **state)
{
    (void)state;
    test_rig reference = test_open("reference");
    TEST_EACH_BACKEND(rig)
    for (int i = 0; i < 80; i++) {
        shape s = random_shape();
        s.precision = KERNELS_INT8;
        s.x_dtype = i % 2 ? KERNELS_BF16 : KERNELS_F32;
        s.k = i % 3 ? s.k : test_random_int(1, 40) * 16; /* some in whole packs */
        s.m = i % 5 ? s.m : test_random_int(1, 40);
        compare(&rig, &reference, &s);
    }
    test_close(&reference);
}

/* Every number of rows about the few, groups of k that end early, features that end inside a block of the backend's. */
static void test_int8_rows_and_groups(void **state)
{
    (void)state;
    static const int64_t ks[] = {16, 128, 136, 320, 1000}, ns[] = {1, 15, 48, 65};
    test_rig reference = test_open("reference");
    TEST_EACH_BACKEND(rig)
    for (int64_t m = 1; m <= 40; m += m < 34 ? 1 : 6)
        for (int i = 0; i < 2; i++) {
            shape s = {.m = m,
                       .k = ks[(m + i) % 5],
                       .n_parts = 1,
                       .n = {ns[m % 4]},
                       .part_dtype = {KERNELS_BF16},
                       .bias = {m % 3 == 0},
                       .precision = KERNELS_INT8,
                       .x_dtype = i ? KERNELS_BF16 : KERNELS_F32,
                       .y_dtype = m % 5 == 0 ? KERNELS_BF16 : KERNELS_F32,
                       .activation = m % 7 == 0 ? KERNELS_GELU : KERNELS_LINEAR,
                       .residual = m % 5 == 0 ? (int)(m % 2) : (int)(m % 3),
                       .gap = m % 2 ? 8 : 0};
            compare(&rig, &reference, &s);
        }
    test_close(&reference);
}

static void test_random_shapes(void **state)
{
    (void)state;
    test_rig reference = test_open("reference");
    TEST_EACH_BACKEND(rig)
    for (int i = 0; i < 50; i++) {
        shape s = random_shape();
        compare(&rig, &reference, &s);
    }
    test_close(&reference);
}

/* Parts longer than one portion of the packing, so that a portion begins inside a part and ends inside the next. */
static void test_large_parts(void **state)
{
    (void)state;
    test_rig reference = test_open("reference");
    TEST_EACH_BACKEND(rig)
    for (int i = 0; i < 4; i++) {
        static const kernels_precision precisions[] = {KERNELS_PLAIN_F32, KERNELS_PLAIN_BF16, KERNELS_INT8};
        shape s = {.m = i < 3 ? 3 : 33,
                   .k = 129,
                   .n_parts = 3,
                   .n = {1000, 17, 1300},
                   .part_dtype = {KERNELS_BF16, KERNELS_F32, KERNELS_F16},
                   .bias = {true, false, true},
                   .precision = precisions[i < 3 ? i : 2],
                   .x_dtype = KERNELS_BF16};
        compare(&rig, &reference, &s);
        if (i == 3)
            continue;
        s.m = 1;
        s.residual = 2;
        compare(&rig, &reference, &s);
    }
    test_close(&reference);
}

/* Rows of whole 16-byte packs, as the models' are: every activation, residual and type of y. */
static void test_whole_packs(void **state)
{
    (void)state;
    static const int64_t rows[] = {1, 3, 4, 33};
    test_rig reference = test_open("reference");
    TEST_EACH_BACKEND(rig)
    for (int i = 0; i < 4 * 2 * 2 * 2 * 3; i++) {
        shape s = {.m = rows[i % 4],
                   .k = 64,
                   .n_parts = 1,
                   .n = {48},
                   .part_dtype = {KERNELS_BF16},
                   .bias = {true},
                   .precision = i / 4 % 2 ? KERNELS_PLAIN_BF16 : KERNELS_PLAIN_F32,
                   .y_dtype = i / 8 % 2 ? KERNELS_BF16 : KERNELS_F32,
                   .activation = i / 16 % 2 ? KERNELS_GELU : KERNELS_LINEAR,
                   .residual = i / 32};
        if (s.residual < 2 || s.y_dtype == KERNELS_F32)
            compare(&rig, &reference, &s);
    }
    test_close(&reference);
}

/* bf16 and int8 rows by the tile: every number of rows, features and columns that end inside a tile, so many features that a
 * backend may take larger tiles, so many columns that it may share them out. */
static void test_tiles(void **state)
{
    (void)state;
    static const int64_t ks[] = {8, 72, 264, 1040, 2184}, ns[] = {1, 40, 64, 130, 1100};
    test_rig reference = test_open("reference");
    TEST_EACH_BACKEND(rig)
    for (int64_t m = 5; m <= 34; m++)
        for (int i = 0; i < 2; i++) {
            int64_t n = ns[(m + 2 * i) % 5];
            shape s = {.m = m,
                       .k = n > 1000 ? ks[m % 3] : ks[(m / 5 + i) % 5],
                       .n_parts = 1,
                       .n = {n},
                       .part_dtype = {m % 2 ? KERNELS_BF16 : KERNELS_F32},
                       .bias = {m % 3 == 0},
                       .precision = i ? KERNELS_INT8 : KERNELS_PLAIN_BF16,
                       .x_dtype = KERNELS_BF16,
                       .y_dtype = m % 4 == 0 ? KERNELS_BF16 : KERNELS_F32,
                       .activation = m % 7 == 0 ? KERNELS_GELU : KERNELS_LINEAR,
                       .residual = m % 4 == 0 ? (int)(m % 2) : (int)(m % 3),
                       .gap = m % 2 ? 8 : 0};
            compare(&rig, &reference, &s);
        }
    test_close(&reference);
}

/* Rows so long and features so few that a backend shares a feature out, and rows that end inside a share. */
static void test_long_rows(void **state)
{
    (void)state;
    static const int64_t ks[] = {1024, 2048, 2056, 3584, 4112, 8208, 4099};
    test_rig reference = test_open("reference");
    TEST_EACH_BACKEND(rig)
    for (int i = 0; i < 7 * 4; i++) {
        shape s = {.m = (int64_t[]){1, 3, 1, 4}[i % 4],
                   .k = ks[i / 4],
                   .n_parts = 1,
                   .n = {i % 3 ? 5 : 17},
                   .part_dtype = {KERNELS_BF16},
                   .bias = {i % 2 == 0},
                   .precision = (kernels_precision[]){KERNELS_PLAIN_BF16, KERNELS_PLAIN_F32, KERNELS_INT8}[i % 3],
                   .x_dtype = i % 2 ? KERNELS_BF16 : KERNELS_F32,
                   .y_dtype = i % 5 ? KERNELS_F32 : KERNELS_BF16,
                   .residual = i % 5 ? i % 3 : 0};
        compare(&rig, &reference, &s);
    }
    test_close(&reference);
}

/* One packed weight serves every number of rows, and its products agree row by row with those of one row. */
static void test_one_weight_any_rows(void **state)
{
    (void)state;
    TEST_EACH_BACKEND(rig)
    for (int int8 = 0; int8 < 2; int8++) {
        shape s = {.m = 400,
                   .k = 96,
                   .n_parts = 1,
                   .n = {160},
                   .bias = {true},
                   .gap = 3,
                   .precision = int8 ? KERNELS_INT8 : KERNELS_PLAIN_F32};
        data d = data_new(&s);
        kernels_weight *w = pack(&rig, &s, &d);
        test_image single = test_image_new(KERNELS_F32, 400, 160, 163);
        tensor x = test_up(&rig, &d.x), y1 = test_up(&rig, &single), y = test_up(&rig, &d.y);
        for (int64_t i = 0; i < 400; i++) {
            tensor x_row = tensor_rows(&x, i, 1), y_row = tensor_rows(&y1, i, 1);
            rig.ops->linear(rig.stream, &y_row, &x_row, w, NULL);
        }
        test_down(&rig, &y1, &single);
        for (int64_t m = 2; m <= 400; m = m * 5 / 4 + 1) {
            tensor xs = tensor_rows(&x, 0, m), ys = tensor_rows(&y, 0, m);
            rig.ops->linear(rig.stream, &ys, &xs, w, NULL);
            test_down(&rig, &y, &d.y);
            for (int64_t i = 0; i < m; i++)
                for (int64_t j = 0; j < 160; j++)
                    assert_float_equal(test_at(&d.y, i, j), test_at(&single, i, j), 2e-5);
        }
        test_assert_guards(&d.y);
        rig.ops->weight_free(rig.backend, &w);
        test_free_memory(&rig);
        test_image_free(&single);
        data_free(&s, &d);
    }
}

static void test_wrong_shape_fails(void **state)
{
    (void)state;
    TEST_EACH_BACKEND(rig)
    {
        shape s = {.m = 3, .k = 10, .n_parts = 1, .n = {4}};
        data d = data_new(&s);
        kernels_weight *w = pack(&rig, &s, &d);
        s.k = 11;
        data wrong = data_new(&s);
        run(&rig, &s, &wrong, w, &wrong.y);
        test_assert_failed(&rig, OMNID_SHAPE);
        kernels_weight *none = NULL;
        omnid_error err;
        kernels_part part = {.data = d.w[0].host.data, .dtype = KERNELS_F32, .n = 0};
        assert_int_equal(rig.ops->pack(rig.backend, &none, &part, 1, 10, KERNELS_PLAIN_F32, &err), OMNID_ARGUMENT);
        assert_null(none);
        rig.ops->weight_free(rig.backend, &w);
        data_free(&s, &wrong);
        data_free(&s, &d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_shapes),
        cmocka_unit_test(test_large_parts),
        cmocka_unit_test(test_random_int8_shapes),
        cmocka_unit_test(test_int8_rows_and_groups),
        cmocka_unit_test(test_whole_packs),
        cmocka_unit_test(test_one_weight_any_rows),
        cmocka_unit_test(test_tiles),
        cmocka_unit_test(test_long_rows),
        cmocka_unit_test(test_wrong_shape_fails),
    };
    return cmocka_run_group_tests_name("linear", tests, NULL, NULL);
}
