/* kernels.c: views of tensors, the status of a stream. */
#include "kernels/kernels.h"

#include <stdarg.h>
#include <stdio.h>

size_t kernels_dtype_size(kernels_dtype dtype)
{
    static const size_t sizes[] = {[KERNELS_F32] = 4, [KERNELS_BF16] = 2, [KERNELS_F16] = 2,
                                   [KERNELS_I32] = 4, [KERNELS_U8] = 1,   [KERNELS_I8] = 1};
    return (unsigned)dtype < sizeof sizes / sizeof *sizes ? sizes[dtype] : 0;
}

const char *kernels_dtype_name(kernels_dtype dtype)
{
    static const char *const names[] = {[KERNELS_F32] = "f32", [KERNELS_BF16] = "bf16", [KERNELS_F16] = "f16",
                                        [KERNELS_I32] = "i32", [KERNELS_U8] = "u8",     [KERNELS_I8] = "i8"};
    return (unsigned)dtype < sizeof names / sizeof *names ? names[dtype] : "unknown";
}

tensor tensor_2d(void *data, kernels_dtype dtype, int64_t n_rows, int64_t n_cols)
{
    return (tensor){.data = data, .dtype = dtype, .n_dims = 2, .dim = {n_rows, n_cols, 1, 1}, .stride = n_cols};
}

tensor tensor_1d(void *data, kernels_dtype dtype, int64_t n)
{
    return (tensor){.data = data, .dtype = dtype, .n_dims = 1, .dim = {n, 1, 1, 1}, .stride = 1};
}

void *tensor_row(const tensor *t, int64_t i)
{
    return (char *)t->data + i * t->stride * (int64_t)kernels_dtype_size(t->dtype);
}

tensor tensor_rows(const tensor *t, int64_t first, int64_t n)
{
    tensor rows = *t;
    rows.data = first ? tensor_row(t, first) : t->data;
    rows.dim[0] = n;
    return rows;
}

kernels_attention kernels_attention_set(const kernels_attention *a, int i, tensor *q)
{
    kernels_attention one = *a;
    *q = *a->q;
    q->data = tensor_row(a->q, i * (a->max_rows / a->n_sets));
    one.q = q;
    one.descriptors += i;
    one.n_sets = 1;
    return one;
}

void kernels_stream_fail(kernels_stream *s, omnid_status status, const char *format, ...)
{
    if (s->error.status != OMNID_OK)
        return;
    va_list args;
    va_start(args, format);
    s->error.status = status;
    vsnprintf(s->error.text, sizeof s->error.text, format, args);
    va_end(args);
}

omnid_status kernels_stream_status(kernels_stream *s, omnid_error *err)
{
    omnid_status status = s->error.status;
    if (status != OMNID_OK && err)
        *err = s->error;
    s->error.status = OMNID_OK;
    s->error.text[0] = '\0';
    return status;
}
