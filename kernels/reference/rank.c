/* rank.c: the order of keep and select: by value, ties by place. */
#include "kernels/reference/reference.h"

static int rank_compare(const void *a, const void *b)
{
    const reference_rank *x = a, *y = b;
    if (x->value != y->value)
        return x->value < y->value ? -1 : 1;
    return x->place < y->place ? -1 : x->place > y->place;
}

void reference_sort(reference_rank *ranks, int64_t n)
{
    qsort(ranks, (size_t)n, sizeof *ranks, rank_compare);
}
