/* mic_steer.h: how fast a microphone's samples must be resampled so that they lie at their true times.
 *
 * Fed with the stamp of every block, it answers with the ratio for the resampler and with the few cases in which no ratio
 * helps: samples that are missing or too many. Pure: the clock is in the stamps, the resampler is the caller's.
 *
 * Samples have a number: the device's count, less what was thrown away, plus what was filled in. The line time(number) is
 * mic_dll's. Sample k of the output lies at start + k / 16000 s, for ever. */
#ifndef OMNID_CAPTURE_MIC_STEER_H
#define OMNID_CAPTURE_MIC_STEER_H

#include "capture/mic_dll.h"

#include <stdbool.h>

enum {
    MIC_STEER_PPM = 500,        /* of the ratio to the one by the card's word */
    MIC_STEER_GAP_US = 50000,   /* an error above it is a gap or an overlap: told by the time of the next output */
    MIC_STEER_HELD_US = 150000, /* before the first output; a segment waits 300 ms for its sound */
    MIC_STEER_N_HELD = 64,
};

typedef struct {
    double rate_hz;
    double period;   /* s, of a sample, as known at the start */
    int64_t base_us; /* all times within are seconds after it */
    bool running;
    mic_dll dll;
    int64_t n_put, shift;            /* samples put so far; a block's number is its index + shift */
    int64_t n_out;                   /* output samples so far */
    double start_s;                  /* time of output sample 0 */
    double position;                 /* number, with a fraction, of the input sample at output sample n_out */
    double ratio;                    /* output samples an input sample; the resampler's */
    double held_s[MIC_STEER_N_HELD]; /* before it runs: what each stamp says of the time of sample 0 */
    int n_held;
    /* errors that all point one way: when enough have been seen it is the samples, not the stamps */
    int suspect_sign;
    int64_t n_suspect; /* samples since the first of them */
    int n_suspect_blocks;
    bool halfway;                          /* to a patch: the first of them may have been smaller than what stays */
    double suspect_s;                      /* the smallest of them, or of those since halfway */
    int64_t n_gaps, n_overlaps, n_patches; /* over 50 ms; less, filled in or thrown away */
} mic_steer;

typedef enum {
    MIC_STEER_WAIT,   /* keep the block: no time is known yet */
    MIC_STEER_GO,     /* resample it, and all that was kept, at mic_steer.ratio */
    MIC_STEER_RESTART /* forget all that was kept; the block was taken as the first of a new start: keep it */
} mic_steer_verdict;

void mic_steer_start(mic_steer *s, double rate_hz);
/* A block of n samples, number `index` of the device's and the n - 1 that follow; t_us: its stamp, when the first was
 * taken. hole: the device says that samples before it were lost. *patch: so many samples to fill in before the block, or,
 * negative, to leave out of it and of what follows. */
mic_steer_verdict mic_steer_put(mic_steer *s, int64_t index, int n, int64_t t_us, bool hole, int *patch);
/* n output samples were made at mic_steer.ratio. Returns the time of the first of them in us. */
int64_t mic_steer_made(mic_steer *s, int n);

#endif
