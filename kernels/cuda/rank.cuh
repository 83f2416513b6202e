/* rank.cuh: the k smallest of n, by value and then by place, inside one block: a radix selection of the k-th value, eight
 * bits a pass, then ordered counting for those equal to it. Integers only, so the order of the atomics does not matter. */
#ifndef OMNID_CUDA_RANK_CUH
#define OMNID_CUDA_RANK_CUH

#include "kernels/cuda/device.cuh"

enum { RANK_THREADS = 512, RANK_EACH = 8, RANK_CHUNK = RANK_THREADS * RANK_EACH, RANK_BINS = 256 };

/* number_order of number.h, for the device. */
static __device__ __forceinline__ uint32_t rank_order(float x)
{
    if (x != x)
        return 0xffffffffu;
    uint32_t bits = __float_as_uint(x + 0.0f);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

/* In shared memory. */
struct rank_room {
    int bins[RANK_BINS];
    int warps[RANK_THREADS / CUDA_WARP];
    uint32_t value;
    int left;
    uint32_t highest;
    int place;
};

/* Those with a value below `value` are among the k smallest, and the first n_equal of those that are equal to it. */
struct rank_cut {
    uint32_t value;
    int n_equal;
};

/* Exclusive sum over the block's threads; *total: of all. Two barriers. */
static __device__ __forceinline__ int rank_scan(rank_room *room, int value, int *total)
{
    int lane = threadIdx.x % CUDA_WARP, warp = threadIdx.x / CUDA_WARP, sum = value;
    for (int by = 1; by < CUDA_WARP; by *= 2) {
        int other = __shfl_up_sync(0xffffffffu, sum, by);
        sum += lane >= by ? other : 0;
    }
    __syncthreads();
    if (lane == CUDA_WARP - 1)
        room->warps[warp] = sum;
    __syncthreads();
    int before = 0, all = 0;
    for (int w = 0; w < RANK_THREADS / CUDA_WARP; w++) {
        before += w < warp ? room->warps[w] : 0;
        all += room->warps[w];
    }
    *total = all;
    return before + sum - value;
}

/* The bin in which the left-th number lies, and how many of it are still to be found there. First warp. */
static __device__ __forceinline__ void rank_pick_bin(rank_room *room, int shift)
{
    enum { EACH = RANK_BINS / CUDA_WARP };
    int lane = threadIdx.x, own = 0;
    for (int i = 0; i < EACH; i++)
        own += room->bins[lane * EACH + i];
    int sum = own;
    for (int by = 1; by < CUDA_WARP; by *= 2) {
        int other = __shfl_up_sync(0xffffffffu, sum, by);
        sum += lane >= by ? other : 0;
    }
    int before = sum - own, left = room->left;
    __syncwarp();
    if (before >= left || sum < left)
        return;
    for (int i = 0; i < EACH; i++) {
        int here = room->bins[lane * EACH + i];
        if (before + here >= left) {
            room->value |= (uint32_t)(lane * EACH + i) << shift;
            room->left = left - before;
            return;
        }
        before += here;
    }
}

/* The cut that leaves the k smallest, 1 <= k <= how many there are. value_of(i, &value) is false for an i of 0 .. n - 1 that
 * does not take part. The whole block; a barrier at its end. */
template <typename F> static __device__ __forceinline__ rank_cut rank_find(rank_room *room, int n, int k, F value_of)
{
    __syncthreads();
    if (threadIdx.x == 0) {
        room->value = 0;
        room->left = k;
    }
    for (int shift = 24; shift >= 0; shift -= 8) {
        for (int i = threadIdx.x; i < RANK_BINS; i += RANK_THREADS)
            room->bins[i] = 0;
        __syncthreads();
        uint32_t found = room->value, value;
        for (int i = threadIdx.x; i < n; i += RANK_THREADS)
            if (value_of(i, &value) && (shift == 24 || (value ^ found) >> (shift + 8) == 0))
                atomicAdd(&room->bins[value >> shift & 255], 1);
        __syncthreads();
        if (threadIdx.x < CUDA_WARP)
            rank_pick_bin(room, shift);
        __syncthreads();
    }
    rank_cut cut = {room->value, room->left};
    __syncthreads();
    return cut;
}

/* Calls each(i, below) for every i of 0 .. n - 1, where below says whether it is among the smallest that the cut leaves.
 * Every thread has RANK_EACH neighbours at a time, and each() may return whether i is to be counted: then the i-th that was
 * counted is told by stay(i, its number). The whole block. */
template <typename F, typename G>
static __device__ __forceinline__ void rank_walk(rank_room *room, int n, rank_cut cut, F value_of, G stay)
{
    int equal_before = 0, stays_before = 0, total;
    for (int first = 0; first < n; first += RANK_CHUNK) {
        int at = first + threadIdx.x * RANK_EACH, n_equal = 0, n_stay = 0;
        uint32_t value[RANK_EACH];
        bool in[RANK_EACH];
        for (int j = 0; j < RANK_EACH; j++) {
            in[j] = at + j < n && value_of(at + j, &value[j]);
            n_equal += in[j] && value[j] == cut.value;
        }
        int equal = equal_before + rank_scan(room, n_equal, &total);
        equal_before += total;
        for (int j = 0; j < RANK_EACH; j++) {
            bool below = in[j] && (value[j] < cut.value || (value[j] == cut.value && equal < cut.n_equal));
            equal += in[j] && value[j] == cut.value;
            in[j] = below; /* from here on: leaves */
            n_stay += at + j < n && !below;
        }
        int number = stays_before + rank_scan(room, n_stay, &total);
        stays_before += total;
        for (int j = 0; j < RANK_EACH; j++)
            if (at + j < n)
                stay(at + j, in[j] ? -1 : number++);
    }
}

#endif
