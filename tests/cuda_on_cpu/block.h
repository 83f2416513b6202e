/* block.h: running the threads of a grid on the processor that asks for it. */
#ifndef OMNID_CUDA_ON_CPU_BLOCK_H
#define OMNID_CUDA_ON_CPU_BLOCK_H

#include <functional>

#include <cuda_runtime.h>

namespace cuda_emulation
{
struct launch_record {
    dim3 grid, block;
    size_t shared;
    std::function<void()> body;
};

/* Runs every block of the grid, one after another, first to last or last to first in turn: a barrier that is missing shows
 * in one of the two. Ends the process with a sentence on what a device would hang on or leave undefined. */
void run_grid(const launch_record &launch);

/* Queues something else than a kernel (runtime.cpp). */
cudaError_t enqueue_work(cudaStream_t stream, std::function<void()> step);
} // namespace cuda_emulation

#endif
