/* select.c: who leaves after a layer (docs/semantics.md, section 5).
 * Without the diversity term: the k tokens of lowest S. With it: of the min(2 k, n) tokens of lowest S the k with the lowest
 * S + λ |c_max - c| / C, the term in float64, cast to float32, added in float32. Ties: the earlier leaves first. A NaN
 * counts as higher than every number. */
#include "kernels/reference/reference.h"

/* c of the first token with the highest S; n > 0. */
static int32_t select_segment_of_highest(const float *S, const kernels_key *keys, int64_t n)
{
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (number_order(S[i]) > number_order(S[best]))
            best = i;
    return keys[best].segment;
}

/* The first k of ranks are those who leave. */
static void select_rank(reference_rank *ranks, const kernels_descriptor *d)
{
    int64_t n = d->n_score, k = d->k_leave;
    const float *S = d->S;
    for (int64_t i = 0; i < n; i++)
        ranks[i] = (reference_rank){number_order(S[i]), (int32_t)i};
    reference_sort(ranks, n);
    if (!d->tds || d->c_last == 0 || k == 0)
        return;
    int64_t n_candidates = 2 * k < n ? 2 * k : n;
    int32_t c_max = select_segment_of_highest(S, d->scored, n);
    for (int64_t i = 0; i < n_candidates; i++) {
        int32_t place = ranks[i].place;
        double distance = fabs((double)c_max - d->scored[place].segment);
        float term = (float)(d->lambda * distance / d->c_last);
        ranks[i].value = number_order(S[place] + term);
    }
    reference_sort(ranks, n_candidates);
}

void reference_select(kernels_stream *s, const kernels_descriptor *d, int64_t max_keys)
{
    if (!check_select(s, d, max_keys))
        return;
    int64_t n = d->n_score, k = d->k_leave;
    reference_rank *ranks = reference_memory(s, n, sizeof *ranks);
    bool *leaves = reference_memory(s, n, sizeof *leaves);
    if (ranks && leaves) {
        select_rank(ranks, d);
        for (int64_t i = 0; i < k; i++)
            leaves[ranks[i].place] = true;
        int64_t to = 0;
        for (int64_t i = 0; i < n; i++) {
            if (leaves[i])
                continue;
            if (d->keys_out)
                d->keys_out[to] = d->scored[i];
            if (d->kept)
                d->kept[to] = (int32_t)i;
            to++;
        }
    }
    free(ranks);
    free(leaves);
}
