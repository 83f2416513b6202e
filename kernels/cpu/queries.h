/* queries.h: private to kernels/cpu: the queries that share a key head, as panels of columns (panel.h).
 *
 * Column c belongs to query row first_row + c / group and to head c % group of those that share the key head; columns past
 * the last are zeros. Panels are as even as whole vectors allow. */
#ifndef OMNID_KERNELS_CPU_QUERIES_H
#define OMNID_KERNELS_CPU_QUERIES_H

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/panel.h"

typedef struct {
    const panel_ops *ops;
    const tensor *q; /* [classes * max_rows][heads * head_dim] */
    int group, head_dim;
    int depth; /* of the product: head_dim, or pairs */
    int64_t first_row, max_rows;
    int64_t n_columns;
    int64_t n_vectors; /* lanes * n_vectors >= n_columns */
    int n_panels;
} queries;

/* n_rows > 0 query rows from first_row on. */
queries queries_make(const panel_ops *ops, const tensor *q, int n_heads, int n_kv_heads, int head_dim, int64_t max_rows,
                     int64_t first_row, int64_t n_rows);
/* First column and width of panel p. */
int64_t queries_column(const queries *s, int p);
int queries_width(const queries *s, int p);
/* Writes panel p: [depth][width]. */
void queries_pack(const queries *s, float *to, int cls, int kv_head, int p);
/* Writes a finished panel: o / l of column c goes to its row and head of y (F32 or BF16). No key: zeros. */
void queries_unpack(const queries *s, const tensor *y, const panel *from, int kv_head, int p);

#endif
