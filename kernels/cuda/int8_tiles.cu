/* int8_tiles.cu     y = activation(x Wᵀ + b) + residual     x: BF16 [m][k], m <= 32     W: int8 rows with scales     y: [m][n]
 * A chunk is a group of 128 columns. Weights become bf16 in registers, which is exact, and the sums of a chunk get its scale.
 * Since a sum has no order of columns, a lane's four consecutive ones stand for its four of a fragment: the same of x and W.
 * row_tiles.cuh has the rest. */
#include "kernels/cuda/row_tiles.cuh"

namespace
{
struct int8_product {
    typedef int8_t W;
    enum { STEPS = 8 };
    typedef row_tiles::shape<int8_t, 1, 1> any_shape;
    static_assert((int)any_shape::COLUMNS == (int)KERNELS_INT8_GROUP, "a chunk has one scale a row");

    /* Scales of rows g and g + 8 of each fragment. */
    template <int FRAGMENTS> struct ahead {
        float scale[FRAGMENTS][2];
    };

    template <int FRAGMENTS, typename Y>
    static __device__ __forceinline__ void load_ahead(ahead<FRAGMENTS> &to, const row_tiles::arguments<Y, int8_t> &a,
                                                      int64_t first, int chunk, int lane)
    {
#pragma unroll
        for (int f = 0; f < FRAGMENTS; f++)
#pragma unroll
            for (int h = 0; h < 2; h++) {
                int64_t feature = first + f * row_tiles::FRAGMENT + 8 * h + lane / 4;
                bool there = feature < a.n && chunk < a.n_chunks;
                to.scale[f][h] =
                    there ? cuda_int8_scale(a.w + feature * a.w_stride, a.numbers, (int64_t)chunk * KERNELS_INT8_GROUP)
                          : 0.0f;
            }
    }

    /* Lanes of four rows read two pieces of 16 bytes each at once: in different banks. */
    static __device__ __forceinline__ int x_place(int row, int piece)
    {
        return (piece ^ row % 4 * 2) * row_tiles::PIECE;
    }

    /* Four columns of row g of a tile, at 16 * step + 4 t. */
    static __device__ __forceinline__ void load_x(unsigned words[2], const unsigned char *x, int tile, int step,
                                                  int lane)
    {
        int row = tile * row_tiles::TILE + lane / 4, t = lane % 4;
        const cuda_pack_of<unsigned, 2> pair = *reinterpret_cast<const cuda_pack_of<unsigned, 2> *>(
            x + row * any_shape::X_LINE + x_place(row, 2 * step + t / 2) + 8 * (t % 2));
        words[0] = pair.at[0];
        words[1] = pair.at[1];
    }

    /* Fragments of two steps, each a piece: the words are four columns of rows g and g + 8. */
    static __device__ __forceinline__ void load_weights(unsigned fragments[2][4], const unsigned char *w, int row,
                                                        int piece, int lane)
    {
        unsigned words[4];
        row_tiles::load_weights(words, w, row, piece, lane);
#pragma unroll
        for (int i = 0; i < 4; i++)
            cuda_words_of_int8(fragments[i / 2][i % 2], fragments[i / 2][i % 2 + 2], words[i]);
    }

    template <int TILES, int FRAGMENTS>
    static __device__ __forceinline__ void multiply(float total[FRAGMENTS][TILES][4], const unsigned char *w,
                                                    const unsigned char *x, const ahead<FRAGMENTS> &ahead, int lane)
    {
        float sums[FRAGMENTS][TILES][4] = {};
#pragma unroll
        for (int step = 0; step < STEPS; step += 2) {
            unsigned weights[FRAGMENTS][2][4];
#pragma unroll
            for (int f = 0; f < FRAGMENTS; f++)
                load_weights(weights[f], w, f * row_tiles::FRAGMENT, step, lane);
#pragma unroll
            for (int i = 0; i < 2 * TILES; i++) {
                unsigned words[2];
                load_x(words, x, i / 2, step + i % 2, lane);
#pragma unroll
                for (int f = 0; f < FRAGMENTS; f++)
                    cuda_multiply_fragments(sums[f][i / 2], weights[f][i % 2], words);
            }
        }
#pragma unroll
        for (int f = 0; f < FRAGMENTS; f++)
#pragma unroll
            for (int i = 0; i < 4 * TILES; i++)
                total[f][i / 4][i % 4] += ahead.scale[f][i % 4 / 2] * sums[f][i / 4][i % 4];
    }
};
} // namespace

bool cuda_int8_in_tiles(const tensor *x)
{
    return x->dtype == KERNELS_BF16 && x->dim[0] <= CUDA_TILE_ROWS && cuda_in_packs(x, 8);
}

void cuda_int8_tiles(kernels_stream *s, tensor *y, const tensor *x, const kernels_weight *w,
                     kernels_activation activation, const tensor *residual)
{
    row_tiles::linear<int8_product>(s, y, x, w, kernels_int8_numbers(w->k), activation, residual, 0);
}
