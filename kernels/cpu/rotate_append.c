/* rotate_append.c: one row of projections -> its query once a key class, its key once, its value as it is.
 * qkv: [m][(n_heads + 2 n_kv_heads) * head_dim]     q: [n_classes * max_rows][n_heads * head_dim]
 * cos, sin: [n_classes * m][head_dim / 2]     page: [n_kv_heads][capacity][head_dim] */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/cpu_math.h"

/* n_heads heads of 2 * half numbers; head h is written at y + h * y_step elements. cos NULL: copied. */
CPU_INLINE void append_body(void *restrict y, bool bf16, int64_t y_step, const float *restrict x, int64_t n_heads,
                            int64_t half, const float *restrict cos, const float *restrict sin)
{
    for (int64_t h = 0; h < n_heads; h++) {
        const float *from = x + h * 2 * half;
        int64_t to = h * y_step;
        if (!cos) {
            for (int64_t j = 0; j < 2 * half; j++)
                cpu_store(y, bf16, to + j, from[j]);
            continue;
        }
#pragma omp simd
        for (int64_t j = 0; j < half; j++) {
            float a = from[j], b = from[half + j];
            cpu_store(y, bf16, to + j, a * cos[j] - b * sin[j]);
            cpu_store(y, bf16, to + half + j, b * cos[j] + a * sin[j]);
        }
    }
}

typedef void append_heads(void *y, int64_t y_step, const float *x, int64_t n_heads, int64_t half, const float *cos,
                          const float *sin);

CPU_CLONES static void append_f32(void *y, int64_t y_step, const float *x, int64_t n_heads, int64_t half,
                                  const float *cos, const float *sin)
{
    append_body(y, false, y_step, x, n_heads, half, cos, sin);
}

CPU_CLONES static void append_bf16(void *y, int64_t y_step, const float *x, int64_t n_heads, int64_t half,
                                   const float *cos, const float *sin)
{
    append_body(y, true, y_step, x, n_heads, half, cos, sin);
}

/* The table of the key of row r. */
static int32_t append_table(const tensor *key_table, int64_t r)
{
    return key_table ? ((const int32_t *)key_table->data)[r] : 0;
}

/* Every row's table exists; otherwise the stream fails. */
static bool append_tables_ok(kernels_stream *s, const kernels_attention *a, const tensor *key_table)
{
    for (int set = 0; key_table && set < a->n_sets; set++)
        for (int64_t i = 0; i < a->descriptors[set].n_rows; i++) {
            int64_t r = set * (a->max_rows / a->n_sets) + i;
            int32_t table = append_table(key_table, r);
            if (table < 0 || table >= a->n_classes) {
                kernels_stream_fail(s, OMNID_SHAPE, "rotate_append: row %lld names table %d of %d", (long long)r, table,
                                    a->n_classes);
                return false;
            }
        }
    return true;
}

void cpu_rotate_append(kernels_stream *s, const kernels_attention *a, const tensor *qkv, const tensor *cos,
                       const tensor *sin, const tensor *key_table)
{
    if (!cpu_begin(s) || !check_rotate_append(s, a, qkv, cos, sin, key_table) || !check_append_descriptors(s, a, qkv) ||
        !append_tables_ok(s, a, key_table))
        return;
    append_heads *append = a->dtype == KERNELS_BF16 ? append_bf16 : append_f32;
    int64_t m = qkv->dim[0], half = a->head_dim / 2, size = (int64_t)kernels_dtype_size(a->dtype);
    int64_t set_rows = a->n_sets > 1 ? a->max_rows / a->n_sets : m;
    int head_dim = a->head_dim, n_heads = a->n_heads, n_kv_heads = a->n_kv_heads, n_classes = a->n_classes;
#pragma omp parallel for num_threads(cpu_threads(s, m *tensor_cols(qkv) * n_classes))
    for (int64_t r = 0; r < m; r++) {
        const kernels_descriptor *d = &a->descriptors[r / set_rows];
        if (r % set_rows >= d->n_rows)
            continue;
        const float *row = tensor_row(qkv, r), *keys = row + n_heads * head_dim, *values = keys + n_kv_heads * head_dim;
        int64_t table = append_table(key_table, r), to = (d->own_first + r % set_rows) * head_dim * size;
        int64_t head_step = (int64_t)d->own.capacity * head_dim;
        for (int64_t t = 0; t < n_classes; t++)
            append(tensor_row(a->q, t * a->max_rows + r), head_dim, row, n_heads, half, tensor_row(cos, t * m + r),
                   tensor_row(sin, t * m + r));
        append((char *)d->own.k + to, head_step, keys, n_kv_heads, half, tensor_row(cos, table * m + r),
               tensor_row(sin, table * m + r));
        append((char *)d->own.v + to, head_step, values, n_kv_heads, half, NULL, NULL);
    }
}
