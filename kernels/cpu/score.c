/* score.c     S_j = mean over heads and over query rows first_score_row .. n_rows - 1 of e^(q·k_j / sqrt(head_dim) - lse)
 * A row of the own page counts zero for the query rows that do not see it; so does a query row that sees nothing.
 *
 * K alone is read, each block once a key head, against all panels of query columns. A key's sum is kept in the lanes of one
 * vector over all panels, in order, then added up; the key heads after that: the same numbers with any number of threads. */
#include "kernels/cpu/blocks.h"
#include "kernels/cpu/queries.h"

#include <math.h>

typedef struct {
    const kernels_attention *a;
    queries q;
    blocks_plan plan;
    float scale;
    int64_t columns; /* with padding, of a key head */
    float *packed;   /* [n_classes][n_kv_heads][depth * columns] */
    float *norm;     /* [n_kv_heads][columns] lse in units of log2; 1e30 for a column that counts nothing */
    double *sums;    /* [n_kv_heads][n_score] */
    float *work;     /* [threads][work_size] */
    size_t work_size;
} score_job;

static panel score_panel(const score_job *job, int kv_head, int p, int cls)
{
    int64_t column = queries_column(&job->q, p), set = (int64_t)cls * job->a->n_kv_heads + kv_head;
    return (panel){.vectors = queries_width(&job->q, p) / job->q.ops->lanes,
                   .q = job->packed + (set * job->columns + column) * job->q.depth,
                   .m = job->norm + kv_head * job->columns + column};
}

static void score_pack(const score_job *job, const tensor *lse, int64_t item)
{
    int p = (int)(item % job->q.n_panels);
    int kv_head = (int)(item / job->q.n_panels % job->a->n_kv_heads);
    int cls = (int)(item / job->q.n_panels / job->a->n_kv_heads);
    panel to = score_panel(job, kv_head, p, cls);
    queries_pack(&job->q, (float *)to.q, cls, kv_head, p);
    if (cls > 0)
        return;
    int64_t column = queries_column(&job->q, p);
    int width = queries_width(&job->q, p);
    for (int c = 0; c < width; c++) {
        to.m[c] = 1e30f;
        if (column + c >= job->q.n_columns)
            continue;
        const float *row = tensor_row(lse, job->q.first_row + (column + c) / job->q.group);
        float norm = row[kv_head * job->q.group + (column + c) % job->q.group];
        if (norm > -INFINITY)
            to.m[c] = norm * 1.44269504088896341f;
    }
}

/* Columns that do not see key j of a causal block count nothing for it: one key at a time, which is seldom needed. */
static void score_causal(const score_job *job, const panel *p, const panel_block *keys, const int32_t *limit, int width,
                         float *sums, float *scratch)
{
    float norm[PANEL_VECTORS * PANEL_LANES] __attribute__((aligned(64)));
    panel masked = *p;
    masked.m = norm;
    for (int j = 0; j < keys->n; j++) {
        panel_block one = {.k = keys->k + j * keys->k_stride, .k_stride = keys->k_stride, .n = 1};
        for (int c = 0; c < width; c++)
            norm[c] = j < limit[c] ? p->m[c] : 1e30f;
        job->q.ops->weigh(&masked, &one, job->a->head_dim, job->scale, sums + j * job->q.ops->lanes, scratch);
    }
}

static void score_item(const score_job *job, int64_t item)
{
    const blocks_block *block = &job->plan.list[item % job->plan.n];
    int kv_head = (int)(item / job->plan.n), lanes = job->q.ops->lanes;
    float *k = job->work + (size_t)cpu_thread() * job->work_size;
    float *scratch = k + blocks_load_size(job->a->head_dim), *sums = scratch + PANEL_KEYS * PANEL_VECTORS * PANEL_LANES;
    panel_block keys = blocks_load(block, job->a, kv_head, job->q.ops, k, NULL);
    for (int i = 0; i < block->n * lanes; i++)
        sums[i] = 0;
    for (int p = 0; p < job->q.n_panels; p++) {
        panel from = score_panel(job, kv_head, p, block->cls);
        int32_t limit[PANEL_VECTORS * PANEL_LANES];
        bool all = true;
        int width = queries_width(&job->q, p);
        if (block->causal)
            blocks_limits(block, limit, width, queries_column(&job->q, p), job->q.group, job->q.first_row,
                          job->a->descriptors->own_first, &all);
        if (all)
            job->q.ops->weigh(&from, &keys, job->a->head_dim, job->scale, sums, scratch);
        else
            score_causal(job, &from, &keys, limit, width, sums, scratch);
    }
    for (int j = 0; j < block->n; j++) {
        double sum = 0;
        for (int i = 0; i < lanes; i++)
            sum += (double)sums[j * lanes + i];
        int64_t place = block->keys ? block->keys[j].place : block->first.place + j;
        job->sums[(int64_t)kv_head * job->a->descriptors->n_score + place] = sum;
    }
}

static bool score_memory(kernels_stream *s, score_job *job, int n_threads)
{
    const kernels_attention *a = job->a;
    size_t columns = (size_t)(job->columns = job->q.n_vectors * job->q.ops->lanes);
    job->work_size =
        blocks_load_size(a->head_dim) + PANEL_KEYS * PANEL_VECTORS * PANEL_LANES + PANEL_KEYS * PANEL_LANES;
    job->packed = cpu_scratch(s, (size_t)(a->n_classes * a->n_kv_heads * job->q.depth) * columns * sizeof(float));
    job->norm = cpu_scratch(s, (size_t)a->n_kv_heads * columns * sizeof(float));
    job->sums = cpu_scratch(s, (size_t)a->n_kv_heads * (size_t)a->descriptors->n_score * sizeof(double));
    job->work = cpu_scratch(s, (size_t)n_threads * job->work_size * sizeof(float));
    return job->packed && job->norm && job->sums && job->work;
}

void cpu_score(kernels_stream *s, const tensor *lse, const kernels_attention *a, int64_t max_keys)
{
    if (!cpu_begin(s) || !check_score(s, lse, a, max_keys) || !check_attention_descriptors(s, "score", NULL, lse, a) ||
        !check_score_descriptor(s, a, max_keys))
        return;
    const kernels_descriptor *d = a->descriptors;
    int64_t n_rows = (int64_t)d->n_rows - d->first_score_row;
    for (int64_t j = 0; n_rows <= 0 && j < d->n_score; j++)
        d->S[j] = 0;
    if (n_rows <= 0 || d->n_score <= 0)
        return;
    score_job job = {.a = a, .scale = (float)(1.44269504088896340736 / sqrt(a->head_dim))};
    job.q = queries_make(panel_for(a->dtype), a->q, a->n_heads, a->n_kv_heads, a->head_dim, a->max_rows,
                         d->first_score_row, n_rows);
    if (!blocks_open(s, &job.plan, a, d->n_score))
        return;
    blocks_add_keys(&job.plan, d->scored, d->n_score, d->first_score_row);
    blocks_finish(&job.plan);
    int64_t n_packs = (int64_t)a->n_classes * a->n_kv_heads * job.q.n_panels;
    int64_t n_items = (int64_t)a->n_kv_heads * job.plan.n;
    int n_threads = cpu_threads(s, d->n_score * job.q.n_columns * a->head_dim / 32);
    if (!score_memory(s, &job, n_threads))
        return;
#pragma omp parallel num_threads(n_threads) if (n_threads > 1)
    {
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < n_packs; i++)
            score_pack(&job, lse, i);
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < n_items; i++)
            score_item(&job, i);
#pragma omp for
        for (int64_t j = 0; j < d->n_score; j++) {
            double sum = 0;
            for (int h = 0; h < a->n_kv_heads; h++)
                sum += job.sums[(int64_t)h * d->n_score + j];
            d->S[j] = (float)(sum / ((double)n_rows * a->n_heads));
        }
    }
}
