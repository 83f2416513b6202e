/* attention_run.cuh: one block's walk over tiles of keys with a running softmax, for attend_tiles.cu and encoder_tiles.cu
 * (Dao, "FlashAttention-2", 2023).
 *
 * Where a key lies is known AHEAD tiles before it is used. Finding out takes reads that each wait for the one before (list,
 * page, class), so a warp of its own does it beside those that compute; keys in plain rows need none. */
#ifndef OMNID_CUDA_ATTENTION_RUN_CUH
#define OMNID_CUDA_ATTENTION_RUN_CUH

#include "kernels/cuda/attention_tile.cuh"

namespace attention_tile
{
/* A warp places 32 keys at once: PARTS of them are a tile. Before the first tile each warp that computes places one, which
 * makes AHEAD tiles; one more is worked on. */
template <int KEYS> struct ring_of {
    enum { PARTS = KEYS / CUDA_WARP, AHEAD = WARPS / PARTS, TILES = AHEAD + 1 };
    static_assert(AHEAD >= 2, "a tile's rows are copied while the one before is worked on");
};

template <int HD, int KEYS> struct tile_memory {
    bf16 *q;           /* [n_classes][ROWS] rows */
    bf16 *k, *v;       /* two tiles of [KEYS] rows each, in turn */
    key_place *places; /* [TILES][KEYS] */
    unsigned *classes; /* [TILES][PARTS] a bit a class that these keys have */
};

template <int HD, int KEYS>
static __device__ __forceinline__ tile_memory<HD, KEYS> take_tile_memory(cuda_carve &shared, int n_classes)
{
    tile_memory<HD, KEYS> m;
    m.q = shared.take<bf16>(n_classes * ROWS * row_of<HD>::PITCH);
    m.k = shared.take<bf16>(2 * KEYS * row_of<HD>::PITCH);
    m.v = shared.take<bf16>(2 * KEYS * row_of<HD>::PITCH);
    m.places = shared.take<key_place>(ring_of<KEYS>::TILES * KEYS);
    m.classes = shared.take<unsigned>(ring_of<KEYS>::TILES * ring_of<KEYS>::PARTS);
    return m;
}

template <int HD, int KEYS> static size_t tile_memory_size(int n_classes)
{
    return cuda_shared<bf16>(n_classes * ROWS * row_of<HD>::PITCH) +
           2 * cuda_shared<bf16>(2 * KEYS * row_of<HD>::PITCH) + cuda_shared<key_place>(ring_of<KEYS>::TILES * KEYS) +
           cuda_shared<unsigned>(ring_of<KEYS>::TILES * ring_of<KEYS>::PARTS);
}

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

/* Places 32 keys of a tile. The whole warp; find(j) is the place of key j, past the last key too. */
template <int HD, int KEYS, typename Find>
static __device__ __forceinline__ void place_part(const tile_memory<HD, KEYS> &m, int n_classes, int tile, int part,
                                                  Find find)
{
    const int lane = threadIdx.x % CUDA_WARP, at = part * CUDA_WARP + lane, slot = tile % ring_of<KEYS>::TILES;
    const key_place place = find((int64_t)tile * KEYS + at);
    m.places[slot * KEYS + at] = place;
    const unsigned classes = classes_of(place, n_classes);
    if (lane == 0)
        m.classes[slot * ring_of<KEYS>::PARTS + part] = classes;
}

template <int HD, int KEYS>
static __device__ __forceinline__ void load_tile(const tile_memory<HD, KEYS> &m, const void *dummy, int tile, int past)
{
    if (tile < past) {
        const key_place *places = m.places + tile % ring_of<KEYS>::TILES * KEYS;
        load_rows<HD, KEYS>(m.k + tile % 2 * KEYS * row_of<HD>::PITCH, places, false, dummy);
        load_rows<HD, KEYS>(m.v + tile % 2 * KEYS * row_of<HD>::PITCH, places, true, dummy);
    }
    cuda_copy_commit();
}

/* One tile that is there, by one warp. */
template <int HD, int KEYS>
static __device__ __forceinline__ void add_tile(running<HD> &r, const tile_memory<HD, KEYS> &m, int n_classes,
                                                float scale, int tile, const int seen[2])
{
    const int slot = tile % ring_of<KEYS>::TILES;
    const key_place *places = m.places + slot * KEYS;
    const bf16 *k = m.k + tile % 2 * KEYS * row_of<HD>::PITCH, *v = m.v + tile % 2 * KEYS * row_of<HD>::PITCH;
    const unsigned present = classes_in<KEYS>(m.classes + slot * ring_of<KEYS>::PARTS);
    const bool mixed = (present & (present - 1)) != 0;
    float score[KEYS / 8][4] = {};
    for (int c = 0; c < n_classes; c++)
        if (present >> c & 1)
            multiply_keys<HD, KEYS>(score, m.q + c * ROWS * row_of<HD>::PITCH, k, places, c, mixed);
    soften<HD, KEYS>(r, score, places, seen, scale);
    multiply_values<HD, KEYS>(r, score, v);
}

/* The tiles [tile, past) of keys against the block's rows. Tile i + 1 is on its way while tile i is worked on. find(j) tells
 * where key j lies, past the last key too; `dummy` may be named and is not read. The whole block: THREADS threads, and a
 * warp more that finds keys where BESIDE. */
template <int HD, int KEYS, bool BESIDE, typename Find>
static __device__ __forceinline__ void run_tiles(running<HD> &r, const tile_memory<HD, KEYS> &m, int n_classes,
                                                 float scale, const void *dummy, int tile, int past, const int seen[2],
                                                 Find find)
{
    enum { PARTS = ring_of<KEYS>::PARTS, AHEAD = ring_of<KEYS>::AHEAD };
    const int warp = threadIdx.x / CUDA_WARP;
    const bool computes = !BESIDE || warp < WARPS;
    const int part_first = !BESIDE ? warp : computes ? (int)PARTS : 0; /* a part a warp, or all by the one beside */

    scale *= 1.44269504088896341f; /* log2 e: exp2f is what the device has */
    if (computes)
        place_part(m, n_classes, tile + warp / PARTS, warp % PARTS, find);
    __syncthreads();
    if (computes)
        load_tile(m, dummy, tile, past);
    for (; tile < past; tile++) {
        __syncthreads(); /* places of the tiles ahead are there; the last one's rows are done with */
        if (computes)
            load_tile(m, dummy, tile + 1, past);
        cuda_copy_wait<1>();
        __syncthreads(); /* and the other threads' copies of this tile */
        for (int part = part_first; part < PARTS; part += BESIDE ? 1 : WARPS)
            place_part(m, n_classes, tile + AHEAD, part, find);
        if (computes)
            add_tile(r, m, n_classes, scale, tile, seen);
    }
}
} // namespace attention_tile

#endif
