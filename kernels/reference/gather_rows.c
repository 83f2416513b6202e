/* gather_rows.c     y[i] = x[rows[i]]     x: [m][d]     y: [n][d] */
#include "kernels/reference/reference.h"

void reference_gather_rows(kernels_stream *s, tensor *y, const tensor *x, const tensor *rows)
{
    if (!check_gather_rows(s, y, x, rows))
        return;
    const int32_t *row = rows->data;
    size_t size = (size_t)tensor_cols(x) * kernels_dtype_size(x->dtype);
    for (int64_t i = 0; i < y->dim[0]; i++) {
        if (row[i] < 0 || row[i] >= x->dim[0]) {
            kernels_stream_fail(s, OMNID_SHAPE, "gather_rows: entry %lld names row %d of %lld", (long long)i, row[i],
                                (long long)x->dim[0]);
            return;
        }
        memcpy(tensor_row(y, i), tensor_row(x, row[i]), size);
    }
}
