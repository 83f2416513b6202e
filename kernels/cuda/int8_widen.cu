/* int8_widen.cu: stored int8 rows (kernels.h) -> rows as cuBLASLt reads them, q scale in F32 or rounded to BF16.
 * from: rows `from_stride` bytes apart, their scales behind `numbers` bytes     to: [n][numbers] */
#include "kernels/cuda/device.cuh"

enum { THREADS = 256, PACK = 16 };

template <typename T>
static __global__ void widen_kernel(T *to, const int8_t *from, int64_t from_stride, int64_t numbers, int64_t n)
{
    int64_t column = PACK * ((int64_t)blockIdx.x * THREADS + threadIdx.x);
    if (column >= numbers)
        return;
    for (int64_t row = blockIdx.y; row < n; row += gridDim.y) {
        const int8_t *stored = from + row * from_stride;
        float values[PACK], scale = cuda_int8_scale(stored, numbers, column);
        cuda_load_pack<PACK>(values, stored + column);
#pragma unroll
        for (int i = 0; i < PACK; i++)
            values[i] *= scale;
        cuda_store_pack<PACK / 2>(to + row * numbers + column, values);
        cuda_store_pack<PACK / 2>(to + row * numbers + column + PACK / 2, values + PACK / 2);
    }
}

void cuda_int8_widen(kernels_stream *s, void *to, kernels_dtype dtype, const void *from, int64_t n, int64_t k)
{
    int64_t numbers = kernels_int8_numbers(k);
    cuda_by_dtype(dtype, [&](auto type) {
        typedef decltype(type) T;
        cuda_launch(s, "linear", widen_kernel<T>, cuda_grid(n, numbers, PACK * THREADS), THREADS, 0,
                    static_cast<T *>(to), static_cast<const int8_t *>(from), kernels_int8_stride(k), numbers, n);
    });
}
