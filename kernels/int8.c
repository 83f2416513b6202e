/* int8.c: rows of a checkpoint -> int8 with scales, the same for every backend (kernels.h has the formula). */
#include "kernels/int8.h"

#include "kernels/cpu/cpu_math.h" /* CPU_CLONES: this is the whole of loading a model */

static int64_t round_up(int64_t n)
{
    return (n + 15) / 16 * 16;
}

int64_t kernels_int8_numbers(int64_t k)
{
    return round_up(k);
}

int64_t kernels_int8_stride(int64_t k)
{
    return round_up(k) + round_up(2 * int8_groups(k));
}

/* Largest |w| of n: of their bits, whose order is that of the numbers, so that an infinity or a NaN wins. */
CPU_CLONES static float highest(const float *w, int64_t n)
{
    uint32_t most = 0;
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits = number_bits(w[i]) & 0x7fffffffu;
        most = bits > most ? bits : most;
    }
    return number_from_bits(most);
}

CPU_CLONES static void quantise(int8_t *restrict q, const float *restrict w, int64_t n, float scale)
{
    const float round = 0x1.8p23f; /* adding it leaves the nearest integer in the low bits, ties to even */
    for (int64_t i = 0; i < n; i++) {
        float x = w[i] / scale;
        x = x < 127.0f ? x : 127.0f; /* a scale rounded down among the smallest numbers there are */
        x = x > -127.0f ? x : -127.0f;
        q[i] = (int8_t)(uint8_t)number_bits(x + round);
    }
}

static void quantise_group(int8_t *q, uint16_t *scale, const float *w, int64_t n)
{
    *scale = bf16_from_f32(highest(w, n) / 127.0f);
    if (*scale == 0)
        memset(q, 0, (size_t)n);
    else
        quantise(q, w, n, f32_from_bf16(*scale));
}

/* n numbers as float32. */
CPU_CLONES static void widen_bf16(float *restrict to, const uint16_t *restrict from, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        to[i] = f32_from_bf16(from[i]);
}

static void widen(float *to, const void *from, kernels_dtype dtype, int64_t n)
{
    if (dtype == KERNELS_F32)
        memcpy(to, from, (size_t)n * sizeof *to);
    else if (dtype == KERNELS_BF16)
        widen_bf16(to, from, n);
    else
        for (int64_t i = 0; i < n; i++)
            to[i] = f32_from_f16(((const uint16_t *)from)[i]);
}

void kernels_int8_rows(void *to, const void *from, kernels_dtype dtype, int64_t n, int64_t k)
{
    const int64_t numbers = kernels_int8_numbers(k), stride = kernels_int8_stride(k), groups = int8_groups(k);
    const char *source = from;
    for (int64_t i = 0; i < n; i++) {
        int8_t *row = (int8_t *)to + i * stride;
        uint16_t scale[1];
        for (int64_t g = 0; g < groups; g++) {
            float w[KERNELS_INT8_GROUP];
            int64_t first = g * KERNELS_INT8_GROUP, left = k - first;
            left = left < KERNELS_INT8_GROUP ? left : KERNELS_INT8_GROUP;
            widen(w, source + (size_t)(i * k + first) * kernels_dtype_size(dtype), dtype, left);
            quantise_group(row + first, scale, w, left);
            memcpy(row + numbers + g * (int64_t)sizeof *scale, scale, sizeof *scale);
        }
        memset(row + k, 0, (size_t)(numbers - k));
        int64_t end = numbers + groups * (int64_t)sizeof *scale;
        memset(row + end, 0, (size_t)(stride - end));
    }
}
