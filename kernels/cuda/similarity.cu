/* similarity.cu     out[i] = - min(a·b / (|a| |b|), 1 - 1e-6), 0 where a norm is 0     a, b: F32 [n][d]
 * One block a row, the three sums in float64 in one order (docs/semantics.md, section 4). */
#include "kernels/cuda/device.cuh"

enum { THREADS = 128 };

static __global__ void similarity_kernel(float *out, const float *a, int64_t a_stride, const float *b, int64_t b_stride,
                                         int64_t d)
{
    cuda_carve carve;
    double *room = carve.take<double>(3 * CUDA_WARP);
    const float *x = a + blockIdx.x * a_stride, *y = b + blockIdx.x * b_stride;
    double xx = 0, yy = 0, xy = 0;
    for (int64_t i = threadIdx.x; i < d; i += THREADS) {
        xx += (double)x[i] * (double)x[i];
        yy += (double)y[i] * (double)y[i];
        xy += (double)x[i] * (double)y[i];
    }
    xx = cuda_block_sum(xx, room);
    yy = cuda_block_sum(yy, room + CUDA_WARP);
    xy = cuda_block_sum(xy, room + 2 * CUDA_WARP);
    if (threadIdx.x > 0)
        return;
    double norm = sqrt(xx) * sqrt(yy), cosine = norm > 0 ? xy / norm : 0;
    out[blockIdx.x] = (float)-(cosine < 1 - 1e-6 ? cosine : 1 - 1e-6);
}

void cuda_similarity(kernels_stream *s, tensor *out, const tensor *a, const tensor *b)
{
    if (!cuda_begin(s) || !check_similarity(s, out, a, b) || cuda_nothing(out))
        return;
    cuda_launch(s, "similarity", similarity_kernel, dim3((unsigned)a->dim[0]), THREADS,
                cuda_shared<double>(3 * CUDA_WARP), cuda_data<float>(out), cuda_data<float>(a), a->stride,
                cuda_data<float>(b), b->stride, tensor_cols(a));
}
