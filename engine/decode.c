/* decode.c: one token of several answers at once: products in one batch, attention one answer at a time. */
#include <stdlib.h>

#include "engine/engine.h"

static omnid_status collect(omnid_engine *e, decode_batch *b, omnid_error *err)
{
    int most = e->params.deterministic ? 1 : e->params.slice_rows;
    b->n = 0;
    for (answer *a = e->answers; a && b->n < most; a = a->next) {
        if (a->stage != ANSWER_DECODE || a->end.status != OMNID_OK)
            continue;
        if (b->n == b->capacity) {
            int capacity = b->capacity ? 2 * b->capacity : 8;
            answer **answers = realloc(b->answers, (size_t)capacity * sizeof *answers);
            if (!answers)
                return omnid_fail(err, OMNID_NOMEM, "no memory to decode %d answers", capacity);
            b->answers = answers;
            b->capacity = capacity;
        }
        b->answers[b->n++] = a;
    }
    return OMNID_OK;
}

/* Rows of the fork's own page in a layer before the token that is about to run. */
static int own_rows(const answer *a, int layer)
{
    return (layer < a->listed_layers ? 0 : (int)a->n[layer]) + a->ask.query.n + a->n_fed;
}

/* Counts of every layer and the angles of the token's position. */
static omnid_status describe_step(answer *a, omnid_error *err)
{
    omnid_engine *e = a->timeline->engine;
    const text_config *c = &e->model->config.text;
    int n_tables = rotary_n_tables(a->view.delta), half = c->head_dim / 2;
    size_t size = (size_t)n_tables * (size_t)half * sizeof(float);
    kernels_counts counts[CONFIG_MAX_LAYERS];
    for (int l = 0; l < c->n_layers; l++) {
        counts[l] = (kernels_counts){.n_rows = 1,
                                     .n_prefix = a->timeline->prefix_ids.n,
                                     .n_keys = l < a->listed_layers ? (int32_t)a->n[l] : 0,
                                     .own_first = own_rows(a, l)};
        if (a->n_fed == 0)
            a->layers[l].kv_rows_decode = counts[l].n_prefix + counts[l].n_keys + counts[l].own_first + 1;
    }
    OMNID_TRY(buffer_reserve(&e->memory, &a->decode_counts, (size_t)c->n_layers * sizeof *counts, err));
    OMNID_TRY(buffer_reserve(&e->memory, &a->decode_cos, size, err));
    OMNID_TRY(buffer_reserve(&e->memory, &a->decode_sin, size, err));
    float *angles = malloc(2 * size);
    if (!angles)
        return omnid_fail(err, OMNID_NOMEM, "no memory for one row's place");
    int64_t p = a->answer_at + a->n_fed;
    float *sin = angles + (size_t)n_tables * (size_t)half;
    rotary_tables(angles, sin, e->model, &(position){p, p, p}, 1, a->view.delta);
    e->ops->upload(e->stream, a->decode_counts.data, counts, (size_t)c->n_layers * sizeof *counts);
    e->ops->upload(e->stream, a->decode_cos.data, angles, size);
    e->ops->upload(e->stream, a->decode_sin.data, sin, size);
    free(angles);
    return kernels_stream_status(e->stream, err);
}

omnid_status decode_begin(omnid_engine *e, decode_batch *b, omnid_error *err)
{
    const text_config *c = &e->model->config.text;
    OMNID_TRY(collect(e, b, err));
    b->layer = 0;
    int n = b->n;
    b->n = 0; /* nothing to drop if this fails */
    OMNID_TRY(buffer_reserve(&e->memory, &b->x, (size_t)n * (size_t)c->hidden * sizeof(float), err));
    OMNID_TRY(buffer_reserve(&e->memory, &b->logits, (size_t)n * (size_t)c->vocabulary * sizeof(float), err));
    for (int i = 0; i < n; i++) {
        OMNID_TRY(describe_step(b->answers[i], err));
        OMNID_TRY(engine_embed(e, (float *)b->x.data + (int64_t)i * c->hidden, &b->answers[i]->next_token, 1, err));
    }
    b->n = n;
    return OMNID_OK;
}

/* Row i's attention over what its answer sees. */
static void attend_one(omnid_engine *e, answer *a, int layer, const tensor *qkv, tensor *attn)
{
    const omnid_model *m = e->model;
    const text_config *c = &m->config.text;
    int n_tables = rotary_n_tables(a->view.delta), half = c->head_dim / 2;
    tensor cos = buffer_2d(&a->decode_cos, KERNELS_F32, n_tables, half);
    tensor sin = buffer_2d(&a->decode_sin, KERNELS_F32, n_tables, half);
    tensor q = buffer_2d(&e->decoder.q, m->activation, n_tables, (int64_t)c->n_heads * c->head_dim);
    bool listed = layer < a->listed_layers;
    kernels_attention at = {.counts = (const kernels_counts *)a->decode_counts.data + layer,
                            .n_heads = c->n_heads,
                            .n_kv_heads = c->n_kv_heads,
                            .head_dim = c->head_dim,
                            .n_classes = n_tables,
                            .q = &q,
                            .max_rows = 1,
                            .dtype = m->activation,
                            .prefix = &a->timeline->prefix_kv.layers[layer],
                            .pages = listed ? page_view_table(&a->view, layer) : NULL,
                            .keys = listed ? answer_list(a, layer) : NULL,
                            .own = &a->own.layers[layer]};
    e->ops->rotate_append(e->stream, &q, 1, at.own, m->activation, own_rows(a, layer), qkv, &cos, &sin, n_tables, NULL,
                          c->n_heads, c->n_kv_heads, c->head_dim);
    e->ops->attend(e->stream, attn, NULL, &at);
}

static void run_layer(omnid_engine *e, decode_batch *b)
{
    const omnid_model *m = e->model;
    const text_config *c = &m->config.text;
    const decoder_layer *d = &m->decoder.layers[b->layer];
    decoder_work *w = &e->decoder;
    tensor x = buffer_2d(&b->x, KERNELS_F32, b->n, c->hidden),
           norm = buffer_2d(&w->norm, m->activation, b->n, c->hidden);
    tensor qkv = buffer_2d(&w->qkv, KERNELS_F32, b->n, (int64_t)(c->n_heads + 2 * c->n_kv_heads) * c->head_dim);
    tensor attn = buffer_2d(&w->attn, m->activation, b->n, (int64_t)c->n_heads * c->head_dim);
    tensor gate_up = buffer_2d(&w->gate_up, m->activation, b->n, 2 * (int64_t)c->intermediate);
    tensor ffn = buffer_2d(&w->ffn, m->activation, b->n, c->intermediate);
    kernels_epilogue residual = {.residual = &x};
    e->ops->rmsnorm(e->stream, &norm, &x, &d->norm1, c->rms_eps);
    e->ops->linear(e->stream, &qkv, &norm, d->qkv, NULL);
    for (int i = 0; i < b->n; i++) {
        tensor row = tensor_rows(&qkv, i, 1), out = tensor_rows(&attn, i, 1);
        if (b->answers[i])
            attend_one(e, b->answers[i], b->layer, &row, &out);
    }
    e->ops->linear(e->stream, &x, &attn, d->o, &residual);
    e->ops->rmsnorm(e->stream, &norm, &x, &d->norm2, c->rms_eps);
    e->ops->linear(e->stream, &gate_up, &norm, d->gate_up, NULL);
    e->ops->swiglu(e->stream, &ffn, &gate_up);
    e->ops->linear(e->stream, &x, &ffn, d->down, &residual);
}

/* The step's last slice: logits, and each answer's next token. An answer that fails ends alone. */
static omnid_status finish(omnid_engine *e, decode_batch *b, omnid_error *err)
{
    const text_config *c = &e->model->config.text;
    tensor x = buffer_2d(&b->x, KERNELS_F32, b->n, c->hidden);
    tensor logits = buffer_2d(&b->logits, KERNELS_F32, b->n, c->vocabulary);
    decoder_head(&e->decoder, &logits, &x);
    OMNID_TRY(kernels_stream_status(e->stream, err));
    for (int i = 0; i < b->n; i++) {
        tensor row = tensor_rows(&logits, i, 1);
        if (!b->answers[i])
            continue;
        b->answers[i]->n_fed++;
        omnid_error failure = {0};
        if (answer_take_logits(b->answers[i], &row, &failure) != OMNID_OK)
            b->answers[i]->end = failure;
    }
    b->n = 0;
    return OMNID_OK;
}

omnid_status decode_step(omnid_engine *e, decode_batch *b, omnid_slice *slice, omnid_error *err)
{
    omnid_status status;
    *slice = (omnid_slice){.kind = OMNID_SLICE_DECODE, .segment = -1, .layer = b->layer, .n_rows = b->n};
    slice->start_us = omnid_clock_us();
    for (int i = 0; i < b->n && !slice->answer; i++)
        if (b->answers[i]) {
            slice->answer = b->answers[i]->id;
            slice->timeline = b->answers[i]->timeline;
        }
    const int n = b->n;
    if (b->layer < e->model->config.text.n_layers) {
        run_layer(e, b);
        b->layer++;
        status = kernels_stream_status(e->stream, err);
    } else {
        slice->layer = -1;
        status = finish(e, b, err);
    }
    slice->end_us = omnid_clock_us();
    for (int i = 0; i < n; i++)
        if (b->answers[i])
            b->answers[i]->timings.decode_us += slice->end_us - slice->start_us;
    return status;
}

void decode_batch_drop(decode_batch *b, const answer *a)
{
    for (int i = 0; i < b->n; i++)
        if (b->answers[i] == a)
            b->answers[i] = NULL;
}

void decode_batch_free(decode_batch *b, memory *mem)
{
    buffer_free(mem, &b->x);
    buffer_free(mem, &b->logits);
    free(b->answers);
    *b = (decode_batch){0};
}
