/* few.h: private to kernels/cpu: products of a few rows with a packed weight, at the speed of memory.
 *
 * oneDNN reads a weight in bursts: while the first rows of x meet a block the processor waits for memory, while the others
 * do, memory waits. With few rows that costs a third. Here each tile asks for a part of the next block ahead of time. An
 * int8 weight becomes float32 block by block in the first-level cache, so memory has a quarter to give. */
#ifndef OMNID_KERNELS_CPU_FEW_H
#define OMNID_KERNELS_CPU_FEW_H

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/few_tile.h"

enum { FEW_ROWS = 160 /* beyond, oneDNN's product is as fast */ };

/* Panels of FEW_WIDTH columns, zeros past n: either float32 or int8 with scales. */
typedef struct {
    const float *packed;   /* [⌈n / FEW_WIDTH⌉][k_rounded][FEW_WIDTH], or NULL */
    const int8_t *q;       /* [⌈n / FEW_WIDTH⌉][k_rounded][FEW_WIDTH] */
    const uint16_t *scale; /* bf16 [⌈n / FEW_WIDTH⌉][⌈k / KERNELS_INT8_GROUP⌉][FEW_WIDTH] */
    const float *bias;     /* [n] */
    int64_t n, k, k_rounded;
} few_weight;

/* Whether float32 panels are read fast enough to be worth it (AVX-512). */
bool few_usable(void);
/* y [m][n] F32 = activation(x [m][k] · W + bias) (+ y when add). x F32 or BF16. Any m goes; more than FEW_ROWS read the weight
 * again for every FEW_ROWS. */
void few_linear(kernels_stream *s, const tensor *y, const tensor *x, const few_weight *w, kernels_activation activation,
                bool add);
/* The same by one of few_all. */
void few_linear_by(const few_isa *isa, kernels_stream *s, const tensor *y, const tensor *x, const few_weight *w,
                   kernels_activation activation, bool add);

#endif
