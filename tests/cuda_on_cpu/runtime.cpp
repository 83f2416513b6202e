// runtime.cpp: CUDA's host interface. Work is queued on streams, and done when somebody waits for it: what reads a result too
// early, or changes a buffer that a copy has still to read, gets it wrong here as it does on a device.
#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include <cstdio>
#include <cstdlib>
#include <cuda_runtime.h>
#include <pthread.h>

#include "block.h"
#include "memory.h"

using namespace cuda_emulation;

typedef std::function<void()> work;

struct CUgraph_st {
    std::vector<work> steps;
    std::set<cudaStream_t> streams; /* that are being captured into it */
};

struct CUgraphExec_st {
    std::shared_ptr<std::vector<work>> steps;
};

/* What a stream does next. A pool looks for frees that need nothing any more, and so has to tell these two from work. */
struct item {
    work step;
    cudaStream_t waits_for; /* for it to have done `after`; NULL: for nothing */
    long after;
    bool frees;
};

struct CUmemPoolHandle_st {
    std::set<cudaStream_t> freeing; /* streams that were given frees */
    std::map<void *, size_t> blocks;
    size_t used;
    uint64_t threshold;
    int follows_events, in_opportunity, adds_dependencies;
};

struct CUstream_st {
    std::deque<item> queue;
    long n_queued, n_done; /* since it was opened */
    CUgraph_st *captures;
    bool broken; /* the capture */
    bool begins_capture;
};

struct CUevent_st {
    cudaStream_t stream; /* NULL: never recorded */
    long after;          /* done when the stream has done so many */
    CUgraph_st *captured;
};

static struct {
    std::recursive_mutex lock;
    std::set<cudaStream_t> streams;
    std::set<cudaMemPool_t> pools;
    std::map<const void *, int> shared; /* allowed to kernels */
    cudaError_t last;
    CUstream_st legacy; /* stream 0 */
    long n_allocations, n_waits, n_downloads;
    bool lost; /* the device: what is asked of it fails, and does for ever */
} machine;

typedef std::lock_guard<std::recursive_mutex> locked;

static const size_t SHARED_DEFAULT = 48 * 1024, SHARED_MOST = 99 * 1024,
                    SHARED_RESERVED = 1024; /* of sm_86, the least of those supported */

static cudaError_t fail(cudaError_t error)
{
    if (error != cudaSuccess)
        machine.last = error;
    return error;
}

static CUstream_st *stream_of(cudaStream_t stream)
{
    return stream ? stream : &machine.legacy;
}

static bool emulates(const char *what)
{
    const char *wanted = getenv("OMNID_CUDA_EMULATE");
    return wanted && strcmp(wanted, what) == 0;
}

/* What was asked for so far: allocations, waits, copies to the host. For tests, which find it by its name. */
extern "C" __attribute__((visibility("default"))) void cuda_emulation_counts(long counts[3]);
void cuda_emulation_counts(long counts[3])
{
    locked l(machine.lock);
    counts[0] = machine.n_allocations;
    counts[1] = machine.n_waits;
    counts[2] = machine.n_downloads;
}

/* The device falls off its bus. For tests, like the above. */
extern "C" __attribute__((visibility("default"))) void cuda_emulation_lose();
void cuda_emulation_lose()
{
    locked l(machine.lock);
    machine.lost = true;
}

// ---- the device ----

cudaError_t cudaGetDeviceCount(int *count)
{
    *count = 0;
    if (emulates("no driver") || emulates("old driver"))
        return fail(cudaErrorInsufficientDriver);
    if (emulates("no device") || machine.lost)
        return fail(cudaErrorNoDevice);
    *count = 1;
    return cudaSuccess;
}

cudaError_t cudaGetDevice(int *device)
{
    *device = 0;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device)
{
    return device == 0 ? cudaSuccess : fail(cudaErrorInvalidValue);
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *p, int device)
{
    if (device != 0)
        return fail(cudaErrorInvalidValue);
    *p = {};
    snprintf(p->name, sizeof p->name, "emulated device");
    p->major = emulates("old device") ? 7 : 8;
    p->minor = 6;
    p->multiProcessorCount = 4;
    p->totalGlobalMem = device_total();
    p->sharedMemPerBlock = SHARED_DEFAULT;
    p->sharedMemPerBlockOptin = SHARED_MOST;
    p->reservedSharedMemPerBlock = SHARED_RESERVED;
    p->sharedMemPerMultiprocessor = SHARED_MOST + SHARED_RESERVED;
    p->l2CacheSize = 4 << 20;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int device)
{
    if (device != 0 || (attribute != cudaDevAttrIntegrated && attribute != cudaDevAttrMemoryPoolsSupported))
        return fail(cudaErrorInvalidValue);
    *value = attribute == cudaDevAttrIntegrated ? emulates("integrated") : !emulates("no pools");
    return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *version)
{
    *version = emulates("no driver") ? 0 : emulates("old driver") ? 11040 : CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaGetLastError()
{
    cudaError_t error = machine.last;
    machine.last = machine.lost ? cudaErrorLaunchFailure : cudaSuccess;
    return error;
}

cudaError_t cudaPeekAtLastError()
{
    return machine.last;
}

const char *cudaGetErrorString(cudaError_t error)
{
    switch (error) {
    case cudaSuccess:
        return "no error";
    case cudaErrorInvalidValue:
        return "invalid argument";
    case cudaErrorMemoryAllocation:
        return "out of memory";
    case cudaErrorInvalidConfiguration:
        return "invalid configuration argument";
    case cudaErrorInsufficientDriver:
        return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorNoDevice:
        return "no CUDA-capable device is detected";
    case cudaErrorLaunchFailure:
        return "unspecified launch failure";
    case cudaErrorStreamCaptureUnsupported:
        return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated:
        return "operation failed due to a previous error during capture";
    default:
        return "unrecognized error code";
    }
}

const char *cudaGetErrorName(cudaError_t error)
{
    return cudaGetErrorString(error);
}

// ---- memory ----

/* Calls that a stream under capture in another mode than relaxed does not allow. */
static bool capturing()
{
    for (cudaStream_t s : machine.streams)
        if (s->captures)
            return true;
    return false;
}

static void drain(CUstream_st *s, long until)
{
    device_open open;
    while (s->n_done < until && !s->queue.empty()) {
        item next = std::move(s->queue.front());
        s->queue.pop_front();
        next.step();
        s->n_done++;
    }
}

static void drain_all()
{
    for (cudaStream_t s : machine.streams)
        drain(s, s->n_queued);
    drain(&machine.legacy, machine.legacy.n_queued);
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total_bytes)
{
    *total_bytes = device_total();
    *free_bytes = *total_bytes - device_used();
    return machine.lost ? fail(cudaErrorLaunchFailure) : cudaSuccess;
}

cudaError_t cudaMalloc(void **out, size_t size)
{
    locked l(machine.lock);
    machine.n_allocations++;
    *out = nullptr;
    if (machine.lost)
        return fail(cudaErrorLaunchFailure);
    if (capturing())
        return fail(cudaErrorStreamCaptureUnsupported);
    *out = device_take(size);
    return *out ? cudaSuccess : fail(cudaErrorMemoryAllocation);
}

cudaError_t cudaFree(void *data)
{
    locked l(machine.lock);
    machine.n_waits++;
    if (!data)
        return cudaSuccess;
    if (capturing())
        return fail(cudaErrorStreamCaptureUnsupported);
    drain_all(); /* cudaFree waits for the device */
    return device_give(data) ? cudaSuccess : fail(cudaErrorInvalidValue);
}

// ---- memory pools ----

static bool is_done(cudaStream_t stream, long after)
{
    return (stream && !machine.streams.count(stream)) || stream_of(stream)->n_done >= after;
}

/* Frees that wait for nothing any more are done, as far as no other work comes before them. */
static void look_for_frees(CUmemPoolHandle_st *pool)
{
    device_open open;
    for (cudaStream_t stream : pool->freeing) {
        if (stream && !machine.streams.count(stream))
            continue;
        CUstream_st *s = stream_of(stream);
        while (!s->queue.empty()) {
            const item &next = s->queue.front();
            if (next.waits_for ? !is_done(next.waits_for, next.after) : !next.frees)
                break;
            drain(s, s->n_done + 1);
        }
    }
}

cudaError_t cudaMemPoolCreate(cudaMemPool_t *out, const struct cudaMemPoolProps *properties)
{
    locked l(machine.lock);
    *out = nullptr;
    if (properties->allocType != cudaMemAllocationTypePinned ||
        properties->location.type != cudaMemLocationTypeDevice || properties->location.id != 0 || emulates("no pools"))
        return fail(emulates("no pools") ? cudaErrorNotSupported : cudaErrorInvalidValue);
    *out = new CUmemPoolHandle_st{{}, {}, 0, 0, 1, 1, 1};
    machine.pools.insert(*out);
    return cudaSuccess;
}

cudaError_t cudaMemPoolDestroy(cudaMemPool_t pool)
{
    locked l(machine.lock);
    if (!machine.pools.erase(pool))
        return fail(cudaErrorInvalidValue);
    drain_all();
    for (const auto &block : pool->blocks)
        device_give(block.first);
    delete pool;
    return cudaSuccess;
}

cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, enum cudaMemPoolAttr attribute, void *value)
{
    locked l(machine.lock);
    switch (attribute) {
    case cudaMemPoolReuseFollowEventDependencies:
        pool->follows_events = *static_cast<int *>(value);
        return cudaSuccess;
    case cudaMemPoolReuseAllowOpportunistic:
        pool->in_opportunity = *static_cast<int *>(value);
        return cudaSuccess;
    case cudaMemPoolReuseAllowInternalDependencies:
        pool->adds_dependencies = *static_cast<int *>(value);
        return cudaSuccess;
    case cudaMemPoolAttrReleaseThreshold:
        pool->threshold = *static_cast<uint64_t *>(value);
        return cudaSuccess;
    default:
        return fail(cudaErrorInvalidValue);
    }
}

cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t pool, enum cudaMemPoolAttr attribute, void *value)
{
    locked l(machine.lock);
    if (attribute != cudaMemPoolAttrReservedMemCurrent && attribute != cudaMemPoolAttrUsedMemCurrent)
        return fail(cudaErrorInvalidValue);
    *static_cast<uint64_t *>(value) = pool->used; /* freed memory goes back to the device at once, here */
    return cudaSuccess;
}

cudaError_t cudaMallocFromPoolAsync(void **out, size_t size, cudaMemPool_t pool, cudaStream_t stream)
{
    locked l(machine.lock);
    machine.n_allocations++;
    *out = nullptr;
    if (machine.lost)
        return fail(cudaErrorLaunchFailure);
    if (pool->follows_events || pool->adds_dependencies || !pool->in_opportunity || pool->threshold != UINT64_MAX)
        die("a pool with other rules than those that kernels/cuda sets is not emulated");
    if (stream_of(stream)->captures || !stream_of(stream)->queue.empty())
        die("cudaMallocFromPoolAsync on a stream that has work: its memory would be there after that only");
    look_for_frees(pool);
    *out = device_take(size);
    if (!*out)
        return fail(cudaErrorMemoryAllocation);
    pool->blocks[*out] = size;
    pool->used += size;
    return cudaSuccess;
}

cudaError_t cudaFreeAsync(void *data, cudaStream_t stream)
{
    locked l(machine.lock);
    if (machine.lost)
        return fail(cudaErrorLaunchFailure);
    for (CUmemPoolHandle_st *pool : machine.pools) {
        auto block = pool->blocks.find(data);
        if (block == pool->blocks.end())
            continue;
        size_t size = block->second;
        pool->blocks.erase(block); /* a second free finds nothing */
        pool->freeing.insert(stream);
        CUstream_st *s = stream_of(stream);
        s->queue.push_back({[pool, data, size] {
                                device_give(data);
                                if (machine.pools.count(pool))
                                    pool->used -= size;
                            },
                            nullptr, 0, true});
        s->n_queued++;
        return cudaSuccess;
    }
    return fail(cudaErrorInvalidValue);
}

cudaError_t cudaHostAlloc(void **out, size_t size, unsigned)
{
    locked l(machine.lock);
    machine.n_allocations++;
    *out = pinned_take(size);
    return *out ? cudaSuccess : fail(cudaErrorMemoryAllocation);
}

cudaError_t cudaFreeHost(void *data)
{
    locked l(machine.lock);
    drain_all();
    return !data || pinned_give(data) ? cudaSuccess : fail(cudaErrorInvalidValue);
}

// ---- streams ----

static cudaError_t enqueue(cudaStream_t stream, work step)
{
    CUstream_st *s = stream_of(stream);
    if (machine.lost)
        return fail(cudaErrorLaunchFailure);
    if (s->captures) {
        s->captures->steps.push_back(std::move(step));
        return cudaSuccess;
    }
    s->queue.push_back({std::move(step), nullptr, 0, false});
    s->n_queued++;
    if (s->queue.size() > 4096) /* a device's queue is bounded, too */
        drain(s, s->n_queued - 2048);
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t size, enum cudaMemcpyKind kind, cudaStream_t stream)
{
    locked l(machine.lock);
    machine.n_downloads += kind == cudaMemcpyDeviceToHost;
    bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
    bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
    if (kind == cudaMemcpyDefault || kind == cudaMemcpyHostToHost)
        die("cudaMemcpyAsync: name the direction");
    if (size == 0)
        return cudaSuccess;
    if (!(to_device ? device_holds(to, size) : pinned_holds(to, size)))
        die("cudaMemcpyAsync of %zu bytes to memory that is not the %s", size,
            to_device ? "device's, or behind a block's end" : "host's pinned");
    if (!(from_device ? device_holds(from, size) : pinned_holds(from, size)))
        die("cudaMemcpyAsync of %zu bytes from memory that is not the %s", size,
            from_device ? "device's, or behind a block's end" : "host's pinned");
    return enqueue(stream, [=] { memcpy(to, from, size); });
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t size, cudaStream_t stream)
{
    locked l(machine.lock);
    if (!device_holds(to, size))
        die("cudaMemsetAsync of %zu bytes outside a block of device memory", size);
    return enqueue(stream, [=] { memset(to, value, size); });
}

cudaError_t cudaDeviceSynchronize()
{
    locked l(machine.lock);
    machine.n_waits++;
    if (machine.lost)
        return fail(cudaErrorLaunchFailure);
    if (capturing())
        return fail(cudaErrorStreamCaptureUnsupported);
    drain_all();
    return cudaSuccess;
}

cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest)
{
    *least = 0;
    *greatest = -5;
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t *out, unsigned, int)
{
    locked l(machine.lock);
    *out = new CUstream_st();
    machine.streams.insert(*out);
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned flags)
{
    return cudaStreamCreateWithPriority(out, flags, 0);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    locked l(machine.lock);
    if (!machine.streams.erase(stream))
        return fail(cudaErrorInvalidValue);
    drain(stream, stream->n_queued);
    delete stream;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    locked l(machine.lock);
    machine.n_waits++;
    if (machine.lost)
        return fail(cudaErrorLaunchFailure);
    CUstream_st *s = stream_of(stream);
    if (s->captures) {
        s->broken = true;
        return fail(cudaErrorStreamCaptureUnsupported);
    }
    drain(s, s->n_queued);
    return cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t stream)
{
    locked l(machine.lock);
    if (machine.lost)
        return fail(cudaErrorLaunchFailure);
    CUstream_st *s = stream_of(stream);
    if (s->captures)
        return fail(cudaErrorStreamCaptureUnsupported);
    return s->queue.empty() ? cudaSuccess : cudaErrorNotReady;
}

static void reach(cudaStream_t stream, long after)
{
    if (!stream || machine.streams.count(stream))
        drain(stream_of(stream), after);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned)
{
    locked l(machine.lock);
    if (machine.lost)
        return fail(cudaErrorLaunchFailure);
    CUstream_st *s = stream_of(stream);
    if (event->captured) { /* joins the capture the event was recorded in; steps keep the order they came in */
        s->captures = event->captured;
        s->captures->streams.insert(stream);
        return cudaSuccess;
    }
    if (s->captures) {
        s->broken = true;
        return fail(cudaErrorStreamCaptureUnsupported);
    }
    cudaStream_t other = event->stream;
    long after = event->after;
    if (other == stream || is_done(other, after))
        return cudaSuccess;
    cudaError_t error = enqueue(stream, [other, after] { reach(other, after); });
    if (!s->queue.empty()) {
        s->queue.back().waits_for = other;
        s->queue.back().after = after;
    }
    return error;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned)
{
    *out = new CUevent_st();
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    delete event;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    locked l(machine.lock);
    if (machine.lost)
        return fail(cudaErrorLaunchFailure);
    CUstream_st *s = stream_of(stream);
    event->captured = s->captures;
    event->stream = stream;
    event->after = s->n_queued;
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    locked l(machine.lock);
    machine.n_waits++;
    if (machine.lost)
        return fail(cudaErrorLaunchFailure);
    if (event->captured)
        return fail(cudaErrorStreamCaptureUnsupported);
    reach(event->stream, event->after);
    return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event)
{
    locked l(machine.lock);
    if (machine.lost)
        return fail(cudaErrorLaunchFailure);
    if (event->captured)
        return fail(cudaErrorStreamCaptureUnsupported);
    bool there = !event->stream || machine.streams.count(event->stream);
    if (there) /* asking takes time, in which the device does something */
        drain(stream_of(event->stream), std::min(event->after, stream_of(event->stream)->n_done + 1));
    return !there || stream_of(event->stream)->n_done >= event->after ? cudaSuccess : cudaErrorNotReady;
}

/* Work takes no time here, so that what is chosen by time is the same in every run. */
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t begin, cudaEvent_t end)
{
    *ms = 0;
    for (cudaEvent_t event : {begin, end}) {
        if (!event->stream || event->captured)
            return fail(cudaErrorInvalidValue);
        cudaError_t error = cudaEventQuery(event);
        if (error != cudaSuccess)
            return error;
    }
    return cudaSuccess;
}

// ---- graphs ----

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode)
{
    locked l(machine.lock);
    if (!stream || stream->captures)
        return fail(cudaErrorInvalidValue);
    stream->captures = new CUgraph_st();
    stream->captures->streams.insert(stream);
    stream->begins_capture = true;
    stream->broken = false;
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph)
{
    locked l(machine.lock);
    *graph = nullptr;
    if (!stream || !stream->captures || !stream->begins_capture)
        return fail(cudaErrorInvalidValue);
    CUgraph_st *captured = stream->captures;
    bool broken = false;
    for (cudaStream_t s : captured->streams) {
        broken |= s->broken;
        s->captures = nullptr;
        s->broken = s->begins_capture = false;
    }
    captured->streams.clear();
    if (broken) {
        delete captured;
        return fail(cudaErrorStreamCaptureInvalidated);
    }
    *graph = captured;
    return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, enum cudaStreamCaptureStatus *status)
{
    locked l(machine.lock);
    CUstream_st *s = stream_of(stream);
    *status = !s->captures ? cudaStreamCaptureStatusNone
              : s->broken  ? cudaStreamCaptureStatusInvalidated
                           : cudaStreamCaptureStatusActive;
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *out, cudaGraph_t graph, unsigned long long)
{
    *out = new CUgraphExec_st{std::make_shared<std::vector<work>>(graph->steps)};
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
    locked l(machine.lock);
    auto steps = exec->steps;
    return enqueue(stream, [steps] {
        for (const work &step : *steps)
            step();
    });
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    delete graph;
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    delete exec;
    return cudaSuccess;
}

// ---- launches ----

namespace cuda_emulation
{
/* A word that points into this thread's stack or into malloc's usual places: no device reads those. */
static bool points_to_host(uintptr_t word)
{
    static uintptr_t heap_first = 0;
    char here_on_stack;
    uintptr_t stack = reinterpret_cast<uintptr_t>(&here_on_stack);
    if (!heap_first) {
        void *piece = malloc(64);
        heap_first = reinterpret_cast<uintptr_t>(piece) & ~static_cast<uintptr_t>(0xffffffffff);
        free(piece);
    }
    /* Small low halves are numbers beside padding, which holds anything. */
    bool in_heap =
        heap_first && (word & 0xffffffffu) > 0x100000 && (word & ~static_cast<uintptr_t>(0xffffffffff)) == heap_first;
    bool on_stack = word > stack - (1 << 20) && word < stack + (1 << 20);
    return in_heap || on_stack;
}

void check_argument(const void *argument, size_t size)
{
    for (size_t i = 0; i + sizeof(uintptr_t) <= size; i += sizeof(uintptr_t)) {
        uintptr_t word;
        memcpy(&word, static_cast<const char *>(argument) + i, sizeof word);
        const void *at = reinterpret_cast<const void *>(word);
        if (points_to_host(word) && !device_holds(at, 0) && !pinned_holds(at, 0))
            die("word %zu of a kernel's argument points to host memory (%p)", i / sizeof(uintptr_t), at);
    }
}

cudaError_t enqueue_work(cudaStream_t stream, work step)
{
    locked l(machine.lock);
    return enqueue(stream, std::move(step));
}

cudaError_t allow_shared(const void *kernel, int size)
{
    locked l(machine.lock);
    if (size < 0 || static_cast<size_t>(size) > SHARED_MOST)
        return fail(cudaErrorInvalidValue);
    machine.shared[kernel] = size;
    return cudaSuccess;
}

cudaError_t find_code(cudaFuncAttributes *attributes, const void *)
{
    *attributes = {};
    return emulates("no code") ? fail(cudaErrorNoKernelImageForDevice) : cudaSuccess;
}

cudaError_t launch(const void *kernel, dim3 grid, dim3 block, size_t shared, cudaStream_t stream, work body)
{
    locked l(machine.lock);
    auto allowed = machine.shared.find(kernel);
    size_t most = allowed == machine.shared.end() ? SHARED_DEFAULT : static_cast<size_t>(allowed->second);
    unsigned long threads = static_cast<unsigned long>(block.x) * block.y * block.z;
    if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535 ||
        threads == 0 || threads > 1024 || block.z > 64)
        return fail(cudaErrorInvalidConfiguration);
    if (shared > most)
        return fail(cudaErrorInvalidValue);
    launch_record record = {grid, block, shared, std::move(body)};
    return enqueue(stream, [record] { run_grid(record); });
}
} // namespace cuda_emulation
