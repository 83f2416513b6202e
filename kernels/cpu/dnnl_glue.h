/* dnnl_glue.h: private to kernels/cpu: what linear.c needs of oneDNN, the same for its C API of version 2 (Debian 12,
 * Ubuntu 22.04) and of version 3 (Debian 13, Ubuntu 24.04). dnnl_glue.c alone includes oneDNN's header. */
#ifndef OMNID_KERNELS_DNNL_GLUE_H
#define OMNID_KERNELS_DNNL_GLUE_H

#include "kernels/cpu/cpu.h"

/* How oneDNN wants a weight [n][k] packed. One layout serves every number of rows of x. */
typedef struct dnnl_glue_layout dnnl_glue_layout;

/* The layout for a weight of that shape; *out is given back by layout_close. */
omnid_status dnnl_glue_layout_open(kernels_backend *b, dnnl_glue_layout **out, int64_t n, int64_t k,
                                   kernels_precision precision, omnid_error *err);
void dnnl_glue_layout_close(dnnl_glue_layout **layout);
size_t dnnl_glue_layout_bytes(const dnnl_glue_layout *layout);
/* Columns of a panel when the packed weight is float32 as [⌈n / width⌉][k rounded up][width], zeros past n; else 0. */
int dnnl_glue_layout_width(const dnnl_glue_layout *layout, int64_t *k_rounded);
/* Packs rows first .. first + n_rows - 1 of the weight into `packed`; rows: [n_rows][k] of the weight's precision. first is
 * a multiple of DNNL_GLUE_ROWS; n_rows too, unless the rows are the last ones. */
enum { DNNL_GLUE_ROWS = 768 };
omnid_status dnnl_glue_pack(kernels_backend *b, const dnnl_glue_layout *layout, void *packed, int64_t first,
                            int64_t n_rows, const void *rows, omnid_error *err);

/* What a product's code depends on besides the layout. */
typedef struct {
    int64_t n, k, m;
    int64_t x_stride, y_stride; /* elements */
    int32_t precision;          /* kernels_precision of x and the weight */
    int32_t y_dtype;            /* KERNELS_F32 or KERNELS_BF16 */
    int32_t gelu, sum;          /* y = gelu(x Wᵀ + b); y is added to it */
} dnnl_glue_product;

/* A product ready to run: made once for each dnnl_glue_product and kept, the least used ones leave. */
typedef struct dnnl_glue_matmul dnnl_glue_matmul;
dnnl_glue_matmul *dnnl_glue_matmul_get(kernels_backend *b, const dnnl_glue_layout *layout, const dnnl_glue_product *p,
                                       omnid_error *err);     /* borrowed until the next get; NULL: *err tells */
size_t dnnl_glue_matmul_scratch(const dnnl_glue_matmul *m);   /* bytes that a run needs */
const char *dnnl_glue_matmul_name(const dnnl_glue_matmul *m); /* oneDNN's name of the implementation */
omnid_status dnnl_glue_matmul_run(kernels_backend *b, dnnl_glue_matmul *m, void *y, const void *x, const void *packed,
                                  const float *bias, void *scratch, omnid_error *err);

#endif
