/* add.cu     y += x     x, y: F32 [m][d] */
#include "kernels/cuda/device.cuh"

enum { THREADS = 256 };

/* Block (x, y): THREADS packs of N columns of row y, y + gridDim.y, … */
template <int N>
static __global__ void add_kernel(float *y, int64_t y_stride, const float *x, int64_t x_stride, int64_t m, int64_t d)
{
    int64_t column = N * ((int64_t)blockIdx.x * THREADS + threadIdx.x);
    if (column >= d)
        return;
    for (int64_t row = blockIdx.y; row < m; row += gridDim.y) {
        float a[N], b[N];
        cuda_load_pack<N>(a, y + row * y_stride + column);
        cuda_load_pack<N>(b, x + row * x_stride + column);
#pragma unroll
        for (int i = 0; i < N; i++)
            a[i] += b[i];
        cuda_store_pack<N>(y + row * y_stride + column, a);
    }
}

cudaError_t cuda_find_code(void)
{
    cudaFuncAttributes attributes;
    return cudaFuncGetAttributes(&attributes, add_kernel<1>);
}

void cuda_add(kernels_stream *s, tensor *y, const tensor *x)
{
    if (!cuda_begin(s) || !check_add(s, y, x) || cuda_nothing(y))
        return;
    int64_t m = y->dim[0], d = tensor_cols(y);
    int n = cuda_in_packs(y, 4) && cuda_in_packs(x, 4) ? 4 : 1;
    cuda_launch(s, "add", n == 4 ? add_kernel<4> : add_kernel<1>, cuda_grid(m, d, n * THREADS), THREADS, 0,
                cuda_data<float>(y), y->stride, cuda_data<float>(x), x->stride, m, d);
}
