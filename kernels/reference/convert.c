/* convert.c     y = x with another dtype     x, y: [m][d] */
#include "kernels/reference/reference.h"

void reference_convert(kernels_stream *s, tensor *y, const tensor *x)
{
    if (!check_convert(s, y, x))
        return;
    for (int64_t i = 0; i < y->dim[0]; i++)
        for (int64_t j = 0; j < tensor_cols(y); j++)
            reference_store(tensor_row(y, i), y->dtype, j, reference_load(tensor_row(x, i), x->dtype, j));
}
