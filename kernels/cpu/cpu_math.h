/* cpu_math.h: what the row loops of the cpu backend share: runtime dispatch, a vectorisable exp, loads and stores. */
#ifndef OMNID_KERNELS_CPU_MATH_H
#define OMNID_KERNELS_CPU_MATH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/number.h"

/* Before a function that holds one hot loop: the function is compiled three times and the machine picks at load time.
 * An OpenMP region must be in the caller, not in the function: its outlined body would not be cloned. Sanitizers do not
 * survive the resolver, which runs before they are set up; clang 14 and non-glibc systems have no working one. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12 &&         \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define CPU_CLONES __attribute__((target_clones("default", "avx2", "arch=x86-64-v4")))
#else
#define CPU_CLONES
#endif

#define CPU_INLINE static inline __attribute__((always_inline))

/* CPU_TILE: a function of a register tile, compiled for each of its constant sizes; CPU_UNROLL: before its loops over the
 * tile. Not under sanitizers: their checks would make minutes of compiling out of it. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CPU_TILE static __attribute__((noinline))
#define CPU_UNROLL
#elif defined(__clang__)
#define CPU_TILE   CPU_INLINE
#define CPU_UNROLL _Pragma("clang loop unroll(full)")
#else
#define CPU_TILE   CPU_INLINE
#define CPU_UNROLL _Pragma("GCC unroll 16")
#endif

/* e^x for loops: relative error below 2e-7, 0 below -87.33 (-inf too), e^88.37 above 88.37, NaN stays NaN. Range
 * reduction by two-part ln 2 and the degree-6 polynomial of Cephes' expf. */
CPU_INLINE float cpu_exp(float x)
{
    const float round = 0x1.8p23f; /* adding it leaves the nearest integer in the low bits */
    float y = x > 88.37f ? 88.37f : x;
    y = y < -87.33f ? -87.33f : y;
    float shifted = y * 1.44269504088896341f + round;
    float n = shifted - round;
    float r = y - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    float scale = number_from_bits((number_bits(shifted) << 23) + 0x3f800000u); /* 2^n */
    return x < -87.33f ? 0.0f : p * scale;
}

/* The exact GELU, x Φ(x) = x / 2 (1 + erf(x / √2)), for loops: erf by Abramowitz and Stegun's 7.1.26, absolute error below
 * 3e-7; of the result below 3e-7 |x|. */
CPU_INLINE float cpu_gelu(float x)
{
    float z = x * 0.70710678118654752f, a = z < 0 ? -z : z;
    float t = 1.0f / (1.0f + 0.3275911f * a);
    float p = 1.061405429f;
    p = p * t - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    float tail = p * t * cpu_exp(-a * a); /* 1 - erf(a) */
    return 0.5f * x * (z < 0 ? tail : 2.0f - tail);
}

/* Element i of a run of f32 or bf16, and its store. bf16 is a constant where these are used: one loop each after inlining. */
CPU_INLINE float cpu_load(const void *data, bool bf16, int64_t i)
{
    return bf16 ? f32_from_bf16(((const uint16_t *)data)[i]) : ((const float *)data)[i];
}

CPU_INLINE void cpu_store(void *data, bool bf16, int64_t i, float x)
{
    if (bf16)
        ((uint16_t *)data)[i] = bf16_from_f32(x);
    else
        ((float *)data)[i] = x;
}

#endif
