/* score_tiles.cu: the sums of score for bf16 by matrix fragments: a tile of 64 keys stays, tiles of queries pass by, of the
 * classes that the keys have. */
#include "kernels/cuda/attention_tile.cuh"

using namespace attention_tile;

enum { KEYS = 64 };

/* total[n][i] += Σ over the lane's two rows of 2^(score * scale - norm), norm = lse * log2 e. */
static __device__ __forceinline__ void add_probabilities(float total[KEYS / 8][2], const float score[KEYS / 8][4],
                                                         const key_place *places, const int seen[2],
                                                         const float norm[2], float scale)
{
    const int t = threadIdx.x % 4;
#pragma unroll
    for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            if (places[8 * n + 2 * t + i % 2].own <= seen[i / 2] && norm[i / 2] > -INFINITY)
                total[n][i % 2] += exp2f(score[n][i] * scale - norm[i / 2]);
}

/* Where the lane's rows stand: the newest own row they see, and their lse; -infinity for rows that do not count. */
static __device__ __forceinline__ void look_up_rows(const cuda_attention &a, const cuda_extent &e, const float *lse,
                                                    int64_t lse_stride, int first, int kv_head, int seen[2],
                                                    float norm[2])
{
    const int lane = threadIdx.x % CUDA_WARP, warp = threadIdx.x / CUDA_WARP;
    for (int h = 0; h < 2; h++) {
        int flat = first + 16 * warp + lane / 4 + 8 * h, row = flat / a.group;
        seen[h] = e.own_first + row;
        norm[h] = row < e.n_rows ? lse[row * lse_stride + kv_head * a.group + flat % a.group] : -INFINITY;
        norm[h] *= 1.44269504088896341f;
    }
}

/* Adds up the lanes' columns over the rows of a warp, then over the warps, and stores them. room: [WARPS][KEYS]. */
static __device__ __forceinline__ void store_sums(float total[KEYS / 8][2], float *room, float *sums, int64_t first,
                                                  int64_t end)
{
    const int lane = threadIdx.x % CUDA_WARP, warp = threadIdx.x / CUDA_WARP;
#pragma unroll
    for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
        for (int i = 0; i < 2; i++) {
            float sum = total[n][i];
            for (int bits = 4; bits < CUDA_WARP; bits *= 2)
                sum += __shfl_xor_sync(0xffffffffu, sum, bits);
            if (lane < 4)
                room[warp * KEYS + 8 * n + 2 * lane + i] = sum;
        }
    __syncthreads();
    for (int j = threadIdx.x; j < KEYS && first + j < end; j += THREADS) {
        float sum = 0;
        for (int w = 0; w < WARPS; w++)
            sum += room[w * KEYS + j];
        sums[first + j] = sum;
    }
}

/* Places the tile's keys and tells each 32 keys' classes. */
static __device__ __forceinline__ void place_scored(key_place *places, unsigned *classes, const cuda_attention &a,
                                                    const cuda_extent &e, int64_t first, int64_t end, int kv_head)
{
    int64_t j = first + threadIdx.x;
    if (threadIdx.x >= KEYS)
        return;
    key_place place = {nullptr, nullptr, CUDA_SEEN_BY_NONE, 0};
    if (j < end) {
        cuda_key key = cuda_scored_key(a, e, e.d->scored[j]);
        place.k = cuda_row_of<bf16>(a, key.page->k, key.page->capacity, key.row, kv_head);
        place.own = key.own;
        place.cls = key.cls;
    }
    places[threadIdx.x] = place;
    const unsigned present = classes_of(place, a.n_classes);
    if (threadIdx.x % CUDA_WARP == 0)
        classes[threadIdx.x / CUDA_WARP] = present;
}

/* Block (KEYS keys, key head). */
template <int HD>
static __global__ void __launch_bounds__(THREADS)
    score_tiles_kernel(const __grid_constant__ cuda_attention a, const float *lse, int64_t lse_stride, float *sums,
                       int64_t n)
{
    const int64_t first = (int64_t)blockIdx.x * KEYS;
    const int kv_head = blockIdx.y;
    cuda_carve shared;
    bf16 *q = shared.take<bf16>(a.n_classes * ROWS * row_of<HD>::PITCH);
    bf16 *k = shared.take<bf16>(KEYS * row_of<HD>::PITCH);
    float *room = shared.take<float>(WARPS * KEYS);
    key_place *places = shared.take<key_place>(KEYS);
    unsigned *classes = shared.take<unsigned>(KEYS / CUDA_WARP);
    cuda_extent e;
    const bool fits = cuda_attention_extent(a, 0, &e);
    int64_t end = e.d->n_score < n ? e.d->n_score : n;
    if (!fits || first >= end)
        return;
    int first_row = e.d->first_score_row < 0 ? 0 : e.d->first_score_row;
    place_scored(places, classes, a, e, first, end, kv_head);
    __syncthreads();
    load_rows<HD, KEYS>(k, places, false, a.q);
    unsigned present = classes_in<KEYS>(classes);
    bool mixed = (present & (present - 1)) != 0;
    float total[KEYS / 8][2] = {};
    for (int flat = first_row * a.group; flat < e.n_rows * a.group; flat += ROWS) {
        for (int c = 0; c < a.n_classes; c++)
            if (present >> c & 1)
                load_queries<HD>(q + c * ROWS * row_of<HD>::PITCH, a, e, c, flat, kv_head);
        int seen[2];
        float norm[2], score[KEYS / 8][4] = {};
        look_up_rows(a, e, lse, lse_stride, flat, kv_head, seen, norm);
        cuda_copy_commit();
        cuda_copy_wait<0>();
        __syncthreads();
        for (int c = 0; c < a.n_classes; c++)
            if (present >> c & 1)
                multiply_keys<HD, KEYS>(score, q + c * ROWS * row_of<HD>::PITCH, k, places, c, mixed);
        add_probabilities(total, score, places, seen, norm, a.scale * 1.44269504088896341f);
        __syncthreads(); /* the queries are done with */
    }
    cuda_copy_commit();
    cuda_copy_wait<0>(); /* of the keys, where no row counts */
    store_sums(total, room, sums + kv_head * n, first, end);
}

template <int HD>
static void score_tiles(kernels_stream *s, const cuda_attention &a, const float *lse, int64_t lse_stride, float *sums,
                        int64_t n)
{
    size_t shared = cuda_shared<bf16>(a.n_classes * ROWS * row_of<HD>::PITCH) +
                    cuda_shared<bf16>(KEYS * row_of<HD>::PITCH) + cuda_shared<float>(WARPS * KEYS) +
                    cuda_shared<key_place>(KEYS) + cuda_shared<unsigned>(KEYS / CUDA_WARP);
    if (cuda_allow_shared(s, "score", score_tiles_kernel<HD>, shared))
        cuda_launch(s, "score", score_tiles_kernel<HD>, dim3(cuda_blocks(n, KEYS), (unsigned)a.n_kv_heads), THREADS,
                    shared, a, lse, lse_stride, sums, n);
}

void cuda_score_tiles(kernels_stream *s, const cuda_attention &a, const float *lse, int64_t lse_stride, float *sums,
                      int64_t n)
{
    if (a.head_dim == 32)
        score_tiles<32>(s, a, lse, lse_stride, sums, n);
    else if (a.head_dim == 64)
        score_tiles<64>(s, a, lse, lse_stride, sums, n);
    else
        score_tiles<128>(s, a, lse, lse_stride, sums, n);
}
