/* score.c     S_j = mean over heads and over query rows first_score_row .. n_rows - 1 of e^(q·k_j / sqrt(head_dim) - lse)
 * A row of the own page counts zero for the query rows that do not see it; so does a query row that sees nothing. */
#include "kernels/reference/reference.h"

/* Queries of rows 0 .. n_rows - 1 as float32 [n_classes][n_rows][n_heads * head_dim]; NULL after failing the stream. */
static float *score_queries(kernels_stream *s, const kernels_attention *a)
{
    int64_t d = (int64_t)a->n_heads * a->head_dim, n_rows = a->descriptors->n_rows;
    float *queries = reference_memory(s, a->n_classes * n_rows * d, sizeof *queries);
    for (int64_t i = 0; queries && i < a->n_classes * n_rows; i++)
        reference_load_run(queries + i * d, tensor_row(a->q, i / n_rows * a->max_rows + i % n_rows), a->dtype, 0, d);
    return queries;
}

/* Σ over the query rows and over the heads that share key head g; k: [head_dim] to work in. */
static double score_key(const kernels_attention *a, const tensor *lse, const float *queries, const kernels_page *page,
                        const kernels_key *key, int g, float *k)
{
    int group = a->n_heads / a->n_kv_heads;
    int64_t d = (int64_t)a->n_heads * a->head_dim, cls = a->n_classes > 1 ? page->cls[key->row] : 0;
    double sum = 0;
    reference_load_run(k, page->k, a->dtype, (g * (int64_t)page->capacity + key->row) * a->head_dim, a->head_dim);
    for (int64_t row = a->descriptors->first_score_row; row < a->descriptors->n_rows; row++) {
        if (key->page == KERNELS_OWN_PAGE && key->row > a->descriptors->own_first + row)
            continue;
        const float *q = queries + (cls * a->descriptors->n_rows + row) * d;
        for (int head = g * group; head < (g + 1) * group; head++) {
            double norm = (double)((const float *)tensor_row(lse, row))[head];
            if (norm > -INFINITY)
                sum += exp(reference_dot(q + head * a->head_dim, k, a->head_dim) / sqrt(a->head_dim) - norm);
        }
    }
    return sum;
}

void reference_score(kernels_stream *s, const tensor *lse, const kernels_attention *a, int64_t max_keys)
{
    if (!check_score(s, lse, a, max_keys) || !check_attention_descriptors(s, "score", NULL, lse, a) ||
        !check_score_descriptor(s, a, max_keys))
        return;
    const kernels_descriptor *d = a->descriptors;
    float *queries = score_queries(s, a), *k = reference_memory(s, a->head_dim, sizeof *k);
    int64_t n_rows = (int64_t)d->n_rows - d->first_score_row;
    for (int64_t j = 0; queries && k && j < d->n_score; j++) {
        const kernels_key *key = &d->scored[j];
        const kernels_page *page = key->page == KERNELS_OWN_PAGE ? &d->own : &d->pages[key->page];
        double sum = 0;
        for (int g = 0; g < a->n_kv_heads; g++)
            sum += score_key(a, lse, queries, page, key, g, k);
        d->S[j] = n_rows > 0 ? (float)(sum / ((double)n_rows * a->n_heads)) : 0.0f;
    }
    free(queries);
    free(k);
}
