/* linear.c     y = activation(x Wᵀ + b) + residual     x: [m][k]     W: [n][k]     y: [m][n]
 * Weights are packed once into the layout that oneDNN chooses; bias, GELU and an added residual run inside its product. Those
 * of int8 have a layout and products of their own (linear_int8.c). */
#include "kernels/cpu/cpu_math.h"
#include "kernels/cpu/dnnl_glue.h"
#include "kernels/cpu/few.h"
#include "kernels/cpu/linear_int8.h"

#include <stdlib.h>
#include <string.h>

struct kernels_weight {
    int64_t n, k;
    kernels_precision precision;
    dnnl_glue_layout *layout;
    void *packed;      /* 64-byte aligned, in that layout */
    linear_int8 *int8; /* instead of layout and packed */
    int64_t few_k;     /* rows of a panel that few.h can read; 0: it cannot */
    float *bias;       /* [n] */
};

static float linear_load(const void *data, kernels_dtype dtype, int64_t i)
{
    if (dtype == KERNELS_F32)
        return ((const float *)data)[i];
    uint16_t half = ((const uint16_t *)data)[i];
    return dtype == KERNELS_BF16 ? f32_from_bf16(half) : f32_from_f16(half);
}

/* n numbers in the weight's precision. */
static void linear_convert(void *to, kernels_precision precision, const void *from, kernels_dtype dtype, int64_t n)
{
    bool bf16 = precision == KERNELS_PLAIN_BF16;
    if (dtype == (bf16 ? KERNELS_BF16 : KERNELS_F32))
        memcpy(to, from, (size_t)n * kernels_dtype_size(dtype));
    else if (bf16)
        for (int64_t i = 0; i < n; i++)
            ((uint16_t *)to)[i] = bf16_from_f32(linear_load(from, dtype, i));
    else if (dtype == KERNELS_BF16)
        for (int64_t i = 0; i < n; i++)
            ((float *)to)[i] = f32_from_bf16(((const uint16_t *)from)[i]);
    else
        for (int64_t i = 0; i < n; i++)
            ((float *)to)[i] = linear_load(from, dtype, i);
}

/* Rows first .. first + n_rows - 1 of the stacked parts, in the weight's precision. */
static void linear_stack(void *to, const kernels_weight *w, const kernels_part *parts, int n_parts, int64_t first,
                         int64_t n_rows)
{
    size_t size = w->precision == KERNELS_PLAIN_BF16 ? 2 : 4;
    int64_t begins = 0;
    for (int i = 0; i < n_parts; begins += parts[i++].n) {
        int64_t from = first > begins ? first : begins;
        int64_t end = first + n_rows < begins + parts[i].n ? first + n_rows : begins + parts[i].n;
        if (from >= end)
            continue;
        const char *rows =
            (const char *)parts[i].data + (size_t)((from - begins) * w->k) * kernels_dtype_size(parts[i].dtype);
        linear_convert((char *)to + (size_t)((from - first) * w->k) * size, w->precision, rows, parts[i].dtype,
                       (end - from) * w->k);
    }
}

static void linear_stack_bias(float *to, const kernels_part *parts, int n_parts)
{
    for (int i = 0; i < n_parts; to += parts[i++].n)
        for (int64_t j = 0; j < parts[i].n; j++)
            to[j] = parts[i].bias ? linear_load(parts[i].bias, parts[i].dtype, j) : 0.0f;
}

static void *linear_memory(size_t size)
{
    return aligned_alloc(64, (size + 63) / 64 * 64);
}

/* A few hundred rows at a time, so that no second copy of a large weight ever exists. */
static omnid_status linear_fill(kernels_backend *b, kernels_weight *w, const kernels_part *parts, int n_parts,
                                omnid_error *err)
{
    int64_t n_rows = w->n < DNNL_GLUE_ROWS ? w->n : DNNL_GLUE_ROWS;
    void *rows = linear_memory((size_t)(n_rows * w->k) * (w->precision == KERNELS_PLAIN_BF16 ? 2 : 4));
    if (!rows)
        return omnid_fail(err, OMNID_NOMEM, "cpu backend: no memory to pack a weight [%lld][%lld]", (long long)w->n,
                          (long long)w->k);
    omnid_status status = OMNID_OK;
    for (int64_t first = 0; first < w->n && status == OMNID_OK; first += n_rows) {
        int64_t n = w->n - first < n_rows ? w->n - first : n_rows;
        linear_stack(rows, w, parts, n_parts, first, n);
        status = dnnl_glue_pack(b, w->layout, w->packed, first, n, rows, err);
    }
    free(rows);
    return status;
}

static omnid_status linear_no_memory(const kernels_weight *w, omnid_error *err)
{
    return omnid_fail(err, OMNID_NOMEM, "cpu backend: no memory for a weight [%lld][%lld]", (long long)w->n,
                      (long long)w->k);
}

static omnid_status linear_plain_open(kernels_backend *b, kernels_weight *w, const kernels_part *parts, int n_parts,
                                      omnid_error *err)
{
    OMNID_TRY(dnnl_glue_layout_open(b, &w->layout, w->n, w->k, w->precision, err));
    if (few_usable() && dnnl_glue_layout_width(w->layout, &w->few_k) != FEW_WIDTH)
        w->few_k = 0;
    w->packed = linear_memory(dnnl_glue_layout_bytes(w->layout));
    return w->packed ? linear_fill(b, w, parts, n_parts, err) : linear_no_memory(w, err);
}

omnid_status cpu_pack(kernels_backend *b, kernels_weight **out, const kernels_part *parts, int n_parts, int64_t k,
                      kernels_precision precision, omnid_error *err)
{
    *out = NULL;
    int64_t n = 0;
    for (int i = 0; i < n_parts; i++)
        n += parts[i].n;
    if (n <= 0 || k <= 0)
        return omnid_fail(err, OMNID_ARGUMENT, "weight is [%lld][%lld], want one row and column at least", (long long)n,
                          (long long)k);
    kernels_weight *w = calloc(1, sizeof *w);
    if (!w)
        return omnid_fail(err, OMNID_NOMEM, "cpu backend: no memory for %zu bytes", sizeof *w);
    *w = (kernels_weight){.n = n, .k = k, .precision = precision};
    w->bias = linear_memory((size_t)n * sizeof *w->bias);
    omnid_status status = w->bias ? OMNID_OK : linear_no_memory(w, err);
    if (status == OMNID_OK)
        status = precision == KERNELS_INT8 ? linear_int8_open(b, &w->int8, parts, n_parts, n, k, err)
                                           : linear_plain_open(b, w, parts, n_parts, err);
    if (status == OMNID_OK)
        linear_stack_bias(w->bias, parts, n_parts);
    *out = w;
    if (status != OMNID_OK)
        cpu_weight_free(b, out);
    return status;
}

void cpu_weight_free(kernels_backend *b, kernels_weight **w)
{
    (void)b;
    if (*w) {
        linear_int8_close(&(*w)->int8);
        dnnl_glue_layout_close(&(*w)->layout);
        free((*w)->packed);
        free((*w)->bias);
    }
    free(*w);
    *w = NULL;
}

size_t cpu_weight_bytes(const kernels_weight *w)
{
    return sizeof *w + (size_t)w->n * sizeof *w->bias +
           (w->int8 ? linear_int8_bytes(w->int8) : dnnl_glue_layout_bytes(w->layout));
}

void linear_dnnl(kernels_stream *s, const tensor *y, const tensor *x, const linear_packed *w,
                 kernels_precision precision, bool gelu, bool sum)
{
    dnnl_glue_product p;
    memset(&p, 0, sizeof p); /* it is compared as bytes */
    p.n = w->n;
    p.k = w->k;
    p.m = x->dim[0];
    p.x_stride = x->stride;
    p.y_stride = y->stride;
    p.precision = (int32_t)precision;
    p.y_dtype = y->dtype;
    p.gelu = gelu;
    p.sum = sum;
    omnid_error err;
    dnnl_glue_matmul *m = dnnl_glue_matmul_get(s->backend, w->layout, &p, &err);
    if (!m) {
        kernels_stream_fail(s, err.status, "%s", err.text);
        return;
    }
    void *scratch = cpu_scratch(s, dnnl_glue_matmul_scratch(m));
    if (!scratch)
        return;
    if (dnnl_glue_matmul_run(s->backend, m, y->data, x->data, w->packed, w->bias, scratch, &err) != OMNID_OK)
        kernels_stream_fail(s, err.status, "%s", err.text);
}

/* y = x Wᵀ + …, y of a dtype and with an addend that oneDNN takes as they are. */
static void linear_run(kernels_stream *s, const tensor *y, const tensor *x, const kernels_weight *w, bool gelu,
                       bool sum)
{
    if (w->int8)
        linear_int8_run(s, y, x, w->int8, w->bias, gelu, sum);
    else if (x->dim[0] <= FEW_ROWS && w->few_k > 0 && y->dtype == KERNELS_F32 && !gelu)
        few_linear(s, y, x,
                   &(few_weight){.packed = w->packed, .bias = w->bias, .n = w->n, .k = w->k, .k_rounded = w->few_k},
                   KERNELS_LINEAR, sum);
    else
        linear_dnnl(s, y, x, &(linear_packed){w->layout, w->packed, w->bias, w->n, w->k}, w->precision, gelu, sum);
}

CPU_CLONES static void linear_round(uint16_t *to, const float *from, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        to[i] = bf16_from_f32(from[i]);
}

static void linear_copy_rows(const tensor *to, const tensor *from)
{
    for (int64_t i = 0; i < from->dim[0]; i++)
        memcpy(tensor_row(to, i), tensor_row(from, i), (size_t)from->dim[1] * sizeof(float));
}

void cpu_linear(kernels_stream *s, tensor *y, const tensor *x, const kernels_weight *w, const kernels_epilogue *e)
{
    if (!cpu_begin(s) || !check_linear(s, y, x, w->n, w->k, w->precision, e) || x->dim[0] == 0)
        return;
    bool gelu = e && e->activation == KERNELS_GELU;
    const tensor *residual = e ? e->residual : NULL;
    if (y->dtype == KERNELS_BF16 && (residual || w->precision != KERNELS_PLAIN_BF16)) {
        float *sum = cpu_scratch(s, (size_t)(x->dim[0] * w->n) * sizeof *sum);
        if (!sum)
            return;
        tensor wide = tensor_2d(sum, KERNELS_F32, x->dim[0], w->n);
        if (residual)
            linear_copy_rows(&wide, residual);
        linear_run(s, &wide, x, w, gelu, residual != NULL);
        for (int64_t i = 0; i < x->dim[0] && s->error.status == OMNID_OK; i++)
            linear_round(tensor_row(y, i), tensor_row(&wide, i), w->n);
        return;
    }
    if (residual && residual->data != y->data)
        linear_copy_rows(y, residual);
    linear_run(s, y, x, w, gelu, residual != NULL);
}
