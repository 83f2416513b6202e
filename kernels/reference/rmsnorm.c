/* rmsnorm.c     y = x * w / sqrt(mean(x²) + eps)     x, y: [m][d]     w: [d] */
#include "kernels/reference/reference.h"

void reference_rmsnorm(kernels_stream *s, tensor *y, const tensor *x, const tensor *w, float eps)
{
    if (!check_norm(s, "rmsnorm", y, x, w, NULL))
        return;
    int64_t d = tensor_cols(x);
    const float *weight = w->data;
    for (int64_t i = 0; i < x->dim[0]; i++) {
        const float *row = tensor_row(x, i);
        double scale = 1.0 / sqrt(reference_dot(row, row, d) / (double)d + (double)eps);
        for (int64_t j = 0; j < d; j++)
            reference_store(tensor_row(y, i), y->dtype, j, (double)row[j] * scale * (double)weight[j]);
    }
}
