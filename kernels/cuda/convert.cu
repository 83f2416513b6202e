/* convert.cu     y = x with another dtype     x, y: [m][d] */
#include "kernels/cuda/device.cuh"

enum { THREADS = 256 };

template <typename Y, typename X, int N>
static __global__ void convert_kernel(Y *y, int64_t y_stride, const X *x, int64_t x_stride, int64_t m, int64_t d)
{
    int64_t column = N * ((int64_t)blockIdx.x * THREADS + threadIdx.x);
    if (column >= d)
        return;
    for (int64_t row = blockIdx.y; row < m; row += gridDim.y) {
        float values[N];
        cuda_load_pack<N>(values, x + row * x_stride + column);
        cuda_store_pack<N>(y + row * y_stride + column, values);
    }
}

template <typename Y, typename X> static void convert_launch(kernels_stream *s, tensor *y, const tensor *x)
{
    int64_t m = y->dim[0], d = tensor_cols(y);
    bool packs = cuda_in_packs(y, 8) && cuda_in_packs(x, 8);
    cuda_launch(s, "convert", packs ? convert_kernel<Y, X, 8> : convert_kernel<Y, X, 1>,
                cuda_grid(m, d, (packs ? 8 : 1) * THREADS), THREADS, 0, cuda_data<Y>(y), y->stride, cuda_data<X>(x),
                x->stride, m, d);
}

void cuda_convert(kernels_stream *s, tensor *y, const tensor *x)
{
    if (!cuda_begin(s) || !check_convert(s, y, x) || cuda_nothing(y))
        return;
    cuda_by_dtype(y->dtype, [&](auto to) {
        cuda_by_dtype(x->dtype, [&](auto from) { convert_launch<decltype(to), decltype(from)>(s, y, x); });
    });
}
