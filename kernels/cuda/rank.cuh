/* rank.cuh: the k smallest of n, by value and then by place, inside one block: a radix selection of the k-th value, eleven
 * bits a pass, then ordered counting for those equal to it. Integers only, so the order of the atomics does not matter.
 * Values are read once where a block's registers hold them all: 2,048 in a block of few threads, 16,384 in one of many. */
#ifndef OMNID_CUDA_RANK_CUH
#define OMNID_CUDA_RANK_CUH

#include "kernels/cuda/device.cuh"

enum { RANK_EACH = 16, RANK_FEW = 128, RANK_MANY = 1024, RANK_DIGIT = 11, RANK_BINS = 1 << RANK_DIGIT };

/* Threads of the block that ranks n or fewer. */
static inline unsigned rank_threads(int64_t n)
{
    return n > RANK_FEW * RANK_EACH ? RANK_MANY : RANK_FEW;
}

/* number_order of number.h, for the device. */
static __device__ __forceinline__ uint32_t rank_order(float x)
{
    if (x != x)
        return 0xffffffffu;
    uint32_t bits = __float_as_uint(x + 0.0f);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

/* The number (0 for -0, a NaN for any) that has this order. */
static __device__ __forceinline__ float rank_number(uint32_t order)
{
    return __uint_as_float(order & 0x80000000u ? order & 0x7fffffffu : ~order);
}

/* In shared memory. */
struct rank_room {
    int bins[RANK_BINS];
    int warps[CUDA_WARP];
    uint32_t digit;
    int left;
    uint32_t highest;
    int place;
};

/* What one thread holds: the values of the places first .. first + n - 1; bit j of `in`: place first + j takes part. */
struct rank_part {
    uint32_t value[RANK_EACH];
    unsigned in;
    int first, n;
};

/* Those with a value below `value` are among the k smallest, and the first n_equal of those that are equal to it. */
struct rank_cut {
    uint32_t value;
    int n_equal;
};

/* Places that a block's parts hold together. */
static __device__ __forceinline__ int rank_whole()
{
    return RANK_EACH * (int)blockDim.x;
}

/* Fills the threads' parts with the places from `start` on: equal shares of those that are left, so that all threads work.
 * value_of(i, &value) is false for an i of 0 .. n - 1 that does not take part. */
template <typename F> static __device__ __forceinline__ rank_part rank_read(int n, int start, F value_of)
{
    const int threads = (int)blockDim.x, left = n - start;
    const int each = left < rank_whole() ? (left + threads - 1) / threads : (int)RANK_EACH;
    rank_part part = {};
    part.first = start + (int)threadIdx.x * each;
    part.n = min(each, max(n - part.first, 0));
#pragma unroll
    for (int j = 0; j < RANK_EACH; j++)
        if (j < part.n && value_of(part.first + j, &part.value[j]))
            part.in |= 1u << j;
    return part;
}

/* Exclusive sum over the block's threads; *total: of all. Two barriers. */
static __device__ __forceinline__ int rank_scan(rank_room *room, int value, int *total)
{
    const int lane = threadIdx.x % CUDA_WARP, warp = threadIdx.x / CUDA_WARP;
    int sum = value;
    for (int by = 1; by < CUDA_WARP; by *= 2) {
        int other = __shfl_up_sync(0xffffffffu, sum, by);
        sum += lane >= by ? other : 0;
    }
    __syncthreads();
    if (lane == CUDA_WARP - 1)
        room->warps[warp] = sum;
    __syncthreads();
    const int own = lane < (int)blockDim.x / CUDA_WARP ? room->warps[lane] : 0;
    int warps = own; /* the same over the warps, by each of them */
    for (int by = 1; by < CUDA_WARP; by *= 2) {
        int other = __shfl_up_sync(0xffffffffu, warps, by);
        warps += lane >= by ? other : 0;
    }
    *total = __shfl_sync(0xffffffffu, warps, CUDA_WARP - 1);
    return __shfl_sync(0xffffffffu, warps - own, warp) + sum - value;
}

/* The bin in which the left-th number lies, and how many of it are still to be found there. The whole block. */
static __device__ __forceinline__ void rank_pick_bin(rank_room *room, int left)
{
    const int each = RANK_BINS / (int)blockDim.x, first = (int)threadIdx.x * each;
    int own = 0, total;
    for (int i = 0; i < each; i++)
        own += room->bins[first + i];
    int before = rank_scan(room, own, &total);
    if (before >= left || before + own < left)
        return; /* another thread's */
    for (int i = 0; i < each; i++) {
        int here = room->bins[first + i];
        if (before + here >= left) {
            room->digit = (uint32_t)(first + i);
            room->left = left - before;
            return;
        }
        before += here;
    }
}

/* The cut that leaves the k smallest, 1 <= k <= how many there are. The parts have been read where they hold all n; else
 * they are read again for each digit. The whole block; a barrier at its end. */
template <typename F>
static __device__ __forceinline__ rank_cut rank_find(rank_room *room, rank_part *part, int n, int k, F value_of)
{
    rank_cut cut = {0, k};
    for (int high = 32; high > 0;) {
        const int low = high > RANK_DIGIT ? high - RANK_DIGIT : 0;
        for (int i = threadIdx.x; i < RANK_BINS; i += (int)blockDim.x)
            room->bins[i] = 0;
        __syncthreads();
        for (int start = 0; start < n; start += rank_whole()) {
            if (n > rank_whole())
                *part = rank_read(n, start, value_of);
#pragma unroll
            for (int j = 0; j < RANK_EACH; j++) {
                const uint32_t value = part->value[j];
                if (part->in >> j & 1 && (high == 32 || (value ^ cut.value) >> high == 0))
                    atomicAdd(&room->bins[value >> low & ((1u << (high - low)) - 1)], 1);
            }
        }
        __syncthreads();
        rank_pick_bin(room, cut.n_equal);
        __syncthreads();
        cut.value |= room->digit << low;
        cut.n_equal = room->left;
        high = low;
    }
    return cut;
}

/* Calls tell(part, leaves, number) for every part: bit j of leaves says whether its j-th place is among the smallest that
 * the cut leaves, and `number` is that of its first place that is not, among all of these. The whole block. */
template <typename F, typename G>
static __device__ __forceinline__ void rank_walk(rank_room *room, rank_part *part, int n, rank_cut cut, F value_of,
                                                 G tell)
{
    int equal_before = 0, stays_before = 0, total;
    for (int start = 0; start < n; start += rank_whole()) {
        if (n > rank_whole())
            *part = rank_read(n, start, value_of);
        unsigned below = 0, equals = 0;
#pragma unroll
        for (int j = 0; j < RANK_EACH; j++) {
            below |= (unsigned)(part->value[j] < cut.value) << j;
            equals |= (unsigned)(part->value[j] == cut.value) << j;
        }
        equals &= part->in;
        int equal = equal_before + rank_scan(room, __popc(equals), &total);
        equal_before += total;
        for (unsigned left = equals; left; left &= left - 1) /* of those equal to it the first ones leave */
            if (equal++ >= cut.n_equal)
                equals &= ~(left & -left);
        const unsigned leaves = (below & part->in) | equals;
        int number = stays_before + rank_scan(room, part->n - __popc(leaves), &total);
        stays_before += total;
        tell(*part, leaves, number);
    }
}

#endif
