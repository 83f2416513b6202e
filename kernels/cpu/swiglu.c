/* swiglu.c     y = silu(x[:, :f]) * x[:, f:]     silu(g) = g / (1 + e^-g)     x: [m][2 f]     y: [m][f] */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/cpu_math.h"

CPU_INLINE void swiglu_body(void *restrict y, bool y_bf16, const void *restrict x, bool x_bf16, int64_t f, int64_t n)
{
#pragma omp simd
    for (int64_t j = 0; j < n; j++) {
        float gate = cpu_load(x, x_bf16, j), up = cpu_load(x, x_bf16, f + j);
        cpu_store(y, y_bf16, j, gate / (1.0f + cpu_exp(-gate)) * up);
    }
}

/* n columns of one row; x's other half lies f elements further. */
#define SWIGLU(name, y_bf16, x_bf16)                                                                                   \
    CPU_CLONES static void name(void *y, const void *x, int64_t f, int64_t n)                                          \
    {                                                                                                                  \
        swiglu_body(y, y_bf16, x, x_bf16, f, n);                                                                       \
    }
SWIGLU(swiglu_f32_f32, false, false)
SWIGLU(swiglu_f32_bf16, false, true)
SWIGLU(swiglu_bf16_f32, true, false)
SWIGLU(swiglu_bf16_bf16, true, true)

enum { SWIGLU_BLOCK = 2048 }; /* columns a thread takes at a time, so that one long row is shared too */

void cpu_swiglu(kernels_stream *s, tensor *y, const tensor *x)
{
    if (!cpu_begin(s) || !check_swiglu(s, y, x))
        return;
    static void (*const rows[2][2])(void *, const void *, int64_t, int64_t) = {{swiglu_f32_f32, swiglu_f32_bf16},
                                                                               {swiglu_bf16_f32, swiglu_bf16_bf16}};
    void (*row)(void *, const void *, int64_t, int64_t) = rows[y->dtype == KERNELS_BF16][x->dtype == KERNELS_BF16];
    int64_t m = y->dim[0], f = tensor_cols(y), n_blocks = (f + SWIGLU_BLOCK - 1) / SWIGLU_BLOCK;
    size_t y_size = kernels_dtype_size(y->dtype), x_size = kernels_dtype_size(x->dtype);
#pragma omp parallel for num_threads(cpu_threads(s, 8 * m * f))
    for (int64_t i = 0; i < m * n_blocks; i++) {
        int64_t first = i % n_blocks * SWIGLU_BLOCK, n = f - first < SWIGLU_BLOCK ? f - first : SWIGLU_BLOCK;
        row((char *)tensor_row(y, i / n_blocks) + (size_t)first * y_size,
            (const char *)tensor_row(x, i / n_blocks) + (size_t)first * x_size, f, n);
    }
}
