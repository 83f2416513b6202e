/* im2col3.c     y[i][c * 3 + t] = x[i * stride + t - 1][c], zero outside     x: [n][c]     y: [(n - 1) / stride + 1][3 c] */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/cpu_math.h"

/* before, after: the neighbours' rows or NULL */
CPU_INLINE void im2col3_body(void *restrict y, bool bf16, const float *before, const float *at, const float *after,
                             int64_t n)
{
    for (int64_t c = 0; c < n; c++) {
        cpu_store(y, bf16, c * 3, before ? before[c] : 0.0f);
        cpu_store(y, bf16, c * 3 + 1, at[c]);
        cpu_store(y, bf16, c * 3 + 2, after ? after[c] : 0.0f);
    }
}

CPU_CLONES static void im2col3_f32(void *y, const float *before, const float *at, const float *after, int64_t n)
{
    im2col3_body(y, false, before, at, after, n);
}

CPU_CLONES static void im2col3_bf16(void *y, const float *before, const float *at, const float *after, int64_t n)
{
    im2col3_body(y, true, before, at, after, n);
}

void cpu_im2col3(kernels_stream *s, tensor *y, const tensor *x, int stride)
{
    if (!cpu_begin(s) || !check_im2col3(s, y, x, stride))
        return;
    int64_t n = y->dim[0], c = tensor_cols(x);
#pragma omp parallel for num_threads(cpu_threads(s, n * 3 * c))
    for (int64_t i = 0; i < n; i++) {
        int64_t at = i * stride;
        const float *before = at > 0 ? tensor_row(x, at - 1) : NULL;
        const float *after = at + 1 < x->dim[0] ? tensor_row(x, at + 1) : NULL;
        (y->dtype == KERNELS_BF16 ? im2col3_bf16 : im2col3_f32)(tensor_row(y, i), before, tensor_row(x, at), after, c);
    }
}
