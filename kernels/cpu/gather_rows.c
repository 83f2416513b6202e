/* gather_rows.c     y[i] = x[rows[i]]     x: [m][d]     y: [n][d] */
#include "kernels/cpu/cpu.h"

#include <string.h>

void cpu_gather_rows(kernels_stream *s, tensor *y, const tensor *x, const tensor *rows)
{
    if (!cpu_begin(s) || !check_gather_rows(s, y, x, rows))
        return;
    const int32_t *row = rows->data;
    int64_t n = y->dim[0], d = tensor_cols(x);
    for (int64_t i = 0; i < n; i++)
        if (row[i] < 0 || row[i] >= x->dim[0]) {
            kernels_stream_fail(s, OMNID_SHAPE, "gather_rows: entry %lld names row %d of %lld", (long long)i, row[i],
                                (long long)x->dim[0]);
            return;
        }
#pragma omp parallel for num_threads(cpu_threads(s, n *d))
    for (int64_t i = 0; i < n; i++)
        memcpy(tensor_row(y, i), tensor_row(x, row[i]), (size_t)d * kernels_dtype_size(x->dtype));
}
