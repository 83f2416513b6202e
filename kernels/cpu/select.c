/* select.c: who leaves after a layer (docs/semantics.md, section 5), without sorting: two selections of a k-th smallest.
 * The arithmetic is the reference's to the bit. */
#include "kernels/cpu/cpu.h"
#include "kernels/number.h"

#include <math.h>

/* Token i leaves when by_score(i) <= last_candidate and by_sum(i) <= last_leaver. */
typedef struct {
    const kernels_descriptor *d;
    bool diverse;  /* the temporal term counts */
    int32_t c_max; /* segment of the first token with the highest S */
    uint64_t last_candidate, last_leaver;
} selection;

static uint64_t select_by_score(const selection *x, int64_t i)
{
    return (uint64_t)number_order(x->d->S[i]) << 32 | (uint64_t)i;
}

static uint64_t select_by_sum(const selection *x, int64_t i)
{
    if (!x->diverse)
        return select_by_score(x, i);
    double distance = fabs((double)x->c_max - x->d->scored[i].segment);
    float term = (float)(x->d->lambda * distance / x->d->c_last);
    return (uint64_t)number_order(x->d->S[i] + term) << 32 | (uint64_t)i;
}

static int32_t select_segment_of_highest(const selection *x, int64_t n)
{
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (number_order(x->d->S[i]) > number_order(x->d->S[best]))
            best = i;
    return x->d->scored[best].segment;
}

/* Fills the two limits; scratch: [n]; k > 0. */
static void select_limits(selection *x, uint64_t *scratch)
{
    int64_t n = x->d->n_score, k = x->d->k_leave, n_candidates = 0;
    for (int64_t i = 0; i < n; i++)
        scratch[i] = select_by_score(x, i);
    x->last_candidate = cpu_kth_smallest(scratch, n, x->diverse && 2 * k < n ? 2 * k : x->diverse ? n : k);
    x->last_leaver = x->last_candidate;
    if (!x->diverse)
        return;
    x->c_max = select_segment_of_highest(x, n);
    for (int64_t i = 0; i < n; i++)
        if (select_by_score(x, i) <= x->last_candidate)
            scratch[n_candidates++] = select_by_sum(x, i);
    x->last_leaver = cpu_kth_smallest(scratch, n_candidates, k);
}

void cpu_select(kernels_stream *s, const kernels_descriptor *d, int64_t max_keys)
{
    if (!cpu_begin(s) || !check_select(s, d, max_keys))
        return;
    int64_t n = d->n_score, k = d->k_leave, to = 0;
    selection x = {.d = d, .diverse = d->tds && d->c_last != 0};
    uint64_t *scratch = cpu_scratch(s, (size_t)n * sizeof *scratch);
    if (!scratch)
        return;
    if (k > 0)
        select_limits(&x, scratch);
    for (int64_t i = 0; i < n; i++) {
        if (k > 0 && select_by_score(&x, i) <= x.last_candidate && select_by_sum(&x, i) <= x.last_leaver)
            continue;
        if (d->keys_out)
            d->keys_out[to] = d->scored[i];
        if (d->kept)
            d->kept[to] = (int32_t)i;
        to++;
    }
}
