/* rotate_append.cu: one row of projections -> its query once a key class, its key once, its value as it is.
 * qkv: F32 [m][(n_heads + 2 n_kv_heads) * head_dim]     q: [n_tables * max_rows][n_heads * head_dim]
 * cos, sin: F32 [n_tables * m][head_dim / 2]     page: [n_kv_heads][capacity][head_dim] */
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/turn.cuh"

enum { THREADS = 128 };

template <typename T> struct append_arguments {
    T *q, *k, *v;
    const float *qkv, *cos, *sin;
    const int32_t *key_table; /* or NULL */
    int64_t q_stride, qkv_stride, cos_stride, sin_stride;
    int64_t m, max_rows, first, capacity;
    int n_tables, n_heads, n_kv_heads, half;
    cuda_faults *faults;
};

/* Thread: N pairs side by side of one head; blockIdx.y: the row. Heads count the queries of all tables, then keys, then
 * values. */
template <typename T, int N> static __global__ void append_kernel(append_arguments<T> a)
{
    int64_t pair = N * ((int64_t)blockIdx.x * THREADS + threadIdx.x), row = blockIdx.y;
    int head = (int)(pair / a.half), j = (int)(pair % a.half), n_queries = a.n_tables * a.n_heads;
    if (head >= n_queries + 2 * a.n_kv_heads)
        return;
    const float *from = a.qkv + row * a.qkv_stride + j;
    if (head < n_queries) {
        int table = head / a.n_heads, h = head % a.n_heads;
        int64_t angles = table * a.m + row;
        from += (int64_t)h * 2 * a.half;
        T *to = a.q + (table * a.max_rows + row) * a.q_stride + (int64_t)h * 2 * a.half + j;
        cuda_turn<N>(to, to + a.half, from, from + a.half, a.cos + angles * a.cos_stride + j,
                     a.sin + angles * a.sin_stride + j);
        return;
    }
    int h = head - n_queries; /* of keys and values */
    from += ((int64_t)a.n_heads + h) * 2 * a.half;
    int64_t at = ((h % a.n_kv_heads) * a.capacity + a.first + row) * 2 * a.half + j;
    if (h < a.n_kv_heads) {
        int table = a.key_table ? a.key_table[row] : 0;
        if (table < 0 || table >= a.n_tables) {
            cuda_fault_at(a.faults, CUDA_FAULT_KEY_TABLE, (int32_t)row, table);
            return;
        }
        int64_t angles = table * a.m + row;
        cuda_turn<N>(a.k + at, a.k + at + a.half, from, from + a.half, a.cos + angles * a.cos_stride + j,
                     a.sin + angles * a.sin_stride + j);
        return;
    }
    float values[N];
    cuda_load_pack<N>(values, from);
    cuda_store_pack<N>(a.v + at, values);
    cuda_load_pack<N>(values, from + a.half);
    cuda_store_pack<N>(a.v + at + a.half, values);
}

void cuda_rotate_append(kernels_stream *s, tensor *q, int64_t max_rows, const kernels_page *page, kernels_dtype dtype,
                        int64_t first, const tensor *qkv, const tensor *cos, const tensor *sin, int n_tables,
                        const tensor *key_table, int n_heads, int n_kv_heads, int head_dim)
{
    if (!cuda_begin(s) ||
        !check_rotate_append(s, q, max_rows, page, dtype, first, qkv, cos, sin, n_tables, key_table, n_heads,
                             n_kv_heads, head_dim) ||
        cuda_nothing(qkv))
        return;
    int half = head_dim / 2;
    bool packs = half % 4 == 0 && head_dim % 8 == 0 && cuda_in_packs(q, 8) && cuda_in_packs(qkv, 8) &&
                 cuda_in_packs(cos, 4) && cuda_in_packs(sin, 4) && cuda_at_pack(page->k) && cuda_at_pack(page->v);
    int64_t n_pairs = ((int64_t)n_tables * n_heads + 2 * (int64_t)n_kv_heads) * half, m = qkv->dim[0];
    cuda_by_dtype(dtype, [&](auto type) {
        typedef decltype(type) T;
        append_arguments<T> a = {cuda_data<T>(q),
                                 static_cast<T *>(page->k),
                                 static_cast<T *>(page->v),
                                 cuda_data<float>(qkv),
                                 cuda_data<float>(cos),
                                 cuda_data<float>(sin),
                                 key_table ? cuda_data<int32_t>(key_table) : nullptr,
                                 q->stride,
                                 qkv->stride,
                                 cos->stride,
                                 sin->stride,
                                 m,
                                 max_rows,
                                 first,
                                 page->capacity,
                                 n_tables,
                                 n_heads,
                                 n_kv_heads,
                                 half,
                                 cuda_of(s)->faults};
        cuda_launch(s, "rotate_append", packs ? append_kernel<T, 4> : append_kernel<T, 1>,
                    dim3(cuda_blocks(n_pairs, (packs ? 4 : 1) * THREADS), (unsigned)m), THREADS, 0, a);
    });
}
