/* memory.c: device memory, out of a pool of the driver's that never gives any back while the backend is open: cudaFree waits
 * for the whole device, and cudaMalloc asks the system.
 *
 * Streams run side by side, and memory is freed by the host while work that was enqueued before still uses it. The rule that
 * keeps them apart: memory is given out again only after everything that any stream had been given before the free is done.
 * So there are two streams on which nothing ever runs. `taken_back` waits for an event on every stream and then frees;
 * `given_out` allocates. Between these two the pool follows no other order than "that free is done" (reuse in opportunity;
 * no dependency is put in), so an allocation is complete when it returns, and its memory may be used on any stream at once.
 * What freed memory is still waiting is asked for when there is nothing else: then, and only then, alloc waits. */
#include "kernels/cuda/cuda.h"

static cudaError_t set_number(cudaMemPool_t pool, enum cudaMemPoolAttr name, int value)
{
    return cudaMemPoolSetAttribute(pool, name, &value);
}

/* The pool and its rules, two streams and an event. */
static cudaError_t pool_create(kernels_backend *b)
{
    cuda_memory *m = &b->memory;
    struct cudaMemPoolProps properties = {.allocType = cudaMemAllocationTypePinned,
                                          .location = {.type = cudaMemLocationTypeDevice, .id = b->device}};
    uint64_t all = UINT64_MAX;
    cudaError_t error = cudaMemPoolCreate(&m->pool, &properties);
    if (error != cudaSuccess) {
        m->pool = NULL;
        return error;
    }
    if ((error = cudaMemPoolSetAttribute(m->pool, cudaMemPoolAttrReleaseThreshold, &all)) == cudaSuccess &&
        (error = set_number(m->pool, cudaMemPoolReuseFollowEventDependencies, 0)) == cudaSuccess &&
        (error = set_number(m->pool, cudaMemPoolReuseAllowOpportunistic, 1)) == cudaSuccess &&
        (error = set_number(m->pool, cudaMemPoolReuseAllowInternalDependencies, 0)) == cudaSuccess &&
        (error = cudaStreamCreateWithFlags(&m->given_out, cudaStreamNonBlocking)) == cudaSuccess &&
        (error = cudaStreamCreateWithFlags(&m->taken_back, cudaStreamNonBlocking)) == cudaSuccess)
        error = cudaEventCreateWithFlags(&m->event, cudaEventDisableTiming);
    return error;
}

omnid_status cuda_memory_open(kernels_backend *b, omnid_error *err)
{
    int pools = 0, integrated = 0;
    cudaError_t error = cudaDeviceGetAttribute(&pools, cudaDevAttrMemoryPoolsSupported, b->device);
    if (error == cudaSuccess)
        error = cudaDeviceGetAttribute(&integrated, cudaDevAttrIntegrated, b->device);
    b->memory.own = !integrated;
    if (error == cudaSuccess && pools)
        error = pool_create(b);
    return error == cudaSuccess ? OMNID_OK : cuda_failed(err, error, "opening the device's memory");
}

void cuda_memory_close(kernels_backend *b)
{
    cuda_memory *m = &b->memory;
    if (m->taken_back) {
        cudaStreamSynchronize(m->taken_back);
        cudaStreamDestroy(m->taken_back);
    }
    if (m->given_out)
        cudaStreamDestroy(m->given_out);
    if (m->event)
        cudaEventDestroy(m->event);
    if (m->pool)
        cudaMemPoolDestroy(m->pool);
    pthread_mutex_destroy(&m->lock);
}

void cuda_memory_join(cuda_stream *s)
{
    cuda_memory *m = &s->base.backend->memory;
    pthread_mutex_lock(&m->lock);
    s->next = m->streams;
    m->streams = s;
    pthread_mutex_unlock(&m->lock);
}

void cuda_memory_leave(cuda_stream *s)
{
    cuda_memory *m = &s->base.backend->memory;
    pthread_mutex_lock(&m->lock);
    cuda_stream **link = &m->streams;
    while (*link && *link != s)
        link = &(*link)->next;
    if (*link)
        *link = s->next;
    pthread_mutex_unlock(&m->lock);
}

/* NULL: not now. Under the lock. */
static void *take(cuda_memory *m, size_t size)
{
    void *data = NULL;
    cudaError_t error = m->pool ? cudaMallocFromPoolAsync(&data, size, m->pool, m->given_out) : cudaMalloc(&data, size);
    if (error == cudaSuccess && m->pool)
        error = cudaStreamSynchronize(m->given_out); /* idle: the pool may not make an allocation wait */
    if (error == cudaSuccess)
        return data;
    cudaGetLastError();
    return NULL;
}

void *cuda_alloc(kernels_backend *b, size_t size)
{
    cuda_memory *m = &b->memory;
    size = size ? size : 1;
    pthread_mutex_lock(&m->lock);
    void *data = take(m, size);
    if (!data && m->pool && cudaStreamSynchronize(m->taken_back) == cudaSuccess)
        data = take(m, size);
    pthread_mutex_unlock(&m->lock);
    cudaGetLastError();
    return data;
}

/* From here on taken_back comes after all that this stream has been given. A stream that records a graph runs nothing. */
static cudaError_t follow(cuda_memory *m, cuda_stream *s)
{
    enum cudaStreamCaptureStatus status;
    cudaError_t error = cudaStreamIsCapturing(s->stream, &status);
    if (error != cudaSuccess || status != cudaStreamCaptureStatusNone)
        return error;
    error = cudaEventRecord(m->event, s->stream);
    return error == cudaSuccess ? cudaStreamWaitEvent(m->taken_back, m->event, 0) : error;
}

void cuda_free(kernels_backend *b, void *data)
{
    cuda_memory *m = &b->memory;
    if (!data)
        return;
    pthread_mutex_lock(&m->lock);
    cudaError_t error = cudaSuccess;
    if (m->pool) {
        for (cuda_stream *s = m->streams; s && error == cudaSuccess; s = s->next)
            error = follow(m, s);
        if (error == cudaSuccess)
            error = cudaFreeAsync(data, m->taken_back);
    } else {
        error = cudaFree(data);
    }
    pthread_mutex_unlock(&m->lock);
    if (error != cudaSuccess)
        cudaGetLastError(); /* the device is lost: its memory is too */
}

void cuda_memory_tell(kernels_backend *b, kernels_memory *out)
{
    size_t free_bytes = 0, total = 0;
    uint64_t reserved = 0, used = 0;
    cudaError_t error = cudaMemGetInfo(&free_bytes, &total);
    if (error != cudaSuccess) /* not for want of memory: the process has lost the device */
        cudaGetLastError();
    if (b->memory.pool &&
        (cudaMemPoolGetAttribute(b->memory.pool, cudaMemPoolAttrReservedMemCurrent, &reserved) != cudaSuccess ||
         cudaMemPoolGetAttribute(b->memory.pool, cudaMemPoolAttrUsedMemCurrent, &used) != cudaSuccess)) {
        cudaGetLastError();
        reserved = used = 0;
    }
    *out = (kernels_memory){.device = b->name,
                            .own = b->memory.own,
                            .total = total,
                            .free = free_bytes + (reserved > used ? reserved - used : 0),
                            .stream = b->blas ? CUDA_BLAS_WORK : 0,
                            .lost = error == cudaSuccess ? NULL : cudaGetErrorString(error)};
}

omnid_status cuda_memory_reserve(kernels_backend *b, uint64_t size, omnid_error *err)
{
    if (!b->memory.pool || !b->memory.own)
        return OMNID_OK;
    void *data = cuda_alloc(b, (size_t)size);
    if (!data)
        return omnid_fail(err, OMNID_NOMEM, "cuda backend: %s has no %.2f GiB left to hold", b->name,
                          (double)size / (double)(1 << 30));
    cuda_free(b, data);
    cudaError_t error = cudaStreamSynchronize(b->memory.taken_back); /* else the next to ask might get other memory */
    return error == cudaSuccess ? OMNID_OK : cuda_failed(err, error, "holding memory");
}
