/* swiglu.cu     y = silu(x[:, :f]) * x[:, f:]     silu(g) = g / (1 + e^-g)     x: [m][2 f]     y: [m][f] */
#include "kernels/cuda/device.cuh"

enum { THREADS = 256 };

template <typename Y, typename X, int N>
static __global__ void swiglu_kernel(Y *y, int64_t y_stride, const X *x, int64_t x_stride, int64_t m, int64_t f)
{
    int64_t column = N * ((int64_t)blockIdx.x * THREADS + threadIdx.x);
    if (column >= f)
        return;
    for (int64_t row = blockIdx.y; row < m; row += gridDim.y) {
        float gate[N], up[N];
        cuda_load_pack<N>(gate, x + row * x_stride + column);
        cuda_load_pack<N>(up, x + row * x_stride + f + column);
#pragma unroll
        for (int i = 0; i < N; i++)
            gate[i] = gate[i] / (1.0f + expf(-gate[i])) * up[i]; /* e^-g = infinity: -0, not NaN */
        cuda_store_pack<N>(y + row * y_stride + column, gate);
    }
}

template <typename Y, typename X> static void swiglu_launch(kernels_stream *s, tensor *y, const tensor *x)
{
    int64_t m = y->dim[0], f = tensor_cols(y);
    bool packs = cuda_in_packs(y, 8) && cuda_in_packs(x, 8);
    cuda_launch(s, "swiglu", packs ? swiglu_kernel<Y, X, 8> : swiglu_kernel<Y, X, 1>,
                cuda_grid(m, f, (packs ? 8 : 1) * THREADS), THREADS, 0, cuda_data<Y>(y), y->stride, cuda_data<X>(x),
                x->stride, m, f);
}

void cuda_swiglu(kernels_stream *s, tensor *y, const tensor *x)
{
    if (!cuda_begin(s) || !check_swiglu(s, y, x) || cuda_nothing(y))
        return;
    cuda_by_dtype(y->dtype, [&](auto to) {
        cuda_by_dtype(x->dtype, [&](auto from) { swiglu_launch<decltype(to), decltype(from)>(s, y, x); });
    });
}
