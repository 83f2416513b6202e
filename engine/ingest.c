/* ingest.c: one segment on its way in, slice by slice: front ends, towers, section 4, prefill. */
#include "engine/ingest.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"
#include "engine/intra.h"
#include "engine/prefix.h"

/* What comes before this segment is the timeline's, but for the sound of a segment that is still on its way. */
static void begin_front(ingest *in, const ingest *before)
{
    in->front = before ? before->front : in->tl->front;
    in->layer = in->chunk = in->grid = 0;
    in->group_base[0] = in->group_base[1] = -1;
    in->page->report.encoder_calls = 0;
    in->stage = INGEST_PREFIX;
}

void ingest_again(ingest *in)
{
    begin_front(in, NULL);
}

lane *ingest_lane(const ingest *in)
{
    bool prefix = in->stage == INGEST_PREFIX && !in->tl->prefix_ready;
    return prefix || in->stage >= INGEST_INTRA ? in->fill : in->encode;
}

omnid_status ingest_begin(ingest *in, omnid_timeline *tl, omnid_segment **segment, page_view *view, unsigned modes,
                          const ingest *before, omnid_error *err)
{
    omnid_engine *e = tl->engine;
    omnid_segment *s = *segment;
    page *p = page_create(s->index);
    if (!in->mel)
        in->mel = malloc((size_t)MEL_SEGMENT_FRAMES * MEL_N_BINS * sizeof *in->mel);
    if (!p || !in->mel) {
        free(p);
        return omnid_fail(err, OMNID_NOMEM, "no memory to take in segment %lld", (long long)s->index);
    }
    p->wall_us = s->wall_us;
    p->columns = s->width / 28;
    p->rows = s->height / 28;
    int n_mel = s->has_audio ? mel_n_frames(s->n_samples) : 0;
    in->n_grids = (s->n_frames + 1) / 2;
    p->n_video = in->n_video = in->n_grids * p->columns * p->rows;
    p->n_audio = in->n_audio = mel_n_tokens(n_mel);
    p->end_s = 2.0 * (double)s->index + (s->n_frames || s->n_samples ? s->data_s : 2.0);
    p->report = (omnid_segment_report){.index = s->index,
                                       .wall_us = s->wall_us,
                                       .width = s->width,
                                       .height = s->height,
                                       .n_grids = in->n_grids,
                                       .rho_v = s->rho_v,
                                       .n_video_tokens = p->n_video,
                                       .n_audio_tokens = p->n_audio,
                                       .queued_us = s->queued_us,
                                       .started_us = omnid_clock_us()};
    in->tl = tl;
    in->segment = s;
    *segment = NULL;
    in->open = view != NULL;
    in->encode = in->open ? &e->asking : e->encode;
    in->fill = in->open ? &e->asking : e->fill;
    if (in->open && !tl->prefix_ready)
        lane_follow(in->fill, e->fill); /* a segment may be at the prefix: it is written by one after the other */
    in->view = view ? view : &in->own_view;
    in->modes = modes;
    const int n_layers = e->model->config.text.n_layers;
    in->n_layers = modes & OMNID_MODE_EAGER ? n_layers : modes & OMNID_MODE_DEFERRED ? n_layers / 2 : 0;
    in->page = p;
    begin_front(in, before);
    return OMNID_OK;
}

/* Log-mel values of a segment and their maximum; front says what came before. */
static void log_mel(omnid_timeline *tl, const front_state *front, const omnid_segment *s, float *out, float *max)
{
    static const float silence[MEL_LEFT] = {0};
    const float *left = front->tail_segment == s->index - 1 ? front->tail : silence;
    if (s->index == tl->params.first_segment)
        left = NULL;
    mel_log10(tl->engine->mel, out, max, left, s->samples, s->n_samples, s->samples + s->n_samples, s->n_ahead);
}

static void remember_tail(front_state *front, const omnid_segment *s)
{
    if (!s->has_audio)
        return;
    int n = s->n_samples < MEL_LEFT ? s->n_samples : MEL_LEFT;
    memset(front->tail, 0, sizeof front->tail);
    memcpy(front->tail + MEL_LEFT - n, s->samples + s->n_samples - n, (size_t)n * sizeof *front->tail);
    front->tail_segment = s->index;
}

static float running_reference(front_state *front, int64_t segment, float max)
{
    int slot = (int)(segment % TIMELINE_MEL_SEGMENTS);
    front->maxima[slot] = max;
    front->maxima_of[slot] = segment;
    for (int i = 0; i < TIMELINE_MEL_SEGMENTS; i++)
        if (front->maxima_of[i] >= 0 && front->maxima_of[i] > segment - TIMELINE_MEL_SEGMENTS)
            max = fmaxf(max, front->maxima[i]);
    return max;
}

/* transformers pads a clip with zeros before its short-time transform, so the reference maximum sees two more frames that
 * reach back into the clip. */
static float maximum_past_end(omnid_timeline *tl, const omnid_segment *s)
{
    float left[MEL_LEFT] = {0}, zeros[2 * MEL_HOP] = {0}, frames[2 * MEL_N_BINS], max;
    int end = mel_n_frames(s->n_samples) * MEL_HOP;
    for (int i = 0; i < MEL_LEFT; i++) {
        int at = end - MEL_LEFT + i;
        if (at >= 0 && at < s->n_samples)
            left[i] = s->samples[at];
    }
    mel_log10(tl->engine->mel, frames, &max, left, zeros, 2 * MEL_HOP, NULL, 0);
    return max;
}

omnid_status ingest_clip_reference(omnid_timeline *tl, const omnid_segment *clip, float *reference, omnid_error *err)
{
    float *values = malloc((size_t)MEL_SEGMENT_FRAMES * MEL_N_BINS * sizeof *values);
    front_state *front = malloc(sizeof *front);
    if (!values || !front) {
        free(values);
        free(front);
        return omnid_fail(err, OMNID_NOMEM, "no memory for the clip's mel reference");
    }
    front_state_reset(front);
    *reference = -10.0f;
    for (const omnid_segment *s = clip; s; s = s->next) {
        if (!s->has_audio || s->n_samples == 0)
            continue;
        float max;
        log_mel(tl, front, s, values, &max);
        *reference = fmaxf(*reference, max);
        if (!s->next)
            *reference = fmaxf(*reference, maximum_past_end(tl, s));
        remember_tail(front, s);
    }
    free(values);
    free(front);
    return OMNID_OK;
}

static omnid_status audio_front(ingest *in, omnid_error *err)
{
    omnid_timeline *tl = in->tl;
    omnid_segment *s = in->segment;
    int n_mel = s->has_audio ? mel_n_frames(s->n_samples) : 0;
    if (n_mel > 0) {
        float max;
        log_mel(tl, &in->front, s, in->mel, &max);
        float reference = tl->params.mel_clip ? tl->mel_reference : running_reference(&in->front, s->index, max);
        mel_normalise(in->mel, (size_t)n_mel * MEL_N_BINS, reference);
    }
    remember_tail(&in->front, s);
    in->stage = INGEST_VISION_FRONT;
    if (in->n_audio == 0)
        return OMNID_OK;
    in->stage = INGEST_AUDIO_LAYERS;
    in->page->report.encoder_calls++;
    return audio_run_front(in->encode->encoder, &in->audio, in->mel, n_mel, err);
}

static omnid_status audio_finish(ingest *in, omnid_error *err)
{
    const int hidden = in->tl->engine->model->config.text.hidden;
    tensor tokens =
        tensor_2d((float *)in->embeds.data + (int64_t)in->n_video * hidden, KERNELS_F32, in->n_audio, hidden);
    tensor saliency;
    in->stage = INGEST_VISION_FRONT;
    return audio_run_finish(in->encode->encoder, &in->audio, &tokens, &saliency, err);
}

/* Where segments have lanes the device is so wide that all their grids go at once; else one, so that a slice stays short. */
static omnid_status vision_front(ingest *in, omnid_error *err)
{
    const omnid_segment *s = in->segment;
    const uint8_t *frames[2 * VISION_MAX_GRIDS];
    int n = engine_has_lanes(in->tl->engine) ? in->n_grids - in->grid : 1;
    for (int i = 0; i < 2 * n; i++) { /* an odd last frame is repeated */
        int at = 2 * in->grid + i;
        frames[i] = s->frames[at < s->n_frames ? at : at - 1];
    }
    in->stage = INGEST_VISION_BLOCKS;
    in->layer = 0;
    in->page->report.encoder_calls++;
    return vision_run_front(in->encode->encoder, &in->vision, frames, n, in->page->columns, in->page->rows, err);
}

static omnid_status vision_finish(ingest *in, omnid_error *err)
{
    const int hidden = in->tl->engine->model->config.text.hidden, grid = in->page->columns * in->page->rows;
    int n = in->vision.n_grids * grid;
    tensor tokens = tensor_2d((float *)in->embeds.data + (int64_t)in->grid * grid * hidden, KERNELS_F32, n, hidden);
    in->grid += in->vision.n_grids;
    in->stage = INGEST_VISION_FRONT;
    return vision_run_finish(in->encode->encoder, &in->vision, &tokens, err);
}

/* Stream positions of the kept rows, and their classes. */
static omnid_status place_rows(ingest *in, omnid_error *err)
{
    page *p = in->page;
    size_t n = (size_t)page_n_kept(p);
    p->at = malloc((n + 1) * sizeof *p->at);
    p->classes = malloc(n + 1);
    if (!p->at || !p->classes)
        return omnid_fail(err, OMNID_NOMEM, "no memory for %zu tokens", n);
    for (int i = 0; i < p->n_video_kept; i++) {
        p->at[i] = layout_video(in->tl->st, p->segment, p->video_kept[i], p->columns, p->rows);
        p->classes[i] = KERNELS_CLASS_VIDEO;
    }
    for (int i = 0; i < p->n_audio_kept; i++) {
        p->at[p->n_video_kept + i] = layout_audio(in->tl->st, p->segment, p->audio_kept[i]);
        p->classes[p->n_video_kept + i] = KERNELS_CLASS_TEXT;
    }
    return OMNID_OK;
}

/* rows.x = the kept rows of embeds. */
static omnid_status gather_kept(ingest *in, omnid_error *err)
{
    omnid_engine *e = in->tl->engine;
    page *p = in->page;
    int n = page_n_kept(p), hidden = e->model->config.text.hidden;
    int32_t *rows = malloc(((size_t)n + 1) * sizeof *rows);
    if (!rows)
        return omnid_fail(err, OMNID_NOMEM, "no memory for %d tokens", n);
    memcpy(rows, p->video_kept, (size_t)p->n_video_kept * sizeof *rows);
    for (int i = 0; i < p->n_audio_kept; i++)
        rows[p->n_video_kept + i] = p->n_video + p->audio_kept[i];
    omnid_status status = buffer_reserve(&e->memory, &in->list, ((size_t)n + 1) * sizeof *rows, err);
    if (status == OMNID_OK) {
        e->ops->upload(in->fill->stream, in->list.data, rows, (size_t)n * sizeof *rows);
        tensor list = tensor_1d(in->list.data, KERNELS_I32, n), x = buffer_2d(&in->rows.x, KERNELS_F32, n, hidden);
        tensor all = buffer_2d(&in->embeds, KERNELS_F32, p->n_video + p->n_audio, hidden);
        e->ops->gather_rows(in->fill->stream, &x, &all, &list);
        status = kernels_stream_status(in->fill->stream, err);
    }
    free(rows);
    return status;
}

static omnid_status upload_places(ingest *in, omnid_error *err)
{
    omnid_engine *e = in->tl->engine;
    page *p = in->page;
    int n = page_n_kept(p);
    position *at = malloc(((size_t)n + 1) * sizeof *at);
    if (!at)
        return omnid_fail(err, OMNID_NOMEM, "no memory for %d rows' places", n);
    for (int i = 0; i < n; i++) {
        at[i] = p->at[i];
        if (p->classes[i] == KERNELS_CLASS_VIDEO) {
            at[i].h += in->view->delta;
            at[i].w += in->view->delta;
        }
    }
    omnid_status status = row_set_place(&e->memory, in->fill->stream, &in->rows, at, p->classes, in->view->delta, err);
    free(at);
    return status;
}

/* A copy of rows.x that the page keeps for questions in another mode. */
static omnid_status keep_rows(ingest *in, buffer *to, omnid_error *err)
{
    omnid_engine *e = in->tl->engine;
    int n = page_n_kept(in->page), hidden = e->model->config.text.hidden;
    OMNID_TRY(buffer_reserve(&e->memory, to, (size_t)n * (size_t)hidden * sizeof(float), err));
    tensor from = buffer_2d(&in->rows.x, KERNELS_F32, n, hidden), into = buffer_2d(to, KERNELS_F32, n, hidden);
    return lane_copy_rows(in->fill, &into, &from, err);
}

/* What the rows see, their places, room for their keys and values. */
static omnid_status begin_prefill(ingest *in, omnid_error *err)
{
    omnid_engine *e = in->tl->engine;
    page *p = in->page;
    int n = page_n_kept(p);
    if (!in->open)
        OMNID_TRY(page_view_take(in->view, in->tl, timeline_first_with(in->tl, p->segment), err));
    OMNID_TRY(row_set_cut(&e->memory, &in->rows, n, n, e->params.slice_rows, in->n_layers ? in->n_layers : 1, err));
    OMNID_TRY(gather_kept(in, err));
    if (in->modes & OMNID_MODE_OFFLINE)
        OMNID_TRY(keep_rows(in, &p->embeds, err));
    if (in->n_layers == 0)
        return OMNID_OK;
    OMNID_TRY(page_view_upload(&e->memory, in->fill->stream, in->view, in->n_layers, -1, err));
    OMNID_TRY(page_view_upload_keys(&e->memory, in->fill->stream, in->view, err));
    OMNID_TRY(upload_places(in, err));
    OMNID_TRY(kv_store_lay_out_even(&e->memory, &p->kv, in->n_layers, n, err));
    for (int l = 0; l < in->n_layers; l++) {
        kv_store_set_classes(in->fill->stream, &p->kv, l, 0, p->classes, n);
        row_set_describe(&in->rows, l,
                         &(kernels_descriptor){.n_prefix = in->tl->prefix_ids.n,
                                               .n_keys = in->view->n_keys,
                                               .prefix = in->tl->prefix_kv.layers[l],
                                               .own = p->kv.layers[l],
                                               .pages = page_view_table(in->view, l),
                                               .keys = in->view->keys_dev.data});
    }
    row_set_upload_descriptors(in->fill->stream, &in->rows);
    return kernels_stream_status(in->fill->stream, err);
}

/* Groups go on from the segment before, which is in the timeline by now. */
static void take_group(ingest *in)
{
    const front_state *kept = &in->tl->front;
    in->front.next_segment = kept->next_segment;
    in->front.group_place = kept->group_place;
    in->front.columns = kept->columns;
    in->front.rows = kept->rows;
}

/* The last of a segment's work has been enqueued, but for what the timeline needs of it. */
static omnid_status finish_work(ingest *in, omnid_error *err)
{
    in->stage = INGEST_DONE;
    return in->open ? OMNID_OK : intra_keep_vectors(in, err);
}

static omnid_status choose_and_place(ingest *in, omnid_error *err)
{
    page *p = in->page;
    lane_follow(in->fill, in->encode);
    if (!in->open)
        take_group(in);
    tensor saliency = tensor_1d((float *)in->audio.saliency.data + in->audio.n_frames, KERNELS_F32, p->n_audio);
    OMNID_TRY(intra_choose(in, p->n_audio ? &saliency : NULL, err));
    OMNID_TRY(place_rows(in, err));
    p->report.n_video_kept = p->n_video_kept;
    p->report.n_audio_kept = p->n_audio_kept;
    in->layer = in->chunk = 0;
    if (page_n_kept(p) == 0)
        return finish_work(in, err);
    OMNID_TRY(begin_prefill(in, err));
    if (in->n_layers == 0)
        return finish_work(in, err);
    in->stage = INGEST_PREFILL;
    return OMNID_OK;
}

static omnid_status prefill(ingest *in, omnid_slice *slice, omnid_error *err)
{
    omnid_engine *e = in->tl->engine;
    page *p = in->page;
    int boundary = e->model->config.text.n_layers / 2;
    if (in->chunk == 0 && in->layer == boundary && in->modes & OMNID_MODE_DEFERRED)
        OMNID_TRY(keep_rows(in, &p->hidden, err));
    in->rows.set = in->layer;
    slice->layer = in->layer;
    slice->n_layers = 1;
    slice->n_rows = row_set_chunk_rows(&in->rows, in->chunk);
    p->report.rows_prefilled += slice->n_rows;
    decoder_layer_run(in->fill->decoder, in->layer, &in->rows, in->chunk);
    if (++in->chunk == in->rows.n_chunks) {
        in->chunk = 0;
        if (++in->layer == in->n_layers) {
            if (in->layer == boundary && in->modes & OMNID_MODE_DEFERRED)
                OMNID_TRY(keep_rows(in, &p->hidden, err));
            OMNID_TRY(finish_work(in, err));
        }
    }
    return kernels_stream_status(in->fill->stream, err);
}

static omnid_status run_stage(ingest *in, omnid_slice *slice, omnid_error *err)
{
    omnid_engine *e = in->tl->engine;
    const model_config *c = &e->model->config;
    switch (in->stage) {
    case INGEST_PREFIX:
        if (!in->tl->prefix_ready)
            return prefix_step(in->tl, in->fill, &in->rows, &in->layer, &in->chunk, slice, err);
        in->layer = in->chunk = 0;
        in->stage = INGEST_AUDIO_FRONT;
        return buffer_reserve(&e->memory, &in->embeds,
                              ((size_t)(in->n_video + in->n_audio) * (size_t)c->text.hidden + 1) * sizeof(float), err);
    case INGEST_AUDIO_FRONT:
        return audio_front(in, err);
    case INGEST_AUDIO_LAYERS:
        slice->n_rows = in->audio.n_frames;
        OMNID_TRY(audio_run_layer(in->encode->encoder, &in->audio, in->layer, err));
        if (++in->layer == c->audio.n_layers)
            in->stage = INGEST_AUDIO_FINISH;
        return OMNID_OK;
    case INGEST_AUDIO_FINISH:
        return audio_finish(in, err);
    case INGEST_VISION_FRONT:
        if (in->grid < in->n_grids)
            return vision_front(in, err);
        in->stage = INGEST_INTRA;
        return OMNID_OK;
    case INGEST_VISION_BLOCKS:
        slice->n_rows = 4 * in->vision.n_grids * in->page->columns * in->page->rows;
        OMNID_TRY(vision_run_block(in->encode->encoder, &in->vision, in->layer, err));
        if (++in->layer == c->vision.depth)
            in->stage = INGEST_VISION_FINISH;
        return OMNID_OK;
    case INGEST_VISION_FINISH:
        return vision_finish(in, err);
    case INGEST_INTRA:
        return choose_and_place(in, err);
    case INGEST_PREFILL:
        slice->kind = OMNID_SLICE_INGEST;
        return prefill(in, slice, err);
    case INGEST_IDLE:
    case INGEST_DONE:
        break;
    }
    return OMNID_OK;
}

omnid_status ingest_step(ingest *in, omnid_slice *slice, omnid_error *err)
{
    slice->kind = OMNID_SLICE_ENCODE;
    slice->timeline = in->tl;
    slice->segment = in->segment->index;
    slice->layer = -1;
    slice->n_layers = 0;
    slice->n_rows = 0;
    slice->start_us = omnid_clock_us();
    omnid_status status = run_stage(in, slice, err);
    slice->end_us = omnid_clock_us();
    omnid_segment_report *r = &in->page->report;
    *(slice->kind == OMNID_SLICE_ENCODE ? &r->encode_us : &r->prefill_us) += slice->end_us - slice->start_us;
    return status;
}

omnid_status ingest_commit(ingest *in, omnid_error *err)
{
    omnid_timeline *tl = in->tl;
    OMNID_TRY(lane_finish(in->fill, err)); /* so that every lane may read the page, and a failure is this segment's */
    OMNID_TRY(lane_look(in->encode, err)); /* which the other has followed */
    in->page->report.visible_us = omnid_clock_us();
    OMNID_TRY(timeline_append(tl, in->page, err));
    in->page = NULL;
    intra_hand_over(in);
    ingest_abandon(in);
    return OMNID_OK;
}

void ingest_abandon(ingest *in)
{
    if (in->tl) {
        memory *mem = &in->tl->engine->memory;
        page_unref(mem, &in->page);
        page_view_release(mem, &in->own_view);
    }
    omnid_segment_destroy(&in->segment);
    in->tl = NULL;
    in->view = NULL;
    in->stage = INGEST_IDLE;
}

void ingest_free(ingest *in, memory *mem)
{
    ingest_abandon(in);
    audio_run_free(mem, &in->audio);
    vision_run_free(mem, &in->vision);
    buffer_free(mem, &in->group[0]);
    buffer_free(mem, &in->group[1]);
    buffer_free(mem, &in->embeds);
    buffer_free(mem, &in->scratch);
    buffer_free(mem, &in->list);
    page_view_free(mem, &in->own_view);
    row_set_free(mem, &in->rows);
    free(in->mel);
    *in = (ingest){0};
}
