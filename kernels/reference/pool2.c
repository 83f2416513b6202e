/* pool2.c     y[i] = (x[2 i] + x[2 i + 1]) / 2     x: [n][d]     y: [n / 2][d] */
#include "kernels/reference/reference.h"

void reference_pool2(kernels_stream *s, tensor *y, const tensor *x)
{
    if (!check_pool2(s, y, x))
        return;
    for (int64_t i = 0; i < y->dim[0]; i++) {
        const float *a = tensor_row(x, 2 * i), *b = tensor_row(x, 2 * i + 1);
        float *to = tensor_row(y, i);
        for (int64_t j = 0; j < tensor_cols(x); j++)
            to[j] = (float)(((double)a[j] + (double)b[j]) / 2.0);
    }
}
