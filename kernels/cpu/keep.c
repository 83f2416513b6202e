/* keep.c     kept = all of 0 .. n - 1 but the k with the lowest score; ties: the earlier leaves first     score: [n] */
#include "kernels/cpu/cpu.h"
#include "kernels/number.h"

void cpu_keep(kernels_stream *s, tensor *kept, const tensor *score, int64_t k)
{
    if (!cpu_begin(s) || !check_keep(s, kept, score, k))
        return;
    int64_t n = score->dim[0];
    const float *value = score->data;
    uint64_t *keys = cpu_scratch(s, (size_t)n * sizeof *keys);
    if (!keys)
        return;
    for (int64_t i = 0; i < n; i++)
        keys[i] = (uint64_t)number_order(value[i]) << 32 | (uint64_t)i;
    uint64_t last = k > 0 ? cpu_kth_smallest(keys, n, k) : 0; /* the last that leaves */
    int32_t *to = kept->data;
    for (int64_t i = 0; i < n; i++)
        if (k == 0 || ((uint64_t)number_order(value[i]) << 32 | (uint64_t)i) > last)
            *to++ = (int32_t)i;
}
