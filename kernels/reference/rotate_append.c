/* rotate_append.c: one row of projections -> its query once a key class, its key once, its value as it is.
 * qkv: [m][(n_heads + 2 n_kv_heads) * head_dim]     q: [n_classes * max_rows][n_heads * head_dim]
 * cos, sin: [n_classes * m][head_dim / 2]     page: [n_kv_heads][capacity][head_dim] */
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

/* Row r of all: its queries, and its row `to` of the own page of its set. */
static void append_row(const kernels_attention *a, const tensor *qkv, const tensor *cos, const tensor *sin,
                       int64_t table, int64_t r, const kernels_page *page, int64_t to)
{
    int64_t m = qkv->dim[0], n_heads = a->n_heads, n_kv_heads = a->n_kv_heads;
    const int hd = a->head_dim;
    const float *row = tensor_row(qkv, r);
    for (int64_t t = 0; t < a->n_classes; t++)
        for (int64_t h = 0; h < n_heads; h++)
            rotate_head(tensor_row(a->q, t * a->max_rows + r), a->dtype, h * hd, row + h * hd,
                        tensor_row(cos, t * m + r), tensor_row(sin, t * m + r), hd);
    for (int64_t h = 0; h < n_kv_heads; h++) {
        int64_t at = (h * page->capacity + to) * hd;
        rotate_head(page->k, a->dtype, at, row + (n_heads + h) * hd, tensor_row(cos, table * m + r),
                    tensor_row(sin, table * m + r), hd);
        for (int64_t j = 0; j < hd; j++)
            reference_store(page->v, a->dtype, at + j, (double)row[(n_heads + n_kv_heads + h) * hd + j]);
    }
}

void reference_rotate_append(kernels_stream *s, const kernels_attention *a, const tensor *qkv, const tensor *cos,
                             const tensor *sin, const tensor *key_table)
{
    if (!check_rotate_append(s, a, qkv, cos, sin, key_table) || !check_append_descriptors(s, a, qkv))
        return;
    for (int set = 0; set < a->n_sets; set++) {
        const kernels_descriptor *d = &a->descriptors[set];
        for (int64_t i = 0; i < d->n_rows; i++) {
            int64_t r = set * (a->max_rows / a->n_sets) + i;
            int32_t table = key_table ? ((const int32_t *)key_table->data)[r] : 0;
            if (table < 0 || table >= a->n_classes) {
                kernels_stream_fail(s, OMNID_SHAPE, "rotate_append: row %lld names table %d of %d", (long long)r, table,
                                    a->n_classes);
                return;
            }
            append_row(a, qkv, cos, sin, table, r, &d->own, d->own_first + i);
        }
    }
}
