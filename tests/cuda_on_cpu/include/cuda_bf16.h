/* cuda_bf16.h of the emulation: bfloat16 by bits, rounded to nearest even as CUDA rounds. */
#ifndef OMNID_EMULATED_CUDA_BF16_H
#define OMNID_EMULATED_CUDA_BF16_H

#include <cuda_runtime.h>

#include "kernels/number.h"

struct __nv_bfloat16 {
    unsigned short bits;
};
typedef __nv_bfloat16 nv_bfloat16;

struct alignas(4) __nv_bfloat162 {
    __nv_bfloat16 x, y;
};

static inline float __bfloat162float(__nv_bfloat16 x)
{
    return f32_from_bf16(x.bits);
}
static inline __nv_bfloat16 __float2bfloat16_rn(float x)
{
    return {bf16_from_f32(x)};
}
static inline __nv_bfloat16 __float2bfloat16(float x)
{
    return {bf16_from_f32(x)};
}
static inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y)
{
    return {__float2bfloat16_rn(x), __float2bfloat16_rn(y)};
}
static inline float2 __bfloat1622float2(__nv_bfloat162 x)
{
    return {__bfloat162float(x.x), __bfloat162float(x.y)};
}
static inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 x)
{
    return x.bits;
}
static inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short x)
{
    return {x};
}

#endif
