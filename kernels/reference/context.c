/* context.c: what attend and score share: the keys, values and queries of one key head as float32. */
#include "kernels/reference/reference.h"

bool reference_context_open(kernels_stream *s, reference_context *c, const kernels_attention *a)
{
    *c = (reference_context){.n_context = (int64_t)a->descriptors->n_prefix + a->descriptors->n_keys};
    int64_t n_own = (int64_t)a->descriptors->own_first + a->descriptors->n_rows;
    c->n_own = a->descriptors->own.k && n_own > 0 ? n_own : 0;
    int64_t n = c->n_context + c->n_own;
    c->k = reference_memory(s, n * a->head_dim, sizeof *c->k);
    c->v = reference_memory(s, n * a->head_dim, sizeof *c->v);
    c->cls = reference_memory(s, n, sizeof *c->cls);
    if (c->k && c->v && c->cls)
        return true;
    reference_context_close(c);
    return false;
}

void reference_context_close(reference_context *c)
{
    free(c->k);
    free(c->v);
    free(c->cls);
    *c = (reference_context){0};
}

static void context_load_row(reference_context *c, int64_t to, const kernels_attention *a, const kernels_page *page,
                             int64_t row, int kv_head)
{
    int64_t from = (kv_head * (int64_t)page->capacity + row) * a->head_dim;
    reference_load_run(c->k + to * a->head_dim, page->k, a->dtype, from, a->head_dim);
    reference_load_run(c->v + to * a->head_dim, page->v, a->dtype, from, a->head_dim);
    c->cls[to] = a->n_classes > 1 ? page->cls[row] : 0;
}

void reference_context_load(reference_context *c, const kernels_attention *a, int kv_head)
{
    const kernels_descriptor *d = a->descriptors;
    int64_t n = 0;
    for (int64_t i = 0; i < d->n_prefix; i++)
        context_load_row(c, n++, a, &d->prefix, i, kv_head);
    for (int64_t i = 0; i < d->n_keys; i++)
        context_load_row(c, n++, a, &d->pages[d->keys[i].page], d->keys[i].row, kv_head);
    for (int64_t i = 0; i < c->n_own; i++)
        context_load_row(c, n++, a, &d->own, i, kv_head);
}

void reference_query(float *to, const kernels_attention *a, int64_t row, int head, int cls)
{
    reference_load_run(to, tensor_row(a->q, cls * a->max_rows + row), a->dtype, (int64_t)head * a->head_dim,
                       a->head_dim);
}
