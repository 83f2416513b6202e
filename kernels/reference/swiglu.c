/* swiglu.c     y = silu(x[:, :f]) * x[:, f:]     silu(g) = g / (1 + e^-g)     x: [m][2 f]     y: [m][f] */
#include "kernels/reference/reference.h"

void reference_swiglu(kernels_stream *s, tensor *y, const tensor *x)
{
    if (!check_swiglu(s, y, x))
        return;
    int64_t f = tensor_cols(y);
    for (int64_t i = 0; i < y->dim[0]; i++)
        for (int64_t j = 0; j < f; j++) {
            double gate = reference_load(tensor_row(x, i), x->dtype, j);
            double up = reference_load(tensor_row(x, i), x->dtype, f + j);
            reference_store(tensor_row(y, i), y->dtype, j, gate / (1.0 + exp(-gate)) * up);
        }
}
