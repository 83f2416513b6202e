/* question_prune.c: the schedule of one question: how many tokens enter each layer, their scores, who leaves. */
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"

omnid_status answer_plan(answer *a, int64_t n_0, omnid_error *err)
{
    omnid_engine *e = a->timeline->engine;
    const int n_layers = e->model->config.text.n_layers;
    int first_prune = a->ask.first_prune;
    if (a->ask.mode == OMNID_MODE_DEFERRED && first_prune < a->listed_layers - 1)
        first_prune = a->listed_layers - 1;
    retention_plan plan = a->ask.plan;
    plan.prune = plan.prune && a->ask.policy->prunes;
    retention_counts(&plan, n_0, first_prune, a->n, a->k);
    int64_t list = 0, scores = 0;
    for (int l = 0; l < n_layers; l++) {
        a->list_of[l] = list;
        bool own_next = l + 1 == a->listed_layers && l + 1 < n_layers; /* there the same tokens get other rows */
        list += a->k[l] > 0 || own_next ? a->n[l] : 0;
        /* What is launched must not depend on how many tokens there happen to be. */
        a->selects[l] = a->whole ? l >= first_prune && retention_p(&plan, l) > 0 : a->k[l] > 0;
        bool needed = l >= plan.tds_start || (a->selects[l] && a->ask.policy->uses_scores);
        a->scores_of[l] = needed ? scores : -1;
        scores += needed ? a->n[l] : 0;
    }
    double *sum = realloc(a->S_sum, ((size_t)n_0 + 1) * sizeof *sum);
    if (!sum)
        return omnid_fail(err, OMNID_NOMEM, "no memory for the scores of %lld tokens", (long long)n_0);
    a->S_sum = sum;
    a->max_keys = answer_key_bucket(n_0);
    size_t n_lists = (size_t)(a->list_of[n_layers - 1] + a->n[n_layers - 1]) + 1;
    /* Rounded up: what the next question needs is there already, hardly ever asked for. */
    n_lists = (size_t)answer_key_bucket((int64_t)n_lists);
    size_t n_scores = (size_t)answer_key_bucket(scores + 1),
           n_rows = (size_t)answer_key_bucket(n_0 + a->ask.query.n + 1);
    OMNID_TRY(buffer_reserve(&e->memory, &a->lists, n_lists * sizeof(kernels_key), err));
    OMNID_TRY(buffer_reserve(&e->memory, &a->S, n_scores * sizeof(float), err));
    return buffer_reserve(&e->memory, &a->rows, n_rows * sizeof(int32_t), err);
}

void answer_describe(const answer *a, int layer, row_set *r, int set, int n_before)
{
    bool listed = layer<a->listed_layers, leaves = a->k[layer]> 0;
    row_set_describe(
        r, set,
        &(kernels_descriptor){.n_prefix = a->timeline->prefix_ids.n,
                              .n_keys = listed ? (int32_t)a->n[layer] : 0,
                              .n_score = (int32_t)a->n[layer],
                              .k_leave = (int32_t)a->k[layer],
                              .tds = layer >= a->ask.plan.tds_start,
                              .c_last = a->c_last,
                              .lambda = a->ask.plan.lambda,
                              .prefix = a->timeline->prefix_kv.layers[layer],
                              .own = a->own.layers[layer],
                              .pages = listed ? page_view_table(&a->view, layer) : NULL,
                              .keys = listed ? answer_list(a, layer) : NULL,
                              .scored = answer_list(a, layer),
                              .S = a->scores_of[layer] < 0 ? NULL : (float *)a->S.data + a->scores_of[layer],
                              .keys_out = leaves ? answer_list(a, layer + 1) : NULL,
                              .kept = leaves && !listed ? a->rows.data : NULL});
    for (int c = 0; c < r->n_chunks; c++) {
        kernels_descriptor *d = row_set_descriptor(r, set, c);
        int first = a->ask.first_score_row - (r->first[c] - n_before);
        d->first_score_row = first < 0 ? 0 : first < d->n_rows ? first : d->n_rows;
    }
}

/* A question of more rows than a slice: the chunks' means, weighted by their rows, add up on the host. */
static omnid_status add_chunk(answer *a, row_set *r, int chunk, int n_scored, float *S, omnid_error *err)
{
    omnid_engine *e = a->timeline->engine;
    int64_t n = a->n[a->layer];
    int total = a->ask.query.n - a->ask.first_score_row;
    float *part = malloc(((size_t)n + 1) * sizeof *part);
    if (!part)
        return omnid_fail(err, OMNID_NOMEM, "no memory for the scores of %lld tokens", (long long)n);
    e->ops->download(e->stream, part, S, (size_t)n * sizeof *part);
    for (int64_t i = 0; i < n; i++)
        a->S_sum[i] += (double)part[i] * n_scored / total;
    for (int64_t i = 0; i < n; i++)
        part[i] = (float)a->S_sum[i];
    if (chunk == r->n_chunks - 1)
        e->ops->upload(e->stream, S, part, (size_t)n * sizeof *part);
    free(part);
    return kernels_stream_status(e->stream, err);
}

omnid_status answer_score(answer *a, row_set *r, int chunk, int query_row, omnid_error *err)
{
    omnid_engine *e = a->timeline->engine;
    const kernels_descriptor *d = row_set_descriptor(r, r->set, chunk);
    int n_scored = d->n_rows - d->first_score_row, total = a->ask.query.n - a->ask.first_score_row;
    if (a->scores_of[a->layer] < 0 || n_scored <= 0 || query_row + d->n_rows <= 0 || a->n[a->layer] == 0)
        return OMNID_OK;
    decoder_score(&e->decoder, r, chunk, a->max_keys);
    if (n_scored == total)
        return kernels_stream_status(e->stream, err);
    if (query_row + d->first_score_row <= a->ask.first_score_row)
        memset(a->S_sum, 0, (size_t)a->n[a->layer] * sizeof *a->S_sum);
    return add_chunk(a, r, chunk, n_scored, d->S, err);
}

omnid_status answer_select(answer *a, const row_set *r, omnid_error *err)
{
    omnid_engine *e = a->timeline->engine;
    int l = a->layer, last = r->n_chunks - 1;
    if (a->k[l] == 0)
        return OMNID_OK;
    prune_call call = {.stream = e->stream,
                       .layer = l,
                       .seed = a->ask.seed,
                       .descriptor = row_set_uploaded(r, r->set, last),
                       .max_keys = a->max_keys,
                       .in = answer_list(a, l),
                       .n = (int)a->n[l],
                       .k = (int)a->k[l],
                       .out = answer_list(a, l + 1),
                       .kept = row_set_descriptor(r, r->set, last)->kept};
    return a->ask.policy->leave(&call, err);
}
