/* rotate.cu     (a, b) -> (a cos - b sin, b cos + a sin) of pairs (x[j], x[j + head_dim / 2]) of each head, in place
 * x: [n][>= n_heads * head_dim]     cos, sin: [n][head_dim / 2] */
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/turn.cuh"

enum { THREADS = 128 };

/* Thread: N pairs side by side of one head, in rows blockIdx.y, blockIdx.y + gridDim.y, … */
template <typename T, int N>
static __global__ void rotate_kernel(T *x, int64_t x_stride, const float *cos, int64_t cos_stride, const float *sin,
                                     int64_t sin_stride, int64_t n, int64_t n_pairs, int half)
{
    int64_t pair = N * ((int64_t)blockIdx.x * THREADS + threadIdx.x);
    if (pair >= n_pairs)
        return;
    int64_t head = pair / half, j = pair % half;
    for (int64_t row = blockIdx.y; row < n; row += gridDim.y) {
        T *at = x + row * x_stride + head * 2 * half + j;
        cuda_turn<N>(at, at + half, at, at + half, cos + row * cos_stride + j, sin + row * sin_stride + j);
    }
}

void cuda_rotate(kernels_stream *s, tensor *x, const tensor *cos, const tensor *sin, int n_heads, int head_dim)
{
    if (!cuda_begin(s) || !check_rotate(s, x, cos, sin, n_heads, head_dim) || cuda_nothing(x) || n_heads == 0)
        return;
    int half = head_dim / 2;
    int64_t n = x->dim[0], n_pairs = (int64_t)n_heads * half;
    tensor heads = *x; /* the columns that turn */
    heads.dim[1] = n_pairs * 2;
    heads.dim[2] = heads.dim[3] = 1;
    bool packs = half % 4 == 0 && cuda_in_packs(&heads, 8) && cuda_in_packs(cos, 4) && cuda_in_packs(sin, 4);
    cuda_by_dtype(x->dtype, [&](auto type) {
        typedef decltype(type) T;
        cuda_launch(s, "rotate", packs ? rotate_kernel<T, 4> : rotate_kernel<T, 1>,
                    cuda_grid(n, n_pairs, (packs ? 4 : 1) * THREADS), THREADS, 0, cuda_data<T>(x), x->stride,
                    cuda_data<float>(cos), cos->stride, cuda_data<float>(sin), sin->stride, n, n_pairs, half);
    });
}
