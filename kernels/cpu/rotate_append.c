/* rotate_append.c: one row of projections -> its query once a key class, its key once, its value as it is.
 * qkv: [m][(n_heads + 2 n_kv_heads) * head_dim]     q: [n_tables * max_rows][n_heads * head_dim]
 * cos, sin: [n_tables * m][head_dim / 2]     page: [n_kv_heads][capacity][head_dim] */
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

/* Every row's table exists; otherwise the stream fails. */
static bool append_tables_ok(kernels_stream *s, const tensor *key_table, int n_tables)
{
    for (int64_t i = 0; key_table && i < key_table->dim[0]; i++) {
        int32_t table = ((const int32_t *)key_table->data)[i];
        if (table < 0 || table >= n_tables) {
            kernels_stream_fail(s, OMNID_SHAPE, "rotate_append: row %lld names table %d of %d", (long long)i, table,
                                n_tables);
            return false;
        }
    }
    return true;
}

void cpu_rotate_append(kernels_stream *s, tensor *q, int64_t max_rows, const kernels_page *page, kernels_dtype dtype,
                       int64_t first, const tensor *qkv, const tensor *cos, const tensor *sin, int n_tables,
                       const tensor *key_table, int n_heads, int n_kv_heads, int head_dim)
{
    if (!cpu_begin(s) ||
        !check_rotate_append(s, q, max_rows, page, dtype, first, qkv, cos, sin, n_tables, key_table, n_heads,
                             n_kv_heads, head_dim) ||
        !append_tables_ok(s, key_table, n_tables))
        return;
    append_heads *append = dtype == KERNELS_BF16 ? append_bf16 : append_f32;
    int64_t m = qkv->dim[0], half = head_dim / 2, size = (int64_t)kernels_dtype_size(dtype);
    int64_t head_step = (int64_t)page->capacity * head_dim;
#pragma omp parallel for num_threads(cpu_threads(s, m *tensor_cols(qkv) * n_tables))
    for (int64_t i = 0; i < m; i++) {
        const float *row = tensor_row(qkv, i), *keys = row + n_heads * head_dim, *values = keys + n_kv_heads * head_dim;
        int64_t table = key_table ? ((const int32_t *)key_table->data)[i] : 0, to = (first + i) * head_dim * size;
        for (int64_t t = 0; t < n_tables; t++)
            append(tensor_row(q, t * max_rows + i), head_dim, row, n_heads, half, tensor_row(cos, t * m + i),
                   tensor_row(sin, t * m + i));
        append((char *)page->k + to, head_step, keys, n_kv_heads, half, tensor_row(cos, table * m + i),
               tensor_row(sin, table * m + i));
        append((char *)page->v + to, head_step, values, n_kv_heads, half, NULL, NULL);
    }
}
