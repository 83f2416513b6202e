/* rmsnorm.cu     y = x * w / sqrt(mean(x²) + eps)     x, y: [m][d]     w: [d]
 * One block a row. Squares are summed in float32, a few a thread, then pairs of threads and of warps: many GPUs compute two
 * float64 numbers a clock. Only a row whose sum has left float32's range is summed once more, in float64. A thread's first
 * pack stays in registers; rows longer than 1024 packs are read a second time. */
#include "kernels/cuda/device.cuh"

/* Sums of squares between these are good to float32's last places: no square overflowed, and those that vanished were less
 * than one part in 10^8 of the sum. */
#define LEAST_SUM 1e-25f
#define MOST_SUM  1e38f

/* Σ of the squares of the packs from `first` on, those of `held` besides. */
template <typename S, int N>
static __device__ __forceinline__ S sum_squares(const float held[N], const float *from, int64_t first, int64_t step,
                                                int64_t d)
{
    S sums[N], sum = 0;
#pragma unroll
    for (int i = 0; i < N; i++)
        sums[i] = (S)held[i] * (S)held[i];
    for (int64_t at = first; at < d; at += step) {
        float values[N];
        cuda_load_pack<N>(values, from + at);
#pragma unroll
        for (int i = 0; i < N; i++)
            sums[i] += (S)values[i] * (S)values[i];
    }
#pragma unroll
    for (int i = 0; i < N; i++)
        sum += sums[i];
    return sum;
}

/* each: 1 / d. */
template <typename Y, int N>
static __global__ void rmsnorm_kernel(Y *y, int64_t y_stride, const float *x, int64_t x_stride, const float *w,
                                      int64_t d, float each, float eps)
{
    cuda_carve carve;
    float *room = carve.take<float>(CUDA_WARP);
    double *wide_room = carve.take<double>(CUDA_WARP);
    const float *from = x + blockIdx.x * x_stride;
    Y *to = y + blockIdx.x * y_stride;
    int64_t first = (int64_t)N * threadIdx.x, step = (int64_t)N * blockDim.x;
    float held[N] = {}, weights[N] = {};
    if (first < d) {
        cuda_load_pack<N>(held, from + first);
        cuda_load_pack<N>(weights, w + first); /* on their way while the block adds up */
    }
    float sum = cuda_block_sum(sum_squares<float, N>(held, from, first + step, step, d), room);
    float scale = rsqrtf(sum * each + eps);
    if (!(sum > LEAST_SUM && sum < MOST_SUM)) {
        double wide = cuda_block_sum(sum_squares<double, N>(held, from, first + step, step, d), wide_room);
        scale = (float)(1.0 / sqrt(wide / (double)d + (double)eps));
    }
    for (int64_t at = first; at < d; at += step) {
        if (at != first) {
            cuda_load_pack<N>(held, from + at);
            cuda_load_pack<N>(weights, w + at);
        }
#pragma unroll
        for (int i = 0; i < N; i++)
            weights[i] *= held[i] * scale;
        cuda_store_pack<N>(to + at, weights);
    }
}

template <typename Y>
static void rmsnorm_launch(kernels_stream *s, tensor *y, const tensor *x, const tensor *w, float eps)
{
    int64_t d = tensor_cols(x);
    bool packs = cuda_in_packs(y, 4) && cuda_in_packs(x, 4) && cuda_at_pack(w->data);
    cuda_launch(s, "rmsnorm", packs ? rmsnorm_kernel<Y, 4> : rmsnorm_kernel<Y, 1>, dim3((unsigned)x->dim[0]),
                cuda_row_threads(packs ? d / 4 : d), cuda_shared<float>(CUDA_WARP) + cuda_shared<double>(CUDA_WARP),
                cuda_data<Y>(y), y->stride, cuda_data<float>(x), x->stride, cuda_data<float>(w), d, 1.0f / (float)d,
                eps);
}

void cuda_rmsnorm(kernels_stream *s, tensor *y, const tensor *x, const tensor *w, float eps)
{
    if (!cuda_begin(s) || !check_norm(s, "rmsnorm", y, x, w, NULL) || cuda_nothing(y))
        return;
    cuda_by_dtype(y->dtype, [&](auto to) { rmsnorm_launch<decltype(to)>(s, y, x, w, eps); });
}
