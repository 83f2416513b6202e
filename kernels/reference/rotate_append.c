/* rotate_append.c: one row of projections -> its query once a key class, its key once, its value as it is.
 * qkv: [m][(n_heads + 2 n_kv_heads) * head_dim]     q: [n_tables * max_rows][n_heads * head_dim]
 * cos, sin: [n_tables * m][head_dim / 2]     page: [n_kv_heads][capacity][head_dim] */
#include "kernels/reference/reference.h"

/* to[first ..] = from[0 .. head_dim - 1] turned by the angles of one row. */
static void rotate_head(void *to, kernels_dtype dtype, int64_t first, const float *from, const float *cos,
                        const float *sin, int head_dim)
{
    int half = head_dim / 2;
    for (int j = 0; j < half; j++) {
        double a = from[j], b = from[j + half];
        reference_store(to, dtype, first + j, a * (double)cos[j] - b * (double)sin[j]);
        reference_store(to, dtype, first + j + half, b * (double)cos[j] + a * (double)sin[j]);
    }
}

void reference_rotate_append(kernels_stream *s, tensor *q, int64_t max_rows, const kernels_page *page,
                             kernels_dtype dtype, int64_t first, const tensor *qkv, const tensor *cos,
                             const tensor *sin, int n_tables, const tensor *key_table, int n_heads, int n_kv_heads,
                             int head_dim)
{
    if (!check_rotate_append(s, q, max_rows, page, dtype, first, qkv, cos, sin, n_tables, key_table, n_heads,
                             n_kv_heads, head_dim))
        return;
    int64_t m = qkv->dim[0];
    for (int64_t i = 0; i < m; i++) {
        const float *row = tensor_row(qkv, i);
        int32_t table = key_table ? ((const int32_t *)key_table->data)[i] : 0;
        if (table < 0 || table >= n_tables) {
            kernels_stream_fail(s, OMNID_SHAPE, "rotate_append: row %lld names table %d of %d", (long long)i, table,
                                n_tables);
            return;
        }
        for (int64_t t = 0; t < n_tables; t++)
            for (int64_t h = 0; h < n_heads; h++)
                rotate_head(tensor_row(q, t * max_rows + i), dtype, h * head_dim, row + h * head_dim,
                            tensor_row(cos, t * m + i), tensor_row(sin, t * m + i), head_dim);
        for (int64_t h = 0; h < n_kv_heads; h++) {
            int64_t at = (h * page->capacity + first + i) * head_dim;
            rotate_head(page->k, dtype, at, row + (n_heads + h) * head_dim, tensor_row(cos, table * m + i),
                        tensor_row(sin, table * m + i), head_dim);
            for (int64_t j = 0; j < head_dim; j++)
                reference_store(page->v, dtype, at + j, (double)row[(n_heads + n_kv_heads + h) * head_dim + j]);
        }
    }
}
