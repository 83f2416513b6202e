/* layernorm.c     y = (x - mean) / sqrt(var + eps) * w + b     x, y: [m][d]     w, b: [d]
 * var is the population variance, from the differences to the mean: no cancellation. */
#include "kernels/reference/reference.h"

void reference_layernorm(kernels_stream *s, tensor *y, const tensor *x, const tensor *w, const tensor *b, float eps)
{
    if (!check_norm(s, "layernorm", y, x, w, b))
        return;
    int64_t d = tensor_cols(x);
    const float *weight = w->data, *bias = b->data;
    for (int64_t i = 0; i < x->dim[0]; i++) {
        const float *row = tensor_row(x, i);
        double mean = 0, variance = 0;
        for (int64_t j = 0; j < d; j++)
            mean += (double)row[j] / (double)d;
        for (int64_t j = 0; j < d; j++)
            variance += ((double)row[j] - mean) * ((double)row[j] - mean) / (double)d;
        double scale = 1.0 / sqrt(variance + (double)eps);
        for (int64_t j = 0; j < d; j++)
            reference_store(tensor_row(y, i), y->dtype, j,
                            ((double)row[j] - mean) * scale * (double)weight[j] + (double)bias[j]);
    }
}
