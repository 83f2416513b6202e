/* mic_ring.h: blocks of a card's samples from PortAudio's callback to the helper's loop, without lock, wait or allocation.
 * One thread puts, one takes. */
#ifndef OMNID_CAPTURE_MIC_RING_H
#define OMNID_CAPTURE_MIC_RING_H

#include <stdbool.h>
#include <stdint.h>

typedef struct mic_ring mic_ring;

enum { MIC_RING_FRAMES = 512, MIC_RING_SLOTS = 512 /* blocks; at 48 kHz 0.7 s of blocks of 64, 5 s of large ones */ };

typedef struct {
    int64_t t_us,
        index; /* of the first frame: when it was taken; its number since the ring was made, lost ones counted */
    int n_frames;
    bool hole;           /* the card lost some before it */
    const float *frames; /* interleaved; borrowed until mic_ring_drop */
} mic_block;

/* NULL: out of memory. n_channels as the card's. */
mic_ring *mic_ring_create(int n_channels, double rate_hz);
void mic_ring_destroy(mic_ring **r);
/* Copies n_frames, cut into blocks, the later ones with later times. What finds no room is left out: the next index tells.
 * For the putting thread. */
void mic_ring_put(mic_ring *r, const float *frames, int64_t n_frames, int64_t t_us, bool hole);
/* The oldest block. False: none. For the taking thread, as is mic_ring_drop, which gives the slot back. */
bool mic_ring_peek(mic_ring *r, mic_block *out);
void mic_ring_drop(mic_ring *r);
/* Leaves out all blocks but the newest when the oldest was taken more than most_us before it: whoever reads too slowly for
 * long then misses pieces, and does not hear everything late. True: it did. For the taking thread. */
bool mic_ring_shed(mic_ring *r, int64_t most_us);

#endif
