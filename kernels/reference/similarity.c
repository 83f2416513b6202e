/* similarity.c     out[i] = - min(a·b / (|a| |b|), 1 - 1e-6), 0 where a norm is 0     a, b: [n][d]
 * The cap makes repeated frames tie whatever the rounding (docs/semantics.md, section 4). */
#include "kernels/reference/reference.h"

void reference_similarity(kernels_stream *s, tensor *out, const tensor *a, const tensor *b)
{
    if (!check_similarity(s, out, a, b))
        return;
    int64_t d = tensor_cols(a);
    for (int64_t i = 0; i < a->dim[0]; i++) {
        const float *x = tensor_row(a, i), *y = tensor_row(b, i);
        double norm = sqrt(reference_dot(x, x, d)) * sqrt(reference_dot(y, y, d));
        double cosine = norm > 0 ? reference_dot(x, y, d) / norm : 0;
        ((float *)out->data)[i] = (float)-(cosine < 1 - 1e-6 ? cosine : 1 - 1e-6);
    }
}
