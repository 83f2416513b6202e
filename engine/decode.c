/* decode.c: one token of several answers at once: products in one batch, attention of all answers in one call. Answers whose
 * window has moved have three tables of queries, the others one: two groups of rows, and a call each. Where the backend can
 * record a step, it is one slice, and the groups are filled up with rows that are nobody's to a power of two. */
#include <stdlib.h>
#include <string.h>

#include "engine/path.h"

/* A row for an answer, or for nobody. */
static omnid_status add_row(decode_batch *b, answer *a, omnid_error *err)
{
    if (b->n < b->capacity) {
        b->answers[b->n++] = a;
        return OMNID_OK;
    }
    int capacity = b->capacity ? 2 * b->capacity : 8;
    answer **answers = realloc(b->answers, (size_t)capacity * sizeof *answers);
    if (!answers)
        return omnid_fail(err, OMNID_NOMEM, "no memory to decode %d answers", capacity);
    b->answers = answers;
    b->capacity = capacity;
    b->answers[b->n++] = a;
    return OMNID_OK;
}

/* Adds the answers with so many tables, at most `most` in all, as a group. */
static omnid_status collect_group(omnid_engine *e, decode_batch *b, decode_group *g, int n_tables, int most,
                                  omnid_error *err)
{
    *g = (decode_group){.first = b->n, .n_tables = n_tables};
    for (answer *a = e->answers; a && b->n_answers < most; a = a->next) {
        if (a->stage != ANSWER_DECODE || a->end.status != OMNID_OK || rotary_n_tables(a->view.delta) != n_tables)
            continue;
        OMNID_TRY(add_row(b, a, err));
        b->n_answers++;
    }
    g->n = b->n - g->first;
    for (int rows = b->whole && g->n ? path_rows(g->n, 1, e->params.slice_rows) : 0; g->n < rows; g->n++)
        OMNID_TRY(add_row(b, NULL, err));
    return OMNID_OK;
}

static omnid_status collect(omnid_engine *e, decode_batch *b, omnid_error *err)
{
    b->whole = path_wanted(e);
    int room = e->params.slice_rows, most = e->params.deterministic ? 1 : room;
    if (b->whole && most > 1)
        most = room > 1 ? room / 2 : 1; /* both groups filled up have fewer than twice the rows */
    b->n = b->n_answers = 0;
    OMNID_TRY(collect_group(e, b, &b->groups[0], 1, most, err));
    return collect_group(e, b, &b->groups[1], KERNELS_N_CLASSES, most, err);
}

/* Rows of the fork's own page in a layer before the token that is about to run. */
static int own_rows(const answer *a, int layer)
{
    return (layer < a->listed_layers ? 0 : (int)a->n[layer]) + a->ask.query.n + a->n_fed;
}

static kernels_descriptor *host_descriptor(const decode_batch *b, int layer, int row)
{
    return (kernels_descriptor *)(void *)b->host + (int64_t)layer * b->n + row;
}

/* What a row sees in every layer; nobody's sees nothing. */
static void describe_row(const decode_batch *b, int row, int n_layers)
{
    answer *a = b->answers[row];
    for (int l = 0; l < n_layers; l++) {
        kernels_descriptor *d = host_descriptor(b, l, row);
        *d = (kernels_descriptor){0};
        if (!a)
            continue;
        bool listed = l < a->listed_layers;
        *d = (kernels_descriptor){.n_rows = 1,
                                  .n_prefix = a->timeline->prefix_ids.n,
                                  .n_keys = listed ? (int32_t)a->n[l] : 0,
                                  .own_first = own_rows(a, l),
                                  .prefix = a->timeline->prefix_kv.layers[l],
                                  .own = a->own.layers[l],
                                  .pages = listed ? page_view_table(&a->view, l) : NULL,
                                  .keys = listed ? answer_list(a, l) : NULL};
        if (a->n_fed == 0)
            a->layers[l].kv_rows_decode = d->n_prefix + d->n_keys + d->own_first + 1;
    }
}

/* Angles of the rows of a group. */
static omnid_status place_group(omnid_engine *e, const decode_batch *b, const decode_group *g, omnid_error *err)
{
    int half = e->model->config.text.head_dim / 2;
    float *angles = malloc(2 * (size_t)g->n_tables * (size_t)half * sizeof *angles);
    if (!angles)
        return omnid_fail(err, OMNID_NOMEM, "no memory for one row's place");
    float *cos = (float *)(void *)(b->host + g->cos), *sin = (float *)(void *)(b->host + g->sin);
    for (int i = 0; i < g->n; i++) {
        const answer *a = b->answers[g->first + i];
        if (!a)
            continue;
        int64_t p = a->answer_at + a->n_fed;
        rotary_tables(angles, angles + g->n_tables * half, e->model, &(position){p, p, p}, 1, a->view.delta);
        for (int t = 0; t < g->n_tables; t++) {
            int64_t to = ((int64_t)t * g->n + i) * half;
            memcpy(cos + to, angles + t * half, (size_t)half * sizeof *cos);
            memcpy(sin + to, angles + (g->n_tables + t) * half, (size_t)half * sizeof *sin);
        }
    }
    free(angles);
    return OMNID_OK;
}

/* Descriptors of every layer and the angles of the tokens' positions. */
static omnid_status describe_step(omnid_engine *e, decode_batch *b, omnid_error *err)
{
    const text_config *c = &e->model->config.text;
    size_t size = (size_t)c->n_layers * (size_t)b->n * sizeof(kernels_descriptor);
    for (int g = 0; g < DECODE_GROUPS; g++) {
        size_t table = (size_t)b->groups[g].n_tables * (size_t)b->groups[g].n * (size_t)(c->head_dim / 2);
        b->groups[g].cos = (int64_t)((size + 63) & ~(size_t)63);
        b->groups[g].sin = b->groups[g].cos + (int64_t)((table * sizeof(float) + 63) & ~(size_t)63);
        size = (size_t)b->groups[g].sin + table * sizeof(float);
    }
    OMNID_TRY(buffer_reserve(&e->memory, &b->given, size, err));
    if (size > b->host_size) {
        free(b->host);
        b->host_size = 0;
        b->host = calloc(1, size);
        if (!b->host)
            return omnid_fail(err, OMNID_NOMEM, "no memory to describe %d rows", b->n);
        b->host_size = size;
    }
    for (int i = 0; i < b->n; i++)
        describe_row(b, i, c->n_layers);
    for (int g = 0; g < DECODE_GROUPS; g++)
        OMNID_TRY(place_group(e, b, &b->groups[g], err));
    e->ops->upload(e->stream, b->given.data, b->host, size);
    b->dropped = false;
    return kernels_stream_status(e->stream, err);
}

static omnid_status embed_step(omnid_engine *e, decode_batch *b, omnid_error *err)
{
    int32_t *ids = malloc(((size_t)b->n + 1) * sizeof *ids);
    if (!ids)
        return omnid_fail(err, OMNID_NOMEM, "no memory for %d ids", b->n);
    for (int i = 0; i < b->n; i++)
        ids[i] = b->answers[i] ? b->answers[i]->next_token : -1; /* a row of zeros */
    omnid_status status = engine_embed(e, b->x.data, ids, b->n, err);
    free(ids);
    return status;
}

static omnid_status begin_step(omnid_engine *e, decode_batch *b, omnid_error *err)
{
    const text_config *c = &e->model->config.text;
    OMNID_TRY(collect(e, b, err));
    b->layer = 0;
    OMNID_TRY(buffer_reserve(&e->memory, &b->x, (size_t)b->n * (size_t)c->hidden * sizeof(float), err));
    OMNID_TRY(buffer_reserve(&e->memory, &b->logits, (size_t)b->n * (size_t)c->vocabulary * sizeof(float), err));
    if (b->n == 0)
        return OMNID_OK;
    OMNID_TRY(describe_step(e, b, err));
    return embed_step(e, b, err);
}

omnid_status decode_begin(omnid_engine *e, decode_batch *b, omnid_error *err)
{
    omnid_status status = begin_step(e, b, err);
    if (status != OMNID_OK)
        b->n = 0; /* nothing to drop */
    return status;
}

/* The rows of a group over what their answers see. */
static void attend_group(omnid_engine *e, const decode_batch *b, const decode_group *g, const tensor *qkv, tensor *attn)
{
    const omnid_model *m = e->model;
    const text_config *c = &m->config.text;
    int half = c->head_dim / 2;
    char *given = b->given.data;
    tensor cos = tensor_2d(given + g->cos, KERNELS_F32, (int64_t)g->n_tables * g->n, half);
    tensor sin = tensor_2d(given + g->sin, KERNELS_F32, (int64_t)g->n_tables * g->n, half);
    tensor q = buffer_2d(&e->decoder.q, m->activation, (int64_t)g->n_tables * g->n, (int64_t)c->n_heads * c->head_dim);
    tensor rows = tensor_rows(qkv, g->first, g->n), out = tensor_rows(attn, g->first, g->n);
    kernels_attention at = {.descriptors = (kernels_descriptor *)b->given.data + (int64_t)b->layer * b->n + g->first,
                            .n_sets = g->n,
                            .n_heads = c->n_heads,
                            .n_kv_heads = c->n_kv_heads,
                            .head_dim = c->head_dim,
                            .n_classes = g->n_tables,
                            .q = &q,
                            .max_rows = g->n,
                            .dtype = m->activation};
    e->ops->rotate_append(e->stream, &at, &rows, &cos, &sin, NULL);
    e->ops->attend(e->stream, &out, NULL, &at);
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
    for (int g = 0; g < DECODE_GROUPS; g++)
        if (b->groups[g].n > 0)
            attend_group(e, b, &b->groups[g], &qkv, &attn);
    e->ops->linear(e->stream, &x, &attn, d->o, &residual);
    e->ops->rmsnorm(e->stream, &norm, &x, &d->norm2, c->rms_eps);
    e->ops->linear(e->stream, &gate_up, &norm, d->gate_up, NULL);
    e->ops->swiglu(e->stream, &ffn, &gate_up);
    e->ops->linear(e->stream, &x, &ffn, d->down, &residual);
}

/* Rows whose answer has ended see nothing and write nothing any more: its memory is another's. */
static void tell_dropped(omnid_engine *e, decode_batch *b)
{
    if (b->dropped)
        e->ops->upload(e->stream, b->given.data, b->host,
                       (size_t)e->model->config.text.n_layers * (size_t)b->n * sizeof(kernels_descriptor));
    b->dropped = false;
}

static void run_head(omnid_engine *e, decode_batch *b)
{
    const text_config *c = &e->model->config.text;
    tensor x = buffer_2d(&b->x, KERNELS_F32, b->n, c->hidden);
    tensor logits = buffer_2d(&b->logits, KERNELS_F32, b->n, c->vocabulary);
    decoder_head(&e->decoder, &logits, &x);
}

static void enqueue(void *user)
{
    omnid_engine *e = user;
    decode_batch *b = &e->batch;
    for (b->layer = 0; b->layer < e->model->config.text.n_layers; b->layer++)
        run_layer(e, b);
    run_head(e, b);
}

static uint64_t path_of(const omnid_engine *e, const decode_batch *b)
{
    const decoder_work *w = &e->decoder;
    const void *addresses[] = {b->x.data, b->logits.data, b->given.data,   w->norm.data, w->qkv.data,
                               w->q.data, w->attn.data,   w->gate_up.data, w->ffn.data};
    uint64_t path = PATH_DECODE;
    for (int g = 0; g < DECODE_GROUPS; g++)
        path = path_add(path, (uint64_t)b->groups[g].n);
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++)
        path = path_add_address(path, addresses[i]);
    return path;
}

/* Each answer's next token. An answer that fails ends alone. */
static void take_tokens(omnid_engine *e, decode_batch *b)
{
    tensor logits = buffer_2d(&b->logits, KERNELS_F32, b->n, e->model->config.text.vocabulary);
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
}

/* One layer, or the head and the tokens. */
static omnid_status step_layer(omnid_engine *e, decode_batch *b, omnid_slice *slice, omnid_error *err)
{
    bool last = b->layer == e->model->config.text.n_layers;
    slice->layer = last ? -1 : b->layer;
    slice->n_layers = !last;
    if (last) {
        run_head(e, b);
    } else {
        tell_dropped(e, b);
        run_layer(e, b);
        b->layer++;
    }
    OMNID_TRY(kernels_stream_status(e->stream, err));
    if (last)
        take_tokens(e, b);
    return OMNID_OK;
}

/* All layers, the head and the tokens. */
static omnid_status step_whole(omnid_engine *e, decode_batch *b, omnid_slice *slice, omnid_error *err)
{
    slice->layer = 0;
    slice->n_layers = e->model->config.text.n_layers;
    bool replayed = path_run(e, path_of(e, b), enqueue, e);
    OMNID_TRY(kernels_stream_status(e->stream, err));
    for (int i = 0; i < b->n; i++)
        if (b->answers[i])
            b->answers[i]->timings.replays += replayed;
    take_tokens(e, b);
    return OMNID_OK;
}

omnid_status decode_step(omnid_engine *e, decode_batch *b, omnid_slice *slice, omnid_error *err)
{
    *slice = (omnid_slice){.kind = OMNID_SLICE_DECODE, .segment = -1, .n_rows = b->n_answers};
    slice->start_us = omnid_clock_us();
    for (int i = 0; i < b->n && !slice->answer; i++)
        if (b->answers[i]) {
            slice->answer = b->answers[i]->id;
            slice->timeline = b->answers[i]->timeline;
        }
    const int n = b->n;
    omnid_status status = b->whole ? step_whole(e, b, slice, err) : step_layer(e, b, slice, err);
    slice->end_us = omnid_clock_us();
    for (int i = 0; i < n; i++)
        if (b->answers[i])
            b->answers[i]->timings.decode_us += slice->end_us - slice->start_us;
    return status;
}

void decode_batch_drop(decode_batch *b, const answer *a)
{
    for (int i = 0; i < b->n; i++)
        if (b->answers[i] == a) {
            b->answers[i] = NULL;
            b->dropped = true;
            for (int l = 0; l < a->timeline->engine->model->config.text.n_layers; l++)
                *host_descriptor(b, l, i) = (kernels_descriptor){0};
        }
}

void decode_batch_free(decode_batch *b, memory *mem)
{
    buffer_free(mem, &b->x);
    buffer_free(mem, &b->logits);
    buffer_free(mem, &b->given);
    free(b->answers);
    free(b->host);
    *b = (decode_batch){0};
}
