/* attend.c     out = softmax(q kᵀ / sqrt(head_dim)) v over prefix rows, listed keys and the own page's rows
 * 0 .. own_first + i of query row i; each key meets the query of its own class.     lse = ln Σ e^score */
#include "kernels/reference/reference.h"

/* One row and head; p: [n_context + n_own], value: [head_dim] and q: [n_classes][head_dim] to work in. */
static void attend_head(tensor *out, tensor *lse, const kernels_attention *a, const reference_context *c, double *p,
                        double *value, float *q, int64_t row, int head)
{
    int64_t n_own = (int64_t)a->descriptors->own_first + row + 1;
    int64_t n = c->n_context + (n_own < 0 ? 0 : n_own < c->n_own ? n_own : c->n_own);
    for (int cls = 0; cls < a->n_classes; cls++)
        reference_query(q + cls * a->head_dim, a, row, head, cls);
    double highest = -INFINITY, sum = 0;
    for (int64_t j = 0; j < n; j++) {
        p[j] = reference_dot(q + c->cls[j] * a->head_dim, c->k + j * a->head_dim, a->head_dim) / sqrt(a->head_dim);
        highest = p[j] > highest ? p[j] : highest;
    }
    for (int64_t j = 0; j < n; j++)
        sum += p[j] = exp(p[j] - highest);
    memset(value, 0, (size_t)a->head_dim * sizeof *value);
    for (int64_t j = 0; j < n; j++)
        for (int d = 0; d < a->head_dim; d++)
            value[d] += p[j] * (double)c->v[j * a->head_dim + d];
    for (int d = 0; d < a->head_dim; d++)
        reference_store(tensor_row(out, row), out->dtype, (int64_t)head * a->head_dim + d, n ? value[d] / sum : 0);
    if (lse)
        ((float *)tensor_row(lse, row))[head] = n ? (float)(highest + log(sum)) : -INFINITY;
}

/* One set; out and lse: its rows. */
static void attend_set(kernels_stream *s, tensor *out, tensor *lse, const kernels_attention *a)
{
    reference_context c;
    if (!reference_context_open(s, &c, a))
        return;
    double *p = reference_memory(s, c.n_context + c.n_own, sizeof *p);
    double *value = reference_memory(s, a->head_dim, sizeof *value);
    float *q = reference_memory(s, (int64_t)a->n_classes * a->head_dim, sizeof *q);
    int group = a->n_heads / a->n_kv_heads;
    for (int g = 0; p && value && q && g < a->n_kv_heads; g++) {
        reference_context_load(&c, a, g);
        for (int64_t row = 0; row < a->descriptors->n_rows; row++)
            for (int head = g * group; head < (g + 1) * group; head++)
                attend_head(out, lse, a, &c, p, value, q, row, head);
    }
    free(p);
    free(value);
    free(q);
    reference_context_close(&c);
}

void reference_attend(kernels_stream *s, tensor *out, tensor *lse, const kernels_attention *a)
{
    if (!check_attention(s, "attend", out, lse, a) || !check_attention_descriptors(s, "attend", out, lse, a))
        return;
    int64_t rows = a->max_rows / a->n_sets;
    for (int i = 0; i < a->n_sets; i++) {
        tensor q, set_out = tensor_rows(out, i * rows, rows), set_lse = lse ? tensor_rows(lse, i * rows, rows) : *out;
        kernels_attention set = kernels_attention_set(a, i, &q);
        attend_set(s, &set_out, lse ? &set_lse : NULL, &set);
    }
}
