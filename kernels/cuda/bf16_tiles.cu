/* bf16_tiles.cu     y = activation(x Wᵀ + b) + residual     x: BF16 [m][k], m <= 32     W: BF16 rows     y: [m][n]
 * A chunk is 64 columns, four fragments of 16, of x as of W. row_tiles.cuh has the rest. */
#include "kernels/cuda/row_tiles.cuh"

namespace
{
struct bf16_product {
    typedef bf16 W;
    enum { STEPS = 4 };
    typedef row_tiles::shape<bf16, 1, 1> any_shape;

    template <int FRAGMENTS> struct ahead {
    };

    template <int FRAGMENTS, typename Y>
    static __device__ __forceinline__ void load_ahead(ahead<FRAGMENTS> &, const row_tiles::arguments<Y, bf16> &,
                                                      int64_t, int, int)
    {
    }

    static __device__ __forceinline__ int x_place(int row, int piece)
    {
        return (piece ^ row % row_tiles::PIECES) * row_tiles::PIECE;
    }

    /* Fragments of columns 16 * step .. of tiles r and r + 1; of one tile where there is no other. */
    template <int TILES>
    static __device__ __forceinline__ void load_x(unsigned words[4], const unsigned char *x, int r, int step, int lane)
    {
        int row = r * row_tiles::TILE + (TILES > 1 ? lane / 16 * 8 : 0) + lane % 8;
        cuda_load_matrices(words, x + row * any_shape::X_LINE + x_place(row, 2 * step + lane / 8 % 2));
    }

    template <int TILES, int FRAGMENTS>
    static __device__ __forceinline__ void multiply(float total[FRAGMENTS][TILES][4], const unsigned char *w,
                                                    const unsigned char *x, const ahead<FRAGMENTS> &, int lane)
    {
#pragma unroll
        for (int step = 0; step < STEPS; step++) {
            unsigned weights[FRAGMENTS][4];
#pragma unroll
            for (int f = 0; f < FRAGMENTS; f++)
                row_tiles::load_weights(weights[f], w, f * row_tiles::FRAGMENT, 2 * step, lane);
#pragma unroll
            for (int r = 0; r < TILES; r += 2) {
                unsigned words[4];
                load_x<TILES>(words, x, r, step, lane);
#pragma unroll
                for (int f = 0; f < FRAGMENTS; f++) {
                    cuda_multiply_fragments(total[f][r], weights[f], words);
                    if (TILES > 1)
                        cuda_multiply_fragments(total[f][r + (TILES > 1)], weights[f], words + 2);
                }
            }
        }
    }
};
} // namespace

bool cuda_bf16_in_tiles(const tensor *x, const kernels_weight *w)
{
    return w->dtype == KERNELS_BF16 && x->dim[0] <= CUDA_TILE_ROWS && cuda_in_packs(x, 8);
}

void cuda_bf16_tiles(kernels_stream *s, tensor *y, const tensor *x, const kernels_weight *w,
                     kernels_activation activation, const tensor *residual, size_t reserved)
{
    row_tiles::linear<bf16_product>(s, y, x, w, w->k, activation, residual, reserved);
}
