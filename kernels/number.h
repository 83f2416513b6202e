/* number.h: the small number formats as bits, for host code of every backend. */
#ifndef OMNID_KERNELS_NUMBER_H
#define OMNID_KERNELS_NUMBER_H

#include <stdint.h>
#include <string.h>

static inline uint32_t number_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float number_from_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline float f32_from_bf16(uint16_t x)
{
    return number_from_bits((uint32_t)x << 16);
}

/* Round to nearest even; a NaN stays one (its lower half alone could hold the payload). No branch, so loops vectorise. */
static inline uint16_t bf16_from_f32(float x)
{
    uint32_t bits = number_bits(x);
    uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    uint32_t quiet = (bits >> 16) | 0x40u;
    return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
}

/* IEEE binary16 -> binary32, exact, subnormal numbers included. */
static inline float f32_from_f16(uint16_t x)
{
    uint32_t sign = (uint32_t)(x & 0x8000u) << 16;
    uint32_t exponent = (x >> 10) & 0x1fu;
    uint32_t fraction = x & 0x3ffu;
    if (exponent == 0) {
        float tiny = (float)fraction * 0x1p-24f;
        return sign ? -tiny : tiny;
    }
    if (exponent == 31)
        return number_from_bits(sign | 0x7f800000u | fraction << 13);
    return number_from_bits(sign | (exponent + 112) << 23 | fraction << 13);
}

/* IEEE binary32 -> binary16, round to nearest even; too large = infinity. */
static inline uint16_t f16_from_f32(float x)
{
    uint32_t bits = number_bits(x);
    uint32_t sign = (bits >> 16) & 0x8000u;
    uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u);
    if (magnitude >= 0x477ff000u) /* 65520 and up round to infinity */
        return (uint16_t)(sign | 0x7c00u);
    if (magnitude < 0x38800000u) { /* below 2^-14: adding 0.5 leaves the multiple of 2^-24 in the low bits, rounded */
        float shifted = number_from_bits(magnitude) + 0.5f;
        return (uint16_t)(sign | (number_bits(shifted) - 0x3f000000u));
    }
    return (uint16_t)(sign | ((magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13));
}

/* float32 -> an unsigned integer of the same order. -0 and 0 are one value; every NaN comes after every number. */
static inline uint32_t number_order(float x)
{
    if (x != x)
        return UINT32_MAX;
    uint32_t bits = number_bits(x + 0.0f);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

#endif
