/* rotate_append.cu: one row of projections -> its query once a key class, its key once, its value as it is.
 * qkv: F32 [m][(n_heads + 2 n_kv_heads) * head_dim]     q: [n_classes * max_rows][n_heads * head_dim]
 * cos, sin: F32 [n_classes * m][head_dim / 2]     page: [n_kv_heads][capacity][head_dim] */
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/turn.cuh"

enum { THREADS = 128 };

template <typename T> struct append_arguments {
    const kernels_descriptor *descriptors;
    T *q;
    const float *qkv, *cos, *sin;
    const int32_t *key_table; /* or NULL */
    int64_t q_stride, qkv_stride, cos_stride, sin_stride;
    int64_t m, max_rows, set_rows; /* set_rows: of one descriptor */
    int n_tables, n_heads, n_kv_heads, half;
    cuda_faults *faults;
};

/* The own page has room for the set's rows; leaves a fault otherwise. */
template <typename T>
static __device__ __forceinline__ bool append_fits(const append_arguments<T> &a, const kernels_descriptor *d)
{
    if (d->n_rows > a.set_rows)
        cuda_fault_at(a.faults, CUDA_FAULT_ATTENTION, 0, d->n_rows);
    else if (d->own.k && d->own_first >= 0 && d->n_rows <= d->own.capacity - d->own_first)
        return true;
    else
        cuda_fault_at(a.faults, CUDA_FAULT_OWN_PAGE, d->own_first + d->n_rows - 1, d->own.capacity);
    return false;
}

/* Thread: N pairs side by side of one head; blockIdx.y: the row. Heads count the queries of all tables, then keys, then
 * values. */
template <typename T, int N> static __global__ void append_kernel(const __grid_constant__ append_arguments<T> a)
{
    int64_t pair = N * ((int64_t)blockIdx.x * THREADS + threadIdx.x), row = blockIdx.y;
    int head = (int)(pair / a.half), j = (int)(pair % a.half), n_queries = a.n_tables * a.n_heads;
    const kernels_descriptor *d = a.descriptors + row / a.set_rows;
    int64_t in_set = row % a.set_rows;
    if (head >= n_queries + 2 * a.n_kv_heads || in_set >= d->n_rows || !append_fits(a, d))
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
    int64_t at = ((int64_t)(h % a.n_kv_heads) * d->own.capacity + d->own_first + in_set) * 2 * a.half + j;
    if (h < a.n_kv_heads) {
        int table = a.key_table ? a.key_table[row] : 0;
        if (table < 0 || table >= a.n_tables) {
            cuda_fault_at(a.faults, CUDA_FAULT_KEY_TABLE, (int32_t)row, table);
            return;
        }
        int64_t angles = table * a.m + row;
        T *k = static_cast<T *>(d->own.k) + at;
        cuda_turn<N>(k, k + a.half, from, from + a.half, a.cos + angles * a.cos_stride + j,
                     a.sin + angles * a.sin_stride + j);
        return;
    }
    T *v = static_cast<T *>(d->own.v) + at;
    float values[N];
    cuda_load_pack<N>(values, from);
    cuda_store_pack<N>(v, values);
    cuda_load_pack<N>(values, from + a.half);
    cuda_store_pack<N>(v + a.half, values);
}

void cuda_rotate_append(kernels_stream *s, const kernels_attention *attention, const tensor *qkv, const tensor *cos,
                        const tensor *sin, const tensor *key_table)
{
    if (!cuda_begin(s) || !check_rotate_append(s, attention, qkv, cos, sin, key_table) || cuda_nothing(qkv))
        return;
    const tensor *q = attention->q;
    int half = attention->head_dim / 2, n_heads = attention->n_heads, n_kv_heads = attention->n_kv_heads;
    bool packs = half % 4 == 0 && attention->head_dim % 8 == 0 && cuda_in_packs(q, 8) && cuda_in_packs(qkv, 8) &&
                 cuda_in_packs(cos, 4) && cuda_in_packs(sin, 4);
    int64_t n_pairs = ((int64_t)attention->n_classes * n_heads + 2 * (int64_t)n_kv_heads) * half, m = qkv->dim[0];
    cuda_by_dtype(attention->dtype, [&](auto type) {
        typedef decltype(type) T;
        append_arguments<T> a = {attention->descriptors,
                                 cuda_data<T>(q),
                                 cuda_data<float>(qkv),
                                 cuda_data<float>(cos),
                                 cuda_data<float>(sin),
                                 key_table ? cuda_data<int32_t>(key_table) : nullptr,
                                 q->stride,
                                 qkv->stride,
                                 cos->stride,
                                 sin->stride,
                                 m,
                                 attention->max_rows,
                                 attention->n_sets > 1 ? attention->max_rows / attention->n_sets : m,
                                 attention->n_classes,
                                 n_heads,
                                 n_kv_heads,
                                 half,
                                 cuda_of(s)->faults};
        cuda_launch(s, "rotate_append", packs ? append_kernel<T, 4> : append_kernel<T, 1>,
                    dim3(cuda_blocks(n_pairs, (packs ? 4 : 1) * THREADS), (unsigned)m), THREADS, 0, a);
    });
}
