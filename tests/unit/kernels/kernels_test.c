/* kernels_test.c: random numbers, rigs, poisoned images. */
#include "tests/unit/kernels/kernels_test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/number.h"

enum { GUARD = 64 };

static uint64_t random_state = 1;

/* Tests ask for more memory than there is: a sanitizer's malloc then has to return NULL as malloc does. */
OMNID_API const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

OMNID_API const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "allocator_may_return_null=1";
}

uint64_t test_random(void)
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

int64_t test_random_int(int64_t lo, int64_t hi)
{
    return lo + (int64_t)(test_random() % (uint64_t)(hi - lo + 1));
}

float test_random_normal(void)
{
    double u = ((double)(test_random() >> 11) + 0.5) * 0x1p-53, v = (double)(test_random() >> 11) * 0x1p-53;
    return (float)(sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v));
}

/* ---- rig ---- */

const char *const *test_backends(void)
{
    static const char *one[2];
    const kernels_ops *ops;
    omnid_error err = {0};
    one[0] = getenv("OMNID_TEST_BACKEND");
    if (!one[0])
        return kernels_names();
    omnid_status status = kernels_find(&ops, one[0], &err);
    if (status == OMNID_UNSUPPORTED) {
        printf("skipped: no GPU: %s\n", err.text);
        exit(77);
    }
    if (status != OMNID_OK)
        fail_msg("%s", err.text);
    return one;
}

test_rig test_open(const char *name)
{
    test_rig rig = {0};
    omnid_error err = {0};
    if (kernels_find(&rig.ops, name, &err) != OMNID_OK || rig.ops->open(&rig.backend, 2, &err) != OMNID_OK ||
        rig.ops->stream_open(rig.backend, &rig.stream, KERNELS_FIRST, &err) != OMNID_OK)
        fail_msg("backend %s: %s", name, err.text);
    return rig;
}

void test_free_memory(test_rig *rig)
{
    for (int i = 0; i < rig->n_memory; i++)
        rig->ops->free(rig->backend, rig->memory[i]);
    rig->n_memory = 0;
}

void test_close(test_rig *rig)
{
    test_assert_ok(rig);
    test_free_memory(rig);
    rig->ops->stream_close(&rig->stream);
    rig->ops->close(&rig->backend);
    assert_null(rig->stream);
    assert_null(rig->backend);
    rig->ops = NULL;
}

void *test_put(test_rig *rig, const void *data, size_t size)
{
    assert_true(rig->n_memory < TEST_MAX_MEMORY);
    void *to = rig->ops->alloc(rig->backend, size);
    assert_non_null(to);
    rig->memory[rig->n_memory++] = to;
    rig->ops->upload(rig->stream, to, data, size);
    return to;
}

void test_get(test_rig *rig, void *data, const void *from, size_t size)
{
    rig->ops->download(rig->stream, data, from, size);
}

void test_assert_ok(test_rig *rig)
{
    omnid_error err = {0};
    rig->ops->download(rig->stream, NULL, NULL, 0);
    if (kernels_stream_status(rig->stream, &err) != OMNID_OK)
        fail_msg("%s: %s: %s", rig->ops->name, omnid_status_name(err.status), err.text);
}

void test_assert_failed(test_rig *rig, omnid_status status)
{
    omnid_error err = {0};
    rig->ops->download(rig->stream, NULL, NULL, 0);
    assert_int_equal(kernels_stream_status(rig->stream, &err), status);
    assert_int_equal(err.status, status);
    assert_true(strlen(err.text) > 10);
    assert_int_equal(kernels_stream_status(rig->stream, &err), OMNID_OK);
}

/* ---- image ---- */

static size_t image_stride_bytes(const test_image *x)
{
    return (size_t)x->stride * kernels_dtype_size(x->dtype);
}

static size_t image_row_bytes(const test_image *x)
{
    return (size_t)x->cols * kernels_dtype_size(x->dtype);
}

static void image_view(test_image *x)
{
    x->host = tensor_2d(x->bytes + GUARD, x->dtype, x->rows, x->cols);
    x->host.stride = x->stride;
    if (x->cols == 1 && x->stride == 1)
        x->host = tensor_1d(x->bytes + GUARD, x->dtype, x->rows);
}

test_image test_image_new(kernels_dtype dtype, int64_t rows, int64_t cols, int64_t stride)
{
    test_image x = {.dtype = dtype, .rows = rows, .cols = cols, .stride = stride < cols ? cols : stride};
    x.size = 2 * GUARD + (size_t)rows * image_stride_bytes(&x);
    x.bytes = malloc(x.size);
    assert_non_null(x.bytes);
    test_poison(&x);
    image_view(&x);
    return x;
}

test_image test_image_copy(const test_image *x)
{
    test_image copy = *x;
    copy.bytes = malloc(x->size);
    assert_non_null(copy.bytes);
    memcpy(copy.bytes, x->bytes, x->size);
    image_view(&copy);
    return copy;
}

void test_image_free(test_image *x)
{
    free(x->bytes);
    x->bytes = NULL;
}

void test_poison(test_image *x)
{
    memset(x->bytes, TEST_POISON, x->size);
}

double test_at(const test_image *x, int64_t row, int64_t col)
{
    const void *data = tensor_row(&x->host, row);
    switch (x->dtype) {
    case KERNELS_F32:
        return (double)((const float *)data)[col];
    case KERNELS_BF16:
        return (double)f32_from_bf16(((const uint16_t *)data)[col]);
    case KERNELS_F16:
        return (double)f32_from_f16(((const uint16_t *)data)[col]);
    case KERNELS_I32:
        return ((const int32_t *)data)[col];
    case KERNELS_U8:
        return ((const uint8_t *)data)[col];
    case KERNELS_I8:
        return ((const int8_t *)data)[col];
    }
    return NAN;
}

void test_set(test_image *x, int64_t row, int64_t col, double value)
{
    void *data = tensor_row(&x->host, row);
    if (x->dtype == KERNELS_F32)
        ((float *)data)[col] = (float)value;
    else if (x->dtype == KERNELS_BF16)
        ((uint16_t *)data)[col] = bf16_from_f32((float)value);
    else if (x->dtype == KERNELS_F16)
        ((uint16_t *)data)[col] = f16_from_f32((float)value);
    else if (x->dtype == KERNELS_I32)
        ((int32_t *)data)[col] = (int32_t)value;
    else
        ((uint8_t *)data)[col] = (uint8_t)value;
}

void test_fill_normal(test_image *x, float scale)
{
    for (int64_t i = 0; i < x->rows; i++)
        for (int64_t j = 0; j < x->cols; j++)
            test_set(x, i, j, (double)(scale * test_random_normal()));
}

void test_fill_ints(test_image *x, int64_t lo, int64_t hi)
{
    for (int64_t i = 0; i < x->rows; i++)
        for (int64_t j = 0; j < x->cols; j++)
            test_set(x, i, j, (double)test_random_int(lo, hi));
}

tensor test_up(test_rig *rig, const test_image *x)
{
    tensor on = x->host;
    on.data = (char *)test_put(rig, x->bytes, x->size) + GUARD;
    return on;
}

void test_down(test_rig *rig, const tensor *on, test_image *x)
{
    test_get(rig, x->bytes, (const char *)on->data - GUARD, x->size);
}

/* ---- assertions ---- */

void test_assert_guards(const test_image *x)
{
    size_t rows_end = GUARD + (size_t)x->rows * image_stride_bytes(x);
    for (size_t i = 0; i < x->size; i++) {
        bool in_cell = i >= GUARD && i < rows_end && (i - GUARD) % image_stride_bytes(x) < image_row_bytes(x);
        if (!in_cell && x->bytes[i] != TEST_POISON)
            fail_msg("byte %zu of %zu outside the cells [%lld][%lld] was written", i, x->size, (long long)x->rows,
                     (long long)x->cols);
    }
}

void test_assert_close(const test_image *got, const test_image *want, double absolute, double relative)
{
    assert_int_equal(got->rows, want->rows);
    assert_int_equal(got->cols, want->cols);
    test_assert_guards(got);
    test_assert_guards(want);
    for (int64_t i = 0; i < got->rows; i++)
        for (int64_t j = 0; j < got->cols; j++) {
            double a = test_at(got, i, j), b = test_at(want, i, j);
            if (!(a == b || fabs(a - b) <= absolute + relative * fabs(b)))
                fail_msg("[%lld][%lld] is %.9g, want %.9g", (long long)i, (long long)j, a, b);
        }
}

void test_assert_same(const test_image *got, const test_image *want)
{
    assert_int_equal(got->size, want->size);
    test_assert_guards(got);
    assert_memory_equal(got->bytes, want->bytes, want->size);
}

double test_rounding(kernels_dtype dtype)
{
    return dtype == KERNELS_BF16 ? 0x1p-7 : 0; /* a value next to the middle may fall on either side */
}
