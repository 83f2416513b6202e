/* few_rows.cu     y = activation(x Wᵀ + b) + residual     x: [m][k]     W: [n][stride], int8 rows too     y: [m][n]
 * One warp a feature: its lanes read the feature's weights in packs of 16 bytes, each once for ROWS rows of x, which come
 * out of the caches. For decoding the weights are nearly all that is read, so this runs at the memory's speed. Any m goes:
 * blocks along y take ROWS rows each. */
#include "kernels/cuda/activation.cuh"
#include "kernels/cuda/device.cuh"

enum { WARPS = 8, ROWS = 4 };

template <typename Y, typename X, typename W> struct few_arguments {
    Y *y;
    const X *x;
    const W *w;
    const float *bias, *residual; /* or NULL */
    int64_t y_stride, x_stride, w_stride, residual_stride, m, n, k;
    int64_t numbers; /* of an int8 row: where its scales begin */
    kernels_activation activation;
};

/* Weights at .. at + N - 1 of a row. */
template <int N, typename W>
static __device__ __forceinline__ void few_weights(float to[N], const W *row, int64_t at, int64_t numbers)
{
    cuda_load_pack<N>(to, row + at);
    if constexpr (sizeof(W) == 1) {
        float scale = cuda_int8_scale(row, numbers, at);
#pragma unroll
        for (int i = 0; i < N; i++)
            to[i] *= scale;
    }
}

/* sums[r] += this lane's share of x[r] · w over k columns in packs of N. */
template <int N, typename X, typename W>
static __device__ __forceinline__ void few_sums(float sums[ROWS], const X *x, int64_t x_stride, int n_rows, const W *w,
                                                int64_t numbers, int64_t k, int lane)
{
    for (int64_t at = N * lane; at < k; at += N * CUDA_WARP) {
        float weights[N];
        few_weights<N>(weights, w, at, numbers);
#pragma unroll
        for (int r = 0; r < ROWS; r++)
            if (r < n_rows) {
                float values[N];
                cuda_load_pack<N>(values, x + r * x_stride + at);
#pragma unroll
                for (int i = 0; i < N; i++)
                    sums[r] += values[i] * weights[i];
            }
    }
}

template <typename Y, typename X, typename W, int N> static __global__ void few_kernel(few_arguments<Y, X, W> a)
{
    int lane = threadIdx.x % CUDA_WARP;
    int64_t feature = (int64_t)blockIdx.x * WARPS + threadIdx.x / CUDA_WARP, row = (int64_t)blockIdx.y * ROWS;
    if (feature >= a.n)
        return;
    int n_rows = a.m - row < ROWS ? (int)(a.m - row) : (int)ROWS;
    float sums[ROWS] = {};
    few_sums<N>(sums, a.x + row * a.x_stride, a.x_stride, n_rows, a.w + feature * a.w_stride, a.numbers, a.k, lane);
#pragma unroll
    for (int r = 0; r < ROWS; r++)
        if (r < n_rows)
            sums[r] = cuda_warp_sum(sums[r]);
    if (lane >= n_rows)
        return;
    float sum = 0; /* lane r finishes row r */
#pragma unroll
    for (int r = 0; r < ROWS; r++)
        sum = lane == r ? sums[r] : sum;
    float value = cuda_activate(sum + (a.bias ? a.bias[feature] : 0.0f), a.activation);
    if (a.residual)
        value += a.residual[(row + lane) * a.residual_stride + feature];
    cuda_store(a.y + (row + lane) * a.y_stride + feature, value);
}

template <typename Y, typename X, typename W>
static void few_launch(kernels_stream *s, tensor *y, const tensor *x, const kernels_weight *w,
                       kernels_activation activation, const tensor *residual)
{
    const int pack = 16 / sizeof(W);
    few_arguments<Y, X, W> a = {cuda_data<Y>(y),
                                cuda_data<X>(x),
                                static_cast<const W *>(w->w),
                                w->bias,
                                residual ? cuda_data<float>(residual) : nullptr,
                                y->stride,
                                x->stride,
                                w->stride,
                                residual ? residual->stride : 0,
                                y->dim[0],
                                w->n,
                                w->k,
                                kernels_int8_numbers(w->k),
                                activation};
    int64_t at_once = 65535 * (int64_t)ROWS;
    for (int64_t row = 0; row < y->dim[0]; row += at_once) {
        a.m = y->dim[0] - row < at_once ? y->dim[0] - row : at_once;
        dim3 grid(cuda_blocks(w->n, WARPS), cuda_blocks(a.m, ROWS));
        cuda_launch(s, "linear", cuda_in_packs(x, pack) ? few_kernel<Y, X, W, pack> : few_kernel<Y, X, W, 1>, grid,
                    WARPS * CUDA_WARP, 0, a);
        a.y += at_once * a.y_stride;
        a.x += at_once * a.x_stride;
        a.residual = a.residual ? a.residual + at_once * a.residual_stride : nullptr;
    }
}

void cuda_linear_few_rows(kernels_stream *s, tensor *y, const tensor *x, const kernels_weight *w,
                          kernels_activation activation, const tensor *residual)
{
    cuda_by_dtype(y->dtype, [&](auto to) {
        cuda_by_dtype(x->dtype, [&](auto from) {
            typedef decltype(to) Y;
            typedef decltype(from) X;
            if (w->dtype == KERNELS_I8)
                few_launch<Y, X, int8_t>(s, y, x, w, activation, residual);
            else
                few_launch<Y, X, X>(s, y, x, w, activation, residual);
        });
    });
}
