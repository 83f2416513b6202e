/* im2col3.cu     y[i][c * 3 + t] = x[i * stride + t - 1][c], zero outside     x: F32 [n][c]     y: [n_out][3 c] */
#include "kernels/cuda/device.cuh"

enum { THREADS = 256 };

template <typename Y>
static __global__ void im2col3_kernel(Y *y, int64_t y_stride, const float *x, int64_t x_stride, int64_t n, int64_t d,
                                      int64_t n_out, int step)
{
    int64_t column = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (column >= 3 * d)
        return;
    for (int64_t row = blockIdx.y; row < n_out; row += gridDim.y) {
        int64_t from = row * step + column % 3 - 1;
        cuda_store(y + row * y_stride + column, from >= 0 && from < n ? x[from * x_stride + column / 3] : 0.0f);
    }
}

void cuda_im2col3(kernels_stream *s, tensor *y, const tensor *x, int stride)
{
    if (!cuda_begin(s) || !check_im2col3(s, y, x, stride) || cuda_nothing(y))
        return;
    int64_t n_out = y->dim[0], d = tensor_cols(x);
    cuda_by_dtype(y->dtype, [&](auto type) {
        typedef decltype(type) Y;
        cuda_launch(s, "im2col3", im2col3_kernel<Y>, cuda_grid(n_out, 3 * d, THREADS), THREADS, 0, cuda_data<Y>(y),
                    y->stride, cuda_data<float>(x), x->stride, x->dim[0], d, n_out, stride);
    });
}
