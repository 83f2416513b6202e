/* few.h: private to kernels/cpu: products of a few rows with a packed weight, at the speed of memory.
 *
 * oneDNN reads a weight in bursts: while the first rows of x meet a block the processor waits for memory, while the others
 * do, memory waits. With few rows that costs a third. Here each tile asks for a part of the next block ahead of time. */
#ifndef OMNID_KERNELS_CPU_FEW_H
#define OMNID_KERNELS_CPU_FEW_H

#include "kernels/cpu/cpu.h"

enum { FEW_ROWS = 160 /* beyond, oneDNN's product is as fast */, FEW_WIDTH = 64 /* columns of a packed panel */ };

/* Whether this processor has the instructions (AVX-512). */
bool few_usable(void);
/* y [m][n] = x [m][k] · W + bias (+ y when add). m <= FEW_ROWS; packed: float32 [⌈n / FEW_WIDTH⌉][k_rounded][FEW_WIDTH],
 * zeros past n; k_rounded >= k is the layout's. */
void few_linear(kernels_stream *s, const tensor *y, const tensor *x, const float *packed, const float *bias, int64_t n,
                int64_t k, int64_t k_rounded, bool add);

#endif
