/* mic_resampler.h: blocks of a microphone at its own rate to 16 kHz on the monotonic clock: mic_steer's decisions, carried
 * out by libsamplerate. */
#ifndef OMNID_CAPTURE_MIC_RESAMPLER_H
#define OMNID_CAPTURE_MIC_RESAMPLER_H

#include "base/base.h"
#include "capture/mic_steer.h"

typedef struct mic_resampler mic_resampler;

enum { MIC_RATE_MIN = 4000, MIC_RATE_MAX = 384000, MIC_BLOCK_MAX = 65536 /* samples a block */ };

/* rate_hz within the limits above. NOMEM, ARGUMENT. */
omnid_status mic_resampler_create(mic_resampler **out, double rate_hz, omnid_error *err);
void mic_resampler_destroy(mic_resampler **r); /* *r may be NULL */

/* Puts a block of n mono samples, 1..MIC_BLOCK_MAX; index, t_us and hole as for mic_steer_put. What comes out: *n_out
 * samples of 16 kHz at *out (borrowed until the next put), the first at *out_us; none while the time is not known yet.
 * *restarted: sound is missing or was there twice before this block. NOMEM, ARGUMENT (n). */
omnid_status mic_resampler_put(mic_resampler *r, const float *samples, int64_t index, int n, int64_t t_us, bool hole,
                               const float **out, int *n_out, int64_t *out_us, bool *restarted, omnid_error *err);
/* What the steering knows: the ratio, and what it counted. Borrowed. */
const mic_steer *mic_resampler_steer(const mic_resampler *r);

#endif
