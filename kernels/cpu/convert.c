/* convert.c     y = x with another dtype, round to nearest even     x, y: [m][d] */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/cpu_math.h"

#include <string.h>

CPU_CLONES static void convert_to_bf16(uint16_t *restrict y, const float *restrict x, int64_t d)
{
    for (int64_t j = 0; j < d; j++)
        y[j] = bf16_from_f32(x[j]);
}

CPU_CLONES static void convert_to_f32(float *restrict y, const uint16_t *restrict x, int64_t d)
{
    for (int64_t j = 0; j < d; j++)
        y[j] = f32_from_bf16(x[j]);
}

void cpu_convert(kernels_stream *s, tensor *y, const tensor *x)
{
    if (!cpu_begin(s) || !check_convert(s, y, x))
        return;
    int64_t m = y->dim[0], d = tensor_cols(y);
#pragma omp parallel for num_threads(cpu_threads(s, m *d))
    for (int64_t i = 0; i < m; i++) {
        if (y->dtype == x->dtype)
            memcpy(tensor_row(y, i), tensor_row(x, i), (size_t)d * kernels_dtype_size(x->dtype));
        else if (y->dtype == KERNELS_BF16)
            convert_to_bf16(tensor_row(y, i), tensor_row(x, i), d);
        else
            convert_to_f32(tensor_row(y, i), tensor_row(x, i), d);
    }
}
