/* layernorm.c     y = (x - mean) / sqrt(var + eps) * w + b     x, y: [m][d]     w, b: [d] */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/cpu_math.h"

#include <math.h>

CPU_INLINE void layernorm_body(void *restrict y, bool bf16, const float *restrict x, const float *restrict w,
                               const float *restrict b, int64_t d, float eps)
{
    double sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < d; j++)
        sum += (double)x[j];
    double mean = sum / (double)d;
#pragma omp simd reduction(+ : squares)
    for (int64_t j = 0; j < d; j++)
        squares += ((double)x[j] - mean) * ((double)x[j] - mean);
    double scale = 1.0 / sqrt(squares / (double)d + (double)eps);
#pragma omp simd
    for (int64_t j = 0; j < d; j++)
        cpu_store(y, bf16, j, (float)(((double)x[j] - mean) * scale) * w[j] + b[j]);
}

CPU_CLONES static void layernorm_f32(void *y, const float *x, const float *w, const float *b, int64_t d, float eps)
{
    layernorm_body(y, false, x, w, b, d, eps);
}

CPU_CLONES static void layernorm_bf16(void *y, const float *x, const float *w, const float *b, int64_t d, float eps)
{
    layernorm_body(y, true, x, w, b, d, eps);
}

void cpu_layernorm(kernels_stream *s, tensor *y, const tensor *x, const tensor *w, const tensor *b, float eps)
{
    if (!cpu_begin(s) || !check_norm(s, "layernorm", y, x, w, b))
        return;
    int64_t m = x->dim[0], d = tensor_cols(x);
    void (*row)(void *, const float *, const float *, const float *, int64_t, float) =
        y->dtype == KERNELS_BF16 ? layernorm_bf16 : layernorm_f32;
#pragma omp parallel for num_threads(cpu_threads(s, m *d))
    for (int64_t i = 0; i < m; i++)
        row(tensor_row(y, i), tensor_row(x, i), w->data, b->data, d, eps);
}
