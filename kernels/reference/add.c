/* add.c     y += x     x, y: [m][d] */
#include "kernels/reference/reference.h"

void reference_add(kernels_stream *s, tensor *y, const tensor *x)
{
    if (!check_add(s, y, x))
        return;
    for (int64_t i = 0; i < y->dim[0]; i++) {
        float *to = tensor_row(y, i);
        const float *from = tensor_row(x, i);
        for (int64_t j = 0; j < tensor_cols(y); j++)
            to[j] += from[j];
    }
}
