/* pool2.cu     y[i] = (x[2 i] + x[2 i + 1]) / 2     x: F32 [n][d]     y: F32 [n / 2][d] */
#include "kernels/cuda/device.cuh"

enum { THREADS = 128 };

template <int N>
static __global__ void pool2_kernel(float *y, int64_t y_stride, const float *x, int64_t x_stride, int64_t n, int64_t d)
{
    int64_t column = N * ((int64_t)blockIdx.x * THREADS + threadIdx.x);
    if (column >= d)
        return;
    for (int64_t row = blockIdx.y; row < n; row += gridDim.y) {
        float a[N], b[N];
        cuda_load_pack<N>(a, x + 2 * row * x_stride + column);
        cuda_load_pack<N>(b, x + (2 * row + 1) * x_stride + column);
#pragma unroll
        for (int i = 0; i < N; i++)
            a[i] = 0.5f * a[i] + 0.5f * b[i];
        cuda_store_pack<N>(y + row * y_stride + column, a);
    }
}

void cuda_pool2(kernels_stream *s, tensor *y, const tensor *x)
{
    if (!cuda_begin(s) || !check_pool2(s, y, x) || cuda_nothing(y))
        return;
    int64_t n = y->dim[0], d = tensor_cols(y);
    bool packs = cuda_in_packs(y, 4) && cuda_in_packs(x, 4);
    cuda_launch(s, "pool2", packs ? pool2_kernel<4> : pool2_kernel<1>, cuda_grid(n, d, (packs ? 4 : 1) * THREADS),
                THREADS, 0, cuda_data<float>(y), y->stride, cuda_data<float>(x), x->stride, n, d);
}
