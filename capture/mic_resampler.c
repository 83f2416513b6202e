/* mic_resampler.c: staging of what waits for its time, and libsamplerate. */
#include "capture/mic_resampler.h"

#include "capture/capture.h"

#include <samplerate.h>
#include <stdlib.h>
#include <string.h>

struct mic_resampler {
    mic_steer steer;
    SRC_STATE *src;
    float *in; /* what is not resampled yet */
    int n_in, in_capacity;
    int n_skip; /* samples to leave out of what comes next */
    float *out;
    int out_capacity;
};

omnid_status mic_resampler_create(mic_resampler **out, double rate_hz, omnid_error *err)
{
    *out = NULL;
    if (!(rate_hz >= MIC_RATE_MIN && rate_hz <= MIC_RATE_MAX))
        return omnid_fail(err, OMNID_ARGUMENT, "a microphone's rate is %g Hz; want %d..%d", rate_hz, MIC_RATE_MIN,
                          MIC_RATE_MAX);
    int error = 0;
    mic_resampler *r = calloc(1, sizeof *r);
    SRC_STATE *src = r ? src_new(SRC_SINC_FASTEST, 1, &error) : NULL;
    if (!src) {
        free(r);
        return omnid_fail(err, OMNID_NOMEM, "out of memory for a microphone's resampler");
    }
    r->src = src;
    mic_steer_start(&r->steer, rate_hz);
    *out = r;
    return OMNID_OK;
}

void mic_resampler_destroy(mic_resampler **out)
{
    mic_resampler *r = *out;
    *out = NULL;
    if (!r)
        return;
    src_delete(r->src);
    free(r->in);
    free(r->out);
    free(r);
}

const mic_steer *mic_resampler_steer(const mic_resampler *r)
{
    return &r->steer;
}

static omnid_status reserve(float **at, int *capacity, int n, omnid_error *err)
{
    if (n <= *capacity)
        return OMNID_OK;
    float *grown = realloc(*at, (size_t)n * 2 * sizeof **at);
    if (!grown)
        return omnid_fail(err, OMNID_NOMEM, "out of memory for a microphone's sound");
    *at = grown;
    *capacity = n * 2;
    return OMNID_OK;
}

/* Puts n samples (zeros where NULL) behind what waits, less what is to be left out. */
static omnid_status stage(mic_resampler *r, const float *samples, int n, omnid_error *err)
{
    int skip = r->n_skip < n ? r->n_skip : n;
    r->n_skip -= skip;
    n -= skip;
    OMNID_TRY(reserve(&r->in, &r->in_capacity, r->n_in + n, err));
    if (samples)
        memcpy(r->in + r->n_in, samples + skip, (size_t)n * sizeof *samples);
    else
        memset(r->in + r->n_in, 0, (size_t)n * sizeof *r->in);
    r->n_in += n;
    return OMNID_OK;
}

/* Resamples all that waits. The ratio is set, not approached, so that the input's position is known exactly. */
static omnid_status resample(mic_resampler *r, int *n_out, omnid_error *err)
{
    double ratio = r->steer.ratio;
    SRC_DATA data = {.data_in = r->in, .input_frames = r->n_in, .src_ratio = ratio};
    OMNID_TRY(reserve(&r->out, &r->out_capacity, (int)(r->n_in * ratio * 1.01) + 64, err));
    data.data_out = r->out;
    data.output_frames = r->out_capacity;
    int error = src_set_ratio(r->src, ratio);
    if (!error)
        error = src_process(r->src, &data);
    if (error)
        return omnid_fail(err, OMNID_DEVICE, "a microphone's resampler: %s", src_strerror(error));
    r->n_in -= (int)data.input_frames_used;
    memmove(r->in, r->in + data.input_frames_used, (size_t)r->n_in * sizeof *r->in);
    *n_out = (int)data.output_frames_gen;
    return OMNID_OK;
}

omnid_status mic_resampler_put(mic_resampler *r, const float *samples, int64_t index, int n, int64_t t_us, bool hole,
                               const float **out, int *n_out, int64_t *out_us, bool *restarted, omnid_error *err)
{
    *out = NULL;
    *n_out = 0;
    *restarted = false;
    if (n < 1 || n > MIC_BLOCK_MAX)
        return omnid_fail(err, OMNID_ARGUMENT, "a block of a microphone has %d samples; want 1..%d", n, MIC_BLOCK_MAX);
    int patch;
    int64_t n_breaks = r->steer.n_gaps + r->steer.n_overlaps;
    mic_steer_verdict verdict = mic_steer_put(&r->steer, index, n, t_us, hole, &patch);
    if (verdict == MIC_STEER_RESTART) {
        src_reset(r->src);
        r->n_in = 0;
        r->n_skip = 0;
        *restarted = r->steer.n_gaps + r->steer.n_overlaps != n_breaks;
    }
    if (patch > 0)
        OMNID_TRY(stage(r, NULL, patch, err));
    else
        r->n_skip -= patch;
    OMNID_TRY(stage(r, samples, n, err));
    if (verdict != MIC_STEER_GO)
        return OMNID_OK;
    OMNID_TRY(resample(r, n_out, err));
    *out = r->out;
    *out_us = mic_steer_made(&r->steer, *n_out);
    return OMNID_OK;
}
