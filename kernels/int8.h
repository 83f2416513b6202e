/* int8.h: reading stored int8 rows (kernels.h tells their layout), for host code of every backend. */
#ifndef OMNID_KERNELS_INT8_H
#define OMNID_KERNELS_INT8_H

#include "kernels/kernels.h"
#include "kernels/number.h"

/* Groups of a row of k. */
static inline int64_t int8_groups(int64_t k)
{
    return (k + KERNELS_INT8_GROUP - 1) / KERNELS_INT8_GROUP;
}

/* Scale of group g of a stored row of k. */
static inline float int8_scale(const void *row, int64_t k, int64_t g)
{
    uint16_t bits;
    memcpy(&bits, (const char *)row + kernels_int8_numbers(k) + g * (int64_t)sizeof bits, sizeof bits);
    return f32_from_bf16(bits);
}

/* Number j of a stored row of k; exact in float32. */
static inline float int8_value(const void *row, int64_t k, int64_t j)
{
    return (float)((const int8_t *)row)[j] * int8_scale(row, k, j / KERNELS_INT8_GROUP);
}

#endif
