/* pool2.c     y[i] = (x[2 i] + x[2 i + 1]) / 2     x: [n][d]     y: [n / 2][d] */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/cpu_math.h"

/* Halves first: a sum of two large numbers must not overflow where their mean does not. */
CPU_CLONES static void pool2_row(float *restrict y, const float *a, const float *b, int64_t d)
{
    for (int64_t j = 0; j < d; j++)
        y[j] = 0.5f * a[j] + 0.5f * b[j];
}

void cpu_pool2(kernels_stream *s, tensor *y, const tensor *x)
{
    if (!cpu_begin(s) || !check_pool2(s, y, x))
        return;
    int64_t n = y->dim[0], d = tensor_cols(x);
#pragma omp parallel for num_threads(cpu_threads(s, n *d))
    for (int64_t i = 0; i < n; i++)
        pool2_row(tensor_row(y, i), tensor_row(x, 2 * i), tensor_row(x, 2 * i + 1), d);
}
