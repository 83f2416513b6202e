/* memory_plan.c: the sums. They follow what the files named allocate; a test fills an engine and compares. */
#include "engine/memory_plan.h"

#include <math.h>
#include <string.h>

#include "engine/encoders.h"
#include "engine/kv.h"
#include "engine/mel.h"

enum {
    PLAN_AUDIO = 50,    /* tokens of a segment's sound */
    PLAN_GRIDS = 2,     /* of a segment */
    PLAN_PREFIX = 32,   /* tokens of the prefix around its text */
    PLAN_PINNED = 16,   /* segments that left while a question of half a minute still sees them */
    PLAN_QUESTIONS = 8, /* at once; more, or longer ones, take what is left or end alone */
    PLAN_QUERY = 256,   /* rows of a question with its history */
    PLAN_ANSWER = 256,  /* tokens of an answer */
    PLAN_SCRATCH = 4,   /* times the largest product in f32: scratch grows twofold, and graphs keep what it was */
};

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* floor of the float64 product, as section 4 has it. */
static uint64_t share(uint64_t n, double rho)
{
    return (uint64_t)floor((double)n * rho);
}

static uint64_t grid_tokens(const omnid_model *m, const omnid_timeline_params *t)
{
    return (uint64_t)(t->max_pixels ? t->max_pixels : m->max_pixels) / (28 * 28);
}

/* Tokens that a segment keeps: all of the first grid of a group of four, a share of the others (intra.c). */
static uint64_t segment_tokens(const omnid_model *m, const omnid_timeline_params *t, bool begins_group)
{
    uint64_t n = t->has_video ? grid_tokens(m, t) : 0, audio = t->has_audio ? PLAN_AUDIO : 0;
    uint64_t gone_video = t->intra ? share(n, t->rho_v) : 0, gone_audio = t->intra ? share(audio, t->rho_a) : 0;
    return PLAN_GRIDS * n - (uint64_t)(PLAN_GRIDS - begins_group) * gone_video + audio - gone_audio;
}

/* Of two segments, one after the other. */
static uint64_t pair_tokens(const omnid_model *m, const omnid_timeline_params *t)
{
    return segment_tokens(m, t, true) + segment_tokens(m, t, false);
}

static uint64_t window_tokens(const omnid_model *m, const omnid_timeline_params *t)
{
    return ((uint64_t)t->window_segments + 1) / 2 * pair_tokens(m, t);
}

static int kept_layers(const omnid_model *m, unsigned modes)
{
    int n = m->config.text.n_layers;
    return modes & OMNID_MODE_EAGER ? n : modes & OMNID_MODE_DEFERRED ? n / 2 : 0;
}

/* One row's keys, values and classes in n layers, rounded up as if it had a page to itself with 63 others (kv.c). */
static uint64_t row_bytes(const omnid_model *m, int n_layers)
{
    const text_config *c = &m->config.text;
    uint64_t kv = (uint64_t)c->n_kv_heads * (uint64_t)c->head_dim * kernels_dtype_size(m->activation);
    return (uint64_t)n_layers * (2 * kv + 1);
}

static uint64_t page_overhead(int n_layers)
{
    return (uint64_t)n_layers * 3 * 64;
}

uint64_t memory_plan_kv(const omnid_model *m, const omnid_timeline_params *t)
{
    const text_config *c = &m->config.text;
    const uint64_t hidden = (uint64_t)c->hidden * sizeof(float);
    const int n_layers = kept_layers(m, t->modes), window = t->window_segments;
    int hop = t->hop_segments ? t->hop_segments : window / 8 > 1 ? 2 * (window / 8) : 2;
    hop = hop < window ? hop : window;
    uint64_t n_pages = (uint64_t)window + 1 + (uint64_t)(hop < PLAN_PINNED ? hop : PLAN_PINNED);
    uint64_t token = row_bytes(m, n_layers);
    token += (t->modes & OMNID_MODE_DEFERRED ? hidden : 0) + (t->modes & OMNID_MODE_OFFLINE ? hidden : 0);
    uint64_t prefix = PLAN_PREFIX + (t->system ? strlen(t->system) : 32);
    uint64_t grids = t->has_video ? 2 * grid_tokens(m, t) * hidden : 0; /* section 4's vectors */
    return (n_pages + 1) / 2 * pair_tokens(m, t) * token + n_pages * page_overhead(n_layers) +
           prefix * row_bytes(m, c->n_layers) + page_overhead(c->n_layers) + grids;
}

/* ---- work ---- */

/* decoder.c: one slice. */
static uint64_t decoder_bytes(const omnid_model *m, uint64_t rows)
{
    const text_config *c = &m->config.text;
    uint64_t es = kernels_dtype_size(m->activation), heads = (uint64_t)c->n_heads * (uint64_t)c->head_dim;
    uint64_t kv = (uint64_t)c->n_kv_heads * (uint64_t)c->head_dim, f = (uint64_t)c->intermediate;
    return rows * (es * ((uint64_t)c->hidden + (KERNELS_N_CLASSES + 1) * heads + 3 * f) +
                   sizeof(float) * (heads + 2 * kv + (uint64_t)c->n_heads));
}

/* decoder.c: rows on their way, with the counts of n_sets sets. */
static uint64_t rows_bytes(const omnid_model *m, uint64_t rows, uint64_t n_sets)
{
    const text_config *c = &m->config.text;
    return rows *
               (sizeof(float) * ((uint64_t)c->hidden + KERNELS_N_CLASSES * (uint64_t)c->head_dim) + sizeof(int32_t)) +
           n_sets * (1 + rows / 64) * sizeof(kernels_descriptor);
}

/* audio_encoder.c, vision_encoder.c: one slice of either; n tokens of all its grids. */
static uint64_t encoder_bytes(const omnid_model *m, uint64_t n)
{
    const vision_config *v = &m->config.vision;
    const audio_config *a = &m->config.audio;
    const uint64_t es = kernels_dtype_size(m->activation), p = 4 * n, n_mel = MEL_SEGMENT_FRAMES, frames = n_mel / 2;
    const uint64_t d = (uint64_t)v->hidden, f = (uint64_t)v->intermediate, da = (uint64_t)a->hidden;
    const uint64_t fa = (uint64_t)a->intermediate, in = larger(da, (uint64_t)a->n_mels);
    uint64_t norm = es * larger(p * d, frames * da), attn = norm;
    uint64_t qkv = larger(es * 3 * p * d, larger(es * 3 * frames * da, sizeof(float) * n_mel * da));
    uint64_t wide = es * larger(p * larger(1176, 2 * f), larger(n_mel * 3 * in, frames * fa));
    uint64_t ffn = es * larger(p * (uint64_t)vision_ffn_stride(v), p * d),
             merged = sizeof(float) * n * (uint64_t)m->config.text.hidden;
    uint64_t tables = sizeof(float) * p * d / (uint64_t)v->n_heads + 2 * sizeof(int32_t) * n;
    return norm + attn + qkv + wide + ffn + merged + tables;
}

/* ingest.h: one segment on its way in, but its KV; its view of tokens and pages. n tokens a grid, at_once
 * of all grids of a slice. */
static uint64_t ingest_bytes(const omnid_model *m, uint64_t n, uint64_t at_once, uint64_t tokens, uint64_t pages)
{
    const uint64_t hidden = (uint64_t)m->config.text.hidden, all = PLAN_GRIDS * n + PLAN_AUDIO,
                   n_mel = MEL_SEGMENT_FRAMES;
    uint64_t vision = at_once * (2 * 28 * 28 * 3 + 4 * (uint64_t)m->config.vision.hidden * sizeof(float));
    uint64_t audio = sizeof(float) *
                     (n_mel * (uint64_t)m->config.audio.n_mels + n_mel / 2 * (uint64_t)m->config.audio.hidden + n_mel);
    uint64_t view =
        (tokens + 1) * sizeof(kernels_key) + (uint64_t)m->config.text.n_layers * pages * sizeof(kernels_page);
    return vision + audio + all * (hidden * sizeof(float) + 2 * sizeof(float)) + rows_bytes(m, all, 1) + view;
}

/* answer.h: one usual question over so many tokens and pages, its own rows in all layers. */
static uint64_t question_bytes(const omnid_model *m, uint64_t tokens, uint64_t pages)
{
    const text_config *c = &m->config.text;
    const uint64_t n_layers = (uint64_t)c->n_layers;
    uint64_t view = (tokens + 1) * sizeof(kernels_key) + n_layers * pages * sizeof(kernels_page);
    uint64_t lists =
        n_layers * tokens * (sizeof(kernels_key) + sizeof(float)) + (tokens + PLAN_QUERY) * sizeof(int32_t);
    uint64_t own = (PLAN_QUERY + PLAN_ANSWER) * row_bytes(m, c->n_layers) + page_overhead(c->n_layers);
    uint64_t logits = 2 * (uint64_t)c->vocabulary * sizeof(float) + (uint64_t)c->hidden * sizeof(float);
    uint64_t seen = (PLAN_QUERY + PLAN_ANSWER) * sizeof(int32_t);
    return view + lists + own + logits + seen + rows_bytes(m, PLAN_QUERY, n_layers) +
           n_layers * sizeof(kernels_descriptor);
}

/* question_own.c: survivors that run again with the query, before anybody has left. */
static uint64_t again_bytes(const omnid_model *m, uint64_t tokens, unsigned modes)
{
    const text_config *c = &m->config.text;
    int n_layers = modes & OMNID_MODE_OFFLINE    ? c->n_layers
                   : modes & OMNID_MODE_DEFERRED ? c->n_layers - c->n_layers / 2
                                                 : 0;
    uint64_t spare = (tokens + PLAN_QUERY) * (uint64_t)c->hidden * sizeof(float);
    uint64_t places = (tokens + PLAN_QUERY) * KERNELS_N_CLASSES *
                      ((uint64_t)c->head_dim * sizeof(float) + sizeof(int32_t)); /* of the rows that came in */
    return n_layers ? tokens * row_bytes(m, n_layers) + rows_bytes(m, tokens + PLAN_QUERY, 1) + spare + places : 0;
}

/* The most numbers that one product gives, in f32. */
static uint64_t largest_product(const omnid_model *m, uint64_t n, uint64_t slice_rows)
{
    const model_config *c = &m->config;
    uint64_t decoder = slice_rows * 2 * (uint64_t)c->text.intermediate,
             vision = 4 * n * 2 * (uint64_t)c->vision.intermediate;
    uint64_t audio = MEL_SEGMENT_FRAMES * larger((uint64_t)c->audio.intermediate, (uint64_t)c->audio.hidden);
    uint64_t head = PLAN_QUESTIONS * (uint64_t)c->text.vocabulary;
    return sizeof(float) * larger(larger(decoder, vision), larger(audio, head));
}

uint64_t memory_plan_work(const omnid_model *m, const kernels_memory *device, const omnid_engine_params *p,
                          const omnid_timeline_params *timelines, int n_timelines)
{
    uint64_t n = n_timelines ? 0 : (uint64_t)m->max_pixels / (28 * 28), tokens = 0, pages = 0, again = 0, pinned = 0;
    for (int i = 0; i < n_timelines; i++) {
        const omnid_timeline_params *t = &timelines[i];
        n = larger(n, t->has_video ? grid_tokens(m, t) : 0);
        tokens = larger(tokens, window_tokens(m, t) + PLAN_GRIDS * grid_tokens(m, t) + PLAN_AUDIO);
        pages = larger(pages, (uint64_t)t->window_segments + 2);
        again = larger(again, again_bytes(m, window_tokens(m, t), t->modes));
        pinned =
            larger(pinned, segment_tokens(m, t, true) * row_bytes(m, kept_layers(m, t->modes))); /* of open segments */
    }
    const uint64_t slice_rows = (uint64_t)p->slice_rows, hidden = (uint64_t)m->config.text.hidden;
    const uint64_t questions =
        (uint64_t)(p->max_open_questions < PLAN_QUESTIONS ? p->max_open_questions : PLAN_QUESTIONS);
    uint64_t lists =
        3 * (2 * (tokens + PLAN_QUERY) + 1024) * sizeof(int32_t) + slice_rows * hidden; /* engine.h: ids, iota */
    const uint64_t lanes = m->ops->wait ? 3 : 1,
                   pairs = lanes > 1 ? 2 : 1;                /* engine.c: streams, and work spaces of each kind */
    const uint64_t at_once = lanes > 1 ? PLAN_GRIDS * n : n; /* ingest.c: vision_front */
    uint64_t scratch = lanes * (device->stream + PLAN_SCRATCH * largest_product(m, at_once, slice_rows));
    return pairs * (decoder_bytes(m, slice_rows) + encoder_bytes(m, at_once)) +
           (1 + pairs) * (ingest_bytes(m, n, at_once, tokens, pages) + 2 * n * hidden * sizeof(float)) +
           questions * (question_bytes(m, tokens, pages) + pinned) + again + lists + scratch;
}
