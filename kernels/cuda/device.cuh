/* device.cuh: what the kernels share: loads and stores that convert, 16-byte pieces, sums over a warp and a block. */
#ifndef OMNID_CUDA_DEVICE_CUH
#define OMNID_CUDA_DEVICE_CUH

#include <cuda_fp16.h>
#include <device_inline.h>

#include "kernels/cuda/launch.cuh"

typedef __nv_bfloat16 bf16;

enum { CUDA_WARP = 32 };

/* ---- numbers ---- */

static __device__ __forceinline__ float cuda_load(const float *at)
{
    return *at;
}

static __device__ __forceinline__ float cuda_load(const bf16 *at)
{
    return __bfloat162float(*at);
}

static __device__ __forceinline__ float cuda_load(const __half *at)
{
    return __half2float(*at);
}

static __device__ __forceinline__ float cuda_load(const int8_t *at)
{
    return (float)*at;
}

/* Scale of the numbers about `column` of a stored int8 row (kernels.h) with its scales behind `numbers` bytes. */
static __device__ __forceinline__ float cuda_int8_scale(const int8_t *row, int64_t numbers, int64_t column)
{
    return cuda_load(reinterpret_cast<const bf16 *>(row + numbers) + column / KERNELS_INT8_GROUP);
}

static __device__ __forceinline__ void cuda_store(float *at, float value)
{
    *at = value;
}

static __device__ __forceinline__ void cuda_store(bf16 *at, float value)
{
    *at = __float2bfloat16_rn(value);
}

/* N numbers that are read and written at once where N * sizeof(T) is 16 or less; aligned to their size. */
template <typename T, int N> struct alignas(N * sizeof(T) < 16 ? N * sizeof(T) : 16) cuda_pack_of {
    T at[N];
};

template <int N, typename T> static __device__ __forceinline__ void cuda_load_pack(float to[N], const T *from)
{
    const cuda_pack_of<T, N> pack = *reinterpret_cast<const cuda_pack_of<T, N> *>(from);
#pragma unroll
    for (int i = 0; i < N; i++)
        to[i] = cuda_load(&pack.at[i]);
}

template <int N> static __device__ __forceinline__ void cuda_store_pack(float *to, const float from[N])
{
    static_assert(N == 1 || N % 4 == 0, "packs of 16 bytes");
    if constexpr (N == 1)
        *to = from[0];
    else
#pragma unroll
        for (int i = 0; i < N; i += 4)
            cuda_store_words(to + i, __float_as_uint(from[i]), __float_as_uint(from[i + 1]),
                             __float_as_uint(from[i + 2]), __float_as_uint(from[i + 3]));
}

/* Two numbers as the word they lie in. */
static __device__ __forceinline__ unsigned cuda_word_of(float first, float second)
{
    const __nv_bfloat162 pair = __floats2bfloat162_rn(first, second);
    unsigned word;
    memcpy(&word, &pair, sizeof word);
    return word;
}

/* Four int8 of a word as two words of two bf16; exact. With 128 added a number fits below the 24 bits of 2^23. */
static __device__ __forceinline__ void cuda_words_of_int8(unsigned &first, unsigned &second, unsigned four)
{
    const unsigned shifted = four ^ 0x80808080u, high = 0x4b000000u; /* 2^23 */
    const float offset = 8388736.0f;                                 /* 2^23 + 128 */
    unsigned bits[4];
    const unsigned bytes[4] = {0x7650u, 0x7651u, 0x7652u, 0x7653u};
#pragma unroll
    for (int i = 0; i < 4; i++)
        bits[i] = __float_as_uint(__uint_as_float(__byte_perm(shifted, high, bytes[i])) - offset);
    first = __byte_perm(bits[0], bits[1], 0x7632u); /* the upper halves are the numbers as bf16 */
    second = __byte_perm(bits[2], bits[3], 0x7632u);
}

template <int N> static __device__ __forceinline__ void cuda_store_pack(bf16 *to, const float from[N])
{
    static_assert(N == 1 || N == 2 || N == 4 || N == 8, "packs of at most 16 bytes");
    if constexpr (N == 1)
        *to = __float2bfloat16_rn(from[0]);
    else if constexpr (N == 2)
        *reinterpret_cast<unsigned *>(to) = cuda_word_of(from[0], from[1]);
    else if constexpr (N == 4)
        cuda_store_words(to, cuda_word_of(from[0], from[1]), cuda_word_of(from[2], from[3]));
    else
        cuda_store_words(to, cuda_word_of(from[0], from[1]), cuda_word_of(from[2], from[3]),
                         cuda_word_of(from[4], from[5]), cuda_word_of(from[6], from[7]));
}

/* Every row of t begins at a multiple of 16 bytes and holds whole packs of n. */
static inline bool cuda_in_packs(const tensor *t, int64_t n)
{
    int64_t size = (int64_t)kernels_dtype_size(t->dtype);
    return (uintptr_t)t->data % 16 == 0 && (t->dim[0] < 2 || t->stride * size % 16 == 0) && tensor_cols(t) % n == 0;
}

/* The same for a vector or a part of a row that begins at data. */
static inline bool cuda_at_pack(const void *data)
{
    return (uintptr_t)data % 16 == 0;
}

/* Cells of t as T. */
template <typename T> static inline T *cuda_data(const tensor *t)
{
    return static_cast<T *>(t->data);
}

/* Calls f with a float or a bf16, as the dtype is one of these two. */
template <typename F> static inline void cuda_by_dtype(kernels_dtype dtype, F f)
{
    if (dtype == KERNELS_BF16)
        f(bf16());
    else
        f(float());
}

/* ---- sums: the same order whatever the machine ---- */

template <typename T> static __device__ __forceinline__ T cuda_warp_sum(T value)
{
#pragma unroll
    for (int bits = CUDA_WARP / 2; bits > 0; bits /= 2)
        value += __shfl_xor_sync(0xffffffffu, value, bits);
    return value;
}

static __device__ __forceinline__ float cuda_warp_max(float value)
{
#pragma unroll
    for (int bits = CUDA_WARP / 2; bits > 0; bits /= 2)
        value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, bits));
    return value;
}

/* Sum over a one-dimensional block of whole warps, 1024 threads at most; every thread gets it. room: shared memory, one T a
 * warp, free again after the next barrier. */
template <typename T> static __device__ __forceinline__ T cuda_block_sum(T value, T *room)
{
    int lane = threadIdx.x % CUDA_WARP, warp = threadIdx.x / CUDA_WARP, n_warps = blockDim.x / CUDA_WARP;
    value = cuda_warp_sum(value);
    if (n_warps == 1)
        return value;
    if (lane == 0)
        room[warp] = value;
    __syncthreads();
    return cuda_warp_sum(lane < n_warps ? room[lane] : T(0));
}

/* Threads of a block that has a row for itself, n packs long: one pack a thread up to 1024. */
static inline unsigned cuda_row_threads(int64_t n)
{
    return n >= 1024 ? 1024 : (unsigned)((n + CUDA_WARP - 1) / CUDA_WARP * CUDA_WARP);
}

/* Shared memory that a piece of n T takes from a cuda_carve. */
template <typename T> static constexpr size_t cuda_shared(int n)
{
    return (n * sizeof(T) + 15) / 16 * 16;
}

/* ---- faults ---- */

static __device__ __forceinline__ void cuda_fault_at(cuda_faults *faults, cuda_fault code, int32_t index, int32_t value)
{
    if (faults->code != CUDA_FAULT_NONE)
        return;
    faults->index = index;
    faults->value = value;
    __threadfence_system();
    faults->code = code;
}

#endif
