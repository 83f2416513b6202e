/* keep.c     kept = all of 0 .. n - 1 but the k with the lowest score; ties: the earlier leaves first     score: [n]
 * A NaN counts as higher than every number. */
#include "kernels/reference/reference.h"

void reference_keep(kernels_stream *s, tensor *kept, const tensor *score, int64_t k)
{
    if (!check_keep(s, kept, score, k))
        return;
    int64_t n = score->dim[0];
    reference_rank *ranks = reference_memory(s, n, sizeof *ranks);
    bool *leaves = reference_memory(s, n, sizeof *leaves);
    if (ranks && leaves) {
        for (int64_t i = 0; i < n; i++)
            ranks[i] = (reference_rank){number_order(((const float *)score->data)[i]), (int32_t)i};
        reference_sort(ranks, n);
        for (int64_t i = 0; i < k; i++)
            leaves[ranks[i].place] = true;
        int32_t *to = kept->data;
        for (int64_t i = 0; i < n; i++)
            if (!leaves[i])
                *to++ = (int32_t)i;
    }
    free(ranks);
    free(leaves);
}
