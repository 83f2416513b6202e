/* launch.cuh: starting a kernel. cudaLaunchKernelEx instead of <<< >>>: plain C++, so that the emulation compiles it too, and
 * its attributes are there when a kernel wants them. */
#ifndef OMNID_CUDA_LAUNCH_CUH
#define OMNID_CUDA_LAUNCH_CUH

#include <cuda_runtime.h>

#include <utility>

#include "kernels/cuda/cuda.h"

/* Enqueues kernel<<<grid, block, shared>>>(arguments…); shared in bytes. A failure names the op. More than 48 KB of shared
 * memory has to be asked for once by cuda_allow_shared. */
template <typename... Parameters, typename... Arguments>
static void cuda_launch(kernels_stream *s, const char *op, void (*kernel)(Parameters...), dim3 grid, dim3 block,
                        size_t shared, Arguments &&...arguments)
{
    cudaLaunchConfig_t config = {};
    config.gridDim = grid;
    config.blockDim = block;
    config.dynamicSmemBytes = shared;
    config.stream = cuda_of(s)->stream;
    cuda_ok(s, cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...), op);
}

/* Lets a kernel take up to `shared` bytes; cheap enough to be called before every launch that needs it. False: it failed. */
template <typename... Parameters>
static bool cuda_allow_shared(kernels_stream *s, const char *op, void (*kernel)(Parameters...), size_t shared)
{
    return shared <= 48 * 1024 ||
           cuda_ok(s, cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared), op);
}

/* Blocks of `per_block` things each for n things; n > 0. */
static inline unsigned cuda_blocks(int64_t n, int64_t per_block)
{
    return (unsigned)((n + per_block - 1) / per_block);
}

/* Blocks over the columns (per_block a block) in x, over the rows in y: for kernels that go on by gridDim.y rows. */
static inline dim3 cuda_grid(int64_t n_rows, int64_t n_cols, int64_t per_block)
{
    return dim3(cuda_blocks(n_cols, per_block), (unsigned)(n_rows < 65535 ? n_rows : 65535));
}

#endif
