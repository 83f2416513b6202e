/* rotate.c     (a, b) -> (a cos - b sin, b cos + a sin) of pairs (x[j], x[j + head_dim / 2]) of each head, in place
 * x: [n][>= n_heads * head_dim]     cos, sin: [n][head_dim / 2] */
#include "kernels/reference/reference.h"

void reference_rotate(kernels_stream *s, tensor *x, const tensor *cos, const tensor *sin, int n_heads, int head_dim)
{
    if (!check_rotate(s, x, cos, sin, n_heads, head_dim))
        return;
    int half = head_dim / 2;
    for (int64_t i = 0; i < x->dim[0]; i++) {
        const float *c = tensor_row(cos, i), *n = tensor_row(sin, i);
        for (int64_t h = 0; h < n_heads; h++)
            for (int j = 0; j < half; j++) {
                int64_t at_a = h * head_dim + j, at_b = at_a + half;
                double a = reference_load(tensor_row(x, i), x->dtype, at_a);
                double b = reference_load(tensor_row(x, i), x->dtype, at_b);
                reference_store(tensor_row(x, i), x->dtype, at_a, a * (double)c[j] - b * (double)n[j]);
                reference_store(tensor_row(x, i), x->dtype, at_b, b * (double)c[j] + a * (double)n[j]);
            }
    }
}
