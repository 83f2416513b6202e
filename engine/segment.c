/* segment.c: a segment on its way into a timeline: copied, frames resized on the caller's thread. */
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"
#include "engine/resize.h"

/* The size of a frame of at most max_pixels, or of a share of those that it would have (at least one token's). */
static omnid_status find_size(int *width, int *height, const omnid_frame *frame, int max_pixels, double share,
                              omnid_error *err)
{
    OMNID_TRY(resize_target(frame->width, frame->height, max_pixels, width, height, err));
    if (share == 0 || share == 1)
        return OMNID_OK;
    int most = (int)((double)*width * *height * share);
    return resize_target(frame->width, frame->height,
                         most > RESIZE_UNIT * RESIZE_UNIT ? most : RESIZE_UNIT * RESIZE_UNIT, width, height, err);
}

static omnid_status copy_frames(omnid_segment *s, const omnid_timeline *tl, const omnid_segment_params *p,
                                omnid_error *err)
{
    int width = 0, height = 0;
    if (!tl->parts.video)
        return omnid_fail(err, OMNID_ARGUMENT, "segment %lld has %d frames, its timeline has no picture",
                          (long long)p->index, p->n_frames);
    OMNID_TRY(find_size(&width, &height, &p->frames[0], tl->params.max_pixels, p->load.pixel_share, err));
    s->width = width;
    s->height = height;
    bool half = p->load.one_grid && p->n_frames == 4;
    for (int i = 0; i < (half ? 2 : p->n_frames); i++) {
        const omnid_frame *f = &p->frames[half ? 2 * i + 1 : i];
        if (!f->rgb || f->width < 1 || f->height < 1 || f->width > RESIZE_MAX_SIDE || f->height > RESIZE_MAX_SIDE ||
            f->stride < 3 * f->width)
            return omnid_fail(err, OMNID_ARGUMENT, "frame %d of segment %lld: %d x %d pixels with rows of %d bytes", i,
                              (long long)p->index, f->width, f->height, f->stride);
        s->frames[i] = malloc((size_t)width * (size_t)height * 3);
        if (!s->frames[i])
            return omnid_fail(err, OMNID_NOMEM, "no memory for a frame of %d x %d", width, height);
        OMNID_TRY(resize_bicubic(s->frames[i], width, height, f->rgb, f->width, f->height, f->stride, err));
        s->n_frames = i + 1;
    }
    return OMNID_OK;
}

static omnid_status copy_samples(omnid_segment *s, const omnid_timeline *tl, const omnid_segment_params *p,
                                 omnid_error *err)
{
    if (!tl->parts.audio)
        return omnid_fail(err, OMNID_ARGUMENT, "segment %lld has sound, its timeline has none", (long long)p->index);
    s->samples = malloc(((size_t)p->n_samples + 1) * sizeof *s->samples);
    if (!s->samples)
        return omnid_fail(err, OMNID_NOMEM, "no memory for %d samples", p->n_samples);
    for (int i = 0; i < p->n_samples; i++) {
        float x = p->samples[i];
        s->samples[i] = x >= -1.0f && x <= 1.0f ? x : x > 1.0f ? 1.0f : x < -1.0f ? -1.0f : 0.0f; /* not a number: 0 */
    }
    s->has_audio = true;
    s->n_samples = p->n_samples < MEL_SEGMENT_SAMPLES ? p->n_samples : MEL_SEGMENT_SAMPLES;
    s->n_ahead = p->n_samples - s->n_samples;
    return OMNID_OK;
}

omnid_status omnid_segment_create(omnid_segment **out, const omnid_timeline *tl, const omnid_segment_params *p,
                                  omnid_error *err)
{
    *out = NULL;
    if (p->n_frames < 0 || p->n_frames > 4 || p->n_samples < 0 || p->n_samples > MEL_SEGMENT_SAMPLES + MEL_AHEAD ||
        p->index < 0 || p->index > TIMELINE_MAX_SEGMENT)
        return omnid_fail(err, OMNID_ARGUMENT,
                          "segment %lld with %d frames and %d samples: want 0..%lld, 0..4 and 0..%d",
                          (long long)p->index, p->n_frames, p->n_samples, (long long)TIMELINE_MAX_SEGMENT,
                          MEL_SEGMENT_SAMPLES + MEL_AHEAD);
    if (!(p->load.rho_v >= 0 && p->load.rho_v <= 1 && p->load.pixel_share >= 0 && p->load.pixel_share <= 1))
        return omnid_fail(err, OMNID_ARGUMENT, "segment %lld: rho_v %g, pixel_share %g: want 0..1", (long long)p->index,
                          p->load.rho_v, p->load.pixel_share);
    omnid_segment *s = calloc(1, sizeof *s);
    if (!s)
        return omnid_fail(err, OMNID_NOMEM, "no memory for a segment");
    s->index = p->index;
    s->wall_us = p->wall_us;
    s->rho_v = !tl->params.intra ? 0 : p->load.rho_v > tl->params.rho_v ? p->load.rho_v : tl->params.rho_v;
    omnid_status status = OMNID_OK;
    if (p->n_frames > 0)
        status = copy_frames(s, tl, p, err);
    if (status == OMNID_OK && p->samples && p->n_samples > 0)
        status = copy_samples(s, tl, p, err);
    s->data_s = p->n_frames * 0.5 > s->n_samples / 16000.0 ? p->n_frames * 0.5 : s->n_samples / 16000.0;
    if (status != OMNID_OK)
        omnid_segment_destroy(&s);
    *out = s;
    return status;
}

void omnid_segment_destroy(omnid_segment **slot)
{
    omnid_segment *s = *slot;
    *slot = NULL;
    if (!s)
        return;
    for (int i = 0; i < 4; i++)
        free(s->frames[i]);
    free(s->samples);
    free(s);
}
