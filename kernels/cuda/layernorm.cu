/* layernorm.cu     y = (x - mean) / sqrt(var + eps) * w + b     x, y: [m][d]     w, b: [d]
 * One block a row; var is the population variance, from the differences to the mean. A thread's first pack stays in
 * registers; rows longer than 1024 packs are read again. */
#include "kernels/cuda/device.cuh"

template <typename Y, int N>
static __global__ void layernorm_kernel(Y *y, int64_t y_stride, const float *x, int64_t x_stride, const float *w,
                                        const float *b, int64_t d, float eps)
{
    cuda_carve carve;
    float *room = carve.take<float>(CUDA_WARP), *room2 = carve.take<float>(CUDA_WARP);
    const float *from = x + blockIdx.x * x_stride;
    Y *to = y + blockIdx.x * y_stride;
    int64_t first = (int64_t)N * threadIdx.x, step = (int64_t)N * blockDim.x;
    float held[N] = {}, values[N], sum = 0, squares = 0;
    if (first < d)
        cuda_load_pack<N>(held, from + first);
#pragma unroll
    for (int i = 0; i < N; i++)
        sum += held[i];
    for (int64_t at = first + step; at < d; at += step) {
        cuda_load_pack<N>(values, from + at);
#pragma unroll
        for (int i = 0; i < N; i++)
            sum += values[i];
    }
    float mean = cuda_block_sum(sum, room) / (float)d;
    for (int64_t at = first; at < d; at += step) {
        if (at != first)
            cuda_load_pack<N>(values, from + at);
#pragma unroll
        for (int i = 0; i < N; i++) {
            float difference = (at == first ? held[i] : values[i]) - mean;
            squares += difference * difference;
        }
    }
    float scale = 1.0f / sqrtf(cuda_block_sum(squares, room2) / (float)d + eps);
    for (int64_t at = first; at < d; at += step) {
        float weights[N], biases[N];
        cuda_load_pack<N>(weights, w + at);
        cuda_load_pack<N>(biases, b + at);
        if (at != first)
            cuda_load_pack<N>(held, from + at);
#pragma unroll
        for (int i = 0; i < N; i++)
            weights[i] = (held[i] - mean) * scale * weights[i] + biases[i];
        cuda_store_pack<N>(to + at, weights);
    }
}

template <typename Y>
static void layernorm_launch(kernels_stream *s, tensor *y, const tensor *x, const tensor *w, const tensor *b, float eps)
{
    int64_t d = tensor_cols(x);
    bool packs = cuda_in_packs(y, 4) && cuda_in_packs(x, 4) && cuda_at_pack(w->data) && cuda_at_pack(b->data);
    cuda_launch(s, "layernorm", packs ? layernorm_kernel<Y, 4> : layernorm_kernel<Y, 1>, dim3((unsigned)x->dim[0]),
                cuda_row_threads(packs ? d / 4 : d), 2 * cuda_shared<float>(CUDA_WARP), cuda_data<Y>(y), y->stride,
                cuda_data<float>(x), x->stride, cuda_data<float>(w), cuda_data<float>(b), d, eps);
}

void cuda_layernorm(kernels_stream *s, tensor *y, const tensor *x, const tensor *w, const tensor *b, float eps)
{
    if (!cuda_begin(s) || !check_norm(s, "layernorm", y, x, w, b) || cuda_nothing(y))
        return;
    cuda_by_dtype(y->dtype, [&](auto to) { layernorm_launch<decltype(to)>(s, y, x, w, b, eps); });
}
