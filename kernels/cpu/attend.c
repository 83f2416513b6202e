/* attend.c     out = softmax(q kᵀ / sqrt(head_dim)) v over prefix rows, listed keys and rows 0 .. own_first + i of the own
 * page of query row i; each key meets the query of its own class.     lse = ln Σ e^score
 *
 * One pass over the keys in blocks (blocks.h) for panels of query columns (panel.h). The work is cut into items of (key
 * head, a chunk of panels, a split of the blocks); the cut depends on the shapes alone, and splits are merged in order, so
 * the numbers are the same with any number of threads. */
#include "kernels/cpu/blocks.h"
#include "kernels/cpu/queries.h"

#include <math.h>

enum {
    ATTEND_CHUNK = 8,       /* panels that share a loaded block: their state fits a second-level cache */
    ATTEND_ITEMS = 48,      /* enough for many cores to share evenly */
    ATTEND_SPLIT_KEYS = 512 /* a split is at least so long: merging has its price */
};

typedef struct {
    const kernels_attention *a;
    queries q;
    blocks_plan plan;
    float scale; /* log2(e) / sqrt(head_dim) */
    int n_chunks, n_splits;
    int32_t *split;   /* [n_splits + 1] first block */
    int64_t columns;  /* with padding, of a key head */
    float *packed;    /* [n_classes][n_kv_heads][depth * columns] */
    float *o, *m, *l; /* [n_splits][n_kv_heads][head_dim * columns], [columns] */
    float *work;      /* [threads][work_size] */
    size_t work_size;
    tensor *out, *lse;
} attend_job;

static float *attend_work(const attend_job *job, int part)
{
    float *work = job->work + (size_t)cpu_thread() * job->work_size;
    return work + (size_t)part * blocks_load_size(job->a->head_dim);
}

static panel attend_panel(const attend_job *job, int split, int kv_head, int p, int cls)
{
    int64_t set = (int64_t)split * job->a->n_kv_heads + kv_head, column = queries_column(&job->q, p);
    int64_t queries_set = (int64_t)cls * job->a->n_kv_heads + kv_head;
    return (panel){.vectors = queries_width(&job->q, p) / job->q.ops->lanes,
                   .q = job->packed + (queries_set * job->columns + column) * job->q.depth,
                   .o = job->o + (set * job->columns + column) * job->a->head_dim,
                   .m = job->m + set * job->columns + column,
                   .l = job->l + set * job->columns + column};
}

static void attend_pack(const attend_job *job, int64_t item)
{
    int p = (int)(item % job->q.n_panels);
    int kv_head = (int)(item / job->q.n_panels % job->a->n_kv_heads);
    int cls = (int)(item / job->q.n_panels / job->a->n_kv_heads);
    panel to = attend_panel(job, 0, kv_head, p, cls);
    queries_pack(&job->q, (float *)to.q, cls, kv_head, p);
}

/* One block for the panels first .. end - 1. */
static void attend_block(const attend_job *job, int split, int kv_head, const blocks_block *block, int first, int end)
{
    const kernels_attention *a = job->a;
    float *scratch = attend_work(job, 2);
    int32_t limit[PANEL_VECTORS * PANEL_LANES] __attribute__((aligned(64)));
    panel_block keys = {.n = 0};
    for (int p = first; p < end; p++) {
        panel to = attend_panel(job, split, kv_head, p, block->cls);
        bool all = true;
        int n = block->n;
        if (block->causal)
            n = blocks_limits(block, limit, queries_width(&job->q, p), queries_column(&job->q, p), job->q.group, 0,
                              a->descriptors->own_first, &all);
        if (n == 0)
            continue;
        if (keys.n == 0)
            keys = blocks_load(block, a, kv_head, job->q.ops, attend_work(job, 0), attend_work(job, 1));
        panel_block seen = keys;
        seen.n = n;
        job->q.ops->step(&to, &seen, a->head_dim, job->scale, all ? NULL : limit, scratch);
    }
}

static void attend_item(const attend_job *job, int64_t item)
{
    int split = (int)(item % job->n_splits);
    int chunk = (int)(item / job->n_splits % job->n_chunks);
    int kv_head = (int)(item / job->n_splits / job->n_chunks);
    int first = (int)((int64_t)job->q.n_panels * chunk / job->n_chunks);
    int end = (int)((int64_t)job->q.n_panels * (chunk + 1) / job->n_chunks);
    for (int p = first; p < end; p++) {
        panel to = attend_panel(job, split, kv_head, p, 0);
        job->q.ops->clear(&to, job->a->head_dim);
    }
    for (int b = job->split[split]; b < job->split[split + 1]; b++)
        attend_block(job, split, kv_head, &job->plan.list[b], first, end);
}

/* Adds split `from` to split 0: both scaled to the higher m. */
static void attend_merge(panel *to, const panel *from, int width, int head_dim)
{
    float keep[PANEL_VECTORS * PANEL_LANES], add[PANEL_VECTORS * PANEL_LANES];
    for (int c = 0; c < width; c++) {
        float m = to->m[c] > from->m[c] ? to->m[c] : from->m[c];
        keep[c] = exp2f(to->m[c] - m);
        add[c] = exp2f(from->m[c] - m);
        to->m[c] = m;
        to->l[c] = to->l[c] * keep[c] + from->l[c] * add[c];
    }
    for (int d = 0; d < head_dim; d++)
        for (int c = 0; c < width; c++)
            to->o[(int64_t)d * width + c] =
                to->o[(int64_t)d * width + c] * keep[c] + from->o[(int64_t)d * width + c] * add[c];
}

/* Merges the splits of one panel and writes its columns as rows. */
static void attend_write(const attend_job *job, int64_t item)
{
    int p = (int)(item % job->q.n_panels), kv_head = (int)(item / job->q.n_panels);
    int width = queries_width(&job->q, p), hd = job->a->head_dim;
    int64_t column = queries_column(&job->q, p);
    panel sum = attend_panel(job, 0, kv_head, p, 0);
    for (int split = 1; split < job->n_splits; split++) {
        panel from = attend_panel(job, split, kv_head, p, 0);
        attend_merge(&sum, &from, width, hd);
    }
    queries_unpack(&job->q, job->out, &sum, kv_head, p);
    for (int c = 0; job->lse && c < width && column + c < job->q.n_columns; c++) {
        float *row = tensor_row(job->lse, (column + c) / job->q.group);
        row[kv_head * job->q.group + (column + c) % job->q.group] =
            sum.l[c] > 0 ? (sum.m[c] + log2f(sum.l[c])) * 0.693147180559945309f : -INFINITY;
    }
}

/* Blocks of all keys; false: the stream has failed. */
static bool attend_plan(kernels_stream *s, attend_job *job, const kernels_attention *a)
{
    const kernels_descriptor *d = a->descriptors;
    int64_t n_own = (int64_t)d->own_first + d->n_rows;
    n_own = d->own.k && n_own > 0 ? n_own : 0;
    if (!blocks_open(s, &job->plan, a, d->n_prefix + d->n_keys + n_own))
        return false;
    if (d->n_prefix > 0)
        blocks_add_rows(&job->plan, &d->prefix, d->n_prefix, false);
    blocks_add_keys(&job->plan, d->keys, d->n_keys, 0);
    blocks_add_rows(&job->plan, &d->own, n_own, true);
    blocks_finish(&job->plan);
    return true;
}

/* Cuts the work; the splits get whole blocks and about the same number of keys. */
static bool attend_cut(kernels_stream *s, attend_job *job)
{
    const blocks_plan *plan = &job->plan;
    job->n_chunks = (job->q.n_panels + ATTEND_CHUNK - 1) / ATTEND_CHUNK;
    int64_t most = ATTEND_ITEMS / ((int64_t)job->n_chunks * job->a->n_kv_heads),
            wanted = plan->n_keys / ATTEND_SPLIT_KEYS;
    int64_t n = wanted < most ? wanted : most;
    job->n_splits = n < 1 ? 1 : (int)n;
    job->split = cpu_scratch(s, (size_t)(job->n_splits + 1) * sizeof *job->split);
    if (!job->split)
        return false;
    int64_t seen = 0;
    int split = 0;
    for (int b = 0; b < plan->n; b++) {
        while (split <= job->n_splits && seen * job->n_splits >= split * plan->n_keys)
            job->split[split++] = b;
        seen += plan->list[b].n;
    }
    while (split <= job->n_splits)
        job->split[split++] = plan->n;
    return true;
}

static bool attend_memory(kernels_stream *s, attend_job *job, int n_threads)
{
    const kernels_attention *a = job->a;
    size_t columns = (size_t)(job->columns = job->q.n_vectors * job->q.ops->lanes);
    size_t sets = (size_t)job->n_splits * (size_t)a->n_kv_heads;
    job->work_size = 2 * blocks_load_size(a->head_dim) + PANEL_KEYS * PANEL_VECTORS * PANEL_LANES;
    job->work_size = (job->work_size + 15) / 16 * 16;
    job->packed = cpu_scratch(s, (size_t)(a->n_classes * a->n_kv_heads * job->q.depth) * columns * sizeof(float));
    job->o = cpu_scratch(s, sets * (size_t)a->head_dim * columns * sizeof(float));
    job->m = cpu_scratch(s, sets * columns * sizeof(float));
    job->l = cpu_scratch(s, sets * columns * sizeof(float));
    job->work = cpu_scratch(s, (size_t)n_threads * job->work_size * sizeof(float));
    return job->packed && job->o && job->m && job->l && job->work;
}

/* One set; out and lse: its rows. */
static void attend_set(kernels_stream *s, tensor *out, tensor *lse, const kernels_attention *a)
{
    if (!cpu_begin(s) || a->descriptors->n_rows <= 0)
        return;
    attend_job job = {.a = a, .out = out, .lse = lse};
    job.scale = (float)(1.44269504088896340736 / sqrt(a->head_dim));
    job.q = queries_make(panel_for(a->dtype), a->q, a->n_heads, a->n_kv_heads, a->head_dim, a->max_rows, 0,
                         a->descriptors->n_rows);
    if (!attend_plan(s, &job, a) || !attend_cut(s, &job))
        return;
    int64_t n_packs = (int64_t)a->n_classes * a->n_kv_heads * job.q.n_panels;
    int64_t n_items = (int64_t)a->n_kv_heads * job.n_chunks * job.n_splits;
    int64_t n_writes = (int64_t)a->n_kv_heads * job.q.n_panels;
    int n_threads = cpu_threads(s, job.plan.n_keys * job.q.n_columns * a->head_dim / 16);
    if (!attend_memory(s, &job, n_threads))
        return;
#pragma omp parallel num_threads(n_threads) if (n_threads > 1)
    {
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < n_packs; i++)
            attend_pack(&job, i);
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < n_items; i++)
            attend_item(&job, i);
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < n_writes; i++)
            attend_write(&job, i);
    }
}

void cpu_attend(kernels_stream *s, tensor *out, tensor *lse, const kernels_attention *a)
{
    if (!cpu_begin(s) || !check_attention(s, "attend", out, lse, a) ||
        !check_attention_descriptors(s, "attend", out, lse, a))
        return;
    int64_t rows = a->max_rows / a->n_sets;
    for (int i = 0; i < a->n_sets; i++) {
        tensor q, set_out = tensor_rows(out, i * rows, rows), set_lse = lse ? tensor_rows(lse, i * rows, rows) : *out;
        kernels_attention set = kernels_attention_set(a, i, &q);
        attend_set(s, &set_out, lse ? &set_lse : NULL, &set);
    }
}
