/* linear.c     y = activation(x Wᵀ + b) + residual     x: [m][k]     W: [n][k]     y: [m][n]
 * A weight keeps the checkpoint's values as float32 (rounded to bf16 for a bf16 weight; what q scale makes of an int8 one), 16
 * features side by side so that the compiler can add 16 sums at once; each output is still one sum over k in order, in
 * float64. */
#include "kernels/int8.h"
#include "kernels/reference/reference.h"

enum { TILE = 16 };

struct kernels_weight {
    int64_t n, k;
    kernels_precision precision;
    float *w; /* [⌈n / TILE⌉][k][TILE], zero past n */
    float bias[];
};

/* Rows of one part from row `first` of the weight on. */
static void linear_pack_part(kernels_weight *w, const kernels_part *part, int64_t first, void *int8_row)
{
    for (int64_t i = 0; i < part->n; i++) {
        int64_t row = first + i;
        float *tile = w->w + row / TILE * w->k * TILE + row % TILE;
        if (int8_row)
            kernels_int8_rows(int8_row, (const char *)part->data + (size_t)(i * w->k) * kernels_dtype_size(part->dtype),
                              part->dtype, 1, w->k);
        for (int64_t j = 0; j < w->k; j++) {
            float value =
                int8_row ? int8_value(int8_row, w->k, j) : reference_load(part->data, part->dtype, i * w->k + j);
            tile[j * TILE] = w->precision == KERNELS_PLAIN_BF16 ? f32_from_bf16(bf16_from_f32(value)) : value;
        }
        w->bias[row] = part->bias ? reference_load(part->bias, part->dtype, i) : 0.0f;
    }
}

omnid_status reference_pack(kernels_backend *b, kernels_weight **out, const kernels_part *parts, int n_parts, int64_t k,
                            kernels_precision precision, omnid_error *err)
{
    (void)b;
    *out = NULL;
    int64_t n = 0;
    for (int i = 0; i < n_parts; i++)
        n += parts[i].n;
    if (n <= 0 || k <= 0)
        return omnid_fail(err, OMNID_ARGUMENT, "weight is [%lld][%lld], want one row and column at least", (long long)n,
                          (long long)k);
    kernels_weight *w = calloc(1, sizeof *w + (size_t)n * sizeof(float));
    float *values = w ? calloc((size_t)((n + TILE - 1) / TILE * k), TILE * sizeof(float)) : NULL;
    void *int8_row = values && precision == KERNELS_INT8 ? malloc((size_t)kernels_int8_stride(k)) : NULL;
    if (!values || (precision == KERNELS_INT8 && !int8_row)) {
        free(values);
        free(w);
        return omnid_fail(err, OMNID_NOMEM, "reference backend: no memory for a weight [%lld][%lld]", (long long)n,
                          (long long)k);
    }
    *w = (kernels_weight){.n = n, .k = k, .precision = precision, .w = values};
    int64_t first = 0;
    for (int i = 0; i < n_parts; i++) {
        linear_pack_part(w, &parts[i], first, int8_row);
        first += parts[i].n;
    }
    free(int8_row);
    *out = w;
    return OMNID_OK;
}

void reference_weight_free(kernels_backend *b, kernels_weight **w)
{
    (void)b;
    if (*w)
        free((*w)->w);
    free(*w);
    *w = NULL;
}

size_t reference_weight_bytes(const kernels_weight *w)
{
    return sizeof *w + (size_t)w->n * sizeof(float) + (size_t)((w->n + TILE - 1) / TILE * w->k) * TILE * sizeof(float);
}

static double linear_activation(double x, kernels_activation activation)
{
    return activation == KERNELS_GELU ? 0.5 * x * (1.0 + erf(x * 0.70710678118654752440)) : x;
}

/* sum[j] = Σ x[i] tile[i][j] */
static void linear_tile(double sum[TILE], const float *x, const float *tile, int64_t k)
{
    for (int j = 0; j < TILE; j++)
        sum[j] = 0;
    for (int64_t i = 0; i < k; i++)
        for (int j = 0; j < TILE; j++)
            sum[j] += (double)x[i] * (double)tile[i * TILE + j];
}

void reference_linear(kernels_stream *s, tensor *y, const tensor *x, const kernels_weight *w, const kernels_epilogue *e)
{
    if (!check_linear(s, y, x, w->n, w->k, w->precision, e))
        return;
    float *row = reference_memory(s, w->k, sizeof *row);
    if (!row)
        return;
    kernels_activation activation = e ? e->activation : KERNELS_LINEAR;
    const tensor *residual = e ? e->residual : NULL;
    for (int64_t i = 0; i < x->dim[0]; i++) {
        reference_load_run(row, tensor_row(x, i), x->dtype, 0, w->k);
        for (int64_t first = 0; first < w->n; first += TILE) {
            double sum[TILE];
            linear_tile(sum, row, w->w + first * w->k, w->k);
            for (int64_t j = first; j < w->n && j < first + TILE; j++) {
                double value = linear_activation(sum[j - first] + (double)w->bias[j], activation);
                if (residual)
                    value += (double)((const float *)tensor_row(residual, i))[j];
                reference_store(tensor_row(y, i), y->dtype, j, value);
            }
        }
    }
    free(row);
}
