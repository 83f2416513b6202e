/* clip.c: segments out of frames at 2 fps and 16 kHz sound that lie in memory. */
#include "tools/run/run.h"

#include <stdlib.h>

enum { SEGMENT_FRAMES = 4, SEGMENT_SAMPLES = 32000, AWAITED_SAMPLES = 40 };

typedef struct {
    clip base;
    npy_frames frames;
    wav_sound sound;
    int64_t at; /* the next segment */
} file_clip;

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static omnid_status files_next(clip *c, omnid_segment_params *out, omnid_error *err)
{
    file_clip *f = (file_clip *)c;
    (void)err;
    if (f->at == c->n_segments)
        return OMNID_END;
    int64_t s = f->at++;
    *out = (omnid_segment_params){.index = s};
    int64_t first = s * SEGMENT_FRAMES, height = f->frames.height, width = f->frames.width;
    out->n_frames = (int)most(0, least(SEGMENT_FRAMES, f->frames.n - first));
    for (int i = 0; i < out->n_frames; i++)
        out->frames[i] = (omnid_frame){.rgb = f->frames.data + (first + i) * height * width * 3,
                                       .width = (int)width,
                                       .height = (int)height,
                                       .stride = (int)(3 * width)};
    int64_t left = f->sound.n - s * SEGMENT_SAMPLES;
    if (left > 0) {
        out->samples = f->sound.samples + s * SEGMENT_SAMPLES;
        out->n_samples = (int)least(SEGMENT_SAMPLES + AWAITED_SAMPLES, left);
    }
    return OMNID_OK;
}

static void files_close(clip *c)
{
    file_clip *f = (file_clip *)c;
    npy_free(&f->frames);
    wav_free(&f->sound);
    free(f);
}

static omnid_status read_parts(file_clip *f, const char *frames, const char *audio, omnid_error *err)
{
    if (frames) {
        OMNID_TRY(npy_read(&f->frames, frames, err));
        f->base.has_video = true;
        f->base.max_pixels = (int)(f->frames.height * f->frames.width);
    }
    if (audio) {
        OMNID_TRY(wav_read(&f->sound, audio, err));
        f->base.has_audio = true;
    }
    f->base.n_segments =
        most((f->frames.n + SEGMENT_FRAMES - 1) / SEGMENT_FRAMES, (f->sound.n + SEGMENT_SAMPLES - 1) / SEGMENT_SAMPLES);
    if (f->base.n_segments == 0)
        return omnid_fail(err, OMNID_EMPTY, "%s: holds no sample", audio);
    return OMNID_OK;
}

omnid_status clip_open_files(clip **out, const char *frames, const char *audio, omnid_error *err)
{
    *out = NULL;
    file_clip *f = calloc(1, sizeof *f);
    if (!f)
        return omnid_fail(err, OMNID_NOMEM, "no memory for a clip");
    f->base.next = files_next;
    f->base.close = files_close;
    omnid_status st = read_parts(f, frames, audio, err);
    if (st == OMNID_OK)
        *out = &f->base;
    else
        files_close(&f->base);
    return st;
}

void clip_close(clip **c)
{
    if (*c)
        (*c)->close(*c);
    *c = NULL;
}
