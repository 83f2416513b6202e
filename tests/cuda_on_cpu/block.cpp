// block.cpp: the threads of one block as fibers: barriers, collectives of a warp, shared memory, copies that come later.
#include "block.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <utility>
#include <vector>

#include "fiber.h"

#if defined(__SANITIZE_ADDRESS__)
#define BLOCK_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define BLOCK_ASAN 1
#endif
#endif
#ifdef BLOCK_ASAN
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, size)   ((void)(at), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(at, size) ((void)(at), (void)(size))
#endif

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace cuda_emulation
{
enum wait_kind { FRESH, RUNS, WAITS_FOR_LANES, WAITS_FOR_BLOCK, DONE };

struct later {
    void *to;
    const void *from;
    size_t size, valid;
    int group;
};

/* A collective of all 32 lanes of a warp that some have come to. */
struct warp {
    int n_come;
    evaluate_lanes *evaluate;
    const char *what;
    void *data[32];
};

struct cuda_thread {
    fiber *on;
    wait_kind state;
    uint3 index;
    unsigned lane;
    unsigned mask; /* of the collective it waits in */
    void *data;
    evaluate_lanes *evaluate;
    const char *what;
    std::vector<later> copies;
    int n_groups;
};

/* The block that runs. */
static struct block_state {
    const launch_record *launch;
    std::vector<cuda_thread> threads;
    std::vector<warp> warps;
    std::vector<fiber *> idle;
    cuda_thread *now;
    bool backwards;

    ~block_state()
    {
        for (fiber *f : idle)
            fiber_free(f);
    }
} block;

enum { SHARED_ROOM = 1 << 20, ZONE = 64, ZONE_BYTE = 0xa5 };
alignas(1024) static unsigned char shared_room[SHARED_ROOM];
static size_t shared_extent; /* bytes in use, zones included */
static std::vector<std::pair<size_t, size_t>> shared_zones;

void die(const char *format, ...)
{
    va_list args;
    fflush(stdout);
    fprintf(stderr, "cuda emulation: ");
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    if (block.launch)
        fprintf(stderr, "\n    in block (%u, %u, %u) of (%u, %u, %u), %u x %u x %u threads, %zu bytes of shared memory",
                blockIdx.x, blockIdx.y, blockIdx.z, gridDim.x, gridDim.y, gridDim.z, blockDim.x, blockDim.y, blockDim.z,
                block.launch->shared);
    if (block.now)
        fprintf(stderr, ", thread (%u, %u, %u)", threadIdx.x, threadIdx.y, threadIdx.z);
    fprintf(stderr, "\n");
    abort();
}

static size_t number_of(const cuda_thread *t)
{
    return static_cast<size_t>(t - block.threads.data());
}

unsigned lane()
{
    return block.now->lane;
}

/* The threads of t's warp. */
static void warp_of(const cuda_thread *t, size_t *first, size_t *end)
{
    *first = number_of(t) / 32 * 32;
    *end = *first + 32 < block.threads.size() ? *first + 32 : block.threads.size();
}

unsigned lanes_alive()
{
    size_t first, end;
    unsigned mask = 0;
    warp_of(block.now, &first, &end);
    for (size_t i = first; i < end; i++)
        if (block.threads[i].state != DONE)
            mask |= 1u << (i - first);
    return mask;
}

static void yield_as(wait_kind state)
{
    cuda_thread *t = block.now;
    t->state = state;
    fiber_yield(t->on);
}

void wait_for_block()
{
    yield_as(WAITS_FOR_BLOCK);
}

/* The usual case, a whole warp: the last lane that comes evaluates and lets the others go. */
static void wait_for_warp(cuda_thread *t, void *data, evaluate_lanes *evaluate, const char *what)
{
    size_t first = number_of(t) - t->lane;
    warp *w = &block.warps[first / 32];
    if (first + 32 > block.threads.size())
        die("%s of a whole warp, but the last warp has %zu threads", what, block.threads.size() - first);
    if (w->n_come == 0) {
        w->evaluate = evaluate;
        w->what = what;
    } else if (w->evaluate != evaluate) {
        die("lane %u is in %s, others of its warp in %s", t->lane, what, w->what);
    }
    w->data[t->lane] = data;
    if (++w->n_come < 32) {
        t->state = WAITS_FOR_LANES;
        t->mask = 0xffffffffu;
        t->evaluate = evaluate;
        t->what = what;
        fiber_yield(t->on);
        return;
    }
    w->n_come = 0;
    evaluate(w->data, 0xffffffffu);
    for (size_t i = first; i < first + 32; i++)
        block.threads[i].state = RUNS;
}

void wait_for_lanes(unsigned mask, void *data, evaluate_lanes *evaluate, const char *what)
{
    cuda_thread *t = block.now;
    if (mask == 0xffffffffu) {
        wait_for_warp(t, data, evaluate, what);
        return;
    }
    size_t first, end;
    warp_of(t, &first, &end);
    unsigned all = end - first == 32 ? 0xffffffffu : (1u << (end - first)) - 1, own = 1u << (number_of(t) - first);
    if (!(mask & own) || (mask & ~all))
        die("%s with mask %08x, which lacks the caller or names lanes that are not there", what, mask);
    t->mask = mask;
    t->data = data;
    t->evaluate = evaluate;
    t->what = what;
    t->state = WAITS_FOR_LANES;
    void *lanes[32] = {};
    for (size_t i = first; i < end; i++) {
        const cuda_thread *other = &block.threads[i];
        if (!(mask >> (i - first) & 1))
            continue;
        if (other->state == DONE)
            die("%s waits for lane %zu, which has ended", what, i - first);
        if (other->state != WAITS_FOR_LANES) {
            fiber_yield(t->on);
            return;
        }
        if (other->mask != mask || other->evaluate != evaluate)
            die("lane %u is in %s (mask %08x), lane %zu in %s (mask %08x)", lane(), what, mask, i - first, other->what,
                other->mask);
        lanes[i - first] = other->data;
    }
    evaluate(lanes, mask); /* the last one came */
    for (size_t i = first; i < end; i++)
        if (mask >> (i - first) & 1)
            block.threads[i].state = RUNS;
}

// ---- shared memory ----

void *take_shared(size_t *used, size_t size)
{
    /* `used` counts as the device does; a piece's place here is that plus a zone for each piece before it. */
    size_t n_before = *used >> 48, device = *used & 0xffffffffffffu, rounded = (size + 15) / 16 * 16;
    size_t at = device + (n_before + 1) * ZONE;
    if (device + size > block.launch->shared)
        die("pieces of shared memory take %zu bytes, the launch gave %zu", device + size, block.launch->shared);
    if (at + rounded + ZONE > SHARED_ROOM)
        die("more than %zu pieces of shared memory", n_before);
    if (at + rounded + ZONE > shared_extent) { /* the first thread that comes here */
        size_t from = shared_extent;
        shared_extent = at + rounded + ZONE;
        ASAN_UNPOISON_MEMORY_REGION(shared_room + from, shared_extent - from);
        memset(shared_room + from, ZONE_BYTE, shared_extent - from);
        memset(shared_room + at, 0xff, size);
        ASAN_POISON_MEMORY_REGION(shared_room + from, at - from);
        ASAN_POISON_MEMORY_REGION(shared_room + at + size, shared_extent - at - size);
        shared_zones.push_back({at + size, shared_extent});
    }
    *used = (n_before + 1) << 48 | (device + rounded);
    return shared_room + at;
}

static void begin_shared()
{
    shared_extent = 0;
    shared_zones.clear();
    ASAN_POISON_MEMORY_REGION(shared_room, SHARED_ROOM);
}

// ---- copies that come later ----

void copy_later(void *to, const void *from, size_t size, size_t valid)
{
    unsigned char *at = static_cast<unsigned char *>(to);
    if (reinterpret_cast<uintptr_t>(to) % size || (valid && reinterpret_cast<uintptr_t>(from) % size))
        die("an asynchronous copy of %zu bytes is not aligned to that", size);
    if (at < shared_room || at + size > shared_room + shared_extent)
        die("an asynchronous copy does not go into shared memory");
    memset(to, 0xff, size); /* what is read too early is NaN */
    block.now->copies.push_back({to, from, size, valid, block.now->n_groups});
}

void copies_commit()
{
    block.now->n_groups++;
}

void copies_wait(int n_left)
{
    cuda_thread *t = block.now;
    size_t n = 0;
    for (; n < t->copies.size() && t->copies[n].group < t->n_groups - n_left; n++) {
        const later &c = t->copies[n];
        if (c.valid)
            memcpy(c.to, c.from, c.valid);
        memset(static_cast<char *>(c.to) + c.valid, 0, c.size - c.valid);
    }
    t->copies.erase(t->copies.begin(), t->copies.begin() + static_cast<long>(n));
}

// ---- running ----

/* A fiber runs one CUDA thread after another. */
static void run_threads(void *)
{
    for (;;) {
        cuda_thread *t = block.now;
        block.launch->body();
        if (!t->copies.empty())
            die("a thread ends with asynchronous copies it has not waited for");
        t->state = DONE;
        fiber_yield(t->on);
    }
}

static void resume(cuda_thread *t)
{
    if (t->state == FRESH) {
        if (block.idle.empty()) {
            t->on = fiber_new(run_threads, nullptr);
            if (!t->on)
                die("no memory for a thread's stack");
        } else {
            t->on = block.idle.back();
            block.idle.pop_back();
        }
    }
    t->state = RUNS;
    threadIdx = t->index;
    block.now = t;
    fiber_resume(t->on);
    block.now = nullptr;
    if (t->state == DONE) {
        block.idle.push_back(t->on);
        t->on = nullptr;
    }
}

/* Runs a warp until each of its threads waits or has ended; true when any of them ran. */
static bool run_warp(size_t first, size_t end)
{
    bool ran = false, again = true;
    while (again) {
        again = false;
        for (size_t i = 0; i < end - first; i++) {
            cuda_thread *t = &block.threads[block.backwards ? end - 1 - i : first + i];
            if (t->state == FRESH || t->state == RUNS) {
                resume(t);
                ran = again = true;
            }
        }
    }
    return ran;
}

/* Nothing runs any more: lets a full barrier go on, or says who keeps the block waiting. True: all have ended. */
static bool settle()
{
    const cuda_thread *waits = nullptr, *ended = nullptr;
    for (cuda_thread &t : block.threads) {
        if (t.state == WAITS_FOR_LANES)
            die("thread (%u, %u, %u) waits for ever in %s for lanes that are elsewhere", t.index.x, t.index.y,
                t.index.z, t.what);
        waits = t.state == WAITS_FOR_BLOCK ? &t : waits;
        ended = t.state == DONE ? &t : ended;
    }
    if (waits && ended)
        die("thread (%u, %u, %u) has ended, thread (%u, %u, %u) waits in __syncthreads", ended->index.x, ended->index.y,
            ended->index.z, waits->index.x, waits->index.y, waits->index.z);
    for (cuda_thread &t : block.threads)
        if (t.state == WAITS_FOR_BLOCK)
            t.state = RUNS;
    return !waits;
}

/* The bytes between pieces of shared memory are as they were. Where AddressSanitizer is, it told already. */
static void check_zones()
{
#ifndef BLOCK_ASAN
    for (const auto &zone : shared_zones)
        for (size_t i = zone.first; i < zone.second; i++)
            if (shared_room[i] != ZONE_BYTE)
                die("a kernel wrote %zu bytes behind the end of a piece of shared memory", i - zone.first);
#endif
}

static void run_block()
{
    size_t n = block.threads.size(), n_warps = (n + 31) / 32;
    dim3 dim = block.launch->block;
    for (size_t i = 0; i < n; i++) {
        cuda_thread *t = &block.threads[i];
        unsigned number = static_cast<unsigned>(i);
        t->state = FRESH;
        t->lane = number % 32;
        t->index = {number % dim.x, number / dim.x % dim.y, number / (dim.x * dim.y)};
        t->n_groups = 0;
    }
    for (warp &w : block.warps)
        w.n_come = 0;
    begin_shared();
    do {
        bool ran = true;
        while (ran) {
            ran = false;
            for (size_t i = 0; i < n_warps; i++) {
                size_t warp = block.backwards ? n_warps - 1 - i : i;
                ran |= run_warp(32 * warp, 32 * warp + 32 < n ? 32 * warp + 32 : n);
            }
        }
    } while (!settle());
    check_zones();
}

void run_grid(const launch_record &launch)
{
    block.launch = &launch;
    block.threads.resize(static_cast<size_t>(launch.block.x) * launch.block.y * launch.block.z);
    block.warps.resize((block.threads.size() + 31) / 32);
    blockDim = launch.block;
    gridDim = launch.grid;
    for (unsigned z = 0; z < launch.grid.z; z++)
        for (unsigned y = 0; y < launch.grid.y; y++)
            for (unsigned x = 0; x < launch.grid.x; x++) {
                blockIdx = {x, y, z};
                block.backwards = !block.backwards;
                run_block();
            }
    block.launch = nullptr;
    ASAN_UNPOISON_MEMORY_REGION(shared_room, SHARED_ROOM);
}
} // namespace cuda_emulation
