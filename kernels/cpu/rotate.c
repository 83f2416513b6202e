/* rotate.c     (a, b) -> (a cos - b sin, b cos + a sin) of pairs (x[j], x[j + head_dim / 2]) of each head, in place
 * x: [n][>= n_heads * head_dim]     cos, sin: [n][head_dim / 2] */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/cpu_math.h"

CPU_INLINE void rotate_body(void *x, bool bf16, const float *restrict cos, const float *restrict sin, int64_t n_heads,
                            int64_t half)
{
    for (int64_t h = 0; h < n_heads; h++) {
        int64_t at = h * 2 * half;
#pragma omp simd
        for (int64_t j = 0; j < half; j++) {
            float a = cpu_load(x, bf16, at + j), b = cpu_load(x, bf16, at + half + j);
            cpu_store(x, bf16, at + j, a * cos[j] - b * sin[j]);
            cpu_store(x, bf16, at + half + j, b * cos[j] + a * sin[j]);
        }
    }
}

CPU_CLONES static void rotate_f32(void *x, const float *cos, const float *sin, int64_t n_heads, int64_t half)
{
    rotate_body(x, false, cos, sin, n_heads, half);
}

CPU_CLONES static void rotate_bf16(void *x, const float *cos, const float *sin, int64_t n_heads, int64_t half)
{
    rotate_body(x, true, cos, sin, n_heads, half);
}

void cpu_rotate(kernels_stream *s, tensor *x, const tensor *cos, const tensor *sin, int n_heads, int head_dim)
{
    if (!cpu_begin(s) || !check_rotate(s, x, cos, sin, n_heads, head_dim))
        return;
    int64_t n = x->dim[0];
    void (*row)(void *, const float *, const float *, int64_t, int64_t) =
        x->dtype == KERNELS_BF16 ? rotate_bf16 : rotate_f32;
#pragma omp parallel for num_threads(cpu_threads(s, n *n_heads *head_dim))
    for (int64_t i = 0; i < n; i++)
        row(tensor_row(x, i), tensor_row(cos, i), tensor_row(sin, i), n_heads, head_dim / 2);
}
