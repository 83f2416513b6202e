/* linear_int8.h: private to kernels/cpu: int8 weights, and what linear.c and linear_int8.c share. */
#ifndef OMNID_KERNELS_CPU_LINEAR_INT8_H
#define OMNID_KERNELS_CPU_LINEAR_INT8_H

#include "kernels/cpu/dnnl_glue.h"

typedef struct linear_int8 linear_int8; /* a weight [n][k] of kernels_int8_rows, in panels (few.h) */

/* *out is NULL on failure. n: sum of the parts' rows. */
omnid_status linear_int8_open(kernels_backend *b, linear_int8 **out, const kernels_part *parts, int n_parts, int64_t n,
                              int64_t k, omnid_error *err);
void linear_int8_close(linear_int8 **w); /* *w may be NULL */
size_t linear_int8_bytes(const linear_int8 *w);
/* y [m][n] F32 = (gelu of) x [m][k] Wᵀ + bias (+ y when sum); x F32 or BF16. */
void linear_int8_run(kernels_stream *s, const tensor *y, const tensor *x, const linear_int8 *w, const float *bias,
                     bool gelu, bool sum);

/* A weight as oneDNN wants it. */
typedef struct {
    const dnnl_glue_layout *layout;
    const void *packed;
    const float *bias;
    int64_t n, k;
} linear_packed;

/* linear.c: the product by oneDNN; y F32 or BF16, with an addend only F32; x of the layout's precision. Scratch memory that was
 * taken before stays valid. */
void linear_dnnl(kernels_stream *s, const tensor *y, const tensor *x, const linear_packed *w,
                 kernels_precision precision, bool gelu, bool sum);

#endif
