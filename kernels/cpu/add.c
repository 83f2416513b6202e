/* add.c     y += x     x, y: [m][d] */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/cpu_math.h"

CPU_CLONES static void add_row(float *restrict y, const float *restrict x, int64_t d)
{
    for (int64_t j = 0; j < d; j++)
        y[j] += x[j];
}

void cpu_add(kernels_stream *s, tensor *y, const tensor *x)
{
    if (!cpu_begin(s) || !check_add(s, y, x))
        return;
    int64_t m = y->dim[0], d = tensor_cols(y);
#pragma omp parallel for num_threads(cpu_threads(s, m *d))
    for (int64_t i = 0; i < m; i++)
        add_row(tensor_row(y, i), tensor_row(x, i), d);
}
