/* rmsnorm.c     y = x * w / sqrt(mean(x²) + eps)     x, y: [m][d]     w: [d]
 * The mean is summed in float64: it costs less than reading the row and rounds like the reference. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/cpu_math.h"

#include <math.h>

CPU_INLINE void rmsnorm_body(void *restrict y, bool bf16, const float *restrict x, const float *restrict w, int64_t d,
                             float eps)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < d; j++)
        sum += (double)x[j] * (double)x[j];
    float scale = (float)(1.0 / sqrt(sum / (double)d + (double)eps));
#pragma omp simd
    for (int64_t j = 0; j < d; j++)
        cpu_store(y, bf16, j, x[j] * scale * w[j]);
}

CPU_CLONES static void rmsnorm_f32(void *y, const float *x, const float *w, int64_t d, float eps)
{
    rmsnorm_body(y, false, x, w, d, eps);
}

CPU_CLONES static void rmsnorm_bf16(void *y, const float *x, const float *w, int64_t d, float eps)
{
    rmsnorm_body(y, true, x, w, d, eps);
}

void cpu_rmsnorm(kernels_stream *s, tensor *y, const tensor *x, const tensor *w, float eps)
{
    if (!cpu_begin(s) || !check_norm(s, "rmsnorm", y, x, w, NULL))
        return;
    int64_t m = x->dim[0], d = tensor_cols(x);
    void (*row)(void *, const float *, const float *, int64_t, float) =
        y->dtype == KERNELS_BF16 ? rmsnorm_bf16 : rmsnorm_f32;
#pragma omp parallel for num_threads(cpu_threads(s, m *d))
    for (int64_t i = 0; i < m; i++)
        row(tensor_row(y, i), tensor_row(x, i), w->data, d, eps);
}
