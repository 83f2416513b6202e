/* im2col3.c     y[i][c * 3 + t] = x[i * stride + t - 1][c], zero outside     x: [n][c]     y: [(n - 1) / stride + 1][3 c] */
#include "kernels/reference/reference.h"

void reference_im2col3(kernels_stream *s, tensor *y, const tensor *x, int stride)
{
    if (!check_im2col3(s, y, x, stride))
        return;
    for (int64_t i = 0; i < y->dim[0]; i++)
        for (int64_t c = 0; c < tensor_cols(x); c++)
            for (int64_t t = 0; t < 3; t++) {
                int64_t from = i * stride + t - 1;
                float value = from >= 0 && from < x->dim[0] ? ((const float *)tensor_row(x, from))[c] : 0.0f;
                reference_store(tensor_row(y, i), y->dtype, c * 3 + t, (double)value);
            }
}
