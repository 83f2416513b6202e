/* mic_ring.c: slots of equal size and two counters. */
#include "capture/mic_ring.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct mic_ring {
    int n_channels;
    double rate_hz;
    int64_t index;              /* the putting thread's */
    bool hole;                  /* the putting thread's: not told yet */
    atomic_uint n_put, n_taken; /* ever; the slot is the number modulo MIC_RING_SLOTS, a power of two */
    mic_block blocks[MIC_RING_SLOTS];
    float frames[]; /* [MIC_RING_SLOTS][MIC_RING_FRAMES][n_channels] */
};

mic_ring *mic_ring_create(int n_channels, double rate_hz)
{
    size_t n = (size_t)MIC_RING_SLOTS * MIC_RING_FRAMES * (size_t)n_channels;
    mic_ring *r = calloc(1, sizeof *r + n * sizeof *r->frames);
    if (!r)
        return NULL;
    memset(r->frames, 0, n * sizeof *r->frames); /* so that the callback meets no page for the first time */
    r->n_channels = n_channels;
    r->rate_hz = rate_hz;
    return r;
}

void mic_ring_destroy(mic_ring **r)
{
    free(*r);
    *r = NULL;
}

static float *slot_frames(mic_ring *r, unsigned slot)
{
    return r->frames + (size_t)slot * MIC_RING_FRAMES * (size_t)r->n_channels;
}

/* One block of at most MIC_RING_FRAMES. */
static void put_block(mic_ring *r, const float *frames, int n_frames, int64_t t_us)
{
    unsigned n_put = atomic_load_explicit(&r->n_put, memory_order_relaxed);
    if (n_put - atomic_load_explicit(&r->n_taken, memory_order_acquire) == MIC_RING_SLOTS)
        return;
    unsigned slot = n_put % MIC_RING_SLOTS;
    memcpy(slot_frames(r, slot), frames, (size_t)n_frames * (size_t)r->n_channels * sizeof *frames);
    r->blocks[slot] = (mic_block){t_us, r->index, n_frames, r->hole, slot_frames(r, slot)};
    r->hole = false;
    atomic_store_explicit(&r->n_put, n_put + 1, memory_order_release);
}

void mic_ring_put(mic_ring *r, const float *frames, int64_t n_frames, int64_t t_us, bool hole)
{
    r->hole = r->hole || hole;
    for (int64_t i = 0; i < n_frames; i += MIC_RING_FRAMES) {
        int n = n_frames - i < MIC_RING_FRAMES ? (int)(n_frames - i) : MIC_RING_FRAMES;
        put_block(r, frames + i * r->n_channels, n, t_us + (int64_t)((double)i / r->rate_hz * 1e6));
        r->index += n;
    }
}

bool mic_ring_peek(mic_ring *r, mic_block *out)
{
    unsigned n_taken = atomic_load_explicit(&r->n_taken, memory_order_relaxed);
    if (atomic_load_explicit(&r->n_put, memory_order_acquire) == n_taken)
        return false;
    *out = r->blocks[n_taken % MIC_RING_SLOTS];
    return true;
}

void mic_ring_drop(mic_ring *r)
{
    atomic_fetch_add_explicit(&r->n_taken, 1, memory_order_release);
}

static const mic_block *block_at(const mic_ring *r, unsigned number)
{
    return &r->blocks[number % MIC_RING_SLOTS];
}

bool mic_ring_shed(mic_ring *r, int64_t most_us)
{
    unsigned n_put = atomic_load_explicit(&r->n_put, memory_order_acquire);
    unsigned n_taken = atomic_load_explicit(&r->n_taken, memory_order_relaxed);
    if (n_put == n_taken || block_at(r, n_put - 1)->t_us - block_at(r, n_taken)->t_us <= most_us)
        return false;
    atomic_store_explicit(&r->n_taken, n_put - 1, memory_order_release);
    return true;
}
