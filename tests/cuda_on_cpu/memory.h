/* memory.h: device memory: an address range of its own that host code cannot touch while it is guarded. */
#ifndef OMNID_CUDA_ON_CPU_MEMORY_H
#define OMNID_CUDA_ON_CPU_MEMORY_H

#include <cstddef>

namespace cuda_emulation
{
/* 256-byte aligned, full of 0xff (NaN), with bytes on both sides that nobody may touch. NULL: more than the device has. */
void *device_take(size_t size);
/* False: no such block. Ends the process when a byte beside it was written. */
bool device_give(void *data);
/* The whole range lies in one block. */
bool device_holds(const void *data, size_t size);
size_t device_used();
size_t device_total();
/* Opens the range for kernels and copies; closed again by the last. Nest. */
struct device_open {
    device_open();
    ~device_open();
};

void *pinned_take(size_t size);
bool pinned_give(void *data);
bool pinned_holds(const void *data, size_t size);
} // namespace cuda_emulation

#endif
