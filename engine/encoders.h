/* encoders.h: the audio tower over one segment and the vision tower over its grids, slice by slice. */
#ifndef ENGINE_ENCODERS_H
#define ENGINE_ENCODERS_H

#include "engine/memory.h"

/* Temporary memory of one encoder slice; shared. */
typedef struct {
    memory *mem;
    kernels_stream *stream;
    buffer norm, qkv, attn, wide, ffn, merged;
    buffer vision_cos, vision_sin, order, inverse; /* of the present grid size; all but order for each of n_grids */
    int32_t *spans;                                /* host: window spans of all grids, [n_grids n_spans + 1] */
    int n_spans, columns, rows, n_grids;           /* grid size the vision tables are for; 0 = none */
} encoder_work;

void encoder_work_init(encoder_work *w, memory *mem, kernels_stream *s);
void encoder_work_destroy(encoder_work *w);
/* Room for n elements in b. NOMEM. */
omnid_status encoder_reserve(encoder_work *w, buffer *b, int64_t n, kernels_dtype dtype, omnid_error *err);

/* One segment's sound on its way through the audio tower. */
typedef struct {
    int n_mel, n_frames, n_tokens;
    buffer mel;      /* F32 [n_mel][n_mels] */
    buffer x;        /* F32 [n_frames][d] */
    buffer saliency; /* F32 [n_frames], then pooled to [n_tokens] behind it */
} audio_run;

/* mel: host [n_mel][n_mels], normalised. Uploads and runs both convolutions. n_mel >= 3. */
omnid_status audio_run_front(encoder_work *w, audio_run *a, const float *mel, int n_mel, omnid_error *err);
/* Layer l; the last one leaves the saliency of frames. */
omnid_status audio_run_layer(encoder_work *w, audio_run *a, int layer, omnid_error *err);
/* tokens F32 [n_tokens][hidden of the decoder] and their saliency F32 [n_tokens] (in a's memory). */
omnid_status audio_run_finish(encoder_work *w, audio_run *a, tensor *tokens, tensor *saliency, omnid_error *err);
void audio_run_free(memory *mem, audio_run *a);

enum { VISION_MAX_GRIDS = 2 };

/* Numbers from row to row of the vision feed-forward's middle: whole 64 bytes, for kernels that load 16 at once (3420 of the
 * published models is no multiple of 8). */
static inline int64_t vision_ffn_stride(const vision_config *c)
{
    return ((int64_t)c->intermediate + 31) / 32 * 32;
}

/* Grids (of two frames each) on their way through the vision tower, beside one another: none sees another. */
typedef struct {
    int columns, rows; /* tokens: width / 28, height / 28 */
    int n_grids;
    buffer frames; /* U8 [n_grids][2][H][W][3] */
    buffer x;      /* F32 [n_grids][4 columns rows][d], patches in window order */
} vision_run;

/* frames: host RGB [28 rows][28 columns][3], dense; 2 n_grids of them, n_grids at most VISION_MAX_GRIDS. */
omnid_status vision_run_front(encoder_work *w, vision_run *v, const uint8_t *const *frames, int n_grids, int columns,
                              int rows, omnid_error *err);
omnid_status vision_run_block(encoder_work *w, vision_run *v, int block, omnid_error *err);
/* tokens F32 [n_grids][columns rows][hidden of the decoder] in raster order. */
omnid_status vision_run_finish(encoder_work *w, vision_run *v, tensor *tokens, omnid_error *err);
void vision_run_free(memory *mem, vision_run *v);

#endif
