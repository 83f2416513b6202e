/* pack.cu: rows of a weight as the checkpoint has them -> rows as products read them.
 * from: [n][k] dense, F32, BF16 or F16     to: [n][k] with rows `stride` apart, F32 or BF16 */
#include "kernels/cuda/device.cuh"

enum { THREADS = 256 };

template <typename T, typename From>
static __global__ void pack_kernel(T *to, int64_t stride, const From *from, int64_t n, int64_t k)
{
    int64_t column = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (column >= k)
        return;
    for (int64_t row = blockIdx.y; row < n; row += gridDim.y)
        cuda_store(to + row * stride + column, cuda_load(from + row * k + column));
}

template <typename T>
static void pack_to(kernels_stream *s, T *to, int64_t stride, const void *from, kernels_dtype from_dtype, int64_t n,
                    int64_t k)
{
    dim3 grid = cuda_grid(n, k, THREADS);
    if (from_dtype == KERNELS_F16)
        cuda_launch(s, "pack", pack_kernel<T, __half>, grid, THREADS, 0, to, stride, (const __half *)from, n, k);
    else if (from_dtype == KERNELS_BF16)
        cuda_launch(s, "pack", pack_kernel<T, bf16>, grid, THREADS, 0, to, stride, (const bf16 *)from, n, k);
    else
        cuda_launch(s, "pack", pack_kernel<T, float>, grid, THREADS, 0, to, stride, (const float *)from, n, k);
}

void cuda_pack_rows(kernels_stream *s, void *to, kernels_dtype dtype, int64_t stride, const void *from,
                    kernels_dtype from_dtype, int64_t n, int64_t k)
{
    if (n * k == 0)
        return;
    if (dtype == KERNELS_BF16)
        pack_to(s, static_cast<bf16 *>(to), stride, from, from_dtype, n, k);
    else
        pack_to(s, static_cast<float *>(to), stride, from, from_dtype, n, k);
}
