/* activation.cuh: the activations of linear, in float32. */
#ifndef OMNID_CUDA_ACTIVATION_CUH
#define OMNID_CUDA_ACTIVATION_CUH

#include "kernels/cuda/device.cuh"

/* GELU is the exact one: x Φ(x) = x / 2 (1 + erf(x / √2)). */
static __device__ __forceinline__ float cuda_activate(float x, kernels_activation activation)
{
    return activation == KERNELS_GELU ? 0.5f * x * (1.0f + erff(x * 0.70710678118654752f)) : x;
}

#endif
