/* sample.c: the next token of one row of logits [v]; reference/sample.c says by which rule, and this gives the same token.
 * Tokens are put into buckets by their distance from the highest logit, and a bucket is sorted when the walk down from the
 * highest reaches it: of 150,000 tokens a few hundred are ever sorted. */
#include "kernels/cpu/cpu.h"
#include "kernels/number.h"

#include <math.h>

enum { N_BUCKETS = 1024, BUCKETS_A_NAT = 8 };

typedef struct {
    int64_t v;
    float *logits;   /* [v] penalised */
    double *p;       /* [v] mass relative to the highest, by id */
    uint64_t *order; /* [v] descending order of logit above, id below; bucket by bucket, sorted up to n_sorted */
    int64_t end[N_BUCKETS];
    int64_t n_sorted;
    int bucket; /* the next to sort */
} sampler;

/* Logits with penalty into x->logits; returns the place of the first highest. */
static int64_t sample_load(sampler *x, const float *logits, const tensor *seen, float penalty)
{
    for (int64_t i = 0; i < x->v; i++)
        x->logits[i] = logits[i] == logits[i] ? logits[i] : -INFINITY;
    const int32_t *id = seen ? seen->data : NULL;
    for (int64_t i = 0; seen && i < seen->dim[0]; i++)
        if (id[i] >= 0 && id[i] < x->v) {
            float l = logits[id[i]]; /* as it was: an id that is listed twice is penalised once */
            x->logits[id[i]] = l != l ? -INFINITY : l < 0 ? l * penalty : l / penalty;
        }
    int64_t best = 0;
    for (int64_t i = 1; i < x->v; i++)
        if (x->logits[i] > x->logits[best])
            best = i;
    return best;
}

static int sample_bucket(const sampler *x, float highest, float temperature, int64_t i)
{
    double place = ((double)highest - (double)x->logits[i]) / (double)temperature * BUCKETS_A_NAT;
    return place < N_BUCKETS - 1 ? (int)place : N_BUCKETS - 1;
}

/* Puts ids into x->order bucket by bucket. */
static void sample_sort_into_buckets(sampler *x, float highest, float temperature)
{
    int64_t first[N_BUCKETS] = {0}, n = 0;
    for (int64_t i = 0; i < x->v; i++)
        first[sample_bucket(x, highest, temperature, i)]++;
    for (int b = 0; b < N_BUCKETS; b++) {
        int64_t count = first[b];
        first[b] = n;
        n += count;
        x->end[b] = n;
    }
    for (int64_t i = 0; i < x->v; i++)
        x->order[first[sample_bucket(x, highest, temperature, i)]++] =
            (uint64_t)~number_order(x->logits[i]) << 32 | (uint64_t)i;
}

/* Id of the i-th token in descending order. */
static int32_t sample_id(sampler *x, int64_t i)
{
    while (i >= x->n_sorted) {
        int64_t end = x->end[x->bucket++];
        cpu_sort_keys(x->order + x->n_sorted, end - x->n_sorted);
        x->n_sorted = end;
    }
    return (int32_t)(x->order[i] & 0xffffffffu);
}

static int32_t sample_draw(sampler *x, double total, double top_p, double u)
{
    int64_t n = x->v;
    double kept = total, running = 0;
    int32_t last = sample_id(x, 0);
    if (top_p < 1)
        for (n = 0, kept = 0; n < x->v && x->p[sample_id(x, n)] > 0 && kept < top_p * total; n++)
            kept += x->p[sample_id(x, n)];
    for (int64_t i = 0; i < n; i++) {
        int32_t id = sample_id(x, i);
        if (!(x->p[id] > 0))
            break;
        last = id;
        running += x->p[id];
        if (running > u * kept)
            break;
    }
    return last;
}

void cpu_sample(kernels_stream *s, int32_t *out, const tensor *logits, const tensor *seen, const kernels_sampling *p,
                double u)
{
    if (!cpu_begin(s) || !check_sample(s, logits, seen, p, u))
        return;
    sampler x = {.v = logits->dim[0] * tensor_cols(logits)};
    size_t v = (size_t)x.v;
    x.logits = cpu_scratch(s, v * sizeof *x.logits);
    if (!x.logits)
        return;
    int64_t best = sample_load(&x, logits->data, seen, p->repetition_penalty);
    float highest = x.logits[best];
    if (highest == -INFINITY)
        kernels_stream_fail(s, OMNID_FORMAT, "sample: none of %lld logits is a number above -infinity", (long long)x.v);
    *out = (int32_t)best;
    if (!(p->temperature > 0) || !isfinite(highest))
        return;
    x.p = cpu_scratch(s, v * sizeof *x.p);
    x.order = x.p ? cpu_scratch(s, v * sizeof *x.order) : NULL;
    if (!x.order)
        return;
    double total = 0;
#pragma omp parallel for num_threads(cpu_threads(s, 8 * x.v))
    for (int64_t i = 0; i < x.v; i++)
        x.p[i] = exp(((double)x.logits[i] - (double)highest) / (double)p->temperature);
    for (int64_t i = 0; i < x.v; i++) /* in the order of ids, as the reference adds */
        total += x.p[i];
    sample_sort_into_buckets(&x, highest, p->temperature);
    *out = sample_draw(&x, total, (double)p->top_p, u);
}
