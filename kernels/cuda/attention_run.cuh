/* attention_run.cuh: one block's walk over tiles of keys with a running softmax, for attend_tiles.cu and encoder_tiles.cu
 * (Dao, "FlashAttention-2", 2023). */
#ifndef OMNID_CUDA_ATTENTION_RUN_CUH
#define OMNID_CUDA_ATTENTION_RUN_CUH

#include "kernels/cuda/attention_tile.cuh"

namespace attention_tile
{
enum { RING = 3 };

template <int HD, int KEYS> struct tile_memory {
    bf16 *q;           /* [n_classes][ROWS] rows */
    bf16 *k, *v;       /* two tiles of [KEYS] rows each, in turn */
    key_place *places; /* [RING][KEYS] */
};

/* The running softmax of one warp's 16 rows; lane (g, t) has rows g and g + 8. */
template <int HD> struct running {
    float value[HD / 8][4];
    float highest[2], sum[2]; /* sum: this lane's columns only, until the end */
};

static __device__ __forceinline__ float quad_max(float x)
{
    x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 1));
    return fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 2));
}

static __device__ __forceinline__ float quad_sum(float x)
{
    x += __shfl_xor_sync(0xffffffffu, x, 1);
    return x + __shfl_xor_sync(0xffffffffu, x, 2);
}

/* Scores become probabilities against the running maximum; what was summed before shrinks with it. seen[h]: own rows up to
 * this one are seen by the lane's row g + 8 h. */
template <int HD, int KEYS>
static __device__ __forceinline__ void soften(running<HD> &r, float score[KEYS / 8][4], const key_place *places,
                                              const int seen[2], float scale)
{
    const int t = threadIdx.x % 4;
    float highest[2] = {r.highest[0], r.highest[1]};
#pragma unroll
    for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            bool visible = places[8 * n + 2 * t + i % 2].own <= seen[i / 2];
            score[n][i] = visible ? score[n][i] * scale : -INFINITY;
            highest[i / 2] = fmaxf(highest[i / 2], score[n][i]);
        }
#pragma unroll
    for (int h = 0; h < 2; h++) {
        highest[h] = quad_max(highest[h]);
        float base = highest[h] == -INFINITY ? 0.0f : highest[h];
        float shrink = exp2f(r.highest[h] - base);
        r.highest[h] = highest[h];
        r.sum[h] *= shrink;
#pragma unroll
        for (int n = 0; n < HD / 8; n++) {
            r.value[n][2 * h] *= shrink;
            r.value[n][2 * h + 1] *= shrink;
        }
#pragma unroll
        for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
            for (int i = 2 * h; i < 2 * h + 2; i++) {
                score[n][i] = exp2f(score[n][i] - base);
                r.sum[h] += score[n][i];
            }
    }
}

/* value += p v over one tile; p are the probabilities, rounded to bf16. */
template <int HD, int KEYS>
static __device__ __forceinline__ void multiply_values(running<HD> &r, const float p[KEYS / 8][4], const bf16 *v)
{
    const int lane = threadIdx.x % CUDA_WARP;
    const bf16 *v_row = v + (lane / 8 % 2 * 8 + lane % 8) * row_of<HD>::PITCH + lane / 16 * 8;
#pragma unroll
    for (int n = 0; n < KEYS; n += 16) {
        const float *low = p[n / 8], *high = p[n / 8 + 1];
        const unsigned left[4] = {pair_of(low[0], low[1]), pair_of(low[2], low[3]), pair_of(high[0], high[1]),
                                  pair_of(high[2], high[3])};
#pragma unroll
        for (int d = 0; d < HD; d += 16) {
            unsigned right[4];
            cuda_load_matrices_transposed(right, v_row + n * row_of<HD>::PITCH + d);
            cuda_multiply_fragments(r.value[d / 8], left, right);
            cuda_multiply_fragments(r.value[d / 8 + 1], left, right + 2);
        }
    }
}

template <int HD, int KEYS>
static __device__ __forceinline__ void load_tile(const tile_memory<HD, KEYS> &m, const void *dummy, int64_t tile,
                                                 int64_t past)
{
    if (tile < past) {
        const key_place *places = m.places + tile % RING * KEYS;
        load_rows<HD, KEYS>(m.k + tile % 2 * KEYS * row_of<HD>::PITCH, places, false, dummy);
        load_rows<HD, KEYS>(m.v + tile % 2 * KEYS * row_of<HD>::PITCH, places, true, dummy);
    }
    cuda_copy_commit();
}

/* The tiles [tile, past) of keys against the block's rows. Tile i + 1 is on its way while tile i is worked on. place(to, i)
 * fills in, by the whole block, where the KEYS keys of tile i lie, past the last too; `dummy` may be named and is not read. */
template <int HD, int KEYS, typename Place>
static __device__ __forceinline__ void run_tiles(running<HD> &r, const tile_memory<HD, KEYS> &m, int n_classes,
                                                 float scale, const void *dummy, int64_t tile, int64_t past,
                                                 const int seen[2], Place place)
{
    scale *= 1.44269504088896341f; /* log2 e: exp2f is what the device has */
    place(m.places + tile % RING * KEYS, tile);
    __syncthreads();
    load_tile(m, dummy, tile, past);
    place(m.places + (tile + 1) % RING * KEYS, tile + 1);
    for (; tile < past; tile++) {
        __syncthreads(); /* places of the next tile are there; the last one's rows are done with */
        load_tile(m, dummy, tile + 1, past);
        cuda_copy_wait<1>();
        __syncthreads(); /* and the other threads' copies of this tile */
        place(m.places + (tile + 2) % RING * KEYS, tile + 2);
        const key_place *places = m.places + tile % RING * KEYS;
        unsigned present = classes_in<KEYS>(places, n_classes);
        bool mixed = (present & (present - 1)) != 0;
        float score[KEYS / 8][4] = {};
        for (int c = 0; c < n_classes; c++)
            if (present >> c & 1)
                multiply_keys<HD, KEYS>(score, m.q + c * ROWS * row_of<HD>::PITCH,
                                        m.k + tile % 2 * KEYS * row_of<HD>::PITCH, places, c, mixed);
        soften<HD, KEYS>(r, score, places, seen, scale);
        multiply_values<HD, KEYS>(r, score, m.v + tile % 2 * KEYS * row_of<HD>::PITCH);
    }
}
} // namespace attention_tile

#endif
