/* question_whole.c: a question's rows through all layers and the head in one slice, as a path that the backend may record.
 * Launches are of rounded sizes, and all that is the question's own is in descriptors and in the engine's buffers. */
#include "engine/path.h"

enum { LEAST_ROWS = 8, LAST_ROW = 64 /* bytes from the row's number to the row */ };

bool answer_is_whole(const answer *a)
{
    const omnid_engine *e = a->timeline->engine;
    const prune_policy *policy = a->ask.policy;
    return path_wanted(e) && a->ask.mode == OMNID_MODE_EAGER && a->ask.query.n <= e->params.slice_rows &&
           (!policy->prunes || policy->on_device);
}

int answer_launch_rows(const answer *a)
{
    return a->whole ? path_rows(a->ask.query.n, LEAST_ROWS, a->timeline->engine->params.slice_rows) : a->ask.query.n;
}

static uint64_t path_of(const answer *a)
{
    const omnid_engine *e = a->timeline->engine;
    const row_set *r = &e->query;
    const decoder_work *w = &e->decoder;
    const void *addresses[] = {r->x.data,    r->cos.data,     r->sin.data,    r->key_table.data, r->descriptors.data,
                               w->norm.data, w->qkv.data,     w->q.data,      w->attn.data,      w->lse.data,
                               w->ffn.data,  w->gate_up.data, e->logits.data, e->last_row.data,  a->ask.policy};
    uint64_t path = path_add(path_add(PATH_QUESTION, (uint64_t)r->n_rows), (uint64_t)r->n_tables);
    path = path_add(path, (uint64_t)a->max_keys);
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++)
        path = path_add_address(path, addresses[i]);
    for (int l = 0; l < e->model->config.text.n_layers; l++)
        path = path_add(path, (uint64_t)(a->scores_of[l] >= 0) << 1 | a->selects[l]);
    return path;
}

/* As answer_select asks a policy, but for numbers that differ from question to question. */
static void leave(answer *a, int layer)
{
    omnid_engine *e = a->timeline->engine;
    omnid_error err = {0};
    prune_call call = {.stream = e->stream,
                       .layer = layer,
                       .seed = a->ask.seed,
                       .descriptor = row_set_uploaded(&e->query, layer, 0),
                       .max_keys = a->max_keys};
    if (a->ask.policy->leave(&call, &err) != OMNID_OK)
        kernels_stream_fail(e->stream, err.status, "%s", err.text);
}

static void enqueue(void *user)
{
    answer *a = user;
    omnid_engine *e = a->timeline->engine;
    const text_config *c = &e->model->config.text;
    row_set *r = &e->query;
    for (int l = 0; l < c->n_layers; l++) {
        r->set = l;
        decoder_layer_run(&e->decoder, l, r, 0);
        if (a->scores_of[l] >= 0)
            decoder_score(&e->decoder, r, 0, a->max_keys);
        if (a->selects[l])
            leave(a, l);
    }
    tensor x = buffer_2d(&r->x, KERNELS_F32, r->n_rows, c->hidden), last = tensor_1d(e->last_row.data, KERNELS_I32, 1);
    tensor row = tensor_2d((char *)e->last_row.data + LAST_ROW, KERNELS_F32, 1, c->hidden);
    tensor logits = buffer_2d(&e->logits, KERNELS_F32, 1, c->vocabulary);
    e->ops->gather_rows(e->stream, &row, &x, &last);
    decoder_head(&e->decoder, &logits, &row);
}

omnid_status answer_step_whole(answer *a, omnid_slice *slice, omnid_error *err)
{
    omnid_engine *e = a->timeline->engine;
    const text_config *c = &e->model->config.text;
    const int n_layers = c->n_layers;
    int32_t last = a->ask.query.n - 1;
    OMNID_TRY(buffer_reserve(&e->memory, &e->last_row, LAST_ROW + (size_t)c->hidden * sizeof(float), err));
    OMNID_TRY(buffer_reserve(&e->memory, &e->logits, (size_t)c->vocabulary * sizeof(float), err));
    e->ops->upload(e->stream, e->last_row.data, &last, sizeof last);
    slice->layer = 0;
    slice->n_layers = n_layers;
    slice->n_rows = a->ask.query.n;
    a->timings.rows_prefilled += n_layers * a->ask.query.n;
    for (int l = 0; l < n_layers; l++) {
        const kernels_descriptor *d = row_set_descriptor(&e->query, l, 0);
        a->layers[l].kv_rows_prefill = d->n_prefix + d->n_keys + d->own_first + d->n_rows;
    }
    a->timings.replays += path_run(e, path_of(a), enqueue, a);
    OMNID_TRY(kernels_stream_status(e->stream, err));
    a->layer = n_layers;
    a->stage = ANSWER_DECODE;
    tensor logits = buffer_2d(&e->logits, KERNELS_F32, 1, c->vocabulary);
    return answer_take_logits(a, &logits, err);
}
