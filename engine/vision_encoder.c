/* vision_encoder.c: Qwen2.5-VL's vision tower over one or two grids of two frames: patches in window order, rotary positions by
 * patch row and column, attention within windows (or the grid), gated MLP, four patches merged to one token. */
#include "engine/encoders.h"

#include <math.h>
#include <stdlib.h>

enum { PATCH_VALUES = 1176, PATCHES_PER_TOKEN = 4 };

static const float clip_mean[3] = {0.48145466f, 0.4578275f, 0.40821073f};
static const float clip_std[3] = {0.26862954f, 0.26130258f, 0.27577711f};

/* order[i] = raster place of the i-th token in window order; spans in patches. Windows of side x side tokens from the top
 * left, row by row, partial at the right and bottom edge. Returns the number of windows. */
static int window_order(int32_t *order, int32_t *spans, int columns, int rows, int side)
{
    int n = 0, n_spans = 0;
    spans[0] = 0;
    for (int y = 0; y < rows; y += side)
        for (int x = 0; x < columns; x += side) {
            for (int r = y; r < y + side && r < rows; r++)
                for (int c = x; c < x + side && c < columns; c++)
                    order[n++] = r * columns + c;
            spans[++n_spans] = n * PATCHES_PER_TOKEN;
        }
    return n_spans;
}

/* Angles of the patches in window order: [patch][head_dim / 2] = row x f, then column x f with f_j = 10000^(-4 j / head_dim). */
static void patch_angles(float *cos_out, float *sin_out, const int32_t *order, int n_tokens, int columns, int head_dim)
{
    int quarter = head_dim / 4;
    for (int i = 0; i < n_tokens * PATCHES_PER_TOKEN; i++) {
        int token = order[i / PATCHES_PER_TOKEN], part = i % PATCHES_PER_TOKEN;
        int at[2] = {2 * (token / columns) + part / 2, 2 * (token % columns) + part % 2};
        for (int j = 0; j < 2 * quarter; j++) {
            float f = 1.0f / powf(10000.0f, (float)(2 * (j % quarter)) / (float)(2 * quarter));
            double angle = (double)at[j / quarter] * (double)f;
            cos_out[i * 2 * quarter + j] = (float)cos(angle);
            sin_out[i * 2 * quarter + j] = (float)sin(angle);
        }
    }
}

/* order [n], inverse [n_grids n] and angles are the caller's memory; each grid's tables are the first one's, moved. */
static omnid_status upload_tables(encoder_work *w, int columns, int rows, int n_grids, int32_t *order, int32_t *inverse,
                                  float *angles, omnid_error *err)
{
    const omnid_model *m = w->mem->model;
    int n = columns * rows, head_dim = m->config.vision.hidden / m->config.vision.n_heads;
    size_t n_angles = (size_t)n * PATCHES_PER_TOKEN * (size_t)head_dim / 2;
    w->n_spans = window_order(order, w->spans, columns, rows, m->config.vision.window_px / 28);
    patch_angles(angles, angles + n_angles, order, n, columns, head_dim);
    OMNID_TRY(encoder_reserve(w, &w->order, n, KERNELS_I32, err));
    OMNID_TRY(encoder_reserve(w, &w->inverse, (int64_t)n_grids * n, KERNELS_I32, err));
    OMNID_TRY(encoder_reserve(w, &w->vision_cos, (int64_t)n_angles * n_grids, KERNELS_F32, err));
    OMNID_TRY(encoder_reserve(w, &w->vision_sin, (int64_t)n_angles * n_grids, KERNELS_F32, err));
    for (int g = 0; g < n_grids; g++) {
        for (int i = 0; i < n; i++)
            inverse[g * n + order[i]] = g * n + i;
        for (int i = 1; i <= w->n_spans; i++)
            w->spans[g * w->n_spans + i] = g * n * PATCHES_PER_TOKEN + w->spans[i];
        m->ops->upload(w->stream, (float *)w->vision_cos.data + (size_t)g * n_angles, angles,
                       n_angles * sizeof *angles);
        m->ops->upload(w->stream, (float *)w->vision_sin.data + (size_t)g * n_angles, angles + n_angles,
                       n_angles * sizeof *angles);
    }
    m->ops->upload(w->stream, w->order.data, order, (size_t)n * sizeof *order);
    m->ops->upload(w->stream, w->inverse.data, inverse, (size_t)(n_grids * n) * sizeof *inverse);
    return kernels_stream_status(w->stream, err);
}

/* Tables for this size and so many grids, unless they are there. */
static omnid_status prepare_grids(encoder_work *w, int columns, int rows, int n_grids, omnid_error *err)
{
    if (w->columns == columns && w->rows == rows && w->n_grids >= n_grids)
        return OMNID_OK;
    size_t n = (size_t)columns * (size_t)rows;
    size_t head_dim = (size_t)(w->mem->model->config.vision.hidden / w->mem->model->config.vision.n_heads);
    w->columns = w->rows = 0;
    int32_t *spans = realloc(w->spans, ((size_t)n_grids * n + 1) * sizeof *spans);
    if (spans)
        w->spans = spans;
    int32_t *order = malloc((1 + (size_t)n_grids) * n * sizeof *order);
    float *angles = malloc(n * PATCHES_PER_TOKEN * head_dim * sizeof *angles);
    omnid_status status = spans && order && angles
                              ? upload_tables(w, columns, rows, n_grids, order, order + n, angles, err)
                              : omnid_fail(err, OMNID_NOMEM, "no memory for a grid of %d x %d tokens", columns, rows);
    free(order);
    free(angles);
    if (status == OMNID_OK) {
        w->columns = columns;
        w->rows = rows;
        w->n_grids = n_grids;
    }
    return status;
}

omnid_status vision_run_front(encoder_work *w, vision_run *v, const uint8_t *const *frames, int n_grids, int columns,
                              int rows, omnid_error *err)
{
    const omnid_model *m = w->mem->model;
    int64_t n_patches = (int64_t)columns * rows * PATCHES_PER_TOKEN, d = m->config.vision.hidden;
    size_t frame = (size_t)columns * (size_t)rows * 28 * 28 * 3, size = kernels_dtype_size(m->activation);
    OMNID_TRY(prepare_grids(w, columns, rows, n_grids, err));
    OMNID_TRY(buffer_reserve(w->mem, &v->frames, 2 * (size_t)n_grids * frame, err));
    OMNID_TRY(encoder_reserve(w, &v->x, n_grids * n_patches * d, KERNELS_F32, err));
    OMNID_TRY(encoder_reserve(w, &w->wide, n_grids * n_patches * PATCH_VALUES, m->activation, err));
    v->columns = columns;
    v->rows = rows;
    v->n_grids = n_grids;
    tensor order = tensor_1d(w->order.data, KERNELS_I32, (int64_t)columns * rows);
    for (int g = 0; g < n_grids; g++) {
        uint8_t *to = (uint8_t *)v->frames.data + 2 * (size_t)g * frame;
        tensor grid = {to, KERNELS_U8, 4, {2, 28 * (int64_t)rows, 28 * (int64_t)columns, 3}, (int64_t)frame};
        tensor own = tensor_2d((char *)w->wide.data + (size_t)(g * n_patches * PATCH_VALUES) * size, m->activation,
                               n_patches, PATCH_VALUES);
        m->ops->upload(w->stream, to, frames[2 * g], frame);
        m->ops->upload(w->stream, to + frame, frames[2 * g + 1], frame);
        m->ops->patchify(w->stream, &own, &grid, &order, clip_mean, clip_std);
    }
    tensor patches = buffer_2d(&w->wide, m->activation, n_grids * n_patches, PATCH_VALUES);
    tensor x = buffer_2d(&v->x, KERNELS_F32, n_grids * n_patches, d);
    m->ops->linear(w->stream, &x, &patches, m->vision.patch_embed, NULL);
    return kernels_stream_status(w->stream, err);
}

omnid_status vision_run_block(encoder_work *w, vision_run *v, int block, omnid_error *err)
{
    const omnid_model *m = w->mem->model;
    const kernels_ops *ops = m->ops;
    const vision_config *c = &m->config.vision;
    const vision_block *b = &m->vision.blocks[block];
    int64_t one = (int64_t)v->columns * v->rows * PATCHES_PER_TOKEN, n = v->n_grids * one;
    int64_t d = c->hidden, f = c->intermediate;
    int head_dim = c->hidden / c->n_heads;
    OMNID_TRY(prepare_grids(w, v->columns, v->rows, v->n_grids, err));
    OMNID_TRY(encoder_reserve(w, &w->norm, n * d, m->activation, err));
    OMNID_TRY(encoder_reserve(w, &w->qkv, n * 3 * d, m->activation, err));
    OMNID_TRY(encoder_reserve(w, &w->attn, n * d, m->activation, err));
    OMNID_TRY(encoder_reserve(w, &w->wide, n * 2 * f, m->activation, err));
    OMNID_TRY(encoder_reserve(w, &w->ffn, n * vision_ffn_stride(c), m->activation, err));

    tensor x = buffer_2d(&v->x, KERNELS_F32, n, d), norm = buffer_2d(&w->norm, m->activation, n, d);
    tensor qkv = buffer_2d(&w->qkv, m->activation, n, 3 * d), attn = buffer_2d(&w->attn, m->activation, n, d);
    tensor gate_up = buffer_2d(&w->wide, m->activation, n, 2 * f), ffn = buffer_2d(&w->ffn, m->activation, n, f);
    ffn.stride = vision_ffn_stride(c);
    tensor cos = buffer_2d(&w->vision_cos, KERNELS_F32, n, head_dim / 2);
    tensor sin = buffer_2d(&w->vision_sin, KERNELS_F32, n, head_dim / 2);
    kernels_epilogue residual = {.residual = &x};
    const int32_t whole[VISION_MAX_GRIDS + 1] = {0, (int32_t)one, (int32_t)(2 * one)};
    ops->rmsnorm(w->stream, &norm, &x, &b->norm1, c->norm_eps);
    ops->linear(w->stream, &qkv, &norm, b->qkv, NULL);
    ops->rotate(w->stream, &qkv, &cos, &sin, 2 * c->n_heads, head_dim); /* q and k lie side by side */
    ops->encoder_attention(w->stream, &attn, &qkv, c->n_heads, head_dim, c->full_attention[block] ? whole : w->spans,
                           c->full_attention[block] ? v->n_grids : v->n_grids * w->n_spans, NULL);
    ops->linear(w->stream, &x, &attn, b->proj, &residual);
    ops->rmsnorm(w->stream, &norm, &x, &b->norm2, c->norm_eps);
    ops->linear(w->stream, &gate_up, &norm, b->gate_up, NULL);
    ops->swiglu(w->stream, &ffn, &gate_up);
    ops->linear(w->stream, &x, &ffn, b->down, &residual);
    return kernels_stream_status(w->stream, err);
}

omnid_status vision_run_finish(encoder_work *w, vision_run *v, tensor *tokens, omnid_error *err)
{
    const omnid_model *m = w->mem->model;
    const kernels_ops *ops = m->ops;
    int64_t n = (int64_t)v->n_grids * v->columns * v->rows, d = m->config.vision.hidden, wide = PATCHES_PER_TOKEN * d;
    int hidden = m->config.text.hidden;
    OMNID_TRY(prepare_grids(w, v->columns, v->rows, v->n_grids, err));
    OMNID_TRY(encoder_reserve(w, &w->norm, n * wide, m->activation, err));
    OMNID_TRY(encoder_reserve(w, &w->ffn, n * wide, m->activation, err));
    OMNID_TRY(encoder_reserve(w, &w->merged, n * hidden, KERNELS_F32, err));
    tensor x = buffer_2d(&v->x, KERNELS_F32, n * PATCHES_PER_TOKEN, d);
    tensor norm = buffer_2d(&w->norm, m->activation, n * PATCHES_PER_TOKEN, d);
    tensor groups = buffer_2d(&w->norm, m->activation, n, wide), middle = buffer_2d(&w->ffn, m->activation, n, wide);
    tensor merged = buffer_2d(&w->merged, KERNELS_F32, n, hidden), inverse = tensor_1d(w->inverse.data, KERNELS_I32, n);
    ops->rmsnorm(w->stream, &norm, &x, &m->vision.merger_norm, m->config.vision.norm_eps);
    ops->linear(w->stream, &middle, &groups, m->vision.merger_fc1, &(kernels_epilogue){.activation = KERNELS_GELU});
    ops->linear(w->stream, &merged, &middle, m->vision.merger_fc2, NULL);
    ops->gather_rows(w->stream, tokens, &merged, &inverse);
    return kernels_stream_status(w->stream, err);
}

void vision_run_free(memory *mem, vision_run *v)
{
    buffer_free(mem, &v->frames);
    buffer_free(mem, &v->x);
}
