/* cuda.c: the cuda backend: finding a device, the table of ops, the plugin's entry. */
#include "kernels/cuda/cuda.h"

#include <stdio.h>
#include <stdlib.h>

#include "kernels/plugin.h"

enum { CUDA_OLDEST_ARCH = 80 }; /* bf16 products, asynchronous copies into shared memory */

omnid_status cuda_failed(omnid_error *err, cudaError_t error, const char *what)
{
    cudaGetLastError();
    return omnid_fail(err, error == cudaErrorMemoryAllocation ? OMNID_NOMEM : OMNID_DEVICE, "cuda backend: %s: %s",
                      what, cudaGetErrorString(error));
}

/* Why cudaGetDeviceCount failed: CUDA's own sentence tells a missing driver from an old one by the same words. */
static omnid_status no_device(omnid_error *err, cudaError_t error)
{
    int driver = 0, runtime = 0;
    cudaGetLastError();
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    if (error == cudaErrorInsufficientDriver && driver == 0)
        return omnid_fail(
            err, OMNID_UNSUPPORTED,
            "backend cuda: there is no NVIDIA driver (libcuda.so.1): install one, or choose another backend");
    if (error == cudaErrorInsufficientDriver)
        return omnid_fail(
            err, OMNID_UNSUPPORTED,
            "backend cuda: the NVIDIA driver knows CUDA up to %d.%d, this plugin needs %d.%d: install a newer "
            "driver, or a plugin built with an older CUDA",
            driver / 1000, driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
    if (error == cudaSuccess || error == cudaErrorNoDevice)
        return omnid_fail(err, OMNID_UNSUPPORTED,
                          "backend cuda: the NVIDIA driver sees no GPU (CUDA_VISIBLE_DEVICES may hide it)");
    return omnid_fail(err, OMNID_DEVICE, "backend cuda: %s", cudaGetErrorString(error));
}

/* The first device CUDA lists; which one that is, CUDA_VISIBLE_DEVICES says. */
static omnid_status find_device(kernels_backend *b, omnid_error *err)
{
    struct cudaDeviceProp properties;
    int n = 0;
    cudaError_t error = cudaGetDeviceCount(&n);
    if (error != cudaSuccess || n == 0)
        return no_device(err, error);
    error = cudaGetDeviceProperties(&properties, b->device);
    if (error != cudaSuccess)
        return cuda_failed(err, error, "asking for the device's properties");
    snprintf(b->name, sizeof b->name, "%s", properties.name);
    b->arch = 10 * properties.major + properties.minor;
    b->n_sms = properties.multiProcessorCount;
    b->shared_max = properties.sharedMemPerBlockOptin;
    b->l2_size = (size_t)properties.l2CacheSize;
    b->shared_per_sm = properties.sharedMemPerMultiprocessor;
    b->shared_reserved = properties.reservedSharedMemPerBlock;
    if (b->arch < CUDA_OLDEST_ARCH)
        return omnid_fail(err, OMNID_UNSUPPORTED, "backend cuda: %s has compute capability %d.%d, want 8.0 or more",
                          b->name, properties.major, properties.minor);
    return OMNID_OK;
}

/* Whether the plugin was compiled for the device. */
static omnid_status find_code(const kernels_backend *b, omnid_error *err)
{
    cudaError_t error = cuda_find_code();
    if (error == cudaSuccess)
        return OMNID_OK;
    cudaGetLastError();
    if (error != cudaErrorNoKernelImageForDevice && error != cudaErrorInvalidDeviceFunction)
        return cuda_failed(err, error, "looking for the device's code");
    return omnid_fail(
        err, OMNID_UNSUPPORTED,
        "backend cuda: the plugin has no code for %s (compute capability %d.%d): it was built for other GPUs "
        "(OMNID_CUDA_ARCHS)",
        b->name, b->arch / 10, b->arch % 10);
}

static omnid_status cuda_usable(omnid_error *err)
{
    kernels_backend b = {0};
    return find_device(&b, err);
}

static void cuda_close(kernels_backend **backend)
{
    kernels_backend *b = *backend;
    if (!b)
        return;
    if (b->loader) {
        kernels_stream *loader = &b->loader->base;
        cuda_stream_close(&loader);
    }
    cuda_blas_close(b);
    cuda_memory_close(b);
    free(b);
    *backend = NULL;
}

static omnid_status cuda_open(kernels_backend **out, int n_threads, omnid_error *err)
{
    *out = NULL;
    if (n_threads < 0)
        return omnid_fail(err, OMNID_ARGUMENT, "cuda backend: threads is %d, want 0 (all) or more", n_threads);
    kernels_backend *b = calloc(1, sizeof *b);
    if (!b)
        return omnid_fail(err, OMNID_NOMEM, "cuda backend: no memory for %zu bytes", sizeof *b);
    pthread_mutex_init(&b->memory.lock, NULL);
    omnid_status status = find_device(b, err);
    if (status == OMNID_OK)
        status = find_code(b, err);
    if (status == OMNID_OK)
        status = cuda_memory_open(b, err);
    if (status == OMNID_OK)
        status = cuda_blas_open(b, err);
    if (status == OMNID_OK)
        status = cuda_stream_create(b, &b->loader, KERNELS_FIRST, err);
    if (status != OMNID_OK)
        cuda_close(&b);
    *out = b;
    return status;
}

static kernels_precision cuda_native_precision(kernels_backend *b)
{
    (void)b;
    return KERNELS_PLAIN_BF16;
}

const kernels_ops cuda_ops = {
    .name = "cuda",
    .open = cuda_open,
    .close = cuda_close,
    .native_precision = cuda_native_precision,
    .alloc = cuda_alloc,
    .free = cuda_free,
    .memory = cuda_memory_tell,
    .reserve = cuda_memory_reserve,
    .stream_open = cuda_stream_open,
    .stream_close = cuda_stream_close,
    .wait = cuda_follow,
    .mark = cuda_mark,
    .behind = cuda_behind,
    .upload = cuda_upload,
    .download = cuda_download,
    .pack = cuda_pack,
    .weight_free = cuda_weight_free,
    .weight_bytes = cuda_weight_bytes,
    .linear = cuda_linear,
    .rmsnorm = cuda_rmsnorm,
    .layernorm = cuda_layernorm,
    .swiglu = cuda_swiglu,
    .add = cuda_add,
    .convert = cuda_convert,
    .embed = cuda_embed,
    .gather_rows = cuda_gather_rows,
    .patchify = cuda_patchify,
    .im2col3 = cuda_im2col3,
    .pool2 = cuda_pool2,
    .rotate = cuda_rotate,
    .encoder_attention = cuda_encoder_attention,
    .similarity = cuda_similarity,
    .keep = cuda_keep,
    .sample = cuda_sample,
    .rotate_append = cuda_rotate_append,
    .attend = cuda_attend,
    .score = cuda_score,
    .select = cuda_select,
    .repeatable = cuda_blas_repeatable,
    .begin_capture = cuda_begin_capture,
    .end_capture = cuda_end_capture,
    .replay = cuda_replay,
};

/* The one symbol that is not hidden. */
OMNID_API const kernels_plugin *KERNELS_PLUGIN_ENTRY(void);
const kernels_plugin *KERNELS_PLUGIN_ENTRY(void)
{
    static const kernels_plugin plugin = {
        .ops_size = sizeof(kernels_ops), .version = OMNID_VERSION, .ops = &cuda_ops, .usable = cuda_usable};
    return &plugin;
}
