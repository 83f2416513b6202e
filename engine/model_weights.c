/* model_weights.c: the walk over every tensor of the thinker: its published name, its shape, and where it goes. */
#include "engine/model_load.h"
#include "kernels/number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    omnid_model *m;
    weight_source *source;
    model_plan *plan; /* filled while counting */
    bool counting;
    kernels_stream *stream;
    const omnid_model_params *params;
    uint64_t total, done; /* parameters */
    omnid_error *err;
} walk;

/* Rows of a matrix that is packed from several: NAME.weight [n][k] and NAME.bias [n]. */
typedef struct {
    const char *name;
    int64_t n;
    bool bias;
} block;

/* ------------------------------------------------------------------ one tensor */

static void make_name(char out[MODEL_MAX_NAME], const char *prefix, const char *name, const char *suffix)
{
    snprintf(out, MODEL_MAX_NAME, "%s%s%s", prefix, name, suffix);
}

static omnid_status get(walk *w, weight_data *out, const char *prefix, const char *name, const char *suffix, int n_dims,
                        const int64_t *dim)
{
    char full[MODEL_MAX_NAME];
    make_name(full, prefix, name, suffix);
    OMNID_TRY(w->source->get(w->source, out, full, n_dims, dim, !w->counting, w->err));
    uint64_t n = 1;
    for (int i = 0; i < n_dims; i++)
        n *= (uint64_t)dim[i];
    w->done += n;
    return OMNID_OK;
}

static void report(walk *w)
{
    if (!w->counting && w->params && w->params->on_progress && w->total)
        w->params->on_progress(w->params->user, fmin(1.0, (double)w->done / (double)w->total));
}

static float widen(const weight_data *d, int64_t i)
{
    if (d->dtype == KERNELS_F32)
        return ((const float *)d->data)[i];
    uint16_t bits = ((const uint16_t *)d->data)[i];
    return d->dtype == KERNELS_BF16 ? f32_from_bf16(bits) : f32_from_f16(bits);
}

/* Memory for size bytes of weights. */
static omnid_status take(omnid_model *m, void **out, size_t size, omnid_error *err)
{
    *out = m->ops->alloc(m->backend, size);
    if (!*out)
        return omnid_fail(err, OMNID_NOMEM, "the backend has no memory for %zu bytes of weights", size);
    m->weight_bytes += size;
    return OMNID_OK;
}

static omnid_status upload(omnid_model *m, kernels_stream *stream, tensor *t, const void *from, kernels_dtype dtype,
                           int64_t rows, int64_t columns, omnid_error *err)
{
    size_t size = (size_t)(rows * columns) * kernels_dtype_size(dtype);
    void *data;
    OMNID_TRY(take(m, &data, size, err));
    *t = columns == 1 ? tensor_1d(data, dtype, rows) : tensor_2d(data, dtype, rows, columns);
    m->ops->upload(stream, data, from, size);
    return kernels_stream_status(stream, err);
}

omnid_status model_upload(omnid_model *m, tensor *t, const float *values, int64_t n, omnid_error *err)
{
    kernels_stream *stream = NULL;
    OMNID_TRY(m->ops->stream_open(m->backend, &stream, KERNELS_FIRST, err));
    omnid_status status = upload(m, stream, t, values, KERNELS_F32, n, 1, err);
    m->ops->stream_close(&stream);
    return status;
}

/* PREFIX NAME [n] of any dtype -> F32 in the backend's memory. */
static omnid_status load_vector(walk *w, tensor *out, const char *prefix, const char *name, int64_t n)
{
    weight_data d;
    OMNID_TRY(get(w, &d, prefix, name, "", 1, &n));
    if (w->counting) {
        w->plan->packed += (uint64_t)n * sizeof(float);
        return OMNID_OK;
    }
    float *values = malloc((size_t)n * sizeof *values);
    if (!values)
        return omnid_fail(w->err, OMNID_NOMEM, "no memory for %lld values of %s%s", (long long)n, prefix, name);
    for (int64_t i = 0; i < n; i++)
        values[i] = widen(&d, i);
    omnid_status status = upload(w->m, w->stream, out, values, KERNELS_F32, n, 1, w->err);
    free(values);
    w->source->release(w->source);
    return status;
}

/* ------------------------------------------------------------------ one matrix */

/* A bias of another dtype than its matrix: only widening is exact. */
static omnid_status match_bias(walk *w, float **widened, weight_data *bias, const weight_data *weight,
                               const char *prefix, const block *b)
{
    if (bias->dtype == weight->dtype)
        return OMNID_OK;
    if (weight->dtype != KERNELS_F32)
        return omnid_fail(w->err, OMNID_UNSUPPORTED, "%s%s.bias: want the dtype of its weight, %s, found %s", prefix,
                          b->name, kernels_dtype_name(weight->dtype), kernels_dtype_name(bias->dtype));
    if (w->counting)
        return OMNID_OK;
    *widened = malloc((size_t)b->n * sizeof **widened);
    if (!*widened)
        return omnid_fail(w->err, OMNID_NOMEM, "no memory for %lld values of %s%s.bias", (long long)b->n, prefix,
                          b->name);
    for (int64_t i = 0; i < b->n; i++)
        (*widened)[i] = widen(bias, i);
    *bias = (weight_data){*widened, KERNELS_F32};
    return OMNID_OK;
}

static omnid_status get_block(walk *w, kernels_part *part, float **widened, const char *prefix, const block *b,
                              int n_tail, const int64_t *tail)
{
    int64_t dim[8] = {b->n};
    memcpy(dim + 1, tail, (size_t)n_tail * sizeof *tail);
    weight_data weight, bias = {0};
    OMNID_TRY(get(w, &weight, prefix, b->name, ".weight", 1 + n_tail, dim));
    if (b->bias) {
        OMNID_TRY(get(w, &bias, prefix, b->name, ".bias", 1, dim));
        OMNID_TRY(match_bias(w, widened, &bias, &weight, prefix, b));
    }
    *part = (kernels_part){.data = weight.data, .dtype = weight.dtype, .n = b->n, .bias = b->bias ? bias.data : NULL};
    return OMNID_OK;
}

static int64_t row_bytes(kernels_precision precision, int64_t k)
{
    return precision == KERNELS_INT8 ? kernels_int8_stride(k) : k * (precision == KERNELS_PLAIN_BF16 ? 2 : 4);
}

static void count_matrix(walk *w, const kernels_part *parts, int n_parts, int64_t k, kernels_precision precision)
{
    uint64_t staging = 0, n = 0;
    for (int i = 0; i < n_parts; i++) {
        n += (uint64_t)parts[i].n;
        staging += (uint64_t)(parts[i].n * k) * kernels_dtype_size(parts[i].dtype);
    }
    w->plan->packed += n * (uint64_t)row_bytes(precision, k) + n * sizeof(float);
    if (staging > w->plan->staging)
        w->plan->staging = staging;
}

enum { MAX_BLOCKS = 3 };

/* Blocks one below the other -> one packed weight. tail: dimensions after the first, their product is k. */
static omnid_status load_shaped(walk *w, kernels_weight **out, const char *prefix, const block *blocks, int n_blocks,
                                int n_tail, const int64_t *tail, kernels_precision precision)
{
    kernels_part parts[MAX_BLOCKS];
    float *widened[MAX_BLOCKS] = {NULL};
    int64_t k = 1;
    for (int i = 0; i < n_tail; i++)
        k *= tail[i];
    omnid_status status = OMNID_OK;
    for (int i = 0; i < n_blocks && status == OMNID_OK; i++)
        status = get_block(w, &parts[i], &widened[i], prefix, &blocks[i], n_tail, tail);
    if (status == OMNID_OK && w->counting)
        count_matrix(w, parts, n_blocks, k, precision);
    else if (status == OMNID_OK) {
        const omnid_model *m = w->m;
        status = m->ops->pack(m->backend, out, parts, n_blocks, k, precision, w->err);
        if (status == OMNID_OK)
            w->m->weight_bytes += m->ops->weight_bytes(*out);
        else
            omnid_fail_in(w->err, "%s%s", prefix, blocks[0].name);
        w->source->release(w->source);
        report(w);
    }
    for (int i = 0; i < n_blocks; i++)
        free(widened[i]);
    return status;
}

static omnid_status load_matrix(walk *w, kernels_weight **out, const char *prefix, const block *blocks, int n_blocks,
                                int64_t k)
{
    return load_shaped(w, out, prefix, blocks, n_blocks, 1, &k, w->m->weights);
}

static omnid_status load_one(walk *w, kernels_weight **out, const char *prefix, const char *name, int64_t n, int64_t k,
                             bool bias)
{
    block b = {name, n, bias};
    return load_matrix(w, out, prefix, &b, 1, k);
}

/* ------------------------------------------------------------------ the three towers */

static omnid_status load_vision_block(walk *w, vision_block *b, int i)
{
    const vision_config *c = &w->m->config.vision;
    int64_t d = c->hidden, f = c->intermediate;
    char p[64];
    snprintf(p, sizeof p, "visual.blocks.%d.", i);
    OMNID_TRY(load_vector(w, &b->norm1, p, "norm1.weight", d));
    OMNID_TRY(load_vector(w, &b->norm2, p, "norm2.weight", d));
    OMNID_TRY(
        load_matrix(w, &b->qkv, p, (block[]){{"attn.q", d, true}, {"attn.k", d, true}, {"attn.v", d, true}}, 3, d));
    OMNID_TRY(load_one(w, &b->proj, p, "attn.proj", d, d, true));
    OMNID_TRY(load_matrix(w, &b->gate_up, p, (block[]){{"mlp.gate_proj", f, true}, {"mlp.up_proj", f, true}}, 2, d));
    return load_one(w, &b->down, p, "mlp.down_proj", d, f, true);
}

static omnid_status load_vision(walk *w)
{
    const vision_config *c = &w->m->config.vision;
    vision_weights *v = &w->m->vision;
    int64_t d = c->hidden, d4 = d * c->merge * c->merge;
    block patch = {"proj", d, false};
    const int64_t tail[] = {3, c->temporal, c->patch, c->patch};
    OMNID_TRY(load_shaped(w, &v->patch_embed, "visual.patch_embed.", &patch, 1, 4, tail, w->m->precision));
    for (int i = 0; i < c->depth; i++)
        OMNID_TRY(load_vision_block(w, &v->blocks[i], i));
    OMNID_TRY(load_vector(w, &v->merger_norm, "visual.merger.", "ln_q.weight", d));
    OMNID_TRY(load_one(w, &v->merger_fc1, "visual.merger.", "mlp.0", d4, d4, true));
    return load_one(w, &v->merger_fc2, "visual.merger.", "mlp.2", w->m->config.text.hidden, d4, true);
}

static omnid_status load_audio_layer(walk *w, audio_layer *l, int i)
{
    const audio_config *c = &w->m->config.audio;
    int64_t d = c->hidden, f = c->intermediate;
    char p[64];
    snprintf(p, sizeof p, "audio_tower.layers.%d.", i);
    OMNID_TRY(load_vector(w, &l->norm1_w, p, "self_attn_layer_norm.weight", d));
    OMNID_TRY(load_vector(w, &l->norm1_b, p, "self_attn_layer_norm.bias", d));
    OMNID_TRY(load_vector(w, &l->norm2_w, p, "final_layer_norm.weight", d));
    OMNID_TRY(load_vector(w, &l->norm2_b, p, "final_layer_norm.bias", d));
    const block qkv[] = {{"self_attn.q_proj", d, true}, {"self_attn.k_proj", d, false}, {"self_attn.v_proj", d, true}};
    OMNID_TRY(load_matrix(w, &l->qkv, p, qkv, 3, d));
    OMNID_TRY(load_one(w, &l->out, p, "self_attn.out_proj", d, d, true));
    OMNID_TRY(load_one(w, &l->fc1, p, "fc1", f, d, true));
    return load_one(w, &l->fc2, p, "fc2", d, f, true);
}

/* Whisper's sinusoids as transformers computes them in float32: sines, then cosines. */
static omnid_status make_positions(walk *w)
{
    const audio_config *c = &w->m->config.audio;
    int64_t half = c->hidden / 2, d = c->hidden;
    if (w->counting) {
        w->plan->packed += (uint64_t)(c->max_positions * d) * sizeof(float);
        return OMNID_OK;
    }
    float *table = malloc((size_t)(c->max_positions * d) * sizeof *table);
    if (!table)
        return omnid_fail(w->err, OMNID_NOMEM, "no memory for %d sinusoidal positions", c->max_positions);
    float step = (float)-(log(10000.0) / (double)(half > 1 ? half - 1 : 1));
    for (int64_t j = 0; j < half; j++) {
        float rate = expf(step * (float)j);
        for (int64_t i = 0; i < c->max_positions; i++) {
            table[i * d + j] = sinf((float)i * rate);
            table[i * d + half + j] = cosf((float)i * rate);
        }
    }
    omnid_status status =
        upload(w->m, w->stream, &w->m->audio.positions, table, KERNELS_F32, c->max_positions, d, w->err);
    free(table);
    return status;
}

static omnid_status load_audio(walk *w)
{
    const audio_config *c = &w->m->config.audio;
    audio_weights *a = &w->m->audio;
    int64_t d = c->hidden;
    block conv1 = {"conv1", d, true}, conv2 = {"conv2", d, true};
    OMNID_TRY(
        load_shaped(w, &a->conv1, "audio_tower.", &conv1, 1, 2, (const int64_t[]){c->n_mels, 3}, w->m->precision));
    OMNID_TRY(load_shaped(w, &a->conv2, "audio_tower.", &conv2, 1, 2, (const int64_t[]){d, 3}, w->m->precision));
    OMNID_TRY(make_positions(w));
    for (int i = 0; i < c->n_layers; i++)
        OMNID_TRY(load_audio_layer(w, &a->layers[i], i));
    OMNID_TRY(load_vector(w, &a->post_w, "audio_tower.", "ln_post.weight", d));
    OMNID_TRY(load_vector(w, &a->post_b, "audio_tower.", "ln_post.bias", d));
    return load_one(w, &a->proj, "audio_tower.", "proj", w->m->config.text.hidden, d, true);
}

static omnid_status load_decoder_layer(walk *w, decoder_layer *l, int i)
{
    const text_config *c = &w->m->config.text;
    int64_t d = c->hidden, f = c->intermediate;
    int64_t q = (int64_t)c->n_heads * c->head_dim, kv = (int64_t)c->n_kv_heads * c->head_dim;
    char p[64];
    snprintf(p, sizeof p, "model.layers.%d.", i);
    OMNID_TRY(load_vector(w, &l->norm1, p, "input_layernorm.weight", d));
    OMNID_TRY(load_vector(w, &l->norm2, p, "post_attention_layernorm.weight", d));
    const block qkv[] = {{"self_attn.q_proj", q, true}, {"self_attn.k_proj", kv, true}, {"self_attn.v_proj", kv, true}};
    OMNID_TRY(load_matrix(w, &l->qkv, p, qkv, 3, d));
    OMNID_TRY(load_one(w, &l->o, p, "self_attn.o_proj", d, q, false));
    OMNID_TRY(load_matrix(w, &l->gate_up, p, (block[]){{"mlp.gate_proj", f, false}, {"mlp.up_proj", f, false}}, 2, d));
    return load_one(w, &l->down, p, "mlp.down_proj", d, f, false);
}

/* The embedding as int8 rows, a few MiB at a time. */
static omnid_status upload_int8(walk *w, tensor *t, const weight_data *d, int64_t rows, int64_t columns)
{
    enum { AT_ONCE = 2048 };
    const kernels_ops *ops = w->m->ops;
    const int64_t stride = kernels_int8_stride(columns);
    void *data, *piece = malloc((size_t)(AT_ONCE * stride));
    if (!piece)
        return omnid_fail(w->err, OMNID_NOMEM, "no memory for %lld bytes of int8 rows", (long long)(AT_ONCE * stride));
    omnid_status status = take(w->m, &data, (size_t)(rows * stride), w->err);
    if (status == OMNID_OK) {
        *t = tensor_2d(data, KERNELS_I8, rows, columns);
        t->stride = stride;
    }
    for (int64_t i = 0; i < rows && status == OMNID_OK; i += AT_ONCE) {
        int64_t n = rows - i < AT_ONCE ? rows - i : AT_ONCE;
        kernels_int8_rows(piece, (const char *)d->data + (size_t)(i * columns) * kernels_dtype_size(d->dtype), d->dtype,
                          n, columns);
        ops->upload(w->stream, (char *)data + i * stride, piece, (size_t)(n * stride));
        status = kernels_stream_status(w->stream, w->err);
    }
    free(piece);
    return status;
}

static omnid_status load_embedding(walk *w)
{
    const text_config *c = &w->m->config.text;
    const int64_t dim[] = {c->vocabulary, c->hidden};
    const bool int8 = w->m->weights == KERNELS_INT8;
    tensor *table = &w->m->decoder.embedding;
    weight_data d;
    OMNID_TRY(get(w, &d, "model.", "embed_tokens", ".weight", 2, dim));
    if (w->counting) {
        w->plan->embedding = int8 ? (uint64_t)(dim[0] * kernels_int8_stride(dim[1]))
                                  : (uint64_t)(dim[0] * dim[1]) * kernels_dtype_size(d.dtype);
        return OMNID_OK;
    }
    omnid_status status = int8 ? upload_int8(w, table, &d, dim[0], dim[1])
                               : upload(w->m, w->stream, table, d.data, d.dtype, dim[0], dim[1], w->err);
    w->source->release(w->source);
    report(w);
    return status;
}

/* The head is lm_head where the checkpoint has one, else a packed copy of the embedding, which is counted once. */
static omnid_status load_head(walk *w)
{
    const text_config *c = &w->m->config.text;
    if (w->source->has(w->source, "lm_head.weight"))
        return load_one(w, &w->m->decoder.head, "", "lm_head", c->vocabulary, c->hidden, false);
    w->done -= (uint64_t)c->vocabulary * (uint64_t)c->hidden;
    return load_one(w, &w->m->decoder.head, "model.", "embed_tokens", c->vocabulary, c->hidden, false);
}

/* 1 / theta^(2 i / head_dim), every step rounded to float32 as transformers does it. */
static omnid_status make_inv_freq(walk *w)
{
    const text_config *c = &w->m->config.text;
    if (w->counting)
        return OMNID_OK;
    int n = c->head_dim / 2;
    double *inv = malloc((size_t)n * sizeof *inv);
    if (!inv)
        return omnid_fail(w->err, OMNID_NOMEM, "no memory for %d frequencies", n);
    for (int i = 0; i < n; i++) {
        float exponent = (float)(2 * i) / (float)c->head_dim;
        float power = (float)pow((double)(float)c->rope_theta, (double)exponent);
        inv[i] = (double)(1.0f / power);
    }
    w->m->decoder.inv_freq = inv;
    return OMNID_OK;
}

static omnid_status load_decoder(walk *w)
{
    decoder_weights *d = &w->m->decoder;
    OMNID_TRY(load_embedding(w)); /* the two largest come first, while little else is in memory */
    OMNID_TRY(load_head(w));
    OMNID_TRY(make_inv_freq(w));
    for (int i = 0; i < w->m->config.text.n_layers; i++)
        OMNID_TRY(load_decoder_layer(w, &d->layers[i], i));
    return load_vector(w, &d->norm, "model.", "norm.weight", w->m->config.text.hidden);
}

/* ------------------------------------------------------------------ the whole */

static omnid_status walk_all(walk *w)
{
    OMNID_TRY(load_decoder(w));
    OMNID_TRY(load_vision(w));
    return load_audio(w);
}

static omnid_status make_layers(omnid_model *m, omnid_error *err)
{
    const model_config *c = &m->config;
    if (!m->vision.blocks)
        m->vision.blocks = calloc((size_t)c->vision.depth, sizeof *m->vision.blocks);
    if (!m->audio.layers)
        m->audio.layers = calloc((size_t)c->audio.n_layers, sizeof *m->audio.layers);
    if (!m->decoder.layers)
        m->decoder.layers = calloc((size_t)c->text.n_layers, sizeof *m->decoder.layers);
    if (!m->vision.blocks || !m->audio.layers || !m->decoder.layers)
        return omnid_fail(err, OMNID_NOMEM, "no memory for the model's layers");
    return OMNID_OK;
}

omnid_status model_count_weights(omnid_model *m, weight_source *s, model_plan *plan, omnid_error *err)
{
    *plan = (model_plan){0};
    OMNID_TRY(make_layers(m, err));
    walk w = {.m = m, .source = s, .plan = plan, .counting = true, .err = err};
    OMNID_TRY(walk_all(&w));
    plan->n_parameters = w.done;
    return OMNID_OK;
}

omnid_status model_load_weights(omnid_model *m, weight_source *s, const model_plan *plan, const omnid_model_params *p,
                                omnid_error *err)
{
    OMNID_TRY(make_layers(m, err));
    walk w = {.m = m, .source = s, .params = p, .total = plan->n_parameters, .err = err};
    OMNID_TRY(m->ops->stream_open(m->backend, &w.stream, KERNELS_FIRST, err));
    omnid_status status = walk_all(&w);
    m->ops->stream_close(&w.stream);
    m->n_parameters = plan->n_parameters;
    w.done = w.total;
    if (status == OMNID_OK)
        report(&w);
    return status;
}

/* ------------------------------------------------------------------ the end */

static void free_tensor(omnid_model *m, tensor *t)
{
    m->ops->free(m->backend, t->data);
    *t = (tensor){0};
}

static void free_vision(omnid_model *m)
{
    vision_weights *v = &m->vision;
    for (int i = 0; v->blocks && i < m->config.vision.depth; i++) {
        vision_block *b = &v->blocks[i];
        kernels_weight **packed[] = {&b->qkv, &b->proj, &b->gate_up, &b->down};
        for (int j = 0; j < 4; j++)
            m->ops->weight_free(m->backend, packed[j]);
        free_tensor(m, &b->norm1);
        free_tensor(m, &b->norm2);
    }
    free(v->blocks);
    kernels_weight **packed[] = {&v->patch_embed, &v->merger_fc1, &v->merger_fc2};
    for (int j = 0; j < 3; j++)
        m->ops->weight_free(m->backend, packed[j]);
    free_tensor(m, &v->merger_norm);
}

static void free_audio(omnid_model *m)
{
    audio_weights *a = &m->audio;
    for (int i = 0; a->layers && i < m->config.audio.n_layers; i++) {
        audio_layer *l = &a->layers[i];
        kernels_weight **packed[] = {&l->qkv, &l->out, &l->fc1, &l->fc2};
        tensor *vectors[] = {&l->norm1_w, &l->norm1_b, &l->norm2_w, &l->norm2_b};
        for (int j = 0; j < 4; j++) {
            m->ops->weight_free(m->backend, packed[j]);
            free_tensor(m, vectors[j]);
        }
    }
    free(a->layers);
    kernels_weight **packed[] = {&a->conv1, &a->conv2, &a->proj};
    tensor *vectors[] = {&a->positions, &a->post_w, &a->post_b};
    for (int j = 0; j < 3; j++) {
        m->ops->weight_free(m->backend, packed[j]);
        free_tensor(m, vectors[j]);
    }
}

static void free_decoder(omnid_model *m)
{
    decoder_weights *d = &m->decoder;
    for (int i = 0; d->layers && i < m->config.text.n_layers; i++) {
        decoder_layer *l = &d->layers[i];
        kernels_weight **packed[] = {&l->qkv, &l->o, &l->gate_up, &l->down};
        for (int j = 0; j < 4; j++)
            m->ops->weight_free(m->backend, packed[j]);
        free_tensor(m, &l->norm1);
        free_tensor(m, &l->norm2);
    }
    free(d->layers);
    m->ops->weight_free(m->backend, &d->head);
    free_tensor(m, &d->embedding);
    free_tensor(m, &d->norm);
    free(d->inv_freq);
}

void model_free_weights(omnid_model *m)
{
    free_vision(m);
    free_audio(m);
    free_decoder(m);
    m->vision = (vision_weights){0};
    m->audio = (audio_weights){0};
    m->decoder = (decoder_weights){0};
}
