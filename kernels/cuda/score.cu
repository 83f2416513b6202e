/* score.cu     S_j = mean over heads and over query rows first_score_row .. n_rows - 1 of e^(q·k_j / sqrt(head_dim) - lse)
 * A row of the own page counts zero for the query rows that do not see it; so does a query row that sees nothing.
 * Sums a key head each (score_tiles.cu, or here for float32 and heads of any size), then their sum in order. */
#include "kernels/cuda/attention.cuh"

enum { THREADS = 64 };

/* Σ over the rows and heads that share a key head, of one key. */
template <typename T>
static __device__ double score_key(const cuda_attention &a, const cuda_extent &e, const float *lse, int64_t lse_stride,
                                   const cuda_key &key, int kv_head, int first_row)
{
    const T *k = cuda_row_of<T>(a, key.page->k, key.page->capacity, key.row, kv_head);
    double sum = 0;
    for (int row = first_row; row < e.n_rows; row++) {
        if (key.own != CUDA_SEEN_BY_ALL && key.own > e.own_first + row)
            continue;
        for (int head = kv_head * a.group; head < (kv_head + 1) * a.group; head++) {
            float norm = lse[row * lse_stride + head], product = 0;
            if (norm == -INFINITY)
                continue;
            const T *q = cuda_query_of<T>(a, key.cls, row, head);
            for (int d = 0; d < a.head_dim; d++)
                product = fmaf(cuda_load(q + d), cuda_load(k + d), product);
            sum += expf(product * a.scale - norm);
        }
    }
    return sum;
}

/* Block (THREADS keys, key head). sums [n_kv_heads][n]. */
template <typename T>
static __global__ void score_kernel(const __grid_constant__ cuda_attention a, const float *lse, int64_t lse_stride,
                                    float *sums, int64_t n)
{
    cuda_extent e;
    int64_t j = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (!cuda_attention_extent(a, 0, &e) || j >= e.d->n_score || j >= n)
        return;
    int first = e.d->first_score_row;
    sums[blockIdx.y * n + j] = (float)score_key<T>(a, e, lse, lse_stride, cuda_scored_key(a, e, e.d->scored[j]),
                                                   blockIdx.y, first < 0 ? 0 : first);
}

/* S [n_score] = Σ over key heads of sums / (rows · heads); zeros where no row is averaged. */
static __global__ void score_mean_kernel(const __grid_constant__ cuda_attention a, const float *sums, int64_t n)
{
    const kernels_descriptor *c = a.descriptors;
    int64_t j = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (c->n_score < 0 || c->n_score > n || c->first_score_row < 0) {
        cuda_fault_at(a.faults, CUDA_FAULT_ATTENTION, c->first_score_row < 0 ? 5 : 4,
                      c->first_score_row < 0 ? c->first_score_row : c->n_score);
        return;
    }
    if (j >= c->n_score)
        return;
    double sum = 0;
    for (int g = 0; g < a.n_kv_heads; g++)
        sum += sums[g * n + j];
    int64_t rows = (int64_t)c->n_rows - c->first_score_row;
    c->S[j] = rows > 0 ? (float)(sum / ((double)rows * a.n_heads)) : 0.0f;
}

void cuda_score(kernels_stream *s, const tensor *lse, const kernels_attention *attention, int64_t max_keys)
{
    if (!cuda_begin(s) || !check_score(s, lse, attention, max_keys) || max_keys == 0)
        return;
    cuda_attention a = cuda_attention_of(s, attention);
    int64_t n = max_keys;
    a.room = a.room < lse->dim[0] ? a.room : lse->dim[0];
    float *sums = static_cast<float *>(cuda_scratch_take(s, (size_t)(a.n_kv_heads * n) * sizeof *sums));
    if (!sums)
        return;
    dim3 grid(cuda_blocks(n, THREADS), (unsigned)a.n_kv_heads);
    if (cuda_attention_in_tiles(attention))
        cuda_score_tiles(s, a, cuda_data<float>(lse), lse->stride, sums, n);
    else
        cuda_by_dtype(attention->dtype, [&](auto type) {
            cuda_launch(s, "score", score_kernel<decltype(type)>, grid, THREADS, 0, a,
                        (const float *)cuda_data<float>(lse), lse->stride, sums, n);
        });
    cuda_launch(s, "score", score_mean_kernel, cuda_blocks(n, THREADS), THREADS, 0, a, (const float *)sums, n);
}
