/* encoder_attention.c     y = softmax(q kᵀ / sqrt(head_dim)) v inside each span of rows
 * qkv: [n][3 d]     y: [n][d]     saliency[j] = mean over heads and over rows i of j's span of the probability i -> j.
 *
 * An item of work is one head of one span. Float32 keys and values are read where they lie in qkv. The saliency takes a
 * second product of queries and keys, as the score of the decoder does, so no matrix of probabilities is kept. */
#include "kernels/cpu/blocks.h"
#include "kernels/cpu/queries.h"

#include <math.h>
#include <string.h>

enum { ENCODER_CHUNK = 8 /* panels that share a loaded block */ };

typedef struct {
    const tensor *qkv;
    tensor *y;
    int n_heads, head_dim, n_spans;
    const int32_t *spans;
    const panel_ops *ops;
    float scale;  /* log2(e) / sqrt(head_dim) */
    double *seen; /* [n_heads][n rows] Σ of probabilities, or NULL */
    float *work;  /* [threads][work_size] */
    size_t work_size;
} encoder_job;

/* One thread's scratch. */
typedef struct {
    float *q, *o;  /* [ENCODER_CHUNK][head_dim][width] */
    float *m, *l;  /* [ENCODER_CHUNK][width] */
    float *k, *v;  /* a loaded block */
    float *scores; /* of a step */
    float *sums;   /* [PANEL_KEYS][lanes] */
} encoder_work;

enum { ENCODER_WIDTH = PANEL_VECTORS * PANEL_LANES };

static size_t encoder_work_size(int head_dim)
{
    size_t panel_size = (size_t)ENCODER_CHUNK * ENCODER_WIDTH;
    return 2 * panel_size * (size_t)head_dim + 2 * panel_size + 2 * blocks_load_size(head_dim) +
           (size_t)PANEL_KEYS * (ENCODER_WIDTH + PANEL_LANES);
}

static encoder_work encoder_work_of(const encoder_job *job)
{
    size_t panel_size = (size_t)ENCODER_CHUNK * ENCODER_WIDTH;
    encoder_work w;
    w.q = job->work + (size_t)cpu_thread() * job->work_size;
    w.o = w.q + panel_size * (size_t)job->head_dim;
    w.m = w.o + panel_size * (size_t)job->head_dim;
    w.l = w.m + panel_size;
    w.k = w.l + panel_size;
    w.v = w.k + blocks_load_size(job->head_dim);
    w.scores = w.v + blocks_load_size(job->head_dim);
    w.sums = w.scores + (size_t)PANEL_KEYS * ENCODER_WIDTH;
    return w;
}

static const char *encoder_row(const encoder_job *job, int64_t row, int part, int head)
{
    int64_t column = ((int64_t)part * job->n_heads + head) * job->head_dim;
    return (const char *)tensor_row(job->qkv, row) + column * (int64_t)kernels_dtype_size(job->qkv->dtype);
}

/* Keys first .. first + n - 1 of a span, and their values unless v is NULL. */
static panel_block encoder_load(const encoder_job *job, int64_t first, int n, int head, float *k, float *v)
{
    int hd = job->head_dim, depth = job->ops->pairs ? (hd + 1) / 2 : hd;
    panel_block b = {.k = k, .k_stride = depth, .v = v, .n = n, .n_packed = n};
    if (job->qkv->dtype == KERNELS_F32) {
        b.k = (const float *)encoder_row(job, first, 1, head);
        b.k_stride = job->qkv->stride;
        for (int i = 0; v && i < n; i++)
            panel_pack_f32(v, (const float *)encoder_row(job, first + i, 2, head), i, n, hd);
        return b;
    }
    for (int i = 0; i < n; i++) {
        const uint16_t *from = (const uint16_t *)encoder_row(job, first + i, 1, head);
        if (job->ops->pairs) {
            k[(int64_t)i * depth + depth - 1] = 0; /* an odd head_dim ends in half a pair */
            memcpy(k + (int64_t)i * depth, from, (size_t)hd * sizeof *from);
        } else {
            for (int d = 0; d < hd; d++)
                k[(int64_t)i * hd + d] = f32_from_bf16(from[d]);
        }
    }
    for (int i = 0; v && i < n; i += job->ops->pairs ? 2 : 1) {
        const uint16_t *lo = (const uint16_t *)encoder_row(job, first + i, 2, head);
        const uint16_t *hi = i + 1 < n ? (const uint16_t *)encoder_row(job, first + i + 1, 2, head) : NULL;
        if (job->ops->pairs)
            panel_pack_pairs(v, lo, hi, i, n, hd);
        else
            panel_pack_bf16(v, lo, i, n, hd);
    }
    return b;
}

static panel encoder_panel(const encoder_job *job, const encoder_work *w, const queries *q, int slot, int p)
{
    size_t at = (size_t)slot * ENCODER_WIDTH;
    return (panel){.vectors = queries_width(q, p) / job->ops->lanes,
                   .q = w->q + at * (size_t)job->head_dim,
                   .o = w->o + at * (size_t)job->head_dim,
                   .m = w->m + at,
                   .l = w->l + at};
}

/* Adds the probabilities of a chunk's columns to job->seen. */
static void encoder_see(const encoder_job *job, const encoder_work *w, const queries *q, int first, int end, int head)
{
    int64_t span = q->first_row, n = q->n_columns;
    for (int p = first; p < end; p++) {
        panel from = encoder_panel(job, w, q, p - first, p);
        for (int c = 0; c < queries_width(q, p); c++)
            from.m[c] = queries_column(q, p) + c < n ? from.m[c] + log2f(from.l[c]) : 1e30f;
    }
    for (int64_t j = 0; j < n; j += PANEL_KEYS) {
        int n_keys = n - j < PANEL_KEYS ? (int)(n - j) : PANEL_KEYS, lanes = job->ops->lanes;
        panel_block keys = encoder_load(job, span + j, n_keys, head, w->k, NULL);
        for (int i = 0; i < n_keys * lanes; i++)
            w->sums[i] = 0;
        for (int p = first; p < end; p++) {
            panel from = encoder_panel(job, w, q, p - first, p);
            job->ops->weigh(&from, &keys, job->head_dim, job->scale, w->sums, w->scores);
        }
        double *seen = job->seen + (int64_t)head * job->qkv->dim[0] + span + j;
        for (int i = 0; i < n_keys; i++)
            for (int lane = 0; lane < lanes; lane++)
                seen[i] += (double)w->sums[i * lanes + lane];
    }
}

static void encoder_chunk(const encoder_job *job, const queries *q, int first, int end, int head)
{
    encoder_work w = encoder_work_of(job);
    int64_t span = q->first_row, n = q->n_columns;
    for (int p = first; p < end; p++) {
        panel to = encoder_panel(job, &w, q, p - first, p);
        queries_pack(q, (float *)to.q, 0, head, p);
        job->ops->clear(&to, job->head_dim);
    }
    int64_t n_blocks = (n + PANEL_KEYS - 1) / PANEL_KEYS;
    for (int64_t b = 0; b < n_blocks; b++) {
        int64_t j = n * b / n_blocks, next = n * (b + 1) / n_blocks;
        panel_block keys = encoder_load(job, span + j, (int)(next - j), head, w.k, w.v);
        for (int p = first; p < end; p++) {
            panel to = encoder_panel(job, &w, q, p - first, p);
            job->ops->step(&to, &keys, job->head_dim, job->scale, NULL, w.scores);
        }
    }
    for (int p = first; p < end; p++) {
        panel from = encoder_panel(job, &w, q, p - first, p);
        queries_unpack(q, job->y, &from, head, p);
    }
    if (job->seen)
        encoder_see(job, &w, q, first, end, head);
}

static void encoder_item(const encoder_job *job, int64_t item)
{
    int head = (int)(item % job->n_heads);
    const int32_t *span = job->spans + item / job->n_heads;
    if (span[1] <= span[0])
        return;
    queries q =
        queries_make(job->ops, job->qkv, job->n_heads, job->n_heads, job->head_dim, 0, span[0], span[1] - span[0]);
    for (int64_t i = span[0]; job->seen && i < span[1]; i++)
        job->seen[(int64_t)head * job->qkv->dim[0] + i] = 0;
    int n_chunks = (q.n_panels + ENCODER_CHUNK - 1) / ENCODER_CHUNK;
    for (int i = 0; i < n_chunks; i++)
        encoder_chunk(job, &q, q.n_panels * i / n_chunks, q.n_panels * (i + 1) / n_chunks, head);
}

static void encoder_saliency(const encoder_job *job, float *saliency, int span)
{
    int64_t n = job->spans[span + 1] - job->spans[span];
    for (int64_t i = job->spans[span]; i < job->spans[span + 1]; i++) {
        double sum = 0;
        for (int head = 0; head < job->n_heads; head++)
            sum += job->seen[(int64_t)head * job->qkv->dim[0] + i];
        saliency[i] = (float)(sum / ((double)n * job->n_heads));
    }
}

void cpu_encoder_attention(kernels_stream *s, tensor *y, const tensor *qkv, int n_heads, int head_dim,
                           const int32_t *spans, int n_spans, tensor *saliency)
{
    if (!cpu_begin(s) || !check_encoder_attention(s, y, qkv, n_heads, head_dim, spans, n_spans, saliency))
        return;
    encoder_job job = {.qkv = qkv,
                       .y = y,
                       .n_heads = n_heads,
                       .head_dim = head_dim,
                       .n_spans = n_spans,
                       .spans = spans,
                       .ops = panel_for(qkv->dtype),
                       .scale = (float)(1.44269504088896340736 / sqrt(head_dim)),
                       .work_size = encoder_work_size(head_dim)};
    int64_t work = 0;
    for (int i = 0; i < n_spans; i++)
        work += (int64_t)(spans[i + 1] - spans[i]) * (spans[i + 1] - spans[i]) * n_heads * head_dim / 16;
    int n_threads = cpu_threads(s, work);
    job.work = cpu_scratch(s, (size_t)n_threads * job.work_size * sizeof(float));
    if (saliency)
        job.seen = cpu_scratch(s, (size_t)n_heads * (size_t)qkv->dim[0] * sizeof(double));
    if (!job.work || (saliency && !job.seen))
        return;
    int64_t n_items = (int64_t)n_spans * n_heads;
#pragma omp parallel num_threads(n_threads) if (n_threads > 1)
    {
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < n_items; i++)
            encoder_item(&job, i);
#pragma omp for
        for (int i = 0; i < n_spans; i++)
            if (saliency)
                encoder_saliency(&job, saliency->data, i);
    }
}
