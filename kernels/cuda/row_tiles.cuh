/* row_tiles.cuh     y = activation(x Wᵀ + b) + residual     x: BF16 [m][k], m <= 32     W: bf16 or int8 rows     y: [m][n]
 * What bf16_tiles.cu and int8_tiles.cu share. For questions, and for answers that decode together: weights are read once and
 * are nearly all that is read, so copies of several chunks of columns are always on their way into a ring in shared memory,
 * and all features of a block meet one copy of x. Tensor cores multiply; sums have one order.
 *
 * A block has FEATURES features, a warp FRAGMENTS fragments of 16; a chunk is 128 bytes of each row of W and as many columns
 * of x. Where features are few, blocks along y share the chunks out, and a second kernel adds their sums up in order.
 *
 * A Product says how one chunk is multiplied:
 *     typedef … W;                                                of the weights: bf16 or int8_t
 *     struct ahead<FRAGMENTS>                                     what a lane needs of a chunk beside the ring
 *     load_ahead(ahead, arguments, first feature, chunk, lane)
 *     x_place(row, piece)                                         where a piece of 16 bytes of x lies in its row
 *     multiply<TILES, FRAGMENTS>(total, w, x, ahead, lane)        w: the warp's rows of the chunk, x: all rows */
#ifndef OMNID_CUDA_ROW_TILES_CUH
#define OMNID_CUDA_ROW_TILES_CUH

#include "kernels/cuda/activation.cuh"
#include "kernels/cuda/device.cuh"

namespace row_tiles
{
enum { WARPS = 4, THREADS = WARPS * CUDA_WARP, TILE = 8, FRAGMENT = 16, LINE = 128, PIECE = 16, PIECES = LINE / PIECE };
enum { LEAST_CHUNKS = 4 /* of a block that shares */, MERGE_THREADS = 256 };

template <typename Y, typename W> struct arguments {
    Y *y;
    const bf16 *x;
    const W *w;
    const float *bias, *residual; /* or NULL */
    float *parts;                 /* [n_parts][m][n], or NULL: one part, which is stored as y */
    int64_t y_stride, x_stride, w_stride, residual_stride, m, n, k;
    int64_t numbers; /* of a row of W: those behind k are zeros */
    int n_chunks, chunks_of_part, n_parts;
    kernels_activation activation;
};

template <typename W, int TILES, int FRAGMENTS> struct shape {
    enum {
        COLUMNS = LINE / sizeof(W),
        FEATURES = WARPS * FRAGMENTS * FRAGMENT,
        ROWS = TILES * TILE,
        X_LINE = COLUMNS * sizeof(bf16),
        SLOT = FEATURES * LINE + ROWS * X_LINE, /* bytes of a chunk in the ring: W, then x */
        STAGES = FRAGMENTS == 1 ? 4 : 3,
        PITCH = FEATURES + 4 /* of a row of sums */
    };
    static_assert(ROWS * PITCH * sizeof(float) <= STAGES * SLOT, "the sums take the ring's place");
};

/* Where a piece of row `row` of W lies in it: eight rows' same pieces are in different banks. */
static __device__ __forceinline__ int w_place(int row, int piece)
{
    return row * LINE + (piece ^ row % PIECES) * PIECE;
}

/* A chunk of W into a slot of the ring, zeros for what is not there. The whole block; a thread has one piece of every STEP-th
 * row, which lies equally far in each. */
template <typename Shape, typename Y, typename W>
static __device__ __forceinline__ void copy_weights(unsigned char *slot, const arguments<Y, W> &a, int64_t first,
                                                    int chunk)
{
    const int STEP = THREADS / PIECES, row = threadIdx.x / PIECES, piece = threadIdx.x % PIECES;
    const int64_t at = (int64_t)chunk * Shape::COLUMNS + piece * (PIECE / (int)sizeof(W));
    const int64_t n_left = at < a.numbers ? a.n - first : 0;
    const W *from = a.w + (first + row) * a.w_stride + at;
    slot += w_place(row, piece);
#pragma unroll
    for (int j = 0; j < Shape::FEATURES / STEP; j++, from += STEP * a.w_stride)
        cuda_copy_async(slot + j * STEP * LINE, from, row + j * STEP < n_left);
}

/* The same of x. */
template <typename Product, typename Shape, typename Y, typename W>
static __device__ __forceinline__ void copy_x(unsigned char *slot, const arguments<Y, W> &a, int chunk)
{
    const int X_PIECES = Shape::X_LINE / PIECE, STEP = THREADS / X_PIECES;
    const int row = threadIdx.x / X_PIECES, piece = threadIdx.x % X_PIECES;
    const int64_t at = (int64_t)chunk * Shape::COLUMNS + piece * (PIECE / (int)sizeof(bf16));
    const int n_rows = at < a.k ? (int)a.m : 0;
    const bf16 *from = a.x + row * a.x_stride + at;
    slot += row * Shape::X_LINE + Product::x_place(row, piece);
    static_assert(STEP % 8 == 0, "a piece lies equally far in each of a thread's rows");
#pragma unroll
    for (int j = 0; j < (Shape::ROWS + STEP - 1) / STEP; j++, from += STEP * a.x_stride)
        if (Shape::ROWS % STEP == 0 || row < Shape::ROWS)
            cuda_copy_async(slot + j * STEP * Shape::X_LINE, from, row + j * STEP < n_rows);
}

template <typename Product, typename Shape, typename Y, typename W>
static __device__ __forceinline__ void copy_chunk(unsigned char *slot, const arguments<Y, W> &a, int64_t first,
                                                  int chunk)
{
    copy_weights<Shape>(slot, a, first, chunk);
    copy_x<Product, Shape>(slot + Shape::FEATURES * LINE, a, chunk);
}

/* Four matrices: rows of W from `row` on and eight below, of a piece and of the next. */
static __device__ __forceinline__ void load_weights(unsigned words[4], const unsigned char *w, int row, int piece,
                                                    int lane)
{
    cuda_load_matrices(words, w + w_place(row + lane % FRAGMENT, piece + lane / FRAGMENT));
}

template <typename Y, typename W>
static __device__ __forceinline__ void finish(const arguments<Y, W> &a, int64_t row, int64_t feature, float sum)
{
    float value = cuda_activate(sum + (a.bias ? a.bias[feature] : 0.0f), a.activation);
    if (a.residual)
        value += a.residual[row * a.residual_stride + feature];
    cuda_store(a.y + row * a.y_stride + feature, value);
}

/* The block's sums to y, or to its part of them. room: [ROWS][PITCH]. */
template <typename Shape, typename Y, typename W>
static __device__ __forceinline__ void store_sums(const arguments<Y, W> &a, const float *room, int64_t first)
{
    float *part = a.parts ? a.parts + blockIdx.y * a.m * a.n : nullptr;
    for (int i = threadIdx.x; i < Shape::FEATURES * a.m; i += THREADS) {
        int row = i / Shape::FEATURES, column = i % Shape::FEATURES;
        int64_t feature = first + column;
        float sum = room[row * Shape::PITCH + column];
        if (feature < a.n && part)
            part[row * a.n + feature] = sum;
        else if (feature < a.n)
            finish(a, row, feature, sum);
    }
}

/* The lanes' sums of a fragment and a tile: (feature g, row 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1). */
template <typename Shape, int TILES, int FRAGMENTS>
static __device__ __forceinline__ void gather_sums(float *room, const float total[FRAGMENTS][TILES][4], int warp,
                                                   int lane)
{
#pragma unroll
    for (int f = 0; f < FRAGMENTS; f++)
#pragma unroll
        for (int r = 0; r < TILES; r++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                room[(r * TILE + 2 * (lane % 4) + i % 2) * Shape::PITCH + (warp * FRAGMENTS + f) * FRAGMENT +
                     i / 2 * 8 + lane / 4] = total[f][r][i];
}

/* Block (FEATURES features, part). */
template <typename Product, typename Y, int TILES, int FRAGMENTS>
static __global__ void __launch_bounds__(THREADS, 3) tiles_kernel(arguments<Y, typename Product::W> a)
{
    typedef shape<typename Product::W, TILES, FRAGMENTS> Shape;
    cuda_carve carve;
    unsigned char *ring = carve.take<unsigned char>(Shape::STAGES * Shape::SLOT);
    const int lane = threadIdx.x % CUDA_WARP, warp = threadIdx.x / CUDA_WARP, begin = blockIdx.y * a.chunks_of_part;
    const int end = begin + a.chunks_of_part < a.n_chunks ? begin + a.chunks_of_part : a.n_chunks;
    const int64_t first = (int64_t)blockIdx.x * Shape::FEATURES, first_of_warp = first + warp * FRAGMENTS * FRAGMENT;
    float total[FRAGMENTS][TILES][4] = {};
    typename Product::template ahead<FRAGMENTS> now, next;
    Product::load_ahead(now, a, first_of_warp, begin, lane);
#pragma unroll 1
    for (int i = 0; i < Shape::STAGES - 1; i++) {
        if (begin + i < end)
            copy_chunk<Product, Shape>(ring + i * Shape::SLOT, a, first, begin + i);
        cuda_copy_commit();
    }
    for (int chunk = begin, slot = 0, free = Shape::STAGES - 1; chunk < end; chunk++) {
        Product::load_ahead(next, a, first_of_warp, chunk + 1, lane);
        cuda_copy_wait<Shape::STAGES - 2>();
        __syncthreads(); /* the chunk is there, and all have done with the one before */
        if (chunk + Shape::STAGES - 1 < end)
            copy_chunk<Product, Shape>(ring + free * Shape::SLOT, a, first, chunk + Shape::STAGES - 1);
        cuda_copy_commit();
        const unsigned char *w = ring + slot * Shape::SLOT;
        Product::template multiply<TILES, FRAGMENTS>(total, w + warp * FRAGMENTS * FRAGMENT * LINE,
                                                     w + Shape::FEATURES * LINE, now, lane);
        now = next;
        free = slot;
        slot = slot + 1 < Shape::STAGES ? slot + 1 : 0;
    }
    __syncthreads(); /* no copy is on its way any more, and none has still to be read */
    float *room = reinterpret_cast<float *>(ring);
    gather_sums<Shape, TILES, FRAGMENTS>(room, total, warp, lane);
    __syncthreads();
    store_sums<Shape>(a, room, first);
}

/* y of the parts' sums, added in order. */
template <typename Y, typename W> static __global__ void merge_kernel(arguments<Y, W> a)
{
    int64_t i = (int64_t)blockIdx.x * MERGE_THREADS + threadIdx.x, size = a.m * a.n;
    if (i >= size)
        return;
    float sum = 0;
#pragma unroll 4
    for (int part = 0; part < a.n_parts; part++)
        sum += a.parts[part * size + i];
    finish(a, i / a.n, i % a.n, sum);
}

template <typename Product, int TILES, int FRAGMENTS, typename Y, typename W>
static void launch_shape(kernels_stream *s, const arguments<Y, W> &a)
{
    typedef shape<W, TILES, FRAGMENTS> Shape;
    const size_t shared = cuda_shared<unsigned char>(Shape::STAGES * Shape::SLOT);
    const auto kernel = tiles_kernel<Product, Y, TILES, FRAGMENTS>;
    if (!cuda_allow_shared(s, "linear", kernel, shared))
        return;
    cuda_launch(s, "linear", kernel, dim3(cuda_blocks(a.n, Shape::FEATURES), (unsigned)a.n_parts), THREADS, shared, a);
    if (a.parts)
        cuda_launch(s, "linear", merge_kernel<Y, W>, dim3(cuda_blocks(a.m * a.n, MERGE_THREADS)), MERGE_THREADS, 0, a);
}

template <typename Product, int FRAGMENTS, typename Y, typename W>
static void launch_tiles(kernels_stream *s, const arguments<Y, W> &a)
{
    if (a.m <= TILE)
        launch_shape<Product, 1, FRAGMENTS>(s, a);
    else if (a.m <= 2 * TILE)
        launch_shape<Product, 2, FRAGMENTS>(s, a);
    else
        launch_shape<Product, 4, FRAGMENTS>(s, a);
}

/* Shares the chunks out until there are two blocks a multiprocessor. False: no memory for the parts. */
template <typename Y, typename W>
static bool share_out(kernels_stream *s, arguments<Y, W> *a, int features, size_t reserved)
{
    const int blocks = (int)cuda_blocks(a->n, features), wanted = (2 * s->backend->n_sms + blocks - 1) / blocks;
    int parts = wanted < a->n_chunks / LEAST_CHUNKS ? wanted : a->n_chunks / LEAST_CHUNKS;
    parts = parts < 1 ? 1 : parts;
    a->chunks_of_part = (a->n_chunks + parts - 1) / parts;
    a->n_parts = (a->n_chunks + a->chunks_of_part - 1) / a->chunks_of_part;
    if (a->n_parts == 1)
        return true;
    size_t bytes = (size_t)(a->n_parts * a->m * a->n) * sizeof(float);
    char *scratch = static_cast<char *>(cuda_scratch_take(s, reserved + bytes));
    a->parts = scratch ? reinterpret_cast<float *>(scratch + reserved) : nullptr;
    return scratch != nullptr;
}

/* All of it, after linear's checks; x in packs of 8. Scratch memory from `reserved` bytes on is used only. */
template <typename Product>
static void linear(kernels_stream *s, tensor *y, const tensor *x, const kernels_weight *w, int64_t numbers,
                   kernels_activation activation, const tensor *residual, size_t reserved)
{
    typedef typename Product::W W;
    const int narrow = WARPS * FRAGMENT, columns = LINE / sizeof(W);
    /* Twice the features read x half as often, where that still makes two blocks for each multiprocessor. */
    const bool wide = w->n >= (int64_t)2 * 2 * narrow * s->backend->n_sms;
    cuda_by_dtype(y->dtype, [&](auto type) {
        typedef decltype(type) Y;
        arguments<Y, W> a = {};
        a.y = cuda_data<Y>(y);
        a.x = cuda_data<bf16>(x);
        a.w = static_cast<const W *>(w->w);
        a.bias = w->bias;
        a.residual = residual ? cuda_data<float>(residual) : nullptr;
        a.y_stride = y->stride;
        a.x_stride = x->stride;
        a.w_stride = w->stride;
        a.residual_stride = residual ? residual->stride : 0;
        a.m = y->dim[0];
        a.n = w->n;
        a.k = w->k;
        a.numbers = numbers;
        a.n_chunks = (int)cuda_blocks(numbers, columns);
        a.activation = activation;
        if (!share_out(s, &a, wide ? 2 * narrow : narrow, reserved))
            return;
        if (wide)
            launch_tiles<Product, 2>(s, a);
        else
            launch_tiles<Product, 1>(s, a);
    });
}
} // namespace row_tiles

#endif
