/* sample.c: the next token of one row of logits [v], the order of transformers' warpers:
 *   1. repetition penalty: l > 0 is divided by it, l < 0 multiplied with it, for the ids in seen (float32);
 *   2. temperature: p ∝ e^((l - highest) / temperature), in float64; 0 = the highest, ties: the lowest id;
 *   3. top-p: tokens in descending order, ties: the lower id first; a token stays while the mass before it is below
 *      top_p of the whole (so the first always stays, and the smallest set that reaches top_p is kept);
 *   4. the first token, in that order, at which the running mass exceeds u times the mass kept.
 * The whole mass is summed in the order of ids, running masses in descending order. NaN counts as -infinity, and what has
 * -infinity is never drawn; a highest logit of +infinity is drawn without looking further. A row without a number above
 * -infinity fails the stream. */
#include "kernels/reference/reference.h"

typedef struct {
    float logit;
    int32_t id;
    double p;
} sample_token;

static int sample_compare(const void *a, const void *b)
{
    const sample_token *x = a, *y = b;
    if (x->logit != y->logit)
        return x->logit > y->logit ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* Fills t[v] with penalised logits. */
static void sample_load(sample_token *t, int64_t v, const float *logits, const tensor *seen, float penalty)
{
    for (int64_t i = 0; i < v; i++)
        t[i] = (sample_token){logits[i] == logits[i] ? logits[i] : -INFINITY, (int32_t)i, 0};
    const int32_t *id = seen ? seen->data : NULL;
    for (int64_t i = 0; seen && i < seen->dim[0]; i++)
        if (id[i] >= 0 && id[i] < v) {
            float l = logits[id[i]]; /* as it was: an id that is listed twice is penalised once */
            t[id[i]].logit = l != l ? -INFINITY : l < 0 ? l * penalty : l / penalty;
        }
}

/* t in descending order with masses p that add up to total. */
static int32_t sample_draw(const sample_token *t, int64_t v, double total, double top_p, double u)
{
    int64_t n = 0;
    double kept = 0;
    while (n < v && t[n].p > 0 && (top_p >= 1 || kept < top_p * total))
        kept += t[n++].p;
    double target = u * (top_p < 1 ? kept : total), running = 0;
    for (int64_t i = 0; i < n; i++) {
        running += t[i].p;
        if (running > target)
            return t[i].id;
    }
    return t[n - 1].id; /* rounding: u just below 1 */
}

void reference_sample(kernels_stream *s, int32_t *out, const tensor *logits, const tensor *seen,
                      const kernels_sampling *p, double u)
{
    int64_t v = logits->dim[0] * tensor_cols(logits);
    if (!check_sample(s, logits, seen, p, u))
        return;
    sample_token *t = reference_memory(s, v, sizeof *t);
    if (!t)
        return;
    sample_load(t, v, logits->data, seen, p->repetition_penalty);
    int64_t best = 0;
    for (int64_t i = 1; i < v; i++)
        if (t[i].logit > t[best].logit)
            best = i;
    float highest = t[best].logit;
    if (highest == -INFINITY)
        kernels_stream_fail(s, OMNID_FORMAT, "sample: none of %lld logits is a number above -infinity", (long long)v);
    *out = (int32_t)best;
    if (p->temperature > 0 && isfinite(highest)) {
        double total = 0;
        for (int64_t i = 0; i < v; i++)
            total += t[i].p = exp(((double)t[i].logit - (double)highest) / (double)p->temperature);
        qsort(t, (size_t)v, sizeof *t, sample_compare);
        *out = sample_draw(t, v, total, (double)p->top_p, u);
    }
    free(t);
}
