/* linear_int8.c     y = activation(x Wᵀ + b) + residual with an int8 W: few rows meet it as it is; for more, a slice of its features
 * at a time becomes a plain weight in scratch memory, whose size depends on no weight. */
#include "kernels/cuda/cuda.h"

/* A slice is written, then read once for each tile of rows: it has to stay in an L2 of 40 MB and more, beside x and y. */
enum { SLICE_BYTES = 32 << 20, SLICE_FEATURES = 128 /* a slice has a multiple of this */ };

/* Columns first .. first + n - 1. */
static tensor columns(const tensor *t, int64_t first, int64_t n)
{
    tensor part = *t;
    part.data = (char *)t->data + (size_t)first * kernels_dtype_size(t->dtype);
    part.dim[1] = n;
    return part;
}

static void *past(void *data, int64_t n, kernels_dtype dtype)
{
    return data ? (char *)data + (size_t)n * kernels_dtype_size(dtype) : NULL;
}

static void multiply_slice(kernels_stream *s, tensor *y, const tensor *x, const kernels_weight *w, int64_t first,
                           int64_t n, kernels_activation activation, const tensor *residual, void *scratch,
                           size_t reserved)
{
    kernels_weight slice = {.n = n,
                            .k = w->k,
                            .stride = kernels_int8_numbers(w->k),
                            .dtype = x->dtype,
                            .w = scratch,
                            .bias = past(w->bias, first, KERNELS_F32),
                            .bias_bf16 = past(w->bias_bf16, first, KERNELS_BF16)};
    tensor to = columns(y, first, n), added;
    if (residual)
        added = columns(residual, first, n);
    cuda_int8_widen(s, scratch, x->dtype, (const char *)w->w + first * w->stride, n, w->k);
    cuda_linear_plain(s, &to, x, &slice, activation, residual ? &added : NULL, reserved);
}

void cuda_linear_int8(kernels_stream *s, tensor *y, const tensor *x, const kernels_weight *w,
                      kernels_activation activation, const tensor *residual)
{
    if (cuda_int8_in_tiles(x)) {
        cuda_int8_tiles(s, y, x, w, activation, residual);
        return;
    }
    if (x->dim[0] <= CUDA_TILE_ROWS) {
        cuda_linear_few_rows(s, y, x, w, activation, residual);
        return;
    }
    int64_t row = kernels_int8_numbers(w->k) * (int64_t)kernels_dtype_size(x->dtype);
    int64_t at_once = SLICE_BYTES / row / SLICE_FEATURES * SLICE_FEATURES;
    at_once = at_once < SLICE_FEATURES ? SLICE_FEATURES : at_once;
    at_once = at_once < w->n ? at_once : w->n;
    size_t reserved = cuda_aligned((size_t)(at_once * row));
    /* Sums too, so that a slice's own request does not move the scratch memory. */
    void *scratch = cuda_scratch_take(s, reserved + (size_t)(x->dim[0] * at_once) * sizeof(float));
    for (int64_t first = 0; scratch && first < w->n; first += at_once)
        multiply_slice(s, y, x, w, first, w->n - first < at_once ? w->n - first : at_once, activation, residual,
                       scratch, reserved);
}
