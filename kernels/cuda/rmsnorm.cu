/* rmsnorm.cu     y = x * w / sqrt(mean(x²) + eps)     x, y: [m][d]     w: [d]
 * One block a row. Squares are summed in float64: they reach beyond float32. A thread's first pack stays in registers;
 * rows longer than 1024 packs are read a second time. */
#include "kernels/cuda/device.cuh"

template <typename Y, int N>
static __global__ void rmsnorm_kernel(Y *y, int64_t y_stride, const float *x, int64_t x_stride, const float *w,
                                      int64_t d, float eps)
{
    cuda_carve carve;
    double *room = carve.take<double>(CUDA_WARP), sum = 0;
    const float *from = x + blockIdx.x * x_stride;
    Y *to = y + blockIdx.x * y_stride;
    int64_t first = (int64_t)N * threadIdx.x, step = (int64_t)N * blockDim.x;
    float held[N] = {};
    for (int64_t at = first; at < d; at += step) {
        float values[N];
        cuda_load_pack<N>(values, from + at);
#pragma unroll
        for (int i = 0; i < N; i++) {
            sum += (double)values[i] * (double)values[i];
            held[i] = at == first ? values[i] : held[i];
        }
    }
    float scale = (float)(1.0 / sqrt(cuda_block_sum(sum, room) / (double)d + (double)eps));
    for (int64_t at = first; at < d; at += step) {
        float weights[N];
        cuda_load_pack<N>(weights, w + at);
        if (at != first)
            cuda_load_pack<N>(held, from + at);
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
                cuda_row_threads(packs ? d / 4 : d), cuda_shared<double>(CUDA_WARP), cuda_data<Y>(y), y->stride,
                cuda_data<float>(x), x->stride, cuda_data<float>(w), d, eps);
}

void cuda_rmsnorm(kernels_stream *s, tensor *y, const tensor *x, const tensor *w, float eps)
{
    if (!cuda_begin(s) || !check_norm(s, "rmsnorm", y, x, w, NULL) || cuda_nothing(y))
        return;
    cuda_by_dtype(y->dtype, [&](auto to) { rmsnorm_launch<decltype(to)>(s, y, x, w, eps); });
}
