// memory.cpp: device memory and pinned memory. Device memory is one reserved range; with OMNID_CUDA_GUARD=1 the host may not
// read or write it between calls (a pointer followed on the wrong side then faults), at the price of two system calls a
// launch. Bytes beside blocks are poisoned for AddressSanitizer, and looked at when a block is freed.
#include "memory.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>

#include <cuda_runtime.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#endif
#endif
#ifndef ASAN_POISON_MEMORY_REGION
#define ASAN_POISON_MEMORY_REGION(at, size)   ((void)(at), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(at, size) ((void)(at), (void)(size))
#endif

namespace cuda_emulation
{
static const size_t RANGE = static_cast<size_t>(64) << 30, ZONE = 256;
enum { ZONE_BYTE = 0xa5 };
/* Larger blocks begin with so many bytes of NaN, and pages behind them are touched by those who use them only. */
static const size_t FILLED = static_cast<size_t>(4) << 20;

static struct {
    char *base;
    size_t top;                               /* bytes ever given out, zones included */
    std::map<const char *, size_t> blocks;    /* address -> size asked for */
    std::map<const char *, size_t> rooms;     /* address -> bytes with the zone behind, which stay together for ever */
    std::multimap<size_t, char *> given_back; /* room -> address */
    size_t used, total;
    int n_open;
    bool guarded;
} device;

static std::map<const char *, size_t> pinned;

static size_t room_of(size_t size)
{
    return (size + ZONE - 1) / ZONE * ZONE + ZONE;
}

static void device_begin()
{
    if (device.base)
        return;
    void *range = mmap(nullptr, RANGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (range == MAP_FAILED)
        die("no addresses for device memory");
    device.base = static_cast<char *>(range);
    device.top = ZONE;
    const char *total = getenv("OMNID_CUDA_MEMORY"), *guard = getenv("OMNID_CUDA_GUARD");
    device.total = total ? strtoull(total, nullptr, 10) : static_cast<size_t>(8) << 30;
    device.guarded = guard && *guard == '1';
}

static void protect(int how)
{
    if (device.base && mprotect(device.base, (device.top + 4095) / 4096 * 4096, how) != 0)
        die("mprotect of device memory failed");
}

device_open::device_open()
{
    if (device.n_open++ == 0 && device.guarded)
        protect(PROT_READ | PROT_WRITE);
}

device_open::~device_open()
{
    if (--device.n_open == 0 && device.guarded)
        protect(PROT_NONE);
}

/* A piece of the range that is not in use. */
static char *find_room(size_t room)
{
    auto again = device.given_back.lower_bound(room);
    if (again != device.given_back.end() && again->first <= 2 * room) {
        char *at = again->second;
        device.given_back.erase(again);
        return at;
    }
    if (room > RANGE - device.top)
        return nullptr;
    char *at = device.base + device.top;
    size_t before = (device.top + 4095) / 4096 * 4096, after = (device.top + room + 4095) / 4096 * 4096;
    device.top += room;
    device.rooms[at] = room;
    if (after > before && mprotect(device.base + before, after - before, PROT_READ | PROT_WRITE) != 0)
        return nullptr;
    if (device.top == room + ZONE) /* the first block: the zone before it */
        ASAN_POISON_MEMORY_REGION(device.base, ZONE);
    return at;
}

void *device_take(size_t size)
{
    device_begin();
    if (size > device.total || device.used + size > device.total)
        return nullptr;
    size_t room = room_of(size);
    device_open open;
    if (device.base && device.top == ZONE && mprotect(device.base, 4096, PROT_READ | PROT_WRITE) != 0)
        return nullptr;
    char *at = find_room(room);
    if (!at)
        return nullptr;
    room = device.rooms[at];
    ASAN_UNPOISON_MEMORY_REGION(at, room);
    memset(at, 0xff, size < FILLED ? size : FILLED);
    memset(at + size, ZONE_BYTE, room - size);
    ASAN_POISON_MEMORY_REGION(at + size, room - size);
    device.blocks[at] = size;
    device.used += size;
    return at;
}

bool device_give(void *data)
{
    auto block = device.blocks.find(static_cast<char *>(data));
    if (block == device.blocks.end())
        return false;
    device_open open;
    char *at = static_cast<char *>(data);
    size_t size = block->second, room = device.rooms[at];
    ASAN_UNPOISON_MEMORY_REGION(at, room);
    for (size_t i = size; i < room; i++)
        if (static_cast<unsigned char>(at[i]) != ZONE_BYTE)
            die("a byte %zu behind the end of a block of %zu bytes of device memory was written", i - size, size);
    memset(at, 0xff, size < FILLED ? size : FILLED);
    ASAN_POISON_MEMORY_REGION(at, room);
    device.given_back.insert({room, at});
    device.used -= size;
    device.blocks.erase(block);
    return true;
}

static bool holds(const std::map<const char *, size_t> &blocks, const void *data, size_t size)
{
    const char *at = static_cast<const char *>(data);
    auto block = blocks.upper_bound(at);
    if (block == blocks.begin())
        return false;
    --block;
    return at >= block->first && size <= block->second &&
           static_cast<size_t>(at - block->first) <= block->second - size;
}

bool device_holds(const void *data, size_t size)
{
    return holds(device.blocks, data, size);
}

size_t device_used()
{
    return device.used;
}

size_t device_total()
{
    device_begin();
    return device.total;
}

void *pinned_take(size_t size)
{
    void *data = aligned_alloc(4096, (size + 4095) / 4096 * 4096);
    if (data) {
        memset(data, 0xff, size);
        pinned[static_cast<char *>(data)] = size;
    }
    return data;
}

bool pinned_give(void *data)
{
    if (!pinned.erase(static_cast<char *>(data)))
        return false;
    free(data);
    return true;
}

bool pinned_holds(const void *data, size_t size)
{
    return holds(pinned, data, size);
}
} // namespace cuda_emulation
