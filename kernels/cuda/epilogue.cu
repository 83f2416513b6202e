/* epilogue.cu     y = activation(sums + bias) + residual     sums, residual: F32 [m][n]     bias: F32 [n]
 * What cuBLASLt's own epilogues lack: the exact GELU, and a y of another type than its residual. */
#include "kernels/cuda/activation.cuh"
#include "kernels/cuda/device.cuh"

enum { THREADS = 256 };

template <typename T, int N> struct epilogue_arguments {
    T *y;
    const float *sums, *bias, *residual; /* bias, residual: or NULL */
    int64_t y_stride, sums_stride, residual_stride, m, n;
    kernels_activation activation;
};

template <typename T, int N> static __global__ void epilogue_kernel(epilogue_arguments<T, N> a)
{
    int64_t column = N * ((int64_t)blockIdx.x * THREADS + threadIdx.x);
    if (column >= a.n)
        return;
    float bias[N] = {};
    if (a.bias)
        cuda_load_pack<N>(bias, a.bias + column);
    for (int64_t row = blockIdx.y; row < a.m; row += gridDim.y) {
        float x[N], residual[N] = {};
        cuda_load_pack<N>(x, a.sums + row * a.sums_stride + column);
        if (a.residual)
            cuda_load_pack<N>(residual, a.residual + row * a.residual_stride + column);
#pragma unroll
        for (int i = 0; i < N; i++)
            x[i] = cuda_activate(x[i] + bias[i], a.activation) + residual[i];
        cuda_store_pack<N>(a.y + row * a.y_stride + column, x);
    }
}

template <typename T, int N>
static void epilogue_launch(kernels_stream *s, tensor *y, const tensor *sums, const float *bias,
                            kernels_activation activation, const tensor *residual)
{
    int64_t m = y->dim[0], n = tensor_cols(y);
    epilogue_arguments<T, N> a = {cuda_data<T>(y),
                                  cuda_data<float>(sums),
                                  bias,
                                  residual ? cuda_data<float>(residual) : nullptr,
                                  y->stride,
                                  sums->stride,
                                  residual ? residual->stride : 0,
                                  m,
                                  n,
                                  activation};
    cuda_launch(s, "linear", epilogue_kernel<T, N>, cuda_grid(m, n, N * THREADS), THREADS, 0, a);
}

void cuda_epilogue(kernels_stream *s, tensor *y, const tensor *sums, const float *bias, kernels_activation activation,
                   const tensor *residual)
{
    bool packs = cuda_in_packs(y, 4) && cuda_in_packs(sums, 4) && (!residual || cuda_in_packs(residual, 4));
    cuda_by_dtype(y->dtype, [&](auto type) {
        typedef decltype(type) T;
        if (packs)
            epilogue_launch<T, 4>(s, y, sums, bias, activation, residual);
        else
            epilogue_launch<T, 1>(s, y, sums, bias, activation, residual);
    });
}
