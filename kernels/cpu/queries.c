/* queries.c: the shape of the panels of a set of queries, and their packing. */
#include "kernels/cpu/queries.h"

queries queries_make(const panel_ops *ops, const tensor *q, int n_heads, int n_kv_heads, int head_dim, int64_t max_rows,
                     int64_t first_row, int64_t n_rows)
{
    queries s = {.ops = ops, .q = q, .group = n_heads / n_kv_heads, .head_dim = head_dim};
    s.depth = ops->pairs ? (head_dim + 1) / 2 : head_dim;
    s.first_row = first_row;
    s.max_rows = max_rows;
    s.n_columns = n_rows * s.group;
    s.n_vectors = (s.n_columns + ops->lanes - 1) / ops->lanes;
    s.n_panels = (int)((s.n_vectors + PANEL_VECTORS - 1) / PANEL_VECTORS);
    return s;
}

int64_t queries_column(const queries *s, int p)
{
    int64_t base = s->n_vectors / s->n_panels, more = s->n_vectors % s->n_panels;
    return (p * base + (p < more ? p : more)) * s->ops->lanes;
}

int queries_width(const queries *s, int p)
{
    return (int)(queries_column(s, p + 1) - queries_column(s, p));
}

/* One column of bf16 numbers; `to` and its steps of `width` floats. */
static void queries_pack_bf16(const queries *s, float *to, int width, const uint16_t *from)
{
    if (!s->ops->pairs)
        for (int d = 0; d < s->head_dim; d++)
            to[(int64_t)d * width] = f32_from_bf16(from[d]);
    else
        for (int d = 0; d < s->depth; d++)
            to[(int64_t)d * width] =
                number_from_bits(from[2 * d] | (2 * d + 1 < s->head_dim ? (uint32_t)from[2 * d + 1] << 16 : 0));
}

void queries_pack(const queries *s, float *to, int cls, int kv_head, int p)
{
    const float *columns[PANEL_VECTORS * PANEL_LANES];
    int64_t column = queries_column(s, p);
    int width = queries_width(s, p), n = s->n_columns - column < width ? (int)(s->n_columns - column) : width;
    for (int c = 0; c < n; c++) {
        int64_t row = cls * s->max_rows + s->first_row + (column + c) / s->group;
        int64_t at = (int64_t)(kv_head * s->group + (column + c) % s->group) * s->head_dim;
        if (s->q->dtype == KERNELS_F32)
            columns[c] = (const float *)tensor_row(s->q, row) + at;
        else
            queries_pack_bf16(s, to + c, width, (const uint16_t *)tensor_row(s->q, row) + at);
    }
    if (s->q->dtype == KERNELS_F32)
        s->ops->gather(to, width, columns, n, s->head_dim);
    else
        for (int d = 0; d < s->depth; d++)
            for (int c = n; c < width; c++)
                to[(int64_t)d * width + c] = 0;
}

void queries_unpack(const queries *s, const tensor *y, const panel *from, int kv_head, int p)
{
    float *columns[PANEL_VECTORS * PANEL_LANES], scale[PANEL_VECTORS * PANEL_LANES] = {0};
    int64_t column = queries_column(s, p);
    int width = queries_width(s, p), n = s->n_columns - column < width ? (int)(s->n_columns - column) : width;
    for (int c = 0; c < n; c++) {
        char *row = tensor_row(y, s->first_row + (column + c) / s->group);
        int64_t at = (int64_t)(kv_head * s->group + (column + c) % s->group) * s->head_dim;
        scale[c] = from->l[c] > 0 ? 1.0f / from->l[c] : 0.0f;
        columns[c] = (float *)row + at;
        if (y->dtype == KERNELS_BF16)
            for (int d = 0; d < s->head_dim; d++)
                ((uint16_t *)row)[at + d] = bf16_from_f32(from->o[(int64_t)d * width + c] * scale[c]);
    }
    if (y->dtype == KERNELS_F32)
        s->ops->scatter(columns, from->o, width, scale, n, s->head_dim);
}
