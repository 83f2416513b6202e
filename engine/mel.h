/* mel.h: log-mel frames of one segment (docs/semantics.md, section 2): Whisper's 128 Slaney bins at 16 kHz, one frame each
 * 160 samples. The floor needs a maximum over more than one segment, so it is a second step. */
#ifndef ENGINE_MEL_H
#define ENGINE_MEL_H

#include "base/base.h"

enum {
    MEL_N_BINS = 128,
    MEL_N_FFT = 400,
    MEL_HOP = 160,
    MEL_LEFT = 200, /* samples of context before a segment */
    MEL_AHEAD = 40, /* samples a full segment's last frame reaches into the next */
    MEL_SEGMENT_SAMPLES = 32000,
    MEL_SEGMENT_FRAMES = 200
};

typedef struct mel mel; /* filter bank, window, FFT plan and its work space: one thread at a time */

omnid_status mel_create(mel **out, omnid_error *err);
void mel_destroy(mel **m); /* *m may be NULL */

/* Mel frames, encoder frames and tokens of n samples (0 .. 32000). */
int mel_n_frames(int n_samples);        /* ceil(n / 160) */
int mel_n_encoder_frames(int n_frames); /* (n - 1) / 2 + 1, 0 of 0 */
int mel_n_tokens(int n_frames);         /* (f - 2) / 2 + 1 of the encoder frames; 0 for 1 or 2 mel frames */

/* out [mel_n_frames(n_samples)][128] = log10(max(filters · |STFT|², 1e-10)), *max = their maximum (-10 of none).
 * left: the 200 samples before the segment; NULL = start of the stream, the segment's own are reflected.
 * samples [n_samples], 0 .. 32000, then n_ahead (0 .. 40) samples of the next segment at ahead (may be NULL when 0);
 * what is missing after them is zero. */
void mel_log10(mel *m, float *out, float *max, const float *left, const float *samples, int n_samples,
               const float *ahead, int n_ahead);

/* values [n] in place: (max(x, reference - 8) + 4) / 4. */
void mel_normalise(float *values, size_t n, float reference);

#endif
