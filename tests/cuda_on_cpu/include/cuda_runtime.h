/* cuda_runtime.h of the emulation: what device code says (threadIdx, __syncthreads, shuffles, atomics …) and starting a
 * kernel. One fiber is one CUDA thread; blocks run one after another. */
#ifndef OMNID_EMULATED_CUDA_RUNTIME_H
#define OMNID_EMULATED_CUDA_RUNTIME_H

#include <math.h>
#include <cstdint>
#include <cstring>
#include <functional>
#include <tuple>
#include <type_traits>

#include <cuda_runtime_api.h>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) alignas(n)

struct uint3 {
    unsigned x, y, z;
};

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned vx = 1, unsigned vy = 1, unsigned vz = 1) : x(vx), y(vy), z(vz) {}
};

#define OMNID_EMULATED_VECTOR(type, name, bytes)                                                                       \
    struct alignas(2 * bytes) name##2                                                                                  \
    {                                                                                                                  \
        type x, y;                                                                                                     \
    };                                                                                                                 \
    struct alignas(4 * bytes < 16 ? 4 * bytes : 16) name##4                                                            \
    {                                                                                                                  \
        type x, y, z, w;                                                                                               \
    };                                                                                                                 \
    static inline name##2 make_##name##2(type x, type y)                                                               \
    {                                                                                                                  \
        return {x, y};                                                                                                 \
    }                                                                                                                  \
    static inline name##4 make_##name##4(type x, type y, type z, type w)                                               \
    {                                                                                                                  \
        return {x, y, z, w};                                                                                           \
    }
OMNID_EMULATED_VECTOR(float, float, 4)
OMNID_EMULATED_VECTOR(int, int, 4)
OMNID_EMULATED_VECTOR(unsigned, uint, 4)
OMNID_EMULATED_VECTOR(unsigned char, uchar, 1)
#undef OMNID_EMULATED_VECTOR
struct alignas(16) double2 {
    double x, y;
};

namespace cuda_emulation
{
void wait_for_block();
/* Waits until every lane of the mask has come with the same `evaluate`, which then runs once over all lanes' data. */
typedef void evaluate_lanes(void *const data[32], unsigned mask);
void wait_for_lanes(unsigned mask, void *data, evaluate_lanes *evaluate, const char *what);
unsigned lane();
unsigned lanes_alive();
/* One of this block's pieces of shared memory, the next at *used; see device_inline.h. */
void *take_shared(size_t *used, size_t size);
/* Copies that are done when waited for (cp.async). */
void copy_later(void *to, const void *from, size_t size, size_t valid);
void copies_commit();
void copies_wait(int n_left);
[[noreturn]] void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

cudaError_t launch(const void *kernel, dim3 grid, dim3 block, size_t shared, cudaStream_t stream,
                   std::function<void()> body);
/* Words of a kernel's arguments that point to memory no device could read. */
void check_argument(const void *argument, size_t size);
cudaError_t allow_shared(const void *kernel, int size);
cudaError_t find_code(cudaFuncAttributes *attributes, const void *kernel);
} // namespace cuda_emulation

extern uint3 threadIdx, blockIdx; /* of the thread that runs */
extern dim3 blockDim, gridDim;
static const int warpSize = 32;

/* ---- starting a kernel ---- */

struct cudaLaunchAttribute {
    int id, val;
};

struct cudaLaunchConfig_t {
    dim3 gridDim, blockDim;
    size_t dynamicSmemBytes;
    cudaStream_t stream;
    cudaLaunchAttribute *attrs;
    unsigned numAttrs;
};

template <typename... Parameters, typename... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t *config, void (*kernel)(Parameters...),
                               Arguments &&...arguments)
{
    static_assert((std::is_trivially_copyable<Parameters>::value && ...), "a kernel's arguments are copied as bytes");
    std::tuple<Parameters...> copy(static_cast<Parameters>(arguments)...);
    std::apply([](const auto &...a) { (cuda_emulation::check_argument(&a, sizeof a), ...); }, copy);
    return cuda_emulation::launch(reinterpret_cast<const void *>(kernel), config->gridDim, config->blockDim,
                                  config->dynamicSmemBytes, config->stream,
                                  [kernel, copy] { std::apply(kernel, copy); });
}

template <typename... Parameters>
cudaError_t cudaFuncSetAttribute(void (*kernel)(Parameters...), cudaFuncAttribute attribute, int value)
{
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize)
        return cudaSuccess;
    return cuda_emulation::allow_shared(reinterpret_cast<const void *>(kernel), value);
}

template <typename T> cudaError_t cudaFuncGetAttributes(cudaFuncAttributes *attributes, T *kernel)
{
    return cuda_emulation::find_code(attributes, reinterpret_cast<const void *>(kernel));
}

/* ---- barriers, shuffles, votes ---- */

static inline void __syncthreads()
{
    cuda_emulation::wait_for_block();
}

static inline void __syncwarp(unsigned mask = 0xffffffffu)
{
    cuda_emulation::wait_for_lanes(
        mask, nullptr, [](void *const *, unsigned) {}, "__syncwarp");
}

static inline void __threadfence() {}
static inline void __threadfence_block() {}
static inline void __threadfence_system() {}

namespace cuda_emulation
{
template <typename T> struct shuffle {
    T value, result;
    int from; /* lane */
};

template <typename T> static void evaluate_shuffle(void *const data[32], unsigned mask)
{
    for (int i = 0; i < 32; i++)
        if (mask >> i & 1) {
            shuffle<T> *s = static_cast<shuffle<T> *>(data[i]);
            if (!(mask >> s->from & 1))
                die("a shuffle reads lane %d, which is not in the mask %08x", s->from, mask);
            s->result = static_cast<shuffle<T> *>(data[s->from])->value;
        }
}

template <typename T> static T shuffle_from(unsigned mask, T value, int from)
{
    shuffle<T> s = {value, value, from};
    wait_for_lanes(mask, &s, evaluate_shuffle<T>, "a shuffle");
    return s.result;
}
} // namespace cuda_emulation

template <typename T> static T __shfl_sync(unsigned mask, T value, int from, int width = 32)
{
    int lane = static_cast<int>(cuda_emulation::lane());
    return cuda_emulation::shuffle_from(mask, value, (lane & ~(width - 1)) | (from & (width - 1)));
}

template <typename T> static T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32)
{
    int lane = static_cast<int>(cuda_emulation::lane()), from = lane ^ bits;
    return cuda_emulation::shuffle_from(mask, value, from < (lane & ~(width - 1)) + width ? from : lane);
}

template <typename T> static T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32)
{
    int lane = static_cast<int>(cuda_emulation::lane()), from = lane - static_cast<int>(by);
    return cuda_emulation::shuffle_from(mask, value, from >= (lane & ~(width - 1)) ? from : lane);
}

template <typename T> static T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32)
{
    int lane = static_cast<int>(cuda_emulation::lane()), from = lane + static_cast<int>(by);
    return cuda_emulation::shuffle_from(mask, value, from < (lane & ~(width - 1)) + width ? from : lane);
}

namespace cuda_emulation
{
struct vote {
    bool set;
    unsigned result;
};

static inline void evaluate_vote(void *const data[32], unsigned mask)
{
    unsigned ballot = 0;
    for (int i = 0; i < 32; i++)
        if (mask >> i & 1 && static_cast<vote *>(data[i])->set)
            ballot |= 1u << i;
    for (int i = 0; i < 32; i++)
        if (mask >> i & 1)
            static_cast<vote *>(data[i])->result = ballot;
}
} // namespace cuda_emulation

static inline unsigned __ballot_sync(unsigned mask, int set)
{
    cuda_emulation::vote v = {set != 0, 0};
    cuda_emulation::wait_for_lanes(mask, &v, cuda_emulation::evaluate_vote, "a vote");
    return v.result;
}

static inline int __any_sync(unsigned mask, int set)
{
    return __ballot_sync(mask, set) != 0;
}

static inline int __all_sync(unsigned mask, int set)
{
    return __ballot_sync(mask, set) == mask;
}

static inline unsigned __activemask()
{
    return cuda_emulation::lanes_alive();
}

/* All lanes of the mask get op over their values. */
template <typename T, typename Op> static T omnid_emulated_reduce(unsigned mask, T value, Op op)
{
    T result = value;
    bool first = true;
    for (int i = 0; i < 32; i++)
        if (mask >> i & 1) {
            T other = __shfl_sync(mask, value, i);
            result = first ? other : op(result, other);
            first = false;
        }
    return result;
}
static inline unsigned __reduce_add_sync(unsigned mask, unsigned value)
{
    return omnid_emulated_reduce(mask, value, [](unsigned a, unsigned b) { return a + b; });
}
static inline int __reduce_add_sync(unsigned mask, int value)
{
    return omnid_emulated_reduce(mask, value, [](int a, int b) { return a + b; });
}
template <typename T> static T __reduce_min_sync(unsigned mask, T value)
{
    return omnid_emulated_reduce(mask, value, [](T a, T b) { return a < b ? a : b; });
}
template <typename T> static T __reduce_max_sync(unsigned mask, T value)
{
    return omnid_emulated_reduce(mask, value, [](T a, T b) { return a > b ? a : b; });
}

/* ---- atomics: one thread runs at a time ---- */

template <typename T, typename V> static T atomicAdd(T *at, V value)
{
    T old = *at;
    *at = static_cast<T>(old + static_cast<T>(value));
    return old;
}
template <typename T, typename V> static T atomicMax(T *at, V value)
{
    T old = *at;
    *at = old < static_cast<T>(value) ? static_cast<T>(value) : old;
    return old;
}
template <typename T, typename V> static T atomicMin(T *at, V value)
{
    T old = *at;
    *at = static_cast<T>(value) < old ? static_cast<T>(value) : old;
    return old;
}
template <typename T, typename V> static T atomicOr(T *at, V value)
{
    T old = *at;
    *at = old | static_cast<T>(value);
    return old;
}
template <typename T, typename V> static T atomicExch(T *at, V value)
{
    T old = *at;
    *at = static_cast<T>(value);
    return old;
}
template <typename T, typename V, typename W> static T atomicCAS(T *at, V expected, W value)
{
    T old = *at;
    if (old == static_cast<T>(expected))
        *at = static_cast<T>(value);
    return old;
}

/* ---- bits and arithmetic ---- */

template <typename T> static inline T __ldg(const T *at)
{
    return *at;
}
static inline unsigned __float_as_uint(float x)
{
    unsigned bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
static inline float __uint_as_float(unsigned bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
/* Byte i of the result is byte (selector >> 4 i) & 7 of b above a. */
static inline unsigned __byte_perm(unsigned a, unsigned b, unsigned selector)
{
    std::uint64_t bytes = static_cast<std::uint64_t>(b) << 32 | a;
    unsigned out = 0;
    for (int i = 0; i < 4; i++)
        out |= static_cast<unsigned>(bytes >> 8 * (selector >> 4 * i & 7) & 0xff) << 8 * i;
    return out;
}

static inline int __float_as_int(float x)
{
    return static_cast<int>(__float_as_uint(x));
}
static inline float __int_as_float(int bits)
{
    return __uint_as_float(static_cast<unsigned>(bits));
}
static inline int __popc(unsigned x)
{
    return __builtin_popcount(x);
}
static inline int __popcll(unsigned long long x)
{
    return __builtin_popcountll(x);
}
static inline int __ffs(unsigned x)
{
    return __builtin_ffs(static_cast<int>(x));
}
static inline int __clz(int x)
{
    return x ? __builtin_clz(static_cast<unsigned>(x)) : 32;
}
#define __expf(x) expf(x) /* glibc has a name of its own there */
static inline float __fdividef(float a, float b)
{
    return a / b;
}
static inline float rsqrtf(float x)
{
    return 1.0f / sqrtf(x);
}
static inline double rsqrt(double x)
{
    return 1.0 / sqrt(x);
}
static inline float __fmul_rn(float a, float b)
{
    return a * b;
}
static inline float __fadd_rn(float a, float b)
{
    return a + b;
}
static inline float __fsub_rn(float a, float b)
{
    return a - b;
}
static inline float __fdiv_rn(float a, float b)
{
    return a / b;
}
static inline double __dmul_rn(double a, double b)
{
    return a * b;
}
static inline double __dadd_rn(double a, double b)
{
    return a + b;
}
static inline double __ddiv_rn(double a, double b)
{
    return a / b;
}
static inline float __double2float_rn(double x)
{
    return static_cast<float>(x);
}
template <typename T> static inline T min(T a, T b)
{
    return b < a ? b : a;
}
template <typename T> static inline T max(T a, T b)
{
    return a < b ? b : a;
}

#endif
