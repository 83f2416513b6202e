/* order.c: the k-th smallest key and a sort, both without memory of their own and without a bad case. */
#include "kernels/cpu/cpu.h"

/* Keeps the keys whose byte at `shift` is `digit`; returns how many. */
static int64_t order_narrow(uint64_t *keys, int64_t n, int shift, unsigned digit)
{
    int64_t to = 0;
    for (int64_t i = 0; i < n; i++)
        if (((keys[i] >> shift) & 255) == digit)
            keys[to++] = keys[i];
    return to;
}

/* Radix selection: the highest byte of the answer first, then among the keys that share it the next. */
uint64_t cpu_kth_smallest(uint64_t *keys, int64_t n, int64_t k)
{
    for (int shift = 56; shift >= 0 && n > 1; shift -= 8) {
        int64_t count[256] = {0};
        for (int64_t i = 0; i < n; i++)
            count[(keys[i] >> shift) & 255]++;
        unsigned digit = 0;
        while (k > count[digit])
            k -= count[digit++];
        n = order_narrow(keys, n, shift, digit);
    }
    return keys[0];
}

/* Lets keys[at] sink to its place in the heap keys[0 .. n - 1], the largest on top. */
static void order_sink(uint64_t *keys, int64_t at, int64_t n)
{
    uint64_t key = keys[at];
    for (int64_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && keys[child + 1] > keys[child])
            child++;
        if (keys[child] <= key)
            break;
        keys[at] = keys[child];
    }
    keys[at] = key;
}

void cpu_sort_keys(uint64_t *keys, int64_t n)
{
    for (int64_t i = n / 2; i-- > 0;)
        order_sink(keys, i, n);
    for (int64_t i = n - 1; i > 0; i--) {
        uint64_t largest = keys[0];
        keys[0] = keys[i];
        keys[i] = largest;
        order_sink(keys, 0, i);
    }
}
