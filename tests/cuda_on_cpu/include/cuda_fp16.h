/* cuda_fp16.h of the emulation: binary16 as bits that can be read. */
#ifndef OMNID_EMULATED_CUDA_FP16_H
#define OMNID_EMULATED_CUDA_FP16_H

#include <cuda_runtime.h>

#include "kernels/number.h"

struct __half {
    unsigned short bits;
};

static inline float __half2float(__half x)
{
    return f32_from_f16(x.bits);
}

#endif
