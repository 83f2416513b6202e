/* test_encoder_attention.c: every backend against the reference over spans of every length, the encoders' own shapes, and
 * a saliency that adds up to one in each span. */
#include "tests/unit/kernels/kernels_test.h"

#include <string.h>

enum { MAX_SPANS = 40 };

typedef struct {
    int n_heads, head_dim, n_spans;
    int32_t spans[MAX_SPANS + 1];
    int64_t n; /* rows */
} shape;

static void run(test_rig *rig, test_image *y, test_image *saliency, const test_image *qkv, const shape *s)
{
    tensor on_y = test_up(rig, y), on_x = test_up(rig, qkv), on_saliency;
    if (saliency)
        on_saliency = test_up(rig, saliency);
    rig->ops->encoder_attention(rig->stream, &on_y, &on_x, s->n_heads, s->head_dim, s->spans, s->n_spans,
                                saliency ? &on_saliency : NULL);
    test_down(rig, &on_y, y);
    if (saliency)
        test_down(rig, &on_saliency, saliency);
    test_free_memory(rig);
}

static void compare(test_rig *rig, test_rig *reference, const shape *s, kernels_dtype dtype, int gap)
{
    int64_t d = (int64_t)s->n_heads * s->head_dim;
    test_image qkv = test_image_new(dtype, s->n, 3 * d, 3 * d + gap);
    test_fill_normal(&qkv, 1.5f);
    test_image y = test_image_new(dtype, s->n, d, d + gap), want = test_image_copy(&y);
    test_image seen = test_image_new(KERNELS_F32, s->n, 1, 1), want_seen = test_image_copy(&seen);
    bool salient = test_random_int(0, 1);
    run(reference, &want, salient ? &want_seen : NULL, &qkv, s);
    run(rig, &y, salient ? &seen : NULL, &qkv, s);
    test_assert_ok(rig);
    bool rounds = dtype == KERNELS_BF16 && rig->ops->native_precision(rig->backend) == KERNELS_PLAIN_BF16;
    test_assert_close(&y, &want, rounds ? 2e-2 : 5e-6, 1e-5 + test_rounding(dtype));
    if (salient)
        test_assert_close(&seen, &want_seen, 1e-8, 2e-5);
    test_image_free(&qkv);
    test_image_free(&y);
    test_image_free(&want);
    test_image_free(&seen);
    test_image_free(&want_seen);
}

static shape random_shape(void)
{
    shape s = {.n_heads = (int)test_random_int(1, 6), .head_dim = (int)test_random_int(1, 90)};
    s.n_spans = (int)test_random_int(1, 9);
    for (int i = 0; i < s.n_spans; i++) {
        int64_t n = test_random_int(0, 3) ? test_random_int(1, 70) : test_random_int(1, 200);
        s.spans[i + 1] = s.spans[i] + (int32_t)n;
    }
    s.n = s.spans[s.n_spans];
    return s;
}

static void test_random_shapes(void **state)
{
    (void)state;
    test_rig reference = test_open("reference");
    TEST_EACH_BACKEND(rig)
    for (int i = 0; i < 40; i++) {
        shape s = random_shape();
        compare(&rig, &reference, &s, test_random_int(0, 1) ? KERNELS_F32 : KERNELS_BF16, i % 2 ? 5 : 0);
    }
    test_close(&reference);
}

/* Vision windows and full blocks, audio blocks. */
static void test_encoder_shapes(void **state)
{
    (void)state;
    test_rig reference = test_open("reference");
    shape windows = {.n_heads = 16, .head_dim = 80, .n_spans = 9, .n = 576};
    for (int i = 0; i < 9; i++)
        windows.spans[i + 1] = 64 * (i + 1);
    shape full = {.n_heads = 4, .head_dim = 80, .n_spans = 1, .spans = {0, 576}, .n = 576};
    shape audio = {.n_heads = 20, .head_dim = 64, .n_spans = 2, .spans = {0, 100, 160}, .n = 160};
    TEST_EACH_BACKEND(rig)
    for (int bf16 = 0; bf16 < 2; bf16++) {
        kernels_dtype dtype = bf16 ? KERNELS_BF16 : KERNELS_F32;
        compare(&rig, &reference, &windows, dtype, 0);
        compare(&rig, &reference, &full, dtype, 0);
        compare(&rig, &reference, &audio, dtype, 0);
    }
    test_close(&reference);
}

static void test_saliency_adds_up_to_one(void **state)
{
    (void)state;
    shape s = {.n_heads = 3, .head_dim = 24, .n_spans = 3, .spans = {0, 1, 150, 200}, .n = 200};
    int64_t d = (int64_t)s.n_heads * s.head_dim;
    TEST_EACH_BACKEND(rig)
    {
        test_image qkv = test_image_new(KERNELS_F32, s.n, 3 * d, 0), y = test_image_new(KERNELS_F32, s.n, d, 0);
        test_image seen = test_image_new(KERNELS_F32, s.n, 1, 1);
        test_fill_normal(&qkv, 2);
        run(&rig, &y, &seen, &qkv, &s);
        for (int i = 0; i < s.n_spans; i++) {
            double sum = 0;
            for (int32_t j = s.spans[i]; j < s.spans[i + 1]; j++)
                sum += test_at(&seen, j, 0);
            assert_float_equal(sum, 1, 1e-5);
        }
        test_image_free(&qkv);
        test_image_free(&y);
        test_image_free(&seen);
    }
}

/* Rows of no span stay as they are; a span without rows is nothing. */
static void test_rows_outside_spans(void **state)
{
    (void)state;
    shape s = {.n_heads = 2, .head_dim = 8, .n_spans = 2, .spans = {3, 3, 7}, .n = 10};
    int64_t d = (int64_t)s.n_heads * s.head_dim;
    TEST_EACH_BACKEND(rig)
    {
        test_image qkv = test_image_new(KERNELS_F32, s.n, 3 * d, 0), y = test_image_new(KERNELS_F32, s.n, d, 0);
        test_fill_normal(&qkv, 1);
        run(&rig, &y, NULL, &qkv, &s);
        for (int64_t i = 0; i < s.n; i++) {
            float x;
            memcpy(&x, tensor_row(&y.host, i), sizeof x);
            assert_int_equal(x == x, i >= 3 && i < 7);
        }
        test_image_free(&qkv);
        test_image_free(&y);
    }
}

static void test_wrong_shape_fails(void **state)
{
    (void)state;
    shape s = {.n_heads = 2, .head_dim = 8, .n_spans = 1, .spans = {0, 11}, .n = 10};
    TEST_EACH_BACKEND(rig)
    {
        test_image qkv = test_image_new(KERNELS_F32, 10, 48, 0), y = test_image_new(KERNELS_F32, 10, 16, 0);
        test_fill_normal(&qkv, 1);
        run(&rig, &y, NULL, &qkv, &s); /* a span past the rows */
        test_assert_failed(&rig, OMNID_SHAPE);
        s.spans[1] = 10;
        s.n_heads = 3;
        run(&rig, &y, NULL, &qkv, &s);
        test_assert_failed(&rig, OMNID_SHAPE);
        s = (shape){.n_heads = 2, .head_dim = 8, .n_spans = 1, .spans = {0, 11}, .n = 10};
        test_image_free(&qkv);
        test_image_free(&y);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_shapes),           cmocka_unit_test(test_encoder_shapes),
        cmocka_unit_test(test_saliency_adds_up_to_one), cmocka_unit_test(test_rows_outside_spans),
        cmocka_unit_test(test_wrong_shape_fails),
    };
    return cmocka_run_group_tests_name("encoder_attention", tests, NULL, NULL);
}
