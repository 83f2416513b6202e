/* stream.c: streams of the cuda backend: copies through pinned memory, scratch memory, what kernels found wrong. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/cuda.h"

enum { STAGING_HALF = 4 << 20 };

/* ---- failures ---- */

bool cuda_ok(kernels_stream *s, cudaError_t error, const char *what)
{
    if (error == cudaSuccess)
        return true;
    cudaGetLastError(); /* forgets it, unless the device is lost */
    kernels_stream_fail(s, error == cudaErrorMemoryAllocation ? OMNID_NOMEM : OMNID_DEVICE, "cuda backend: %s: %s",
                        what, cudaGetErrorString(error));
    return false;
}

/* Makes a fault that a kernel told a failure of the stream. */
static void take_fault(cuda_stream *s)
{
    static const struct {
        omnid_status status;
        const char *format; /* of index and value */
    } faults[CUDA_N_FAULTS] = {
        [CUDA_FAULT_GATHER_ROW] = {OMNID_SHAPE, "gather_rows: entry %d names row %d, which is not there"},
        [CUDA_FAULT_PATCH_UNIT] = {OMNID_SHAPE, "patchify: entry %d names unit %d, which is not there"},
        [CUDA_FAULT_KEY_TABLE] = {OMNID_SHAPE, "rotate_append: row %d names table %d, which is not there"},
        [CUDA_FAULT_LOGITS] = {OMNID_FORMAT, "sample: row %d: none of %d logits is a number above -infinity"},
        [CUDA_FAULT_ATTENTION] = {OMNID_SHAPE, "attention: count %d is %d, more than there is room for"},
        [CUDA_FAULT_SELECT] = {OMNID_SHAPE, "select: of %d tokens %d leave"},
        [CUDA_FAULT_OWN_PAGE] = {OMNID_SHAPE, "rotate_append: row %d does not fit an own page of %d"},
    };
    int32_t code = s->faults->code;
    atomic_thread_fence(memory_order_acquire); /* the device wrote these first */
    int32_t index = s->faults->index, value = s->faults->value;
    s->faults->code = CUDA_FAULT_NONE;
    if (code <= CUDA_FAULT_NONE || code >= CUDA_N_FAULTS)
        return;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    kernels_stream_fail(&s->base, faults[code].status, faults[code].format, index, value);
#pragma GCC diagnostic pop
}

bool cuda_begin(kernels_stream *s)
{
    cuda_stream *stream = cuda_of(s);
    if (stream->faults->code != CUDA_FAULT_NONE)
        take_fault(stream);
    return s->error.status == OMNID_OK;
}

/* Copies would be recorded with what the host has now, and nothing that is recorded can be waited for. */
static bool not_recording(kernels_stream *s, const char *op)
{
    bool recording = cuda_recording(cuda_of(s));
    if (recording)
        kernels_stream_fail(s, OMNID_UNSUPPORTED, "cuda backend: %s in a path that is recorded", op);
    return !recording;
}

bool cuda_wait(kernels_stream *s)
{
    cuda_stream *stream = cuda_of(s);
    if (!not_recording(s, "a wait") || !cuda_ok(s, cudaStreamSynchronize(stream->stream), "waiting for the device"))
        return false;
    stream->staging.busy[0] = stream->staging.busy[1] = false;
    return cuda_begin(s);
}

/* ---- scratch ---- */

void *cuda_scratch_take(kernels_stream *s, size_t size)
{
    cuda_stream *stream = cuda_of(s);
    cuda_scratch *scratch = &stream->scratch;
    if (scratch->data && size <= scratch->size)
        return scratch->data;
    if (!not_recording(s, "more scratch memory"))
        return NULL;
    size_t most = sizeof scratch->older / sizeof *scratch->older;
    size_t grown = size > 2 * scratch->size ? size : 2 * scratch->size;
    void *data = (size_t)scratch->n_older < most ? cuda_alloc(s->backend, grown) : NULL;
    if (!data) {
        kernels_stream_fail(s, OMNID_NOMEM, "cuda backend: no memory for %zu bytes of scratch on %s", grown,
                            s->backend->name);
        return NULL;
    }
    if (scratch->data)
        scratch->older[scratch->n_older++] = scratch->data;
    scratch->data = data;
    scratch->size = grown;
    return data;
}

static void scratch_close(kernels_backend *b, cuda_scratch *scratch)
{
    for (int i = 0; i < scratch->n_older; i++)
        cuda_free(b, scratch->older[i]);
    cuda_free(b, scratch->data);
    *scratch = (cuda_scratch){0};
}

/* ---- copies ---- */

/* Room in the staging memory: where, and how many of the size bytes wanted. NULL after failing the stream. */
static char *staging_room(cuda_stream *s, size_t *size)
{
    cuda_staging *staging = &s->staging;
    if (staging->used == staging->half) {
        if (!cuda_ok(&s->base, cudaEventRecord(staging->done[staging->current], s->stream), "recording an event"))
            return NULL;
        staging->busy[staging->current] = true;
        staging->current = !staging->current;
        staging->used = 0;
        if (staging->busy[staging->current] &&
            !cuda_ok(&s->base, cudaEventSynchronize(staging->done[staging->current]), "waiting for a copy"))
            return NULL;
        staging->busy[staging->current] = false;
    }
    size_t left = staging->half - staging->used;
    *size = *size < left ? *size : left;
    char *room = staging->data + (size_t)staging->current * staging->half + staging->used;
    size_t taken = (*size + 63) / 64 * 64;
    staging->used = taken < left ? staging->used + taken : staging->half;
    return room;
}

void cuda_upload(kernels_stream *s, void *to, const void *from_host, size_t size)
{
    cuda_stream *stream = cuda_of(s);
    char *at = to;
    const char *from = from_host;
    if (!cuda_begin(s) || !not_recording(s, "upload"))
        return;
    while (size > 0) {
        size_t n = size;
        char *room = staging_room(stream, &n);
        if (!room)
            return;
        memcpy(room, from, n);
        if (!cuda_ok(s, cudaMemcpyAsync(at, room, n, cudaMemcpyHostToDevice, stream->stream), "copying to the device"))
            return;
        at += n;
        from += n;
        size -= n;
    }
}

void cuda_download(kernels_stream *s, void *to_host, const void *from, size_t size)
{
    cuda_stream *stream = cuda_of(s);
    char *at = to_host;
    const char *source = from;
    if (!cuda_wait(s)) /* the staging memory is idle from here on */
        return;
    for (size_t n; size > 0; at += n, source += n, size -= n) {
        n = size < stream->staging.half ? size : stream->staging.half;
        if (!cuda_ok(s, cudaMemcpyAsync(stream->staging.data, source, n, cudaMemcpyDeviceToHost, stream->stream),
                     "copying from the device") ||
            !cuda_wait(s))
            return;
        memcpy(at, stream->staging.data, n);
    }
    stream->staging.current = 0;
    stream->staging.used = 0;
}

/* ---- streams side by side ---- */

void cuda_follow(kernels_stream *s, kernels_stream *other)
{
    cuda_stream *behind = cuda_of(s), *before = cuda_of(other);
    if (!cuda_begin(s) ||
        !cuda_ok(s, cudaEventRecord(before->passed, before->stream), "marking what a stream has been given"))
        return;
    cuda_ok(s, cudaStreamWaitEvent(behind->stream, before->passed, 0), "following another stream");
}

/* The oldest mark is reached, or never will be. */
static void pass_mark(cuda_marks *m)
{
    m->first = (m->first + 1) % CUDA_MARKS;
    m->n--;
}

void cuda_mark(kernels_stream *s)
{
    cuda_stream *stream = cuda_of(s);
    cuda_marks *m = &stream->marks;
    if (cuda_behind(s, CUDA_MARKS - 1) < CUDA_MARKS && cuda_begin(s) &&
        cuda_ok(s, cudaEventRecord(m->events[(m->first + m->n) % CUDA_MARKS], stream->stream), "marking a stream"))
        m->n++;
}

int cuda_behind(kernels_stream *s, int most)
{
    cuda_marks *m = &cuda_of(s)->marks;
    while (m->n > 0) {
        bool wait = most >= 0 && m->n > most;
        cudaError_t error = wait ? cudaEventSynchronize(m->events[m->first]) : cudaEventQuery(m->events[m->first]);
        if (error == cudaErrorNotReady) {
            cudaGetLastError();
            break;
        }
        cuda_ok(s, error, "waiting for a mark");
        pass_mark(m);
    }
    return m->n;
}

/* ---- life ---- */

/* Whoever waits for a mark is ahead of the device and may sleep; nobody waits long for the others. */
static cudaError_t create_events(cuda_stream *s)
{
    cudaEvent_t *all[3 + CUDA_MARKS] = {&s->staging.done[0], &s->staging.done[1], &s->passed};
    cudaError_t error = cudaSuccess;
    for (int i = 0; i < CUDA_MARKS; i++)
        all[3 + i] = &s->marks.events[i];
    for (int i = 0; i < 3 + CUDA_MARKS && error == cudaSuccess; i++)
        error = cudaEventCreateWithFlags(all[i], cudaEventDisableTiming | (i < 3 ? 0 : cudaEventBlockingSync));
    return error;
}

static void destroy_events(cuda_stream *s)
{
    cudaEvent_t all[3 + CUDA_MARKS] = {s->staging.done[0], s->staging.done[1], s->passed};
    for (int i = 0; i < CUDA_MARKS; i++)
        all[3 + i] = s->marks.events[i];
    for (int i = 0; i < 3 + CUDA_MARKS; i++)
        if (all[i])
            cudaEventDestroy(all[i]);
}

static cudaError_t create_stream(cudaStream_t *out, kernels_priority priority)
{
    int least = 0, greatest = 0;
    cudaError_t error = cudaDeviceGetStreamPriorityRange(&least, &greatest);
    return error == cudaSuccess
               ? cudaStreamCreateWithPriority(out, cudaStreamNonBlocking, priority == KERNELS_FIRST ? greatest : least)
               : error;
}

static omnid_status stream_fill(kernels_backend *b, cuda_stream *s, kernels_priority priority, omnid_error *err)
{
    const char *what = "opening a stream";
    void *pinned = NULL;
    cudaError_t error = create_stream(&s->stream, priority);
    if (error == cudaSuccess) {
        cuda_memory_join(s);
        error = cudaHostAlloc(&pinned, 2 * STAGING_HALF + CUDA_ALIGN, cudaHostAllocPortable | cudaHostAllocMapped);
    }
    if (error != cudaSuccess)
        return cuda_failed(err, error, what);
    memset(pinned, 0, CUDA_ALIGN);
    s->faults = pinned;
    s->result = (int32_t *)pinned + CUDA_ALIGN / 2 / sizeof(int32_t);
    s->staging.data = (char *)pinned + CUDA_ALIGN;
    s->staging.half = STAGING_HALF;
    error = create_events(s);
    if (error != cudaSuccess)
        return cuda_failed(err, error, what);
    s->blas_work = b->blas ? cuda_alloc(b, CUDA_BLAS_WORK) : NULL;
    if (b->blas && !s->blas_work)
        return omnid_fail(err, OMNID_NOMEM, "cuda backend: no memory for %d bytes of work space on %s", CUDA_BLAS_WORK,
                          b->name);
    return OMNID_OK;
}

omnid_status cuda_stream_create(kernels_backend *b, cuda_stream **out, kernels_priority priority, omnid_error *err)
{
    cuda_stream *s = calloc(1, sizeof *s);
    *out = s;
    if (!s)
        return omnid_fail(err, OMNID_NOMEM, "cuda backend: no memory for %zu bytes", sizeof *s);
    s->base.ops = &cuda_ops;
    s->base.backend = b;
    omnid_status status = cuda_graphs_open(s, err);
    if (status == OMNID_OK)
        status = stream_fill(b, s, priority, err);
    if (status != OMNID_OK) {
        kernels_stream *base = &s->base;
        cuda_stream_close(&base);
        *out = NULL;
    }
    return status;
}

omnid_status cuda_stream_open(kernels_backend *b, kernels_stream **out, kernels_priority priority, omnid_error *err)
{
    cuda_stream *s;
    omnid_status status = cuda_stream_create(b, &s, priority, err);
    *out = s ? &s->base : NULL;
    return status;
}

void cuda_stream_close(kernels_stream **s)
{
    if (!*s)
        return;
    cuda_stream *stream = cuda_of(*s);
    kernels_backend *b = stream->base.backend;
    if (stream->stream) {
        cudaStreamSynchronize(stream->stream);
        cuda_memory_leave(stream);
        cudaStreamDestroy(stream->stream);
    }
    destroy_events(stream);
    if (stream->faults)
        cudaFreeHost(stream->faults);
    cuda_graphs_close(stream);
    scratch_close(b, &stream->scratch);
    cuda_free(b, stream->blas_work);
    free(stream);
    *s = NULL;
}
