/* few_tile.c: see few_tile.h. */
#include "kernels/cpu/few_tile.h"

#include <stddef.h>

#include "kernels/cpu/cpu_math.h"

enum { FEW_AHEAD = 128 /* rows of an int8 panel between the one in work and the one asked for: 8 KiB */ };

#if defined(__x86_64__)
#include <immintrin.h>

#define FEW(name)    few_avx512_##name
#define FEW_NAME     "avx512"
#define FEW_TARGET   __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")))
#define FEW_BYTES    64
#define FEW_VECTORS  4 /* 24 sums, 4 weights and a number of x fill the 32 registers */
#define FEW_LOAD(q)  (VEC) _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(q))))
#define FEW_PREFETCH 1
#define FEW_USABLE                                                                                                     \
    __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&   \
        __builtin_cpu_supports("avx512vl")
#include "kernels/cpu/few_body.h"

#define FEW(name)    few_avx2_##name
#define FEW_NAME     "avx2"
#define FEW_TARGET   __attribute__((target("avx2,fma")))
#define FEW_BYTES    32
#define FEW_VECTORS  2
#define FEW_LOAD(q)  (VEC) _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(q))))
#define FEW_PREFETCH 0
#define FEW_USABLE   __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")
#include "kernels/cpu/few_body.h"
#endif

#define FEW(name) few_plain_##name
#define FEW_NAME  "plain"
#define FEW_TARGET
#define FEW_BYTES    16
#define FEW_VECTORS  2
#define FEW_LOAD(q)  ((VEC){(q)[0], (q)[1], (q)[2], (q)[3]})
#define FEW_PREFETCH 0
#define FEW_USABLE   true
#include "kernels/cpu/few_body.h"

const few_isa *const few_all[] = {
#if defined(__x86_64__)
    &few_avx512_isa, &few_avx2_isa,
#endif
    &few_plain_isa, NULL};

const few_isa *few_choose(void)
{
    int i = 0;
    while (!few_all[i]->usable())
        i++;
    return few_all[i];
}
