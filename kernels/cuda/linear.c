/* linear.c     y = activation(x Wᵀ + b) + residual: packing weights, and who multiplies: cuBLASLt with as much of the epilogue
 * as it has, or for few rows own kernels that read each weight once at the memory's speed. */
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/cuda.h"
#include "kernels/number.h"

enum { FEW_ROWS = 4, PACK_PIECE = 32 << 20 };

/* ---- packing ---- */

static float bias_at(const kernels_part *part, int64_t i)
{
    if (!part->bias)
        return 0;
    if (part->dtype == KERNELS_F32)
        return ((const float *)part->bias)[i];
    uint16_t bits = ((const uint16_t *)part->bias)[i];
    return part->dtype == KERNELS_BF16 ? f32_from_bf16(bits) : f32_from_f16(bits);
}

/* b [n] as float32 and, where that is exact, as bf16. False: the stream has failed. */
static bool pack_bias(kernels_stream *s, kernels_weight *w, const kernels_part *parts, int n_parts)
{
    bool any = false, exact = true;
    for (int i = 0; i < n_parts; i++)
        any = any || parts[i].bias;
    if (!any)
        return true;
    float *bias = malloc((size_t)w->n * sizeof *bias);
    uint16_t *rounded = malloc((size_t)w->n * sizeof *rounded);
    int64_t to = 0;
    for (int i = 0; bias && rounded && i < n_parts; i++)
        for (int64_t j = 0; j < parts[i].n; j++, to++) {
            bias[to] = bias_at(&parts[i], j);
            rounded[to] = bf16_from_f32(bias[to]);
            exact = exact && f32_from_bf16(rounded[to]) == bias[to];
        }
    size_t bytes = (size_t)w->n * sizeof *bias;
    if (bias && rounded)
        w->bias = cuda_alloc(s->backend, bytes);
    if (w->bias && exact)
        w->bias_bf16 = cuda_alloc(s->backend, bytes / 2);
    if (!w->bias || (exact && !w->bias_bf16))
        kernels_stream_fail(s, OMNID_NOMEM, "cuda backend: no memory for a bias of %lld", (long long)w->n);
    if (w->bias)
        cuda_upload(s, w->bias, bias, bytes);
    if (w->bias_bf16)
        cuda_upload(s, w->bias_bf16, rounded, bytes / 2);
    w->bytes += bytes + (exact ? bytes / 2 : 0);
    free(bias);
    free(rounded);
    return s->error.status == OMNID_OK;
}

/* Rows of a part to the weight's rows from `first` on, in pieces through scratch memory where they have to be converted. */
static void pack_part(kernels_stream *s, kernels_weight *w, const kernels_part *part, int64_t first)
{
    size_t size = kernels_dtype_size(w->dtype), from_row = (size_t)w->k * kernels_dtype_size(part->dtype);
    char *to = (char *)w->w + (size_t)(first * w->stride) * size;
    const char *from = part->data;
    if (part->dtype == w->dtype && w->k == w->stride) {
        cuda_upload(s, to, from, (size_t)part->n * from_row);
        return;
    }
    int64_t at_once = PACK_PIECE / (int64_t)from_row > 1 ? PACK_PIECE / (int64_t)from_row : 1;
    for (int64_t row = 0; row < part->n && s->error.status == OMNID_OK; row += at_once) {
        int64_t n = part->n - row < at_once ? part->n - row : at_once;
        void *piece = cuda_scratch_take(s, (size_t)n * from_row);
        if (!piece)
            return;
        cuda_upload(s, piece, from + (size_t)row * from_row, (size_t)n * from_row);
        cuda_pack_rows(s, to + (size_t)(row * w->stride) * size, w->dtype, w->stride, piece, part->dtype, n, w->k);
    }
}

/* The same into stored int8 rows, which the host makes. */
static void pack_part_int8(kernels_stream *s, kernels_weight *w, const kernels_part *part, int64_t first)
{
    size_t from_row = (size_t)w->k * kernels_dtype_size(part->dtype);
    int64_t at_once = PACK_PIECE / w->stride > 1 ? PACK_PIECE / w->stride : 1;
    at_once = at_once < part->n ? at_once : part->n;
    char *rows = malloc((size_t)(at_once * w->stride));
    if (!rows)
        kernels_stream_fail(s, OMNID_NOMEM, "cuda backend: no memory for %lld bytes of int8 rows",
                            (long long)(at_once * w->stride));
    for (int64_t row = 0; row < part->n && s->error.status == OMNID_OK; row += at_once) {
        int64_t n = part->n - row < at_once ? part->n - row : at_once;
        kernels_int8_rows(rows, (const char *)part->data + (size_t)row * from_row, part->dtype, n, w->k);
        cuda_upload(s, (char *)w->w + (first + row) * w->stride, rows, (size_t)(n * w->stride));
    }
    free(rows);
}

static void pack_shape(kernels_weight *w, int64_t n, int64_t k, kernels_precision precision)
{
    w->dtype = precision == KERNELS_INT8 ? KERNELS_I8 : precision == KERNELS_PLAIN_BF16 ? KERNELS_BF16 : KERNELS_F32;
    int64_t size = (int64_t)kernels_dtype_size(w->dtype), pack = 16 / size;
    w->n = n;
    w->k = k;
    w->stride = precision == KERNELS_INT8 ? kernels_int8_stride(k) : (k + pack - 1) / pack * pack;
    w->bytes = (size_t)(n * w->stride * size);
}

omnid_status cuda_pack(kernels_backend *b, kernels_weight **out, const kernels_part *parts, int n_parts, int64_t k,
                       kernels_precision precision, omnid_error *err)
{
    kernels_stream *s = &b->loader->base;
    int64_t n = 0, first = 0;
    *out = NULL;
    for (int i = 0; i < n_parts; i++)
        n += parts[i].n;
    if (n <= 0 || k <= 0)
        return omnid_fail(err, OMNID_ARGUMENT, "weight is [%lld][%lld], want one row and column at least", (long long)n,
                          (long long)k);
    kernels_weight *w = calloc(1, sizeof *w);
    if (!w)
        return omnid_fail(err, OMNID_NOMEM, "cuda backend: no memory for %zu bytes", sizeof *w);
    pack_shape(w, n, k, precision);
    w->w = cuda_alloc(b, w->bytes);
    if (!w->w)
        kernels_stream_fail(s, OMNID_NOMEM, "cuda backend: no memory for a weight [%lld][%lld] on %s", (long long)n,
                            (long long)k, b->name);
    for (int i = 0; i < n_parts && s->error.status == OMNID_OK; first += parts[i++].n)
        (precision == KERNELS_INT8 ? pack_part_int8 : pack_part)(s, w, &parts[i], first);
    if (s->error.status == OMNID_OK && pack_bias(s, w, parts, n_parts))
        cuda_wait(s); /* other streams may use it at once */
    omnid_status status = kernels_stream_status(s, err);
    if (status != OMNID_OK)
        cuda_weight_free(b, &w);
    *out = w;
    return status;
}

void cuda_weight_free(kernels_backend *b, kernels_weight **w)
{
    if (*w) {
        cuda_free(b, (*w)->w);
        cuda_free(b, (*w)->bias);
        cuda_free(b, (*w)->bias_bf16);
    }
    free(*w);
    *w = NULL;
}

size_t cuda_weight_bytes(const kernels_weight *w)
{
    return sizeof *w + w->bytes;
}

/* ---- multiplying ---- */

/* A whole linear with a plain weight. */
typedef struct {
    const tensor *y, *x;
    const kernels_weight *w;
    kernels_activation activation;
    const tensor *residual;
} call;

/* As a rival of cuBLASLt. */
static void run_tiles(kernels_stream *s, const void *what, void *y, size_t reserved)
{
    const call *c = what;
    tensor to = *c->y;
    to.data = y;
    cuda_bf16_tiles(s, &to, c->x, c->w, c->activation, c->residual, reserved);
}

/* By cuBLASLt alone, or in tiles: no activation, and a bias and residual that it can add. */
static bool multiply_whole(kernels_stream *s, cuda_product p, const call *c)
{
    const kernels_weight *w = c->w;
    const cuda_rival tiles = {run_tiles, c};
    bool narrow = p.y_dtype == KERNELS_BF16;
    if (c->activation != KERNELS_LINEAR ||
        (narrow && (p.dtype != KERNELS_BF16 || c->residual || (w->bias && !w->bias_bf16))))
        return false;
    p.bias = narrow ? w->bias_bf16 : w->bias;
    p.residual = c->residual ? c->residual->data : NULL;
    p.residual_stride = c->residual ? c->residual->stride : 0;
    return cuda_blas_multiply(s, &p, cuda_bf16_in_tiles(c->x, w) ? &tiles : NULL);
}

/* By cuBLASLt into float32 sums, which epilogue.cu finishes; in tiles at once where they take it. */
static bool multiply_sums(kernels_stream *s, cuda_product p, tensor *y, const call *c)
{
    tensor sums = *y;
    if (cuda_bf16_in_tiles(c->x, c->w)) {
        run_tiles(s, c, y->data, p.reserved);
        return true;
    }
    if (y->dtype != KERNELS_F32 || (c->residual && c->residual->data == y->data)) {
        size_t bytes = cuda_aligned((size_t)(p.m * p.n) * sizeof(float));
        char *scratch = cuda_scratch_take(s, p.reserved + bytes);
        if (!scratch)
            return true;
        sums = tensor_2d(scratch + p.reserved, KERNELS_F32, p.m, p.n);
        p.reserved += bytes;
    }
    p.y = sums.data;
    p.y_stride = sums.stride;
    p.y_dtype = KERNELS_F32;
    if (!cuda_blas_multiply(s, &p, NULL))
        return false;
    cuda_epilogue(s, y, &sums, c->w->bias, c->activation, c->residual);
    return true;
}

void cuda_linear_plain(kernels_stream *s, tensor *y, const tensor *x, const kernels_weight *w,
                       kernels_activation activation, const tensor *residual, size_t reserved)
{
    /* One row may have any stride; cuBLASLt wants one that a row fits in. */
    const int64_t m = x->dim[0], n = w->n;
    const call c = {y, x, w, activation, residual};
    cuda_product p = {.m = m,
                      .n = n,
                      .k = w->k,
                      .x = x->data,
                      .w = w->w,
                      .y = y->data,
                      .x_stride = m > 1 ? x->stride : w->stride,
                      .w_stride = w->stride,
                      .y_stride = m > 1 ? y->stride : n,
                      .dtype = w->dtype,
                      .y_dtype = y->dtype,
                      .reserved = reserved};
    if (m <= FEW_ROWS || !(multiply_whole(s, p, &c) || multiply_sums(s, p, y, &c)))
        cuda_linear_few_rows(s, y, x, w, activation, residual);
}

void cuda_linear(kernels_stream *s, tensor *y, const tensor *x, const kernels_weight *w, const kernels_epilogue *e)
{
    kernels_precision precision = w->dtype == KERNELS_I8     ? KERNELS_INT8
                                  : w->dtype == KERNELS_BF16 ? KERNELS_PLAIN_BF16
                                                             : KERNELS_PLAIN_F32;
    if (!cuda_begin(s) || !check_linear(s, y, x, w->n, w->k, precision, e) || cuda_nothing(y))
        return;
    kernels_activation activation = e ? e->activation : KERNELS_LINEAR;
    const tensor *residual = e ? e->residual : NULL;
    if (precision == KERNELS_INT8)
        cuda_linear_int8(s, y, x, w, activation, residual);
    else
        cuda_linear_plain(s, y, x, w, activation, residual, 0);
}
