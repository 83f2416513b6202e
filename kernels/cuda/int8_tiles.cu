/* int8_tiles.cu     y = activation(x Wᵀ + b) + residual     x: BF16 [m][k], m <= 32     W: int8 rows with scales     y: [m][n]
 * For decoding and for questions: every weight is read once, as 16 bytes a lane, and becomes bf16 in registers, which is exact;
 * tensor cores multiply 64 columns, then the sums get their scale. A block has 16 or 32 features; its warps take chunks of
 * 64 columns in turn and add up at the end, in their order. Since a sum has no order of columns, a lane's 16 consecutive
 * columns stand for those of four fragments: the same ones of x and W. */
#include "kernels/cuda/activation.cuh"
#include "kernels/cuda/device.cuh"

enum { WARPS = 8, CHUNK = 64, LANE_COLUMNS = 16, STEPS = 4, TILE = 8, FRAGMENT = 16, PAD = 4 };

template <typename Y> struct tiles_arguments {
    Y *y;
    const bf16 *x;
    const int8_t *w;
    const float *bias, *residual; /* or NULL */
    int64_t y_stride, x_stride, w_stride, numbers, residual_stride, m, n, k;
    kernels_activation activation;
};

/* What a lane has of a chunk: 16 numbers of rows g and g + 8 of each fragment, and these rows' scales. */
template <int FRAGMENTS> struct tiles_weights {
    cuda_pack_of<unsigned, 4> q[FRAGMENTS][2];
    float scale[FRAGMENTS][2];
};

template <int FRAGMENTS, typename Y>
static __device__ __forceinline__ void tiles_load(tiles_weights<FRAGMENTS> &w, const tiles_arguments<Y> &a,
                                                  int64_t first, int64_t column, int lane)
{
    int64_t at = column + LANE_COLUMNS * (lane % 4);
#pragma unroll
    for (int f = 0; f < FRAGMENTS; f++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
            int64_t feature = first + f * FRAGMENT + h * 8 + lane / 4;
            const int8_t *row = a.w + (feature < a.n ? feature : a.n - 1) * a.w_stride;
            w.q[f][h] = {};
            if (at < a.numbers)
                w.q[f][h] = *reinterpret_cast<const cuda_pack_of<unsigned, 4> *>(row + at);
            w.scale[f][h] = column < a.numbers ? cuda_int8_scale(row, a.numbers, column) : 0.0f;
        }
}

/* 16 columns of a row of x as words of two; zeros past k and past the rows. */
template <typename Y>
static __device__ __forceinline__ void tiles_load_x(unsigned words[8], const tiles_arguments<Y> &a, int64_t row,
                                                    int64_t at)
{
#pragma unroll
    for (int h = 0; h < 2; h++) {
        cuda_pack_of<unsigned, 4> part = {};
        if (row < a.m && at + 8 * h < a.k)
            part = *reinterpret_cast<const cuda_pack_of<unsigned, 4> *>(a.x + row * a.x_stride + at + 8 * h);
#pragma unroll
        for (int i = 0; i < 4; i++)
            words[4 * h + i] = part.at[i];
    }
}

/* totals += scale (W x) over one chunk. */
template <int TILES, int FRAGMENTS, typename Y>
static __device__ __forceinline__ void tiles_multiply(float total[FRAGMENTS][TILES][4],
                                                      const tiles_weights<FRAGMENTS> &w, const tiles_arguments<Y> &a,
                                                      int64_t column, int lane)
{
    unsigned fragments[FRAGMENTS][STEPS][4]; /* rows g, g + 8 of the first two columns, then of the next two */
#pragma unroll
    for (int f = 0; f < FRAGMENTS; f++)
#pragma unroll
        for (int i = 0; i < STEPS; i++)
#pragma unroll
            for (int h = 0; h < 2; h++)
                cuda_words_of_int8(fragments[f][i][h], fragments[f][i][h + 2], w.q[f][h].at[i]);
#pragma unroll
    for (int r = 0; r < TILES; r++) {
        unsigned words[8];
        tiles_load_x(words, a, r * TILE + lane / 4, column + LANE_COLUMNS * (lane % 4));
#pragma unroll
        for (int f = 0; f < FRAGMENTS; f++) {
            float sums[4] = {};
#pragma unroll
            for (int i = 0; i < STEPS; i++)
                cuda_multiply_fragments(sums, fragments[f][i], words + 2 * i);
#pragma unroll
            for (int i = 0; i < 4; i++)
                total[f][r][i] += w.scale[f][i / 2] * sums[i];
        }
    }
}

template <typename Y, int TILES, int FRAGMENTS>
static __global__ void __launch_bounds__(WARPS *CUDA_WARP) tiles_kernel(tiles_arguments<Y> a)
{
    const int features = FRAGMENTS * FRAGMENT, stride = features + PAD, rows = TILES * TILE;
    cuda_carve carve;
    float *room = carve.take<float>(WARPS * rows * stride);
    int lane = threadIdx.x % CUDA_WARP, warp = threadIdx.x / CUDA_WARP;
    int64_t first = (int64_t)blockIdx.x * features;
    float total[FRAGMENTS][TILES][4] = {};
    tiles_weights<FRAGMENTS> now, next;
    tiles_load(now, a, first, (int64_t)CHUNK * warp, lane);
    for (int64_t column = (int64_t)CHUNK * warp; column < a.numbers; column += CHUNK * WARPS) {
        tiles_load(next, a, first, column + CHUNK * WARPS, lane);
        tiles_multiply<TILES>(total, now, a, column, lane);
        now = next;
    }
#pragma unroll
    for (int f = 0; f < FRAGMENTS; f++)
#pragma unroll
        for (int r = 0; r < TILES; r++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                room[(warp * rows + r * TILE + 2 * (lane % 4) + i % 2) * stride + f * FRAGMENT + i / 2 * 8 + lane / 4] =
                    total[f][r][i];
    __syncthreads();
    for (int i = threadIdx.x; i < features * rows; i += WARPS * CUDA_WARP) {
        int row = i / features, column = i % features;
        int64_t feature = first + column;
        if (row >= a.m || feature >= a.n)
            continue;
        float sum = 0;
#pragma unroll
        for (int w = 0; w < WARPS; w++)
            sum += room[(w * rows + row) * stride + column];
        float value = cuda_activate(sum + (a.bias ? a.bias[feature] : 0.0f), a.activation);
        if (a.residual)
            value += a.residual[row * a.residual_stride + feature];
        cuda_store(a.y + row * a.y_stride + feature, value);
    }
}

template <int TILES, int FRAGMENTS, typename Y> static void tiles_launch(kernels_stream *s, const tiles_arguments<Y> &a)
{
    const int features = FRAGMENTS * FRAGMENT;
    cuda_launch(s, "linear", tiles_kernel<Y, TILES, FRAGMENTS>, dim3(cuda_blocks(a.n, features)), WARPS * CUDA_WARP,
                cuda_shared<float>(WARPS * TILES * TILE * (features + PAD)), a);
}

bool cuda_int8_in_tiles(const tensor *x)
{
    return x->dtype == KERNELS_BF16 && x->dim[0] <= CUDA_INT8_ROWS && cuda_in_packs(x, 8);
}

void cuda_int8_tiles(kernels_stream *s, tensor *y, const tensor *x, const kernels_weight *w,
                     kernels_activation activation, const tensor *residual)
{
    /* 32 features a block read x half as often, where that still makes two blocks for each multiprocessor. */
    bool wide = w->n >= (int64_t)2 * 2 * FRAGMENT * s->backend->n_sms;
    cuda_by_dtype(y->dtype, [&](auto type) {
        typedef decltype(type) Y;
        tiles_arguments<Y> a = {cuda_data<Y>(y),
                                cuda_data<bf16>(x),
                                static_cast<const int8_t *>(w->w),
                                w->bias,
                                residual ? cuda_data<float>(residual) : nullptr,
                                y->stride,
                                x->stride,
                                w->stride,
                                kernels_int8_numbers(w->k),
                                residual ? residual->stride : 0,
                                y->dim[0],
                                w->n,
                                w->k,
                                activation};
        if (a.m <= TILE)
            tiles_launch<1, 1>(s, a);
        else if (a.m <= 2 * TILE)
            wide ? tiles_launch<2, 2>(s, a) : tiles_launch<2, 1>(s, a);
        else
            wide ? tiles_launch<4, 2>(s, a) : tiles_launch<4, 1>(s, a);
    });
}
