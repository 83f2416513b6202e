/* attention_tile.cuh: tiles of queries and keys in shared memory and the products of one warp on them, for attend_tiles.cu
 * and score_tiles.cu. bf16; a tile of queries has ROWS flat rows (row * group + head in group), 16 of them a warp. */
#ifndef OMNID_CUDA_ATTENTION_TILE_CUH
#define OMNID_CUDA_ATTENTION_TILE_CUH

#include "kernels/cuda/attention.cuh"

namespace attention_tile
{
enum { WARPS = 4, THREADS = WARPS * CUDA_WARP, ROWS = 16 * WARPS };

/* Rows in shared memory lie HD + 8 apart, so that the eight rows of a fragment are in different banks. */
template <int HD> struct row_of {
    enum { PITCH = HD + 8, PIECES = HD / 8 };
};

/* Where one key of a tile comes from. */
struct key_place {
    const bf16 *k, *v; /* NULL = there is none */
    int own, cls;
};

/* Copies ROWS flat rows of one class's queries, from flat row `first` of the set on, zeros past the last. THREADS threads. */
template <int HD>
static __device__ __forceinline__ void load_queries(bf16 *to, const cuda_attention &a, const cuda_extent &e, int cls,
                                                    int first, int kv_head)
{
    const int end = e.n_rows * a.group;
    for (int i = threadIdx.x; i < ROWS * row_of<HD>::PIECES; i += THREADS) {
        int at = i / row_of<HD>::PIECES, piece = i % row_of<HD>::PIECES, flat = first + at;
        bool there = flat < end;
        int row = there ? flat / a.group : 0, head = kv_head * a.group + (there ? flat % a.group : 0);
        cuda_copy_async(to + at * row_of<HD>::PITCH + 8 * piece,
                        cuda_query_of<bf16>(a, cls, e.first_row + row, head) + 8 * piece, there);
    }
}

/* Copies N rows of keys or of values; `dummy` is an address that may be named and is not read. THREADS threads. */
template <int HD, int N>
static __device__ __forceinline__ void load_rows(bf16 *to, const key_place *places, bool values, const void *dummy)
{
    for (int i = threadIdx.x; i < N * row_of<HD>::PIECES; i += THREADS) {
        int at = i / row_of<HD>::PIECES, piece = i % row_of<HD>::PIECES;
        const bf16 *from = values ? places[at].v : places[at].k;
        cuda_copy_async(to + at * row_of<HD>::PITCH + 8 * piece, from ? (const void *)(from + 8 * piece) : dummy,
                        from != nullptr);
    }
}

/* Which classes the keys of a warp's lanes have, a bit a class. The whole warp. */
static __device__ __forceinline__ unsigned classes_of(const key_place &place, int n_classes)
{
    if (n_classes == 1)
        return 1;
    unsigned present = 0;
    for (int c = 0; c < n_classes; c++)
        present |= __any_sync(0xffffffffu, place.k && place.cls == c) ? 1u << c : 0;
    return present;
}

/* Those of a tile of N keys, of which each 32 told theirs. */
template <int N> static __device__ __forceinline__ unsigned classes_in(const unsigned *classes)
{
    unsigned present = 0;
#pragma unroll
    for (int i = 0; i < N / CUDA_WARP; i++)
        present |= classes[i];
    return present;
}

/* score [N / 8][4] += the warp's 16 rows of q (ROWS rows of one class) times the keys of class cls: the others count as
 * zeros where `mixed`. With g = lane / 4 and t = lane % 4, score[n] holds (g, 8 n + 2 t), (g, +1), (g + 8, …), (g + 8, +1). */
template <int HD, int N>
static __device__ __forceinline__ void multiply_keys(float score[N / 8][4], const bf16 *q, const bf16 *k,
                                                     const key_place *places, int cls, bool mixed)
{
    const int lane = threadIdx.x % CUDA_WARP, warp = threadIdx.x / CUDA_WARP, g = lane / 4;
    const bf16 *q_row = q + (16 * warp + lane / 8 % 2 * 8 + lane % 8) * row_of<HD>::PITCH + lane / 16 * 8;
    const bf16 *k_row = k + (lane / 16 * 8 + lane % 8) * row_of<HD>::PITCH + lane / 8 % 2 * 8;
#pragma unroll
    for (int d = 0; d < HD; d += 16) {
        unsigned left[4];
        cuda_load_matrices(left, q_row + d);
#pragma unroll
        for (int n = 0; n < N; n += 16) {
            unsigned right[4];
            cuda_load_matrices(right, k_row + n * row_of<HD>::PITCH + d);
            if (mixed) {
                if (places[n + g].cls != cls)
                    right[0] = right[1] = 0;
                if (places[n + 8 + g].cls != cls)
                    right[2] = right[3] = 0;
            }
            cuda_multiply_fragments(score[n / 8], left, right);
            cuda_multiply_fragments(score[n / 8 + 1], left, right + 2);
        }
    }
}

static __device__ __forceinline__ unsigned pair_of(float low, float high)
{
    return (unsigned)__bfloat16_as_ushort(__float2bfloat16_rn(low)) |
           (unsigned)__bfloat16_as_ushort(__float2bfloat16_rn(high)) << 16;
}
} // namespace attention_tile

#endif
