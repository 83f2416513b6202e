/* similarity.c     out[i] = - min(a·b / (|a| |b|), 1 - 1e-6), 0 where a norm is 0     a, b: [n][d] */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/cpu_math.h"

#include <math.h>

CPU_CLONES static double similarity_row(const float *restrict a, const float *restrict b, int64_t d)
{
    double aa = 0, bb = 0, ab = 0;
#pragma omp simd reduction(+ : aa, bb, ab)
    for (int64_t j = 0; j < d; j++) {
        double x = (double)a[j], y = (double)b[j];
        aa += x * x;
        bb += y * y;
        ab += x * y;
    }
    double norm = sqrt(aa) * sqrt(bb);
    return norm > 0 ? ab / norm : 0;
}

void cpu_similarity(kernels_stream *s, tensor *out, const tensor *a, const tensor *b)
{
    if (!cpu_begin(s) || !check_similarity(s, out, a, b))
        return;
    int64_t n = a->dim[0], d = tensor_cols(a);
    float *to = out->data;
#pragma omp parallel for num_threads(cpu_threads(s, n *d))
    for (int64_t i = 0; i < n; i++) {
        double cosine = similarity_row(tensor_row(a, i), tensor_row(b, i), d);
        to[i] = (float)-(cosine < 1 - 1e-6 ? cosine : 1 - 1e-6);
    }
}
