/* decoder.c: one slice of the text decoder. */
#include "engine/decoder.h"

#include <stdlib.h>

omnid_status decoder_work_create(decoder_work *w, memory *mem, kernels_stream *s, int max_rows, omnid_error *err)
{
    const text_config *c = &mem->model->config.text;
    size_t rows = (size_t)max_rows, es = kernels_dtype_size(mem->model->activation);
    size_t heads = (size_t)c->n_heads * (size_t)c->head_dim, kv = (size_t)c->n_kv_heads * (size_t)c->head_dim;
    size_t f = (size_t)c->intermediate;
    *w = (decoder_work){.mem = mem, .stream = s, .max_rows = max_rows};
    OMNID_TRY(buffer_reserve(mem, &w->norm, rows * (size_t)c->hidden * es, err));
    OMNID_TRY(buffer_reserve(mem, &w->qkv, rows * (heads + 2 * kv) * sizeof(float), err));
    OMNID_TRY(buffer_reserve(mem, &w->q, KERNELS_N_CLASSES * rows * heads * es, err));
    OMNID_TRY(buffer_reserve(mem, &w->attn, rows * heads * es, err));
    OMNID_TRY(buffer_reserve(mem, &w->lse, rows * (size_t)c->n_heads * sizeof(float), err));
    OMNID_TRY(buffer_reserve(mem, &w->gate_up, rows * 2 * f * es, err));
    return buffer_reserve(mem, &w->ffn, rows * f * es, err);
}

void decoder_work_destroy(decoder_work *w)
{
    buffer *all[] = {&w->norm, &w->qkv, &w->q, &w->attn, &w->lse, &w->gate_up, &w->ffn};
    for (size_t i = 0; w->mem && i < sizeof all / sizeof *all; i++)
        buffer_free(w->mem, all[i]);
    *w = (decoder_work){0};
}

static omnid_status row_set_grow(row_set *r, int n_chunks, int n_sets, omnid_error *err)
{
    int needed = n_chunks * n_sets;
    if (needed <= r->chunk_capacity)
        return OMNID_OK;
    int *first = realloc(r->first, ((size_t)needed + 1) * sizeof *first);
    if (first)
        r->first = first;
    kernels_descriptor *host = realloc(r->host, (size_t)needed * sizeof *host);
    if (host)
        r->host = host;
    if (!first || !host)
        return omnid_fail(err, OMNID_NOMEM, "no memory for %d chunks of rows", needed);
    r->chunk_capacity = needed;
    return OMNID_OK;
}

omnid_status row_set_reserve(memory *mem, row_set *r, int n_rows, int n_sets, omnid_error *err)
{
    const text_config *c = &mem->model->config.text;
    size_t rows = (size_t)n_rows, angles = KERNELS_N_CLASSES * rows * (size_t)(c->head_dim / 2) * sizeof(float);
    OMNID_TRY(buffer_reserve(mem, &r->descriptors, (size_t)n_sets * sizeof *r->host, err));
    OMNID_TRY(buffer_reserve(mem, &r->x, rows * (size_t)c->hidden * sizeof(float), err));
    OMNID_TRY(buffer_reserve(mem, &r->cos, angles, err));
    OMNID_TRY(buffer_reserve(mem, &r->sin, angles, err));
    return buffer_reserve(mem, &r->key_table, rows * sizeof(int32_t), err);
}

omnid_status row_set_cut(memory *mem, row_set *r, int n_rows, int split, int max_rows, int n_sets, omnid_error *err)
{
    int n_chunks = (split + max_rows - 1) / max_rows + (n_rows - split + max_rows - 1) / max_rows;
    OMNID_TRY(row_set_grow(r, n_chunks, n_sets, err));
    OMNID_TRY(buffer_reserve(mem, &r->descriptors, (size_t)n_chunks * (size_t)n_sets * sizeof *r->host, err));
    OMNID_TRY(buffer_reserve(mem, &r->x, (size_t)n_rows * (size_t)mem->model->config.text.hidden * sizeof(float), err));
    r->n_rows = n_rows;
    r->n_chunks = 0;
    r->n_sets = n_sets;
    r->set = 0;
    for (int at = 0; at < n_rows;) {
        int limit = at < split ? split : n_rows;
        r->first[r->n_chunks++] = at;
        at += limit - at < max_rows ? limit - at : max_rows;
    }
    if (r->first)
        r->first[r->n_chunks] = n_rows;
    for (int set = 0; set < n_sets; set++)
        for (int c = 0; c < r->n_chunks; c++)
            *row_set_descriptor(r, set, c) =
                (kernels_descriptor){.n_rows = row_set_chunk_rows(r, c), .own_first = r->first[c]};
    return OMNID_OK;
}

/* Room for the tables of r's rows. */
static omnid_status reserve_tables(memory *mem, row_set *r, int n_tables, omnid_error *err)
{
    size_t row = (size_t)mem->model->config.text.head_dim / 2 * sizeof(float);
    size_t size = (size_t)n_tables * (size_t)r->n_rows * row;
    OMNID_TRY(buffer_reserve(mem, &r->cos, size, err));
    OMNID_TRY(buffer_reserve(mem, &r->sin, size, err));
    OMNID_TRY(buffer_reserve(mem, &r->key_table, (size_t)r->n_rows * sizeof(int32_t), err));
    r->n_tables = n_tables;
    return OMNID_OK;
}

static omnid_status upload_key_tables(kernels_stream *s, row_set *r, int n_tables, const uint8_t *classes,
                                      omnid_error *err)
{
    int32_t *tables = malloc(((size_t)r->n_rows + 1) * sizeof *tables);
    if (!tables)
        return omnid_fail(err, OMNID_NOMEM, "no memory for %d rows", r->n_rows);
    for (int i = 0; i < r->n_rows; i++)
        tables[i] = n_tables > 1 ? classes[i] : 0;
    s->ops->upload(s, r->key_table.data, tables, (size_t)r->n_rows * sizeof *tables);
    free(tables);
    return OMNID_OK;
}

omnid_status row_set_upload(memory *mem, kernels_stream *s, row_set *r, int n_tables, const float *cos,
                            const float *sin, const uint8_t *classes, omnid_error *err)
{
    size_t half = (size_t)mem->model->config.text.head_dim / 2, row = half * sizeof(float);
    size_t size = (size_t)n_tables * (size_t)r->n_rows * row;
    OMNID_TRY(reserve_tables(mem, r, n_tables, err));
    char *to_cos = r->cos.data, *to_sin = r->sin.data;
    if (r->n_chunks == 1) { /* they lie as they come */
        s->ops->upload(s, to_cos, cos, size);
        s->ops->upload(s, to_sin, sin, size);
    }
    for (int c = 0; r->n_chunks > 1 && c < r->n_chunks; c++)
        for (int table = 0; table < n_tables; table++) {
            size_t bytes = (size_t)row_set_chunk_rows(r, c) * row;
            size_t from = ((size_t)table * (size_t)r->n_rows + (size_t)r->first[c]) * half;
            s->ops->upload(s, to_cos, cos + from, bytes);
            s->ops->upload(s, to_sin, sin + from, bytes);
            to_cos += bytes;
            to_sin += bytes;
        }
    return upload_key_tables(s, r, n_tables, classes, err);
}

omnid_status row_set_gather(memory *mem, kernels_stream *s, row_set *r, int n_tables, int n, const buffer *cos,
                            const buffer *sin, const int32_t *rows, const uint8_t *classes, buffer *list,
                            omnid_error *err)
{
    int64_t half = mem->model->config.text.head_dim / 2, n_out = (int64_t)n_tables * r->n_rows, at = 0;
    OMNID_TRY(reserve_tables(mem, r, n_tables, err));
    OMNID_TRY(buffer_reserve(mem, list, (size_t)n_out * sizeof(int32_t), err));
    int32_t *from = malloc(((size_t)n_out + 1) * sizeof *from);
    if (!from)
        return omnid_fail(err, OMNID_NOMEM, "no memory for the places of %d rows", r->n_rows);
    for (int c = 0; c < r->n_chunks; c++)
        for (int table = 0; table < n_tables; table++)
            for (int i = r->first[c]; i < r->first[c + 1]; i++)
                from[at++] = table * n + rows[i];
    s->ops->upload(s, list->data, from, (size_t)n_out * sizeof *from);
    free(from);
    tensor entries = tensor_1d(list->data, KERNELS_I32, n_out);
    tensor to_cos = buffer_2d(&r->cos, KERNELS_F32, n_out, half), to_sin = buffer_2d(&r->sin, KERNELS_F32, n_out, half);
    tensor all_cos = buffer_2d(cos, KERNELS_F32, (int64_t)n_tables * n, half);
    tensor all_sin = buffer_2d(sin, KERNELS_F32, (int64_t)n_tables * n, half);
    s->ops->gather_rows(s, &to_cos, &all_cos, &entries);
    s->ops->gather_rows(s, &to_sin, &all_sin, &entries);
    OMNID_TRY(upload_key_tables(s, r, n_tables, classes, err));
    return kernels_stream_status(s, err);
}

omnid_status row_set_place(memory *mem, kernels_stream *s, row_set *r, const position *at, const uint8_t *classes,
                           int64_t delta, omnid_error *err)
{
    int n_tables = rotary_n_tables(delta);
    size_t size = (size_t)n_tables * (size_t)r->n_rows * (size_t)mem->model->config.text.head_dim / 2;
    float *angles = malloc((2 * size + 1) * sizeof *angles);
    if (!angles)
        return omnid_fail(err, OMNID_NOMEM, "no memory for the places of %d rows", r->n_rows);
    rotary_tables(angles, angles + size, mem->model, at, r->n_rows, delta);
    omnid_status status = row_set_upload(mem, s, r, n_tables, angles, angles + size, classes, err);
    free(angles);
    return status;
}

void row_set_describe(row_set *r, int set, const kernels_descriptor *d)
{
    for (int c = 0; c < r->n_chunks; c++) {
        kernels_descriptor *to = row_set_descriptor(r, set, c);
        int32_t n_rows = to->n_rows, own_first = to->own_first;
        *to = *d;
        to->n_rows = n_rows;
        to->own_first = own_first;
    }
}

void row_set_upload_descriptors(kernels_stream *s, const row_set *r)
{
    if (r->n_chunks)
        s->ops->upload(s, r->descriptors.data, r->host, (size_t)r->n_chunks * (size_t)r->n_sets * sizeof *r->host);
}

void row_set_free(memory *mem, row_set *r)
{
    buffer *all[] = {&r->x, &r->cos, &r->sin, &r->key_table, &r->descriptors};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        buffer_free(mem, all[i]);
    free(r->first);
    free(r->host);
    *r = (row_set){0};
}

static kernels_attention attention_of(decoder_work *w, const row_set *r, int chunk, tensor *q)
{
    const omnid_model *m = w->mem->model;
    const text_config *c = &m->config.text;
    int rows = row_set_chunk_rows(r, chunk);
    *q = buffer_2d(&w->q, m->activation, (int64_t)r->n_tables * rows, (int64_t)c->n_heads * c->head_dim);
    return (kernels_attention){.descriptors = row_set_uploaded(r, r->set, chunk),
                               .n_sets = 1,
                               .n_heads = c->n_heads,
                               .n_kv_heads = c->n_kv_heads,
                               .head_dim = c->head_dim,
                               .n_classes = r->n_tables,
                               .q = q,
                               .max_rows = rows,
                               .dtype = m->activation};
}

/* x += o(attention(rmsnorm(x))). */
static void run_attention(decoder_work *w, const decoder_layer *d, tensor *x, const row_set *r, int chunk)
{
    const omnid_model *m = w->mem->model;
    const text_config *c = &m->config.text;
    const kernels_ops *ops = m->ops;
    int rows = row_set_chunk_rows(r, chunk), half = c->head_dim / 2;
    int64_t before = (int64_t)r->first[chunk] * r->n_tables;
    tensor norm = buffer_2d(&w->norm, m->activation, rows, c->hidden);
    tensor qkv = buffer_2d(&w->qkv, KERNELS_F32, rows, (int64_t)(c->n_heads + 2 * c->n_kv_heads) * c->head_dim);
    tensor attn = buffer_2d(&w->attn, m->activation, rows, (int64_t)c->n_heads * c->head_dim);
    tensor lse = buffer_2d(&w->lse, KERNELS_F32, rows, c->n_heads);
    tensor cos = tensor_2d((float *)r->cos.data + before * half, KERNELS_F32, (int64_t)r->n_tables * rows, half);
    tensor sin = tensor_2d((float *)r->sin.data + before * half, KERNELS_F32, (int64_t)r->n_tables * rows, half);
    tensor table = tensor_1d((int32_t *)r->key_table.data + r->first[chunk], KERNELS_I32, rows);
    tensor q;
    kernels_attention a = attention_of(w, r, chunk, &q);

    ops->rmsnorm(w->stream, &norm, x, &d->norm1, c->rms_eps);
    ops->linear(w->stream, &qkv, &norm, d->qkv, NULL);
    ops->rotate_append(w->stream, &a, &qkv, &cos, &sin, &table);
    ops->attend(w->stream, &attn, &lse, &a);
    ops->linear(w->stream, x, &attn, d->o, &(kernels_epilogue){.residual = x});
}

void decoder_layer_run(decoder_work *w, int layer, row_set *r, int chunk)
{
    const omnid_model *m = w->mem->model;
    const text_config *c = &m->config.text;
    const decoder_layer *d = &m->decoder.layers[layer];
    int rows = row_set_chunk_rows(r, chunk);
    tensor x = tensor_2d((float *)r->x.data + (int64_t)r->first[chunk] * c->hidden, KERNELS_F32, rows, c->hidden);
    tensor norm = buffer_2d(&w->norm, m->activation, rows, c->hidden);
    tensor gate_up = buffer_2d(&w->gate_up, m->activation, rows, 2 * (int64_t)c->intermediate);
    tensor ffn = buffer_2d(&w->ffn, m->activation, rows, c->intermediate);

    run_attention(w, d, &x, r, chunk);
    m->ops->rmsnorm(w->stream, &norm, &x, &d->norm2, c->rms_eps);
    m->ops->linear(w->stream, &gate_up, &norm, d->gate_up, NULL);
    m->ops->swiglu(w->stream, &ffn, &gate_up);
    m->ops->linear(w->stream, &x, &ffn, d->down, &(kernels_epilogue){.residual = &x});
}

void decoder_score(decoder_work *w, const row_set *r, int chunk, int64_t max_keys)
{
    const omnid_model *m = w->mem->model;
    int rows = row_set_chunk_rows(r, chunk);
    tensor lse = buffer_2d(&w->lse, KERNELS_F32, rows, m->config.text.n_heads);
    tensor q;
    kernels_attention a = attention_of(w, r, chunk, &q);
    m->ops->score(w->stream, &lse, &a, max_keys);
}

void decoder_head(decoder_work *w, tensor *logits, const tensor *x)
{
    const omnid_model *m = w->mem->model;
    tensor norm = buffer_2d(&w->norm, m->activation, x->dim[0], m->config.text.hidden);
    m->ops->rmsnorm(w->stream, &norm, x, &m->decoder.norm, m->config.text.rms_eps);
    m->ops->linear(w->stream, logits, &norm, m->decoder.head, NULL);
}
