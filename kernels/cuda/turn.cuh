/* turn.cuh: what rotate and rotate_append share: pairs turned by their angles, in float32. */
#ifndef OMNID_CUDA_TURN_CUH
#define OMNID_CUDA_TURN_CUH

#include "kernels/cuda/device.cuh"

/* N pairs (a, b) side by side -> (a cos - b sin, b cos + a sin). */
template <int N, typename To, typename From>
static __device__ __forceinline__ void cuda_turn(To *to_a, To *to_b, const From *from_a, const From *from_b,
                                                 const float *cos, const float *sin)
{
    float a[N], b[N], c[N], n[N], turned_a[N], turned_b[N];
    cuda_load_pack<N>(a, from_a);
    cuda_load_pack<N>(b, from_b);
    cuda_load_pack<N>(c, cos);
    cuda_load_pack<N>(n, sin);
#pragma unroll
    for (int i = 0; i < N; i++) {
        turned_a[i] = a[i] * c[i] - b[i] * n[i];
        turned_b[i] = b[i] * c[i] + a[i] * n[i];
    }
    cuda_store_pack<N>(to_a, turned_a);
    cuda_store_pack<N>(to_b, turned_b);
}

#endif
